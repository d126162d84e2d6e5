//! Where links lead: in the repository, and on the site.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use super::{
    markdown::{self, Link},
    pages::Pages,
    paths::normal,
    problem::Problem,
};

/// All that links may lead to.
pub(super) struct Known<'a> {
    root: PathBuf,
    pages: &'a Pages,
    /// What each document's headings are linked by.
    anchors: BTreeMap<&'a str, Vec<String>>,
}

/// Where a link leads that is written into the site.
type Target = Result<Option<String>, String>;

// === impl Known ===

impl<'a> Known<'a> {
    pub(super) fn new(root: &Path, documents: &'a BTreeMap<String, String>, pages: &'a Pages) -> Self {
        let anchors = documents
            .iter()
            .map(|(path, text)| (path.as_str(), markdown::anchors(text)));
        Self {
            root: root.to_owned(),
            pages,
            anchors: anchors.collect(),
        }
    }

    /// The document at `path`, with links that lead to where the same thing is on the site.
    pub(super) fn rewritten(&self, path: &str, text: &str) -> Result<String, Vec<Problem>> {
        let mut problems = Vec::new();
        let mut rewritten = String::new();
        let mut written = 0;
        for link in markdown::links(text) {
            match self.target(path, &link) {
                Ok(None) => {}
                Ok(Some(target)) => {
                    let whole = text.get(link.at.clone()).unwrap_or_default();
                    let new = replace_last(whole, &format!("({}", link.target), &format!("({target}"));
                    rewritten.push_str(text.get(written..link.at.start).unwrap_or_default());
                    rewritten.push_str(&new);
                    written = link.at.end;
                }
                Err(what) => problems.push(Problem {
                    path: path.to_owned(),
                    what,
                }),
            }
        }
        rewritten.push_str(text.get(written..).unwrap_or_default());
        if problems.is_empty() {
            Ok(rewritten)
        } else {
            Err(problems)
        }
    }

    /// Where a link of the document at `from` leads on the site; none if that is what it says already.
    fn target(&self, from: &str, link: &Link) -> Target {
        let target = &link.target;
        if target.contains("://") || target.starts_with("mailto:") {
            return Ok(None);
        }
        let (to, anchor) = target
            .split_once('#')
            .map_or((target.as_str(), None), |(to, anchor)| (to, Some(anchor)));
        let path = if to.is_empty() {
            from.to_owned()
        } else {
            normal(from, to).ok_or_else(|| format!("`{target}` leads out of the repository"))?
        };
        if !self.root.join(&path).exists() && !self.anchors.contains_key(path.as_str()) {
            return Err(format!("`{target}` leads nowhere: there is no {path}"));
        }
        if let (Some(anchor), Some(anchors)) = (anchor, self.anchors.get(path.as_str()))
            && !anchors.iter().any(|known| known == anchor)
        {
            return Err(format!("`{target}` leads nowhere: {path} has no heading #{anchor}"));
        }
        if to.is_empty() || self.pages.place(from).is_none() {
            return Ok(None);
        }
        if !link.is_inline {
            return Err(format!(
                "write the link to `{target}` where it is used, not as a reference"
            ));
        }
        let anchor = anchor.map(|anchor| format!("#{anchor}")).unwrap_or_default();
        Ok(Some(self.place(from, &path) + &anchor))
    }

    /// The place on the site of what is at `path`, seen from the page `from`; in the repository if it is no page.
    fn place(&self, from: &str, path: &str) -> String {
        let Some(place) = self.pages.place(path) else {
            return format!("{}/blob/main/{path}", env!("CARGO_PKG_REPOSITORY"));
        };
        let depth = self.pages.place(from).unwrap_or_default().matches('/').count();
        "../".repeat(depth) + place
    }
}

fn replace_last(text: &str, old: &str, new: &str) -> String {
    match text.rsplit_once(old) {
        Some((before, after)) => format!("{before}{new}{after}"),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUMMARY: &str = "[Start](start.md)\n[Sub](how/sub.md)\n[Rules](../../rules.md)\n";

    fn rewritten(path: &str, text: &str) -> Result<String, Vec<String>> {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("crates")).unwrap();
        let documents = [
            ("docs/book/src/SUMMARY.md", SUMMARY),
            ("docs/book/src/start.md", "# Start\n\n## Here\n"),
            ("docs/book/src/how/sub.md", ""),
            ("docs/rules.md", "# Rules\n\n## Which rule is taken\n"),
            ("README.md", "# TKA\n"),
        ];
        let documents = documents.map(|(path, text)| (path.to_owned(), text.to_owned())).into();
        let pages = Pages::of(&documents).unwrap();
        let known = Known::new(root.path(), &documents, &pages);
        let messages = |problems: Vec<Problem>| problems.iter().map(ToString::to_string).collect();
        known.rewritten(path, text).map_err(messages)
    }

    #[test]
    fn links_lead_to_the_same_thing_on_the_site() {
        let repository = env!("CARGO_PKG_REPOSITORY");
        let text = "See [rules](../../../rules.md#which-rule-is-taken), ([start](../start.md)), [code](../../../../crates), [web](https://a.b/c.md).";
        assert_eq!(
            rewritten("docs/book/src/how/sub.md", text).unwrap(),
            format!(
                "See [rules](../reference/rules.md#which-rule-is-taken), ([start](../start.md)), [code]({repository}/blob/main/crates), \
                 [web](https://a.b/c.md)."
            )
        );
        let text = "[start](book/src/start.md#here) [own](#which-rule-is-taken)";
        assert_eq!(
            rewritten("docs/rules.md", text).unwrap(),
            "[start](../start.md#here) [own](#which-rule-is-taken)"
        );
        assert_eq!(
            rewritten("docs/book/src/SUMMARY.md", SUMMARY).unwrap(),
            SUMMARY.replace("../../rules.md", "reference/rules.md")
        );
    }

    #[test]
    fn documents_that_are_no_pages_stay_and_are_checked() {
        assert_eq!(
            rewritten("README.md", "[a](docs/rules.md)").unwrap(),
            "[a](docs/rules.md)"
        );
        assert_eq!(
            rewritten(
                "README.md",
                "[a](docs/gone.md) [b](docs/rules.md#gone) [c](../out.md) [d](#gone)"
            )
            .unwrap_err(),
            [
                "README.md: `docs/gone.md` leads nowhere: there is no docs/gone.md",
                "README.md: `docs/rules.md#gone` leads nowhere: docs/rules.md has no heading #gone",
                "README.md: `../out.md` leads out of the repository",
                "README.md: `#gone` leads nowhere: README.md has no heading #gone",
            ]
        );
    }

    #[test]
    fn links_on_the_site_are_written_where_they_are_used() {
        let wrong = rewritten("docs/rules.md", "[a]\n\n[a]: book/src/start.md\n").unwrap_err();
        assert!(wrong[0].contains("not as a reference"), "{wrong:?}");
    }
}
