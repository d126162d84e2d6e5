//! What signing in adds to a kubeconfig.

use tka_api::kubeconfig::{Context, EntryNames, KubeconfigFile, NamedCluster, NamedContext, NamedUser};

/// A context with the cluster and the user that it leads to.
#[derive(Clone, Debug)]
pub struct KubeconfigEntry {
    /// How to reach the API server.
    pub cluster: NamedCluster,
    /// The user entry.
    pub user: NamedUser,
    /// What brings both together.
    pub context: NamedContext,
}

// === impl KubeconfigEntry ===

impl KubeconfigEntry {
    /// The current context of `file`, if that has all it leads to.
    #[must_use]
    pub fn current(file: KubeconfigFile) -> Option<Self> {
        let context = file.contexts.into_iter().find(|one| one.name == file.current_context)?;
        let mut clusters = file.clusters.into_iter();
        let cluster = clusters.find(|one| one.name == context.context.cluster)?;
        let user = file.users.into_iter().find(|one| one.name == context.context.user)?;
        Some(Self { cluster, user, context })
    }

    /// Its names.
    #[must_use]
    pub fn names(&self) -> EntryNames {
        EntryNames::new(
            self.cluster.name.clone(),
            self.user.name.clone(),
            self.context.name.clone(),
        )
    }

    /// The same under other names.
    #[must_use]
    pub fn named(self, names: EntryNames) -> Self {
        Self {
            context: NamedContext {
                name: names.context,
                context: Context {
                    cluster: names.cluster.clone(),
                    user: names.user.clone(),
                    namespace: self.context.context.namespace,
                },
            },
            cluster: NamedCluster {
                name: names.cluster,
                cluster: self.cluster.cluster,
            },
            user: NamedUser {
                name: names.user,
                user: self.user.user,
            },
        }
    }
}
