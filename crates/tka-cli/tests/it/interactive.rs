//! The shell functions as people have them: typed in the real shells, on a terminal.

use std::path::Path;
use std::process::Command;

use crate::access::{reason_required, rules};
use crate::fake_server::{Answer, FakeServer};
use crate::integration::each_shell;
use crate::shell::{session, usable};
use crate::shells;
use crate::tka::User;

/// How long a shell may take for an answer.
const LIMIT: Option<u64> = Some(30_000);

/// That shell on a terminal, with the function.
fn shell(user: &User, fake: &FakeServer, path: &Path) -> Command {
    user.spare_fish_its_manual();
    let mut command = shells::interactive(path);
    let like = user.command_with(fake, &[]);
    command
        .env_clear()
        .envs(like.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let bin = Path::new(env!("CARGO_BIN_EXE_tka")).parent().unwrap();
    command
        .env("PATH", format!("{}:/usr/bin:/bin", bin.display()))
        .env("TERM", "dumb")
        .current_dir(user.home());
    command
}

fn definition(shell: &Path) -> String {
    match shell.file_name().and_then(|name| name.to_str()) {
        Some("fish") => "tka generate integration fish | source".to_owned(),
        name => format!("eval \"$(tka generate integration {})\"", name.unwrap_or_default()),
    }
}

#[test]
fn questions_are_answered_and_the_shell_has_the_session() {
    each_shell(|path| {
        let fake = FakeServer::new(&[
            ("POST /login", reason_required()),
            ("GET /rules", rules()),
            ("POST /login", usable()),
        ]);
        let user = User::new();
        let mut terminal = rexpect::session::spawn_command(shell(&user, &fake, path), LIMIT).unwrap();
        terminal.send_line(&definition(path)).unwrap();
        terminal.send_line("tka login").unwrap();
        terminal.exp_string("what do you need cluster-admin for? ").unwrap();
        terminal.send_line("pager 4711").unwrap();
        terminal.exp_string("kubectl in this shell uses it now").unwrap();
        terminal.send_line("printenv KUBECONFIG").unwrap();
        terminal
            .exp_string(&user.kubeconfig(&fake).display().to_string())
            .unwrap();
        terminal.send_line("exit").unwrap();
        terminal.exp_eof().unwrap();
        let sent = &fake.requests()[2].body;
        assert!(sent.contains("pager 4711"), "{sent}");
    });
}

#[test]
fn what_runs_in_it_is_suspended_and_goes_on() {
    each_shell(|path| {
        let ended = Answer::json(200, &session());
        let fake = FakeServer::new(&[("POST /login", usable()), ("DELETE /sessions/tka-alice-own", ended)]);
        let user = User::new();
        let mut terminal = rexpect::session::spawn_command(shell(&user, &fake, path), LIMIT).unwrap();
        terminal.send_line(&definition(path)).unwrap();
        let program = "trap 'echo going on' CONT; echo begun; until read -r line; do :; done; echo got $line";
        std::fs::write(user.home().join("program"), program).unwrap();
        terminal.send_line("tka exec -- sh program").unwrap();
        terminal.exp_string("begun").unwrap();
        terminal.send_control('z').unwrap();
        // Some throw away what was typed before they ask again.
        terminal
            .exp_regex(r"(?i)(stopped|suspended|\^Z)(?s:.*)[#$%>] ")
            .unwrap();
        terminal.send_line("echo me''anwhile").unwrap();
        terminal.exp_string("meanwhile").unwrap();
        terminal.send_line("fg").unwrap();
        terminal.exp_string("going on").unwrap();
        terminal.send_line("it").unwrap();
        terminal.exp_string("got it").unwrap();
        terminal.send_line("exit").unwrap();
        terminal.exp_eof().unwrap();
        fake.requests();
    });
}
