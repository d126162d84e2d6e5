//! `tka credential`, as kubectl calls it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::fake_server::{Answer, FakeServer};
use crate::tka::{Outcome, SESSION, TOKEN, User, credential, signed_in};

const ASKED: &str = "POST /credential";

/// The command, as the kubeconfig says it.
fn command(user: &User, fake: &FakeServer) -> Command {
    let url = format!("http://{}", fake.address);
    let mut command = user.command(&["credential", "--server", &url, "--session", SESSION]);
    command.stdin(Stdio::null());
    command
}

/// The command's own process is asked by another each time, as by one kubectl after the other.
fn ask(user: &User, fake: &FakeServer) -> Outcome {
    by_another(&command(user, fake)).output().unwrap().into()
}

fn by_another(command: &Command) -> Command {
    let mut shell = Command::new("/bin/sh");
    // The colon keeps the shell from becoming the command.
    shell.args(["-c", "\"$@\"; status=$?; :; exit $status", "sh"]);
    shell.arg(command.get_program()).args(command.get_args()).env_clear();
    for (name, value) in command.get_envs() {
        shell.env(name, value.unwrap_or_default());
    }
    shell.stdin(Stdio::null());
    shell
}

fn token(outcome: &Outcome) -> String {
    let printed: Value = serde_json::from_str(&outcome.stdout).unwrap_or_default();
    printed["status"]["token"]
        .as_str()
        .unwrap_or(&outcome.stderr)
        .to_owned()
}

fn over() -> Answer {
    Answer::json(
        401,
        &json!({"message": "you are not signed in", "advice": ["sign in with `tka login`"]}),
    )
}

#[test]
fn credential_is_fetched_once_and_cached() {
    let (user, fake) = (
        User::new(),
        FakeServer::new(&[(ASKED, Answer::json(200, &credential()))]),
    );
    let first = ask(&user, &fake);
    assert_eq!((first.status, &*first.stderr), (0, ""));
    assert_eq!(token(&first), TOKEN);
    assert_eq!(ask(&user, &fake).stdout, first.stdout);
    let requests = fake.requests();
    let body: Value = serde_json::from_str(&requests[0].body).unwrap();
    assert_eq!(body, json!({"session": SESSION}));
    let in_home = user.files();
    assert!(in_home.is_empty(), "nothing is on disk: {in_home:?}");
}

/// kubectl runs in whatever folder and in containers: the kubeconfig alone says where to ask.
#[test]
fn neither_settings_nor_a_home_are_needed() {
    let (user, fake) = (
        User::new(),
        FakeServer::new(&[(ASKED, Answer::json(200, &credential()))]),
    );
    fs::write(user.home().join("config.yaml"), "output: public\ntailscale: 1\n").unwrap();
    let mut command = command(&user, &fake);
    command.env("HOME", "").env("TKA_TAILSCALE_PORT", "many");
    let outcome = Outcome::from(command.output().unwrap());
    assert_eq!((token(&outcome), outcome.stderr.as_str()), (TOKEN.into(), ""));
}

#[test]
fn credential_of_the_sign_in_is_not_fetched() {
    let (user, fake) = (
        User::new(),
        FakeServer::new(&[("POST /login", Answer::json(200, &signed_in()))]),
    );
    assert_eq!(user.run_with(&fake, &["login"]).status, 0);
    assert_eq!(token(&ask(&user, &fake)), TOKEN);
    fake.requests();
}

#[test]
fn why_one_is_not_kept_is_said_as_it_is() {
    let signed_in = Answer::json(200, &signed_in());
    let (user, fake) = (User::new(), FakeServer::new(&[("POST /login", signed_in)]));
    // No file can be written there.
    let name = format!("127.0.0.1_{}_{SESSION}.json", fake.address.port());
    fs::create_dir_all(user.cache().join(name)).unwrap();
    fs::set_permissions(user.cache(), fs::Permissions::from_mode(0o700)).unwrap();
    let outcome = user.run_with(&fake, &["login", "--debug"]);
    assert!(
        outcome.stderr.contains("debug: credential not cached: Is a directory"),
        "{outcome:?}"
    );
    assert!(!outcome.stderr.contains("standard output"), "{outcome:?}");
}

