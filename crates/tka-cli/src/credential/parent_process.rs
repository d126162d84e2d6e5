//! The process that asks for a credential: kubectl, or another program that reads kubeconfigs. It only decides whether a failure is printed
//! again.
//!
//! An age alone cannot decide that. kubectl runs the plugin several times a second after a refusal, and its user reads the sentence once.
//! Fifty kubectl that run at once share the session, its last failure and that second. Each of them has a user or a log of its own. With an
//! age per session, one of them would print the sentence, and 49 would fail without a word. Nothing else tells one kubectl from another:
//! `KUBERNETES_EXEC_INFO` is the same in all, and so are the arguments, the environment and often the terminal. client-go passes no ID.
//! Where the parent is not known, the failure is printed each time.

use std::fs;

use serde::{Deserialize, Serialize};

/// The parent process. Its ID and start time distinguish it from all others.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct ParentProcess(String);

// === impl ParentProcess ===

impl ParentProcess {
    /// The parent of this process. None if the system does not tell, or if the parent is in another PID namespace.
    pub(crate) fn find() -> Option<Self> {
        #[cfg(unix)]
        let parent = std::os::unix::process::parent_id();
        #[cfg(not(unix))]
        let parent = 0;
        (parent != 0).then(|| {
            Self::new(
                parent,
                &fs::read_to_string(format!("/proc/{parent}/stat")).unwrap_or_default(),
            )
        })
    }

    /// Identifies a process, since another one may get its ID later. `stat` is the content of `proc_pid_stat(5)`, if there is one.
    fn new(process: u32, stat: &str) -> Self {
        // The program's name may contain spaces and parentheses.
        let fields = stat.rsplit_once(") ").map_or("", |(_, fields)| fields);
        let started = fields.split(' ').nth(STARTED_AT).unwrap_or_default();
        Self(format!("{process}-{started}"))
    }
}

/// The position of the start time, counted from the program's name.
const STARTED_AT: usize = 19;

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn parent(process: u32) -> ParentProcess {
        ParentProcess::new(process, "")
    }

    #[test]
    fn a_process_is_told_from_a_later_one_of_its_number() {
        let stat = "7 (a) b) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4711 20 21";
        assert_eq!(ParentProcess::new(7, stat).0, "7-4711");
        assert_eq!(ParentProcess::new(7, "7 (a) S 1").0, "7-");
        assert_eq!(ParentProcess::new(7, "").0, "7-");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_system_tells_when_it_began() {
        let found = ParentProcess::find().unwrap();
        assert_eq!(ParentProcess::find(), Some(found.clone()));
        assert!(!found.0.ends_with('-'), "{found:?}");
    }
}
