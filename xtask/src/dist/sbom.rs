//! What a program is made of: a bill of materials in `CycloneDX` 1.6 (<https://cyclonedx.org/docs/1.6/json/>).
//!
//! cargo-cyclonedx gives each run another serial number, and its references hold paths of the machine. Here the same commit gives the same bytes. What
//! cargo links for this program and system is asked of `cargo tree`; `cargo metadata` mixes the features of all members.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use testbed::oci::sha256;

use super::{
    dependencies::{Dependencies, Key, Package},
    release::Release,
};
use crate::{Outcome, image::program::Target};

/// The program that the bill is of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Subject<'a> {
    pub(super) program: &'a str,
    pub(super) package: &'a str,
    /// The checksum of the program itself.
    pub(super) sha256: &'a str,
}

/// Why there is no bill.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("`cargo metadata` does not know {0} {1}, which `cargo tree` names")]
    Unknown(String, String),
}

/// The bill of `subject`, as built for `target`.
pub(super) fn of(release: &Release, target: &Target, subject: &Subject<'_>) -> Outcome<Vec<u8>> {
    let dependencies = Dependencies::of(subject.package, target)?;
    Ok(serde_json::to_vec_pretty(&bill(
        release,
        target,
        subject,
        &dependencies,
    )?)?)
}

/// The document.
fn bill(release: &Release, target: &Target, subject: &Subject<'_>, dependencies: &Dependencies) -> Outcome<Value> {
    let Dependencies {
        tree,
        metadata,
        checksums,
        runtime,
    } = dependencies;
    let packages: BTreeMap<_, _> = metadata
        .packages
        .iter()
        .map(|package| (package.key(), package))
        .collect();
    let mut components = Vec::new();
    let mut included = BTreeMap::new();
    for key in tree.keys() {
        let package = packages
            .get(key)
            .ok_or_else(|| Error::Unknown(key.0.clone(), key.1.clone()))?;
        included.insert(package.id.as_str(), *package);
        components.push(package.component(checksums.get(key), tree.linked.contains(key)));
    }
    let (runtime, runtime_references): (Vec<_>, Vec<_>) = runtime.iter().map(with_toolchain).unzip();
    components.extend(runtime);
    let root = metadata
        .packages
        .iter()
        .find(|package| package.name == subject.package && package.source.is_none());
    let root = root.ok_or_else(|| Error::Unknown(subject.package.to_owned(), release.version.to_owned()))?;
    included.insert(&root.id, root);
    let reference = |id: &str| included.get(id).map(|package| package.reference());
    let mut edges: Vec<_> = metadata
        .resolve
        .nodes
        .iter()
        .filter_map(|node| {
            let mut on: BTreeSet<_> = node
                .deps
                .iter()
                .filter_map(|dependency| reference(&dependency.pkg))
                .collect();
            if node.id == root.id {
                on.extend(runtime_references.iter().cloned());
            }
            Some(json!({"ref": reference(&node.id)?, "dependsOn": on}))
        })
        .collect();
    edges.sort_by_key(|edge| edge["ref"].to_string());
    let mut bill = json!({
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "timestamp": release.timestamp()?,
            "tools": {"components": [{"type": "application", "name": "cargo xtask dist", "version": release.version}]},
            "component": {
                "type": "application",
                "bom-ref": root.reference(),
                "name": subject.program,
                "version": release.version,
                "hashes": [{"alg": "SHA-256", "content": subject.sha256}],
                "licenses": [{"expression": env!("CARGO_PKG_LICENSE")}],
                "externalReferences": [{"type": "vcs", "url": release.repository}],
            },
            "properties": [
                {"name": "tka:revision", "value": release.revision()},
                {"name": "tka:target", "value": target.triple},
            ],
        },
        "components": components,
        "dependencies": edges,
    });
    bill["serialNumber"] = serial_number(&bill.to_string()).into();
    Ok(bill)
}

/// What the toolchain or the system adds, and its reference.
fn with_toolchain((name, version): &Key) -> (Value, String) {
    let reference = format!("pkg:generic/{name}@{version}");
    let component = json!({
        "type": "library", "bom-ref": reference, "name": name, "version": version, "scope": "required", "purl": reference,
    });
    (component, reference)
}

/// The same content has the same number: a UUID of a digest (version 8 of RFC 9562).
fn serial_number(content: &str) -> String {
    let digest = sha256(content.as_bytes());
    let part = |from: usize, to: usize| digest.get(from..to).unwrap_or_default();
    format!(
        "urn:uuid:{}-{}-8{}-8{}-{}",
        part(0, 8),
        part(8, 12),
        part(13, 16),
        part(17, 20),
        part(20, 32)
    )
}

// === impl Package ===

impl Package {
    fn key(&self) -> Key {
        (self.name.clone(), self.version.clone())
    }

    /// Its package URL (<https://github.com/package-url/purl-spec>), or for members of the workspace name and version.
    fn reference(&self) -> String {
        let (name, version) = (&self.name, self.version.replace('+', "%2B"));
        match &self.source {
            Some(_) => format!("pkg:cargo/{name}@{version}"),
            None => format!("{name}@{version}"),
        }
    }