#[test]
fn fifty_at_once_are_one_request() {
    let (user, fake) = (
        User::new(),
        FakeServer::new(&[(ASKED, Answer::json(200, &credential()))]),
    );
    let start = || {
        by_another(&command(&user, &fake))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    };
    let started: Vec<_> = (0..50).map(|_| start()).collect();
    for child in started {
        let outcome = Outcome::from(child.wait_with_output().unwrap());
        assert_eq!((outcome.status, token(&outcome)), (0, TOKEN.into()));
    }
    assert_eq!(fake.requests().len(), 1);
}

#[test]
fn fifty_at_once_after_the_end_are_one_request_and_one_line() {
    let (user, fake) = (User::new(), FakeServer::new(&[(ASKED, over())]));
    let start = || {
        command(&user, &fake)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    };
    let started: Vec<_> = (0..50).map(|_| start()).collect();
    let ended: Vec<Output> = started
        .into_iter()
        .map(|child| child.wait_with_output().unwrap())
        .collect();
    assert!(
        ended
            .iter()
            .all(|output| output.status.code() == Some(3) && output.stdout.is_empty())
    );
    let said: String = ended
        .iter()
        .map(|output| String::from_utf8_lossy(&output.stderr))
        .collect();
    let said = said.replace(&fake.address.port().to_string(), "PORT");
    insta::assert_snapshot!(said, @"tka: you are not signed in at http://127.0.0.1:PORT: sign in with `tka login --server http://127.0.0.1:PORT`");
    assert_eq!(fake.requests().len(), 1);
}

/// Lets what is kept be fetched that much earlier, and handed out too.
fn age(user: &User, seconds: i64) {
    for entry in fs::read_dir(user.cache()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "json") {
            let mut kept: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
            let fetched: jiff::Timestamp = kept["fetched"].as_str().unwrap().parse().unwrap();
            kept["fetched"] = json!(fetched - jiff::SignedDuration::from_secs(seconds));
            fs::write(path, kept.to_string()).unwrap();
        }
    }
}

/// Lets the failure that is kept be of this moment, and told that many seconds ago.
fn told_before(user: &User, seconds: i64) {
    let failed = fs::read_dir(user.cache()).unwrap().map(|entry| entry.unwrap().path());
    let failed: Vec<_> = failed
        .filter(|path| path.extension().is_some_and(|extension| extension == "failed"))
        .collect();
    assert_eq!(failed.len(), 1, "{failed:?}");
    let mut kept: Value = serde_json::from_slice(&fs::read(&failed[0]).unwrap()).unwrap();
    let now = jiff::Timestamp::now();
    kept["at"] = json!(now);
    kept["told"][0]["at"] = json!(now - jiff::SignedDuration::from_secs(seconds));
    fs::write(&failed[0], kept.to_string()).unwrap();
}

/// cases.md 8: Python's client loads its kubeconfig again at each of its calls.
#[test]
fn program_that_asks_at_each_call_costs_one_request() {
    let (user, fake) = (
        User::new(),
        FakeServer::new(&[(ASKED, Answer::json(200, &credential()))]),
    );
    let began = Instant::now();
    for _ in 0..30 {
        let outcome = Outcome::from(command(&user, &fake).output().unwrap());
        assert_eq!((token(&outcome), outcome.stderr.as_str()), (TOKEN.into(), ""));
    }
    let expected = 1 + began.elapsed().as_secs() / 20;
    assert!(u64::try_from(fake.requests().len()).unwrap() <= expected);
}

