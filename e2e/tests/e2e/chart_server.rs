//! The server that the Helm chart installs: rendered by a real helm, judged by a real API server, and made into pods by real controllers. No
//! node is there to run them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use e2e::user::ALICE;
use e2e::{Outcome, World, rule, wait};
use serde_json::{Value, json};

use crate::helm::{Helm, chart, objects, of_kind, with_server};

crate::tests![
    pods_are_admitted_where_pod_security_is_restricted,
    users_differ_and_only_tailscaleds_own_may_change_the_node,
    health_is_not_on_loopback_and_sysctls_are_for_low_ports,
    state_is_named_after_pods_and_changed_by_no_upgrade,
    release_without_a_server_gets_one_and_a_release_before_it_too,
    installation_without_what_it_needs_is_refused_with_what_to_do,
    node_authenticates_in_one_way,
    secrets_are_in_secrets_alone,
    control_server_of_ones_own_and_its_authority_are_passed_on,
    values_that_are_not_known_are_refused_at_each_level,
    null_takes_no_default_of_the_server_away,
    all_values_together_are_valid,
    releases_in_two_namespaces_share_nothing,
    names_of_any_length_make_pods,
    rendering_twice_is_the_same,
    what_is_optional_is_left_out,
    metrics_that_are_watched_exist,
    image_of_tailscale_is_what_is_tested,
    plain_manifests_are_the_charts,
];

/// The objects of a release `tka` in `default`.
fn rendered(helm: &Helm<'_>, more: &Value) -> Outcome<Vec<Value>> {
    objects(&helm.render_server("tka", "default", more)?)
}

/// The pods of its StatefulSet.
fn pod(objects: &[Value]) -> Outcome<Value> {
    let sets = of_kind(objects, "StatefulSet");
    let (_, set) = sets.first().ok_or("no StatefulSet")?;
    Ok(set["spec"]["template"].clone())
}

/// The containers of a pod: the server's and tailscale's.
fn containers(pod: &Value) -> [&Value; 2] {
    [&pod["spec"]["containers"][0], &pod["spec"]["initContainers"][0]]
}

/// The variables of a container that have a value.
fn variables(container: &Value) -> BTreeMap<String, String> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let variables = container["env"].as_array().into_iter().flatten();
    let valued = variables.filter(|variable| variable["value"].is_string());
    valued
        .map(|variable| (text(&variable["name"]), text(&variable["value"])))
        .collect()
}

fn install(helm: &Helm<'_>, namespace: &str, more: &Value) -> Outcome {
    let values = helm.file("installed.yaml", &with_server(more).to_string())?;
    let (chart, in_namespace) = (chart(), format!("--namespace={namespace}"));
    let words = [
        "upgrade",
        "tka",
        &chart,
        "--install",
        "--create-namespace",
        "--values",
        &values,
    ];
    helm.done(&[&words[..], &[&in_namespace]].concat())?;
    Ok(())
}

fn uninstall(helm: &Helm<'_>, world: &World, namespace: &str) -> Outcome {
    helm.done(&["uninstall", "tka", &format!("--namespace={namespace}")])?;
    world
        .testbed
        .kubectl(&["delete", "namespace", namespace, "--wait=false"])?;
    Ok(())
}

fn pods_are_admitted_where_pod_security_is_restricted(world: &World) -> Outcome {
    let helm = Helm::new(world, "chart-restricted")?;
    let namespace = "chart-restricted";
    let kubectl = |words: &[&str]| world.testbed.kubectl(&[words, &["--namespace", namespace]].concat());
    kubectl(&["create", "namespace", namespace])?;
    let labels = ["enforce", "warn"].map(|mode| format!("pod-security.kubernetes.io/{mode}=restricted"));
    kubectl(&["label", "namespace", namespace, &labels[0], &labels[1]])?;
    install(
        &helm,
        namespace,
        &json!({ "replicas": 2, "networkPolicy": { "enabled": true } }),
    )?;
    // Controllers make them under the guard.
    wait::until_true("there are pods", || {
        Ok(kubectl(&["get", "pods", "--output=name"])?
            .lines()
            .eq(["pod/tka-0", "pod/tka-1"]))
    })?;

    let manifest = helm.render_server("tka", namespace, &json!({}))?;
    let file = helm.file("restricted.yaml", &manifest)?;
    let words = [
        "apply",
        "--server-side",
        "--force-conflicts",
        "--dry-run=server",
        "--validate=strict",
    ];
    let judged = world.testbed.kubectl_with(
        &world.testbed.kubeconfig(),
        &[&words[..], &["--filename", &file]].concat(),
    )?;
    assert!(
        judged.status.success() && !judged.stderr.contains("Warning"),
        "{}",
        judged.stderr
    );
    uninstall(&helm, world, namespace)
}

