//! The programs in images, linked with all that they need. One commit, one toolchain and one libc give the same bytes wherever they are built.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use testbed::oci;

use crate::{Outcome, root};

/// A program, and the profile that it is built with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Program {
    pub(crate) package: &'static str,
    pub(crate) name: &'static str,
    pub(crate) profile: &'static str,
}

/// Why a program cannot be built for an image.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// Images are for Linux.
    #[error(
        "images hold programs for Linux, and this toolchain builds for {0}: build them on Linux, or with the Dockerfile"
    )]
    NoImages(String),
    /// Neither images nor archives are made for it.
    #[error("this toolchain builds for {0}; releases are for Linux and macOS, on amd64 and arm64")]
    Host(String),
    /// Cargo said why.
    #[error("{0} does not build; cargo said why above")]
    Build(&'static str),
    /// It would look for libraries that no image has.
    #[error("{0} is not statically linked: its image would lack the loader {1}")]
    Dynamic(&'static str, String),
}

/// What this machine builds for. System and architecture have Go's names, as images, krew and release archives use them.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Target {
    pub(crate) triple: String,
    pub(crate) system: &'static str,
    pub(crate) architecture: &'static str,
}

// === impl Target ===

impl Target {
    /// That of the toolchain.
    pub(crate) fn of_toolchain() -> Outcome<Self> {
        let output = Command::new("rustc").arg("-vV").stdin(Stdio::null()).output()?;
        let text = String::from_utf8_lossy(&output.stdout);
        let host = text
            .lines()
            .find_map(|line| line.strip_prefix("host: "))
            .unwrap_or_default();
        Self::of(host).ok_or_else(|| Error::Host(host.to_owned()).into())
    }

    fn of(triple: &str) -> Option<Self> {
        let (architecture, system) = triple.split_once('-')?;
        Some(Self {
            triple: triple.to_owned(),
            system: match system {
                _ if system.contains("-linux-") => "linux",
                "apple-darwin" => "darwin",
                _ => return None,
            },
            architecture: oci::architecture(architecture)?,
        })
    }

    /// Whether images hold its programs.
    pub(crate) fn has_images(&self) -> bool {
        self.system == "linux"
    }
}

// === impl Program ===

impl Program {
    /// Builds it, with `profile` if that is not to be its own, and returns its bytes.
    pub(crate) fn build(self, target: &Target, profile: Option<&str>) -> Outcome<Vec<u8>> {
        let folder = root().join("target/image");
        let profile = profile.unwrap_or(self.profile);
        let mut cargo = testbed::cargo();
        cargo
            .args(["build", "--locked", "--package", self.package, "--profile", profile])
            .args(["--target", &target.triple])
            .env("CARGO_TARGET_DIR", &folder)
            .env("RUSTFLAGS", flags(target, &root(), &cargo_home()))
            .env("CFLAGS", prefix_map(&root(), &cargo_home()))
            .stdin(Stdio::null());
        if !cargo.status()?.success() {
            return Err(Error::Build(self.name).into());
        }
        let built = folder.join(&target.triple).join(profile).join(self.name);
        let program =
            fs::read(&built).map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", built.display())))?;
        match oci::interpreter(&program) {
            Some(loader) => Err(Error::Dynamic(self.name, loader).into()),
            None => Ok(program),
        }
    }
}

/// Where cargo keeps the sources of dependencies.
fn cargo_home() -> PathBuf {
    let set = env::var_os("CARGO_HOME").map(PathBuf::from);
    set.or_else(|| Some(env::home_dir()?.join(".cargo")))
        .unwrap_or_default()
}

/// The paths of this machine must not get into the program: they would make another one of it elsewhere.
fn flags(target: &Target, root: &Path, cargo_home: &Path) -> String {
    let paths = format!(
        "--remap-path-prefix={}=/tka --remap-path-prefix={}=/cargo",
        root.display(),
        cargo_home.display()
    );
    if target.has_images() {
        format!("-Ctarget-feature=+crt-static {paths}")
    } else {
        paths
    }
}

fn prefix_map(root: &Path, cargo_home: &Path) -> String {
    format!(
        "-ffile-prefix-map={}=/tka -ffile-prefix-map={}=/cargo",
        root.display(),
        cargo_home.display()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_linux_and_macos_are_built_for() {
        let names = |triple: &str| Target::of(triple).map(|target| (target.system, target.architecture));
        assert_eq!(names("x86_64-unknown-linux-gnu"), Some(("linux", "amd64")));
        assert_eq!(names("aarch64-unknown-linux-musl"), Some(("linux", "arm64")));
        assert_eq!(names("aarch64-apple-darwin"), Some(("darwin", "arm64")));
        for triple in ["x86_64-pc-windows-msvc", "riscv64gc-unknown-linux-gnu", ""] {
            assert_eq!(names(triple), None, "{triple}");
        }
        assert!(!Target::of("x86_64-apple-darwin").unwrap().has_images());
    }
}
