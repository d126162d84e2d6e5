//! Running a program to its end and keeping what it said.

use std::{
    ffi::OsStr,
    io::Write,
    path::Path,
    process::{Command, ExitStatus, Stdio},
};

use crate::{
    daemon::clean_environment,
    error::{Attempt, Error, Result},
};

/// What a program said and how it ended.
#[derive(Debug, Clone)]
pub struct Output {
    /// How it ended.
    pub status: ExitStatus,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
    /// The command line, for errors.
    pub command: String,
}

impl Output {
    /// Its standard output, if it succeeded.
    pub fn success(self) -> Result<String> {
        if self.status.success() {
            return Ok(self.stdout);
        }
        let said = if self.stderr.trim().is_empty() {
            self.stdout
        } else {
            self.stderr
        };
        Err(Error::Command {
            command: self.command,
            status: self.status,
            stderr: said.trim().to_owned(),
        })
    }
}

/// A program that is run to its end, in an environment that leads nowhere but to the testbed.
pub(crate) struct Run(Command);

impl Run {
    pub(crate) fn new(program: &Path) -> Self {
        let mut command = Command::new(program);
        clean_environment(&mut command);
        Self(command)
    }

    pub(crate) fn args(mut self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        self.0.args(args);
        self
    }

    pub(crate) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.0.env(name, value);
        self
    }

    /// Runs it without input.
    pub(crate) fn output(self) -> Result<Output> {
        self.output_with("")
    }

    /// Runs it and gives it something to read.
    pub(crate) fn output_with(mut self, input: &str) -> Result<Output> {
        let command = self.line();
        let mut run = || {
            let command = self
                .0
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped());
            let mut child = command.spawn()?;
            if let Some(mut stdin) = child.stdin.take() {
                // A program that ends without reading is no error of ours; its own words say more.
                let _ = stdin.write_all(input.as_bytes());
            }
            child.wait_with_output()
        };
        let output = run().attempt(|| format!("cannot run `{command}`"))?;
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Ok(Output {
            status: output.status,
            stdout: text(output.stdout),
            stderr: text(output.stderr),
            command,
        })
    }

    fn line(&self) -> String {
        let name = Path::new(self.0.get_program())
            .file_name()
            .unwrap_or(self.0.get_program());
        let words = std::iter::once(name).chain(self.0.get_args());
        words
            .map(|word| hide_secret(&word.to_string_lossy()))
            .collect::<Vec<_>>()
            .join(" ")
    }
}

/// A command line ends up in errors and so in logs: whatever is secret in it must not.
fn hide_secret(word: &str) -> String {
    match word.split_once('=') {
        Some((flag @ ("--auth-key" | "--authkey" | "--token"), _)) => format!("{flag}=…"),
        _ => word.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_carries_the_command_and_what_it_said_but_no_secret() {
        let script = "echo out; echo why >&2; exit 3";
        let output = Run::new(Path::new("/bin/sh"))
            .args(["-c", script, "--authkey=hskey-1"])
            .output()
            .unwrap();
        assert_eq!(output.stdout, "out\n");
        let error = output.success().unwrap_err().to_string();
        assert!(
            error.contains("sh -c") && error.contains("exit status: 3") && error.ends_with("why"),
            "{error}"
        );
        assert!(!error.contains("hskey"), "{error}");
    }

    #[test]
    fn input_reaches_the_program() {
        let output = Run::new(Path::new("/bin/cat")).output_with("hello").unwrap();
        assert_eq!(output.success().unwrap(), "hello");
    }
}
