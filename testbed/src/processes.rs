//! Finding, signalling and ending the testbed's processes, whoever started them.

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    process,
    time::Duration,
};

use sysinfo::{Pid, ProcessRefreshKind, ProcessStatus, ProcessesToUpdate, Signal, System, UpdateKind};

use crate::{
    daemon::{DIR_MARK, PART_MARK},
    error::{Attempt, Error, Result},
    layout::Layout,
    wait::{self, Look},
};

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

    /// A part's process: the eldest, as what it starts inherits its marks.
    pub(crate) fn pid(&self, part: &str) -> Option<u32> {
        Some(self.parts.get(part)?.first()?.as_u32())
    }

    /// Sends a signal to a part, and says whether there is such a part.
    pub(crate) fn signal(&self, part: &str, signal: Signal) -> bool {
        let pids = self.parts.get(part).into_iter().flatten();
        pids.filter_map(|pid| self.system.process(*pid)?.kill_with(signal))
            .any(|sent| sent)
    }

    /// Asks parts to end and sees them gone; whoever does not go in time is killed.
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
        for part in parts {
            for &pid in self.parts.get(*part).into_iter().flatten() {
                let gone = || {
                    if is_alive(pid) {
                        Look::NotYet(String::new())
                    } else {
                        Look::Done(())
                    }
                };
                wait::until(limit, gone).map_err(|_| ((*part).to_owned(), pid))?;
            }
        }
        Ok(())
    }
}

/// Whether a process still does anything; a zombie, which its parent has not waited for, does not.
fn is_alive(pid: Pid) -> bool {
    let Ok(mut system) = System::new() else { return true };
    let kind = ProcessRefreshKind::nothing().without_tasks();
    system.refresh_processes_specifics(ProcessesToUpdate::Some(&[pid]), true, kind);
    let status = system.process(pid).map(sysinfo::Process::status);
    status.is_some_and(|status| !matches!(status, ProcessStatus::Zombie | ProcessStatus::Dead))
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
