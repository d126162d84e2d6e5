//! Cuts: a server does one thing, is cut off at one of the requests that this takes, and afterwards it is seen what there is.

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};
use testbed::{ServerOptions, with_gateway};

use super::operation::{Expected, Operation};
use super::plan::{Fault, Moment, Which};
use super::proxy::{Proxy, Seen};
use super::request::Request;
use super::state::{Found, State};
use crate::user::{ALICE, BOB};
use crate::{Answer, Caller, Kind, Outcome, Records, Site, World, brief, rule, wait};

/// How long a request may take to be made that was made before.
const REACHED: Duration = wait::BUSY;
/// The label of what says that a session was ended on purpose.
const TOMBSTONES: &str = "tombstone";
/// The label of what is to be acknowledged.
pub(super) const ALARMS: &str = "break-glass";
/// How long before the end of a session the cut of its expiry is armed at the latest.
const ARMING: Duration = Duration::from_secs(1);
/// How often an operation is watched to learn what requests it makes: some of them depend on who comes first.
const LESSONS: usize = 3;
/// How long a sign-in that is to be cut off is told to wait, in seconds: longer than it does.
const LATER: u32 = 20;
/// How often a request is waited for that is not made each time.
const TRIES: usize = 3;
/// The least share of places to cut at that must be reached, in per cent: those that depend on who comes first are few.
const LEAST_REACHED: usize = 75;

/// A server that is cut off in one operation again and again, with the session of one user. Another user's must survive it all.
#[derive(Debug)]
pub struct Cuts<'w> {
    pub(super) site: Site<'w>,
    proxy: Proxy,
    pub(super) operation: Operation,
    pub(super) records: Records,
    alice: Caller,
    bob: Caller,
    pub(super) bystander: Bystander,
}

/// The user whose session is not touched.
#[derive(Debug)]
pub(super) struct Bystander {
    pub(super) uid: String,
    pub(super) token: String,
}

/// One place to cut at: the `number`th request of its kind.
#[derive(Clone, Debug, Serialize)]
pub struct Point {
    /// The request.
    pub request: String,
    /// Which of those that are alike.
    pub number: usize,
    /// On which side of it.
    pub moment: Moment,
    /// Whether it is a write that is made each time.
    pub certain: bool,
    /// Whether the server is killed at this moment, and started again. Else only its connection is cut.
    pub killed: bool,
    #[serde(skip)]
    which: Request,
}

/// What was found after a cut.
#[derive(Clone, Debug, Serialize)]
pub struct Finding {
    /// What was cut.
    pub operation: Operation,
    /// Where.
    #[serde(flatten)]
    pub point: Point,
    /// Whether the request was made this time.
    pub reached: bool,
    /// The status of the answer, if there was one.
    pub answer: Option<u16>,
    /// What there was of the session in the end.
    pub found: &'static str,
    /// How long that took, from the cut, or from when the server was ready again.
    pub milliseconds: u64,
    /// What was there, or worked, and should not.
    pub leaked: Vec<String>,
    /// What was not there, or did not work, and should.
    pub lost: Vec<String>,
}

/// What there was before an operation.
#[derive(Debug, Default)]
pub(super) struct Before {
    pub(super) token: Option<String>,
    pub(super) session: Option<(String, Timestamp)>,
    /// How many records there were.
    pub(super) records: usize,
}

// === impl Cuts ===

impl<'w> Cuts<'w> {
    /// A server of that name for `operation`.
    pub fn new(world: &'w World, name: &str, operation: Operation) -> Outcome<Self> {
        let proxy = Proxy::before(&world.testbed)?;
        let mut options = ServerOptions::new(name);
        if operation.is_by_use() {
            options.config = with_gateway();
        }
        if operation.is_approved() {
            options.config = json!({"server": {"approvalRateLimit": {"burst": 1000}}});
        }
        let (records, options) = Records::of(world, options)?;
        let site = proxy.site_with(world, options)?;
        grant(&site, Some(operation))?;
        site.grant_oversight(&[(BOB, json!({"approve": ["oncall"]}))])?;
        let bob = site.caller("BOB")?;
        let token = bob.sign_in_waiting()?.expect(200)?.credential()?;
        let Found::Whole { uid, .. } = State::of(&site)?.of_user(BOB) else {
            return Err("the bystander has no session".into());
        };
        Ok(Self {
            alice: site.caller("ALICE")?,
            bob,
            bystander: Bystander { uid, token },
            site,
            proxy,
            operation,
            records,
        })
    }

