//! Changing a YAML text: where its parts stand, and what may come in their place. All else stays as it is written, line ends too.

use std::ops::Range;

use super::lines;
use super::node::Node;

/// Pieces of text in the place of others, in their order.
pub(crate) type Edit = Vec<(Range<usize>, String)>;

/// A text to be changed.
#[derive(Clone, Copy)]
pub(crate) struct Editor<'t>(pub(crate) &'t str);

// === impl Editor ===

impl Editor<'_> {
    /// The text after `edit`, with its line ends.
    pub(crate) fn edited(&self, edit: Edit) -> Option<String> {
        let newline = lines::end(self.0);
        let (mut text, mut done) = (String::new(), 0);
        for (range, new) in edit {
            text += self.0.get(done..range.start)?;
            text += &new.replace('\n', newline);
            done = range.end;
        }
        Some(text + self.0.get(done..)?)
    }

    /// Where a key can be added, the best place first.
    pub(crate) fn new_key(&self, root: &Node, text: &str) -> Vec<Edit> {
        let last = root
            .entries()
            .iter()
            .map(|(key, value)| key.span.end.max(value.span.end))
            .max();
        if !root.is_flow() {
            let lines = indented(text, self.column(root.span.start));
            let end = last.unwrap_or(root.span.end);
            return self.insert_adjacent(end, root.span.start, &lines);
        }
        vec![vec![match last {
            Some(end) => (end..end, format!(", {text}")),
            None => (root.span.start + 1..root.span.start + 1, text.to_owned()),
        }]]
    }

    /// Ways to write `raw` in the place of the `value` of a key, the best first.
    pub(crate) fn replacement_candidates(&self, mapping: &Node, key: &str, value: &Node, raw: &str) -> Vec<Edit> {
        // A text in a block ends with a line, which stays one.
        let end = value.span.start + self.0[value.span.clone()].trim_end().len();
        let in_place = (value.span.start..end, raw.to_owned());
        let colon = self.colon(mapping, key);
        let anew = colon.map(|colon| (colon..end, format!(" {raw}")));
        let parts = [Some(in_place), anew].into_iter().flatten();
        parts.map(|part| vec![part]).collect()
    }

    /// Behind the colon of a key.
    pub(crate) fn colon(&self, root: &Node, key: &str) -> Option<usize> {
        // Of two that are equal the last counts.
        let mut keys = root.entries().iter().map(|(key, _)| key);
        let key = keys.rfind(|node| node.text() == Some(key))?;
        let rest = self.0.get(key.span.end..).unwrap_or_default();
        let trimmed = rest.trim_start_matches([' ', '\t']);
        let is_colon = trimmed.starts_with(':');
        let at = key.span.end + rest.len() - trimmed.len() + 1;
        is_colon.then_some(at)
    }

    /// Where the dash of an item in a list of lines is.
    pub(crate) fn dash(&self, item: &Node) -> Option<usize> {
        let before = self.0.get(..item.span.start)?;
        let trimmed = before.trim_end();
        if trimmed.ends_with('-') {
            return Some(trimmed.len() - 1);
        }
        // There is an anchor or a tag between them.
        let line = lines::begin(self.0, item.span.start).unwrap_or_default();
        let indent = before.get(line..)?.find(|c| c != ' ')?;
        before.get(line + indent..)?.starts_with("- ").then_some(line + indent)
    }

    /// The lines of an item.
    pub(crate) fn lines_of(&self, item: &Node) -> Option<Range<usize>> {
        let dash = self.dash(item)?;
        let start = self.line(dash);
        let is_alone = self.0.get(start..dash)?.chars().all(|c| c == ' ');
        let end = self.next_line(item.span.end);
        is_alone.then(|| start..end.unwrap_or(self.0.len()))
    }

    /// Adds lines behind the line where something ends, or before the line where something begins.
    ///
    /// A last line without a line break stays the last one. Readers differ in what a line break would make of a text that is
    /// written in it.
    pub(crate) fn insert_adjacent(&self, end: usize, start: usize, lines: &str) -> Vec<Edit> {
        let new = format!("{lines}\n");
        let behind = self.next_line(end).map(|line| vec![(line..line, new.clone())]);
        let line = self.line(start);
        behind.into_iter().chain([vec![(line..line, new)]]).collect()
    }

    /// Where the line of `at` begins.
    pub(crate) fn line(&self, at: usize) -> usize {
        let mark = if self.0.starts_with('\u{feff}') {
            '\u{feff}'.len_utf8()
        } else {
            0
        };
        lines::begin(self.0, at).unwrap_or(mark)
    }

    /// Where the line begins that comes after what ends at `end`; none at the end of the text. What is written over several lines
    /// may end with one of them.
    pub(crate) fn next_line(&self, end: usize) -> Option<usize> {
        if lines::is_behind_end(self.0, end) {
            return Some(end);
        }
        lines::next(self.0, end)
    }

    pub(crate) fn column(&self, at: usize) -> usize {
        at - self.line(at)
    }

    /// Where it says nothing as the `value` of a key, from the colon on.
    pub(crate) fn nothing(&self, mapping: &Node, key: &str, value: &Node) -> Option<Range<usize>> {
        let colon = self.colon(mapping, key)?;
        Some(colon..value.span.end.max(colon))
    }

    /// Writes `lines` below a key, in the place of a `value` that says nothing.
    pub(crate) fn lines_for_nothing(&self, mapping: &Node, key: &str, value: &Node, lines: &str) -> Option<Edit> {
        let nothing = self.nothing(mapping, key, value)?;
        let lines = match self.next_line(nothing.end) {
            Some(line) => (line..line, format!("{lines}\n")),
            None => (self.0.len()..self.0.len(), format!("\n{lines}")),
        };
        Some(vec![(nothing, String::new()), lines])
    }

    /// Ways to write the lines of `head` where nothing is said yet, the best first. What stands for nothing goes.
    pub(crate) fn head_candidates(&self, nothing: Range<usize>, head: &str) -> Vec<Edit> {
        let end = self.0.len();
        let kept = if nothing.end == end { nothing.start } else { end };
        let is_new_line = kept == 0 || lines::is_behind_end(self.0, kept);
        let missing = if is_new_line { "" } else { "\n" };
        let behind = vec![(nothing.clone(), String::new()), (end..end, format!("{missing}{head}"))];
        let in_its_place = ["", "\n"].map(|newline| vec![(nothing.clone(), format!("{newline}{}", head.trim_end()))]);
        [behind].into_iter().chain(in_its_place).collect()
    }

    /// Adds lines before the line that begins at `at`, or behind the last one. A last line without an end gets one.
    pub(crate) fn new_lines(&self, at: usize, lines: &str) -> Edit {
        let end = self.0.len();
        let missing = if self.0.is_empty() || lines::is_behind_end(self.0, end) {
            ""
        } else {
            "\n"
        };
        if at < end {
            vec![(at..at, format!("{lines}\n")), (end..end, missing.to_owned())]
        } else {
            vec![(end..end, format!("{missing}{lines}\n"))]
        }
    }
}

/// `lines`, further to the right.
pub(crate) fn indented(lines: &str, by: usize) -> String {
    let lines: Vec<_> = lines.lines().map(|line| format!("{}{line}", " ".repeat(by))).collect();
    lines.join("\n")
}

/// Removes an item, with the comma that it leaves alone.
pub(crate) fn flow_item_removal(list: &Node, at: usize) -> Vec<Edit> {
    let items = list.items();
    let span = &items[at].span;
    let cut = |range: Range<usize>| vec![(range, String::new())];
    match (at.checked_sub(1), items.get(at + 1)) {
        (Some(before), _) => vec![cut(items[before].span.end..span.end)],
        (None, Some(next)) => vec![cut(span.start..next.span.start)],
        (None, None) => vec![cut(span.clone()), cut(span.start..list.span.end - 1)],
    }
}
