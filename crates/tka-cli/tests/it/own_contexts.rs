//! Contexts that people make beside the one of `tka`, with its user or its cluster. They are not its own.

use std::fs;

use crate::fake_server::{Answer, FakeServer};
use crate::kubectl::kubectl;
use crate::merge_list::{KIND, tka};
use crate::tka::{Outcome, User, login, signed_in};

fn server() -> FakeServer {
    FakeServer::new(&[
        ("POST /login", Answer::json(200, &signed_in())),
        ("POST /logout", Answer::json(200, &login())),
    ])
}

/// A session, and what kubectl is told to do in between. None without a kubectl.
fn after_logout(changes: &[&[&str]]) -> Option<(User, Outcome)> {
    let (user, fake) = (User::new(), server());
    let path = user.home().join("a");
    fs::write(&path, KIND).unwrap();
    let tka = |arguments: &[&str]| tka(&user, &fake, path.as_os_str(), arguments);
    tka(&["login", "--merge"]);
    for change in changes {
        let done = kubectl(&user, path.as_os_str(), change)?;
        assert_eq!(done.status, 0, "{done:?}");
    }
    let outcome = tka(&["logout"]);
    Some((user, outcome))
}

fn shown(user: &User, output: &str) -> String {
    let path = user.home().join("a");
    let view = kubectl(user, path.as_os_str(), &["config", "view", "-o", output]).unwrap();
    view.stdout
}

const NAMES: &str = "jsonpath={.contexts[*].name} / {.clusters[*].name} / {.current-context}";

#[test]
fn contexts_with_our_user_stay() {
    for cluster in ["tka-cluster", "kind", "tunnel"] {
        let cluster = format!("--cluster={cluster}");
        let Some((user, _)) = after_logout(&[
            &["config", "set-cluster", "tunnel", "--server=https://localhost:6443"],
            &[
                "config",
                "set-context",
                "dev",
                &cluster,
                "--user=tka-user-alice",
                "--namespace=dev",
            ],
        ]) else {
            return;
        };
        let left = shown(&user, NAMES);
        assert!(left.starts_with("dev kind / "), "{cluster}: {left}");
        assert!(left.contains("tunnel"), "{cluster}: {left}");
        assert!(left.ends_with(" / kind"), "{cluster}: {left}");
    }
}

#[test]
fn a_cluster_that_leads_elsewhere_stays() {
    let Some((user, _)) = after_logout(&[&["config", "set-cluster", "tka-cluster", "--server=https://mine:1"]]) else {
        return;
    };
    assert_eq!(shown(&user, NAMES), "kind / kind tka-cluster / kind");
}

#[test]
fn a_renamed_context_goes() {
    let Some((user, _)) = after_logout(&[&["config", "rename-context", "tka-context-alice", "mine"]]) else {
        return;
    };
    assert_eq!(shown(&user, NAMES), "kind / kind / kind");
}

/// Of several that may be the renamed one the current one is.
#[test]
fn a_renamed_context_goes_beside_another() {
    let Some((user, _)) = after_logout(&[
        &["config", "rename-context", "tka-context-alice", "mine"],
        &[
            "config",
            "set-context",
            "dev",
            "--cluster=tka-cluster",
            "--user=tka-user-alice",
        ],
    ]) else {
        return;
    };
    assert_eq!(shown(&user, NAMES), "dev kind / kind tka-cluster / kind");
}

/// A server may call its cluster anything. It gets no cluster of the user's.
#[test]
fn a_cluster_of_the_users_is_not_replaced() {
    let mut second = signed_in();
    let cluster = second["kubeconfig"]["clusters"]["tka-cluster"].take();
    second["kubeconfig"]["clusters"] = serde_json::json!({"tunnel": cluster});
    second["kubeconfig"]["contexts"]["tka-context-alice"]["cluster"] = "tunnel".into();
    let fake = FakeServer::new(&[
        ("POST /login", Answer::json(200, &signed_in())),
        ("POST /login", Answer::json(200, &second)),
    ]);
    let user = User::new();
    let path = user.home().join("a");
    fs::write(&path, KIND).unwrap();
    let login = || tka(&user, &fake, path.as_os_str(), &["login", "--merge"]);
    login();
    for change in [
        &["config", "set-cluster", "tunnel", "--server=https://localhost:6443"][..],
        &[
            "config",
            "set-context",
            "dev",
            "--cluster=tunnel",
            "--user=tka-user-alice",
        ],
    ] {
        if kubectl(&user, path.as_os_str(), change).is_none() {
            return;
        }
    }
    login();
    let address = "jsonpath={.clusters[?(@.name==\"tunnel\")].cluster.server}";
    assert_eq!(shown(&user, address), "https://localhost:6443");
}

/// After `eval "$(tka login)"` other programs write into the kubeconfig of `tka`.
fn in_own_file(user: &User, fake: &FakeServer, changes: &[&[&str]]) -> Option<()> {
    let own = user.kubeconfig(fake);
    for change in changes {
        let done = kubectl(user, own.as_os_str(), change)?;
        assert_eq!(done.status, 0, "{done:?}");
    }
    Some(())
}

