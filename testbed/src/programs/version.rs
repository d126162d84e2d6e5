//! Versions, as programs print them and modules pin them.

use std::fmt;

/// `MAJOR.MINOR.PATCH`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Version {
    pub(crate) major: u32,
    pub(crate) minor: u32,
    pub(crate) patch: u32,
}

impl Version {
    /// The first version in a text: every program says more than its version, and each in its own way.
    pub(crate) fn find(text: &str) -> Option<Self> {
        text.split(|c: char| !c.is_ascii_digit() && c != '.')
            .find_map(Self::parse)
    }

    fn parse(text: &str) -> Option<Self> {
        let mut numbers = text.trim_end_matches('.').split('.').map(str::parse);
        let version = Self {
            major: numbers.next()?.ok()?,
            minor: numbers.next()?.ok()?,
            // Go says `go1.26` of a first release.
            patch: numbers.next().unwrap_or(Ok(0)).ok()?,
        };
        numbers.next().is_none().then_some(version)
    }

    /// Whether a program of this version may stand in for a pinned one: patches do not change what it is told and says.
    pub(crate) fn fits(self, pinned: Self) -> bool {
        (self.major, self.minor) == (pinned.major, pinned.minor)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

/// The version that a `go.mod` requires of a module.
pub(crate) fn required(go_mod: &str, module: &str) -> Option<Version> {
    let line = go_mod
        .lines()
        .map(|line| line.trim().trim_start_matches("require "))
        .find_map(|line| {
            let rest = line.strip_prefix(module)?.strip_prefix(' ')?;
            (!rest.contains("=>")).then_some(rest)
        })?;
    Version::find(line)
}

/// The least Go that a `go.mod` names.
pub(crate) fn go(go_mod: &str) -> Option<Version> {
    Version::find(go_mod.lines().find_map(|line| line.strip_prefix("go "))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(major: u32, minor: u32, patch: u32) -> Version {
        Version { major, minor, patch }
    }

    #[test]
    fn each_program_says_its_version_in_its_own_way() {
        for (output, expected) in [
            ("Kubernetes v1.35.4\n", version(1, 35, 4)),
            (
                "Client Version: v1.32.4-dispatcher\nKustomize Version: v5.5.0\n",
                version(1, 32, 4),
            ),
            (
                "etcd Version: 3.6.5\nGit SHA: Not provided\nGo Version: go1.26.8\n",
                version(3, 6, 5),
            ),
            (
                "1.102.2\n  long version: 1.102.2\n  go version: go1.26.8\n",
                version(1, 102, 2),
            ),
            ("headscale version v0.29.0\ncommit: unknown\n", version(0, 29, 0)),
            ("v4.3.1+gabcdef1\n", version(4, 3, 1)),
            ("go1.26.8\n", version(1, 26, 8)),
            ("go1.26\n", version(1, 26, 0)),
        ] {
            assert_eq!(Version::find(output), Some(expected), "{output}");
        }
        assert_eq!(Version::find("command not found"), None);
        assert_eq!(Version::find("listening on 127.0.0.1"), None);
    }

    #[test]
    fn another_patch_fits_and_another_minor_does_not() {
        assert!(version(1, 35, 0).fits(version(1, 35, 4)));
        assert!(!version(1, 32, 4).fits(version(1, 35, 4)));
        assert!(!version(2, 35, 4).fits(version(1, 35, 4)));
    }

    #[test]
    fn a_pin_is_read_from_go_mod() {
        let go_mod = "module x\n\ngo 1.26.5\n\nrequire k8s.io/kubernetes v1.35.4\n\nrequire (\n\
                      \tgithub.com/a/b v1.0.0 // indirect\n\ttailscale.com v1.102.2\n)\n\n\
                      replace (\n\tk8s.io/api => k8s.io/api v0.35.4\n)\n";
        assert_eq!(required(go_mod, "k8s.io/kubernetes"), Some(version(1, 35, 4)));
        assert_eq!(required(go_mod, "tailscale.com"), Some(version(1, 102, 2)));
        assert_eq!(required(go_mod, "k8s.io/api"), None);
        assert_eq!(go(go_mod), Some(version(1, 26, 5)));
    }
}