    /// Every place to cut at, as learnt by doing the operation without a cut.
    pub fn points(&self, killed: bool) -> Outcome<Vec<Point>> {
        let mut order = Vec::new();
        let mut most = BTreeMap::<Request, usize>::new();
        let mut all = Vec::new();
        for _ in 0..LESSONS {
            let mut counts = BTreeMap::<Request, usize>::new();
            for seen in self.lesson()? {
                if !most.contains_key(&seen.request) && !order.contains(&seen.request) {
                    order.push(seen.request.clone());
                }
                *counts.entry(seen.request).or_default() += 1;
            }
            for (request, count) in &counts {
                let known = most.entry(request.clone()).or_default();
                *known = (*known).max(*count);
            }
            all.push(counts);
        }
        // A read is spared where a watch says first what it would say.
        let is_certain = |request: &Request, number: usize| {
            let is_read = ["get", "list"].contains(&request.verb);
            !is_read
                && all
                    .iter()
                    .all(|counts| counts.get(request).is_some_and(|count| *count >= number))
        };
        let points = order.iter().flat_map(|request| {
            let numbers = 1..=most.get(request).copied().unwrap_or_default();
            let is_certain = &is_certain;
            numbers.flat_map(move |number| {
                [Moment::Before, Moment::After].map(|moment| Point {
                    request: request.to_string(),
                    number,
                    moment,
                    certain: is_certain(request, number),
                    killed,
                    which: request.clone(),
                })
            })
        });
        Ok(points.collect())
    }

    /// Cuts at one place, and looks what there is afterwards.
    pub fn cut(&self, point: &Point) -> Outcome<Finding> {
        for _ in 1..TRIES {
            let finding = self.try_cut(point)?;
            if finding.reached {
                return Ok(finding);
            }
        }
        let mut finding = self.try_cut(point)?;
        if point.certain && !finding.reached {
            finding.lost.push("the request, so that nothing was cut".to_owned());
        }
        Ok(finding)
    }

    fn try_cut(&self, point: &Point) -> Outcome<Finding> {
        let before = self.prepare()?;
        let fault = if point.killed {
            Fault::Hang(point.moment)
        } else {
            Fault::Cut(point.moment)
        };
        self.proxy.forget();
        let armed = self.proxy.arm(Which::nth(&point.which, point.number), fault);
        let (answer, reached) = thread::scope(|scope| {
            let asking = scope.spawn(|| self.ask());
            let reached = armed.wait_hits(1, REACHED).is_ok();
            if reached && point.killed {
                self.site.server.kill()?;
                self.proxy.wait_idle()?;
            }
            // Before what hangs is let go: what comes too late to be cut must not hang for good.
            drop(armed);
            self.proxy.let_go();
            let answer = asking.join().map_err(|_| "the caller panicked")?;
            Ok::<_, Box<dyn std::error::Error + Send + Sync>>((answer, reached))
        })?;
        let (expected, waits) = if reached && point.killed {
            let seen = self.proxy.seen();
            (
                self.operation.expected_after_kill(&seen),
                self.operation.waits_after_kill(&seen),
            )
        } else {
            (
                self.operation.expected_after_answer(answer),
                self.operation.waits_after_answer(answer),
            )
        };
        self.site.server.start()?;
        let since = Instant::now();
        let mut finding = Finding {
            operation: self.operation,
            point: point.clone(),
            reached,
            answer,
            found: "",
            milliseconds: 0,
            leaked: Vec::new(),
            lost: Vec::new(),
        };
        let state = self.settle(&mut finding, &before, expected)?;
        finding.milliseconds = u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.judge(&mut finding, &before, expected, &state)?;
        self.judge_waiting(&mut finding, waits)?;
        self.judge_records(&mut finding, &before, &state)?;
        match self.clean_up(&mut finding, before) {
            Err(error) if finding.is_good() => return Err(error),
            // What was found says more.
            Err(error) => finding.leaked.push(error.to_string()),
            Ok(()) => {}
        }
        Ok(finding)
    }

