//! The programs that the testbed runs: found where they are, or built once and kept.

mod build;
mod kubernetes;
mod pins;
mod version;

use std::{
    collections::BTreeMap,
    env,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use self::{
    kubernetes::modules,
    pins::{Module, Program},
    version::Version,
};
pub use self::{
    kubernetes::{KUBERNETES_VERSION, check_kubernetes_version},
    pins::Part,
};
use crate::{
    error::{Attempt, Error, Result},
    files,
    layout::Layout,
    progress::say,
};

/// Where each program is.
pub(crate) struct Programs(BTreeMap<&'static str, (Part, PathBuf)>);

/// The folder of what is built once on a machine: `TKA_TESTBED_CACHE`, or `tka/testbed` in the user's cache.
pub fn cache_dir() -> Result<PathBuf> {
    let set = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    set("TKA_TESTBED_CACHE")
        .or_else(|| set("XDG_CACHE_HOME").map(|cache| cache.join("tka/testbed")))
        .or_else(|| env::home_dir().map(|home| home.join(".cache/tka/testbed")))
        .ok_or_else(|| Error::Name("there is no folder for a cache: set HOME or TKA_TESTBED_CACHE".to_owned()))
}

/// One program that every testbed has, such as `helm`. It is built if it is nowhere, and no other is.
pub fn program(name: &str) -> Result<PathBuf> {
    let found = Programs::resolve_those(Part::Core, |program| program.name == name)?;
    let found = found.0.into_values().next();
    found
        .map(|(_, path)| path)
        .ok_or_else(|| Error::Name(format!("no testbed has a program {name}")))
}

/// A program that no testbed has, and that TKA is measured beside, such as `tailscale-proxy`. It is built if it is nowhere.
pub fn peer(name: &str) -> Result<PathBuf> {
    let found = Programs::resolve_those(Part::Peer, |program| program.part == Part::Peer && program.name == name)?;
    let found = found.0.into_values().next();
    found
        .map(|(_, path)| path)
        .ok_or_else(|| Error::Name(format!("there is no peer {name}")))
}

/// A program's place in the cache.
fn cached(cache: &Path, module: &Module, program: &Program) -> PathBuf {
    let (version, os, arch) = (module.version(), env::consts::OS, env::consts::ARCH);
    cache.join(format!("{}-{version}-{os}-{arch}", program.name))
}

// === impl Programs ===

impl Programs {
    /// Finds every program that a part needs, and builds those that are nowhere. What every testbed needs is among them.
    pub(crate) fn resolve(part: Part) -> Result<Self> {
        Self::resolve_those(part, |_| true)
    }

    fn resolve_those(part: Part, is_wanted: impl Fn(&Program) -> bool) -> Result<Self> {
        let cache = cache_dir()?;
        files::create_private_dir(&cache)?;
        let mut found = BTreeMap::new();
        let mut missing = Vec::new();
        let modules = modules(part)?;
        for module in &modules {
            let programs = module.programs_of(part).filter(|program| is_wanted(program));
            let (here, gone): (Vec<_>, Vec<_>) = programs
                .map(|program| (program, find(&cache, module, program)))
                .partition(|(_, path)| path.is_some());
            found.extend(
                here.into_iter()
                    .filter_map(|(program, path)| Some((program.name, (program.part, path?)))),
            );
            if !gone.is_empty() {
                missing.push((module, gone.into_iter().map(|(program, _)| program).collect::<Vec<_>>()));
            }
        }
        build::check_go(&missing.iter().map(|(module, _)| *module).collect::<Vec<_>>())?;
        for (module, programs) in missing {
            build::build(module, &programs, &cache)?;
            for program in programs {
                found.insert(program.name, (program.part, cached(&cache, module, program)));
            }
        }
        Ok(Self(found))
    }

    /// Links every program into the testbed's `bin`, or into the folder of the node's.
    pub(crate) fn link(&self, layout: &Layout) -> Result<()> {
        for folder in [layout.bin(), layout.node_bin()] {
            files::create_private_dir(&folder)?;
        }
        self.0.iter().try_for_each(|(name, (part, path))| match part {
            Part::Core => link(&layout.program(name), path),
            Part::Peer => Ok(()),
            Part::KubernetesNode => link(&layout.node_bin().join(name), path),
        })
    }
}

/// Links a program to its place in the testbed.
pub(crate) fn link(place: &Path, program: &Path) -> Result<()> {
    if place.read_link().is_ok_and(|target| target == program) {
        return Ok(());
    }
    files::remove(place)?;
    symlink(program, place).attempt(|| format!("cannot link {}", place.display()))
}

/// What `KUBEBUILDER_ASSETS` names comes first, since someone has set it; then what was built; then the PATH.
fn find(cache: &Path, module: &Module, program: &Program) -> Option<PathBuf> {
    let built = cached(cache, module, program);
    let assets = env::var_os("KUBEBUILDER_ASSETS").map(|assets| PathBuf::from(assets).join(program.name));
    let assets_version = assets.as_deref().and_then(|path| version(path, program));
    if assets_version.is_some_and(|version| version.fits(module.version())) {
        return assets;
    }
    if built.exists() {
        return Some(built);
    }
    let on_path = on_path(program.name);
    let path_version = on_path.as_deref().and_then(|path| version(path, program));
    if path_version.is_some_and(|version| version.fits(module.version())) {
        return on_path;
    }
    for (path, version) in [(assets, assets_version), (on_path, path_version)] {
        if let (Some(path), Some(version)) = (path, version) {
            say(&format!(
                "{} is {version}, and the testbed needs {}: not used",
                path.display(),
                module.version()
            ));
        }
    }
    None
}

/// A program on the PATH.
pub(crate) fn on_path(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path)
        .map(|dir| dir.join(name))
        .find(|candidate| candidate.is_absolute() && candidate.is_file())
}

/// A program's version, by its own word.
fn version(path: &Path, program: &Program) -> Option<Version> {
    if program.version_args.is_empty() {
        return None;
    }
    let output = Command::new(path)
        .args(program.version_args)
        .stdin(Stdio::null())
        .output()
        .ok()?;
    Version::find(&String::from_utf8_lossy(&output.stdout))
}
