//! One user of the command: a home folder, and nothing of this machine's environment.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Arc, Once};

use serde_json::{Value, json};
use signal_hook::consts::{SIGALRM, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGWINCH};

use crate::fake_server::{Answer, FakeServer};

/// A user with an empty home.
pub(crate) struct User {
    home: tempfile::TempDir,
    /// In memory.
    runtime: tempfile::TempDir,
}

/// What a command left behind.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) status: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// The signals that tests send.
const SENT: [i32; 8] = [SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGALRM, SIGWINCH];

/// Has signals reach the programs that tests start, also where the tests themselves were started with these ignored. That is so under `nohup` and
/// `perf`, and in the background of a script. A program inherits that a signal is ignored, and not that it is handled (`execve(2)`).
fn default_signals() {
    static HANDLED: Once = Once::new();
    HANDLED.call_once(|| {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
        let ignored = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
        let is_ignored = |signal: i32| ignored.unwrap_or_default() & (1 << (signal - 1)) != 0;
        for signal in SENT.into_iter().filter(|signal| is_ignored(*signal)) {
            signal_hook::flag::register(signal, Arc::default()).unwrap();
        }
    });
}

impl User {
    pub(crate) fn new() -> Self {
        default_signals();
        Self {
            home: tempfile::tempdir().unwrap(),
            runtime: tempfile::tempdir_in("/dev/shm").unwrap(),
        }
    }

    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    /// fish reads all manual pages in the background where it starts for the first time, which keeps a core busy for a minute.
    pub(crate) fn spare_fish_its_manual(&self) {
        fs::create_dir_all(self.home().join(".local/share/fish/generated_completions")).unwrap();
    }

    /// Where their login session keeps what must not reach a disk.
    pub(crate) fn runtime(&self) -> &Path {
        self.runtime.path()
    }

    /// Where credentials are kept.
    pub(crate) fn cache(&self) -> PathBuf {
        self.runtime.path().join("tka")
    }

    /// The command in this user's environment.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tka"));
        command.args(arguments).current_dir(self.home()).env_clear();
        command
            .env("HOME", self.home())
            .env("XDG_RUNTIME_DIR", self.runtime.path())
            .env("TZ", "UTC")
            .env("PATH", "/usr/bin:/bin")
            .env("SHELL", "/bin/bash");
        command
    }

    /// The command for a user who is not root, also where root runs the tests. All that is below the home folder is theirs from now on.
    pub(crate) fn unprivileged(&self, arguments: &[&str]) -> Command {
        const UNPRIVILEGED: u32 = 65534;
        let program = self.home().join("program");
        // By another process: one that this one starts meanwhile for another test would have it open for writing, and keep it from running.
        let copied = Command::new("cp").arg(env!("CARGO_BIN_EXE_tka")).arg(&program).status();
        assert!(copied.unwrap().success());
        let like = self.command(arguments);
        let mut command = Command::new(program);
        command.args(arguments).env_clear().current_dir("/");
        command.envs(like.get_envs().filter_map(|(name, value)| Some((name, value?))));
        if rustix::process::geteuid().is_root() {
            let theirs = Command::new("chown")
                .args(["-hR", &format!("{UNPRIVILEGED}:{UNPRIVILEGED}")])
                .args([self.home(), self.runtime()])
                .status();
            assert!(theirs.unwrap().success());
            command.uid(UNPRIVILEGED).gid(UNPRIVILEGED);
        }
        command
    }

    /// Runs the command without a server.
    pub(crate) fn run(&self, arguments: &[&str]) -> Outcome {
        self.command(arguments).output().unwrap().into()
    }

    /// Runs the command with the fake server.
    pub(crate) fn run_with(&self, fake: &FakeServer, arguments: &[&str]) -> Outcome {
        self.command_with(fake, arguments).output().unwrap().into()
    }

    pub(crate) fn command_with(&self, fake: &FakeServer, arguments: &[&str]) -> Command {
        let mut command = self.command(arguments);
        command.env("TKA_TAILSCALE_HOSTNAME", "127.0.0.1");
        command.env("TKA_TAILSCALE_PORT", fake.address.port().to_string());
        command
    }

    /// Writes the user's own settings.
    pub(crate) fn has_settings(&self, text: &str) {
        let folder = self.home().join(".config/tka");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("config.yaml"), text).unwrap();
    }

    pub(crate) fn folder(&self) -> PathBuf {
        self.home().join(".kube/tka")
    }

    /// Where the kubeconfig for the fake server is.
    pub(crate) fn kubeconfig(&self, fake: &FakeServer) -> PathBuf {
        self.folder().join(format!("127.0.0.1_{}.yaml", fake.address.port()))
    }

    /// All that is below the home folder.
    pub(crate) fn files(&self) -> Vec<String> {
        let mut found = Vec::new();
        let mut folders = vec![self.home().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                found.push(path.strip_prefix(self.home()).unwrap().display().to_string());
                if path.is_dir() {
                    folders.push(path);
                }
            }
        }
        found.sort();
        found
    }

    /// Puts a kubeconfig there, as from an earlier sign-in.
    pub(crate) fn has_kubeconfig(&self, fake: &FakeServer) {
        std::fs::create_dir_all(self.folder()).unwrap();
        std::fs::write(self.kubeconfig(fake), BEFORE).unwrap();
    }
}

