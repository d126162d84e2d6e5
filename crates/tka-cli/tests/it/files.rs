//! Files and folders that belong to other people in some way, and machines without a home folder.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Barrier};

use rustix::fs::{XattrFlags, getxattr, setxattr};
use serde_json::json;

use crate::fake_server::{Answer, FakeServer};
use crate::inside::{in_own_mounts, variables};
use crate::shell::whole_session;
use crate::test_requirements::{is_root, report_missing};
use crate::tka::{Outcome, SESSION, User, credential, login, signed_in};

/// A user ID and a group ID without entries on this machine.
const ME: u32 = 47_110;
const TEAM: u32 = 47_120;
const OTHER: u32 = 47_130;

const THEIRS: &str = "current-context: kind\nclusters: []\nusers: []\ncontexts: []\n";

/// A program that others may run: the one that is built may be in a folder of root's.
fn program() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let program = folder.path().join("tka");
    // By another process: one that this one starts meanwhile for another test would have it open for writing, and keep it from running.
    let copied = Command::new("cp").arg(env!("CARGO_BIN_EXE_tka")).arg(&program).status();
    assert!(copied.unwrap().success());
    (folder, program)
}

/// A home folder of `ME`, with what `make` puts there.
fn home_of_me() -> User {
    let user = User::new();
    fs::create_dir(user.home().join(".kube")).unwrap();
    for path in [user.home(), user.runtime(), &user.home().join(".kube")] {
        chown(path, Some(ME), Some(ME)).unwrap();
    }
    user
}

/// `tka` of `command` as `ME`, a member of the team.
fn as_me(command: &Command) -> Outcome {
    let (_folder, program) = program();
    let mut other = Command::new("setpriv");
    let (me, groups) = (ME.to_string(), format!("{ME},{TEAM}"));
    other
        .args(["--reuid", &me, "--regid", &me, "--groups", &groups])
        .arg(program);
    other.args(command.get_args()).env_clear().envs(variables(command));
    other.current_dir("/");
    other.output().unwrap().into()
}

fn signing_in() -> FakeServer {
    FakeServer::new(&[
        ("POST /login", Answer::json(200, &signed_in())),
        ("POST /logout", Answer::json(200, &login())),
    ])
}

/// What stays of a file: its inode, owner and permissions.
fn identity(path: &Path) -> (u64, u32, u32, u32, u64) {
    let found = fs::metadata(path).unwrap();
    (found.ino(), found.uid(), found.gid(), found.mode(), found.nlink())
}

/// Merges into `config` by `run` and signs out: kubectl would find the context there in between, and the file stays what it was.
fn is_merged(user: &User, config: &Path, run: impl Fn(&Command) -> Outcome) {
    let fake = signing_in();
    fs::write(config, THEIRS).unwrap();
    let before = identity(config);
    let command = |arguments: &[&str]| {
        let mut command = user.command_with(&fake, arguments);
        command.env("KUBECONFIG", config);
        command
    };
    let outcome = run(&command(&["login", "--merge"]));
    assert_eq!(outcome.status, 0, "{outcome:?}");
    let merged = fs::read_to_string(config).unwrap();
    assert!(merged.contains("current-context: \"tka-context-alice\""), "{merged}");
    assert_eq!(identity(config), before);
    let outcome = run(&command(&["logout"]));
    assert_eq!(outcome.status, 0, "{outcome:?}");
    assert_eq!(fs::read_to_string(config).unwrap(), THEIRS);
    assert_eq!(identity(config), before);
    let beside = fs::read_dir(config.parent().unwrap()).unwrap();
    let beside: Vec<_> = beside.map(|entry| entry.unwrap().file_name()).collect();
    assert!(
        !beside.iter().any(|name| name.to_string_lossy().ends_with(".lock")),
        "{beside:?}"
    );
}

/// cases.md 2: `me:root` 0600, after a `sudo chown me`.
#[test]
fn file_of_a_group_that_i_am_not_in_is_merged_into() {
    if !is_root() {
        return;
    }
    let user = home_of_me();
    let config = user.home().join(".kube/config");
    fs::write(&config, "").unwrap();
    fs::set_permissions(&config, fs::Permissions::from_mode(0o600)).unwrap();
    chown(&config, Some(ME), Some(0)).unwrap();
    is_merged(&user, &config, as_me);
}

