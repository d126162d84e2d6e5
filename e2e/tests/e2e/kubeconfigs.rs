//! Kubeconfigs of all kinds: that tka reads them as the real kubectl does, and what `--merge` leaves of them.
//!
//! `regressions.txt` beside this has the seeds of what failed once.

use std::cell::{Cell, RefCell};
use std::fs;
use std::path::Path;

use e2e::user::ALICE;
use e2e::{Outcome, Person, World, rule};
use proptest::prelude::*;
use proptest::test_runner::{Config, FileFailurePersistence, TestCaseError, TestRunner};
use serde_json::{Value, json};
use tka_kubeconfig::Kubeconfig;

crate::tests![kubectl_and_tka_read_the_same, merging_leaves_what_kubectl_reads];

/// How many are made up for the reader alone.
const READ: u32 = 150;
/// How many are merged into; each is a sign-in.
const MERGED: u32 = 12;
const REGRESSIONS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/e2e/regressions.txt");

/// cases.md 1
const KNOWN: [&str; 21] = [
    "contexts: [{context: {cluster: lab, user: k}}]\n",
    "contexts: [{name: null, context: {cluster: lab}}]\n",
    "users:\n- name: a\n  user: {token: a, token: b}\n",
    "users:\n- name: a\n  user: {token: !!timestamp 2001-01-02}\n",
    "current-context: a\ncontexts: [{name: a}]\n---\n",
    "current-context: a\n---\ncurrent-context: b\n",
    "contexts: [{name: 123}]\n",
    "kind: Config\n\t\nusers: []\n",
    "{\"current-context\": \"a\\/b\"}",
    "clusters: [{name: a, cluster: {certificate-authority-data: aG k=}}]\n",
    "users: [{name: a, user: {exec: {command: b, args: [8000]}}}]\n",
    "contexts: &a [{name: a}]\nx: *a\n",
    "users:\n- name: a\n  user:\n    <<: {token: t}\n",
    "users: []\nusers: [{name: a}]\n",
    "%YAML 1.1\n---\nusers: [~]\n...\n",
    "%YAML 1.2\n---\nusers: []\n",
    "\u{feff}contexts:\r\n- name: 'yes'\r\n  context: {}\r\n",
    "users: [{name: a}, {name: a}]\n",
    "{\"users\": [{\"name\": \"a\",\"user\":{\"token\":\"t\"}}]} x",
    "APIVERSION: v2\n",
    "clusters:\n- name: a\ncontexts:\n- name: a\n  context: &h {user: u}\n- name: b\n  context: *h\ncurrent-context: a\n",
];

/// Why a file that kubectl reads may be left alone: what kubectl itself would drop, and what another part of the file refers to.
const LEFT_ALONE: [&str; 3] = [
    "another YAML document begins",
    "which end a line for some programs only",
    "it cannot be changed without changing what else it says",
];

fn runner(cases: u32) -> TestRunner {
    TestRunner::new(Config {
        cases,
        max_shrink_iters: 100,
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct(REGRESSIONS))),
        ..Config::default()
    })
}

/// Sees that `check` holds for what is known and for so many more.
fn for_each(cases: u32, check: impl Fn(&[u8]) -> Outcome<Result<(), String>>) -> Outcome {
    for text in KNOWN {
        check(text.as_bytes())??;
    }
    let broken = RefCell::new(None);
    let result = runner(cases).run(
        &prop_oneof![5 => kubeconfigs(), 1 => json_kubeconfigs()],
        |text| match check(text.as_bytes()) {
            Ok(result) => result.map_err(TestCaseError::fail),
            Err(error) => {
                let reason = error.to_string();
                broken.replace(Some(error));
                Err(TestCaseError::fail(reason))
            }
        },
    );
    Ok(result.map_err(|error| error.to_string())?)
}

/// All that kubectl reads in a file; none where it cannot.
fn viewed(person: &Person, file: &Path) -> Outcome<Option<Value>> {
    let said = person.kubectl(file, &["config", "view", "--raw", "-o", "json"])?;
    if said.status != Some(0) {
        return Ok(None);
    }
    Ok(Some(serde_json::from_str(&said.out)?))
}

