//! The Helm chart, rendered by a real helm and judged by a real API server.

use std::fs;
use std::path::Path;

use e2e::{Outcome, World};
use serde_json::{Value, json};

use crate::helm::{Helm, chart, documents, with_server};

crate::tests![
    names_that_yaml_takes_for_something_else_install,
    values_that_yaml_takes_for_something_else_install,
    release_of_digits_in_a_namespace_of_digits_installs,
    what_is_installed_is_what_was_rendered,
    null_switches_nothing_off_and_gives_nothing,
    values_that_say_nothing_sensible_are_refused,
    no_value_is_rendered_without_quotes,
];

/// What YAML takes for numbers, booleans or nothing.
const ODD: [&str; 11] = ["123", "0", "on", "off", "no", "y", "true", "null", "1e3", "0x10", "0b1"];

/// cases.md 10.
fn names_that_yaml_takes_for_something_else_install(world: &World) -> Outcome {
    let helm = Helm::new(world, "chart-names")?;
    let (longest_release, longest_namespace) = ("1".repeat(53), "2".repeat(63));
    for namespace in ["1234", "1e3", &longest_namespace] {
        let object = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": namespace } });
        world.testbed.apply(&object.to_string())?;
        let guest = format!(r#"--set-json=namespacedRoles=[{{"role":"edit","namespaces":["{namespace}"]}}]"#);
        for release in ["123", &longest_release] {
            helm.would_install(&helm.render(release, namespace, &[&guest])?)?;
        }
    }
    for release in ODD {
        helm.would_install(&helm.render(release, "1234", &[])?)?;
    }
    Ok(())
}

/// cases.md 10.
fn values_that_yaml_takes_for_something_else_install(world: &World) -> Outcome {
    let helm = Helm::new(world, "chart-values")?;
    for value in ODD {
        let [name, fullname, account] = ["nameOverride", "fullnameOverride", "serviceAccount.name"];
        helm.would_install(&helm.render(
            "tka",
            "default",
            &["--set", &format!("{name}={value},{account}={value}")],
        )?)?;
        helm.would_install(&helm.render("tka", "default", &["--set", &format!("{fullname}={value}")])?)?;
        helm.would_install(&helm.render("tka", "default", &["--set-string", &format!("{name}={value}")])?)?;
    }
    // Without quotes, as people write it.
    let file = "
        nameOverride: 1e3
        serviceAccount: {name: 12345678, annotations: {a: on, b: 123456789012, 1: 0x10, c: 1.5}}
        roles: ['123', 'on']
        namespacedRoles: [{role: '1e3', namespaces: ['default']}, {role: 'null', namespaces: ['default']}]
        clusterInfo: {configMap: {enabled: true, namespace: 'default', name: '123'}}";
    let file = helm.file("people.yaml", file)?;
    let rendered = helm.render("tka", "default", &["--values", &file])?;
    helm.would_install(&rendered)?;
    assert!(rendered.contains(r#""b": "123456789012""#) && rendered.contains(r#"name: "12345678""#));
    helm.would_install(&helm.render(
        "tka",
        "default",
        &["--set-string", &format!("nameOverride={}", "n".repeat(70))],
    )?)
}

/// cases.md 10.
fn release_of_digits_in_a_namespace_of_digits_installs(world: &World) -> Outcome {
    let helm = Helm::new(world, "chart-digits")?;
    let to = [
        "--namespace=4321",
        "--create-namespace",
        "--set=crds.install=false",
        "--set=server.enabled=false",
    ];
    helm.done(&[&["install", "123", &chart()], &to[..]].concat())?;
    helm.done(&[&["upgrade", "123", &chart(), "--reuse-values"], &to[..1]].concat())?;
    helm.done(&["uninstall", "123", "--namespace=4321"])?;
    Ok(())
}

/// cases.md 10: what the API server fills in is a difference to whatever compares.
fn what_is_installed_is_what_was_rendered(world: &World) -> Outcome {
    let helm = Helm::new(world, "chart-compared")?;
    let values = with_server(&json!({
        "replicas": 2,
        "namespacedRoles": [{ "role": "edit", "namespaces": ["default"] }],
        "serviceAccount": { "annotations": { "a": "b" } },
        "clusterInfo": { "apiEndpoint": "", "configMap": { "enabled": true } },
        "networkPolicy": { "enabled": true },
    }));
    let file = helm.file("all.yaml", &values.to_string())?;
    let in_namespace = "--namespace=chart-compared";
    let chart = chart();
    helm.done(&[
        "install",
        "all",
        &chart,
        in_namespace,
        "--create-namespace",
        "--values",
        &file,
    ])?;
    let mut manifest = helm.done(&["get", "manifest", "all", in_namespace])?;
    // Another release brought the custom resource.
    manifest += "\n---\n";
    manifest += &fs::read_to_string(Path::new(&chart).join("files/tkasignins.yaml"))?;
    let file = helm.file("manifest.yaml", &manifest)?;
    let read = |words: &[&str]| {
        let output = world
            .testbed
            .kubectl(&[words, &["--output=json", "--filename", &file]].concat())?;
        documents(&output)
    };
    let rendered = read(&["create", "--dry-run=client"])?;
    let installed = read(&["get"])?;
    assert!(rendered.len() > 20 && rendered.len() == installed.len());
    for (rendered, mut installed) in rendered.into_iter().zip(installed) {
        strip(&mut installed, &rendered);
        match rendered["kind"].as_str() {
            // Defaults of these differ from one version of Kubernetes to the next, and from one cluster to another.
            Some("StatefulSet" | "Service") => assert!(is_within(&rendered, &installed), "{installed}\n{rendered}"),
            _ => assert_eq!(installed, rendered),
        }
    }
    helm.done(&["uninstall", "all", in_namespace])?;
    Ok(())
}

/// Whether all that is said by `rendered` is said by `installed`, which may say more in each object.
fn is_within(rendered: &Value, installed: &Value) -> bool {
    match (rendered, installed) {
        (Value::Object(rendered), Value::Object(installed)) => rendered
            .iter()
            .all(|(key, value)| installed.get(key).is_some_and(|other| is_within(value, other))),
        (Value::Array(rendered), Value::Array(installed)) => {
            rendered.len() == installed.len()
                && rendered
                    .iter()
                    .zip(installed)
                    .all(|(value, other)| is_within(value, other))
        }
        (rendered, installed) => rendered == installed,
    }
}

/// Takes off `installed` what every object has, and by which helm knows its own.
fn strip(installed: &mut Value, rendered: &Value) {
    if let Some(fields) = installed.as_object_mut() {
        fields.remove("status");
    }
    let Some(metadata) = installed["metadata"].as_object_mut() else {
        return;
    };
    for field in [
        "managedFields",
        "uid",
        "resourceVersion",
        "generation",
        "creationTimestamp",
    ] {
        metadata.remove(field);
    }
    if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
        annotations.retain(|key, _| !key.starts_with("meta.helm.sh/"));
    }
    for field in ["annotations", "labels"] {
        let added = metadata.get(field).is_some_and(|said| *said == json!({}));
        let by_helm = json!({ "app.kubernetes.io/managed-by": "Helm" });
        let by_helm = metadata.get(field) == Some(&by_helm) && rendered["metadata"].get(field).is_none();
        if added || by_helm {
            metadata.remove(field);
        }
    }
}

/// cases.md 4, where the cluster's owners say it.
fn null_switches_nothing_off_and_gives_nothing(world: &World) -> Outcome {
    let helm = Helm::new(world, "chart-null")?;
    let usual = helm.render_values(&json!({}))?;
    assert!(usual.contains("pod-access.tka.default") && !usual.contains("bind]"));
    for values in [
        json!({ "guard": null }),
        json!({ "guard": { "enabled": null, "podAccess": null } }),
        json!({ "roles": null, "namespacedRoles": null }),
        json!({ "roles": [], "namespacedRoles": [] }),
        json!({ "serviceAccount": null, "clusterInfo": null, "nameOverride": null, "fullnameOverride": null }),
        json!({ "clusterInfo": { "configMap": null }, "serviceAccount": { "create": null, "name": null } }),
    ] {
        assert_eq!(helm.render_values(&values)?, usual, "{values}");
    }
    let off = helm.render_values(&json!({ "guard": { "enabled": false } }))?;
    assert!(!off.contains("ValidatingAdmissionPolicy"));
    Ok(())
}

fn values_that_say_nothing_sensible_are_refused(world: &World) -> Outcome {
    let helm = Helm::new(world, "chart-refused")?;
    let with = |entry: Value| json!({ "namespacedRoles": [entry] });
    for (values, named) in [
        (with(json!({ "role": "edit" })), "namespaces"),
        (with(json!({ "role": "edit", "namespaces": null })), "namespaces"),
        (with(json!({ "role": "edit", "namespaces": [] })), "namespaces"),
        (with(json!({ "role": "edit", "namespaces": "shop" })), "namespaces"),
        (with(json!({ "role": "edit", "namespaces": [null] })), "namespaces"),
        (with(json!({ "role": "edit", "namespaces": ["*"] })), "namespaces"),
        (with(json!({ "role": "edit", "namespaces": [""] })), "namespaces"),
        (with(json!({ "role": "edit", "namespaces": [123] })), "namespaces"),
        (with(json!({ "role": "edit", "namespaces": ["Shop"] })), "namespaces"),
        (with(json!({ "role": "edit", "namespace": "shop" })), "namespace"),
        (with(json!({ "role": null, "namespaces": ["shop"] })), "role"),
        (with(json!({ "role": "*", "namespaces": ["shop"] })), "role"),
        (with(json!({ "role": 123, "namespaces": ["shop"] })), "role"),
        (json!({ "namespacedRoles": { "edit": ["shop"] } }), "namespacedRoles"),
        (json!({ "namespacedRoles": ["edit"] }), "namespacedRoles"),
        (json!({ "roles": "view" }), "roles"),
        (json!({ "roles": [null] }), "roles"),
        (json!({ "roles": [""] }), "roles"),
        (json!({ "roles": ["*"] }), "roles"),
        (json!({ "guard": { "enabled": "false" } }), "guard"),
        (json!({ "guard": { "enable": false } }), "guard"),
        (json!({ "nameOverride": "x' || true || '" }), "nameOverride"),
        (json!({ "serviceAccount": { "name": "Tka" } }), "serviceAccount"),
        (json!({ "nameOverride": 9_007_199_254_740_993_u64 }), "nameOverride"),
    ] {
        let refused = helm
            .render_values(&values)
            .err()
            .ok_or_else(|| format!("{values} is taken"))?;
        assert!(refused.to_string().contains(named), "{values}: {refused}");
    }
    Ok(())
}

/// cases.md 10: a rule for whatever is added. Within a block of text, as an expression is one, nothing needs quotes.
fn no_value_is_rendered_without_quotes(_: &World) -> Outcome {
    let mut looked_at = 0;
    for entry in fs::read_dir(Path::new(&chart()).join("templates"))? {
        let path = entry?.path();
        if path.extension().is_none_or(|extension| extension == "txt") {
            continue;
        }
        let mut block = None;
        for line in fs::read_to_string(&path)?.lines() {
            let indent = line.len() - line.trim_start().len();
            block = block.filter(|begun| line.trim().is_empty() || indent > *begun);
            if block.is_none() && renders_a_value(line) {
                looked_at += 1;
                let is_quoted = ["| quote }}", "nindent", "toJson"]
                    .iter()
                    .any(|safe| line.contains(safe));
                assert!(is_quoted, "{}: {line}", path.display());
            }
            if line.ends_with("|-") || line.ends_with(">-") {
                block = block.or(Some(indent));
            }
        }
    }
    assert!(looked_at > 30, "{looked_at}");
    Ok(())
}

/// Whether what stands after a key, or in a list, comes from a template.
fn renders_a_value(line: &str) -> bool {
    let line = line.trim_start().trim_start_matches("- ");
    if line.starts_with("{{-") || line.starts_with('#') {
        return false;
    }
    match line.split_once(": ") {
        Some((_, value)) => value.contains("{{"),
        None => line.starts_with("{{") && line.contains("}}:"),
    }
}
