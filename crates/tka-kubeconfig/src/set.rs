//! Sets one value in a YAML text that may be anybody's. Comments, order, line ends and other keys stay as they are written.
//!
//! Several edits are tried. The first one counts that changes only the value.

use std::ops::Range;

use serde::de::IgnoredAny;

use crate::document::Refused;
use crate::edit::quoted;
use crate::yaml::{self, Edit, Editor, Node, becomes, indented};

/// How new keys and values are written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Style {
    /// As YAML, which may be JSON too.
    Yaml,
    /// As JSON, which readers of JSON alone may read.
    Json,
}

/// `text` with `scalar`, which is YAML on one line, as the value at `path`: a key at the top, or a key of nested mappings.
///
/// A text that is JSON and says something stays JSON.
///
/// # Errors
///
/// Where `text` is not YAML or has several documents, and where more would change than that value.
pub fn set(text: &str, path: &[&str], scalar: &str) -> Result<String, Refused> {
    let parsed = yaml::parse(text)?;
    if let Some(line) = parsed.more {
        return Err(Refused::Documents { line });
    }
    let (root, editor) = (parsed.root.as_deref(), Editor(text));
    let style = Style::of(text, root);
    let scalar = &style.scalar(scalar)?;
    let wanted = yaml::parse(scalar)?.root.ok_or(Refused::SideEffects)?;
    let edits = match root.filter(|root| !root.is_null()) {
        Some(root) => below(editor, root, editor.line(0), path, scalar, style).ok_or(Refused::SideEffects)?,
        None => lines_of_their_own(editor, editor.line(0), 0, path, scalar),
    };
    let is_right = |edited: &String| {
        let after = yaml::parse(edited).ok().and_then(|parsed| parsed.root);
        (style == Style::Yaml || is_json(edited))
            && after.is_some_and(|after| becomes(root, &after, path, &|_, value| value.means(&wanted)))
    };
    let mut edited = edits.into_iter().filter_map(|edit| editor.edited(edit));
    edited.find(is_right).ok_or(Refused::SideEffects)
}

/// How a value is written in a text.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Written<'t> {
    /// The first is 1.
    pub line: usize,
    /// As it stands there, without its tag or anchor.
    pub text: &'t str,
}

/// How the value at `path` is written in the first document of `text`. None where it is not there, or `text` is not YAML.
#[must_use]
pub fn written<'t>(text: &'t str, path: &[&str]) -> Option<Written<'t>> {
    let root = yaml::parse(text).ok()?.root?;
    let mut node = &root;
    for key in path {
        node = node.get(key)?;
    }
    let text = text.get(node.span.clone())?;
    Some(Written { line: node.line, text })
}

/// Ways to set the value at `path` below `mapping`, the first line of which begins at `start`. The best come first.
fn below(
    editor: Editor<'_>,
    mapping: &Node,
    start: usize,
    path: &[&str],
    scalar: &str,
    style: Style,
) -> Option<Vec<Edit>> {
    let (key, rest) = path.split_first()?;
    let column = editor.column(mapping.span.start);
    let Some(value) = mapping.get(key) else {
        if !mapping.is_flow() {
            return Some(lines_of_their_own(editor, start, column, path, scalar));
        }
        return Some(vec![vec![first_entry(editor, mapping, braces(path, scalar, style))]]);
    };
    if rest.is_empty() && !value.span.is_empty() {
        return Some(editor.replacement_candidates(mapping, key, value, scalar));
    }
    if style == Style::Json && value.is_null() {
        let section = format!("{{{}}}", braces(rest, scalar, style));
        return Some(editor.replacement_candidates(mapping, key, value, &section));
    }
    let colon = editor.colon(mapping, key)?;
    if !rest.is_empty() && value.is_null() {
        let lines = indented(&lines(rest, scalar), column + 2);
        return Some(vec![editor.lines_for_nothing(mapping, key, value, &lines)?]);
    }
    if !rest.is_empty() {
        let start = editor.next_line(colon).unwrap_or(colon);
        return below(editor, value, start, rest, scalar, style);
    }
    (!mapping.is_flow()).then(|| vec![vec![(colon..colon, format!(" {scalar}"))]])
}

