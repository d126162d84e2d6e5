//! Reading regular files. A pipe, a terminal or a device in the place of one would be waited for without end, or has no end.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::path::Path;

/// Opens a regular file, or a link to one. Does not wait for anything else.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true);
    #[cfg(unix)]
    {
        use rustix::fs::OFlags;
        let flags = (OFlags::NONBLOCK | OFlags::NOCTTY).bits();
        std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, flags.cast_signed());
    }
    // Opening a device can have effects.
    check(&fs::metadata(path)?)?;
    let file = options.open(path)?;
    check(&file.metadata()?)?;
    Ok(file)
}

/// The content of a regular file. The null device is read as an empty one: it is what some have for a kubeconfig without entries.
pub(crate) fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if is_null_device(path) {
        return Ok(bytes);
    }
    open(path)?.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The content of a regular file of `tka` itself, which is no link: what another file says must not get into it.
pub(crate) fn read_unlinked(path: &Path) -> io::Result<Vec<u8>> {
    if fs::symlink_metadata(path)?.is_symlink() {
        return Err(io::Error::new(io::ErrorKind::IsADirectory, "it is a link"));
    }
    read(path)
}

/// The content of a regular file, as text.
pub(crate) fn read_text(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    open(path)?.read_to_string(&mut text)?;
    Ok(text)
}

/// Whether it is the file that is always empty, under whatever name.
#[cfg(unix)]
fn is_null_device(path: &Path) -> bool {
    use std::os::unix::fs::{FileTypeExt, MetadataExt};
    let device = |path: &Path| {
        let found = fs::metadata(path).ok()?;
        found.file_type().is_char_device().then(|| found.rdev())
    };
    device(path).is_some_and(|found| device(Path::new("/dev/null")) == Some(found))
}

#[cfg(not(unix))]
fn is_null_device(_: &Path) -> bool {
    false
}

fn check(found: &fs::Metadata) -> io::Result<()> {
    if found.is_file() {
        Ok(())
    } else {
        Err(io::Error::new(io::ErrorKind::IsADirectory, "it is not a regular file"))
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use crate::sys::test_requirements::make_fifo;
    use std::os::unix::fs::symlink;

    /// cases.md 5: what is no regular file is not read, and is not waited for.
    #[test]
    fn only_regular_files_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir(at("folder")).unwrap();
        symlink(at("loop"), at("loop")).unwrap();
        symlink(at("nothing"), at("dangling")).unwrap();
        make_fifo(&at("pipe"));
        symlink(at("pipe"), at("pipe-link")).unwrap();
        symlink("/dev/zero", at("device")).unwrap();
        for name in ["folder", "loop", "dangling", "pipe", "pipe-link", "device", "missing"] {
            assert!(read(&at(name)).is_err(), "{name}");
        }
        fs::write(at("file"), "text").unwrap();
        symlink(at("file"), at("link")).unwrap();
        assert_eq!(read_text(&at("link")).unwrap(), "text");
        symlink("/dev/null", at("nothing-in-it")).unwrap();
        assert_eq!(read(&at("nothing-in-it")).unwrap(), b"");
    }
}
