//! What the API server itself refuses to everybody but the server, whatever RBAC lets them do. Attempts are made without effect where that can
//! be had (a dry run). They are made again until they are refused, because a policy takes seconds to come into force.

mod attempts;

use std::fs;
use std::path::Path;
use std::process::Command;

use attempts::Who::{Administrator, AsSession, Editor, Elsewhere, Impersonator, Server};
use attempts::{
    ACCOUNTS, BINDINGS, CREDENTIALS, Guarded, LEASE, Line, NAMESPACE_LABEL, OTHER_ACCOUNTS, OTHER_BINDINGS, OTHER_MAPS,
    POD_ACCESS, PODS, SECRETS, SERVER_PODS, SERVER_TOKEN, SESSION_LABEL, SIGNINS, UNUSED, costly_binding, cron_job,
    deployment, labels, pod, secret,
};
use e2e::user::ALICE;
use e2e::{Kind, Outcome, World, brief, is_refused, wait};
use serde_json::{Value, json};
use testbed::ServerOptions;

crate::tests![
    sessions_live_and_end_under_the_guard,
    session_and_namespace_can_be_removed_without_a_server,
    release_changes_its_account_and_goes_with_its_guard,
    tkasignins_are_written_by_the_server_alone,
    accounts_of_sessions_are_written_by_the_server_alone,
    sessions_are_bound_by_the_server_alone,
    account_without_a_namespace_is_of_the_bindings_own,
    credentials_of_sessions_are_issued_to_the_server_alone,
    who_reconciles_is_decided_by_servers_alone,
    no_pod_runs_as_a_session,
    only_who_may_give_its_rights_away_acts_as_the_server,
    what_injectors_go_by_is_not_changed_on_its_pods,
    only_who_may_give_its_rights_away_gets_into_its_pods,
    editor_who_impersonates_the_server_gains_nothing,
    who_impersonates_a_credential_id_is_the_server_to_admission,
    impersonating_a_session_gives_its_role_and_no_more,
    server_is_held_to_the_sessions_of_its_namespace,
    server_cannot_bind_unlisted_roles_nor_gain_rights,
    what_has_nothing_to_do_with_sessions_is_left_alone,
    policies_are_sound,
];

const POLICIES: &str = "validatingadmissionpolicies";
const POLICY_BINDINGS: &str = "validatingadmissionpolicybindings";

fn sessions_live_and_end_under_the_guard(world: &World) -> Outcome {
    let guarded = Guarded::new(world, "guard-flow")?;
    let (site, session) = (&guarded.site, &guarded.session);
    guarded.wait_in_force()?;
    let bob = site.caller("BOB")?;
    let status = |token: &str, path: &str| world.cluster.status(token, "GET", path);
    bob.sign_in()?;
    assert_eq!(status(&bob.token()?, "/api/v1/pods")?, 200, "extended");
    bob.sign_out()?;
    assert_eq!(site.counts()?, [0, 0, 0]);

    for cascade in ["background", "foreground", "orphan"] {
        bob.sign_in()?;
        let token = bob.token()?;
        assert_eq!(status(&token, "/api/v1/pods")?, 200);
        // In the foreground it waits for the garbage collector, which hears of a new kind of object every 30 seconds.
        guarded.allows(
            Administrator,
            format!("delete signin {session} --cascade={cascade} --timeout=90s"),
        )?;
        assert!(is_refused(status(&token, "/api/v1/pods")?), "{cascade}");
        site.wait_empty()?;
    }

    let grant = |period: &str| {
        let here = json!({ "role": "view", "period": period, "namespaces": ["guard-flow"] });
        site.grant(&[(ALICE, here)])
    };
    let bindings = || {
        guarded.allows(
            Administrator,
            format!("get rolebindings --selector={SESSION_LABEL} --output=name"),
        )
    };
    let alice = site.caller("ALICE")?;
    let (found, bound) = brief::in_time(grant, || {
        let until = alice.sign_in()?.until;
        let found = status(&alice.token()?, "/api/v1/namespaces/guard-flow/pods")?;
        Ok(((found, bindings()?.lines().count()), until))
    })?;
    assert_eq!((found, bound), (200, 1));
    site.wait_empty()?;
    wait::until_true("its binding is gone", || Ok(bindings()?.is_empty()))
}

