//! Settings from files, environment and flags; wrong ones.

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
    std::fs::write(user.home().join("config.yaml"), "{").unwrap();
    assert_eq!(user.run(&["version"]).status, 0);
    assert_eq!(user.run(&["completion", "bash"]).status, 0);
    let outcome = user.run(&["login"]);
    assert_eq!(outcome.status, 6);
    insta::assert_snapshot!(outcome.stderr, @"
    ✗ the configuration file ./config.yaml is not YAML: unclosed bracket '{' at line 1, column 1
      do  correct the file, or name another one with --config
    ");
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
