//! What is installed stays what the chart says, as Argo CD compares it, and what the chart makes for others is what they take.

use std::fs;
use std::path::Path;

use e2e::{Outcome, World, wait};
use serde_json::Value;

use crate::release::Release;
use crate::server::{NAMESPACE, kubectl};

crate::tests![
    nothing_differs_from_the_chart_after_a_while,
    monitors_are_what_the_prometheus_operator_takes,
];

/// Another than helm's, as a tool that applies manifests has it.
const MANAGER: &str = "--field-manager=argocd-controller";

/// Server-side diff: what the API server would make of the manifest is what it has
/// (<https://argo-cd.readthedocs.io/en/stable/user-guide/diff-strategies/#server-side-diff>).
fn nothing_differs_from_the_chart_after_a_while(world: &World) -> Outcome {
    let folder = world.new_folder("drift")?;
    let values = world
        .testbed
        .helm(&["get", "values", "tka", "--namespace", NAMESPACE, "--output=json"])?;
    let file = folder.join("values.json");
    fs::write(&file, values.success()?)?;
    let (chart, values) = (testbed::chart_dir().display().to_string(), file.display().to_string());
    let rendered = ["template", "tka", &chart, "--namespace", NAMESPACE, "--values", &values];
    let manifest = folder.join("manifest.yaml");
    fs::write(&manifest, world.testbed.helm(&rendered)?.success()?)?;
    let manifest = manifest.display().to_string();

    // containerboot has written the state by now, and the server its Lease.
    let state = kubectl(
        world,
        &["get", "secret", "tka-0", "--output=jsonpath={.data.device_id}"],
    )?;
    assert!(!state.is_empty());
    let words = [
        "apply",
        "--server-side",
        "--force-conflicts",
        "--dry-run=server",
        "--validate=strict",
        "--output=json",
    ];
    let made = kubectl(world, &[&words[..], &[MANAGER, "--filename", &manifest]].concat())?;
    let live = kubectl(world, &["get", "--output=json", "--filename", &manifest])?;
    let (made, live) = (objects(&made)?, objects(&live)?);
    assert!(
        made.len() > 10 && made.len() == live.len(),
        "{} and {}",
        made.len(),
        live.len()
    );
    for (made, live) in made.iter().zip(&live) {
        assert_eq!(normalised(made), normalised(live));
    }
    Ok(())
}

fn objects(printed: &str) -> Outcome<Vec<Value>> {
    let list: Value = serde_json::from_str(printed)?;
    Ok(list["items"].as_array().ok_or("kubectl printed no list")?.clone())
}

/// Without what says who wrote which field, and how often.
fn normalised(object: &Value) -> Value {
    let mut object = object.clone();
    if let Some(metadata) = object["metadata"].as_object_mut() {
        for own in ["managedFields", "resourceVersion", "generation"] {
            metadata.remove(own);
        }
    }
    if let Some(fields) = object.as_object_mut() {
        fields.remove("status");
    }
    object
}

/// By the custom resources of that project, not by our idea of them.
fn monitors_are_what_the_prometheus_operator_takes(world: &World) -> Outcome {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/node/monitoring");
    let folder = folder.display().to_string();
    let testbed = &world.testbed;
    testbed.kubectl(&["apply", "--server-side", "--filename", &folder])?;
    testbed.kubectl(&[
        "wait",
        "--for=condition=Established",
        "--timeout=60s",
        "--filename",
        &folder,
    ])?;
    let judged = judge_monitors(world);
    testbed.kubectl(&["delete", "--filename", &folder])?;
    judged
}

fn judge_monitors(world: &World) -> Outcome {
    let release = Release::new(world, "monitors")?;
    let (chart, values) = (testbed::chart_dir().display().to_string(), release.values()?);
    let rendered = release.helm(&[
        "template",
        "tka",
        &chart,
        "--values",
        &values,
        "--show-only=templates/monitoring.yaml",
        "--set=metrics.serviceMonitor.enabled=true,metrics.serviceMonitor.labels.release=prometheus",
        "--set=metrics.prometheusRule.enabled=true,metrics.grafanaDashboard.enabled=true",
    ])?;
    let file = world.new_folder("monitors")?.join("monitors.yaml");
    let judge = |manifest: &str| {
        fs::write(&file, manifest)?;
        let words = [
            "apply",
            "--server-side",
            "--dry-run=server",
            "--validate=strict",
            "--output=name",
        ];
        release.kubectl(&[&words[..], &["--filename", &file.display().to_string()]].concat())
    };
    // The API server serves a new kind a moment after it says so.
    let taken = wait::until("the monitors are judged", || match judge(&rendered) {
        Err(error) if error.to_string().contains("no matches for kind") => Ok(None),
        judged => judged.map(Some),
    })?;
    for kind in [
        "servicemonitor.monitoring.coreos.com/tka",
        "prometheusrule.monitoring.coreos.com/tka",
    ] {
        assert!(taken.contains(kind), "{taken}");
    }
    // It does look.
    let misspelt = rendered.replace("interval:", "intervall:");
    assert_ne!(misspelt, rendered);
    assert!(judge(&misspelt).is_err());
    Ok(())
}
