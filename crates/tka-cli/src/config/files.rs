//! Selects the configuration files. [`super::table`] says which keys count.
//!
//! A file that a person names counts for every key, and so does the first one in the person's own folder or in the machine's. The
//! `config.yaml` of the working directory may come from others: a checkout brings it along, and kubectl runs the plugin in any folder.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::error::ConfigError;
use crate::config::flags::Global;
use crate::net::proxy::Variables;
use crate::sys::files::{FileError, regular};

/// Names the configuration file, as the flag `--config` does.
pub(crate) const VARIABLE: &str = "TKA_CONFIG";
/// The configuration file of the working directory.
pub(super) const CWD_FILE: &str = "./config.yaml";
/// The configuration file of the machine.
const MACHINE_FILE: &str = "/etc/tka/config.yaml";
/// The longest configuration file in bytes. Usual ones have some hundred.
const LONGEST: u64 = 1024 * 1024;

/// A configuration file and its content.
#[derive(Debug)]
pub(super) struct FoundFile {
    pub(super) path: PathBuf,
    pub(super) text: String,
}

/// The configuration files of one run.
#[derive(Debug, Default)]
pub(super) struct Files {
    /// The file that the user named, or that is in a folder of settings.
    pub(super) trusted: Option<FoundFile>,
    /// The file of the working directory, if no file is named and it is readable text.
    pub(super) cwd: Option<FoundFile>,
}

// === impl Files ===

impl Files {
    /// Reads the files. `home` is the home folder.
    ///
    /// # Errors
    ///
    /// A named file must exist. A file in a folder of settings need not, but is an error where it cannot be read. The machine's is passed over where
    /// permissions are missing: it may be the server's, and private.
    pub(super) fn find(flags: &Global, home: Option<&Path>, variables: Variables<'_>) -> Result<Self, ConfigError> {
        if let Some(path) = named(flags, variables)? {
            let trusted = read_named(&path).map_err(|source| unreadable(&path, source))?;
            let (trusted, cwd) = (Some(trusted), None);
            return Ok(Self { trusted, cwd });
        }
        Ok(Self {
            trusted: match of_user(home)? {
                None => of_machine()?,
                found => found,
            },
            cwd: read_regular(Path::new(CWD_FILE)).ok(),
        })
    }
}

/// The file that the user names. A relative path in a variable would mean another file in each folder.
pub(super) fn named(flags: &Global, variables: Variables<'_>) -> Result<Option<PathBuf>, ConfigError> {
    if let Some(path) = &flags.config {
        return Ok(Some(path.clone()));
    }
    let Some(path) = variables(VARIABLE).filter(|path| !path.is_empty()) else {
        return Ok(None);
    };
    let path = PathBuf::from(path);
    if path.is_absolute() {
        Ok(Some(path))
    } else {
        Err(ConfigError::Relative { name: VARIABLE, path })
    }
}

/// The path of the user's settings. None without a home folder.
pub(super) fn own(home: Option<&Path>) -> Option<PathBuf> {
    let home = home.filter(|home| home.is_absolute())?;
    Some(home.join(".config/tka/config.yaml"))
}

/// The user's settings. Without them a command would take another server, so what hides them is an error.
fn of_user(home: Option<&Path>) -> Result<Option<FoundFile>, ConfigError> {
    let Some((home, path)) = home.and_then(|home| Some((home, own(Some(home))?))) else {
        return Ok(None);
    };
    match read_regular(&path) {
        Ok(found) => Ok(Some(found)),
        Err(source) => match obstacle(home, &path) {
            Obstacle::None => Ok(None),
            Obstacle::Dangling(path) => {
                let target = fs::read_link(&path).unwrap_or_default();
                Err(FileError::Dangling { path, target }.into())
            }
            Obstacle::Other => Err(unreadable(&path, source)),
        },
    }
}

/// What stands in the way to a file.
enum Obstacle {
    /// Nothing: there is no such file.
    None,
    /// A link without a target, which may come back.
    Dangling(PathBuf),
    /// The file itself, or what hides whether there is one.
    Other,
}

