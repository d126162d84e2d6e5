//! A YAML document as it is written: what each part says, and where.

use std::collections::HashMap;
use std::ops::Range;
use std::rc::Rc;

use granit_parser::{Event, Parser, ScalarStyle, ScanError, StructureStyle, Tag};

use crate::document::Refused;

/// One part of a document.
pub struct Node {
    pub kind: Kind,
    tag: Option<String>,
    /// Whether other parts may refer to it.
    pub has_anchor: bool,
    /// Where it stands, in bytes: neither its tag nor anchor, nor a comment behind it.
    pub span: Range<usize>,
}

/// What a part is.
pub enum Kind {
    /// Plain ones mean different things to different readers, which does not matter as long as they stay as they are written.
    Scalar {
        text: String,
        is_plain: bool,
    },
    Sequence {
        items: Vec<Rc<Node>>,
        is_flow: bool,
    },
    Mapping {
        entries: Vec<(Rc<Node>, Rc<Node>)>,
        is_flow: bool,
    },
    Alias {
        id: usize,
        target: Rc<Node>,
    },
}

/// Reads the one document of `text`; none when there is none.
pub fn parse(text: &str) -> Result<Option<Rc<Node>>, Refused> {
    let mut reader = Reader {
        parser: Parser::new_from_str_with_options(text, granit_parser::options! { emit_comments: false }),
        anchors: HashMap::new(),
    };
    let mut root = None;
    loop {
        match reader.next()? {
            (Event::StreamStart | Event::DocumentEnd, _) => {}
            (Event::DocumentStart(..), _) if root.is_some() => return Err(Refused::Documents),
            (Event::DocumentStart(..), _) => {
                let first = reader.next()?;
                root = Some(reader.node(first)?);
            }
            _ => return Ok(root),
        }
    }
}

type Step<'a> = (Event<'a>, Range<usize>);

struct Reader<'a> {
    parser: Parser<'a, granit_parser::StrInput<'a>>,
    anchors: HashMap<usize, Rc<Node>>,
}

// === impl Reader ===

impl<'a> Reader<'a> {
    /// The next event. After the last there is the end of the stream.
    fn next(&mut self) -> Result<Step<'a>, Refused> {
        let Some(step) = self.parser.next() else {
            return Ok((Event::StreamEnd, 0..0));
        };
        let (event, span) = step.map_err(|error| malformed(&error))?;
        let (start, end) = (span.start.byte_offset(), span.end.byte_offset());
        Ok((event, start.unwrap_or_default()..end.unwrap_or_default()))
    }

    /// The part that begins with `step`. The parser limits how deep it goes.
    fn node(&mut self, (event, span): Step<'a>) -> Result<Rc<Node>, Refused> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let kind = Kind::Scalar {
                    text: text.into_owned(),
                    is_plain: style == ScalarStyle::Plain,
                };
                Ok(self.finished(kind, anchor, tag.as_deref(), span))
            }
            Event::Alias(id) => {
                // One inside of what it refers to has no end.
                let target = self.anchors.get(&id).cloned().ok_or(Refused::Unsure)?;
                Ok(self.finished(Kind::Alias { id, target }, 0, None, span))
            }
            Event::SequenceStart(style, anchor, tag) => {
                let (items, end) = self.children(&span, &Event::SequenceEnd)?;
                let is_flow = style == StructureStyle::Flow;
                let kind = Kind::Sequence { items, is_flow };
                Ok(self.finished(kind, anchor, tag.as_deref(), span.start..end))
            }
            Event::MappingStart(style, anchor, tag) => {
                let (nodes, end) = self.children(&span, &Event::MappingEnd)?;
                let is_flow = style == StructureStyle::Flow;
                let mut nodes = nodes.into_iter();
                let pair = || Some((nodes.next()?, nodes.next()?));
                let entries = std::iter::from_fn(pair).collect();
                Ok(self.finished(
                    Kind::Mapping { entries, is_flow },
                    anchor,
                    tag.as_deref(),
                    span.start..end,
                ))
            }
            _ => Err(Refused::Unsure),
        }
    }

    /// What comes before `last`, and where all of it ends: behind its bracket, or where nothing has any, behind the last word.
    fn children(&mut self, start: &Range<usize>, last: &Event<'_>) -> Result<(Vec<Rc<Node>>, usize), Refused> {
        let mut nodes = Vec::new();
        let mut end = start.end;
        loop {
            let step = self.next()?;
            if step.0 == *last {
                let bracket = Some(step.1.end).filter(|_| !step.1.is_empty());
                return Ok((nodes, bracket.unwrap_or(end)));
            }
            let node = self.node(step)?;
            end = end.max(node.span.end);
            nodes.push(node);
        }
    }

    fn finished(&mut self, kind: Kind, anchor: usize, tag: Option<&Tag>, span: Range<usize>) -> Rc<Node> {
        let node = Rc::new(Node {
            kind,
            tag: tag.map(|tag| format!("{}{}", tag.handle(), tag.suffix())),
            has_anchor: anchor != 0,
            span,
        });
        if anchor != 0 {
            self.anchors.insert(anchor, Rc::clone(&node));
        }
        node
    }
}

