//! The table of modules in a crate's README. Each module of the crate has its row, and no row is of a module that is gone.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
};

use syn::{Attribute, File, Item, ItemMod};

use crate::imports;

/// What a table of modules begins with: its rows name them, or link to their files.
const HEADINGS: [&str; 2] = ["| module |", "| file |"];

/// Why the tables are not current.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// Tables lack modules, or have rows without one.
    #[error("tables of modules are not current:\n{}", .0.join("\n"))]
    Stale(Vec<String>),
    /// There is no such table, so that something is wrong with how it is looked for.
    #[error("no README below {} has a table of modules", .0.display())]
    Nothing(PathBuf),
    /// A file cannot be read.
    #[error("{} cannot be read", path.display())]
    Io { path: PathBuf, source: io::Error },
    /// The root of a crate cannot be read as Rust.
    #[error(transparent)]
    Root(#[from] imports::Error),
}

/// Checks the README of every crate below `root` that has such a table.
pub(crate) fn check(root: &Path) -> Result<(), Error> {
    let crates = root.join("crates");
    let io = |source| Error::Io {
        path: crates.clone(),
        source,
    };
    let mut folders: Vec<PathBuf> = fs::read_dir(&crates)
        .and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect())
        .map_err(io)?;
    folders.sort();
    let mut tables = 0;
    let mut problems = Vec::new();
    for folder in folders {
        let readme = folder.join("README.md");
        let Some(rows) = rows(&read(&readme)?) else { continue };
        tables += 1;
        let modules = modules(imports::parse(&folder.join("src/lib.rs"))?);
        let lacks = modules
            .difference(&rows)
            .map(|module| format!("{} has no row for the module `{module}`", readme.display()));
        let gone = rows
            .difference(&modules)
            .map(|module| format!("{} has a row for `{module}`, which is no module", readme.display()));
        problems.extend(lacks.chain(gone));
    }
    match (tables, problems.is_empty()) {
        (0, _) => Err(Error::Nothing(crates)),
        (_, true) => Ok(()),
        (_, false) => Err(Error::Stale(problems)),
    }
}

/// The modules that the rows of the table name, or none where there is no table. A row may name several.
fn rows(readme: &str) -> Option<BTreeSet<String>> {
    let is_heading = |line: &&str| HEADINGS.iter().any(|heading| line.starts_with(heading));
    let lines = readme.lines().skip_while(|line| !is_heading(line));
    let mut rows = lines.take_while(|line| line.starts_with('|')).skip(2).peekable();
    rows.peek()?;
    let first_cells = rows.filter_map(|row| row.split('|').nth(1));
    Some(first_cells.flat_map(names).collect())
}

/// The modules that a cell names, in backticks or by links: `src/sink/folder.rs` is of the module `sink`.
fn names(cell: &str) -> Vec<String> {
    let in_backticks = cell.split('`').skip(1).step_by(2);
    let linked = cell
        .split("(src/")
        .skip(1)
        .filter_map(|rest| rest.split([')', '/', '.']).next());
    in_backticks.chain(linked).map(str::to_owned).collect()
}

/// The modules that a crate's root declares, but for those that are compiled for tests only.
fn modules(root: File) -> BTreeSet<String> {
    let is_module = |item: Item| match item {
        Item::Mod(ItemMod { ident, attrs, .. }) if !attrs.iter().any(is_for_tests) => Some(ident.to_string()),
        _ => None,
    };
    root.items.into_iter().filter_map(is_module).collect()
}

fn is_for_tests(attribute: &Attribute) -> bool {
    attribute.path().is_ident("cfg") && attribute.parse_args::<syn::Ident>().is_ok_and(|what| what == "test")
}

fn read(path: &Path) -> Result<String, Error> {
    fs::read_to_string(path).map_err(|source| Error::Io {
        path: path.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A crate in a folder that goes with the value.
    fn root(readme: &str, library: &str) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("crates/one/src");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("lib.rs"), library).unwrap();
        fs::write(folder.join("../README.md"), readme).unwrap();
        root
    }

    const LIBRARY: &str = "#[cfg(feature = \"x\")]\npub mod a;\nmod b;\nmod c;\n#[cfg(test)]\nmod double;\n";

    #[test]
    fn complete_table_passes() {
        let readme =
            "# one\n\n| module | does |\n|---|---|\n| `a`, `b` | both |\n| `c` | `d::e` |\n\n| `x` | other |\n";
        check(root(readme, LIBRARY).path()).unwrap();
        let by_links =
            "| file | does |\n|---|---|\n| [a.rs](src/a.rs), [c](src/c/d.rs) | x |\n| [b](src/b/mod.rs) | b |\n";
        check(root(by_links, LIBRARY).path()).unwrap();
    }

    #[test]
    fn missing_and_stale_rows_are_named() {
        let readme = "| module | does |\n|---|---|\n| `a` | a |\n| `z` | z |\n";
        let problems = check(root(readme, LIBRARY).path()).unwrap_err().to_string();
        for part in ["`b`", "`c`", "a row for `z`"] {
            assert!(problems.contains(part), "{problems}");
        }
        assert!(!problems.contains("double"), "{problems}");
    }

    #[test]
    fn project_without_a_table_is_an_error() {
        let error = check(root("# one\n", LIBRARY).path()).unwrap_err();
        assert!(matches!(error, Error::Nothing(_)), "{error}");
    }
}
