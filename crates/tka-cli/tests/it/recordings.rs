//! Recordings: played on a terminal, searched, and opened.

use std::fs;
use std::io::Write;
use std::process::Command;

use age::armor::{ArmoredWriter, Format};
use age::secrecy::ExposeSecret;
use age::x25519::Identity;
use rexpect::session::PtySession;
use serde_json::json;

use crate::fake_server::{Answer, FakeServer};
use crate::tka::{Outcome, User};

/// How long a terminal may take for an answer.
const LIMIT: Option<u64> = Some(30_000);
const ID: &str = "20260102T030405.000Z-0f9d2f64-52e7-4b29-9d8a-8f1b2b6d2a11";
// As the client writes it.
const GET: &str = "GET /recordings/20260102T030405%2E000Z-0f9d2f64-52e7-4b29-9d8a-8f1b2b6d2a11/cast";

fn cast(events: &[serde_json::Value]) -> String {
    let header = json!({"version": 2, "width": 80, "height": 24, "tka": {"about": {"caller": "alice@example.com", "pod": "web"}}});
    let lines: Vec<String> = std::iter::once(&header)
        .chain(events)
        .map(ToString::to_string)
        .collect();
    lines.join("\n") + "\n"
}

fn answer(media_type: &str, body: &str) -> Answer {
    Answer::Http {
        status: 200,
        headers: vec![format!("Content-Type: {media_type}")],
        body: body.to_owned(),
    }
}

fn plain(events: &[serde_json::Value]) -> Answer {
    answer("application/x-asciicast", &cast(events))
}

/// A recording with a trap in it, that goes on for an hour.
fn long() -> Answer {
    plain(&[
        json!([0.1, "r", "200x50"]),
        json!([0.2, "o", "first\r\n"]),
        json!([0.3, "o", "\u{1b}]52;c;cm0gLXJm\u{7}\u{1b}[6n\u{1b}[?2004hsecond\r\n"]),
        json!([1800.0, "o", "third\r\n"]),
        json!([3600.0, "m", "ended"]),
    ])
}