#[test]
fn refused_credential_is_replaced_or_reported_as_over() {
    let mut other = credential();
    other["status"]["token"] = json!("another");
    let script = [
        (ASKED, Answer::json(200, &credential())),
        (ASKED, Answer::json(200, &other)),
        (ASKED, over()),
    ];
    let (user, fake) = (User::new(), FakeServer::new(&script));
    assert_eq!(token(&ask(&user, &fake)), TOKEN);
    // client-go asks again when the API server refuses what it got, and does not say why it asks.
    assert_eq!(token(&ask(&user, &fake)), TOKEN, "it is new");
    age(&user, 21);
    assert_eq!(token(&ask(&user, &fake)), "another");
    age(&user, 21);
    let refused = ask(&user, &fake);
    assert_eq!(refused.status, 3);
    assert!(refused.stderr.contains("sign in with `tka login "), "{refused:?}");
    assert_eq!(ask(&user, &fake).status, 3, "and the old one is handed out no more");
    fake.requests();
}

/// It may be asked for twice for another reason, such as two clients in one process.
#[test]
fn cached_credential_is_used_while_the_server_is_down() {
    for lost in [
        Answer::Truncated,
        Answer::html(502),
        Answer::busy(503, 600),
        Answer::json(500, &json!({"message": "x"})),
    ] {
        let script = [(ASKED, Answer::json(200, &credential())), (ASKED, lost)];
        let (user, fake) = (User::new(), FakeServer::new(&script));
        ask(&user, &fake);
        age(&user, 21);
        for _ in 0..5 {
            let outcome = ask(&user, &fake);
            assert_eq!((token(&outcome), outcome.stderr.as_str()), (TOKEN.into(), ""));
        }
        assert_eq!(fake.requests().len(), 2, "no storm");
    }
    let (user, fake) = (
        User::new(),
        FakeServer::new(&[(ASKED, Answer::json(200, &credential()))]),
    );
    let mut command = command(&user, &fake);
    assert_eq!(token(&command.output().unwrap().into()), TOKEN);
    age(&user, 21);
    drop(fake);
    assert_eq!(token(&command.output().unwrap().into()), TOKEN);
}

#[test]
fn later_call_prints_the_failure_again() {
    let (user, fake) = (User::new(), FakeServer::new(&[(ASKED, over())]));
    let said = || {
        let outcome = Outcome::from(command(&user, &fake).output().unwrap());
        assert_eq!(outcome.status, 3);
        outcome.stderr.lines().count()
    };
    assert_eq!(said(), 1);
    for (seconds, lines) in [(0, 0), (0, 0), (2, 1)] {
        told_before(&user, seconds);
        assert_eq!(said(), lines, "{seconds}");
    }
    fake.requests();
}

#[test]
fn failure_is_printed_once_for_kubectl_and_always_for_users() {
    for (info, lines) in [(None, 3), (Some("{}"), 1)] {
        let (user, fake) = (User::new(), FakeServer::new(&[(ASKED, over())]));
        let command = command(&user, &fake);
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", "\"$@\"; \"$@\"; \"$@\"; :", "sh"]);
        shell.arg(command.get_program()).args(command.get_args());
        let variables = command.get_envs().filter_map(|(name, value)| Some((name, value?)));
        shell.env_clear().envs(variables);
        if let Some(info) = info {
            shell.env("KUBERNETES_EXEC_INFO", info);
        }
        let shown = crate::terminal::on_terminal(shell);
        assert_eq!(shown.matches("you are not signed in").count(), lines, "{shown}");
        fake.requests();
    }
}

#[test]
fn advice_names_the_server_and_the_rule() {
    let script = vec![(ASKED, over()); 3];
    let fake = FakeServer::new(&script);
    let said = |change: &dyn Fn(&mut Command)| {
        let user = User::new();
        let mut command = command(&user, &fake);
        change(&mut command);
        let outcome = Outcome::from(command.output().unwrap());
        let said = outcome.stderr.replace(&fake.address.to_string(), "HERE");
        said.trim_end().rsplit(": ").next().unwrap().to_owned()
    };
    let usual = said(&|command| {
        command.env("TKA_TAILSCALE_HOSTNAME", "127.0.0.1");
        command.env("TKA_TAILSCALE_PORT", fake.address.port().to_string());
    });
    assert_eq!(usual, "sign in with `tka login`");
    let chosen = said(&|command| {
        command.args(["--rule", "oncall", "--role", "system:x"]);
    });
    assert_eq!(
        chosen,
        "sign in with `tka login --server http://HERE --rule oncall --role system:x`"
    );
    let own = said(&|command| {
        command.env("TKA_SESSION", SESSION);
    });
    assert_eq!(own, "start another with `tka shell` or `tka exec`");
    fake.requests();
}

