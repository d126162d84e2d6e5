//! `tka login --merge`: what the real kubectl makes of a kubeconfig that is not tka's alone.

use std::fs;
use std::path::{Path, PathBuf};

use e2e::user::{ALICE, BOB};
use e2e::{Outcome, Person, World, rule};
use serde_json::Value;

crate::tests![
    context_is_in_the_kubeconfig_until_logout,
    clusters_and_rules_are_side_by_side,
    kubectl_writes_to_the_file_that_is_merged_into,
    kubectl_and_tka_wait_for_each_other,
    several_kubeconfigs_of_tka_in_one_list_all_work,
    list_of_nothing_is_answered_with_a_line_for_kubectl,
    renamed_context_leaves_the_former_one_current,
    kubectl_and_tka_may_write_the_same_files,
];

/// With what kubectl's YAML and that of others take for different things.
const THEIRS: &str = "\
# Mine.
apiVersion: v1
kind: Config
clusters:
- name: kind
  cluster: {server: 'https://127.0.0.1:1', insecure-skip-tls-verify: yes}
contexts:
- context: &home
    cluster: kind
    user: \"0123\"
    namespace: 'on'
  name: kind
- context: *home
  name: 'yes'
current-context: kind # for now
users:
- name: \"0123\"
  user:
    exec:
      apiVersion: client.authentication.k8s.io/v1
      command: own-plugin
      interactiveMode: Never
      env: [{name: A, value: '1e3'}]
extensions:
- name: mine
  extension: {apiVersion: example.com/v1, kind: Mine, x: [1, off, 0o17]}
";

fn config(person: &Person) -> PathBuf {
    person.home().join(".kube/config")
}

fn has_config(person: &Person, text: &str) -> Outcome {
    fs::create_dir_all(person.home().join(".kube"))?;
    Ok(fs::write(config(person), text)?)
}

/// A kubeconfig, or a list of them, as kubectl reads it.
fn view(person: &Person, list: &Path) -> Outcome<Value> {
    let said = person
        .kubectl(list, &["config", "view", "--raw", "-o", "json"])?
        .expect(0)?;
    Ok(serde_json::from_str(&said.out)?)
}

fn names(kubeconfig: &Value, list: &str) -> Vec<String> {
    let items = kubeconfig[list].as_array().into_iter().flatten();
    items
        .filter_map(|item| item["name"].as_str())
        .map(ToOwned::to_owned)
        .collect()
}

fn context_is_in_the_kubeconfig_until_logout(world: &World) -> Outcome {
    let site = world.site("merge-one")?;
    site.grant(&[(ALICE, rule("view", "1h"))])?;
    let alice = site.person("ALICE")?;
    has_config(&alice, THEIRS)?;
    let file = config(&alice);
    let before = view(&alice, &file)?;
    let said = alice.tka(&["login", "--merge"])?.expect(0)?;
    assert_eq!(said.out, "", "there is nothing to evaluate");
    alice.remember(&file)?;
    alice.kubectl(&file, &["get", "pods", "--all-namespaces"])?.expect(0)?;

    let mut after = view(&alice, &file)?;
    assert_eq!(after["current-context"], "tka-context-alice");
    after["current-context"] = before["current-context"].clone();
    for (list, own) in [
        ("clusters", "tka-cluster"),
        ("users", "tka-user-alice"),
        ("contexts", "tka-context-alice"),
    ] {
        let items = after[list].as_array_mut().ok_or("no list")?;
        items.retain(|item| item["name"] != own);
    }
    assert_eq!(after, before, "kubectl sees all else as before");

    alice.tka(&["logout"])?.expect(0)?;
    assert_eq!(fs::read_to_string(&file)?, THEIRS);
    assert_eq!(fs::read_to_string(file.with_extension("tka-backup"))?, THEIRS);
    assert_eq!(site.counts()?, [0, 0, 0]);
    Ok(())
}