fn session_and_namespace_can_be_removed_without_a_server(world: &World) -> Outcome {
    let guarded = Guarded::new(world, "guard-gone")?;
    let session = &guarded.session;
    guarded.wait_in_force()?;
    guarded.site.server.kill()?;
    guarded.allows(Administrator, "delete namespace guard-gone --wait=false")?;
    wait::until_true("the session is being deleted", || {
        let time = "--output=jsonpath={.metadata.deletionTimestamp}";
        Ok(!guarded
            .allows(Administrator, format!("get signin {session} {time}"))?
            .is_empty())
    })?;

    let patch = format!("patch signin {session} --type=merge --patch");
    let and_more = r#"{"metadata":{"finalizers":null,"labels":{"a":"b"}}}"#;
    guarded.refuses(Administrator, SIGNINS, format!("{patch} {and_more}"))?;
    guarded.allows(
        Administrator,
        format!(r#"{patch} {{"metadata":{{"finalizers":null}}}}"#),
    )?;
    guarded.allows(Administrator, "wait --for=delete namespace/guard-gone --timeout=30s")?;
    Ok(())
}

fn release_changes_its_account_and_goes_with_its_guard(world: &World) -> Outcome {
    let guarded = Guarded::new(world, "guard-release")?;
    guarded.wait_in_force()?;
    guarded.site.server.stop()?;
    let helm = Command::new(world.testbed.bin().join("helm"))
        .args([
            "upgrade",
            "tka",
            "--namespace=guard-release",
            "--reuse-values",
            "--set=serviceAccount.name=other",
        ])
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("../charts/tka"))
        .env("KUBECONFIG", world.testbed.kubeconfig())
        .output()?;
    assert!(helm.status.success(), "{}", String::from_utf8_lossy(&helm.stderr));

    guarded.write_kubeconfig("other")?;
    let annotate = Line::from(format!("annotate signin {} a=b", guarded.session));
    wait::until_true("the new account may write", || {
        let output = guarded.kubectl_with(&guarded.folder.join("other"), annotate.clone().dry())?;
        Ok(output.status.success())
    })?;
    guarded.refuses_both(SIGNINS, annotate)?;

    guarded.site.server.remove()?;
    let left = world.testbed.kubectl(&["get", POLICIES, "--output=name"])?;
    assert!(!left.contains(".guard-release."), "{left}");
    world
        .testbed
        .kubectl(&["wait", "--for=delete", "namespace/guard-release", "--timeout=30s"])?;
    Ok(())
}

fn tkasignins_are_written_by_the_server_alone(world: &World) -> Outcome {
    let guarded = Guarded::new(world, "guard-signins")?;
    let session = &guarded.session;
    let path = guarded.site.path_of_only(Kind::Signin)?;
    let mut forged = world.cluster.get(&path)?.ok_or("no session")?;
    let metadata = &forged["metadata"];
    forged["metadata"] =
        json!({ "name": UNUSED, "labels": metadata["labels"], "annotations": metadata["annotations"] });
    guarded.refuses_both(SIGNINS, guarded.creating(&forged)?)?;
    guarded.refuses_both(SIGNINS, guarded.creating(&Kind::Signin.object("bare", &json!({})))?)?;

    let later = "tka.specht-labs.de/last-attempted-sign-in=2100-01-01T00:00:00Z";
    guarded.refuses_both(SIGNINS, format!("annotate --overwrite signin {session} {later}"))?;
    guarded.refuses_both(SIGNINS, format!("label signin {session} {SESSION_LABEL}-"))?;
    for change in [
        r#"{"spec":{"validity_period":"1000h0m0s"}}"#,
        r#"{"metadata":{"finalizers":null}}"#,
        r#"{"status":{"valid_until":"2100-01-01T00:00:00Z"}} --subresource=status"#,
    ] {
        guarded.refuses_both(SIGNINS, format!("patch signin {session} --type=merge --patch {change}"))?;
    }

    let audit = fs::read_to_string(world.testbed.audit_log())?;
    let recorded = audit.lines().any(|event| {
        event.contains("validation.policy.admission.k8s.io/validation_failure")
            && event.contains("system:serviceaccount:guard-signins:editor")
    });
    assert!(recorded, "the audit log does not say who tried");
    Ok(())
}

fn accounts_of_sessions_are_written_by_the_server_alone(world: &World) -> Outcome {
    let guarded = Guarded::new(world, "guard-accounts")?;
    let session = &guarded.session;
    for labels in [
        json!({ SESSION_LABEL: UNUSED }),
        json!({ NAMESPACE_LABEL: "guard-accounts" }),
    ] {
        let account = Kind::Account.object("account", &labels);
        guarded.refuses_both(ACCOUNTS, guarded.creating(&account)?)?;
    }
    // An account made before its session could have a credential already.
    guarded.refuses_both(ACCOUNTS, format!("create serviceaccount {UNUSED}"))?;
    for change in [
        format!("default {SESSION_LABEL}={session}"),
        format!("default {NAMESPACE_LABEL}=guard-accounts"),
        format!("{session} {SESSION_LABEL}-"),
        format!("{session} a=b"),
    ] {
        guarded.refuses_both(ACCOUNTS, format!("label serviceaccount {change}"))?;
    }
    Ok(())
}

