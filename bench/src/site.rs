//! A server whose callers are made up, and what they do.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use clap::ValueEnum;
use futures::future::join_all;
use http::Method;
use serde::Serialize;
use serde_json::{Value, json};
use testbed::Server;

use crate::Outcome;
use crate::api::Api;
use crate::caller::{Answer, Caller, Route};
use crate::floor::Floor;
use crate::ground::Ground;
use crate::load::{Done, Load};
use crate::people::{HOST, People};
use crate::process::{self, Usage};
use crate::stand_in::StandIn;
use crate::stats::Times;

/// How many devices one user has.
const DEVICES_PER_USER: u32 = 5;
/// How long a check of all sessions may take.
const ROUND: Duration = Duration::from_mins(2);

/// Between two looks at whether something has come about: short beside what is waited for.
const BETWEEN_LOOKS: Duration = Duration::from_millis(10);

/// Whose the sessions are.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Shape {
    /// All of one device, kept apart by labels.
    Device,
    /// Each of another device. Five devices are of one user.
    Callers,
}

/// Who there is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Crowd {
    /// Whose the sessions are.
    pub(crate) shape: Shape,
    /// How many there are.
    pub(crate) sessions: u32,
    /// How many more come and go.
    pub(crate) more: u32,
    /// How many devices the tailnet has at least.
    pub(crate) peers: u32,
}

/// A server whose tailscaled is a stand-in.
pub(crate) struct Site {
    pub(crate) server: Server,
    pub(crate) stand_in: StandIn,
    pub(crate) admin: Api,
    pub(crate) shape: Shape,
    pub(crate) sessions: u32,
    /// What every caller may have.
    pub(crate) rules: Vec<Value>,
    /// The last device, whose user has no other that signs in.
    last: u32,
    /// Whether that one is signing in and out.
    another: AtomicBool,
    address: SocketAddr,
    authority: String,
}

/// What every caller may have; with a quota of so many sessions, which no caller reaches.
pub(crate) fn rules(max_sessions: Option<u32>) -> Vec<Value> {
    let mut rule = json!({ "role": "view", "period": "8h" });
    if let Some(max) = max_sessions {
        rule["max_sessions"] = max.into();
    }
    vec![rule]
}

// === impl Site ===

impl Site {
    /// Starts a server of that name, whose callers have `rules`.
    pub(crate) async fn start(ground: &Ground, name: &str, crowd: Crowd, rules: Vec<Value>) -> Outcome<Self> {
        let Crowd {
            shape,
            sessions,
            more,
            peers,
        } = crowd;
        let signing_in = if shape == Shape::Device { 1 } else { sessions + more };
        let devices = (signing_in.max(peers) / DEVICES_PER_USER + 2) * DEVICES_PER_USER;
        let people = People {
            devices,
            devices_per_user: DEVICES_PER_USER,
        };
        let capability = testbed::ServerOptions::new(name).capability;
        let stand_in = StandIn::start(people, &capability, rules.clone())?;
        let server = ground.server(name, &json!({ "tailscale": { "socket": stand_in.socket() } }))?;
        let address = server.loopback_address();
        Ok(Self {
            authority: format!("{HOST}:{}", address.port()),
            admin: ground.admin().await?,
            server,
            stand_in,
            shape,
            sessions,
            rules,
            last: devices - 1,
            another: AtomicBool::new(false),
            address,
        })
    }

    /// The program of one caller.
    pub(crate) fn caller(&self, session: u32) -> Caller {
        let device = if self.shape == Shape::Device { 0 } else { session };
        Caller::new(Route::From(People::loopback(device), self.address), &self.authority)
    }

    /// Signs in for a session.
    async fn sign_in(&self, caller: &mut Caller, session: u32, period: Option<Duration>) -> Outcome<Answer> {
        let mut body = if self.shape == Shape::Device {
            json!({ "session": format!("s{session}") })
        } else {
            json!({})
        };
        if let Some(period) = period {
            body["period"] = format!("{}s", period.as_secs()).into();
        }
        caller
            .send(
                Method::POST,
                "/api/v1alpha1/login",
                &[("prefer", "wait=10")],
                &body.to_string(),
            )
            .await
    }

    /// Signs in for all sessions, so many at a time.
    pub(crate) async fn sign_in_all(&self, at_once: u32) -> Load {
        self.sign_in_all_for(at_once, None).await
    }

    /// The same, for so long.
    pub(crate) async fn sign_in_all_for(&self, at_once: u32, period: Option<Duration>) -> Load {
        let all = |caller, session| async move {
            let mut caller: Caller = caller;
            let answer = self.sign_in(&mut caller, session, period).await;
            (caller, answer)
        };
        self.each(at_once, all).await
    }

    /// Does something for each session by so many workers, each of which keeps its connection where the caller stays the same.
    pub(crate) async fn each<F>(&self, at_once: u32, job: impl Fn(Caller, u32) -> F) -> Load
    where
        F: Future<Output = (Caller, Outcome<Answer>)>,
    {
        let next = &AtomicU32::new(0);
        let job = &job;
        let start = Instant::now();
        let worker = |_| async move {
            let mut done = Vec::new();
            let mut kept = None;
            loop {
                let session = next.fetch_add(1, Ordering::Relaxed);
                if session >= self.sessions {
                    return done;
                }
                let caller = kept.take().unwrap_or_else(|| self.caller(session));
                let began = Instant::now();
                let (caller, answer) = job(caller, session).await;
                done.push(Done {
                    time: began.elapsed(),
                    answer: answer
                        .map(|answer| answer.status.as_u16())
                        .map_err(|error| error.to_string()),
                });
                kept = (self.shape == Shape::Device).then_some(caller);
            }
        };
        let done = join_all((0..at_once).map(worker)).await;
        Load::of(&done.concat(), start.elapsed())
    }