    /// Ends the session, if there is one, and sees that its credentials are worth nothing.
    fn clean_up(&self, finding: &mut Finding, before: Before) -> Outcome {
        if self.operation.is_approved() {
            self.end_waiting()?;
        }
        let mut tokens = Vec::from_iter(before.token);
        match State::of(&self.site)?.of_user(ALICE) {
            Found::Whole { .. } if self.operation != Operation::Expiry => {
                tokens.push(self.alice.token()?);
                self.sign_out()?;
            }
            Found::Half(_) => self.sign_out()?,
            _ => {}
        }
        wait::until_true("the session is gone", || {
            Ok(State::of(&self.site)?.of_user(ALICE) == Found::Absent)
        })?;
        for token in tokens {
            if self.works(&token)? {
                finding.leaked.push("a credential of a session that is over".to_owned());
            }
        }
        Ok(())
    }

    fn prepare(&self) -> Outcome<Before> {
        let records = self.records.all()?.len();
        if self.operation.is_by_use() {
            self.delete_maps(TOMBSTONES)?;
        }
        if self.operation == Operation::BreakGlass {
            self.delete_maps(ALARMS)?;
        }
        if self.operation == Operation::Completion {
            self.sign_in_in_vain()?;
        }
        if self.operation.is_approved() {
            self.end_waiting()?;
        }
        if self.operation == Operation::ApprovedExtension {
            return self.extension_waits(records);
        }
        if self.operation.is_decision() {
            self.ask_for_approval("first")?;
        }
        if !self.operation.needs_session() {
            return Ok(Before {
                records,
                ..Before::default()
            });
        }
        if self.operation == Operation::Revocation {
            grant(&self.site, Some(self.operation))?;
        }
        if self.operation == Operation::Expiry {
            let grant = |period: &str| self.site.grant(&[(ALICE, rule("view", period)), bystander()]);
            return brief::in_time(grant, || {
                let (before, until) = self.signed_in(records)?;
                // The cut is armed after this.
                Ok((before, until - ARMING))
            });
        }
        let (before, _) = self.signed_in(records)?;
        if self.operation == Operation::Extension {
            // A session's end is told in whole seconds.
            wait::until_time(Timestamp::now() + Duration::from_secs(1))?;
        }
        Ok(before)
    }

    /// Signs in, and returns the whole session and when it ends.
    fn signed_in(&self, records: usize) -> Outcome<(Before, Timestamp)> {
        self.proxy.forget();
        let token = self.alice.sign_in_waiting()?.expect(200)?.credential()?;
        self.proxy.wait_seen(REACHED, |request| request.resource == "events")?;
        let Found::Whole { uid, until } = State::of(&self.site)?.of_user(ALICE) else {
            return Err("signed in, and there is no whole session".into());
        };
        let before = Before {
            token: Some(token),
            session: Some((uid, until)),
            records,
        };
        Ok((before, until))
    }

    /// Signs in so that the reconcile loop has something to complete.
    fn sign_in_in_vain(&self) -> Outcome {
        let status = |request: &Request| request.is("patch", "tkasignins/status");
        let _armed = self.proxy.arm(Which::first(status), Fault::Answer(429, Some(LATER)));
        self.proxy.forget();
        self.alice.sign_in()?;
        self.proxy.wait_seen(REACHED, |request| request.resource == "events")?;
        self.proxy.wait_idle()
    }

    /// Ends the session, and waits for the last request that this takes.
    fn sign_out(&self) -> Outcome {
        self.proxy.forget();
        self.alice.sign_out()?;
        let is_told =
            |request: &Request| request.resource == "events" && request.detail.as_deref() == Some("SignedOut");
        self.proxy.wait_seen(REACHED, is_told)?;
        self.proxy.wait_idle()
    }

    /// Asks for the operation, and returns the status of the answer.
    fn ask(&self) -> Option<u16> {
        let answer = match self.operation {
            Operation::SignIn | Operation::SignInNamespaces | Operation::Extension => self.alice.sign_in_waiting(),
            Operation::SignOut | Operation::UsedSignOut => self.alice.post("/logout"),
            Operation::FirstUse => self.use_session(),
            Operation::Asking => self.asks("first"),
            Operation::Approval | Operation::ApprovedExtension => self.decide("approve"),
            Operation::Denial => self.decide("deny"),
            Operation::Withdrawal => self.withdraw(),
            Operation::BreakGlass => self.break_glass(),
            // It is the tailnet that asks.
            Operation::Revocation => grant(&self.site, None).and_then(|()| Err("it has no answer".into())),
            Operation::Expiry | Operation::Completion => return None,
        };
        answer.ok().map(|answer| answer.status)
    }

