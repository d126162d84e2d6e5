//! `tka policy …`

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::tka::{Outcome, User};

const POLICY: &str = r#"// A policy.
{
  "groups": {"group:sre": ["alice@example.com"]},
  "tagOwners": {"tag:tka": ["group:sre"], "tag:ci": ["group:sre"]},
  "grants": [
    {"src": ["autogroup:member"], "dst": ["tag:tka"],
     "app": {"specht-labs.de/cap/tka": [{"role": "view", "period": "8h"}]}},
    {"src": ["group:sre"], "dst": ["tag:tka"],
     "app": {"specht-labs.de/cap/tka": [{"role": "edit", "period": "90m", "namespaces": ["shop"], "priority": 5}],
             "specht-labs.de/cap/tka-oversight": [{"recordings": true, "approve": ["oncall"]}]}},
    {"src": ["autogroup:admin"], "dst": ["tag:tka"],
     "app": {"specht-labs.de/cap/tka": [{"role": "cluster-admin", "period": "1h", "name": "oncall", "priority": -1}]}},
  ],
}
"#;

fn user(files: &[(&str, &str)]) -> User {
    let user = User::new();
    for (name, text) in files {
        fs::write(user.home().join(name), text).unwrap();
    }
    user
}

fn shown(outcome: &Outcome) -> String {
    format!(
        "status {}\n--- stdout\n{}--- stderr\n{}",
        outcome.status, outcome.stdout, outcome.stderr
    )
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

#[test]
fn check_says_what_is_wrong_and_where() {
    let wrong = POLICY
        .replace("\"namespaces\"", "\"namespace\"")
        .replace("\"8h\"", "\"30s\"")
        .replace("autogroup:admin", "group:gone");
    let values = "roles: [view]\n";
    let user = user(&[("policy.hujson", &wrong), ("values.yaml", values)]);
    let check = ["policy", "check", "policy.hujson", "--values", "values.yaml"];
    insta::assert_snapshot!("policy_check", shown(&user.run(&check)));
    let of = |form: &str| user.run(&[&check[..], &["-o", form]].concat());
    let json: Value = serde_json::from_str(&of("json").stdout).unwrap();
    assert_eq!(
        (json["items"][0]["kind"].as_str(), json["items"][0]["line"].as_u64()),
        (Some("period-too-short"), Some(7))
    );
    let sarif: Value = serde_json::from_str(&of("sarif").stdout).unwrap();
    assert_eq!(
        sarif["runs"][0]["results"].as_array().unwrap().len(),
        json["items"].as_array().unwrap().len()
    );
    assert!(
        of("junit").stdout.contains("policy.hujson:7:58 period-too-short"),
        "{}",
        of("junit").stdout
    );
    assert_eq!((of("sarif").status, of("sarif").stderr.as_str()), (21, ""));
}

#[test]
fn policy_that_is_right_passes_and_warnings_fail_only_if_asked() {
    let user = user(&[("policy.hujson", POLICY)]);
    let right = user.run(&["policy", "check", "policy.hujson", "--roles", "view,edit,cluster-admin"]);
    let summary = "values of both capabilities: 4; errors: 0; warnings: 0
";
    assert_eq!(
        (right.status, right.stdout.as_str(), right.stderr.as_str()),
        (0, "", summary)
    );
    let elsewhere = ["policy", "check", "policy.hujson", "--to", "tag:ci"];
    assert_eq!(user.run(&elsewhere).status, 0);
    let strict = user.run(&[&elsewhere[..], &["--strict"]].concat());
    assert_eq!(strict.status, 21);
    assert!(
        strict.stdout.contains("warning: ") && strict.stdout.contains("[not-a-server]"),
        "{}",
        strict.stdout
    );
}

#[test]
fn who_shows_rules_and_what_cannot_be_known() {
    let user = user(&[("policy.hujson", POLICY)]);
    let who = |more: &[&str]| user.run(&[&["policy", "who", "policy.hujson"], more].concat());
    insta::assert_snapshot!("policy_who", shown(&who(&["--as", "alice@example.com"])));
    insta::assert_snapshot!("policy_who_machine", shown(&who(&["--tag", "tag:ci"])));
    insta::assert_snapshot!(
        "policy_who_json",
        who(&["--as", "alice@example.com", "-o", "json"]).stdout
    );
    assert_eq!(who(&["--as", "carol@example.com", "-o", "name"]).stdout, "view\n");
    assert_eq!(
        who(&["--as", "carol@example.com", "--in", "autogroup:admin", "-q"]).stdout,
        "view\noncall\n"
    );
    assert_eq!(who(&[]).status, 2);
    assert_eq!(who(&["--as", "a@b", "--tag", "tag:ci"]).status, 2);
    let nowhere = who(&["--as", "a@b", "--to", "laptop"]);
    assert!(
        nowhere.status == 2 && nowhere.stderr.contains("no host of the policy"),
        "{}",
        nowhere.stderr
    );
}

#[test]
fn who_says_that_a_policy_would_be_refused() {
    let user = user(&[(
        "policy.hujson",
        &POLICY.replace("[\"group:sre\"], \"dst\"", "[\"group:gone\"], \"dst\""),
    )]);
    let outcome = user.run(&["policy", "who", "policy.hujson", "--as", "alice@example.com"]);
    assert_eq!(outcome.status, 20);
    assert!(
        outcome.stderr.contains("would refuse this policy"),
        "{}",
        outcome.stderr
    );
}

#[test]
fn tests_beside_the_policy_are_run() {
    let tests = "tests:\n- as: alice@example.com\n  may: [{role: edit, namespaces: [shop]}]\n- name: others only look\n  as: carol@example.com\n  may_not: [{role: view}, {role: cluster-admin}]\n";
    let user = user(&[("policy.hujson", POLICY), ("policy.tka.yaml", tests)]);
    insta::assert_snapshot!("policy_test", shown(&user.run(&["policy", "test", "policy.hujson"])));
    insta::assert_snapshot!(
        "policy_test_junit",
        shown(&user.run(&["policy", "test", "policy.hujson", "-o", "junit"]))
    );
    let json: Value =
        serde_json::from_str(&user.run(&["policy", "test", "policy.hujson", "-o", "json"]).stdout).unwrap();
    assert_eq!(
        (
            json[0]["failures"].as_array().unwrap().len(),
            json[1]["failures"].as_array().unwrap().len()
        ),
        (0, 2)
    );
}

#[test]
fn bad_input_is_answered() {
    let deep = "[".repeat(100_000);
    let user = user(&[
        ("deep.hujson", &deep),
        ("latin1.hujson", ""),
        ("policy.hujson", POLICY),
        ("empty.yaml", "tests: []"),
    ]);
    fs::write(user.home().join("latin1.hujson"), b"{\"a\": \"\xfc\"}").unwrap();
    for (arguments, status, words) in [
        (
            &["check", "deep.hujson"][..],
            20,
            "deep.hujson:1:513: this is no HuJSON: maximum nesting depth exceeded",
        ),
        (&["check", "latin1.hujson"], 1, "cannot read latin1.hujson"),
        (
            &["check", "latin1.hujson"],
            1,
            "line 1: it has bytes that are not UTF-8",
        ),
        (&["check", "gone.hujson"], 1, "cannot read gone.hujson"),
        (&["check", "."], 1, "cannot read ."),
        (
            &["check", "policy.hujson", "--values", "deep.hujson"],
            20,
            "the roles in deep.hujson cannot be read",
        ),
        (&["test", "policy.hujson"], 1, "cannot read policy.tka.yaml"),
        (
            &["test", "policy.hujson", "--tests", "empty.yaml"],
            20,
            "expectations in empty.yaml cannot be used",
        ),
        (&["test", "-"], 2, "--tests"),
        (
            &["roles", "-f", "policy.hujson"],
            1,
            "policy.hujson gave no ClusterRoles",
        ),
    ] {
        let outcome = user.run(&[&["policy"], arguments].concat());
        assert_eq!(outcome.status, status, "{arguments:?}: {}", outcome.stderr);
        assert!(outcome.stderr.contains(words), "{arguments:?}: {}", outcome.stderr);
    }
    let mut without_kubectl = user.command(&["policy", "roles"]);
    let outcome: Outcome = without_kubectl.env("PATH", "/nonexistent").output().unwrap().into();
    assert!(
        outcome.status == 1 && outcome.stderr.contains("cannot run kubectl"),
        "{outcome:?}"
    );
    let empty = user.run(&[
        "policy",
        "who",
        "policy.hujson",
        "--as",
        "a@b",
        "--to",
        "tag:gone",
        "--capability",
        "example.com/cap/none",
    ]);
    assert!(
        empty.status == 0 && empty.stdout.contains("no rule of the tailnet policy reaches you"),
        "{}",
        empty.stdout
    );
}

const ROLES: &str = r#"{"apiVersion": "v1", "kind": "List", "items": [
  {"metadata": {"name": "view"}, "rules": [{"verbs": ["get", "list"], "apiGroups": [""], "resources": ["pods"]}]},
  {"metadata": {"name": "empty"}, "rules": null},
  {"metadata": {"name": "ops"}, "rules": [
    {"verbs": ["get"], "apiGroups": [""], "resources": ["pods/exec", "nodes/proxy"]},
    {"verbs": ["bind"], "apiGroups": ["rbac.authorization.k8s.io"], "resources": ["clusterroles"], "resourceNames": ["view"]}]}
]}"#;

