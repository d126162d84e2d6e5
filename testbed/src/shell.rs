//! Words of a POSIX shell.

use std::ffi::OsStr;

/// A value as one word of a POSIX shell: as it is if it can be, so that simpler readers understand it too.
pub(crate) fn quote(value: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_./:@%+=,".contains(&b);
    if !value.is_empty() && value.bytes().all(plain) {
        return value.to_owned();
    }
    format!("'{}'", value.replace('\'', r"'\''"))
}

/// A path as one word of a POSIX shell.
#[must_use]
pub fn quote_path(path: impl AsRef<OsStr>) -> String {
    quote(&path.as_ref().to_string_lossy())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_reads_back_what_was_quoted() {
        for value in [
            "",
            "plain",
            "a b",
            "it's",
            "$HOME `id` \"x\" \\",
            "new\nline",
            "ü",
            "~",
            "#no",
            "a;b&c|d",
        ] {
            let script = format!("export X={}; printf %s \"$X\"", quote(value));
            let output = std::process::Command::new("/bin/sh")
                .args(["-c", &script])
                .output()
                .unwrap();
            assert_eq!(String::from_utf8(output.stdout).unwrap(), value);
        }
    }
}
