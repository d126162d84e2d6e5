//! `--merge`: contexts in the user's own kubeconfig, and what becomes of all else in it.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::fake_server::{Answer, FakeServer};
use crate::inside::after;
use crate::tka::{CA, Outcome, SESSION, TOKEN, User, kubeconfig, login, mode, signed_in};

/// What people have, comments and all.
const THEIRS: &str = "\
# My clusters.
apiVersion: v1
kind: Config
clusters:
- cluster: {server: 'https://kind:6443'} # at home
  name: kind
contexts:
- context:
    cluster: kind
    user: kind
  name: kind
current-context: kind # this one
users:
- name: kind
  user:
    token: '0123'
preferences:
  colors: yes
";

fn signing_in(session: &str) -> FakeServer {
    let mut answer = signed_in();
    answer["session"]["name"] = json!(session);
    FakeServer::new(&[
        ("POST /login", Answer::json(200, &answer)),
        ("POST /logout", Answer::json(200, &login())),
    ])
}

fn config(user: &User) -> PathBuf {
    user.home().join(".kube/config")
}

fn has_config(user: &User, text: &str) {
    fs::create_dir_all(user.home().join(".kube")).unwrap();
    fs::write(config(user), text).unwrap();
}

fn text(user: &User) -> String {
    fs::read_to_string(config(user)).unwrap()
}

fn well(outcome: Outcome) -> Outcome {
    assert_eq!(outcome.status, 0, "{outcome:?}");
    outcome
}

/// The current context of the user's kubeconfig, and all others.
fn contexts(user: &User) -> (String, Vec<String>) {
    let config: Value = serde_saphyr::from_str(&text(user)).unwrap();
    let contexts = config["contexts"].as_array().unwrap().iter();
    let name = |value: &Value| value.as_str().unwrap().to_owned();
    (
        name(&config["current-context"]),
        contexts.map(|context| name(&context["name"])).collect(),
    )
}

#[test]
fn context_is_put_into_the_kubeconfig_and_taken_out_again() {
    let (user, fake) = (User::new(), signing_in(SESSION));
    has_config(&user, THEIRS);
    let outcome = well(user.run_with(&fake, &["login", "--merge"]));
    assert_eq!(outcome.stdout, "", "kubectl reads it without more");
    let said = format!(
        "tka-context-alice is the current context of {}",
        config(&user).display()
    );
    assert!(outcome.stderr.contains(&said), "{outcome:?}");
    let shown = text(&user).replace(&fake.address.port().to_string(), "PORT");
    insta::assert_snapshot!(shown.replace(env!("CARGO_BIN_EXE_tka"), "/bin/tka").replace(CA, "UEVN"));
    let backup = user.home().join(".kube/config.tka-backup");
    assert_eq!(fs::read_to_string(&backup).unwrap(), THEIRS);

    well(user.run_with(&fake, &["logout"]));
    assert_eq!(text(&user), THEIRS);
    assert_eq!(
        user.files(),
        [".kube", ".kube/config", ".kube/config.tka-backup", ".kube/tka"]
    );
}

#[test]
fn where_there_is_no_kubeconfig_there_is_none_afterwards() {
    let (user, fake) = (User::new(), signing_in(SESSION));
    well(user.run_with(&fake, &["login", "--merge"]));
    assert_eq!(mode(&config(&user)), 0o600);
    assert_eq!(contexts(&user).0, "tka-context-alice");
    well(user.run_with(&fake, &["logout"]));
    assert_eq!(user.files(), [".kube", ".kube/tka"]);
}

#[test]
fn a_setting_merges_always() {
    let (user, fake) = (User::new(), signing_in(SESSION));
    has_config(&user, THEIRS);
    let mut command = user.command_with(&fake, &["login", "-q"]);
    let outcome = well(command.env("TKA_KUBECONFIG_MERGE", "true").output().unwrap().into());
    assert_eq!((outcome.stdout.as_str(), outcome.stderr.as_str()), ("", ""));
    assert_eq!(contexts(&user).0, "tka-context-alice");
}

#[test]
fn export_leads_kubectl_to_the_merged_file() {
    let other = |user: &User| user.home().join("other");
    let own = |user: &User, fake: &FakeServer| user.kubeconfig(fake);
    let run = |list: &dyn Fn(&User, &FakeServer) -> Vec<PathBuf>, arguments: &[&str]| {
        let (user, fake) = (User::new(), signing_in(SESSION));
        has_config(&user, THEIRS);
        fs::write(other(&user), "").unwrap();
        let list = std::env::join_paths(list(&user, &fake)).unwrap();
        let mut command = user.command_with(&fake, arguments);
        let outcome = well(command.env("KUBECONFIG", list).output().unwrap().into());
        outcome.stdout.replace(&user.home().display().to_string(), "~")
    };
    let merge = ["login", "--merge"];
    assert_eq!(run(&|user, _| vec![other(user), config(user)], &merge), "");
    assert_eq!(
        run(&|user, fake| vec![own(user, fake)], &merge),
        "export KUBECONFIG='~/.kube/config'\n".replace('\'', "")
    );
    assert_eq!(
        run(&|user, fake| vec![own(user, fake), other(user), config(user)], &merge),
        "export KUBECONFIG=~/other:~/.kube/config\n"
    );
    let bare = ["login", "--merge", "--no-eval"];
    assert_eq!(run(&|user, _| vec![other(user), config(user)], &bare), "~/other\n");
}

