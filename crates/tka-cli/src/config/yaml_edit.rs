//! Edits one setting in the text of a configuration file. Comments, order, line ends and other keys stay as written.
//!
//! Several edits are tried. The first one counts that changes only the setting.

use std::ops::Range;

use tka_kubeconfig::Refused;
use tka_kubeconfig::yaml::{self, Node, becomes};

/// The position of a setting: in a section, or at the top.
struct Place<'k> {
    section: Option<&'k str>,
    field: &'k str,
}

/// Sets `key` in `text` to `scalar`, which is YAML on one line.
pub(super) fn with(text: &str, key: &str, scalar: &str) -> Result<String, Refused> {
    let place = Place::of(key);
    let parsed = yaml::parse(text)?;
    if let Some(line) = parsed.more {
        return Err(Refused::Documents { line });
    }
    let root = parsed.root;
    let wanted = yaml::parse(scalar)?.root.ok_or(Refused::Unsure)?;
    let attempts = [
        in_place(text, root.as_deref(), &place, scalar),
        in_flow_mapping(text, root.as_deref(), &place, scalar),
        Some(in_lines(text, &place, scalar)),
    ];
    let path: Vec<_> = key.split('.').collect();
    let is_right = |edited: &String| {
        let after = yaml::parse(edited).ok().and_then(|parsed| parsed.root);
        after.is_some_and(|after| becomes(root.as_deref(), &after, &path, &|_, value| value.means(&wanted)))
    };
    attempts.into_iter().flatten().find(is_right).ok_or(Refused::Unsure)
}

/// Replaces the current value.
fn in_place(text: &str, root: Option<&Node>, place: &Place<'_>, scalar: &str) -> Option<String> {
    let value = place.holder(root?)?.get(place.field)?;
    (!value.span.is_empty()).then(|| replaced(text, value.span.clone(), scalar))
}

/// Inserts the setting into the braces of its section, or of the whole document.
fn in_flow_mapping(text: &str, root: Option<&Node>, place: &Place<'_>, scalar: &str) -> Option<String> {
    let root = root?;
    let (holder, new) = match place.holder(root) {
        Some(holder) => (holder, format!("{}: {scalar}", place.field)),
        None => (root, format!("{}: {{{}: {scalar}}}", place.section?, place.field)),
    };
    if !holder.is_flow() {
        return None;
    }
    let first = holder.span.start + '{'.len_utf8();
    let comma = if holder.entries().is_empty() { "" } else { ", " };
    Some(replaced(text, first..first, &format!("{new}{comma}")))
}

/// Writes the setting on its own line.
fn in_lines(text: &str, place: &Place<'_>, scalar: &str) -> String {
    let end = if text.contains("\r\n") { "\r\n" } else { "\n" };
    let mut lines: Vec<String> = text.split_inclusive('\n').map(ToOwned::to_owned).collect();
    if let Some(last) = lines.last_mut().filter(|last| !last.ends_with('\n')) {
        last.push_str(end);
    }
    let setting = |indent: &str| format!("{indent}{}: {scalar}", place.field);
    match place.section {
        None => set_line(&mut lines, 0, "", place.field, &setting(""), end),
        Some(section) => match lines.iter().position(|line| is_key(line, "", section)) {
            Some(at) => {
                let indent = indent_of(&lines[at + 1..]).unwrap_or_else(|| "  ".to_owned());
                set_line(&mut lines, at + 1, &indent, place.field, &setting(&indent), end);
            }
            None => lines.extend([format!("{section}:{end}"), setting("  ") + end]),
        },
    }
    lines.concat()
}

/// Replaces the line of `field` among the lines from `start` with that `indent`, or inserts `new` before them.
fn set_line(lines: &mut Vec<String>, start: usize, indent: &str, field: &str, new: &str, end: &str) {
    let inside = |line: &&String| line.starts_with(indent) || line.trim().is_empty() || line.trim().starts_with('#');
    let length = lines.iter().skip(start).take_while(inside).count();
    let mut block = lines.iter().enumerate().skip(start).take(length);
    match block.find(|(_, line)| is_key(line, indent, field)).map(|(at, _)| at) {
        Some(at) => lines[at] = format!("{new}{}{end}", comment(&lines[at])),
        None => lines.insert(start, format!("{new}{end}")),
    }
}

/// Whether `line` begins the value of `key` at that indentation.
fn is_key(line: &str, indent: &str, key: &str) -> bool {
    let rest = line.strip_prefix(indent).and_then(|line| line.strip_prefix(key));
    rest.and_then(|rest| rest.trim_start().strip_prefix(':'))
        .is_some_and(|value| value.is_empty() || value.starts_with(char::is_whitespace))
}

/// The indentation of the first line with content. None without one.
fn indent_of(lines: &[String]) -> Option<String> {
    let line = lines
        .iter()
        .find(|line| !line.trim().is_empty() && !line.trim().starts_with('#'))?;
    let indent: String = line.chars().take_while(|c| *c == ' ').collect();
    (!indent.is_empty()).then_some(indent)
}

/// The comment at the end of a line, with the space before it.
fn comment(line: &str) -> &str {
    let line = line.trim_end();
    line.find(" #").map(|at| &line[at..]).unwrap_or_default()
}

fn replaced(text: &str, range: Range<usize>, new: &str) -> String {
    [&text[..range.start], new, &text[range.end..]].concat()
}

// === impl Place ===

impl<'k> Place<'k> {
    fn of(key: &'k str) -> Self {
        match key.split_once('.') {
            Some((section, field)) => Self {
                section: Some(section),
                field,
            },
            None => Self {
                section: None,
                field: key,
            },
        }
    }

    /// The mapping that has the setting. Aliases are not followed, since a change would apply elsewhere too.
    fn holder<'n>(&self, root: &'n Node) -> Option<&'n Node> {
        match self.section {
            None => Some(root),
            Some(section) => root.get(section).map(|section| &**section),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(text: &str, key: &str, scalar: &str) -> String {
        with(text, key, scalar).unwrap_or_else(|error| format!("error: {error}"))
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
        assert_eq!(
            set(text, "tailscale.port", "80"),
            "debug: false\r\ntailscale:\r\n  port: 80 # one\r\n"
        );
        assert_eq!(
            set(text, "output.theme", "dark"),
            format!("{text}output:\r\n  theme: dark\r\n")
        );
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
    fn no_key_is_there_twice() {
        let text = "tailscale: {hostname: , port: 1}\n";
        assert!(set(text, "tailscale.hostname", "a").starts_with("error: "));
    }

    #[test]
    fn sections_that_are_none_are_left_alone() {
        assert!(set("tailscale: [a]\n", "tailscale.port", "2").starts_with("error: "));
        assert!(set("- a\n", "tailscale.port", "2").starts_with("error: "));
        assert_eq!(set("tailscale:\n", "tailscale.port", "2"), "tailscale:\n  port: 2\n");
    }
}
