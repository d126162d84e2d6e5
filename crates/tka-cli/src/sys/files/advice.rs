//! Advice for files that cannot be written, by cause.

use std::io::{self, ErrorKind};
use std::path::Path;

use super::folder::is_ours;

/// Advice if `path`, a file or a folder, cannot be written because of `error`.
pub(crate) fn advice(path: &Path, error: &io::Error) -> String {
    let leads_nowhere = path.is_symlink() && !path.exists();
    let path = path.display();
    match error.kind() {
        // EPERM means an attribute (chattr(1)); EACCES would mean permissions.
        ErrorKind::PermissionDenied if is_not_permitted(error) => {
            format!("check its attributes: `lsattr -d {path}` shows i for immutable, a for append-only")
        }
        // Of a link its target counts.
        ErrorKind::PermissionDenied => format!("ask its owner for write permission: `ls -ldL {path}`"),
        ErrorKind::ReadOnlyFilesystem => format!("its file system is mounted read-only: `findmnt -T {path}`"),
        ErrorKind::StorageFull => format!("the disk is full: `df -h {path}`, or has too many files: `df -i {path}`"),
        ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
            format!("your quota or file size limit for {path} is used up: `quota`, `ulimit -f`")
        }
        ErrorKind::InvalidFilename => format!("give it a shorter name: {path} is too long"),
        // Or round and round.
        _ if leads_nowhere => {
            format!("restore the target of the link {path}, or remove it: `ls -l {path}`")
        }
        ErrorKind::NotFound => format!("{path} is gone: change to a folder that is there"),
        ErrorKind::IsADirectory => format!("move {path} away: a file must be there"),
        ErrorKind::NotADirectory => format!("replace {path} by a folder"),
        ErrorKind::ExecutableFileBusy | ErrorKind::ResourceBusy => format!("another program holds {path}: try again"),
        _ => format!("check {path}, its permissions and the disk's free space"),
    }
}

/// Advice if permission to read the file at `path` is missing.
pub(super) fn on_reading(path: &Path) -> String {
    let is_own = is_ours(path, None).unwrap_or(false);
    let path = path.display();
    if is_own {
        format!("make it readable: `chmod u+r {path}`")
    } else {
        format!("ask its owner for read permission: `ls -ldL {path}`")
    }
}

#[cfg(unix)]
fn is_not_permitted(error: &io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::PERM.raw_os_error())
}

#[cfg(not(unix))]
fn is_not_permitted(_: &io::Error) -> bool {
    false
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use super::*;
    use rustix::io::Errno;

    #[test]
    fn advice_fits_the_cause() {
        for (errno, word) in [
            (Errno::PERM, "lsattr"),
            (Errno::ACCESS, "ls -ld"),
            (Errno::ROFS, "findmnt"),
            (Errno::NOSPC, "df -h"),
            (Errno::NOSPC, "df -i"),
            (Errno::DQUOT, "quota"),
            (Errno::FBIG, "ulimit"),
            (Errno::IO, "free space"),
        ] {
            let text = advice(Path::new("/a"), &io::Error::from(errno));
            assert!(text.contains(word) && text.contains("/a"), "{errno}: {text}");
        }
    }
}
