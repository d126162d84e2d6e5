//! The program `testbed-sandbox`: what runs in and around the namespaces of the Kubernetes node. The testbed starts it; people do not.
//!
//! - `init` is PID 1 of the sandbox: it lays out file systems and network, and waits for what becomes its child.
//! - `forward` passes TCP connections from one network namespace to another.
//! - As a CNI plugin (`CNI_COMMAND` is set) it leads ports of a pod's loopback to the node.
//!
//! The host gets no mount, no network interface, no `sysctl` and no firewall rule: all of that is in namespaces that end with `init`.

mod cni;
mod forward;
#[cfg(target_os = "linux")]
mod init;
#[cfg(target_os = "linux")]
mod network_namespace;
mod settings;

use std::{env, ffi::OsString, io, process::ExitCode};

pub(crate) use self::{
    cni::TYPE as CNI_TYPE,
    settings::{Endpoint, Forward, Settings},
};

/// Runs the program.
#[must_use]
pub fn main() -> ExitCode {
    if let Ok(command) = env::var("CNI_COMMAND") {
        return cni::main(&command);
    }
    let mut arguments = env::args_os().skip(1);
    let result = match (
        arguments.next().as_deref().and_then(|name| name.to_str()),
        arguments.next(),
    ) {
        (Some("init"), Some(file)) => init(&file),
        (Some("forward"), Some(told)) => forward(&told),
        _ => Err(io::Error::other(
            "this is a part of the testbed: it is started by `cargo xtask up --node`",
        )),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("testbed-sandbox: {error}");
            ExitCode::FAILURE
        }
    }
}

fn forward(told: &OsString) -> io::Result<()> {
    forward::run(&serde_json::from_slice(told.as_encoded_bytes())?)
}

#[cfg(target_os = "linux")]
fn init(file: &OsString) -> io::Result<()> {
    init::run(&serde_json::from_slice(&std::fs::read(file)?)?)
}

#[cfg(not(target_os = "linux"))]
fn init(_file: &OsString) -> io::Result<()> {
    Err(io::Error::other(
        "namespaces are Linux's: there is no node on this system",
    ))
}

#[cfg(not(target_os = "linux"))]
mod network_namespace {
    pub(super) fn enter(_file: &std::path::Path) -> std::io::Result<()> {
        Err(std::io::Error::other("namespaces are Linux's"))
    }
}
