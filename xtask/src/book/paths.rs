//! Paths of documents in the repository.

use std::path::{Component, Path};

/// Where the site's own pages are.
pub(super) const OWN: &str = "docs/book/src/";

/// The path in the repository that `to` means in the document `from`: none outside of it.
pub(super) fn normal(from: &str, to: &str) -> Option<String> {
    let mut parts: Vec<String> = Path::new(from)
        .parent()?
        .iter()
        .map(|part| part.to_string_lossy().into_owned())
        .collect();
    for component in Path::new(to).components() {
        match component {
            Component::ParentDir => drop(parts.pop()?),
            Component::Normal(part) => parts.push(part.to_string_lossy().into_owned()),
            Component::CurDir => {}
            Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    Some(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_in_the_repository() {
        assert_eq!(normal("docs/a.md", "../README.md").as_deref(), Some("README.md"));
        assert_eq!(normal("docs/a.md", "./b/c.md").as_deref(), Some("docs/b/c.md"));
        assert_eq!(normal("docs/a.md", "../../x"), None);
        assert_eq!(normal("docs/a.md", "/etc/passwd"), None);
    }
}