/// cases.md 1 and 9: each with what is said of it.
#[test]
fn what_cannot_be_merged_into_is_found_before_signing_in() {
    let utf16: Vec<u8> = format!("\u{feff}{THEIRS}")
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect();
    for (bytes, said) in [
        (&b"a: b\n---\nc: d\n"[..], "line 3: another YAML document begins"),
        (b"users: {a: b}\n", "line 1: `users` must be a list"),
        (b"{", "line 2: it is not YAML"),
        (b"x: &a []\nusers: *a\n", "without changing what else it says"),
        (b"\0", "line 1: it is not YAML: U+0000"),
        (
            b"contexts:\n- name: 123\n",
            "line 2: `name` must be a text and is a number to kubectl; write it in quotes",
        ),
        (b"kind: Config\n\t\nusers: []\n", "line 2: it is not YAML"),
        (
            b"{\"current-context\": \"a\\/b\"}",
            "line 1: it is not YAML: found unknown escape",
        ),
        (
            b"clusters:\n- name: a\n  cluster:\n    certificate-authority-data: aG k=\n",
            "line 4: `certificate-authority-data`",
        ),
        (
            b"users:\n- name: a\n  user:\n    exec:\n      args: [8000]\n",
            "line 5: `args` must be a text",
        ),
        (&utf16, "as UTF-8"),
        (b"a: \xe4\n", "as UTF-8"),
    ] {
        let (user, fake) = (User::new(), FakeServer::new(&[]));
        has_config(&user, "");
        fs::write(config(&user), bytes).unwrap();
        let outcome = user.run_with(&fake, &["login", "--merge"]);
        assert_eq!(outcome.status, 1, "{outcome:?}");
        assert!(outcome.stderr.contains(said), "{said}: {outcome:?}");
        assert!(outcome.stderr.contains("leave --merge out"), "{outcome:?}");
        assert!(!outcome.stderr.contains("may read"), "{outcome:?}");
        assert_eq!(fs::read(config(&user)).unwrap(), bytes);
        assert_eq!(user.files(), [".kube", ".kube/config"]);
        assert!(fake.requests().is_empty());
    }
}

/// cases.md 1 and 2: what was tied to our entry since the last sign-in is found before the next.
#[test]
fn own_entry_that_others_hang_on_is_found_before_signing_in() {
    let user = User::new();
    let fake = FakeServer::new(&[("POST /login", Answer::json(200, &signed_in()))]);
    well(user.run_with(&fake, &["login", "--merge"]));
    let tied = text(&user).replace("  context:\n", "  context: &mine\n") + "aside: *mine\n";
    fs::write(config(&user), &tied).unwrap();
    let outcome = user.run_with(&fake, &["login", "--merge"]);
    assert_eq!(outcome.status, 1, "{outcome:?}");
    assert!(outcome.stderr.contains("anchors"), "{outcome:?}");
    assert_eq!(text(&user), tied);
    assert_eq!(fake.requests().len(), 1, "no second sign-in");
}

#[test]
fn file_with_a_note_in_it_stays_after_the_session() {
    let (user, fake) = (User::new(), signing_in(SESSION));
    well(user.run_with(&fake, &["login", "--merge"]));
    fs::write(config(&user), format!("{}# ask bob before you use prod\n", text(&user))).unwrap();
    well(user.run_with(&fake, &["logout"]));
    assert!(
        text(&user).ends_with("# ask bob before you use prod\n"),
        "{}",
        text(&user)
    );
}

/// cases.md 1
#[test]
fn what_kubectl_reads_does_not_hide_the_session() {
    for theirs in [
        "contexts: [{context: {cluster: lab, user: k}}]\n",
        "contexts:\n- name: null\n  context: {cluster: lab}\n",
        "users:\n- name: k\n  user: {token: a, token: b}\n",
        "users:\n- name: k\n  user: {token: !!timestamp 2001-01-02}\n",
        "kind: Config\n---\n",
    ] {
        let (user, fake) = (User::new(), signing_in(SESSION));
        has_config(&user, theirs);
        well(user.run_with(&fake, &["login", "--merge"]));
        let prompt = well(user.run_with(&fake, &["status", "--prompt"]));
        assert!(prompt.stdout.starts_with("view@"), "{theirs}: {prompt:?}");
        // A file before it that defines the context otherwise.
        let earlier = user.home().join("earlier");
        fs::write(
            &earlier,
            "contexts: [{name: tka-context-alice, context: {cluster: c, user: u}}]",
        )
        .unwrap();
        let mut prompt = user.command_with(&fake, &["status", "--prompt"]);
        let list = std::env::join_paths([&earlier, &config(&user)]).unwrap();
        let prompt = well(prompt.env("KUBECONFIG", list).output().unwrap().into());
        assert_eq!(prompt.stdout, "", "{theirs}");
    }
}

