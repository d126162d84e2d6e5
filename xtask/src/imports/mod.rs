//! Whether imports inside of each crate run downward, as the layers in ARCHITECTURE.md say.
//!
//! A module may import the modules of lower layers, and nothing of its own layer or of higher ones. Beside that, the files of a crate
//! import each other in no circle of more than two.

mod circles;
mod error;
mod layers;
mod problem;
mod source;

use std::path::Path;

pub(crate) use self::error::Error;
pub(crate) use self::source::parse;
use self::{
    error::{ARCHITECTURE, read},
    layers::Layers,
    problem::Problem,
    source::Import,
};

/// What is wrong with the imports below `root`; nothing where all run downward.
pub(crate) fn problems(root: &Path) -> Result<Vec<String>, Error> {
    let text = read(&root.join(ARCHITECTURE))?;
    let mut problems = Vec::new();
    for (folder, layers) in Layers::of_document(&text).map_err(Error::Layers)? {
        let imports = source::imports(&root.join(&folder))?;
        problems.extend(judge(&folder, &layers, &imports));
        problems.extend(circles::problems(&folder, &imports.between_files));
    }
    Ok(problems.into_iter().map(|problem| problem.advice).collect())
}

/// What is wrong with the imports of one crate: where, and what to do.
fn judge(folder: &str, layers: &Layers, imports: &source::Imports) -> Vec<Problem> {
    let unplaced = imports.modules.iter().filter(|module| layers.of(module).is_none());
    let mut problems: Vec<_> = unplaced
        .map(|module| Problem {
            key: format!("{folder}: {module}"),
            advice: format!("{folder}: the module `{module}` is in no layer; give it a place in {ARCHITECTURE}"),
        })
        .collect();
    let upward = imports
        .between_modules
        .iter()
        .filter(|import| layers.is_upward(&import.from, &import.to));
    problems.extend(upward.map(|Import { from, to, place }| Problem {
        key: format!("{folder}: {from} -> {to}"),
        advice: format!("{place}: `{from}` imports `{to}`, which is in no lower layer (see {ARCHITECTURE})"),
    }));
    problems
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn planted(file: &str, text: &str) -> Vec<String> {
        let dir = tempfile::tempdir().unwrap();
        let source = dir.path().join("crates/a/src");
        fs::create_dir_all(&source).unwrap();
        fs::write(
            dir.path().join(ARCHITECTURE),
            "```layers\ncrates/a: cmd > session > api\n```\n",
        )
        .unwrap();
        fs::write(
            source.join("lib.rs"),
            "mod cmd; mod session; mod api;\npub use session::Session;\n",
        )
        .unwrap();
        for module in ["cmd", "session", "api"] {
            fs::write(source.join(format!("{module}.rs")), "").unwrap();
        }
        fs::write(source.join(file), text).unwrap();
        let layers = Layers::of_document(&read(&dir.path().join(ARCHITECTURE)).unwrap()).unwrap();
        let imports = source::imports(&dir.path().join("crates/a")).unwrap();
        judge("crates/a", &layers[0].1, &imports)
            .into_iter()
            .map(|problem| problem.key)
            .collect()
    }

    /// The files that are in a circle, in a crate of these files.
    fn circle(files: &[(&str, &str)]) -> Vec<String> {
        let dir = tempfile::tempdir().unwrap();
        let source = dir.path().join("src");
        for (name, text) in files {
            let path = source.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let imports = source::imports(dir.path()).unwrap();
        let problems = circles::problems("a", &imports.between_files);
        problems.into_iter().map(|problem| problem.key).collect()
    }

    #[test]
    fn planted_circles_of_files_are_found() {
        let root = ("lib.rs", "mod a; mod b; mod c; pub use c::C;");
        for text in [
            "use crate::C;",
            "fn f() { super::c::g() }",
            "fn f() { vec![x: crate::c::N] }",
        ] {
            let files = [
                root,
                ("a.rs", text),
                ("b.rs", "use crate::a::A;"),
                ("c.rs", "use super::b;"),
            ];
            assert_eq!(circle(&files), ["a: a.rs", "a: b.rs", "a: c.rs"], "{text}");
        }
        let files = [
            ("lib.rs", "mod a;"),
            ("a.rs", "mod b; mod c; pub use self::c::C;"),
            ("a/b.rs", "use super::C;"),
            ("a/c.rs", "use super::b::B;"),
        ];
        assert_eq!(circle(&files), ["a: a.rs", "a: a/b.rs", "a: a/c.rs"]);
    }

    #[test]
    fn two_files_and_tests_are_no_circle() {
        let files = [
            ("lib.rs", "mod a; mod c; #[cfg(test)] mod d;"),
            ("a/mod.rs", "mod b; pub use b::B; fn f() { b::g() }"),
            ("a/b.rs", "use super::A; pub(super) struct B; use crate::c::C;"),
            ("c.rs", "#[cfg(test)]\nmod tests { use crate::a::A; }"),
            ("d.rs", "use crate::c; use crate::a;"),
            ("a/e.rs", "pub(super) struct E; use super::b::B;"),
        ];
        assert_eq!(circle(&files), Vec::<String>::new());
    }

    #[test]
    fn planted_upward_imports_are_found() {
        let upward = ["crates/a: api -> session"];
        for text in [
            "use crate::session;",
            "use crate::{cmd as _, session::{self, Session}};",
            "use crate::Session;",
            "use super::session::Session;",
            "fn f() { crate::session::go() }",
            "fn f() { println!(\"{}\", crate::session::N) }",
            "type T = crate::Session;",
        ] {
            let found = planted("api.rs", text);
            assert!(found.contains(&upward[0].to_owned()), "{text}: {found:?}");
        }
        assert_eq!(planted("new.rs", ""), ["crates/a: new"]);
    }

    #[test]
    fn imports_downward_and_of_tests_are_fine() {
        for (file, text) in [
            ("cmd.rs", "use crate::{api, session};"),
            ("session.rs", "use super::api;"),
            ("api.rs", "#[cfg(test)]\nmod tests { use crate::cmd; }"),
            ("api.rs", "// use crate::session;\nuse self::x; mod x { use super::y; }"),
        ] {
            assert_eq!(planted(file, text), Vec::<String>::new(), "{text}");
        }
    }

    #[test]
    fn imports_of_this_project_run_downward() {
        assert_eq!(problems(&crate::root()).unwrap(), Vec::<String>::new());
    }
}
