//! Two decide about one sign-in at the same moment, each at a replica of their own. What is there afterwards is what one of the two orders gives.

use std::cell::RefCell;
use std::fmt;
use std::thread;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::{Value, json};

use super::state::{Found, State};
use super::trouble::Trouble;
use crate::pair::caller;
use crate::user::{ALICE, BOB, CAROL};
use crate::{Answer, Caller, Outcome, Pair, Records, Site, World, wait};

/// How long before its end a request is decided about that is to end meanwhile, at the most.
const BEFORE_END: Duration = Duration::from_millis(200);
/// By how much later it is in each round.
const LATER: Duration = Duration::from_millis(40);

/// Who decides beside the one who approves, or what happens meanwhile.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Race {
    /// Another approves, where one is enough.
    TwoApprove,
    /// Another approves, where two must.
    BothMust,
    /// Another denies.
    OneDenies,
    /// The caller withdraws.
    CallerWithdraws,
    /// The request comes to its end.
    ItEnds,
    /// The replica is killed that the approval is sent to.
    ReplicaIsKilled,
}

/// Two replicas, a caller who asks and two who decide, each at both.
struct Stage<'w> {
    pair: Pair<'w>,
    records: Vec<Records>,
    /// The caller, at the first replica.
    bob: Caller,
    alice: [Caller; 2],
    carol: Caller,
}

/// What the decisions of one round were answered.
#[derive(Clone, Copy, Debug)]
struct Answers {
    /// The one who approves; nothing where no answer came.
    approval: Option<u16>,
    /// The other, where there is one.
    other: Option<u16>,
}

/// Runs each race so often, at two replicas of that name.
pub fn races(world: &World, name: &str, rounds: u32) -> Outcome<Vec<Trouble>> {
    let stage = Stage::new(world, name)?;
    Race::ALL.into_iter().map(|race| stage.run(race, rounds)).collect()
}

// === impl Race ===

impl Race {
    const ALL: [Self; 6] = [
        Self::TwoApprove,
        Self::BothMust,
        Self::OneDenies,
        Self::CallerWithdraws,
        Self::ItEnds,
        Self::ReplicaIsKilled,
    ];

    /// What the rule says of approval.
    fn approval(self) -> Value {
        match self {
            Self::BothMust => json!({"count": 2}),
            Self::ItEnds => json!({"within": "2s"}),
            _ => json!({"count": 1}),
        }
    }

    /// Whether the session must be there by what was answered, and what about the answers cannot be. Nothing where no answer says.
    fn expected(self, answers: Answers) -> Result<Option<bool>, String> {
        let Answers { approval, other } = answers;
        let is_approved = approval == Some(200);
        let (must_be, is_possible) = match self {
            Self::TwoApprove => (
                true,
                matches!((approval, other), (Some(200), Some(200 | 409)) | (Some(409), Some(200))),
            ),
            Self::BothMust => (true, is_approved && other == Some(200)),
            Self::OneDenies | Self::CallerWithdraws if is_approved => (true, other == Some(409)),
            Self::OneDenies => (false, approval == Some(409) && other == Some(200)),
            Self::CallerWithdraws => (false, matches!(approval, Some(404 | 410)) && other == Some(200)),
            Self::ItEnds => (is_approved, matches!(approval, Some(200 | 404 | 409 | 410))),
            Self::ReplicaIsKilled if approval.is_none() => return Ok(None),
            Self::ReplicaIsKilled => (true, is_approved),
        };
        if !is_possible {
            return Err(format!("both cannot be so: {answers:?}"));
        }
        Ok(Some(must_be))
    }
}

impl fmt::Display for Race {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TwoApprove => "two approve at once, where one must",
            Self::BothMust => "two approve at once, where both must",
            Self::OneDenies => "one approves and another denies at once",
            Self::CallerWithdraws => "one approves while the caller withdraws",
            Self::ItEnds => "one approves as the request ends",
            Self::ReplicaIsKilled => "the replica is killed at which one approves",
        })
    }
}

// === impl Stage ===

