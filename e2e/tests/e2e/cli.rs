//! The command `tka` against the real server, through the proxy of a device's tailscaled.

use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use e2e::paused::Paused;
use e2e::person::mode;
use e2e::user::{ALICE, BOB};
use e2e::wire::Login;
use e2e::{Outcome, Person, World, rule, wait};
use jiff::Timestamp;
use serde_json::json;
use testbed::ServerOptions;

/// How long the plugin hands a credential out without asking the server, in seconds.
const RECHECK: u64 = 20;

crate::tests![
    kubectl_uses_a_private_kubeconfig_until_logout,
    kubectl_without_a_cache_takes_turns_and_obeys_rate_limits,
    get_login_and_cluster_info_say_what_the_server_says,
    caller_without_a_rule_hears_why_and_what_to_do,
    command_without_a_session_says_so,
    server_that_is_down_is_said_to_be_unreachable,
    stalled_server_times_out_and_works_again_afterwards,
    version_needs_no_server,
    login_gets_what_is_asked_for_and_reauthenticating_keeps_it,
];

fn kubectl_uses_a_private_kubeconfig_until_logout(world: &World) -> Outcome {
    let site = world.site("cli-session")?;
    site.grant(&[(BOB, rule("view", "1h"))])?;
    let bob = site.person("BOB")?;
    let kubeconfig = bob.login()?;
    assert!(kubeconfig.starts_with(bob.home().join(".kube/tka")));
    assert_eq!(
        (mode(&kubeconfig)?, mode(kubeconfig.parent().ok_or("no folder")?)?),
        (0o600, 0o700)
    );
    bob.kubectl(&kubeconfig, &["get", "pods", "--all-namespaces"])?
        .expect(0)?;
    bob.kubectl(&kubeconfig, &["create", "namespace", "bobs"])?.expect(1)?;

    let said = bob.tka(&["kubeconfig"])?.expect(0)?;
    assert_eq!(
        said.out.trim().trim_start_matches("export KUBECONFIG="),
        kubeconfig.display().to_string()
    );
    bob.remember(&kubeconfig)?;
    bob.kubectl(&kubeconfig, &["get", "pods", "--all-namespaces"])?
        .expect(0)?;
    assert!(
        !std::fs::read_to_string(&kubeconfig)?.contains("token:"),
        "it asks the plugin"
    );
    bob.tka(&["kubeconfig", "--token"])?.expect(0)?;
    bob.remember(&kubeconfig)?;
    let stolen = bob.home().join("stolen.yaml");
    std::fs::copy(&kubeconfig, &stolen)?;
    bob.kubectl(&stolen, &["get", "pods", "--all-namespaces"])?.expect(0)?;

    let said = bob.tka(&["logout"])?.expect(0)?;
    assert!(said.err.contains(BOB), "{said:?}");
    assert!(!kubeconfig.exists());
    bob.kubectl(&stolen, &["get", "pods", "--all-namespaces"])?.expect(1)?;
    assert_eq!(site.counts()?, [0, 0, 0]);
    Ok(())
}

