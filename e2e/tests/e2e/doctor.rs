//! `tka doctor` where one thing after the other is broken: it names that thing, and no other.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;

use e2e::between::Between;
use e2e::paused::Paused;
use e2e::user::ALICE;
use e2e::{Clock, Outcome, Person, Site, World, rule, wait};
use serde_json::{Value, json};
use testbed::{Node, Owner, ServerOptions};

crate::tests![
    each_broken_part_is_named_by_doctor,
    tailscaled_that_is_stopped_hangs_or_is_gone_is_named,
    cluster_without_the_role_or_out_of_reach_is_named,
    tailscaled_that_does_not_say_who_calls_is_named,
    something_else_that_answers_there_is_named,
];

/// What is wrong, by name, and how the command ended.
type Wrong = (Option<i32>, Vec<String>);

/// Where the person sits, and how `tka doctor` is typed there.
struct Desk<'w> {
    person: Person,
    node: &'w Node,
}

impl Desk<'_> {
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.person.typed(&[&["doctor", "-o", "json"], arguments].concat());
        command.env("TKA_TAILSCALE_SOCKET", self.node.socket());
        command
    }

    /// Runs it until it finds what is expected. It sends each request once, and a tailnet that changes may lose one: what it found
    /// instead is printed.
    fn finds(&self, arguments: &[&str], expected: &Wrong) -> Outcome {
        finds(|| self.command(arguments), expected)
    }
}

/// Runs it, and prints what it found wrong: a test that fails then says more than a name.
fn run(mut command: Command) -> Outcome<Wrong> {
    let output = command.stdin(Stdio::null()).output()?;
    let diagnosis: Value = serde_json::from_slice(&output.stdout)?;
    let checks = diagnosis["checks"].as_array().ok_or("it lists no checks")?;
    let mut names = vec![];
    for check in checks.iter().filter(|check| check["result"] == "failed") {
        eprintln!("doctor: {}: {}", check["name"], check["found"]);
        names.push(check["name"].as_str().ok_or("a check has no name")?.to_owned());
    }
    Ok((output.status.code(), names))
}

fn finds(command: impl Fn() -> Command, expected: &Wrong) -> Outcome {
    wait::until_true("doctor finds this and no more", || Ok(run(command())? == *expected))
        .map_err(|error| format!("{error}: {expected:?}").into())
}

fn only(status: i32, name: &str) -> Wrong {
    (Some(status), vec![name.to_owned()])
}

fn nothing() -> Wrong {
    (Some(0), vec![])
}

fn desk<'w>(site: &Site<'_>, node: &'w Node) -> Outcome<Desk<'w>> {
    let person = Person::at(site.world, node, &site.server.url())?;
    Ok(Desk { person, node })
}

fn each_broken_part_is_named_by_doctor(world: &World) -> Outcome {
    let site = world.site("doctor")?;
    site.grant(&[(ALICE, rule("view", "1h"))])?;
    let node = world.testbed.node("ALICE")?;
    let desk = desk(&site, &node)?;
    desk.finds(&[], &nothing())?;
    let kubeconfig = desk.person.login()?;
    desk.finds(&[], &nothing())?;

    on_this_machine(world, &desk, &kubeconfig)?;
    desk.finds(&["--server", "http://absent.tailnet.test:8080"], &only(5, "name"))?;
    let paused = Paused::server(&site.server)?;
    desk.finds(&["--timeout", "3"], &only(5, "server"))?;
    drop(paused);
    desk.finds(&[], &nothing())?;

    site.grant(&[])?;
    desk.finds(&[], &only(4, "rule"))?;
    site.grant(&[(ALICE, rule("view", "1h"))])?;
    site.server.kill()?;
    desk.finds(&[], &only(5, "server"))?;
    site.server.start()?;
    desk.finds(&[], &nothing())?;
    Ok(())
}

/// What needs no server.
fn on_this_machine(world: &World, desk: &Desk<'_>, kubeconfig: &Path) -> Outcome {
    let clock = Clock::new(world)?;
    clock.set(60 * 60)?;
    let later = || {
        let mut command = desk.command(&[]);
        command.envs(clock.environment());
        command
    };
    finds(later, &only(1, "clock"))?;

    for (there, missing) in [("tka", "kubectl"), ("kubectl", "plugin")] {
        let folder = world.new_folder("path")?;
        symlink(world.testbed.bin().join(there), folder.join(there))?;
        let without = || {
            let mut command = desk.command(&[]);
            command.env("PATH", &folder);
            command
        };
        finds(without, &only(1, missing))?;
    }

    fs::set_permissions(kubeconfig, fs::Permissions::from_mode(0o644))?;
    desk.finds(&[], &only(1, "kubeconfig"))?;
    fs::set_permissions(kubeconfig, fs::Permissions::from_mode(0o600))?;
    desk.finds(&[], &nothing())?;
    Ok(())
}