    fn component(&self, checksum: Option<&String>, is_linked: bool) -> Value {
        let mut component = json!({
            "type": "library",
            "bom-ref": self.reference(),
            "name": self.name,
            "version": self.version,
            // What builds a program is not delivered with it.
            "scope": if is_linked { "required" } else { "excluded" },
        });
        if self.source.is_some() {
            component["purl"] = self.reference().into();
        }
        if let Some(checksum) = checksum {
            component["hashes"] = json!([{"alg": "SHA-256", "content": checksum}]);
        }
        if let Some(license) = &self.license {
            // An old form of cargo's.
            component["licenses"] = json!([{"expression": license.replace('/', " OR ")}]);
        }
        if let Some(description) = &self.description {
            component["description"] = description.trim().into();
        }
        if let Some(repository) = &self.repository {
            component["externalReferences"] = json!([{"type": "vcs", "url": repository}]);
        }
        component
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dist::{
        dependencies::{Metadata, Tree, checksums},
        release::tests::release,
    };

    const LOCK: &str = "version = 4\n\n[[package]]\nname = \"one\"\nversion = \"1.0.0\"\nsource = \"registry\"\nchecksum = \"aa\"\n\
        \n[[package]]\nname = \"tka-cli\"\nversion = \"1.2.3\"\n";

    fn metadata() -> Metadata {
        let package = |id: &str, name: &str, version: &str, source: Option<&str>| {
            json!({"id": id, "name": name, "version": version, "license": "MIT/Apache-2.0", "description": " words\n",
                "repository": null, "source": source})
        };
        let registry = Some("registry");
        let node = |id: &str, on: &[&str]| json!({"id": id, "deps": on.iter().map(|id| json!({"pkg": id})).collect::<Vec<_>>()});
        let metadata = json!({
            "packages": [
                package("c", "tka-cli", "1.2.3", None), package("k", "tka-core", "1.2.3", None),
                package("1", "one", "1.0.0", registry), package("2", "two", "2.0.0+x", registry),
                package("3", "other", "3.0.0", registry),
            ],
            "resolve": {"nodes": [node("c", &["k", "2", "3"]), node("k", &["1"]), node("1", &[]), node("2", &[]), node("3", &[])]},
        });
        serde_json::from_value(metadata).unwrap()
    }

    fn example() -> Value {
        let own = "tka-cli v1.2.3 (/src/crates/tka-cli)\n";
        let linked = format!("{own}tka-core v1.2.3 (/src/crates/tka-core)\none v1.0.0\none v1.0.0 (*)\n");
        let all = format!("{linked}two v2.0.0+x (proc-macro)\n");
        let target = Target {
            triple: "x86_64-unknown-linux-gnu".into(),
            system: "linux",
            architecture: "amd64",
        };
        let subject = Subject {
            program: "tka",
            package: "tka-cli",
            sha256: "bb",
        };
        let dependencies = Dependencies {
            tree: Tree::read(&linked, &all),
            metadata: metadata(),
            checksums: checksums(LOCK),
            runtime: vec![("glibc".to_owned(), "2.41".to_owned())],
        };
        bill(&release(), &target, &subject, &dependencies).unwrap()
    }

    #[test]
    fn components_are_what_is_linked_and_what_builds() {
        let bill = example();
        let names: Vec<_> = bill["components"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| {
                let text = |key: &str| one[key].as_str().unwrap().to_owned();
                (text("bom-ref"), text("scope"))
            })
            .collect();
        let expected = [
            ("pkg:cargo/one@1.0.0", "required"),
            ("tka-core@1.2.3", "required"),
            ("pkg:cargo/two@2.0.0%2Bx", "excluded"),
            ("pkg:generic/glibc@2.41", "required"),
        ];
        assert_eq!(names, expected.map(|(name, scope)| (name.to_owned(), scope.to_owned())));
        let one = &bill["components"][0];
        assert_eq!(one["hashes"], json!([{"alg": "SHA-256", "content": "aa"}]));
        assert_eq!(one["licenses"], json!([{"expression": "MIT OR Apache-2.0"}]));
        assert_eq!(one["description"], "words");
    }

    #[test]
    fn references_are_unique_and_lead_to_components() {
        let bill = example();
        let components = bill["components"].as_array().unwrap();
        let mut known: BTreeSet<_> = components.iter().map(|one| one["bom-ref"].to_string()).collect();
        assert_eq!(known.len(), components.len());
        let named: Vec<_> = bill["dependencies"]
            .as_array()
            .unwrap()
            .iter()
            .map(|edge| edge["ref"].to_string())
            .collect();
        assert!(named.is_sorted() && !named.is_empty(), "{named:?}");
        known.insert(bill["metadata"]["component"]["bom-ref"].to_string());
        let edges = bill["dependencies"].as_array().unwrap();
        // The C library depends on nothing that is listed.
        assert_eq!(edges.len() + 1, known.len());
        for edge in edges {
            assert!(known.contains(&edge["ref"].to_string()), "{edge}");
            assert!(
                edge["dependsOn"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .all(|on| known.contains(&on.to_string())),
                "{edge}"
            );
        }
        assert_eq!(
            edges[2]["dependsOn"],
            json!(["pkg:cargo/two@2.0.0%2Bx", "pkg:generic/glibc@2.41", "tka-core@1.2.3"])
        );
    }

    #[test]
    fn number_is_a_uuid_and_of_the_content() {
        let bill = example();
        assert_eq!(bill, example());
        let number = bill["serialNumber"].as_str().unwrap();
        let lengths: Vec<_> = number
            .trim_start_matches("urn:uuid:")
            .split('-')
            .map(str::len)
            .collect();
        assert_eq!(lengths, [8, 4, 4, 4, 12], "{number}");
        assert_ne!(serial_number("a"), serial_number("b"));
        assert_eq!(bill["metadata"]["timestamp"], "2023-11-14T22:13:20Z");
    }
}
