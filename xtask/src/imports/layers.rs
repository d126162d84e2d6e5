//! The layers of each crate, as ARCHITECTURE.md shows them.

/// What begins the block that holds them.
const BEGIN: &str = "```layers";
const END: &str = "```";

/// The layers of one crate, the highest first.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Layers(Vec<Vec<String>>);

// === impl Layers ===

impl Layers {
    /// Those of all crates, by folder. A line is `FOLDER: HIGHEST > … > LOWEST`, with the modules of a layer between spaces; a line that
    /// begins with white space goes on with the one before.
    pub(super) fn of_document(text: &str) -> Result<Vec<(String, Self)>, String> {
        let block = text.split_once(BEGIN).and_then(|(_, rest)| rest.split_once(END));
        let (block, _) = block.ok_or_else(|| format!("there is no block that begins with {BEGIN}"))?;
        let mut lines: Vec<String> = Vec::new();
        for line in block.lines().filter(|line| !line.trim().is_empty()) {
            match lines.last_mut() {
                Some(last) if line.starts_with(char::is_whitespace) => last.push_str(line),
                _ => lines.push(line.to_owned()),
            }
        }
        lines.iter().map(|line| Self::of_line(line)).collect()
    }

    fn of_line(line: &str) -> Result<(String, Self), String> {
        let (folder, layers) = line
            .split_once(':')
            .ok_or_else(|| format!("`{line}` does not begin with a folder and a colon"))?;
        let layers: Vec<Vec<String>> = layers
            .split('>')
            .map(|layer| layer.split_whitespace().map(ToOwned::to_owned).collect())
            .collect();
        let mut modules: Vec<_> = layers.iter().flatten().collect();
        modules.sort_unstable();
        if let Some([twice, _]) = modules.array_windows().find(|[one, next]| one == next) {
            return Err(format!("`{folder}` has the module `{twice}` twice"));
        }
        Ok((folder.trim().to_owned(), Self(layers)))
    }

    /// The layer of a module, counted from the highest; none where it has no place.
    pub(super) fn of(&self, module: &str) -> Option<usize> {
        self.0.iter().position(|layer| layer.iter().any(|name| name == module))
    }

    /// Whether `from` may not import `to`. What has no place is told as that.
    pub(super) fn is_upward(&self, from: &str, to: &str) -> bool {
        match (self.of(from), self.of(to)) {
            (Some(from), Some(to)) => to <= from,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_are_read_from_the_document() {
        let text = "# Layers\n\n```layers\ncrates/a: cmd > session doctor\n  > api\ncrates/b: all\n```\n\n```text\nx: y\n```\n";
        let layers = Layers::of_document(text).unwrap();
        assert_eq!(layers.len(), 2);
        let (folder, layers) = &layers[0];
        assert_eq!(folder, "crates/a");
        assert_eq!(
            ["cmd", "doctor", "api", "x"].map(|name| layers.of(name)),
            [Some(0), Some(1), Some(2), None]
        );
        assert!(!layers.is_upward("cmd", "api") && !layers.is_upward("session", "x"));
        assert!(layers.is_upward("api", "cmd") && layers.is_upward("session", "doctor"));
    }

    #[test]
    fn what_is_no_table_is_refused() {
        for text in ["", "```layers\ncmd > api\n```", "```layers\na: cmd > cmd\n```"] {
            assert!(Layers::of_document(text).is_err(), "{text}");
        }
    }
}
