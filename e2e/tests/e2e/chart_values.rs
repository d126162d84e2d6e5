//! The values of the Helm chart that are about its server: what each does, and which are refused.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use e2e::{Outcome, World};
use serde_json::{Value, json};

use crate::helm::{Helm, chart, containers, merge, objects, of_kind, pod, rendered, variables, with_server};

crate::tests![
    missing_prerequisite_is_explained,
    node_authenticates_in_one_way,
    values_that_are_not_known_are_refused_at_each_level,
    null_takes_no_default_of_the_server_away,
    what_is_optional_is_left_out,
    control_server_of_ones_own_and_its_authority_are_passed_on,
    ports_that_addresses_leave_out_are_open,
    all_values_together_are_valid,
    helm_finds_no_fault,
    configuration_of_the_original_becomes_values_as_documented,
    configuration_is_what_the_server_takes,
    pods_are_restarted_for_what_needs_it_and_nothing_else,
];

fn missing_prerequisite_is_explained(world: &World) -> Outcome {
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
        (config_map, "are both set"),
        (json!({ "roles": [] }), "--set 'roles={view}'"),
        (json!({ "roles": null }), "every sign-in would be refused"),
        (
            json!({ "tailscale": { "authKey": { "value": "" } } }),
            "no way to authenticate",
        ),
        (
            json!({ "tailscale": { "authKey": { "value": " \n" }, "oauth": { "clientSecret": " " } } }),
            "no way to authenticate",
        ),
        (json!({ "terminationGracePeriodSeconds": 34 }), "set it to 35"),
        (
            json!({ "config": { "server": { "writeTimeout": "1m0.5s" } } }),
            "config.server.writeTimeout and 15 s more: set it to 76",
        ),
        (
            json!({ "networkPolicy": { "enabled": true }, "metrics": { "serviceMonitor": { "enabled": true } } }),
            "networkPolicy.metricsFrom is empty",
        ),
        (
            json!({ "tailscale": { "caCert": { "configMap": { "name": "a" }, "secret": { "name": "b" } } } }),
            "tailscale.caCert.secret are both set",
        ),
        (
            json!({ "extraEnv": [{ "name": "TKA_HEALTH_ADDRESS", "value": "0.0.0.0" }] }),
            "extraEnv has TKA_HEALTH_ADDRESS",
        ),
        (
            json!({ "extraEnv": [{ "name": "TKA_HEALTH_PORT", "value": "9999" }] }),
            "extraEnv has TKA_HEALTH_PORT",
        ),
        (
            json!({ "extraEnv": [{ "name": "A" }, { "name": "TKA_OPERATOR_NAMESPACE", "value": "other" }] }),
            "extraEnv has TKA_OPERATOR_NAMESPACE",
        ),
        (
            json!({ "extraEnv": [{ "name": "TKA_TLS_KEYFILE", "value": "/tmp/key" }] }),
            "extraEnv has TKA_TLS_KEYFILE",
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
    let in_time = json!({
        "terminationGracePeriodSeconds": 76, "config": { "server": { "writeTimeout": "1m500ms500000us" } },
    });
    for taken in [from_config_map, one_namespace, in_time] {
        rendered(&helm, &taken)?;
    }
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
        (json!({ "config": { "operator": { "minPeriod": "0s" } } }), "minPeriod"),
        (
            json!({ "config": { "operator": { "maxCredentialPeriod": "3h" } } }),
            "maxCredentialPeriod",
        ),
        (
            json!({ "config": { "server": { "writeTimeout": "0s" } } }),
            "writeTimeout",
        ),
        (
            json!({ "config": { "otel": { "endpoint": "not an endpoint" } } }),
            "otel",
        ),
        (json!({ "config": { "otel": { "endpoint": "https://otel" } } }), "otel"),
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
        "networkPolicy": { "enabled": true, "metricsFrom": [{ "namespaceSelector": {} }] },
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
            "config": {
                "otel": { "endpoint": "[fd00::1]:4317" },
                "gateway": { "recording": { "s3": { "bucket": "b", "endpoint": "http://minio.example:9000/path" } } },
            },
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
        let authority = &authorities.next().ok_or("no volume")?[kind];
        assert_eq!(authority[source], "authority");
        // The pod starts without it, and the container says what is missing.
        assert_eq!(authority["optional"], true);
        let script = containers(&pod)[1]["command"][2].as_str().unwrap_or_default();
        let kind = if kind == "secret" { "Secret" } else { "ConfigMap" };
        assert!(
            script.contains(&format!(
                "does {kind} authority exist in this namespace, with the key root.pem?"
            )),
            "{script}"
        );
        let ports = of_kind(&objects, "NetworkPolicy")[0].1["spec"]["egress"][1]["ports"].clone();
        let ports: Vec<_> = ports
            .as_array()
            .into_iter()
            .flatten()
            .map(|port| port["port"].clone())
            .collect();
        assert_eq!(ports, [53, 443, 6443, 8443, 9000, 4317].map(Value::from));
    }
    Ok(())
}

