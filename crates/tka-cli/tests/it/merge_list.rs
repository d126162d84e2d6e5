//! `--merge` where `KUBECONFIG` has several files, and kubectl says what they mean together.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::PathBuf;

use crate::fake_server::{Answer, FakeServer};
use crate::kubectl::kubectl;
use crate::tka::{Outcome, User, login, signed_in};

/// An ordinary kubeconfig.
pub(crate) const KIND: &str = "\
clusters: [{name: kind, cluster: {server: 'https://kind:6443'}}]
users: [{name: kind, user: {token: theirs}}]
contexts: [{name: kind, context: {cluster: kind, user: kind}}]
current-context: kind
";

/// A context with the names that the server gives to all.
const TEAM: &str = "\
clusters: [{name: tka-cluster, cluster: {server: 'https://team-prod:6443'}}]
users: [{name: tka-user-alice, user: {token: team}}]
contexts: [{name: team, context: {cluster: tka-cluster, user: tka-user-alice}}]
";

fn server() -> FakeServer {
    let signed_in = Answer::json(200, &signed_in());
    FakeServer::new(&[
        ("POST /login", signed_in.clone()),
        ("POST /login", signed_in),
        ("POST /logout", Answer::json(200, &login())),
    ])
}

/// Writes these files. Returns the value of `KUBECONFIG` with which kubectl reads them in this order.
fn files(user: &User, files: &[(&str, &str)]) -> OsString {
    let write = |(name, text): &(&str, &str)| {
        let path = user.home().join(name);
        fs::write(&path, text).unwrap();
        path
    };
    let paths: Vec<PathBuf> = files.iter().map(write).collect();
    std::env::join_paths(paths).unwrap()
}

/// What `tka …` says, which goes well, where `KUBECONFIG` has that value.
pub(crate) fn tka(user: &User, fake: &FakeServer, list: &OsStr, arguments: &[&str]) -> Outcome {
    let mut command = user.command_with(fake, arguments);
    let outcome = Outcome::from(command.env("KUBECONFIG", list).output().unwrap());
    assert_eq!(outcome.status, 0, "{outcome:?}");
    outcome
}

/// What kubectl makes of one context: the address of its cluster, and the token of its user or the server that the plugin asks.
fn leads_to(user: &User, list: &OsString, context: &str) -> Option<String> {
    let path = "{.clusters[0].cluster.server} {.users[0].user.token}{.users[0].user.exec.args[2]}";
    let output = format!("jsonpath={path}");
    let view = [
        "config",
        "view",
        "--raw",
        "--minify",
        "--context",
        context,
        "-o",
        &output,
    ];
    let outcome = kubectl(user, list, &view)?;
    assert_eq!(outcome.status, 0, "{outcome:?}");
    Some(outcome.stdout)
}

fn current(user: &User, list: &OsString) -> Option<String> {
    let outcome = kubectl(user, list, &["config", "current-context"])?;
    Some(outcome.stdout.trim().to_owned())
}

/// kubectl takes what the first file says of a name.
#[test]
fn contexts_of_other_files_lead_where_they_led() {
    for relative in [false, true] {
        let (user, fake) = (User::new(), server());
        let list = files(&user, &[("a", KIND), ("b", TEAM)]);
        let list = if relative { "a:./b".into() } else { list };
        let Some(before) = leads_to(&user, &list, "team") else {
            return;
        };
        // The second time the names stay.
        for _ in 0..2 {
            tka(&user, &fake, &list, &["login", "--merge"]);
            assert_eq!(leads_to(&user, &list, "team").unwrap(), before);
            assert_eq!(current(&user, &list).unwrap(), "tka-context-alice@127.0.0.1");
            let ours = leads_to(&user, &list, "tka-context-alice@127.0.0.1").unwrap();
            assert_eq!(ours, format!("https://k8s.example.com:6443 http://{}", fake.address));
        }
        tka(&user, &fake, &list, &["logout"]);
        assert_eq!(fs::read_to_string(user.home().join("a")).unwrap(), KIND);
        assert_eq!(fs::read_to_string(user.home().join("b")).unwrap(), TEAM);
    }
}

