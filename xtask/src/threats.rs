//! `docs/threats.md` names tests: they must be there.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// Why the threat model is not current.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// Tests that it names do not exist.
    #[error("docs/threats.md names tests that do not exist: {}", .0.join(", "))]
    Missing(Vec<String>),
    /// It names none, so that something is wrong with how it is read.
    #[error("docs/threats.md names no test")]
    Nothing,
    /// It, or code, cannot be read.
    #[error("{} cannot be read", path.display())]
    Io { path: PathBuf, source: io::Error },
}

/// Checks that every test which the threat model below `root` names is in the file that it names.
pub(crate) fn check(root: &Path) -> Result<(), Error> {
    let document = read(&root.join("docs/threats.md"))?;
    let named = named(&document);
    if named.is_empty() {
        return Err(Error::Nothing);
    }
    let mut missing = Vec::new();
    for name in named {
        let (module, test) = name;
        let files = candidates(root, module);
        let texts: Vec<String> = files.iter().filter_map(|file| fs::read_to_string(file).ok()).collect();
        if !texts.iter().any(|text| has_test(text, test)) {
            missing.push(format!("{module}::{test}"));
        }
    }
    if missing.is_empty() {
        Ok(())
    } else {
        Err(Error::Missing(missing))
    }
}

fn read(path: &Path) -> Result<String, Error> {
    fs::read_to_string(path).map_err(|source| Error::Io {
        path: path.to_owned(),
        source,
    })
}

/// Module and test of each `` `module::test` `` in the last cell of a table's row.
fn named(document: &str) -> Vec<(&str, &str)> {
    let rows = document
        .lines()
        .filter_map(|line| line.strip_prefix('|')?.strip_suffix('|'));
    let cells = rows.filter_map(|row| row.rsplit('|').next());
    let quoted = cells.flat_map(|cell| cell.split('`').skip(1).step_by(2));
    quoted.filter_map(|name| name.rsplit_once("::")).collect()
}

/// Where a module's tests may be: `crate/module` in the crate's code or tests, `module` among the end-to-end tests.
fn candidates(root: &Path, module: &str) -> Vec<PathBuf> {
    match module.split_once('/') {
        Some((name, module)) => {
            let of = |folder: &str| root.join("crates").join(name).join(folder);
            [
                of("src").join(format!("{module}.rs")),
                of("src").join(module).join("mod.rs"),
                of("src").join(module).join("tests.rs"),
                of("tests").join(format!("{module}.rs")),
                of("tests/it").join(format!("{module}.rs")),
            ]
            .to_vec()
        }
        None => vec![root.join("e2e/tests/e2e").join(format!("{module}.rs"))],
    }
}

fn has_test(code: &str, test: &str) -> bool {
    let head = format!("fn {test}(");
    code.lines().any(|line| {
        let line = line.trim_start();
        line.strip_prefix("async ").unwrap_or(line).starts_with(&head)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_in_the_last_cell() {
        let document = "| threat `a::b` | stopped by `c` | `guard::one`, `tka-core/http/body::two` and `three` |\n|---|---|---|\n`x::y`\n";
        assert_eq!(named(document), [("guard", "one"), ("tka-core/http/body", "two")]);
    }

    #[test]
    fn test_is_a_function_of_that_name() {
        let text = "    fn one(world: &World) {}\n// fn two()\nfn three_more() {}\n    async fn four() {}";
        assert!(has_test(text, "one") && has_test(text, "four"));
        assert!(!has_test(text, "two") && !has_test(text, "three"));
    }

    #[test]
    fn what_does_not_exist_is_named() {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("docs/threats.md", "| a | b | `guard::one`, `core/rule::two` |\n");
        write("e2e/tests/e2e/guard.rs", "fn one(world: &World) {}");
        let missing = check(root.path()).unwrap_err().to_string();
        assert!(missing.ends_with(": core/rule::two"), "{missing}");
        write("crates/core/src/rule.rs", "fn two() {}");
        check(root.path()).unwrap();
    }

    /// `cases.md 11.10`, and what an audit found beside it.
    #[test]
    fn what_is_not_stopped_is_listed() {
        let document = fs::read_to_string(crate::root().join("docs/threats.md")).unwrap();
        let (_, listed) = document.split_once("## What is not stopped").unwrap();
        for part in [
            "**Streams that are open directly at the API server when a session ends.**",
            "**Others on the caller's device.**",
            "**Nodes that are shared, and `src: \"*\"`.**",
            "**`nodes/proxy` goes around `guard.podAccess`.**",
            "**`config.yaml` in the working directory.**",
            "**Plain http where there is no tailnet.**",
            "**Verifiers that go by a token's `exp`.**",
            "**Backups and copies of kubeconfigs.**",
            "**The server's configuration.**",
        ] {
            assert!(listed.contains(part), "{part}");
        }
    }
}