fn ports_that_addresses_leave_out_are_open(world: &World) -> Outcome {
    let helm = Helm::new(world, "chart-ports")?;
    for (url, config, port) in [
        ("http://headscale", json!({}), Some(80)),
        ("", json!({ "otel": { "endpoint": "otel" } }), None),
        (
            "",
            json!({ "otel": { "endpoint": "otel", "insecure": true } }),
            Some(80),
        ),
        (
            "",
            json!({ "gateway": { "recording": { "s3": { "endpoint": "https://minio" } } } }),
            None,
        ),
        (
            "",
            json!({ "gateway": { "recording": { "s3": { "endpoint": "http://[::1]" } } } }),
            Some(80),
        ),
    ] {
        let values = json!({
            "tailscale": { "controlUrl": url }, "config": config, "networkPolicy": { "enabled": true, "apiServerPorts": [] },
        });
        let objects = rendered(&helm, &values)?;
        let ports = &of_kind(&objects, "NetworkPolicy")[0].1["spec"]["egress"][1]["ports"];
        let ports = ports.as_array().into_iter().flatten();
        let ports: Vec<_> = ports.filter_map(|port| port["port"].as_u64()).collect();
        assert_eq!(ports, [53, 443].into_iter().chain(port).collect::<Vec<_>>(), "{values}");
    }
    Ok(())
}