    /// Signs in so many times one after another, each time for a session that is not one of all, and ends that again. In turn with that the API server does
    /// the same alone. Returns the times of both.
    pub(crate) async fn sign_in_among(&self, floor: &Floor, count: u32) -> Outcome<(Times, Times)> {
        let (mut measured, mut alone) = (Vec::new(), Vec::new());
        for session in self.sessions..self.sessions + count {
            let mut caller = self.caller(session);
            let answer = self.sign_in(&mut caller, session, None).await?;
            if answer.status != http::StatusCode::OK {
                return Err(format!("a sign-in among all was answered {}: {}", answer.status, text(&answer)).into());
            }
            measured.push(answer.time);
            let signed_in: Value = serde_json::from_slice(&answer.body)?;
            let name = signed_in["session"]["name"]
                .as_str()
                .ok_or("the answer to a sign-in names no session")?;
            let ended = caller
                .send(Method::DELETE, &format!("/api/v1alpha1/sessions/{name}"), &[], "")
                .await?;
            if !ended.status.is_success() {
                return Err(format!("a session was not ended: {} {}", ended.status, text(&ended)).into());
            }
            alone.push(floor.sign_in(0).await?);
            floor.sign_out(0).await?;
        }
        Ok((measured.into_iter().collect(), alone.into_iter().collect()))
    }

    /// Signs in and out on the last device, again and again, until it is `over`. Returns how long the sign-ins took. One that is refused is an error.
    pub(crate) async fn sign_in_until(&self, over: &AtomicBool) -> Outcome<Times> {
        self.another.store(true, Ordering::Relaxed);
        let route = Route::From(People::loopback(self.last), self.address);
        let mut caller = Caller::new(route, &self.authority);
        let mut measured = Vec::new();
        while !over.load(Ordering::Relaxed) {
            for path in ["/api/v1alpha1/login", "/api/v1alpha1/logout"] {
                let answer = caller.send(Method::POST, path, &[("prefer", "wait=10")], "").await?;
                if answer.status != http::StatusCode::OK {
                    let said = text(&answer);
                    return Err(format!("another caller was answered {} meanwhile: {said}", answer.status).into());
                }
                if path.ends_with("login") {
                    measured.push(answer.time);
                }
            }
        }
        self.another.store(false, Ordering::Relaxed);
        Ok(measured.into_iter().collect())
    }

    /// Whether another caller is signing in and out.
    pub(crate) fn has_another(&self) -> bool {
        self.another.load(Ordering::Relaxed)
    }

    /// Has all sessions checked against the tailnet. Returns how long that took, and the processor time, in milliseconds.
    pub(crate) async fn reauthorisation(&self) -> Outcome<[u64; 2]> {
        let devices = if self.shape == Shape::Device {
            1
        } else {
            u64::from(self.sessions)
        };
        let (asked, cpu) = (self.stand_in.asked(), self.usage()?.cpu_ms);
        self.stand_in.set_rules(self.rules.clone());
        let all = || async { Ok(self.stand_in.asked() >= asked + devices) };
        let took = until(ROUND, "the check of all sessions", all).await?;
        Ok([u64::try_from(took.as_millis())?, self.usage()?.cpu_ms - cpu])
    }

    /// What the server uses.
    pub(crate) fn usage(&self) -> Outcome<Usage> {
        process::usage(self.pid()?)
    }

    /// The server's process.
    pub(crate) fn pid(&self) -> Outcome<u32> {
        Ok(self.server.pid()?.ok_or("the server does not run")?)
    }

    /// Processor time of the server and of the API server, in milliseconds.
    pub(crate) fn cpu(&self, ground: &Ground) -> Outcome<[u64; 2]> {
        let api_server = ground
            .testbed
            .pid("kube-apiserver")?
            .ok_or("the API server does not run")?;
        Ok([self.usage()?.cpu_ms, process::usage(api_server)?.cpu_ms])
    }

    /// Removes the server and all of it.
    pub(crate) fn remove(self) -> Outcome {
        Ok(self.server.remove()?)
    }
}

pub(crate) fn text(answer: &Answer) -> String {
    String::from_utf8_lossy(&answer.body).into_owned()
}

/// Waits until `is` says so; an error when that takes longer than `limit`.
pub(crate) async fn until<F: Future<Output = Outcome<bool>>>(
    limit: Duration,
    what: &str,
    is: impl Fn() -> F,
) -> Outcome<Duration> {
    let start = Instant::now();
    loop {
        if is().await? {
            return Ok(start.elapsed());
        }
        if start.elapsed() > limit {
            return Err(format!("{what} did not come about within {} s", limit.as_secs()).into());
        }
        tokio::time::sleep(BETWEEN_LOOKS).await;
    }
}