/// cases.md 2: `root:team` 0664, where I am in the team.
#[test]
fn file_of_a_team_is_merged_into() {
    if !is_root() {
        return;
    }
    let (user, shared) = (home_of_me(), tempfile::tempdir().unwrap());
    chown(shared.path(), Some(0), Some(TEAM)).unwrap();
    fs::set_permissions(shared.path(), fs::Permissions::from_mode(0o2775)).unwrap();
    let config = shared.path().join("config");
    fs::write(&config, "").unwrap();
    chown(&config, Some(0), Some(TEAM)).unwrap();
    fs::set_permissions(&config, fs::Permissions::from_mode(0o664)).unwrap();
    is_merged(&user, &config, as_me);
}

/// cases.md 2: a file that is mounted on, as containers have it.
#[test]
fn file_with_a_mount_on_it_is_merged_into() {
    if !is_root() {
        return;
    }
    let (user, place) = (User::new(), tempfile::tempdir().unwrap());
    let (config, real) = (user.home().join(".kube/config"), place.path().join("real"));
    fs::create_dir(user.home().join(".kube")).unwrap();
    for path in [&config, &real] {
        fs::write(path, THEIRS).unwrap();
    }
    let fake = signing_in();
    let run = |arguments: &[&str]| {
        let mut command = user.command_with(&fake, arguments);
        command.env("REAL", &real).env("CONFIG", &config);
        let outcome = Outcome::from(
            in_own_mounts("mount --bind \"$REAL\" \"$CONFIG\"; exec \"$@\"", &command)
                .output()
                .unwrap(),
        );
        assert_eq!(outcome.status, 0, "{outcome:?}");
    };
    run(&["login", "--merge"]);
    assert!(fs::read_to_string(&real).unwrap().contains("tka-context-alice"));
    run(&["logout"]);
    assert_eq!(fs::read_to_string(&real).unwrap(), THEIRS);
    assert_eq!(fs::read_to_string(&config).unwrap(), THEIRS, "what is below the mount");
}

/// cases.md 2: extended attributes, and another hard link.
#[test]
fn attributes_and_other_names_of_a_file_stay() {
    let user = User::new();
    let (config, other) = (user.home().join("config"), user.home().join("other"));
    fs::write(&config, "").unwrap();
    fs::hard_link(&config, &other).unwrap();
    let has_attributes = setxattr(&config, "user.test", b"mine", XattrFlags::empty()).is_ok();
    if !has_attributes {
        report_missing("extended attributes on its temporary folder");
    }
    is_merged(&user, &config, CloneAndRun::clone_and_run);
    assert_eq!(fs::read_to_string(&other).unwrap(), THEIRS);
    if has_attributes {
        let mut value = [0; 16];
        let length = getxattr(&config, "user.test", &mut value[..]).unwrap();
        assert_eq!(&value[..length], b"mine");
    }
}

/// What is said of a file that cannot be written. Nothing is begun, and nothing is left.
fn is_refused(fake: &FakeServer, outcome: &Outcome, config: &Path, words: &[&str]) {
    assert_eq!(outcome.status, 1, "{outcome:?}");
    for word in words {
        assert!(outcome.stderr.contains(word), "{word}: {outcome:?}");
    }
    assert!(fake.requests().is_empty());
    assert_eq!(fs::read_to_string(config).unwrap(), THEIRS);
}

