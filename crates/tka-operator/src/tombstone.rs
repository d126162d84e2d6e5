//! Tombstones: that a session was ended on purpose, so that use alone does not begin it again.
//!
//! Only rules with `sign_in: on_use` need them. A tool that polls through the gateway would undo each sign-out and revocation otherwise. A
//! tombstone is a ConfigMap with the session's name, so that every replica sees it, also after a restart. It is written before the `TkaSignin` goes,
//! and read after the next one was written. The order leaves no moment at which use begins a session whose end is about to be written.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::ResourceExt;
use kube::api::{DeleteParams, ObjectMeta, Patch, PatchParams, Preconditions};
use kube::core::Status;
use serde_json::json;
use tka_api::resource::{
    ANNOTATION_SIGN_IN, LABEL_CALLER, LABEL_MANAGED_BY, LABEL_TOMBSTONE, LABEL_USER, MANAGED_BY, TkaSignin,
};
use tka_core::{Session, SessionName, SignInTrigger};

use crate::error::{ignore_not_found, status};
use crate::provision::patch_params;
use crate::{EndReason, Error, Sessions, objects};

/// Why the API server lets nothing be made in a namespace that is being deleted
/// (<https://github.com/kubernetes/api/blob/master/core/v1/types.go>, `NamespaceTerminatingCause`).
const NAMESPACE_TERMINATING: &str = "NamespaceTerminating";

// === impl Sessions ===

