//! `tka login --shell`

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use crate::double::{Answer, Double};
use crate::tka::{Outcome, User, login, signing_in};

fn shell(user: &User, script: &str) -> PathBuf {
    let path = user.home().join("shell");
    std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path
}

fn whole_session() -> Double {
    let mut script = signing_in();
    script.push(("POST /logout", Answer::json(200, &login())));
    Double::new(&script)
}

fn run(user: &User, double: &Double, script: &str) -> Outcome {
    let shell = shell(user, script);
    user.command_with(double, &["login", "--shell"])
        .env("SHELL", shell)
        .output()
        .unwrap()
        .into()
}

#[test]
fn the_shell_has_access_while_it_runs() {
    let (user, double) = (User::new(), whole_session());
    let outcome = run(
        &user,
        &double,
        "printf %s \"$KUBECONFIG\"; test -r \"$KUBECONFIG\" && exit 42",
    );
    assert_eq!(outcome.stdout, user.kubeconfig(&double).display().to_string());
    assert_eq!(outcome.status, 42, "{outcome:?}");
    assert!(!user.kubeconfig(&double).exists());
    double.requests();
}

#[test]
fn a_signal_to_us_ends_the_shell_and_signs_out() {
    let (user, double) = (User::new(), whole_session());
    let outcome = run(
        &user,
        &double,
        "sleep 60 >&- 2>&- & child=$!; trap 'kill $child; exit 7' HUP; kill -TERM $PPID; wait",
    );
    assert_eq!(outcome.status, 7, "{outcome:?}");
    assert!(!user.kubeconfig(&double).exists());
    double.requests();
}

#[test]
fn a_shell_that_a_signal_ended_has_the_status_of_it() {
    let (user, double) = (User::new(), whole_session());
    assert_eq!(run(&user, &double, "kill -KILL $$").status, 128 + 9);
    double.requests();
}

#[test]
fn a_shell_that_does_not_start_signs_out_too() {
    let (user, double) = (User::new(), whole_session());
    let output = user
        .command_with(&double, &["login", "--shell"])
        .env("SHELL", "/nonexistent/shell")
        .output()
        .unwrap();
    let outcome = Outcome::from(output);
    assert_eq!(outcome.status, 1);
    assert!(
        outcome.stderr.contains("cannot start the shell /nonexistent/shell"),
        "{outcome:?}"
    );
    assert!(!user.kubeconfig(&double).exists());
    double.requests();
}
