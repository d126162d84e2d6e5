//! Tables: a heading in the theme's colour, columns two spaces apart, no lines.

use console::{Alignment, measure_text_width, pad_str};

use crate::terminal::messages::hanging;
use crate::terminal::output::{self, RenderOptions};
use crate::terminal::theme::paint;

/// The gap between two columns.
const GAP: usize = 2;

/// A table of `rows` below `heading`. Columns that are empty in every row are left out.
///
/// On a narrow terminal each row becomes a paragraph with one line per column. Names stay whole, to be copied. A first column without a
/// heading is a mark before the paragraph.
pub(crate) fn table<const N: usize>(heading: [&str; N], rows: &[[String; N]], options: &RenderOptions<'_>) -> String {
    let column = |column: usize| {
        let width = |row: &[String; N]| measure_text_width(&row[column]);
        let widest = rows.iter().map(width).max().unwrap_or(0);
        (widest > 0).then(|| (column, widest.max(heading[column].len())))
    };
    let columns: Vec<(usize, usize)> = (0..N).filter_map(column).collect();
    let needed: usize = columns.iter().map(|(_, width)| width + GAP).sum();
    let is_too_narrow = |width: u16| needed.saturating_sub(GAP) > width.into();
    if options.width.is_some_and(is_too_narrow) {
        return paragraphs(heading, rows, options);
    }
    let line = |cells: &[&str; N]| aligned(&columns, cells);
    let head = paint(options.palette.label, line(&heading));
    let body = rows.iter().map(|row| line(&row.each_ref().map(String::as_str)));
    head + "\n" + &output::lines(body)
}

fn aligned<const N: usize>(columns: &[(usize, usize)], cells: &[&str; N]) -> String {
    let cell =
        |&(column, width): &(usize, usize)| pad_str(cells[column], width + GAP, Alignment::Left, None).into_owned();
    columns.iter().map(cell).collect::<String>().trim_end().to_owned()
}

fn paragraphs<const N: usize>(heading: [&str; N], rows: &[[String; N]], options: &RenderOptions<'_>) -> String {
    let labels = heading.map(str::to_lowercase);
    let width = labels.iter().map(String::len).max().unwrap_or(0);
    let marks = usize::from(heading[0].is_empty());
    let mark_width = rows.iter().map(|row| measure_text_width(&row[0]) + GAP).max();
    let before = " ".repeat(mark_width.unwrap_or(0) * marks);
    let indent = format!("{before}{}", " ".repeat(width + GAP));
    let paragraph = |row: &[String; N]| {
        let filled = labels.iter().zip(row).skip(marks).filter(|(_, cell)| !cell.is_empty());
        let lines = filled.map(|(label, cell)| {
            let label = paint(options.palette.label, format_args!("{label:width$}"));
            format!("{before}{label}  {}", hanging(cell, &indent, options.width))
        });
        let text = output::lines(lines);
        let mark = if marks == 1 { row[0].as_str() } else { "" };
        let mark = pad_str(mark, before.len(), Alignment::Left, None);
        format!("{mark}{}", text.strip_prefix(&before).unwrap_or(&text))
    };
    rows.iter().map(paragraph).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::terminal::messages::Clock;
    use crate::terminal::theme::{Palette, Theme};
    use jiff::tz::TimeZone;

    fn options(palette: &Palette, width: Option<u16>) -> RenderOptions<'_> {
        RenderOptions {
            palette,
            clock: Clock {
                now: jiff::Timestamp::UNIX_EPOCH,
                zone: TimeZone::UTC,
            },
            width,
            long: false,
        }
    }

    fn shown(width: Option<u16>) -> String {
        let rows = [
            ["oncall", "", "cluster-admin", "for the pager's user"],
            ["", "", "view", "default"],
        ];
        let rows = rows.map(|row| row.map(ToOwned::to_owned));
        table(
            ["NAME", "WHERE", "ROLE", "NOTES"],
            &rows,
            &options(&Theme::Notty.palette(), width),
        )
    }

    #[test]
    fn columns_are_aligned_and_empty_ones_left_out() {
        insta::assert_snapshot!(shown(None), @"
        NAME    ROLE           NOTES
        oncall  cluster-admin  for the pager's user
                view           default
        ");
    }

    #[test]
    fn a_narrow_terminal_gets_paragraphs() {
        assert_eq!(shown(Some(43)), shown(None));
        insta::assert_snapshot!(shown(Some(42)), @"
        name   oncall
        role   cluster-admin
        notes  for the pager's user

        role   view
        notes  default
        ");
    }

    #[test]
    fn paragraphs_fit_the_terminal_and_have_their_mark_before_them() {
        let palette = Theme::Notty.palette();
        let rows = [
            ["*", "tka", "signed in: edit in 59 min (2026-01-02 16:03:05 CET)"],
            [
                "",
                "west",
                "https://a-name-that-is-longer-than-the-terminal.example.com",
            ],
        ];
        let rows = rows.map(|row| row.map(ToOwned::to_owned));
        let text = table(["", "NAME", "ACCESS"], &rows, &options(&palette, Some(40)));
        insta::assert_snapshot!(text);
    }

    #[test]
    fn wide_characters_and_colours_are_measured_as_they_are_seen() {
        let palette = Theme::Notty.palette();
        let rows = [["日本", "x"], ["\u{1b}[1mab\u{1b}[0m", "y"]].map(|row| row.map(ToOwned::to_owned));
        let text = table(["N", "M"], &rows, &options(&palette, None));
        assert_eq!(text, "N     M\n日本  x\n\u{1b}[1mab\u{1b}[0m    y\n");
    }

    #[test]
    fn the_heading_has_the_themes_colour() {
        let palette = Theme::Dark.palette();
        let rows = [["a".to_owned()]];
        let table = table(["NAME"], &rows, &options(&palette, None));
        assert_eq!(table, "\u{1b}[96mNAME\u{1b}[0m\na\n");
    }
}
