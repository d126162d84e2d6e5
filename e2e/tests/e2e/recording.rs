//! Rules that require recording: what was seen is recorded, whatever ends the stream, and what cannot be recorded is refused in words that lead on.
//!
//! There are no pods here. A proxy before the API server stands in for a command that counts; real ones are tried on the node.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use e2e::faults::{Fault, Moment, Proxy, Which};
use e2e::user::ALICE;
use e2e::{Answer, Caller, Outcome, Records, Site, World, wait};
use serde_json::{Value, json};
use testbed::{ServerOptions, with_gateway, with_recordings};

crate::tests![
    what_cannot_be_recorded_is_refused,
    refusal_by_spdy_repeats_the_first_reason,
    nothing_goes_on_without_a_place_for_recordings,
    command_of_which_nothing_was_heard_keeps_its_recording,
    what_was_seen_is_recorded_when_a_session_ends,
    what_was_seen_is_recorded_when_the_server_is_killed,
    stream_ends_at_the_limit_of_its_recording_and_says_why,
];

const WEBSOCKET: [(&str, &str); 5] = [
    ("Connection", "Upgrade"),
    ("Upgrade", "websocket"),
    ("Sec-WebSocket-Version", "13"),
    ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ("Sec-WebSocket-Protocol", "v5.channel.k8s.io, channel.k8s.io"),
];
const SPDY: [(&str, &str); 3] = [
    ("Connection", "Upgrade"),
    ("Upgrade", "SPDY/3.1"),
    ("X-Stream-Protocol-Version", "v4.channel.k8s.io"),
];

fn rule(recording: &str) -> Value {
    json!({"role": "cluster-admin", "period": "10m", "recording": recording})
}

/// A server that keeps recordings in a folder of its own, and Alice, who is signed in through a rule that requires them.
fn site<'w>(world: &'w World, name: &str) -> Outcome<(Site<'w>, Caller, PathBuf)> {
    let folder = world.new_folder(&format!("{name}-recordings"))?;
    let site = at(world, name, with_recordings(&folder))?;
    let caller = site.caller("ALICE")?;
    Ok((site, caller, folder))
}

fn at<'w>(world: &'w World, name: &str, config: Value) -> Outcome<Site<'w>> {
    let site = world.site_with(ServerOptions {
        config,
        ..ServerOptions::new(name)
    })?;
    site.grant(&[(ALICE, rule("required"))])?;
    site.caller("ALICE")?.sign_in_waiting()?.expect(202)?;
    Ok(site)
}

fn ask(caller: &Caller, method: &str, path: &str, headers: &[(&str, &str)]) -> Outcome<Answer> {
    caller.send_body(method, &format!("/k8s{path}"), headers, b"")
}

fn message(answer: &Answer) -> Outcome<String> {
    Ok(answer.json()?["message"].as_str().unwrap_or_default().to_owned())
}

fn is_empty(folder: &Path) -> Outcome<bool> {
    Ok(fs::read_dir(folder)?.next().is_none())
}

fn what_cannot_be_recorded_is_refused(world: &World) -> Outcome {
    let (_site, alice, folder) = site(world, "recording-refused")?;
    let pod = "/api/v1/namespaces/default/pods/none";
    let other = [
        WEBSOCKET[0],
        WEBSOCKET[1],
        WEBSOCKET[2],
        WEBSOCKET[3],
        ("Sec-WebSocket-Protocol", "base64.channel.k8s.io, channel.k8s.io"),
    ];
    for (method, path, headers, expected) in [
        ("POST", format!("{pod}/exec?command=sh"), &SPDY[..], "kubectl 1.31"),
        ("POST", format!("{pod}/%65xec?command=sh"), &SPDY[..], "kubectl 1.31"),
        ("POST", format!("{pod}%2fattach"), &SPDY[..], "kubectl 1.31"),
        ("GET", format!("{pod}/exec?command=sh"), &[][..], "kubectl 1.31"),
        ("GET", format!("{pod}/exec?command=sh"), &other[..], "v4.channel.k8s.io"),
        ("POST", format!("{pod}/portforward"), &SPDY[..], "port-forward"),
        ("GET", format!("{pod}/portforward"), &WEBSOCKET[..], "port-forward"),
        ("GET", format!("{pod}/proxy/"), &[][..], "proxy"),
        (
            "GET",
            "/api/v1/nodes/none/proxy/exec/default/none/c?command=sh".to_owned(),
            &WEBSOCKET[..],
            "proxy",
        ),
        (
            "POST",
            "/api/v1/nodes/none/proxy/run/default/none/c".to_owned(),
            &[][..],
            "proxy",
        ),
        ("PATCH", format!("{pod}/ephemeralcontainers"), &[][..], "ephemeral"),
        (
            "GET",
            "/apis/a.example/v1/namespaces/default/machines/m/console".to_owned(),
            &WEBSOCKET[..],
            "upgrade",
        ),
    ] {
        let answer = ask(&alice, method, &path, headers)?.expect(403)?;
        let said = message(&answer)?;
        assert!(
            said.contains("must be recorded") && said.contains(expected),
            "{method} {path}: {said}"
        );
    }
    // What is not interactive is carried.
    ask(&alice, "GET", "/api/v1/namespaces/default/pods", &[])?.expect(200)?;
    alice.post("/credential")?.expect(403)?;
    assert!(is_empty(&folder)?);
    Ok(())
}

