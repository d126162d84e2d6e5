//! An image as one file, for `ctr images import`, `docker load` and `podman load`. It is an OCI image layout in a tar archive
//! (<https://github.com/opencontainers/image-spec/blob/v1.1.1/image-layout.md>), with the index of `docker save` beside it.
//!
//! Documents are written by hand, with sorted keys: the types of `oci-spec` hold labels in an order that changes from run to run.

use std::{
    collections::BTreeMap,
    io::{self, Write},
};

use data_encoding::HEXLOWER;
use flate2::{Compression as Level, GzBuilder};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::rootfs::Rootfs;

/// How much time goes into the size of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// For images that are sent.
    Best,
    /// For images that stay on this machine.
    Fast,
}

/// How an image is run, and what it says of itself.
#[derive(Clone, Debug)]
pub struct Image {
    /// The repository and the tag that it is loaded as.
    pub name: String,
    /// The architecture as Go names it: `amd64`.
    pub architecture: &'static str,
    /// The program and its first arguments.
    pub entrypoint: Vec<String>,
    /// The arguments where none are given.
    pub command: Vec<String>,
    /// User ID and group ID.
    pub user: String,
    /// Keys are those of <https://github.com/opencontainers/image-spec/blob/v1.1.1/annotations.md>.
    pub labels: BTreeMap<String, String>,
    /// The time of the commit, in seconds since 1970.
    pub created: i64,
    /// How its files are packed.
    pub compression: Compression,
}

/// Where an image's programs are looked for.
const PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// An image that is packed.
#[derive(Debug)]
pub struct Archive {
    /// The digest of its manifest, by which registries know it.
    pub digest: String,
    /// The archive itself.
    pub bytes: Vec<u8>,
}

/// A blob and its name.
struct Blob {
    digest: String,
    content: Vec<u8>,
}

// === impl Image ===

impl Image {
    /// Packs the image with the files in `rootfs`.
    pub fn pack(&self, rootfs: &Rootfs) -> io::Result<Archive> {
        let time = u64::try_from(self.created).unwrap_or_default();
        let layer = rootfs.layer(time)?;
        let diff_id = digest(&layer);
        let layer = Blob::new(gzip(&layer, self.compression)?);
        let config = Blob::json(&self.config(&diff_id)?)?;
        let manifest = Blob::json(&json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": config.descriptor("application/vnd.oci.image.config.v1+json"),
            "layers": [layer.descriptor("application/vnd.oci.image.layer.v1.tar+gzip")],
            "annotations": self.labels,
        }))?;
        let mut archive = Rootfs::default();
        archive.file("oci-layout", 0o644, json!({"imageLayoutVersion": "1.0.0"}).to_string());
        archive.file("index.json", 0o644, self.index(&manifest).to_string());
        archive.file("manifest.json", 0o644, self.docker(&config, &layer).to_string());
        let digest = manifest.digest.clone();
        for blob in [config, layer, manifest] {
            let path = blob.path();
            archive.file(&path, 0o644, blob.content);
        }
        Ok(Archive {
            digest,
            bytes: archive.layer(time)?,
        })
    }

    fn config(&self, diff_id: &str) -> io::Result<Value> {
        let created = jiff::Timestamp::from_second(self.created).map_err(io::Error::other)?;
        Ok(json!({
            "created": created.to_string(),
            "architecture": self.architecture,
            "os": "linux",
            "config": {
                "User": self.user,
                "Env": [format!("PATH={PATH}")],
                "Entrypoint": self.entrypoint,
                "Cmd": self.command,
                "WorkingDir": "/",
                "Labels": self.labels,
            },
            "rootfs": {"type": "layers", "diff_ids": [diff_id]},
            "history": [{"created": created.to_string(), "created_by": "cargo xtask image"}],
        }))
    }

    fn index(&self, manifest: &Blob) -> Value {
        let mut descriptor = manifest.descriptor("application/vnd.oci.image.manifest.v1+json");
        descriptor["platform"] = json!({"architecture": self.architecture, "os": "linux"});
        let tag = self.name.rsplit_once(':').map_or("latest", |(_, tag)| tag);
        descriptor["annotations"] =
            json!({"io.containerd.image.name": self.name, "org.opencontainers.image.ref.name": tag});
        json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.index.v1+json",
            "manifests": [descriptor],
        })
    }

    /// The index that engines read which do not know the layout of OCI.
    fn docker(&self, config: &Blob, layer: &Blob) -> Value {
        json!([{"Config": config.path(), "RepoTags": [self.name], "Layers": [layer.path()]}])
    }
}

