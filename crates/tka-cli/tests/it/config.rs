//! Settings from files, environment and flags; wrong ones.

use serde_json::json;

use crate::fake_server::{Answer, FakeServer};
use crate::tka::{Outcome, User, login, signing_in};

#[test]
fn a_servers_file_serves_the_cli_too() {
    let fake = FakeServer::new(&[("GET /login", Answer::json(200, &login()))]);
    let user = User::new();
    let text = format!(
        "tailscale: {{hostname: 127.0.0.1, port: {}, stateDir: /x}}\noperator: {{namespace: tka-dev}}\nhealth: {{port: 8080}}\n",
        fake.address.port()
    );
    user.has_settings(&text);
    let outcome = user.run(&["get", "login", "--debug"]);
    assert_eq!(outcome.status, 0, "{outcome:?}");
    let path = user.home().join(".config/tka/config.yaml");
    let told = format!("debug: settings from {}\n", path.display());
    assert!(outcome.stderr.starts_with(&told), "{outcome:?}");
}

/// cases.md 5: a hostile checkout chooses no server, merges nothing, silences nothing, and runs nothing.
#[test]
fn hostile_checkout_leads_to_no_other_server() {
    for (key, value) in [
        ("hostname", "127.0.0.1"),
        ("tailnet", "evil.example"),
        ("port", "EVIL"),
        ("socket", "/evil"),
    ] {
        let (good, evil) = (FakeServer::new(&signing_in()[..2]), FakeServer::new(&[]));
        let user = User::new();
        user.has_settings(&format!(
            "tailscale: {{hostname: localhost, port: {}}}\n",
            good.address.port()
        ));
        let value = value.replace("EVIL", &evil.address.port().to_string());
        let proxy = format!("http://{}", evil.address);
        let checkout = format!(
            "tailscale: {{{key}: {value}, proxy: \"{proxy}\"}}\nkubeconfig: {{merge: true}}\ncredential: {{login: true}}\n\
             output: {{quiet: true, theme: ascii}}\ndebug: true\n"
        );
        std::fs::write(user.home().join("config.yaml"), checkout).unwrap();
        let outcome = user.run(&["login"]);
        assert_eq!(outcome.status, 0, "{outcome:?}");
        let said = format!("-> ./config.yaml does not set tailscale.{key}");
        let line = outcome.stderr.lines().next().unwrap_or_default();
        assert!(
            line.starts_with(&said) && line.contains("output.quiet, debug, because"),
            "{line}"
        );
        assert!(
            outcome.stderr.contains("signed in as alice@example.com"),
            "not silent: {outcome:?}"
        );
        assert!(!user.home().join(".kube/config").exists(), "nothing is merged");
        good.requests();
        assert!(evil.requests().is_empty());
    }
}

