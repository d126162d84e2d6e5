//! Disks that are full, folders that may not be written to, files that are cut short, and two at once.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::fake_server::{Answer, FakeServer};
use crate::inside::after;
use crate::tka::{Outcome, User, signed_in};

fn signing_in() -> FakeServer {
    FakeServer::new(&[("POST /login", Answer::json(200, &signed_in()))])
}

/// `tka …` where no file may grow beyond that many blocks of the shell's, as on a disk that is full then.
fn on_full_disk(user: &User, fake: &FakeServer, blocks: u32, arguments: &[&str]) -> Outcome {
    // Else a signal comes too, which no disk sends.
    under(&format!("trap '' XFSZ; ulimit -f {blocks}"), user, fake, arguments)
}

/// `tka …` after what a shell does for its programs.
fn under(prepared: &str, user: &User, fake: &FakeServer, arguments: &[&str]) -> Outcome {
    let tka = user.command_with(fake, arguments);
    after(prepared, &tka).output().unwrap().into()
}

#[test]
fn a_full_disk_is_found_before_signing_in() {
    // Our own fits, theirs does not; and neither does.
    for blocks in [200, 0] {
        let (user, fake) = (User::new(), FakeServer::new(&[]));
        let config = user.home().join(".kube/config");
        fs::create_dir_all(user.home().join(".kube")).unwrap();
        let theirs = format!("x: {}\n", "y".repeat(200_000));
        fs::write(&config, &theirs).unwrap();
        let outcome = on_full_disk(&user, &fake, blocks, &["login", "--merge"]);
        assert_eq!((outcome.status, outcome.stdout.as_str()), (1, "false\n"), "{outcome:?}");
        assert!(outcome.stderr.contains("ulimit -f"), "{outcome:?}");
        assert!(!outcome.stderr.contains("you are signed in"), "{outcome:?}");
        assert_eq!(fs::read_to_string(&config).unwrap(), theirs);
        assert_eq!(user.files(), [".kube", ".kube/config"], "no half of anything");
        assert!(fake.requests().is_empty());
    }
}

#[test]
fn a_full_disk_keeps_the_kubeconfig_that_was_there() {
    let (user, fake) = (User::new(), signing_in());
    assert_eq!(user.run_with(&fake, &["login"]).status, 0);
    let before = fs::read_to_string(user.kubeconfig(&fake)).unwrap();
    let files = user.files();
    let outcome = on_full_disk(&user, &fake, 0, &["login", "--token"]);
    assert_eq!((outcome.status, outcome.stdout.as_str()), (1, "false\n"), "{outcome:?}");
    assert!(!outcome.stderr.contains("you are signed in"), "{outcome:?}");
    assert_eq!(fs::read_to_string(user.kubeconfig(&fake)).unwrap(), before);
    assert_eq!(user.files(), files);
    assert_eq!(fake.requests().len(), 1);
}

/// The signal of a limit ends a program that does not expect it.
#[test]
fn file_size_limit_is_told_as_a_full_disk_is() {
    for (blocks, merge) in [(0, false), (1, false), (200, true), (0, true)] {
        let (user, fake) = (User::new(), FakeServer::new(&[]));
        let theirs = format!("x: {}\n", "y".repeat(200_000));
        fs::create_dir_all(user.home().join(".kube")).unwrap();
        fs::write(user.home().join(".kube/config"), &theirs).unwrap();
        let arguments = if merge { &["login", "--merge"][..] } else { &["login"] };
        let outcome = under(&format!("ulimit -f {blocks}"), &user, &fake, arguments);
        assert_eq!((outcome.status, outcome.stdout.as_str()), (1, "false\n"), "{outcome:?}");
        assert!(outcome.stderr.contains("ulimit -f"), "{outcome:?}");
        assert_eq!(fs::read_to_string(user.home().join(".kube/config")).unwrap(), theirs);
        assert_eq!(user.files(), [".kube", ".kube/config"], "no lock stays");
        assert!(fake.requests().is_empty());
    }
}