fn sessions_are_bound_by_the_server_alone(world: &World) -> Outcome {
    let guarded = Guarded::new(world, "guard-bindings")?;
    let session = &guarded.session;
    let binding = format!("guard-bindings:{session}");
    for subject in [
        format!("--serviceaccount=guard-bindings:{session}"),
        format!("--user=system:serviceaccount:guard-bindings:{session}"),
        "--group=system:serviceaccounts:guard-bindings".to_owned(),
    ] {
        let more = format!("more --clusterrole=view {subject}");
        guarded.refuses_both(BINDINGS, format!("create rolebinding {more}"))?;
        guarded.refuses(
            Administrator,
            BINDINGS,
            format!("create rolebinding {more} --namespace=default"),
        )?;
        guarded.refuses(Administrator, BINDINGS, format!("create clusterrolebinding {more}"))?;
    }
    // cases.md 11.1: RBAC fills in the namespace, and the editor may bind what they like in this one.
    for line in [
        "create role binder --verb=bind --resource=clusterroles.rbac.authorization.k8s.io",
        "create rolebinding binder --role=binder --serviceaccount=guard-bindings:editor",
    ] {
        guarded.allows(Administrator, line)?;
    }
    let without = [
        json!({ "kind": "ServiceAccount", "name": session }),
        json!({ "kind": "ServiceAccount", "name": session, "namespace": "" }),
        json!({ "kind": "ServiceAccount", "name": session, "namespace": null, "apiGroup": "" }),
        json!({ "kind": "ServiceAccount", "name": UNUSED }),
    ];
    for subject in &without {
        guarded.refuses_both(BINDINGS, guarded.creating(&binding_to(&json!([subject])))?)?;
        let app = json!({ "kind": "ServiceAccount", "name": "app" });
        guarded.refuses_both(BINDINGS, guarded.creating(&binding_to(&json!([app, subject])))?)?;
    }
    let groups = ["system:serviceaccounts", "system:authenticated"];
    for group in groups {
        let line = format!("create rolebinding more --clusterrole=cluster-admin --group={group}");
        guarded.refuses_both(BINDINGS, line.as_str())?;
        // What the cluster's owners give to all accounts elsewhere, sessions have too.
        guarded.would_allow(Administrator, format!("{line} --namespace=default"))?;
    }
    let app = json!([{ "kind": "ServiceAccount", "name": "app" }]);
    guarded.would_allow(Editor, guarded.creating(&binding_to(&app))?)?;

    let add = |subject: Value| json!([{ "op": "add", "path": "/subjects/-", "value": subject }]);
    let [first, ..] = without;
    let whole = json!({ "kind": "ServiceAccount", "name": session, "namespace": "guard-bindings" });
    for account in [whole, first] {
        let account = add(account);
        guarded.refuses_both(
            BINDINGS,
            format!("patch rolebinding editors --type=json --patch {account}"),
        )?;
    }

    // What looks like a session's binding would be removed by the server, or stand in its way.
    let labels = format!("{SESSION_LABEL}={session} {NAMESPACE_LABEL}=guard-bindings");
    let stranger = add(json!({ "kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": "mallory" }));
    guarded.refuses_both(BINDINGS, format!("label rolebinding editors {labels}"))?;
    for line in [
        format!("label clusterrolebinding cluster-admin {labels}"),
        format!("label clusterrolebinding {binding} {SESSION_LABEL}-"),
        format!("patch clusterrolebinding {binding} --type=json --patch {stranger}"),
        format!("create clusterrolebinding guard-bindings:{UNUSED} --clusterrole=view --user=mallory"),
    ] {
        guarded.refuses(Administrator, BINDINGS, line)?;
    }
    Ok(())
}

/// A RoleBinding that an editor would make, to the role that gives everything.
fn binding_to(subjects: &Value) -> Value {
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": { "name": "more" },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin" },
        "subjects": subjects,
    })
}

