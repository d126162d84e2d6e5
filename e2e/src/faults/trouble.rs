//! Troubles that last longer than a request: one user's session ends meanwhile, another's goes on.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde::Serialize;

use super::proxy::Proxy;
use super::state::{Found, State};
use crate::user::{ALICE, BOB};
use crate::{Caller, Outcome, Site, World, brief, rule, wait};

/// How late, by what is promised, the session may end after everything is as it should be again.
const LATE: Duration = Duration::from_secs(10);
/// The same where the server must first find out that a connection is dead: it waits for an answer for ten seconds.
const LATE_AND_STRANDED: Duration = Duration::from_secs(15);
/// How long before the end of the shorter session the trouble begins at the latest.
const TO_BEGIN: Duration = Duration::from_secs(1);

/// What came of a trouble.
#[derive(Debug, Serialize)]
pub struct Trouble {
    /// What it was.
    pub name: String,
    /// How long after everything was as it should be again the session was gone that had ended meanwhile.
    pub milliseconds: u64,
    /// What was there, or worked, and should not.
    pub leaked: Vec<String>,
    /// What was not there, or did not work, and should.
    pub lost: Vec<String>,
}

/// How an API server cannot be reached.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Away {
    /// Connections are refused.
    Refused,
    /// The network stands still, and goes on where it was.
    Still,
}

/// Two people with sessions at one server.
struct Stage<'w> {
    site: Site<'w>,
    alice: Caller,
    bob: Caller,
    /// The credential of the session that ends meanwhile.
    ending: String,
    until: Timestamp,
    /// UID and credential of the session that goes on.
    lasting: (String, String),
}

/// The API server is away for so long.
pub fn api_server_away(world: &World, name: &str, how: Away, lasting: Duration) -> Outcome<Trouble> {
    let (proxy, stage) = Stage::behind_proxy(world, name)?;
    let end = Timestamp::now() + lasting;
    let what = match how {
        Away::Refused => {
            proxy.go_away();
            "the API server refuses connections"
        }
        Away::Still => {
            proxy.stand_still();
            "the network to the API server stands still"
        }
    };
    let answer = stage.bob.get("/login")?;
    wait::until_time(end.max(stage.until))?;
    proxy.let_go();
    let mut trouble = stage.judge(format!("{what} for {lasting:?}"), LATE)?;
    if answer.status != 503 {
        let answered = format!("a caller was answered {} meanwhile", answer.status);
        trouble.lost.push(answered);
    }
    Ok(trouble)
}

/// Every connection to the API server is dead without a word.
pub fn connections_stranded(world: &World, name: &str) -> Outcome<Trouble> {
    let (proxy, stage) = Stage::behind_proxy(world, name)?;
    proxy.strand();
    wait::until_time(stage.until)?;
    stage.judge(
        "connections to the API server die without a word".to_owned(),
        LATE_AND_STRANDED,
    )
}

/// The server is killed while a session lasts, and started fifteen seconds after its end. The session is gone within two seconds, the
/// server's start included.
pub fn server_dead(world: &World, name: &str) -> Outcome<Trouble> {
    let stage = Stage::new(world.site(name)?)?;
    stage.site.server.kill()?;
    wait::until_time(stage.until + Duration::from_secs(15))?;
    let started = Instant::now();
    stage.site.server.start()?;
    let what = "the server is killed, and started 15 s after the end of a session";
    stage.judge_since(started, what.to_owned(), Duration::from_secs(2))
}

/// A part of the testbed is killed, and started again when the session has ended. Everybody notices.
pub fn part_restarted(world: &World, part: &str) -> Outcome<Trouble> {
    let stage = Stage::new(world.site(&format!("restart-{part}"))?)?;
    world.testbed.kill(part)?;
    wait::until_time(stage.until)?;
    world.bring_back()?;
    stage.judge(format!("{part} is killed and started again"), LATE)
}

// === impl Stage ===

impl<'w> Stage<'w> {
    fn behind_proxy(world: &'w World, name: &str) -> Outcome<(Proxy, Self)> {
        let proxy = Proxy::before(&world.testbed)?;
        let stage = Self::new(proxy.site(world, name)?)?;
        Ok((proxy, stage))
    }

    /// Both have signed in, and the shorter session is not over yet.
    fn new(site: Site<'w>) -> Outcome<Self> {
        let (alice, bob) = (site.caller("ALICE")?, site.caller("BOB")?);
        let grant = |period: &str| site.grant(&[(ALICE, rule("view", period)), (BOB, rule("view", "1h"))]);
        let (lasting, ending, uid, until) = brief::in_time(grant, || {
            let lasting = bob.sign_in_waiting()?.expect(200)?.credential()?;
            let ending = alice.sign_in_waiting()?.expect(200)?.credential()?;
            let state = State::of(&site)?;
            let (Found::Whole { uid, .. }, Found::Whole { until, .. }) = (state.of_user(BOB), state.of_user(ALICE))
            else {
                return Err(format!("two signed in, and there is {state:?}").into());
            };
            Ok(((lasting, ending, uid, until), until - TO_BEGIN))
        })?;
        Ok(Self {
            lasting: (uid, lasting),
            site,
            alice,
            bob,
            ending,
            until,
        })
    }

    /// The same, now that everything is as it should be again.
    fn judge(&self, name: String, limit: Duration) -> Outcome<Trouble> {
        self.judge_since(Instant::now(), name, limit)
    }

    /// Sees that the one session is over within what is promised from `since` on, the other is not, and that there can be new ones.
    fn judge_since(&self, since: Instant, name: String, limit: Duration) -> Outcome<Trouble> {
        let (mut leaked, mut lost) = (Vec::new(), Vec::new());
        let gone = wait::until_true("the session that ended is gone", || {
            let state = State::of(&self.site)?;
            Ok(state.of_user(ALICE) == Found::Absent && state.orphans().is_empty())
        });
        let took = since.elapsed();
        if let Err(error) = gone.and_then(|()| wait::within(limit, "a session that ended is gone", took)) {
            leaked.push(error.to_string());
        }
        if self.works(&self.ending)? {
            leaked.push("the credential of the session that ended".to_owned());
        }
        let (uid, token) = &self.lasting;
        match State::of(&self.site)?.of_user(BOB) {
            Found::Whole { uid: found, .. } if found == *uid && self.works(token)? => {}
            other => lost.push(format!("the session that goes on: {other:?}")),
        }
        if let Err(error) = self.sign_in_again() {
            lost.push(format!("signing in: {error}"));
        }
        Ok(Trouble {
            name,
            milliseconds: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            leaked,
            lost,
        })
    }

    /// Not for a few seconds: on a busy machine the session would be over before it is looked at. The API server learns of a binding by a watch.
    fn sign_in_again(&self) -> Outcome {
        self.site
            .grant(&[(ALICE, rule("view", "1h")), (BOB, rule("view", "1h"))])?;
        let token = self.alice.sign_in_waiting()?.expect(200)?.credential()?;
        let works = wait::until_true("the credential works", || self.works(&token));
        self.alice.sign_out()?;
        works
    }

    fn works(&self, token: &str) -> Outcome<bool> {
        Ok(self.site.world.cluster.status(token, "GET", "/api/v1/pods")? == 200)
    }
}