/// cases.md 2: refused before a session is begun, with advice that fits the cause.
#[test]
fn what_i_may_not_write_is_refused_before_signing_in() {
    if !is_root() {
        return;
    }
    let refused = |file: (u32, u32), folder: (u32, u32), words: &[&str]| {
        let (user, fake) = (home_of_me(), FakeServer::new(&[]));
        let config = user.home().join(".kube/config");
        fs::write(&config, THEIRS).unwrap();
        for (path, (owner, mode)) in [(&*config, file), (config.parent().unwrap(), folder)] {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
            chown(path, Some(owner), Some(owner)).unwrap();
        }
        // Our own has a place elsewhere, so that it is theirs that matters.
        fs::create_dir_all(user.home().join(".kube/tka")).unwrap();
        chown(user.home().join(".kube/tka"), Some(ME), Some(ME)).unwrap();
        let outcome = as_me(&user.command_with(&fake, &["login", "--merge"]));
        is_refused(&fake, &outcome, &config, words);
    };
    refused((0, 0o644), (ME, 0o755), &["cannot write", "write permission: `ls -ld"]);
    refused((ME, 0o444), (ME, 0o755), &["is read-only", "`chmod u+w"]);
    refused(
        (ME, 0o644),
        (0, 0o755),
        &["cannot be locked", "as kubectl does", "`ls -ld"],
    );
}

/// cases.md 2, its kind: immutable files, file systems that are read-only or full.
#[test]
fn unwritable_places_are_refused_before_signing_in() {
    if !is_root() {
        return;
    }
    let refused = |script: &str, words: &[&str]| {
        let (user, fake) = (User::new(), FakeServer::new(&[]));
        let config = user.home().join(".kube/config");
        fs::create_dir(user.home().join(".kube")).unwrap();
        fs::write(&config, THEIRS).unwrap();
        let mut command = user.command_with(&fake, &["login", "--merge"]);
        command.env("KUBE", user.home().join(".kube"));
        let outcome = Outcome::from(in_own_mounts(script, &command).output().unwrap());
        is_refused(&fake, &outcome, &config, words);
    };
    let read_only =
        "mount --bind \"$KUBE/config\" \"$KUBE/config\"; mount -o remount,ro,bind \"$KUBE/config\"; exec \"$@\"";
    refused(read_only, &["cannot write", "read-only: `findmnt"]);
    let full = "cp \"$KUBE/config\" \"$KUBE/../theirs\"; mount -t tmpfs -o size=200k tmpfs \"$KUBE\"; cp \"$KUBE/../theirs\" \"$KUBE/config\"
        head -c 150000 /dev/zero >\"$KUBE/other\"; exec \"$@\"";
    refused(full, &["cannot write", "the disk is full: `df -h"]);
    // Where the file system has such a thing.
    let immutable = "chattr +i \"$KUBE/config\" || { echo 'lsattr, cannot write' >&2; exit 1; }; \"$@\" || s=$?; chattr -i \"$KUBE/config\"; exit $s";
    refused(immutable, &["cannot write", "lsattr"]);
}

/// A disk that fills up while the server is asked, which cannot be known before.
#[test]
fn disk_that_is_full_meanwhile_leaves_the_file_as_it_was() {
    if !is_root() {
        return;
    }
    let user = User::new();
    let meeting = Arc::new(Barrier::new(2));
    let answer = Answer::Meeting(Arc::clone(&meeting), Answer::json(200, &signed_in()).into());
    let fake = FakeServer::new(&[("POST /login", answer)]);
    let config = user.home().join("small/config");
    fs::create_dir(config.parent().unwrap()).unwrap();
    let tka = user.command_with(&fake, &["login", "--merge"]);
    let script = "mount -t tmpfs -o size=300k tmpfs small; echo \"$THEIRS\" >small/config; \"$@\" & wait $! || s=$?
        cat small/config; ls small; exit $s";
    // The test fills it in the same mounts, when the server is asked.
    let filled = "until [ -e go ]; do sleep 0.01; done; head -c 400000 /dev/zero >small/other; touch full";
    let script = format!("set +e; ({filled}) 2>/dev/null & {script}");
    let mut command = in_own_mounts(&script, &tka);
    command.env("KUBECONFIG", &config).env("THEIRS", THEIRS.trim());
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    meeting.wait();
    fs::write(user.home().join("go"), "").unwrap();
    let until = std::time::Instant::now() + std::time::Duration::from_mins(1);
    while !user.home().join("full").exists() && std::time::Instant::now() < until {
        std::thread::yield_now();
    }
    meeting.wait();
    let outcome = Outcome::from(child.wait_with_output().unwrap());
    assert_eq!(outcome.status, 1, "{outcome:?}");
    assert!(outcome.stderr.contains("the disk is full"), "{outcome:?}");
    assert!(outcome.stderr.contains("you are signed in"), "{outcome:?}");
    assert_eq!(outcome.stdout, format!("false\n{THEIRS}config\nother\n"), "{outcome:?}");
}

