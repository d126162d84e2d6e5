//! Several kubeconfigs at once, as kubectl reads those of `KUBECONFIG`.

use std::collections::HashSet;
use std::hash::Hash;

use super::{Context, Kubeconfig, Named, User, find};

/// What several kubeconfigs say together.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Merged {
    /// Which file sets the current context: a place in the list.
    pub current_from: Option<usize>,
    /// What is said.
    pub kubeconfig: Kubeconfig,
}

/// Merges kubeconfigs, the first first.
///
/// The first that sets the current context, or names something, counts, and nothing of another by that name
/// (`ClientConfigLoadingRules.Load` in
/// <https://github.com/kubernetes/client-go/blob/v0.35.4/tools/clientcmd/loader.go>).
#[must_use]
pub fn merge(files: impl IntoIterator<Item = Kubeconfig>) -> Merged {
    let mut merged = Merged::default();
    for (at, file) in files.into_iter().enumerate() {
        let all = &mut merged.kubeconfig;
        if all.current_context.is_empty() && !file.current_context.is_empty() {
            all.current_context = file.current_context;
            merged.current_from = Some(at);
        }
        add(&mut all.clusters, file.clusters);
        add(&mut all.users, file.users);
        add(&mut all.contexts, file.contexts);
    }
    merged
}

fn add<T>(all: &mut Vec<Named<T>>, more: Vec<Named<T>>) {
    let names: HashSet<String> = all.iter().map(|named| named.name.clone()).collect();
    all.extend(more.into_iter().filter(|named| !names.contains(&named.name)));
}

/// `paths` without those that are empty or there before, which kubectl reads over.
pub fn sources<P: AsRef<std::path::Path> + Clone + Eq + Hash>(paths: impl IntoIterator<Item = P>) -> Vec<P> {
    let mut seen = HashSet::new();
    let is_new = |path: &P| !path.as_ref().as_os_str().is_empty() && seen.insert(path.clone());
    paths.into_iter().filter(is_new).collect()
}

// === impl Kubeconfig ===

impl Kubeconfig {
    /// The current context, if it is there.
    #[must_use]
    pub fn current(&self) -> Option<&Context> {
        find(&self.contexts, &self.current_context)
    }

    /// The user that the current context leads to, if both are there.
    #[must_use]
    pub fn current_user(&self) -> Option<&User> {
        find(&self.users, &self.current()?.user)
    }
}
