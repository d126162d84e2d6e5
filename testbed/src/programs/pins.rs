//! Which programs the testbed runs, and which Go module pins each.

use super::version::{self, Version};

/// A Go module of this crate's `go/` folder, and what is built from it.
pub(crate) struct Module {
    /// Its folder.
    pub(crate) name: &'static str,
    go_mod: &'static str,
    /// The module whose version counts.
    path: &'static str,
    /// Variables that must be set to the version at link time: `{v}`, `{major}` and `{minor}` stand for it.
    stamps: &'static [(&'static str, &'static str)],
    pub(crate) programs: &'static [Program],
}

/// A program.
pub(crate) struct Program {
    pub(crate) name: &'static str,
    pub(crate) package: &'static str,
    /// What makes it print its version.
    pub(crate) version_args: &'static [&'static str],
}

/// Kubernetes reports `v0.0.0-master` where it is not told, which its clients cannot parse.
const KUBERNETES_STAMPS: [(&str, &str); 6] = [
    ("k8s.io/component-base/version.gitVersion", "v{v}"),
    ("k8s.io/component-base/version.gitMajor", "{major}"),
    ("k8s.io/component-base/version.gitMinor", "{minor}"),
    ("k8s.io/client-go/pkg/version.gitVersion", "v{v}"),
    ("k8s.io/client-go/pkg/version.gitMajor", "{major}"),
    ("k8s.io/client-go/pkg/version.gitMinor", "{minor}"),
];

/// Everything that is needed.
pub(crate) const MODULES: [Module; 5] = [
    Module {
        name: "kubernetes",
        go_mod: include_str!("../../go/kubernetes/go.mod"),
        path: "k8s.io/kubernetes",
        stamps: &KUBERNETES_STAMPS,
        programs: &[
            Program {
                name: "kube-apiserver",
                package: "k8s.io/kubernetes/cmd/kube-apiserver",
                version_args: &["--version"],
            },
            Program {
                name: "kube-controller-manager",
                package: "k8s.io/kubernetes/cmd/kube-controller-manager",
                version_args: &["--version"],
            },
            Program {
                name: "kubectl",
                package: "k8s.io/kubernetes/cmd/kubectl",
                version_args: &["version", "--client"],
            },
        ],
    },
    Module {
        name: "etcd",
        go_mod: include_str!("../../go/etcd/go.mod"),
        path: "go.etcd.io/etcd/server/v3",
        stamps: &[],
        programs: &[Program {
            name: "etcd",
            package: "go.etcd.io/etcd/server/v3",
            version_args: &["--version"],
        }],
    },
    Module {
        name: "tailscale",
        go_mod: include_str!("../../go/tailscale/go.mod"),
        path: "tailscale.com",
        stamps: &[
            ("tailscale.com/version.shortStamp", "{v}"),
            ("tailscale.com/version.longStamp", "{v}"),
        ],
        programs: &[
            Program {
                name: "tailscale",
                package: "tailscale.com/cmd/tailscale",
                version_args: &["version"],
            },
            Program {
                name: "tailscaled",
                package: "tailscale.com/cmd/tailscaled",
                version_args: &["--version"],
            },
        ],
    },
    Module {
        name: "headscale",
        go_mod: include_str!("../../go/headscale/go.mod"),
        path: "github.com/juanfont/headscale",
        stamps: &[],
        programs: &[Program {
            name: "headscale",
            package: "github.com/juanfont/headscale/cmd/headscale",
            version_args: &["version"],
        }],
    },
    Module {
        name: "helm",
        go_mod: include_str!("../../go/helm/go.mod"),
        path: "helm.sh/helm/v4",
        stamps: &[("helm.sh/helm/v4/internal/version.version", "v{v}")],
        programs: &[Program {
            name: "helm",
            package: "helm.sh/helm/v4/cmd/helm",
            version_args: &["version", "--short"],
        }],
    },
];

// === impl Module ===

impl Module {
    /// The pinned version.
    pub(crate) fn version(&self) -> Version {
        // A test sees that every pin can be read; zero fits nothing, and so builds.
        version::required(self.go_mod, self.path).unwrap_or(Version {
            major: 0,
            minor: 0,
            patch: 0,
        })
    }

    /// The least Go that builds it.
    pub(crate) fn go(&self) -> Version {
        version::go(self.go_mod).unwrap_or(Version {
            major: 0,
            minor: 0,
            patch: 0,
        })
    }

    /// `-ldflags`: no symbol tables, and the version.
    pub(crate) fn link_flags(&self) -> String {
        let version = self.version();
        let fill = |template: &str| {
            template
                .replace("{v}", &version.to_string())
                .replace("{major}", &version.major.to_string())
                .replace("{minor}", &version.minor.to_string())
        };
        let stamps = self
            .stamps
            .iter()
            .map(|(variable, template)| format!(" -X {variable}={}", fill(template)));
        std::iter::once("-s -w".to_owned()).chain(stamps).collect()
    }
}

// === impl Program ===

impl Program {
    /// What `go build` calls it: its package's last element that is not a major version.
    pub(crate) fn built_name(&self) -> &'static str {
        let is_version = |element: &str| {
            element
                .strip_prefix('v')
                .is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_digit()))
        };
        self.package
            .rsplit('/')
            .find(|element| !is_version(element))
            .unwrap_or(self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_module_pins_a_version_and_names_a_go() {
        for module in &MODULES {
            assert!(module.version().to_string() != "0.0.0", "{}", module.name);
            assert!(module.go().major == 1, "{}", module.name);
        }
    }

    #[test]
    fn kubernetes_is_stamped() {
        let flags = MODULES[0].link_flags();
        assert!(
            flags.starts_with("-s -w -X k8s.io/component-base/version.gitVersion=v1."),
            "{flags}"
        );
        assert!(flags.contains("component-base/version.gitMajor=1 "), "{flags}");
    }

    #[test]
    fn go_leaves_a_major_version_out_of_the_name() {
        let names: Vec<_> = MODULES
            .iter()
            .flat_map(|module| module.programs)
            .map(Program::built_name)
            .collect();
        let expected = [
            "kube-apiserver",
            "kube-controller-manager",
            "kubectl",
            "server",
            "tailscale",
            "tailscaled",
            "headscale",
            "helm",
        ];
        assert_eq!(names, expected);
    }
}
