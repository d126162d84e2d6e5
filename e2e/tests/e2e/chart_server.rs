//! The server that the Helm chart installs: rendered by a real helm, judged by a real API server, and made into pods by real controllers. No
//! node is there to run them.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use e2e::user::ALICE;
use e2e::{Outcome, World, rule, wait};
use serde_json::{Value, json};
use testbed::{BEFORE_SERVER, ServerOptions, with_gateway};

use crate::chart_values::everything;
use crate::helm::{Helm, chart, containers, objects, of_kind, pod, rendered, variables, with_server};

crate::tests![
    pods_are_admitted_where_pod_security_is_restricted,
    users_differ_and_only_tailscaleds_own_may_change_the_node,
    health_is_not_on_loopback_and_sysctls_are_for_low_ports,
    recordings_are_on_the_claim_and_nowhere_without_one,
    secret_of_webhooks_is_mounted_for_the_server_alone,
    certificate_is_read_from_the_secret_by_the_server_alone,
    custom_resource_of_another_release_is_taken_on_purpose,
    state_is_named_after_pods_and_changed_by_no_upgrade,
    old_release_upgrades_to_the_server,
    secrets_are_in_secrets_alone,
    releases_in_two_namespaces_share_nothing,
    names_of_any_length_make_pods,
    rendering_twice_is_the_same,
    metrics_that_are_watched_exist,
    image_of_tailscale_is_what_is_tested,
    plain_manifests_are_the_charts,
];

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
    helm.done(&[&words[..], &[in_namespace.as_str()]].concat())?;
    Ok(())
}

fn uninstall(helm: &Helm<'_>, world: &World, namespace: &str) -> Outcome {
    remove(helm, world, namespace, "--wait=false")
}

/// Removes what an earlier run may have left in a testbed that stays up.
fn clear(helm: &Helm<'_>, world: &World, namespace: &str) -> Outcome {
    remove(helm, world, namespace, "--wait=true")
}

fn remove(helm: &Helm<'_>, world: &World, namespace: &str, wait: &str) -> Outcome {
    let in_namespace = format!("--namespace={namespace}");
    helm.done(&["uninstall", "tka", "--ignore-not-found", &in_namespace])?;
    let words = ["delete", "namespace", namespace, "--ignore-not-found", wait];
    world.testbed.kubectl(&words)?;
    Ok(())
}

