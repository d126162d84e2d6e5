//! PID 1 of the sandbox.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::Duration,
};

use rustix::{
    mount::{MountFlags, UnmountFlags, mount, mount_bind, unmount},
    process::{WaitOptions, wait},
    system::sethostname,
};

use super::settings::Settings;
use crate::cgroups::{self, Hierarchy};

/// Kernel flags that the kubelet sets for the whole machine unless it finds them set, and what it wants
/// (<https://kubernetes.io/docs/reference/command-line-tools-reference/kubelet/>, `--protect-kernel-defaults`).
const KERNEL_FLAGS: [(&str, &str); 4] = [
    ("vm/overcommit_memory", "1"),
    ("vm/panic_on_oom", "0"),
    ("kernel/panic", "10"),
    ("kernel/panic_on_oops", "1"),
];

/// Lays the sandbox out and stays.
pub(super) fn run(settings: &Settings) -> io::Result<()> {
    sethostname(settings.hostname.as_bytes())?;
    file_systems(settings)?;
    network(settings)?;
    fs::write(&settings.ready, "")?;
    reap()
}

fn file_systems(settings: &Settings) -> io::Result<()> {
    let hierarchies = cgroups::hierarchies()?;
    unmount("/sys", UnmountFlags::DETACH)?;
    let plain = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    mount("sysfs", "/sys", "sysfs", plain, None)?;
    control_groups(&hierarchies, &settings.cgroup)?;
    for (name, place) in [("lib", "/var/lib"), ("log", "/var/log")] {
        let own = settings.data.join(name);
        fs::create_dir_all(&own)?;
        mount_bind(&own, place)?;
    }
    mount(
        "run",
        "/run",
        "tmpfs",
        MountFlags::NOSUID | MountFlags::NODEV,
        c"mode=755",
    )?;
    for (flag, value) in KERNEL_FLAGS {
        let own = settings.data.join(flag.replace('/', "_"));
        fs::write(&own, value)?;
        mount_bind(&own, Path::new("/proc/sys").join(flag))?;
    }
    // The kernel lets a user namespace mount its own only where one without anything over it is seen.
    fs::create_dir("/run/proc")?;
    mount("proc", "/run/proc", "proc", plain, None).map_err(io::Error::from)
}

/// Mounts the hierarchies again, since those of the host show more than this namespace.
fn control_groups(hierarchies: &[Hierarchy], cgroup: &str) -> io::Result<()> {
    let root = Path::new(cgroups::ROOT);
    if hierarchies.iter().all(Hierarchy::is_unified) {
        mount("cgroup2", root, "cgroup2", MountFlags::empty(), None)?;
        return Ok(());
    }
    mount("cgroup", root, "tmpfs", MountFlags::empty(), c"mode=755")?;
    for hierarchy in hierarchies.iter().filter(|hierarchy| !hierarchy.is_unified()) {
        let place = hierarchy.mount_point();
        fs::create_dir(&place)?;
        mount(
            "cgroup",
            &place,
            "cgroup",
            MountFlags::empty(),
            hierarchy.options().as_c_str(),
        )?;
        for alias in hierarchy.aliases() {
            std::os::unix::fs::symlink(&place, alias)?;
        }
        let own = place.join(cgroup);
        fs::create_dir_all(&own)?;
        inherit_cpus(&place, &own)?;
    }
    Ok(())
}

/// A group of `cpuset` begins without any processor or memory node, and takes no process then.
fn inherit_cpus(parent: &Path, own: &Path) -> io::Result<()> {
    for file in ["cpuset.cpus", "cpuset.mems"] {
        let from = parent.join(file);
        if from.exists() {
            fs::write(own.join(file), fs::read(from)?)?;
        }
    }
    Ok(())
}

/// Loopback, and an address that is the node's.
fn network(settings: &Settings) -> io::Result<()> {
    let address = format!("{}/24", settings.address);
    for arguments in [
        &["link", "set", "lo", "up"][..],
        &["link", "add", "node0", "type", "bridge"],
        &["address", "add", &address, "dev", "node0"],
        &["link", "set", "node0", "up"],
        &["route", "add", "default", "dev", "node0"],
    ] {
        let output = Command::new("ip")
            .args(arguments)
            .output()
            .map_err(|error| io::Error::new(error.kind(), format!("cannot run ip (package iproute2): {error}")))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(io::Error::other(format!("ip {}: {}", arguments.join(" "), said.trim())));
        }
    }
    fs::write(PathBuf::from("/proc/sys/net/ipv4/ip_forward"), "1")
}

/// Waits for every child, those that others left behind among them.
fn reap() -> io::Result<()> {
    loop {
        match wait(WaitOptions::empty()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            // Nothing tells PID 1 that it was given a child. Until then there is nothing to reap.
            Err(rustix::io::Errno::CHILD) => thread::sleep(Duration::from_secs(1)),
            Err(error) => return Err(error.into()),
        }
    }
}
