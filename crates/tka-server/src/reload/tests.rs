use std::fs;
use std::sync::{Arc, Mutex};

use super::*;

type Applied = Arc<Mutex<Vec<Config>>>;

/// A file, what reads it again, and what was made to hold by that. A configuration with the cluster's name `odd` does not fit.
fn reload(text: &str) -> (tempfile::TempDir, Reload, Applied) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.yaml");
    fs::write(&file, text).unwrap();
    let source = Source {
        path: Some(file),
        ..Source::default()
    };
    let loaded = source.load(|_| None).unwrap();
    let applied = Applied::default();
    let seen = Arc::clone(&applied);
    let apply: Apply = Box::new(move |config| {
        if config.operator.cluster_name.as_str() == "odd" {
            return Err("odd".into());
        }
        seen.lock().unwrap().push(config.clone());
        Ok(())
    });
    (folder, Reload::new(source, loaded, apply, Metrics::default()), applied)
}

fn write(folder: &tempfile::TempDir, text: &str) {
    fs::write(folder.path().join("config.yaml"), text).unwrap();
}

fn labels(applied: &Applied) -> Vec<String> {
    let applied = applied.lock().unwrap();
    applied
        .iter()
        .map(|config| config.cluster_info.labels["a"].clone())
        .collect()
}

#[tokio::test]
async fn change_holds_once_and_what_waits_for_a_restart_does_not() {
    let (folder, mut reload, applied) = reload("clusterInfo: {labels: {a: x}}\ntailscale: {port: 1}");
    write(&folder, "clusterInfo: {labels: {a: y}}\ntailscale: {port: 2}");
    reload.again(false).await;
    reload.again(false).await;
    assert_eq!(labels(&applied), ["y"]);
    assert_eq!(reload.running.tailscale.port, 1);
    // Asked for, it is read, and there is nothing new.
    reload.again(true).await;
    assert_eq!(labels(&applied), ["y"]);
    assert!(reload.metrics.is_config_good());
}

#[tokio::test]
async fn what_is_wrong_empty_or_gone_changes_nothing_until_it_is_good() {
    let (folder, mut reload, applied) = reload("clusterInfo: {labels: {a: x}}");
    for bad in [
        "clusterInfo: {labels: {a: y}}\nnonsense: 1",
        "clusterInfo: {labels: [",
        "",
        "# nothing\n",
        "operator: {clusterName: odd}",
    ] {
        write(&folder, bad);
        reload.again(false).await;
        assert!(!reload.metrics.is_config_good(), "{bad}");
    }
    fs::remove_file(folder.path().join("config.yaml")).unwrap();
    reload.again(false).await;
    assert_eq!(labels(&applied), Vec::<String>::new());
    assert_eq!(reload.running.cluster_info.labels["a"], "x");
    write(&folder, "clusterInfo: {labels: {a: z}}");
    reload.again(false).await;
    assert_eq!(labels(&applied), ["z"]);
    assert!(reload.metrics.is_config_good());
}

/// A file that was bad and is again what it was is good again.
#[tokio::test]
async fn way_back_is_a_good_configuration() {
    let (folder, mut reload, applied) = reload("clusterInfo: {labels: {a: x}}");
    write(&folder, "nonsense: 1");
    reload.again(false).await;
    write(&folder, "clusterInfo: {labels: {a: x}}");
    reload.again(false).await;
    assert!(reload.metrics.is_config_good());
    assert!(labels(&applied).is_empty(), "it holds already");
}

#[tokio::test]
async fn changed_file_is_read_without_being_asked_for() {
    let (folder, reload, applied) = reload("clusterInfo: {labels: {a: x}}");
    let stop = CancellationToken::new();
    let hangup = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::hangup()).unwrap();
    let running = tokio::spawn(reload.run(hangup, stop.clone()));
    write(&folder, "clusterInfo: {labels: {a: y}}");
    let held = async {
        while labels(&applied).is_empty() {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), held)
        .await
        .unwrap();
    assert_eq!(labels(&applied), ["y"]);
    stop.cancel();
    running.await.unwrap();
}