fn users_differ_and_only_tailscaleds_own_may_change_the_node(world: &World) -> Outcome {
    let helm = Helm::new(world, "chart-users")?;
    let pod = pod(&rendered(&helm, &json!({}))?)?;
    let [server, tailscale] = containers(&pod);
    assert_eq!(tailscale["restartPolicy"], "Always", "a native sidecar");
    let users = [server, tailscale].map(|container| container["securityContext"]["runAsUser"].as_u64());
    assert_eq!(users, [Some(65532), Some(65531)]);
    let variables = variables(tailscale);
    assert_eq!(variables["TS_PERMIT_CERT_UID"], "65532");
    assert!(!variables.contains_key("TS_EXTRA_ARGS"), "no --operator");
    let sockets = [server, tailscale].map(|container| {
        let mounts = container["volumeMounts"].as_array().into_iter().flatten();
        let mut of_socket = mounts.filter(|mount| mount["name"] == "tailscale");
        of_socket.next().cloned().unwrap_or_default()
    });
    assert_eq!(sockets[0]["readOnly"], true);
    assert_eq!(sockets[0]["mountPath"], sockets[1]["mountPath"]);
    for container in [server, tailscale] {
        let context = &container["securityContext"];
        assert_eq!(context["readOnlyRootFilesystem"], true);
        assert_eq!(context["allowPrivilegeEscalation"], false);
        assert_eq!(context["capabilities"], json!({ "drop": ["ALL"] }));
        assert!(
            container["startupProbe"].is_null(),
            "sessions end without a tailnet too"
        );
    }
    assert_eq!(
        pod["spec"]["securityContext"]["seccompProfile"]["type"],
        "RuntimeDefault"
    );
    Ok(())
}

fn health_is_not_on_loopback_and_sysctls_are_for_low_ports(world: &World) -> Outcome {
    let helm = Helm::new(world, "chart-health")?;
    for (port, sysctl) in [
        (443, Some("443")),
        (80, Some("80")),
        (1023, Some("1023")),
        (1024, None),
        (8080, None),
    ] {
        let objects = rendered(&helm, &json!({ "port": port }))?;
        let pod = pod(&objects)?;
        let [server, tailscale] = containers(&pod);
        let found = &pod["spec"]["securityContext"]["sysctls"];
        let expected = sysctl.map(|from| json!([{ "name": "net.ipv4.ip_unprivileged_port_start", "value": from }]));
        assert_eq!(*found, expected.unwrap_or_default(), "{port}");
        // tailscaled hands what comes over the tailnet to loopback.
        let address = &server["env"][0];
        assert_eq!(address["name"], "TKA_HEALTH_ADDRESS");
        assert_eq!(address["valueFrom"]["fieldRef"]["fieldPath"], "status.podIP");
        let variables = variables(tailscale);
        assert_eq!(variables["TS_LOCAL_ADDR_PORT"], "$(POD_IP):9002");
        assert_eq!(variables.contains_key("TS_PERMIT_CERT_UID"), port == 443);
        let config = &of_kind(&objects, "ConfigMap")[0].1["data"]["config.yaml"];
        let config: Value = serde_saphyr::from_str(config.as_str().ok_or("no configuration")?)?;
        assert_eq!(config["tailscale"]["port"], port);
        assert_eq!(config["operator"]["namespace"], "default");
    }
    Ok(())
}