/// The next answer must not take their names, or their token would go to another cluster.
#[test]
fn entries_of_other_programs_in_our_file_are_theirs() {
    let mut second = signed_in();
    for (list, name) in [
        ("clusters", "tka-cluster"),
        ("users", "tka-user-alice"),
        ("contexts", "tka-context-alice"),
    ] {
        let entry = second["kubeconfig"][list][name].take();
        second["kubeconfig"][list] = serde_json::json!({"kind-dev": entry});
    }
    second["kubeconfig"]["contexts"]["kind-dev"] = serde_json::json!({"cluster": "kind-dev", "user": "kind-dev"});
    second["kubeconfig"]["current-context"] = "kind-dev".into();
    let (user, fake) = (
        User::new(),
        FakeServer::new(&[
            ("POST /login", Answer::json(200, &signed_in())),
            ("POST /login", Answer::json(200, &second)),
            ("POST /logout", Answer::json(200, &login())),
        ]),
    );
    assert_eq!(user.run_with(&fake, &["login"]).status, 0);
    let Some(()) = in_own_file(
        &user,
        &fake,
        &[
            &["config", "set-cluster", "kind-dev", "--server=https://localhost:6443"],
            &["config", "set-credentials", "kind-dev", "--token=KIND"],
            &[
                "config",
                "set-context",
                "kind-dev",
                "--cluster=kind-dev",
                "--user=kind-dev",
            ],
        ],
    ) else {
        return;
    };
    let outcome = user.run_with(&fake, &["login"]);
    assert_eq!(outcome.status, 0, "{outcome:?}");
    let view = |own: &std::path::Path| {
        let path = "jsonpath={.clusters[0].cluster.server} {.users[0].user.token}";
        let arguments = ["config", "view", "--raw", "--minify", "--context=kind-dev", "-o", path];
        kubectl(&user, own.as_os_str(), &arguments).unwrap().stdout
    };
    let own = user.kubeconfig(&fake);
    assert_eq!(view(&own), "https://localhost:6443 KIND");
    assert_eq!(user.run_with(&fake, &["logout"]).status, 0);
    assert_eq!(view(&own), "https://localhost:6443 KIND");
}

#[test]
fn contexts_of_people_in_our_file_stay() {
    let (user, fake) = (User::new(), server());
    assert_eq!(user.run_with(&fake, &["login"]).status, 0);
    let Some(()) = in_own_file(
        &user,
        &fake,
        &[
            &["config", "set-cluster", "tunnel", "--server=https://localhost:6443"],
            &[
                "config",
                "set-context",
                "dev",
                "--cluster=tunnel",
                "--user=tka-user-alice",
            ],
        ],
    ) else {
        return;
    };
    assert_eq!(user.run_with(&fake, &["logout"]).status, 0);
    let own = user.kubeconfig(&fake);
    let left = kubectl(&user, own.as_os_str(), &["config", "view", "-o", NAMES]).unwrap();
    assert_eq!(left.stdout, "dev / tunnel / ");
}

/// Also after another sign-in, and where the kubeconfig has a token and no plugin.
#[test]
fn a_context_that_was_renamed_before_goes() {
    for token in [&[][..], &["--token"]] {
        let (user, fake) = (
            User::new(),
            FakeServer::new(&[
                ("POST /login", Answer::json(200, &signed_in())),
                ("POST /login", Answer::json(200, &signed_in())),
                ("POST /logout", Answer::json(200, &login())),
            ]),
        );
        let path = user.home().join("a");
        fs::write(&path, KIND).unwrap();
        let tka = |arguments: &[&str]| tka(&user, &fake, path.as_os_str(), arguments);
        let arguments = [&["login", "--merge"], token].concat();
        let told = tka(&arguments);
        let warns = told.stderr.contains("others may read");
        assert_eq!(warns, !token.is_empty(), "{told:?}");
        let rename = &["config", "rename-context", "tka-context-alice", "prod"];
        if kubectl(&user, path.as_os_str(), rename).is_none() {
            return;
        }
        tka(&arguments);
        tka(&["logout"]);
        assert_eq!(shown(&user, NAMES), "kind / kind / kind", "{token:?}");
    }
}

/// One file has many paths.
#[test]
fn the_former_context_is_back_whichever_path_named_the_file() {
    let (user, fake) = (
        User::new(),
        FakeServer::new(&[
            ("POST /login", Answer::json(200, &signed_in())),
            ("POST /login", Answer::json(200, &signed_in())),
            ("POST /logout", Answer::json(200, &login())),
        ]),
    );
    let (path, link) = (user.home().join("a"), user.home().join("link"));
    fs::write(&path, KIND).unwrap();
    std::os::unix::fs::symlink(&path, &link).unwrap();
    for (named, arguments) in [
        (&link, &["login", "--merge"][..]),
        (&path, &["login", "--merge"]),
        (&path, &["logout"]),
    ] {
        tka(&user, &fake, named.as_os_str(), arguments);
    }
    assert_eq!(fs::read_to_string(&path).unwrap(), KIND);
}
