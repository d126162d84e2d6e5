//! Commands of documents: what a reader is told to type.

/// The commands of the `console` blocks below the heading of that name, each as one text. A line that ends in a backslash goes on in the next.
#[must_use]
pub fn console(document: &str, heading: &str) -> Vec<String> {
    let mut commands: Vec<String> = Vec::new();
    let (mut is_below, mut is_console, mut goes_on) = (false, false, false);
    for line in document.lines() {
        if let (false, Some(title)) = (is_console, line.strip_prefix("## ")) {
            is_below = title == heading;
        } else if line.starts_with("```") {
            is_console = line == "```console" && is_below;
            goes_on = false;
        } else if is_console {
            let begun = line.strip_prefix("$ ");
            let text = begun.unwrap_or(line).trim();
            let (text, continues) = text
                .strip_suffix('\\')
                .map_or((text, false), |text| (text.trim(), true));
            match (begun, commands.last_mut()) {
                (Some(_), _) => commands.push(text.to_owned()),
                (None, Some(command)) if goes_on => {
                    command.push(' ');
                    command.push_str(text);
                }
                // What a command prints.
                (None, _) => continue,
            }
            goes_on = continues;
        }
    }
    commands
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCUMENT: &str = "# A\n```console\n$ no\n```\n## Use it\ntext\n```console\n$ one \\\n    --two \\\n    --three\nit says\n$ four\n```\n```json\n$ no\n```\n### More\n```console\n$ five\n```\n## Else\n```console\n$ no\n```\n";

    #[test]
    fn commands_are_those_below_their_heading() {
        assert_eq!(console(DOCUMENT, "Use it"), ["one --two --three", "four", "five"]);
        assert!(console(DOCUMENT, "Missing").is_empty());
    }
}