/// kubectl reads all files of `KUBECONFIG` or none.
#[test]
fn broken_file_beside_it_is_found_before_signing_in() {
    let (user, fake) = (User::new(), FakeServer::new(&[]));
    has_config(&user, THEIRS);
    let other = user.home().join("other");
    fs::write(&other, "contexts:\n- name: 1\n").unwrap();
    let mut command = user.command_with(&fake, &["login", "--merge"]);
    let list = std::env::join_paths([&config(&user), &other]).unwrap();
    let outcome: Outcome = command.env("KUBECONFIG", list).output().unwrap().into();
    assert_eq!(outcome.status, 1, "{outcome:?}");
    assert!(
        outcome.stderr.contains("other") && outcome.stderr.contains("line 2"),
        "{outcome:?}"
    );
    assert!(fake.requests().is_empty());
}

#[test]
fn names_of_user_entries_are_not_taken() {
    let (user, fake) = (User::new(), signing_in(SESSION));
    let theirs = THEIRS.replace("kind", "tka-cluster");
    has_config(&user, &theirs);
    well(user.run_with(&fake, &["login", "--merge"]));
    let (current, all) = contexts(&user);
    assert_eq!(current, "tka-context-alice@127.0.0.1");
    assert_eq!(all, ["tka-cluster", "tka-context-alice@127.0.0.1"]);
    well(user.run_with(&fake, &["logout"]));
    assert_eq!(text(&user), theirs);
}

#[test]
fn what_the_user_made_of_our_names_is_theirs() {
    let user = User::new();
    let fake = FakeServer::new(&vec![("POST /login", Answer::json(200, &signed_in())); 2]);
    well(user.run_with(&fake, &["login", "--merge"]));
    let theirs = THEIRS
        .replace("kind", "tka-cluster")
        .replace("name: tka-cluster\ncurrent", "name: tka-context-alice\ncurrent");
    fs::write(config(&user), &theirs).unwrap();
    well(user.run_with(&fake, &["login", "--merge"]));
    let (_, all) = contexts(&user);
    assert_eq!(all, ["tka-context-alice", "tka-context-alice@127.0.0.1"]);
}

#[test]
fn several_servers_keep_and_remove_their_own_entries() {
    let user = User::new();
    has_config(&user, THEIRS);
    let (one, two) = (signing_in("tka-alice-one"), signing_in("tka-alice-two"));
    well(user.run_with(&one, &["login", "--merge"]));
    well(user.run_with(&two, &["login", "--merge"]));
    let second = "tka-context-alice@127.0.0.1";
    let all = ["kind", "tka-context-alice", second].map(ToOwned::to_owned).to_vec();
    assert_eq!(contexts(&user), (second.to_owned(), all));
    well(user.run_with(&one, &["logout"]));
    let rest = ["kind", second].map(ToOwned::to_owned).to_vec();
    assert_eq!(contexts(&user), (second.to_owned(), rest));
    well(user.run_with(&two, &["logout"]));
    assert_eq!(text(&user), THEIRS);
}

#[test]
fn what_the_user_did_meanwhile_stays() {
    let (user, fake) = (User::new(), signing_in(SESSION));
    has_config(&user, THEIRS);
    well(user.run_with(&fake, &["login", "--merge"]));
    // They go back to their own, and use our cluster otherwise.
    let context = "- context: {cluster: tka-cluster, user: kind}\n  name: own\ncurrent-context: own\n";
    let changed = text(&user).replace("current-context: \"tka-context-alice\" # this one\n", context);
    fs::write(config(&user), changed).unwrap();
    well(user.run_with(&fake, &["logout"]));
    assert_eq!(contexts(&user), ("own".into(), vec!["kind".into(), "own".into()]));
    let left = text(&user);
    assert!(
        left.contains("tka-cluster") && !left.contains("tka-user-alice"),
        "{left}"
    );
}

#[test]
fn entry_without_a_record_is_found_by_its_arguments() {
    let (user, fake) = (User::new(), signing_in(SESSION));
    has_config(&user, THEIRS);
    well(user.run_with(&fake, &["login", "--merge"]));
    fs::remove_file(user.kubeconfig(&fake).with_extension("json")).unwrap();
    well(user.run_with(&fake, &["logout"]));
    assert_eq!(contexts(&user), (String::new(), vec!["kind".into()]));
}

