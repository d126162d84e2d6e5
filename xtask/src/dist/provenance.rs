//! From what and how the files were built: an in-toto statement with SLSA provenance (<https://slsa.dev/spec/v1.1/provenance>). It is not signed: a
//! signature is worth what the signing account is worth, so that publishing adds it.

use std::{env, fs, process::Command};

use serde_json::{Value, json};
use testbed::oci::sha256;

use super::release::Release;
use crate::{Outcome, image::program::Target, root};

/// What built them.
#[derive(Clone, Debug)]
pub(super) struct Built {
    /// The workflow, or a person's machine.
    builder: String,
    /// `rustc --version`.
    compiler: String,
    triple: String,
    /// The SHA-256 of `Cargo.lock`, which pins all dependencies with their checksums.
    lock: String,
}

/// The document that says what the parameters mean.
const BUILD_TYPE: &str = "docs/release.md#the-provenance-statement";

// === impl Built ===

impl Built {
    /// What builds here.
    pub(super) fn here(target: &Target) -> Outcome<Self> {
        let output = Command::new("rustc").arg("--version").output()?;
        let workflow = env::var("GITHUB_WORKFLOW_REF").ok();
        let server = env::var("GITHUB_SERVER_URL").ok();
        let builder = server
            .zip(workflow)
            .map(|(server, workflow)| format!("{server}/{workflow}"));
        Ok(Self {
            builder: builder.unwrap_or_else(|| "urn:tka:builder:by-hand".to_owned()),
            compiler: String::from_utf8(output.stdout)?.trim().to_owned(),
            triple: target.triple.clone(),
            lock: sha256(&fs::read(root().join("Cargo.lock"))?),
        })
    }
}

/// The statement about `files`.
pub(super) fn statement<'a>(
    release: &Release,
    built: &Built,
    files: impl Iterator<Item = (&'a String, &'a Vec<u8>)>,
) -> Outcome<Vec<u8>> {
    let subjects: Vec<_> = files
        .map(|(name, content)| json!({"name": name, "digest": {"sha256": sha256(content)}}))
        .collect();
    let statement = json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": subjects,
        "predicateType": "https://slsa.dev/provenance/v1",
        "predicate": {
            "buildDefinition": {
                "buildType": format!("{}/blob/v{}/{BUILD_TYPE}", release.repository, release.version),
                "externalParameters": {
                    "repository": release.repository,
                    "revision": release.revision(),
                    "version": release.version,
                },
                "internalParameters": {"compiler": built.compiler, "target": built.triple},
                "resolvedDependencies": [
                    {
                        "uri": format!("git+{}@{}", release.repository, release.revision()),
                        "digest": commit(release.revision()),
                    },
                    {"name": "Cargo.lock", "digest": {"sha256": built.lock}},
                ],
            },
            "runDetails": {"builder": {"id": built.builder}},
        },
    });
    Ok(serde_json::to_vec_pretty(&statement)?)
}

/// The commit as a digest; none of files that differ from it.
fn commit(revision: &str) -> Value {
    if revision.ends_with("-dirty") {
        json!({})
    } else {
        json!({ "gitCommit": revision })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dist::release::{Files, tests::release};

    #[test]
    fn every_file_and_the_commit_are_named() {
        let built = Built {
            builder: "https://example.com/workflow".into(),
            compiler: "rustc 1.95.0".into(),
            triple: "x86_64-unknown-linux-gnu".into(),
            lock: "0".repeat(64),
        };
        let files = Files::from([("a".to_owned(), b"one".to_vec()), ("b".to_owned(), b"two".to_vec())]);
        let made = |release: &Release| statement(release, &built, files.iter()).unwrap();
        let release = release();
        let statement: Value = serde_json::from_slice(&made(&release)).unwrap();
        assert_eq!(made(&release), made(&release));
        assert_eq!(statement["_type"], "https://in-toto.io/Statement/v1");
        for (subject, (name, content)) in statement["subject"].as_array().unwrap().iter().zip(&files) {
            assert_eq!(*subject, json!({"name": name, "digest": {"sha256": sha256(content)}}));
        }
        let definition = &statement["predicate"]["buildDefinition"];
        assert_eq!(
            definition["resolvedDependencies"][0]["digest"]["gitCommit"],
            release.revision()
        );
        let mut changed = release;
        changed.source.revision = Some("abc-dirty".to_owned());
        let statement: Value = serde_json::from_slice(&made(&changed)).unwrap();
        assert_eq!(
            statement["predicate"]["buildDefinition"]["resolvedDependencies"][0]["digest"],
            json!({})
        );
    }

    #[test]
    fn parameters_are_explained_where_the_build_type_leads() {
        let (file, heading) = BUILD_TYPE.split_once('#').unwrap();
        let text = fs::read_to_string(root().join(file)).unwrap();
        let heading = heading.replace('-', " ");
        assert!(text.lines().any(|line| line.to_lowercase() == format!("## {heading}")));
    }
}
