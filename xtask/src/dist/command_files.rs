//! What comes with the command `tka`: completions for shells and manual pages, from the program itself.

use std::{
    fs, io,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Stdio},
};

use testbed::oci::Rootfs;

use crate::{Outcome, image::CLI};

/// Shells, and where the package managers' folders call for the file of each.
const SHELLS: [(&str, &str); 6] = [
    ("bash", "tka.bash"),
    ("elvish", "tka.elv"),
    ("fish", "tka.fish"),
    ("nushell", "tka.nu"),
    ("powershell", "tka.ps1"),
    ("zsh", "_tka"),
];

/// Why the program did not tell.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("`tka {arguments}` failed, so that the release would lack what it prints: {said}")]
    Failed { arguments: String, said: String },
    #[error("the completion for {0} would call tka by a path of this machine")]
    Path(&'static str),
}

/// Adds the completions and manual pages that `program` prints.
pub(super) fn add(files: &mut Rootfs, program: &[u8]) -> Outcome {
    let folder = tempfile::tempdir()?;
    let tka = folder.path().join(CLI.name);
    fs::write(&tka, program)?;
    fs::set_permissions(&tka, fs::Permissions::from_mode(0o755))?;
    for (shell, name) in SHELLS {
        let script = run(&tka, &["completion", shell])?;
        let script = by_name(&script, &tka).ok_or(Error::Path(shell))?;
        files.file(&format!("completions/{name}"), 0o644, script);
    }
    let pages = folder.path().join("man");
    run(&tka, &["generate", "man", "--dir", &pages.display().to_string()])?;
    for page in fs::read_dir(&pages)? {
        let page = page?;
        let name = page.file_name();
        files.file(
            &format!("man/man1/{}", name.to_string_lossy()),
            0o644,
            fs::read(page.path())?,
        );
    }
    Ok(())
}

/// The script with the name of the program instead of its path. None if the folder is still in it, as a shell may quote it.
fn by_name(script: &str, program: &Path) -> Option<String> {
    let script = script.replace(&program.display().to_string(), CLI.name);
    let folder = program.parent()?.display().to_string();
    (!script.contains(&folder)).then_some(script)
}

fn run(program: &Path, arguments: &[&str]) -> Outcome<String> {
    let output = started(program, arguments)?;
    if output.status.success() {
        return Ok(String::from_utf8(output.stdout)?);
    }
    let error = Error::Failed {
        arguments: arguments.join(" "),
        said: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
    };
    Err(error.into())
}

/// Runs it without anything of the caller's surroundings. A file that was just written cannot be run while another thread, which is about to start a
/// program, still has it open (`ETXTBSY`).
fn started(program: &Path, arguments: &[&str]) -> io::Result<std::process::Output> {
    let run = || {
        Command::new(program)
            .args(arguments)
            .env_clear()
            .stdin(Stdio::null())
            .output()
    };
    match run() {
        Err(error) if error.kind() == io::ErrorKind::ExecutableFileBusy => run(),
        output => output,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn program_is_called_by_its_name() {
        let program = Path::new("/tmp/x1/tka");
        assert_eq!(
            by_name("COMPLETE=bash \"/tmp/x1/tka\" -- x", program).as_deref(),
            Some("COMPLETE=bash \"tka\" -- x")
        );
        assert_eq!(by_name("/tmp/x1/other", program), None);
    }

    #[test]
    fn program_that_fails_is_said() {
        let failing = add(&mut Rootfs::default(), b"#!/bin/sh\necho no >&2\nexit 1\n").unwrap_err();
        assert!(
            failing.to_string().contains("`tka completion bash` failed"),
            "{failing}"
        );
        assert!(failing.to_string().ends_with(": no"), "{failing}");
    }

    #[test]
    fn every_completion_and_page_is_added() {
        let program = b"#!/bin/sh\ncase $1 in completion) echo \"$2 $0\";; *) mkdir $4; echo page >$4/tka.1;; esac\n";
        let mut files = Rootfs::default();
        // `mkdir` is found without a PATH, by the shell's own default.
        add(&mut files, program).unwrap();
        let mut expected = Rootfs::default();
        for (shell, name) in SHELLS {
            expected.file(&format!("completions/{name}"), 0o644, format!("{shell} tka\n"));
        }
        expected.file("man/man1/tka.1", 0o644, "page\n");
        assert_eq!(files, expected);
    }
}