/// cases.md 2, its kind: a person's settings file is theirs too.
#[test]
fn settings_file_stays_what_it_was() {
    let user = User::new();
    let (real, other, config) = (
        user.home().join("dotfiles.yaml"),
        user.home().join("other"),
        user.home().join("config.yaml"),
    );
    fs::write(&real, "debug: false # mine\n").unwrap();
    fs::hard_link(&real, &other).unwrap();
    std::os::unix::fs::symlink(&real, &config).unwrap();
    fs::set_permissions(&real, fs::Permissions::from_mode(0o664)).unwrap();
    if is_root() {
        chown(&real, Some(OTHER), Some(TEAM)).unwrap();
    }
    let before = identity(&real);
    let outcome = user.run(&["--config", "config.yaml", "config", "debug", "true"]);
    assert_eq!(outcome.status, 0, "{outcome:?}");
    assert_eq!(fs::read_to_string(&other).unwrap(), "debug: true # mine\n");
    assert_eq!(identity(&real), before);
    assert!(fs::symlink_metadata(&config).unwrap().is_symlink());
    assert_eq!(user.files(), ["config.yaml", "dotfiles.yaml", "other"]);
}

/// What is in `home` that does not belong to `owner`.
fn foreign(home: &User, owner: u32) -> Vec<String> {
    let is_foreign = |name: &String| fs::symlink_metadata(home.home().join(name)).unwrap().uid() != owner;
    home.files().into_iter().filter(is_foreign).collect()
}

/// cases.md 7: root with the home folder of another user, as in containers of CI.
#[test]
fn what_root_makes_in_a_users_home_is_that_users() {
    if !is_root() {
        return;
    }
    let answers = [
        ("POST /login", Answer::json(200, &signed_in())),
        ("POST /login", Answer::json(200, &signed_in())),
        ("POST /logout", Answer::json(200, &login())),
    ];
    let (user, fake) = (User::new(), FakeServer::new(&answers));
    for path in [user.home(), user.runtime()] {
        chown(path, Some(OTHER), Some(TEAM)).unwrap();
    }
    for arguments in [
        &["login"][..],
        &["login", "--merge"],
        &["config", "--force", "debug", "false"],
        &["generate", "man", "--dir", ".local/share/man/man1"],
    ] {
        let outcome = user.run_with(&fake, arguments);
        assert_eq!(outcome.status, 0, "{outcome:?}");
        let made = foreign(&user, OTHER);
        let made: Vec<_> = made
            .iter()
            .filter(|name| !name.contains(".local/share/man/man1/"))
            .collect();
        assert!(made.is_empty(), "{arguments:?}: {made:?}");
    }
    let names = [".config/tka", ".kube/config", ".kube/tka", ".local/share/man"];
    assert!(
        names.iter().all(|name| user.home().join(name).exists()),
        "{:?}",
        user.files()
    );
    assert_eq!(user.run_with(&fake, &["logout"]).status, 0);
    assert_eq!(
        fs::read_dir(user.runtime()).unwrap().count(),
        0,
        "a folder of root's would lock them out"
    );
}

/// The same of what the plugin keeps: it has other places.
#[test]
fn root_keeps_no_credentials_in_a_users_home() {
    if !is_root() {
        return;
    }
    for choice in ["memory", "keyring", "none"] {
        let (user, fake) = (
            User::new(),
            FakeServer::new(&[("POST /credential", Answer::json(200, &credential()))]),
        );
        for path in [user.home(), user.runtime()] {
            chown(path, Some(OTHER), Some(TEAM)).unwrap();
        }
        let server = format!("http://127.0.0.1:{}", fake.address.port());
        let session = "tka-alice-foreign-home";
        let mut command = user.command(&["credential", "--server", &server, "--session", session]);
        let outcome = Outcome::from(command.env("TKA_CREDENTIAL_CACHE", choice).output().unwrap());
        assert_eq!(outcome.status, 0, "{outcome:?}");
        assert!(user.files().is_empty(), "{:?}", user.files());
        assert_eq!(fs::read_dir(user.runtime()).unwrap().count(), 0);
    }
}