// === impl Blob ===

impl Blob {
    fn new(content: Vec<u8>) -> Self {
        Self {
            digest: digest(&content),
            content,
        }
    }

    fn json(document: &Value) -> io::Result<Self> {
        Ok(Self::new(serde_json::to_vec(document)?))
    }

    fn path(&self) -> String {
        format!("blobs/{}", self.digest.replace(':', "/"))
    }

    fn descriptor(&self, media_type: &str) -> Value {
        json!({"mediaType": media_type, "digest": self.digest, "size": self.content.len()})
    }
}

fn digest(content: &[u8]) -> String {
    format!("sha256:{}", sha256(content))
}

/// The SHA-256 of `content`, in hexadecimal digits.
#[must_use]
pub fn sha256(content: &[u8]) -> String {
    HEXLOWER.encode(&Sha256::digest(content))
}

/// `content` compressed by gzip, without a time and a name, which would differ.
pub fn gzip(content: &[u8], compression: Compression) -> io::Result<Vec<u8>> {
    let level = match compression {
        Compression::Best => Level::best(),
        Compression::Fast => Level::fast(),
    };
    let mut writer = GzBuilder::new().write(Vec::new(), level);
    writer.write_all(content)?;
    writer.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    fn image() -> Image {
        Image {
            name: "localhost/tka-server:1.2.3".into(),
            architecture: "amd64",
            entrypoint: vec!["/usr/bin/tka-server".into()],
            command: vec!["serve".into()],
            user: "65532:65532".into(),
            labels: BTreeMap::from([("org.opencontainers.image.version".into(), "1.2.3".into())]),
            created: 1_700_000_000,
            compression: Compression::Fast,
        }
    }

    fn files(archive: &[u8]) -> BTreeMap<String, Vec<u8>> {
        let mut archive = tar::Archive::new(archive);
        let entries = archive.entries().unwrap().map(|entry| {
            let mut entry = entry.unwrap();
            let path = entry.path().unwrap().display().to_string();
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            (path, content)
        });
        entries.collect()
    }

    #[test]
    fn every_digest_leads_to_its_blob() {
        let mut rootfs = Rootfs::default();
        rootfs.file("usr/bin/tka-server", 0o755, "program");
        let archive = image().pack(&rootfs).unwrap();
        let files = files(&archive.bytes);
        let read = |path: &str| serde_json::from_slice::<Value>(&files[path]).unwrap();
        let blob = |descriptor: &Value| {
            let digest = descriptor["digest"].as_str().unwrap();
            let content = &files[&format!("blobs/{}", digest.replace(':', "/"))];
            assert_eq!(super::digest(content), digest);
            assert_eq!(descriptor["size"], content.len());
            content.clone()
        };
        let index = read("index.json");
        assert_eq!(index["manifests"][0]["digest"], archive.digest);
        let manifest: Value = serde_json::from_slice(&blob(&index["manifests"][0])).unwrap();
        let config: Value = serde_json::from_slice(&blob(&manifest["config"])).unwrap();
        let mut layer = Vec::new();
        let compressed = blob(&manifest["layers"][0]);
        flate2::read::GzDecoder::new(compressed.as_slice())
            .read_to_end(&mut layer)
            .unwrap();
        assert_eq!(config["rootfs"]["diff_ids"][0], super::digest(&layer));
        assert_eq!(config["config"]["User"], "65532:65532");
        assert_eq!(layer, rootfs.layer(1_700_000_000).unwrap());
        let docker = read("manifest.json");
        assert!(files.contains_key(docker[0]["Layers"][0].as_str().unwrap()));
    }

    #[test]
    fn same_image_has_the_same_bytes() {
        let mut rootfs = Rootfs::default();
        rootfs.file("a", 0o644, "a");
        let [one, two] = [(); 2].map(|()| image().pack(&rootfs).unwrap());
        assert_eq!((one.digest, one.bytes), (two.digest, two.bytes));
    }
}
