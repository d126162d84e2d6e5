//! What a shell evaluates: that it leads kubectl where it says, or stops.

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Barrier};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use crate::fake_server::{Answer, FakeServer};
use crate::shells;
use crate::tka::{Outcome, User, login, signed_in};

fn refusing(requests: &[&'static str]) -> FakeServer {
    let account = json!({"message": "no rule of the tailnet policy reaches you"});
    let answers: Vec<_> = requests
        .iter()
        .map(|&line| (line, Answer::json(403, &account)))
        .collect();
    FakeServer::new(&answers)
}

/// `script` in `shell`, where `tka` is the program.
fn evaluated(shell: &Path, user: &User, fake: &FakeServer, script: &str) -> Outcome {
    let bin = user.home().join("bin");
    fs::create_dir_all(&bin).unwrap();
    let link = bin.join("tka");
    if !link.exists() {
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_tka"), &link).unwrap();
    }
    let like = user.command_with(fake, &[]);
    let mut command = shells::running(shell, script);
    command.env_clear().current_dir(user.home());
    command.envs(like.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.env("PATH", format!("{}:/usr/bin:/bin", bin.display()));
    command.output().unwrap().into()
}

/// cases.md 6: `set -e; eval "$(tka login)"`, where login fails.
#[test]
fn script_that_evaluates_a_failure_stops() {
    for shell in ["sh", "bash", "zsh"].iter().filter_map(|name| shells::find(name)) {
        for (arguments, requests) in [
            ("login", &["POST /login"][..]),
            ("login -q", &["POST /login"]),
            ("login -q -e", &["POST /login"]),
            ("kubeconfig", &["GET /kubeconfig"]),
            ("get kubeconfig", &["GET /kubeconfig"]),
            ("reauthenticate", &["GET /sessions"]),
            ("clusters use nowhere", &[]),
            ("login --port 0", &[]),
            ("-q refresh --unheard-of", &[]),
            ("login --server https://a:b:c", &[]),
        ] {
            let (user, fake) = (User::new(), refusing(requests));
            let script = format!("set -e; eval \"$(tka {arguments})\"; echo went on");
            let outcome = evaluated(&shell, &user, &fake, &script);
            assert_eq!(
                (outcome.status, outcome.stdout.as_str()),
                (1, ""),
                "{arguments}: {outcome:?}"
            );
            assert!(!outcome.stderr.is_empty(), "{arguments}: it is said why");
        }
    }
}

/// A slip before the command, or in its name.
#[test]
fn script_that_evaluates_a_slip_stops() {
    for line in [
        "--bogus login",
        "-x login",
        "--port login",
        "--port x login",
        "--quiet=x login",
        "-s west logins",
        "logins",
        "lgoin -q -e",
        "kubeconfg",
        "get kubeconfg",
        "get -o json kubeconfg --bogus",
        "--bogus get kubeconfig",
        "clusters usee west",
        "clusters west",
        "reauthentcate",
        "--bogus refresh",
        "unheard-of",
        "--bogus",
    ] {
        let words: Vec<_> = line.split(' ').collect();
        let outcome = User::new().run(&words);
        assert_eq!(
            (outcome.status, outcome.stdout.as_str()),
            (2, "false\n"),
            "{line}: {outcome:?}"
        );
    }
}

#[test]
fn slip_in_what_no_shell_evaluates_says_nothing_more() {
    for line in [
        "--bogus login --shell",
        "logins --shell",
        "-e --bogus login",
        "logins --no-eval",
        "get kubeconfg --static",
        "kubeconfg --static",
        "--bogus sessions",
        "-s login sesions",
        "--server login --bogus status",
        "sessions --bogus login",
        "get clusterinfo",
        "clusters --bogus",
        "clusters -o jsn",
        "policy chek",
        "logot",
    ] {
        let words: Vec<_> = line.split(' ').collect();
        let outcome = User::new().run(&words);
        assert_eq!(
            (outcome.status, outcome.stdout.as_str()),
            (2, ""),
            "{line}: {outcome:?}"
        );
    }
}

#[test]
fn original_shell_function_fails_where_signing_in_does() {
    let Some(bash) = shells::find("bash") else { return };
    // As that of the original does.
    let script = "f() { eval \"$(command tka \"$@\" --quiet)\"; }; f login && echo in || echo out";
    let (user, fake) = (User::new(), refusing(&["POST /login"]));
    let outcome = evaluated(&bash, &user, &fake, script);
    assert_eq!(outcome.stdout, "out\n", "{outcome:?}");
    let (user, fake) = (
        User::new(),
        FakeServer::new(&[("POST /login", Answer::json(200, &signed_in()))]),
    );
    assert_eq!(evaluated(&bash, &user, &fake, script).stdout, "in\n");
}

/// cases.md 6: `timeout 5 tka login`, or a terminal that goes.
#[test]
fn script_that_evaluates_what_a_signal_ended_stops() {
    for signal in [
        Signal::HUP,
        Signal::INT,
        Signal::QUIT,
        Signal::TERM,
        Signal::ALARM,
        Signal::XCPU,
    ] {
        let barrier = Arc::new(Barrier::new(2));
        let silence = Answer::Meeting(Arc::clone(&barrier), Box::new(Answer::Silence));
        let (user, fake) = (User::new(), FakeServer::new(&[("POST /login", silence)]));
        let mut command = user.command_with(&fake, &["login"]);
        let tka = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        barrier.wait();
        barrier.wait();
        kill_process(Pid::from_child(&tka), signal).unwrap();
        let ended = tka.wait_with_output().unwrap();
        assert_eq!(ended.status.signal(), Some(signal.as_raw()), "{ended:?}");
        assert_eq!(ended.stdout, b"false\n", "{ended:?}");
    }
}

#[test]
fn what_no_shell_evaluates_says_nothing_more() {
    let run = |arguments: &[&str], requests: &[&'static str]| {
        let fake = refusing(requests);
        let outcome = User::new().run_with(&fake, arguments);
        assert_ne!(outcome.status, 0, "{arguments:?}");
        outcome.stdout
    };
    for (arguments, requests) in [
        (&["login", "--no-eval"][..], &["POST /login"][..]),
        (&["kubeconfig", "-e"], &["GET /kubeconfig"]),
        (&["login", "--shell", "--port", "0"], &[]),
        (&["rules"], &["GET /rules"]),
        (&["logout"], &["POST /logout"]),
        (&["sessions", "-o", "json", "--unheard-of"], &[]),
        (&["get", "login", "--unheard-of"], &[]),
    ] {
        assert_eq!(run(arguments, requests), "", "{arguments:?}");
    }
}

#[test]
fn other_shells_are_stopped_in_their_language() {
    for (shell, line) in [("/usr/bin/pwsh", "throw 'tka failed'\n"), ("/usr/bin/fish", "false\n")] {
        let fake = refusing(&["POST /login"]);
        let mut command = User::new().command_with(&fake, &["login"]);
        let outcome = Outcome::from(command.current_dir("/").env("SHELL", shell).output().unwrap());
        assert_eq!(outcome.stdout, line);
    }
}

/// Signs in with the home folder `name` in a folder. What is refused is so before anything is begun.
fn with_home(name: OsString, arguments: &[&str], list: Option<&str>) -> (Outcome, String) {
    let user = User::new();
    let home = user.home().join(name);
    fs::create_dir(&home).unwrap();
    let fake = FakeServer::new(&[("POST /login", Answer::json(200, &signed_in()))]);
    let mut command = user.command_with(&fake, arguments);
    command.env("HOME", &home);
    list.map(|list| command.env("KUBECONFIG", list));
    let outcome = Outcome::from(command.output().unwrap());
    if outcome.status == 0 {
        fake.requests();
    } else {
        assert_eq!(
            fs::read_dir(&home).unwrap().count(),
            0,
            "nothing was begun: {outcome:?}"
        );
    }
    (outcome, home.to_string_lossy().into_owned())
}

/// cases.md 6: HOME with a `:`, and its kind.
#[test]
fn home_that_no_list_can_hold_is_refused_before_signing_in() {
    let (outcome, home) = with_home("a:b".into(), &["login"], None);
    assert_eq!((outcome.status, outcome.stdout.as_str()), (1, "false\n"), "{outcome:?}");
    assert!(outcome.stderr.contains("separates paths in KUBECONFIG"), "{outcome:?}");
    assert!(outcome.stderr.contains("--no-eval"), "{outcome:?}");
    assert!(outcome.stderr.contains(&home), "{outcome:?}");

    let latin = OsString::from_vec(b"caf\xe9".to_vec());
    let (outcome, _) = with_home(latin.clone(), &["login"], None);
    assert_eq!((outcome.status, outcome.stdout.as_str()), (1, "false\n"), "{outcome:?}");
    assert!(outcome.stderr.contains("is not Unicode"), "{outcome:?}");
    let (outcome, _) = with_home(latin, &["login", "-e"], None);
    assert_eq!((outcome.status, outcome.stdout.as_str()), (1, ""), "{outcome:?}");
    // The list that is printed leads to the usual file, which is in HOME.
    let (outcome, _) = with_home("a:b".into(), &["login", "--merge"], Some(":"));
    assert_eq!((outcome.status, outcome.stdout.as_str()), (1, "false\n"), "{outcome:?}");
}

#[test]
fn home_with_a_separator_does_where_no_list_is_needed() {
    let (outcome, home) = with_home("a:b".into(), &["login", "--no-eval"], None);
    assert_eq!(outcome.status, 0, "{outcome:?}");
    assert!(outcome.stdout.starts_with(&format!("{home}/.kube/tka/")), "{outcome:?}");
    // kubectl reads the usual file there without any list.
    let (outcome, _) = with_home("a:b".into(), &["login", "--merge"], None);
    assert_eq!((outcome.status, outcome.stdout.as_str()), (0, ""), "{outcome:?}");
}

#[test]
fn odd_characters_in_home_arrive_in_the_shell() {
    for shell in ["sh", "bash", "zsh"].iter().filter_map(|name| shells::find(name)) {
        for name in [
            "with space",
            "o'n",
            "a\nb",
            "$(echo no)",
            "\"q\"",
            "a\\b",
            "ünï",
            "-e",
            "a;b",
            "*",
        ] {
            let user = User::new();
            let home = user.home().join(name);
            fs::create_dir(&home).unwrap();
            let fake = FakeServer::new(&[("POST /login", Answer::json(200, &signed_in()))]);
            let script = "export HOME; eval \"$(tka login)\"; test -f \"$KUBECONFIG\" && printf %s \"$KUBECONFIG\"";
            let script = format!("HOME={}; {script}", quoted(&home.to_string_lossy()));
            let outcome = evaluated(&shell, &user, &fake, &script);
            assert_eq!(outcome.status, 0, "{outcome:?}");
            assert!(
                outcome.stdout.starts_with(&format!("{}/.kube/tka/", home.display())),
                "{outcome:?}"
            );
        }
    }
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// cases.md 6: `KUBECONFIG=:`, and what else has kubectl read nothing.
#[test]
fn where_kubectl_reads_nothing_the_line_is_printed() {
    for list in [":", "::"] {
        let (outcome, home) = with_home("home".into(), &["login", "--merge"], Some(list));
        assert_eq!(outcome.status, 0, "{outcome:?}");
        assert_eq!(outcome.stdout, format!("export KUBECONFIG={home}/.kube/config\n"));
    }
    let (outcome, _) = with_home("home".into(), &["login", "--merge"], Some(""));
    assert_eq!((outcome.status, outcome.stdout.as_str()), (0, ""), "{outcome:?}");
}

/// cases.md 6: `logout` says which context is current again, also after `kubectl config rename-context` of ours.
#[test]
fn logout_says_where_kubectl_leads_again() {
    const THEIRS: &str = "contexts: [{name: kind, context: {cluster: k, user: k}}]\ncurrent-context: kind\n";
    for (before, said) in [
        (THEIRS, "kind is the current context of CONFIG again"),
        ("x: y\n", "CONFIG has no current context now"),
        (
            "current-context: gone\n",
            "gone is the current context of CONFIG again, and is not defined there",
        ),
    ] {
        for renamed in [false, true] {
            let user = User::new();
            let config = user.home().join(".kube/config");
            let fake = FakeServer::new(&[
                ("POST /login", Answer::json(200, &signed_in())),
                ("POST /logout", Answer::json(200, &login())),
            ]);
            fs::create_dir(user.home().join(".kube")).unwrap();
            fs::write(&config, before).unwrap();
            assert_eq!(user.run_with(&fake, &["login", "--merge"]).status, 0);
            if renamed {
                let text = fs::read_to_string(&config).unwrap();
                fs::write(&config, text.replace("tka-context-alice", "mine")).unwrap();
            }
            let outcome = user.run_with(&fake, &["logout"]);
            assert_eq!(outcome.status, 0, "{outcome:?}");
            let said = said.replace("CONFIG", &config.display().to_string());
            assert!(outcome.stderr.contains(&said), "{renamed}: {outcome:?}");
            let after = fs::read_to_string(&config).unwrap();
            assert!(!after.contains("tka") && !after.contains("mine"), "{after}");
        }
    }
}
