//! `SHA256SUMS`: what `sha256sum --check` reads.

use testbed::oci::sha256;

use super::release::Files;

/// The name of the file.
pub(super) const NAME: &str = "SHA256SUMS";

/// Why files are not those that a list names.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// A line is none.
    #[error("SHA256SUMS has a line that is no checksum: {0}")]
    Line(String),
    /// A file is another than it was.
    #[error("{0} is not the file that SHA256SUMS names: copy the folder again")]
    Differs(String),
}

/// A line for each of `files`, in the order of their names.
pub(super) fn of(files: &Files) -> String {
    let line = |(name, content): (&String, &Vec<u8>)| format!("{}  {name}\n", sha256(content));
    files.iter().map(line).collect()
}

/// The checksums and the names in a list.
pub(super) fn read(list: &str) -> Result<Vec<(&str, &str)>, Error> {
    let line = |line| match str::split_once(line, "  ") {
        // A name with a folder would lead out of where it is read.
        Some((sum, name)) if sum.len() == 64 && !name.contains(['/', '\\']) => Ok((sum, name)),
        _ => Err(Error::Line(line.to_owned())),
    };
    list.lines().map(line).collect()
}

/// That `content` is what the list says of `name`.
pub(super) fn check(name: &str, sum: &str, content: &[u8]) -> Result<(), Error> {
    if sha256(content) == sum {
        Ok(())
    } else {
        Err(Error::Differs(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_has_its_line() {
        let files = Files::from([("b".to_owned(), b"two".to_vec()), ("a".to_owned(), b"one".to_vec())]);
        let list = of(&files);
        let lines = read(&list).unwrap();
        assert_eq!(lines.iter().map(|(_, name)| *name).collect::<Vec<_>>(), ["a", "b"]);
        for (sum, name) in lines {
            check(name, sum, &files[name]).unwrap();
            assert!(matches!(check(name, sum, b"other"), Err(Error::Differs(_))));
        }
    }

    #[test]
    fn what_is_no_list_is_refused() {
        for odd in ["<html>", "abc  name", &format!("{}  ../name", "0".repeat(64))] {
            assert!(read(odd).is_err(), "{odd}");
        }
    }
}
