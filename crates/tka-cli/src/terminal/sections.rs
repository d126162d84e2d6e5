//! Which section of the troubleshooting an error has: it is found by what the error says, as a person would find it.

/// The page, in a form that can be read without a site.
const PAGE: &str = concat!(
    env!("CARGO_PKG_REPOSITORY"),
    "/blob/main/docs/book/src/troubleshooting.md"
);
/// The messages that the page quotes, as `cargo xtask docs` finds them, the longest first. A line has the anchor of the section, and the parts of the message
/// that are always the same, with tabs between.
const SECTIONS: &str = include_str!("sections.tsv");

/// The address of the section about what one of `lines` says; none if there is none.
pub(crate) fn address(lines: &[&str]) -> Option<String> {
    let rows = SECTIONS.lines().filter_map(|row| row.split_once('\t'));
    let mut found = rows.filter(|(_, parts)| lines.iter().any(|line| has_all(line, parts)));
    found.next().map(|(anchor, _)| format!("{PAGE}#{anchor}"))
}

/// Whether the parts are in the line, in their order.
fn has_all(line: &str, parts: &str) -> bool {
    let rest = parts.split('\t').try_fold(line, |rest, part| {
        let (_, after) = rest.split_once(part)?;
        Some(after)
    });
    rest.is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_leads_to_its_section() {
        let of = |lines: &[&str]| address(lines).map(|address| address.rsplit('#').next().unwrap().to_owned());
        for (lines, anchor) in [
            (
                &["the server refuses you", "no rule of the tailnet policy reaches you"][..],
                "no-rule-of-the-tailnet-policy-reaches-you",
            ),
            (
                &["cannot reach the server at http://a", "the name a does not resolve"],
                "the-name-does-not-resolve",
            ),
            (
                &["cannot reach the server at http://a", "no answer within 7 s"],
                "no-connection-or-no-answer",
            ),
            (
                &["the server at http://a has no gateway, and an elevation acts through the gateway alone"],
                "this-device-is-not-elevated",
            ),
            (
                &["the rule for the role edit requires a reason"],
                "the-rule-requires-a-reason",
            ),
        ] {
            assert_eq!(of(lines).as_deref(), Some(anchor), "{lines:?}");
        }
        assert_eq!(of(&["cannot write /etc/passwd", "resolve does not the name"]), None);
        assert!(PAGE.starts_with("https://"));
    }

    #[test]
    fn longest_is_first() {
        let length = |row: &str| row.split('\t').skip(1).map(str::len).sum::<usize>();
        assert!(
            SECTIONS
                .lines()
                .map(length)
                .is_sorted_by(|longer, shorter| longer >= shorter)
        );
    }
}