#[test]
fn roles_are_told_with_what_follows_from_them() {
    let user = user(&[("roles.json", ROLES)]);
    let roles = |more: &[&str]| user.run(&[&["policy", "roles", "-f", "roles.json"], more].concat());
    insta::assert_snapshot!("policy_roles", shown(&roles(&[])));
    let newer: Value = serde_json::from_str(&roles(&["ops", "--kubernetes", "35", "-o", "json"]).stdout).unwrap();
    let ids: Vec<_> = newer["items"][0]["escalations"]
        .as_array()
        .unwrap()
        .iter()
        .map(|found| found["id"].as_str().unwrap())
        .collect();
    assert_eq!(ids, ["bind", "node-proxy"]);
    assert_eq!(
        (roles(&["view", "--strict"]).status, roles(&["--strict"]).status),
        (0, 21)
    );
    assert_eq!(roles(&["-q"]).stdout, "ops\n");
    let gone = roles(&["admin"]);
    assert!(
        gone.status == 1 && gone.stderr.contains("there is no ClusterRole admin"),
        "{}",
        gone.stderr
    );
}

/// A kubectl that says what it was asked.
#[test]
fn roles_come_from_kubectl_with_its_context() {
    let user = user(&[("roles.json", ROLES)]);
    let bin = user.home().join("bin");
    fs::create_dir(&bin).unwrap();
    let script = "#!/bin/sh\necho \"$*\" >> \"$HOME/asked\"\ncase \"$*\" in *version*) echo '{\"major\": \"1\", \"minor\": \"35+\"}' ;; *) cat \"$HOME/roles.json\" ;; esac\n";
    fs::write(bin.join("kubectl"), script).unwrap();
    Command::new("chmod")
        .arg("+x")
        .arg(bin.join("kubectl"))
        .status()
        .unwrap();
    let mut command = user.command(&["policy", "roles", "ops", "--context", "prod", "-o", "json"]);
    command.env("PATH", format!("{}:/usr/bin:/bin", bin.display()));
    let outcome: Outcome = command.output().unwrap().into();
    assert_eq!((outcome.status, outcome.stderr.as_str()), (0, ""), "{outcome:?}");
    assert!(
        outcome.stdout.contains("node-proxy") && !outcome.stdout.contains("exec-by-get"),
        "{}",
        outcome.stdout
    );
    let asked = fs::read_to_string(user.home().join("asked")).unwrap();
    assert_eq!(
        asked,
        "get clusterroles --output=json --context=prod\nget --raw=/version --context=prod\n"
    );
}

