//! The cluster's API over the tailnet, with what leads into pods: commands, files, ports and logs, by both protocols that kubectl speaks.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use e2e::user::ALICE;
use e2e::{Outcome, Person, Site, World, rule, wait};
use serde_json::json;
use testbed::{ServerOptions, with_gateway};

use crate::pods::Namespace;
use crate::server;

crate::tests![
    commands_files_ports_and_logs_are_carried,
    session_takes_its_open_streams_with_it,
    shell_goes_on_for_a_while_at_a_server_that_stops,
    ways_into_pods_are_recorded_before_they_begin,
    pod_of_the_server_carries_too,
];

/// Variables that have kubectl speak SPDY, as versions before 1.31 do.
pub(crate) const SPDY: [(&str, &str); 2] = [
    ("KUBECTL_REMOTE_COMMAND_WEBSOCKETS", "false"),
    ("KUBECTL_PORT_FORWARD_WEBSOCKETS", "false"),
];

/// How long after an end bytes may move, and some for kubectl to end.
const SOON: Duration = Duration::from_secs(2);

/// How long streams go on at a server that stops, by the documentation.
const DRAIN: Duration = Duration::from_secs(5);

/// A person with kubectl and an address.
pub(crate) struct Caller {
    pub(crate) person: Person,
    config: PathBuf,
}

impl Caller {
    pub(crate) fn of(person: Person, url: &str) -> Outcome<Self> {
        let config = person.kubeconfig_of(&format!("{url}/k8s"))?;
        Ok(Self { person, config })
    }

    pub(crate) fn command(&self, environment: &[(&str, &str)], namespace: &str, args: &[&str]) -> Command {
        let namespace = format!("--namespace={namespace}");
        let mut command = self
            .person
            .kubectl_command(&self.config, &[&[namespace.as_str()], args].concat());
        command.envs(environment.iter().copied());
        command
    }
}

/// A server with a gateway, and Alice, who is signed in and has all of the cluster.
pub(crate) fn site<'w>(world: &'w World, name: &str) -> Outcome<(Site<'w>, Caller)> {
    let site = world.site_with(ServerOptions {
        config: with_gateway(),
        ..ServerOptions::new(name)
    })?;
    site.grant(&[(ALICE, rule("cluster-admin", "10m"))])?;
    site.caller("ALICE")?.sign_in_waiting()?.expect(200)?;
    let person = site.person("ALICE")?;
    let caller = Caller::of(person, &site.server.url())?;
    Ok((site, caller))
}