/// Plays on a terminal, from a script that compares how the terminal was with how it is afterwards.
fn on_terminal(user: &User, fake: &FakeServer, options: &str) -> PtySession {
    let script = format!(
        "echo $$ > pid; stty rows 24 cols 80; stty -g > before; {} recordings play {ID} {options}; echo status $?; stty -g > after; cmp before after && echo unchanged",
        env!("CARGO_BIN_EXE_tka")
    );
    let like = user.command_with(fake, &[]);
    let mut command = Command::new("/bin/bash");
    command.args(["-c", &script]).env_clear().current_dir(user.home());
    command.envs(like.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.env("TERM", "xterm");
    rexpect::session::spawn_command(command, LIMIT).unwrap()
}

#[test]
fn recording_is_played_with_keys_and_the_terminal_comes_back() {
    let (user, fake) = (User::new(), FakeServer::new(&[(GET, long()), (GET, long())]));
    let mut terminal = on_terminal(&user, &fake, "");
    let before = terminal.exp_string("200x50 characters").unwrap();
    assert!(!before.contains("first"), "{before:?}");
    terminal.exp_string("first").unwrap();
    let trap = terminal.exp_string("second").unwrap();
    assert!(
        !trap.contains("\u{1b}]") && !trap.contains("[6n") && !trap.contains("2004"),
        "{trap:?}"
    );
    // Half an hour is waited for, so only a step comes to it.
    terminal.send(" .").unwrap();
    terminal.flush().unwrap();
    terminal.exp_string("third").unwrap();
    // Before that is after the second.
    terminal.send("\x1b[D").unwrap();
    terminal.flush().unwrap();
    terminal.exp_string("\x1b[2J").unwrap();
    terminal.exp_string("second").unwrap();
    terminal.send("q").unwrap();
    terminal.flush().unwrap();
    terminal.exp_string("sequences are left out").unwrap();
    terminal.exp_string("status 0").unwrap();
    terminal.exp_string("unchanged").unwrap();
    terminal.exp_eof().unwrap();
    fake.requests();
}

#[test]
fn signals_leave_the_terminal_as_it_was() {
    for (signal, status) in [("TERM", 143), ("HUP", 129), ("INT", 130)] {
        let (user, fake) = (User::new(), FakeServer::new(&[(GET, long())]));
        let mut terminal = on_terminal(&user, &fake, "--speed 1");
        terminal.exp_string("second").unwrap();
        if signal == "INT" {
            terminal.send_control('c').unwrap();
        } else {
            let shell = fs::read_to_string(user.home().join("pid")).unwrap();
            let sent = Command::new("pkill")
                .args([&format!("-{signal}"), "-P", shell.trim()])
                .status()
                .unwrap();
            assert!(sent.success());
        }
        if signal == "INT" {
            // The shell of the script is interrupted too.
            terminal.exp_string("\x1b[0m").unwrap();
            terminal.exp_eof().unwrap();
            continue;
        }
        terminal.exp_string(&format!("status {status}")).unwrap();
        terminal.exp_string("unchanged").unwrap();
        terminal.exp_eof().unwrap();
    }
}

#[test]
fn broken_connection_is_told_on_a_terminal_as_it_was() {
    let cut = cast(&[json!([0.1, "o", "\u{1b}[?1049hfirst"])]) + "[0.2, \"o\", \"half";
    let fake = FakeServer::new(&[(GET, answer("application/x-asciicast", &cut))]);
    let user = User::new();
    let mut terminal = on_terminal(&user, &fake, "");
    terminal.exp_string("first").unwrap();
    terminal.exp_string("\x1b[?1049l").unwrap();
    terminal.exp_string("is no recording").unwrap();
    terminal.exp_string("status 1").unwrap();
    terminal.exp_string("unchanged").unwrap();
    terminal.exp_eof().unwrap();
}

#[test]
fn elsewhere_what_is_shown_is_written_in_its_time() {
    let (user, fake) = (User::new(), FakeServer::new(&[(GET, long())]));
    let played = user.run_with(&fake, &["recordings", "play", ID, "--idle", "0.2"]);
    assert_eq!(
        (played.status, played.stdout.as_str()),
        (0, "first\r\nsecond\r\nthird\r\n"),
        "{played:?}"
    );
    let open = plain(&[json!([0.1, "O", "Yf9i"])]);
    let fake = FakeServer::new(&[(GET, open)]);
    let played = user.run_with(&fake, &["recordings", "play", ID, "--from", "1:00"]);
    assert_eq!((played.status, played.stdout.as_str()), (0, "a\u{fffd}b"), "{played:?}");
    assert!(played.stderr.contains("has no end"), "{played:?}");
}

fn grep(user: &User, answers: &[(&str, Answer)], arguments: &[&str]) -> Outcome {
    let fake = FakeServer::new(answers);
    let searched = user.run_with(&fake, &[&["recordings", "grep"], arguments].concat());
    fake.requests();
    searched
}

#[test]
fn search_covers_all_and_exits_as_grep_does() {
    let user = User::new();
    let item = |id: &str| json!({"id": id, "began": "2026-01-02T03:04:05Z", "size": 1, "sealed": false});
    let list = Answer::json(200, &json!({"items": [item(ID)], "next": ID, "sealed_left_out": 0}));
    let end = Answer::json(200, &json!({"items": [item("other")], "sealed_left_out": 2}));
    let shown = plain(&[
        json!([0.5, "o", "pass"]),
        json!([61.0, "o", "\u{1b}[1mword\u{1b}[0m\n"]),
    ]);
    let none = plain(&[json!([0.5, "o", "nothing\n"]), json!([0.6, "i", "password\r"])]);
    let other = "GET /recordings/other/cast";
    let answers = [
        ("GET /recordings", list),
        (GET, shown.clone()),
        ("GET /recordings", end),
        (other, none.clone()),
    ];
    let found = grep(&user, &answers, &["^password$", "--pod", "web"]);
    let line = format!("{ID} 0:00:00.500 alice@example.com password\n");
    assert_eq!((found.status, found.stdout), (0, line), "{}", found.stderr);
    assert!(
        found.stderr.contains("sealed recordings are not searched (2)"),
        "{}",
        found.stderr
    );
    let nothing = grep(&user, &[(GET, shown.clone())], &["nothing", ID]);
    assert_eq!((nothing.status, nothing.stdout.as_str()), (1, ""), "{}", nothing.stderr);
    let typed = grep(
        &user,
        &[(other, none)],
        &["--input", "-F", "password", "other", "-o", "json"],
    );
    let typed: serde_json::Value = serde_json::from_str(&typed.stdout).unwrap();
    assert_eq!(typed["items"][0]["stream"], "stdin");
    // One that cannot be read does not keep others from being searched.
    let broken = answer("application/x-asciicast", "<html>\n");
    let failed = grep(
        &user,
        &[(other, broken), (GET, shown)],
        &["password", "other", ID, "-q"],
    );
    assert_eq!(
        (failed.status, failed.stdout),
        (10, format!("{ID}\n")),
        "{}",
        failed.stderr
    );
    assert!(failed.stderr.contains("is no recording"), "{}", failed.stderr);
    let wrong = user.run(&["recordings", "grep", "(", "--server", "127.0.0.1:1"]);
    assert!(
        wrong.status == 2 && wrong.stderr.contains("--fixed-strings"),
        "{wrong:?}"
    );
    let gone = grep(&user, &[(GET, Answer::html(502))], &["x", ID]);
    assert!(gone.status > 1, "{gone:?}");
}

/// Lines as the server seals them, a flush each.
fn sealed(to: &Identity, text: &str) -> String {
    let recipient = to.to_public();
    let flushes = text.lines().map(|line| {
        let encryptor = age::Encryptor::with_recipients(std::iter::once(&recipient as &dyn age::Recipient)).unwrap();
        let armored = ArmoredWriter::wrap_output(Vec::new(), Format::AsciiArmor).unwrap();
        let mut writer = encryptor.wrap_output(armored).unwrap();
        writeln!(writer, "{line}").unwrap();
        let flush = writer.finish().and_then(ArmoredWriter::finish).unwrap();
        String::from_utf8(flush).unwrap().trim_end().to_owned() + "\n"
    });
    flushes.collect()
}

#[test]
fn sealed_recording_is_opened_with_an_identity() {
    let user = User::new();
    let (ours, theirs) = (Identity::generate(), Identity::generate());
    let key = user.home().join("key.txt");
    fs::write(&key, ours.to_string().expose_secret()).unwrap();
    fs::write(user.home().join("other.txt"), theirs.to_string().expose_secret()).unwrap();
    fs::write(user.home().join("sealed.txt"), "age-encryption.org/v1\n-> scrypt").unwrap();
    let text = cast(&[json!([0.1, "o", "secret\r\n"]), json!([0.2, "m", "ended"])]);
    let stored = sealed(&ours, &text);
    let run = |arguments: &[&str], status: i32| {
        let fake = FakeServer::new(&[(GET, answer("application/octet-stream", &stored))]);
        let ran = user.run_with(&fake, &[&["recordings"], arguments].concat());
        assert_eq!(ran.status, status, "{arguments:?} {ran:?}");
        fake.requests();
        ran
    };
    assert_eq!(run(&["cat", ID, "--identity", "key.txt"], 0).stdout, "secret\n");
    assert_eq!(
        run(&["play", ID, "--identity", "other.txt", "--identity", "key.txt"], 0).stdout,
        "secret\r\n"
    );
    assert!(
        run(&["grep", "secret", ID, "--identity", "key.txt"], 0)
            .stdout
            .ends_with("alice@example.com secret\n")
    );
    assert_eq!(
        run(&["export", ID, "--file", "-", "--identity", "key.txt"], 0).stdout,
        text
    );
    assert_eq!(run(&["export", ID, "--file", "-"], 0).stdout, stored);
    for (identity, words) in [
        ("other.txt", "is sealed to others than these identities"),
        ("sealed.txt", "age --decrypt"),
        ("none.txt", "cannot be read"),
    ] {
        let refused = run(&["cat", ID, "--identity", identity], 1);
        assert!(
            refused.stdout.is_empty() && refused.stderr.contains(words),
            "{refused:?}"
        );
    }
    assert!(run(&["cat", ID], 1).stderr.contains("--identity FILE"));
    // From the settings, and what the list does not tell.
    let info = json!({"id": ID, "began": "2026-01-02T03:04:05Z", "size": 1, "sealed": true});
    let show = GET.trim_end_matches("/cast");
    let answers = [
        (show, Answer::json(200, &info)),
        (GET, answer("application/octet-stream", &stored)),
    ];
    let fake = FakeServer::new(&answers);
    let mut command = user.command_with(&fake, &["recordings", "show", ID]);
    let shown: Outcome = command.env("TKA_RECORDINGS_IDENTITY", &key).output().unwrap().into();
    assert!(
        shown.status == 0 && shown.stdout.contains("alice@example.com"),
        "{shown:?}"
    );
}
