//! Removes what a cut between two requests may have left: accounts and bindings whose session is gone.
//!
//! The order of writes makes such orphans rare, and an account is collected by Kubernetes because its `TkaSignin` owns it. A
//! binding cannot be owned. One is left over when a session is ended by one process while another is provisioning it, and
//! the other dies before it finds out.

use std::collections::HashSet;

use kube::ResourceExt;
use kube::api::{DeleteParams, ListParams, Preconditions};
use tka_api::resource::{LABEL_NAMESPACE, LABEL_SESSION};

use crate::error::found;
use crate::objects::SELECTOR;
use crate::{Error, Sessions, objects};

impl Sessions {
    /// Deletes accounts and bindings whose `TkaSignin` does not exist or is no session, and says how many those were.
    pub async fn sweep(&self) -> Result<usize, Error> {
        let ours = ListParams::default().labels(&format!("{SELECTOR},{LABEL_NAMESPACE}={}", self.namespace));
        // The TkaSignins are listed last. Theirs is the first object of a session to exist: whatever was listed before it and
        // is not among them belongs to a session that is over.
        let cluster_bindings = self.cluster_bindings.list(&ours).await?;
        let bindings = self.bindings.list(&ours).await?;
        let accounts = self.accounts.list(&ours).await?;
        let signins = self.signins.list(&ours).await?;
        let living: HashSet<String> = signins
            .iter()
            .filter(|signin| objects::session(signin).is_ok())
            .map(ResourceExt::name_any)
            .collect();

        let mut swept = 0;
        for binding in cluster_bindings.iter().filter(|binding| is_orphan(*binding, &living)) {
            found(
                self.cluster_bindings
                    .delete(&binding.name_any(), &exactly(binding))
                    .await,
            )?;
            swept += 1;
        }
        for binding in bindings.iter().filter(|binding| is_orphan(*binding, &living)) {
            let bindings = self.bindings_in(&binding.namespace().unwrap_or_default());
            found(bindings.delete(&binding.name_any(), &exactly(binding)).await)?;
            swept += 1;
        }
        for account in accounts.iter().filter(|account| is_orphan(*account, &living)) {
            found(self.accounts.delete(&account.name_any(), &exactly(account)).await)?;
            swept += 1;
        }
        Ok(swept)
    }
}

fn is_orphan(object: &impl ResourceExt, living: &HashSet<String>) -> bool {
    object
        .labels()
        .get(LABEL_SESSION)
        .is_some_and(|session| !living.contains(session))
}

/// Deletes this object and not another that took its name since it was listed.
fn exactly(object: &impl ResourceExt) -> DeleteParams {
    let preconditions = Preconditions {
        uid: object.uid(),
        resource_version: object.resource_version(),
    };
    DeleteParams {
        preconditions: Some(preconditions),
        ..DeleteParams::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::ServiceAccount;
    use std::collections::BTreeMap;

    fn account(session: Option<&str>) -> ServiceAccount {
        let mut account = ServiceAccount::default();
        account.metadata.labels =
            session.map(|session| BTreeMap::from([(LABEL_SESSION.to_owned(), session.to_owned())]));
        account
    }

    #[test]
    fn only_what_names_a_session_that_is_gone_is_an_orphan() {
        let living = HashSet::from(["a".to_owned()]);
        assert!(is_orphan(&account(Some("b")), &living));
        assert!(!is_orphan(&account(Some("a")), &living));
        assert!(!is_orphan(&account(None), &living));
    }
}
