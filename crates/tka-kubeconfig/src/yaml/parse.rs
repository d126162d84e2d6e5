//! The first document of a YAML text, which is all that kubectl reads.
//!
//! The rules are those of <https://github.com/yaml/go-yaml/blob/v2.4.3/parserc.go>.

use std::collections::HashMap;
use std::ops::Range;
use std::rc::Rc;

use super::node::{Kind, Malformed, Node, unprintable};
use super::scan::{Kind as Token, Scanner};

/// How deep a document may go: deeper than any that is meant, and not so deep that reading it could exhaust the stack.
const DEEPEST: usize = 100;
const STANDARD_TAGS: [(&str, &str); 2] = [("!", "!"), ("!!", "tag:yaml.org,2002:")];

/// What a text says.
pub(crate) struct Parsed {
    /// The first document; none where there is not any.
    pub(crate) root: Option<Rc<Node>>,
    /// The line of what comes behind the first document, and is not just another `---` or `...`.
    pub(crate) more: Option<usize>,
}

/// What stands before a node.
#[derive(Default)]
struct Properties {
    anchor: Option<String>,
    tag: Option<String>,
    /// Where they are, in bytes.
    span: Option<Range<usize>>,
}

/// Where a node stands.
#[derive(Clone, Copy, Eq, PartialEq)]
enum NodePosition {
    Flow,
    Block,
    /// As the key or value of a mapping in lines, where the dashes of a list need no indentation.
    InMapping,
}

/// An anchor, once what it is for is known.
type Anchor = Option<Rc<Node>>;

struct Parser<'t> {
    scanner: Scanner<'t>,
    /// By name. None for what is not complete yet.
    anchors: HashMap<String, (usize, Anchor)>,
    tags: HashMap<String, String>,
    depth: usize,
    last_id: usize,
}

/// Reads the first document of `text`.
///
/// # Errors
///
/// Where kubectl cannot read it either.
pub(crate) fn parse(text: &str) -> Result<Parsed, Malformed> {
    if let Some((line, wrong)) = unprintable(text) {
        let problem = format!("U+{:04X} is a control character", u32::from(wrong));
        return Err(Malformed::new(line, &problem));
    }
    if text.starts_with("\u{feff}\u{feff}") {
        return Err(Malformed::new(0, "it begins with two byte order marks").of_limit());
    }
    let mut parser = Parser {
        scanner: Scanner::new(text),
        anchors: HashMap::new(),
        tags: HashMap::new(),
        depth: 0,
        last_id: 0,
    };
    let root = parser.document()?;
    let more = if root.is_some() { parser.more() } else { None };
    Ok(Parsed { root, more })
}

// === impl Parser ===

