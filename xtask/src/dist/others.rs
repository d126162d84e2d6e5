//! What other machines built of the same commit: programs for other systems.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde_json::Value;

use super::{
    checksums,
    release::{Files, Release},
};
use crate::{Outcome, image::program::Target};

/// Systems and architectures that are released.
const PLATFORMS: [&str; 4] = ["linux-amd64", "linux-arm64", "darwin-amd64", "darwin-arm64"];

/// Why a folder of another machine's is not taken.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("{folder} is of another commit or version ({found}), not of {expected}: build it again")]
    OtherCommit {
        folder: String,
        found: String,
        expected: String,
    },
    #[error("{} cannot be read: name the `target/dist` of another machine", list.display())]
    NoList { list: PathBuf, source: io::Error },
    #[error("{0} has no provenance statement of any platform: is it a `target/dist`?")]
    NoStatement(String),
}

/// The platform that a file is for; none where it is for all.
fn platform(name: &str) -> Option<&'static str> {
    PLATFORMS
        .into_iter()
        .find(|platform| name.contains(&format!("-{platform}.")))
}

/// Whether the file is for another platform than `target`.
pub(super) fn is_others(name: &str, target: &Target) -> bool {
    let own = format!("{}-{}", target.system, target.architecture);
    platform(name).is_some_and(|platform| platform != own)
}

/// The files in `folder` that are for one platform, as its checksums say, if it is of the same commit.
pub(super) fn read(folder: &Path, release: &Release) -> Outcome<Files> {
    let list = folder.join(checksums::NAME);
    let list = fs::read_to_string(&list).map_err(|source| Error::NoList { list, source })?;
    let mut files = Files::new();
    for (sum, name) in checksums::read(&list)? {
        if platform(name).is_some() {
            let content = fs::read(folder.join(name))?;
            checksums::check(name, sum, &content)?;
            files.insert(name.to_owned(), content);
        }
    }
    let mut statements = files
        .iter()
        .filter(|(name, _)| name.ends_with(".intoto.json"))
        .peekable();
    if statements.peek().is_none() {
        return Err(Error::NoStatement(folder.display().to_string()).into());
    }
    for (_, statement) in statements {
        let statement: Value = serde_json::from_slice(statement)?;
        let made_of = &statement["predicate"]["buildDefinition"]["externalParameters"];
        let (found, expected) = (of(made_of), format!("{} {}", release.version, release.revision()));
        if found != expected {
            let folder = folder.display().to_string();
            return Err(Error::OtherCommit {
                folder,
                found,
                expected,
            }
            .into());
        }
    }
    Ok(files)
}

fn of(parameters: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or("none").to_owned();
    format!("{} {}", text(&parameters["version"]), text(&parameters["revision"]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dist::release::tests::release;
    use serde_json::json;

    fn folder(revision: &str) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let parameters = json!({"version": "1.2.3", "revision": revision});
        let statement = json!({"predicate": {"buildDefinition": {"externalParameters": parameters}}});
        let files = Files::from([
            ("tka-1.2.3-linux-arm64.tar.gz".to_owned(), b"program".to_vec()),
            (
                "tka-1.2.3-linux-arm64.intoto.json".to_owned(),
                statement.to_string().into_bytes(),
            ),
            ("tka.rb".to_owned(), b"formula of one platform".to_vec()),
        ]);
        for (name, content) in &files {
            fs::write(folder.path().join(name), content).unwrap();
        }
        fs::write(folder.path().join(checksums::NAME), checksums::of(&files)).unwrap();
        folder
    }

    #[test]
    fn files_of_a_platform_are_taken_and_no_others() {
        let release = release();
        let folder = folder(release.revision());
        let names: Vec<_> = read(folder.path(), &release).unwrap().into_keys().collect();
        assert_eq!(
            names,
            ["tka-1.2.3-linux-arm64.intoto.json", "tka-1.2.3-linux-arm64.tar.gz"]
        );
    }

    #[test]
    fn changed_files_and_other_commits_are_refused() {
        let release = release();
        let other = folder("fedcba");
        let why = read(other.path(), &release).unwrap_err().to_string();
        assert!(why.contains("1.2.3 fedcba"), "{why}");
        let changed = folder(release.revision());
        fs::write(changed.path().join("tka-1.2.3-linux-arm64.tar.gz"), "another").unwrap();
        assert!(read(changed.path(), &release).is_err());
        assert!(read(tempfile::tempdir().unwrap().path(), &release).is_err());
    }
}
