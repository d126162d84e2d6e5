//! How long no replica answers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use e2e::{Outcome, Person};
use testbed::Node;
use ureq::{Agent, Proxy};

/// How long an answer is waited for: as long as `tka` waits before it asks the next replica.
const PATIENCE: Duration = Duration::from_secs(2);
/// Between two requests to one replica.
const INTERVAL: Duration = Duration::from_millis(50);

/// Asks all replicas again and again for the session of a node's user, until it is told to end.
pub(crate) struct Silence {
    start: Instant,
    end: Arc<AtomicBool>,
    asking: Vec<JoinHandle<Vec<Instant>>>,
    typing: JoinHandle<Vec<Instant>>,
}

/// The longest times without an answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Longest {
    /// From any replica, each asked by itself.
    pub(crate) replicas: Duration,
    /// To `tka`, which asks the next replica where one does not answer.
    pub(crate) tka: Duration,
}

impl Silence {
    /// `person` has signed in by `tka`.
    pub(crate) fn begin(node: &Node, urls: &[String], person: &Arc<Person>) -> Outcome<Self> {
        let end = Arc::new(AtomicBool::new(false));
        let asking = urls.iter().map(|url| {
            let (agent, url) = (agent(node)?, format!("{url}/api/v1alpha1/login"));
            let end = Arc::clone(&end);
            Ok(thread::spawn(move || ask(&agent, &url, &end)))
        });
        let typing = {
            let (person, end) = (Arc::clone(person), Arc::clone(&end));
            thread::spawn(move || {
                answers(&end, || {
                    person.tka(&["get", "login"]).is_ok_and(|said| said.status == Some(0))
                })
            })
        };
        Ok(Self {
            start: Instant::now(),
            typing,
            asking: asking.collect::<Outcome<_>>()?,
            end,
        })
    }

    /// The longest times in which none answered that there is a session.
    pub(crate) fn longest(self) -> Outcome<Longest> {
        self.end.store(true, Ordering::Relaxed);
        let joined = |thread: JoinHandle<Vec<Instant>>| match thread.join() {
            Ok(answers) if answers.is_empty() => Err("a replica, or `tka`, never had an answer"),
            answers => answers.map_err(|_| "a thread panicked"),
        };
        let typed = joined(self.typing)?;
        let mut asked = Vec::new();
        for asking in self.asking {
            asked.extend(joined(asking)?);
        }
        Ok(Longest {
            replicas: longest_gap(self.start, asked),
            tka: longest_gap(self.start, typed),
        })
    }
}

/// The longest time without one of `times`, from `start` until now.
fn longest_gap(start: Instant, mut times: Vec<Instant>) -> Duration {
    times.push(start);
    times.sort();
    times.push(Instant::now());
    let gaps = times.windows(2).map(|pair| pair[1].duration_since(pair[0]));
    gaps.max().unwrap_or_default()
}

fn agent(node: &Node) -> Outcome<Agent> {
    let config = Agent::config_builder()
        .proxy(Some(Proxy::new(&node.proxy())?))
        .http_status_as_error(false)
        .max_idle_connections(0)
        .timeout_global(Some(PATIENCE));
    Ok(config.build().new_agent())
}

fn ask(agent: &Agent, url: &str, end: &AtomicBool) -> Vec<Instant> {
    answers(end, || agent.get(url).call().is_ok_and(|answer| answer.status() == 200))
}

/// When there were answers.
fn answers(end: &AtomicBool, is_answered: impl Fn() -> bool) -> Vec<Instant> {
    let mut answers = Vec::new();
    while !end.load(Ordering::Relaxed) {
        if is_answered() {
            answers.push(Instant::now());
        }
        thread::sleep(INTERVAL);
    }
    answers
}
