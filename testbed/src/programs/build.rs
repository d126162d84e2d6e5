//! Building programs from their pinned modules.

use std::{
    env,
    fs::File,
    io,
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use super::{
    cached,
    pins::{Module, Program},
    version::Version,
};
use crate::{
    error::{Attempt, Error, Result},
    files::{self, Lock},
    progress::{say, seconds},
};

/// How often a long build says that it goes on.
const SIGN_OF_LIFE: Duration = Duration::from_secs(30);
/// Between two looks at whether the compiler has ended.
const LOOK: Duration = Duration::from_millis(100);

/// Sees that there is a Go that builds all these modules, before the first of them is built.
pub(crate) fn check_go(modules: &[&Module]) -> Result<()> {
    let Some(needed) = modules.iter().map(|module| module.go()).max() else {
        return Ok(());
    };
    let programs = modules.iter().map(|module| module.name).collect::<Vec<_>>().join(", ");
    let needed_text = needed.to_string();
    match go_version() {
        Ok(found) if Version::find(&found).is_some_and(|version| version >= needed) => Ok(()),
        Ok(found) => Err(Error::GoTooOld {
            needed: needed_text,
            found,
            programs,
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(Error::GoMissing {
            needed: needed_text,
            programs,
        }),
        Err(error) => Err(error).attempt(|| "cannot run `go env GOVERSION`".to_owned()),
    }
}

/// The version of the Go that would build: in a module's folder, where `go` may choose a newer toolchain by itself.
fn go_version() -> io::Result<String> {
    let in_module = Command::new("go")
        .args(["env", "GOVERSION"])
        .current_dir(go_dir("tailscale"))
        .output()?;
    let output = if in_module.status.success() {
        in_module
    } else {
        // It refuses the module; it will still say what it is elsewhere.
        Command::new("go")
            .args(["env", "GOVERSION"])
            .current_dir(env::temp_dir())
            .output()?
    };
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Builds programs of a module into the cache, unless another process has done so in the meantime.
pub(crate) fn build(module: &Module, programs: &[&Program], cache: &Path) -> Result<()> {
    let lock = cache.join(format!("{}.lock", module.name));
    let _lock = Lock::acquire(&lock)?;
    let missing: Vec<_> = programs
        .iter()
        .copied()
        .filter(|program| !cached(cache, module, program).exists())
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    say(&format!(
        "building {} {}; once on this machine, takes minutes",
        names(&missing),
        module.version()
    ));
    let start = Instant::now();
    let output = cache.join(format!("{}.tmp", module.name));
    files::remove(&output)?;
    files::create_private_dir(&output)?;
    let result = compile(module, &missing, cache, &output).and_then(|()| keep(module, &missing, cache, &output));
    files::remove(&output)?;
    result?;
    say(&format!("built {} in {}", names(&missing), seconds(start.elapsed())));
    Ok(())
}

fn compile(module: &Module, programs: &[&Program], cache: &Path, output: &Path) -> Result<()> {
    let log = cache.join(format!("{}.log", module.name));
    let file = File::create(&log).attempt(|| format!("cannot write {}", log.display()))?;
    let mut command = Command::new("go");
    command
        .args([
            "build",
            "-mod=readonly",
            "-buildvcs=false",
            "-trimpath",
            "-tags",
            module.tags,
            "-ldflags",
            &module.link_flags(),
            "-o",
        ])
        .arg(output.join("")) // ends in a slash: a folder
        .args(programs.iter().map(|program| program.package))
        .current_dir(go_dir(module.name))
        .env("CGO_ENABLED", if module.has_c { "1" } else { "0" })
        .env("GOWORK", "off")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(file);
    let status = watch(module, command)?;
    if status.success() {
        return Ok(());
    }
    let tail = files::tail(&log, 0);
    Err(Error::Build {
        programs: names(programs),
        status,
        log,
        tail,
    })
}

/// Waits for the compiler and says every now and then that it is still at work.
fn watch(module: &Module, mut command: Command) -> Result<ExitStatus> {
    let mut run = || {
        let start = Instant::now();
        let mut child = command.spawn()?;
        let mut said = 0;
        loop {
            if let Some(status) = child.try_wait()? {
                return Ok(status);
            }
            let signs = start.elapsed().as_secs() / SIGN_OF_LIFE.as_secs();
            if signs > said {
                said = signs;
                say(&format!(
                    "still building {} ({})",
                    module.name,
                    seconds(start.elapsed())
                ));
            }
            thread::sleep(LOOK);
        }
    };
    run().attempt(|| format!("cannot run `go build` for {}", module.name))
}

/// Moves what was built into its place in one step, so that half a program is never run.
fn keep(module: &Module, programs: &[&Program], cache: &Path, output: &Path) -> Result<()> {
    for program in programs {
        let place = cached(cache, module, program);
        std::fs::rename(output.join(program.built_name()), &place)
            .attempt(|| format!("cannot put {} into place", place.display()))?;
    }
    Ok(())
}

fn names(programs: &[&Program]) -> String {
    let names: Vec<_> = programs.iter().map(|program| program.name).collect();
    names.join(", ")
}

fn go_dir(module: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("go").join(module)
}