/// Commands in a container: no home folder, and a user without an entry in passwd.
fn without_home(fake: &FakeServer, arguments: &[&str]) -> Outcome {
    let user = User::new();
    let mut command = user.command_with(fake, arguments);
    command
        .env_remove("HOME")
        .env_remove("XDG_RUNTIME_DIR")
        .env("PATH", "/usr/bin:/bin");
    if rustix::process::geteuid().is_root() {
        as_me(&command)
    } else {
        report_missing("root, to run tests as a user without an entry in passwd");
        command.clone_and_run()
    }
}

/// cases.md 7: no HOME.
#[test]
fn commands_that_need_no_home_do_without() {
    let server = |fake: &FakeServer| format!("http://127.0.0.1:{}", fake.address.port());
    let fake = whole_session();
    let outcome = without_home(
        &fake,
        &["exec", "--", "sh", "-c", "test -s \"$KUBECONFIG\" && echo run"],
    );
    assert_eq!((outcome.status, outcome.stdout.as_str()), (0, "run\n"), "{outcome:?}");
    fake.requests();

    let rules = json!({"items": [{"name": null, "role": "view", "namespaces": [], "period": "1h0m0s", "priority": 1,
        "require_reason": false, "default": true}]});
    let sessions = Answer::json(200, &json!({"items": []}));
    for (request, answer, arguments, status) in [
        ("GET /rules", Answer::json(200, &rules), &["rules"][..], 0),
        ("GET /sessions", sessions.clone(), &["sessions"], 0),
        ("GET /sessions", sessions, &["status"], 3),
        ("GET /login", Answer::json(200, &login()), &["get", "login"], 0),
        ("POST /logout", Answer::json(200, &login()), &["logout"], 0),
    ] {
        let fake = FakeServer::new(&[(request, answer)]);
        let outcome = without_home(&fake, arguments);
        assert_eq!(outcome.status, status, "{arguments:?}: {outcome:?}");
        assert!(!outcome.stderr.contains("home folder"), "{outcome:?}");
        fake.requests();
    }
    let fake = FakeServer::new(&[("POST /credential", Answer::json(200, &credential()))]);
    let arguments = ["credential", "--server", &server(&fake), "--session", SESSION];
    let outcome = without_home(&fake, &arguments);
    assert_eq!(outcome.status, 0, "{outcome:?}");

    let outcome = without_home(&FakeServer::new(&[]), &["doctor", "-o", "json", "--timeout", "1"]);
    assert!(
        outcome.stdout.contains("there is no home folder for a kubeconfig"),
        "{outcome:?}"
    );
    assert_eq!(without_home(&FakeServer::new(&[]), &["config"]).status, 0);
    assert_eq!(
        without_home(&FakeServer::new(&[]), &["generate", "integration", "bash"]).status,
        0
    );
}

#[test]
fn sign_in_without_a_home_is_refused_before_it_begins() {
    let fake = FakeServer::new(&[]);
    let outcome = without_home(&fake, &["login"]);
    assert_eq!(outcome.status, 1, "{outcome:?}");
    assert!(outcome.stderr.contains("there is no home folder"), "{outcome:?}");
    assert!(outcome.stderr.contains("tka exec"), "{outcome:?}");
}

/// Runs a command as it is.
trait CloneAndRun {
    fn clone_and_run(&self) -> Outcome;
}

impl CloneAndRun for Command {
    fn clone_and_run(&self) -> Outcome {
        let mut command = Command::new(self.get_program());
        command.args(self.get_args()).env_clear().envs(variables(self));
        if let Some(folder) = self.get_current_dir() {
            command.current_dir(folder);
        }
        command.output().unwrap().into()
    }
}
