//! Sign-ins through rules with `break_glass` that none has acknowledged yet, as a ConfigMap keeps them: by value.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::ResourceExt;
use kube::api::ObjectMeta;
use serde::{Deserialize, Serialize};
use tka_api::resource::{LABEL_BREAK_GLASS, LABEL_CALLER, LABEL_MANAGED_BY, LABEL_USER, MANAGED_BY};
use tka_core::{Caller, Device, Identity, Namespace, Namespaces, Period, RuleKey, Scope, Session, SessionName};

/// What the name of a ConfigMap has behind that of the session. A session's name has no full stop.
const SUFFIX: &str = ".break-glass";
/// Under which key the ConfigMap holds it.
const KEY: &str = "signIns.json";
/// How many sign-ins are kept of one caller and rule, the last ones. The audit log has all.
const MAX_SIGN_INS: usize = 10;

/// The sign-ins of one caller through one rule that none has acknowledged.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct UnacknowledgedSignIns {
    /// The name of the session, or of the one without a label.
    pub name: SessionName,
    /// Whose they are.
    pub caller: Caller,
    /// Through which rule.
    pub rule: RuleKey,
    /// The last ones, in their order; at least one.
    pub sign_ins: Vec<EmergencySignIn>,
    /// How many there are in all.
    pub count: u32,
    /// When they were last told.
    pub told: Timestamp,
    pub(crate) uid: String,
    pub(crate) version: String,
}

/// One of them.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct EmergencySignIn {
    /// Its ID. Acknowledging this one acknowledges those before.
    pub request: String,
    /// The session that it began or extended.
    pub session: String,
    /// What its caller said it was for.
    pub reason: String,
    /// For how long.
    pub period: Period,
    /// When.
    pub at: Timestamp,
}

/// What the ConfigMap holds.
#[derive(Deserialize, Serialize)]
pub(crate) struct StoredSignIns {
    #[serde(skip_serializing_if = "Option::is_none")]
    user_id: Option<i64>,
    username: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    tags: Vec<String>,
    stable_id: String,
    device: String,
    role: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    namespaces: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rule: Option<String>,
    pub(crate) sign_ins: Vec<EmergencySignIn>,
    pub(crate) count: u32,
    told: Timestamp,
}

// === impl UnacknowledgedSignIns ===

impl UnacknowledgedSignIns {
    /// The last of them.
    #[must_use]
    pub fn last(&self) -> Option<&EmergencySignIn> {
        self.sign_ins.last()
    }

    /// The session of the last of them, for records: its rule is not looked at any more.
    #[must_use]
    pub fn session(&self) -> Option<Session> {
        let last = self.last()?;
        Some(Session {
            caller: self.caller.clone(),
            rule: self.rule.clone(),
            label: None,
            period: last.period,
            signed_in: tka_core::session::whole_seconds(last.at),
            reason: last.reason.clone().try_into().ok(),
            on_use: None,
            idle: None,
        })
    }

    /// What `map` holds; nothing where it is not one of the server's.
    pub(crate) fn of(map: &ConfigMap) -> Option<Self> {
        let written: StoredSignIns = serde_json::from_str(map.data.as_ref()?.get(KEY)?).ok()?;
        let identity = match written.user_id {
            Some(id) => Identity::user(id, written.username),
            None => Identity::machine(written.tags),
        };
        let caller = Caller {
            identity,
            device: Device::new(written.stable_id, written.device),
        };
        let scope = match written.namespaces.as_slice() {
            [] => Scope::Cluster,
            names => Scope::Namespaces(namespaces(names)?),
        };
        let rule = RuleKey {
            role: written.role.try_into().ok()?,
            scope,
            name: written.rule.map(TryInto::try_into).transpose().ok()?,
        };
        let emergency = Self {
            name: SessionName::new(&caller, &rule, None),
            caller,
            rule,
            sign_ins: written.sign_ins,
            count: written.count,
            told: written.told,
            uid: map.uid()?,
            version: map.resource_version()?,
        };
        let is_own = map.name_any() == name(&emergency.name) && !emergency.sign_ins.is_empty();
        is_own.then_some(emergency)
    }
}

fn namespaces(names: &[String]) -> Option<Namespaces> {
    let names: Option<BTreeSet<Namespace>> = names.iter().map(|name| name.clone().try_into().ok()).collect();
    names?.try_into().ok()
}

/// What the ConfigMap is called that keeps sign-ins to the session of that name.
pub(crate) fn name(session: impl std::fmt::Display) -> String {
    format!("{session}{SUFFIX}")
}