/// What kubectl reads in a file, in the shape of [`ours`]; none where it cannot.
fn theirs(person: &Person, file: &Path) -> Outcome<Option<Value>> {
    let Some(read) = viewed(person, file)? else {
        return Ok(None);
    };
    let list = |list: &str, field: &str, keys: &[&str]| {
        let items = read[list].as_array().into_iter().flatten();
        let item = |item: &Value| {
            let texts = keys
                .iter()
                .map(|key| item[field][*key].as_str().unwrap_or_default().to_owned());
            json!([item["name"], texts.collect::<Vec<_>>()])
        };
        items.map(item).collect::<Vec<_>>()
    };
    let exec = |user: &Value| {
        let exec = &user["user"]["exec"];
        let args = exec["args"].as_array().cloned().unwrap_or_default();
        json!([user["name"], exec["command"].as_str().unwrap_or_default(), args])
    };
    let users = read["users"].as_array().into_iter().flatten();
    Ok(Some(json!({
        "current": read["current-context"],
        "clusters": list("clusters", "cluster", &["server", "tls-server-name", "certificate-authority", "proxy-url"]),
        "users": users.map(exec).collect::<Vec<_>>(),
        "contexts": list("contexts", "context", &["cluster", "user", "namespace"]),
    })))
}

/// What tka reads; kubectl shows all in the order of their names, and paths as absolute ones.
fn ours(bytes: &[u8]) -> Result<Value, String> {
    let mut read = Kubeconfig::read(bytes).map_err(|error| error.to_string())?;
    read.clusters.sort_by(|a, b| a.name.cmp(&b.name));
    read.users.sort_by(|a, b| a.name.cmp(&b.name));
    read.contexts.sort_by(|a, b| a.name.cmp(&b.name));
    let clusters = read.clusters.iter().map(|named| {
        let cluster = &named.item;
        let texts = [
            &cluster.server,
            &cluster.tls_server_name,
            &cluster.certificate_authority,
            &cluster.proxy_url,
        ];
        json!([named.name, texts])
    });
    let users = read.users.iter().map(|named| {
        let call = named.item.exec.clone().unwrap_or_default();
        json!([named.name, call.command, call.args])
    });
    let contexts = read.contexts.iter().map(|named| {
        let context = &named.item;
        json!([named.name, [&context.cluster, &context.user, &context.namespace]])
    });
    Ok(json!({
        "current": read.current_context,
        "clusters": clusters.collect::<Vec<_>>(),
        "users": users.collect::<Vec<_>>(),
        "contexts": contexts.collect::<Vec<_>>(),
    }))
}

fn kubectl_and_tka_read_the_same(world: &World) -> Outcome {
    let site = world.site("kubeconfigs-read")?;
    let alice = site.person("ALICE")?;
    let file = alice.home().join("made-up");
    for_each(READ, |bytes| {
        fs::write(&file, bytes)?;
        let theirs = theirs(&alice, &file)?;
        let ours = ours(bytes);
        Ok(match (theirs, &ours) {
            (None, Err(_)) => Ok(()),
            (Some(theirs), Ok(ours)) if theirs == *ours => Ok(()),
            (theirs, _) => Err(format!(
                "{}\nkubectl: {theirs:?}\ntka: {ours:?}",
                String::from_utf8_lossy(bytes)
            )),
        })
    })
}

