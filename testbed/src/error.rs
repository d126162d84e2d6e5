//! What can go wrong, each with what to do about it.

use std::{io, path::PathBuf, process::ExitStatus, time::Duration};

use crate::shell::quote_path;

/// The result of everything the testbed does.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why the testbed could not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Programs must be built and there is no `go`.
    #[error(
        "Go {needed} or later is needed to build {programs} once, and there is no `go` on PATH: \
         install it from https://go.dev/dl/ and run this again"
    )]
    GoMissing {
        /// The least version that builds all of them.
        needed: String,
        /// What is to be built.
        programs: String,
    },

    /// Programs must be built and `go` is too old for them.
    #[error(
        "Go {needed} or later is needed to build {programs} once, and the `go` on PATH is {found}: \
         install a newer one from https://go.dev/dl/ and run this again"
    )]
    GoTooOld {
        /// The least version that builds all of them.
        needed: String,
        /// What `go env GOVERSION` said.
        found: String,
        /// What is to be built.
        programs: String,
    },

    /// `go build` failed.
    #[error("building {programs} failed ({status}); the end of {}:\n{tail}", log.display())]
    Build {
        /// What was being built.
        programs: String,
        /// How `go build` ended.
        status: ExitStatus,
        /// Everything `go build` said.
        log: PathBuf,
        /// Its last lines.
        tail: String,
    },

    /// The project itself does not build.
    #[error("the project's programs do not build ({status}); cargo said why above")]
    OwnBuild {
        /// How cargo ended.
        status: ExitStatus,
    },

    /// What an older commit has cannot be unpacked.
    #[error("tar could not unpack an older commit into {} ({status}); it said why above", folder.display())]
    Unpack {
        /// Where to.
        folder: PathBuf,
        /// How tar ended.
        status: ExitStatus,
    },

    /// A program of the project itself is not where it should be.
    #[error("{} is not there: build it with `cargo build -p {package}`", path.display())]
    NotBuilt {
        /// Where it was looked for.
        path: PathBuf,
        /// The package that builds it.
        package: String,
    },

    /// A program of the system that the Kubernetes node needs is not installed.
    #[error("a Kubernetes node needs {program}, which is not installed: install the package {package} (Debian's name)")]
    Tool {
        /// What is missing.
        program: String,
        /// What brings it.
        package: String,
    },

    /// Images of the testbed have no library.
    #[error(
        "{} needs the loader {loader}, which no image of the testbed has: install the package busybox-static (Debian's name), or put \
         a static busybox first on the PATH",
        path.display()
    )]
    Dynamic {
        /// The program.
        path: PathBuf,
        /// What it is loaded by.
        loader: String,
    },

    /// The Kubernetes node needs namespaces and mounts.
    #[error("a Kubernetes node needs root and Linux: run this as root, or without --node")]
    NotRoot,

    /// A daemon ended before it was ready.
    #[error("{part} ended before it was ready ({status}); the end of {}:\n{tail}", log.display())]
    Ended {
        /// Which daemon.
        part: String,
        /// How it ended, if that is known.
        status: String,
        /// Its log.
        log: PathBuf,
        /// The log's last lines.
        tail: String,
    },

    /// A daemon did not become ready in time.
    #[error("{part} was not ready within {limit:?}: {why}; the end of {}:\n{tail}", log.display())]
    NotReady {
        /// Which daemon.
        part: String,
        /// How long it had.
        limit: Duration,
        /// What the last look at it said.
        why: String,
        /// Its log.
        log: PathBuf,
        /// The log's last lines.
        tail: String,
    },

    /// Something that should have come about did not.
    #[error("waited {limit:?} for {what}: {why}")]
    Timeout {
        /// What was waited for.
        what: String,
        /// How long.
        limit: Duration,
        /// What the last look said.
        why: String,
    },

    /// A daemon would not go away, not even by SIGKILL.
    #[error("{part} (process {pid}) is still running after SIGKILL: look at it with `ps -fp {pid}`")]
    Unstoppable {
        /// Which daemon.
        part: String,
        /// Its process ID.
        pid: u32,
    },

    /// A command that should have worked did not.
    #[error("`{command}` failed ({status}): {stderr}")]
    Command {
        /// The command line.
        command: String,
        /// How it ended.
        status: ExitStatus,
        /// What it said.
        stderr: String,
    },

    /// A program answered something that was not expected of it.
    #[error("{from} answered something unexpected ({why}): {answer}")]
    Answer {
        /// Who answered.
        from: String,
        /// What was wrong with it.
        why: String,
        /// What it said.
        answer: String,
    },

    /// The tailnet policy was refused. The one before it is still in force.
    #[error("the tailnet policy {} was refused and the one before it stays in force: {why}", path.display())]
    Policy {
        /// The file that holds the policy.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },

    /// There is no testbed in that folder.
    #[error("there is no testbed in {}: start one with `cargo xtask up --dir {}`", dir.display(), quote_path(dir))]
    NoTestbed {
        /// The folder.
        dir: PathBuf,
    },

    /// The testbed has no such node or server, or has one already.
    #[error("{0}")]
    Name(String),

    /// Too many testbeds on one machine.
    #[error(
        "no free block of ports is left: {} testbeds are up on this machine; \
         end one with `cargo xtask down --dir DIR` (the folders are listed in {})", blocks, registry.display()
    )]
    NoPorts {
        /// How many there can be.
        blocks: usize,
        /// Where they are listed.
        registry: PathBuf,
    },

    /// A testbed has given out every port that it has.
    #[error(
        "all {ports} ports of this testbed are given out: remove servers or nodes that are no longer needed (they are \
         listed in {})", block.display()
    )]
    PortsUsedUp {
        /// How many there are.
        ports: u16,
        /// Where they are listed.
        block: PathBuf,
    },

    /// A certificate or key could not be made.
    #[error("a certificate could not be made")]
    Certificate(#[from] rcgen::Error),

    /// A file, folder or process could not be worked with.
    #[error("{what}")]
    Io {
        /// What was attempted.
        what: String,
        /// Why it failed.
        #[source]
        source: io::Error,
    },

    /// A file of the testbed does not hold what it should.
    #[error("{} is damaged: `cargo xtask down` and `cargo xtask up` begin anew", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
}

/// Says what was attempted when an I/O operation fails.
pub(crate) trait Attempt<T> {
    fn attempt(self, what: impl FnOnce() -> String) -> Result<T>;
}

impl<T> Attempt<T> for io::Result<T> {
    fn attempt(self, what: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|source| Error::Io { what: what(), source })
    }
}
