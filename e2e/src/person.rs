//! A person at their device: a home folder, `tka` and `kubectl`.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use serde_json::{Value, json};
use tempfile::TempDir;
use testbed::Node;

use crate::secrets::Tokens;
use crate::{Outcome, World};

/// A person at their device.
#[derive(Debug)]
pub struct Person {
    home: PathBuf,
    bin: PathBuf,
    proxy: String,
    server: String,
    tokens: Arc<Tokens>,
    /// Where their login session keeps what must not reach a disk.
    runtime: TempDir,
}

/// What a program said and how it ended.
#[derive(Debug)]
pub struct Said {
    /// Its exit status; none when a signal ended it.
    pub status: Option<i32>,
    /// Its standard output.
    pub out: String,
    /// Its standard error.
    pub err: String,
}

// === impl Person ===

impl Person {
    /// The person at `node` who uses the server at `url`, with an empty home.
    pub fn at(world: &World, node: &Node, url: &str) -> Outcome<Self> {
        Ok(Self {
            home: world.new_folder(node.hostname())?,
            bin: world.testbed.bin(),
            proxy: node.proxy(),
            server: url.to_owned(),
            tokens: Arc::clone(&world.tokens),
            runtime: tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir())?,
        })
    }

    /// The home folder.
    #[must_use]
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// What is in the home folder, sorted, and not what is in its folders.
    pub fn files(&self) -> Outcome<Vec<OsString>> {
        let names = fs::read_dir(&self.home)?.map(|entry| Ok(entry?.file_name()));
        let mut names = names.collect::<Outcome<Vec<_>>>()?;
        names.sort();
        Ok(names)
    }

    /// Types `tka …`.
    pub fn tka(&self, args: &[&str]) -> Outcome<Said> {
        run(self.typed(args))
    }

    /// `tka …` as it is typed, not yet begun.
    #[must_use]
    pub fn typed(&self, args: &[&str]) -> Command {
        let mut command = self.command("tka", args);
        command
            .env("TKA_TAILSCALE_HOSTNAME", &self.server)
            .env("HTTP_PROXY", &self.proxy);
        command
    }

    /// Types `kubectl …` with a kubeconfig.
    pub fn kubectl(&self, kubeconfig: &Path, args: &[&str]) -> Outcome<Said> {
        run(self.kubectl_command(kubeconfig, args))
    }

    /// Writes a kubeconfig that a team could commit: the address of an API server, and no user.
    pub fn kubeconfig_of(&self, server: &str) -> Outcome<PathBuf> {
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "c",
            "clusters": [{"name": "c", "cluster": {"server": server}}],
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": ""}}],
        });
        let plain = server.rsplit("://").next().unwrap_or(server).replace(['/', ':'], "-");
        let file = self.home.join(format!("{plain}.json"));
        fs::write(&file, config.to_string())?;
        Ok(file)
    }

    /// What is run then.
    #[must_use]
    pub fn kubectl_command(&self, kubeconfig: &Path, args: &[&str]) -> Command {
        let mut command = self.command("kubectl", args);
        // For the plugin; kubectl itself reaches the API server without it.
        command.env("KUBECONFIG", kubeconfig).env("HTTP_PROXY", &self.proxy);
        command
    }

    /// bash that does what `script` says, with the settings that are in the home folder.
    #[must_use]
    pub fn bash(&self, script: &Path) -> Command {
        let mut command = Command::new("/bin/bash");
        let typed = self.command("tka", &[]);
        command
            .env_clear()
            .envs(typed.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let path = format!(
            "{}:{}/.local/bin:/usr/bin:/bin",
            self.bin.display(),
            self.home.display()
        );
        command
            .env("PATH", path)
            .env("HTTP_PROXY", &self.proxy)
            .current_dir(&self.home);
        command.args(["--noprofile", "--norc"]).arg(script);
        command
    }

    /// Signs in, and returns where the line that a shell evaluates says that the kubeconfig is.
    pub fn login(&self) -> Outcome<PathBuf> {
        let said = self.tka(&["login", "--quiet"])?.expect(0)?;
        let path = said.out.trim().strip_prefix("export KUBECONFIG=");
        let path = PathBuf::from(path.ok_or("login printed no export line")?.trim_matches('\''));
        self.remember(&path)?;
        Ok(path)
    }

    /// Remembers the tokens of a kubeconfig, or those that are kept for its plugin, as ones that no log may show.
    pub fn remember(&self, kubeconfig: &Path) -> Outcome {
        let mut count = self.tokens.add_kubeconfig(&fs::read_to_string(kubeconfig)?)?;
        for kept in self.kept()? {
            if let Some(token) = kept["credential"]["status"]["token"].as_str() {
                self.tokens.add(token)?;
                count += 1;
            }
        }
        if count == 0 {
            return Err("there is a token neither in the kubeconfig nor kept for it".into());
        }
        Ok(())
    }

    /// Where their login session keeps what must not reach a disk.
    #[must_use]
    pub fn runtime(&self) -> &Path {
        self.runtime.path()
    }

    /// What is kept for kubectl's plugin.
    pub fn kept(&self) -> Outcome<Vec<Value>> {
        let folder = self.runtime.path().join("tka");
        let mut kept = Vec::new();
        for entry in fs::read_dir(folder).into_iter().flatten() {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "json") {
                kept.push(serde_json::from_slice(&fs::read(path)?)?);
            }
        }
        Ok(kept)
    }

    fn command(&self, program: &str, args: &[&str]) -> Command {
        let mut command = Command::new(self.bin.join(program));
        command.args(args).env_clear().current_dir(&self.home);
        command.env("HOME", &self.home).env("PATH", &self.bin).env("TZ", "UTC");
        command.env("XDG_RUNTIME_DIR", self.runtime.path());
        command
    }
}

/// The permissions of a file or folder.
pub fn mode(path: &Path) -> Outcome<u32> {
    Ok(fs::symlink_metadata(path)?.permissions().mode() & 0o777)
}

fn run(mut command: Command) -> Outcome<Said> {
    let output = command.stdin(Stdio::null()).output()?;
    Ok(Said {
        status: output.status.code(),
        out: String::from_utf8(output.stdout)?,
        err: String::from_utf8(output.stderr)?,
    })
}

// === impl Said ===

impl Said {
    /// Itself, if the program ended with that status.
    pub fn expect(self, status: i32) -> Outcome<Self> {
        if self.status == Some(status) {
            return Ok(self);
        }
        Err(format!(
            "it ended with {:?} and not {status}:\n{}{}",
            self.status, self.err, self.out
        )
        .into())
    }
}