/// `entry` as the first of `mapping`, which is in braces. The next one begins as this did before, on its line or on this one.
fn first_entry(editor: Editor<'_>, mapping: &Node, entry: String) -> (Range<usize>, String) {
    let first = mapping.span.start + '{'.len_utf8();
    let Some((next, _)) = mapping.entries().first() else {
        return (first..first, entry);
    };
    let gap = editor.0.get(first..next.span.start);
    match gap.filter(|gap| !gap.is_empty() && gap.trim().is_empty()) {
        // The end of a line is written as the others are.
        Some(gap) => (
            next.span.start..next.span.start,
            format!("{entry},{}", gap.replace('\r', "")),
        ),
        None => (first..first, entry + ", "),
    }
}

/// A single value goes before what is there, a section behind all. Where the text does not begin or end with its mapping, the other may do.
fn lines_of_their_own(editor: Editor<'_>, start: usize, column: usize, path: &[&str], scalar: &str) -> Vec<Edit> {
    let lines = indented(&lines(path, scalar), column);
    let [first, last] = [start, editor.0.len()].map(|at| editor.new_lines(at, &lines));
    if path.len() == 1 {
        vec![first, last]
    } else {
        vec![last, first]
    }
}

/// The value with its keys, a line each.
fn lines(path: &[&str], scalar: &str) -> String {
    match path {
        [] => scalar.to_owned(),
        [key] => format!("{key}: {scalar}"),
        [key, rest @ ..] => format!("{key}:\n{}", indented(&lines(rest, scalar), 2)),
    }
}

/// The value with its keys, as one entry of a mapping in braces.
fn braces(path: &[&str], scalar: &str, style: Style) -> String {
    match path {
        [] => scalar.to_owned(),
        [key] => format!("{}: {scalar}", style.key(key)),
        [key, rest @ ..] => format!("{}: {{{}}}", style.key(key), braces(rest, scalar, style)),
    }
}

fn is_json(text: &str) -> bool {
    serde_json::from_str::<IgnoredAny>(text).is_ok()
}

// === impl Style ===

impl Style {
    /// That of `text`. Braces with nothing in them are no sign of JSON.
    fn of(text: &str, root: Option<&Node>) -> Self {
        match root {
            Some(root) if !root.entries().is_empty() && is_json(text) => Self::Json,
            _ => Self::Yaml,
        }
    }

    fn key(self, key: &str) -> String {
        match self {
            Self::Yaml => key.to_owned(),
            Self::Json => quoted(key),
        }
    }

    /// `scalar`, which is YAML, in this style.
    fn scalar(self, scalar: &str) -> Result<String, Refused> {
        if self == Self::Yaml || is_json(scalar) {
            return Ok(scalar.to_owned());
        }
        let root = yaml::parse(scalar)?.root;
        let text = root.as_ref().and_then(|root| root.text());
        text.map(quoted).ok_or(Refused::SideEffects)
    }
}

#[cfg(test)]
mod tests {
    fn set(text: &str, key: &str, scalar: &str) -> String {
        let path: Vec<_> = key.split('.').collect();
        super::set(text, &path, scalar).unwrap_or_else(|error| format!("error: {error}"))
    }

    #[test]
    fn what_readers_of_yaml_differ_about_stays_as_it_is_written() {
        let text = "notes: |\n  # one\n  two\nx: yes\ny: 010\nz: 1e3\ntailscale: {hostname: a}\n";
        let changed = "notes: |\n  # one\n  two\nx: yes\ny: 010\nz: 1e3\ntailscale: {port: 80, hostname: a}\n";
        assert_eq!(set(text, "tailscale.port", "80"), changed);
    }

