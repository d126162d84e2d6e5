//! `tka generate integration`: the shell functions, in the real shells.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;

use crate::fake_server::{Answer, FakeServer};
use crate::shell::whole_session;
use crate::shells;
use crate::terminal::on_terminal;
use crate::tka::{Outcome, User, login, signed_in};

const SHELLS: [&str; 3] = ["bash", "zsh", "fish"];

/// Lines of `script` after the function around `program` was defined.
fn with_function(user: &User, fake: &FakeServer, shell: &Path, program: &str, script: &str) -> Command {
    let bin = user.home().join("bin");
    std::fs::create_dir_all(&bin).unwrap();
    let link = bin.join(program);
    if !link.exists() {
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_tka"), &link).unwrap();
    }
    let name = shell.file_name().unwrap().to_str().unwrap();
    let define = match name {
        "fish" => format!("{program} generate integration fish | source"),
        _ => format!("eval \"$({program} generate integration {name})\""),
    };
    let mut command = shells::running(shell, &format!("{define}\n{script}"));
    let like = user.command_with(fake, &[]);
    command
        .env_clear()
        .envs(like.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command
        .env("PATH", format!("{}:/usr/bin:/bin", bin.display()))
        .current_dir(user.home());
    command
}

pub(crate) fn each_shell(test: impl Fn(&Path)) {
    for shell in SHELLS.iter().filter_map(|name| shells::find(name)) {
        test(&shell);
    }
}

fn signing_in() -> Vec<(&'static str, Answer)> {
    vec![("POST /login", Answer::json(200, &signed_in()))]
}

fn signing_out() -> Vec<(&'static str, Answer)> {
    vec![("POST /logout", Answer::json(200, &login()))]
}

/// What of the function's files is left.
fn left(user: &User) -> Vec<String> {
    user.files()
        .into_iter()
        .filter(|path| path.contains(".export"))
        .collect()
}

#[test]
fn what_is_signed_in_to_is_used_and_not_after_signing_out() {
    for program in ["tka", "ts-k8s-auth"] {
        each_shell(|shell| {
            let script = "
                tka --timeout 20 auth
                printenv KUBECONFIG
                tka logout
                printenv KUBECONFIG || echo unset
                tka -q login -l
                printenv KUBECONFIG
            ";
            let (user, fake) = (
                User::new(),
                FakeServer::new(&[signing_in(), signing_out(), signing_in()].concat()),
            );
            let shown = on_terminal(with_function(&user, &fake, shell, program, script));
            let path = user.kubeconfig(&fake).display().to_string();
            let lines: Vec<_> = shown
                .lines()
                .map(str::trim_end)
                .filter(|line| !line.starts_with("  "))
                .collect();
            assert_eq!(
                lines,
                [
                    "✓ signed in as alice@example.com",
                    "→ kubectl in this shell uses it now",
                    &path,
                    "✓ signed out alice@example.com",
                    "unset",
                    &path
                ],
                "{shell:?}"
            );
            assert_eq!(left(&user), Vec::<String>::new());
        });
    }
}

#[test]
fn list_of_kubeconfigs_keeps_the_others() {
    each_shell(|shell| {
        let (user, fake) = (User::new(), FakeServer::new(&[signing_in(), signing_out()].concat()));
        assert_eq!(user.run_with(&fake, &["login"]).status, 0);
        let mut command = with_function(&user, &fake, shell, "tka", "tka logout -q; printenv KUBECONFIG");
        command.env(
            "KUBECONFIG",
            format!("/my own:{}:/other", user.kubeconfig(&fake).display()),
        );
        let outcome = Outcome::from(command.output().unwrap());
        assert_eq!(
            (outcome.stdout.as_str(), outcome.status),
            ("/my own:/other\n", 0),
            "{outcome:?}"
        );
    });
}

#[test]
fn everything_else_is_as_without_it() {
    each_shell(|shell| {
        let run = |script: &str, requests: &[(&str, Answer)]| {
            let (user, fake) = (User::new(), FakeServer::new(requests));
            let outcome = Outcome::from(with_function(&user, &fake, shell, "tka", script).output().unwrap());
            fake.requests();
            (user.kubeconfig(&fake).display().to_string(), outcome)
        };
        let not_signed_in = [("GET /login", Answer::json(401, &json!({"message": "not signed in"})))];
        assert_eq!(run("tka get login", &not_signed_in).1.status, 3);
        let (_, help) = run("tka login -h", &[]);
        assert!(
            help.stdout.contains("Usage: tka login") && help.stderr.is_empty(),
            "{help:?}"
        );
        let (path, outcome) = run("tka login -e; printenv KUBECONFIG || echo unset", &signing_in());
        assert_eq!(outcome.stdout, format!("{path}\nunset\n"));
        let (_, outcome) = run("tka version; tka '' 'a b' --x", &[]);
        assert!(
            outcome.stdout.starts_with("tka ") && outcome.stderr.contains("'a b'"),
            "{outcome:?}"
        );
        assert_eq!(outcome.status, 2);
    });
}

#[test]
fn what_is_evaluated_by_hand_still_is() {
    each_shell(|shell| {
        let script = match shell.file_name().unwrap().to_str() {
            Some("fish") => "tka login -q | source; printenv KUBECONFIG",
            _ => "eval \"$(tka login -q)\"; printenv KUBECONFIG",
        };
        let (user, fake) = (User::new(), FakeServer::new(&signing_in()));
        let outcome = Outcome::from(with_function(&user, &fake, shell, "tka", script).output().unwrap());
        assert_eq!(
            outcome.stdout,
            format!("{}\n", user.kubeconfig(&fake).display()),
            "{outcome:?}"
        );
    });
}

#[test]
fn programs_in_a_session_do_not_see_it() {
    each_shell(|shell| {
        let (user, fake) = (User::new(), whole_session());
        let script = "tka exec -- printenv TKA_EXPORT_FILE TKA_SESSION";
        let outcome = Outcome::from(with_function(&user, &fake, shell, "tka", script).output().unwrap());
        assert_eq!(
            (outcome.stdout.as_str(), outcome.status),
            ("tka-alice-own\n", 1),
            "{outcome:?}"
        );
    });
}

#[test]
fn existing_export_file_is_not_written_to() {
    let (user, fake) = (User::new(), FakeServer::new(&signing_in()));
    let file: PathBuf = user.home().join("there.sh");
    std::fs::write(&file, "before").unwrap();
    let mut command = user.command_with(&fake, &["login"]);
    let outcome = Outcome::from(command.env("TKA_EXPORT_FILE", &file).output().unwrap());
    assert_eq!((outcome.status, outcome.stdout.as_str()), (1, "false\n"), "{outcome:?}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "before");
}

#[test]
fn export_folder_of_another_user_is_refused() {
    if !rustix::process::geteuid().is_root() {
        return; // only root can give a folder away
    }
    each_shell(|shell| {
        let (user, fake) = (User::new(), FakeServer::new(&[signing_in(), signing_out()].concat()));
        assert_eq!(user.run_with(&fake, &["login"]).status, 0);
        std::os::unix::fs::chown(user.folder(), Some(12345), None).unwrap();
        let mut command = with_function(&user, &fake, shell, "tka", "tka logout; printenv KUBECONFIG");
        let list = user.kubeconfig(&fake).display().to_string();
        let outcome = Outcome::from(command.env("KUBECONFIG", &list).output().unwrap());
        assert_eq!((outcome.stdout, outcome.status), (list + "\n", 0), "{}", outcome.stderr);
        assert!(outcome.stderr.contains("unset KUBECONFIG"), "{}", outcome.stderr);
    });
}

#[test]
fn strict_scripts_end_where_it_fails() {
    for shell in ["bash", "zsh"].iter().filter_map(|name| shells::find(name)) {
        let answer = Answer::json(401, &json!({"message": "not signed in"}));
        let (user, fake) = (User::new(), FakeServer::new(&[("GET /login", answer)]));
        let script = "set -eu; tka version; tka get login; echo further";
        let outcome = Outcome::from(with_function(&user, &fake, &shell, "tka", script).output().unwrap());
        assert!(
            outcome.status == 3 && !outcome.stdout.contains("further"),
            "{shell:?}: {outcome:?}"
        );
    }
}

#[test]
fn functions_of_shells_that_are_not_tried_here() {
    for shell in ["powershell", "nushell"] {
        let outcome = User::new().run(&["generate", "integration", shell]);
        assert_eq!(outcome.status, 0);
        insta::assert_snapshot!(format!("integration_{shell}"), outcome.stdout);
    }
    for (extension, login, logout) in [
        (
            "ps1",
            "$env:KUBECONFIG = 'PATH'\n",
            "Remove-Item Env:KUBECONFIG -ErrorAction SilentlyContinue\n",
        ),
        ("json", "{\"KUBECONFIG\":\"PATH\"}\n", "{\"KUBECONFIG\":null}\n"),
    ] {
        let (user, fake) = (User::new(), FakeServer::new(&[signing_in(), signing_out()].concat()));
        let path = user.kubeconfig(&fake);
        let written = |name: &str, arguments: &[&str]| {
            let file = user.home().join(format!("{name}.{extension}"));
            let mut command = user.command_with(&fake, arguments);
            command.env("TKA_EXPORT_FILE", &file).env("KUBECONFIG", &path);
            assert_eq!(Outcome::from(command.output().unwrap()).status, 0);
            std::fs::read_to_string(file).unwrap()
        };
        assert_eq!(
            written("in", &["login"]),
            login.replace("PATH", &path.display().to_string())
        );
        assert_eq!(written("out", &["logout"]), logout);
    }
}
