//! A person at their device: a home folder, a node on the tailnet, `tka` and `kubectl`.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use tempfile::TempDir;
use testbed::{Node, Server, Testbed};

/// A person at their device.
#[derive(Debug)]
pub(crate) struct Person {
    name: String,
    home: PathBuf,
    bin: PathBuf,
    proxy: String,
    /// The socket of the tailscaled on her device.
    socket: PathBuf,
    server: String,
    /// Where her login session keeps what must not reach a disk.
    runtime: TempDir,
}

/// What a program said and how it ended.
#[derive(Debug)]
pub(crate) struct Said {
    line: String,
    /// Its exit status; none when a signal ended it.
    pub(crate) status: Option<i32>,
    /// Its standard output.
    pub(crate) out: String,
    /// Its standard error.
    pub(crate) err: String,
}

// === impl Person ===

impl Person {
    /// The person at `node`, who uses the testbed's server.
    pub(crate) fn at(testbed: &Testbed, node: &Node) -> Result<Self, Box<dyn std::error::Error>> {
        Self::of_url(testbed, node, testbed.server_url()?)
    }

    /// The person at `node`, who uses `server`.
    pub(crate) fn of_server(
        testbed: &Testbed,
        node: &Node,
        server: &Server,
    ) -> Result<Self, Box<dyn std::error::Error>> {
        Self::of_url(testbed, node, server.url())
    }

    fn of_url(testbed: &Testbed, node: &Node, server: String) -> Result<Self, Box<dyn std::error::Error>> {
        let home = testbed.dir().join("homes").join(node.hostname());
        fs::create_dir_all(&home)?;
        Ok(Self {
            name: node.hostname().to_owned(),
            home,
            bin: testbed.bin(),
            proxy: node.proxy(),
            socket: node.socket().to_owned(),
            server,
            runtime: tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir())?,
        })
    }

    /// Types `tka …`.
    pub(crate) fn tka(&self, args: &[&str]) -> io::Result<Said> {
        self.run(self.tka_command(args), "tka", args)
    }

    /// Types `tka …` where kubectl would use that kubeconfig.
    pub(crate) fn tka_with(&self, kubeconfig: &Path, args: &[&str]) -> io::Result<Said> {
        let mut command = self.tka_command(args);
        command.env("KUBECONFIG", kubeconfig);
        self.run(command, "tka", args)
    }

    /// Types `kubectl …` with a kubeconfig.
    pub(crate) fn kubectl(&self, kubeconfig: &Path, args: &[&str]) -> io::Result<Said> {
        let mut command = self.command("kubectl", args);
        // For the plugin; kubectl itself reaches the API server without it.
        command.env("KUBECONFIG", kubeconfig).env("HTTP_PROXY", &self.proxy);
        self.run(command, "kubectl", args)
    }

    /// The home folder.
    pub(crate) fn home(&self) -> &Path {
        &self.home
    }

    /// Begins `kubectl …`, of which the output is read while it runs.
    pub(crate) fn begin_kubectl(&self, kubeconfig: &Path, args: &[&str]) -> io::Result<Child> {
        self.begin(kubeconfig, args, Stdio::null())
    }

    /// The same of one that reads what is typed.
    pub(crate) fn begin_typing(&self, kubeconfig: &Path, args: &[&str]) -> io::Result<Child> {
        self.begin(kubeconfig, args, Stdio::piped())
    }

    fn begin(&self, kubeconfig: &Path, args: &[&str], stdin: Stdio) -> io::Result<Child> {
        let mut command = self.command("kubectl", args);
        command.env("KUBECONFIG", kubeconfig).env("HTTP_PROXY", &self.proxy);
        command
            .stdin(stdin)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
    }

    /// Signs in, and returns where the kubeconfig is.
    pub(crate) fn login(&self) -> Result<(PathBuf, Said), Box<dyn std::error::Error>> {
        let said = self.tka(&["login"])?.success()?;
        let path = said
            .out
            .trim()
            .strip_prefix("export KUBECONFIG=")
            .ok_or("login printed no export line")?;
        Ok((PathBuf::from(path.trim_matches('\'')), said))
    }

    /// A copy of a kubeconfig with a token in it, as a thief would have.
    pub(crate) fn steal(&self, kubeconfig: &Path) -> Result<PathBuf, Box<dyn std::error::Error>> {
        let copy = self.home.join("stolen.yaml");
        self.tka(&["kubeconfig", "--token", "--quiet"])?.success()?;
        fs::copy(kubeconfig, &copy)?;
        self.tka(&["kubeconfig", "--quiet"])?.success()?;
        Ok(copy)
    }

    fn tka_command(&self, args: &[&str]) -> Command {
        let mut command = self.command("tka", args);
        command.args(["--server", &self.server]).env("HTTP_PROXY", &self.proxy);
        command
    }

    fn command(&self, program: &str, args: &[&str]) -> Command {
        let mut command = Command::new(self.bin.join(program));
        command
            .args(args)
            .env_clear()
            .env("HOME", &self.home)
            .env("PATH", &self.bin)
            .env("XDG_RUNTIME_DIR", self.runtime.path())
            .env("TKA_TAILSCALE_SOCKET", &self.socket)
            .current_dir(&self.home);
        command
    }

    fn run(&self, mut command: Command, program: &str, args: &[&str]) -> io::Result<Said> {
        let output = command.stdin(Stdio::null()).output()?;
        Ok(Said {
            line: format!("{}$ {program} {}", self.name, args.join(" ")),
            status: output.status.code(),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }
}

// === impl Said ===

impl Said {
    /// Itself, unless the program failed.
    pub(crate) fn success(self) -> Result<Self, String> {
        if self.status == Some(0) {
            Ok(self)
        } else {
            Err(format!("it failed\n{}", self.shown()))
        }
    }

    /// Itself, if the program failed and said `why`.
    pub(crate) fn refused(self, why: &str) -> Result<Self, String> {
        match self.status {
            Some(0) => Err(format!("it was not refused\n{}", self.shown())),
            _ if self.err.contains(why) => Ok(self),
            _ => Err(format!("it failed, and not because of {why:?}\n{}", self.shown())),
        }
    }

    /// What was typed and what came of it, as on a terminal.
    pub(crate) fn shown(&self) -> String {
        format!("{}\n{}{}", self.line, self.err, self.out).trim_end().to_owned()
    }
}
