//! How long no replica answers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use e2e::Outcome;
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
}

impl Silence {
    pub(crate) fn begin(node: &Node, urls: &[String]) -> Outcome<Self> {
        let end = Arc::new(AtomicBool::new(false));
        let asking = urls.iter().map(|url| {
            let (agent, url) = (agent(node)?, format!("{url}/api/v1alpha1/login"));
            let end = Arc::clone(&end);
            Ok(thread::spawn(move || ask(&agent, &url, &end)))
        });
        Ok(Self {
            start: Instant::now(),
            asking: asking.collect::<Outcome<_>>()?,
            end,
        })
    }

    /// The longest time in which none answered that there is a session.
    pub(crate) fn longest(self) -> Outcome<Duration> {
        self.end.store(true, Ordering::Relaxed);
        let mut times = vec![self.start];
        for asking in self.asking {
            let answers = asking.join().map_err(|_| "a thread panicked")?;
            if answers.is_empty() {
                return Err("a replica never answered".into());
            }
            times.extend(answers);
        }
        times.sort();
        times.push(Instant::now());
        let gaps = times.windows(2).map(|pair| pair[1].duration_since(pair[0]));
        Ok(gaps.max().unwrap_or_default())
    }
}

fn agent(node: &Node) -> Outcome<Agent> {
    let config = Agent::config_builder()
        .proxy(Some(Proxy::new(&node.proxy())?))
        .http_status_as_error(false)
        .max_idle_connections(0)
        .timeout_global(Some(PATIENCE));
    Ok(config.build().new_agent())
}

/// When there were answers.
fn ask(agent: &Agent, url: &str, end: &AtomicBool) -> Vec<Instant> {
    let mut answers = Vec::new();
    while !end.load(Ordering::Relaxed) {
        if agent.get(url).call().is_ok_and(|answer| answer.status() == 200) {
            answers.push(Instant::now());
        }
        thread::sleep(INTERVAL);
    }
    answers
}
