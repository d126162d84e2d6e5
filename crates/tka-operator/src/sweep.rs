//! Removes what a cut between two requests may have left: accounts and bindings whose session is gone. And finds sessions that
//! have lost theirs.
//!
//! The order of writes makes orphans rare, and an account is collected by Kubernetes because its `TkaSignin` owns it. A binding
//! cannot be owned. One is left over when a session is ended by one process while another is provisioning it, and the other dies
//! before it finds out.

use std::collections::{HashMap, HashSet};

use kube::ResourceExt;
use kube::api::ListParams;
use tka_api::resource::{LABEL_NAMESPACE, TkaSignin};
use tka_core::SessionName;

use crate::children::{delete, uid_label};
use crate::error::with_causes;
use crate::objects::SELECTOR;
use crate::{Error, Sessions, objects};

/// What a sweep found.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct SweepReport {
    /// How many accounts and bindings were removed whose session is gone.
    pub orphans: usize,
    /// How many sessions had lost their account or a binding, and end.
    pub broken: usize,
}

impl Sessions {
    /// Deletes accounts and bindings whose `TkaSignin` does not exist or is no session, and ends sessions that have lost theirs. What fails is left
    /// for the next sweep, and the rest is done.
    pub async fn sweep(&self) -> Result<SweepReport, Error> {
        let ours = ListParams::default().labels(&format!("{SELECTOR},{LABEL_NAMESPACE}={}", self.namespace));
        // The TkaSignins are listed last. A TkaSignin is the first object of a session to exist. What was listed before, and has none in that list,
        // belongs to a session that is over.
        let cluster_bindings = self.cluster_bindings.list_metadata(&ours).await?;
        let bindings = self.bindings.list_metadata(&ours).await?;
        let accounts = self.accounts.list_metadata(&ours).await?;
        let signins = self.signins.list(&ours).await?;
        let living = living(&signins.items);

        let mut swept = SweepReport::default();
        let mut failed = Failed::default();
        for binding in cluster_bindings.iter().filter(|binding| is_orphan(*binding, &living)) {
            swept.orphans += failed.count(delete(&self.cluster_bindings, binding).await);
        }
        for binding in bindings.iter().filter(|binding| is_orphan(*binding, &living)) {
            let bindings = self.bindings_in(&binding.namespace().unwrap_or_default());
            swept.orphans += failed.count(delete(&bindings, binding).await);
        }
        for account in accounts.iter().filter(|account| is_orphan(*account, &living)) {
            swept.orphans += failed.count(delete(&self.accounts, account).await);
        }
        let mut children: HashMap<&str, usize> = HashMap::new();
        let namespaced = bindings.iter().map(uid_label);
        let bindings = cluster_bindings.iter().map(uid_label).chain(namespaced);
        for uid in bindings.chain(accounts.iter().map(uid_label)).flatten() {
            *children.entry(uid).or_default() += 1;
        }
        for name in suspects(&signins.items, &children) {
            // They are looked at again: one that was just made has its account and binding since these were listed.
            match self.begin_end_if_children_missing(&name).await {
                Ok(is_broken) => swept.broken += usize::from(is_broken),
                Err(error) => failed.add(error),
            }
        }
        if swept != SweepReport::default() {
            let SweepReport { orphans, broken } = swept;
            tracing::warn!(
                orphans,
                broken,
                "sweep removed orphaned objects and ended broken sessions"
            );
        }
        failed.0.map_or(Ok(swept), Err)
    }
}

/// What went wrong first. What cannot be removed keeps nothing else from being.
#[derive(Debug, Default)]
struct Failed(Option<Error>);

// === impl Failed ===

impl Failed {
    /// How many that makes.
    fn count(&mut self, deleted: kube::Result<()>) -> usize {
        match deleted {
            Ok(()) => 1,
            Err(error) => {
                self.add(error.into());
                0
            }
        }
    }

    fn add(&mut self, error: Error) {
        tracing::debug!(error = with_causes(&error), "orphaned object not removed yet");
        self.0.get_or_insert(error);
    }
}

/// The UIDs of those that are sessions.
fn living(signins: &[TkaSignin]) -> HashSet<String> {
    let sessions = signins.iter().filter(|signin| objects::session(signin).is_ok());
    sessions.filter_map(ResourceExt::uid).collect()
}

fn is_orphan(object: &impl ResourceExt, living: &HashSet<String>) -> bool {
    uid_label(object).is_none_or(|uid| !living.contains(uid))
}

/// The usable sessions with fewer objects than an account and a binding for each place.
fn suspects(signins: &[TkaSignin], children: &HashMap<&str, usize>) -> Vec<SessionName> {
    let usable = signins.iter().filter(|signin| objects::was_provisioned(signin));
    let fewer = usable.filter(|signin| {
        let uid = signin.metadata.uid.as_deref().unwrap_or_default();
        let expected = 1 + objects::count_bindings(signin);
        children.get(uid).is_none_or(|count| *count < expected)
    });
    let sessions = fewer.filter_map(|signin| objects::session(signin).ok());
    sessions.map(|session| session.name()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::ServiceAccount;
    use std::collections::BTreeMap;
    use tka_api::resource::LABEL_UID;

    fn account(uid: Option<&str>) -> ServiceAccount {
        let mut account = ServiceAccount::default();
        account.metadata.labels = uid.map(|uid| BTreeMap::from([(LABEL_UID.to_owned(), uid.to_owned())]));
        account
    }

    #[test]
    fn object_without_a_living_session_is_an_orphan() {
        let living = HashSet::from(["a".to_owned()]);
        assert!(is_orphan(&account(Some("b")), &living));
        assert!(is_orphan(&account(None), &living));
        assert!(!is_orphan(&account(Some("a")), &living));
    }
}