/// Each of the three names, in a file that kubectl reads and `tka` would not change.
#[test]
fn one_taken_name_is_enough() {
    for theirs in [
        "clusters: [{name: tka-cluster, cluster: {server: 'https://x'}}]\n---\na: b\n",
        "users: [{name: tka-user-alice, user: {token: t}}]\n",
        "contexts: [{name: tka-context-alice, context: {cluster: one, user: one}}]\n",
    ] {
        let (user, fake) = (User::new(), server());
        let list = files(&user, &[("a", KIND), ("b", theirs)]);
        tka(&user, &fake, &list, &["login", "--merge"]);
        let Some(current) = current(&user, &list) else { return };
        assert_eq!(current, "tka-context-alice@127.0.0.1", "{theirs}");
    }
}

/// A context whose cluster or user no file has at the moment, for example while one is missing. It would get those of `tka`, and send its token to
/// another cluster; and its names would be hidden once they are there again.
#[test]
fn contexts_without_their_names_get_none_of_ours() {
    let dangling = "contexts: [{name: x, context: {cluster: kind, user: tka-user-alice}}]\n";
    let of_neither =
        "contexts: [{name: x, context: {cluster: tka-cluster, user: tka-user-alice}}]\ncurrent-context: x\n";
    let theirs = format!(
        "{KIND}{}",
        "contexts: [{name: x, context: {cluster: kind, user: tka-user-alice}}]\n"
    );
    let in_one = theirs.replacen(
        "contexts: [{name: kind, context: {cluster: kind, user: kind}}]\n",
        "",
        1,
    );
    for (case, texts) in [
        ("in the same file", vec![("a", &*in_one)]),
        ("in the second", vec![("a", KIND), ("b", dangling)]),
        ("neither", vec![("a", of_neither)]),
        ("neither, in the second", vec![("a", KIND), ("b", of_neither)]),
    ] {
        let (user, fake) = (User::new(), server());
        let list = files(&user, &texts);
        for _ in 0..2 {
            tka(&user, &fake, &list, &["login", "--merge"]);
            let Some(current) = current(&user, &list) else { return };
            assert_eq!(current, "tka-context-alice@127.0.0.1", "{case}");
            let seen = kubectl(&user, &list, &["config", "view", "--minify", "--context", "x"]).unwrap();
            assert!(!seen.stdout.contains("exec:"), "{case}: {seen:?}");
        }
        tka(&user, &fake, &list, &["logout"]);
        for (name, text) in texts {
            let left = fs::read_to_string(user.home().join(name)).unwrap();
            assert!(left.starts_with(text), "{case}: {left}");
            assert!(!left.contains("exec"), "{case}: {left}");
        }
    }
}

/// Also where nothing is merged: kubectl reads the file of `tka` beside the others.
#[test]
fn contexts_without_their_names_get_none_of_ours_beside_them() {
    let (user, fake) = (User::new(), server());
    let theirs = "contexts: [{name: x, context: {cluster: kind, user: tka-user-alice}}]\n";
    let mut list = files(&user, &[("a", KIND), ("b", theirs)]);
    list.push(":");
    list.push(user.kubeconfig(&fake));
    tka(&user, &fake, &list, &["login"]);
    let seen = kubectl(&user, &list, &["config", "view", "--minify", "--context", "x"]);
    assert!(seen.is_none_or(|seen| !seen.stdout.contains("exec:")));
    let own = fs::read_to_string(user.kubeconfig(&fake)).unwrap();
    assert!(own.contains("tka-context-alice@127.0.0.1"), "{own}");
}

/// What an earlier sign-in put into the other file is of the same server. It may have the same names.
#[test]
fn own_entries_in_another_file_are_no_obstacle() {
    let (user, fake) = (User::new(), server());
    let only = files(&user, &[("b", KIND)]);
    tka(&user, &fake, &only, &["login", "--merge"]);
    let b = fs::read_to_string(user.home().join("b")).unwrap();
    let list = files(&user, &[("a", ""), ("b", &b)]);
    tka(&user, &fake, &list, &["login", "--merge"]);
    let a = fs::read_to_string(user.home().join("a")).unwrap();
    assert!(a.contains("'tka-context-alice'"), "{a}");
    tka(&user, &fake, &list, &["logout"]);
    assert_eq!(fs::read_to_string(user.home().join("b")).unwrap(), KIND);
}

