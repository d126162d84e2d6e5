//! The parts of a document.

use std::ops::Range;
use std::rc::Rc;

use super::lines;

/// One part of a document.
pub(crate) struct Node {
    pub(crate) kind: Kind,
    pub(super) tag: Option<String>,
    /// Whether other parts may refer to it.
    pub(crate) has_anchor: bool,
    /// Where it stands, in bytes: neither its tag nor anchor, nor a comment behind it.
    pub(crate) span: Range<usize>,
    /// The line where it begins; the first is 1.
    pub(crate) line: usize,
}

/// What a part is.
pub(crate) enum Kind {
    /// A text, which may stand for something else.
    Scalar {
        /// Without quotes and escapes.
        text: String,
        /// Whether it is neither in quotes nor in a block. Then it may be a number to some readers and a text to others.
        is_plain: bool,
    },
    /// A list.
    Sequence {
        /// In their order.
        items: Vec<Rc<Node>>,
        /// Whether it is in brackets.
        is_flow: bool,
    },
    /// Keys and values.
    Mapping {
        /// In their order.
        entries: Vec<(Rc<Node>, Rc<Node>)>,
        /// Whether it is in braces.
        is_flow: bool,
    },
    /// What is written elsewhere.
    Alias {
        /// Of the anchor; another of the same name has another.
        id: usize,
        /// What it stands for.
        target: Rc<Node>,
    },
}

/// Why a text is not YAML to kubectl.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("line {line} is not YAML: {problem}")]
pub(crate) struct Malformed {
    /// The first is 1.
    pub(crate) line: usize,
    /// In the words of kubectl's parser.
    pub(crate) problem: String,
    /// Whether it is YAML to kubectl all the same, and only this reader refuses it.
    pub(crate) is_limit: bool,
}

/// The first character that YAML 1.1 forbids, and its line.
pub(super) fn unprintable(text: &str) -> Option<(usize, char)> {
    let is_wrong = |c: char| {
        let is_known = matches!(c, '\t' | '\n' | '\r' | '\u{85}' | ' '..='~' | '\u{a0}'..='\u{fffd}');
        !is_known && c < '\u{10000}'
    };
    let at = text.find(is_wrong)?;
    let line = lines::number(text, at) - 1;
    Some((line, text[at..].chars().next()?))
}

// === impl Malformed ===

impl Malformed {
    /// In a line, where the first is 0.
    pub(super) fn new(line: usize, problem: &str) -> Self {
        Self {
            line: line + 1,
            problem: problem.to_owned(),
            is_limit: false,
        }
    }

    /// The same as a limit of this reader.
    pub(super) fn of_limit(self) -> Self {
        Self { is_limit: true, ..self }
    }
}

// === impl Node ===

impl Node {
    pub(super) fn new(kind: Kind, tag: Option<String>, has_anchor: bool, span: Range<usize>, line: usize) -> Self {
        Self {
            kind,
            tag,
            has_anchor,
            span,
            line: line + 1,
        }
    }

    /// Whether both say the same to every reader.
    pub(crate) fn means(&self, other: &Self) -> bool {
        self.tag == other.tag && self.kind.means(&other.kind)
    }

    /// What an alias refers to, else itself.
    pub(crate) fn resolved(&self) -> &Self {
        match &self.kind {
            Kind::Alias { target, .. } => target.resolved(),
            _ => self,
        }
    }

    /// Its tag, with what its handle stands for.
    pub(crate) fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// Whether it is a text without quotes, on one line or several.
    pub(crate) fn is_plain(&self) -> bool {
        matches!(&self.resolved().kind, Kind::Scalar { is_plain: true, .. })
    }

    /// Whether it is a key that stands for all of its value's (<https://yaml.org/type/merge.html>).
    pub(crate) fn is_merge(&self) -> bool {
        let is_right = |is_plain| match self.tag() {
            None => is_plain,
            Some(tag) => matches!(tag, "!" | "tag:yaml.org,2002:merge"),
        };
        matches!(&self.kind, Kind::Scalar { text, is_plain } if text == "<<" && is_right(*is_plain))
    }

    /// Its text, if it is one.
    pub(crate) fn text(&self) -> Option<&str> {
        match &self.resolved().kind {
            Kind::Scalar { text, .. } => Some(text),
            _ => None,
        }
    }

    /// Whether it says nothing.
    pub(crate) fn is_null(&self) -> bool {
        match &self.resolved().kind {
            Kind::Scalar { text, is_plain } => *is_plain && matches!(&**text, "" | "~" | "null" | "Null" | "NULL"),
            _ => false,
        }
    }

    /// The items of a list; none of anything else.
    pub(crate) fn items(&self) -> &[Rc<Self>] {
        match &self.resolved().kind {
            Kind::Sequence { items, .. } => items,
            _ => &[],
        }
    }

    /// The entries of a mapping; none of anything else.
    pub(crate) fn entries(&self) -> &[(Rc<Self>, Rc<Self>)] {
        match &self.resolved().kind {
            Kind::Mapping { entries, .. } => entries,
            _ => &[],
        }
    }

    /// Whether it is in brackets or braces.
    pub(crate) fn is_flow(&self) -> bool {
        match &self.kind {
            Kind::Sequence { is_flow, .. } | Kind::Mapping { is_flow, .. } => *is_flow,
            _ => false,
        }
    }

    pub(crate) fn is_mapping(&self) -> bool {
        matches!(self.resolved().kind, Kind::Mapping { .. })
    }

    /// Whether it is written elsewhere.
    pub(crate) fn is_alias(&self) -> bool {
        matches!(self.kind, Kind::Alias { .. })
    }

    /// The value of a key. Of two that are equal the last counts.
    pub(crate) fn get(&self, key: &str) -> Option<&Rc<Self>> {
        let mut entries = self.entries().iter();
        let found = entries.rfind(|(name, _)| name.text() == Some(key));
        found.map(|(_, value)| value)
    }

    /// Whether it is this text, with the tag of what stood there.
    pub(crate) fn is_text_like(&self, old: Option<&Self>, text: &str) -> bool {
        let is_text = matches!(&self.kind, Kind::Scalar { text: found, .. } if found == text);
        is_text && old.is_some_and(|old| old.tag == self.tag)
    }

    /// Whether it takes keys from elsewhere (<https://yaml.org/type/merge.html>), which go-yaml does.
    pub(crate) fn has_merge_key(&self) -> bool {
        self.entries().iter().any(|(key, _)| key.is_merge())
    }
}

/// Whether `after` says what `before` says, but where `path` leads; what may stand there now says `is_right`, by what stood there. What
/// is not there yet may be added. What others refer to says it to them too, and so it does not.
pub(crate) fn becomes(
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
                let mut pairs = entries.iter().zip(others);
                entries.len() == others.len() && pairs.all(|((key, value), (k, v))| key.means(k) && value.means(v))
            }
            // Whatever it refers to is compared where it stands.
            (Self::Alias { id, .. }, Self::Alias { id: other, .. }) => id == other,
            _ => false,
        }
    }
}

/// Whether all of these say the same, one by one.
pub(crate) fn same(items: &[Rc<Node>], others: &[Rc<Node>]) -> bool {
    items.len() == others.len() && items.iter().zip(others).all(|(item, other)| item.means(other))
}
