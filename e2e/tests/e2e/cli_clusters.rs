//! `tka clusters`: servers found on the tailnet, and choosing one.

use e2e::user::ALICE;
use e2e::{Outcome, Person, Site, World, rule};
use serde_json::Value;

crate::tests![servers_are_found_on_the_tailnet_and_one_of_them_chosen];

fn servers_are_found_on_the_tailnet_and_one_of_them_chosen(world: &World) -> Outcome {
    let east = world.site("cli-clusters-east")?;
    let west = world.site("cli-clusters-west")?;
    for site in [&east, &west] {
        site.grant(&[(ALICE, rule("view", "1h"))])?;
    }
    let alice = east.person("ALICE")?;
    // Only the port is right: the node itself is found by its tag.
    let port = self::port(&east)?;
    let found = clusters(
        world,
        &alice,
        &[
            ("TKA_TAILSCALE_HOSTNAME", "100.64.99.99"),
            ("TKA_TAILSCALE_PORT", &port),
        ],
    )?;
    let tagged = found.iter().find(|item| item["server"] == east.server.url());
    let tagged = tagged.ok_or_else(|| format!("it is not among {found:?}"))?;
    assert_eq!(
        (&tagged["state"], &tagged["default"]),
        (&"answers".into(), &false.into())
    );
    assert_eq!(tagged["rules"][0]["role"], "view");
    assert_eq!(tagged["api_server"], world.testbed.api_server());

    // Both are known once one has signed in.
    let first = alice.login()?;
    let second = run(
        world,
        &alice,
        &["login", "--quiet"],
        &[("TKA_TAILSCALE_HOSTNAME", &west.server.url())],
    )?;
    let all = clusters(world, &alice, &[])?;
    let of = |site: &Site<'_>| {
        all.iter()
            .find(|item| item["server"] == site.server.url())
            .cloned()
            .unwrap_or_default()
    };
    assert_eq!(
        (&of(&east)["default"], &of(&west)["default"]),
        (&true.into(), &false.into())
    );
    assert_eq!(of(&west)["sessions"][0]["role"], "view");

    // From here on by the file.
    let name = of(&west)["name"].as_str().unwrap_or_default().to_owned();
    let lines = run(
        world,
        &alice,
        &["clusters", "use", &name, "--quiet"],
        &[("TKA_TAILSCALE_HOSTNAME", "")],
    )?;
    assert_eq!(lines, second);
    assert!(!lines.contains(&first.display().to_string()));
    let by_file = run(
        world,
        &alice,
        &["get", "config", "tailscale.port"],
        &[("TKA_TAILSCALE_HOSTNAME", "")],
    )?;
    assert_eq!(by_file.trim(), self::port(&west)?);
    for site in [&east, &west] {
        run(
            world,
            &alice,
            &["logout"],
            &[("TKA_TAILSCALE_HOSTNAME", &site.server.url())],
        )?;
        assert_eq!(site.counts()?, [0, 0, 0]);
    }
    Ok(())
}

fn clusters(world: &World, person: &Person, environment: &[(&str, &str)]) -> Outcome<Vec<Value>> {
    let text = run(world, person, &["clusters", "-o", "json"], environment)?;
    let found: Value = serde_json::from_str(&text)?;
    Ok(found["items"].as_array().cloned().unwrap_or_default())
}

/// What it says when all goes well.
fn run(world: &World, person: &Person, args: &[&str], environment: &[(&str, &str)]) -> Outcome<String> {
    let socket = world.testbed.node("ALICE")?.socket().to_owned();
    let mut command = person.typed(args);
    let output = command
        .env("TKA_TAILSCALE_SOCKET", socket)
        .envs(environment.iter().copied())
        .output()?;
    if output.status.success() {
        return Ok(String::from_utf8(output.stdout)?);
    }
    Err(String::from_utf8_lossy(&output.stderr).into())
}

fn port(site: &Site<'_>) -> Outcome<String> {
    let url = site.server.url();
    Ok(url.rsplit_once(':').ok_or("no port")?.1.to_owned())
}
