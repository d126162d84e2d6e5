//! A server whose callers are made up, and what they do.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
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

/// A server whose tailscaled is a stand-in.
pub(crate) struct Site {
    pub(crate) server: Server,
    pub(crate) stand_in: StandIn,
    pub(crate) admin: Api,
    pub(crate) shape: Shape,
    pub(crate) sessions: u32,
    address: SocketAddr,
    authority: String,
}

/// What every caller may have.
pub(crate) fn rules() -> Vec<Value> {
    vec![json!({ "role": "view", "period": "8h" })]
}

// === impl Site ===

impl Site {
    /// Starts a server of that name for so many sessions, and `more` that come and go.
    pub(crate) async fn start(ground: &Ground, name: &str, shape: Shape, sessions: u32, more: u32) -> Outcome<Self> {
        let devices = if shape == Shape::Device { 1 } else { sessions + more };
        let people = People {
            devices,
            devices_per_user: DEVICES_PER_USER,
        };
        let capability = testbed::ServerOptions::new(name).capability;
        let stand_in = StandIn::start(people, &capability, rules())?;
        let server = ground.server(name, &json!({ "tailscale": { "socket": stand_in.socket() } }))?;
        let address = server.loopback_address();
        Ok(Self {
            authority: format!("{HOST}:{}", address.port()),
            admin: ground.admin().await?,
            server,
            stand_in,
            shape,
            sessions,
            address,
        })
    }

    /// The program of one caller.
    pub(crate) fn caller(&self, session: u32) -> Caller {
        let device = if self.shape == Shape::Device { 0 } else { session };
        Caller::new(Route::From(People::loopback(device), self.address), &self.authority)
    }

    /// Signs in for a session.
    async fn sign_in(&self, caller: &mut Caller, session: u32) -> Outcome<Answer> {
        let body = if self.shape == Shape::Device {
            json!({ "session": format!("s{session}") })
        } else {
            json!({})
        };
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
        let all = |caller, session| async move {
            let mut caller: Caller = caller;
            let answer = self.sign_in(&mut caller, session).await;
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
            let answer = self.sign_in(&mut caller, session).await?;
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

    /// Has all sessions checked against the tailnet. Returns how long that took, and the processor time, in milliseconds.
    pub(crate) async fn reauthorisation(&self) -> Outcome<[u64; 2]> {
        let devices = if self.shape == Shape::Device {
            1
        } else {
            u64::from(self.sessions)
        };
        let (asked, cpu) = (self.stand_in.asked(), self.usage()?.cpu_ms);
        self.stand_in.set_rules(rules());
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