impl Sessions {
    /// Writes down that `session` ended by `how`, where use could begin it again and must not.
    pub(crate) async fn write_tombstone(&self, session: &Session, how: &EndReason) -> Result<(), Error> {
        if !is_needed(session, how) {
            return Ok(());
        }
        let tombstone = tombstone(session, how, &self.namespace, (self.clock)());
        let name = tombstone.name_any();
        match self
            .tombstones
            .patch(&name, &patch_params(), &Patch::Apply(tombstone))
            .await
        {
            Ok(_) => Ok(()),
            // All sessions go with the namespace, and this server with them.
            Err(error) if status(&error).is_some_and(is_namespace_terminating) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Marks a live session whose rule has gained `sign_in: on_use`. On a conflict the next round tries again.
    pub async fn annotate_on_use(&self, session: &Session) -> Result<(), Error> {
        let name = session.name();
        let Some(live) = self.signins.get_opt(name.as_str()).await? else {
            return Ok(());
        };
        if objects::session(&live).is_ok_and(|live| live.on_use.is_some()) {
            return Ok(());
        }
        let (uid, version) = (live.uid(), live.resource_version());
        let annotations = json!({ANNOTATION_SIGN_IN: objects::trigger_annotation(SignInTrigger::Asked)});
        let metadata = json!({"uid": uid, "resourceVersion": version, "annotations": annotations});
        let (parameters, patch) = (PatchParams::default(), Patch::Merge(json!({"metadata": metadata})));
        match ignore_not_found(self.signins.patch_metadata(name.as_str(), &parameters, &patch).await) {
            Err(error) if status(&error).is_some_and(Status::is_conflict) => Ok(()),
            written => Ok(written.map(drop)?),
        }
    }

    /// Refuses to begin by use the session of that name, if it was ended on purpose and its caller has not signed in since. This is asked again once
    /// its `TkaSignin` is written; to ask before spares a program that polls that write.
    pub async fn check_tombstone(&self, name: &SessionName) -> Result<(), Error> {
        match self.tombstones.get_metadata_opt(name.as_str()).await? {
            Some(there) if there.labels().contains_key(LABEL_TOMBSTONE) => Err(Error::EndedOnPurpose(name.clone())),
            _ => Ok(()),
        }
    }

    /// Removes the tombstone of sessions before the one that `signin` holds, which was asked for and is recorded. That of its own end, which another may have
    /// carried out meanwhile, stays.
    pub(crate) async fn remove_tombstone(&self, signin: &TkaSignin, session: &Session) -> Result<(), Error> {
        let name = session.name();
        let there = self.tombstones.get_metadata_opt(name.as_str()).await?;
        let Some(there) = there.filter(|there| there.labels().contains_key(LABEL_TOMBSTONE)) else {
            return Ok(());
        };
        // Read after the tombstone: if this session is still live, the tombstone is an earlier session's.
        let goes_on = |live: &TkaSignin| !objects::is_ending(live, session);
        if !self.refetch(signin).await?.as_ref().is_some_and(goes_on) {
            return Err(Error::EndedMeanwhile(name));
        }
        let this = Preconditions {
            uid: there.uid(),
            resource_version: there.resource_version(),
        };
        let delete = DeleteParams::default().preconditions(this);
        match ignore_not_found(self.tombstones.delete(name.as_str(), &delete).await) {
            Err(error) if status(&error).is_some_and(Status::is_conflict) => Err(Error::EndedMeanwhile(name)),
            deleted => Ok(deleted.map(drop)?),
        }
    }
}

/// Labelled sessions need none: use never begins them. Expired and refused sessions leave none: use may begin them again.
fn is_needed(session: &Session, how: &EndReason) -> bool {
    let is_on_purpose = match how {
        EndReason::SignedOut | EndReason::Idle | EndReason::Revoked(_) | EndReason::TakenDown | EndReason::Broken => {
            true
        }
        EndReason::Expired | EndReason::Refused(_) => false,
    };
    is_on_purpose && session.on_use.is_some() && session.label.is_none()
}

fn tombstone(session: &Session, how: &EndReason, namespace: &str, now: Timestamp) -> ConfigMap {
    let (caller, user) = (session.caller.key(), session.caller.user_key());
    let labels = [
        (LABEL_MANAGED_BY, MANAGED_BY),
        (LABEL_TOMBSTONE, "true"),
        (LABEL_CALLER, caller.as_str()),
        (LABEL_USER, user.as_str()),
    ];
    // For people to read.
    let data = [
        ("username", session.caller.username().to_owned()),
        ("device", session.caller.device.name.clone()),
        ("role", session.rule.role.to_string()),
        ("ended", now.to_string()),
        ("reason", how.to_string()),
    ];
    ConfigMap {
        metadata: ObjectMeta {
            name: Some(session.name().to_string()),
            namespace: Some(namespace.into()),
            labels: Some(owned(labels)),
            ..ObjectMeta::default()
        },
        data: Some(owned(data)),
        ..ConfigMap::default()
    }
}

fn owned<V: Into<String>, const N: usize>(pairs: [(&str, V); N]) -> BTreeMap<String, String> {
    pairs
        .into_iter()
        .map(|(key, value)| (key.into(), value.into()))
        .collect()
}

fn is_namespace_terminating(status: &Status) -> bool {
    let causes = status.details.iter().flat_map(|details| &details.causes);
    causes.into_iter().any(|cause| cause.reason == NAMESPACE_TERMINATING)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::examples;
    use tka_core::SessionLabel;

    fn session(on_use: Option<SignInTrigger>) -> Session {
        Session {
            on_use,
            ..examples::session("1h", examples::at(100))
        }
    }

    #[test]
    fn ends_on_purpose_are_kept() {
        let on_use = session(Some(SignInTrigger::ByUse));
        for how in [
            EndReason::SignedOut,
            EndReason::Idle,
            EndReason::Revoked("the rule is gone".into()),
            EndReason::TakenDown,
            EndReason::Broken,
        ] {
            assert!(is_needed(&on_use, &how), "{how}");
            assert!(is_needed(&session(Some(SignInTrigger::Asked)), &how), "{how}");
            assert!(!is_needed(&session(None), &how), "{how}");
            let apart = Session {
                label: Some(SessionLabel::try_from("shell".to_owned()).unwrap()),
                ..on_use.clone()
            };
            assert!(!is_needed(&apart, &how), "{how}");
        }
        assert!(!is_needed(&on_use, &EndReason::Expired));
        assert!(!is_needed(&on_use, &EndReason::Refused("too many".into())));
    }

    #[test]
    fn tombstone_has_the_sessions_name_and_says_whose_it_was() {
        let session = session(Some(SignInTrigger::ByUse));
        let made = tombstone(&session, &EndReason::SignedOut, "tka", examples::at(200));
        assert_eq!(made.name_any(), session.name().as_str());
        assert_eq!(made.labels()[LABEL_TOMBSTONE], "true");
        assert_eq!(made.data.unwrap()["reason"], "its owner signed out");
    }
}
