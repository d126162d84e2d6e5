//! `tka shell`, `tka exec`, and `tka login --shell`, which is the former

use std::io::{BufRead, BufReader};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Arc, Barrier};

use rexpect::process::WaitStatus;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::fake_server::{Answer, FakeServer, Request};
use crate::tka::{Outcome, TOKEN, User, credential, kubeconfig, login, signing_in};

pub(crate) fn session() -> Value {
    json!({
        "name": "tka-alice-own", "username": "alice@example.com", "device": "laptop.example.ts.net", "this_device": true,
        "role": "view", "namespaces": [], "provisioned": true, "label": "shell-1",
        "signed_in": "2001-01-02T15:04:05Z", "until": "2999-01-02T15:04:05Z"
    })
}

/// The answer of a server that waited until the session is usable.
pub(crate) fn usable() -> Answer {
    let mut answer = login();
    answer["session"] = session();
    answer["kubeconfig"] = kubeconfig();
    answer["credential"] = credential();
    Answer::json(200, &answer)
}

/// What happens around a program.
pub(crate) fn whole_session() -> FakeServer {
    FakeServer::new(&[
        ("POST /login", usable()),
        ("DELETE /sessions/tka-alice-own", Answer::json(200, &session())),
    ])
}

/// A shell that does what `script` says.
fn shell(user: &User, script: &str) -> PathBuf {
    let path = user.home().join("shell");
    std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path
}

/// The command, with a folder that may be in memory. The folder in it is used where it is, and is seen to be empty afterwards.
fn command(user: &User, fake: &FakeServer, arguments: &[&str]) -> Command {
    let memory = user.home().join("run");
    let mut private = std::fs::DirBuilder::new();
    private.recursive(true).mode(0o700).create(memory.join("tka")).unwrap();
    let mut command = user.command_with(fake, arguments);
    command.env("XDG_RUNTIME_DIR", memory);
    command
}

fn run(user: &User, fake: &FakeServer, arguments: &[&str], script: &str) -> Outcome {
    let shell = shell(user, script);
    let outcome = command(user, fake, arguments).env("SHELL", shell).output().unwrap();
    assert_eq!(user.files(), ["run", "run/tka", "shell"], "nothing stays behind");
    outcome.into()
}

fn exec(fake: &FakeServer, words: &[&str]) -> Outcome {
    let user = User::new();
    let arguments = [&["exec", "--"], words].concat();
    let outcome = command(&user, fake, &arguments).output().unwrap();
    assert_eq!(user.files(), ["run", "run/tka"], "nothing stays behind");
    outcome.into()
}

#[test]
fn the_shell_has_access_while_it_runs() {
    for arguments in [&["shell"][..], &["login", "--shell"]] {
        let (user, fake) = (User::new(), whole_session());
        let script = "cat \"$KUBECONFIG\"; stat -c %a \"$KUBECONFIG\" \"${KUBECONFIG%/*}\"; exit 42";
        let outcome = run(&user, &fake, arguments, script);
        assert!(!outcome.stdout.contains(TOKEN), "{outcome:?}");
        assert!(
            outcome.stdout.contains("- '--session'\n      - 'tka-alice-own'\n"),
            "{outcome:?}"
        );
        assert!(outcome.stdout.ends_with("600\n700\n"), "{outcome:?}");
        assert!(
            outcome.stderr.starts_with("✓ signed in as alice@example.com\n"),
            "{outcome:?}"
        );
        assert_eq!(outcome.status, 42, "{outcome:?}");
        let label = &serde_json::from_str::<Value>(&fake.requests()[0].body).unwrap()["session"];
        assert!(label.as_str().unwrap().starts_with("shell-"), "{label}");
    }
}

