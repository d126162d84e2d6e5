//! `cargo xtask test NAME`: some end-to-end tests, on a testbed that stays up.

use std::{ffi::OsStr, process::Stdio};

use crate::{Outcome, root};

/// The variable by which the test program is told to use a testbed that stays up (`e2e::world::KEPT`).
const KEPT: &str = "TKA_E2E_DIR";

/// No test with that in its name passed.
#[derive(Debug, thiserror::Error)]
#[error("the tests with `{0}` in their names did not pass; they said why above")]
struct Failed(String);

/// Runs the tests with `name` in their names, with that version of Kubernetes or the testbed's own. Each version has a testbed.
pub(super) fn run(name: &str, kubernetes: Option<&str>) -> Outcome {
    run_with(name, kubernetes, &[])
}

/// The same, with these variables beside.
pub(super) fn run_with(name: &str, kubernetes: Option<&str>, variables: &[(&str, &OsStr)]) -> Outcome {
    let mut cargo = testbed::cargo();
    cargo.args(["test", "--package", "e2e", "--test", "e2e", "--", name]);
    let folder = kubernetes.map_or("e2e".to_owned(), |version| format!("e2e-{version}"));
    if let Some(version) = kubernetes {
        cargo.env(testbed::KUBERNETES_VERSION, version);
    }
    let status = cargo
        .envs(variables.iter().copied())
        .env(KEPT, root().join("target").join(folder))
        .stdin(Stdio::null())
        .status()?;
    if status.success() {
        Ok(())
    } else {
        Err(Failed(name.to_owned()).into())
    }
}
