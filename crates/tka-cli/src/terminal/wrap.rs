//! Text in lines that fit a terminal.

use console::measure_text_width;

/// Wraps `text` at `width` columns, between words. A longer word stays whole, to be copied.
pub(crate) fn wrapped(text: &str, width: Option<usize>) -> Vec<String> {
    let Some(width) = width.filter(|width| measure_text_width(text) > *width) else {
        return vec![text.to_owned()];
    };
    let mut lines: Vec<String> = vec![];
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        match lines.last_mut() {
            Some(line) if measure_text_width(line) + 1 + measure_text_width(word) <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::wrapped;

    #[test]
    fn lines_are_broken_between_words() {
        let text = "ask another about the policy";
        assert_eq!(wrapped(text, None), [text]);
        assert_eq!(wrapped(text, Some(28)), [text]);
        assert_eq!(wrapped(text, Some(12)), ["ask another", "about the", "policy"]);
        let long = wrapped("a ~/.kube/tka/long.yaml b", Some(4));
        assert_eq!(long, ["a", "~/.kube/tka/long.yaml", "b"]);
        assert_eq!(wrapped("日本 日本", Some(5)), ["日本", "日本"]);
        assert_eq!(wrapped("\u{1b}[1mab\u{1b}[0m cd", Some(5)), ["\u{1b}[1mab\u{1b}[0m cd"]);
        assert_eq!(wrapped("", Some(5)), [""]);
    }
}