fn state_is_named_after_pods_and_changed_by_no_upgrade(world: &World) -> Outcome {
    let helm = Helm::new(world, "chart-state")?;
    let objects = rendered(&helm, &json!({ "replicas": 3 }))?;
    let secrets = of_kind(&objects, "Secret");
    let without_data = secrets
        .iter()
        .filter(|(_, secret)| secret["data"].is_null() && secret["stringData"].is_null());
    let states: BTreeSet<_> = without_data.map(|(name, _)| *name).collect();
    assert_eq!(states, BTreeSet::from(["tka-0", "tka-1", "tka-2"]));
    let rules = objects
        .iter()
        .filter(|object| object["kind"] == "Role" || object["kind"] == "ClusterRole");
    let rules = rules.flat_map(|role| role["rules"].as_array().into_iter().flatten());
    let about_secrets: Vec<_> = rules
        .filter(|rule| rule["resources"].to_string().contains("secrets"))
        .collect();
    let expected = json!({
        "apiGroups": [""], "resources": ["secrets"], "verbs": ["get", "update", "patch"],
        "resourceNames": ["tka-0", "tka-1", "tka-2"],
    });
    assert_eq!(about_secrets, [&expected]);

    let namespace = "chart-state";
    let kubectl = |words: &[&str]| world.testbed.kubectl(&[words, &["--namespace", namespace]].concat());
    let state = || kubectl(&["get", "secret", "tka-0", "--output=jsonpath={.data}"]);
    install(&helm, namespace, &json!({}))?;
    kubectl(&[
        "patch",
        "secret",
        "tka-0",
        "--type=merge",
        r#"--patch={"data":{"_machinekey":"eA=="}}"#,
    ])?;
    install(&helm, namespace, &json!({ "replicas": 2, "image": { "tag": "other" } }))?;
    assert_eq!(state()?, r#"{"_machinekey":"eA=="}"#);
    helm.done(&["rollback", "tka", "1", "--namespace", namespace])?;
    assert_eq!(state()?, r#"{"_machinekey":"eA=="}"#);
    // As Argo CD compares: what is there, and what it would be after applying.
    let manifest = helm.done(&["get", "manifest", "tka", "--namespace", namespace])?;
    let file = helm.file("manifest.yaml", &manifest)?;
    kubectl(&["diff", "--server-side", "--force-conflicts", "--filename", &file])?;
    uninstall(&helm, world, namespace)
}

fn release_without_a_server_gets_one_and_a_release_before_it_too(world: &World) -> Outcome {
    let helm = Helm::new(world, "chart-upgrade")?;
    let before = helm.folder.join("before");
    let mut charts = vec![(chart(), "--set=server.enabled=false")];
    if chart_before_the_server(&before)? {
        charts.push((before.join("charts/tka").display().to_string(), "--set=roles={view}"));
    } else {
        eprintln!("NOT RUN: the upgrade from the chart of {BEFORE}, which this clone does not have");
    }
    for (number, (chart_before, set)) in charts.into_iter().enumerate() {
        let namespace = format!("chart-upgrade-{number}");
        let to = [
            "--namespace",
            &namespace,
            "--create-namespace",
            "--set=crds.install=false",
            set,
        ];
        helm.done(&[&["install", "tka", &chart_before], &to[..]].concat())?;
        install(&helm, &namespace, &json!({}))?;
        let made = ["statefulset/tka", "secret/tka-0", "--namespace", &namespace];
        world.testbed.kubectl(&[&["get"], &made[..]].concat())?;
        uninstall(&helm, world, &namespace)?;
    }
    Ok(())
}

/// The last commit whose chart had no server.
const BEFORE: &str = "0318ada";

/// Whether that commit's chart is in `folder` now. A clone may be too shallow to have it.
fn chart_before_the_server(folder: &Path) -> Outcome<bool> {
    fs::create_dir_all(folder)?;
    let archive = folder.join("chart.tar");
    let git = Command::new("git")
        .current_dir(Path::new(&chart()).join("../.."))
        .args(["archive", BEFORE, "charts/tka", "--output"])
        .arg(&archive)
        .output()?;
    if !git.status.success() {
        return Ok(false);
    }
    let tar = Command::new("tar")
        .arg("-xf")
        .arg(&archive)
        .arg("-C")
        .arg(folder)
        .status()?;
    Ok(tar.success())
}

fn installation_without_what_it_needs_is_refused_with_what_to_do(world: &World) -> Outcome {
    let helm = Helm::new(world, "chart-refusals")?;
    let config_map = json!({ "clusterInfo": { "configMap": { "enabled": true } } });
    let from_config_map = json!({ "clusterInfo": { "apiEndpoint": "", "configMap": { "enabled": true } } });
    let one_namespace = json!({ "roles": [], "namespacedRoles": [{ "role": "edit", "namespaces": ["default"] }] });
    for (values, said) in [
        (
            json!({ "clusterInfo": { "apiEndpoint": "" } }),
            "kubectl config view --minify --output=jsonpath='{.clusters[0].cluster.server}'",
        ),
        (json!({ "clusterInfo": null }), "clusterInfo.apiEndpoint is empty"),
        (config_map, "are two answers to one question"),
        (json!({ "roles": [] }), "--set 'roles={view}'"),
        (json!({ "roles": null }), "every sign-in would be refused"),
        (
            json!({ "tailscale": { "authKey": { "value": "" } } }),
            "no way to authenticate",
        ),
        (
            json!({ "tailscale": { "caCert": { "configMap": { "name": "a" }, "secret": { "name": "b" } } } }),
            "tailscale.caCert.secret are two answers",
        ),
        (
            json!({ "extraEnv": [{ "name": "TKA_HEALTH_ADDRESS", "value": "0.0.0.0" }] }),
            "extraEnv has TKA_HEALTH_ADDRESS",
        ),
        (
            json!({ "tailscale": { "extraEnv": [{ "name": "TS_KUBE_SECRET", "value": "" }] } }),
            "tailscale.extraEnv has TS_KUBE_SECRET",
        ),
    ] {
        let refusal = helm.refusal(&values)?;
        assert!(refusal.contains(said), "{values}: {refusal}");
        assert!(refusal.contains("server.enabled=false"), "{refusal}");
    }
    rendered(&helm, &from_config_map)?;
    rendered(&helm, &one_namespace)?;
    // All at once.
    let refusal = helm
        .done(&["template", "tka", &chart()])
        .err()
        .ok_or("taken")?
        .to_string();
    for said in ["- roles and", "- clusterInfo.apiEndpoint", "- the server's node"] {
        assert!(refusal.contains(said), "{refusal}");
    }
    Ok(())
}

fn node_authenticates_in_one_way(world: &World) -> Outcome {
    let helm = Helm::new(world, "chart-ways")?;
    let none = json!({ "value": "" });
    let oauth = |oauth: Value| json!({ "tailscale": { "authKey": none, "tags": ["tag:tka"], "oauth": oauth } });
    let file = "file:/var/run/secrets/tailscale";
    for (values, variable, value) in [
        (json!({}), "TS_AUTHKEY", format!("{file}/tka-auth/authkey")),
        (
            json!({ "tailscale": { "authKey": { "value": "", "existingSecret": { "name": "mine", "key": "k" } } } }),
            "TS_AUTHKEY",
            format!("{file}/mine/k"),
        ),
        (
            oauth(json!({ "clientSecret": "tskey-client-x" })),
            "TS_CLIENT_SECRET",
            format!("{file}/tka-auth/client-secret"),
        ),
        (
            oauth(json!({ "existingSecret": { "name": "mine" } })),
            "TS_CLIENT_SECRET",
            format!("{file}/mine/client-secret"),
        ),
        (
            json!({ "tailscale": { "authKey": none, "tags": ["tag:tka"], "workloadIdentity": { "clientId": "id" } } }),
            "TS_CLIENT_ID",
            "id?ephemeral=false&preauthorized=true".to_owned(),
        ),
    ] {
        let rendered = helm.render_server("tka", "default", &values)?;
        helm.would_install(&rendered)?;
        let pod = pod(&objects(&rendered)?)?;
        let variables = variables(containers(&pod)[1]);
        let ways: Vec<_> = ["TS_AUTHKEY", "TS_CLIENT_SECRET", "TS_CLIENT_ID"]
            .into_iter()
            .filter(|name| variables.contains_key(*name))
            .collect();
        assert_eq!(ways, [variable]);
        assert_eq!(variables[variable], value);
        let identity = pod["spec"]["volumes"].as_array().into_iter().flatten();
        let token = identity.filter_map(|volume| volume["projected"]["sources"][0]["serviceAccountToken"].as_object());
        let audiences: Vec<_> = token.map(|token| token["audience"].clone()).collect();
        let is_identity = variable == "TS_CLIENT_ID";
        assert_eq!(
            audiences,
            if is_identity {
                vec![json!("api.tailscale.com/id")]
            } else {
                Vec::new()
            }
        );
        assert_eq!(variables.contains_key("TS_ID_TOKEN"), is_identity);
    }
    let two = json!({ "tailscale": { "tags": ["tag:a"], "oauth": { "clientSecret": "x" } } });
    assert!(
        helm.refusal(&two)?
            .contains("here are 2: tailscale.authKey.value, tailscale.oauth.clientSecret")
    );
    let untagged = json!({ "tailscale": { "authKey": none, "workloadIdentity": { "clientId": "x" } } });
    assert!(
        helm.refusal(&untagged)?
            .contains("tailscale.workloadIdentity needs tailscale.tags")
    );
    Ok(())
}

fn secrets_are_in_secrets_alone(world: &World) -> Outcome {
    let helm = Helm::new(world, "chart-secrets")?;
    let values = json!({ "tailscale": { "authKey": { "value": "tskey-auth-marker\n" } } });
    let rendered = rendered(&helm, &values)?;
    let holders: Vec<_> = rendered
        .iter()
        .filter(|object| {
            object.to_string().contains("marker") || object.to_string().contains("dHNrZXktYXV0aC1tYXJrZXI")
        })
        .collect();
    assert_eq!(holders.len(), 1);
    assert_eq!(holders[0]["kind"], "Secret");
    assert_eq!(
        holders[0]["data"]["authkey"], "dHNrZXktYXV0aC1tYXJrZXI=",
        "without the newline of a file"
    );
    // The pod starts without it, and tailscale says which file is missing.
    let pod = pod(&rendered)?;
    let volumes = pod["spec"]["volumes"].as_array().into_iter().flatten();
    let optional: Vec<_> = volumes
        .filter_map(|volume| volume["secret"]["optional"].as_bool())
        .collect();
    assert_eq!(optional, [true]);
    Ok(())
}

fn control_server_of_ones_own_and_its_authority_are_passed_on(world: &World) -> Outcome {
    let helm = Helm::new(world, "chart-control")?;
    for (kind, source) in [("configMap", "name"), ("secret", "secretName")] {
        let values = json!({
            "tailscale": {
                "controlUrl": "https://127.0.0.1:8443",
                "tags": ["tag:a", "tag:b"],
                "extraArgs": ["--accept-routes=false"],
                "daemonExtraArgs": ["--no-logs-no-support"],
                "caCert": { kind: { "name": "authority", "key": "root.pem" } },
            },
            "networkPolicy": { "enabled": true },
        });
        let objects = rendered(&helm, &values)?;
        let pod = pod(&objects)?;
        let variables = variables(containers(&pod)[1]);
        assert_eq!(
            variables["TS_EXTRA_ARGS"],
            "--login-server=https://127.0.0.1:8443 --advertise-tags=tag:a,tag:b --accept-routes=false"
        );
        assert_eq!(variables["TS_TAILSCALED_EXTRA_ARGS"], "--no-logs-no-support");
        assert_eq!(variables["SSL_CERT_FILE"], "/etc/tailscale/authority/root.pem");
        let volumes = pod["spec"]["volumes"].as_array().into_iter().flatten();
        let mut authorities = volumes.filter(|volume| volume["name"] == "authority");
        assert_eq!(authorities.next().ok_or("no volume")?[kind][source], "authority");
        let ports = of_kind(&objects, "NetworkPolicy")[0].1["spec"]["egress"][1]["ports"].clone();
        let ports: Vec<_> = ports
            .as_array()
            .into_iter()
            .flatten()
            .map(|port| port["port"].clone())
            .collect();
        assert_eq!(ports, [53, 443, 6443, 8443].map(Value::from));
    }
    Ok(())
}

fn values_that_are_not_known_are_refused_at_each_level(world: &World) -> Outcome {
    let helm = Helm::new(world, "chart-unknown")?;
    for (values, named) in [
        (json!({ "replica": 2 }), "replica"),
        (json!({ "server": { "enable": true } }), "enable"),
        (json!({ "image": { "name": "x" } }), "name"),
        (json!({ "image": { "pullPolicy": "Sometimes" } }), "pullPolicy"),
        (json!({ "image": { "digest": "sha256:1" } }), "digest"),
        (json!({ "tailscale": { "authkey": "x" } }), "authkey"),
        (json!({ "tailscale": { "authKey": "x" } }), "authKey"),
        (json!({ "tailscale": { "oauth": { "secret": "x" } } }), "secret"),
        (json!({ "tailscale": { "tags": ["tka"] } }), "tags"),
        (json!({ "tailscale": { "hostname": "Tka" } }), "hostname"),
        (json!({ "tailscale": { "hostname": "a.b" } }), "hostname"),
        (json!({ "tailscale": { "controlUrl": "headscale" } }), "controlUrl"),
        (json!({ "tailscale": { "extraArgs": ["--a b"] } }), "extraArgs"),
        (json!({ "config": { "operator": { "machine": true } } }), "machine"),
        (json!({ "config": { "operator": { "namespace": "x" } } }), "namespace"),
        (json!({ "config": { "tailscale": { "port": 80 } } }), "port"),
        (json!({ "config": { "health": { "address": "0.0.0.0" } } }), "health"),
        (json!({ "config": { "server": { "readTimeout": 5 } } }), "readTimeout"),
        (json!({ "config": { "operator": { "machines": "yes" } } }), "machines"),
        (json!({ "config": { "operator": { "machines": null } } }), "machines"),
        (json!({ "clusterInfo": { "apiEndpoint": "http://k" } }), "apiEndpoint"),
        (
            json!({ "clusterInfo": { "apiEndpoint": "https://user:pw@k" } }),
            "apiEndpoint",
        ),
        (json!({ "clusterInfo": { "caData": "x" } }), "caData"),
        (json!({ "port": 0 }), "port"),
        (json!({ "port": "443" }), "port"),
        (json!({ "replicas": 0 }), "replicas"),
        (json!({ "replicas": 1.5 }), "replicas"),
        (json!({ "health": { "port": 9002 } }), "port"),
        (json!({ "health": { "port": 80 } }), "port"),
        (json!({ "extraEnv": { "A": "b" } }), "extraEnv"),
        (json!({ "extraEnv": [{ "value": "b" }] }), "extraEnv"),
        (json!({ "resources": { "request": {} } }), "request"),
        (json!({ "podLabels": { "a": 1 } }), "podLabels"),
        (json!({ "tolerations": [{ "effects": "x" }] }), "effects"),
        (
            json!({ "topologySpreadConstraints": [{ "maxSkew": 1 }] }),
            "topologySpreadConstraints",
        ),
        (json!({ "podDisruptionBudget": { "minAvailable": 1 } }), "minAvailable"),
        (json!({ "networkPolicy": { "enabled": "true" } }), "networkPolicy"),
        (json!({ "networkPolicy": { "metricsFrom": [{ "cidr": "x" }] } }), "cidr"),
        (
            json!({ "metrics": { "serviceMonitor": { "interval": "often" } } }),
            "interval",
        ),
        (json!({ "metrics": { "enabled": true } }), "enabled"),
        (
            json!({ "terminationGracePeriodSeconds": 0 }),
            "terminationGracePeriodSeconds",
        ),
    ] {
        let refusal = helm.refusal(&values)?;
        assert!(
            refusal.contains(named) && refusal.contains("schema"),
            "{values}: {refusal}"
        );
    }
    Ok(())
}

/// A null takes a default away, and what is left might be every Secret, or no user.
fn null_takes_no_default_of_the_server_away(world: &World) -> Outcome {
    let helm = Helm::new(world, "chart-server-null")?;
    for values in [
        json!({ "replicas": null }),
        json!({ "server": null }),
        json!({ "server": { "enabled": null } }),
        json!({ "port": null }),
        json!({ "image": { "repository": null } }),
        json!({ "tailscale": { "image": null } }),
        json!({ "health": null }),
        json!({ "clusterInfo": { "caConfigMap": null } }),
        json!({ "config": null }),
        json!({ "terminationGracePeriodSeconds": null }),
    ] {
        let refusal = helm.refusal(&values)?;
        assert!(refusal.contains("missing propert"), "{values}: {refusal}");
    }
    Ok(())
}

/// Every value that the pods and what is beside them have.
fn everything() -> Value {
    json!({
        "replicas": 3,
        "port": 80,
        "image": { "repository": "localhost:5000/tka-server", "digest": format!("sha256:{}", "a".repeat(64)) },
        "imagePullSecrets": [{ "name": "registry" }],
        "config": {
            "debug": true,
            "log": { "format": "text" },
            "operator": { "machines": true, "maxSessionsPerDevice": 1_000_000, "minPeriod": "1h30m" },
            "server": { "allowedHosts": ["tka.example.com"], "rateLimit": { "burst": 5 } },
            "clusterInfo": { "labels": { "env": "1" } },
        },
        "tailscale": { "tags": ["tag:tka"], "extraEnv": [{ "name": "TS_DISABLE_PORTMAPPER", "value": "1" }] },
        "extraEnv": [{ "name": "NODE", "valueFrom": { "fieldRef": { "fieldPath": "spec.nodeName" } } }],
        "podAnnotations": { "a": "b" },
        "podLabels": { "c": "d", "app.kubernetes.io/name": "another" },
        "priorityClassName": "system-cluster-critical",
        "nodeSelector": { "kubernetes.io/os": "linux" },
        "tolerations": [{ "key": "a", "operator": "Exists", "effect": "NoSchedule" }],
        "affinity": { "podAntiAffinity": { "requiredDuringSchedulingIgnoredDuringExecution": [
            { "topologyKey": "kubernetes.io/hostname", "labelSelector": { "matchLabels": { "a": "b" } } }
        ] } },
        "topologySpreadConstraints": [
            { "maxSkew": 1, "topologyKey": "topology.kubernetes.io/zone", "whenUnsatisfiable": "DoNotSchedule" }
        ],
        "networkPolicy": {
            "enabled": true,
            "metricsFrom": [{ "namespaceSelector": {} }],
            "extraEgress": [{ "ports": [{ "port": 4317, "protocol": "TCP" }] }],
        },
        "metrics": { "grafanaDashboard": { "enabled": true } },
    })
}

fn all_values_together_are_valid(world: &World) -> Outcome {
    let helm = Helm::new(world, "chart-everything")?;
    let rendered = helm.render_server("tka", "default", &everything())?;
    helm.would_install(&rendered)?;
    let objects = objects(&rendered)?;
    let pod = pod(&objects)?;
    let image = &containers(&pod)[0]["image"];
    assert!(
        image
            .as_str()
            .is_some_and(|image| image.starts_with("localhost:5000/tka-server@sha256:aa"))
    );
    assert_eq!(
        pod["metadata"]["labels"]["app.kubernetes.io/name"], "tka",
        "what selects pods stays"
    );
    let config = of_kind(&objects, "ConfigMap")[0].1["data"]["config.yaml"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    let config: Value = serde_saphyr::from_str(&config)?;
    assert_eq!(config["operator"]["maxSessionsPerDevice"], 1_000_000);
    assert_eq!(config["operator"]["namespace"], "default");
    assert_eq!(config["clusterInfo"]["labels"]["env"], "1");
    assert_eq!(
        config["clusterInfo"]["apiEndpoint"],
        "https://kubernetes.example.com:6443"
    );
    Ok(())
}

fn releases_in_two_namespaces_share_nothing(world: &World) -> Outcome {
    let helm = Helm::new(world, "chart-two")?;
    let names = |namespace: &str| -> Outcome<BTreeSet<String>> {
        let objects = objects(&helm.render_server("tka", namespace, &everything())?)?;
        let name = |object: &Value| {
            format!(
                "{} {} {}",
                object["kind"], object["metadata"]["namespace"], object["metadata"]["name"]
            )
        };
        Ok(objects.iter().map(name).collect())
    };
    assert!(names("one")?.is_disjoint(&names("two")?));
    for namespace in ["chart-two-a", "chart-two-b"] {
        install(&helm, namespace, &json!({}))?;
    }
    for namespace in ["chart-two-a", "chart-two-b"] {
        uninstall(&helm, world, namespace)?;
    }
    Ok(())
}

/// A StatefulSet's name is part of host names and labels of its pods, which the API server looks at only when pods are made.
fn names_of_any_length_make_pods(world: &World) -> Outcome {
    let helm = Helm::new(world, "chart-long")?;
    let (long, other) = ("a".repeat(63), format!("{}b", "a".repeat(62)));
    let mut names = BTreeSet::new();
    for name in ["123", "1.2", "1-2", &long, &other] {
        let values = json!({ "fullnameOverride": name, "guard": { "enabled": false } });
        let rendered = helm.render_server("tka", "default", &values)?;
        helm.would_install(&rendered)?;
        let objects = objects(&rendered)?;
        let set = of_kind(&objects, "StatefulSet")[0].0.to_owned();
        assert!(set.len() <= 52 && !set.contains('.'), "{set}");
        let service = of_kind(&objects, "Service")[0].0;
        assert!(
            service.starts_with(|first: char| first.is_ascii_lowercase()),
            "{service}"
        );
        let pod = pod(&objects)?;
        let asked = &variables(containers(&pod)[1])["TS_HOSTNAME"];
        assert!(asked.len() <= 63 && !asked.contains('.'), "{asked}");
        names.insert(set);
    }
    assert_eq!(names.len(), 5);
    Ok(())
}

/// As Argo CD compares.
fn rendering_twice_is_the_same(world: &World) -> Outcome {
    let helm = Helm::new(world, "chart-twice")?;
    let render = || helm.render_server("tka", "default", &everything());
    assert_eq!(render()?, render()?);
    Ok(())
}

fn what_is_optional_is_left_out(world: &World) -> Outcome {
    let helm = Helm::new(world, "chart-optional")?;
    let kinds = |more: &Value| -> Outcome<BTreeMap<String, usize>> {
        let mut kinds = BTreeMap::new();
        for object in rendered(&helm, more)? {
            *kinds
                .entry(object["kind"].as_str().unwrap_or_default().to_owned())
                .or_default() += 1;
        }
        Ok(kinds)
    };
    let usual = kinds(&json!({}))?;
    let optional = [
        "PodDisruptionBudget",
        "NetworkPolicy",
        "ServiceMonitor",
        "PrometheusRule",
    ];
    assert!(optional.iter().all(|kind| !usual.contains_key(*kind)), "{usual:?}");
    let all = kinds(&json!({
        "replicas": 2,
        "networkPolicy": { "enabled": true },
        "metrics": { "serviceMonitor": { "enabled": true }, "prometheusRule": { "enabled": true } },
    }))?;
    assert!(optional.iter().all(|kind| all.get(*kind) == Some(&1)), "{all:?}");
    assert!(!kinds(&json!({ "replicas": 2, "podDisruptionBudget": { "enabled": false } }))?.contains_key(optional[0]));
    // Without sources there is no rule, which would be for all.
    let closed = rendered(&helm, &json!({ "networkPolicy": { "enabled": true } }))?;
    assert!(of_kind(&closed, "NetworkPolicy")[0].1["spec"]["ingress"].is_null());
    let without = helm.render("tka", "default", &["--set=roles={view}"])?;
    let without = objects(&without)?;
    for kind in ["StatefulSet", "Secret", "ConfigMap", "Service"] {
        assert!(of_kind(&without, kind).is_empty(), "{kind}");
    }
    Ok(())
}

/// What alerts and the dashboard ask for, a server has.
fn metrics_that_are_watched_exist(world: &World) -> Outcome {
    let site = world.site("chart-metrics")?;
    site.grant(&[(ALICE, rule("view", "1h"))])?;
    site.caller("ALICE")?.sign_in()?;
    let health = site.health()?;
    let scraped = || -> Outcome<String> { Ok(health.send_body("GET", "/metrics", &[], &[])?.expect(200)?.body) };
    wait::until_true("sessions are counted", || {
        Ok(scraped()?.contains("tka_active_user_sessions{"))
    })?;
    let scraped = scraped()?;

    let helm = Helm::new(world, "chart-metrics")?;
    let values =
        json!({ "metrics": { "prometheusRule": { "enabled": true }, "grafanaDashboard": { "enabled": true } } });
    let rendered = helm.render_server("tka", "default", &values)?;
    let watched: BTreeSet<&str> = rendered
        .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .filter(|word| word.starts_with("tka_"))
        .collect();
    assert!(watched.len() >= 6, "{watched:?}");
    for metric in watched {
        let is_there = scraped.lines().any(|line| {
            line.strip_prefix(metric)
                .is_some_and(|rest| rest.starts_with(['{', ' ']))
        });
        assert!(is_there, "{metric}\n{scraped}");
    }
    let dashboard = fs::read_to_string(Path::new(&chart()).join("files/dashboard.json"))?;
    let dashboard: Value = serde_json::from_str(&dashboard)?;
    assert!(dashboard["panels"].as_array().is_some_and(|panels| panels.len() >= 5));
    Ok(())
}

fn image_of_tailscale_is_what_is_tested(world: &World) -> Outcome {
    let helm = Helm::new(world, "chart-versions")?;
    let pod = pod(&rendered(&helm, &json!({}))?)?;
    let [server, tailscale] = containers(&pod);
    let pinned = fs::read_to_string(Path::new(&chart()).join("../../testbed/go/tailscale/go.mod"))?;
    let pinned = pinned
        .lines()
        .find_map(|line| line.trim().strip_prefix("tailscale.com "));
    let version = pinned
        .and_then(|line| line.split_whitespace().next())
        .ok_or("no version")?;
    assert_eq!(tailscale["image"], format!("ghcr.io/tailscale/tailscale:{version}"));
    assert_eq!(
        server["image"],
        format!("ghcr.io/spechtlabs/tka-server:{}", env!("CARGO_PKG_VERSION"))
    );
    Ok(())
}

fn plain_manifests_are_the_charts(world: &World) -> Outcome {
    let helm = Helm::new(world, "chart-plain")?;
    let folder = Path::new(&chart()).join("../../deploy/kustomize");
    let path = |name: &str| folder.join(name).display().to_string();
    let (chart, values) = (chart(), path("values.yaml"));
    let rendered = helm.done(&["template", "tka", &chart, "--namespace=tka", "--values", &values])?;
    let committed = fs::read_to_string(path("base/tka.yaml"))?;
    assert!(
        committed == rendered,
        "deploy/kustomize/base/tka.yaml is not what the chart renders: deploy/kustomize/README.md has the command that writes it"
    );

    let built = objects(&world.testbed.kubectl(&["kustomize", &path("base")])?)?;
    let of_the_chart = objects(&rendered)?;
    assert_eq!(built.len(), of_the_chart.len() + 1, "and the namespace");
    for object in &of_the_chart {
        assert!(
            built.contains(object),
            "kustomize changes {}",
            object["metadata"]["name"]
        );
    }
    let example = objects(&world.testbed.kubectl(&["kustomize", &path("example")])?)?;
    let (_, role) = of_kind(&example, "ClusterRole")[0];
    for (rule, verb) in [(2, "bind"), (3, "get")] {
        assert_eq!(role["rules"][rule]["verbs"], json!([verb]));
        assert_eq!(role["rules"][rule]["resourceNames"], json!(["view", "edit"]));
    }
    let pod = pod(&example)?;
    assert_eq!(
        variables(containers(&pod)[0])["TKA_CLUSTERINFO_APIENDPOINT"],
        "https://127.0.0.1:6443"
    );
    let written = of_kind(&example, "Secret")
        .iter()
        .filter(|(name, _)| *name == "tailscale")
        .count();
    assert_eq!(written, 1);
    Ok(())
}
