//! Settings from files, environment and flags; wrong ones.

use serde_json::json;

use crate::double::{Answer, Double};
use crate::tka::{User, login};

#[test]
fn a_servers_file_serves_the_cli_too() {
    let double = Double::new(&[("GET /login", Answer::json(200, &login()))]);
    let user = User::new();
    let text = format!(
        "tailscale: {{hostname: 127.0.0.1, port: {}, stateDir: /x}}\noperator: {{namespace: tka-dev}}\nhealth: {{port: 8080}}\n",
        double.address.port()
    );
    std::fs::write(user.home().join("config.yaml"), text).unwrap();
    let outcome = user.run(&["get", "login", "--debug"]);
    assert_eq!(outcome.status, 0, "{outcome:?}");
    assert!(
        outcome.stderr.starts_with("debug: settings from ./config.yaml\n"),
        "{outcome:?}"
    );
}

#[test]
fn whoever_signs_in_is_told_of_a_server_that_the_folder_names() {
    let refused = || ("POST /login", Answer::json(403, &serde_json::json!({"message": "no"})));
    let double = Double::new(&[refused(), refused()]);
    let user = User::new();
    let port = double.address.port();
    let text = format!("tailscale: {{hostname: 127.0.0.1, port: {port}}}\n");
    std::fs::write(user.home().join("config.yaml"), text).unwrap();
    let told = "by the config.yaml of this folder";
    assert!(user.run(&["login"]).stderr.contains(told));
    assert!(!user.run(&["login", "--server", "127.0.0.1"]).stderr.contains(told));
}

