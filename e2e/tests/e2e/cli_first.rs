//! The first sign-in of a person who has set nothing.

use std::process::Command;

use e2e::user::ALICE;
use e2e::{Outcome, Person, Site, World, rule};

crate::tests![
    login_finds_the_only_server_and_remembers_it,
    several_servers_are_a_choice_that_a_pipe_cannot_make,
    one_setting_names_the_server_in_a_new_home,
];

/// `tka …` where nothing is set. Servers of the testbed have no usual port, so that is the one thing that is told.
fn unset(site: &Site<'_>, person: &Person, args: &[&str]) -> Outcome<Command> {
    let url = site.server.url();
    let (_, port) = url.rsplit_once(':').ok_or("no port")?;
    let mut command = person.typed(args);
    command
        .env_remove("TKA_TAILSCALE_HOSTNAME")
        .env("TKA_TAILSCALE_PORT", port)
        .env("TKA_TAILSCALE_SOCKET", site.world.testbed.node("ALICE")?.socket());
    Ok(command)
}

/// What a command says, and how it ends.
fn said(mut command: Command) -> Outcome<(Option<i32>, String, String)> {
    let output = command.stdin(std::process::Stdio::null()).output()?;
    let text = String::from_utf8;
    Ok((output.status.code(), text(output.stdout)?, text(output.stderr)?))
}

fn login_finds_the_only_server_and_remembers_it(world: &World) -> Outcome {
    let site = world.site("cli-first")?;
    site.grant(&[(ALICE, rule("view", "1h"))])?;
    let alice = site.person("ALICE")?;
    let (status, out, err) = said(unset(&site, &alice, &["login"])?)?;
    assert_eq!(status, Some(0), "{err}");
    assert!(
        err.contains(&format!("commands use {} from now on", site.server.url())),
        "{err}"
    );
    let kubeconfig = out.trim().trim_start_matches("export KUBECONFIG=").to_owned();
    alice.remember(kubeconfig.as_ref())?;
    alice.kubectl(kubeconfig.as_ref(), &["get", "pods"])?.expect(0)?;
    // From here on by the file.
    let by_file = |args: &[&str]| {
        let mut command = alice.typed(args);
        command.env_remove("TKA_TAILSCALE_HOSTNAME");
        said(command)
    };
    let (_, server, _) = by_file(&["config", "server"])?;
    assert_eq!(server.trim(), site.server.url());
    let (status, _, err) = by_file(&["logout"])?;
    assert_eq!(status, Some(0), "{err}");
    assert_eq!(site.counts()?, [0, 0, 0]);
    Ok(())
}

fn several_servers_are_a_choice_that_a_pipe_cannot_make(world: &World) -> Outcome {
    let (east, west) = (world.site("cli-first-east")?, world.site("cli-first-west")?);
    for site in [&east, &west] {
        site.grant(&[(ALICE, rule("view", "1h"))])?;
    }
    let alice = east.person("ALICE")?;
    // One is known from a sign-in, the other is found on the tailnet.
    alice.login()?;
    let (status, out, err) = said(unset(&west, &alice, &["login"])?)?;
    assert_eq!((status, out.as_str()), (Some(2), "false\n"), "{err}");
    for site in [&east, &west] {
        assert!(err.contains(&site.server.url()), "{err}");
    }
    assert!(
        err.contains("tka login --server") && err.contains("tka clusters use"),
        "{err}"
    );
    assert_eq!(west.counts()?, [0, 0, 0], "nothing began");
    let (status, _, err) = said(unset(&west, &alice, &["login", "--server", &west.server.url()])?)?;
    assert_eq!(status, Some(0), "{err}");
    for site in [&east, &west] {
        alice.tka(&["logout", "--server", &site.server.url()])?.expect(0)?;
    }
    Ok(())
}

fn one_setting_names_the_server_in_a_new_home(world: &World) -> Outcome {
    let site = world.site("cli-first-config")?;
    site.grant(&[(ALICE, rule("view", "1h"))])?;
    let alice = site.person("ALICE")?;
    let by_file = |args: &[&str]| {
        let mut command = alice.typed(args);
        command.env_remove("TKA_TAILSCALE_HOSTNAME");
        said(command)
    };
    let (status, _, err) = by_file(&["config", "server", &site.server.url()])?;
    assert_eq!(status, Some(0), "{err}");
    let (status, out, err) = by_file(&["exec", "kubectl", "get", "namespaces", "-o", "name"])?;
    assert_eq!(status, Some(0), "{err}");
    assert!(out.contains("namespace/default"), "{out}");
    assert_eq!(site.counts()?, [0, 0, 0]);
    Ok(())
}
