//! Several kubeconfigs at once, as kubectl reads those of `KUBECONFIG`.

use std::collections::HashSet;
use std::hash::Hash;

use super::{Context, Kubeconfig, Named, User, find};

/// What several kubeconfigs say together. Files are places in the list of them.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Merged {
    /// What is said.
    pub kubeconfig: Kubeconfig,
    /// Which file sets the current context.
    pub current_from: Option<usize>,
    contexts_from: Vec<usize>,
    users_from: Vec<usize>,
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
        merged.users_from.resize(all.users.len(), at);
        merged.contexts_from.resize(all.contexts.len(), at);
    }
    merged
}

fn add<T>(all: &mut Vec<Named<T>>, more: Vec<Named<T>>) {
    let names: HashSet<String> = all.iter().map(|named| named.name.clone()).collect();
    all.extend(more.into_iter().filter(|named| !names.contains(&named.name)));
}

// === impl Merged ===

impl Merged {
    /// The file that has both the current context and the user that it leads to, if that is one file.
    #[must_use]
    pub fn file_of_current_context(&self) -> Option<usize> {
        let kubeconfig = &self.kubeconfig;
        let mut contexts = kubeconfig.contexts.iter().zip(&self.contexts_from);
        let (context, from) = contexts.find(|(context, _)| context.name == kubeconfig.current_context)?;
        let mut users = kubeconfig.users.iter().zip(&self.users_from);
        let (_, user_from) = users.find(|(user, _)| user.name == context.item.user)?;
        (from == user_from).then_some(*from)
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn merged(texts: &[&str]) -> Merged {
        merge(texts.iter().map(|text| Kubeconfig::from_text(text).unwrap()))
    }

    #[test]
    fn first_to_name_something_counts() {
        let one = "current-context: \"\"\ncontexts: [{name: a, context: {user: one}}]\nusers: [{name: x}]\n";
        let two = "current-context: a\ncontexts: [{name: a, context: {user: two}}, {name: b}]\nusers: [{name: one}]\n";
        let both = merged(&[one, two]);
        assert_eq!(both.current_from, Some(1));
        assert_eq!(both.kubeconfig.current().unwrap().user, "one");
        assert_eq!(both.kubeconfig.contexts.len(), 2);
        let home = both.file_of_current_context();
        assert_eq!(home, None, "its context and its user are in two files");
        assert_eq!(
            merged(&["", two]).file_of_current_context(),
            None,
            "its user is nowhere"
        );
        let whole = "current-context: a\ncontexts: [{name: a, context: {user: u}}]\nusers: [{name: u}]\n";
        assert_eq!(merged(&["", whole, two]).file_of_current_context(), Some(1));
    }

    #[test]
    fn empty_paths_and_those_from_before_are_read_over() {
        assert_eq!(sources(["", "a", "b", "a"]), ["a", "b"]);
    }
}
