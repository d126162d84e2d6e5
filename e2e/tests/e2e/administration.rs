//! What an administrator of the cluster does, and what others do that may write the server's objects.

use std::fs;

use e2e::user::{ALICE, BOB, CAROL};
use e2e::{Caller, Kind, Outcome, Site, World, is_refused, rule, wait};
use serde_json::{Value, json};
use testbed::ServerOptions;

crate::tests![
    deleting_a_tkasignin_ends_the_session,
    kubectl_get_signin_prints_true_columns,
    roles_that_lead_further_are_told_at_start_and_by_tka,
    role_that_the_chart_does_not_list_is_refused,
    role_that_does_not_exist_is_refused,
    role_listed_for_namespaces_is_given_there_alone,
    orphans_are_swept_and_foreign_objects_stay,
    session_whose_account_or_binding_is_deleted_ends,
    what_lies_in_wait_under_the_names_of_a_session_is_replaced,
    tkasignin_made_by_hand_gives_nothing,
    role_of_a_session_never_changes,
];

fn deleting_a_tkasignin_ends_the_session(world: &World) -> Outcome {
    let site = world.site("revoked")?;
    site.grant(&[(ALICE, rule("cluster-admin", "1h"))])?;
    let alice = site.caller("ALICE")?;
    alice.sign_in()?;
    let token = alice.token()?;
    let path = site.path_of_only(Kind::Signin)?;
    let name = path.rsplit('/').next().unwrap_or_default();
    // Returns when the object is gone, and so when its finalizer is.
    world
        .testbed
        .kubectl(&["delete", "signin", name, "--namespace=revoked", "--timeout=20s"])?;
    assert!(is_refused(world.cluster.status(&token, "GET", "/api/v1/secrets")?));
    assert_eq!(site.counts()?, [0, 0, 0]);
    alice.get("/login")?.expect(401)?;
    alice.get("/kubeconfig")?.expect(401)?;
    Ok(())
}

fn kubectl_get_signin_prints_true_columns(world: &World) -> Outcome {
    let site = world.site("columns")?;
    site.grant(&[(ALICE, rule("cluster-admin", "15m"))])?;
    let until = site.caller("ALICE")?.sign_in()?.until.to_string();
    let table = world.testbed.kubectl(&["get", "signin", "--namespace=columns"])?;
    let lines: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    let [head, row] = lines.as_slice() else {
        return Err(table.into());
    };
    assert_eq!(
        head,
        &[
            "NAME",
            "USER",
            "DEVICE",
            "ROLE",
            "PROVISIONED",
            "PERIOD",
            "UNTIL",
            "SINCE",
            "PHASE",
            "APPROVED"
        ]
    );
    assert_eq!(
        row[1..7],
        [ALICE, "alice.tailnet.test", "cluster-admin", "true", "15m0s", &until]
    );
    let since = row[7].strip_suffix('s').and_then(|seconds| seconds.parse::<u32>().ok());
    assert!(since.is_some(), "{table}");
    let wide = world
        .testbed
        .kubectl(&["get", "signin", "--namespace=columns", "--output=wide"])?;
    let last: Vec<_> = wide
        .lines()
        .map(|line| line.split_whitespace().skip(8).collect::<Vec<_>>())
        .collect();
    assert_eq!(last, [vec!["PHASE", "APPROVED", "RULE", "REASON"], vec!["Active"]]);
    Ok(())
}

fn roles_that_lead_further_are_told_at_start_and_by_tka(world: &World) -> Outcome {
    let site = world.site("risky-roles")?;
    let logged = wait::until("the server tells what follows from `edit`", || {
        let log = fs::read_to_string(site.server.log())?;
        let mut lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let tells = |line: &Value| {
            let text = line["fields"]["message"].as_str().or(line["message"].as_str());
            text.is_some_and(|text| text.contains("ClusterRole edit, from which more follows"))
        };
        Ok(lines.find(tells))
    })?;
    // The same as `tka policy roles` reads from the same cluster.
    let mut typed = site
        .person("ALICE")?
        .typed(&["policy", "roles", "edit", "view", "--output", "json"]);
    let output = typed.env("KUBECONFIG", world.testbed.kubeconfig()).output()?;
    assert!(output.status.success(), "{output:?}");
    let said: Value = serde_json::from_slice(&output.stdout)?;
    let of = |role: &str| -> Vec<String> {
        let items = said["items"].as_array().into_iter().flatten();
        let found = items.filter(|item| item["name"] == role);
        let rights = found.flat_map(|item| item["escalations"].as_array().into_iter().flatten());
        rights
            .filter_map(|right| right["id"].as_str().map(Into::into))
            .collect()
    };
    assert_eq!(of("view"), [""; 0], "{said}");
    assert!(!of("edit").is_empty(), "{said}");
    for right in of("edit") {
        assert!(logged.to_string().contains(&right), "{right} is not in {logged}");
    }
    Ok(())
}