    /// Asks for the session, for that reason.
    fn asks(&self, reason: &str) -> Outcome<Answer> {
        self.alice.send_json("POST", "/login", &[], &json!({"reason": reason}))
    }

    /// Asks for the session, which waits for the bystander to approve it.
    fn ask_for_approval(&self, reason: &str) -> Outcome {
        self.asks(reason)?.expect(202)?;
        // What is listed comes from a watch.
        wait::until_true("the bystander sees what waits", || {
            Ok(waiting_path(&self.bob)?.is_some())
        })?;
        self.proxy.wait_idle()
    }

    /// The bystander decides about what waits.
    fn decide(&self, decision: &str) -> Outcome<Answer> {
        let path = waiting_path(&self.bob)?.ok_or("nothing waits")?;
        self.bob.send_json("POST", &path, &[], &json!({"decision": decision}))
    }

    fn withdraw(&self) -> Outcome<Answer> {
        let path = waiting_path(&self.alice)?.ok_or("nothing waits")?;
        self.alice.send_json("DELETE", &path, &[], &json!({}))
    }

    /// How what the caller waits for stands; nothing where they wait for nothing.
    pub(super) fn waiting_state(&self) -> Outcome<Option<String>> {
        let waiting = self.alice.get("/approvals")?.expect(200)?.json()?;
        Ok(waiting["items"][0]["state"].as_str().map(Into::into))
    }

    /// Has a session that was approved, and waits for its extension.
    fn extension_waits(&self, records: usize) -> Outcome<Before> {
        self.ask_for_approval("first")?;
        self.decide("approve")?.expect(200)?;
        let body = json!({"reason": "first"});
        let answer = self
            .alice
            .send_json("POST", "/login", &[("prefer", "wait=5")], &body)?
            .expect(200)?;
        let token = self.alice.remembered(answer)?.credential()?;
        let Found::Whole { uid, until } = State::of(&self.site)?.of_user(ALICE) else {
            return Err("it was approved, and there is no whole session".into());
        };
        // A session's end is told in whole seconds.
        wait::until_time(Timestamp::now() + Duration::from_secs(1))?;
        self.ask_for_approval("longer")?;
        Ok(Before {
            token: Some(token),
            session: Some((uid, until)),
            records,
        })
    }

    /// Signs in by the rule that alarms others.
    fn break_glass(&self) -> Outcome<Answer> {
        let body = json!({"rule": "glass", "reason": "all is on fire"});
        let answer = self.alice.send_json("POST", "/login", &[("prefer", "wait=5")], &body)?;
        self.alice.remembered(answer)
    }

    /// Sees that nothing waits any more. What was approved after all becomes a session, and is ended. What was denied is taken away.
    fn end_waiting(&self) -> Outcome {
        let (cluster, namespace) = (&self.site.world.cluster, self.site.server.namespace());
        wait::until_true("nothing waits for approval", || {
            if State::of(&self.site)?.of_user(ALICE).is_whole() {
                self.alice.sign_out()?;
            }
            let Some(path) = waiting_path(&self.alice)? else {
                return Ok(true);
            };
            let withdrawn = self.alice.send_json("DELETE", &path, &[], &json!({}))?;
            let name = path.rsplit('/').next().unwrap_or_default();
            if withdrawn.status == 409 {
                cluster.delete(&format!("{}/{name}", Kind::Signin.path(namespace)))?;
            }
            Ok(false)
        })
    }

    /// A request that the session's account may make, through the gateway.
    pub(super) fn use_session(&self) -> Outcome<Answer> {
        self.alice.send_body("GET", "/k8s/api/v1/namespaces/default", &[], b"")
    }

    /// Removes the server's `ConfigMap`s with that label.
    fn delete_maps(&self, label: &str) -> Outcome {
        for map in self.maps(label)? {
            let (namespace, name) = (self.site.server.namespace(), map["metadata"]["name"].as_str());
            let path = format!("/api/v1/namespaces/{namespace}/configmaps/{}", name.unwrap_or_default());
            self.site.world.cluster.delete(&path)?;
        }
        Ok(())
    }