/// Warnings count too. It refuses nothing that is missing, because a chart is linted without values.
fn helm_finds_no_fault(world: &World) -> Outcome {
    let helm = Helm::new(world, "chart-lint")?;
    let everything = helm.file("everything.yaml", &with_server(&everything()).to_string())?;
    for more in [
        None,
        Some("--set=server.enabled=false"),
        Some(&format!("--values={everything}")),
    ] {
        let words = ["lint", "--strict", &chart()].map(ToOwned::to_owned);
        let words: Vec<_> = words.iter().map(String::as_str).chain(more).collect();
        let said = helm.done(&words)?;
        assert!(said.contains("1 chart(s) linted, 0 chart(s) failed"), "{said}");
    }
    Ok(())
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

/// What `tka-server config check` says of the configuration that the chart makes of `values`.
fn checked(world: &World, helm: &Helm<'_>, values: &Value) -> Outcome<String> {
    let objects = rendered(helm, values)?;
    let config = &of_kind(&objects, "ConfigMap")[0].1["data"]["config.yaml"];
    let config = helm.file("config.yaml", config.as_str().ok_or("no configuration")?)?;
    let server = world.testbed.bin().join("tka-server");
    let output = Command::new(server).args(["config", "check", &config]).output()?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    Ok(String::from_utf8(output.stdout)?)
}

fn configuration_is_what_the_server_takes(world: &World) -> Outcome {
    let helm = Helm::new(world, "chart-checked")?;
    let from_config_map = json!({ "clusterInfo": { "apiEndpoint": "", "configMap": { "enabled": true } } });
    for values in [json!({}), everything(), from_config_map] {
        assert!(
            checked(world, &helm, &values)?.ends_with("config.yaml: ok\n"),
            "{values}"
        );
    }
    Ok(())
}

/// Where the how-to says that keys of the original go: below `config` unless it says otherwise, or nowhere.
fn documented_places() -> Outcome<BTreeMap<String, Option<String>>> {
    let page = Path::new(&chart()).join("../../docs/book/src/how-to/migrate.md");
    let page = fs::read_to_string(page)?;
    let rows = page.lines().filter_map(|line| line.trim().strip_prefix("| `"));
    let place = |row: &str| {
        let (key, rest) = row.split_once("` | ")?;
        let value = rest.strip_prefix('`').and_then(|value| value.split_once('`'));
        Some((key.to_owned(), value.map(|(value, _)| value.to_owned())))
    };
    Ok(rows.filter_map(place).collect())
}

/// Settings of a file with their keys, without those that say nothing.
fn settings(value: &Value, key: &str) -> Vec<(String, Value)> {
    let join = |name: &str| [key, name].join(if key.is_empty() { "" } else { "." });
    match value {
        Value::Object(fields) => fields
            .iter()
            .flat_map(|(name, value)| settings(value, &join(name)))
            .collect(),
        Value::String(text) if text.is_empty() => Vec::new(),
        value => vec![(key.to_owned(), value.clone())],
    }
}

fn configuration_of_the_original_becomes_values_as_documented(world: &World) -> Outcome {
    let helm = Helm::new(world, "chart-original")?;
    let original = Path::new(&chart()).join("../../crates/tka-server/src/config/testdata/original.yaml");
    let original: Value = serde_saphyr::from_str(&fs::read_to_string(original)?)?;
    let refusal = helm.refusal(&json!({ "config": original }))?;
    assert!(refusal.contains("schema"), "{refusal}");

    let places = documented_places()?;
    assert!(places.len() > 10, "{places:?}");
    let mut values = json!({});
    for (key, value) in settings(&original, "") {
        let place = match places.get(&key) {
            None => format!("config.{key}"),
            Some(Some(place)) => place.clone(),
            Some(None) => continue,
        };
        let one = place.rsplit('.').fold(value, |inner, part| json!({ part: inner }));
        merge(&mut values, &one);
    }
    assert!(checked(world, &helm, &values)?.ends_with("config.yaml: ok\n"));
    let objects = rendered(&helm, &values)?;
    let config = &of_kind(&objects, "ConfigMap")[0].1["data"]["config.yaml"];
    let config: Value = serde_saphyr::from_str(config.as_str().ok_or("no configuration")?)?;
    for (key, value) in settings(&original, "") {
        if !places.contains_key(&key) || ["tailscale.port", "health.port"].contains(&key.as_str()) {
            assert_eq!(
                config.pointer(&format!("/{}", key.replace('.', "/"))),
                Some(&value),
                "{key}"
            );
        }
    }
    Ok(())
}

fn pods_are_restarted_for_what_needs_it_and_nothing_else(world: &World) -> Outcome {
    let helm = Helm::new(world, "chart-restarts")?;
    let checksum = |values: Value| {
        let pod = pod(&rendered(&helm, &values)?)?;
        Ok::<_, Box<dyn std::error::Error + Send + Sync>>(pod["metadata"]["annotations"]["checksum/config"].clone())
    };
    let config = |config: Value| checksum(json!({ "config": config }));
    let before = checksum(json!({}))?;
    assert!(before.is_string(), "{before}");
    for live in [
        json!({ "clusterInfo": { "labels": { "a": "b" } } }),
        json!({ "operator": { "machines": true, "minPeriod": "2m" } }),
        json!({ "server": { "rateLimit": { "burst": 5 }, "allowedHosts": ["a.example"] } }),
        json!({ "api": { "retryAfterSeconds": 2 } }),
    ] {
        assert_eq!(config(live.clone())?, before, "{live}");
    }
    assert_eq!(checksum(json!({ "roles": ["view", "edit"] }))?, before);
    for restart in [
        json!({ "debug": true }),
        json!({ "log": { "format": "text" } }),
        json!({ "server": { "writeTimeout": "30s" } }),
        json!({ "tailscale": { "capName": "example.com/cap/another" } }),
    ] {
        assert_ne!(config(restart.clone())?, before, "{restart}");
    }
    assert_ne!(checksum(json!({ "port": 80 }))?, before);
    Ok(())
}

/// Every value that the pods and what is beside them have.
pub(crate) fn everything() -> Value {
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
