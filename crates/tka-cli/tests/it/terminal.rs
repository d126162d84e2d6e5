//! What differs on a terminal.

use std::fs::File;
use std::io::Read;
use std::process::{Command, Stdio};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use crate::fake_server::FakeServer;
use crate::tka::{User, signing_in};

/// Runs the command with a terminal for both outputs and answers what it shows.
pub(crate) fn on_terminal(command: Command) -> String {
    on_terminal_of(command, 1000)
}

/// The same on a terminal of so many columns.
fn on_terminal_of(mut command: Command, columns: u16) -> String {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let size = Winsize {
        ws_row: 24,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    tcsetwinsize(&master, size).unwrap();
    let name = ptsname(&master, Vec::new()).unwrap().into_string().unwrap();
    let slave = || Stdio::from(File::options().write(true).open(&name).unwrap());
    let mut child = command
        .stdin(Stdio::null())
        .stdout(slave())
        .stderr(slave())
        .spawn()
        .unwrap();
    drop(command); // and with it our end of the terminal, so that reading ends
    child.wait().unwrap();
    let mut shown = Vec::new();
    let mut buffer = [0; 4096];
    let mut master = File::from(master);
    while let Ok(count @ 1..) = master.read(&mut buffer) {
        shown.extend_from_slice(&buffer[..count]);
    }
    String::from_utf8(shown).unwrap()
}

#[test]
fn colours_and_a_hint_are_for_terminals() {
    let (user, fake) = (User::new(), FakeServer::new(&signing_in()));
    let mut command = user.command_with(&fake, &["login"]);
    command.env("TERM", "xterm-256color");
    let shown = on_terminal(command);
    assert!(shown.contains("\u{1b}[1m\u{1b}[38;2;158;206;106m✓"), "{shown:?}");
    assert!(shown.contains("eval \"$(tka login)\""), "{shown:?}");
    let line = format!("\r\nexport KUBECONFIG={}\r\n", user.kubeconfig(&fake).display());
    assert!(shown.ends_with(&line), "{shown:?}");
}

#[test]
fn no_color_is_honoured() {
    let (user, fake) = (User::new(), FakeServer::new(&signing_in()));
    let mut command = user.command_with(&fake, &["login", "--debug"]);
    command.env("TERM", "xterm-256color").env("NO_COLOR", "1");
    let shown = on_terminal(command);
    assert!(shown.contains("✓ signed in") && !shown.contains('\u{1b}'), "{shown:?}");
}

#[test]
fn a_shell_that_uses_the_file_needs_no_hint() {
    let (user, fake) = (User::new(), FakeServer::new(&signing_in()));
    let mut command = user.command_with(&fake, &["login"]);
    command.env("KUBECONFIG", user.kubeconfig(&fake));
    assert!(on_terminal(command).contains("kubectl in this shell uses it already"));
}

#[test]
fn quiet_is_quiet_on_a_terminal_too() {
    let (user, fake) = (User::new(), FakeServer::new(&signing_in()));
    let shown = on_terminal(user.command_with(&fake, &["login", "-q"]));
    assert_eq!(
        shown,
        format!("export KUBECONFIG={}\r\n", user.kubeconfig(&fake).display())
    );
}

/// The longest line that is shown.
fn widest(shown: &str) -> usize {
    shown.lines().map(|line| line.chars().count()).max().unwrap_or(0)
}

#[test]
fn notes_fit_a_narrow_terminal() {
    let (user, fake) = (User::new(), FakeServer::new(&signing_in()));
    let command = user.command_with(&fake, &["login", "-t", "notty"]);
    let shown = on_terminal_of(command, 40);
    let (told, line) = shown.split_once("export ").unwrap();
    assert!(
        told.contains("→ to use it in this shell, run the line\r\n  below"),
        "{shown:?}"
    );
    assert!(widest(told) <= 40, "{told:?}");
    assert_eq!(
        line.lines().count(),
        1,
        "what a shell evaluates is never wrapped: {line:?}"
    );
}

#[test]
fn help_fits_a_narrow_terminal() {
    for arguments in [&["login", "--help"][..], &["-h"], &[]] {
        let shown = on_terminal_of(User::new().command(arguments), 40);
        assert!(
            shown.contains("Global options:") && widest(&plain(&shown)) <= 40,
            "{shown}"
        );
    }
}

/// Without colours.
fn plain(shown: &str) -> String {
    let mut text = String::new();
    for (at, part) in shown.split('\u{1b}').enumerate() {
        let part = if at == 0 { part } else { part.split_once('m').unwrap().1 };
        text.push_str(part);
    }
    text
}

#[test]
fn themes_without_colours_have_none_in_help_and_usage_either() {
    for arguments in [
        "-t ascii nope",
        "nope --theme=notty",
        "-t notty login --help",
        "login -h -tmarkdown",
        "-t ascii",
    ] {
        let arguments: Vec<_> = arguments.split(' ').collect();
        let user = User::new();
        let mut command = user.command(&arguments);
        command.env("TERM", "xterm-256color");
        let shown = on_terminal(command);
        assert!(shown.contains("Usage:") && !shown.contains('\u{1b}'), "{shown:?}");
    }
    let user = User::new();
    let mut command = user.command(&["nope"]);
    command.env("TERM", "xterm-256color").env("TKA_OUTPUT_THEME", "notty");
    assert!(!on_terminal(command).contains('\u{1b}'));
    let user = User::new();
    let mut command = user.command(&["nope"]);
    command.env("TERM", "xterm-256color");
    assert!(on_terminal(command).contains('\u{1b}'));
}