impl<'w> Stage<'w> {
    fn new(world: &'w World, name: &str) -> Outcome<Self> {
        let records = RefCell::new(Vec::new());
        let many = json!({"server": {"approvalRateLimit": {"burst": 1000}}});
        let pair = Pair::with(name, world, &many, |_, options| {
            let (own, options) = Records::of(world, options)?;
            records.borrow_mut().push(own);
            world.site_with(options)
        })?;
        let [first, second] = pair.sites();
        let approves = json!({"approve": ["oncall"]});
        first.grant_oversight(&[(ALICE, approves.clone()), (CAROL, approves)])?;
        grant(&pair, Race::TwoApprove)?;
        Ok(Self {
            bob: caller(first, "BOB")?,
            alice: [first.caller("ALICE")?, second.caller("ALICE")?],
            carol: second.caller("CAROL")?,
            records: records.into_inner(),
            pair,
        })
    }

    fn first(&self) -> &Site<'w> {
        let [first, _] = self.pair.sites();
        first
    }

    fn run(&self, race: Race, rounds: u32) -> Outcome<Trouble> {
        grant(&self.pair, race)?;
        let mut trouble = Trouble {
            name: format!("{race}, {rounds} times"),
            milliseconds: 0,
            leaked: Vec::new(),
            lost: Vec::new(),
        };
        for round in 0..rounds {
            self.round(race, round, &mut trouble)
                .map_err(|error| format!("{race}, round {round}: {error}"))?;
        }
        Ok(trouble)
    }

    fn round(&self, race: Race, round: u32, trouble: &mut Trouble) -> Outcome {
        let before = self.count_sign_ins()?;
        let body = json!({"rule": "oncall", "reason": format!("{race:?} {round}")});
        let asked = self.bob.send_json("POST", "/login", &[], &body)?.expect(202)?.json()?;
        let session = asked["approval"]["session"].as_str().ok_or("nothing waits")?;
        let answers = self.decide(race, round, session, &asked)?;
        let since = Instant::now();
        let must_be = match race.expected(answers) {
            Ok(Some(must_be)) => must_be,
            Ok(None) => {
                self.approve_at_the_other(session)?;
                true
            }
            Err(why) => {
                trouble.lost.push(why);
                self.is_whole()?
            }
        };
        self.settle(must_be, trouble)?;
        let milliseconds = u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX);
        trouble.milliseconds = trouble.milliseconds.max(milliseconds);
        let sign_ins = self.count_sign_ins()? - before;
        // A record is written once at least: a replica that takes over does not know of the one before.
        if (sign_ins > 0) != must_be {
            let found = format!("{sign_ins} records of a sign-in where it must be there: {must_be}");
            trouble.lost.push(found);
        }
        self.clean_up(session, must_be)
    }

    /// Both decide at once, as far as two threads do.
    fn decide(&self, race: Race, round: u32, session: &str, asked: &Value) -> Outcome<Answers> {
        let path = format!("/approvals/{session}");
        let approve = |caller: &Caller| caller.send_json("POST", &path, &[], &json!({"decision": "approve"}));
        let [at_first, at_second] = &self.alice;
        let other = || match race {
            Race::TwoApprove | Race::BothMust => Some(approve(&self.carol)),
            Race::OneDenies => Some(self.carol.send_json("POST", &path, &[], &json!({"decision": "deny"}))),
            Race::CallerWithdraws => Some(self.bob.send_json("DELETE", &path, &[], &json!({}))),
            Race::ItEnds => None,
            Race::ReplicaIsKilled => {
                thread::sleep(LATER / 8 * round);
                self.first().server.kill().err().map(|error| Err(error.into()))
            }
        };
        if race == Race::ItEnds {
            let expires: Timestamp = asked["approval"]["expires"].as_str().ok_or("no end")?.parse()?;
            wait::until_time(expires - BEFORE_END + LATER * round)?;
        }
        let alice = if race == Race::CallerWithdraws {
            at_second
        } else {
            at_first
        };
        let (approval, other) = thread::scope(|scope| {
            let approval = scope.spawn(|| approve(alice));
            let other = other();
            (approval.join(), other)
        });
        let approval = approval.map_err(|_| "the one who approves panicked")?;
        let status = |answer: Outcome<Answer>| answer.map(|answer| answer.status);
        Ok(Answers {
            approval: match race {
                // It may have died before it answered.
                Race::ReplicaIsKilled => status(approval).ok(),
                _ => Some(status(approval)?),
            },
            other: other.map(status).transpose()?,
        })
    }

    /// Has the other replica take the approval. It is refused where the replica that was killed had written it already. Either way there must be a session.
    fn approve_at_the_other(&self, session: &str) -> Outcome {
        let [_, alice] = &self.alice;
        wait::until_true("the other replica says how it stands", || {
            let answer = alice.send_json(
                "POST",
                &format!("/approvals/{session}"),
                &[],
                &json!({"decision": "approve"}),
            );
            Ok(matches!(answer?.status, 200 | 409))
        })
    }

    fn is_whole(&self) -> Outcome<bool> {
        Ok(State::of(self.first())?.of_user(BOB).is_whole())
    }

    /// Waits until there is a whole session, or none, as there must be.
    fn settle(&self, must_be: bool, trouble: &mut Trouble) -> Outcome {
        let settled = wait::until_true("the session is whole or gone", || {
            let state = State::of(self.first())?;
            let is_so = match state.of_user(BOB) {
                Found::Whole { .. } => must_be,
                Found::Absent => !must_be,
                Found::Half(_) => false,
            };
            Ok(is_so && state.orphans().is_empty())
        });
        if settled.is_err() {
            let state = State::of(self.first())?;
            let found = format!("{:?}, {:?}", state.of_user(BOB), state.orphans());
            let list = if must_be {
                &mut trouble.lost
            } else {
                &mut trouble.leaked
            };
            list.push(format!("it must be there: {must_be}, and there is {found}"));
        }
        Ok(())
    }

    /// How many sign-ins both replicas have recorded.
    fn count_sign_ins(&self) -> Outcome<usize> {
        let mut count = 0;
        for records in &self.records {
            let decisions = records.decisions(BOB, 0)?;
            count += decisions.iter().filter(|decision| *decision == "signed_in").count();
        }
        Ok(count)
    }

    /// Leaves nothing for the next round.
    fn clean_up(&self, session: &str, is_there: bool) -> Outcome {
        self.first().server.start()?;
        if is_there {
            self.bob.sign_out()?;
        }
        let path = format!(
            "{}/{session}",
            crate::Kind::Signin.path(self.first().server.namespace())
        );
        let cluster = &self.first().world.cluster;
        wait::until_true("nothing of it is left", || {
            if cluster.get(&path)?.is_none() {
                return Ok(true);
            }
            cluster.delete(&path)?;
            Ok(false)
        })
    }
}

