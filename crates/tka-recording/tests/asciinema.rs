//! A finished recording, as it is, in the real asciinema.
#![allow(
    clippy::unwrap_used,
    reason = "clippy.toml allows it in test functions, this also in what they call"
)]

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

use tka_recording::channels::{ChannelEvent, Stream};
use tka_recording::{Cast, RecordingMetadata};

/// A recording with all that one has.
fn recording() -> Vec<u8> {
    let about = RecordingMetadata {
        caller: "alice@example.com".into(),
        way: "exec".into(),
        namespace: "shop".into(),
        pod: "web".into(),
        command: vec!["sh".into(), "-c".into(), "echo \"\u{1b}[31m\"".into()],
        stdin_recorded: true,
        ..RecordingMetadata::default()
    };
    let at = Duration::from_millis;
    let mut cast = Cast::new(&about, "2026-01-02T03:04:05Z".parse().unwrap());
    cast.record(at(0), ChannelEvent::Size { columns: 100, rows: 40 });
    cast.record(
        at(10),
        ChannelEvent::Bytes(Stream::Stdout, "gr\u{fc}n first\r\n".as_bytes()),
    );
    cast.record(at(20), ChannelEvent::Bytes(Stream::Stdin, b"ls\r"));
    cast.record(at(30), ChannelEvent::Bytes(Stream::Stderr, b"second\r\n"));
    // Bytes that are no text are no player's.
    cast.record(at(35), ChannelEvent::Bytes(Stream::Stderr, b"\xff\xfe\x00"));
    cast.record(at(40), ChannelEvent::Bytes(Stream::Stdout, &"\u{65e5}".as_bytes()[..1]));
    let mut lines = cast.take().to_vec();
    cast.record(at(50), ChannelEvent::Bytes(Stream::Stdout, &"\u{65e5}".as_bytes()[1..]));
    cast.record(at(60), ChannelEvent::Size { columns: 5000, rows: 1 });
    cast.record(at(70), ChannelEvent::Other(9, b"other"));
    cast.record(at(80), ChannelEvent::Bytes(Stream::Error, br#"{"status": "Success"}"#));
    cast.end(at(1000), "ended");
    lines.extend_from_slice(&cast.take());
    lines
}

/// What the program prints, with so many words; none where this machine lacks it, which CI must not.
fn printed(arguments: &[&str], file: &str) -> Option<String> {
    let is_there = |program| Command::new(program).arg("--version").output().is_ok();
    // It wants a terminal of its own, which CI does not have.
    let line = format!("asciinema {} '{file}'", arguments.join(" "));
    let mut command = Command::new("script");
    command.args(["--quiet", "--return", "--command", &line, "/dev/null"]);
    let command = command.stdin(Stdio::null()).env("LC_ALL", "C.UTF-8");
    let output = command.output();
    let Some(output) = output.ok().filter(|_| is_there("asciinema")) else {
        let text = "NOT TESTED: this machine lacks asciinema or script\n";
        assert!(std::env::var("CI").as_deref() != Ok("true"), "{text}");
        let _ = std::io::stderr().write_all(text.as_bytes());
        return None;
    };
    assert!(output.status.success(), "{arguments:?} {output:?}");
    Some(String::from_utf8(output.stdout).unwrap().replace('\r', ""))
}

#[test]
fn finished_recording_plays_in_asciinema_unchanged() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.cast");
    std::fs::write(&path, recording()).unwrap();
    let file = path.to_str().unwrap();
    for arguments in [&["cat"][..], &["play", "--speed", "100"]] {
        let Some(shown) = printed(arguments, file) else { return };
        assert!(
            shown.contains("gr\u{fc}n first\nsecond\n\u{65e5}"),
            "{arguments:?} {shown:?}"
        );
    }
}
