//! Which programs the testbed runs, and which Go module pins each.

use super::version::{self, Version};

/// A Go module of this crate's `go/` folder, and what is built from it.
#[derive(Clone)]
pub(crate) struct Module {
    /// Its folder.
    pub(crate) name: &'static str,
    go_mod: &'static str,
    /// The module whose version counts.
    path: &'static str,
    /// Variables that must be set to the version at link time: `{v}`, `{major}` and `{minor}` stand for it.
    stamps: &'static [(&'static str, &'static str)],
    /// Build tags, separated by spaces.
    pub(crate) tags: &'static str,
    /// Whether it has C in it, which is linked statically.
    pub(crate) has_c: bool,
    pub(crate) programs: &'static [Program],
}

/// A program.
pub(crate) struct Program {
    pub(crate) name: &'static str,
    pub(crate) package: &'static str,
    /// What makes it print its version. None where it does not say: then it is built.
    pub(crate) version_args: &'static [&'static str],
    /// What it is for.
    pub(crate) part: Part,
}

/// Which part of a testbed needs a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd)]
pub enum Part {
    /// Every testbed.
    Core,
    /// One with a Kubernetes node.
    KubernetesNode,
    /// None: what TKA is measured beside.
    Peer,
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

const TAILSCALE_STAMPS: [(&str, &str); 2] = [
    ("tailscale.com/version.shortStamp", "{v}"),
    ("tailscale.com/version.longStamp", "{v}"),
];

/// What most modules leave as it is.
const PLAIN: Module = Module {
    name: "",
    go_mod: "",
    path: "",
    stamps: &[],
    tags: "",
    has_c: false,
    programs: &[],
};

/// Everything that is needed. Kubernetes is first, and has other versions ([`modules`](super::kubernetes::modules)).
pub(crate) const MODULES: [Module; 11] = [
    Module {
        name: "kubernetes",
        go_mod: include_str!("../../go/kubernetes/go.mod"),
        path: "k8s.io/kubernetes",
        stamps: &KUBERNETES_STAMPS,
        programs: &[
            core("kube-apiserver", "k8s.io/kubernetes/cmd/kube-apiserver", &["--version"]),
            core(
                "kube-controller-manager",
                "k8s.io/kubernetes/cmd/kube-controller-manager",
                &["--version"],
            ),
            core("kubectl", "k8s.io/kubernetes/cmd/kubectl", &["version", "--client"]),
            node("kubelet", "k8s.io/kubernetes/cmd/kubelet", &["--version"]),
            node("kube-scheduler", "k8s.io/kubernetes/cmd/kube-scheduler", &["--version"]),
            node("kube-proxy", "k8s.io/kubernetes/cmd/kube-proxy", &["--version"]),
        ],
        ..PLAIN
    },
    Module {
        name: "etcd",
        go_mod: include_str!("../../go/etcd/go.mod"),
        path: "go.etcd.io/etcd/server/v3",
        programs: &[core("etcd", "go.etcd.io/etcd/server/v3", &["--version"])],
        ..PLAIN
    },
    Module {
        name: "tailscale",
        go_mod: include_str!("../../go/tailscale/go.mod"),
        path: "tailscale.com",
        stamps: &TAILSCALE_STAMPS,
        programs: &[
            core("tailscale", "tailscale.com/cmd/tailscale", &["version"]),
            core("tailscaled", "tailscale.com/cmd/tailscaled", &["--version"]),
            node("containerboot", "tailscale.com/cmd/containerboot", &[]),
        ],
        ..PLAIN
    },
    Module {
        name: "headscale",
        go_mod: include_str!("../../go/headscale/go.mod"),
        path: "github.com/juanfont/headscale",
        programs: &[core(
            "headscale",
            "github.com/juanfont/headscale/cmd/headscale",
            &["version"],
        )],
        ..PLAIN
    },
    Module {
        name: "helm",
        go_mod: include_str!("../../go/helm/go.mod"),
        path: "helm.sh/helm/v4",
        stamps: &[("helm.sh/helm/v4/internal/version.version", "v{v}")],
        programs: &[core("helm", "helm.sh/helm/v4/cmd/helm", &["version", "--short"])],
        ..PLAIN
    },
    Module {
        name: "containerd",
        go_mod: include_str!("../../go/containerd/go.mod"),
        path: "github.com/containerd/containerd/v2",
        stamps: &[("github.com/containerd/containerd/v2/version.Version", "v{v}")],
        // Snapshotters that nothing here uses, two of which need C.
        tags: "no_aufs no_btrfs no_devmapper no_zfs",
        programs: &[
            node(
                "containerd",
                "github.com/containerd/containerd/v2/cmd/containerd",
                &["--version"],
            ),
            node(
                "containerd-shim-runc-v2",
                "github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2",
                &[],
            ),
            node("ctr", "github.com/containerd/containerd/v2/cmd/ctr", &["--version"]),
        ],
        ..PLAIN
    },
    Module {
        name: "runc",
        go_mod: include_str!("../../go/runc/go.mod"),
        path: "github.com/opencontainers/runc",
        stamps: &[("main.version", "{v}")],
        // Without the first, containers could not ask for the runtime's own filter of system calls.
        tags: "seccomp netgo osusergo",
        has_c: true,
        programs: &[node("runc", "github.com/opencontainers/runc", &["--version"])],
    },
    Module {
        name: "cni",
        go_mod: include_str!("../../go/cni/go.mod"),
        path: "github.com/containernetworking/plugins",
        programs: &[
            node(
                "bridge",
                "github.com/containernetworking/plugins/plugins/main/bridge",
                &[],
            ),
            node(
                "loopback",
                "github.com/containernetworking/plugins/plugins/main/loopback",
                &[],
            ),
            node(
                "host-local",
                "github.com/containernetworking/plugins/plugins/ipam/host-local",
                &[],
            ),
        ],
        ..PLAIN
    },
    Module {
        name: "coredns",
        go_mod: include_str!("../../go/coredns/go.mod"),
        path: "github.com/coredns/coredns",
        programs: &[node("coredns", "tka.specht-labs.de/testbed/coredns", &["-version"])],
        ..PLAIN
    },
    Module {
        name: "kube-router",
        go_mod: include_str!("../../go/kube-router/go.mod"),
        path: "github.com/cloudnativelabs/kube-router/v2",
        programs: &[node(
            "kube-router",
            "github.com/cloudnativelabs/kube-router/v2/cmd/kube-router",
            &[],
        )],
        ..PLAIN
    },
    Module {
        name: "tailscale-proxy",
        go_mod: include_str!("../../go/tailscale-proxy/go.mod"),
        path: "tailscale.com",
        stamps: &TAILSCALE_STAMPS,
        programs: &[Program {
            name: "tailscale-proxy",
            package: "tka.specht-labs.de/testbed/tailscale-proxy",
            version_args: &[],
            part: Part::Peer,
        }],
        ..PLAIN
    },
];

const fn core(name: &'static str, package: &'static str, version_args: &'static [&'static str]) -> Program {
    Program {
        name,
        package,
        version_args,
        part: Part::Core,
    }
}

const fn node(name: &'static str, package: &'static str, version_args: &'static [&'static str]) -> Program {
    Program {
        name,
        package,
        version_args,
        part: Part::KubernetesNode,
    }
}

// === impl Module ===

impl Module {
    /// Its programs that a part needs, those of every testbed among them.
    pub(crate) fn programs_of(&self, part: Part) -> impl Iterator<Item = &'static Program> {
        self.programs.iter().filter(move |program| program.part <= part)
    }

    /// The same programs, as the module in another folder pins them.
    pub(crate) fn pinned_by(&self, name: &'static str, go_mod: &'static str) -> Self {
        Self {
            name,
            go_mod,
            ..self.clone()
        }
    }

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
        let linker = self.has_c.then(|| " -extldflags -static".to_owned());
        std::iter::once("-s -w".to_owned())
            .chain(linker)
            .chain(stamps)
            .collect()
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
        let programs = || MODULES.iter().flat_map(|module| module.programs);
        let renamed: Vec<_> = programs()
            .filter(|program| program.built_name() != program.name)
            .map(|program| (program.name, program.built_name()))
            .collect();
        assert_eq!(renamed, [("etcd", "server")]);
    }
}
