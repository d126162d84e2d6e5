//! `tka` and the gateway: kubeconfigs with an address and nothing else, and both ways to one session.

use std::fs;
use std::path::{Path, PathBuf};

use e2e::user::ALICE;
use e2e::{Outcome, Person, Site, World, rule};
use serde_json::{Value, json};
use testbed::{ServerOptions, with_gateway};

crate::tests![
    server_decides_and_switching_loses_nothing,
    rule_for_the_gateway_needs_no_option_and_gives_no_token,
    committed_file_serves_whoever_is_signed_in,
    commands_with_their_own_session_go_through_the_gateway,
    merged_context_changes_its_way_and_goes_again,
    server_without_a_gateway_says_so_before_anything_begins,
];

const NAMESPACE: &str = "--output=jsonpath={.contexts[0].context.namespace}";

fn site<'w>(world: &'w World, name: &str, default: bool) -> Outcome<Site<'w>> {
    let mut config = with_gateway();
    config["gateway"]["default"] = json!(default);
    world.site_with(ServerOptions {
        config,
        ..ServerOptions::new(name)
    })
}

fn kubectl(person: &Person, config: &Path, args: &[&str]) -> Outcome<String> {
    Ok(person.kubectl(config, args)?.expect(0)?.out)
}

fn whoami(person: &Person, config: &Path) -> Outcome<String> {
    let args = ["auth", "whoami", "--output=jsonpath={.status.userInfo.username}"];
    kubectl(person, config, &args)
}

/// Signs in, and returns where the kubeconfig is.
fn signed_in(person: &Person, args: &[&str]) -> Outcome<PathBuf> {
    let said = person.tka(&[&["login", "--quiet"], args].concat())?.expect(0)?;
    let path = said.out.trim().strip_prefix("export KUBECONFIG=");
    Ok(path.ok_or("login printed no export line")?.into())
}

/// The kubeconfig as kubectl reads it.
fn read(person: &Person, config: &Path) -> Outcome<Value> {
    let args = ["config", "view", "--raw", "--output=json"];
    Ok(serde_json::from_str(&kubectl(person, config, &args)?)?)
}

fn has_credential(config: &Path) -> Outcome<bool> {
    let text = fs::read_to_string(config)?;
    Ok(text.contains("token:") || text.contains("exec:"))
}

/// The ways of the sessions that `tka status` shows.
fn ways(person: &Person) -> Outcome<Vec<Value>> {
    let said = person.tka(&["status", "--output=json"])?.expect(0)?;
    let status: Value = serde_json::from_str(&said.out)?;
    let items = status["items"].as_array().ok_or("no items")?;
    Ok(items.iter().map(|item| item["via"].clone()).collect())
}

fn server_decides_and_switching_loses_nothing(world: &World) -> Outcome {
    let site = site(world, "cli-gateway", true)?;
    site.grant(&[(ALICE, rule("view", "1h"))])?;
    let alice = site.person("ALICE")?;
    let config = signed_in(&alice, &[])?;
    assert!(!has_credential(&config)?, "{}", fs::read_to_string(&config)?);
    let through = read(&alice, &config)?;
    let address = format!("{}/k8s", site.server.url());
    assert_eq!(through["clusters"][0]["cluster"], json!({"server": address}));
    let account = whoami(&alice, &config)?;
    assert!(account.contains(":cli-gateway:tka-alice-"), "{account}");
    kubectl(
        &alice,
        &config,
        &["config", "set-context", "--current", "--namespace=kube-system"],
    )?;

    // There and back, by sign-in and by kubeconfig.
    for (args, way) in [
        (["login", "--quiet", "--via=direct"], "direct"),
        (["kubeconfig", "--quiet", "--via=gateway"], "gateway"),
        (["kubeconfig", "--quiet", "--via=direct"], "direct"),
        (["login", "--quiet", "--via=gateway"], "gateway"),
    ] {
        alice.tka(&args)?.expect(0)?;
        let now = read(&alice, &config)?;
        assert_eq!(now["contexts"][0]["name"], through["contexts"][0]["name"], "{args:?}");
        assert_eq!(now["current-context"], through["current-context"], "{args:?}");
        for list in ["contexts", "clusters", "users"] {
            assert_eq!(now[list].as_array().map(Vec::len), Some(1), "{args:?}: {now}");
        }
        assert_eq!(kubectl(&alice, &config, &["config", "view", NAMESPACE])?, "kube-system");
        assert_eq!(whoami(&alice, &config)?, account, "it is the same session");
        assert_eq!(has_credential(&config)?, way == "direct");
        assert_eq!(ways(&alice)?, [way]);
    }
    // What was chosen stays where nothing else is.
    alice.tka(&["kubeconfig", "--quiet"])?.expect(0)?;
    assert!(!has_credential(&config)?);
    alice.tka(&["login", "--quiet", "--via=direct"])?.expect(0)?;
    alice.tka(&["reauthenticate", "--quiet"])?.expect(0)?;
    assert_eq!((ways(&alice)?, site.counts()?), (vec![json!("direct")], [1, 1, 1]));
    alice.tka(&["login", "--quiet"])?.expect(0)?;
    assert_eq!(ways(&alice)?, ["gateway"], "the server decides again");

    let said = alice.tka(&["status", "--prompt"])?.expect(0)?;
    assert_eq!(said.out, "", "kubectl does not use it");
    let mut prompt = alice.typed(&["status", "--prompt"]);
    let output = prompt.env("KUBECONFIG", &config).output()?;
    assert!(String::from_utf8(output.stdout)?.starts_with("view@"));
    alice.tka(&["logout"])?.expect(0)?;
    assert!(!config.exists() && site.counts()? == [0, 0, 0]);
    Ok(())
}