impl Outcome {
    /// Both streams and the status, without what differs from run to run.
    pub(crate) fn shown(&self, fake: &FakeServer) -> String {
        let text = format!(
            "status {}\n--- stdout\n{}--- stderr\n{}",
            self.status, self.stdout, self.stderr
        );
        text.replace(&fake.address.port().to_string(), "PORT")
    }
}

impl From<Output> for Outcome {
    fn from(output: Output) -> Self {
        Self {
            status: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

pub(crate) fn mode(path: &Path) -> u32 {
    std::fs::symlink_metadata(path).unwrap().mode() & 0o777
}

/// What is there from before.
pub(crate) const BEFORE: &str = "kind: Config # from before\n";

/// A login answer for a session that lasts longer than these tests are run.
pub(crate) fn login() -> Value {
    json!({"username": "alice@example.com", "role": "view", "until": "2999-01-02T15:04:05Z"})
}

/// The token that no output may show.
pub(crate) const TOKEN: &str = "eyJhbGciOi-secret";

/// A cluster's authority, PEM in base64.
pub(crate) const CA: &str = include_str!("../../../tka-core/src/testdata/ca.b64");

/// A kubeconfig as this project's server sends it.
pub(crate) fn kubeconfig() -> Value {
    json!({
        "kind": "Config", "apiVersion": "v1",
        "clusters": {"tka-cluster": {"server": "https://k8s.example.com:6443", "certificate-authority-data": CA}},
        "users": {"tka-user-alice": {"token": TOKEN}},
        "contexts": {"tka-context-alice": {"cluster": "tka-cluster", "user": "tka-user-alice"}},
        "current-context": "tka-context-alice"
    })
}

/// The name of the session.
pub(crate) const SESSION: &str = "tka-alice-mfrggzdfmztwq2lknnwg23tpobyxe43u";

/// A credential that lasts for an hour from now.
pub(crate) fn credential() -> Value {
    let expires = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(1);
    json!({
        "apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential",
        "status": {"token": TOKEN, "expirationTimestamp": expires.to_string()}
    })
}

/// All that this project's server says of a sign-in.
pub(crate) fn signed_in() -> Value {
    let mut answer = login();
    answer["session"] = json!({"name": SESSION});
    answer["credential"] = credential();
    answer["kubeconfig"] = kubeconfig();
    answer
}

/// The requests of a sign-in that goes well.
pub(crate) fn signing_in() -> Vec<(&'static str, Answer)> {
    vec![
        ("POST /login", Answer::json(202, &login())),
        ("GET /kubeconfig", Answer::json(200, &kubeconfig())),
    ]
}
