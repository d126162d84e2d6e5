//! A device with tailscale up and nothing set: `tka login` finds the server.

use std::process::Command;

use serde_json::json;

use crate::clusters::{answering, tailnet};
use crate::fake_server::{Answer, FakeServer};
use crate::tailscaled::Tailscaled;
use crate::tka::{Outcome, User, signed_in};

fn signs_in() -> (&'static str, Answer) {
    ("POST /login", Answer::json(200, &signed_in()))
}

/// `tka …` of a user who set nothing. The fake server has no usual port, so that is the one thing that is told.
fn unset(user: &User, fake: &FakeServer, tailscaled: &Tailscaled, arguments: &[&str]) -> Command {
    let mut command = user.command(arguments);
    command
        .env("TKA_TAILSCALE_PORT", fake.address.port().to_string())
        .env("TKA_TAILSCALE_SOCKET", tailscaled.socket());
    command
}

fn run(mut command: Command) -> Outcome {
    command.output().unwrap().into()
}

#[test]
fn only_server_is_taken_and_remembered() {
    let fake = FakeServer::new(&[answering("prod", &[]), vec![signs_in(), signs_in()]].concat());
    let (user, tailscaled) = (User::new(), tailnet(true));
    let port = fake.address.port();
    let outcome = run(unset(&user, &fake, &tailscaled, &["login"]));
    assert_eq!(outcome.status, 0, "{outcome:?}");
    let kubeconfig = user.folder().join(format!("localhost_{port}.yaml"));
    assert_eq!(outcome.stdout, format!("export KUBECONFIG={}\n", kubeconfig.display()));
    let file = user.home().join(".config/tka/config.yaml");
    let note = format!(
        "commands use http://localhost:{port} from now on, set in {}",
        file.display()
    );
    assert!(outcome.stderr.contains(&note), "{outcome:?}");
    let text = std::fs::read_to_string(file).unwrap();
    assert_eq!(text, format!("tailscale:\n  port: {port}\n  hostname: localhost\n"));
    // From now on nothing is looked for.
    let outcome = user.run(&["login"]);
    assert_eq!(outcome.status, 0, "{outcome:?}");
    assert!(!outcome.stderr.contains("from now on"), "{outcome:?}");
    fake.requests();
}

#[test]
fn command_of_its_own_session_leaves_no_setting() {
    let mut session = signed_in();
    session["session"]["name"] = "tka-alice-own".into();
    let ended = json!({
        "name": "tka-alice-own", "username": "a", "device": "d", "this_device": true, "role": "view", "namespaces": [],
        "provisioned": true, "signed_in": "2001-01-02T15:04:05Z", "until": "2999-01-02T15:04:05Z"
    });
    let script = vec![
        ("POST /login", Answer::json(200, &session)),
        ("DELETE /sessions/tka-alice-own", Answer::json(200, &ended)),
    ];
    let fake = FakeServer::new(&[answering("prod", &[]), script].concat());
    let (user, tailscaled) = (User::new(), tailnet(true));
    let outcome = run(unset(
        &user,
        &fake,
        &tailscaled,
        &["exec", "sh", "-c", "echo $TKA_SERVER"],
    ));
    assert_eq!(
        outcome.stdout,
        format!("http://localhost:{}\n", fake.address.port()),
        "{outcome:?}"
    );
    assert!(user.files().is_empty());
    fake.requests();
}

/// A user with a server of an earlier sign-in, beside the one on the tailnet.
fn with_two(there: &FakeServer) -> User {
    let user = User::new();
    assert_eq!(user.run_with(there, &["login"]).status, 0);
    user
}

#[test]
fn several_servers_are_a_choice_that_a_pipe_cannot_make() {
    let first = FakeServer::new(&[vec![signs_in()], answering("first", &[])].concat());
    let second = FakeServer::new(&answering("second", &[]));
    let (user, tailscaled) = (with_two(&first), tailnet(true));
    let before = user.files();
    let outcome = run(unset(&user, &second, &tailscaled, &["login"]));
    let ports = [(&first, "FIRST"), (&second, "SECOND")];
    let shown = ports.iter().fold(outcome.stderr.clone(), |text, (fake, name)| {
        text.replace(&fake.address.port().to_string(), name)
    });
    assert_eq!((outcome.status, outcome.stdout.as_str()), (2, "false\n"), "{outcome:?}");
    insta::assert_snapshot!(shown, @"
    ✗ no TKA server is set, and several were found on the tailnet
      why  http://127.0.0.1:FIRST
           http://localhost:SECOND
      do   choose one with `tka login --server SERVER`
           or make it the default with `tka clusters use NAME`; `tka clusters` shows what each is for
    ");
    assert_eq!(user.files(), before);
    for fake in [&first, &second] {
        fake.requests();
    }
}

#[test]
fn person_at_a_terminal_chooses() {
    let first = FakeServer::new(&[vec![signs_in()], answering("first", &[])].concat());
    let second = FakeServer::new(&[answering("second", &[]), vec![signs_in()]].concat());
    let (user, tailscaled) = (with_two(&first), tailnet(true));
    let mut command = unset(&user, &second, &tailscaled, &["login"]);
    command.env("TERM", "dumb");
    let mut terminal = rexpect::session::spawn_command(command, Some(30_000)).unwrap();
    terminal.exp_string("env=second").unwrap();
    terminal.exp_string("which one? (1-2, or its name) ").unwrap();
    terminal.send_line("3").unwrap();
    terminal.exp_string("which one? (1-2, or its name) ").unwrap();
    terminal.send_line("localhost").unwrap();
    terminal.exp_string("signed in as").unwrap();
    terminal.exp_string("from now on").unwrap();
    terminal.exp_eof().unwrap();
    for fake in [&first, &second] {
        fake.requests();
    }
}

#[test]
fn without_a_server_it_says_where_it_looked() {
    for (answer, is_found) in [
        (Answer::html(200), false),
        (Answer::html(404), false),
        (Answer::json(403, &json!({"message": "no rule reaches you"})), true),
    ] {
        let mut script = vec![("GET /rules", answer.clone())];
        match is_found {
            // The refusal of the only server is what the person hears.
            true => script.push(("POST /login", answer)),
            // What does not say that it has no rules is asked as the original's server.
            false if matches!(answer, Answer::Http { status: 404, .. }) => {
                script.push(("GET /login", Answer::html(404)));
            }
            false => {}
        }
        let fake = FakeServer::new(&script);
        let (user, tailscaled) = (User::new(), tailnet(true));
        let outcome = run(unset(&user, &fake, &tailscaled, &["login"]));
        assert_eq!(outcome.status, if is_found { 4 } else { 5 }, "{outcome:?}");
        let expected = if is_found {
            "no rule reaches you"
        } else {
            "no node with tag:tka answers this device"
        };
        assert!(outcome.stderr.contains(expected), "{outcome:?}");
        assert!(user.files().is_empty());
        fake.requests();
    }
}

#[test]
fn nodes_that_are_offline_are_not_waited_for() {
    let fake = FakeServer::new(&[]);
    let (user, tailscaled) = (User::new(), tailnet(false));
    let outcome = run(unset(&user, &fake, &tailscaled, &["login", "--timeout", "1"]));
    // As before: the default server.
    let server = format!("cannot reach the server at http://tka:{}", fake.address.port());
    assert!(outcome.status == 5 && outcome.stderr.contains(&server), "{outcome:?}");
    assert!(fake.requests().is_empty());
}
