//! The identities with which sealed recordings are opened: files as `age-keygen` writes them (<https://age-encryption.org/v1>).

use std::cell::OnceCell;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use age::secrecy::{ExposeSecret, SecretString};
use age::x25519::Identity;

/// The longest file that is read, in bytes.
const LONGEST: u64 = 1024 * 1024;
/// With what a file begins that age has sealed, with a passphrase for example.
const SEALED: [&str; 2] = ["-----BEGIN AGE ENCRYPTED FILE-----", "age-encryption.org/"];

/// Whose recordings can be opened.
#[derive(Clone, Default)]
pub(crate) struct Identities(Vec<Identity>);

/// Files with identities, which are read once: each may be a pipe. They are read where something is sealed.
#[derive(Debug, Default)]
pub(crate) struct IdentityFiles {
    paths: Vec<PathBuf>,
    read: OnceCell<Identities>,
}

/// Why a file gives no identity. None of its content is told: it may be a secret.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IdentityError {
    #[error("the identity file {} cannot be read", path.display())]
    Unread { path: PathBuf, source: io::Error },
    #[error("the identity file {} is itself sealed", .0.display())]
    Sealed(PathBuf),
    #[error("the file {} holds no identity of age", .0.display())]
    None(PathBuf),
}

// === impl IdentityFiles ===

impl IdentityFiles {
    pub(crate) fn new(paths: Vec<PathBuf>) -> Self {
        Self {
            paths,
            read: OnceCell::new(),
        }
    }

    /// Whether there is no file.
    pub(crate) fn is_empty(&self) -> bool {
        self.paths.is_empty()
    }

    /// What is in the files.
    pub(crate) fn get(&self) -> Result<&Identities, IdentityError> {
        if let Some(identities) = self.read.get() {
            return Ok(identities);
        }
        let identities = Identities::read(&self.paths)?;
        Ok(self.read.get_or_init(|| identities))
    }
}

// === impl Identities ===

impl Identities {
    /// Reads the files.
    fn read(paths: &[PathBuf]) -> Result<Self, IdentityError> {
        let mut all = Vec::new();
        for path in paths {
            let unread = |source| IdentityError::Unread {
                path: path.clone(),
                source,
            };
            let text = text_of(path).map_err(unread)?;
            all.extend(parse(text.expose_secret(), path)?);
        }
        Ok(Self(all))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &dyn age::Identity> {
        self.0.iter().map(|identity| identity as &dyn age::Identity)
    }

    #[cfg(test)]
    pub(super) fn of(identity: &Identity) -> Self {
        Self(vec![identity.clone()])
    }
}

impl std::fmt::Debug for Identities {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} identities", self.0.len())
    }
}

// === impl IdentityError ===

impl IdentityError {
    /// What to do.
    pub(crate) fn advice(&self) -> Vec<String> {
        match self {
            Self::Unread { .. } => vec!["name a file that you may read with --identity".into()],
            Self::Sealed(path) => vec![format!(
                "open it for this command alone, in bash or zsh: --identity <(age --decrypt '{}')",
                path.display()
            )],
            Self::None(_) => {
                vec!["name a file that age-keygen wrote: it has a line that begins with AGE-SECRET-KEY-1".into()]
            }
        }
    }
}

/// The text of a file. It may be a pipe, in which another program writes what it has opened. Of what is no text the beginning is enough.
fn text_of(path: &Path) -> io::Result<SecretString> {
    let mut bytes = Vec::new();
    File::open(path)?.take(LONGEST).read_to_end(&mut bytes)?;
    let text = String::from_utf8(bytes).unwrap_or_else(|error| {
        let start = &error.as_bytes()[..error.as_bytes().len().min(64)];
        String::from_utf8_lossy(start).into_owned()
    });
    Ok(text.into())
}

/// An identity a line; empty lines and those that begin with `#` are none.
fn parse(text: &str, path: &Path) -> Result<Vec<Identity>, IdentityError> {
    if SEALED.iter().any(|start| text.trim_start().starts_with(start)) {
        return Err(IdentityError::Sealed(path.to_owned()));
    }
    let lines = text.lines().map(str::trim);
    let lines = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
    let identities: Result<Vec<Identity>, _> = lines.map(str::parse).collect();
    let identities = identities.ok().filter(|identities| !identities.is_empty());
    identities.ok_or_else(|| IdentityError::None(path.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(content: &[u8]) -> Result<usize, IdentityError> {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("key");
        std::fs::write(&path, content).unwrap();
        Identities::read(&[path]).map(|identities| identities.0.len())
    }

    #[test]
    fn files_of_age_keygen_are_read() {
        let secret = |identity: &Identity| identity.to_string().expose_secret().to_owned();
        let (one, two) = (Identity::generate(), Identity::generate());
        let file = format!(
            "# created: now\r\n# public key: {}\r\n{}\r\n\n{}\n",
            one.to_public(),
            secret(&one),
            secret(&two)
        );
        assert_eq!(read(file.as_bytes()).unwrap(), 2);
        // A damaged line must not be passed over: it may be the one that is meant.
        let damaged = read(format!("{}\n{}\n", secret(&one), &secret(&two)[..40]).as_bytes()).unwrap_err();
        assert!(matches!(damaged, IdentityError::None(_)) && !damaged.to_string().contains("SECRET"));
    }

    #[test]
    fn other_files_are_told_apart() {
        for none in [
            "",
            "# nothing\n",
            "-----BEGIN OPENSSH PRIVATE KEY-----\n",
            "age1qyqszqgpqyqszqgpqyqszqgpqyqszqgpqyqszqgpqyqszqgpqyqs3290gq\n",
        ] {
            assert!(matches!(read(none.as_bytes()), Err(IdentityError::None(_))), "{none}");
        }
        assert!(matches!(read(b"\xff\xfe"), Err(IdentityError::None(_))));
        for sealed in [
            &b"age-encryption.org/v1\n-> scrypt \xff"[..],
            b"\n-----BEGIN AGE ENCRYPTED FILE-----\nYWdl\n",
        ] {
            let error = read(sealed).unwrap_err();
            assert!(error.advice()[0].contains("age --decrypt"), "{error:?}");
        }
        let gone = Identities::read(&["/nonexistent/key".into()]).unwrap_err();
        assert!(matches!(gone, IdentityError::Unread { .. }));
        assert_eq!(format!("{:?}", Identities::of(&Identity::generate())), "1 identities");
    }
}
