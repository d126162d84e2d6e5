//! Daemons that outlive the process that starts them, and that can be found again after a crash.
//!
//! Every daemon carries two variables in its environment, which folder's testbed it belongs to and which part of it it
//! is. They are what finds it again: a PID file would be wrong after a crash.

use std::{
    ffi::{OsStr, OsString},
    fs::{self, OpenOptions},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Stdio},
    sync::{Arc, OnceLock},
    thread,
    time::Duration,
};

use crate::{
    error::{Attempt, Error, Result},
    files,
    layout::Layout,
    processes::{DIR_MARK, PART_MARK, Processes},
    progress::step,
    wait::{self, Look},
};

/// On two busy cores; on idle ones everything is there within seconds.
pub(crate) const READY_LIMIT: Duration = Duration::from_secs(90);

/// A daemon to be started.
pub(crate) struct Daemon {
    part: String,
    command: Command,
}

impl Daemon {
    /// A part that runs the program of that name in the testbed's `bin`.
    pub(crate) fn new(layout: &Layout, part: &str, program: &str) -> Self {
        Self::of(layout, part, &layout.program(program))
    }

    /// A part that runs any program.
    pub(crate) fn of(layout: &Layout, part: &str, program: &Path) -> Self {
        let mut command = Command::new(program);
        clean_environment(&mut command);
        command
            .env(DIR_MARK, layout.dir())
            .env(PART_MARK, part)
            .current_dir(layout.dir());
        Self {
            part: part.to_owned(),
            command,
        }
    }

    pub(crate) fn args(mut self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        self.command.args(args);
        self
    }

    pub(crate) fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.command.arg(arg);
        self
    }

    /// `--flag=value` for each pair.
    pub(crate) fn flags<'a>(mut self, flags: impl IntoIterator<Item = (&'a str, OsString)>) -> Self {
        for (flag, value) in flags {
            let mut arg = OsString::from(format!("--{flag}="));
            arg.push(value);
            self.command.arg(arg);
        }
        self
    }

    pub(crate) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Starts it in a process group of its own, so that neither Ctrl-C nor the end of its parent reaches it. Its output
    /// goes to its log: a caller that waits for the end of an inherited pipe would wait for ever.
    pub(crate) fn start(mut self, layout: &Layout) -> Result<Running> {
        let log = layout.log(&self.part);
        let open = || OpenOptions::new().create(true).append(true).open(&log);
        let (output, errors) = open()
            .and_then(|file| Ok((open()?, file)))
            .attempt(|| format!("cannot open {}", log.display()))?;
        let log_start = fs::metadata(&log).map_or(0, |metadata| metadata.len());
        let mut child = self
            .command
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            .process_group(0)
            .spawn()
            .attempt(|| format!("cannot start {} ({})", self.part, self.command.get_program().display()))?;
        let end = Arc::new(OnceLock::new());
        let told = Arc::clone(&end);
        // Waits for it, so that it does not stay a zombie for as long as a test run takes.
        thread::spawn(move || child.wait().map(|status| told.set(status)));
        Ok(Running {
            part: self.part,
            log,
            log_start,
            end,
        })
    }
}

/// Removes what would lead a program elsewhere than to the testbed.
pub(crate) fn clean_environment(command: &mut Command) {
    const ALONE: [&str; 5] = [
        "KUBECONFIG",
        "KUBERNETES_SERVICE_HOST",
        "SSL_CERT_FILE",
        "SSL_CERT_DIR",
        "ETCDCTL_API",
    ];
    const PREFIXES: [&str; 6] = ["TKA_", "HEADSCALE_", "ETCD_", "HELM_", "TS_", "OTEL_"];
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        let proxy = text.to_ascii_lowercase().ends_with("_proxy");
        if proxy || ALONE.contains(&&*text) || PREFIXES.iter().any(|prefix| text.starts_with(prefix)) {
            command.env_remove(&name);
        }
    }
}

/// [`ensure`], and says so if it had to be started.
pub(crate) fn ensure_aloud(
    layout: &Layout,
    running: &Processes,
    part: &str,
    daemon: impl FnOnce() -> Result<Daemon>,
    look: impl FnMut() -> Look<()>,
) -> Result<()> {
    let work = || ensure(layout, running, part, daemon, look);
    if running.has(part) {
        work()
    } else {
        step(&format!("{part} is ready"), work)
    }
}

/// Starts a part unless it is running, and in either case returns when it is ready. `look` looks whether it is.
pub(crate) fn ensure(
    layout: &Layout,
    running: &Processes,
    part: &str,
    daemon: impl FnOnce() -> Result<Daemon>,
    look: impl FnMut() -> Look<()>,
) -> Result<()> {
    let daemon = if running.has(part) {
        Running::found(layout, part)
    } else {
        daemon()?.start(layout)?
    };
    daemon.wait_ready(READY_LIMIT, look)
}

/// A daemon that runs.
pub(crate) struct Running {
    part: String,
    log: PathBuf,
    log_start: u64,
    /// How it ended, if it was started here.
    end: Arc<OnceLock<ExitStatus>>,
}

impl Running {
    /// One that was started by another process.
    fn found(layout: &Layout, part: &str) -> Self {
        Self {
            part: part.to_owned(),
            log: layout.log(part),
            log_start: 0,
            end: Arc::default(),
        }
    }

    /// Looks until the daemon is ready. Its log's end is in the error if it ends or takes too long.
    pub(crate) fn wait_ready(&self, limit: Duration, mut look: impl FnMut() -> Look<()>) -> Result<()> {
        let outcome = wait::until(limit, || match self.end.get() {
            Some(status) => Look::Done(Err(*status)),
            None => match look() {
                Look::Done(()) => Look::Done(Ok(())),
                Look::NotYet(why) => Look::NotYet(why),
            },
        });
        let (part, log) = (self.part.clone(), self.log.clone());
        let tail = || files::tail(&self.log, self.log_start);
        match outcome {
            Ok(Ok(())) => Ok(()),
            Ok(Err(status)) => Err(Error::Ended {
                part,
                status: status.to_string(),
                log,
                tail: tail(),
            }),
            Err(why) => Err(Error::NotReady {
                part,
                limit,
                why,
                log,
                tail: tail(),
            }),
        }
    }
}
