//! A file system with room for bytes, and for few files; and a file that has no room alone.

use std::fs;

use crate::fake_server::{Answer, FakeServer};
use crate::inside::in_own_mounts;
use crate::test_requirements::is_root;
use crate::tka::{Outcome, User, signed_in};

/// `tka …` in a home folder with room for so many files, itself among them. What is there afterwards stands behind the output.
fn with_inodes(user: &User, fake: &FakeServer, inodes: u32, arguments: &[&str]) -> Outcome {
    let tka = user.command_with(fake, arguments);
    let script = format!(
        "mount -t tmpfs -o nr_inodes={inodes} tmpfs \"$HOME\"; cd \"$HOME\"; s=0; \"$@\" || s=$?; find . -type f | sed s/_[0-9]*/_PORT/ | sort; exit $s"
    );
    in_own_mounts(&script, &tka).output().unwrap().into()
}

#[test]
fn no_session_begins_where_its_files_have_no_room() {
    if !is_root() {
        return;
    }
    for arguments in [&["login"][..], &["login", "--merge"]] {
        for inodes in [3, 4, 5, 8] {
            let (user, fake) = (User::new(), FakeServer::new(&[]));
            let outcome = with_inodes(&user, &fake, inodes, arguments);
            assert_eq!((outcome.status, outcome.stdout.as_str()), (1, "false\n"), "{outcome:?}");
            let advice = format!("df -i {}", user.home().display());
            assert!(outcome.stderr.contains(&advice), "{outcome:?}");
            assert!(!outcome.stderr.contains("you are signed in"), "{outcome:?}");
            assert!(fake.requests().is_empty());
        }
    }
}

/// What is required is what a sign-in takes at the most.
#[test]
fn session_begins_where_all_its_files_have_room() {
    if !is_root() {
        return;
    }
    let (user, fake) = (
        User::new(),
        FakeServer::new(&[("POST /login", Answer::json(200, &signed_in()))]),
    );
    let outcome = with_inodes(&user, &fake, 9, &["login", "--merge"]);
    assert_eq!(outcome.status, 0, "{outcome:?}");
    let made = "./.kube/config\n./.kube/tka/127.0.0.1_PORT.json\n./.kube/tka/127.0.0.1_PORT.yaml\n";
    assert_eq!(outcome.stdout, made, "{outcome:?}");
}

/// The session is usable. What does not know of it is said.
#[test]
fn session_cache_that_cannot_be_written_is_told() {
    let (user, fake) = (
        User::new(),
        FakeServer::new(&[("POST /login", Answer::json(200, &signed_in()))]),
    );
    let cache = user.kubeconfig(&fake).with_extension("json");
    fs::create_dir_all(&cache).unwrap();
    let outcome = user.run_with(&fake, &["login"]);
    assert_eq!(outcome.status, 0, "{outcome:?}");
    let said = format!("cannot write {}: ", cache.display());
    assert!(outcome.stderr.contains(&said), "{outcome:?}");
    assert!(outcome.stderr.contains("`tka status` may not show"), "{outcome:?}");
    assert!(user.kubeconfig(&fake).exists());
}