/// Bob may ask, by the rule that `race` is about.
fn grant(pair: &Pair<'_>, race: Race) -> Outcome {
    let rule = json!({"role": "view", "period": "1h", "name": "oncall", "approval": race.approval()});
    pair.grant(&[(BOB, rule)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_say_what_must_be_there() {
        let expected = |race: Race, approval, other| race.expected(Answers { approval, other });
        assert_eq!(expected(Race::TwoApprove, Some(200), Some(409)), Ok(Some(true)));
        assert_eq!(expected(Race::OneDenies, Some(409), Some(200)), Ok(Some(false)));
        assert_eq!(expected(Race::CallerWithdraws, Some(404), Some(200)), Ok(Some(false)));
        assert_eq!(expected(Race::ItEnds, Some(410), None), Ok(Some(false)));
        assert_eq!(expected(Race::ReplicaIsKilled, None, None), Ok(None));
        for (race, approval, other) in [
            (Race::TwoApprove, Some(409), Some(409)),
            (Race::OneDenies, Some(200), Some(200)),
            (Race::CallerWithdraws, Some(200), Some(200)),
            (Race::BothMust, Some(200), Some(409)),
            (Race::ItEnds, Some(503), None),
        ] {
            assert!(expected(race, approval, other).is_err(), "{race}");
        }
    }
}