#[test]
fn programs_that_are_started_keep_the_signal_of_a_file_size_limit() {
    let ends = json!({"username": "alice@example.com", "role": "view", "until": "2999-01-02T15:04:05Z"});
    let fake = FakeServer::new(&[
        ("POST /login", Answer::json(200, &signed_in())),
        ("POST /logout", Answer::json(200, &ends)),
    ]);
    let writes = "ulimit -f 0; echo x > file; echo went on";
    // It ends them, unless the program that started the tests has it ignored.
    let folder = tempfile::tempdir().unwrap();
    let plain = Command::new("sh")
        .args(["-c", writes])
        .current_dir(&folder)
        .output()
        .unwrap();
    let status = plain.status.code().or(plain.status.signal().map(|signal| 128 + signal));
    let outcome = User::new().run_with(&fake, &["exec", "--", "sh", "-c", writes]);
    assert_eq!(Some(outcome.status), status, "{outcome:?}");
    assert_eq!(outcome.stdout.as_bytes(), plain.stdout, "{outcome:?}");
}

#[test]
fn no_session_without_a_place_for_the_kubeconfig() {
    let (user, fake) = (User::new(), FakeServer::new(&[]));
    let outcome = on_full_disk(&user, &fake, 0, &["exec", "--", "true"]);
    assert_eq!(outcome.status, 1, "{outcome:?}");
    assert!(outcome.stderr.contains("ulimit -f"), "{outcome:?}");
    assert!(fake.requests().is_empty());
}

/// A home folder that its owner, not root, may only read.
#[test]
fn a_read_only_home_is_found_before_signing_in() {
    let (user, fake) = (User::new(), FakeServer::new(&[]));
    let place = tempfile::tempdir().unwrap();
    let (home, program) = (place.path().join("home"), place.path().join("tka"));
    fs::create_dir(&home).unwrap();
    // By another process: one that this one starts meanwhile for another test would have it open for writing, and keep it from running.
    let copied = Command::new("cp").arg(env!("CARGO_BIN_EXE_tka")).arg(&program).status();
    assert!(copied.unwrap().success());
    fs::set_permissions(place.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = Command::new(&program);
    let tka = user.command_with(&fake, &[]);
    let variables = tka.get_envs().filter_map(|(name, value)| Some((name, value?)));
    command
        .arg("login")
        .env_clear()
        .envs(variables)
        .current_dir(place.path())
        .env("HOME", &home);
    if rustix::process::geteuid().is_root() {
        const UNPRIVILEGED: u32 = 65534;
        chown(&home, Some(UNPRIVILEGED), Some(UNPRIVILEGED)).unwrap();
        command.uid(UNPRIVILEGED).gid(UNPRIVILEGED);
    }
    fs::set_permissions(&home, fs::Permissions::from_mode(0o500)).unwrap();
    let outcome = Outcome::from(command.output().unwrap());
    assert_eq!(outcome.status, 1, "{outcome:?}");
    let said = format!("cannot write to {}", home.display());
    assert!(outcome.stderr.contains(&said), "{outcome:?}");
    assert!(fake.requests().is_empty());
}

/// The program called for in the kubeconfig that a sign-in writes while its own file is changed by `change`.
fn called_after(change: fn(&std::path::Path)) -> String {
    let user = User::new();
    let meeting = std::sync::Arc::new(std::sync::Barrier::new(2));
    let answer = Answer::Meeting(meeting.clone(), Answer::json(200, &signed_in()).into());
    let fake = FakeServer::new(&[("POST /login", answer)]);
    let program = user.home().join("bin/tka");
    fs::create_dir(user.home().join("bin")).unwrap();
    // By another process, as below.
    let copied = Command::new("cp").arg(env!("CARGO_BIN_EXE_tka")).arg(&program).status();
    assert!(copied.unwrap().success());
    let tka = user.command_with(&fake, &["login"]);
    let variables = tka.get_envs().filter_map(|(name, value)| Some((name, value?)));
    let mut command = Command::new(&program);
    command
        .arg("login")
        .env_clear()
        .envs(variables)
        .current_dir(user.home());
    let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    meeting.wait();
    change(&program);
    meeting.wait();
    assert!(child.unwrap().wait().unwrap().success());
    let kept: Value = serde_saphyr::from_str(&fs::read_to_string(user.kubeconfig(&fake)).unwrap()).unwrap();
    let called = kept["users"][0]["user"]["exec"]["command"].as_str().unwrap();
    called.replace(&user.home().display().to_string(), "HOME")
}

#[test]
fn replaced_program_is_called_at_its_path() {
    let replaced = called_after(|program| {
        fs::remove_file(program).unwrap();
        fs::write(program, "").unwrap();
    });
    assert_eq!(replaced, "HOME/bin/tka");
    assert_eq!(called_after(|program| fs::remove_file(program).unwrap()), "tka");
}

#[test]
fn a_kubeconfig_that_is_cut_short_is_put_aside_and_told() {
    let user = User::new();
    let fake = FakeServer::new(&[
        ("POST /login", Answer::json(200, &signed_in())),
        ("POST /login", Answer::json(200, &signed_in())),
        ("POST /logout", Answer::json(200, &crate::tka::login())),
    ]);
    assert_eq!(user.run_with(&fake, &["login"]).status, 0);
    let path = user.kubeconfig(&fake);
    let whole = fs::read_to_string(&path).unwrap();
    let (cut, _) = whole.split_at(whole.find("://k8s").unwrap());
    fs::write(&path, cut).unwrap();
    let outcome = user.run_with(&fake, &["login"]);
    assert_eq!(outcome.status, 0, "{outcome:?}");
    assert!(outcome.stderr.contains("is written anew"), "{outcome:?}");
    assert_eq!(fs::read_to_string(&path).unwrap(), whole);
    assert_eq!(fs::read_to_string(path.with_extension("yaml.damaged")).unwrap(), cut);
    assert_eq!(user.run_with(&fake, &["logout"]).status, 0);
    let aside = path.with_extension("yaml.damaged");
    let aside = aside.strip_prefix(user.home()).unwrap().display().to_string();
    assert_eq!(user.files(), [".kube", ".kube/tka", &aside], "its owner is unknown");
}

#[test]
fn what_people_add_to_the_kubeconfig_stays() {
    let user = User::new();
    let fake = FakeServer::new(&vec![("POST /login", Answer::json(200, &signed_in())); 2]);
    assert_eq!(user.run_with(&fake, &["login"]).status, 0);
    let path = user.kubeconfig(&fake);
    // A plugin of theirs that says nothing of how to install it.
    let theirs = "users:\n- name: own\n  user: {exec: {apiVersion: client.authentication.k8s.io/v1, command: own}}\n";
    let text = fs::read_to_string(&path).unwrap().replace("users:\n", theirs);
    fs::write(&path, text + "preferences: {colors: true} # mine\n").unwrap();
    let outcome = user.run_with(&fake, &["login", "--token"]);
    assert_eq!(outcome.status, 0, "{outcome:?}");
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains(theirs) && text.contains("# mine"), "{text}");
}

