//! A sign-in that waits for approval, as it is written down on its `TkaSignin`. By value, without a cluster.

use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;
use serde::{Deserialize, Serialize};
use tka_api::resource::{ANNOTATION_APPROVAL, ANNOTATION_APPROVED, TkaSignin};
use tka_core::session::{end, whole_seconds};
use tka_core::{Approval, Caller, Period, Reason};

/// How long what was approved may take to begin. Its access counts from the approval, and what a server could not begin by then is asked for anew.
const BEGIN_LIMIT: SignedDuration = SignedDuration::from_mins(5);

/// One sign-in that waits for approval, or that was decided.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct ApprovalRequest {
    /// Tells it from the requests before and after it: a UUID. An approval counts for this one.
    pub id: String,
    /// What it is for ([`tka_core::approver::digest`]).
    pub digest: String,
    /// When it was asked for.
    pub requested: Timestamp,
    /// Until when it waits.
    pub expires: Timestamp,
    /// How many must approve.
    pub needed: NonZeroU32,
    /// Whether machines count.
    #[serde(default)]
    pub machines: bool,
    /// For how long the access was asked.
    pub period: Period,
    /// What for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Who approved, each person once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub approvals: Vec<Vote>,
    /// Who denied it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub denial: Option<Vote>,
    /// Who denied what was asked before in its place, for as long as that would have waited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub denied_before: Option<Vote>,
    /// Since when its access counts, once that is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub granted: Option<Timestamp>,
    /// Whether its caller was told of the decision. What they ask for then is asked anew.
    #[serde(default)]
    pub told: bool,
}

/// One decision of one person.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Vote {
    /// Who, as [`Caller::user_key`]: the same person on another device is no other.
    pub key: String,
    /// Their login name; of a machine the name of its device.
    pub username: String,
    /// The stable ID of the device they decided on.
    pub device: String,
    /// When.
    pub at: Timestamp,
    /// What they said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
}

/// How a request stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RequestState {
    /// Others are still to approve.
    Waiting,
    /// Enough have, and its access is not given yet.
    Approved,
    /// Its access was given.
    Granted,
    /// One has denied it.
    Denied,
    /// It was not answered in time.
    Expired,
}

// === impl RequestState ===

impl RequestState {
    /// Whether it is not over: it waits, or its access is about to be given.
    #[must_use]
    pub fn is_open(self) -> bool {
        matches!(self, Self::Waiting | Self::Approved)
    }
}

/// What one person decides.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ApprovalDecision {
    /// To let the caller in.
    Approve,
    /// Not to.
    Deny,
}

/// Why a request can no longer be decided.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RequestClosed {
    /// It was decided.
    Decided,
    /// Its time is over.
    Over,
}

// === impl Vote ===

impl Vote {
    /// What `caller` decides at `now`.
    #[must_use]
    pub fn new(caller: &Caller, comment: Option<Reason>, now: Timestamp) -> Self {
        Self {
            key: caller.user_key().as_str().to_owned(),
            username: caller.username().to_owned(),
            device: caller.device.stable_id.clone(),
            at: now,
            comment: comment.map(|comment| comment.as_str().to_owned()),
        }
    }
}

// === impl ApprovalRequest ===

impl ApprovalRequest {
    /// A request of that `id` at `now`, which waits for as many as `approval` says.
    #[must_use]
    pub fn new(
        id: String,
        digest: String,
        approval: &Approval,
        period: Period,
        reason: Option<&Reason>,
        now: Timestamp,
    ) -> Self {
        Self {
            id,
            digest,
            requested: now,
            expires: end(now, approval.within).max(whole_seconds(now) + SignedDuration::from_secs(1)),
            needed: approval.count,
            machines: approval.machines,
            period,
            reason: reason.map(|reason| reason.as_str().to_owned()),
            approvals: Vec::new(),
            denial: None,
            denied_before: None,
            granted: None,
            told: false,
        }
    }

    /// The same, which takes the place of `before`: where that was denied and would still wait at `now`, it says so.
    #[must_use]
    pub(crate) fn after(self, before: Option<&Self>, now: Timestamp) -> Self {
        let before = before.filter(|before| before.granted.is_none() && now < before.expires);
        let denied = before.and_then(|before| before.denial.as_ref().or(before.denied_before.as_ref()));
        Self {
            denied_before: denied.cloned(),
            ..self
        }
    }