fn clusters_and_rules_are_side_by_side(world: &World) -> Outcome {
    let (one, two) = (world.site("merge-side-one")?, world.site("merge-side-two")?);
    let mut oncall = rule("edit", "1h");
    oncall["name"] = "oncall".into();
    let mut daily = rule("view", "1h");
    daily["priority"] = 100.into();
    one.grant(&[(BOB, daily), (BOB, oncall)])?;
    two.grant(&[(BOB, rule("view", "1h"))])?;
    let bob = one.person("BOB")?;
    let at_two = |arguments: &[&str]| -> Outcome {
        let url = two.server.url();
        let arguments = [&["--server", &url][..], arguments].concat();
        bob.tka(&arguments)?.expect(0).map(drop)
    };
    bob.tka(&["login", "--merge"])?.expect(0)?;
    bob.tka(&["login", "--merge", "--rule", "oncall"])?.expect(0)?;
    at_two(&["login", "--merge"])?;
    let file = config(&bob);
    bob.remember(&file)?;
    let all = ["tka-context-bob", "tka-context-bob-oncall", "tka-context-bob@tka"];
    assert_eq!(names(&view(&bob, &file)?, "contexts"), all);
    let may = |context: &str, verb: &str| -> Outcome<bool> {
        let arguments = ["--context", context, "auth", "can-i", verb, "configmaps"];
        Ok(bob.kubectl(&file, &arguments)?.status == Some(0))
    };
    for context in all {
        assert!(may(context, "list")?, "{context}");
        assert_eq!(may(context, "create")?, context.ends_with("oncall"), "{context}");
    }
    // Each goes by itself, and takes nothing of the others along.
    let sessions = bob.tka(&["sessions", "-o", "json"])?.expect(0)?;
    let sessions: Value = serde_json::from_str(&sessions.out)?;
    let mut sessions = sessions["items"].as_array().into_iter().flatten();
    let oncall = sessions.find(|session| session["rule"] == "oncall");
    let oncall = oncall
        .and_then(|session| session["name"].as_str())
        .ok_or("no session for oncall")?;
    bob.tka(&["sessions", "end", oncall])?.expect(0)?;
    assert_eq!(names(&view(&bob, &file)?, "contexts"), [all[0], all[2]]);
    assert!(may(all[0], "list")? && may(all[2], "list")?);
    bob.tka(&["reauthenticate", "--merge"])?.expect(0)?;
    bob.remember(&file)?;
    assert!(may(all[0], "list")? && may(all[2], "list")?);
    bob.tka(&["logout"])?.expect(0)?;
    assert!(may(all[2], "list")?);
    at_two(&["logout"])?;
    assert!(!file.exists(), "tka made it, and it holds nothing else");
    assert_eq!((one.counts()?, two.counts()?), ([0, 0, 0], [0, 0, 0]));
    Ok(())
}

fn kubectl_writes_to_the_file_that_is_merged_into(world: &World) -> Outcome {
    let site = world.site("merge-list")?;
    site.grant(&[(ALICE, rule("view", "1h"))])?;
    let alice = site.person("ALICE")?;
    let there = |names: &[&str]| -> Vec<PathBuf> { names.iter().map(|name| alice.home().join(name)).collect() };
    for (at, (list, exist)) in [
        (&["a", "b"][..], &["b"][..]),
        (&["a", "b"], &["a", "b"]),
        (&["a", "b"], &[]),
        (&["a"], &[]),
        (&["a", "a"], &[]),
    ]
    .into_iter()
    .enumerate()
    {
        for path in there(&["a", "b"]) {
            let _ = fs::remove_file(path);
        }
        for path in there(exist) {
            fs::write(path, "apiVersion: v1\nkind: Config\n")?;
        }
        let list = std::env::join_paths(there(list))?;
        let mut command = alice.typed(&["login", "--merge", "-q"]);
        assert!(command.env("KUBECONFIG", &list).status()?.success());
        let has = |text: &str| -> Vec<PathBuf> {
            let has = |path: &PathBuf| fs::read_to_string(path).is_ok_and(|found| found.contains(text));
            there(&["a", "b"]).into_iter().filter(has).collect()
        };
        let ours = has("tka-context-alice");
        assert_eq!(ours.len(), 1, "case {at}");
        alice.remember(&ours[0])?;
        // What kubectl adds goes to its default file.
        let list = Path::new(&list);
        alice
            .kubectl(list, &["config", "set-cluster", "mine", "--server", "https://x"])?
            .expect(0)?;
        assert_eq!(has("mine"), ours, "case {at}");
        let mut command = alice.typed(&["logout", "-q"]);
        assert!(command.env("KUBECONFIG", list).status()?.success());
        assert_eq!(names(&view(&alice, list)?, "clusters"), ["mine"], "case {at}");
    }
    Ok(())
}