/// cases.md 11.1: what the guard has to reckon with, as the API server has it.
fn account_without_a_namespace_is_of_the_bindings_own(world: &World) -> Outcome {
    let guarded = Guarded::of_role(world, world.unguarded_site("guard-filled-in")?, "view")?;
    let token = guarded.site.caller("BOB")?.token()?;
    let secrets = |namespace: &str| format!("/api/v1/namespaces/{namespace}/secrets");
    let status = |namespace: &str| world.cluster.status(&token, "GET", &secrets(namespace));
    assert_eq!(status("guard-filled-in")?, 403);
    let subject = json!([{ "kind": "ServiceAccount", "name": guarded.session }]);
    guarded.allows(Administrator, guarded.creating(&binding_to(&subject))?)?;
    wait::until_true("the session has the role", || Ok(status("guard-filled-in")? == 200))?;
    assert_eq!(status("default")?, 403);
    // Of a ClusterRoleBinding no namespace follows.
    let mut everywhere = binding_to(&subject);
    everywhere["kind"] = "ClusterRoleBinding".into();
    guarded.has_no_right(Administrator, "Required value", guarded.creating(&everywhere)?)
}

fn credentials_of_sessions_are_issued_to_the_server_alone(world: &World) -> Outcome {
    let guarded = Guarded::new(world, "guard-credentials")?;
    let session = &guarded.session;
    guarded.refuses_both(CREDENTIALS, format!("create token {session}"))?;

    guarded.refuses_both(SECRETS, guarded.creating(&secret(session))?)?;
    guarded.allows(Editor, guarded.creating(&secret("default"))?)?;
    let account = format!("kubernetes.io/service-account.name={session}");
    guarded.refuses_both(SECRETS, format!("annotate --overwrite secret token {account}"))?;
    guarded.would_allow(Editor, "annotate secret token a=b")
}

fn who_reconciles_is_decided_by_servers_alone(world: &World) -> Outcome {
    let guarded = Guarded::new(world, "guard-lease")?;
    let seized = r#"patch lease tka-server --type=merge --patch {"spec":{"holderIdentity":"intruder"}}"#;
    guarded.refuses_both(LEASE, seized)?;
    // RBAC lets only the server make a Lease; an administrator may do everything.
    let lease = |name: &str| json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": name}, "spec": {"holderIdentity": "x"}});
    guarded.refuses(Administrator, LEASE, guarded.creating(&lease("tka-server"))?)?;
    guarded.would_allow(Administrator, guarded.creating(&lease("another"))?)?;
    guarded.has_no_right(Server, "cannot patch resource", seized)?;
    guarded.has_no_right(Server, "cannot delete resource", "delete lease tka-server")?;

    // cases.md 11.8.
    let rights = "--verb=* --resource=leases.coordination.k8s.io";
    guarded.allows(Administrator, format!("create role leases {rights}"))?;
    guarded.allows(
        Administrator,
        "create rolebinding leases --role=leases --serviceaccount=guard-lease:editor",
    )?;
    guarded.refuses(Editor, LEASE, "delete lease tka-server")?;
    guarded.refuses(Editor, LEASE, "delete leases --all")?;
    guarded.has_no_right(Impersonator, "cannot delete resource", "delete lease tka-server")?;
    guarded.would_allow(Administrator, "delete lease tka-server")?;

    // What says that a session was ended is the servers' alone too, and other ConfigMaps are not.
    let map = |labels: &Value| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a-map", "labels": labels}});
    let tombstone = map(&json!({"tka.specht-labs.de/tombstone": "true"}));
    guarded.refuses_both(LEASE, guarded.creating(&tombstone)?)?;
    guarded.allows(Editor, guarded.creating(&map(&json!({})))?)?;
    guarded.refuses(Editor, LEASE, "label configmap a-map tka.specht-labs.de/tombstone=true")?;
    guarded.refuses(Server, OTHER_MAPS, guarded.creating(&tombstone)?)?;
    guarded.refuses(Server, OTHER_MAPS, "delete configmap a-map")?;
    guarded.refuses(Server, OTHER_MAPS, "delete configmap kube-root-ca.crt")?;
    guarded.allows(Server, guarded.creating(&named(&tombstone, UNUSED))?)?;
    guarded.refuses(Editor, LEASE, format!("delete configmap {UNUSED}"))?;
    // So is what says which emergency none has acknowledged.
    let glass = map(&json!({"tka.specht-labs.de/break-glass": "unacknowledged"}));
    let its_name = format!("{UNUSED}.break-glass");
    guarded.refuses_both(LEASE, guarded.creating(&glass)?)?;
    guarded.refuses_both(LEASE, guarded.creating(&named(&map(&json!({})), &its_name))?)?;
    guarded.refuses(Server, OTHER_MAPS, guarded.creating(&named(&glass, UNUSED))?)?;
    guarded.refuses(Server, OTHER_MAPS, guarded.creating(&named(&tombstone, &its_name))?)?;
    guarded.allows(Server, guarded.creating(&named(&glass, &its_name))?)?;
    guarded.refuses(Editor, LEASE, format!("delete configmap {its_name}"))?;
    guarded.refuses(
        Editor,
        LEASE,
        format!("label configmap {its_name} tka.specht-labs.de/break-glass-"),
    )?;
    let without = named(&map(&json!({})), &guarded.session);
    guarded.refuses_both(LEASE, guarded.creating(&without)?)?;
    guarded.would_allow(Administrator, format!("delete configmap {UNUSED}"))
}

