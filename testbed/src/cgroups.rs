//! Control groups of the host, of version 1, version 2 or both (`cgroups(7)`).

use std::{
    ffi::CString,
    fs, io,
    path::{Path, PathBuf},
};

/// Where hierarchies are mounted.
pub(crate) const ROOT: &str = "/sys/fs/cgroup";
/// Controllers of version 2 that the kubelet uses.
const CONTROLLERS: [&str; 5] = ["cpuset", "cpu", "io", "memory", "pids"];

/// A hierarchy, as a process is in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hierarchy {
    /// `cpu,cpuacct` or `name=systemd`; empty for version 2.
    controllers: String,
    /// The group of the process.
    group: PathBuf,
}

/// Those of this process that are mounted at the usual place.
pub(crate) fn hierarchies() -> io::Result<Vec<Hierarchy>> {
    let all = parse(&fs::read_to_string("/proc/self/cgroup")?);
    let is_mounted = |hierarchy: &Hierarchy| hierarchy.mount_point().is_dir();
    let (unified, own): (Vec<_>, Vec<_>) = all.into_iter().partition(Hierarchy::is_unified);
    let own: Vec<_> = own.into_iter().filter(is_mounted).collect();
    // Beside mounted ones of version 1, version 2 has no controllers.
    Ok(if own.is_empty() { unified } else { own })
}

/// Lines of `/proc/PID/cgroup`: `4:cpu,cpuacct:/group`.
fn parse(text: &str) -> Vec<Hierarchy> {
    let line = |line: &str| {
        let mut fields = line.splitn(3, ':').skip(1);
        Some(Hierarchy {
            controllers: fields.next()?.to_owned(),
            group: fields.next()?.into(),
        })
    };
    text.lines().filter_map(line).collect()
}

/// The group `name` of a sandbox that this process is about to start, in every hierarchy. It is below the group of this process where
/// the hierarchy is of version 1, since the sandbox sees nothing above that.
pub(crate) fn folders(name: &str) -> io::Result<Vec<PathBuf>> {
    let folder = |hierarchy: Hierarchy| {
        if hierarchy.is_unified() {
            Path::new(ROOT).join(name)
        } else {
            hierarchy.here().join(name)
        }
    };
    Ok(hierarchies()?.into_iter().map(folder).collect())
}

/// Prepares the group `name`. Returns the file that takes in the first process of the sandbox, where it must be in the group from its beginning.
pub(crate) fn prepare(name: &str) -> io::Result<Option<PathBuf>> {
    if !hierarchies()?.iter().all(Hierarchy::is_unified) {
        return Ok(None);
    }
    let group = Path::new(ROOT).join(name);
    fs::create_dir_all(&group)?;
    delegate(Path::new(ROOT))?;
    Ok(Some(group.join("cgroup.procs")))
}

/// Lets groups below `name` have controllers. A group of version 2 that has processes cannot give any, so its processes move one down.
pub(crate) fn complete(name: &str) -> io::Result<()> {
    let group = Path::new(ROOT).join(name);
    if !group.join("cgroup.procs").exists() || !group.join("cgroup.subtree_control").exists() {
        return Ok(());
    }
    let own = group.join("init");
    fs::create_dir_all(&own)?;
    for process in fs::read_to_string(group.join("cgroup.procs"))?.lines() {
        fs::write(own.join("cgroup.procs"), process)?;
    }
    delegate(&group)
}

/// Gives every controller that there is to the groups below.
fn delegate(group: &Path) -> io::Result<()> {
    let there = fs::read_to_string(group.join("cgroup.controllers"))?;
    let given = there
        .split_whitespace()
        .filter(|controller| CONTROLLERS.contains(controller))
        .map(|controller| format!("+{controller}"))
        .collect::<Vec<_>>();
    fs::write(group.join("cgroup.subtree_control"), given.join(" "))
}

/// Removes groups and those below them. Their processes have ended.
pub(crate) fn remove(folders: &[PathBuf]) -> io::Result<()> {
    folders.iter().try_for_each(|group| remove_below(group))
}

/// Only folders can be removed, from below: the files are the kernel's.
fn remove_below(group: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(group) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_below(&entry.path())?;
        }
    }
    fs::remove_dir(group)
}

// === impl Hierarchy ===

impl Hierarchy {
    pub(crate) fn is_unified(&self) -> bool {
        self.controllers.is_empty()
    }

    /// Where it is mounted.
    pub(crate) fn mount_point(&self) -> PathBuf {
        Path::new(ROOT).join(self.controllers.strip_prefix("name=").unwrap_or(&self.controllers))
    }

    /// The group of the process, as a folder of the host.
    fn here(&self) -> PathBuf {
        let group = self.group.strip_prefix("/").unwrap_or(&self.group);
        self.mount_point().join(group)
    }

    /// Other names that it has where several controllers share it.
    pub(crate) fn aliases(&self) -> Vec<PathBuf> {
        let names: Vec<_> = self.controllers.split(',').collect();
        if names.len() == 1 {
            return Vec::new();
        }
        names.into_iter().map(|name| Path::new(ROOT).join(name)).collect()
    }

    /// What makes a mount this hierarchy.
    pub(crate) fn options(&self) -> CString {
        let options = if self.controllers.starts_with("name=") {
            format!("none,{}", self.controllers)
        } else {
            self.controllers.clone()
        };
        CString::new(options).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hierarchies_are_read_from_the_file_of_a_process() {
        let found = parse("9:name=systemd:/\n4:cpu,cpuacct:/a/b:c\n0::/user.slice\n");
        assert_eq!(
            found.iter().map(Hierarchy::mount_point).collect::<Vec<_>>(),
            ["systemd", "cpu,cpuacct", ""].map(|name| Path::new(ROOT).join(name))
        );
        assert_eq!(found[0].options().to_str(), Ok("none,name=systemd"));
        assert_eq!(found[1].here(), Path::new(ROOT).join("cpu,cpuacct/a/b:c"));
        assert_eq!(found[1].aliases().len(), 2);
        assert!(found[2].is_unified());
    }

    #[test]
    fn groups_are_removed_from_below() {
        let folder = tempfile::tempdir().unwrap();
        let group = folder.path().join("a");
        fs::create_dir_all(group.join("b/c")).unwrap();
        remove_below(&group).unwrap();
        assert!(!group.exists());
        remove_below(&group).unwrap();
    }
}
