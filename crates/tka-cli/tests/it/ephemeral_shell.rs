//! `tka shell` in the real shells, before a terminal.

use std::fs;
use std::path::Path;
use std::process::Command;

use rexpect::process::WaitStatus;
use rexpect::session::PtySession;
use rustix::termios::{Winsize, tcsetwinsize};

use crate::fake_server::FakeServer;
use crate::shell::whole_session;
use crate::shells;
use crate::tka::User;

/// What every prompt ends with. Typed lines do not have it.
const READY: &str = "READY>";

/// A user with start-up files for each shell, which set a kubeconfig of their own and a prompt that shows the session.
fn person() -> User {
    let user = User::new();
    let home = user.home();
    fs::create_dir_all(home.join("bin")).unwrap();
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_tka"), home.join("bin/tka")).unwrap();
    let elsewhere = "export KUBECONFIG=/elsewhere FROM=home\n";
    let bash = format!("{elsewhere}PS1='$(tka status --prompt) READY> '\n");
    let zsh = format!("{elsewhere}setopt prompt_subst\nPS1='$(tka status --prompt) READY> '\n");
    let fish = "set -gx KUBECONFIG /elsewhere\nset -gx FROM home\n\
        function fish_prompt\n  echo -n (tka status --prompt) READY'> '\nend\n";
    fs::write(home.join(".bashrc"), bash).unwrap();
    fs::write(home.join(".zshenv"), elsewhere).unwrap();
    fs::write(home.join(".zshrc"), zsh).unwrap();
    user.spare_fish_its_manual();
    fs::create_dir_all(home.join(".config/fish")).unwrap();
    fs::write(home.join(".config/fish/config.fish"), fish).unwrap();
    user
}

/// `tka shell` with that shell.
fn command(user: &User, fake: &FakeServer, shell: &Path) -> Command {
    let mut command = user.command_with(fake, &["shell"]);
    command.env("SHELL", shell).env("TERM", "dumb");
    command.env("PATH", format!("{}:/usr/bin:/bin", user.home().join("bin").display()));
    command
}

/// A terminal of 24 lines with the command in it.
fn before(command: Command) -> PtySession {
    let terminal = rexpect::session::spawn_command(command, Some(60_000)).unwrap();
    resize(&terminal, 24, 200);
    terminal
}

