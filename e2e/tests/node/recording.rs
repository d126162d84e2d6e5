//! Recordings of exec, with real pods and a real kubectl: what was seen is in them, whatever ends the stream.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use e2e::user::ALICE;
use e2e::{Outcome, Site, World, wait};
use rexpect::session::{PtySession, spawn_command};
use rustix::termios::{Winsize, tcsetwinsize};
use serde_json::{Value, json};
use testbed::{ServerOptions, with_recordings};

use crate::gateway::{Caller, Ending, SPDY, said};
use crate::pods::Namespace;

crate::tests![
    commands_and_files_are_recorded_whole,
    terminal_is_recorded_with_its_size,
    attach_is_recorded,
    what_was_seen_is_recorded_when_a_session_ends,
    what_was_seen_is_recorded_when_the_server_is_killed,
];

/// Alice, whose rule requires recording, and the folder of recordings.
fn site<'w>(world: &'w World, name: &str) -> Outcome<(Site<'w>, Caller, PathBuf)> {
    let folder = world.new_folder(&format!("{name}-recordings"))?;
    let site = world.site_with(ServerOptions {
        config: with_recordings(&folder),
        ..ServerOptions::new(name)
    })?;
    let rule = json!({"role": "cluster-admin", "period": "10m", "recording": "required"});
    site.grant(&[(ALICE, rule)])?;
    site.caller("ALICE")?.sign_in_waiting()?.expect(202)?;
    let alice = Caller::of(site.person("ALICE")?, &site.server.url())?;
    Ok((site, alice, folder))
}

/// The recordings of the folder that are whole, or all others, line by line.
fn recordings(folder: &Path, is_whole: bool) -> Outcome<Vec<Vec<Value>>> {
    let mut recordings = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "cast") == is_whole {
            let text = fs::read_to_string(&path)?;
            recordings.push(text.lines().map(serde_json::from_str).collect::<Result<_, _>>()?);
        }
    }
    Ok(recordings)
}

/// All recordings, once they are whole; then they are gone, for the next.
fn taken(folder: &Path) -> Outcome<Vec<Vec<Value>>> {
    let recordings = wait::until("recordings are whole", || {
        let (whole, open) = (recordings(folder, true)?, recordings(folder, false)?);
        Ok((!whole.is_empty() && open.is_empty()).then_some(whole))
    })?;
    for entry in fs::read_dir(folder)? {
        fs::remove_file(entry?.path())?;
    }
    Ok(recordings)
}

fn only(mut recordings: Vec<Vec<Value>>) -> Outcome<Vec<Value>> {
    match recordings.pop() {
        Some(recording) if recordings.is_empty() => Ok(recording),
        _ => Err("not one recording".into()),
    }
}

/// The data of all events of these codes.
fn data(lines: &[Value], codes: &[&str]) -> Vec<String> {
    let events = lines[1..]
        .iter()
        .filter(|event| codes.iter().any(|code| event[1] == *code));
    events
        .filter_map(|event| event[2].as_str().map(str::to_owned))
        .collect()
}