fn role_that_the_chart_does_not_list_is_refused(world: &World) -> Outcome {
    refuses_role(&world.site("role-not-listed")?, "admin")
}

fn role_that_does_not_exist_is_refused(world: &World) -> Outcome {
    refuses_role(&world.site("role-unknown")?, "no-such-role")
}

/// Signing in as `role` is refused, and nothing is left of the attempt.
fn refuses_role(site: &Site<'_>, role: &str) -> Outcome {
    site.grant(&[(ALICE, rule(role, "1h"))])?;
    let refusal = site.caller("ALICE")?.post("/login")?.expect(403)?.refusal()?;
    assert!(refusal.message.contains(role), "{refusal:?}");
    assert_eq!(site.counts()?, [0, 0, 0]);
    Ok(())
}

/// cases.md 11.6: "edit, but in these namespaces only".
fn role_listed_for_namespaces_is_given_there_alone(world: &World) -> Outcome {
    for (name, roles) in [("only-there", vec![]), ("there-beside", vec!["view".to_owned()])] {
        let [shop, other] = ["shop", "other"].map(|suffix| format!("{name}-{suffix}"));
        for namespace in [&shop, &other] {
            world.testbed.kubectl(&["create", "namespace", namespace])?;
        }
        let mut options = ServerOptions::new(name);
        options.roles.clone_from(&roles);
        options.namespaced_roles = vec![json!({ "role": "edit", "namespaces": [shop] })];
        let site = world.site_with(options)?;
        let edit_in = |namespaces: &[&str]| json!({ "role": "edit", "period": "1h", "namespaces": namespaces });

        site.grant(&[(ALICE, edit_in(&[&shop]))])?;
        let alice = site.caller("ALICE")?;
        alice.sign_in()?;
        let token = alice.token()?;
        let secrets = |namespace: &str| format!("/api/v1/namespaces/{namespace}/secrets");
        assert_eq!(world.cluster.status(&token, "GET", &secrets(&shop))?, 200, "{name}");
        assert_eq!(world.cluster.status(&token, "GET", &secrets(&other))?, 403, "{name}");
        alice.sign_out()?;

        for refused in [rule("edit", "1h"), edit_in(&[&other]), edit_in(&[&shop, &other])] {
            site.grant(&[(ALICE, refused.clone())])?;
            let refusal = alice.post("/login")?.expect(403)?.refusal()?;
            assert!(
                refusal.message.contains("may not bind the ClusterRole edit"),
                "{refusal:?}"
            );
            assert!(refusal.advice.join(" ").contains("namespacedRoles"), "{refusal:?}");
            is_no_rule_to_use(&site, &alice)?;
            assert_eq!(site.counts()?, [0, 0, 0], "{refused}");
            let left = "/apis/rbac.authorization.k8s.io/v1/rolebindings";
            assert_eq!(world.cluster.labelled(left, name)?, Vec::<Value>::new(), "{refused}");
        }
        binds_there_alone(&site, &shop, &other)?;
        if !roles.is_empty() {
            site.grant(&[(ALICE, rule("view", "1h"))])?;
            alice.sign_in()?;
            assert_eq!(world.cluster.status(&alice.token()?, "GET", "/api/v1/pods")?, 200);
            alice.sign_out()?;
        }
        site.wait_empty()?;
    }
    Ok(())
}

/// What cannot be given is said before a caller asks for it. `cases.md` 11.6
fn is_no_rule_to_use(site: &Site<'_>, alice: &Caller) -> Outcome {
    let rules = alice.get("/rules")?.expect(200)?.json()?;
    let problem = rules["items"][0]["problem"].as_str().unwrap_or_default();
    assert!(problem.contains("may not bind the ClusterRole edit in the"), "{rules}");
    let doctor = site.person("ALICE")?.tka(&["doctor"])?;
    let is_told = ["may not bind the ClusterRole edit", "namespacedRoles"].map(|part| doctor.out.contains(part));
    assert_eq!(is_told, [true, true], "{}", doctor.out);
    Ok(())
}