/// What kubectl with a person before it, or without, makes of the script, as often as it asks.
fn before_a_terminal(script: &[(&str, Answer)], interactive: bool, chosen: &str, times: usize) -> (String, FakeServer) {
    let (user, fake) = (User::new(), FakeServer::new(script));
    let mut command = command(&user, &fake);
    let info = json!({"apiVersion": "client.authentication.k8s.io/v1", "spec": {"interactive": interactive}});
    command
        .args(["--rule", "oncall"])
        .env("KUBERNETES_EXEC_INFO", info.to_string())
        .env("TKA_CREDENTIAL_LOGIN", chosen);
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", "for time in $0; do (\"$@\"; :); done"]);
    shell
        .arg(vec!["again"; times].join(" "))
        .arg(command.get_program())
        .args(command.get_args());
    let variables = command.get_envs().filter_map(|(name, value)| Some((name, value?)));
    shell.env_clear().envs(variables).current_dir(user.home());
    let mut terminal = rexpect::session::spawn_command(shell, Some(60_000)).unwrap();
    (terminal.exp_eof().unwrap(), fake)
}

fn no_sessions() -> (&'static str, Answer) {
    ("GET /sessions", Answer::json(200, &json!({"items": []})))
}

#[test]
fn kubectl_signs_in_again_with_the_setting() {
    let script = [
        (ASKED, over()),
        no_sessions(),
        ("POST /login", Answer::json(200, &signed_in())),
    ];
    let (shown, fake) = before_a_terminal(&script, true, "true", 2);
    assert_eq!(shown.matches("signed in as alice@example.com").count(), 1, "{shown}");
    assert_eq!(shown.matches(TOKEN).count(), 2, "{shown}");
    let sent: Value = serde_json::from_str(&fake.requests()[2].body).unwrap();
    assert_eq!(sent, json!({"rule": "oncall"}), "through the rule that it was begun by");
}

