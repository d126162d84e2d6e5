//! Which version of Kubernetes the testbed runs: its own, or another that TKA supports.

use std::env;

use super::pins::{MODULES, Module, Part};
use crate::error::{Error, Result};

/// The variable that chooses another version: `1.30`. Without it the testbed runs its own, which alone has a node.
pub const KUBERNETES_VERSION: &str = "TKA_TESTBED_KUBERNETES";

/// The other versions, by minor version: the folder of the module, and its `go.mod`.
const OTHERS: [(&str, &str, &str); 3] = [
    (
        "1.30",
        "kubernetes-1.30",
        include_str!("../../go/kubernetes-1.30/go.mod"),
    ),
    (
        "1.33",
        "kubernetes-1.33",
        include_str!("../../go/kubernetes-1.33/go.mod"),
    ),
    (
        "1.37",
        "kubernetes-1.37",
        include_str!("../../go/kubernetes-1.37/go.mod"),
    ),
];

/// All modules, with Kubernetes of the version that the environment chooses.
pub(crate) fn modules(part: Part) -> Result<Vec<Module>> {
    match env::var(KUBERNETES_VERSION) {
        Ok(version) if !version.is_empty() => modules_with(&version, part),
        _ => Ok(MODULES.to_vec()),
    }
}

/// Fails unless the testbed can run that minor version of Kubernetes, and says which ones it can.
pub fn check_kubernetes_version(version: &str) -> Result<()> {
    modules_with(version, Part::Core).map(drop)
}

/// All modules, with Kubernetes of that minor version.
fn modules_with(version: &str, part: Part) -> Result<Vec<Module>> {
    let [kubernetes, others @ ..] = &MODULES;
    let own = kubernetes.version();
    if version == format!("{}.{}", own.major, own.minor) {
        return Ok(MODULES.to_vec());
    }
    let found = OTHERS.iter().find(|(minor, ..)| *minor == version);
    let (_, name, go_mod) = found.ok_or_else(|| unknown(version, own.minor))?;
    if part == Part::KubernetesNode {
        return Err(Error::Name(format!(
            "a testbed with a node runs Kubernetes 1.{} only: leave {KUBERNETES_VERSION} out",
            own.minor
        )));
    }
    let chosen = kubernetes.pinned_by(name, go_mod);
    Ok(std::iter::once(chosen).chain(others.iter().cloned()).collect())
}

fn unknown(version: &str, own: u32) -> Error {
    let others = OTHERS.map(|(minor, ..)| minor).join(", ");
    Error::Name(format!(
        "the testbed has no Kubernetes {version:?}: choose one of {others}, or 1.{own}, which is its own"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_version_has_its_own_module() {
        for (minor, name, _) in OTHERS {
            let modules = modules_with(minor, Part::Core).unwrap();
            assert_eq!((modules.len(), modules[0].name), (MODULES.len(), name));
            let version = modules[0].version().to_string();
            assert!(version.starts_with(&format!("{minor}.")), "{version}");
            assert!(modules[0].link_flags().contains(&format!("gitVersion=v{version} ")));
        }
        let own = MODULES[0].version();
        let same = modules_with(&format!("1.{}", own.minor), Part::KubernetesNode).unwrap();
        assert_eq!(same[0].name, "kubernetes");
    }

    #[test]
    fn what_there_is_not_is_refused_with_what_there_is() {
        for wrong in ["1.29", "1.30.14", "v1.30", "../1.30", " "] {
            let error = modules_with(wrong, Part::Core).err().unwrap().to_string();
            assert!(error.contains("1.30, 1.33, 1.37"), "{error}");
        }
        let error = modules_with("1.30", Part::KubernetesNode).err().unwrap().to_string();
        assert!(error.contains("1.35 only"), "{error}");
    }
}