fn named(object: &Value, name: &str) -> Value {
    let mut object = object.clone();
    object["metadata"]["name"] = name.into();
    object
}

fn no_pod_runs_as_a_session(world: &World) -> Outcome {
    let guarded = Guarded::new(world, "guard-pods")?;
    let session = &guarded.session;
    // `serviceAccount` is the field's old name.
    for field in ["serviceAccountName", "serviceAccount"] {
        guarded.refuses_both(PODS, guarded.creating(&pod(field, session))?)?;
    }
    guarded.allows(Editor, guarded.creating(&deployment("pods", session, 1))?)?;
    wait::until_true("the controller is refused its pod", || {
        let failures = "--output=jsonpath={.items[*].status.conditions[?(@.type==\"ReplicaFailure\")].message}";
        Ok(guarded
            .allows(Editor, format!("get replicasets {failures}"))?
            .contains(PODS))
    })?;
    assert_eq!(guarded.allows(Editor, "get pods --output=name")?, "");
    Ok(())
}

fn only_who_may_give_its_rights_away_acts_as_the_server(world: &World) -> Outcome {
    let guarded = Guarded::new(world, "guard-server")?;
    guarded.refuses(Editor, SERVER_TOKEN, "create token tka")?;
    guarded.refuses_both(SECRETS, guarded.creating(&secret("tka"))?)?;
    for object in [
        pod("serviceAccountName", "tka"),
        pod("serviceAccount", "tka"),
        deployment("new", "tka", 1),
        cron_job("tka"),
    ] {
        guarded.refuses(Editor, SERVER_PODS, guarded.creating(&object)?)?;
        guarded.would_allow(Administrator, guarded.creating(&object)?)?;
    }

    guarded.allows(Administrator, guarded.creating(&deployment("server", "tka", 1))?)?;
    guarded.allows(Editor, guarded.creating(&deployment("other", "default", 0))?)?;
    guarded.refuses(Editor, SERVER_PODS, "set image deployment/server main=example.com/evil")?;
    guarded.refuses(Editor, SERVER_PODS, "set serviceaccount deployment/other tka")?;
    // It is run like anything else, and its pods come to be.
    guarded.allows(Editor, "rollout restart deployment/server")?;
    guarded.allows(Editor, "scale deployment/server --replicas=2")?;
    wait::until_true("there are pods of the server", || {
        Ok(guarded
            .allows(Editor, "get pods --output=name")?
            .contains("pod/server-"))
    })
}

