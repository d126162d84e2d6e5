//! Root with the home folder of another user, in which some folders are root's.

use std::fs;
use std::os::unix::fs::{MetadataExt, chown, symlink};
use std::path::Path;

use crate::fake_server::{Answer, FakeServer};
use crate::test_requirements::is_root;
use crate::tka::{User, login, signed_in};

const OTHER: u32 = 12345;
const TEAM: u32 = 54321;

fn server() -> FakeServer {
    FakeServer::new(&[
        ("POST /login", Answer::json(200, &signed_in())),
        ("POST /logout", Answer::json(200, &login())),
    ])
}

fn owner(path: &Path) -> (u32, u32) {
    let found = fs::symlink_metadata(path).unwrap();
    (found.uid(), found.gid())
}

/// `docker run --volume` makes such folders.
#[test]
fn what_root_makes_in_its_own_folder_there_is_that_users() {
    if !is_root() {
        return;
    }
    let (user, fake) = (User::new(), server());
    chown(user.home(), Some(OTHER), Some(TEAM)).unwrap();
    fs::create_dir_all(user.home().join(".kube")).unwrap();
    fs::create_dir_all(user.home().join(".config")).unwrap();
    let outcome = user.run_with(&fake, &["login", "--merge"]);
    assert_eq!(outcome.status, 0, "{outcome:?}");
    let outcome = user.run(&["config", "--force", "debug", "false"]);
    assert_eq!(outcome.status, 0, "{outcome:?}");
    for name in [".kube", ".config"] {
        assert_eq!(owner(&user.home().join(name)), (0, 0), "{name} was there");
    }
    let made: Vec<_> = user
        .files()
        .into_iter()
        .filter(|name| name.matches('/').count() > 0)
        .collect();
    assert!(made.iter().any(|name| name == ".kube/config"), "{made:?}");
    assert!(made.iter().any(|name| name == ".config/tka/config.yaml"), "{made:?}");
    for name in &made {
        assert_eq!(owner(&user.home().join(name)), (OTHER, TEAM), "{name}");
    }
    assert_eq!(user.run_with(&fake, &["logout"]).status, 0);
}

/// A link in the home folder leads to a folder of root's. The user must not get files there.
#[test]
fn what_root_makes_elsewhere_is_roots() {
    if !is_root() {
        return;
    }
    let (user, fake) = (User::new(), server());
    let elsewhere = tempfile::tempdir().unwrap();
    symlink(elsewhere.path(), user.home().join(".kube")).unwrap();
    chown(user.home(), Some(OTHER), Some(TEAM)).unwrap();
    let outcome = user.run_with(&fake, &["login", "--merge"]);
    assert_eq!(outcome.status, 0, "{outcome:?}");
    for name in ["config", "tka"] {
        assert_eq!(owner(&elsewhere.path().join(name)), (0, 0), "{name}");
    }
    for entry in fs::read_dir(elsewhere.path().join("tka")).unwrap() {
        assert_eq!(owner(&entry.unwrap().path()), (0, 0));
    }
}
