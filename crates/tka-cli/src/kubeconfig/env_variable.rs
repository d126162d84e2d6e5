//! The variable `KUBECONFIG`, and the line that sets it in a shell.

use std::path::{Path, PathBuf};

use serde_json::json;

use crate::net::proxy::Variables;

/// The syntax of the line.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum ShellSyntax {
    /// sh, bash, zsh, ksh, and fish, whose `export` takes the same form.
    Posix,
    Fish,
    Powershell,
    Nushell,
    /// Nushell in a file. It reads data only, as its commands are fixed at start.
    Json,
}

/// Existing paths that `KUBECONFIG` cannot hold.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UnexportablePath {
    #[error("{} contains the character that separates paths in KUBECONFIG", path.display())]
    Separator { path: PathBuf },
    #[error("{} is not Unicode", path.display())]
    NotUnicode { path: PathBuf },
}

/// The paths in `KUBECONFIG`, as this process has it. Some may be empty, as the only one is where it is not set.
pub(crate) fn paths() -> Vec<PathBuf> {
    let list = std::env::var_os("KUBECONFIG").unwrap_or_default();
    std::env::split_paths(&list).collect()
}

/// The value of `KUBECONFIG` for the files at `paths`.
pub(crate) fn join(paths: impl IntoIterator<Item = impl AsRef<Path>>) -> Result<String, UnexportablePath> {
    let paths: Vec<_> = paths.into_iter().collect();
    for path in &paths {
        let path = path.as_ref();
        let owned = || path.to_owned();
        if path.to_str().is_none() {
            return Err(UnexportablePath::NotUnicode { path: owned() });
        }
        if std::env::join_paths([path]).is_err() {
            return Err(UnexportablePath::Separator { path: owned() });
        }
    }
    let joined = std::env::join_paths(paths.iter().map(AsRef::as_ref)).ok();
    // Each path can be joined, so all can.
    Ok(joined.and_then(|list| list.into_string().ok()).unwrap_or_default())
}

// === impl ShellSyntax ===

impl ShellSyntax {
    /// The shell that evaluates the line, by the environment.
    ///
    /// `SHELL` names the login shell. PowerShell sets `POWERSHELL_DISTRIBUTION_CHANNEL` instead. On Windows only POSIX shells set `SHELL`.
    pub(crate) fn detect(variables: Variables<'_>, on_windows: bool) -> Self {
        let is_set = |name: &str| variables(name).is_some_and(|value| !value.is_empty());
        let shell = variables("SHELL").unwrap_or_default().to_ascii_lowercase();
        let name = shell.rsplit(['/', '\\']).next().unwrap_or_default();
        match name.trim_end_matches(".exe") {
            "pwsh" | "powershell" => Self::Powershell,
            "nu" => Self::Nushell,
            "" if on_windows || is_set("POWERSHELL_DISTRIBUTION_CHANNEL") => Self::Powershell,
            _ => Self::Posix,
        }
    }

    /// The syntax of a file, by its extension.
    pub(crate) fn of_file(file: &Path) -> Self {
        match file.extension().and_then(|extension| extension.to_str()) {
            Some("fish") => Self::Fish,
            Some("ps1") => Self::Powershell,
            Some("json") => Self::Json,
            _ => Self::Posix,
        }
    }

    /// The line that sets `KUBECONFIG`, without its line end.
    pub(crate) fn export(self, list: &str) -> String {
        match self {
            Self::Posix => format!("export KUBECONFIG={}", quote(list)),
            Self::Fish => format!("set --global --export KUBECONFIG {}", quote(list)),
            Self::Powershell => format!("$env:KUBECONFIG = '{}'", quote_for_powershell(list)),
            // Quoted texts in Nushell have the escapes of JSON.
            Self::Nushell => format!("$env.KUBECONFIG = {}", json!(list)),
            Self::Json => json!({"KUBECONFIG": list}).to_string(),
        }
    }

    /// A line that fails, so that a script with `set -e` stops. Without its line end.
    pub(crate) fn fail(self) -> String {
        match self {
            Self::Posix | Self::Fish => "false".to_owned(),
            Self::Powershell => "throw 'tka failed'".to_owned(),
            Self::Nushell | Self::Json => r#"error make {msg: "tka failed"}"#.to_owned(),
        }
    }

    /// The line that unsets `KUBECONFIG`, without its line end.
    pub(crate) fn unset(self) -> String {
        match self {
            Self::Posix => "unset KUBECONFIG".to_owned(),
            Self::Fish => "set --erase KUBECONFIG".to_owned(),
            Self::Powershell => "Remove-Item Env:KUBECONFIG -ErrorAction SilentlyContinue".to_owned(),
            Self::Nushell => "hide-env KUBECONFIG".to_owned(),
            Self::Json => json!({"KUBECONFIG": null}).to_string(),
        }
    }
}

