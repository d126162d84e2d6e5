//! The chart as a package, as `helm package` makes it, without the time at which it was made.

use std::{fs, path::Path};

use testbed::oci::Rootfs;

use super::{archive, release::Release};
use crate::{Outcome, image::git};

/// Why the chart cannot be packed.
#[derive(Debug, thiserror::Error)]
enum Error {
    /// git lists none.
    #[error("git lists no file of {0}: releases are made of a checkout")]
    NoFiles(&'static str),
}

/// The chart's folder; what is committed of it goes into the package.
const FOLDER: &str = "charts/tka";

/// The name that helm gives to the package.
pub(super) fn name(version: &str) -> String {
    format!("tka-{version}.tgz")
}

/// The package, of the files below `root`.
pub(super) fn package(root: &Path, release: &Release) -> Outcome<Vec<u8>> {
    let listed = git(&["ls-files", FOLDER]).unwrap_or_default();
    let mut files = Rootfs::default();
    for path in listed.lines() {
        let name = path.strip_prefix(FOLDER).unwrap_or(path).trim_start_matches('/');
        files.file(name, 0o644, fs::read(root.join(path))?);
    }
    if files == Rootfs::default() {
        return Err(Error::NoFiles(FOLDER).into());
    }
    Ok(archive::pack(&files, "tka", release.time())?)
}

#[cfg(test)]
mod tests {
    use crate::{dist::release::tests::release, root};

    #[test]
    fn package_has_the_chart_and_is_the_same_each_time() {
        let package = || super::package(&root(), &release()).unwrap();
        let one = package();
        assert_eq!(one, package());
        assert!(one.len() > 10_000);
    }
}