/// Another TKA server gives the same names. What a sign-in there put into the other file is not of this server.
#[test]
fn entries_of_another_server_are_not_hidden() {
    let (user, other, fake) = (User::new(), server(), server());
    let only = files(&user, &[("b", KIND)]);
    tka(&user, &other, &only, &["login", "--merge"]);
    // Else its names would be known from there.
    fs::remove_file(user.kubeconfig(&other)).unwrap();
    let b = fs::read_to_string(user.home().join("b")).unwrap();
    let list = files(&user, &[("a", KIND), ("b", &b)]);
    let Some(before) = leads_to(&user, &list, "tka-context-alice") else {
        return;
    };
    assert!(before.ends_with(&other.address.to_string()), "{before}");
    tka(&user, &fake, &list, &["login", "--merge"]);
    assert_eq!(leads_to(&user, &list, "tka-context-alice").unwrap(), before);
}

/// Names that are ours in the file stay, also where another file has them since. They hid its entries before.
#[test]
fn names_that_are_there_already_stay() {
    let (user, fake) = (User::new(), server());
    let only = files(&user, &[("a", KIND)]);
    tka(&user, &fake, &only, &["login", "--merge"]);
    let a = fs::read_to_string(user.home().join("a")).unwrap();
    let list = files(&user, &[("a", &a), ("b", TEAM)]);
    tka(&user, &fake, &list, &["login", "--merge"]);
    assert_eq!(fs::read_to_string(user.home().join("a")).unwrap(), a);
}

/// The kubeconfig of `tka` may stand in `KUBECONFIG` too, before or behind others.
#[test]
fn kubeconfig_of_tka_hides_nothing_of_the_list() {
    for is_first in [true, false] {
        let (user, fake) = (User::new(), server());
        files(&user, &[("b", TEAM)]);
        let mut list = vec![user.kubeconfig(&fake), user.home().join("b")];
        if !is_first {
            list.reverse();
        }
        let list = std::env::join_paths(list).unwrap();
        let Some(before) = leads_to(&user, &list, "team") else {
            return;
        };
        for _ in 0..2 {
            tka(&user, &fake, &list, &["login"]);
            assert_eq!(leads_to(&user, &list, "team").unwrap(), before);
            let ours = leads_to(&user, &list, "tka-context-alice@127.0.0.1").unwrap();
            assert_eq!(ours, format!("https://k8s.example.com:6443 http://{}", fake.address));
        }
    }
}

/// Which context is current without ours, kubectl says.
#[test]
fn logout_says_which_context_is_current_then() {
    let none = KIND.replace("current-context: kind\n", "");
    let other = KIND.replace("kind", "other");
    let elsewhere = none.clone() + "current-context: other\n";
    for (first, said) in [
        (KIND, "kind is the current context of HOME/a again\n"),
        (
            &none,
            "HOME/a has no current context now: kubectl uses other of HOME/b\n",
        ),
        (&elsewhere, "other is the current context of HOME/a again\n"),
    ] {
        let (user, fake) = (User::new(), server());
        let list = files(&user, &[("a", first), ("b", &other)]);
        let Some(before) = current(&user, &list) else { return };
        tka(&user, &fake, &list, &["login", "--merge"]);
        tka(&user, &fake, &list, &["login", "--merge"]);
        let outcome = tka(&user, &fake, &list, &["logout"]);
        let stderr = outcome.stderr.replace(&user.home().display().to_string(), "HOME");
        assert!(stderr.contains(said), "{stderr}");
        assert_eq!(current(&user, &list), Some(before));
    }
}

/// Where kubectl does not read the file, it has no other current context.
#[test]
fn file_that_kubectl_does_not_read_has_no_other_context() {
    let (user, fake) = (User::new(), server());
    let none = KIND.replace("current-context: kind\n", "");
    let alone = files(&user, &[("a", &none)]);
    let other = files(&user, &[("b", &KIND.replace("kind", "other"))]);
    tka(&user, &fake, &alone, &["login", "--merge"]);
    tka(&user, &fake, &alone, &["login", "--merge"]);
    let outcome = tka(&user, &fake, &other, &["logout"]);
    let said = format!("{} has no current context now\n", user.home().join("a").display());
    assert!(outcome.stderr.contains(&said), "{outcome:?}");
}