#[test]
fn sign_in_for_kubectl_needs_the_setting_and_a_user() {
    for (interactive, chosen) in [(true, ""), (true, "false"), (true, "maybe"), (false, "true")] {
        let (shown, fake) = before_a_terminal(&[(ASKED, over())], interactive, chosen, 1);
        assert!(shown.contains("sign in with `tka login "), "{shown}");
        fake.requests();
    }
    // kubectl says so, but there is no terminal.
    let (user, fake) = (User::new(), FakeServer::new(&[(ASKED, over())]));
    let mut command = command(&user, &fake);
    command.env("KUBERNETES_EXEC_INFO", r#"{"spec": {"interactive": true}}"#);
    command.env("TKA_CREDENTIAL_LOGIN", "true");
    assert_eq!(command.output().unwrap().status.code(), Some(3));
    fake.requests();
}

#[test]
fn another_session_is_not_handed_out_and_does_not_stay() {
    let mut other = signed_in();
    other["session"]["name"] = json!("tka-alice-other");
    let mut ended = crate::shell::session();
    ended["name"] = json!("tka-alice-other");
    let script = [
        (ASKED, over()),
        no_sessions(),
        ("POST /login", Answer::json(200, &other)),
        ("DELETE /sessions/tka-alice-other", Answer::json(200, &ended)),
    ];
    let (shown, fake) = before_a_terminal(&script, true, "true", 3);
    assert!(shown.contains("gives another session"), "{shown}");
    assert!(!shown.contains(TOKEN), "{shown}");
    fake.requests();

    let there = json!({"items": [ended]});
    let script = [
        (ASKED, over()),
        ("GET /sessions", Answer::json(200, &there)),
        ("POST /login", Answer::json(200, &other)),
    ];
    let (_, fake) = before_a_terminal(&script, true, "true", 1);
    fake.requests();
}

#[test]
fn a_refused_sign_in_is_remembered_as_any_failure() {
    let refusal = json!({"message": "no rule of the tailnet policy reaches you"});
    let script = [
        (ASKED, over()),
        no_sessions(),
        ("POST /login", Answer::json(403, &refusal)),
    ];
    let (shown, fake) = before_a_terminal(&script, true, "true", 10);
    assert!(shown.contains("refuses to sign you in"), "{shown}");
    fake.requests();
}

#[test]
fn signing_in_again_is_heard_of_at_once() {
    let script = [(ASKED, over()), ("POST /login", Answer::json(200, &signed_in()))];
    let (user, fake) = (User::new(), FakeServer::new(&script));
    assert_eq!(ask(&user, &fake).status, 3);
    assert_eq!(user.run_with(&fake, &["login"]).status, 0);
    assert_eq!(token(&ask(&user, &fake)), TOKEN);
}

#[test]
fn signing_out_forgets_it() {
    let script = [
        ("POST /login", Answer::json(200, &signed_in())),
        ("POST /logout", Answer::json(200, &crate::tka::login())),
        (ASKED, over()),
    ];
    let (user, fake) = (User::new(), FakeServer::new(&script));
    assert_eq!(user.run_with(&fake, &["login"]).status, 0);
    assert_eq!(user.run_with(&fake, &["logout"]).status, 0);
    assert_eq!(ask(&user, &fake).status, 3);
    fake.requests();
}

#[test]
fn damaged_or_expired_credential_is_fetched_again() {
    let mut old = credential();
    old["status"]["expirationTimestamp"] = json!("2001-01-01T00:00:00Z");
    for damage in [
        String::new(),
        "{".into(),
        json!({"fetched": "2000-01-01T00:00:00Z", "credential": old}).to_string(),
    ] {
        let script = vec![(ASKED, Answer::json(200, &credential())); 2];
        let (user, fake) = (User::new(), FakeServer::new(&script));
        ask(&user, &fake);
        let kept = fs::read_dir(user.cache()).unwrap().map(|entry| entry.unwrap().path());
        let kept = kept
            .into_iter()
            .find(|path| path.extension().is_some_and(|end| end == "json"))
            .unwrap();
        fs::write(kept, damage).unwrap();
        assert_eq!(token(&ask(&user, &fake)), TOKEN);
        fake.requests();
    }
}

#[test]
fn without_a_cache_each_call_asks_and_one_prints_the_refusal() {
    let script = [
        (ASKED, Answer::json(200, &credential())),
        (ASKED, Answer::json(200, &credential())),
        (ASKED, over()),
    ];
    let (user, fake) = (User::new(), FakeServer::new(&script));
    let start = |command: &mut Command| {
        command.env("TKA_CREDENTIAL_CACHE", "none");
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    for _ in 0..2 {
        let output = start(&mut command(&user, &fake)).wait_with_output().unwrap();
        assert_eq!(token(&output.into()), TOKEN);
        assert!(!text_below(user.runtime()).contains(TOKEN));
    }
    let started: Vec<_> = (0..50).map(|_| start(&mut command(&user, &fake))).collect();
    let ended = started
        .into_iter()
        .map(|child| Outcome::from(child.wait_with_output().unwrap()));
    let said: Vec<_> = ended
        .inspect(|outcome| assert_eq!(outcome.status, 3, "{outcome:?}"))
        .map(|outcome| outcome.stderr)
        .collect();
    assert_eq!(said.concat().lines().count(), 1, "{said:?}");
    fake.requests();
}

#[test]
fn the_kernels_keyring_does_where_there_is_no_memory() {
    let allowed = Command::new("keyctl").args(["session", "-", "true"]).output();
    if !allowed.is_ok_and(|output| output.status.success()) {
        crate::test_requirements::report_missing("keyctl, or a kernel that permits keyrings");
        return;
    }
    let script = [
        ("POST /login", Answer::json(200, &signed_in())),
        ("POST /logout", Answer::json(200, &crate::tka::login())),
        (ASKED, over()),
    ];
    let (user, fake) = (User::new(), FakeServer::new(&script));
    let tka = env!("CARGO_BIN_EXE_tka");
    let url = format!("http://{}", fake.address);
    let ask = format!("sh -c '{tka} credential --server {url} --session {SESSION}; :'");
    let again = format!("{tka} credential --server {url} --session {SESSION}");
    let script = format!("{tka} login >login 2>&1; {ask}; {ask}; {again}; {again}; {tka} logout 2>&1; {ask}");
    let mut session = user.command_with(&fake, &[]);
    session.env("TKA_CREDENTIAL_CACHE", "keyring");
    let mut keyctl = Command::new("keyctl");
    keyctl
        .args(["session", "-", "sh", "-c", &script])
        .current_dir(user.home());
    keyctl
        .env_clear()
        .envs(session.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let outcome = Outcome::from(keyctl.output().unwrap());
    assert_eq!(outcome.stdout.matches(TOKEN).count(), 4, "{outcome:?}");
    assert!(outcome.stderr.contains("you are not signed in"), "{outcome:?}");
    fake.requests();
    for folder in [user.home(), user.runtime()] {
        assert!(!text_below(folder).contains(TOKEN));
    }
}

/// What is in all files of a folder and those below.
fn text_below(folder: &Path) -> String {
    let text = Command::new("grep").args(["-r", "", "."]).current_dir(folder).output();
    String::from_utf8(text.unwrap().stdout).unwrap()
}

#[test]
fn response_that_breaks_off_is_an_error() {
    for answer in [Answer::Truncated, Answer::Silence, Answer::html(502)] {
        let (user, fake) = (User::new(), FakeServer::new(&[(ASKED, answer)]));
        let mut command = command(&user, &fake);
        let outcome = Outcome::from(command.args(["--timeout", "0.5"]).output().unwrap());
        assert_eq!(outcome.stdout, "");
        assert!([1, 5].contains(&outcome.status), "{outcome:?}");
        assert_eq!(outcome.stderr.lines().count(), 1, "{outcome:?}");
        // kubectl asks again and again.
        assert_eq!(ask(&user, &fake).status, outcome.status);
        fake.requests();
    }
}

#[test]
fn what_is_no_session_reaches_no_file() {
    let refused = Answer::json(404, &json!({"message": "you have no session of that name"}));
    let (user, fake) = (User::new(), FakeServer::new(&[(ASKED, refused)]));
    let url = format!("http://{}", fake.address);
    let outcome = user.run(&["credential", "--server", &url, "--session", "../../x"]);
    assert_eq!(outcome.status, 3, "{outcome:?}");
    assert!(!user.cache().join("../../x").exists());
}

#[test]
fn other_versions_are_refused() {
    let (user, fake) = (User::new(), FakeServer::new(&[]));
    let mut command = command(&user, &fake);
    command.env(
        "KUBERNETES_EXEC_INFO",
        json!({"apiVersion": "client.authentication.k8s.io/v1beta1"}).to_string(),
    );
    let outcome = Outcome::from(command.output().unwrap());
    assert_eq!(outcome.status, 1);
    assert!(outcome.stderr.contains("v1beta1"), "{outcome:?}");
}

#[test]
fn busy_server_is_asked_again_at_its_retry_time() {
    let script = [
        (ASKED, Answer::busy(429, 1)),
        (ASKED, Answer::busy(503, 1)),
        (ASKED, Answer::json(200, &credential())),
    ];
    let (user, fake) = (User::new(), FakeServer::new(&script));
    let began = Instant::now();
    assert_eq!(token(&ask(&user, &fake)), TOKEN);
    assert!(began.elapsed() >= Duration::from_secs(2), "{:?}", began.elapsed());
    fake.requests();
}

#[test]
fn server_that_is_busy_beyond_the_limit_is_not_awaited() {
    let (user, fake) = (User::new(), FakeServer::new(&[(ASKED, Answer::busy(429, 60))]));
    let outcome = ask(&user, &fake);
    assert_eq!((outcome.status, outcome.stderr.lines().count()), (1, 1), "{outcome:?}");
    fake.requests();
}
