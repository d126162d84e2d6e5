//! What was found after a cut, against what should be.

use std::time::Duration;

use super::cuts::{ALARMS, Before, Cuts, Finding};
use super::operation::{Expected, Operation, Waits};
use super::state::{Found, State};
use crate::user::{ALICE, BOB};
use crate::{Outcome, wait};

/// How late a session may end whose server was cut off, or killed and is there again.
const LATE: Duration = Duration::from_secs(10).saturating_add(wait::BUSY);

impl Cuts<'_> {
    /// Waits until there is nothing half, and of what should be neither more nor less than that and what was `before`.
    pub(super) fn settle(&self, finding: &mut Finding, before: &Before, expected: Expected) -> Outcome<State> {
        let mut last = None;
        let settled = wait::until("what was cut is whole or gone", || {
            let state = State::of(&self.site)?;
            let alice = state.of_user(ALICE);
            let is_so = match expected {
                Expected::Whole => alice.is_whole(),
                Expected::Extended => alice.is_later_than(before.session.as_ref().map(|(_, until)| *until)),
                Expected::Absent => alice == Found::Absent,
                Expected::Either => alice.is_settled(),
            };
            let is_settled = is_so && state.orphans().is_empty();
            last = Some(state.clone());
            Ok(is_settled.then_some(state))
        });
        match (settled, last) {
            (Ok(state), _) => Ok(state),
            // The judgement tells what is not right in the end.
            (Err(_), Some(state)) => {
                if let Found::Half(why) = state.of_user(ALICE) {
                    finding.leaked.push(format!("half a session: {why}"));
                }
                Ok(state)
            }
            (Err(error), None) => Err(error),
        }
    }

    /// Sees that there is what should be, and no more, and that it works.
    pub(super) fn judge(&self, finding: &mut Finding, before: &Before, expected: Expected, state: &State) -> Outcome {
        finding.leaked.extend(state.orphans());
        let alice = state.of_user(ALICE);
        finding.found = match (&alice, &before.session) {
            (Found::Whole { until, .. }, Some((_, old))) if until > old => "extended",
            (Found::Whole { .. }, Some(_)) => "as before",
            (Found::Whole { .. }, None) => "whole",
            (Found::Absent, _) => "none",
            (Found::Half(_), _) => "HALF",
        };
        match (&alice, expected) {
            (Found::Whole { .. }, Expected::Absent) => {
                finding.leaked.push("a session that should be over".to_owned());
            }
            (Found::Absent, Expected::Whole | Expected::Extended) => {
                finding.lost.push("a session that should be".to_owned());
            }
            (Found::Whole { .. }, Expected::Extended) if finding.found != "extended" => {
                finding.lost.push("the extension of a session".to_owned());
            }
            _ => {}
        }
        if self.operation == Operation::Expiry && Duration::from_millis(finding.milliseconds) > LATE {
            finding.leaked.push("its session ended too late".to_owned());
        }
        if let (Found::Whole { uid, .. }, Some((old, _))) = (&alice, &before.session)
            && uid != old
        {
            finding.lost.push("the session was replaced by another".to_owned());
        }
        if let (true, Some(token)) = (alice.is_whole(), &before.token)
            && !self.works(token)?
        {
            finding.lost.push("the credential of a session that goes on".to_owned());
        }
        if self.operation == Operation::UsedSignOut && alice == Found::Absent && before.session.is_some() {
            let status = self.use_session()?.status;
            if status != 401 {
                finding.leaked.push(format!("a session that use began again: {status}"));
            }
        }
        if self.operation == Operation::BreakGlass && alice.is_whole() && self.maps(ALARMS)?.is_empty() {
            finding.lost.push("what others must acknowledge".to_owned());
        }
        match state.of_user(BOB) {
            Found::Whole { uid, .. } if uid == self.bystander.uid && self.works(&self.bystander.token)? => {}
            other => finding.lost.push(format!("the bystander's session: {other:?}")),
        }
        Ok(())
    }

    /// Sees that what waits for approval is what should.
    pub(super) fn judge_waiting(&self, finding: &mut Finding, waits: Waits) -> Outcome {
        let expected = match waits {
            Waits::Waiting => Some("waiting"),
            Waits::Denied => Some("denied"),
            Waits::Nothing => None,
            Waits::Either => return Ok(()),
        };
        // What is listed comes from a watch.
        let found = wait::until("what waits is listed", || {
            let state = self.waiting_state()?;
            Ok((state.as_deref() == expected).then_some(()))
        });
        if found.is_err() {
            let state = self.waiting_state()?;
            let list = if expected.is_none() {
                &mut finding.leaked
            } else {
                &mut finding.lost
            };
            list.push(format!("what waits: {state:?} and not {expected:?}"));
        }
        Ok(())
    }

    /// Sees that what came of it was recorded, and as what it was.
    pub(super) fn judge_records(&self, finding: &mut Finding, before: &Before, state: &State) -> Outcome {
        let decisions = self.records.decisions(ALICE, before.records)?;
        let needed = match (state.of_user(ALICE), &before.session) {
            (Found::Whole { .. }, None) => Some("signed_in"),
            (Found::Whole { until, .. }, Some((_, old))) if until > *old => Some("extended"),
            (Found::Absent, Some(_)) => self.operation.end(),
            _ => None,
        };
        let alarm = (needed.is_some() && self.operation == Operation::BreakGlass).then_some("break_glass");
        for needed in needed.into_iter().chain(alarm) {
            if !decisions.iter().any(|decision| decision == needed) {
                finding
                    .lost
                    .push(format!("the record {needed}; there are {decisions:?}"));
            }
        }
        if decisions.iter().any(|decision| decision == "taken_down") {
            finding.lost.push(format!("how a session ended: {decisions:?}"));
        }
        Ok(())
    }

    pub(super) fn works(&self, token: &str) -> Outcome<bool> {
        let cluster = &self.site.world.cluster;
        Ok(cluster.status(token, "GET", "/api/v1/namespaces/default/pods")? == 200)
    }
}