/// What the API server itself lets the server do, whatever the server means to.
fn binds_there_alone(site: &Site<'_>, there: &str, elsewhere: &str) -> Outcome {
    let kubeconfig = site.server.kubeconfig();
    let can = |right: &[&str]| {
        let words = [&["auth", "can-i"], right].concat();
        let output = site.world.testbed.kubectl_with(&kubeconfig, &words)?;
        Ok::<_, Box<dyn std::error::Error + Send + Sync>>(output.stdout.trim() == "yes")
    };
    let namespace = |name: &str| format!("--namespace={name}");
    assert!(can(&["bind", "clusterroles/edit", &namespace(there)])?);
    assert!(can(&["create", "rolebindings", &namespace(there)])?);
    for right in [
        &["bind", "clusterroles/edit", &*namespace(elsewhere)][..],
        &["bind", "clusterroles/admin", &namespace(there)],
        &["bind", "clusterroles/edit", "--all-namespaces"],
        &["create", "roles", &namespace(there)],
        &["update", "rolebindings", &namespace(there)],
        &["escalate", "clusterroles/edit", &namespace(there)],
    ] {
        assert!(!can(right)?, "{right:?}");
    }
    Ok(())
}

fn orphans_are_swept_and_foreign_objects_stay(world: &World) -> Outcome {
    let site = world.unguarded_site("orphans")?;
    site.grant(&[(ALICE, rule("view", "1h"))])?;
    let alice = site.caller("ALICE")?;
    alice.sign_in()?;
    let namespace = site.server.namespace();
    site.server.stop()?;

    let labels = |namespace: &str| {
        json!({
            "app.kubernetes.io/managed-by": "tka",
            "tka.specht-labs.de/session": "tka-unknown",
            "tka.specht-labs.de/namespace": namespace,
        })
    };
    let make = |kind: Kind, name: &str, labels: &Value| {
        world
            .cluster
            .create(&kind.path(namespace), &kind.object(name, labels))?;
        Ok::<_, Box<dyn std::error::Error + Send + Sync>>(format!("{}/{name}", kind.path(namespace)))
    };
    let stay = [
        make(Kind::Account, "not-ours", &json!({}))?,
        make(
            Kind::Account,
            "of-another-program",
            &json!({"app.kubernetes.io/managed-by": "tka"}),
        )?,
        make(Kind::Binding, "orphans-not-ours", &json!({}))?,
        make(Kind::Binding, "orphans-of-another-server", &labels("elsewhere"))?,
        site.path_of_only(Kind::Account)?,
        site.path_of_only(Kind::Binding)?,
    ];
    let go = [
        make(Kind::Account, "orphan", &labels(namespace))?,
        make(Kind::Binding, "orphans:orphan", &labels(namespace))?,
    ];
    site.server.start()?;
    wait::until_true("the orphans are gone", || {
        Ok(world.cluster.get(&go[0])?.is_none() && world.cluster.get(&go[1])?.is_none())
    })?;
    for path in stay {
        assert!(world.cluster.get(&path)?.is_some(), "{path} is gone");
    }
    alice.get("/login")?.expect(200)?;
    Ok(())
}

fn session_whose_account_or_binding_is_deleted_ends(world: &World) -> Outcome {
    let site = world.site("broken")?;
    site.grant(&[(ALICE, rule("view", "1h"))])?;
    let alice = site.caller("ALICE")?;
    // Without an account there is no credential to give, which is noticed when one is asked for.
    alice.sign_in()?;
    world.cluster.delete(&site.path_of_only(Kind::Account)?)?;
    alice.get("/kubeconfig")?.expect(401)?;
    site.wait_empty()?;
    // A credential without a binding is good for nothing, which is noticed by a sweep, as at a start.
    alice.sign_in()?;
    world.cluster.delete(&site.path_of_only(Kind::Binding)?)?;
    site.server.stop()?;
    site.server.start()?;
    site.wait_empty()?;
    alice.sign_in()?;
    assert_eq!(site.counts()?, [1, 1, 1]);
    assert_eq!(world.cluster.status(&alice.token()?, "GET", "/api/v1/pods")?, 200);
    Ok(())
}

fn what_lies_in_wait_under_the_names_of_a_session_is_replaced(world: &World) -> Outcome {
    let site = world.unguarded_site("in-wait")?;
    site.grant(&[(ALICE, rule("view", "1h"))])?;
    let alice = site.caller("ALICE")?;
    alice.sign_in()?;
    let paths = [site.path_of_only(Kind::Account)?, site.path_of_only(Kind::Binding)?];
    alice.sign_out()?;
    for (kind, path) in [Kind::Account, Kind::Binding].into_iter().zip(&paths) {
        let name = path.rsplit('/').next().unwrap_or_default();
        world
            .cluster
            .create(&kind.path("in-wait"), &kind.object(name, &json!({})))?;
    }
    let before = paths.each_ref().map(|path| world.cluster.get(path));
    alice.sign_in()?;
    for (path, before) in paths.iter().zip(before) {
        let (before, after) = (
            before?.ok_or("it was not made")?,
            world.cluster.get(path)?.ok_or("it is gone")?,
        );
        assert_ne!(before["metadata"]["uid"], after["metadata"]["uid"]);
    }
    assert_eq!(world.cluster.status(&alice.token()?, "GET", "/api/v1/pods")?, 200);
    alice.sign_out()?;
    site.wait_empty()
}

