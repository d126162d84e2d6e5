//! `tka recordings play`

use std::process::ExitCode;
use std::time::Duration;

use super::content::{Keys, content, tell_cut};
use crate::context::CommandContext;
use crate::error::Error;
use crate::recordings::offset;
use crate::recordings::play::{Options, SPEEDS, play};
use crate::terminal::messages;

/// What a shell adds to the number of a signal that ended a program.
#[cfg(unix)]
const SIGNALLED: i32 = 128;

/// Play a recording, with its timing
///
/// On a terminal, space pauses and goes on, and `.` shows the next event of a pause. The arrows to the left and right go 5 seconds back and
/// forward, + and - change the speed, q leaves. Elsewhere it is written in its time. Only what changes the picture reaches the terminal.
/// Left out are sequences that write the clipboard, change a title, ask the terminal for an answer, or leave it changed.
#[derive(clap::Args, Debug)]
pub(super) struct Play {
    /// Its ID, as `tka recordings list` shows it
    id: String,

    /// How many times as fast as it was recorded
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0, value_parser = speed)]
    speed: f64,

    /// Longest pause: `2`, `1.5`, `1m` [default: what the recording says, if it says so]
    #[arg(long, value_name = "TIME", value_parser = time)]
    idle: Option<Duration>,

    /// Begin at this time of the recording, as `tka recordings grep` prints it: `90`, `1:30`, `1m30s`
    #[arg(long, value_name = "TIME", value_parser = time)]
    from: Option<Duration>,

    #[command(flatten)]
    keys: Keys,
}

// === impl Play ===

impl Play {
    pub(super) fn run(&self, ctx: &CommandContext) -> Result<ExitCode, Error> {
        let files = self.keys.files(ctx);
        let options = Options {
            speed: self.speed,
            idle: self.idle,
            from: self.from,
        };
        let ended = play(&self.id, options, &|| content(ctx, &self.id, &files))?;
        #[cfg(unix)]
        if let Some(signal) = ended.signal {
            // The terminal is back: now the signal does what it does elsewhere.
            let _ = signal_hook::low_level::emulate_default_handler(signal);
            return Ok(ExitCode::from(u8::try_from(SIGNALLED + signal).unwrap_or(u8::MAX)));
        }
        if ended.is_cut {
            tell_cut(ctx, &self.id);
        }
        if ended.left_out > 0 {
            let text = format!(
                "{} sequences are left out that do more to a terminal than change the picture: `tka recordings export` has them",
                ended.left_out
            );
            ctx.ui.notify(&messages::note(&text, &ctx.ui.palette));
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn speed(text: &str) -> Result<f64, String> {
    let speed = text.parse().ok().filter(|speed| SPEEDS.contains(speed));
    speed.ok_or_else(|| format!("give a number from {} to {}", SPEEDS.start(), SPEEDS.end()))
}

fn time(text: &str) -> Result<Duration, String> {
    offset::parse(text).ok_or_else(|| "give a time such as 90, 1:30 or 1m30s".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn speeds_are_in_their_range() {
        assert_eq!(speed("2.5"), Ok(2.5));
        for wrong in ["0", "-1", "x", "inf", "NaN", "1001"] {
            assert!(speed(wrong).unwrap_err().contains("from 0.01 to 1000"), "{wrong}");
        }
        assert!(time("1:30").is_ok() && time("soon").is_err());
    }
}
