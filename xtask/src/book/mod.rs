//! `cargo xtask book`: the documentation as a site, made by mdBook.
//!
//! The pages are those that `docs/book/src/SUMMARY.md` lists. Some are elsewhere in the repository, where they are read too. So all are first put into
//! one folder, and their links are led there. A link to a file that is no page leads to the repository. Links are right in both places, or the build fails.

mod api;
mod links;
mod markdown;
mod mdbook;
mod pages;
mod paths;
mod problem;

use std::{collections::BTreeMap, fs, path::Path};

use clap::Args;

pub(crate) use self::markdown::anchor;
use self::{links::Known, pages::Pages, problem::Problem};
use crate::{Outcome, image::git, root};

/// Arguments of `book`.
#[derive(Debug, Args)]
pub(crate) struct Book {}

/// Where the site's sources are.
const SOURCE: &str = "docs/book";

/// Why there is no site.
#[derive(Debug, thiserror::Error)]
enum Error {
    /// Links lead nowhere, or a block would never be run.
    #[error("the documents have mistakes; they are listed above")]
    Problems,
    /// git lists none.
    #[error("git lists no document: this is no checkout")]
    NoDocuments,
}

impl Book {
    #[expect(clippy::unused_self, reason = "as the other commands")]
    pub(crate) fn run(self) -> Outcome {
        let documents = documents(&root())?;
        let pages = Pages::of(&documents)?;
        let folder = root().join("target/book");
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        stage(&documents, &pages, &folder)?;
        mdbook::build(&folder)?;
        println!("{}", folder.join("html/index.html").display());
        Ok(())
    }
}

/// Checks every link of every document, without making the site.
pub(crate) fn check() -> Outcome {
    let documents = documents(&root())?;
    let pages = Pages::of(&documents)?;
    let known = Known::new(&root(), &documents, &pages);
    let texts = documents.iter().filter(|(path, _)| !is_json(path));
    let mut problems: Vec<Problem> = texts
        .flat_map(|(path, text)| known.rewritten(path, text).err().unwrap_or_default())
        .collect();
    problems.extend(
        documents
            .iter()
            .flat_map(|(path, text)| markdown::blocks_never_run(path, text)),
    );
    report(&problems)
}

fn report(problems: &[Problem]) -> Outcome {
    for problem in problems {
        eprintln!("{problem}");
    }
    if problems.is_empty() {
        Ok(())
    } else {
        Err(Error::Problems.into())
    }
}

/// Whether a page is made of a document that is no text.
fn is_json(path: &str) -> bool {
    Path::new(path).extension().is_some_and(|extension| extension == "json")
}

/// All documents of the checkout, by their paths.
fn documents(root: &Path) -> Outcome<BTreeMap<String, String>> {
    // Those that are new count as well.
    let listed = git(&[
        "ls-files",
        "--cached",
        "--others",
        "--exclude-standard",
        "*.md",
        "docs/openapi.json",
    ]);
    let mut documents = BTreeMap::new();
    for path in listed.unwrap_or_default().lines() {
        if root.join(path).exists() {
            documents.insert(path.to_owned(), fs::read_to_string(root.join(path))?);
        }
    }
    if documents.is_empty() {
        return Err(Error::NoDocuments.into());
    }
    Ok(documents)
}

/// Puts all that mdBook reads into `folder`.
fn stage(documents: &BTreeMap<String, String>, pages: &Pages, folder: &Path) -> Outcome {
    let known = Known::new(&root(), documents, pages);
    fs::create_dir_all(folder.join("src"))?;
    fs::copy(root().join(SOURCE).join("book.toml"), folder.join("book.toml"))?;
    let mut problems = Vec::new();
    for (path, place) in pages.all() {
        let text = documents.get(path).map(String::as_str).unwrap_or_default();
        let rendered = if is_json(path) {
            Ok(api::page(&serde_json::from_str(text)?))
        } else {
            known.rewritten(path, text)
        };
        match rendered {
            Ok(text) => {
                let file = folder.join("src").join(place);
                fs::create_dir_all(file.parent().unwrap_or(folder))?;
                fs::write(file, text)?;
            }
            Err(found) => problems.extend(found),
        }
    }
    report(&problems)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_link_of_every_document_leads_somewhere() {
        check().unwrap();
    }

    #[test]
    fn site_is_staged_with_all_its_pages() {
        let documents = documents(&root()).unwrap();
        let pages = Pages::of(&documents).unwrap();
        let folder = tempfile::tempdir().unwrap();
        stage(&documents, &pages, folder.path()).unwrap();
        for page in [
            "SUMMARY.md",
            "introduction.md",
            "reference/cli.md",
            "reference/openapi.md",
        ] {
            assert!(folder.path().join("src").join(page).exists(), "{page}");
        }
    }
}