#[test]
fn many_sign_ins_at_once_keep_all_contexts() {
    let user = User::new();
    let rules: Vec<_> = (0..8).map(|at| format!("rule-{at}")).collect();
    let fake = |rule: &String| {
        let all = json!({"items": [{"name": rule, "role": "edit", "namespaces": [], "period": "1h0m0s", "priority": 1,
            "require_reason": false, "default": true}]});
        let mut answer = signed_in();
        answer["session"]["name"] = json!(format!("tka-alice-{rule}"));
        FakeServer::new(&[
            ("GET /rules", Answer::json(200, &all)),
            ("POST /login", Answer::json(200, &answer)),
        ])
    };
    let fakes: Vec<_> = rules.iter().map(fake).collect();
    // One server, to which each gets by a way of its own.
    let start = |(fake, rule): (&FakeServer, &String)| {
        let mut command = user.command(&["login", "-q", "--server", "http://tka.test:8080", "--rule", rule]);
        command
            .env("HTTP_PROXY", format!("http://{}", fake.address))
            .stdout(Stdio::null())
            .spawn()
            .unwrap()
    };
    let started: Vec<_> = fakes.iter().zip(&rules).map(start).collect();
    for mut child in started {
        assert!(child.wait().unwrap().success());
    }
    let path = user.folder().join("tka.test_8080.yaml");
    let kept: Value = serde_saphyr::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    let known: Value = serde_json::from_slice(&fs::read(path.with_extension("json")).unwrap()).unwrap();
    assert_eq!(kept["contexts"].as_array().map(Vec::len), Some(8));
    assert_eq!(known["sessions"].as_array().map(Vec::len), Some(8));
}