fn kubectl_and_tka_wait_for_each_other(world: &World) -> Outcome {
    let site = world.site("merge-race")?;
    site.grant(&[(ALICE, rule("view", "1h"))])?;
    let alice = site.person("ALICE")?;
    has_config(&alice, THEIRS)?;
    let file = config(&alice);
    alice.tka(&["login", "--merge"])?.expect(0)?;
    alice.remember(&file)?;
    // kubectl gives up at once where the file is locked: only what it did may be there.
    let mut done = vec!["kind".to_owned(), "tka-cluster".to_owned()];
    let mut tka = alice.typed(&["kubeconfig", "--merge", "--token", "-q"]).spawn()?;
    for at in 0..20 {
        let name = format!("mine-{at}");
        let said = alice.kubectl(&file, &["config", "set-cluster", &name, "--server", "https://x"])?;
        if said.status == Some(0) {
            done.push(name);
        }
    }
    assert!(tka.wait()?.success());
    alice.remember(&file)?;
    let mut found = names(&view(&alice, &file)?, "clusters");
    found.sort();
    done.sort();
    assert_eq!(found, done);
    assert!(done.len() > 2, "kubectl got to it now and then");
    // kubectl has written the file anew, in its own way.
    alice.tka(&["logout"])?.expect(0)?;
    let left = view(&alice, &file)?;
    assert_eq!(left["current-context"], "kind");
    assert_eq!(names(&left, "users"), ["0123"]);
    Ok(())
}

/// cases.md 6: kubectl reads nothing where `KUBECONFIG` is `:`, and what is printed leads it to the context.
fn list_of_nothing_is_answered_with_a_line_for_kubectl(world: &World) -> Outcome {
    let site = world.site("merge-nothing")?;
    site.grant(&[(ALICE, rule("view", "1h"))])?;
    let alice = site.person("ALICE")?;
    has_config(&alice, THEIRS)?;
    let list = Path::new(":");
    assert!(names(&view(&alice, list)?, "contexts").is_empty());
    let mut command = alice.typed(&["login", "--merge", "-q"]);
    let output = command.env("KUBECONFIG", list).output()?;
    assert!(output.status.success());
    let line = String::from_utf8(output.stdout)?;
    let leads = PathBuf::from(line.trim().trim_start_matches("export KUBECONFIG="));
    assert_eq!(leads, config(&alice));
    alice.remember(&leads)?;
    alice.kubectl(&leads, &["get", "pods", "--all-namespaces"])?.expect(0)?;
    alice.tka(&["logout"])?.expect(0).map(drop)
}

/// cases.md 6: `kubectl config rename-context` of ours, then `logout`.
fn renamed_context_leaves_the_former_one_current(world: &World) -> Outcome {
    let site = world.site("merge-renamed")?;
    site.grant(&[(ALICE, rule("view", "1h"))])?;
    let alice = site.person("ALICE")?;
    has_config(&alice, THEIRS)?;
    let file = config(&alice);
    let before = view(&alice, &file)?;
    alice.tka(&["login", "--merge"])?.expect(0)?;
    alice.remember(&file)?;
    let renamed = ["config", "rename-context", "tka-context-alice", "mine"];
    alice.kubectl(&file, &renamed)?.expect(0)?;
    assert_eq!(view(&alice, &file)?["current-context"], "mine");
    // Signing in once more does not take it for the user's own.
    alice.tka(&["login", "--merge"])?.expect(0)?;
    alice.remember(&file)?;
    alice
        .kubectl(&file, &["config", "rename-context", "tka-context-alice", "again"])?
        .expect(0)?;
    let said = alice.tka(&["logout"])?.expect(0)?;
    assert!(said.err.contains("kind is the current context of"), "{said:?}");
    assert_eq!(view(&alice, &file)?, before);
    assert_eq!(site.counts()?, [0, 0, 0]);
    Ok(())
}

