//! Sign-ins through rules with `break_glass` that none has acknowledged yet.
//!
//! They are kept in a ConfigMap for each caller and rule, beyond the end of the session. So they are told again until one with oversight acknowledges
//! them, at every replica and after restarts. The ConfigMap is written before the session, so that no such session exists without it.

use jiff::Timestamp;
use kube::ResourceExt;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams, Preconditions};
use kube::core::Status;
use serde_json::json;
use tka_api::resource::LABEL_BREAK_GLASS;
use tka_core::{Session, SessionName};

use crate::emergency::{UnacknowledgedSignIns, map, name, written};
use crate::error::{ignore_not_found, status};
use crate::sessions::is_plain_name;
use crate::{Error, Sessions};

/// How often it is written after another write came between.
const MAX_WRITES: usize = 4;

// === impl Sessions ===

impl Sessions {
    /// Writes down that `session` is signed in to in an emergency, by the request of that ID. Unless it returns well, it must not be.
    pub async fn note_break_glass(&self, session: &Session, request: &str) -> Result<(), Error> {
        let name = name(SessionName::new(&session.caller, &session.rule, None));
        for _ in 0..MAX_WRITES {
            let there = self.tombstones.get_opt(&name).await?;
            let before = there.as_ref().and_then(UnacknowledgedSignIns::of);
            let data = written(before.as_ref(), session, request, (self.clock)()).data();
            let done = match there {
                None => {
                    let map = map(&name, session, &self.namespace, data);
                    self.tombstones.create(&PostParams::default(), &map).await
                }
                Some(there) => {
                    let metadata = json!({"uid": there.uid(), "resourceVersion": there.resource_version()});
                    let patch = Patch::Merge(json!({"metadata": metadata, "data": data}));
                    self.tombstones.patch(&name, &PatchParams::default(), &patch).await
                }
            };
            match done {
                Ok(_) => return Ok(()),
                Err(error) if status(&error).is_some_and(is_passed) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(Error::Contended(name))
    }

    /// All that none has acknowledged.
    pub async fn list_unacknowledged(&self) -> Result<Vec<UnacknowledgedSignIns>, Error> {
        let selector = ListParams::default().labels(LABEL_BREAK_GLASS);
        let maps = self.tombstones.list(&selector).await?;
        Ok(maps.items.iter().filter_map(UnacknowledgedSignIns::of).collect())
    }

    /// What none has acknowledged of the session of that name.
    pub async fn get_unacknowledged(&self, session: &str) -> Result<Option<UnacknowledgedSignIns>, Error> {
        if !is_plain_name(session) {
            return Ok(None);
        }
        let map = self.tombstones.get_opt(&name(session)).await?;
        Ok(map.as_ref().and_then(UnacknowledgedSignIns::of))
    }

    /// Keeps `emergency` no longer, unless it was changed since. Says whether it did.
    pub async fn delete_break_glass_record(&self, emergency: &UnacknowledgedSignIns) -> Result<bool, Error> {
        let this = Preconditions {
            uid: Some(emergency.uid.clone()),
            resource_version: Some(emergency.version.clone()),
        };
        let delete = DeleteParams::default().preconditions(this);
        match ignore_not_found(self.tombstones.delete(&name(&emergency.name), &delete).await) {
            Err(error) if status(&error).is_some_and(Status::is_conflict) => Ok(false),
            deleted => Ok(deleted?.is_some()),
        }
    }

    /// Writes down that `emergency` was told again, and when, unless it was changed since.
    pub async fn record_reminder(&self, emergency: &UnacknowledgedSignIns, told: Timestamp) -> Result<(), Error> {
        let Some((session, last)) = emergency.session().zip(emergency.last()) else {
            return Ok(());
        };
        let mut written = written(None, &session, &last.request, told);
        written.sign_ins.clone_from(&emergency.sign_ins);
        written.count = emergency.count;
        let metadata = json!({"uid": emergency.uid, "resourceVersion": emergency.version});
        let patch = Patch::Merge(json!({"metadata": metadata, "data": written.data()}));
        let (name, parameters) = (name(&emergency.name), PatchParams::default());
        match ignore_not_found(self.tombstones.patch(&name, &parameters, &patch).await) {
            Err(error) if status(&error).is_some_and(Status::is_conflict) => Ok(()),
            patched => Ok(patched.map(drop)?),
        }
    }

    /// Tells in an Event that `session` was signed in to in an emergency.
    pub async fn emit_break_glass_event(&self, session: &Session) {
        // Where it cannot be read, the record and the webhooks say it all the same.
        if let Ok(Some(signin)) = self.signins.get_opt(session.name().as_str()).await {
            self.events.break_glass(&signin, session);
        }
    }

    /// Tells in an Event that none has acknowledged `emergency`.
    pub fn tell_unacknowledged(&self, emergency: &UnacknowledgedSignIns) {
        self.events.unacknowledged(emergency);
    }
}

/// Whether another write came between: the object is there by now, or another, or gone.
fn is_passed(status: &Status) -> bool {
    status.is_conflict() || status.is_already_exists() || status.is_not_found()
}
