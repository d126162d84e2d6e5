//! What the machine must have for a Kubernetes node.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::place::SYSTEM_FOLDERS;
use crate::{
    error::{Attempt, Error, Result},
    oci,
    programs::on_path,
};

/// Programs of the system, each with Debian's package of it.
const PROGRAMS: [(&str, &str); 7] = [
    ("unshare", "util-linux"),
    ("nsenter", "util-linux"),
    ("ip", "iproute2"),
    ("nft", "nftables"),
    ("iptables", "iptables"),
    ("ipset", "ipset"),
    ("busybox", "busybox-static"),
];
/// runc is built with it.
const SECCOMP: (&str, &str) = ("/usr/include/seccomp.h", "libseccomp-dev");

/// Says what this process lacks to bring up a node, if it lacks anything.
pub(crate) fn check() -> Result<()> {
    if !cfg!(target_os = "linux") || !rustix::process::geteuid().is_root() {
        return Err(Error::NotRoot);
    }
    for (program, package) in PROGRAMS {
        find(program).ok_or_else(|| missing(program, package))?;
    }
    busybox()?;
    if Path::new(SECCOMP.0).exists() {
        return Ok(());
    }
    Err(missing(SECCOMP.0, SECCOMP.1))
}

/// A program of the system.
fn find(program: &str) -> Option<PathBuf> {
    let in_system = || SYSTEM_FOLDERS.map(|folder| Path::new(folder).join(program)).into_iter();
    on_path(program).or_else(|| in_system().find(|program| program.is_file()))
}

/// A busybox that needs no library.
pub(super) fn busybox() -> Result<PathBuf> {
    let path = find("busybox").ok_or_else(|| missing("busybox", "busybox-static"))?;
    let program = fs::read(&path).attempt(|| format!("cannot read {}", path.display()))?;
    match oci::interpreter(&program) {
        Some(loader) => Err(Error::Dynamic { path, loader }),
        None => Ok(path),
    }
}

fn missing(program: &str, package: &str) -> Error {
    Error::Tool {
        program: program.to_owned(),
        package: package.to_owned(),
    }
}
