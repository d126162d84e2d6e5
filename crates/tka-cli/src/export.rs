//! The line that a shell evaluates to use a kubeconfig.

use std::path::Path;

use crate::proxy::Variables;

/// Languages in which the line can be written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Shell {
    /// sh, bash, zsh, ksh, and fish, whose `export` takes the same form.
    Posix,
    PowerShell,
}

// === impl Shell ===

impl Shell {
    /// The shell that will evaluate the line, from the user's environment.
    ///
    /// `SHELL` names the login shell; PowerShell does not set it but leaves `POWERSHELL_DISTRIBUTION_CHANNEL`. On Windows, `SHELL` is
    /// there only inside a POSIX shell.
    pub(crate) fn detect(variables: Variables<'_>, on_windows: bool) -> Self {
        let is_set = |name: &str| variables(name).is_some_and(|value| !value.is_empty());
        let shell = variables("SHELL").unwrap_or_default().to_ascii_lowercase();
        let name = shell
            .rsplit(['/', '\\'])
            .next()
            .unwrap_or_default()
            .trim_end_matches(".exe");
        match name {
            "pwsh" | "powershell" => Self::PowerShell,
            "" if on_windows || is_set("POWERSHELL_DISTRIBUTION_CHANNEL") => Self::PowerShell,
            _ => Self::Posix,
        }
    }

    /// The line, without its end.
    pub(crate) fn export(self, kubeconfig: &Path) -> String {
        let path = kubeconfig.to_string_lossy();
        match self {
            Self::Posix => format!("export KUBECONFIG={}", quote(&path)),
            Self::PowerShell => format!("$env:KUBECONFIG = '{}'", path.replace('\'', "''")),
        }
    }
}

/// Quotes for POSIX shells and fish alike.
///
/// fish reads `\'` and `\\` inside single quotes as escapes and POSIX shells do not: with both outside of the quotes, all agree.
fn quote(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:@%,".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return text.to_owned();
    }
    let mut quoted = String::from("'");
    for c in text.chars() {
        match c {
            '\'' | '\\' => quoted.extend(['\'', '\\', c, '\'']),
            _ => quoted.push(c),
        }
    }
    quoted + "'"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shells_are_told_by_the_environment() {
        let channel = ("POWERSHELL_DISTRIBUTION_CHANNEL", "PSDocker");
        for (variables, on_windows, expected) in [
            (vec![], false, Shell::Posix),
            (vec![("SHELL", "/bin/zsh")], false, Shell::Posix),
            (vec![("SHELL", "/usr/bin/fish")], false, Shell::Posix),
            (vec![("SHELL", "/usr/bin/pwsh")], false, Shell::PowerShell),
            (vec![channel], false, Shell::PowerShell),
            (vec![channel, ("SHELL", "/bin/bash")], false, Shell::Posix),
            (vec![], true, Shell::PowerShell),
            (
                vec![("SHELL", r"C:\Program Files\Git\bin\bash.exe")],
                true,
                Shell::Posix,
            ),
        ] {
            let lookup = |name: &str| {
                variables
                    .iter()
                    .find(|(key, _)| *key == name)
                    .map(|(_, v)| (*v).to_owned())
            };
            assert_eq!(
                Shell::detect(&lookup, on_windows),
                expected,
                "{variables:?} {on_windows}"
            );
        }
    }

    #[test]
    fn lines_by_value() {
        let posix = |path: &str| Shell::Posix.export(Path::new(path));
        assert_eq!(
            posix("/home/a/.kube/tka/tka_443.yaml"),
            "export KUBECONFIG=/home/a/.kube/tka/tka_443.yaml"
        );
        assert_eq!(posix("/home/a b/x"), "export KUBECONFIG='/home/a b/x'");
        assert_eq!(posix("/o'n/$(id)`id`\"x"), r#"export KUBECONFIG='/o'\''n/$(id)`id`"x'"#);
        assert_eq!(posix(r"/a\b"), r"export KUBECONFIG='/a'\\'b'");
        assert_eq!(
            Shell::PowerShell.export(Path::new(r"C:\o'n")),
            r"$env:KUBECONFIG = 'C:\o''n'"
        );
    }

    #[cfg(unix)]
    #[test]
    fn a_real_shell_reads_the_path_back() {
        for path in [
            "/plain",
            "/with space",
            "/o'n\\ \\' $(echo no) `echo no` \"q\" *;&|<>\n~!",
            "/täst",
        ] {
            let script = format!("{}; printf %s \"$KUBECONFIG\"", Shell::Posix.export(Path::new(path)));
            let output = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
            assert_eq!(String::from_utf8(output.stdout).unwrap(), path);
        }
    }
}
