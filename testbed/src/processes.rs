//! Finding, signalling and ending the testbed's processes, whichever process started them.

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    fs, process,
    time::Duration,
};

use sysinfo::{Pid, ProcessRefreshKind, ProcessStatus, ProcessesToUpdate, Signal, System, UpdateKind};

use crate::{
    error::{Attempt, Error, Result},
    layout::Layout,
    wait::{self, Look},
};

/// Marks a process as one of the testbed in that folder.
pub(crate) const DIR_MARK: &str = "TKA_TESTBED_DIR";
/// Says which part of its testbed a process is.
pub(crate) const PART_MARK: &str = "TKA_TESTBED_PART";
/// How long a process may take to go after SIGKILL.
const KILL_LIMIT: Duration = Duration::from_secs(5);

/// The processes of one testbed, as they were when they were looked for.
pub(crate) struct Processes {
    system: System,
    parts: BTreeMap<String, Vec<Pid>>,
}

impl Processes {
    pub(crate) fn find(layout: &Layout) -> Result<Self> {
        let mut system = System::new()
            .map_err(std::io::Error::other)
            .attempt(|| "cannot list the processes".to_owned())?;
        let kind = ProcessRefreshKind::nothing()
            .with_environ(UpdateKind::Always)
            .without_tasks();
        system.refresh_processes_specifics(ProcessesToUpdate::All, true, kind);
        let mark = mark(DIR_MARK, layout.dir().as_os_str());
        let mut found: Vec<_> = system
            .processes()
            .values()
            .filter(|process| process.pid().as_u32() != process::id() && process.environ().contains(&mark))
            .filter_map(|process| Some((part_of(process.environ())?, process.start_time(), process.pid())))
            .collect();
        found.sort();
        let mut parts = BTreeMap::<_, Vec<_>>::new();
        for (part, _, pid) in found {
            parts.entry(part).or_default().push(pid);
        }
        Ok(Self { system, parts })
    }

    pub(crate) fn parts(&self) -> impl Iterator<Item = &str> {
        self.parts.keys().map(String::as_str)
    }

    pub(crate) fn has(&self, part: &str) -> bool {
        self.parts.contains_key(part)
    }

    /// A part's process: the eldest, as what it starts inherits its marks.
    pub(crate) fn pid(&self, part: &str) -> Option<u32> {
        self.pids(part).next()
    }

    /// A part's processes, the eldest first.
    pub(crate) fn pids(&self, part: &str) -> impl Iterator<Item = u32> {
        self.parts.get(part).into_iter().flatten().map(|pid| pid.as_u32())
    }

    /// Sends a signal to a part, and says whether there is such a part.
    pub(crate) fn signal(&self, part: &str, signal: Signal) -> bool {
        let pids = self.parts.get(part).into_iter().flatten();
        // To each of them: the first may be a shell that waits for the second.
        pids.filter_map(|pid| self.system.process(*pid)?.kill_with(signal))
            .fold(false, |any, sent| any | sent)
    }

    /// Asks parts to end and sees them gone; a part that does not end in time is killed.
    pub(crate) fn stop(&self, parts: &[&str], limit: Duration) -> Result<()> {
        for part in parts {
            self.signal(part, Signal::Term);
        }
        if self.wait_gone(parts, limit).is_ok() {
            return Ok(());
        }
        self.kill(parts)
    }

    /// Kills parts and sees them gone.
    pub(crate) fn kill(&self, parts: &[&str]) -> Result<()> {
        for part in parts {
            self.signal(part, Signal::Kill);
        }
        self.wait_gone(parts, KILL_LIMIT)
            .map_err(|(part, pid)| Error::Unstoppable {
                part,
                pid: pid.as_u32(),
            })
    }

    fn wait_gone(&self, parts: &[&str], limit: Duration) -> Result<(), (String, Pid)> {
        let pids = |part: &&str| self.parts.get(*part).into_iter().flatten().copied();
        let mut left: Vec<_> = parts
            .iter()
            .flat_map(|part| pids(part).map(move |pid| (*part, pid)))
            .collect();
        let gone = || {
            left.retain(|(_, pid)| is_alive(*pid));
            if left.is_empty() {
                Look::Done(())
            } else {
                Look::NotYet(String::new())
            }
        };
        let outcome = wait::until(limit, gone);
        match left.first() {
            Some((part, pid)) if outcome.is_err() => Err(((*part).to_owned(), *pid)),
            _ => Ok(()),
        }
    }
}

/// Whether a process still does anything, or holds anything; a zombie, which its parent has not waited for, does not.
fn is_alive(pid: Pid) -> bool {
    let Ok(mut system) = System::new() else { return true };
    let kind = ProcessRefreshKind::nothing().without_tasks();
    system.refresh_processes_specifics(ProcessesToUpdate::Some(&[pid]), true, kind);
    let status = system.process(pid).map(sysinfo::Process::status);
    status.is_some_and(|status| !matches!(status, ProcessStatus::Zombie | ProcessStatus::Dead) || has_threads(pid))
}

/// Whether a process has threads beside its first. That one is a zombie as soon as it ends, while on a busy machine the others still hold the process' ports.
fn has_threads(pid: Pid) -> bool {
    let threads = fs::read_dir(format!("/proc/{pid}/task"));
    threads.is_ok_and(|threads| threads.count() > 1)
}

