//! Root with the home folder of another user, in which some folders are root's.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
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

/// A link in the home folder leads to a folder of root's. The user chose it, and must not choose what root changes.
#[test]
fn root_follows_no_link_out_of_that_home() {
    if !is_root() {
        return;
    }
    for link in [".kube", ".kube/tka"] {
        let (user, fake) = (User::new(), FakeServer::new(&[]));
        let elsewhere = tempfile::tempdir().unwrap();
        fs::set_permissions(elsewhere.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let link = user.home().join(link);
        fs::create_dir_all(link.parent().unwrap()).unwrap();
        symlink(elsewhere.path(), &link).unwrap();
        chown(user.home(), Some(OTHER), Some(TEAM)).unwrap();
        let outcome = user.run_with(&fake, &["login"]);
        assert_eq!(outcome.status, 1, "{outcome:?}");
        assert!(outcome.stderr.contains("belongs to another user"), "{outcome:?}");
        assert_eq!(fs::read_dir(elsewhere.path()).unwrap().count(), 0);
        assert_eq!(crate::tka::mode(elsewhere.path()), 0o755);
    }
}

#[test]
fn root_changes_no_settings_out_of_that_home() {
    if !is_root() {
        return;
    }
    let user = User::new();
    let elsewhere = tempfile::tempdir().unwrap();
    fs::create_dir_all(user.home().join(".config")).unwrap();
    symlink(elsewhere.path(), user.home().join(".config/tka")).unwrap();
    chown(user.home(), Some(OTHER), Some(TEAM)).unwrap();
    let outcome = user.run(&["config", "--force", "debug", "true"]);
    assert_eq!(outcome.status, 6, "{outcome:?}");
    assert!(outcome.stderr.contains("leads out of the home folder"), "{outcome:?}");
    assert_eq!(fs::read_dir(elsewhere.path()).unwrap().count(), 0);
}

/// Where the user's own folder is elsewhere, it is that user's.
#[test]
fn root_follows_a_link_to_that_users_folder() {
    if !is_root() {
        return;
    }
    let (user, fake) = (User::new(), server());
    let elsewhere = tempfile::tempdir().unwrap();
    symlink(elsewhere.path(), user.home().join(".kube")).unwrap();
    for path in [user.home(), elsewhere.path()] {
        chown(path, Some(OTHER), Some(TEAM)).unwrap();
    }
    assert_eq!(user.run_with(&fake, &["login"]).status, 0);
    assert_eq!(owner(&elsewhere.path().join("tka")), (OTHER, TEAM));
    assert_eq!(user.run_with(&fake, &["logout"]).status, 0);
}

/// The copy holds what the file said, and not all may read that.
#[test]
fn backup_of_a_file_of_roots_is_roots() {
    if !is_root() {
        return;
    }
    let (user, fake) = (User::new(), server());
    let elsewhere = tempfile::tempdir().unwrap();
    let admin = elsewhere.path().join("admin.conf");
    fs::write(&admin, "users: [{name: admin, user: {token: secret}}]\n").unwrap();
    fs::create_dir(user.home().join(".kube")).unwrap();
    symlink(&admin, user.home().join(".kube/config")).unwrap();
    for path in [user.home(), &user.home().join(".kube")] {
        chown(path, Some(OTHER), Some(TEAM)).unwrap();
    }
    let outcome = user.run_with(&fake, &["login", "--merge"]);
    assert_eq!(outcome.status, 0, "{outcome:?}");
    let backup = user.home().join(".kube/config.tka-backup");
    assert_eq!((owner(&backup), crate::tka::mode(&backup)), ((0, 0), 0o600));
    assert_eq!(user.run_with(&fake, &["logout"]).status, 0);
}

/// The same of a link in the place of a file of `tka`: it is moved aside, and not read.
#[test]
fn what_another_file_says_gets_into_none_of_ours() {
    let (user, fake) = (User::new(), server());
    let other = user.home().join("other");
    fs::write(&other, "users: [{name: admin, user: {token: secret}}]\n").unwrap();
    fs::create_dir_all(user.folder()).unwrap();
    symlink(&other, user.kubeconfig(&fake)).unwrap();
    let outcome = user.run_with(&fake, &["login"]);
    assert_eq!(outcome.status, 0, "{outcome:?}");
    let own = fs::read_to_string(user.kubeconfig(&fake)).unwrap();
    assert!(!own.contains("admin"), "{own}");
    assert_eq!(user.run_with(&fake, &["logout"]).status, 0);
}