fn refusal_by_spdy_repeats_the_first_reason(world: &World) -> Outcome {
    let (site, alice, folder) = site(world, "recording-again")?;
    let exec = "/api/v1/namespaces/default/pods/none/exec?command=sh&stdout=true";
    let first = ask(&alice, "GET", exec, &WEBSOCKET)?.expect(404)?;
    assert_eq!(message(&first)?, "pods \"none\" not found");
    let second = ask(&alice, "POST", exec, &SPDY)?.expect(404)?;
    assert_eq!(message(&second)?, "TKA: pods \"none\" not found");
    let other = ask(&alice, "POST", &exec.replace("sh&", "ls&"), &SPDY)?.expect(403)?;
    assert!(message(&other)?.contains("kubectl 1.31"));
    // The same with kubectl itself, of a pod that no node has.
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "waits", "namespace": "default"},
        "spec": {"nodeName": "", "schedulerName": "none", "containers": [{"name": "c", "image": "none"}]},
    });
    let file = world.new_folder("recording-pod")?.join("pod.json");
    fs::write(&file, pod.to_string())?;
    world
        .testbed
        .kubectl(&["apply", "--filename", &file.display().to_string()])?;
    let person = site.person("ALICE")?;
    let config = person.kubeconfig_of(&format!("{}/k8s", site.server.url()))?;
    let said = person.kubectl(&config, &["exec", "--namespace=default", "waits", "--", "true"])?;
    world.testbed.kubectl(&[
        "delete",
        "pod",
        "waits",
        "--namespace=default",
        "--force",
        "--wait=false",
    ])?;
    assert!(
        said.status == Some(1) && said.err.contains("does not have a host assigned"),
        "{said:?}"
    );
    // What did not begin leaves no recording.
    wait::until_true("recordings of refused streams are gone", || is_empty(&folder))
}

fn nothing_goes_on_without_a_place_for_recordings(world: &World) -> Outcome {
    let exec = "/api/v1/namespaces/default/pods/none/exec?command=sh";
    let without = at(world, "recording-nowhere", with_gateway())?;
    let answer = ask(&without.caller("ALICE")?, "GET", exec, &WEBSOCKET)?.expect(403)?;
    assert!(message(&answer)?.contains("keeps no recordings"), "{}", answer.body);
    let missing = world.new_folder("recording-missing")?.join("not-mounted");
    let site = at(world, "recording-missing", with_recordings(&missing))?;
    let alice = site.caller("ALICE")?;
    let first = ask(&alice, "GET", exec, &WEBSOCKET)?.expect(503)?;
    assert!(
        message(&first)?.contains("this must be recorded, and cannot be"),
        "{}",
        first.body
    );
    let second = ask(&alice, "POST", exec, &SPDY)?.expect(503)?;
    assert!(
        message(&second)?.contains("No such file or directory"),
        "{}",
        second.body
    );
    assert!(!missing.exists());
    // With best effort the cluster answers.
    site.grant(&[(ALICE, rule("best_effort"))])?;
    ask(&alice, "GET", exec, &WEBSOCKET)?.expect(404)?;
    ask(&alice, "POST", exec, &SPDY)?.expect(404)?;
    // What comes with a request to upgrade would go on beside what is recorded.
    let hidden = alice.send_body("POST", &format!("/k8s{exec}"), &SPDY, b"ls")?;
    assert!(message(&hidden.expect(400)?)?.contains("has a body"));
    Ok(())
}