fn resize(terminal: &PtySession, lines: u16, columns: u16) {
    let size = Winsize {
        ws_row: lines,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    tcsetwinsize(terminal.process().get_file_handle().unwrap(), size).unwrap();
}

/// Types a line when the shell is ready; what it showed before that.
fn types(terminal: &mut PtySession, line: &str) -> String {
    let before = terminal.exp_string(READY).unwrap();
    terminal.send_line(line).unwrap();
    before
}

/// What the shell says that `word` is. The marks are put together by the shell, so that what is typed has none.
fn value(terminal: &mut PtySession, word: &str) -> String {
    types(terminal, &format!("printf '%s|' \"@\"\"@\" {word} \"@\"\"@\""));
    let (_, found) = terminal.exp_regex(r"@@\|[^|]*\|@@").unwrap();
    found.trim_matches(['@', '|']).to_owned()
}

fn leaves(mut terminal: PtySession, line: &str, status: i32) {
    types(&mut terminal, line);
    let ended = terminal.process().wait().unwrap();
    assert!(
        matches!(ended, WaitStatus::Exited(_, found) if found == status),
        "{ended:?}"
    );
}

fn each_shell(test: impl Fn(&Path)) {
    for shell in ["bash", "zsh", "fish"].iter().filter_map(|name| shells::find(name)) {
        test(&shell);
    }
}

#[test]
fn session_overrides_start_up_files() {
    each_shell(|shell| {
        let (user, fake) = (person(), whole_session());
        let mut terminal = before(command(&user, &fake, shell));
        let greeting = types(&mut terminal, "");
        assert!(greeting.contains("signed in as alice@example.com"), "{greeting}");
        assert!(greeting.contains("view@127.0.0.1 "), "{shell:?}: {greeting}");
        assert_eq!(
            value(&mut terminal, "\"$FROM\""),
            "home",
            "{shell:?} reads its own files"
        );
        let kubeconfig = value(&mut terminal, "\"$KUBECONFIG\"");
        assert_eq!(kubeconfig, value(&mut terminal, "\"$TKA_KUBECONFIG\""), "{shell:?}");
        assert!(Path::new(&kubeconfig).exists());
        leaves(terminal, "exit 7", 7);
        assert!(!Path::new(&kubeconfig).exists());
        // It ended its own session and no other.
        fake.requests();
    });
}

#[test]
fn zsh_has_its_start_up_folder_as_it_was() {
    let Some(shell) = shells::find("zsh") else { return };
    let (user, fake) = (person(), whole_session());
    let folder = user.home().join("zdot");
    fs::create_dir(&folder).unwrap();
    fs::write(
        folder.join(".zshrc"),
        "export KUBECONFIG=/elsewhere FROM=zdot\nPS1='READY> '\n",
    )
    .unwrap();
    let mut command = command(&user, &fake, &shell);
    command.env("ZDOTDIR", &folder);
    let mut terminal = before(command);
    assert_eq!(value(&mut terminal, "\"$FROM\""), "zdot");
    assert_eq!(value(&mut terminal, "\"$ZDOTDIR\""), folder.display().to_string());
    assert_ne!(value(&mut terminal, "\"$KUBECONFIG\""), "/elsewhere");
    leaves(terminal, "exit 0", 0);

    let (user, fake) = (person(), whole_session());
    let mut terminal = before(self::command(&user, &fake, &shell));
    assert_eq!(value(&mut terminal, "\"${ZDOTDIR-unset}\""), "unset");
    leaves(terminal, "exit 0", 0);
}

#[test]
fn terminal_is_the_shells() {
    each_shell(|shell| {
        let (user, fake) = (person(), whole_session());
        let mut terminal = before(command(&user, &fake, shell));
        let size = if shell.ends_with("fish") {
            "(stty size)"
        } else {
            "\"$(stty size)\""
        };
        assert_eq!(value(&mut terminal, size), "24 200", "{shell:?}");
        resize(&terminal, 30, 120);
        assert_eq!(value(&mut terminal, size), "30 120", "{shell:?}");

        // Ctrl-C ends what runs, and neither the shell nor the session. It is one process: a shell that is interrupted between two commands may run the
        // second one all the same.
        types(&mut terminal, "sh -c 'echo run\"ning\"; exec cat'");
        terminal.exp_string("running").unwrap();
        terminal.send_control('c').unwrap();
        assert_eq!(value(&mut terminal, "still"), "still", "{shell:?}");

        // Ctrl-Z stops it, and the shell has it back. It is one process until then: a child that is stopped before it has become
        // another program (vfork) leaves its parent waiting, and nothing stopped. What is typed before it goes on may be lost. And it is one
        // process to the end, as above.
        types(
            &mut terminal,
            "sh -c 'trap \"echo going; echo on\" CONT; echo run\"ning\"; until read -r line; do :; done; echo got $line; exec cat'",
        );
        terminal.exp_string("running").unwrap();
        terminal.send_control('z').unwrap();
        types(&mut terminal, "fg");
        terminal.exp_string("going\r\non").unwrap();
        terminal.send_line("through").unwrap();
        terminal.exp_string("got through").unwrap();
        terminal.send_control('c').unwrap();
        leaves(terminal, "exit 9", 9);
        fake.requests();
    });
}

#[test]
fn suspended_shell_returns_the_terminal() {
    let Some(shell) = shells::find("bash") else { return };
    let (user, fake) = (person(), whole_session());
    let like = command(&user, &fake, &shell);
    let mut outer = Command::new(&shell);
    outer.env_clear().current_dir(user.home());
    outer.envs(like.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let mut terminal = before(outer);
    types(&mut terminal, "tka shell");
    assert_eq!(value(&mut terminal, "\"${TKA_SESSION-none}\""), "tka-alice-own");
    types(&mut terminal, "suspend");
    assert_eq!(value(&mut terminal, "\"${TKA_SESSION-none}\""), "none");
    types(&mut terminal, "fg");
    terminal.send_line("").unwrap();
    assert_eq!(value(&mut terminal, "\"${TKA_SESSION-none}\""), "tka-alice-own");
    types(&mut terminal, "exit 4");
    assert_eq!(value(&mut terminal, "$?"), "4");
    leaves(terminal, "exit 0", 0);
    fake.requests();
}
