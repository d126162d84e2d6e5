//! The command line: global flags and commands. [`crate::cmd`] declares the arguments of each command beside its code.

use std::ffi::OsString;

use clap::{CommandFactory, Parser, Subcommand};

use crate::cmd;
use crate::config::flags::Global;
use crate::exit::EXIT_STATUS_HELP;
use crate::terminal::theme::Theme;

/// Signs in to Kubernetes clusters over the tailnet.
///
/// The tailnet identifies you, and its policy says which role you may have and for how long. The cluster has your access for just that
/// time.
#[derive(Debug, Parser)]
#[command(term_width = 0, name = "tka", version = cmd::version::description(), after_help = EXIT_STATUS_HELP)]
pub struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,

    #[command(subcommand)]
    pub(crate) command: Option<Command>,
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
    Elevate(cmd::elevate::Arguments),
    #[cfg(unix)]
    Exec(cmd::exec::Arguments),
    #[cfg(unix)]
    Shell(cmd::shell::Arguments),
    Status(cmd::status::Arguments),
    Sessions(cmd::sessions::Arguments),
    Clusters(cmd::clusters::Arguments),
    Rules(cmd::rules::Arguments),
    Approvals(cmd::approvals::Arguments),
    Recordings(cmd::recordings::Arguments),
    Audit(cmd::audit::Arguments),
    Policy(cmd::policy::Arguments),
    Credential(cmd::credential::Arguments),
    Doctor(cmd::doctor::Arguments),
    Config(cmd::config::Arguments),
    Set(cmd::set::Arguments),
    Completion(cmd::completion::Arguments),
    Generate(cmd::generate::Arguments),
    Version(cmd::version::Arguments),
}

/// Expands `-c` behind `shell` to `--command`, as shells have it. Before that word it means `--config`.
pub(crate) fn expand_shell_command_flag(arguments: Vec<OsString>) -> Vec<OsString> {
    // Building the options takes time that other commands save.
    if !arguments.iter().any(|argument| argument == "shell") {
        return arguments;
    }
    let cli = Cli::command();
    let Some(shell) = subcommand_position(&cli, &arguments).filter(|&at| arguments[at] == "shell") else {
        return arguments;
    };
    let own = cli.find_subcommand("shell");
    let takes_value = |short| takes_value(&cli, short) || own.is_some_and(|own| takes_value(own, short));
    let options = arguments[shell..].iter().take_while(|argument| *argument != "--");
    let options = options.flat_map(|argument| expand_short_flag(argument, takes_value));
    let end = arguments[shell..].iter().skip_while(|argument| *argument != "--");
    arguments[..shell]
        .iter()
        .cloned()
        .chain(options)
        .chain(end.cloned())
        .collect()
}

/// Replaces `-c` in `argument` by `--command`.
fn expand_short_flag(argument: &OsString, takes_value: impl Fn(char) -> bool) -> Vec<OsString> {
    let found = argument
        .to_str()
        .and_then(|text| split_short_option(text, |short| short == 'c' || takes_value(short)));
    let Some((before, 'c', line)) = found else {
        return vec![argument.clone()];
    };
    let before = (before != "-").then(|| before.into());
    let command = if line.is_empty() {
        "--command".into()
    } else {
        format!("--command={line}").into()
    };
    before.into_iter().chain([command]).collect()
}

/// The first short option in `text` that takes a value, with the text before and after it: `-qs HOST` is valid.
fn split_short_option(text: &str, takes_value: impl Fn(char) -> bool) -> Option<(&str, char, &str)> {
    let shorts = text.strip_prefix('-').filter(|rest| !rest.starts_with('-'))?;
    let (at, short) = shorts.char_indices().find(|(_, short)| takes_value(*short))?;
    Some((&text[..=at], short, &shorts[at + short.len_utf8()..]))
}

/// Finds the theme in a command line that is wrong or asks for help.
pub(crate) fn find_theme(arguments: &[OsString]) -> Option<Theme> {
    let cli = Cli::command();
    let mut words = arguments
        .iter()
        .map_while(|word| word.to_str())
        .take_while(|word| *word != "--");
    let mut found = None;
    while let Some(word) = words.next() {
        let short = split_short_option(word, |short| takes_value(&cli, short));
        let value = match (word.strip_prefix("--theme"), short) {
            (Some(""), _) | (_, Some((_, 't', ""))) => words.next(),
            (Some(value), _) => value.strip_prefix('='),
            (_, Some((_, 't', value))) => Some(value.strip_prefix('=').unwrap_or(value)),
            _ => None,
        };
        found = value.and_then(Theme::named).or(found);
    }
    found
}

fn takes_value(command: &clap::Command, short: char) -> bool {
    let mut options = command
        .get_arguments()
        .filter(|option| option.get_action().takes_values());
    options.any(|option| option.get_short() == Some(short))
}

/// The position of the command below `parent`, after the first of `arguments`, which names `parent`, and options with values.
pub(super) fn subcommand_position(parent: &clap::Command, arguments: &[OsString]) -> Option<usize> {
    let is_long = |text: &str| {
        let mut options = parent
            .get_arguments()
            .filter(|option| option.get_action().takes_values());
        options.any(|option| {
            option
                .get_long()
                .is_some_and(|long| text.strip_prefix("--") == Some(long))
        })
    };
    let takes_next = |text: &str| {
        let short = split_short_option(text, |short| takes_value(parent, short));
        is_long(text) || short.is_some_and(|(_, _, value)| value.is_empty())
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
            ("tka shell -qc true", "tka shell -q --command true"),
            ("tka shell -qctrue -ql", "tka shell -q --command=true -ql"),
            ("tka shell -qsc -nc -c x", "tka shell -qsc -nc --command x"),
            ("tka -qs HOST shell -c true", "tka -qs HOST shell --command true"),
            ("tka -qsHOST shell -c true", "tka -qsHOST shell --command true"),
            ("tka -qs shell login -c x", "tka -qs shell login -c x"),
            (
                "tka --server=x shell -c x -c y",
                "tka --server=x shell --command x --command y",
            ),
            ("tka -c shell login -c x", "tka -c shell login -c x"),
            ("tka exec -- shell -c x", "tka exec -- shell -c x"),
            ("tka", "tka"),
        ] {
            let words = |text: &str| text.split(' ').map(OsString::from).collect::<Vec<_>>();
            assert_eq!(expand_shell_command_flag(words(typed)), words(meant));
        }
    }

    #[test]
    fn the_theme_is_found_in_lines_that_are_wrong() {
        for (line, theme) in [
            ("tka -t ascii nope", Some(Theme::Ascii)),
            ("tka nope --theme=notty --theme dark", Some(Theme::Dark)),
            ("tka login --help -qtascii", Some(Theme::Ascii)),
            ("tka login -qt=ascii", Some(Theme::Ascii)),
            ("tka -s t -c -t", None),
            ("tka -t pink", None),
            ("tka exec -- x -t ascii", None),
        ] {
            let words: Vec<_> = line.split(' ').map(OsString::from).collect();
            assert_eq!(find_theme(&words), theme, "{line}");
        }
    }
}
