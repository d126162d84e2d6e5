//! Places in which a file can be made and not put where it belongs. No session begins that cannot be written there.

use std::fs;
use std::os::unix::fs::symlink;

use crate::fake_server::FakeServer;
use crate::inside::{after, in_own_mounts};
use crate::test_requirements::{is_root, report_missing};
use crate::tka::{Outcome, User};

const THEIRS: &str = "current-context: kind\nclusters: []\nusers: []\ncontexts: []\n";

/// `tka …` after `prepare`, which a shell runs in the home folder, in file systems of its own. `restore` runs at the end.
fn between(user: &User, fake: &FakeServer, (prepare, restore): (&str, &str), arguments: &[&str]) -> Outcome {
    let tka = user.command_with(fake, arguments);
    let script = format!("{prepare}; s=0; \"$@\" || s=$?; {restore}; exit $s");
    in_own_mounts(&script, &tka).output().unwrap().into()
}

fn with_kubeconfig() -> User {
    let user = User::new();
    fs::create_dir_all(user.home().join(".kube/tka")).unwrap();
    fs::write(user.home().join(".kube/config"), THEIRS).unwrap();
    user
}

/// Nothing is asked of the server, and nothing is left.
fn is_refused(user: &User, fake: &FakeServer, outcome: &Outcome, word: &str, case: &str) {
    assert_eq!(
        (outcome.status, outcome.stdout.as_str()),
        (1, "false\n"),
        "{case}: {outcome:?}"
    );
    assert!(outcome.stderr.contains(word), "{case}: {outcome:?}");
    assert!(fake.requests().is_empty(), "{case}");
    let made: Vec<_> = user
        .files()
        .into_iter()
        .filter(|name| name.contains("new-") || name.contains(".lock"))
        .collect();
    assert!(made.is_empty(), "{case}: {made:?}");
}

#[test]
fn links_that_lead_nowhere_are_found_before_signing_in() {
    for (link, target) in [
        (".kube", "gone"),
        (".kube/tka", "gone"),
        (".kube/tka", "tka"),
        (".kube", ".kube"),
    ] {
        let (user, fake) = (User::new(), FakeServer::new(&[]));
        let link = user.home().join(link);
        fs::create_dir_all(link.parent().unwrap()).unwrap();
        symlink(target, &link).unwrap();
        let outcome = user.run_with(&fake, &["login"]);
        let advice = format!("restore the target of the link {}", link.display());
        is_refused(&user, &fake, &outcome, &advice, target);
    }
}

#[test]
fn what_cannot_be_replaced_is_found_before_signing_in() {
    let (user, fake) = (with_kubeconfig(), FakeServer::new(&[]));
    let path = user.kubeconfig(&fake);
    fs::create_dir(&path).unwrap();
    let outcome = user.run_with(&fake, &["login"]);
    let advice = format!("move {} away", path.display());
    is_refused(&user, &fake, &outcome, &advice, "a folder");
}

#[test]
fn attributes_and_mounts_are_found_before_signing_in() {
    if !is_root() {
        return;
    }
    let merging = &["login", "--merge"][..];
    for (prepare, restore, arguments, word) in [
        (
            "chattr +a .kube/tka",
            "chattr -a .kube/tka",
            &["login"][..],
            "lsattr -d",
        ),
        ("chattr +a .kube", "chattr -a .kube", merging, "lsattr -d"),
        ("chattr +i FILE", "chattr -i FILE", &["login"], "lsattr -d"),
        (
            "mount --bind FILE FILE",
            "umount FILE",
            &["login"],
            "another program holds",
        ),
    ] {
        let (user, fake) = (with_kubeconfig(), FakeServer::new(&[]));
        let own = user.kubeconfig(&fake);
        fs::write(&own, "").unwrap();
        let script = |text: &str| text.replace("FILE", &own.display().to_string());
        let outcome = between(&user, &fake, (&script(prepare), &script(restore)), arguments);
        if outcome.stderr.contains("Operation not supported") {
            return report_missing("a file system with attributes");
        }
        is_refused(&user, &fake, &outcome, word, prepare);
    }
}

#[test]
fn a_name_without_room_for_that_of_its_backup_is_found_before_signing_in() {
    let (user, fake) = (with_kubeconfig(), FakeServer::new(&[]));
    let path = user.home().join("n".repeat(246));
    fs::write(&path, THEIRS).unwrap();
    let mut command = user.command_with(&fake, &["login", "--merge"]);
    let outcome = Outcome::from(command.env("KUBECONFIG", &path).output().unwrap());
    is_refused(&user, &fake, &outcome, "give it a shorter name", "long");
    assert_eq!(fs::read_to_string(&path).unwrap(), THEIRS);
}

/// A program there has no folder to be in.
#[test]
fn a_working_folder_that_is_gone_is_found_before_signing_in() {
    let (user, fake) = (with_kubeconfig(), FakeServer::new(&[]));
    let tka = user.command_with(&fake, &["login", "--merge"]);
    let mut shell = after("mkdir gone; cd gone; rmdir ../gone", &tka);
    let outcome = Outcome::from(shell.env("KUBECONFIG", "x").output().unwrap());
    is_refused(&user, &fake, &outcome, "change to a folder that is there", "gone");
}

#[test]
fn too_few_descriptors_are_found_before_signing_in() {
    for most in 4..9 {
        let (user, fake) = (with_kubeconfig(), FakeServer::new(&[]));
        let tka = user.command_with(&fake, &["login", "--merge"]);
        let outcome = Outcome::from(after(&format!("ulimit -n {most}"), &tka).output().unwrap());
        assert_ne!(outcome.status, 0, "{most}: {outcome:?}");
        assert!(fake.requests().is_empty(), "{most}: {outcome:?}");
    }
}