fn mark(name: &str, value: &OsStr) -> OsString {
    let mut mark = OsString::from(format!("{name}="));
    mark.push(value);
    mark
}

fn part_of(environ: &[OsString]) -> Option<String> {
    environ.iter().find_map(|variable| {
        Some(
            variable
                .to_str()?
                .strip_prefix(PART_MARK)?
                .strip_prefix('=')?
                .to_owned(),
        )
    })
}

#[cfg(test)]
mod tests {
    use std::{os::unix::fs::symlink, process::Command};

    use super::*;
    use crate::daemon::Daemon;

    fn testbed(programs: &[(&str, &str)]) -> (tempfile::TempDir, Layout) {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::of(dir.path()).unwrap();
        fs::create_dir(layout.bin()).unwrap();
        fs::create_dir(layout.logs()).unwrap();
        for (name, target) in programs {
            symlink(target, layout.program(name)).unwrap();
        }
        (dir, layout)
    }

    #[test]
    fn a_part_is_found_by_its_marks_and_only_in_its_own_testbed() {
        let (_dir, layout) = testbed(&[("sleep", "/bin/sleep")]);
        let (_other_dir, other) = testbed(&[("sleep", "/bin/sleep")]);
        let _running = Daemon::new(&layout, "sleeper", "sleep")
            .arg("100")
            .start(&layout)
            .unwrap();
        let _neighbour = Daemon::new(&other, "sleeper", "sleep")
            .arg("100")
            .start(&other)
            .unwrap();
        let found = Processes::find(&layout).unwrap();
        assert_eq!(found.parts().collect::<Vec<_>>(), ["sleeper"]);
        found.stop(&["sleeper"], Duration::from_secs(10)).unwrap();
        assert!(!Processes::find(&layout).unwrap().has("sleeper"));
        let left = Processes::find(&other).unwrap();
        assert!(left.has("sleeper"), "the neighbour's is still there");
        left.kill(&["sleeper"]).unwrap();
    }

    #[test]
    fn a_part_that_does_not_want_to_end_is_killed() {
        let (dir, layout) = testbed(&[("sh", "/bin/sh")]);
        // It waits as what it is: while it became another program, it could not be found.
        let hold = dir.path().join("hold");
        let script = format!(
            "trap '' TERM; mkfifo '{0}'; exec 3<>'{0}'; echo trapped; read -r line <&3",
            hold.display()
        );
        let running = Daemon::new(&layout, "stubborn", "sh")
            .arg("-c")
            .arg(script)
            .start(&layout)
            .unwrap();
        let said = || match fs::read_to_string(layout.log("stubborn")).unwrap_or_default() {
            text if text.contains("trapped") => Look::Done(()),
            text => Look::NotYet(text),
        };
        running.wait_ready(Duration::from_secs(10), said).unwrap();
        let found = Processes::find(&layout).unwrap();
        found.stop(&["stubborn"], Duration::from_millis(100)).unwrap();
        assert!(!Processes::find(&layout).unwrap().has("stubborn"));
    }

    /// It still holds what the process held, such as the port that its next start needs.
    #[test]
    fn process_whose_first_thread_has_ended_is_alive_until_all_have() {
        let script = "import ctypes, os, threading, time\n\
                      threading.Thread(target=time.sleep, args=(100,)).start()\n\
                      ctypes.CDLL(None).syscall(60 if os.uname().machine == 'x86_64' else 93, 0)";
        let mut process = Command::new("python3").args(["-c", script]).spawn().unwrap();
        let pid = Pid::from_u32(process.id());
        let is_zombie = || match fs::read_to_string(format!("/proc/{pid}/stat")).unwrap() {
            stat if stat.contains(" Z ") => Look::Done(()),
            stat => Look::NotYet(stat),
        };
        wait::until(Duration::from_mins(1), is_zombie).unwrap();
        assert!(is_alive(pid));
        process.kill().unwrap();
        process.wait().unwrap();
        assert!(!is_alive(pid));
    }

    #[test]
    fn every_process_of_a_part_is_signalled() {
        let (dir, layout) = testbed(&[("sh", "/bin/sh")]);
        let child = dir.path().join("child");
        // The second outlives the first unless it is signalled itself.
        let script = format!("sleep 100 & echo $! > '{}'; wait", child.display());
        let running = Daemon::new(&layout, "two", "sh")
            .arg("-c")
            .arg(script)
            .start(&layout)
            .unwrap();
        let both = || match Processes::find(&layout).unwrap().pids("two").count() {
            2 if child.exists() => Look::Done(()),
            count => Look::NotYet(format!("{count} processes")),
        };
        running.wait_ready(Duration::from_secs(10), both).unwrap();
        Processes::find(&layout).unwrap().kill(&["two"]).unwrap();
        assert!(!Processes::find(&layout).unwrap().has("two"));
    }

    #[test]
    fn a_part_that_ends_too_soon_says_how_and_what_it_said() {
        let (_dir, layout) = testbed(&[("sh", "/bin/sh")]);
        let script = "echo no config >&2; exit 7";
        let running = Daemon::new(&layout, "broken", "sh")
            .arg("-c")
            .arg(script)
            .start(&layout)
            .unwrap();
        let never = || Look::NotYet("not ready".to_owned());
        let error = running
            .wait_ready(Duration::from_secs(10), never)
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("broken ended") && error.contains("exit status: 7"),
            "{error}"
        );
        assert!(error.ends_with("no config"), "{error}");
    }
}
