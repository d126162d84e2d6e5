//! Completes command lines, with the current names of rules, sessions and servers.
//!
//! The user waits, so requests have a second. Errors give no candidates and print nothing.

use std::env;
use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::OnceLock;
use std::time::Duration;

use clap::{Arg, Command, CommandFactory, FromArgMatches};
use clap_complete::engine::{self, CompletionCandidate};
use clap_complete::{ArgValueCandidates, CompleteEnv};

use crate::api::client::Client;
use crate::api::deadline::Deadline;
use crate::cmd::args::Cli;
use crate::config::flags::Global;
use crate::context::{self, connect};
use crate::discovery::Search;
use crate::kubeconfig::store;
use crate::sys::environment;

/// The scripts of `tka completion` set it. Other programs may use the usual `COMPLETE`.
pub(crate) const VARIABLE: &str = "TKA_COMPLETE";
/// The program that kubectl calls to complete `kubectl tka`
const FOR_KUBECTL: &str = "kubectl_complete-tka";
/// The last line for kubectl: do not complete file names (cobra's `ShellCompDirectiveNoFileComp`).
const NO_FILES: &str = ":4";
/// How long tailscaled and a server may take.
const LIMIT: Duration = Duration::from_secs(1);

/// The commands that sign in.
const SIGN_IN: [&str; 5] = ["login", "reauthenticate", "exec", "shell", "elevate"];

/// The words of the typed line, with the program's name first.
static LINE: OnceLock<Vec<OsString>> = OnceLock::new();

/// Responds to a shell or kubectl, if one of them asks for completion.
pub(crate) fn respond(arguments: &[OsString], name: &str) -> Option<ExitCode> {
    let answered = if name == FOR_KUBECTL {
        respond_to_kubectl(arguments)
    } else {
        env::var_os(VARIABLE).filter(|shell| !shell.is_empty())?;
        respond_to_shell(arguments)
    };
    // A message would mix with the typed words.
    Some(if answered.is_some() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn respond_to_shell(arguments: &[OsString]) -> Option<bool> {
    let words = arguments.iter().skip_while(|argument| *argument != "--").skip(1);
    LINE.set(words.cloned().collect()).ok()?;
    let folder = env::current_dir().ok();
    let environment = CompleteEnv::with_factory(command).var(VARIABLE);
    environment.try_complete(arguments, folder.as_deref()).ok()
}

fn respond_to_kubectl(arguments: &[OsString]) -> Option<bool> {
    LINE.set(arguments.to_vec()).ok()?;
    let last = arguments.len().checked_sub(1)?;
    let mut command = command();
    let candidates = engine::complete(&mut command, arguments.to_vec(), last, None).ok()?;
    let mut text = String::new();
    for candidate in candidates {
        text.push_str(&candidate.get_value().to_string_lossy());
        if let Some(help) = candidate.get_help() {
            text.push('\t');
            text.push_str(help.to_string().lines().next().unwrap_or_default());
        }
        text.push('\n');
    }
    io::stdout()
        .write_all((text + NO_FILES + "\n").as_bytes())
        .ok()
        .map(|()| true)
}

/// The command line with its dynamic candidates.
fn command() -> Command {
    let servers = |server: Arg| server.add(ArgValueCandidates::new(servers));
    Cli::command().mut_arg("server", servers).mut_subcommands(with_rules)
}

/// Completes the rule and the role of a command that signs in.
fn with_rules(command: Command) -> Command {
    if !SIGN_IN.contains(&command.get_name()) {
        return command;
    }
    command
        .mut_arg("rule", |rule| rule.add(ArgValueCandidates::new(rules)))
        .mut_arg("role", |role| role.add(ArgValueCandidates::new(roles)))
}

/// Names of rules.
fn rules() -> Vec<CompletionCandidate> {
    let rules = client().and_then(|client| client.rules().ok());
    let rules = rules.into_iter().flat_map(|rules| rules.items);
    let named = rules.filter_map(|rule| candidate(rule.name.as_deref()?, &rule.role));
    named.collect()
}

/// Roles that rules give.
fn roles() -> Vec<CompletionCandidate> {
    let rules = client().and_then(|client| client.rules().ok());
    let rules = rules.into_iter().flat_map(|rules| rules.items);
    rules
        .filter_map(|rule| candidate(&rule.role, rule.name.as_deref().unwrap_or_default()))
        .collect()
}

/// Names of sessions.
pub(crate) fn sessions() -> Vec<CompletionCandidate> {
    let sessions = client().and_then(|client| client.sessions().ok());
    let sessions = sessions.into_iter().flat_map(|sessions| sessions.items);
    let named =
        sessions.filter_map(|session| candidate(&session.name, &format!("{} on {}", session.role, session.device)));
    named.collect()
}

/// Names of sessions that sign-ins wait for.
pub(crate) fn approvals() -> Vec<CompletionCandidate> {
    let waiting = client().and_then(|client| client.approvals().ok());
    let waiting = waiting.into_iter().flat_map(|waiting| waiting.items);
    let named = waiting.filter_map(|one| candidate(&one.status.session, &format!("{} for {}", one.role, one.username)));
    named.collect()
}

/// Names of servers. No server is asked.
pub(crate) fn clusters() -> Vec<CompletionCandidate> {
    let places = search(typed_flags()).into_iter().flat_map(Search::names);
    places
        .filter_map(|(name, place)| candidate(&name, &place.server.to_string()))
        .collect()
}

/// Hosts of servers.
fn servers() -> Vec<CompletionCandidate> {
    // The typed part of a host is not a server.
    let flags = typed_flags().map(|flags| Global { server: None, ..flags });
    let places = search(flags).into_iter().flat_map(Search::names);
    places
        .filter_map(|(name, place)| candidate(&place.node, &name))
        .collect()
}

fn search(flags: Option<Global>) -> Option<Search> {
    let config = context::settings(&flags.unwrap_or_default()).ok()?;
    let server = config.server().ok()?;
    let folder = environment::home().map(|home| store::folder(&home));
    Some(Search::new(&config, &server, folder.as_deref(), LIMIT))
}

fn client() -> Option<Client> {
    let flags = typed_flags().unwrap_or_default();
    let server = context::server(&flags).ok()?;
    connect(&server, Deadline::new(LIMIT), false, context::route(&flags)).ok()
}

/// The options in the line so far.
fn typed_flags() -> Option<Global> {
    let words = LINE.get()?;
    let typed = Cli::command().ignore_errors(true).try_get_matches_from(words).ok()?;
    Global::from_arg_matches(&typed).ok()
}

/// A candidate. Only plain words are allowed, since a shell will read the line.
fn candidate(word: &str, help: &str) -> Option<CompletionCandidate> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-:@".contains(c);
    let help = crate::terminal::messages::clean(help);
    let help = (!help.is_empty()).then(|| help.into());
    let usable = !word.is_empty() && !word.starts_with('-') && word.chars().all(is_plain);
    usable.then(|| CompletionCandidate::new(word).help(help))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn candidates_are_plain_words() {
        for word in ["oncall", "tka-alice-1", "tka:8080", "system:basic-user", "a@b.c"] {
            assert!(candidate(word, "").is_some(), "{word}");
        }
        for word in ["", "-x", "a b", "a;b", "$(id)", "a\nb", "ü"] {
            assert!(candidate(word, "").is_none(), "{word}");
        }
    }
}