/// What is to be kept once `session` is signed in to at `now`, by the request of that ID, beside what was.
pub(crate) fn written(
    before: Option<&UnacknowledgedSignIns>,
    session: &Session,
    request: &str,
    now: Timestamp,
) -> StoredSignIns {
    let mut sign_ins = before.map(|before| before.sign_ins.clone()).unwrap_or_default();
    sign_ins.push(EmergencySignIn {
        request: request.to_owned(),
        session: session.name().to_string(),
        reason: session.reason.as_ref().map(ToString::to_string).unwrap_or_default(),
        period: session.period,
        at: now,
    });
    sign_ins.drain(..sign_ins.len().saturating_sub(MAX_SIGN_INS));
    let (user_id, tags) = match &session.caller.identity {
        Identity::User { id, .. } => (Some(id.0), Vec::new()),
        Identity::Machine { tags } => (None, tags.clone()),
    };
    StoredSignIns {
        user_id,
        username: session.caller.username().to_owned(),
        tags,
        stable_id: session.caller.device.stable_id.clone(),
        device: session.caller.device.name.clone(),
        role: session.rule.role.to_string(),
        namespaces: session.rule.scope.to_names(),
        rule: session.rule.name.as_ref().map(ToString::to_string),
        count: before.map_or(0, |before| before.count).saturating_add(1),
        sign_ins,
        told: now,
    }
}

// === impl StoredSignIns ===

impl StoredSignIns {
    /// The same as the ConfigMap has it.
    pub(crate) fn data(&self) -> BTreeMap<String, String> {
        // Nothing in it fails to serialize: no map, no float, no path.
        let text = serde_json::to_string(self).unwrap_or_default();
        BTreeMap::from([(KEY.to_owned(), text)])
    }
}

/// The ConfigMap of that name.
pub(crate) fn map(name: &str, session: &Session, namespace: &str, data: BTreeMap<String, String>) -> ConfigMap {
    let labels = [
        (LABEL_MANAGED_BY, MANAGED_BY.to_owned()),
        (LABEL_BREAK_GLASS, "unacknowledged".to_owned()),
        (LABEL_CALLER, session.caller.key().as_str().to_owned()),
        (LABEL_USER, session.caller.user_key().as_str().to_owned()),
    ];
    ConfigMap {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            namespace: Some(namespace.to_owned()),
            labels: Some(labels.into_iter().map(|(key, value)| (key.into(), value)).collect()),
            ..ObjectMeta::default()
        },
        data: Some(data),
        ..ConfigMap::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::examples::{at, labelled, session};

    fn kept(
        before: Option<&UnacknowledgedSignIns>,
        session: &Session,
        request: &str,
        second: i64,
    ) -> UnacknowledgedSignIns {
        let base = SessionName::new(&session.caller, &session.rule, None);
        let data = written(before, session, request, at(second)).data();
        let mut map = map(&name(&base), session, "tka", data);
        map.metadata.uid = Some("u".into());
        map.metadata.resource_version = Some("1".into());
        UnacknowledgedSignIns::of(&map).unwrap()
    }

    #[test]
    fn sign_ins_with_and_without_a_label_are_kept_together() {
        let first = kept(None, &session("1h", at(100)), "r1", 100);
        assert_eq!((first.count, first.told), (1, at(100)));
        assert_eq!(first.name, session("1h", at(100)).name());
        assert_eq!(
            (&first.caller, &first.rule),
            (&session("1h", at(0)).caller, &session("1h", at(0)).rule)
        );
        let apart = labelled("1h", at(200), "shell");
        let both = kept(Some(&first), &apart, "r2", 200);
        assert_eq!((both.name.as_str(), both.count), (first.name.as_str(), 2));
        let requests: Vec<_> = both.sign_ins.iter().map(|one| one.request.as_str()).collect();
        assert_eq!(requests, ["r1", "r2"]);
        assert_eq!(both.last().unwrap().session, apart.name().to_string());
    }

    #[test]
    fn what_is_kept_is_bounded_and_all_are_counted() {
        let session = session("1h", at(0));
        let mut emergency = kept(None, &session, "r0", 0);
        for number in 1..30 {
            emergency = kept(Some(&emergency), &session, &format!("r{number}"), number);
        }
        assert_eq!((emergency.count, emergency.sign_ins.len()), (30, MAX_SIGN_INS));
        assert_eq!(
            (
                emergency.sign_ins[0].request.as_str(),
                emergency.last().unwrap().request.as_str()
            ),
            ("r20", "r29")
        );
    }

    #[test]
    fn map_of_another_name_or_form_is_none() {
        let session = session("1h", at(0));
        let made = |name: &str, text: &str| {
            let data = BTreeMap::from([(KEY.to_owned(), text.to_owned())]);
            let mut map = map(name, &session, "tka", data);
            map.metadata.uid = Some("u".into());
            map.metadata.resource_version = Some("1".into());
            UnacknowledgedSignIns::of(&map)
        };
        let text = written(None, &session, "r1", at(0)).data().remove(KEY).unwrap();
        let right = name(session.name());
        assert!(made(&right, &text).is_some());
        assert!(
            made("tka-bob-x.break-glass", &text).is_none(),
            "its name is that of another"
        );
        assert!(made(&right, &text.replace("\"role\":\"view\"", "\"role\":\"edit\"")).is_none());
        assert!(made(&right, "{}").is_none() && made(&right, "").is_none());
        let none = text.replace(
            &text[text.find("\"sign_ins\":").unwrap()..text.find(",\"count\"").unwrap()],
            "\"sign_ins\":[]",
        );
        assert!(made(&right, &none).is_none(), "{none}");
    }
}