#[test]
fn a_wrong_type_names_file_key_and_expectation() {
    let user = User::new();
    std::fs::write(user.home().join("config.yaml"), "tailscale: {port: many}").unwrap();
    let outcome = user.run(&["get", "login"]);
    assert_eq!(outcome.status, 6);
    insta::assert_snapshot!(outcome.stderr, @r#"
    ✗ `tailscale.port` in ./config.yaml: expected a port from 1 to 65535, found "many"
      do  correct the file, or name another one with --config
    "#);
}

#[test]
fn a_wrong_file_stops_nothing_that_needs_none() {
    let user = User::new();
    std::fs::write(user.home().join("config.yaml"), "tailscale: {").unwrap();
    assert_eq!(user.run(&["version"]).status, 0);
    assert_eq!(user.run(&["completion", "bash"]).status, 0);
    let outcome = user.run(&["login"]);
    assert_eq!(outcome.status, 6);
    insta::assert_snapshot!(outcome.stderr, @"
    ✗ the configuration file ./config.yaml is not YAML: unclosed bracket '{' at line 1, column 12
      do  correct the file, or name another one with --config
    ");
}

#[test]
fn another_programs_file_in_the_folder_is_neither_read_nor_written() {
    let user = User::new();
    let file = user.home().join("config.yaml");
    for text in [
        "title: My page\noutput: dist\ndebug: verbose\n",
        "kubeconfig: /etc/rancher/k3s/k3s.yaml\n",
        "- a\n",
        "{{ not YAML",
    ] {
        std::fs::write(&file, text).unwrap();
        let outcome = user.run(&["config", "output.theme", "ascii", "--force"]);
        assert_eq!(outcome.status, 0, "{text}: {outcome:?}");
        assert_eq!(std::fs::read_to_string(&file).unwrap(), text);
        assert_eq!(user.run(&["config", "output.theme"]).stdout, "ascii\n");
    }
}

#[test]
fn a_wrong_server_is_a_usage_error_where_it_is_typed_and_a_wrong_configuration_in_a_file() {
    for server in ["a b", "ftp://x", "http://u:p@h", ""] {
        let user = User::new();
        let usage = ["rules", "--server", server];
        let credential = ["credential", "--session", "x", "--server", server];
        for arguments in [
            &usage[..],
            &credential,
            &["status", "-s", server],
            &["exec", "-s", server, "--", "true"],
        ] {
            let outcome = user.run(arguments);
            assert_eq!(outcome.status, 2, "{arguments:?} {outcome:?}");
            assert!(
                outcome.stderr.contains("--server") && !outcome.stderr.contains("u:p"),
                "{outcome:?}"
            );
        }
        if server.is_empty() {
            // In a file that is none.
            continue;
        }
        let text = json!({"tailscale": {"hostname": server}}).to_string();
        std::fs::write(user.home().join("config.yaml"), text).unwrap();
        assert_eq!(user.run(&["rules"]).status, 6, "{server}");
        assert_eq!(user.run(&["rules", "-s", server]).status, 2, "{server}");
    }
}

#[test]
fn a_named_file_must_be_there() {
    let outcome = User::new().run(&["login", "-c", "missing.yaml"]);
    assert_eq!(outcome.status, 6);
    insta::assert_snapshot!(outcome.stderr, @"
    ✗ cannot read the configuration file missing.yaml
      why  No such file or directory (os error 2)
      do   check that the file is there and that you may read it
    ");
}

#[test]
fn the_theme_of_the_file_is_the_errors_too() {
    let user = User::new();
    std::fs::write(
        user.home().join("config.yaml"),
        "output: {theme: ascii}\ntailscale: {port: 1, hostname: 127.0.0.1}",
    )
    .unwrap();
    let outcome = user.run(&["get", "login"]);
    assert!(
        outcome
            .stderr
            .starts_with("error: cannot reach the server at http://127.0.0.1:1\n"),
        "{outcome:?}"
    );
}

/// Without the home folder's name.
fn said(user: &User, arguments: &[&str]) -> String {
    let outcome = user.run(arguments);
    let text = format!(
        "status {}\n--- stdout\n{}--- stderr\n{}",
        outcome.status, outcome.stdout, outcome.stderr
    );
    text.replace(&user.home().display().to_string(), "HOME")
}

#[test]
fn settings_in_every_form() {
    let user = User::new();
    std::fs::write(
        user.home().join("config.yaml"),
        "tailscale: {hostname: prod, tailnet: example.ts.net}",
    )
    .unwrap();
    insta::assert_snapshot!("config_human", said(&user, &["config"]));
    insta::assert_snapshot!("config_json", said(&user, &["config", "-o", "json"]));
    insta::assert_snapshot!("config_yaml", said(&user, &["get", "config", "-o", "yaml"]));
    insta::assert_snapshot!("config_name", said(&user, &["get", "config", "-q"]));
    insta::assert_snapshot!(said(&user, &["config", "tailscale.hostname"]), @"
    status 0
    --- stdout
    prod
    --- stderr
    ");
    insta::assert_snapshot!(said(&user, &["config", "tailscale.hostname", "-o", "json"]), @r#"
    status 0
    --- stdout
    {
      "key": "tailscale.hostname",
      "value": "prod",
      "from": "./config.yaml"
    }
    --- stderr
    "#);
    insta::assert_snapshot!(said(&user, &["get", "config", "tailscale.port", "-o", "yaml"]), @"
    status 0
    --- stdout
    key: tailscale.port
    value: 443
    from: default
    --- stderr
    ");
    insta::assert_snapshot!(said(&user, &["get", "config", "tailscale.port", "-o", "name"]), @"
    status 0
    --- stdout
    tailscale.port
    --- stderr
    ");
    assert_eq!(user.run(&["get", "config", "--filename", "-o", "json"]).status, 2);
    insta::assert_snapshot!(said(&user, &["config", "tailscale.socket"]), @"
    status 0
    --- stdout

    --- stderr
    ");
    insta::assert_snapshot!(said(&user, &["get", "config", "tailscale.port", "--filename"]), @"
    status 0
    --- stdout
    443
    ./config.yaml
    --- stderr
    ");
    insta::assert_snapshot!(said(&user, &["get", "config", "--filename", "-q"]), @"
    status 0
    --- stdout
    ./config.yaml
    --- stderr
    ");
    insta::assert_snapshot!(said(&user, &["config", "colour"]), @"
    status 2
    --- stdout
    --- stderr
    error: invalid value 'colour' for '[KEY]'
      [possible values: tailscale.hostname, tailscale.port, tailscale.tailnet, tailscale.socket, tailscale.tag, kubeconfig.merge, credential.login, output.theme, output.long, output.quiet, debug]

    For more information, try '--help'.
    ");
}

#[test]
fn a_setting_is_changed_where_it_is_read_from() {
    let user = User::new();
    insta::assert_snapshot!(said(&user, &["config", "output.theme", "ascii"]), @"
    status 6
    --- stdout
    --- stderr
    ✗ there is no configuration file to write to
      do  let --force create ~/.config/tka/config.yaml, or name a file with --config
    ");
    assert!(user.files().is_empty());
    insta::assert_snapshot!(said(&user, &["config", "output.theme", "ascii", "--force"]), @"
    status 0
    --- stdout
    --- stderr
    ok: output.theme is ascii in HOME/.config/tka/config.yaml
    ");
    insta::assert_snapshot!(said(&user, &["set", "config", "tailscale.port", "many"]), @r#"
    status 2
    --- stdout
    --- stderr
    error: `tailscale.port`: expected a port from 1 to 65535, found "many"
      do  nothing was changed; give another value
    "#);
    insta::assert_snapshot!(said(&user, &["set", "config", "tailscale.port", "8080"]), @"
    status 0
    --- stdout
    --- stderr
    ok: tailscale.port is 8080 in HOME/.config/tka/config.yaml
    ");
    let file = user.home().join(".config/tka/config.yaml");
    assert_eq!(
        std::fs::read_to_string(file).unwrap(),
        "output:\n  theme: ascii\ntailscale:\n  port: 8080\n"
    );
    assert_eq!(user.run(&["config", "tailscale.port"]).stdout, "8080\n");
    assert_eq!(user.files(), [".config", ".config/tka", ".config/tka/config.yaml"]);
}

#[test]
fn what_wins_over_the_file_is_said() {
    let user = User::new();
    let output = user
        .command(&["config", "debug", "true", "-f"])
        .env("TKA_DEBUG", "false")
        .output()
        .unwrap();
    let outcome = crate::tka::Outcome::from(output);
    assert!(
        outcome
            .stderr
            .contains("TKA_DEBUG wins over the file: there it is false"),
        "{outcome:?}"
    );
}
