//! The command line: global flags, and one variant a command. What a command takes is declared beside its code in [`crate::cmd`].

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, CommandFactory, Parser, Subcommand};
use clap_complete::ArgValueCandidates;

use crate::cmd;
use crate::complete;
use crate::exit::EXIT_STATUS_HELP;
use crate::theme::Theme;

/// Signs in to Kubernetes clusters over the tailnet.
///
/// The tailnet knows who you are, its policy says which role you may have and for how long; the cluster has your access for just
/// that time.
#[derive(Debug, Parser)]
#[command(name = "tka", version = cmd::version::description(), after_help = EXIT_STATUS_HELP)]
pub struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,

    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

/// Flags that every command takes.
#[derive(Args, Clone, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "a switch is a bool")]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// Configuration file [default: config.yaml in ., ~/.config/tka or /etc/tka]
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
    #[arg(add = ArgValueCandidates::new(complete::servers))]
    pub(crate) server: Option<String>,

    /// Colours [default: tokyo-night]
    #[arg(short, long, global = true, value_enum)]
    pub(crate) theme: Option<Theme>,

    /// Longest time in seconds that a command waits for the server [default: 30]
    #[arg(long, global = true, hide = true, value_name = "SECONDS", value_parser = parse_seconds)]
    pub(crate) timeout: Option<Duration>,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Login(cmd::login::Arguments),
    Kubeconfig(cmd::kubeconfig::Arguments),
    Get(cmd::get::Arguments),
    ClusterInfo(cmd::cluster_info::Arguments),
    Reauthenticate(cmd::reauthenticate::Arguments),
    Signout(cmd::signout::Arguments),
    #[cfg(unix)]
    Exec(cmd::exec::Arguments),
    #[cfg(unix)]
    Shell(cmd::shell::Arguments),
    Status(cmd::status::Arguments),
    Sessions(cmd::sessions::Arguments),
    Clusters(cmd::clusters::Arguments),
    Rules(cmd::rules::Arguments),
    Credential(cmd::credential::Arguments),
    Doctor(cmd::doctor::Arguments),
    Config(cmd::config::Arguments),
    Set(cmd::set::Arguments),
    Completion(cmd::completion::Arguments),
    Generate(cmd::generate::Arguments),
    Version(cmd::version::Arguments),
}

/// Spells `-c` out where it means the line for `tka shell`, as it does for every shell: before that word it means `--config`.
pub(crate) fn with_shell_line(mut arguments: Vec<OsString>) -> Vec<OsString> {
    // Knowing the options takes time that other commands can do without.
    if !arguments.iter().any(|argument| argument == "shell") {
        return arguments;
    }
    let Some(shell) = first_word(&arguments).filter(|&at| arguments[at] == "shell") else {
        return arguments;
    };
    for argument in arguments[shell..].iter_mut().take_while(|argument| *argument != "--") {
        let line = argument.to_str().and_then(|text| text.strip_prefix("-c"));
        match line {
            Some("") => *argument = "--command".into(),
            Some(line) => *argument = format!("--command={line}").into(),
            None => {}
        }
    }
    arguments
}

/// Where the command is, behind the program's name and global options with their values.
fn first_word(arguments: &[OsString]) -> Option<usize> {
    let cli = Cli::command();
    let takes_next = |text: &str| {
        let mut options = cli.get_arguments().filter(|option| option.get_action().takes_values());
        options.any(|option| {
            let long = option
                .get_long()
                .is_some_and(|long| text.strip_prefix("--") == Some(long));
            let short = option
                .get_short()
                .is_some_and(|short| text.strip_prefix('-') == Some(short.encode_utf8(&mut [0; 4])));
            long || short
        })
    };
    let mut at = 1;
    loop {
        match arguments.get(at)?.to_str() {
            Some(text) if takes_next(text) => at += 2,
            Some(text) if text.starts_with('-') => at += 1,
            _ => return Some(at),
        }
    }
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
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_line_is_for_the_shell() {
        for (typed, meant) in [
            ("tka shell -c x", "tka shell --command x"),
            (
                "tka -c file --server shell -q shell --role view -cx",
                "tka -c file --server shell -q shell --role view --command=x",
            ),
            ("tka shell -- -c", "tka shell -- -c"),
            (
                "tka --server=x shell -c x -c y",
                "tka --server=x shell --command x --command y",
            ),
            ("tka -c shell login -c x", "tka -c shell login -c x"),
            ("tka exec -- shell -c x", "tka exec -- shell -c x"),
            ("tka", "tka"),
        ] {
            let words = |text: &str| text.split(' ').map(OsString::from).collect::<Vec<_>>();
            assert_eq!(with_shell_line(words(typed)), words(meant));
        }
    }

    #[test]
    fn timeouts_are_positive_seconds() {
        assert_eq!(parse_seconds("0.25"), Ok(Duration::from_millis(250)));
        for text in ["0", "-1", "x", "inf", "NaN"] {
            assert!(parse_seconds(text).is_err(), "{text}");
        }
    }
}