fn malformed(error: &ScanError) -> Refused {
    Refused::Malformed {
        line: error.marker().line(),
        problem: error.info(),
    }
}

// === impl Node ===

impl Node {
    /// Whether both say the same to every reader.
    pub fn means(&self, other: &Self) -> bool {
        self.tag == other.tag && self.kind.means(&other.kind)
    }

    /// What an alias refers to, else itself.
    pub fn resolved(&self) -> &Self {
        match &self.kind {
            Kind::Alias { target, .. } => target.resolved(),
            _ => self,
        }
    }

    pub fn text(&self) -> Option<&str> {
        match &self.resolved().kind {
            Kind::Scalar { text, .. } => Some(text),
            _ => None,
        }
    }

    pub fn is_null(&self) -> bool {
        match &self.resolved().kind {
            Kind::Scalar { text, is_plain } => *is_plain && matches!(&**text, "" | "~" | "null" | "Null" | "NULL"),
            _ => false,
        }
    }

    pub fn items(&self) -> &[Rc<Self>] {
        match &self.resolved().kind {
            Kind::Sequence { items, .. } => items,
            _ => &[],
        }
    }

    pub fn entries(&self) -> &[(Rc<Self>, Rc<Self>)] {
        match &self.resolved().kind {
            Kind::Mapping { entries, .. } => entries,
            _ => &[],
        }
    }

    pub fn is_flow(&self) -> bool {
        match &self.kind {
            Kind::Sequence { is_flow, .. } | Kind::Mapping { is_flow, .. } => *is_flow,
            _ => false,
        }
    }

    pub fn is_mapping(&self) -> bool {
        matches!(self.resolved().kind, Kind::Mapping { .. })
    }

    pub fn is_sequence(&self) -> bool {
        matches!(self.resolved().kind, Kind::Sequence { .. })
    }

    pub fn is_alias(&self) -> bool {
        matches!(self.kind, Kind::Alias { .. })
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&Rc<Self>> {
        let mut entries = self.entries().iter();
        entries
            .find(|(name, _)| name.text() == Some(key))
            .map(|(_, value)| value)
    }

    /// Whether it is this text, with the tag of what stood there.
    pub fn is_text_like(&self, old: Option<&Self>, text: &str) -> bool {
        let is_text = matches!(&self.kind, Kind::Scalar { text: found, .. } if found == text);
        is_text && old.is_some_and(|old| old.tag == self.tag)
    }

    /// Whether it takes keys from elsewhere (<https://yaml.org/type/merge.html>), which go-yaml does.
    pub fn takes_in(&self) -> bool {
        self.get("<<").is_some()
    }
}

/// Whether `after` says what `before` says, but where `path` leads; what may stand there now says `is_right`, by what stood there. What
/// is not there yet may be added. What others refer to says it to them too, and so it does not.
pub fn becomes(
    before: Option<&Node>,
    after: &Node,
    path: &[&str],
    is_right: &dyn Fn(Option<&Node>, &Node) -> bool,
) -> bool {
    let is_own = |node: &Node| !node.has_anchor && !node.is_alias();
    if before.is_some_and(|before| !is_own(before)) {
        return false;
    }
    let Some((key, below)) = path.split_first() else {
        return is_right(before, after);
    };
    let before = before.filter(|before| !before.is_null());
    let tag = before.map_or(&after.tag, |before| &before.tag);
    let are_mappings = after.is_mapping() && before.is_none_or(Node::is_mapping);
    if !are_mappings || !is_own(after) || *tag != after.tag {
        return false;
    }
    let Some(new) = after.get(key) else { return false };
    let old = before.and_then(|before| before.get(key));
    let is_there = |(name, _): &&(Rc<Node>, Rc<Node>)| old.is_some() || name.text() != Some(key);
    let news: Vec<_> = after.entries().iter().filter(is_there).collect();
    let olds = before.map(Node::entries).unwrap_or_default();
    let mut pairs = olds.iter().zip(&news);
    let is_same = pairs.all(|((name, value), (k, v))| name.means(k) && (name.text() == Some(key) || value.means(v)));
    olds.len() == news.len() && is_same && becomes(old.map(|old| &**old), new, below, is_right)
}

// === impl Kind ===

impl Kind {
    fn means(&self, other: &Self) -> bool {
        match (self, other) {
            (
                Self::Scalar { text, is_plain },
                Self::Scalar {
                    text: other,
                    is_plain: plain,
                },
            ) => (text, is_plain) == (other, plain),
            (Self::Sequence { items, .. }, Self::Sequence { items: others, .. }) => same(items, others),
            (Self::Mapping { entries, .. }, Self::Mapping { entries: others, .. }) => {
                let pairs = entries.iter().zip(others);
                entries.len() == others.len()
                    && pairs
                        .into_iter()
                        .all(|((key, value), (k, v))| key.means(k) && value.means(v))
            }
            // Whatever it refers to is compared where it stands.
            (Self::Alias { id, .. }, Self::Alias { id: other, .. }) => id == other,
            _ => false,
        }
    }
}

/// Whether all of these say the same, one by one.
pub fn same(items: &[Rc<Node>], others: &[Rc<Node>]) -> bool {
    items.len() == others.len() && items.iter().zip(others).all(|(item, other)| item.means(other))
}
