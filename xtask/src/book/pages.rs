//! Which documents are pages of the site, and where on it.

use std::{collections::BTreeMap, path::Path};

use super::{
    markdown::{self, Link},
    paths::{OWN, normal},
};

/// The list of all pages.
const SUMMARY: &str = "docs/book/src/SUMMARY.md";

/// Why there are no pages.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("{SUMMARY} is not there")]
    NoSummary,
    #[error("{SUMMARY} lists {0}, which is not there")]
    Missing(String),
    #[error("{SUMMARY} does not list {0}, so that no reader would find it")]
    Unlisted(String),
    #[error("{0} and {1} would be the same page {2}")]
    Clash(String, String, String),
}

/// The pages: paths in the repository, and on the site.
#[derive(Debug, Default)]
pub(super) struct Pages(BTreeMap<String, String>);

// === impl Pages ===

impl Pages {
    /// Those that the summary lists, of `documents`.
    pub(super) fn of(documents: &BTreeMap<String, String>) -> Result<Self, Error> {
        let summary = documents.get(SUMMARY).ok_or(Error::NoSummary)?;
        let mut pages = BTreeMap::from([(SUMMARY.to_owned(), "SUMMARY.md".to_owned())]);
        for Link { target, .. } in markdown::links(summary) {
            let path = normal(SUMMARY, &target).ok_or_else(|| Error::Missing(target.clone()))?;
            if !documents.contains_key(&path) {
                return Err(Error::Missing(target));
            }
            let place = place(&path);
            if let Some((other, _)) = pages.iter().find(|(other, at)| **at == place && **other != path) {
                return Err(Error::Clash(other.clone(), path, place));
            }
            pages.insert(path, place);
        }
        match documents
            .keys()
            .find(|path| belongs(path) && !pages.contains_key(*path))
        {
            Some(unlisted) => Err(Error::Unlisted(unlisted.clone())),
            None => Ok(Self(pages)),
        }
    }

    /// Paths in the repository, and on the site.
    pub(super) fn all(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(path, place)| (path.as_str(), place.as_str()))
    }

    /// Where on the site a document is, if it is a page.
    pub(super) fn place(&self, path: &str) -> Option<&str> {
        self.0.get(path).map(String::as_str)
    }
}

/// Whether a document is of no use but as a page: the site's own, and the references, which are directly in `docs`.
fn belongs(path: &str) -> bool {
    let document = Path::new(path);
    let is_reference =
        document.parent() == Some(Path::new("docs")) && document.extension().is_some_and(|of| of == "md");
    path.starts_with(OWN) || is_reference
}

/// The site's own pages keep their places; others are references, called after their file or, where that is a README, their folder.
fn place(path: &str) -> String {
    if let Some(own) = path.strip_prefix(OWN) {
        return own.to_owned();
    }
    let name = |path: &Path| path.file_stem().unwrap_or_default().to_string_lossy().to_lowercase();
    let path = Path::new(path);
    let name = match name(path) {
        name if name == "readme" => path.parent().map(name_of).unwrap_or_default(),
        name => name,
    };
    format!("reference/{name}.md")
}

fn name_of(folder: &Path) -> String {
    folder.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn documents(summary: &str, others: &[&str]) -> BTreeMap<String, String> {
        let others = others.iter().map(|path| ((*path).to_owned(), String::new()));
        others.chain([(SUMMARY.to_owned(), summary.to_owned())]).collect()
    }

    #[test]
    fn pages_of_the_repository_are_references() {
        let summary = "# Summary\n\n- [One](one.md)\n- [Rules](../../rules.md)\n- [Chart](../../../charts/tka/README.md)\n- [API](../../openapi.json)\n";
        let others = [
            "docs/book/src/one.md",
            "docs/rules.md",
            "charts/tka/README.md",
            "docs/openapi.json",
            "README.md",
        ];
        let pages = Pages::of(&documents(summary, &others)).unwrap();
        let place = |path: &str| pages.place(path);
        assert_eq!(place("docs/book/src/one.md"), Some("one.md"));
        assert_eq!(place("docs/rules.md"), Some("reference/rules.md"));
        assert_eq!(place("charts/tka/README.md"), Some("reference/tka.md"));
        assert_eq!(place("docs/openapi.json"), Some("reference/openapi.md"));
        assert_eq!(place("README.md"), None);
    }

    #[test]
    fn what_no_reader_would_find_is_said() {
        let wrong = |summary: &str, others: &[&str]| Pages::of(&documents(summary, others)).unwrap_err().to_string();
        assert!(wrong("[One](one.md)", &[]).contains("one.md, which is not there"));
        assert!(wrong("", &["docs/book/src/one.md"]).contains("does not list docs/book/src/one.md"));
        assert!(wrong("", &["docs/metrics.md"]).contains("does not list docs/metrics.md"));
        assert!(
            Pages::of(&documents(
                "",
                &["docs/examples/README.md", "docs/openapi.json", "README.md"]
            ))
            .is_ok()
        );
        let same = ["docs/a.md", "crates/a/README.md"];
        assert!(
            wrong("[A](../../a.md) [B](../../../crates/a/README.md)", &same).contains("the same page reference/a.md")
        );
    }
}