fn rule_for_the_gateway_needs_no_option_and_gives_no_token(world: &World) -> Outcome {
    let site = site(world, "cli-gateway-rule", false)?;
    let oncall =
        json!({"role": "view", "period": "10m", "name": "oncall", "access": "gateway", "namespaces": ["kube-system"]});
    let wires = json!({"role": "edit", "period": "10m", "name": "wires", "access": "direct", "priority": 9});
    site.grant(&[(ALICE, oncall), (ALICE, wires)])?;
    let alice = site.person("ALICE")?;
    for (option, at_rule) in [
        ("--token", "oncall"),
        ("--via=direct", "oncall"),
        ("--via=gateway", "wires"),
    ] {
        let said = alice.tka(&["login", "--rule", at_rule, option])?.expect(4)?;
        assert!(said.err.contains("tka login"), "it has advice: {said:?}");
        assert_eq!((site.counts()?, alice.files()?), ([0, 0, 0], vec![]), "{option}");
    }
    alice.tka(&["login", "--token", "--via=gateway"])?.expect(2)?;

    let config = signed_in(&alice, &["--rule", "oncall"])?;
    let written = read(&alice, &config)?;
    let address = format!("{}/k8s/rule/oncall", site.server.url());
    assert_eq!(written["clusters"][0]["cluster"]["server"], json!(address));
    kubectl(&alice, &config, &["get", "pods"])?;
    let session = alice.tka(&["sessions", "--output=name"])?.expect(0)?.out;
    let said = alice.tka(&["credential", "--session", session.trim()])?.expect(4)?;
    assert!(
        said.err.contains("through the gateway alone") && said.out.is_empty(),
        "{said:?}"
    );

    // Beside it a context of the other way: neither has the other's cluster.
    alice.tka(&["login", "--quiet", "--rule", "wires"])?.expect(0)?;
    alice.remember(&config)?;
    let both = read(&alice, &config)?;
    assert_eq!(both["clusters"].as_array().map(Vec::len), Some(2), "{both}");
    for context in both["contexts"].as_array().ok_or("no contexts")? {
        let name = context["name"].as_str().ok_or("no name")?;
        kubectl(
            &alice,
            &config,
            &["--context", name, "--namespace=kube-system", "get", "configmaps"],
        )?;
    }
    assert_eq!(site.counts()?, [2, 2, 1], "one of the bindings is in a namespace");
    alice.tka(&["logout"])?.expect(0)?;
    Ok(())
}

fn committed_file_serves_whoever_is_signed_in(world: &World) -> Outcome {
    let site = site(world, "cli-gateway-static", false)?;
    let oncall = json!({"role": "edit", "period": "10m", "name": "oncall", "priority": 1});
    site.grant(&[
        (ALICE, oncall),
        (ALICE, json!({"role": "view", "period": "10m", "priority": 9})),
    ])?;
    let alice = site.person("ALICE")?;
    let committed = |args: &[&str], name: &str| -> Outcome<PathBuf> {
        let said = alice.tka(&[&["kubeconfig", "--static"], args].concat())?.expect(0)?;
        assert_eq!(said.err, "");
        let path = alice.home().join(name);
        fs::write(&path, said.out)?;
        Ok(path)
    };
    let highest = committed(&[], "highest.yaml")?;
    let oncall = committed(&["--rule", "oncall"], "oncall.yaml")?;
    assert!(!has_credential(&highest)? && !fs::read_to_string(&highest)?.contains("alice"));
    assert_eq!(site.counts()?, [0, 0, 0], "it needs no session and begins none");
    assert!(!alice.home().join(".kube").exists());
    let said = alice.kubectl(&oncall, &["get", "pods"])?;
    assert!(
        said.status != Some(0) && said.err.contains("tka login --rule oncall"),
        "{said:?}"
    );
    alice.tka(&["login", "--quiet"])?.expect(0)?;
    alice.tka(&["login", "--quiet", "--rule", "oncall"])?.expect(0)?;
    let (high, low) = (whoami(&alice, &highest)?, whoami(&alice, &oncall)?);
    assert!(high != low && high.contains(":tka-alice-"), "{high} {low}");
    let said = alice.tka(&["kubeconfig", "--static", "--rule", "onkall"])?.expect(0)?;
    assert!(said.err.contains("no rule named onkall reaches you"), "{said:?}");
    Ok(())
}

