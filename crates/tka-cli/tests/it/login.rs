//! `tka login`

use std::process::Command;

use serde_json::json;

use crate::fake_server::{Answer, FakeServer};
use crate::tka::{CA, Outcome, TOKEN, User, kubeconfig, login, mode, signed_in, signing_in};

#[test]
fn against_this_projects_server() {
    let (user, fake) = (
        User::new(),
        FakeServer::new(&[("POST /login", Answer::json(200, &signed_in()))]),
    );
    let outcome = user.run_with(&fake, &["login"]);
    let path = user.kubeconfig(&fake);
    assert_eq!(outcome.stdout, format!("export KUBECONFIG={}\n", path.display()));
    assert!(
        outcome
            .stderr
            .starts_with("✓ signed in as alice@example.com\n  role   view\n  until  in "),
        "{outcome:?}"
    );
    assert!(
        outcome.stderr.ends_with(" d (2999-01-02 15:04:05 UTC)\n"),
        "{outcome:?}"
    );
    assert_eq!(outcome.status, 0);

    assert_eq!((mode(&path), mode(&user.folder())), (0o600, 0o700));
    let file = std::fs::read_to_string(path).unwrap();
    let file = file
        .replace(&fake.address.port().to_string(), "PORT")
        .replace(CA, "UEVN");
    insta::assert_snapshot!(file.replace(env!("CARGO_BIN_EXE_tka"), "/bin/tka"), @r#"
    # Written by tka for http://127.0.0.1:PORT. `tka logout` removes it.
    apiVersion: 'v1'
    kind: 'Config'
    clusters:
    - name: 'tka-cluster'
      cluster:
        server: 'https://k8s.example.com:6443'
        certificate-authority-data: 'UEVN'
    users:
    - name: 'tka-user-alice'
      user:
        exec:
          apiVersion: 'client.authentication.k8s.io/v1'
          command: '/bin/tka'
          args:
          - 'credential'
          - '--server'
          - 'http://127.0.0.1:PORT'
          - '--session'
          - 'tka-alice-mfrggzdfmztwq2lknnwg23tpobyxe43u'
          interactiveMode: 'IfAvailable'
          installHint: 'tka is not where it was at the last sign-in: install it, and run `tka kubeconfig`, which repairs this kubeconfig'
    contexts:
    - name: 'tka-context-alice'
      context:
        cluster: 'tka-cluster'
        user: 'tka-user-alice'
    current-context: "tka-context-alice"
    "#);

    let requests = fake.requests();
    assert!(
        requests[0].has("Prefer: wait=10") && requests[0].has("Accept: application/json"),
        "{requests:?}"
    );
    assert!(
        requests[0].has(&format!("User-Agent: tka/{}", env!("CARGO_PKG_VERSION"))),
        "{requests:?}"
    );
}

#[test]
fn several_rules_are_side_by_side() {
    let user = User::new();
    let rules = json!({"items": [{"name": "oncall", "role": "edit", "namespaces": [], "period": "1h0m0s", "priority": 1,
        "require_reason": false, "default": true}]});
    let mut second = signed_in();
    second["session"]["name"] = json!("tka-alice-oncall");
    let fake = FakeServer::new(&[
        ("POST /login", Answer::json(200, &signed_in())),
        ("GET /rules", Answer::json(200, &rules)),
        ("POST /login", Answer::json(200, &second)),
    ]);
    assert_eq!(user.run_with(&fake, &["login"]).status, 0);
    let path = user.kubeconfig(&fake);
    assert_eq!(user.run_with(&fake, &["login", "--rule", "oncall"]).status, 0);
    let file = std::fs::read_to_string(path).unwrap();
    let names: Vec<_> = file.lines().filter(|line| line.starts_with("- name:")).collect();
    insta::assert_snapshot!(names.join("\n"), @"
    - name: 'tka-cluster'
    - name: 'tka-user-alice'
    - name: 'tka-user-alice-oncall'
    - name: 'tka-context-alice'
    - name: 'tka-context-alice-oncall'
    ");
    assert!(file.contains("current-context: \"tka-context-alice-oncall\""), "{file}");
}

#[test]
fn several_servers_do_not_share_a_name() {
    let user = User::new();
    let fakes = [(); 3].map(|()| FakeServer::new(&[("POST /login", Answer::json(200, &signed_in()))]));
    let current = |fake: &FakeServer| {
        let outcome = user.run_with(fake, &["login", "--token"]);
        assert_eq!(outcome.status, 0, "{outcome:?}");
        let file = std::fs::read_to_string(user.kubeconfig(fake)).unwrap();
        let file: serde_json::Value = serde_saphyr::from_str(&file).unwrap();
        let names = [&file["clusters"], &file["users"], &file["contexts"]].map(|list| list[0]["name"].clone());
        assert_eq!(file["current-context"], names[2]);
        assert_eq!(
            file["contexts"][0]["context"],
            json!({"cluster": names[0], "user": names[1]})
        );
        names[1]
            .as_str()
            .unwrap()
            .replace(&fake.address.port().to_string(), "PORT")
    };
    assert_eq!(
        fakes.each_ref().map(current),
        [
            "tka-user-alice",
            "tka-user-alice@127.0.0.1",
            "tka-user-alice@127.0.0.1:PORT"
        ]
    );
}

#[test]
fn one_server_under_two_names_has_one_name_for_a_session() {
    let (user, fake) = (
        User::new(),
        FakeServer::new(&vec![("POST /login", Answer::json(200, &signed_in())); 2]),
    );
    for name in ["127.0.0.1", "localhost"] {
        let mut command = user.command_with(&fake, &["login", "-l"]);
        let outcome = Outcome::from(command.env("TKA_TAILSCALE_HOSTNAME", name).output().unwrap());
        assert!(
            outcome.stderr.contains("context     tka-context-alice\n"),
            "{outcome:?}"
        );
    }
}

#[test]
fn a_token_is_in_the_file_where_it_is_asked_for() {
    let (user, fake) = (
        User::new(),
        FakeServer::new(&[("POST /login", Answer::json(200, &signed_in()))]),
    );
    let outcome = user.run_with(&fake, &["login", "--token"]);
    assert_eq!(outcome.status, 0, "{outcome:?}");
    let file = std::fs::read_to_string(user.kubeconfig(&fake)).unwrap();
    assert!(file.contains(TOKEN) && !file.contains("exec"), "{file}");
}

#[test]
fn against_the_originals_server() {
    let mut sent = kubeconfig();
    sent["preferences"] = json!({});
    sent["extensions"] = json!({});
    sent["clusters"]["tka-cluster"]["LocationOfOrigin"] = json!("");
    sent["users"]["tka-user-alice"]["LocationOfOrigin"] = json!("");
    sent["contexts"]["tka-context-alice"]["LocationOfOrigin"] = json!("");
    let fake = FakeServer::new(&[
        ("POST /login", Answer::json(202, &login())),
        ("GET /kubeconfig", Answer::not_yet()),
        ("GET /kubeconfig", Answer::not_yet()),
        ("GET /kubeconfig", Answer::json(200, &sent)),
    ]);
    let user = User::new();
    let outcome = user.run_with(&fake, &["login", "--quiet"]);
    assert_eq!(
        outcome.stdout,
        format!("export KUBECONFIG={}\n", user.kubeconfig(&fake).display())
    );
    assert_eq!((outcome.stderr.as_str(), outcome.status), ("", 0));
    let file = std::fs::read_to_string(user.kubeconfig(&fake)).unwrap();
    assert!(file.contains(TOKEN) && !file.contains("LocationOfOrigin"), "{file}");
    fake.requests();
}

#[test]
fn a_server_may_answer_at_once_and_say_more() {
    let mut answer = login();
    answer["session"] = json!({"name": "x"});
    let fake = FakeServer::new(&[
        ("POST /login", Answer::json(200, &answer)),
        ("GET /kubeconfig", Answer::json(200, &kubeconfig())),
    ]);
    assert_eq!(User::new().run_with(&fake, &["login"]).status, 0);
}

#[test]
fn a_server_that_waited_is_asked_once() {
    let mut answer = login();
    answer["kubeconfig"] = kubeconfig();
    let fake = FakeServer::new(&[("POST /login", Answer::json(200, &answer))]);
    let user = User::new();
    assert_eq!(user.run_with(&fake, &["login"]).status, 0);
    let file = std::fs::read_to_string(user.kubeconfig(&fake)).unwrap();
    assert!(file.contains(TOKEN), "{file}");
    assert_eq!(fake.requests().len(), 1);
}

#[test]
fn an_unusable_kubeconfig_in_the_answer_changes_nothing() {
    let mut answer = login();
    answer["kubeconfig"] = kubeconfig();
    answer["kubeconfig"]["users"] = json!({});
    let fake = FakeServer::new(&[("POST /login", Answer::json(200, &answer))]);
    let user = User::new();
    assert_ne!(user.run_with(&fake, &["login"]).status, 0);
    assert!(!user.kubeconfig(&fake).exists());
}

#[test]
fn no_eval_prints_the_path_alone() {
    let (user, fake) = (User::new(), FakeServer::new(&signing_in()));
    let outcome = user.run_with(&fake, &["login", "-e"]);
    assert_eq!(outcome.stdout, format!("{}\n", user.kubeconfig(&fake).display()));
}

#[test]
fn quiet_is_for_eval_also_with_no_eval() {
    let (user, fake) = (User::new(), FakeServer::new(&signing_in()));
    let outcome = user.run_with(&fake, &["login", "--quiet", "-e"]);
    assert_eq!(
        outcome.stdout,
        format!("export KUBECONFIG={}\n", user.kubeconfig(&fake).display())
    );
}

#[test]
fn long_says_where_and_what() {
    let (user, fake) = (User::new(), FakeServer::new(&signing_in()));
    let outcome = user.run_with(&fake, &["login", "--long"]);
    for expected in [
        "server      http://127.0.0.1:",
        "cluster     https://k8s.example.com:6443",
        "context     tka-context-alice",
    ] {
        assert!(outcome.stderr.contains(expected), "{outcome:?}");
    }
}

#[test]
fn every_spelling_signs_in() {
    for spelling in ["login", "signin", "auth"] {
        let fake = FakeServer::new(&signing_in());
        assert_eq!(User::new().run_with(&fake, &[spelling]).status, 0, "{spelling}");
    }
}

#[test]
fn signing_in_again_replaces_the_file() {
    let user = User::new();
    let mut script = signing_in();
    script.extend(signing_in());
    let fake = FakeServer::new(&script);
    assert_eq!(user.run_with(&fake, &["login"]).status, 0);
    assert_eq!(user.run_with(&fake, &["login"]).status, 0);
    let name = |extension: &str| format!(".kube/tka/127.0.0.1_{}.{extension}", fake.address.port());
    assert_eq!(
        user.files(),
        [".kube", ".kube/tka", &name("json"), &name("yaml")],
        "what is known of the session, and the kubeconfig"
    );
    assert_eq!(mode(&user.kubeconfig(&fake)), 0o600);
}

#[test]
fn a_shell_evaluates_what_it_prints() {
    let (user, fake) = (User::new(), FakeServer::new(&signing_in()));
    let home = user.home().join("a b'c $(false)");
    std::fs::create_dir(&home).unwrap();
    let script = format!(
        "eval \"$({} login)\" && printf %s \"$KUBECONFIG\"",
        env!("CARGO_BIN_EXE_tka")
    );
    let tka = user.command_with(&fake, &[]);
    let variables = tka.get_envs().filter_map(|(name, value)| Some((name, value?)));
    let mut shell = Command::new("bash");
    shell
        .args(["-c", &script])
        .current_dir(user.home())
        .env_clear()
        .envs(variables)
        .env("HOME", &home);
    let outcome = Outcome::from(shell.output().unwrap());
    let expected = home.join(".kube/tka").join(user.kubeconfig(&fake).file_name().unwrap());
    assert_eq!(outcome.stdout, expected.display().to_string(), "{outcome:?}");
    assert!(expected.is_file());
}

#[test]
fn powershell_gets_its_own_line() {
    let (user, fake) = (User::new(), FakeServer::new(&signing_in()));
    let output = user
        .command_with(&fake, &["login", "-q"])
        .env("SHELL", "/usr/bin/pwsh")
        .output()
        .unwrap();
    assert!(Outcome::from(output).stdout.starts_with("$env:KUBECONFIG = '/"));
}

#[test]
fn the_token_is_in_the_file_only() {
    for flags in [&["login"][..], &["login", "--debug", "--long"], &["login", "-e"]] {
        let (user, fake) = (User::new(), FakeServer::new(&signing_in()));
        let outcome = user.run_with(&fake, flags);
        assert!(
            !outcome.stdout.contains("secret") && !outcome.stderr.contains("secret"),
            "{outcome:?}"
        );
    }
}

#[test]
fn debug_tells_of_requests() {
    let (user, fake) = (User::new(), FakeServer::new(&signing_in()));
    let outcome = user.run_with(&fake, &["login", "--debug"]);
    let url = format!("http://127.0.0.1:{}/api/v1alpha1", fake.address.port());
    assert!(
        outcome
            .stderr
            .contains(&format!("debug: POST {url}/login?via=default: 202 in ")),
        "{outcome:?}"
    );
    assert!(
        outcome.stderr.contains(&format!(
            "debug: GET {url}/kubeconfig?credential=exec&via=default: 200 in "
        )),
        "{outcome:?}"
    );
}

#[test]
fn a_session_that_never_becomes_ready_is_given_up() {
    let mut script = vec![("POST /login", Answer::json(202, &login()))];
    script.extend(vec![("GET /kubeconfig", Answer::not_yet()); 10]);
    let (user, fake) = (User::new(), FakeServer::new(&script));
    let outcome = user.run_with(&fake, &["login", "--timeout", "2.5"]);
    insta::assert_snapshot!(outcome.shown(&fake), @"
    status 1
    --- stdout
    false
    --- stderr
    ✗ your session at http://127.0.0.1:PORT was not ready within 2.5 s
      why  the cluster is still creating your access
      do   run `tka kubeconfig` in a moment
           if it persists, look at the server's log
    ");
    assert!(user.files().is_empty());
}

#[test]
fn unwritable_home_is_found_before_signing_in() {
    let (user, fake) = (User::new(), FakeServer::new(&[]));
    std::fs::write(user.home().join(".kube"), "a file").unwrap();
    let outcome = user.run_with(&fake, &["login"]);
    assert!(fake.requests().is_empty());
    let shown = outcome.shown(&fake).replace(&user.home().display().to_string(), "HOME");
    insta::assert_snapshot!(shown, @"
    status 1
    --- stdout
    false
    --- stderr
    ✗ cannot write to HOME/.kube
      why  Not a directory (os error 20)
      do   replace HOME/.kube by a folder
           or set HOME to a folder that you may write to
    ");
}

#[test]
fn without_a_home_it_says_so() {
    let (user, fake) = (User::new(), FakeServer::new(&[]));
    let output = user
        .command_with(&fake, &["login"])
        .env("HOME", "relative")
        .output()
        .unwrap();
    let outcome = Outcome::from(output);
    assert!(
        outcome.status == 1 && outcome.stderr.contains("there is no home folder"),
        "{outcome:?}"
    );
}

#[test]
fn reauthenticating_signs_out_and_in() {
    for (spelling, status) in [("reauthenticate", 200), ("reauth", 404), ("refresh", 404)] {
        let signed_out = if status == 200 {
            login()
        } else {
            json!({"message": "not signed in"})
        };
        let mut script = vec![
            ("GET /sessions", Answer::html(404)),
            ("POST /logout", Answer::json(status, &signed_out)),
        ];
        script.extend(signing_in());
        let (user, fake) = (User::new(), FakeServer::new(&script));
        let outcome = user.run_with(&fake, &[spelling, "--quiet"]);
        assert_eq!(
            outcome.stdout,
            format!("export KUBECONFIG={}\n", user.kubeconfig(&fake).display()),
            "{outcome:?}"
        );
        assert_eq!((outcome.stderr.as_str(), outcome.status), ("", 0));
        fake.requests();
    }
}

#[test]
fn reauthenticating_does_not_tell_to_unset_what_it_sets() {
    let mut script = vec![("GET /sessions", Answer::json(200, &json!({"items": []})))];
    script.extend(signing_in());
    let (user, fake) = (User::new(), FakeServer::new(&script));
    let mut command = user.command_with(&fake, &["refresh"]);
    let outcome = Outcome::from(command.env("KUBECONFIG", user.kubeconfig(&fake)).output().unwrap());
    assert!(outcome.status == 0 && !outcome.stderr.contains("unset"), "{outcome:?}");
}

#[test]
fn an_unverified_cluster_is_pointed_out() {
    let mut sent = kubeconfig();
    sent["clusters"]["tka-cluster"]["insecure-skip-tls-verify"] = json!(true);
    let fake = FakeServer::new(&[
        ("POST /login", Answer::json(202, &login())),
        ("GET /kubeconfig", Answer::json(200, &sent)),
    ]);
    let outcome = User::new().run_with(&fake, &["login"]);
    assert!(
        outcome
            .stderr
            .contains("! the certificate of the cluster's API server is not verified"),
        "{outcome:?}"
    );
}

#[test]
fn a_busy_server_is_asked_again() {
    let script = [
        ("POST /login", Answer::busy(429, 1)),
        ("POST /login", Answer::busy(503, 0)),
        ("POST /login", Answer::json(200, &signed_in())),
    ];
    let (user, fake) = (User::new(), FakeServer::new(&script));
    let outcome = user.run_with(&fake, &["login"]);
    assert_eq!(outcome.status, 0, "{outcome:?}");
    fake.requests();
}
