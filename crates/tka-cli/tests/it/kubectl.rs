//! The real kubectl, which decides what a kubeconfig says.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use crate::test_requirements::report_missing;
use crate::tka::{Outcome, User};

/// `kubectl …` of this user with that `KUBECONFIG`. None where this machine has no kubectl.
pub(crate) fn kubectl(user: &User, list: impl AsRef<OsStr>, arguments: &[&str]) -> Option<Outcome> {
    let mut command = Command::new(program()?);
    command.args(arguments).current_dir(user.home()).env_clear();
    command.env("HOME", user.home()).env("KUBECONFIG", list);
    Some(command.output().unwrap().into())
}

/// The one of the testbed, or of this machine.
fn program() -> Option<PathBuf> {
    let cache = env::var_os("TKA_TESTBED_CACHE").map(PathBuf::from);
    let cache = cache.or_else(|| Some(env::home_dir()?.join(".cache/tka/testbed")));
    let entries = cache.and_then(|cache| fs::read_dir(cache).ok());
    let built = entries.into_iter().flatten().flatten().map(|entry| entry.path());
    let is_kubectl = |path: &PathBuf| {
        let name = path.file_name().and_then(OsStr::to_str);
        name.is_some_and(|name| name.starts_with("kubectl-"))
    };
    let paths = env::var_os("PATH").unwrap_or_default();
    let installed = env::split_paths(&paths).map(|folder| folder.join("kubectl"));
    let found = built.filter(is_kubectl).chain(installed).find(|path| is_program(path));
    if found.is_none() {
        report_missing("kubectl");
    }
    found
}

fn is_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    fs::metadata(path).is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}
