//! Lines of a text. One ends with a line feed, or with a carriage return that is alone, as it does to every reader of YAML.

/// Whether a line ends with the byte at `at`.
fn is_end(text: &str, at: usize) -> bool {
    match text.as_bytes().get(at) {
        Some(b'\n') => true,
        Some(b'\r') => text.as_bytes().get(at + 1) != Some(&b'\n'),
        _ => false,
    }
}

/// Behind the end of the last line that ends before `at`.
pub(crate) fn begin(text: &str, at: usize) -> Option<usize> {
    let end = (0..at).rev().find(|one| is_end(text, *one))?;
    Some(end + 1)
}

/// Behind the end of the first line that ends at `at` or later.
pub(crate) fn next(text: &str, at: usize) -> Option<usize> {
    let end = (at..text.len()).find(|one| is_end(text, *one))?;
    Some(end + 1)
}

/// Whether what goes to `at` ends with the end of a line.
pub(crate) fn is_behind_end(text: &str, at: usize) -> bool {
    at.checked_sub(1).is_some_and(|last| is_end(text, last))
}

/// The line of `at`; the first is 1.
pub(crate) fn number(text: &str, at: usize) -> usize {
    1 + (0..at).filter(|one| is_end(text, *one)).count()
}

/// How the lines of a text end.
pub(crate) fn end(text: &str) -> &'static str {
    if text.contains("\r\n") {
        "\r\n"
    } else if text.contains('\r') && !text.contains('\n') {
        "\r"
    } else {
        "\n"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_end_in_three_ways() {
        for newline in ["\n", "\r\n", "\r"] {
            let text = ["a", "", "b", "c"].join(newline);
            let at = |part: &str| text.find(part).unwrap();
            assert_eq!(end(&text), newline);
            assert_eq!(begin(&text, at("a")), None);
            assert_eq!(begin(&text, at("c")), Some(at("c")));
            assert_eq!(begin(&text, at("b") + 1), Some(at("b")));
            assert_eq!(next(&text, at("b")), Some(at("c")));
            assert_eq!(next(&text, at("c")), None);
            assert!(is_behind_end(&text, at("b")) && !is_behind_end(&text, at("b") + 1));
            assert!(!is_behind_end(&text, 0));
            assert_eq!([at("a"), at("b"), at("c")].map(|at| number(&text, at)), [1, 3, 4]);
        }
        assert_eq!(end("a"), "\n");
        assert_eq!(end("a\rb\n"), "\n");
    }
}