/// What a command says that must succeed.
pub(crate) fn said(mut command: Command, input: &[u8]) -> Outcome<Vec<u8>> {
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn()?;
    let mut stdin = child.stdin.take().ok_or("no input")?;
    let input = input.to_owned();
    let writes = std::thread::spawn(move || stdin.write_all(&input));
    let output = child.wait_with_output()?;
    let written = writes.join().map_err(|_| "the writer panicked")?;
    if !output.status.success() {
        return Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    written?;
    Ok(output.stdout)
}

fn commands_files_ports_and_logs_are_carried(world: &World) -> Outcome {
    let namespace = Namespace::with_pod(world, "carried")?;
    let (_site, alice) = site(world, "gateway-pods")?;
    for environment in [&[][..], &SPDY[..]] {
        let run = |args: &[&str], input: &[u8]| said(alice.command(environment, "carried", args), input);
        assert_eq!(run(&["exec", "web", "--", "hostname"], b"")?, b"web\n");
        let bytes: Vec<u8> = (0..4_000_000_u32)
            .map(|number| (number.wrapping_mul(2_654_435_761) >> 24) as u8)
            .collect();
        assert!(
            run(&["exec", "--stdin", "web", "--", "cat"], &bytes)? == bytes,
            "what went in came out otherwise"
        );
        let status = alice
            .command(environment, "carried", &["exec", "web", "--", "sh", "-c", "exit 7"])
            .output()?
            .status;
        assert_eq!(status.code(), Some(7));

        let (up, down) = (alice.person.home().join("up"), alice.person.home().join("down"));
        fs::write(&up, &bytes)?;
        run(&["cp", &up.display().to_string(), "web:/tmp/up"], b"")?;
        run(&["cp", "web:/tmp/up", &down.display().to_string()], b"")?;
        assert!(fs::read(&down)? == bytes, "a file came back otherwise");
        forwarded(&alice, environment)?;
    }
    said(
        alice.command(
            &[],
            "carried",
            &["exec", "web", "--", "sh", "-c", "echo said > /proc/1/fd/1"],
        ),
        b"",
    )?;
    wait::until_true("the log is carried", || {
        let log = said(alice.command(&[], "carried", &["logs", "web"]), b"")?;
        Ok(String::from_utf8_lossy(&log).contains("said"))
    })?;
    let raw = ["get", "--raw", "/api/v1/namespaces/carried/services/web:80/proxy/"];
    assert_eq!(said(alice.command(&[], "carried", &raw), b"")?, b"web\n");
    drop(namespace);
    Ok(())
}

/// A hundred connections through one `kubectl port-forward`.
fn forwarded(alice: &Caller, environment: &[(&str, &str)]) -> Outcome {
    let mut command = alice.command(environment, "carried", &["port-forward", "web", ":8080"]);
    let mut forward = Ending(command.stdout(Stdio::piped()).spawn()?);
    let mut line = String::new();
    let mut output = BufReader::new(forward.0.stdout.take().ok_or("no output")?);
    output.read_line(&mut line)?;
    let address = line
        .split_whitespace()
        .nth(2)
        .ok_or_else(|| format!("no address in {line:?}"))?;
    // At once: each takes a second at containerd, directly too.
    thread::scope(|scope| {
        let asking: Vec<_> = (0..100).map(|_| scope.spawn(|| page(address))).collect();
        for answer in asking {
            let answer = answer.join().map_err(|_| "a connection panicked")??;
            assert!(answer.ends_with("web\n"), "{answer}");
        }
        Ok(())
    })
}

/// What the pod serves at that address.
fn page(address: &str) -> Outcome<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(wait::LIMIT))?;
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// A process that ends with this.
pub(crate) struct Ending(pub(crate) Child);