/// cases.md 11.8: a webhook that injects a container asks the pod's labels and annotations, and is asked by a controller.
fn what_injectors_go_by_is_not_changed_on_its_pods(world: &World) -> Outcome {
    let guarded = Guarded::new(world, "guard-injected")?;
    guarded.allows(Administrator, guarded.creating(&deployment("server", "tka", 1))?)?;
    guarded.allows(Administrator, guarded.creating(&cron_job("tka"))?)?;
    let pod = wait::until("there is a pod of the server", || {
        let pods = guarded.allows(Administrator, "get pods --output=name")?;
        Ok(pods.lines().next().map(str::to_owned))
    })?;
    let said = [
        r#"{"annotations":{"sidecar.example.com/inject":"true"}}"#,
        r#"{"labels":{"sidecar.example.com/inject":"true"}}"#,
    ];
    let patches = said.map(|metadata| {
        let template = format!(r#"{{"template":{{"metadata":{metadata}}}}}"#);
        [
            ("deployment/server", format!(r#"{{"metadata":{metadata}}}"#)),
            ("deployment/server", format!(r#"{{"spec":{template}}}"#)),
            ("cronjob/job", format!(r#"{{"metadata":{metadata}}}"#)),
            (
                "cronjob/job",
                format!(r#"{{"spec":{{"jobTemplate":{{"metadata":{metadata}}}}}}}"#),
            ),
            (
                "cronjob/job",
                format!(r#"{{"spec":{{"jobTemplate":{{"spec":{template}}}}}}}"#),
            ),
            (&*pod, format!(r#"{{"metadata":{metadata}}}"#)),
        ]
    });
    for (object, patch) in patches.iter().flatten() {
        let line = format!("patch {object} --type=merge --patch {patch}");
        guarded.refuses(Editor, SERVER_PODS, line.as_str())?;
        guarded.would_allow(Administrator, line)?;
    }
    // Taking away what keeps an injector off counts as well.
    let note = r#"{"spec":{"template":{"metadata":{"annotations":{"inject":"false"}}}}}"#;
    guarded.allows(
        Administrator,
        format!("patch deployment/server --type=merge --patch {note}"),
    )?;
    for value in ["null", r#""true""#] {
        let line = format!(
            "patch deployment/server --type=merge --patch {}",
            note.replace(r#""false""#, value)
        );
        guarded.refuses(Editor, SERVER_PODS, line)?;
    }
    for line in [
        r#"patch deployment/server --type=merge --patch {"spec":{"replicas":2}}"#,
        r#"patch cronjob/job --type=merge --patch {"spec":{"suspend":true}}"#,
        "rollout restart deployment/server",
        "scale deployment/server --replicas=2",
    ] {
        guarded.allows(Editor, line)?;
    }
    // What is not the server's is the editor's own.
    guarded.allows(Editor, guarded.creating(&deployment("other", "default", 0))?)?;
    guarded.would_allow(Editor, "annotate deployment other a=b")
}

fn only_who_may_give_its_rights_away_gets_into_its_pods(world: &World) -> Outcome {
    let guarded = Guarded::new(world, "guard-inside")?;
    for way in ["exec?command=sh", "attach", "portforward?ports=1", "proxy/"] {
        let line = format!("get --raw /api/v1/namespaces/guard-inside/pods/server/{way}");
        guarded.refuses(Editor, POD_ACCESS, line.clone())?;
        // There is no such pod, and that is all that stands in the way.
        guarded.has_no_right(Administrator, "not found", line.clone())?;
        let elsewhere = line.replace("guard-inside", "kube-public");
        guarded.has_no_right(Administrator, "not found", elsewhere)?;
    }
    Ok(())
}

/// In Kubernetes `edit` in a namespace includes impersonating its accounts.
fn editor_who_impersonates_the_server_gains_nothing(world: &World) -> Outcome {
    let guarded = Guarded::new(world, "guard-impersonated")?;
    let session = &guarded.session;
    assert_eq!(
        guarded
            .allows(Impersonator, format!("get signin {session} --output=name"))?
            .lines()
            .count(),
        1
    );
    guarded.refuses(Impersonator, SIGNINS, format!("annotate signin {session} a=b"))?;
    guarded.refuses(Impersonator, ACCOUNTS, format!("create serviceaccount {UNUSED}"))?;
    guarded.refuses(Impersonator, CREDENTIALS, format!("create token {session}"))?;
    guarded.refuses(Impersonator, SERVER_TOKEN, "create token tka")?;
    guarded.refuses(
        Impersonator,
        BINDINGS,
        guarded.creating(&guarded.binding("cluster-admin"))?,
    )?;
    let grab = "create clusterrolebinding grab --clusterrole=cluster-admin --user=mallory";
    guarded.refuses(Impersonator, OTHER_BINDINGS, grab)
}

/// cases.md 11.9: admission is told what an impersonator says, and not who says it. `docs/threats.md` says so under what is not stopped.
fn who_impersonates_a_credential_id_is_the_server_to_admission(world: &World) -> Outcome {
    let guarded = Guarded::new(world, "guard-extra")?;
    guarded.wait_in_force()?;
    let annotate = format!("annotate signin {} a=b --dry-run=server", guarded.session);
    let as_server = "--as=system:serviceaccount:guard-extra:tka";
    let with =
        |id: &str| format!("{annotate} {as_server} --as-user-extra=authentication.kubernetes.io/credential-id={id}");
    guarded.refuses(Administrator, SIGNINS, format!("{annotate} {as_server}"))?;
    guarded.allows(Administrator, with("JTI=made-up"))?;
    // A client certificate has an ID too, and is not how the server signs in.
    guarded.refuses(Administrator, SIGNINS, with("X509SHA256=made-up"))?;
    // `edit` and `admin` give the right to impersonate an account, and no more.
    guarded.has_no_right(Editor, "cannot impersonate resource", with("JTI=made-up"))
}

/// RBAC decides impersonation before admission sees anything, and admission sees nothing of what only reads. For this the server must have a
/// namespace of its own. `docs/threats.md` says so under what is not stopped.
fn impersonating_a_session_gives_its_role_and_no_more(world: &World) -> Outcome {
    let site = world.site("guard-as-session")?;
    let guarded = Guarded::of_role(world, site, "cluster-admin")?;
    guarded.wait_in_force()?;
    let session = &guarded.session;
    // What cannot be stopped: the role of the session, while it lasts.
    guarded.has_no_right(Editor, "cannot list resource", "get secrets --all-namespaces")?;
    guarded.allows(AsSession, "get secrets --all-namespaces")?;
    guarded.would_allow(AsSession, "create namespace guard-as-session-more")?;

    // What is, though the role would allow everything: more sessions, longer ones, their accounts, bindings, credentials and pods.
    guarded.refuses(AsSession, SIGNINS, format!("annotate signin {session} a=b"))?;
    guarded.refuses(
        AsSession,
        SIGNINS,
        format!("patch signin {session} --subresource=status --type=merge --patch {{}}"),
    )?;
    guarded.refuses(AsSession, ACCOUNTS, format!("create serviceaccount {UNUSED}"))?;
    guarded.refuses(AsSession, CREDENTIALS, format!("create token {session}"))?;
    guarded.refuses(AsSession, BINDINGS, guarded.creating(&guarded.binding("view"))?)?;
    guarded.refuses(AsSession, SECRETS, guarded.creating(&secret(session))?)?;
    guarded.refuses(AsSession, PODS, guarded.creating(&pod("serviceAccountName", session))?)?;

    // No other account may: neither one with the same rights in another namespace, nor a reader of this one.
    guarded.hire_elsewhere("guard-as-session-other")?;
    let line = format!("get pods {}", guarded.as_session());
    guarded.has_no_right(Elsewhere, "cannot impersonate resource", line.as_str())?;
    guarded.allows(Administrator, "delete rolebinding editors")?;
    guarded.allows(
        Administrator,
        "create rolebinding viewers --clusterrole=view --serviceaccount=guard-as-session:editor",
    )?;
    wait::until_true("the editor is a viewer", || {
        Ok(guarded
            .has_no_right(Editor, "cannot impersonate resource", line.as_str())
            .is_ok())
    })
}

fn server_is_held_to_the_sessions_of_its_namespace(world: &World) -> Outcome {
    let guarded = Guarded::new(world, "guard-held")?;
    for line in [
        "create serviceaccount more",
        "delete serviceaccount default",
        "create token default",
        "create token editor",
    ] {
        guarded.refuses(Server, OTHER_ACCOUNTS, line)?;
    }
    for line in [
        "create clusterrolebinding more --clusterrole=view --user=mallory",
        "delete clusterrolebinding cluster-admin",
        "delete rolebinding editors",
    ] {
        guarded.refuses(Server, OTHER_BINDINGS, line)?;
    }
    for line in [
        "label serviceaccount default a=b".to_owned(),
        format!("label serviceaccount {} a=b", guarded.session),
        format!("label clusterrolebinding guard-held:{} a=b", guarded.session),
    ] {
        guarded.has_no_right(Server, "cannot patch resource", line)?;
    }
    let mut to_another = guarded.binding("view");
    to_another["subjects"][0]["name"] = guarded.session.as_str().into();
    guarded.refuses(Server, OTHER_BINDINGS, guarded.creating(&to_another)?)?;
    let mut of_another = guarded.binding("view");
    of_another["metadata"]["labels"] = labels("elsewhere");
    guarded.refuses(Server, OTHER_BINDINGS, guarded.creating(&of_another)?)?;

    guarded.would_allow(Server, guarded.creating(&guarded.binding("view"))?)?;
    guarded.would_allow(Server, format!("create serviceaccount {UNUSED}"))
}

/// What RBAC sees to, guard or no guard.
fn server_cannot_bind_unlisted_roles_nor_gain_rights(world: &World) -> Outcome {
    let mut options = ServerOptions::new("guard-rights");
    options.roles = vec!["view".to_owned()];
    let guarded = Guarded::with(world, options)?;
    guarded.would_allow(Server, guarded.creating(&guarded.binding("view"))?)?;
    for role in ["cluster-admin", "admin", "edit"] {
        let refused = "is attempting to grant RBAC permissions not currently held";
        guarded.has_no_right(Server, refused, guarded.creating(&guarded.binding(role))?)?;
    }

    let everything = r#"[{"op":"add","path":"/rules/-","value":{"apiGroups":["*"],"resources":["*"],"verbs":["*"]}}]"#;
    for line in [
        &*format!("patch role tka --type=json --patch {everything}"),
        &format!("patch clusterrole tka:guard-rights:tka --type=json --patch {everything}"),
        "create role more --verb=get --resource=secrets",
        "get secrets",
        "create token default --namespace=kube-system",
        &format!("create serviceaccount {UNUSED} --namespace=default"),
        "delete signin any --namespace=default",
        "get namespaces --as=mallory",
        "get namespaces --as=mallory --as-group=system:masters",
        "delete validatingadmissionpolicy any",
        "delete crd tkasignins.tka.specht-labs.de",
    ] {
        guarded.has_no_right(Server, " cannot ", line)?;
    }
    for object in [
        secret("default"),
        pod("serviceAccountName", "default"),
        deployment("more", "default", 1),
    ] {
        guarded.has_no_right(Server, " cannot create ", guarded.creating(&object)?)?;
    }
    for (right, answer) in [
        ("bind clusterroles/view", "yes"),
        ("bind clusterroles/edit", "no"),
        ("escalate clusterroles/view", "no"),
        ("impersonate serviceaccounts", "no"),
        ("create certificatesigningrequests.certificates.k8s.io", "no"),
        ("create pods/exec", "no"),
        ("* *", "no"),
    ] {
        assert_eq!(
            guarded.kubectl(Server, format!("auth can-i {right}"))?.stdout.trim(),
            answer,
            "{right}"
        );
    }
    Ok(())
}

fn what_has_nothing_to_do_with_sessions_is_left_alone(world: &World) -> Outcome {
    let guarded = Guarded::new(world, "guard-others")?;
    guarded.wait_in_force()?;
    guarded.allows(Editor, "create serviceaccount app")?;
    for line in [
        "create serviceaccount tka-bob".into(),
        "label serviceaccount app app.kubernetes.io/managed-by=tka".into(),
        "create rolebinding app --clusterrole=view --serviceaccount=guard-others:app".into(),
        "create token app".into(),
        guarded.creating(&secret("app"))?,
        guarded.creating(&pod("serviceAccountName", "app"))?,
        guarded.creating(&deployment("app", "app", 1))?,
        guarded.creating(&cron_job("app"))?,
    ] {
        guarded.would_allow(Editor, line)?;
    }

    // Another namespace belongs to another server or to none.
    let elsewhere = "--namespace=kube-public";
    for line in [
        guarded
            .creating(&Kind::Account.object(UNUSED, &labels("elsewhere")))?
            .and(elsewhere),
        guarded
            .creating(&Kind::Signin.object(UNUSED, &labels("elsewhere")))?
            .and(elsewhere),
        guarded.creating(&secret(UNUSED))?.and(elsewhere),
        guarded.creating(&Kind::Binding.object("guard-others-not-ours", &labels("elsewhere")))?,
        format!("create clusterrolebinding more --clusterrole=view --serviceaccount=kube-public:{UNUSED}").into(),
    ] {
        guarded.would_allow(Administrator, line)?;
    }
    Ok(())
}

/// A binding of many subjects that is none of ours is judged within what the API server lets a policy spend. Each release in the cluster looks
/// at it, and the tests that run side by side have many.
pub(crate) fn costly_binding_is_left_alone(world: &World) -> Outcome {
    let guarded = Guarded::new(world, "guard-costly")?;
    guarded.wait_in_force()?;
    guarded.would_allow(Administrator, guarded.creating(&costly_binding())?)
}

fn policies_are_sound(world: &World) -> Outcome {
    let guarded = Guarded::new(world, "guard-policies")?;
    let ours = |kind: &str| -> Outcome<Vec<Value>> {
        let list: Value = serde_json::from_str(&guarded.allows(Administrator, format!("get {kind} --output=json"))?)?;
        let mut items = list["items"].as_array().cloned().unwrap_or_default();
        items.retain(|item| item["metadata"]["name"].to_string().contains(".guard-policies."));
        Ok(items)
    };
    let policies = wait::until("the API server has checked the policies", || {
        let policies = ours(POLICIES)?;
        let checked = policies
            .iter()
            .all(|policy| policy["status"]["typeChecking"].is_object());
        Ok(checked.then_some(policies))
    })?;
    assert!(!policies.is_empty());
    for policy in &policies {
        assert_eq!(policy["status"]["typeChecking"], json!({}), "{policy}");
        assert_eq!(policy["spec"]["failurePolicy"], "Fail");
    }
    let bindings = ours(POLICY_BINDINGS)?;
    for binding in &bindings {
        assert_eq!(binding["spec"]["validationActions"], json!(["Deny", "Audit"]));
    }
    let all = |items: &[Value], pointer| {
        items
            .iter()
            .map(|item| item.pointer(pointer).cloned())
            .collect::<Vec<_>>()
    };
    assert_eq!(all(&policies, "/metadata/name"), all(&bindings, "/spec/policyName"));
    Ok(())
}
