//! What stands in the way of a change, and where.

use std::fmt;

use crate::yaml::{Kind, Node};

/// What stands in the way of a change.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Obstacle {
    /// `&`: something else may refer to it.
    Anchor,
    /// `*`: it is written elsewhere.
    Alias,
    /// `<<`: it has keys that are written elsewhere.
    MergeKey,
    /// `!`: it is not what it looks like.
    Tag,
    /// None of these. There is no place in its lines.
    Layout,
}

/// What stands in the way of changing the value of `key` at the top, and its line.
pub(crate) fn to_change(root: &Node, key: &str) -> (usize, Obstacle) {
    let of_key = |(name, value)| (Node::text(name) == Some(key)).then_some((name, value));
    let entries = root.entries().iter().map(|(name, value)| (&**name, &**value));
    let entries: Vec<_> = entries.filter_map(of_key).collect();
    let mut inside = entries.iter().filter_map(|(_, value)| first_inside(value));
    let mut tags = entries.iter().flat_map(|(name, value)| [tag(name), tag(value)]);
    let found = inside.next().or_else(|| tags.find_map(|tag| tag));
    let place = entries.last().map_or(root, |(_, value)| value);
    found.unwrap_or((place.line, Obstacle::Layout))
}

/// Why what kubectl reads at the top is not where one looks for it.
pub(crate) fn at_top(root: &Node) -> (usize, Obstacle) {
    let of_entry = |name: &Node, value: &Node| match tag(name) {
        _ if name.is_merge() => Some((name.line, Obstacle::MergeKey)),
        None => tag(value),
        found => found,
    };
    let mut entries = root.entries().iter();
    let found = entries.find_map(|(name, value)| of_entry(name, value));
    found.unwrap_or((root.line, Obstacle::Layout))
}

fn tag(node: &Node) -> Option<(usize, Obstacle)> {
    node.tag().map(|_| (node.line, Obstacle::Tag))
}

/// The first reference in a value, or to it.
fn first_inside(node: &Node) -> Option<(usize, Obstacle)> {
    if node.has_anchor {
        return Some((node.line, Obstacle::Anchor));
    }
    match &node.kind {
        Kind::Alias { .. } => Some((node.line, Obstacle::Alias)),
        Kind::Scalar { .. } => None,
        Kind::Sequence { items, .. } => items.iter().find_map(|item| first_inside(item)),
        Kind::Mapping { entries, .. } => entries.iter().find_map(|(name, value)| {
            let merge = name.is_merge().then_some((name.line, Obstacle::MergeKey));
            first_inside(name).or(merge).or_else(|| first_inside(value))
        }),
    }
}

// === impl Obstacle ===

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Anchor => "there is an anchor (&)",
            Self::Alias => "there is an alias (*)",
            Self::MergeKey => "there is a merge key (<<)",
            Self::Tag => "there is a tag (!)",
            Self::Layout => "there is no place for the change in its lines",
        })
    }
}
