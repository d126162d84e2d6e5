//! The changelog of one version, to be read away from the repository.

use super::release::Release;

/// Why there are no notes.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("CHANGELOG.md has no section of {0}: name what changed under `## [{0}] - DATE`")]
    NoSection(String),
}

/// The section of `version` in `changelog`. Links into the repository lead to its web page.
pub(super) fn of(changelog: &str, version: &str, release: &Release) -> Result<String, Error> {
    let head = format!("## [{version}]");
    let lines = changelog.lines().skip_while(|line| !line.starts_with(&head)).skip(1);
    let section: Vec<_> = lines.take_while(|line| !line.starts_with("## ")).collect();
    let text = section.join("\n").trim().to_owned();
    if text.is_empty() {
        return Err(Error::NoSection(version.to_owned()));
    }
    Ok(with_whole_links(&text, release) + "\n")
}

/// Relative links lead to the file as it is at the tag.
fn with_whole_links(text: &str, release: &Release) -> String {
    let place = format!("{}/blob/v{}/", release.repository, release.version);
    let whole = |part: &str| {
        let link = part.split(')').next().unwrap_or_default();
        if link.contains("://") {
            part.to_owned()
        } else {
            format!("{place}{part}")
        }
    };
    let mut parts = text.split("](").map(ToOwned::to_owned);
    let first = parts.next();
    let rest = parts.map(|part| whole(&part));
    first.into_iter().chain(rest).collect::<Vec<_>>().join("](")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dist::release::tests::release;

    const CHANGELOG: &str = "# Changelog\n\n## [Unreleased]\n\n## [1.2.3] - 2026-01-02\n\n- One: [rules](docs/rules.md), \
        [site](https://example.com).\n\n## [1.2.2] - 2026-01-01\n\n- Old.\n";

    #[test]
    fn section_of_the_version_with_links_that_lead_somewhere() {
        assert_eq!(
            of(CHANGELOG, "1.2.3", &release()).unwrap(),
            "- One: [rules](https://example.com/tka/blob/v1.2.3/docs/rules.md), [site](https://example.com).\n"
        );
    }

    #[test]
    fn version_without_notes_is_refused() {
        for version in ["1.2.4", "Unreleased"] {
            assert!(of(CHANGELOG, version, &release()).is_err(), "{version}");
        }
    }
}
