//! All sessions ended at once.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use http::Method;
use serde::Serialize;

use crate::Outcome;
use crate::caller::{Answer, Caller};
use crate::floor::signins;
use crate::load::Load;
use crate::process::Usage;
use crate::site::{Shape, Site, text, until};
use crate::stats::{Times, rate};

/// How long it may take until all are gone.
const LIMIT: Duration = Duration::from_mins(15);
/// How long a caller waits who is told to try again without being told when.
const PAUSE: Duration = Duration::from_secs(1);

/// How all sessions ended.
#[derive(Debug, Serialize)]
pub(super) struct Ending {
    /// Until nothing was left of any.
    pub(super) seconds: f64,
    /// How many ended a second.
    pub(super) per_second: f64,
    /// How often the API server had too much to do.
    pub(super) throttled: u64,
    /// What callers were answered in the end, and how long that took, where callers ended them.
    pub(super) asked: Option<Load>,
    /// How many answers, to first and further tries, were failures.
    pub(super) failed: usize,
    /// The first answer and how long it took, where one caller ends all.
    pub(super) first: Option<String>,
    /// Sign-ins of another caller meanwhile.
    pub(super) meanwhile: Option<Times>,
    /// What the server uses afterwards.
    pub(super) after: Usage,
}

/// The callers sign out.
pub(super) async fn sign_out(site: &Site, at_once: u32) -> Outcome<Ending> {
    measured(site, sign_outs(site, at_once)).await
}

/// The callers sign out, while another goes on signing in.
pub(super) async fn sign_out_while_another_signs_in(site: &Site, at_once: u32) -> Outcome<Ending> {
    let over = &AtomicBool::new(false);
    let ending = async {
        let ending = measured(site, sign_outs(site, at_once)).await;
        over.store(true, Ordering::Relaxed);
        ending
    };
    let (ending, meanwhile) = tokio::join!(ending, site.sign_in_until(over));
    Ok(Ending {
        meanwhile: Some(meanwhile?),
        ..ending?
    })
}

/// The tailnet gives no caller a rule any more.
pub(super) async fn revoke(site: &Site) -> Outcome<Ending> {
    let revoked = async {
        site.stand_in.set_rules(Vec::new());
        Ok(Told::default())
    };
    let ending = measured(site, revoked).await?;
    site.stand_in.set_rules(site.rules.clone());
    Ok(ending)
}

/// All were signed in to for `period`, the last of them just now. Their time ends.
pub(super) async fn expire(site: &Site, period: Duration) -> Outcome<Ending> {
    tokio::time::sleep(period).await;
    measured(site, async { Ok(Told::default()) }).await
}

/// What callers were told.
#[derive(Default)]
struct Told {
    asked: Option<Load>,
    first: Option<String>,
    failed: usize,
}

async fn sign_outs(site: &Site, at_once: u32) -> Outcome<Told> {
    match site.shape {
        Shape::Device => {
            let (first, failed) = sign_out_of_all(site).await?;
            let first = Some(first);
            Ok(Told {
                asked: None,
                first,
                failed,
            })
        }
        Shape::Callers => {
            let (asked, failed) = sign_out_each(site, at_once).await;
            let asked = Some(asked);
            Ok(Told {
                asked,
                first: None,
                failed,
            })
        }
    }
}

/// From the beginning of `end` until nothing is left.
async fn measured(site: &Site, end: impl Future<Output = Outcome<Told>>) -> Outcome<Ending> {
    let requests = site.admin.requests().await?;
    let start = Instant::now();
    let Told { asked, first, failed } = end.await?;
    gone(site).await?;
    let time = start.elapsed();
    let throttled = site.admin.requests().await?.since(&requests).throttled();
    Ok(Ending {
        seconds: time.as_secs_f64(),
        per_second: rate(site.sessions as usize, time),
        throttled,
        asked,
        failed,
        first,
        meanwhile: None,
        after: site.usage()?,
    })
}

/// One caller ends all of theirs, and asks again for as long as that fails. Returns the first answer, and how many were failures.
async fn sign_out_of_all(site: &Site) -> Outcome<(String, usize)> {
    let mut caller = site.caller(0);
    let (mut first, mut failed) = (None, 0);
    loop {
        let answer = caller
            .send(Method::POST, "/api/v1alpha1/logout?all=true", &[], "")
            .await?;
        first.get_or_insert_with(|| format!("{} after {:.1} s", answer.status.as_u16(), answer.time.as_secs_f64()));
        match answer.status.as_u16() {
            // Nothing is left where an earlier try ended all.
            200 | 404 => return Ok((first.unwrap_or_default(), failed)),
            // It goes on, and no failure is told.
            202 => tokio::time::sleep(pause(&answer)).await,
            429 | 503 => {
                eprintln!(
                    "bench: the sign-out of all was answered {}: {}",
                    answer.status,
                    text(&answer)
                );
                failed += 1;
                tokio::time::sleep(pause(&answer)).await;
            }
            _ => return Err(format!("the sign-out of all was answered {}: {}", answer.status, text(&answer)).into()),
        }
    }
}

fn pause(answer: &Answer) -> Duration {
    let seconds = answer
        .headers
        .get(http::header::RETRY_AFTER)
        .and_then(|value| value.to_str().ok()?.parse().ok());
    seconds.map_or(PAUSE, Duration::from_secs)
}

/// Each caller signs out, and asks again for as long as that fails. Returns what came of it, and how many answers were failures.
async fn sign_out_each(site: &Site, at_once: u32) -> (Load, usize) {
    let refused = &AtomicUsize::new(0);
    let sign_out = |caller, _| async move {
        let mut caller: Caller = caller;
        loop {
            match caller.send(Method::POST, "/api/v1alpha1/logout", &[], "").await {
                Ok(answer) if matches!(answer.status.as_u16(), 429 | 503) => {
                    refused.fetch_add(1, Ordering::Relaxed);
                    tokio::time::sleep(pause(&answer)).await;
                }
                answer => return (caller, answer),
            }
        }
    };
    let asked = site.each(at_once, sign_out).await;
    let failed = asked.failed + refused.load(Ordering::Relaxed);
    (asked, failed)
}

/// Waits until no session of those that end is left. The caller that goes on signing in has one at the most.
async fn gone(site: &Site) -> Outcome {
    let path = signins(site.server.namespace());
    let none = || async { Ok(site.admin.count(&path).await? <= u64::from(site.has_another())) };
    until(LIMIT, "the end of all sessions", none).await?;
    Ok(())
}