impl Parser<'_> {
    fn document(&mut self) -> Result<Option<Rc<Node>>, Malformed> {
        match self.peek()? {
            Token::StreamEnd => return Ok(None),
            Token::Version { .. } | Token::TagDirective { .. } | Token::DocumentStart => {
                self.directives()?;
                if !matches!(self.peek()?, Token::DocumentStart) {
                    return Err(self.fault("did not find expected <document start>"));
                }
                self.scanner.next()?;
            }
            _ => {
                self.directives()?;
                return self.root(false).map(Some);
            }
        }
        self.root(true).map(Some)
    }

    fn root(&mut self, may_be_nothing: bool) -> Result<Rc<Node>, Malformed> {
        let root = if may_be_nothing && self.is_between_documents()? {
            self.nothing()?
        } else {
            self.node(NodePosition::Block)?
        };
        // What comes behind it must be a token.
        self.peek()?;
        Ok(root)
    }

    /// The line of the first thing that is not the mark of a document's start or end.
    fn more(&mut self) -> Option<usize> {
        loop {
            let token = match self.scanner.next() {
                Ok(token) => token,
                Err(malformed) => return Some(malformed.line),
            };
            match token.kind {
                Token::StreamEnd => return None,
                Token::DocumentStart | Token::DocumentEnd => {}
                _ => return Some(token.start.line + 1),
            }
        }
    }

    fn is_between_documents(&mut self) -> Result<bool, Malformed> {
        Ok(matches!(
            self.peek()?,
            Token::Version { .. }
                | Token::TagDirective { .. }
                | Token::DocumentStart
                | Token::DocumentEnd
                | Token::StreamEnd
        ))
    }

    fn directives(&mut self) -> Result<(), Malformed> {
        let mut has_version = false;
        loop {
            match self.peek()? {
                Token::Version { .. } if has_version => return Err(self.fault("found duplicate %YAML directive")),
                Token::Version { major: 1, minor: 1 } => has_version = true,
                Token::Version { .. } => return Err(self.fault("found incompatible YAML document")),
                Token::TagDirective { handle, prefix } => {
                    let (handle, prefix) = (handle.clone(), prefix.clone());
                    if self.tags.insert(handle, prefix).is_some() {
                        return Err(self.fault("found duplicate %TAG directive"));
                    }
                }
                _ => break,
            }
            self.scanner.next()?;
        }
        for (handle, prefix) in STANDARD_TAGS {
            self.tags.entry(handle.to_owned()).or_insert_with(|| prefix.to_owned());
        }
        Ok(())
    }

    fn node(&mut self, place: NodePosition) -> Result<Rc<Node>, Malformed> {
        self.depth += 1;
        if self.depth > DEEPEST {
            let problem = format!("it has more than {DEEPEST} levels");
            return Err(self.fault(&problem).of_limit());
        }
        let node = self.node_here(place);
        self.depth -= 1;
        node
    }

    fn node_here(&mut self, place: NodePosition) -> Result<Rc<Node>, Malformed> {
        if matches!(self.peek()?, Token::Alias(_)) {
            return self.alias();
        }
        let properties = self.properties()?;
        if let Some(anchor) = &properties.anchor {
            // Of anchors alone: what is added without one leaves the others what they are.
            self.last_id += 1;
            self.anchors.insert(anchor.clone(), (self.last_id, None));
        }
        let id = self.last_id;
        let token = self.scanner.peek()?;
        let start = token.start;
        let (kind, end) = match &token.kind {
            Token::BlockEntry if place == NodePosition::InMapping => self.dashes()?,
            Token::Scalar { .. } => self.scalar()?,
            Token::FlowSequenceStart => self.flow_sequence()?,
            Token::FlowMappingStart => self.flow_mapping()?,
            Token::BlockSequenceStart if place != NodePosition::Flow => self.block_sequence()?,
            Token::BlockMappingStart if place != NodePosition::Flow => self.block_mapping()?,
            _ => match &properties.span {
                Some(span) => {
                    let (at, line) = (span.end, start.line);
                    let node = Node::new(empty(), properties.tag, properties.anchor.is_some(), at..at, line);
                    return Ok(self.anchored(properties.anchor, id, node));
                }
                None => return Err(self.fault("did not find expected node content")),
            },
        };
        let has_anchor = properties.anchor.is_some();
        let node = Node::new(kind, properties.tag, has_anchor, start.at..end, start.line);
        Ok(self.anchored(properties.anchor, id, node))
    }

    fn anchored(&mut self, anchor: Option<String>, id: usize, node: Node) -> Rc<Node> {
        let node = Rc::new(node);
        // Another of its name may have come up inside of it.
        if let Some(anchor) = anchor.and_then(|anchor| self.anchors.get_mut(&anchor))
            && anchor.0 == id
        {
            anchor.1 = Some(Rc::clone(&node));
        }
        node
    }

    fn alias(&mut self) -> Result<Rc<Node>, Malformed> {
        let token = self.scanner.next()?;
        let Token::Alias(name) = token.kind else {
            return Err(self.fault("did not find expected alias"));
        };
        let fault = |problem: &str| Malformed::new(token.start.line, problem);
        let (id, target) = match self.anchors.get(&name) {
            None => return Err(fault(&format!("unknown anchor '{name}' referenced"))),
            Some((_, None)) => return Err(fault(&format!("anchor '{name}' value contains itself"))),
            Some((id, Some(target))) => (*id, Rc::clone(target)),
        };
        let kind = Kind::Alias { id, target };
        let span = token.start.at..token.end.at;
        Ok(Rc::new(Node::new(kind, None, false, span, token.start.line)))
    }

    fn properties(&mut self) -> Result<Properties, Malformed> {
        let mut found = Properties::default();
        loop {
            match self.peek()? {
                Token::Anchor(name) if found.anchor.is_none() => found.anchor = Some(name.clone()),
                Token::Tag { handle, suffix } if found.tag.is_none() => {
                    let (handle, suffix) = (handle.clone(), suffix.clone());
                    found.tag = Some(self.tag(&handle, suffix)?);
                }
                _ => return Ok(found),
            }
            let token = self.scanner.next()?;
            let start = found.span.map_or(token.start.at, |span| span.start);
            found.span = Some(start..token.end.at);
        }
    }

    fn tag(&mut self, handle: &str, suffix: String) -> Result<String, Malformed> {
        if handle.is_empty() {
            return Ok(suffix);
        }
        let known = self.tags.get(handle).map(|prefix| format!("{prefix}{suffix}"));
        let known = known.filter(|tag| !tag.is_empty());
        known.ok_or_else(|| self.fault("found undefined tag handle"))
    }

    fn scalar(&mut self) -> Result<(Kind, usize), Malformed> {
        let token = self.scanner.next()?;
        match token.kind {
            Token::Scalar { text, is_plain, end } => Ok((Kind::Scalar { text, is_plain }, end.at)),
            _ => Err(self.fault("did not find expected text")),
        }
    }

    fn block_sequence(&mut self) -> Result<(Kind, usize), Malformed> {
        let mut end = self.scanner.next()?.end.at;
        let mut items = Vec::new();
        while matches!(self.peek()?, Token::BlockEntry) {
            self.scanner.next()?;
            let item = match self.peek()? {
                Token::BlockEntry | Token::BlockEnd => self.nothing_behind(),
                _ => self.node(NodePosition::Block)?,
            };
            end = end.max(item.span.end);
            items.push(item);
        }
        self.expect(&Token::BlockEnd, "did not find expected '-' indicator")?;
        let is_flow = false;
        Ok((Kind::Sequence { items, is_flow }, end))
    }

    /// A sequence that is not indented.
    fn dashes(&mut self) -> Result<(Kind, usize), Malformed> {
        let (mut items, mut end) = (Vec::new(), 0);
        while matches!(self.peek()?, Token::BlockEntry) {
            self.scanner.next()?;
            let item = match self.peek()? {
                Token::BlockEntry | Token::Key | Token::Value | Token::BlockEnd => self.nothing_behind(),
                _ => self.node(NodePosition::Block)?,
            };
            end = end.max(item.span.end);
            items.push(item);
        }
        let is_flow = false;
        Ok((Kind::Sequence { items, is_flow }, end))
    }

    fn block_mapping(&mut self) -> Result<(Kind, usize), Malformed> {
        let mut end = self.scanner.next()?.end.at;
        let mut entries = Vec::new();
        // Where the key is missing, there is just a value.
        while matches!(self.peek()?, Token::Key) {
            self.scanner.next()?;
            let key = self.node_in_mapping()?;
            let value = match self.peek()? {
                Token::Value => {
                    self.scanner.next()?;
                    self.node_in_mapping()?
                }
                _ => self.nothing()?,
            };
            end = end.max(key.span.end).max(value.span.end);
            entries.push((key, value));
        }
        self.expect(&Token::BlockEnd, "did not find expected key")?;
        let is_flow = false;
        Ok((Kind::Mapping { entries, is_flow }, end))
    }

    fn node_in_mapping(&mut self) -> Result<Rc<Node>, Malformed> {
        match self.peek()? {
            Token::Key | Token::Value | Token::BlockEnd => Ok(self.nothing_behind()),
            _ => self.node(NodePosition::InMapping),
        }
    }

    fn flow_sequence(&mut self) -> Result<(Kind, usize), Malformed> {
        self.scanner.next()?;
        let mut items = Vec::new();
        while !matches!(self.peek()?, Token::FlowSequenceEnd) {
            if !items.is_empty() {
                self.expect(&Token::FlowEntry, "did not find expected ',' or ']'")?;
            }
            match self.peek()? {
                Token::FlowSequenceEnd => break,
                Token::Key => items.push(self.pair()?),
                _ => items.push(self.node(NodePosition::Flow)?),
            }
        }
        let (end, is_flow) = (self.scanner.next()?.end.at, true);
        Ok((Kind::Sequence { items, is_flow }, end))
    }

    /// A mapping of one entry without braces, in brackets.
    fn pair(&mut self) -> Result<Rc<Node>, Malformed> {
        let start = self.scanner.next()?.start;
        let key = match self.peek()? {
            // As kubectl's parser does, which takes what it finds for the key's end.
            Token::Value | Token::FlowEntry | Token::FlowSequenceEnd => {
                let nothing = self.nothing_behind();
                self.scanner.next()?;
                nothing
            }
            _ => self.node(NodePosition::Flow)?,
        };
        let value = self.flow_value(&Token::FlowSequenceEnd)?;
        let end = key.span.end.max(value.span.end);
        let kind = Kind::Mapping {
            entries: vec![(key, value)],
            is_flow: true,
        };
        Ok(Rc::new(Node::new(kind, None, false, start.at..end, start.line)))
    }

    fn flow_mapping(&mut self) -> Result<(Kind, usize), Malformed> {
        self.scanner.next()?;
        let mut entries = Vec::new();
        while !matches!(self.peek()?, Token::FlowMappingEnd) {
            if !entries.is_empty() {
                self.expect(&Token::FlowEntry, "did not find expected ',' or '}'")?;
            }
            match self.peek()? {
                Token::FlowMappingEnd => break,
                Token::Key => {
                    self.scanner.next()?;
                    let key = match self.peek()? {
                        Token::Value | Token::FlowEntry | Token::FlowMappingEnd => self.nothing()?,
                        _ => self.node(NodePosition::Flow)?,
                    };
                    let value = self.flow_value(&Token::FlowMappingEnd)?;
                    entries.push((key, value));
                }
                _ => {
                    let key = self.node(NodePosition::Flow)?;
                    entries.push((key, self.nothing()?));
                }
            }
        }
        let (end, is_flow) = (self.scanner.next()?.end.at, true);
        Ok((Kind::Mapping { entries, is_flow }, end))
    }

    fn flow_value(&mut self, last: &Token) -> Result<Rc<Node>, Malformed> {
        if !matches!(self.peek()?, Token::Value) {
            return self.nothing();
        }
        self.scanner.next()?;
        let next = self.peek()?;
        let is_over = matches!(next, Token::FlowEntry) || same(next, last);
        if is_over {
            self.nothing()
        } else {
            self.node(NodePosition::Flow)
        }
    }

    fn peek(&mut self) -> Result<&Token, Malformed> {
        Ok(&self.scanner.peek()?.kind)
    }

    fn expect(&mut self, kind: &Token, problem: &str) -> Result<(), Malformed> {
        if !same(self.peek()?, kind) {
            return Err(self.fault(problem));
        }
        self.scanner.next()?;
        Ok(())
    }

    /// Nothing, before the next token.
    fn nothing(&mut self) -> Result<Rc<Node>, Malformed> {
        let at = self.scanner.peek()?.start;
        Ok(Rc::new(Node::new(empty(), None, false, at.at..at.at, at.line)))
    }

    /// Nothing, behind the last token.
    fn nothing_behind(&mut self) -> Rc<Node> {
        let at = self.scanner.last();
        Rc::new(Node::new(empty(), None, false, at.at..at.at, at.line))
    }

    fn fault(&mut self, problem: &str) -> Malformed {
        match self.scanner.peek() {
            Ok(token) => Malformed::new(token.start.line, problem),
            Err(malformed) => malformed,
        }
    }
}

fn empty() -> Kind {
    let (text, is_plain) = (String::new(), true);
    Kind::Scalar { text, is_plain }
}

/// Whether both are tokens of one kind.
fn same(token: &Token, other: &Token) -> bool {
    std::mem::discriminant(token) == std::mem::discriminant(other)
}
