//! Colours and signs.

use std::fmt::Display;

use anstyle::{AnsiColor, Color, RgbColor, Style};
use clap::ValueEnum;

/// The themes. Their names are those in the original's configuration files.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, ValueEnum)]
pub(crate) enum Theme {
    /// The Tokyo Night colours
    #[default]
    TokyoNight,
    /// No colours, ASCII signs only
    Ascii,
    /// The terminal's bright colours
    Dark,
    /// The Dracula colours
    Dracula,
    /// The terminal's dark colours
    Light,
    /// No colours
    Markdown,
    /// No colours
    Notty,
}

/// The styles of a theme.
#[derive(Clone, Debug)]
pub(crate) struct Palette {
    pub(crate) ok: Style,
    pub(crate) error: Style,
    pub(crate) warning: Style,
    pub(crate) label: Style,
    pub(crate) strong: Style,
    pub(crate) signs: Signs,
}

/// The signs before lines.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Signs {
    pub(crate) ok: &'static str,
    pub(crate) error: &'static str,
    pub(crate) warning: &'static str,
    pub(crate) arrow: &'static str,
    pub(crate) skipped: &'static str,
}

const UNICODE: Signs = Signs {
    ok: "✓",
    error: "✗",
    warning: "!",
    arrow: "→",
    skipped: "–",
};
const ASCII: Signs = Signs {
    ok: "ok:",
    error: "error:",
    warning: "warning:",
    arrow: "->",
    skipped: "--",
};

// === impl Theme ===

impl Theme {
    pub(crate) fn named(name: &str) -> Option<Self> {
        let mut themes = Self::value_variants().iter().copied();
        themes.find(|theme| theme.name() == name)
    }

    /// All names, for messages.
    pub(crate) fn names() -> String {
        let names: Vec<_> = Self::value_variants().iter().map(|theme| theme.name()).collect();
        names.join(", ")
    }

    pub(crate) fn name(self) -> String {
        let value = self.to_possible_value();
        value.map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    pub(crate) fn has_colours(self) -> bool {
        !matches!(self, Self::Ascii | Self::Markdown | Self::Notty)
    }

    pub(crate) fn palette(self) -> Palette {
        match self {
            Self::Ascii => Palette::plain(ASCII),
            Self::Markdown | Self::Notty => Palette::plain(UNICODE),
            Self::TokyoNight => Palette::colours(rgb(0x9e_ce6a), rgb(0xf7_768e), rgb(0xe0_af68), rgb(0x7d_cfff)),
            Self::Dracula => Palette::colours(rgb(0x50_fa7b), rgb(0xff_5555), rgb(0xf1_fa8c), rgb(0xbd_93f9)),
            Self::Dark => Palette::colours(
                AnsiColor::BrightGreen.into(),
                AnsiColor::BrightRed.into(),
                AnsiColor::BrightYellow.into(),
                AnsiColor::BrightCyan.into(),
            ),
            Self::Light => Palette::colours(
                AnsiColor::Green.into(),
                AnsiColor::Red.into(),
                AnsiColor::Magenta.into(),
                AnsiColor::Blue.into(),
            ),
        }
    }
}

// === impl Palette ===

impl Palette {
    fn plain(signs: Signs) -> Self {
        let none = Style::new();
        Self {
            ok: none,
            error: none,
            warning: none,
            label: none,
            strong: none,
            signs,
        }
    }

    fn colours(ok: Color, error: Color, warning: Color, label: Color) -> Self {
        let in_colour = |colour| Style::new().fg_color(Some(colour));
        Self {
            ok: in_colour(ok).bold(),
            error: in_colour(error).bold(),
            warning: in_colour(warning),
            label: in_colour(label),
            strong: Style::new().bold(),
            signs: UNICODE,
        }
    }
}

fn rgb(hex: u32) -> Color {
    let [_, red, green, blue] = hex.to_be_bytes();
    RgbColor(red, green, blue).into()
}

/// `text` in `style`; nothing is added for a style without effects.
pub(crate) fn paint(style: Style, text: impl Display) -> String {
    format!("{style}{text}{style:#}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_contracts_names() {
        let names = "tokyo-night, ascii, dark, dracula, light, markdown, notty";
        assert_eq!(Theme::names(), names);
        assert_eq!(Theme::named("dracula"), Some(Theme::Dracula));
        assert_eq!(Theme::named("solarized"), None);
    }

    #[test]
    fn plain_themes_add_nothing() {
        for theme in [Theme::Ascii, Theme::Markdown, Theme::Notty] {
            assert_eq!(paint(theme.palette().error, "x"), "x");
        }
        for theme in Theme::value_variants() {
            let is_painted = paint(theme.palette().error, "x") != "x";
            assert_eq!(theme.has_colours(), is_painted, "{theme:?}");
        }
        assert!(theme_signs_are_ascii(Theme::Ascii));
    }

    fn theme_signs_are_ascii(theme: Theme) -> bool {
        let Signs {
            ok,
            error,
            warning,
            arrow,
            skipped,
        } = theme.palette().signs;
        [ok, error, warning, arrow, skipped].iter().all(|sign| sign.is_ascii())
    }

    #[test]
    fn colours_are_those_of_the_theme() {
        let label = paint(Theme::TokyoNight.palette().label, "x");
        assert_eq!(label, "\u{1b}[38;2;125;207;255mx\u{1b}[0m");
    }
}
