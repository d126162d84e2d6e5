//! Checks of this machine, without a server.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use super::check::{Check, Finding, LIMIT};
use crate::context::CommandContext;
use crate::exit::Exit;
use crate::kubeconfig::exec_plugin;
use crate::kubeconfig::merge::MergeError;
use crate::session::persist;
use crate::sys::command_output;
use tka_kubeconfig::{Document, List};

/// A kubeconfig and its content, if it can be read.
type Kubeconfig = (PathBuf, Result<Document, MergeError>);

/// The first minor version of kubectl 1 that knows `client.authentication.k8s.io/v1`.
const MIN_KUBECTL_MINOR: u32 = 22;

pub(super) fn checks(ctx: &CommandContext) -> Vec<Check> {
    let kubeconfigs = persist::kubeconfigs(ctx);
    vec![
        kubectl(kubectl_version(LIMIT.min(ctx.config.timeout))).named("kubectl"),
        plugin(ctx.kubeconfig(), &kubeconfigs, exec_plugin::find_on_path()).named("plugin"),
        kubeconfig(ctx, &kubeconfigs).named("kubeconfig"),
    ]
}

/// The version that kubectl reports.
fn kubectl_version(limit: Duration) -> io::Result<String> {
    let output = command_output::within("kubectl", &["version", "--client", "-o", "json"], limit)?;
    let answer: Value = serde_json::from_slice(&output).unwrap_or_default();
    let version = answer["clientVersion"]["gitVersion"].as_str();
    Ok(version.unwrap_or_default().to_owned())
}

fn kubectl(version: io::Result<String>) -> Finding {
    const INSTALL: &str = "install kubectl: https://kubernetes.io/docs/tasks/tools/";
    let version = match version {
        Ok(version) => version,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Finding::failed(Exit::Failure, "kubectl is not on PATH", vec![INSTALL.to_owned()]);
        }
        Err(error) => {
            let fix = "run `kubectl version --client` to see why, or install another kubectl".to_owned();
            return Finding::failed(Exit::Failure, format!("kubectl cannot be run: {error}"), vec![fix]);
        }
    };
    let mut parts = version.trim_start_matches('v').split('.').map(str::parse::<u32>);
    match (parts.next(), parts.next()) {
        (Some(Ok(1)), Some(Ok(minor))) if minor < MIN_KUBECTL_MINOR => Finding::failed(
            Exit::Failure,
            format!("kubectl {version} is too old for credential plugins"),
            vec![INSTALL.to_owned(), "or embed tokens: `tka login --token`".to_owned()],
        ),
        _ => Finding::ok(format!("kubectl {version} is on PATH")),
    }
}

/// Checks the plugin path in kubeconfigs, and that this program is on PATH.
fn plugin(own: Option<&Path>, kubeconfigs: &[Kubeconfig], on_path: Option<PathBuf>) -> Finding {
    if let Some(command) = kubeconfigs.iter().find_map(|one| unresolvable_command(own, one)) {
        let fix = if Path::new(&command).is_absolute() {
            "repair it with `tka kubeconfig`".to_owned()
        } else {
            format!("add the folder of {command} to PATH, or put its absolute path into the kubeconfig")
        };
        let found = format!("the kubeconfig calls {command}, which cannot be run");
        return Finding::failed(Exit::Failure, found, vec![fix]);
    }
    if let Some(path) = on_path {
        return Finding::ok(format!("{} is on PATH", path.display()));
    }
    let program = exec_plugin::command();
    let folder = program.parent().unwrap_or(Path::new("")).display();
    Finding::failed(
        Exit::Failure,
        format!("{} is not on PATH", program.display()),
        vec![format!(
            "add {folder} to PATH, or link the program into a folder of PATH"
        )],
    )
}

/// The plugin command of `tka` in a kubeconfig that kubectl cannot find.
fn unresolvable_command(own: Option<&Path>, (path, document): &Kubeconfig) -> Option<String> {
    let document = document.as_ref().ok()?;
    let folder = path.parent().unwrap_or(Path::new(""));
    let users = document.names(List::Users).into_iter();
    let mut ours = users
        .filter_map(|user| document.call(user))
        .filter(|call| exec_plugin::is_tka_call(call, Some(path.as_path()) == own));
    ours.find(|call| !exec_plugin::is_resolvable(call, folder))
        .map(|call| call.command)
}

fn kubeconfig(ctx: &CommandContext, kubeconfigs: &[Kubeconfig]) -> Finding {
    let Ok(store) = ctx.store() else {
        return Finding::ok("there is no home folder for a kubeconfig; `tka exec` needs none");
    };
    let path = store.path();
    if let Err(error) = store.check_writable() {
        return Finding::failed(Exit::Failure, error.to_string(), error.advice());
    }
    let mut unusable = kubeconfigs
        .iter()
        .filter_map(|(file, document)| Some((file, document.as_ref().err()?)));
    if let Some((file, error)) = unusable.next() {
        let fix = if file == path {
            "write it again with `tka kubeconfig`".to_owned()
        } else {
            error.advice()
        };
        let found = format!("{} cannot be used: {}", file.display(), error.why());
        return Finding::failed(Exit::Failure, found, vec![fix]);
    }
    if !path.exists() {
        return Finding::ok("there is no kubeconfig yet, and `tka login` can write one");
    }
    match exposure_fix(path) {
        None => Finding::ok(format!("only you can access {}", path.display())),
        Some(fix) => Finding::failed(
            Exit::Failure,
            format!("others may read or change {}", path.display()),
            vec![fix],
        ),
    }
}

/// How to remove the access of others to the file and its folder, if they have any.
#[cfg(unix)]
fn exposure_fix(path: &Path) -> Option<String> {
    use std::fs;
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
fn exposure_fix(_: &Path) -> Option<String> {
    None
}

#[cfg(test)]
mod tests {
    use super::super::check::Verdict;
    use super::*;

    #[test]
    fn kubectl_by_its_version() {
        let result = |version: Option<&str>| {
            kubectl(version.map(ToOwned::to_owned).ok_or(io::ErrorKind::NotFound.into())).result
        };
        assert_eq!(result(None), Verdict::Failed);
        assert_eq!(result(Some("v1.21.14")), Verdict::Failed);
        for good in ["v1.22.0", "v1.35.4", "v2.0.0", "1.30", ""] {
            assert_eq!(result(Some(good)), Verdict::Ok, "{good}");
        }
    }
}