fn merging_leaves_what_kubectl_reads(world: &World) -> Outcome {
    let site = world.site("kubeconfigs-merge")?;
    site.grant(&[(ALICE, rule("view", "1h"))])?;
    let alice = site.person("ALICE")?;
    let folder = alice.home().join(".kube");
    let file = folder.join("config");
    let (merged_into, left_alone) = (Cell::new(0_u32), Cell::new(0_u32));
    for_each(MERGED, |bytes| {
        fs::create_dir_all(&folder)?;
        fs::write(&file, bytes)?;
        let (before, all_before) = (theirs(&alice, &file)?, viewed(&alice, &file)?);
        let login = alice.tka(&["login", "--merge"])?;
        let is_untouched = fs::read(&file)? == bytes;
        let shown = format!("{}\n{}{}", String::from_utf8_lossy(bytes), login.out, login.err);
        if login.status != Some(0) {
            left_alone.set(left_alone.get() + u32::from(before.is_some()));
            let is_said = before.is_none() || LEFT_ALONE.iter().any(|why| login.err.contains(why));
            let is_well = is_untouched && is_said && site.counts()? == [0, 0, 0] && login.err.contains("config");
            return Ok(is_well.then_some(()).ok_or(shown));
        }
        merged_into.set(merged_into.get() + 1);
        let Some(before) = before else {
            return Ok(Err(format!("signed in with what kubectl cannot read: {shown}")));
        };
        let Some(merged) = theirs(&alice, &file)? else {
            return Ok(Err(format!("kubectl cannot read what was merged: {shown}")));
        };
        let prompt = alice.tka(&["status", "--prompt"])?.expect(0)?;
        let again = alice.tka(&["login", "--merge"])?;
        let is_same_again = again.status == Some(0) && theirs(&alice, &file)?.as_ref() == Some(&merged);
        alice.tka(&["logout"])?.expect(0)?;
        let after = viewed(&alice, &file)?;
        let _ = fs::remove_file(folder.join("config.tka-backup"));
        let is_ours = merged["current"] == "tka-context-alice" && prompt.out.contains("view");
        let has_all = ["clusters", "users", "contexts"].iter().all(|list| {
            let has = |item: &Value| merged[list].as_array().is_some_and(|all| all.contains(item));
            before[list].as_array().is_some_and(|items| items.iter().all(has))
        });
        // Tokens and certificates of others, too.
        let is_back = after == all_before && file.exists();
        let is_well = is_ours && has_all && is_same_again && is_back;
        let found = format!("{shown}\nbefore {before}\nmerged {merged}\nafter {after:?}");
        Ok(is_well.then_some(()).ok_or(found))
    })?;
    let (merged_into, left_alone) = (merged_into.get(), left_alone.get());
    eprintln!("merged into {merged_into}; {left_alone} that kubectl reads were left alone");
    assert!(
        left_alone < merged_into,
        "{left_alone} were left alone and {merged_into} merged into"
    );
    Ok(())
}

// --- what is made up ---

/// Texts that are names, and some that are none to kubectl.
fn name() -> impl Strategy<Value = &'static str> {
    prop_oneof![
        12 => prop::sample::select(vec!["kind", "prod", "'yes'", "\"0123\"", "a b", "täst", "x@y:z", "!!str 123", "2001-01-02", "12:30", "\"\\u0041\""]),
        1 => prop::sample::select(vec!["~", "null", "", "''", "123", "yes", "1e3", "0x1f", "[a]", "!!int 5", "*gone", ".inf"]),
    ]
}

/// The value of a field.
fn value() -> impl Strategy<Value = &'static str> {
    prop_oneof![
        8 => prop::sample::select(vec!["kind", "'it''s'", "https://k:6443", "# nothing", "~", "a # b", "\"a\n      b\"", "|-\n        text", ">\n        fold\n        ed\n"]),
        1 => prop::sample::select(vec!["!!timestamp 2001-01-02", "!mine x", "!!binary aGk=", "&v x", "1_000", "on", "{}", "[]", "a: b", "\t", "!!timestamp x", "*gone", "\"a\\/b\""]),
    ]
}

/// A field of a user, cluster or context, and what people and programs write there.
fn field() -> impl Strategy<Value = String> {
    let known = prop::sample::select(vec![
        "server",
        "user",
        "cluster",
        "namespace",
        "token",
        "tls-server-name",
        "Server",
        "x",
    ]);
    let odd = prop::sample::select(vec![
        "certificate-authority-data: YWJj",
        "certificate-authority-data: YW Jj",
        "certificate-authority-data: |\n        YWJj\n        YWJj",
        "insecure-skip-tls-verify: yes",
        "insecure-skip-tls-verify: 'yes'",
        "exec: {command: a, args: [b, '1']}",
        "exec: {command: a, args: [8000]}",
        "exec: {command: y, <<: {command: z}}",
        "exec: {args: [~], env: ~}",
        "<<: {token: merged}",
        "as-groups: [a]",
        "extensions: [{name: a, extension: {b: .5}}]",
        "? token\n      : t",
    ]);
    prop_oneof![
        4 => (known, value()).prop_map(|(key, value)| format!("{key}: {value}")),
        1 => odd.prop_map(ToOwned::to_owned),
    ]
}