impl Drop for Ending {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn session_takes_its_open_streams_with_it(world: &World) -> Outcome {
    let namespace = Namespace::with_pod(world, "ending")?;
    let (site, alice) = site(world, "gateway-ending")?;
    let programs = site.caller("ALICE")?;
    for (environment, notice) in [(&[][..], Some("your TKA session ended")), (&SPDY[..], None)] {
        programs.sign_in_waiting()?.expect(200)?;
        let (mut shell, mut output) = shell_that_goes_on(&alice, environment, "ending")?;
        let since = Instant::now();
        programs.sign_out()?;
        let mut rest = String::new();
        output.read_to_string(&mut rest)?;
        wait::within(SOON, "a shell ends with its session", since.elapsed())?;
        assert!(rest.lines().all(|line| line == "on"), "{rest}");
        let status = shell.0.wait()?;
        let mut told = String::new();
        shell.0.stderr.take().ok_or("no stderr")?.read_to_string(&mut told)?;
        // SPDY is only closed, and kubectl takes that for the end of the command.
        if let Some(notice) = notice {
            assert!(!status.success() && told.contains(notice), "{status}: {told}");
        }
    }
    drop(namespace);
    Ok(())
}

/// A shell in the pod of that namespace, which has begun and says `on` until it ends, and what it says from now on.
fn shell_that_goes_on(
    alice: &Caller,
    environment: &[(&str, &str)],
    namespace: &str,
) -> Outcome<(Ending, BufReader<ChildStdout>)> {
    let script = "echo begun; while sleep 0.1; do echo on; done";
    let args = ["exec", "--stdin", "web", "--", "sh", "-c", script];
    let mut command = alice.command(environment, namespace, &args);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut shell = Ending(command.spawn()?);
    let mut output = BufReader::new(shell.0.stdout.take().ok_or("no output")?);
    let mut line = String::new();
    output.read_line(&mut line)?;
    assert_eq!(line, "begun\n");
    Ok((shell, output))
}

fn shell_goes_on_for_a_while_at_a_server_that_stops(world: &World) -> Outcome {
    let namespace = Namespace::with_pod(world, "stopping")?;
    let (site, alice) = site(world, "gateway-stopping")?;
    let (mut shell, mut output) = shell_that_goes_on(&alice, &[], "stopping")?;
    let since = Instant::now();
    site.server.stop()?;
    let mut rest = String::new();
    output.read_to_string(&mut rest)?;
    wait::within(
        DRAIN + SOON,
        "a shell ends after its server was told to",
        since.elapsed(),
    )?;
    // Some of what it said came after the server was told to end.
    assert!(rest.lines().count() > 10, "{rest}");
    let mut told = String::new();
    shell.0.stderr.take().ok_or("no stderr")?.read_to_string(&mut told)?;
    assert!(told.contains("this replica of TKA stops"), "{told}");
    drop(namespace);
    Ok(())
}

fn ways_into_pods_are_recorded_before_they_begin(world: &World) -> Outcome {
    let namespace = Namespace::with_pod(world, "recorded")?;
    let (log, mut options) = e2e::Records::of(world, ServerOptions::new("gateway-recorded"))?;
    options.config["gateway"] = json!({"enabled": true, "audit": "none"});
    let site = world.site_with(options)?;
    site.grant(&[(ALICE, rule("cluster-admin", "10m"))])?;
    site.caller("ALICE")?.sign_in_waiting()?.expect(200)?;
    let alice = Caller::of(site.person("ALICE")?, &site.server.url())?;
    let run = |args: &[&str]| said(alice.command(&[], "recorded", args), b"");
    run(&["get", "pods"])?;
    run(&["exec", "web", "--container", "web", "--", "sh", "-c", "echo a b"])?;
    let records = wait::until("the end is recorded", || {
        let all = log.all()?;
        let is_there = all.iter().any(|record| record["decision"] == "carried");
        Ok(is_there.then_some(all))
    })?;
    let of_gateway: Vec<_> = records.iter().filter(|record| record.get("api").is_some()).collect();
    let decisions: Vec<_> = of_gateway
        .iter()
        .filter_map(|record| record["decision"].as_str())
        .collect();
    assert_eq!(decisions, ["stream_began", "carried"]);
    let api = &of_gateway[0]["api"];
    assert_eq!(api["command"], json!(["sh", "-c", "echo a b"]));
    assert_eq!(
        (
            api["subresource"].as_str(),
            api["name"].as_str(),
            api["container"].as_str()
        ),
        (Some("exec"), Some("web"), Some("web"))
    );
    assert_eq!(api.get("status"), None, "it is written before");
    assert_eq!(of_gateway[1]["api"]["status"], 101);
    assert!(of_gateway[1]["api"]["received_bytes"].as_u64() > Some(3));
    drop(namespace);
    Ok(())
}

fn pod_of_the_server_carries_too(world: &World) -> Outcome {
    let programs = server::alice(world)?;
    server::token(world, &programs)?;
    let url = server::url(world)?;
    let alice = Caller::of(Person::at(world, &world.testbed.node("ALICE")?, &url)?, &url)?;
    let namespace = Namespace::with_pod(world, "through-pod")?;
    let run = |args: &[&str]| said(alice.command(&[], "through-pod", args), b"");
    assert_eq!(run(&["exec", "web", "--", "hostname"])?, b"web\n");
    drop(namespace);
    Ok(())
}
