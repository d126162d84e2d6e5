//! What a document in Markdown has: links, headings and blocks of code.

use std::{collections::BTreeMap, ops::Range};

use pulldown_cmark::{CodeBlockKind, Event, LinkType, Options, Parser, Tag, TagEnd};

use super::{paths::OWN, problem::Problem};

/// Languages of blocks that look like commands, but which no test runs: those are `console`.
const NEVER_RUN: [&str; 4] = ["sh", "bash", "shell", "zsh"];

/// A link in a text.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Link {
    pub(super) target: String,
    /// Where the whole link is in the text.
    pub(super) at: Range<usize>,
    /// Whether the target stands in the link itself.
    pub(super) is_inline: bool,
}

fn options() -> Options {
    Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH | Options::ENABLE_FOOTNOTES
}

/// The links and images of `text`, in their order. None in code.
pub(super) fn links(text: &str) -> Vec<Link> {
    let events = Parser::new_ext(text, options()).into_offset_iter();
    let link = |(event, at)| match event {
        Event::Start(
            Tag::Link {
                link_type, dest_url, ..
            }
            | Tag::Image {
                link_type, dest_url, ..
            },
        ) => Some(Link {
            target: dest_url.into_string(),
            at,
            is_inline: link_type == LinkType::Inline,
        }),
        _ => None,
    };
    events.filter_map(link).collect()
}

/// What the headings of `text` are linked by, as GitHub and mdBook make it.
pub(super) fn anchors(text: &str) -> Vec<String> {
    let mut anchors = Vec::new();
    let mut counts = BTreeMap::<String, usize>::new();
    let mut heading: Option<String> = None;
    for event in Parser::new_ext(text, options()) {
        match event {
            Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
            Event::Text(part) | Event::Code(part) => {
                if let Some(heading) = &mut heading {
                    heading.push_str(&part);
                }
            }
            Event::End(TagEnd::Heading(_)) => {
                let anchor = anchor(&heading.take().unwrap_or_default());
                let count = counts.entry(anchor.clone()).or_default();
                anchors.push(if *count == 0 {
                    anchor
                } else {
                    format!("{anchor}-{count}")
                });
                *count += 1;
            }
            _ => {}
        }
    }
    anchors
}

/// What a link to the heading has behind `#`, on GitHub and on the site.
pub(crate) fn anchor(heading: &str) -> String {
    let kept = heading.trim().chars().filter_map(|c| match c {
        c if c.is_alphanumeric() || c == '_' || c == '-' => Some(c.to_lowercase().to_string()),
        c if c.is_whitespace() => Some("-".to_owned()),
        _ => None,
    });
    kept.collect()
}

/// Blocks of the site's own pages that look like commands and that no test would run.
pub(super) fn blocks_never_run(path: &str, text: &str) -> Vec<Problem> {
    if !path.starts_with(OWN) {
        return Vec::new();
    }
    let problem = |event| match event {
        Event::Start(Tag::CodeBlock(CodeBlockKind::Fenced(language))) if NEVER_RUN.contains(&&*language) => {
            Some(Problem {
                path: path.to_owned(),
                what: format!(
                    "a block of `{language}` is run by no test: write `console`, and `$ ` before each command"
                ),
            })
        }
        _ => None,
    };
    Parser::new_ext(text, options()).filter_map(problem).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_found_and_code_is_not() {
        let text = "[a](b.md#c) `[x](y)`\n\n```text\n[x](y)\n```\n\n| [d](e) |\n|---|\n\n[f]\n\n[f]: g\n";
        let found: Vec<_> = links(text)
            .into_iter()
            .map(|link| (link.target, link.is_inline))
            .collect();
        let expected = [("b.md#c", true), ("e", true), ("g", false)];
        assert_eq!(
            found,
            expected.map(|(target, is_inline)| (target.to_owned(), is_inline))
        );
        assert_eq!(&text[links(text)[0].at.clone()], "[a](b.md#c)");
    }

    #[test]
    fn anchors_are_those_of_github() {
        let text = "# One, two: *three*\n\n## `tka sessions end`\n\n## Again\n\n## Again\n\n## Größe `a_b`\n";
        assert_eq!(
            anchors(text),
            ["one-two-three", "tka-sessions-end", "again", "again-1", "größe-a_b"]
        );
    }

    #[test]
    fn commands_that_are_never_run_are_said() {
        let text = "```sh\nls\n```\n\n```console\n$ ls\n```\n";
        assert_eq!(blocks_never_run("docs/book/src/a.md", text).len(), 1);
        assert!(blocks_never_run("README.md", text).is_empty());
    }
}