#[test]
fn examples_of_the_documentation_pass() {
    let examples = root().join("docs/examples");
    for name in ["policy.hujson", "policy.tka.yaml"] {
        assert!(examples.join(name).exists(), "{name}");
    }
    let policy = examples.join("policy.hujson").display().to_string();
    for dialect in ["tailscale", "headscale"] {
        for command in ["check", "test"] {
            let outcome = User::new().run(&["policy", command, &policy, "--dialect", dialect]);
            assert_eq!((outcome.status, outcome.stdout.as_str()), (0, ""), "{outcome:?}");
        }
    }
    let check = ["policy", "check", policy.as_str(), "--strict"];
    assert_eq!(User::new().run(&check).status, 0);
}

fn yaml(path: &str) -> Value {
    serde_saphyr::from_str(&fs::read_to_string(root().join(path)).unwrap()).unwrap()
}

/// The step of the GitHub Action that checks, with a bash as GitHub runs it.
#[test]
fn the_action_runs_what_there_is() {
    let action = yaml("deploy/policy-action/action.yml");
    let steps = action["runs"]["steps"].as_array().unwrap();
    assert_eq!(action["runs"]["using"], "composite");
    assert!(
        steps
            .iter()
            .all(|step| step["shell"] == "bash" && step["run"].is_string()),
        "{steps:?}"
    );
    let inputs = action["inputs"].as_object().unwrap();
    let step = steps.last().unwrap();
    let tests = "tests:\n- as: alice@example.com\n  may: [{role: edit}]\n";
    let user = user(&[
        ("policy.hujson", POLICY),
        ("policy.tka.yaml", tests),
        ("values.yaml", "roles: [view, edit, cluster-admin]"),
    ]);
    let run = |changed: &[(&str, &str)]| -> Outcome {
        let mut command = user.command(&[]);
        let tka = Path::new(command.get_program()).parent().unwrap().to_owned();
        command = Command::new("bash");
        command
            .args([
                "--noprofile",
                "--norc",
                "-eo",
                "pipefail",
                "-c",
                step["run"].as_str().unwrap(),
            ])
            .current_dir(user.home());
        command.env("PATH", format!("{}:/usr/bin:/bin", tka.display()));
        for (variable, expression) in step["env"].as_object().unwrap() {
            let name = expression
                .as_str()
                .unwrap()
                .trim_start_matches("${{ inputs.")
                .trim_end_matches(" }}");
            let default = inputs[name]["default"].as_str().unwrap();
            let value = changed
                .iter()
                .find(|(changed, _)| *changed == name)
                .map_or(default, |(_, value)| value);
            command.env(variable, value);
        }
        command.output().unwrap().into()
    };
    let good = run(&[("to", "tag:tka"), ("values", "values.yaml")]);
    assert_eq!(good.status, 0, "{good:?}");
    let sarif: Value =
        serde_json::from_str(&fs::read_to_string(user.home().join("tka-policy-check.sarif")).unwrap()).unwrap();
    assert_eq!(sarif["version"], "2.1.0");
    assert!(
        fs::read_to_string(user.home().join("tka-policy-test.xml"))
            .unwrap()
            .contains("failures=\"0\"")
    );
    assert_eq!(
        run(&[("to", "tag:ci"), ("strict", "true")]).status,
        22,
        "its tests fail too, and are last"
    );
    assert_eq!(run(&[("file", "gone.hujson")]).status, 1);
    // What is in an input is an argument, and never a command.
    let hostile = run(&[("file", "$(touch owned); touch owned")]);
    assert!(
        hostile.status == 1 && !user.home().join("owned").exists(),
        "{hostile:?}"
    );
}

#[test]
fn the_hooks_run_what_there_is() {
    let hooks = yaml(".pre-commit-hooks.yaml");
    let user = user(&[
        ("policy.hujson", POLICY),
        (
            "policy.tka.yaml",
            "tests:\n- as: alice@example.com\n  may: [{role: edit}]\n",
        ),
    ]);
    let hooks = hooks.as_array().unwrap();
    assert_eq!(hooks.len(), 2);
    for hook in hooks {
        assert!(
            ["id", "name", "language", "files"]
                .iter()
                .all(|field| hook[*field].is_string()),
            "{hook}"
        );
        let mut arguments: Vec<&str> = hook["entry"].as_str().unwrap().split(' ').collect();
        assert_eq!(arguments.remove(0), "tka");
        if hook["pass_filenames"] != false {
            arguments.push("policy.hujson");
        }
        let outcome = user.run(&arguments);
        assert_eq!(outcome.status, 0, "{arguments:?}: {outcome:?}");
    }
}
