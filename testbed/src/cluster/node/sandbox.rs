//! The namespaces that the node runs in.

use std::{
    env,
    ffi::OsString,
    path::{Path, PathBuf},
};

use super::place::{ADDRESS, CONTAINERD, NAME, PROGRAM, SANDBOX, SYSTEM_FOLDERS, data};
use crate::{
    cgroups,
    command::Run,
    daemon::{self, Daemon},
    error::{Attempt, Error, Result},
    facts::Facts,
    files,
    layout::Layout,
    processes::Processes,
    sandbox::Settings,
    shell::{quote, quote_path},
    wait::{self, Look},
};

/// Folders that the sandbox has its own of.
const HIDDEN: [&str; 5] = ["/run", "/var/run", "/var/lib", "/var/log", "/sys"];

/// A sandbox that is up.
#[derive(Clone, Debug)]
pub(crate) struct Sandbox {
    /// Its PID 1, as the host numbers it.
    init: u32,
    /// Where programs are looked for in it.
    path: OsString,
}

/// Which namespaces a program enters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Entering {
    /// All of them.
    Everything,
    /// The network alone: its files and processes are the host's.
    Network,
}

impl Sandbox {
    /// Starts it unless it runs, and returns when it is laid out.
    pub(crate) fn ensure(layout: &Layout, facts: &Facts, running: &Processes) -> Result<Self> {
        if let Some(hidden) = HIDDEN.iter().find(|hidden| layout.dir().starts_with(hidden)) {
            return Err(Error::Name(format!(
                "a testbed with a node cannot be in {hidden}, where the node has files of its own: choose another --dir"
            )));
        }
        let group = group(facts);
        let folders = cgroups::folders(&group).attempt(|| "cannot read this process's control groups".to_owned())?;
        let ready = data(layout).join("ready");
        let daemon = || {
            files::remove(&ready)?;
            files::write_json(&groups_file(layout), &folders)?;
            daemon(layout, &group, &ready)
        };
        daemon::ensure_aloud(layout, running, SANDBOX, daemon, || {
            if ready.exists() {
                return Look::Done(());
            }
            Look::NotYet("it is not laid out yet".to_owned())
        })?;
        cgroups::complete(&group).attempt(|| format!("cannot give controllers to the control group {group}"))?;
        let init = Processes::find(layout)?.pids(SANDBOX).nth(1);
        let init = init.ok_or_else(|| Error::Name("the node's sandbox ended as soon as it was laid out".to_owned()))?;
        let own = env::var_os("PATH").unwrap_or_default();
        let system = SYSTEM_FOLDERS.map(PathBuf::from);
        let folders = [layout.node_bin(), layout.bin()].into_iter();
        let path = env::join_paths(folders.chain(env::split_paths(&own)).chain(system)).unwrap_or(own);
        Ok(Self { init, path })
    }

    /// The file that stands for its network.
    pub(crate) fn network(&self) -> PathBuf {
        PathBuf::from(format!("/proc/{}/ns/net", self.init))
    }

    /// A part that runs a program in it.
    pub(crate) fn daemon(&self, layout: &Layout, part: &str, program: &Path, entering: Entering) -> Daemon {
        Daemon::of(layout, part, Path::new("nsenter"))
            .args(self.entering(entering))
            .arg(program)
            .env("PATH", &self.path)
    }

    /// A program that runs in it to its end.
    pub(crate) fn run(&self, program: &Path) -> Run {
        Run::new(Path::new("nsenter"))
            .args(self.entering(Entering::Everything))
            .args([program])
            .env("PATH", &self.path)
            .env("CONTAINERD_ADDRESS", CONTAINERD)
            .env("CONTAINERD_NAMESPACE", "k8s.io")
    }

    fn entering(&self, entering: Entering) -> Vec<String> {
        let all = ["--mount", "--pid", "--ipc", "--uts", "--cgroup"];
        let others = if entering == Entering::Everything {
            &all[..]
        } else {
            &[]
        };
        let target = format!("--target={}", self.init);
        let flags = ["--net"].into_iter().chain(others.iter().copied());
        std::iter::once(target)
            .chain(flags.map(str::to_owned))
            .chain(["--".to_owned()])
            .collect()
    }

    /// Writes a program that runs its arguments in the sandbox.
    pub(super) fn write_exec(&self, layout: &Layout) -> Result<()> {
        let script = format!(
            "#!/bin/sh\n# Runs its arguments in the sandbox of the testbed's Kubernetes node.\nexec env PATH={} CONTAINERD_ADDRESS={} CONTAINERD_NAMESPACE=k8s.io nsenter {} \"$@\"\n",
            quote(&self.path.to_string_lossy()),
            CONTAINERD,
            self.entering(Entering::Everything).join(" "),
        );
        files::write_executable(&layout.node_exec(), &script)
    }
}

fn daemon(layout: &Layout, group: &str, ready: &Path) -> Result<Daemon> {
    let settings = Settings {
        hostname: NAME.to_owned(),
        address: ADDRESS,
        data: data(layout),
        cgroup: group.to_owned(),
        ready: ready.to_owned(),
    };
    let file = data(layout).join("sandbox.json");
    files::write_json(&file, &settings)?;
    let joins = cgroups::prepare(group).attempt(|| format!("cannot make the control group {group}"))?;
    let join = joins.map_or_else(String::new, |procs| format!("echo 0 > {} && ", quote_path(procs)));
    Ok(Daemon::of(layout, SANDBOX, Path::new("/bin/sh"))
        .arg("-c")
        .arg(format!("{join}exec \"$@\""))
        .args([
            "sh", "unshare", "--mount", "--net", "--pid", "--ipc", "--uts", "--cgroup",
        ])
        .args(["--fork", "--kill-child", "--mount-proc", "--propagation=private"])
        .arg(layout.node_bin().join(PROGRAM))
        .arg("init")
        .arg(file))
}

/// A name that no other testbed of this machine has: ports are given out once.
pub(super) fn group(facts: &Facts) -> String {
    format!("tka-testbed-{}", facts.ports.etcd)
}

fn groups_file(layout: &Layout) -> PathBuf {
    data(layout).join("control-groups.json")
}

/// Removes the control groups of a node that has ended.
pub(crate) fn remove_groups(layout: &Layout) -> Result<()> {
    let Some(folders) = files::read_json::<Vec<PathBuf>>(&groups_file(layout))? else {
        return Ok(());
    };
    // The kernel takes a moment to see that a group is empty.
    let look = || match cgroups::remove(&folders) {
        Ok(()) => Look::Done(()),
        Err(error) => Look::NotYet(error.to_string()),
    };
    let limit = daemon::READY_LIMIT;
    wait::until(limit, look).map_err(|why| Error::Timeout {
        what: format!("the control groups {folders:?} to be empty"),
        limit,
        why,
    })?;
    files::remove(&groups_file(layout))
}
