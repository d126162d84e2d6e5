//! Changes to files of users: what stays, and what is refused.

use super::*;
use std::ffi::OsString;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::Path;
use std::time::Duration;
use std::{fs, thread};

const NOW: Duration = Duration::ZERO;

fn save(path: &Path, text: &str) {
    LockedFile::open(path, NOW).unwrap().replace(text).unwrap();
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o777
}

fn names(folder: &Path) -> Vec<OsString> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    names
}

#[test]
fn file_is_changed_in_place() {
    let folder = tempfile::tempdir().unwrap();
    let (path, other) = (folder.path().join("config"), folder.path().join("other"));
    fs::write(&path, "x: one\n").unwrap();
    fs::hard_link(&path, &other).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    let inode = fs::metadata(&path).unwrap().ino();
    for text in ["x: two, which is longer\n", "x: 3\n"] {
        save(&path, text);
        assert_eq!(fs::read_to_string(&other).unwrap(), text);
    }
    assert_eq!((fs::metadata(&path).unwrap().ino(), mode(&path)), (inode, 0o640));
    assert_eq!(names(folder.path()), ["config", "other"]);
}

#[test]
fn new_file_is_private() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config");
    save(&path, "x: one\n");
    assert_eq!(mode(&path), 0o600);
    assert_eq!(names(folder.path()), ["config"]);
}

#[test]
fn file_behind_a_link_is_changed_there() {
    let (folder, dotfiles) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (path, real) = (folder.path().join("config"), dotfiles.path().join("kube"));
    fs::write(&real, "x: one\n").unwrap();
    symlink(&real, &path).unwrap();
    save(&path, "x: two\n");
    assert!(fs::symlink_metadata(&path).unwrap().is_symlink());
    assert_eq!(fs::read_to_string(&real).unwrap(), "x: two\n");
    assert_eq!(names(dotfiles.path()), ["kube"]);
    let file = LockedFile::open(&path, NOW).unwrap();
    file.remove().unwrap();
    assert_eq!(fs::read_to_string(&real).unwrap(), "", "the link is the user's");
}

#[test]
fn owner_stays_the_owner() {
    if !crate::sys::test_requirements::is_root() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config");
    fs::write(&path, "x: one\n").unwrap();
    chown(&path, Some(12345), Some(54321)).unwrap();
    save(&path, "x: two\n");
    let found = fs::metadata(&path).unwrap();
    assert_eq!((found.uid(), found.gid()), (12345, 54321));
}

#[test]
fn lock_is_kubectls_and_is_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let (path, lock) = (folder.path().join("config"), folder.path().join("config.lock"));
    let held = LockedFile::open(&path, NOW).unwrap();
    assert_eq!(mode(&lock), 0o600);
    assert!(matches!(LockedFile::open(&path, NOW), Err(FileError::Locked { .. })));
    thread::scope(|scope| {
        let next = scope.spawn(|| LockedFile::open(&path, Duration::from_mins(1)).map(drop));
        drop(held);
        next.join().unwrap().unwrap();
    });
    assert!(!lock.exists());
}

#[test]
fn lock_of_an_interrupted_change_has_a_copy() {
    let folder = tempfile::tempdir().unwrap();
    let (path, lock) = (folder.path().join("config"), folder.path().join("config.lock"));
    fs::write(&path, "x: hal").unwrap();
    fs::write(&lock, "x: one\n").unwrap();
    let advice = LockedFile::open(&path, NOW).unwrap_err().advice();
    assert!(advice.contains("holds the old content"), "{advice}");
    assert_eq!(fs::read_to_string(&lock).unwrap(), "x: one\n");
}

#[test]
fn change_by_a_program_that_does_not_lock_stays() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config");
    fs::write(&path, "x: one\n").unwrap();
    let file = LockedFile::open(&path, NOW).unwrap();
    fs::write(&path, "x: theirs\n").unwrap();
    assert!(matches!(file.replace("x: ours\n"), Err(FileError::Changed { .. })));
    assert_eq!(fs::read_to_string(&path).unwrap(), "x: theirs\n");
}

#[test]
fn file_without_write_permission_is_not_changed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config");
    fs::write(&path, "x: one\n").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o400)).unwrap();
    assert!(matches!(LockedFile::open(&path, NOW), Err(FileError::ReadOnly { .. })));
    let link = folder.path().join("link");
    symlink(folder.path().join("nowhere"), &link).unwrap();
    assert!(matches!(LockedFile::open(&link, NOW), Err(FileError::Dangling { .. })));
    assert!(matches!(
        LockedFile::open(folder.path(), NOW),
        Err(FileError::Unreadable { .. })
    ));
    assert_eq!(names(folder.path()), ["config", "link"]);
}