/// The command may have run.
fn command_of_which_nothing_was_heard_keeps_its_recording(world: &World) -> Outcome {
    let proxy = Proxy::before(&world.testbed)?;
    let folder = world.new_folder("recording-unheard-recordings")?;
    let options = ServerOptions {
        config: with_recordings(&folder),
        ..ServerOptions::new("recording-unheard")
    };
    let site = proxy.site_with(world, options)?;
    site.grant(&[(ALICE, rule("required"))])?;
    let alice = site.caller("ALICE")?;
    alice.sign_in_waiting()?.expect(202)?;
    let is_exec = Which::first(|request| request.resource.ends_with("exec"));
    let armed = proxy.arm(is_exec, Fault::Cut(Moment::After));
    let exec = "/api/v1/namespaces/default/pods/none/exec?container=a;&container=b&command=rm&command=-rf";
    ask(&alice, "GET", exec, &WEBSOCKET)?.expect(503)?;
    armed.wait_hits(1, wait::LIMIT)?;
    drop(armed);
    let lines = whole(&folder)?;
    let about = &lines[0]["tka"]["about"];
    assert_eq!(about["command"], json!(["rm", "-rf"]));
    // As the API server reads it.
    assert_eq!(about["container"], "b");
    let (_, last) = recorded(&lines);
    assert!(last.contains("it is not known what came of it"), "{last}");
    let log = fs::read_to_string(site.server.log())?;
    let name = lines[0]["tka"]["about"]["recording"].as_str().unwrap_or_default();
    assert!(log.contains(&format!(r#""recording":"{name}""#)), "{name}");
    Ok(())
}

/// A command that counts, at a server whose rule requires recording, and what Alice sees of it.
pub(crate) struct Counting<'w> {
    pub(crate) site: Site<'w>,
    pub(crate) folder: PathBuf,
    pub(crate) records: Records,
    stream: TcpStream,
    bytes: Vec<u8>,
    _proxy: Proxy,
}

impl<'w> Counting<'w> {
    pub(crate) fn begin(world: &'w World, name: &str, more: &Value) -> Outcome<Self> {
        let proxy = Proxy::before(&world.testbed)?;
        let folder = world.new_folder(&format!("{name}-recordings"))?;
        let mut config = with_recordings(&folder);
        for (key, value) in more.as_object().into_iter().flatten() {
            config["gateway"]["recording"][key] = value.clone();
        }
        let options = ServerOptions {
            config,
            ..ServerOptions::new(name)
        };
        let (records, options) = Records::of(world, options)?;
        let site = proxy.site_with(world, options)?;
        site.grant(&[(ALICE, rule("required"))])?;
        let alice = site.caller("ALICE")?;
        alice.sign_in_waiting()?.expect(202)?;
        let armed = proxy.arm(Which::first(|request| request.resource.ends_with("xec")), Fault::Count);
        let mut stream = alice.tunnel()?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        let headers = WEBSOCKET.map(|(name, value)| format!("{name}: {value}\r\n")).concat();
        let path = "/k8s/api/v1/namespaces/default/pods/web/%65xec?command=count&command=a%20b&stdout=true&tty=true";
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: {}\r\n{headers}\r\n",
            alice.authority()
        )?;
        let mut bytes = Vec::new();
        let end = loop {
            read_some(&mut stream, &mut bytes)?;
            if let Some(end) = bytes.windows(4).position(|end| end == b"\r\n\r\n") {
                break end + 4;
            }
        };
        let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        bytes.drain(..end);
        armed.wait_hits(1, wait::LIMIT)?;
        drop(armed);
        Ok(Self {
            site,
            folder,
            records,
            stream,
            bytes,
            _proxy: proxy,
        })
    }

    /// Reads until there are some numbers.
    pub(crate) fn see_some(&mut self) -> Outcome {
        while self.bytes.len() < 400 {
            read_some(&mut self.stream, &mut self.bytes)?;
        }
        Ok(())
    }

    /// Reads to the end, and says what was seen: the output, and what was said of the end.
    pub(crate) fn see_all(mut self) -> Outcome<(String, String, PathBuf)> {
        // A server that is killed resets the connection.
        while read_some(&mut self.stream, &mut self.bytes).is_ok() {}
        let (mut output, mut error, mut left) = (String::new(), String::new(), self.bytes.as_slice());
        while let [first, length @ 0..126, rest @ ..] = left {
            let (payload, after) = rest.split_at(rest.len().min(usize::from(*length)));
            match (first & 0x0f, payload) {
                (2, [1, text @ ..]) => output += std::str::from_utf8(text)?,
                (2, [3, text @ ..]) | (8, [_, _, text @ ..]) => error += std::str::from_utf8(text)?,
                other => return Err(format!("{other:?}").into()),
            }
            left = after;
        }
        // The longer ones say why.
        error += &String::from_utf8_lossy(left);
        Ok((output, error, self.folder))
    }
}

fn read_some(stream: &mut TcpStream, bytes: &mut Vec<u8>) -> Outcome {
    let mut more = [0; 4096];
    let length = stream.read(&mut more)?;
    bytes.extend_from_slice(&more[..length]);
    if length == 0 {
        return Err("the stream has ended".into());
    }
    Ok(())
}

/// The only recording: whether it is whole, and its lines.
fn recording(folder: &Path) -> Outcome<(bool, Vec<Value>)> {
    let entries: Vec<_> = fs::read_dir(folder)?.collect::<Result<_, _>>()?;
    let [entry] = entries.as_slice() else {
        return Err(format!("{} recordings", entries.len()).into());
    };
    let text = fs::read_to_string(entry.path())?;
    let lines = text.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    Ok((
        entry.path().extension().is_some_and(|extension| extension == "cast"),
        lines,
    ))
}

pub(crate) fn whole(folder: &Path) -> Outcome<Vec<Value>> {
    wait::until("the recording is whole", || {
        Ok(recording(folder)
            .ok()
            .filter(|(is_whole, _)| *is_whole)
            .map(|(_, lines)| lines))
    })
}

/// The output in a recording, and its last word.
fn recorded(lines: &[Value]) -> (String, String) {
    let texts = |code: &str| -> Vec<&str> {
        let events = lines[1..].iter().filter(|event| event[1] == code);
        events.filter_map(|event| event[2].as_str()).collect()
    };
    let last = texts("m").last().copied().unwrap_or_default().to_owned();
    (texts("o").concat(), last)
}

fn what_was_seen_is_recorded_when_a_session_ends(world: &World) -> Outcome {
    let mut counting = Counting::begin(world, "recording-ended", &json!({}))?;
    counting.see_some()?;
    counting.site.caller("ALICE")?.sign_out()?;
    let (seen, why, folder) = counting.see_all()?;
    assert!(why.contains("your TKA session ended"), "{why}");
    let lines = whole(&folder)?;
    let about = &lines[0]["tka"]["about"];
    assert_eq!(about["caller"], ALICE);
    assert_eq!(about["command"], json!(["count", "a b"]));
    let (pod, way, tty) = (&about["pod"], &about["way"], &about["tty"]);
    assert_eq!((pod, way, tty), (&json!("web"), &json!("exec"), &json!(true)));
    let (output, last) = recorded(&lines);
    assert!(seen.len() > 50 && output.starts_with(&seen), "{seen}\n{output}");
    assert!(last.contains("your TKA session ended"), "{last}");
    Ok(())
}

fn what_was_seen_is_recorded_when_the_server_is_killed(world: &World) -> Outcome {
    let mut counting = Counting::begin(world, "recording-killed", &json!({}))?;
    counting.see_some()?;
    counting.site.server.kill()?;
    let (seen, _, folder) = counting.see_all()?;
    let (is_whole, lines) = recording(&folder)?;
    let (output, _) = recorded(&lines);
    assert!(
        !is_whole && seen.len() > 50 && output.starts_with(&seen),
        "{seen}\n{output}"
    );
    Ok(())
}

fn stream_ends_at_the_limit_of_its_recording_and_says_why(world: &World) -> Outcome {
    let counting = Counting::begin(world, "recording-limit", &json!({"maxBytes": 4000}))?;
    let (seen, why, folder) = counting.see_all()?;
    assert!(
        why.contains("the recording has reached its limit of 4000 bytes"),
        "{why}"
    );
    let (output, last) = recorded(&whole(&folder)?);
    assert!(
        output.starts_with(&seen) && last.contains("limit of 4000 bytes"),
        "{seen}\n{output}\n{last}"
    );
    Ok(())
}
