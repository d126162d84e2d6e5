//! Named pipes and devices in the place of files. The one who reads them would wait without end.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::fake_server::FakeServer;
use crate::inside::started_by;
use crate::test_requirements::make_fifo;
use crate::tka::{Outcome, User, signing_in};

/// More than any of these commands takes, and less than without end.
const LONG: Duration = Duration::from_mins(1);

/// What `command` says within [`LONG`].
fn outcome(command: &Command) -> Outcome {
    let limit = LONG.as_secs().to_string();
    let mut limited = started_by("timeout", &["--signal=KILL", &limit], command);
    limited.output().unwrap().into()
}

fn in_place_of_kubeconfig(user: &User) -> Vec<PathBuf> {
    let at = |name: &str| user.home().join(name);
    make_fifo(&at("pipe"));
    symlink("/dev/zero", at("zero")).unwrap();
    vec![at("pipe"), at("zero")]
}

#[test]
fn kubeconfigs_that_are_none_are_not_waited_for() {
    let user = User::new();
    for path in in_place_of_kubeconfig(&user) {
        let fake = FakeServer::new(&[]);
        let run = |arguments: &[&str]| outcome(user.command_with(&fake, arguments).env("KUBECONFIG", &path));
        let prompt = run(&["status", "--prompt"]);
        assert_eq!(
            (prompt.status, &*prompt.stdout, &*prompt.stderr),
            (0, "", ""),
            "{path:?}"
        );
        let status = run(&["status"]);
        assert_ne!(status.status, 137, "{path:?} {status:?}");
        let merged = run(&["login", "--merge"]);
        assert_eq!(merged.status, 1, "{path:?}: {merged:?}");
        assert!(merged.stderr.contains("it is not a"), "{merged:?}");
        assert!(
            !fake.requests().iter().any(|one| one.line.starts_with("POST")),
            "{path:?}"
        );
    }
}

/// Beside the one that gets the context, too.
#[test]
fn other_kubeconfigs_that_are_none_are_refused() {
    let (user, fake) = (User::new(), FakeServer::new(&[]));
    fs::write(user.home().join("a"), "").unwrap();
    for path in in_place_of_kubeconfig(&user) {
        let list = std::env::join_paths([&user.home().join("a"), &path]).unwrap();
        let merged = outcome(user.command_with(&fake, &["login", "--merge"]).env("KUBECONFIG", list));
        assert_eq!(merged.status, 1, "{path:?}: {merged:?}");
        assert!(fake.requests().is_empty(), "{path:?}");
    }
}

/// The null device has no entries. Some name it so that no others count.
#[test]
fn the_null_device_is_an_empty_kubeconfig() {
    let (user, fake) = (User::new(), FakeServer::new(&signing_in()));
    fs::write(user.home().join("a"), "").unwrap();
    let list = std::env::join_paths([&user.home().join("a"), Path::new("/dev/null")]).unwrap();
    let merged = outcome(user.command_with(&fake, &["login", "--merge"]).env("KUBECONFIG", list));
    assert_eq!(merged.status, 0, "{merged:?}");
}

/// The files of `tka` itself.
#[test]
fn own_files_that_are_none_are_not_waited_for() {
    for kind in ["yaml", "json"] {
        let (user, fake) = (User::new(), FakeServer::new(&[]));
        let path = user.kubeconfig(&fake).with_extension(kind);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        make_fifo(&path);
        for arguments in [&["status", "--prompt"][..], &["login"], &["logout"]] {
            let said = outcome(&user.command_with(&fake, arguments));
            assert_ne!(said.status, 137, "{kind}: {arguments:?} {said:?}");
        }
        assert!(!fake.requests().iter().any(|one| one.line == "POST /login"), "{kind}");
    }
}