fn commands_with_their_own_session_go_through_the_gateway(world: &World) -> Outcome {
    let site = site(world, "cli-gateway-own", true)?;
    site.grant(&[(ALICE, json!({"role": "view", "period": "10m", "name": "oncall"}))])?;
    let alice = site.person("ALICE")?;
    let config = signed_in(&alice, &[])?;
    let own = whoami(&alice, &config)?;
    let script = "/bin/cat $KUBECONFIG; echo; kubectl auth whoami --output=jsonpath={.status.userInfo.username}";
    for args in [
        &["exec", "--", "/bin/sh", "-c", script][..],
        &["exec", "--rule", "oncall", "--", "/bin/sh", "-c", script],
        &["shell", "-c", script],
    ] {
        let said = alice.tka(args)?.expect(0)?;
        assert!(!said.out.contains("token:") && !said.out.contains("exec:"), "{said:?}");
        let account = said.out.lines().last().ok_or("no output")?;
        assert!(
            account.contains(":tka-alice-") && account != own,
            "a session of its own: {said:?}"
        );
    }
    let direct = alice
        .tka(&["exec", "--via=direct", "--", "/bin/sh", "-c", script])?
        .expect(0)?;
    assert!(direct.out.contains("exec:"), "{direct:?}");
    assert_eq!(site.counts()?, [1, 1, 1], "each took its session along");
    assert_eq!(whoami(&alice, &config)?, own);

    let diagnosis = alice.typed(&["doctor", "--output=json"]).output()?;
    let diagnosis: Value = serde_json::from_slice(&diagnosis.stdout)?;
    let checks = diagnosis["checks"].as_array().ok_or("no checks")?;
    let check = checks
        .iter()
        .find(|check| check["name"] == "gateway")
        .ok_or("no check")?;
    let found = check["found"].as_str().ok_or("nothing found")?;
    assert!(
        found.starts_with("Kubernetes v1.") && found.ends_with("/k8s, the usual way"),
        "{check}"
    );
    Ok(())
}

fn merged_context_changes_its_way_and_goes_again(world: &World) -> Outcome {
    let site = site(world, "cli-gateway-merge", true)?;
    site.grant(&[(ALICE, rule("view", "10m"))])?;
    let alice = site.person("ALICE")?;
    let own = alice.home().join(".kube/config");
    let before = "apiVersion: v1\nkind: Config\nclusters:\n- name: kind # mine\n  cluster: {server: 'https://kind'}\ncontexts: []\nusers: []\n";
    fs::create_dir_all(own.parent().ok_or("no folder")?)?;
    fs::write(&own, before)?;
    for way in ["gateway", "direct", "gateway"] {
        alice
            .tka(&["login", "--quiet", "--merge", &format!("--via={way}")])?
            .expect(0)?;
        let now = read(&alice, &own)?;
        assert_eq!(now["clusters"].as_array().map(Vec::len), Some(2), "{way}: {now}");
        whoami(&alice, &own)?;
    }
    alice.tka(&["logout"])?.expect(0)?;
    let after = fs::read_to_string(&own)?;
    let left: Value = read(&alice, &own)?;
    assert!(
        after.contains("- name: kind # mine") && left["users"].is_null(),
        "{after}"
    );
    assert_eq!(left["clusters"].as_array().map(Vec::len), Some(1), "{after}");
    Ok(())
}

fn server_without_a_gateway_says_so_before_anything_begins(world: &World) -> Outcome {
    let site = world.site("cli-gateway-none")?;
    site.grant(&[(ALICE, rule("view", "10m"))])?;
    let alice = site.person("ALICE")?;
    for args in [
        &["login", "--via=gateway"][..],
        &["exec", "--via=gateway", "true"],
        &["kubeconfig", "--static"],
    ] {
        let said = alice.tka(args)?.expect(8)?;
        assert!(
            said.err.contains("has no gateway") && said.err.contains("gateway.enabled"),
            "{said:?}"
        );
        assert_eq!(site.counts()?, [0, 0, 0], "{args:?}");
    }
    let refused = site.caller("ALICE")?.post("/login?via=gateway")?.expect(403)?;
    assert!(refused.body.contains("this server has no gateway"), "{}", refused.body);
    site.caller("ALICE")?.post("/login?via=sideways")?.expect(400)?;
    assert_eq!(site.counts()?, [0, 0, 0]);
    site.server.stop()?;
    let said = alice.tka(&["kubeconfig", "--static"])?.expect(5)?;
    assert!(said.out.is_empty(), "{said:?}");
    Ok(())
}
