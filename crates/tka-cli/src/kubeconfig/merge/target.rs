//! Selects the user's kubeconfig to merge into.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use crate::kubeconfig::store;

/// The target among the files that kubectl reads.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct MergeTarget {
    /// The file that kubectl would write to.
    pub(crate) path: PathBuf,
    /// The value of KUBECONFIG with which kubectl reads the file. None if it reads it already.
    pub(crate) list: Option<Vec<PathBuf>>,
}

// === impl MergeTarget ===

impl MergeTarget {
    /// Selects the file as kubectl does: the first existing file in `KUBECONFIG`, or its last one, or `~/.kube/config`
    /// (<https://github.com/kubernetes/client-go/blob/v0.34.0/tools/clientcmd/config.go>, `GetDefaultFilename`).
    ///
    /// kubectl takes the home folder from `HOME` only. `reads_home` says whether that is set.
    pub(crate) fn choose(home: &Path, reads_home: bool, list: Option<&OsStr>, exists: impl Fn(&Path) -> bool) -> Self {
        let all: Vec<_> = list.into_iter().flat_map(std::env::split_paths).collect();
        let named: Vec<_> = all.into_iter().filter(|path| !path.as_os_str().is_empty()).collect();
        let user_files: Vec<_> = named.iter().filter(|path| !is_ours(home, path)).cloned().collect();
        let first = user_files.iter().find(|path| exists(path)).or(user_files.last());
        let path = first.cloned().unwrap_or_else(|| home.join(".kube/config"));
        // With a KUBECONFIG of separators only, such as `:`, kubectl reads no file.
        let reads_usual = reads_home && list.is_none_or(OsStr::is_empty);
        let is_read = user_files.len() == named.len() && (!user_files.is_empty() || reads_usual);
        let list = if user_files.is_empty() {
            vec![path.clone()]
        } else {
            user_files
        };
        Self {
            path,
            list: (!is_read).then_some(list),
        }
    }
}

/// Whether `tka login` wrote the file, or it belongs to an ephemeral session.
fn is_ours(home: &Path, path: &Path) -> bool {
    let folder = store::folder(home);
    let is_in = |path: &Path, folder: &Path| path.parent() == Some(folder);
    let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    #[cfg(unix)]
    if crate::kubeconfig::private_folder::is_private(path) {
        return true;
    }
    is_in(path, &folder) || is_in(&real(path), &real(&folder))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choose(list: &str, there: &[&str]) -> (String, Option<String>) {
        let exists = |path: &Path| there.iter().any(|one| Path::new(one) == path);
        let target = MergeTarget::choose(Path::new("/home/a"), true, Some(list.as_ref()), exists);
        let joined = |list| std::env::join_paths(list).unwrap().into_string().unwrap();
        let list = target.list.map(joined);
        (target.path.display().to_string(), list)
    }

    #[test]
    fn file_is_the_one_that_kubectl_writes_to() {
        for (list, there, expected) in [
            ("", &[][..], "/home/a/.kube/config"),
            ("/a", &[], "/a"),
            ("/a:/b", &[], "/b"),
            ("/a:/b", &["/b", "/a"], "/a"),
            (":/a::/b:", &["/b"], "/b"),
        ] {
            assert_eq!(choose(list, there), (expected.to_owned(), None), "{list}");
        }
        let usual = MergeTarget::choose(Path::new("/home/a"), true, None, |_| false);
        assert_eq!(usual.path, Path::new("/home/a/.kube/config"));
    }

    /// cases.md 6: `KUBECONFIG=:`.
    #[test]
    fn list_of_nothing_leads_kubectl_nowhere() {
        let usual = "/home/a/.kube/config".to_owned();
        for list in [":", "::"] {
            assert_eq!(choose(list, &[]), (usual.clone(), Some(usual.clone())), "{list}");
        }
        let without_home = MergeTarget::choose(Path::new("/home/a"), false, None, |_| true);
        assert_eq!(without_home.list, Some(vec![usual.into()]));
    }

    #[test]
    fn ours_are_passed_over_and_then_left_out() {
        let ours = "/home/a/.kube/tka/tka_443.yaml";
        let own = "/dev/shm/tka-Xy12/config";
        for (list, path, left) in [
            (ours.to_owned(), "/home/a/.kube/config", "/home/a/.kube/config"),
            (format!("{ours}:/a:/b"), "/a", "/a:/b"),
            (format!("/a:{ours}"), "/a", "/a"),
            (own.to_owned(), "/home/a/.kube/config", "/home/a/.kube/config"),
        ] {
            let chosen = choose(&list, &[ours, own, "/a"]);
            assert_eq!(chosen, (path.to_owned(), Some(left.to_owned())), "{list}");
        }
    }
}
