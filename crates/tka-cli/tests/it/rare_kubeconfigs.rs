//! `--merge` into kubeconfigs that are written in rare ways. kubectl reads and writes all of them.

use std::fs;

use crate::fake_server::{Answer, FakeServer};
use crate::kubectl::kubectl;
use crate::tka::{Outcome, User, login, signed_in};

const THEIRS: &str = "\
apiVersion: v1
kind: Config
clusters:
- name: kind
  cluster:
    server: https://kind:6443
users:
- name: kind
  user:
    token: theirs
contexts:
- name: kind
  context:
    cluster: kind
    user: kind
current-context: kind
";

/// Signs in with `--merge` and out again. kubectl says what is in the file before, between and after.
fn merged_and_back(text: &str) -> Option<()> {
    let fake = FakeServer::new(&[
        ("POST /login", Answer::json(200, &signed_in())),
        ("POST /logout", Answer::json(200, &login())),
    ]);
    let user = User::new();
    let path = user.home().join("config");
    fs::write(&path, text).unwrap();
    let view = |arguments: &[&str]| -> Option<Outcome> {
        let outcome = kubectl(&user, &path, &[&["config"], arguments].concat())?;
        assert_eq!(outcome.status, 0, "{text:?}: {outcome:?}");
        Some(outcome)
    };
    let run = |arguments: &[&str]| {
        let mut command = user.command_with(&fake, arguments);
        let outcome = Outcome::from(command.env("KUBECONFIG", &path).output().unwrap());
        assert_eq!(outcome.status, 0, "{text:?}: {outcome:?}");
    };
    let all = ["view", "--raw", "-o", "json"];
    let before = view(&all)?.stdout;
    run(&["login", "--merge"]);
    assert_eq!(view(&["current-context"])?.stdout, "tka-context-alice\n", "{text:?}");
    let ours = view(&["view", "--minify", "-o", "jsonpath={.clusters[0].cluster.server}"])?;
    assert_eq!(ours.stdout, "https://k8s.example.com:6443", "{text:?}");
    run(&["logout"]);
    assert_eq!(view(&all)?.stdout, before, "{text:?}");
    Some(())
}

#[test]
fn lines_of_blanks_and_carriage_returns() {
    for text in [
        format!("{THEIRS}  \t\n"),
        format!("{THEIRS} \n  \t\n# end\n"),
        THEIRS.replace("current-context: kind\n", "") + "        \t\n",
        THEIRS.replace('\n', "\r"),
        THEIRS.trim_end().replace('\n', "\r"),
        THEIRS.replace('\n', "\r\n"),
    ] {
        if merged_and_back(&text).is_none() {
            return;
        }
    }
}

/// kubectl takes the last of two equal keys.
#[test]
fn keys_that_are_there_twice() {
    for (key, value) in [
        ("clusters:", "clusters:\n"),
        ("clusters:", "clusters: []\n"),
        ("clusters:", "clusters:\n- name: gone\n"),
        ("users:", "users: [{name: gone}]\n"),
        ("current-context:", "current-context: gone\n"),
    ] {
        let text = THEIRS.replace(key, &format!("{value}{key}"));
        if merged_and_back(&text).is_none() {
            return;
        }
    }
    for last in ["users:\n", "users: []\n", "contexts:\n", "clusters: null\n"] {
        let text = THEIRS.replace("current-context: kind\n", "") + last;
        if merged_and_back(&text).is_none() {
            return;
        }
    }
}

#[test]
fn nothing_and_names_in_base64() {
    for text in [
        "null\n",
        "~",
        "--- ~\n# mine\n",
        &THEIRS.replace("current-context: kind", "current-context: !!binary a2luZA=="),
        &THEIRS.replace("current-context: kind", "current-context: !!str kind"),
    ] {
        if merged_and_back(text).is_none() {
            return;
        }
    }
}

/// What cannot be changed is said with its line, and with what to do about that.
#[test]
fn advice_is_for_what_is_in_the_way() {
    for (text, line, advice) in [
        (
            "x: &a []\nusers: *a\n",
            2,
            "replace YAML anchors, aliases and merge keys",
        ),
        ("x: y\n!!binary dXNlcnM=: [{name: a}]\n", 2, "write it without the tag"),
        ("kind: Config\n? users\n: null\n", 3, "kubectl config view --raw"),
    ] {
        let (user, fake) = (User::new(), FakeServer::new(&[]));
        let path = user.home().join("config");
        fs::write(&path, text).unwrap();
        let mut command = user.command_with(&fake, &["login", "--merge"]);
        let outcome = Outcome::from(command.env("KUBECONFIG", &path).output().unwrap());
        assert_eq!(outcome.status, 1, "{text:?}: {outcome:?}");
        let why = format!("line {line}: it cannot be changed without changing what else it says");
        assert!(outcome.stderr.contains(&why), "{text:?}: {outcome:?}");
        assert!(outcome.stderr.contains(advice), "{text:?}: {outcome:?}");
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
    }
}
