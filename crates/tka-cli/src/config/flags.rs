//! The global flags.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use crate::terminal::theme::Theme;

/// Flags that every command takes.
#[derive(Args, Clone, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "a switch is a bool")]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// Configuration file [default: config.yaml in ~/.config/tka or /etc/tka]
    #[arg(short, long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,

    /// Show requests and where settings come from; never shows a token
    #[arg(long, global = true)]
    pub(crate) debug: bool,

    /// Show more
    #[arg(short, long, global = true)]
    pub(crate) long: bool,

    /// Print the kubeconfig's path for reading, not a line for the shell to evaluate
    #[arg(short = 'e', long, global = true)]
    pub(crate) no_eval: bool,

    /// Port of the server; 443 speaks HTTPS, any other HTTP inside the tailnet's encryption [default: 443]
    #[arg(short, long, global = true, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) port: Option<u16>,

    /// Show only what a shell evaluates, and errors
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,

    /// The server: its name in the tailnet, a full name, an address or a URL [default: tka]
    #[arg(short, long, global = true, value_name = "HOST")]
    pub(crate) server: Option<String>,

    /// Colours [default: tokyo-night]
    #[arg(short, long, global = true, value_enum)]
    pub(crate) theme: Option<Theme>,

    /// Longest time in seconds that a command waits for the server [default: 30]
    #[arg(long, global = true, hide = true, value_name = "SECONDS", value_parser = parse_seconds)]
    pub(crate) timeout: Option<Duration>,
}

fn parse_seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "expected a number of seconds".to_owned())?;
    match Duration::try_from_secs_f64(seconds) {
        Ok(duration) if !duration.is_zero() => Ok(duration),
        _ => Err("expected a number of seconds above 0".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_are_positive_seconds() {
        assert_eq!(parse_seconds("0.25"), Ok(Duration::from_millis(250)));
        for text in ["0", "-1", "x", "inf", "NaN"] {
            assert!(parse_seconds(text).is_err(), "{text}");
        }
    }
}