pub(crate) fn fifty_kubectl_share_one_credential(world: &World) -> Outcome {
    let site = world.site("cli-fifty")?;
    site.grant(&[(ALICE, rule("view", "1h"))])?;
    let alice = site.person("ALICE")?;
    let kubeconfig = alice.login()?;
    let issued = || -> Outcome<usize> {
        let log = std::fs::read_to_string(site.server.log())?;
        Ok(log.matches(r#""decision":"credential_issued""#).count())
    };
    // One credential does for all of them, and of 20 s for no longer, which fifty kubectl may take.
    let few = |before: usize, expected: usize, began: Instant| -> Outcome {
        let issued = issued()? - before;
        let most = expected + usize::try_from(began.elapsed().as_secs() / RECHECK)?;
        assert!(
            (expected..=most).contains(&issued),
            "{issued} credentials in {:?}",
            began.elapsed()
        );
        Ok(())
    };
    let (before, began) = (issued()?, Instant::now());
    // What came with the sign-in does for all of them.
    for output in kubectl_at_once(50, &alice, &kubeconfig, &[])? {
        assert_eq!(output.status.code(), Some(0), "{output:?}");
    }
    few(before, 0, began)?;
    // Nothing is kept, as after a night: one of them asks.
    let (before, began) = (issued()?, Instant::now());
    std::fs::remove_dir_all(alice.runtime().join("tka"))?;
    for output in kubectl_at_once(50, &alice, &kubeconfig, &[])? {
        assert_eq!(output.status.code(), Some(0), "{output:?}");
    }
    few(before, 1, began)?;
    alice.remember(&kubeconfig)?;
    let before = issued()?;

    // Elsewhere: what is kept looks good until the API server refuses it.
    site.caller("ALICE")?.sign_out()?;
    let kept = alice.kept()?;
    let token = kept
        .first()
        .and_then(|kept| kept["credential"]["status"]["token"].as_str());
    let token = token.ok_or("nothing is kept")?;
    // Until then it is handed out to all, whatever the API server says of it.
    let fetched = kept.first().and_then(|kept| kept["fetched"].as_str());
    let fetched: Timestamp = fetched.ok_or("nothing is kept")?.parse()?;
    wait::until_time(fetched + Duration::from_secs(RECHECK))?;
    // For some seconds it goes on knowing whose it was, and that they may nothing any more.
    wait::until_true("the API server knows the credential no more", || {
        Ok(world.cluster.status(token, "GET", "/api/v1/pods")? == 401)
    })?;
    let refusals = || -> Outcome<usize> {
        let log = std::fs::read_to_string(site.server.log())?;
        let refused = |line: &&str| line.contains(r#""decision":"refused""#) && line.contains("/credential");
        Ok(log.lines().filter(refused).count())
    };
    let refusals_before = refusals()?;
    for output in kubectl_at_once(50, &alice, &kubeconfig, &[])? {
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert_eq!(said.matches("sign in with `tka login").count(), 1, "{said}");
    }
    // What the first one hears holds for five seconds, and fifty kubectl may take a while.
    let refused = refusals()? - refusals_before;
    assert!((1..=10).contains(&refused), "{refused} requests");
    assert_eq!(issued()?, before);
    alice.login()?;
    alice.kubectl(&kubeconfig, &["get", "pods"])?.expect(0)?;
    alice.tka(&["logout"])?.expect(0).map(drop)
}

fn kubectl_without_a_cache_takes_turns_and_obeys_rate_limits(world: &World) -> Outcome {
    let mut options = ServerOptions::new("cli-turns");
    options.config = json!({"server": {"rateLimit": {"requestsPerSecond": 1, "burst": 1}}});
    let site = world.site_with(options)?;
    site.grant(&[(ALICE, rule("view", "1h"))])?;
    let alice = site.person("ALICE")?;
    let kubeconfig = alice.login()?;
    // How many kubectl come to the server in a second depends on the machine.
    wait::until_true("they are too many for the server", || {
        for output in kubectl_at_once(10, &alice, &kubeconfig, &[("TKA_CREDENTIAL_CACHE", "none")])? {
            assert_eq!(output.status.code(), Some(0), "{output:?}");
        }
        let log = std::fs::read_to_string(site.server.log())?;
        let mut records = log.lines().filter(|line| line.contains("audit.tka"));
        Ok(records.any(|line| line.contains("429") && line.contains("/credential")))
    })
}

fn kubectl_at_once(
    count: usize,
    person: &Person,
    kubeconfig: &Path,
    environment: &[(&str, &str)],
) -> Outcome<Vec<Output>> {
    let start = || {
        let mut command = person.kubectl_command(kubeconfig, &["get", "pods"]);
        command.envs(environment.iter().copied());
        command
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .stdin(Stdio::null())
            .spawn()
    };
    let started = (0..count).map(|_| start()).collect::<Result<Vec<_>, _>>()?;
    let ended = started.into_iter().map(|child| Ok(child.wait_with_output()?));
    ended.collect()
}

fn get_login_and_cluster_info_say_what_the_server_says(world: &World) -> Outcome {
    let site = world.site("cli-get")?;
    site.grant(&[(ALICE, rule("view", "1h"))])?;
    let alice = site.person("ALICE")?;
    alice.login()?;
    let login: Login = site.caller("ALICE")?.get("/login")?.expect(200)?.decode()?;
    let said = alice.tka(&["get", "login"])?.expect(0)?;
    for expected in [ALICE, "view", &login.until.strftime("%Y-%m-%d %H:%M:%S").to_string()] {
        assert!(said.out.contains(expected), "{expected} is not in {said:?}");
    }
    for words in [&["cluster-info"][..], &["get", "cluster-info"]] {
        let said = alice.tka(words)?.expect(0)?;
        assert!(said.out.contains(&world.testbed.api_server()), "{said:?}");
    }
    Ok(())
}

fn caller_without_a_rule_hears_why_and_what_to_do(world: &World) -> Outcome {
    let site = world.site("cli-refused")?;
    let carol = site.person("CAROL")?;
    let said = carol.tka(&["login"])?.expect(4)?;
    assert_eq!(said.out, "false\n", "a shell that evaluates it stops: {said:?}");
    assert!(
        said.err.contains("no rule of the tailnet policy reaches you"),
        "{said:?}"
    );
    assert!(said.err.contains("ask an administrator of the tailnet"), "{said:?}");
    nothing_in_home(&carol)
}

fn command_without_a_session_says_so(world: &World) -> Outcome {
    let site = world.site("cli-signed-out")?;
    site.grant(&[(ALICE, rule("view", "1h"))])?;
    let alice = site.person("ALICE")?;
    for (words, out) in [(&["get", "login"][..], ""), (&["kubeconfig"], "false\n")] {
        let said = alice.tka(words)?.expect(3)?;
        assert!(said.out == out && said.err.contains("tka login"), "{said:?}");
    }
    nothing_in_home(&alice)
}

fn server_that_is_down_is_said_to_be_unreachable(world: &World) -> Outcome {
    let site = world.site("cli-down")?;
    site.grant(&[(ALICE, rule("view", "1h"))])?;
    let alice = site.person("ALICE")?;
    site.server.kill()?;
    // Its last thread may close the door a moment after the first has gone.
    wait::until_true("the port is closed", || {
        Ok(TcpStream::connect(site.server.loopback_address()).is_err())
    })?;
    let said = alice.tka(&["login"])?.expect(5)?;
    assert!(
        said.out == "false\n" && said.err.contains("tka.tailnet.test"),
        "{said:?}"
    );
    nothing_in_home(&alice)
}

fn stalled_server_times_out_and_works_again_afterwards(world: &World) -> Outcome {
    let site = world.site("cli-still")?;
    site.grant(&[(ALICE, rule("view", "1h"))])?;
    let alice = site.person("ALICE")?;
    let kubeconfig = alice.login()?;
    let session = alice.tka(&["sessions", "-o", "name"])?.expect(0)?.out;
    let url = site.server.url();
    let ask = |timeout: &str| {
        let call = [
            "credential",
            "--server",
            &url,
            "--session",
            session.trim(),
            "--timeout",
            timeout,
        ];
        alice.tka(&call)
    };
    let paused = Paused::server(&site.server)?;
    std::fs::remove_dir_all(alice.runtime().join("tka"))?;
    let said = ask("2")?.expect(5)?;
    assert_eq!((said.out.as_str(), said.err.lines().count()), ("", 1), "{said:?}");
    drop(paused);
    wait::until_true("what failed is asked for again", || Ok(ask("30")?.status == Some(0)))?;
    alice.remember(&kubeconfig)?;
    alice.kubectl(&kubeconfig, &["get", "pods"])?.expect(0)?;
    Ok(())
}

fn version_needs_no_server(world: &World) -> Outcome {
    let carol = Person::at(world, &world.testbed.node("CAROL")?, "nowhere")?;
    let said = carol.tka(&["version"])?.expect(0)?;
    assert!(said.out.contains(env!("CARGO_PKG_VERSION")), "{said:?}");
    Ok(())
}

fn nothing_in_home(person: &Person) -> Outcome {
    let files = person.files()?;
    assert!(files.is_empty(), "{files:?}");
    Ok(())
}

fn login_gets_what_is_asked_for_and_reauthenticating_keeps_it(world: &World) -> Outcome {
    let site = world.site("cli-asked")?;
    let oncall =
        json!({"role": "edit", "period": "8h", "name": "oncall", "namespaces": ["default"], "require_reason": true});
    let mut first = rule("view", "1h");
    first["priority"] = json!(100);
    site.grant(&[(ALICE, first), (ALICE, oncall)])?;
    let alice = site.person("ALICE")?;

    let said = alice.tka(&["login", "--rule", "oncall"])?.expect(7)?;
    assert!(said.err.contains("--reason"), "{said:?}");
    let said = alice
        .tka(&["login", "--rule", "oncall", "-n", "kube-system"])?
        .expect(4)?;
    assert!(said.err.contains("it is for default only"), "{said:?}");
    alice
        .tka(&["login", "--rule", "oncall", "--reason", "x", "--for", "9h"])?
        .expect(7)?;
    alice.tka(&["login", "--rule", "none"])?.expect(4)?;
    nothing_in_home(&alice)?;
    assert_eq!(site.counts()?, [0, 0, 0]);

    let options = [
        "login",
        "-q",
        "--rule",
        "oncall",
        "--for",
        "1h30m",
        "--reason",
        "pager 4711",
    ];
    for words in [&options[..], &["reauthenticate", "-q"]] {
        let said = alice.tka(words)?.expect(0)?;
        let kubeconfig = PathBuf::from(said.out.trim().trim_start_matches("export KUBECONFIG="));
        alice.remember(&kubeconfig)?;
        // In the rule's one namespace, without being told to.
        alice
            .kubectl(&kubeconfig, &["create", "configmap", words[0]])?
            .expect(0)?;
        alice
            .kubectl(&kubeconfig, &["get", "configmaps", "-n", "kube-system"])?
            .expect(1)?;
        let sessions = site.caller("ALICE")?.get("/sessions")?.expect(200)?.json()?;
        assert_eq!(sessions["items"][0]["reason"], "pager 4711");
        assert_eq!(sessions["items"].as_array().map(Vec::len), Some(1));
        alice
            .kubectl(&kubeconfig, &["delete", "configmap", words[0]])?
            .expect(0)?;
    }
    alice.tka(&["logout"])?.expect(0)?;
    assert_eq!(site.counts()?, [0, 0, 0]);
    Ok(())
}