#[test]
fn kubectl_in_the_shell_sends_no_request_until_expiry() {
    let (user, fake) = (User::new(), whole_session());
    let plugin = format!(
        "\"{}\" credential --server http://127.0.0.1:{} --session tka-alice-own",
        env!("CARGO_BIN_EXE_tka"),
        fake.address.port()
    );
    let shell = shell(&user, &plugin);
    let mut command = user.command_with(&fake, &["shell", "-c", "x"]);
    let outcome = Outcome::from(command.env("SHELL", shell).output().unwrap());
    assert!(outcome.stdout.contains(TOKEN), "{outcome:?}");
    fake.requests();
    let left: Vec<_> = std::fs::read_dir(user.cache()).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn programs_that_cannot_run_a_plugin_get_a_token() {
    let fake = whole_session();
    let user = User::new();
    let arguments = ["exec", "--token", "--", "sh", "-c", "cat $KUBECONFIG"];
    let outcome = Outcome::from(command(&user, &fake, &arguments).output().unwrap());
    assert!(outcome.stdout.contains(TOKEN), "{outcome:?}");
}

#[test]
fn each_has_a_session_of_its_own() {
    let label = || {
        let fake = whole_session();
        assert_eq!(exec(&fake, &["true"]).status, 0);
        fake.requests()[0].body.clone()
    };
    assert_ne!(label(), label());
}

#[test]
fn what_prompts_show_is_in_the_environment() {
    let fake = whole_session();
    let outcome = exec(
        &fake,
        &["sh", "-c", "echo $TKA_SESSION $TKA_ROLE $TKA_UNTIL $TKA_SERVER"],
    );
    let expected = format!(
        "tka-alice-own view 2999-01-02T15:04:05Z http://127.0.0.1:{}\n",
        fake.address.port()
    );
    assert_eq!((outcome.stdout, outcome.stderr.as_str()), (expected, ""));
}

#[test]
fn command_begins_at_the_first_word_and_keeps_all_that_follows() {
    for words in [&[][..], &["--"]] {
        let (user, fake) = (User::new(), whole_session());
        let command_line = [
            "sh",
            "-c",
            "echo \"$@\"",
            "sh",
            "-o",
            "wide",
            "--token",
            "--",
            "--help",
            "-q",
        ];
        let arguments = [&["exec", "--timeout", "20"], words, &command_line].concat();
        let outcome = Outcome::from(command(&user, &fake, &arguments).output().unwrap());
        let expected = (0, "-o wide --token -- --help -q\n");
        assert_eq!((outcome.status, outcome.stdout.as_str()), expected, "{outcome:?}");
    }
}

#[test]
fn prompt_shows_the_session_only_in_its_own_shell() {
    let tka = env!("CARGO_BIN_EXE_tka");
    for token in [&[][..], &["--token"]] {
        let fake = whole_session();
        let script = format!("{tka} status --prompt; KUBECONFIG=/nowhere {tka} status --prompt; echo end");
        let user = User::new();
        let words = ["--", "sh", "-c", script.as_str()];
        let outcome = command(&user, &fake, &[&["exec"], token, &words].concat()).output();
        let shown = Outcome::from(outcome.unwrap()).stdout;
        assert!(
            shown.starts_with("view@127.0.0.1 ") && shown.ends_with("\nend\n"),
            "{shown}"
        );
        assert_eq!(shown.lines().count(), 2, "{shown}");
    }
}

#[test]
fn command_gets_its_arguments_and_returns_its_status() {
    let fake = whole_session();
    let outcome = exec(
        &fake,
        &[
            "sh",
            "-c",
            "printf '<%s>' \"$@\"; exit 3",
            "sh",
            "a b",
            "-c",
            "--",
            "$x",
        ],
    );
    assert_eq!((outcome.stdout.as_str(), outcome.status), ("<a b><-c><--><$x>", 3));
    fake.requests();
}

#[test]
fn a_line_is_run_by_the_shell() {
    for spelling in [
        &["shell", "-c"][..],
        &["shell", "--command"],
        &["shell", "-qc"],
        &["-qt", "ascii", "shell", "-c"],
    ] {
        let (user, fake) = (User::new(), whole_session());
        let outcome = run(&user, &fake, &[spelling, &["exit 9"]].concat(), "echo \"$@\"; exit 4");
        assert_eq!(
            (outcome.stdout.as_str(), outcome.status),
            ("-c exit 9\n", 4),
            "{outcome:?}"
        );
        assert_eq!(outcome.stderr, "");
        fake.requests();
    }
}

#[test]
fn requested_options_are_sent_with_the_label() {
    let rules = json!({"items": []});
    let fake = FakeServer::new(&[
        ("GET /rules", Answer::json(200, &rules)),
        ("POST /login", usable()),
        ("DELETE /sessions/tka-alice-own", Answer::json(200, &session())),
    ]);
    let arguments = [
        "exec", "--role", "view", "--for", "5m", "--reason", "x", "-n", "web", "--", "cat",
    ];
    let outcome = Outcome::from(User::new().command_with(&fake, &arguments).output().unwrap());
    assert_eq!(outcome.status, 0, "{outcome:?}");
    let body: Value = serde_json::from_str(&fake.requests()[1].body).unwrap();
    assert_eq!(
        (&body["role"], &body["period"], &body["reason"]),
        (&json!("view"), &json!("5m0s"), &json!("x"))
    );
    assert!(body["session"].as_str().unwrap().starts_with("exec-"));
}

#[test]
fn context_has_the_requested_namespace() {
    let fake = FakeServer::new(&[
        ("GET /rules", Answer::json(200, &json!({"items": []}))),
        ("POST /login", usable()),
        ("DELETE /sessions/tka-alice-own", Answer::json(200, &session())),
    ]);
    let arguments = ["exec", "-n", "web", "--", "sh", "-c", "cat $KUBECONFIG"];
    let outcome = Outcome::from(User::new().command_with(&fake, &arguments).output().unwrap());
    assert!(outcome.stdout.contains("namespace: 'web'"), "{outcome:?}");
}

#[test]
fn slow_session_is_requested_again() {
    let fake = FakeServer::new(&[
        ("POST /login", Answer::json(202, &login())),
        ("GET /rules", Answer::json(200, &json!({"items": []}))),
        ("POST /login", usable()),
        ("DELETE /sessions/tka-alice-own", Answer::json(200, &session())),
    ]);
    assert_eq!(exec(&fake, &["true"]).status, 0);
    let requests = fake.requests();
    assert_eq!(requests[0].body, requests[2].body, "the same session");
}

/// Another shell's session, and the one that the first request asked for.
fn with_requested_session(requests: &[Request]) -> Value {
    let request: Value = serde_json::from_str(&requests[0].body).unwrap();
    let mut begun = session();
    (begun["name"], begun["label"]) = (json!("tka-alice-begun"), request["session"].clone());
    json!({"items": [session(), begun]})
}

#[test]
fn session_ends_after_an_invalid_or_missing_response() {
    let mut broken = login();
    broken["session"] = session();
    broken["kubeconfig"] = kubeconfig();
    broken["kubeconfig"]["users"] = json!({});
    for (answer, status) in [
        (Answer::json(200, &broken), 1),
        (Answer::Silence, 5),
        (Answer::Truncated, 1),
        (Answer::html(502), 5),
    ] {
        let fake = FakeServer::new(&[
            ("POST /login", answer.clone()),
            ("GET /sessions", Answer::From(with_requested_session)),
            ("DELETE /sessions/tka-alice-begun", Answer::json(200, &session())),
        ]);
        let user = User::new();
        let mut command = command(&user, &fake, &["exec", "--timeout", "1", "--", "echo", "run"]);
        let outcome = Outcome::from(command.output().unwrap());
        assert_eq!((outcome.status, outcome.stdout.as_str()), (status, ""), "{answer:?}");
        fake.requests();
    }
}

#[test]
fn a_signal_ends_the_program_and_the_session() {
    for (signal, status) in [("TERM", 128 + 15), ("HUP", 128 + 1)] {
        let fake = whole_session();
        let outcome = exec(&fake, &["sh", "-c", &format!("kill -{signal} $PPID; exec sleep 600")]);
        assert_eq!(outcome.status, status, "{outcome:?}");
        fake.requests();
    }
}

/// A signal during a request makes tka exit after the response, without running the command.
fn ends_first(barrier: &Barrier, fake: &FakeServer) {
    let user = User::new();
    let mut command = command(&user, fake, &["exec", "--", "echo", "run"]);
    let mut tka = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    barrier.wait();
    kill_process(Pid::from_child(&tka), Signal::TERM).unwrap();
    let mut line = String::new();
    BufReader::new(tka.stderr.as_mut().unwrap())
        .read_line(&mut line)
        .unwrap();
    assert_eq!(
        line,
        "exiting when the session has ended; send the signal again to exit now\n"
    );
    barrier.wait();
    let output = tka.wait_with_output().unwrap();
    assert_eq!(
        (output.status.code(), output.stdout.as_slice()),
        (Some(128 + 15), &b""[..])
    );
    assert_eq!(user.files(), ["run", "run/tka"], "nothing stays behind");
    fake.requests();
}

#[test]
fn signal_before_the_session_runs_nothing_and_leaves_none() {
    let barrier = Arc::new(Barrier::new(2));
    let fake = FakeServer::new(&[
        ("POST /login", Answer::Meeting(Arc::clone(&barrier), Box::new(usable()))),
        ("DELETE /sessions/tka-alice-own", Answer::json(200, &session())),
    ]);
    ends_first(&barrier, &fake);
}

#[test]
fn signal_waits_for_the_end_of_a_possible_session() {
    let barrier = Arc::new(Barrier::new(2));
    let found = Answer::From(with_requested_session);
    let fake = FakeServer::new(&[
        ("POST /login", Answer::Truncated),
        ("GET /sessions", Answer::Meeting(Arc::clone(&barrier), Box::new(found))),
        ("DELETE /sessions/tka-alice-begun", Answer::json(200, &session())),
    ]);
    ends_first(&barrier, &fake);
}

#[test]
fn signals_for_the_program_reach_it_and_end_nothing() {
    for signal in ["USR1", "USR2", "ALRM", "WINCH"] {
        let fake = whole_session();
        // A minute of waiting for it, so that a signal that is lost fails this test and does not hold it up.
        let wait = "for i in $(seq 600); do sleep 0.1; done";
        let script = format!("trap 'echo heard; exit 7' {signal}; kill -{signal} $PPID; {wait}");
        let outcome = exec(&fake, &["sh", "-c", &script]);
        assert_eq!((outcome.stdout.as_str(), outcome.status), ("heard\n", 7), "{signal}");
        fake.requests();
    }
}

#[test]
fn signals_before_the_program_runs_are_dropped() {
    let barrier = Arc::new(Barrier::new(2));
    let fake = FakeServer::new(&[
        ("POST /login", Answer::Meeting(Arc::clone(&barrier), Box::new(usable()))),
        ("DELETE /sessions/tka-alice-own", Answer::json(200, &session())),
    ]);
    let user = User::new();
    let mut command = command(&user, &fake, &["exec", "--", "echo", "run"]);
    let tka = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    barrier.wait();
    for signal in [Signal::USR1, Signal::USR2, Signal::WINCH] {
        kill_process(Pid::from_child(&tka), signal).unwrap();
    }
    barrier.wait();
    let outcome = Outcome::from(tka.wait_with_output().unwrap());
    assert_eq!(
        (outcome.stdout.as_str(), outcome.stderr.as_str(), outcome.status),
        ("run\n", "", 0)
    );
    fake.requests();
}

#[test]
fn a_second_signal_does_not_wait() {
    let barrier = Arc::new(Barrier::new(2));
    let silence = Answer::Meeting(Arc::clone(&barrier), Box::new(Answer::Silence));
    let fake = FakeServer::new(&[("POST /login", silence)]);
    let user = User::new();
    let mut command = command(&user, &fake, &["exec", "--", "echo", "run"]);
    let mut tka = command.stderr(Stdio::piped()).spawn().unwrap();
    barrier.wait();
    barrier.wait();
    kill_process(Pid::from_child(&tka), Signal::INT).unwrap();
    let mut line = String::new();
    BufReader::new(tka.stderr.as_mut().unwrap())
        .read_line(&mut line)
        .unwrap();
    kill_process(Pid::from_child(&tka), Signal::INT).unwrap();
    assert_eq!(tka.wait().unwrap().code(), Some(128 + 2));
    assert_eq!(user.files(), ["run", "run/tka"], "nothing stays behind");
}

#[test]
fn a_shell_is_hung_up_whatever_the_signal() {
    for signal in ["TERM", "HUP"] {
        let (user, fake) = (User::new(), whole_session());
        let script =
            format!("sleep 60 >&- 2>&- & child=$!; trap 'kill $child; exit 7' HUP; kill -{signal} $PPID; wait");
        assert_eq!(run(&user, &fake, &["shell"], &script).status, 7);
        fake.requests();
    }
}

/// As a CI runner does.
#[test]
fn an_interrupt_for_this_process_alone_is_passed_on() {
    for (signal, number) in [("INT", 2), ("QUIT", 3)] {
        let fake = whole_session();
        let outcome = exec(&fake, &["sh", "-c", &format!("kill -{signal} $PPID; exec sleep 600")]);
        assert_eq!((outcome.stderr.as_str(), outcome.status), ("", 128 + number));
        fake.requests();
    }
}

/// The terminal sends them to all in its foreground: from us they would come a second time.
#[test]
fn ctrl_c_reaches_the_program_once() {
    let (user, fake) = (User::new(), whole_session());
    let command = command(&user, &fake, &["exec", "--", "sh", "-c", &trapping("echo ready")]);
    let mut terminal = rexpect::session::spawn_command(command, Some(60_000)).unwrap();
    terminal.exp_string("ready").unwrap();
    let until_end = interrupt_and_quit(&mut terminal);
    assert!(!until_end.contains("one"), "{until_end:?}");
    let status = terminal.process().wait().unwrap();
    assert!(matches!(status, WaitStatus::Exited(_, 5)), "{status:?}");
    fake.requests();
}

/// On a busy machine tka may run again only when the program has ended. It stands still here meanwhile.
#[test]
fn late_signals_do_not_interrupt_the_end_of_a_session() {
    let (user, fake) = (User::new(), whole_session());
    let script = trapping("kill -STOP $PPID; echo \"parent $PPID.\"");
    let command = command(&user, &fake, &["exec", "--", "sh", "-c", &script]);
    let mut terminal = rexpect::session::spawn_command(command, Some(60_000)).unwrap();
    let (_, parent) = terminal.exp_regex(r"parent \d+\.").unwrap();
    let parent: i32 = parent.trim_matches(|c: char| !c.is_ascii_digit()).parse().unwrap();
    interrupt_and_quit(&mut terminal);
    kill_process(Pid::from_raw(parent).unwrap(), Signal::CONT).unwrap();
    let status = terminal.process().wait().unwrap();
    assert!(matches!(status, WaitStatus::Exited(_, 5)), "{status:?}");
    // The session has ended.
    fake.requests();
}

/// A script that runs `first`, says `one` at an interrupt and ends with 5 at a quit. It has no child. One that is signalled between fork and exec
/// dies by what its shell would trap, or does not hear of it.
fn trapping(first: &str) -> String {
    format!("trap 'echo one' INT; trap 'echo end; exit 5' QUIT; {first}; while :; do echo waiting; read -r line; done")
}

/// Types Ctrl-C and Ctrl-\, each when the script has dealt with what was before. Returns what is shown between them and the end.
fn interrupt_and_quit(terminal: &mut rexpect::session::PtySession) -> String {
    terminal.send_control('c').unwrap();
    terminal.exp_string("one").unwrap();
    // The first trap is over.
    terminal.exp_string("waiting").unwrap();
    terminal.send_control('\\').unwrap();
    terminal.exp_string("end").unwrap()
}

#[test]
fn what_is_ignored_stays_so() {
    let (user, fake) = (User::new(), whole_session());
    let tka = command(&user, &fake, &[]);
    let mut nohup = Command::new("sh");
    let script = format!(
        "trap '' HUP; exec {} exec -- sh -c 'kill -HUP $PPID; kill -HUP $$; exit 6'",
        env!("CARGO_BIN_EXE_tka")
    );
    let variables = tka.get_envs().filter_map(|(name, value)| Some((name, value?)));
    nohup.args(["-c", &script]).env_clear().envs(variables);
    let outcome = Outcome::from(nohup.output().unwrap());
    assert_eq!(outcome.status, 6, "{outcome:?}");
    fake.requests();
}

#[test]
fn a_program_that_a_signal_ended_has_the_status_of_it() {
    let fake = whole_session();
    assert_eq!(exec(&fake, &["sh", "-c", "kill -KILL $$"]).status, 128 + 9);
    fake.requests();
}

#[test]
fn a_program_that_stops_itself_goes_on_with_us() {
    let (user, fake) = (User::new(), whole_session());
    let tka = command(&user, &fake, &[]);
    // A shell without job control sees that its child stopped only by asking the system.
    let script = format!(
        "{} exec -- sh -c 'kill -STOP $$; exit 8' & tka=$!
        until grep -q '^State:.T' /proc/$tka/status; do :; done
        kill -CONT $tka; wait $tka",
        env!("CARGO_BIN_EXE_tka")
    );
    let variables = tka.get_envs().filter_map(|(name, value)| Some((name, value?)));
    let outcome = Command::new("sh")
        .args(["-c", &script])
        .env_clear()
        .envs(variables)
        .output()
        .unwrap();
    assert_eq!(Outcome::from(outcome).status, 8);
    fake.requests();
}

#[test]
fn a_program_that_does_not_start_leaves_no_session() {
    let fake = whole_session();
    let outcome = exec(&fake, &["/nonexistent/program"]);
    insta::assert_snapshot!("exec_no_such_command", outcome.shown(&fake));
    fake.requests();

    let fake = whole_session();
    assert_eq!(exec(&fake, &["/etc/passwd"]).status, 126);
    fake.requests();

    let (user, fake) = (User::new(), whole_session());
    let outcome = command(&user, &fake, &["shell"])
        .env("SHELL", "/nonexistent/shell")
        .output()
        .unwrap();
    let outcome = Outcome::from(outcome);
    assert!(
        outcome.stderr.contains("cannot start the shell /nonexistent/shell"),
        "{outcome:?}"
    );
    assert_eq!(outcome.status, 127);
    fake.requests();
}

/// What ends the session is lost, or comes to a server that wants to be left alone.
#[test]
fn end_of_the_session_is_retried() {
    let gone = json!({"message": "you have no session of that name"});
    for answers in [
        vec![Answer::busy(429, 1), Answer::json(200, &session())],
        vec![Answer::busy(503, 1), Answer::json(200, &session())],
        vec![Answer::Truncated, Answer::json(200, &session())],
        vec![Answer::html(502), Answer::Truncated, Answer::json(404, &gone)],
    ] {
        let mut script = vec![("POST /login", usable())];
        script.extend(
            answers
                .into_iter()
                .map(|answer| ("DELETE /sessions/tka-alice-own", answer)),
        );
        let fake = FakeServer::new(&script);
        let outcome = exec(&fake, &["sh", "-c", "exit 3"]);
        assert_eq!((outcome.stderr.as_str(), outcome.status), ("", 3));
        fake.requests();
    }
}

#[test]
fn session_ends_despite_busy_server_and_broken_connections() {
    let fake = FakeServer::new(&[
        ("POST /login", Answer::Truncated),
        ("GET /sessions", Answer::Truncated),
        ("GET /sessions", Answer::busy(429, 1)),
        ("GET /sessions", Answer::From(with_requested_session)),
        ("DELETE /sessions/tka-alice-begun", Answer::busy(503, 1)),
        ("DELETE /sessions/tka-alice-begun", Answer::json(200, &session())),
    ]);
    assert_eq!(exec(&fake, &["echo", "run"]).status, 1);
    fake.requests();
}

#[test]
fn busy_server_is_not_asked_before_its_retry_time() {
    let busy = Answer::busy(503, 600);
    let fake = FakeServer::new(&[("POST /login", usable()), ("DELETE /sessions/tka-alice-own", busy)]);
    let outcome = exec(&fake, &["true"]);
    assert!(outcome.stderr.contains("ends by itself"), "{outcome:?}");
    assert_eq!(fake.requests().len(), 2);
}

#[test]
fn a_session_that_cannot_be_ended_ends_by_itself() {
    let mut script = vec![("POST /login", usable())];
    script.extend(vec![("DELETE /sessions/tka-alice-own", Answer::Truncated); 5]);
    let fake = FakeServer::new(&script);
    let outcome = exec(&fake, &["sh", "-c", "exit 3"]);
    insta::with_settings!({filters => [(r"in \d+ d", "in AGES")]}, {
        insta::assert_snapshot!("exec_not_ended", outcome.shown(&fake));
    });
    fake.requests();
}

#[test]
fn a_session_that_was_over_needs_no_word() {
    let gone = json!({"message": "you have no session of that name"});
    let fake = FakeServer::new(&[
        ("POST /login", usable()),
        ("DELETE /sessions/tka-alice-own", Answer::json(404, &gone)),
    ]);
    let outcome = exec(&fake, &["true"]);
    assert_eq!((outcome.stderr.as_str(), outcome.status), ("", 0));
}

#[test]
fn a_refusal_runs_nothing() {
    let refusal = json!({"message": "no rule of the tailnet policy reaches you"});
    let fake = FakeServer::new(&[("POST /login", Answer::json(403, &refusal))]);
    let outcome = exec(&fake, &["echo", "run"]);
    assert_eq!((outcome.stdout.as_str(), outcome.status), ("", 4));
}

#[test]
fn a_shell_inside_a_shell_says_so() {
    let (user, fake) = (User::new(), whole_session());
    let shell = shell(&user, "true");
    let mut command = command(&user, &fake, &["shell"]);
    let outcome = Outcome::from(
        command
            .env("SHELL", shell)
            .env("TKA_SESSION", "tka-alice-outer")
            .output()
            .unwrap(),
    );
    let expected = "→ this shell runs inside the shell of the session tka-alice-outer, and returns to it\n";
    assert!(outcome.stderr.starts_with(expected), "{outcome:?}");
}

/// The original's server keeps one session a user: what it can do is done, and what it cannot is said.
#[test]
fn on_the_originals_server_leaving_signs_out_everywhere() {
    let mut script = signing_in();
    script.insert(1, ("GET /rules", Answer::html(404)));
    script.push(("POST /logout", Answer::json(200, &login())));
    let fake = FakeServer::new(&script);
    let outcome = exec(&fake, &["sh", "-c", "cat $KUBECONFIG >/dev/null && echo run; exit 3"]);
    insta::assert_snapshot!("exec_original", outcome.shown(&fake));
    fake.requests();
}

#[test]
fn a_hostile_name_does_not_steer_the_terminal_at_the_end() {
    let mut script = signing_in();
    script.insert(1, ("GET /rules", Answer::html(404)));
    let mut answer = login();
    answer["username"] = json!("al\u{1b}[2J\u{202e}\u{200b}ice");
    script.push(("POST /logout", Answer::json(200, &answer)));
    let fake = FakeServer::new(&script);
    let outcome = exec(&fake, &["true"]);
    assert!(outcome.stderr.ends_with("✓ signed out al[2Jice\n"), "{outcome:?}");
}

#[test]
fn no_command_is_a_mistake() {
    for arguments in [
        &["exec"][..],
        &["exec", "--role", "view"],
        &["exec", "--"],
        &["exec", "--kubectl"],
    ] {
        assert_eq!(User::new().run(arguments).status, 2, "{arguments:?}");
    }
}