fn item(field_name: &'static str) -> impl Strategy<Value = String> {
    let fields = prop::collection::vec(field(), 0..3);
    let anchor = prop::sample::select(vec!["", "", " # of it", " &b", " !!map"]);
    (name(), fields, anchor, any::<bool>()).prop_map(move |(name, fields, anchor, is_first)| {
        let body: String = fields.iter().flat_map(|field| ["\n      ", field]).collect();
        let name = format!("name: {name}");
        let body = format!("{field_name}:{anchor}{body}");
        let (first, second) = if is_first { (name, body) } else { (body, name) };
        format!("  - {first}\n    {second}\n")
    })
}

fn list(key: &'static str, field_name: &'static str) -> impl Strategy<Value = String> {
    let odd = prop::sample::select(vec!["[]", "~", "", "[~]", "{}", "[{}]", "# none"]);
    let flow = (name(), name())
        .prop_map(move |(one, two)| format!("{key}: [{{name: {one}}}, {{name: {two}, \"{field_name}\":{{}}}}]\n"));
    prop_oneof![
        6 => prop::collection::vec(item(field_name), 1..3).prop_map(move |items| format!("{key}: # all\n{}", items.concat())),
        1 => odd.prop_map(move |odd| format!("{key}: {odd}\n")),
        1 => flow,
    ]
}

/// A whole file of JSON, as programs write it: on one line, or on many.
fn json_kubeconfigs() -> impl Strategy<Value = String> {
    let names = prop::collection::vec(prop::sample::select(vec!["kind", "a b", "täst", "yes", "123"]), 0..3);
    let token = prop::sample::select(vec![json!("t"), json!("a # b"), json!(""), json!(null), json!(7)]);
    (names, token, any::<bool>()).prop_map(|(names, token, is_pretty)| {
        let list = |field: &str, item: Value| {
            let item = |name: &&str| json!({"name": name, field: item.clone()});
            names.iter().map(item).collect::<Vec<_>>()
        };
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "preferences": {},
            "clusters": list("cluster", json!({"server": "https://k:6443"})),
            "users": list("user", json!({ "token": token })),
            "contexts": list("context", json!({"cluster": "kind", "user": "kind"})),
            "current-context": names.first(),
        });
        if is_pretty {
            format!("{config:#}\n")
        } else {
            config.to_string()
        }
    })
}

fn kubeconfigs() -> impl Strategy<Value = String> {
    let current = name().prop_map(|name| format!("current-context: {name}\n"));
    let other = prop::sample::select(vec![
        "",
        "",
        "kind: Config\n",
        "apiVersion: v1\n",
        "preferences: {}\n",
        "# mine\n",
        "x: &a {b: [1e3, 0o7]}\ny: *a\n",
        "x: y\nx: z\n",
        "kind: Secret\n",
        "apiVersion: v2\n",
        "<<: {x: y}\n",
        "~: x\n",
        "1: x\n",
        "\t\n",
        "x: .nan\n",
        "users: []\n",
    ]);
    let head = prop::sample::select(vec![
        "",
        "",
        "",
        "---\n",
        "--- # one\n",
        "\u{feff}",
        "%YAML 1.1\n---\n",
        "%YAML 1.2\n---\n",
        "\n\n",
    ]);
    let tail = prop::sample::select(vec![
        "",
        "",
        "",
        "---\n",
        "...\n",
        "# end",
        "\n\n",
        "---\nx: y\n",
        "  \t\n",
        "...\n---\n",
    ]);
    let lists = (
        list("clusters", "cluster"),
        list("users", "user"),
        list("contexts", "context"),
    );
    let parts = (lists, current, other).prop_map(|((clusters, users, contexts), current, other)| {
        vec![clusters, users, contexts, current, other.to_owned()]
    });
    (parts.prop_shuffle(), head, tail, 0..12_u8).prop_map(|(parts, head, tail, ends)| {
        let text = format!("{head}{}{tail}", parts.concat());
        match ends {
            0 => text.replace('\n', "\r\n"),
            1 => text.trim_end().to_owned(),
            _ => text,
        }
    })
}
