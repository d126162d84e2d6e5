//! What of an answer an error carries.

/// How much of it an error carries.
const EXCERPT_CHARS: usize = 300;

/// The beginning of what an answer says, on one line and fit to be printed.
pub(crate) fn excerpt(text: &str) -> String {
    let printable = |c: char| if c.is_control() { ' ' } else { c };
    text.trim().chars().take(EXCERPT_CHARS).map(printable).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_excerpt_is_one_short_line() {
        assert_eq!(excerpt(" a\n\x1b[31mb \n"), "a  [31mb");
        assert_eq!(excerpt(&"x".repeat(4000)).len(), EXCERPT_CHARS);
    }
}