    /// The request that `signin` says waits on it, or was decided. What cannot be read is none.
    #[must_use]
    pub fn of(signin: &TkaSignin) -> Option<Self> {
        let text = signin.annotations().get(ANNOTATION_APPROVAL)?;
        serde_json::from_str(text).ok()
    }

    /// The request by which the session that `signin` holds was given. None where none had to approve.
    #[must_use]
    pub(crate) fn granted_on(signin: &TkaSignin) -> Option<Self> {
        let text = signin.annotations().get(ANNOTATION_APPROVED)?;
        serde_json::from_str(text).ok()
    }

    pub(crate) fn to_annotation(&self) -> String {
        // Nothing in it fails to serialize: no map, no float.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// How it stands at `now`.
    #[must_use]
    pub fn state(&self, now: Timestamp) -> RequestState {
        if self.granted.is_some() {
            return RequestState::Granted;
        }
        if self.denial.is_some() {
            return RequestState::Denied;
        }
        match self.approved_at() {
            Some(at) if now.duration_since(at) < BEGIN_LIMIT => RequestState::Approved,
            None if now < self.expires => RequestState::Waiting,
            _ => RequestState::Expired,
        }
    }

    /// How many have approved.
    #[must_use]
    pub fn count(&self) -> u32 {
        let people: BTreeSet<_> = self.approvals.iter().map(|vote| &vote.key).collect();
        u32::try_from(people.len()).unwrap_or(u32::MAX)
    }

    /// When the last of those approved that it needed; none while it needs more.
    #[must_use]
    pub fn approved_at(&self) -> Option<Timestamp> {
        let last = self.approvals.iter().map(|vote| vote.at).max()?;
        (self.count() >= self.needed.get()).then_some(last)
    }

    /// How long it goes on at `now` as it stands: until it is over, or may be forgotten.
    #[must_use]
    pub fn time_left(&self, now: Timestamp) -> Duration {
        let until = match self.state(now) {
            RequestState::Approved => self.approved_at().map_or(now, |at| at + BEGIN_LIMIT),
            RequestState::Waiting | RequestState::Denied => self.expires,
            RequestState::Granted | RequestState::Expired => now,
        };
        Duration::try_from(until.duration_since(now)).unwrap_or_default()
    }

    /// The same with the `vote`. That of one who approved before changes nothing.
    pub fn decided(&self, verdict: ApprovalDecision, vote: Vote, now: Timestamp) -> Result<Self, RequestClosed> {
        match self.state(now) {
            RequestState::Waiting => {}
            RequestState::Expired => return Err(RequestClosed::Over),
            RequestState::Approved | RequestState::Granted | RequestState::Denied => {
                return Err(RequestClosed::Decided);
            }
        }
        let mut decided = self.clone();
        match verdict {
            ApprovalDecision::Deny => decided.denial = Some(vote),
            ApprovalDecision::Approve if decided.approvals.iter().any(|before| before.key == vote.key) => {}
            ApprovalDecision::Approve => decided.approvals.push(vote),
        }
        Ok(decided)
    }

    /// The same without the approvals for which `counts` does not hold any more.
    #[must_use]
    pub fn of_those(&self, counts: impl Fn(&Vote) -> bool) -> Self {
        let mut checked = self.clone();
        checked.approvals.retain(counts);
        checked
    }

    /// The same, with its access given since `granted`.
    #[must_use]
    pub(crate) fn granted(&self, granted: Timestamp) -> Self {
        Self {
            granted: Some(granted),
            ..self.clone()
        }
    }

    /// The same, of which its caller knows the decision.
    #[must_use]
    pub fn told(&self) -> Self {
        Self {
            told: true,
            ..self.clone()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::examples::at;
    use tka_core::{Device, Identity, Rule};

    fn request(count: u32) -> ApprovalRequest {
        let rule = format!(r#"{{"role": "edit", "period": "1h", "approval": {{"count": {count}, "within": "10m"}}}}"#);
        let approval = Rule::parse(&rule).unwrap().approval.unwrap();
        ApprovalRequest::new("r1".into(), "d".into(), &approval, "1h".parse().unwrap(), None, at(100))
    }

    fn vote(id: i64, device: &str, second: i64) -> Vote {
        let caller = Caller {
            identity: Identity::user(id, format!("u{id}@example.com")),
            device: Device::new(device, device),
        };
        Vote::new(&caller, None, at(second))
    }

    fn approve(request: &ApprovalRequest, vote: Vote) -> ApprovalRequest {
        let now = vote.at;
        request.decided(ApprovalDecision::Approve, vote, now).unwrap()
    }

    #[test]
    fn person_counts_once_on_whatever_device() {
        let one = approve(&request(2), vote(1, "a", 110));
        assert_eq!((one.count(), one.state(at(111))), (1, RequestState::Waiting));
        let again = approve(&one, vote(1, "b", 120));
        assert_eq!(again, one);
        let two = approve(&one, vote(2, "c", 130));
        assert_eq!((two.count(), two.state(at(131))), (2, RequestState::Approved));
        assert_eq!(two.approved_at(), Some(at(130)));
    }

    #[test]
    fn what_is_decided_or_over_is_not_decided_again() {
        let decide = |request: &ApprovalRequest, verdict, now| request.decided(verdict, vote(3, "x", now), at(now));
        let approved = approve(&request(1), vote(1, "a", 110));
        let denied = decide(&request(1), ApprovalDecision::Deny, 110).unwrap();
        let granted = approved.granted(at(110));
        for decided in [&approved, &denied, &granted] {
            for verdict in [ApprovalDecision::Approve, ApprovalDecision::Deny] {
                assert_eq!(decide(decided, verdict, 120), Err(RequestClosed::Decided));
            }
        }
        assert_eq!(
            decide(&request(1), ApprovalDecision::Approve, 700),
            Err(RequestClosed::Over)
        );
        assert!(decide(&request(1), ApprovalDecision::Approve, 699).is_ok());
    }

    #[test]
    fn one_who_denies_outweighs_all_who_approved() {
        let one = approve(&request(2), vote(1, "a", 110));
        let denied = one.decided(ApprovalDecision::Deny, vote(2, "b", 120), at(120)).unwrap();
        assert_eq!(denied.state(at(121)), RequestState::Denied);
        assert_eq!(
            denied.time_left(at(121)),
            Duration::from_secs(700 - 121),
            "its caller is to learn of it"
        );
    }

    #[test]
    fn question_that_follows_a_denial_says_so() {
        let denied = request(1)
            .decided(ApprovalDecision::Deny, vote(2, "b", 120), at(120))
            .unwrap();
        let next = request(1).after(Some(&denied), at(130));
        assert_eq!(next.denied_before, denied.denial);
        assert_eq!(
            request(1).after(Some(&next), at(140)).denied_before,
            denied.denial,
            "nor by asking twice"
        );
        assert_eq!(request(1).after(Some(&denied), at(700)).denied_before, None);
        assert_eq!(request(1).after(None, at(130)), request(1));
    }

    #[test]
    fn what_was_approved_begins_soon_or_not_at_all() {
        let late = approve(&request(1), vote(1, "a", 699));
        assert_eq!(late.state(at(750)), RequestState::Approved);
        assert_eq!(late.state(at(699 + 300)), RequestState::Expired);
        assert_eq!(late.time_left(at(700)), Duration::from_secs(299));
        assert_eq!(late.granted(at(699)).state(at(9999)), RequestState::Granted);
    }

    #[test]
    fn approver_who_lost_their_oversight_counts_no_more() {
        let two = approve(&approve(&request(2), vote(1, "a", 110)), vote(2, "b", 120));
        let checked = two.of_those(|vote| vote.device != "a");
        assert_eq!((checked.count(), checked.state(at(121))), (1, RequestState::Waiting));
    }

    #[test]
    fn what_is_written_down_is_read_back() {
        let request = approve(&request(2), vote(1, "a", 110));
        let mut signin = crate::objects::signin(&crate::examples::session("1h", at(1)), None, "tka");
        assert_eq!(ApprovalRequest::of(&signin), None);
        for (text, read) in [
            (request.to_annotation(), Some(request)),
            (String::new(), None),
            ("{}".into(), None),
        ] {
            let annotations = signin.metadata.annotations.get_or_insert_default();
            annotations.insert(ANNOTATION_APPROVAL.into(), text);
            assert_eq!(ApprovalRequest::of(&signin), read);
        }
    }

    #[test]
    fn shortest_wait_is_a_second() {
        let approval = Rule::parse(r#"{"role": "edit", "period": "1h", "approval": {"within": "1ms"}}"#).unwrap();
        let request = ApprovalRequest::new(
            "r".into(),
            "d".into(),
            &approval.approval.unwrap(),
            "1h".parse().unwrap(),
            None,
            at(100),
        );
        assert_eq!(request.expires, at(101));
    }
}