/// Inside single quotes `PowerShell` knows one escape: a quote is doubled. It takes those of word processors for quotes, too (`about_Quoting_Rules`).
fn quote_for_powershell(text: &str) -> String {
    let is_quote = |c| matches!(c, '\'' | '\u{2018}'..='\u{201b}');
    let doubled = text
        .chars()
        .flat_map(|c| std::iter::repeat_n(c, if is_quote(c) { 2 } else { 1 }));
    doubled.collect()
}

/// Quotes for POSIX shells and fish alike.
///
/// Inside single quotes fish reads `\'` and `\\` as escapes, and POSIX shells do not. Outside of them all shells agree.
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
    use crate::net::proxy;

    #[test]
    fn shells_are_told_by_the_environment() {
        let channel = ("POWERSHELL_DISTRIBUTION_CHANNEL", "PSDocker");
        let git_bash = ("SHELL", r"C:\Program Files\Git\bin\bash.exe");
        for (variables, on_windows, expected) in [
            (vec![], false, ShellSyntax::Posix),
            (vec![("SHELL", "/bin/zsh")], false, ShellSyntax::Posix),
            (vec![("SHELL", "/usr/bin/fish")], false, ShellSyntax::Posix),
            (vec![("SHELL", "/usr/bin/pwsh")], false, ShellSyntax::Powershell),
            (vec![("SHELL", "/usr/bin/nu")], false, ShellSyntax::Nushell),
            (vec![channel], false, ShellSyntax::Powershell),
            (vec![channel, ("SHELL", "/bin/bash")], false, ShellSyntax::Posix),
            (vec![], true, ShellSyntax::Powershell),
            (vec![git_bash], true, ShellSyntax::Posix),
        ] {
            let found = ShellSyntax::detect(&proxy::tests::variables(&variables), on_windows);
            assert_eq!(found, expected, "{variables:?} {on_windows}");
        }
    }

    #[test]
    fn lines_by_value() {
        use ShellSyntax::{Fish, Json, Nushell, Posix, Powershell};
        let plain = "/home/a/.kube/tka/tka_443.yaml";
        assert_eq!(Posix.export(plain), format!("export KUBECONFIG={plain}"));
        for (shell, path, expected) in [
            (Posix, "/home/a b/x", "export KUBECONFIG='/home/a b/x'"),
            (Posix, "/o'n/$(id)`id`\"x", r#"export KUBECONFIG='/o'\''n/$(id)`id`"x'"#),
            (Posix, r"/a\b", r"export KUBECONFIG='/a'\\'b'"),
            (Powershell, r"C:\o'n", r"$env:KUBECONFIG = 'C:\o''n'"),
            (
                Powershell,
                "C:\\o\u{2019}n\u{201b}",
                "$env:KUBECONFIG = 'C:\\o\u{2019}\u{2019}n\u{201b}\u{201b}'",
            ),
            (Fish, "/o'n", r"set --global --export KUBECONFIG '/o'\''n'"),
            (Nushell, r#"/$a "b\"#, r#"$env.KUBECONFIG = "/$a \"b\\""#),
            (Json, "/a:/b", r#"{"KUBECONFIG":"/a:/b"}"#),
        ] {
            assert_eq!(shell.export(path), expected, "{path}");
        }
        assert_eq!(ShellSyntax::Json.unset(), r#"{"KUBECONFIG":null}"#);
        assert_eq!(ShellSyntax::Powershell.fail(), "throw 'tka failed'");
    }

    /// cases.md 6: HOME with a `:`, and its kind.
    #[cfg(unix)]
    #[test]
    fn paths_that_are_no_list_are_refused() {
        use std::os::unix::ffi::OsStrExt;
        assert_eq!(join(["/a b", "/o'n\n"]).unwrap(), "/a b:/o'n\n");
        assert!(matches!(join(["/a", "/b:c"]), Err(UnexportablePath::Separator { path }) if path == Path::new("/b:c")));
        let latin = std::ffi::OsStr::from_bytes(b"/caf\xe9");
        assert!(matches!(join([latin]), Err(UnexportablePath::NotUnicode { .. })));
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
            let script = format!("{}; printf %s \"$KUBECONFIG\"", ShellSyntax::Posix.export(path));
            let output = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
            assert_eq!(String::from_utf8(output.stdout).unwrap(), path);
        }
    }
}