fn pods_are_admitted_where_pod_security_is_restricted(world: &World) -> Outcome {
    let helm = Helm::new(world, "chart-restricted")?;
    let namespace = "chart-restricted";
    let kubectl = |words: &[&str]| world.testbed.kubectl(&[words, &["--namespace", namespace]].concat());
    clear(&helm, world, namespace)?;
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
        &[&words[..], &["--filename", file.as_str()]].concat(),
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

fn recordings_are_on_the_claim_and_nowhere_without_one(world: &World) -> Outcome {
    let helm = Helm::new(world, "chart-recordings")?;
    let values = json!({
        "recordings": { "existingClaim": "cast" },
        "config": { "gateway": { "enabled": true, "recording": { "stdin": true } } },
    });
    for (values, is_there) in [(values, true), (json!({}), false)] {
        let objects = rendered(&helm, &values)?;
        let pod = pod(&objects)?;
        let [server, tailscale] = containers(&pod);
        let mounts = [server, tailscale].map(|container| {
            let mut mounts = container["volumeMounts"].as_array().into_iter().flatten();
            mounts.any(|mount| mount["name"] == "recordings" && mount["mountPath"] == "/var/lib/tka/recordings")
        });
        assert_eq!(mounts, [is_there, false]);
        let group = &pod["spec"]["securityContext"]["fsGroup"];
        assert_eq!(group.as_u64(), is_there.then_some(65532));
        let volumes = pod["spec"]["volumes"].as_array().into_iter().flatten();
        let claims: Vec<_> = volumes
            .filter_map(|volume| volume["persistentVolumeClaim"]["claimName"].as_str())
            .collect();
        assert_eq!(claims, if is_there { vec!["cast"] } else { Vec::new() });
        let config = &of_kind(&objects, "ConfigMap")[0].1["data"]["config.yaml"];
        let config: Value = serde_saphyr::from_str(config.as_str().ok_or("no configuration")?)?;
        let folder = config["gateway"]["recording"]["folder"].as_str();
        assert_eq!(folder, is_there.then_some("/var/lib/tka/recordings"));
    }
    Ok(())
}

fn secret_of_webhooks_is_mounted_for_the_server_alone(world: &World) -> Outcome {
    let helm = Helm::new(world, "chart-notifications")?;
    let hook =
        json!({ "name": "pager", "url": "https://a.example/", "keyFile": "/run/secrets/tka/notifications/pager.key" });
    let values = json!({
        "notifications": { "secretName": "hooks" },
        "config": { "notifications": { "webhooks": [hook] } },
    });
    for (values, is_there) in [(values, true), (json!({}), false)] {
        let objects = rendered(&helm, &values)?;
        let pod = pod(&objects)?;
        let mounts = containers(&pod).map(|container| {
            let mut mounts = container["volumeMounts"].as_array().into_iter().flatten();
            mounts.any(|mount| mount["mountPath"] == "/run/secrets/tka/notifications" && mount["readOnly"] == true)
        });
        assert_eq!(mounts, [is_there, false]);
        let volumes = pod["spec"]["volumes"].as_array().into_iter().flatten();
        let secrets: Vec<_> = volumes
            .filter(|volume| volume["name"] == "notifications")
            .map(|volume| (&volume["secret"]["secretName"], &volume["secret"]["optional"]))
            .collect();
        let (name, optional) = (json!("hooks"), json!(true));
        assert_eq!(secrets, if is_there { vec![(&name, &optional)] } else { Vec::new() });
        let config = &of_kind(&objects, "ConfigMap")[0].1["data"]["config.yaml"];
        let config: Value = serde_saphyr::from_str(config.as_str().ok_or("no configuration")?)?;
        assert_eq!(
            config["notifications"]["webhooks"][0]["name"],
            if is_there { json!("pager") } else { Value::Null }
        );
    }
    Ok(())
}

fn certificate_is_read_from_the_secret_by_the_server_alone(world: &World) -> Outcome {
    let helm = Helm::new(world, "chart-tls")?;
    let values = json!({ "port": 8443, "tls": { "secretName": "certificate" } });
    for (values, is_there) in [(values, true), (json!({}), false)] {
        let objects = rendered(&helm, &values)?;
        let pod = pod(&objects)?;
        let [server, tailscale] = containers(&pod);
        let folders = [server, tailscale].map(|container| {
            let mut mounts = container["volumeMounts"].as_array().into_iter().flatten();
            let mount = mounts.find(|mount| mount["name"] == "tls").cloned();
            // A file by itself would never change in the container.
            mount.map(|mount| {
                (
                    mount["mountPath"].clone(),
                    mount["subPath"].clone(),
                    mount["readOnly"].clone(),
                )
            })
        });
        let folder = ("/run/secrets/tka/tls".into(), Value::Null, true.into());
        assert_eq!(folders, [is_there.then_some(folder), None]);
        let volumes = pod["spec"]["volumes"].as_array().into_iter().flatten();
        let secrets: Vec<_> = volumes
            .filter(|volume| volume["name"] == "tls")
            .map(|volume| volume["secret"].clone())
            .collect();
        // The server starts without it, and says which file is missing.
        let secret = json!({ "secretName": "certificate", "optional": true, "defaultMode": 420 });
        assert_eq!(secrets, is_there.then_some(secret).into_iter().collect::<Vec<_>>());
        let config = &of_kind(&objects, "ConfigMap")[0].1["data"]["config.yaml"];
        let config: Value = serde_saphyr::from_str(config.as_str().ok_or("no configuration")?)?;
        let tls = json!({ "certFile": "/run/secrets/tka/tls/tls.crt", "keyFile": "/run/secrets/tka/tls/tls.key" });
        assert_eq!(config.get("tls"), is_there.then_some(&tls));
    }
    Ok(())
}

/// The release that brought it may be gone: it outlives that one.
fn custom_resource_of_another_release_is_taken_on_purpose(world: &World) -> Outcome {
    let helm = Helm::new(world, "chart-crd")?;
    let values = helm.file(
        "values.yaml",
        &with_server(&json!({ "crds": { "install": true } })).to_string(),
    )?;
    let (chart, page) = (chart(), "../../docs/book/src/troubleshooting.md");
    let words = [
        "install",
        "tka",
        &chart,
        "--namespace=default",
        "--dry-run=server",
        "--values",
        &values,
    ];
    let refused = helm.done(&words).err().ok_or("it is taken")?.to_string();
    let page = fs::read_to_string(Path::new(&chart).join(page))?;
    let said = r#"CustomResourceDefinition "tkasignins.tka.specht-labs.de" in namespace "" exists and cannot be imported into the current release: invalid ownership metadata"#;
    for text in [&refused, &page] {
        assert!(text.contains(said), "{text}");
    }
    assert!(page.contains("`--take-ownership`"));
    helm.done(&[&words[..], &["--take-ownership"]].concat())?;
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
    clear(&helm, world, namespace)?;
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

fn old_release_upgrades_to_the_server(world: &World) -> Outcome {
    let helm = Helm::new(world, "chart-upgrade")?;
    let before = helm.folder.join("before");
    let mut charts = vec![(chart(), "--set=server.enabled=false")];
    if testbed::unpack_commit(BEFORE_SERVER, &["charts/tka"], &before)? {
        charts.push((before.join("charts/tka").display().to_string(), "--set=roles={view}"));
    } else {
        eprintln!("NOT RUN: the upgrade from the chart of {BEFORE_SERVER}, which this clone does not have");
    }
    for (number, (chart_before, set)) in charts.into_iter().enumerate() {
        let namespace = format!("chart-upgrade-{number}");
        clear(&helm, world, &namespace)?;
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
        clear(&helm, world, namespace)?;
        install(&helm, namespace, &json!({}))?;
    }
    for namespace in ["chart-two-a", "chart-two-b"] {
        uninstall(&helm, world, namespace)?;
    }
    Ok(())
}

/// A `StatefulSet`'s name is part of host names and labels of its pods, which the API server looks at only when pods are made.
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

/// What alerts and the dashboard ask for, a server has.
fn metrics_that_are_watched_exist(world: &World) -> Outcome {
    let mut config = with_gateway();
    let hook = json!({ "name": "a", "url": "http://127.0.0.1:1/", "format": "slack" });
    config["notifications"] = json!({ "webhooks": [hook] });
    let site = world.site_with(ServerOptions {
        config,
        ..ServerOptions::new("chart-metrics")
    })?;
    site.grant(&[(ALICE, rule("view", "1h"))])?;
    let alice = site.caller("ALICE")?;
    alice.sign_in()?;
    alice.sign_out()?;
    alice.sign_in_waiting()?;
    alice.send_body("GET", "/k8s/version", &[], &[])?.expect(200)?;
    site.caller("CAROL")?.post("/login")?.expect(403)?;
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
    assert!(watched.len() >= 19, "{watched:?}");
    for metric in watched {
        let is_there = scraped.lines().any(|line| {
            line.strip_prefix(metric)
                .is_some_and(|rest| rest.starts_with(['{', ' ']))
        });
        assert!(is_there, "{metric}\n{scraped}");
    }
    let dashboard = fs::read_to_string(Path::new(&chart()).join("files/dashboard.json"))?;
    let dashboard: Value = serde_json::from_str(&dashboard)?;
    assert!(dashboard["panels"].as_array().is_some_and(|panels| panels.len() >= 18));
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
        "deploy/kustomize/base/tka.yaml is not what the chart renders: run `cargo xtask docs`"
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