    #[test]
    fn ends_of_lines_stay() {
        let text = "debug: false\r\ntailscale:\r\n  port: 1 # one\r\n";
        let other_port = "debug: false\r\ntailscale:\r\n  port: 80 # one\r\n";
        assert_eq!(set(text, "tailscale.port", "80"), other_port);
        let themed = format!("{text}output:\r\n  theme: dark\r\n");
        assert_eq!(set(text, "output.theme", "dark"), themed);
        assert_eq!(set("debug: true", "debug", "false"), "debug: false");
    }

    #[test]
    fn what_is_quoted_is_no_comment() {
        let text = "tailscale:\n  hostname: \"a # b\" # c\n";
        assert_eq!(set(text, "tailscale.hostname", "d"), "tailscale:\n  hostname: d # c\n");
    }

    #[test]
    fn values_over_several_lines_are_replaced_whole() {
        let text = "tailscale:\n  hostname: >-\n    a\n    b\n  port: 1\n";
        assert_eq!(set(text, "tailscale.port", "2"), text.replace('1', "2"));
        let flow = "output: {\n  theme: dark, # mine\n  long: true }\n";
        assert_eq!(set(flow, "output.theme", "light"), flow.replace("dark", "light"));
        assert_eq!(set("{}", "output.theme", "light"), "{output: {theme: light}}");
    }

    #[test]
    fn what_stands_in_two_places_is_left_alone() {
        for text in [
            "a: &a {port: 1}\ntailscale: *a\n",
            "tailscale: &a {port: 1}\nother: *a\n",
            "tailscale: {port: &a 1}\nother: *a\n",
        ] {
            assert!(set(text, "tailscale.port", "2").starts_with("error: "), "{text}");
        }
    }

    #[test]
    fn json_stays_json() {
        for (text, key, scalar, expected) in [
            (
                r#"{"tailscale": {"port": 1}}"#,
                "output.theme",
                "dark",
                r#"{"output": {"theme": "dark"}, "tailscale": {"port": 1}}"#,
            ),
            (
                "{\r\n  \"tailscale\": {\r\n    \"port\": 1\r\n  }\r\n}\r\n",
                "tailscale.hostname",
                "a",
                "{\r\n  \"tailscale\": {\r\n    \"hostname\": \"a\",\r\n    \"port\": 1\r\n  }\r\n}\r\n",
            ),
            (r#"{"a": 1}"#, "debug", "true", r#"{"debug": true, "a": 1}"#),
            (r#"{"debug": false}"#, "debug", "true", r#"{"debug": true}"#),
            (r#"{"a": {"b": "c"}}"#, "a.b", "'on'", r#"{"a": {"b": "on"}}"#),
            (r#"{"a": {}}"#, "a.b", "c", r#"{"a": {"b": "c"}}"#),
            (r#"{"a": null}"#, "a.b", "1", r#"{"a": {"b": 1}}"#),
        ] {
            assert_eq!(set(text, key, scalar), expected);
        }
    }

    #[test]
    fn no_key_is_there_twice() {
        let text = "tailscale: {hostname: , port: 1}\n";
        assert!(set(text, "tailscale.hostname", "a").starts_with("error: "));
    }

    #[test]
    fn values_are_found_where_they_are_written() {
        let text = "# mine\na:\n  b: 0443 # c\n  c: &x !!str 'd'\ne: {f: g,\n  f: h}\n";
        let found = |key: &str| {
            let path: Vec<_> = key.split('.').collect();
            super::written(text, &path).map(|written| (written.line, written.text))
        };
        assert_eq!(found("a.b"), Some((3, "0443")));
        assert_eq!(found("a.c"), Some((4, "'d'")));
        assert_eq!(found("e.f"), Some((6, "h")), "the last counts");
        assert_eq!(found("a.x"), None);
        assert_eq!(super::written("{", &["a"]), None);
    }

    #[test]
    fn sections_that_are_none_are_left_alone() {
        assert!(set("tailscale: [a]\n", "tailscale.port", "2").starts_with("error: "));
        assert!(set("- a\n", "tailscale.port", "2").starts_with("error: "));
        assert_eq!(set("tailscale:\n", "tailscale.port", "2"), "tailscale:\n  port: 2\n");
    }
}