#[test]
fn a_token_is_merged_and_taken_out_again() {
    let (user, fake) = (User::new(), signing_in(SESSION));
    has_config(&user, THEIRS);
    well(user.run_with(&fake, &["login", "--merge", "--token"]));
    assert!(text(&user).contains(TOKEN));
    let known = fs::read_to_string(user.kubeconfig(&fake).with_extension("json")).unwrap();
    assert!(!known.contains(TOKEN), "{known}");
    well(user.run_with(&fake, &["logout"]));
    assert_eq!(text(&user), THEIRS);
}

#[test]
fn a_session_that_is_ended_by_name_leaves_nothing() {
    let ended = json!({
        "name": SESSION, "username": "alice@example.com", "device": "laptop", "this_device": true, "role": "view",
        "namespaces": [], "provisioned": true, "signed_in": "2001-01-02T15:04:05Z", "until": "2001-01-02T16:04:05Z"
    });
    for form in ["--quiet", "--token"] {
        let (user, fake) = (
            User::new(),
            FakeServer::new(&[
                ("POST /login", Answer::json(200, &signed_in())),
                (
                    "DELETE /sessions/another",
                    Answer::json(404, &json!({"message": "none"})),
                ),
                (
                    "DELETE /oversight/sessions/another",
                    Answer::json(404, &json!({"message": "no such path"})),
                ),
                (
                    Box::leak(format!("DELETE /sessions/{SESSION}").into_boxed_str()),
                    Answer::json(200, &ended),
                ),
            ]),
        );
        has_config(&user, THEIRS);
        well(user.run_with(&fake, &["login", "--merge", form]));
        assert_eq!(user.run_with(&fake, &["sessions", "end", "another"]).status, 3);
        assert_eq!(contexts(&user).0, "tka-context-alice", "not that one");
        well(user.run_with(&fake, &["sessions", "end", SESSION]));
        assert_eq!(text(&user), THEIRS);
        assert_eq!(
            user.files(),
            [".kube", ".kube/config", ".kube/config.tka-backup", ".kube/tka"]
        );
        assert_eq!(
            fs::read_dir(user.cache()).unwrap().count(),
            0,
            "the credential is forgotten"
        );
    }
}