    /// The server's `ConfigMap`s with that label.
    pub(super) fn maps(&self, label: &str) -> Outcome<Vec<Value>> {
        let namespace = self.site.server.namespace();
        let path = format!("/api/v1/namespaces/{namespace}/configmaps?labelSelector=tka.specht-labs.de%2F{label}");
        let maps = self
            .site
            .world
            .cluster
            .get(&path)?
            .ok_or("ConfigMaps cannot be listed")?;
        Ok(maps["items"].as_array().cloned().unwrap_or_default())
    }

    /// Does the operation without a cut, and returns the requests that it took.
    fn lesson(&self) -> Outcome<Vec<Seen>> {
        for _ in 0..TRIES {
            if let Some(seen) = self.try_lesson()? {
                return Ok(seen);
            }
        }
        Err("the reconcile loop completed the session each time before its requests were watched".into())
    }

    /// The same; none where a busy machine let the reconcile loop complete the session first.
    fn try_lesson(&self) -> Outcome<Option<Vec<Seen>>> {
        self.prepare()?;
        self.proxy.forget();
        let status = self.ask();
        let whole = self.operation.expected_after_answer(status) != Expected::Absent;
        wait::until_true("it is done", || {
            Ok(State::of(&self.site)?.of_user(ALICE).is_whole() == whole)
        })?;
        // Its last request.
        if self.operation.tells() {
            self.proxy.wait_seen(REACHED, |request| request.resource == "events")?;
        }
        self.proxy.wait_idle()?;
        let seen = self.proxy.seen();
        if whole {
            self.sign_out()?;
        }
        let completes = |seen: &Seen| seen.request.is("patch", "tkasignins/status");
        if self.operation == Operation::Completion && !seen.iter().any(completes) {
            return Ok(None);
        }
        let seen = seen.into_iter().filter(|seen| !seen.request.is_background());
        Ok(Some(seen.collect()))
    }
}

/// Where what waits is decided about, as `caller` is told.
fn waiting_path(caller: &Caller) -> Outcome<Option<String>> {
    let waiting = caller.get("/approvals")?.expect(200)?.json()?;
    let session = waiting["items"][0]["session"].as_str();
    Ok(session.map(|session| format!("/approvals/{session}")))
}

/// Says which places were never reached, and that they are few: what was not cut shows nothing.
pub fn enough_reached(findings: &[Finding]) -> Outcome {
    let missed: Vec<_> = findings.iter().filter(|finding| !finding.reached).collect();
    for finding in &missed {
        eprintln!("e2e: not made, and so not cut: {finding}");
    }
    let reached = findings.len() - missed.len();
    if reached * 100 < findings.len() * LEAST_REACHED {
        return Err(format!("of {} places only {reached} were reached", findings.len()).into());
    }
    Ok(())
}

/// Grants a session to the bystander, and to the user that `operation` is about.
fn grant(site: &Site<'_>, operation: Option<Operation>) -> Outcome {
    match operation {
        Some(operation) => site.grant(&[(ALICE, operation.rule()), bystander()]),
        None => site.grant(&[bystander()]),
    }
}

/// Whose session is to be left alone.
fn bystander() -> (&'static str, Value) {
    (BOB, rule("view", "1h"))
}

// === impl Finding ===

impl Finding {
    /// Whether all was as it should be.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.leaked.is_empty() && self.lost.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(reached: bool) -> Finding {
        let which = Request {
            verb: "get",
            resource: "tkasignins".to_owned(),
            detail: None,
        };
        let point = Point {
            request: which.to_string(),
            number: 1,
            moment: Moment::Before,
            certain: false,
            killed: true,
            which,
        };
        Finding {
            operation: Operation::SignIn,
            point,
            reached,
            answer: None,
            found: "",
            milliseconds: 0,
            leaked: Vec::new(),
            lost: Vec::new(),
        }
    }

    #[test]
    fn operation_that_was_hardly_cut_shows_nothing() {
        let with = |reached: usize| (0..8).map(|n| finding(n < reached)).collect::<Vec<_>>();
        assert!(enough_reached(&with(8)).is_ok() && enough_reached(&with(6)).is_ok());
        assert!(enough_reached(&with(5)).is_err());
    }
}
