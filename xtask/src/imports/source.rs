//! What the modules of a crate import of each other, read from their source.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use proc_macro2::{TokenStream, TokenTree};
use syn::{
    Attribute, File, Item, UseTree,
    spanned::Spanned,
    visit::{self, Visit},
};

use super::error::{Error, read};

/// The modules directly below a crate's root and their imports of each other, and the imports between files.
#[derive(Debug, Default)]
pub(super) struct Imports {
    pub(super) modules: BTreeSet<String>,
    pub(super) between_modules: Vec<Import>,
    pub(super) between_files: Vec<Import>,
}

/// An import of one module or file by another. Modules below a module count as that module.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Import {
    pub(super) from: String,
    pub(super) to: String,
    /// `FILE:LINE`.
    pub(super) place: String,
}

/// The files at a crate's root. They wire it, and may import everything.
const ROOTS: [&str; 2] = ["lib", "main"];

/// The path of a module below the crate's root: `src/a/b.rs` is `[a, b]`.
type ModulePath = Vec<String>;

/// Reads the crate in `folder`. What only tests import is left out, and each pair of modules or files is told once.
pub(super) fn imports(folder: &Path) -> Result<Imports, Error> {
    let source = folder.join("src");
    let mut found = Imports::default();
    let exported = exported(&source)?;
    let files = files_of_modules(&source)?;
    for (module, path) in &files {
        let mut reader = Reader {
            module: module.clone(),
            paths: Vec::new(),
        };
        reader.visit_file(&parse(path)?);
        found.modules.insert(module[0].clone());
        for (mut named, line) in reader.paths {
            // What the root exports is its module's.
            if let Some(target) = named.first().and_then(|name| exported.get(name)) {
                named.splice(..1, target.iter().cloned());
            }
            let place = format!("{}:{line}", path.display());
            if let Some(top) = named.first() {
                add(&mut found.between_modules, &module[0], top, &place);
            }
            if let Some(file) = deepest(&files, &named) {
                add(
                    &mut found.between_files,
                    &name_of(&source, path),
                    &name_of(&source, file),
                    &place,
                );
            }
        }
    }
    let Imports {
        modules,
        between_modules,
        ..
    } = &mut found;
    between_modules.retain(|import| modules.contains(&import.to));
    Ok(found)
}

/// Adds an import, unless it is one of itself or is there already.
fn add(imports: &mut Vec<Import>, from: &str, to: &str, place: &str) {
    let is_there = imports.iter().any(|import| import.from == from && import.to == to);
    if from != to && !is_there {
        imports.push(Import {
            from: from.to_owned(),
            to: to.to_owned(),
            place: place.to_owned(),
        });
    }
}

/// The file of the deepest module that a path names.
fn deepest<'a>(files: &'a BTreeMap<ModulePath, PathBuf>, named: &[String]) -> Option<&'a PathBuf> {
    (1..=named.len()).rev().find_map(|length| files.get(&named[..length]))
}

/// A file's name below the crate's `src`.
fn name_of(source: &Path, file: &Path) -> String {
    file.strip_prefix(source).unwrap_or(file).display().to_string()
}

/// The files of a crate by their modules, without its roots and what is there for tests alone.
fn files_of_modules(source: &Path) -> Result<BTreeMap<ModulePath, PathBuf>, Error> {
    let mut found = BTreeMap::new();
    for path in files(source)? {
        let module = module_path(source, &path);
        let is_apart = module
            .first()
            .is_none_or(|top| top == "bin" || ROOTS.contains(&top.as_str()));
        if !is_apart && !is_of_tests(source, &module)? {
            found.insert(module, path);
        }
    }
    Ok(found)
}