fn tkasignin_made_by_hand_gives_nothing(world: &World) -> Outcome {
    let site = world.unguarded_site("by-hand")?;
    site.grant(&[(BOB, rule("view", "1h")), (CAROL, rule("view", "1h"))])?;
    let namespace = site.server.namespace();
    let signins = Kind::Signin.path(namespace);
    // Everything of a real session but its role, which is what its name is made of.
    let bob = site.caller("BOB")?;
    bob.sign_in()?;
    let mut forged = world
        .cluster
        .get(&site.path_of_only(Kind::Signin)?)?
        .ok_or("no session")?;
    bob.sign_out()?;
    forged["metadata"] = json!({
        "name": forged["metadata"]["name"],
        "labels": forged["metadata"]["labels"],
        "annotations": forged["metadata"]["annotations"],
    });
    forged["spec"]["role"] = "cluster-admin".into();
    let path = format!("{signins}/{}", forged["metadata"]["name"].as_str().unwrap_or_default());

    world
        .cluster
        .create(&signins, &Kind::Signin.object("without-labels", &json!({})))?;
    world.cluster.create(&signins, &forged)?;
    wait::until_true("what only looks like a session is removed", || {
        Ok(world.cluster.get(&path)?.is_none())
    })?;
    // A sign-in from now on is handled after both of them.
    site.caller("CAROL")?.sign_in()?;
    for kind in [Kind::Account, Kind::Binding] {
        let accounts = site.objects(kind)?;
        assert_eq!(accounts.len(), 1, "{accounts:?}");
        let name = accounts[0]["metadata"]["name"].as_str().unwrap_or_default();
        assert!(name.contains("tka-carol-"), "{name}");
    }
    bob.get("/login")?.expect(401)?;
    let ignored = world
        .cluster
        .get(&format!("{signins}/without-labels"))?
        .ok_or("it is not ours to remove")?;
    assert_eq!(ignored["status"], Value::Null);
    let account = format!("{}/without-labels", Kind::Account.path(namespace));
    assert!(world.cluster.get(&account)?.is_none());
    Ok(())
}

fn role_of_a_session_never_changes(world: &World) -> Outcome {
    let site = world.unguarded_site("unchanging")?;
    site.grant(&[(
        ALICE,
        json!({"role": "view", "period": "1h", "name": "look", "namespaces": ["default"]}),
    )])?;
    let alice = site.caller("ALICE")?;
    let token = alice.sign_in_apart("shell")?.expect(200)?.credential()?;
    let path = site.path_of_only(Kind::Signin)?;
    for change in [
        json!({"role": "cluster-admin"}),
        json!({"username": BOB}),
        json!({"user_id": 4711}),
        json!({"user_id": null}),
        json!({"tags": ["tag:ci"]}),
        json!({"device": {"stable_id": "n0"}}),
        json!({"device": null}),
        json!({"namespaces": ["kube-system"]}),
        json!({"namespaces": null}),
        json!({"rule": "other"}),
        json!({"rule": null}),
        json!({"label": "other"}),
        json!({"label": null}),
    ] {
        never_changes(&site, &path, &change);
    }
    // What identifies a session is not added to one that has it not, either.
    let signins = Kind::Signin.path(site.server.namespace());
    let bare = Kind::Signin.object("bare", &json!({}));
    world.cluster.create(&signins, &bare)?;
    for change in [
        json!({"user_id": 4711}),
        json!({"tags": ["tag:ci"]}),
        json!({"device": {"stable_id": "n0", "name": "laptop"}}),
        json!({"namespaces": ["default"]}),
        json!({"rule": "look"}),
        json!({"label": "shell"}),
    ] {
        never_changes(&site, &format!("{signins}/bare"), &change);
    }
    let secrets = "/api/v1/namespaces/default/secrets";
    assert_eq!(world.cluster.status(&token, "GET", secrets)?, 403);
    Ok(())
}

fn never_changes(site: &Site<'_>, path: &str, change: &Value) {
    let refused = site.world.cluster.patch(path, &json!({ "spec": change }));
    assert!(
        refused
            .as_ref()
            .is_err_and(|error| error.to_string().contains("never ")),
        "{change}: {refused:?}"
    );
}