/// cases.md 2: where kubectl can change a file, `login --merge` can, and where it cannot, nothing is begun.
fn kubectl_and_tka_may_write_the_same_files(world: &World) -> Outcome {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    let site = world.site("merge-same")?;
    site.grant(&[(ALICE, rule("view", "1h"))])?;
    let alice = site.person("ALICE")?;
    let (place, elsewhere) = (alice.home().join("place"), alice.home().join("elsewhere"));
    for (at, shape) in [
        "plain",
        "hard link",
        "symbolic link",
        "folder that is a link",
        "a folder",
        "a dead end",
    ]
    .into_iter()
    .enumerate()
    {
        let (place, elsewhere) = (place.join(at.to_string()), elsewhere.join(at.to_string()));
        fs::create_dir_all(&place)?;
        fs::create_dir_all(&elsewhere)?;
        let real = elsewhere.join("config");
        fs::write(&real, THEIRS)?;
        fs::set_permissions(&real, fs::Permissions::from_mode(0o640))?;
        let file = place.join("config");
        match shape {
            "plain" => drop(fs::copy(&real, &file)?),
            "hard link" => fs::hard_link(&real, &file)?,
            "symbolic link" => std::os::unix::fs::symlink(&real, &file)?,
            "a folder" => fs::create_dir(&file)?,
            "a dead end" => fs::write(place.join("config.lock"), "")?,
            _ => std::os::unix::fs::symlink(&elsewhere, place.join("link"))?,
        }
        let file = if shape == "folder that is a link" {
            place.join("link/config")
        } else {
            file
        };
        if shape == "a dead end" {
            fs::copy(&real, &file)?;
        }
        let identity = || fs::metadata(&file).map(|found| (found.ino(), found.mode(), found.nlink()));
        let before = identity()?;
        let arguments = ["config", "set", "contexts.kind.namespace", "on"];
        let by_kubectl = alice.kubectl(&file, &arguments)?.status == Some(0);
        let mut command = alice.typed(&["login", "--merge", "-q"]);
        let by_tka = command.env("KUBECONFIG", &file).status()?.success();
        assert_eq!(by_tka, by_kubectl, "{shape}");
        assert_eq!(identity()?, before, "{shape}");
        if by_tka {
            alice.remember(&file)?;
            assert_eq!(view(&alice, &file)?["current-context"], "tka-context-alice", "{shape}");
            let mut command = alice.typed(&["logout", "-q"]);
            assert!(command.env("KUBECONFIG", &file).status()?.success(), "{shape}");
            assert_eq!(
                (identity()?, view(&alice, &file)?["current-context"].as_str()),
                (before, Some("kind"))
            );
        }
        assert_eq!(site.counts()?, [0, 0, 0], "{shape}");
    }
    Ok(())
}

fn several_kubeconfigs_of_tka_in_one_list_all_work(world: &World) -> Outcome {
    let (one, two) = (world.site("list-one")?, world.site("list-two")?);
    one.grant(&[(BOB, rule("view", "1h"))])?;
    two.grant(&[(BOB, rule("edit", "1h"))])?;
    let bob = one.person("BOB")?;
    let first = bob.login()?;
    let url = two.server.url();
    let said = bob.tka(&["login", "-q", "--server", &url])?.expect(0)?;
    let second = PathBuf::from(said.out.trim().trim_start_matches("export KUBECONFIG="));
    bob.remember(&second)?;
    let list = std::env::join_paths([&first, &second])?;
    let contexts = names(&view(&bob, Path::new(&list))?, "contexts");
    assert_eq!(contexts, ["tka-context-bob", "tka-context-bob@tka"]);
    for (context, status) in contexts.iter().zip([1, 0]) {
        let arguments = ["--context", context, "auth", "can-i", "create", "configmaps"];
        bob.kubectl(Path::new(&list), &arguments)?.expect(status)?;
    }
    bob.tka(&["logout"])?.expect(0)?;
    bob.tka(&["logout", "--server", &url])?.expect(0).map(drop)
}