#[test]
fn a_lock_that_was_left_behind_is_said_to_be_one() {
    let (user, fake) = (User::new(), FakeServer::new(&[]));
    has_config(&user, THEIRS);
    fs::write(user.home().join(".kube/config.lock"), "").unwrap();
    let outcome = user.run_with(&fake, &["login", "--merge", "--timeout", "0.1"]);
    let shown = outcome.shown(&fake).replace(&user.home().display().to_string(), "HOME");
    insta::assert_snapshot!(shown, @"
    status 1
    --- stdout
    false
    --- stderr
    ✗ HOME/.kube/config is locked, by kubectl or another tka
      do  try again; if neither is running, remove HOME/.kube/config.lock
          or do not merge: leave --merge out, or set TKA_KUBECONFIG_MERGE=false
    ");
    assert_eq!(text(&user), THEIRS);
    assert!(fake.requests().is_empty());
}

#[test]
fn merged_entry_is_renewed_or_removed_with_its_session() {
    let rules = json!({"items": [{"name": null, "role": "view", "namespaces": [], "period": "1h0m0s", "priority": 1,
        "require_reason": false, "default": true}]});
    let session = json!({
        "name": SESSION, "username": "alice@example.com", "device": "laptop", "this_device": true, "role": "view", "rule": null,
        "namespaces": [], "provisioned": true, "signed_in": "2001-01-02T15:04:05Z", "until": "2001-01-02T16:04:05Z"
    });
    let again = [
        ("GET /sessions", Answer::json(200, &json!({"items": [session]}))),
        ("GET /rules", Answer::json(200, &rules)),
        (&*format!("DELETE /sessions/{SESSION}"), Answer::json(200, &session)),
    ];
    let mut anew = signed_in();
    anew["kubeconfig"]["users"]["tka-user-alice"]["token"] = json!("another");
    let refused = json!({"message": "no rule of the tailnet policy reaches you"});
    let fake = FakeServer::new(
        &[
            &[("POST /login", Answer::json(200, &signed_in()))][..],
            &again,
            &[("POST /login", Answer::json(200, &anew))],
            &again,
            &[("POST /login", Answer::json(403, &refused))],
        ]
        .concat(),
    );
    let user = User::new();
    has_config(&user, THEIRS);
    well(user.run_with(&fake, &["login", "--merge", "--token"]));
    well(user.run_with(&fake, &["reauthenticate", "--token"]));
    assert!(text(&user).contains("'another'") && !text(&user).contains(TOKEN));
    let outcome = user.run_with(&fake, &["reauthenticate"]);
    assert_eq!(outcome.status, 4, "{outcome:?}");
    assert_eq!(text(&user), THEIRS);
    fake.requests();
}

#[test]
fn what_cannot_be_taken_out_now_can_be_later() {
    let user = User::new();
    let fake = FakeServer::new(&[
        ("POST /login", Answer::json(200, &signed_in())),
        ("POST /logout", Answer::json(200, &login())),
        (
            "POST /logout",
            Answer::json(404, &json!({"message": "you are not signed in"})),
        ),
    ]);
    has_config(&user, THEIRS);
    well(user.run_with(&fake, &["login", "--merge"]));
    let lock = user.home().join(".kube/config.lock");
    fs::write(&lock, "").unwrap();
    let outcome = user.run_with(&fake, &["logout", "--timeout", "0.1"]);
    assert_eq!(outcome.status, 1, "{outcome:?}");
    assert!(
        outcome.stderr.contains("run this again when this is solved"),
        "{outcome:?}"
    );
    assert!(!user.kubeconfig(&fake).exists(), "ours is gone");
    fs::remove_file(&lock).unwrap();
    assert_eq!(user.run_with(&fake, &["logout"]).status, 3);
    assert_eq!(text(&user), THEIRS);
    assert!(!user.kubeconfig(&fake).with_extension("json").exists());
}

#[test]
fn a_kubeconfig_that_is_none_of_ours_is_not_touched() {
    for (text, lock) in [(THEIRS, true), ("{", false), ("users: []\nusers: []\n", false)] {
        let mut script = vec![("POST /login", Answer::json(200, &signed_in()))];
        script.push(("GET /kubeconfig", Answer::json(200, &kubeconfig())));
        script.push(("GET /sessions", Answer::html(404)));
        script.push(("GET /login", Answer::json(200, &login())));
        script.push(("POST /logout", Answer::json(200, &login())));
        let (user, fake) = (User::new(), FakeServer::new(&script));
        has_config(&user, text);
        if lock {
            fs::write(user.home().join(".kube/config.lock"), "").unwrap();
        }
        for command in ["login", "kubeconfig", "logout"] {
            let outcome = well(user.run_with(&fake, &[command, "--timeout", "5"]));
            assert!(!outcome.stderr.contains(".kube/config"), "{outcome:?}");
        }
        assert_eq!(fs::read_to_string(config(&user)).unwrap(), text);
    }
}

#[test]
fn what_is_no_file_is_refused() {
    let (user, fake) = (User::new(), FakeServer::new(&[]));
    let mut command = user.command_with(&fake, &["login", "--merge"]);
    let outcome = Outcome::from(command.env("KUBECONFIG", "/dev/null").output().unwrap());
    assert_eq!(outcome.status, 1, "{outcome:?}");
    assert!(
        outcome
            .stderr
            .contains("cannot read /dev/null\n  why  it is not a file"),
        "{outcome:?}"
    );
    assert!(!std::path::Path::new("/dev/null.lock").exists());
}

#[test]
fn many_at_once_lose_nothing() {
    let user = User::new();
    has_config(&user, THEIRS);
    let sessions: Vec<_> = (0..8).map(|at| format!("tka-alice-{at}")).collect();
    let fakes: Vec<_> = sessions.iter().map(|session| signing_in(session)).collect();
    let start = |fake| user.command_with(fake, &["login", "--merge", "-q"]).spawn().unwrap();
    let started: Vec<_> = fakes.iter().map(start).collect();
    for mut child in started {
        assert!(child.wait().unwrap().success());
    }
    assert_eq!(contexts(&user).1.len(), 9);
    let left = text(&user);
    for session in &sessions {
        assert!(left.contains(session), "{left}");
    }
    for fake in &fakes {
        well(user.run_with(fake, &["logout"]));
    }
    assert_eq!(text(&user), THEIRS);
}

#[test]
fn a_link_that_leads_nowhere_is_not_replaced() {
    let (user, fake) = (User::new(), FakeServer::new(&[]));
    let target = user.home().join("unmounted/config");
    fs::create_dir_all(user.home().join(".kube")).unwrap();
    std::os::unix::fs::symlink(&target, config(&user)).unwrap();
    let outcome = user.run_with(&fake, &["login", "--merge"]);
    let shown = outcome.shown(&fake).replace(&user.home().display().to_string(), "HOME");
    insta::assert_snapshot!(shown, @"
    status 1
    --- stdout
    false
    --- stderr
    ✗ HOME/.kube/config is a link to HOME/unmounted/config, which does not exist
      do  restore the target of HOME/.kube/config, or remove the link
          or do not merge: leave --merge out, or set TKA_KUBECONFIG_MERGE=false
    ");
    assert_eq!(fs::read_link(config(&user)).unwrap(), target);
    assert_eq!(user.files(), [".kube", ".kube/config"]);
    assert!(fake.requests().is_empty());
}

#[test]
fn entries_behind_a_dangling_link_are_removed_later() {
    let user = User::new();
    let fake = FakeServer::new(&[
        ("POST /login", Answer::json(200, &signed_in())),
        ("POST /logout", Answer::json(200, &login())),
        ("POST /logout", Answer::json(200, &login())),
    ]);
    let (real, away) = (user.home().join("real"), user.home().join("away"));
    fs::create_dir_all(user.home().join(".kube")).unwrap();
    fs::write(&real, THEIRS).unwrap();
    std::os::unix::fs::symlink(&real, config(&user)).unwrap();
    well(user.run_with(&fake, &["login", "--merge"]));
    fs::rename(&real, &away).unwrap();
    let outcome = user.run_with(&fake, &["logout"]);
    assert_eq!(outcome.status, 1, "{outcome:?}");
    assert!(outcome.stderr.contains("its context is still there"), "{outcome:?}");
    assert_eq!(fs::read_link(config(&user)).unwrap(), real);
    fs::rename(&away, &real).unwrap();
    well(user.run_with(&fake, &["logout"]));
    assert_eq!(text(&user), THEIRS);
}

/// What makes a kubeconfig take long to read.
fn long() -> String {
    let many = (0..30_000).map(|at| format!("- {{name: u{at}, user: {{token: x}}}}\n"));
    format!("extensions:\n{}", many.collect::<String>())
}

/// Sends `signals` to `command` when it has locked the user's kubeconfig.
fn interrupted(user: &User, mut command: Command, signals: &[Signal]) -> ExitStatus {
    let mut child = command.spawn().unwrap();
    let (lock, until) = (
        user.home().join(".kube/config.lock"),
        Instant::now() + Duration::from_mins(1),
    );
    while !lock.exists() {
        assert!(Instant::now() < until && child.try_wait().unwrap().is_none());
        std::thread::yield_now();
    }
    for signal in signals {
        kill_process(Pid::from_child(&child), *signal).unwrap();
    }
    let status = child.wait().unwrap();
    assert!(!lock.exists(), "kubectl would wait for it in vain");
    status
}

#[test]
fn no_signal_leaves_the_lock_behind() {
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        let (user, fake) = (User::new(), FakeServer::new(&[]));
        has_config(&user, &(THEIRS.to_owned() + &long()));
        let status = interrupted(&user, user.command_with(&fake, &["login", "--merge"]), &[signal]);
        assert_eq!(status.signal(), Some(signal.as_raw()), "{status:?}");
        assert!(!text(&user).contains("alice"));
    }
}

/// cases.md 2: what is written in place may be half written. The lock that is left then holds the whole of it.
#[test]
fn what_is_killed_in_the_middle_leaves_a_copy() {
    let user = User::new();
    let before = THEIRS.to_owned() + &long();
    let lock = user.home().join(".kube/config.lock");
    let has_copy = || fs::metadata(&lock).is_ok_and(|found| found.len() == before.len() as u64);
    // It may be done before it is killed.
    for _ in 0..50 {
        if lock.exists() {
            break;
        }
        has_config(&user, &before);
        let fake = signing_in(SESSION);
        let mut child = user.command_with(&fake, &["login", "--merge", "-q"]).spawn().unwrap();
        while !has_copy() && child.try_wait().unwrap().is_none() {
            std::thread::yield_now();
        }
        child.kill().unwrap();
        child.wait().unwrap();
    }
    assert_eq!((fs::read_to_string(&lock).unwrap(), mode(&lock)), (before, 0o600));
    let fake = FakeServer::new(&[]);
    let outcome = user.run_with(&fake, &["login", "--merge", "--timeout", "0.1"]);
    assert!(outcome.stderr.contains("holds the old content"), "{outcome:?}");
    assert!(fake.requests().is_empty());
}

/// As `nohup` sets it.
#[test]
fn a_signal_that_is_ignored_stays_so() {
    let (user, fake) = (User::new(), signing_in(SESSION));
    has_config(&user, &(THEIRS.to_owned() + &long()));
    let tka = user.command_with(&fake, &["login", "--merge", "-q"]);
    let command = after("trap '' HUP", &tka);
    let status = interrupted(&user, command, &[Signal::HUP]);
    assert!(status.success(), "{status:?}");
    assert!(text(&user).contains("alice"));
}

/// At the original's server `tka exec` ends all sessions. An impatient user sends a second signal.
#[test]
fn no_second_signal_leaves_the_lock_behind() {
    let user = User::new();
    let fake = FakeServer::new(&[
        ("POST /login", Answer::json(202, &login())),
        ("GET /kubeconfig", Answer::json(200, &kubeconfig())),
        ("POST /login", Answer::json(202, &login())),
        ("GET /rules", Answer::html(404)),
        ("GET /kubeconfig", Answer::json(200, &kubeconfig())),
        ("POST /logout", Answer::json(200, &login())),
    ]);
    has_config(&user, THEIRS);
    well(user.run_with(&fake, &["login", "--merge"]));
    has_config(&user, &(text(&user) + &long()));
    let status = interrupted(
        &user,
        user.command_with(&fake, &["exec", "--", "true"]),
        &[Signal::TERM, Signal::INT],
    );
    let by = [Signal::TERM, Signal::INT].map(|signal| Some(128 + signal.as_raw()));
    assert!(by.contains(&status.code()), "{status:?}");
}

/// What `tka kubeconfig` makes of the user's own kubeconfig when it has these users. The server says nothing that matters.
fn repaired(users: &str, arguments: &[&str]) -> (User, Outcome) {
    let refused = Answer::json(400, &json!({"message": "two rules are tied"}));
    let (user, fake) = (User::new(), FakeServer::new(&[("GET /kubeconfig", refused)]));
    let theirs = THEIRS.replace("users:\n", users);
    has_config(&user, &theirs);
    fs::create_dir_all(user.folder()).unwrap();
    let outcome = user.run_with(&fake, arguments);
    (user, outcome)
}

#[test]
fn repairing_changes_only_the_command() {
    let users = "\
users:
- name: ours # as an administrator
  user:
    as: root
    exec:
      apiVersion: client.authentication.k8s.io/v1
      args: [credential, --server, 'https://x', --session, s]
      command: /gone/tka # the old one
      env: [{name: HTTPS_PROXY, value: 'http://127.0.0.1:1055'}]
      interactiveMode: Never
      provideClusterInfo: no
    unheard-of: yes
";
    let (user, outcome) = repaired(users, &["kubeconfig"]);
    assert!(outcome.stderr.contains("one user of your kubeconfigs"), "{outcome:?}");
    let new = format!("\"{}\"", env!("CARGO_BIN_EXE_tka"));
    let expected = THEIRS.replace("users:\n", &users.replace("/gone/tka", &new));
    assert_eq!(text(&user), expected);
}

#[test]
fn repairing_changes_neither_intact_nor_foreign_entries() {
    for command in ["/gone/vendor-auth", "tka", "./tka", "/bin/sh", "/gone/tka-wrapper"] {
        let users = format!(
            "users:\n- name: o\n  user: {{exec: {{command: {command}, args: [credential, --server, x, --session, s]}}}}\n"
        );
        let (user, outcome) = repaired(&users, &["kubeconfig"]);
        assert_eq!(text(&user), THEIRS.replace("users:\n", &users), "{outcome:?}");
        assert!(!outcome.stderr.contains("of your kubeconfigs"), "{outcome:?}");
    }
}

#[test]
fn what_is_merged_is_known_by_any_name() {
    let refused = Answer::json(400, &json!({"message": "two rules are tied"}));
    let fake = FakeServer::new(&[
        ("POST /login", Answer::json(200, &signed_in())),
        ("GET /kubeconfig", refused),
    ]);
    let user = User::new();
    has_config(&user, THEIRS);
    well(user.run_with(&fake, &["login", "--merge"]));
    let merged = text(&user);
    fs::write(config(&user), merged.replace(env!("CARGO_BIN_EXE_tka"), "/gone/other")).unwrap();
    let outcome = user.run_with(&fake, &["kubeconfig"]);
    assert!(outcome.stderr.contains("one user of your kubeconfigs"), "{outcome:?}");
    let quoted = |quote: char| format!("{quote}{}{quote}", env!("CARGO_BIN_EXE_tka"));
    assert_eq!(text(&user), merged.replace(&quoted('\''), &quoted('"')));
}

#[test]
fn locked_file_is_reported_when_repairing() {
    let users =
        "users:\n- name: o\n  user: {exec: {command: /gone/tka, args: [credential, --server, x, --session, s]}}\n";
    let (user, fake) = (User::new(), FakeServer::new(&[]));
    has_config(&user, &THEIRS.replace("users:\n", users));
    fs::create_dir_all(user.folder()).unwrap();
    fs::write(user.home().join(".kube/config.lock"), "").unwrap();
    let outcome = user.run_with(&fake, &["kubeconfig", "--timeout", "0.1"]);
    assert!(outcome.stderr.contains("is locked"), "{outcome:?}");
    assert!(outcome.stderr.contains("run `tka kubeconfig` again"), "{outcome:?}");
    assert!(!outcome.stderr.contains("--merge"), "{outcome:?}");
}

#[test]
fn kubeconfig_is_merged_and_repaired() {
    let mut sent = kubeconfig();
    let args = ["credential", "--server", "x", "--session", SESSION];
    sent["users"]["tka-user-alice"] = json!({"exec": {"apiVersion": "v1", "command": "tka", "args": args,
        "interactiveMode": "IfAvailable", "installHint": ""}});
    let fake = FakeServer::new(&[
        ("POST /login", Answer::json(200, &signed_in())),
        (
            "GET /kubeconfig",
            Answer::json(400, &json!({"message": "two rules are tied"})),
        ),
        ("GET /kubeconfig", Answer::json(200, &sent)),
    ]);
    let user = User::new();
    has_config(&user, THEIRS);
    well(user.run_with(&fake, &["login", "--merge"]));
    let moved = |path: &PathBuf| {
        let text = fs::read_to_string(path).unwrap();
        fs::write(path, text.replace(env!("CARGO_BIN_EXE_tka"), "/gone/tka")).unwrap();
    };
    let files = [config(&user), user.kubeconfig(&fake)];
    files.iter().for_each(moved);
    // The server cannot say which, and that does not matter to what is there.
    let outcome = user.run_with(&fake, &["kubeconfig"]);
    assert_eq!(outcome.status, 7, "{outcome:?}");
    assert!(
        outcome
            .stderr
            .contains("updated the path of tka for 2 users of your kubeconfigs"),
        "{outcome:?}"
    );
    for file in &files {
        let text = fs::read_to_string(file).unwrap();
        assert!(
            text.contains(env!("CARGO_BIN_EXE_tka")) && !text.contains("/gone"),
            "{text}"
        );
    }
    let outcome = well(user.run_with(&fake, &["kubeconfig", "--merge"]));
    assert_eq!(outcome.stdout, "");
    assert_eq!(contexts(&user).0, "tka-context-alice");
}

/// kubectl reads UTF-16 by its mark, and writes UTF-8.
#[test]
fn kubeconfig_in_another_encoding_is_named_by_line_or_mark() {
    let utf16: Vec<u8> = THEIRS.encode_utf16().flat_map(u16::to_le_bytes).collect();
    for (bytes, why) in [
        (
            [b"# k\xfcche\n", THEIRS.as_bytes()].concat(),
            "line 1: it has bytes that are not UTF-8",
        ),
        (
            [b"\xff\xfe", &utf16[..]].concat(),
            "it is UTF-16, as `>` of Windows PowerShell writes it",
        ),
    ] {
        let (user, fake) = (User::new(), FakeServer::new(&[]));
        has_config(&user, "");
        fs::write(config(&user), &bytes).unwrap();
        let outcome = user.run_with(&fake, &["login", "--merge"]);
        assert_eq!(outcome.status, 1, "{outcome:?}");
        let path = config(&user).display().to_string();
        let said = format!("cannot read {path}\n  why  {why}\n  do   save {path} as UTF-8\n");
        assert!(outcome.stderr.contains(&said), "{outcome:?}");
        assert!(fake.requests().is_empty());
        assert_eq!(fs::read(config(&user)).unwrap(), bytes);
    }
}

/// Which permission is missing decides on the advice.
#[test]
fn file_that_may_be_written_and_not_read_is_told_so() {
    for linked in [false, true] {
        let user = User::new();
        has_config(&user, THEIRS);
        let path = config(&user);
        if linked {
            let target = user.home().join("target");
            fs::rename(&path, &target).unwrap();
            symlink(target, &path).unwrap();
        }
        fs::set_permissions(&path, Permissions::from_mode(0o200)).unwrap();
        let mut command = user.unprivileged(&["login", "--merge", "-s", "127.0.0.1:1"]);
        let outcome = Outcome::from(command.output().unwrap());
        assert_eq!(outcome.status, 1, "{outcome:?}");
        let why = "Permission denied (os error 13)";
        let said = format!(
            "cannot read {0}\n  why  {why}\n  do   make it readable: `chmod u+r {0}`\n",
            path.display()
        );
        assert!(outcome.stderr.contains(&said), "{outcome:?}");
    }
}

/// A folder of a user may begin with our name.
#[test]
fn kubeconfig_of_a_user_in_memory_is_merged_into() {
    let (user, fake) = (User::new(), signing_in("one"));
    let folder = tempfile::Builder::new().prefix("tka-").tempdir_in("/dev/shm").unwrap();
    let path = folder.path().join("config");
    fs::write(&path, THEIRS).unwrap();
    fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
    let mut command = user.command_with(&fake, &["login", "--merge"]);
    well(command.env("KUBECONFIG", &path).output().unwrap().into());
    assert!(fs::read_to_string(&path).unwrap().contains("tka-context-alice"));
    assert!(!config(&user).exists());
    well(user.run_with(&fake, &["logout"]));
    assert_eq!(fs::read_to_string(&path).unwrap(), THEIRS);
}