/// The Rust files below a folder, in their order.
fn files(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let failed = |source| Error::Read {
        file: folder.display().to_string(),
        source,
    };
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.is_dir() {
            files.extend(self::files(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort_unstable();
    Ok(files)
}

/// The module of a file: `src/a/mod.rs` and `src/a.rs` are `[a]`, `src/a/b.rs` is `[a, b]`.
fn module_path(source: &Path, file: &Path) -> ModulePath {
    let inside = file.strip_prefix(source).unwrap_or(file).with_extension("");
    let mut module: Vec<_> = inside.iter().map(|part| part.to_string_lossy().into_owned()).collect();
    if module.len() > 1 && module.last().is_some_and(|last| last == "mod") {
        module.pop();
    }
    module
}

/// What the root of a crate calls by a name of its own: `pub use session::Session` is `Session` → `[session, Session]`.
fn exported(source: &Path) -> Result<BTreeMap<String, ModulePath>, Error> {
    let mut names = BTreeMap::new();
    for root in ROOTS {
        let path = source.join(format!("{root}.rs"));
        if !path.exists() {
            continue;
        }
        for item in parse(&path)?.items {
            if let Item::Use(item) = item {
                leaves(&item.tree, &[], &mut names);
            }
        }
    }
    Ok(names)
}

/// The names that a `use` brings, each with its path below the root.
fn leaves(tree: &UseTree, before: &[String], names: &mut BTreeMap<String, ModulePath>) {
    let with = |name: &syn::Ident| [before, &[name.to_string()]].concat();
    match tree {
        UseTree::Path(path) if matches!(&*path.ident.to_string(), "crate" | "self") => {
            leaves(&path.tree, before, names);
        }
        UseTree::Path(path) => leaves(&path.tree, &with(&path.ident), names),
        UseTree::Name(name) if !before.is_empty() => {
            names.insert(name.ident.to_string(), with(&name.ident));
        }
        UseTree::Rename(rename) if !before.is_empty() => {
            names.insert(rename.rename.to_string(), with(&rename.ident));
        }
        UseTree::Group(group) => group.items.iter().for_each(|item| leaves(item, before, names)),
        UseTree::Name(_) | UseTree::Rename(_) | UseTree::Glob(_) => {}
    }
}

/// Whether a module, or one that it is in, is there for tests alone.
fn is_of_tests(source: &Path, module: &[String]) -> Result<bool, Error> {
    for length in 0..module.len() {
        let (parents, name) = (&module[..length], &module[length]);
        let mut files = vec![source.join(parents.join("/")).with_extension("rs")];
        files.push(source.join(parents.join("/")).join("mod.rs"));
        if parents.is_empty() {
            files = ROOTS.map(|root| source.join(format!("{root}.rs"))).to_vec();
        }
        for file in files.iter().filter(|file| file.exists()) {
            let is_it =
                |item: &Item| matches!(item, Item::Mod(item) if item.ident == name.as_str() && of_tests(&item.attrs));
            if parse(file)?.items.iter().any(is_it) {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// Whether it is compiled for tests alone.
fn of_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let is_cfg = attribute.path().is_ident("cfg");
        let condition = attribute.meta.require_list().map(|list| list.tokens.to_string());
        is_cfg
            && condition.is_ok_and(|condition| {
                condition
                    .split(|c: char| !c.is_alphanumeric())
                    .any(|word| word == "test")
            })
    })
}

/// The file at `path`, as Rust.
pub(crate) fn parse(path: &Path) -> Result<File, Error> {
    syn::parse_file(&read(path)?).map_err(|source| Error::Parse {
        file: path.display().to_string(),
        source,
    })
}

/// Collects what a module names of its crate.
struct Reader {
    /// The module it is in.
    module: ModulePath,
    /// The paths below the root that it names, and the lines at which they stand.
    paths: Vec<(ModulePath, usize)>,
}

// === impl Reader ===

impl Reader {
    /// Takes in a path by its parts: `crate::x`, `super::x`, `self::x`, or `x::y` where `x` may be a module below.
    fn path(&mut self, parts: &[String], line: usize) {
        let parts = parts.strip_suffix(&["self".to_owned()]).unwrap_or(parts);
        let (above, rest) = match parts.first().map(String::as_str) {
            Some("crate") => (&[][..], &parts[1..]),
            Some("self" | "super") => {
                let parts = if parts[0] == "self" { &parts[1..] } else { parts };
                let ups = parts.iter().take_while(|part| *part == "super").count();
                let depth = self.module.len().saturating_sub(ups);
                (&self.module[..depth], &parts[ups..])
            }
            Some(_) if parts.len() > 1 => (&self.module[..], parts),
            _ => return,
        };
        self.paths.push(([above, rest].concat(), line));
    }

    fn tree(&mut self, tree: &UseTree, before: &[String]) {
        let with = |name: &syn::Ident| [before, &[name.to_string()]].concat();
        match tree {
            UseTree::Path(path) => self.tree(&path.tree, &with(&path.ident)),
            UseTree::Name(name) => self.path(&with(&name.ident), name.span().start().line),
            UseTree::Rename(rename) => self.path(&with(&rename.ident), rename.span().start().line),
            UseTree::Glob(glob) => self.path(before, glob.span().start().line),
            UseTree::Group(group) => group.items.iter().for_each(|item| self.tree(item, before)),
        }
    }

    /// Takes in the paths in a macro's tokens: `crate :: x`.
    fn tokens(&mut self, tokens: TokenStream) {
        let (mut parts, mut at, mut is_open) = (Vec::new(), 0, false);
        for token in tokens {
            match token {
                TokenTree::Ident(ident) => {
                    if !is_open {
                        self.path_in_macro(&mut parts, at);
                    }
                    at = ident.span().start().line;
                    parts.push(ident.to_string());
                    is_open = false;
                }
                TokenTree::Punct(punct) if punct.as_char() == ':' => is_open = true,
                other => {
                    self.path_in_macro(&mut parts, at);
                    is_open = false;
                    if let TokenTree::Group(group) = other {
                        self.tokens(group.stream());
                    }
                }
            }
        }
        self.path_in_macro(&mut parts, at);
    }

    /// Takes in what a macro's tokens were so far. A name before a single colon is a field's, and no path goes on from it.
    fn path_in_macro(&mut self, parts: &mut ModulePath, line: usize) {
        let begin = parts
            .iter()
            .position(|part| matches!(part.as_str(), "crate" | "super" | "self"));
        if let Some(begin) = begin {
            self.path(&parts[begin..], line);
        }
        parts.clear();
    }
}

impl<'ast> Visit<'ast> for Reader {
    fn visit_item(&mut self, item: &'ast Item) {
        let attributes = match item {
            Item::Mod(item) => &item.attrs,
            Item::Use(item) => &item.attrs,
            Item::Fn(item) => &item.attrs,
            Item::Impl(item) => &item.attrs,
            _ => &Vec::new(),
        };
        if !of_tests(attributes) {
            visit::visit_item(self, item);
        }
    }

    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        self.module.push(item.ident.to_string());
        visit::visit_item_mod(self, item);
        self.module.pop();
    }

    /// `pub(super)` imports nothing.
    fn visit_visibility(&mut self, _: &'ast syn::Visibility) {}

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        self.tree(&item.tree, &[]);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let parts: Vec<_> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        self.path(&parts, path.span().start().line);
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, item: &'ast syn::Macro) {
        self.tokens(item.tokens.clone());
        visit::visit_macro(self, item);
    }
}
