//! The files of an image, as one layer: the same files make the same bytes.

use std::{collections::BTreeMap, io};

use tar::{Builder, EntryType, Header};

/// What a path holds.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Entry {
    Folder { mode: u32 },
    File { mode: u32, content: Vec<u8> },
    Link { target: String },
}

/// The files of an image. All belong to root.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Rootfs(BTreeMap<String, Entry>);

// === impl Rootfs ===

impl Rootfs {
    /// Adds a folder and those above it. `path` is relative to the root, without a slash at its end.
    pub fn folder(&mut self, path: &str, mode: u32) -> &mut Self {
        self.parents(path);
        self.0.insert(path.to_owned(), Entry::Folder { mode });
        self
    }

    /// Adds a file and the folders above it.
    pub fn file(&mut self, path: &str, mode: u32, content: impl Into<Vec<u8>>) -> &mut Self {
        self.parents(path);
        let content = content.into();
        self.0.insert(path.to_owned(), Entry::File { mode, content });
        self
    }

    /// Adds a symbolic link and the folders above it.
    pub fn link(&mut self, path: &str, target: &str) -> &mut Self {
        self.parents(path);
        let target = target.to_owned();
        self.0.insert(path.to_owned(), Entry::Link { target });
        self
    }

    /// The same files in a folder called `top`.
    #[must_use]
    pub fn below(&self, top: &str) -> Self {
        let mut moved = Self::default();
        moved.folder(top, 0o755);
        let entries = self
            .0
            .iter()
            .map(|(path, entry)| (format!("{top}/{path}"), entry.clone()));
        moved.0.extend(entries);
        moved
    }

    fn parents(&mut self, path: &str) {
        for (at, _) in path.match_indices('/') {
            let parent = Entry::Folder { mode: 0o755 };
            self.0.entry(path[..at].to_owned()).or_insert(parent);
        }
    }

    /// The layer: a tar archive in the order of paths, in which all times are `time`, in seconds since 1970.
    pub fn layer(&self, time: u64) -> io::Result<Vec<u8>> {
        let mut archive = Builder::new(Vec::new());
        for (path, entry) in &self.0 {
            let mut header = Header::new_ustar();
            header.set_mtime(time);
            header.set_uid(0);
            header.set_gid(0);
            match entry {
                Entry::Folder { mode } => {
                    header.set_entry_type(EntryType::Directory);
                    header.set_mode(*mode);
                    header.set_size(0);
                    archive.append_data(&mut header, format!("{path}/"), io::empty())?;
                }
                Entry::Link { target } => {
                    header.set_entry_type(EntryType::Symlink);
                    header.set_mode(0o777);
                    header.set_size(0);
                    archive.append_link(&mut header, path, target)?;
                }
                Entry::File { mode, content } => {
                    header.set_entry_type(EntryType::Regular);
                    header.set_mode(*mode);
                    header.set_size(content.len() as u64);
                    archive.append_data(&mut header, path, content.as_slice())?;
                }
            }
        }
        archive.into_inner()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    fn entries(layer: &[u8]) -> Vec<(String, u32, String)> {
        let mut archive = tar::Archive::new(layer);
        let entries = archive.entries().unwrap().map(|entry| {
            let mut entry = entry.unwrap();
            let path = entry.path().unwrap().display().to_string();
            let mode = entry.header().mode().unwrap();
            let mut text = String::new();
            entry.read_to_string(&mut text).unwrap();
            (path, mode, text)
        });
        entries.collect()
    }

    #[test]
    fn folders_stand_before_what_is_in_them() {
        let mut rootfs = Rootfs::default();
        rootfs
            .file("usr/bin/x", 0o755, "run")
            .folder("tmp", 0o1777)
            .file("etc/passwd", 0o644, "root");
        let entry = |path: &str, mode, text: &str| (path.to_owned(), mode, text.to_owned());
        assert_eq!(
            entries(&rootfs.layer(5).unwrap()),
            [
                entry("etc/", 0o755, ""),
                entry("etc/passwd", 0o644, "root"),
                entry("tmp/", 0o1777, ""),
                entry("usr/", 0o755, ""),
                entry("usr/bin/", 0o755, ""),
                entry("usr/bin/x", 0o755, "run"),
            ]
        );
    }

    #[test]
    fn same_files_make_the_same_bytes_in_whatever_order() {
        let layer = |names: [&str; 2], time| {
            let mut rootfs = Rootfs::default();
            for name in names {
                rootfs.file(name, 0o644, name);
            }
            rootfs.layer(time).unwrap()
        };
        assert_eq!(layer(["a/b", "c"], 1), layer(["c", "a/b"], 1));
        assert_ne!(layer(["a/b", "c"], 1), layer(["a/b", "c"], 2));
    }
}