fn commands_and_files_are_recorded_whole(world: &World) -> Outcome {
    let namespace = Namespace::with_pod(world, "recorded-whole")?;
    let (_site, alice, folder) = site(world, "recording-whole")?;
    let run = |args: &[&str]| said(alice.command(&[], namespace.name, args), b"");
    let script = "echo out; sleep 0.2; echo err >&2; sleep 0.2; exit 7";
    let output = alice
        .command(&[], namespace.name, &["exec", "web", "--", "sh", "-c", script])
        .output()?;
    assert_eq!(
        (output.status.code(), output.stdout.as_slice()),
        (Some(7), &b"out\n"[..])
    );
    let lines = only(taken(&folder)?)?;
    let about = &lines[0]["tka"]["about"];
    assert_eq!(about["caller"], "alice@example.com");
    assert_eq!(about["command"], json!(["sh", "-c", script]));
    assert_eq!((&about["pod"], &about["way"]), (&json!("web"), &json!("exec")));
    assert_eq!(
        data(&lines, &["o", "m", "x"]),
        ["out\n", "stderr", "err\n", "7", "ended"]
    );

    // A file that is no text comes back as it went, and is in the recording.
    let bytes: Vec<u8> = (0..2_000_000_u32)
        .map(|number| (number.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    let (up, down) = (alice.person.home().join("up"), alice.person.home().join("down"));
    fs::write(&up, &bytes)?;
    run(&["cp", &up.display().to_string(), "web:/tmp/up"])?;
    taken(&folder)?;
    run(&["cp", "web:/tmp/up", &down.display().to_string()])?;
    assert!(fs::read(&down)? == bytes, "a file came back otherwise");
    let recordings = taken(&folder)?;
    let base64 = recordings.iter().flat_map(|lines| data(lines, &["O"]));
    let recorded: usize = base64.map(|base64| base64.len() / 4 * 3).sum();
    assert!(recorded > bytes.len(), "{recorded} bytes are recorded");

    let refused = alice
        .command(&SPDY, namespace.name, &["exec", "web", "--", "true"])
        .output()?;
    let told = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success() && told.contains("kubectl 1.31"), "{told}");
    Ok(())
}

/// A shell that counts, and the last number that kubectl has printed when `end` has ended it.
fn counted(alice: &Caller, namespace: &str, end: impl FnOnce() -> Outcome) -> Outcome<u32> {
    let script = "n=0; while true; do n=$((n+1)); echo $n; sleep 0.02; done";
    let mut command = alice.command(&[], namespace, &["exec", "--stdin", "web", "--", "sh", "-c", script]);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let mut shell = Ending(command.spawn()?);
    let mut lines = BufReader::new(shell.0.stdout.take().ok_or("no output")?).lines();
    for _ in 0..20 {
        lines.next().ok_or("the shell ended")??;
    }
    end()?;
    let mut last = 20;
    for line in lines {
        // The last line may be half of one.
        last = line?.parse().unwrap_or(last).max(last);
    }
    Ok(last)
}

fn numbers(lines: &[Value]) -> Vec<u32> {
    let output = data(lines, &["o"]).concat();
    output.lines().filter_map(|line| line.parse().ok()).collect()
}

/// The terminal of a session has that size from now on.
fn resize(terminal: &PtySession, columns: u16, rows: u16) -> Outcome {
    let size = Winsize {
        ws_row: rows,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    Ok(tcsetwinsize(terminal.process().get_file_handle()?, size)?)
}

fn terminal_is_recorded_with_its_size(world: &World) -> Outcome {
    let namespace = Namespace::with_pod(world, "recorded-tty")?;
    let (_site, alice, folder) = site(world, "recording-tty")?;
    let command = alice.command(&[], namespace.name, &["exec", "--stdin", "--tty", "web", "--", "sh"]);
    let limit = u64::try_from(wait::LIMIT.as_millis())?;
    let mut terminal = spawn_command(command, Some(limit))?;
    resize(&terminal, 91, 31)?;
    terminal.exp_string("$ ")?;
    resize(&terminal, 117, 42)?;
    // The other terminal has the size when kubectl has told of it.
    terminal.send_line("until [ \"$(stty size)\" = '42 117' ]; do sleep 0.1; done; echo the size is $(stty size)")?;
    terminal.exp_string("the size is 42 117")?;
    terminal.send_line("exit 3")?;
    terminal.exp_eof()?;
    let lines = only(taken(&folder)?)?;
    let shown = data(&lines, &["o"]).concat();
    assert!(shown.contains("the size is 42 117"), "{shown}");
    let sizes = data(&lines, &["r"]);
    assert_eq!(sizes.last().map(String::as_str), Some("117x42"), "{sizes:?}");
    assert_eq!(data(&lines, &["x"]), ["3"]);
    // What is typed is no part of it, but for what the terminal echoes.
    assert!(data(&lines, &["i"]).is_empty());
    Ok(())
}

fn attach_is_recorded(world: &World) -> Outcome {
    let namespace = Namespace::with_pod(world, "recorded-attach")?;
    let (_site, alice, folder) = site(world, "recording-attach")?;
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "talker"},
        "spec": {"terminationGracePeriodSeconds": 1, "containers": [{
            "name": "talker", "image": "localhost/shell:testbed", "imagePullPolicy": "Never", "stdin": true,
            "command": ["sh", "-c", "while read -r line; do echo heard $line; done"],
        }]},
    });
    said(
        alice.command(&[], namespace.name, &["apply", "--filename=-"]),
        pod.to_string().as_bytes(),
    )?;
    namespace.kubectl(&["wait", "--for=condition=Ready", "pod/talker", "--timeout=60s"])?;
    let mut command = alice.command(&[], namespace.name, &["attach", "--stdin", "talker"]);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let mut attach = Ending(command.spawn()?);
    attach.0.stdin.as_mut().ok_or("no input")?.write_all(b"this\n")?;
    let mut line = String::new();
    BufReader::new(attach.0.stdout.take().ok_or("no output")?).read_line(&mut line)?;
    assert_eq!(line, "heard this\n");
    drop(attach);
    let lines = only(taken(&folder)?)?;
    let about = &lines[0]["tka"]["about"];
    assert_eq!((&about["way"], &about["pod"]), (&json!("attach"), &json!("talker")));
    assert_eq!(data(&lines, &["o"]).concat(), "heard this\n");
    Ok(())
}

fn what_was_seen_is_recorded_when_a_session_ends(world: &World) -> Outcome {
    let namespace = Namespace::with_pod(world, "recorded-ending")?;
    let (site, alice, folder) = site(world, "recording-ending")?;
    let seen = counted(&alice, namespace.name, || site.caller("ALICE")?.sign_out().map(|_| ()))?;
    let lines = only(taken(&folder)?)?;
    let recorded = numbers(&lines);
    assert!(
        recorded.last() >= Some(&seen) && recorded.is_sorted(),
        "{seen} of {recorded:?}"
    );
    let end = data(&lines, &["m"]);
    assert!(
        end.last().is_some_and(|end| end.contains("your TKA session ended")),
        "{end:?}"
    );
    Ok(())
}

fn what_was_seen_is_recorded_when_the_server_is_killed(world: &World) -> Outcome {
    let namespace = Namespace::with_pod(world, "recorded-killed")?;
    let (site, alice, folder) = site(world, "recording-killed")?;
    let seen = counted(&alice, namespace.name, || Ok(site.server.kill()?))?;
    let recorded = numbers(&only(recordings(&folder, false)?)?);
    assert!(
        recorded.last() >= Some(&seen) && recorded.is_sorted(),
        "{seen} of {recorded:?}"
    );
    Ok(())
}