/// The obstacle on the way to the file at `path` below `home`, which could not be read.
fn obstacle(home: &Path, path: &Path) -> Obstacle {
    for part in path.ancestors() {
        let found = match fs::symlink_metadata(part) {
            Ok(found) => found,
            Err(error) if is_absent(&error) => continue,
            Err(_) => return Obstacle::Other,
        };
        let behind = fs::metadata(part);
        if found.is_symlink() && behind.as_ref().is_err_and(is_absent) {
            return Obstacle::Dangling(part.to_owned());
        }
        // Services have /dev/null for a home.
        let has_none = part != path && (home.starts_with(part) || behind.is_ok_and(|behind| behind.is_dir()));
        return if has_none { Obstacle::None } else { Obstacle::Other };
    }
    Obstacle::None
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// The machine's settings. The server's may be in their place.
fn of_machine() -> Result<Option<FoundFile>, ConfigError> {
    use io::ErrorKind::{IsADirectory, PermissionDenied};
    let path = Path::new(MACHINE_FILE);
    match read_regular(path) {
        Ok(found) => Ok(Some(found)),
        Err(error) if is_absent(&error) || matches!(error.kind(), PermissionDenied | IsADirectory) => Ok(None),
        Err(source) => Err(unreadable(path, source)),
    }
}

fn unreadable(path: &Path, source: io::Error) -> ConfigError {
    let path = path.to_owned();
    match source.kind() {
        io::ErrorKind::InvalidData => ConfigError::NotText { path, source },
        _ => ConfigError::Unreadable { path, source },
    }
}

/// Reads a named file, which may be a pipe such as `<(…)`.
fn read_named(path: &Path) -> io::Result<FoundFile> {
    text_of(path, File::open(path)?)
}

/// Reads a regular file. It does not wait for a pipe, device or socket.
fn read_regular(path: &Path) -> io::Result<FoundFile> {
    text_of(path, regular::open(path)?)
}

fn text_of(path: &Path, file: File) -> io::Result<FoundFile> {
    let mut bytes = Vec::new();
    let read = file.take(LONGEST + 1).read_to_end(&mut bytes)?;
    if u64::try_from(read).is_ok_and(|read| read > LONGEST) {
        let why = "it is longer than a configuration file may be (1 MiB)";
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, why));
    }
    let text = tka_kubeconfig::utf8(&bytes)?;
    let (path, text) = (path.to_owned(), text.to_owned());
    Ok(FoundFile { path, text })
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    /// cases.md 5: what another program has under our name in a folder is not read, and is not waited for.
    #[test]
    fn only_regular_text_files_are_configuration() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("latin-1"), b"tailscale: {hostname: k\xfcche}\n").unwrap();
        let utf_16: Vec<u8> = "output:\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
        fs::write(at("utf-16"), [b"\xff\xfe", &utf_16[..]].concat()).unwrap();
        fs::write(at("binary"), b"\x7fELF\x02\x01\x01\x00\xff\xc0").unwrap();
        fs::create_dir(at("folder")).unwrap();
        symlink(at("loop"), at("loop")).unwrap();
        symlink(at("nothing"), at("dangling")).unwrap();
        fs::write(at("huge"), "#".repeat(2 * 1024 * 1024)).unwrap();
        crate::sys::test_requirements::make_fifo(&at("pipe"));
        symlink("/dev/zero", at("device")).unwrap();
        for name in [
            "latin-1", "utf-16", "binary", "folder", "loop", "dangling", "huge", "pipe", "device", "missing",
        ] {
            assert!(read_regular(&at(name)).is_err(), "{name}");
        }
        fs::write(at("ours"), "debug: true\n").unwrap();
        symlink(at("ours"), at("link")).unwrap();
        assert_eq!(read_regular(&at("link")).unwrap().text, "debug: true\n");
    }

    #[test]
    fn only_an_absolute_path_names_a_file_for_every_folder() {
        let named = |path: &str| named(&Global::default(), &|_| Some(path.to_owned()));
        assert!(matches!(named("config.yaml"), Err(ConfigError::Relative { .. })));
        assert_eq!(named("/srv/tka.yaml").unwrap(), Some("/srv/tka.yaml".into()));
        assert_eq!(named("").unwrap(), None);
        for home in [None, Some(Path::new(".")), Some(Path::new(""))] {
            assert_eq!(own(home), None, "{home:?}");
        }
        assert_eq!(
            own(Some(Path::new("/home/a"))).unwrap(),
            Path::new("/home/a/.config/tka/config.yaml")
        );
    }
}