#[test]
fn ignored_keys_are_reported_despite_quiet() {
    let fake = FakeServer::new(&signing_in()[..2]);
    let user = User::new();
    let port = fake.address.port();
    let text = format!("tailscale: {{hostname: localhost, port: {port}}}\n");
    std::fs::write(user.home().join("config.yaml"), &text).unwrap();
    let said = "./config.yaml does not set tailscale.hostname, tailscale.port, because";
    let outcome = user.run(&["login", "--quiet"]);
    assert!(outcome.status != 0 && outcome.stderr.contains(said), "{outcome:?}");
    // It changes nothing where it is named, or where something wins over it.
    let path = user.home().join("config.yaml");
    let outcome = Outcome::from(
        user.command(&["login", "-q"])
            .env("TKA_CONFIG", &path)
            .output()
            .unwrap(),
    );
    assert_eq!((outcome.status, outcome.stderr.as_str()), (0, ""), "{outcome:?}");
    fake.requests();
    for arguments in [&["config", "-c", "config.yaml"][..], &["config", "-s", "x", "-p", "1"]] {
        assert_eq!(user.run(arguments).stderr, "", "{arguments:?}");
    }
    let outcome = Outcome::from(
        user.command(&["config"])
            .env("TKA_CONFIG", "config.yaml")
            .output()
            .unwrap(),
    );
    assert_eq!(outcome.status, 6);
    insta::assert_snapshot!(outcome.stderr, @"
    ✗ the environment variable TKA_CONFIG holds a relative path: config.yaml
      do  give the absolute path, which names the same file in every folder
    ");
}

/// Puts something into the working directory.
type Lay<'a> = &'a dyn Fn(&User);

/// cases.md 5: whatever lies there under our name does not matter to any command.
#[test]
fn what_is_no_configuration_stops_nothing() {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let path = |user: &User| user.home().join("config.yaml");
    let latin_1: &[u8] = b"tailscale: {hostname: k\xfcche}\n";
    let write =
        |bytes: &'static [u8]| move |user: &User| std::fs::write(user.home().join("config.yaml"), bytes).unwrap();
    let cases: [(&str, Lay<'_>); 8] = [
        ("Latin-1", &write(latin_1)),
        ("UTF-16", &write(b"\xff\xfet\0a\0i\0l\0s\0c\0a\0l\0e\0:\0")),
        ("binary", &write(b"\x7fELF\x02\x01\xff")),
        ("folder", &|user| std::fs::create_dir(path(user)).unwrap()),
        ("loop", &|user| symlink("config.yaml", path(user)).unwrap()),
        ("unreadable", &|user| {
            std::fs::write(path(user), "tailscale: {hostname: x}").unwrap();
            std::fs::set_permissions(path(user), std::fs::Permissions::from_mode(0o000)).unwrap();
        }),
        ("huge", &|user| {
            std::fs::write(path(user), "# ".repeat(2 << 20)).unwrap();
        }),
        ("pipe", &|user| {
            let made = std::process::Command::new("mkfifo").arg(path(user)).status();
            assert!(made.unwrap().success());
        }),
    ];
    for (name, make) in cases {
        let fake = FakeServer::new(&[("GET /login", Answer::json(200, &login()))]);
        let user = User::new();
        make(&user);
        let outcome = user.run_with(&fake, &["get", "login"]);
        assert_eq!(
            (outcome.status, outcome.stderr.as_str()),
            (0, ""),
            "{name}: {outcome:?}"
        );
        assert_eq!(user.run(&["config", "output.theme"]).stdout, "tokyo-night\n", "{name}");
    }
}

/// cases.md 5, twins: what else of the working directory could be run or believed.
#[test]
fn nothing_of_the_working_directory_is_run_or_trusted() {
    use std::os::unix::fs::PermissionsExt;
    let user = User::new();
    for name in ["tailscale", "kubectl"] {
        let path = user.home().join(name);
        std::fs::write(&path, "#!/bin/sh\ntouch \"$HOME/was-run\"\n").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    for path in [".", "", ":/usr/bin", ".:/usr/bin"] {
        let mut command = user.command(&["doctor", "--timeout", "1", "-s", "127.0.0.1:1"]);
        command.env("PATH", path).output().unwrap();
        assert!(!user.home().join("was-run").exists(), "PATH={path}");
    }
    std::fs::write(user.home().join("ca.pem"), "").unwrap();
    let mut command = user.command(&["get", "login"]);
    let outcome = Outcome::from(command.env("SSL_CERT_FILE", "ca.pem").output().unwrap());
    assert!(
        outcome.status == 6 && outcome.stderr.contains("relative"),
        "{outcome:?}"
    );
    // A home that is relative is another one in every folder.
    std::fs::create_dir_all(user.home().join(".config/tka")).unwrap();
    user.has_settings("tailscale: {hostname: evil}");
    let mut command = user.command(&["config", "tailscale.hostname"]);
    let outcome = Outcome::from(command.env("HOME", ".").output().unwrap());
    assert_eq!(outcome.stdout, "tka\n", "{outcome:?}");
}

/// cases.md 9: settings are not a kubeconfig.
#[test]
fn file_of_two_documents_is_refused_in_words_of_settings() {
    let user = User::new();
    let text = "output: {theme: dark}\n---\noutput: {theme: ascii}\n";
    user.has_settings(text);
    let read = said(&user, &["config"]);
    insta::assert_snapshot!(read, @"
    status 6
    --- stdout
    --- stderr
    ✗ the configuration file HOME/.config/tka/config.yaml has several YAML documents, but settings must be in one
      do  keep only one document in the file, or name another file with --config
    ");
    assert_eq!(said(&user, &["config", "output.theme", "light"]), read);
    assert_eq!(
        std::fs::read_to_string(user.home().join(".config/tka/config.yaml")).unwrap(),
        text
    );
}

/// Passing over it would lead to another server.
#[test]
fn own_file_that_cannot_be_read_is_not_passed_over() {
    use std::os::unix::fs::symlink;
    let link = |target: &str, at: &str| {
        let target = target.to_owned();
        let at = at.to_owned();
        move |user: &User| {
            let at = user.home().join(&at);
            std::fs::create_dir_all(at.parent().unwrap()).unwrap();
            symlink(&target, at).unwrap();
        }
    };
    let own = |user: &User| {
        std::fs::create_dir_all(user.home().join(".config/tka")).unwrap();
        user.home().join(".config/tka/config.yaml")
    };
    let cases: [(&str, Lay<'_>); 7] = [
        ("which does not exist", &link("nowhere", ".config/tka/config.yaml")),
        ("which does not exist", &link("nowhere", ".config/tka")),
        ("which does not exist", &link("nowhere", ".config")),
        ("cannot read", &link("config.yaml", ".config/tka/config.yaml")),
        ("not a regular file", &|user| {
            let made = std::process::Command::new("mkfifo").arg(own(user)).status();
            assert!(made.unwrap().success());
        }),
        ("not a regular file", &|user| std::fs::create_dir(own(user)).unwrap()),
        ("cannot read", &|user| {
            std::fs::write(user.home().join(".config"), "").unwrap();
        }),
    ];
    for (why, lay) in cases {
        let user = User::new();
        lay(&user);
        for arguments in [
            &["config", "server"][..],
            &["config", "--filename"],
            &["login"],
            &["get", "login"],
        ] {
            let outcome = user.run(arguments);
            assert_eq!(outcome.status, 6, "{arguments:?}: {outcome:?}");
            assert!(outcome.stderr.contains(why), "{arguments:?}: {outcome:?}");
        }
        let outcome = user.run(&["-c", "/dev/null", "config", "server"]);
        assert_eq!(outcome.stdout, "https://tka\n", "another one is named");
    }
}

/// As after `sudo tka config`.
#[test]
fn own_file_of_another_user_is_not_passed_over() {
    use std::os::unix::fs::{PermissionsExt, chown};
    for closed in [".config/tka/config.yaml", ".config"] {
        let user = User::new();
        user.has_settings("tailscale: {hostname: right-one}");
        let mut command = user.unprivileged(&["config", "server"]);
        let mode = |mode| {
            std::fs::set_permissions(user.home().join(closed), std::fs::Permissions::from_mode(mode)).unwrap();
        };
        mode(0o000);
        if rustix::process::geteuid().is_root() {
            chown(user.home().join(closed), Some(0), Some(0)).unwrap();
        }
        let outcome = Outcome::from(command.output().unwrap());
        mode(0o700);
        assert_eq!(outcome.status, 6, "{closed}: {outcome:?}");
        let said = "/.config/tka/config.yaml\n  why  Permission denied";
        assert!(outcome.stderr.contains(said), "{closed}: {outcome:?}");
    }
}

#[test]
fn home_that_is_none_has_no_settings() {
    let user = User::new();
    for home in ["/dev/null", "/nonexistent", "/"] {
        let mut command = user.command(&["config", "server"]);
        let outcome = Outcome::from(command.env("HOME", home).output().unwrap());
        assert_eq!(outcome.stdout, "https://tka\n", "{home}: {outcome:?}");
    }
}

#[test]
fn line_that_ends_a_document_is_no_second_one() {
    let user = User::new();
    let path = user.home().join(".config/tka/config.yaml");
    for end in ["---\n", "...\n", "---\n# no more\n"] {
        user.has_settings(&format!("output: {{theme: dark}}\n{end}"));
        assert_eq!(user.run(&["config", "output.theme"]).stdout, "dark\n", "{end}");
        assert_eq!(user.run(&["config", "output.theme", "light"]).status, 0, "{end}");
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text, format!("output: {{theme: light}}\n{end}"));
    }
}

#[test]
fn settings_in_json_stay_json() {
    let user = User::new();
    user.has_settings("{\n  \"tailscale\": {\"hostname\": \"west\"}\n}\n");
    for (key, value) in [
        ("output.theme", "dark"),
        ("server", "east:8080"),
        ("debug", "true"),
        ("tailscale.tailnet", "1e3"),
    ] {
        assert_eq!(user.run(&["config", key, value]).status, 0, "{key}");
    }
    let text = std::fs::read_to_string(user.home().join(".config/tka/config.yaml")).unwrap();
    let found: serde_json::Value = serde_json::from_str(&text).unwrap();
    let expected = json!({
        "debug": true, "output": {"theme": "dark"}, "tailscale": {"hostname": "east", "port": 8080, "tailnet": "1e3"}
    });
    assert_eq!(found, expected);
    assert_eq!(user.run(&["config", "tailscale.tailnet"]).stdout, "1e3\n");
}

/// The same whether the file is read or written.
#[test]
fn what_is_no_settings_is_said_in_words_of_settings() {
    let user = User::new();
    for (text, why) in [
        ("debug: true\ndebug: false\n", "line 2: the key `debug` is there twice"),
        ("- a\n", "line 1: expected keys with values, found a list"),
        (
            "tailscale: {port: 0443}",
            "line 1: expected a port from 1 to 65535, found 0443",
        ),
    ] {
        user.has_settings(text);
        let outcome = user.run(&["config"]);
        assert_eq!(outcome.status, 6, "{outcome:?}");
        assert!(outcome.stderr.contains(why), "{outcome:?}");
    }
    user.has_settings("debug: true\n  x: y\n");
    let outcome = user.run(&["config", "debug", "false"]);
    assert_eq!(
        (outcome.status, outcome.stderr.matches("not YAML").count()),
        (6, 1),
        "{outcome:?}"
    );
}

#[test]
fn bytes_that_are_no_text_are_named_by_their_line() {
    let user = User::new();
    user.has_settings("");
    let path = user.home().join(".config/tka/config.yaml");
    std::fs::write(&path, b"output: {theme: dark}\ntailscale: {hostname: k\xfcche}\n").unwrap();
    let read = said(&user, &["config"]);
    insta::assert_snapshot!(read, @"
    status 6
    --- stdout
    --- stderr
    ✗ the configuration file HOME/.config/tka/config.yaml is not UTF-8
      why  line 2: it has bytes that are not UTF-8
      do   save it as UTF-8, or name another file with --config
    ");
    assert_eq!(said(&user, &["config", "output.theme", "light"]), read);
}

#[test]
fn a_wrong_type_names_file_key_and_expectation() {
    let user = User::new();
    user.has_settings("tailscale: {port: many}");
    let outcome = user.run(&["get", "login"]);
    assert_eq!(outcome.status, 6);
    insta::assert_snapshot!(outcome.stderr.replace(&user.home().display().to_string(), "HOME"), @r#"
    ✗ `tailscale.port` in HOME/.config/tka/config.yaml, line 1: expected a port from 1 to 65535, found "many"
      do  correct the file, or name another one with --config
    "#);
}

#[test]
fn a_wrong_file_stops_nothing_that_needs_none() {
    let user = User::new();
    user.has_settings("tailscale: {");
    assert_eq!(user.run(&["version"]).status, 0);
    assert_eq!(user.run(&["completion", "bash"]).status, 0);
    let outcome = user.run(&["login"]);
    assert_eq!(outcome.status, 6);
    insta::assert_snapshot!(outcome.stderr.replace(&user.home().display().to_string(), "HOME"), @"
    ✗ the configuration file HOME/.config/tka/config.yaml is not YAML: unclosed bracket '{' at line 1, column 12
      do  correct the file, or name another one with --config
    ");
}

#[test]
fn file_of_another_program_is_neither_read_nor_written() {
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
fn wrong_server_is_a_usage_or_configuration_error() {
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
        user.has_settings(&text);
        let outcome = user.run(&["rules"]);
        assert_eq!(outcome.status, 6, "{server}");
        assert!(outcome.stderr.contains("config.yaml, line 1: expected"), "{outcome:?}");
        assert!(!outcome.stderr.contains("u:p"), "{outcome:?}");
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
      do   check its name; `tka config KEY VALUE --force` creates it
    ");
}

#[test]
fn the_theme_of_the_file_is_the_errors_too() {
    let user = User::new();
    std::fs::write(user.home().join("config.yaml"), "output: {theme: ascii}").unwrap();
    let outcome = user.run(&["get", "login", "-s", "127.0.0.1:1"]);
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
    user.has_settings("tailscale: {hostname: prod, tailnet: example.ts.net}");
    std::fs::write(user.home().join("config.yaml"), "output: {long: true}").unwrap();
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
      "from": "HOME/.config/tka/config.yaml"
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
    HOME/.config/tka/config.yaml
    --- stderr
    ");
    insta::assert_snapshot!(said(&user, &["get", "config", "--filename", "-q"]), @"
    status 0
    --- stdout
    HOME/.config/tka/config.yaml
    --- stderr
    ");
    insta::assert_snapshot!(said(&user, &["config", "colour"]), @"
    status 2
    --- stdout
    --- stderr
    error: invalid value 'colour' for '[KEY]'
      [possible values: server, tailscale.hostname, tailscale.port, tailscale.tailnet, tailscale.socket, tailscale.proxy, tailscale.tag, kubeconfig.merge, credential.login, recordings.identity, output.theme, output.long, output.quiet, debug]

    For more information, try '--help'.
    ");
}

#[test]
fn a_setting_is_changed_where_it_is_read_from() {
    let user = User::new();
    insta::assert_snapshot!(said(&user, &["config", "output.theme", "ascii"]), @"
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
    let outcome = Outcome::from(output);
    assert!(
        outcome.stderr.contains("TKA_DEBUG overrides the file: it sets false"),
        "{outcome:?}"
    );
}

#[test]
fn server_is_set_and_shown_as_one_thing() {
    let user = User::new();
    let text = || std::fs::read_to_string(user.home().join(".config/tka/config.yaml")).unwrap();
    assert_eq!(user.run(&["config", "server"]).stdout, "https://tka\n");
    for (typed, file, server) in [
        ("west", "tailscale:\n  hostname: west\n", "https://west"),
        (
            "east:8080",
            "tailscale:\n  port: 8080\n  hostname: east\n",
            "http://east:8080",
        ),
        (
            "west.example.ts.net",
            "tailscale:\n  port: 8080\n  hostname: west.example.ts.net\n",
            "http://west.example.ts.net:8080",
        ),
        (
            "https://east",
            "tailscale:\n  port: 443\n  hostname: east\n",
            "https://east",
        ),
    ] {
        let outcome = user.run(&["config", "server", typed]);
        assert_eq!(outcome.status, 0, "{outcome:?}");
        assert_eq!(text(), file, "{typed}");
        assert_eq!(user.run(&["get", "config", "server"]).stdout, format!("{server}\n"));
    }
    let before = text();
    for wrong in ["a b", "ftp://x", "http://u:p@h", ""] {
        let outcome = user.run(&["config", "server", wrong]);
        assert_eq!(outcome.status, 2, "{outcome:?}");
        assert!(!outcome.stderr.contains("u:p"), "{outcome:?}");
    }
    assert_eq!(text(), before);
}

/// A name that is misspelt must not make a file that nothing reads.
#[test]
fn file_that_is_named_is_made_only_with_force() {
    let user = User::new();
    let path = user.home().join("mine.yaml");
    let name = path.to_str().unwrap();
    assert_eq!(user.run(&["config", "debug", "true", "-c", name]).status, 6);
    assert!(user.files().is_empty());
    assert_eq!(user.run(&["config", "debug", "true", "-c", name, "--force"]).status, 0);
    assert_eq!(std::fs::read_to_string(path).unwrap(), "debug: true\n");
}
