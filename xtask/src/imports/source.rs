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

use super::{Error, read};

/// The modules directly below a crate's root, and their imports of each other.
#[derive(Debug, Default)]
pub(super) struct Imports {
    pub(super) modules: BTreeSet<String>,
    pub(super) imports: Vec<Import>,
}

/// An import of one module by another. Modules below them count as them.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Import {
    pub(super) from: String,
    pub(super) to: String,
    /// `FILE:LINE`.
    pub(super) place: String,
}

/// The files at a crate's root. They wire it, and may import everything.
const ROOTS: [&str; 2] = ["lib", "main"];

/// Reads the crate in `folder`. What only tests import is left out, and each pair of modules is told once.
pub(super) fn imports(folder: &Path) -> Result<Imports, Error> {
    let source = folder.join("src");
    let mut found = Imports::default();
    let exported = exported(&source)?;
    for path in files(&source)? {
        let module = module_path(&source, &path);
        let Some(top) = module.first().filter(|top| !ROOTS.contains(&top.as_str())) else {
            continue;
        };
        if top == "bin" || is_of_tests(&source, &module)? {
            continue;
        }
        found.modules.insert(top.clone());
        let mut reader = Reader {
            depth: module.len(),
            lines: Vec::new(),
        };
        reader.visit_file(&parse(&path)?);
        for (name, line) in reader.lines {
            // What the root exports is its module's.
            let to = exported.get(&name).unwrap_or(&name);
            let is_told = found
                .imports
                .iter()
                .any(|import| import.from == *top && import.to == *to);
            if to != top && !is_told {
                found.imports.push(Import {
                    from: top.clone(),
                    to: to.clone(),
                    place: format!("{}:{line}", path.display()),
                });
            }
        }
    }
    let Imports { modules, imports } = &mut found;
    imports.retain(|import| modules.contains(&import.to));
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
fn module_path(source: &Path, file: &Path) -> Vec<String> {
    let inside = file.strip_prefix(source).unwrap_or(file).with_extension("");
    let mut module: Vec<_> = inside.iter().map(|part| part.to_string_lossy().into_owned()).collect();
    if module.len() > 1 && module.last().is_some_and(|last| last == "mod") {
        module.pop();
    }
    module
}

/// What the root of a crate calls by a name of its own: `pub use session::Session` is `Session` → `session`.
fn exported(source: &Path) -> Result<BTreeMap<String, String>, Error> {
    let mut names = BTreeMap::new();
    for root in ROOTS {
        let path = source.join(format!("{root}.rs"));
        if !path.exists() {
            continue;
        }
        for item in parse(&path)?.items {
            if let Item::Use(item) = item {
                leaves(&item.tree, None, &mut names);
            }
        }
    }
    Ok(names)
}

/// The names that a `use` brings, each with the first part of its path that is a module's.
fn leaves(tree: &UseTree, top: Option<&str>, names: &mut BTreeMap<String, String>) {
    match tree {
        UseTree::Path(path) => {
            let name = path.ident.to_string();
            let is_root = matches!(&*name, "crate" | "self");
            let below = top.or((!is_root).then_some(name.as_str()));
            leaves(&path.tree, below, names);
        }
        UseTree::Name(name) => {
            if let Some(top) = top {
                names.insert(name.ident.to_string(), top.to_owned());
            }
        }
        UseTree::Rename(rename) => {
            if let Some(top) = top {
                names.insert(rename.rename.to_string(), top.to_owned());
            }
        }
        UseTree::Group(group) => group.items.iter().for_each(|item| leaves(item, top, names)),
        UseTree::Glob(_) => {}
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

fn parse(path: &Path) -> Result<File, Error> {
    syn::parse_file(&read(path)?).map_err(|source| Error::Parse {
        file: path.display().to_string(),
        source,
    })
}

/// Collects what a module names of the crate's root.
struct Reader {
    /// How many modules it is below the root.
    depth: usize,
    /// The names, and the lines at which they stand.
    lines: Vec<(String, usize)>,
}

// === impl Reader ===

impl Reader {
    /// Takes in a path by its parts, as far as it leads to the root: `crate::x`, or as many `super` as there are modules above.
    fn path(&mut self, parts: &[String], line: usize) {
        let ups = parts.iter().take_while(|part| *part == "super").count();
        let name = match parts.first().map(String::as_str) {
            Some("crate") => parts.get(1),
            Some("super") if ups == self.depth => parts.get(ups),
            _ => None,
        };
        if let Some(name) = name {
            self.lines.push((name.clone(), line));
        }
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
        let mut parts = Vec::new();
        for token in tokens {
            let line = token.span().start().line;
            match token {
                TokenTree::Ident(ident) => {
                    parts.push(ident.to_string());
                    let is_whole = parts.len() == 2 && parts[0] == "crate";
                    if is_whole {
                        self.path(&parts, line);
                    }
                    if parts[0] != "crate" {
                        parts.clear();
                    }
                }
                TokenTree::Punct(punct) if punct.as_char() == ':' => {}
                TokenTree::Group(group) => {
                    parts.clear();
                    self.tokens(group.stream());
                }
                _ => parts.clear(),
            }
        }
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
        self.depth += 1;
        visit::visit_item_mod(self, item);
        self.depth -= 1;
    }

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