fn tailscaled_that_is_stopped_hangs_or_is_gone_is_named(world: &World) -> Outcome {
    let site = world.site("doctor-tailscale")?;
    site.grant(&[(ALICE, rule("view", "1h"))])?;
    let node = world.guest("doctor-desk", &Owner::user(ALICE))?;
    let desk = desk(&site, &node)?;
    desk.finds(&[], &nothing())?;
    let part = "node-doctor-desk";
    world.testbed.pause(part)?;
    let hanging = run(desk.command(&["--timeout", "3"]));
    world.testbed.resume(part)?;
    assert_eq!(hanging?, only(5, "tailscale"));
    world.testbed.tailscale(&node, &["down"])?.success()?;
    desk.finds(&[], &only(5, "tailscale"))?;
    world.testbed.kill(part)?;
    desk.finds(&[], &only(5, "tailscale"))?;
    Ok(())
}

fn tailscaled_that_does_not_say_who_calls_is_named(world: &World) -> Outcome {
    let between = Between::before(world.testbed.node("TKA")?.socket())?;
    let mut options = ServerOptions::new("doctor-identity");
    options.config = json!({"tailscale": {"socket": between.socket()}});
    let site = world.site_with(options)?;
    site.grant(&[(ALICE, rule("view", "1h"))])?;
    let node = world.testbed.node("ALICE")?;
    let desk = desk(&site, &node)?;
    desk.finds(&[], &nothing())?;
    between.replace("\"UserProfile\"", "\"UserProfilx\"")?;
    desk.finds(&[], &only(1, "identity"))?;
    Ok(())
}

/// Some program on the server's node that is no TKA, and a TKA of another time, whose answers say something else.
fn something_else_that_answers_there_is_named(world: &World) -> Outcome {
    let site = world.site("doctor-version")?;
    site.grant(&[(ALICE, rule("view", "1h"))])?;
    let node = world.testbed.node("ALICE")?;
    let desk = desk(&site, &node)?;
    for (name, wrong) in [
        ("other/1.0", only(1, "server")),
        ("tka-server/99.0.0", only(8, "version")),
    ] {
        let there = format!("http://tka.tailnet.test:{}", answering(name)?);
        desk.finds(&["--server", &there], &wrong)?;
    }
    Ok(())
}

/// The port at which something answers whatever it is asked, and says what it is called.
fn answering(name: &str) -> Outcome<u16> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let port = listener.local_addr()?.port();
    let head = format!("HTTP/1.1 200 OK\r\nServer: {name}\r\nContent-Type: application/json\r\nContent-Length: 2\r\n");
    thread::spawn(move || {
        for mut connection in listener.incoming().flatten() {
            // Who hangs up before is answered nothing.
            let _ = connection.read(&mut [0; 4096]);
            let _ = connection.write_all(format!("{head}Connection: close\r\n\r\n{{}}").as_bytes());
        }
    });
    Ok(port)
}

fn cluster_without_the_role_or_out_of_reach_is_named(world: &World) -> Outcome {
    let mut options = ServerOptions::new("doctor-cluster");
    options.roles.push("absent".to_owned());
    let mut site = world.site_with(options)?;
    let node = world.testbed.node("ALICE")?;
    // One that the cluster has not, and one that the server may not give.
    for role in ["absent", "system:basic-user"] {
        site.grant(&[(ALICE, rule(role, "1h"))])?;
        desk(&site, &node)?.finds(&[], &only(7, "role"))?;
    }
    site.grant(&[(ALICE, rule("view", "1h"))])?;
    // Nothing listens there (tcpmux), and what does is not the API server.
    let other = format!("https://{}", site.server.loopback_address());
    for wrong in ["https://127.0.0.1:1", &other] {
        site.server.configure(json!({"clusterInfo": {"apiEndpoint": wrong}}))?;
        site.server.stop()?;
        site.server.start()?;
        desk(&site, &node)?.finds(&[], &only(5, "api-server"))?;
    }
    Ok(())
}
