//! What is on this machine. Needs no server.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use tka_api::kubeconfig::KubeconfigFile;

use super::{Check, Finding};
use crate::app::App;
use crate::exit::Exit;
use crate::plugin;

/// The first minor version of kubectl 1 that knows `client.authentication.k8s.io/v1`.
const KUBECTL: u32 = 22;

pub(super) fn checks(app: &App) -> Vec<Check> {
    let path = app.store.path();
    let text = fs::read_to_string(path);
    let file = text.as_ref().ok().and_then(|text| serde_saphyr::from_str(text).ok());
    vec![
        kubectl(kubectl_version().as_deref()).named("kubectl"),
        plugin(file.as_ref(), plugin::on_path()).named("plugin"),
        kubeconfig(app, text.is_ok() && file.is_none()).named("kubeconfig"),
    ]
}

/// What kubectl says of itself; none where it cannot be run.
fn kubectl_version() -> Option<String> {
    let output = Command::new("kubectl")
        .args(["version", "--client", "-o", "json"])
        .stdin(Stdio::null())
        .output()
        .ok()?;
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    Some(
        answer["clientVersion"]["gitVersion"]
            .as_str()
            .unwrap_or_default()
            .to_owned(),
    )
}

fn kubectl(version: Option<&str>) -> Finding {
    const INSTALL: &str = "install kubectl: https://kubernetes.io/docs/tasks/tools/";
    let Some(version) = version else {
        return Finding::failed(Exit::Failure, "kubectl is not on PATH", vec![INSTALL.to_owned()]);
    };
    let mut parts = version.trim_start_matches('v').split('.').map(str::parse::<u32>);
    match (parts.next(), parts.next()) {
        (Some(Ok(1)), Some(Ok(minor))) if minor < KUBECTL => Finding::failed(
            Exit::Failure,
            format!("kubectl {version} is too old for credential plugins"),
            vec![INSTALL.to_owned(), "or embed tokens: `tka login --token`".to_owned()],
        ),
        _ => Finding::ok(format!("kubectl {version} is on PATH")),
    }
}

/// Whether what kubeconfigs call can be run, and what people type.
fn plugin(file: Option<&KubeconfigFile>, on_path: Option<PathBuf>) -> Finding {
    let execs = file.into_iter().flat_map(|file| &file.users);
    let execs = execs.filter_map(|named| named.user.exec.as_ref());
    let missing = execs
        .map(|exec| Path::new(&exec.command))
        .find(|command| !is_program(command));
    if let Some(command) = missing {
        return Finding::failed(
            Exit::Failure,
            format!("the kubeconfig calls {}, and that cannot be run", command.display()),
            vec!["write it anew with `tka kubeconfig`".to_owned()],
        );
    }
    if let Some(path) = on_path {
        return Finding::ok(format!("{} is on PATH", path.display()));
    }
    let program = env::current_exe().unwrap_or_default();
    let folder = program.parent().unwrap_or(Path::new("")).display();
    Finding::failed(
        Exit::Failure,
        format!("PATH does not lead to {}", program.display()),
        vec![format!(
            "add {folder} to PATH, or link the program into a folder that is there"
        )],
    )
}

#[cfg(unix)]
fn is_program(path: &Path) -> bool {
    path.is_file() && rustix::fs::access(path, rustix::fs::Access::EXEC_OK).is_ok()
}

#[cfg(not(unix))]
fn is_program(path: &Path) -> bool {
    path.is_file()
}

fn kubeconfig(app: &App, is_damaged: bool) -> Finding {
    let path = app.store.path();
    if let Err(error) = app.store.check() {
        return Finding::failed(Exit::Failure, error.to_string(), error.advice());
    }
    if !path.exists() {
        return Finding::ok("there is none yet, and `tka login` can write it");
    }
    if is_damaged {
        return Finding::failed(
            Exit::Failure,
            format!("{} is not a kubeconfig", path.display()),
            vec!["write it anew with `tka kubeconfig`".to_owned()],
        );
    }
    match exposed(path) {
        None => Finding::ok(format!("{} is yours alone", path.display())),
        Some(fix) => Finding::failed(
            Exit::Failure,
            format!("others may read or change {}", path.display()),
            vec![fix],
        ),
    }
}

/// How to keep others out of the file and its folder, if they can get in.
#[cfg(unix)]
fn exposed(path: &Path) -> Option<String> {
    use std::os::unix::fs::MetadataExt;
    let open = |path: &Path| fs::metadata(path).is_ok_and(|found| found.mode() & 0o077 != 0);
    let folder = path.parent().filter(|folder| open(folder));
    match (folder, open(path)) {
        (Some(folder), _) => Some(format!("`chmod -R go= {}`", folder.display())),
        (None, true) => Some(format!("`chmod 600 {}`", path.display())),
        (None, false) => None,
    }
}

#[cfg(not(unix))]
fn exposed(_: &Path) -> Option<String> {
    None
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    #[test]
    fn kubectl_by_its_version() {
        let result = |version| kubectl(version).result;
        assert_eq!(result(None), Verdict::Failed);
        assert_eq!(result(Some("v1.21.14")), Verdict::Failed);
        for good in ["v1.22.0", "v1.35.4", "v2.0.0", "1.30", ""] {
            assert_eq!(result(Some(good)), Verdict::Ok, "{good}");
        }
    }
}
