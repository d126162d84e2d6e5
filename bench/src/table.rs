//! A table, as text for a terminal and as Markdown for the documentation. By value.

use std::fmt::Write as _;

use serde::Serialize;

/// A table. Its first column is text, the others are figures.
#[derive(Clone, Debug, Serialize)]
pub struct Table {
    /// What it shows.
    pub title: String,
    /// What its columns hold.
    pub head: Vec<String>,
    /// Its lines, each of as many cells.
    pub rows: Vec<Vec<String>>,
}

// === impl Table ===

impl Table {
    /// One without a line yet.
    #[must_use]
    pub fn new(title: &str, head: &[&str]) -> Self {
        Self {
            title: title.to_owned(),
            head: head.iter().map(|cell| (*cell).to_owned()).collect(),
            rows: Vec::new(),
        }
    }

    /// Adds a line.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// For a terminal: columns of one width.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = format!("{}\n", self.title);
        let widths = self.widths();
        for row in std::iter::once(&self.head).chain(&self.rows) {
            let mut line = String::new();
            for (at, (cell, width)) in row.iter().zip(&widths).enumerate() {
                // Writing to a text cannot fail.
                let _ = if at == 0 {
                    write!(line, "{cell:<width$}")
                } else {
                    write!(line, "  {cell:>width$}")
                };
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }

    /// For the documentation.
    #[must_use]
    pub fn markdown(&self) -> String {
        let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
        let rule: Vec<_> = (0..self.head.len())
            .map(|at| if at == 0 { "---" } else { "--:" }.to_owned())
            .collect();
        let rows: String = self.rows.iter().map(|row| line(row)).collect();
        format!("**{}**\n\n{}{}{rows}", self.title, line(&self.head), line(&rule))
    }

    fn widths(&self) -> Vec<usize> {
        let column = |at: usize| {
            let cells = std::iter::once(&self.head)
                .chain(&self.rows)
                .filter_map(|row| row.get(at));
            cells.map(|cell| cell.chars().count()).max().unwrap_or_default()
        };
        (0..self.head.len()).map(column).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table = Table::new("growth", &["sessions", "memory"]);
        table.row(["10".to_owned(), "17.1 MB".to_owned()]);
        table.row(["10000".to_owned(), "-".to_owned()]);
        table
    }

    #[test]
    fn columns_stand_below_each_other() {
        assert_eq!(
            table().text(),
            "growth\nsessions   memory\n10        17.1 MB\n10000           -\n"
        );
    }

    #[test]
    fn markdown_has_a_rule_below_its_head() {
        let expected = "**growth**\n\n| sessions | memory |\n| --- | --: |\n| 10 | 17.1 MB |\n| 10000 | - |\n";
        assert_eq!(table().markdown(), expected);
    }
}
