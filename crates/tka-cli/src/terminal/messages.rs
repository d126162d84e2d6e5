//! Messages for users, as text. Nothing here prints, and time is an argument.

use anstyle::Style;
use console::measure_text_width;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use tka_api::http::LoginResponse;

use crate::terminal::output::{self, RenderOptions};
use crate::terminal::sections;
use crate::terminal::theme::{Palette, paint};
use crate::terminal::time_format;
use crate::terminal::wrap::wrapped;

/// The current time and the zone to show times in.
#[derive(Clone, Debug)]
pub(crate) struct Clock {
    pub(crate) now: Timestamp,
    pub(crate) zone: TimeZone,
}

/// Lines with a label and a value each.
pub(crate) type Fields = Vec<(&'static str, String)>;

impl Clock {
    /// The current time on this machine.
    pub(crate) fn system() -> Self {
        Self {
            now: Timestamp::now(),
            zone: TimeZone::system(),
        }
    }
}

/// A sign-in. `extra` are the lines that `--long` adds.
pub(crate) fn signed_in(login: &LoginResponse, extra: Fields, options: &RenderOptions<'_>) -> String {
    let Palette { ok, strong, signs, .. } = *options.palette;
    let user = paint(strong, clean(&login.username));
    let head = with_sign(ok, signs.ok, &format!("signed in as {user}"), options.width);
    head + &fields([access(login, &options.clock), extra].concat(), options)
}

/// A success.
pub(crate) fn done(text: &str, palette: &Palette) -> String {
    with_sign(palette.ok, palette.signs.ok, &clean(text), output::stderr_width())
}

pub(crate) fn note(text: &str, palette: &Palette) -> String {
    with_sign(palette.label, palette.signs.arrow, &clean(text), output::stderr_width())
}

pub(crate) fn warning(text: &str, palette: &Palette) -> String {
    with_sign(
        palette.warning,
        palette.signs.warning,
        &clean(text),
        output::stderr_width(),
    )
}

/// A question, followed by its answer.
pub(crate) fn question(text: &str, palette: &Palette) -> String {
    format!("{} {} ", paint(palette.label, palette.signs.arrow), clean(text))
}

/// `text` after a sign, wrapped and indented. It may have colours, so foreign text must be clean already.
fn with_sign(style: Style, sign: &str, text: &str, width: Option<u16>) -> String {
    let indent = " ".repeat(measure_text_width(sign) + 1);
    format!("{} {}\n", paint(style, sign), hanging(text, &indent, width))
}

/// An error: what happened, why, and what to do. A cause that repeats the error is left out. On a terminal it ends with where to read more.
pub(crate) fn problem(what: &str, why: Vec<String>, advice: Vec<String>, options: &RenderOptions<'_>) -> String {
    let what = clean(what);
    let why: Vec<_> = why
        .into_iter()
        .map(|line| clean(&line))
        .filter(|line| !what.contains(line))
        .collect();
    let said: Vec<_> = why.iter().chain([&what]).map(String::as_str).collect();
    let more = options.width.and_then(|_| sections::address(&said));
    let head = with_sign(options.palette.error, options.palette.signs.error, &what, options.width);
    let lines = why.into_iter().map(|line| ("why", line));
    let lines = lines.chain(advice.into_iter().map(|line| ("do", line)));
    head + &fields(lines.chain(more.map(|address| ("see", address))).collect(), options)
}

pub(crate) fn access(login: &LoginResponse, clock: &Clock) -> Fields {
    vec![
        ("role", login.role.clone()),
        ("until", time_format::until(login.until, clock.now, &clock.zone)),
    ]
}

/// Aligned lines. A label is not repeated. On a terminal values are wrapped beside their labels.
pub(crate) fn fields(lines: Fields, options: &RenderOptions<'_>) -> String {
    let plain = lines.into_iter().map(|(label, value)| (label, value, Style::new()));
    styled_fields(plain.collect(), options)
}

/// Aligned lines with coloured values.
pub(crate) fn styled_fields(lines: Vec<(&'static str, String, Style)>, options: &RenderOptions<'_>) -> String {
    let width = lines.iter().map(|(label, ..)| label.len()).max().unwrap_or(0);
    let indent = " ".repeat(2 + width + 2);
    let mut last = "";
    let mut text = String::new();
    for (label, value, style) in lines {
        let shown = if label == last { "" } else { label };
        text.push_str("  ");
        text.push_str(&paint(options.palette.label, format_args!("{shown:width$}")));
        text.push_str("  ");
        text.push_str(&hanging(&paint(style, clean(&value)), &indent, options.width));
        text.push('\n');
        last = label;
    }
    text
}

/// `text` wrapped after an indent.
pub(crate) fn hanging(text: &str, indent: &str, width: Option<u16>) -> String {
    let width = width.map(|width| usize::from(width).saturating_sub(indent.len()));
    wrapped(text, width).join(&format!("\n{indent}"))
}

/// Removes control and invisible characters. A server's text must neither control the terminal nor look like another text.
pub(crate) fn clean(text: &str) -> String {
    let spaced = text.chars().map(|c| if c.is_whitespace() { ' ' } else { c });
    spaced.filter(|c| !c.is_control() && !is_format(*c)).collect()
}

/// Whether the character is invisible, such as one that changes the writing direction (Unicode category Cf, variation selectors).
fn is_format(c: char) -> bool {
    matches!(
        c,
        '\u{ad}'
            | '\u{600}'..='\u{605}'
            | '\u{61c}'
            | '\u{6dd}'
            | '\u{70f}'
            | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{fe00}'..='\u{fe0f}'
            | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}'
            | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}'
    )
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::terminal::theme::Theme;

    /// Not on a terminal.
    pub(crate) fn options(palette: &Palette) -> RenderOptions<'_> {
        let clock = Clock {
            now: "2026-01-02T15:04:05Z".parse().unwrap(),
            zone: TimeZone::UTC,
        };
        RenderOptions {
            palette,
            clock,
            width: None,
            long: false,
        }
    }

    pub(crate) fn login() -> LoginResponse {
        LoginResponse {
            username: "alice@example.com".into(),
            role: "cluster-admin".into(),
            until: "2026-01-02T15:19:00Z".parse().unwrap(),
            approval: None,
        }
    }

    fn plain() -> Palette {
        Theme::Notty.palette()
    }

    #[test]
    fn a_sign_in() {
        insta::assert_snapshot!(signed_in(&login(), vec![], &options(&plain())), @"
        ✓ signed in as alice@example.com
          role   cluster-admin
          until  in 14 min (2026-01-02 15:19:00 UTC)
        ");
        let extra = vec![("server", "https://tka.example.ts.net".to_owned())];
        insta::assert_snapshot!(signed_in(&login(), extra, &options(&Theme::Ascii.palette())), @"
        ok: signed in as alice@example.com
          role    cluster-admin
          until   in 14 min (2026-01-02 15:19:00 UTC)
          server  https://tka.example.ts.net
        ");
    }

    #[test]
    fn a_long_note_is_wrapped_below_itself() {
        let palette = plain();
        let text = with_sign(
            palette.label,
            palette.signs.arrow,
            "kubectl in this shell uses it already, and more",
            Some(24),
        );
        insta::assert_snapshot!(text, @"
        → kubectl in this shell
          uses it already, and
          more
        ");
    }

    #[test]
    fn control_and_invisible_characters_are_removed() {
        let hostile = "\u{1b}[2Ja\u{7}\u{9b}b\u{202e}c\u{2066}d\u{200f}e\u{61c}f\u{200b}g\u{200d}h\u{2060}i\u{feff}j\nk\u{e0041}l";
        let seen = "[2Jabcdefghij kl";
        assert_eq!(clean(hostile), seen);
        assert_eq!(clean("é 日本 ✓ 🦀 ك"), "é 日本 ✓ 🦀 ك");
        let palette = plain();
        let lines = vec![("role", hostile.to_owned())];
        for text in [
            done(hostile, &palette),
            note(hostile, &palette),
            warning(hostile, &palette),
            question(hostile, &palette),
            fields(lines, &options(&palette)),
        ] {
            assert_eq!(text, text.replace(hostile, ""));
            assert!(text.contains(seen), "{text:?}");
        }
    }

    #[test]
    fn colours_do_not_reach_into_the_text() {
        let text = signed_in(&login(), vec![], &options(&Theme::TokyoNight.palette()));
        assert!(text.contains("\u{1b}[") && text.ends_with("UTC)\n"), "{text:?}");
    }
}
