//! Watching objects of the API server, so that a connection which died without a word is noticed within seconds.

use std::fmt::Debug;
use std::pin::pin;
use std::time::Duration;

use futures::{Stream, StreamExt, stream};
use kube::core::Status;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Resource};
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use crate::clients::SILENCE;
use crate::error::{status, with_causes};
use crate::retry;

/// How often the API server ends a watch. It goes on where it was, so that this costs a request each time and no more. What happened meanwhile on a
/// connection that died without a word is heard of soon after.
const SECONDS: u32 = 3;
const _: () = assert!((SECONDS as u64) < SILENCE.as_secs());

/// The same where bytes wait for a word: a watch that is silent for two seconds holds them.
const BRISK_SECONDS: u32 = 1;

/// How long a watch that failed may be silent before it counts as broken. One that is begun anew says a word within [`SECONDS`].
const BROKEN: Duration = Duration::from_secs(10);

/// How a watch failed the last time.
#[derive(Clone, Debug)]
pub struct WatchFailure {
    at: Instant,
    why: String,
}

/// Whether the sessions are known as they are now. Clones tell the same.
#[derive(Clone, Debug)]
pub struct WatchHealth {
    /// Whether all that there were have been listed.
    pub synced: watch::Receiver<bool>,
    /// How the watch failed the last time, if it did.
    pub failure: watch::Receiver<Option<WatchFailure>>,
    /// When the API server last said a word.
    pub watch_activity: watch::Receiver<Instant>,
}

/// How often the API server says a word on the watch of sessions, even if nothing changed.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Heartbeat {
    /// Every three seconds, which suffices for what the reconcile loop does.
    #[default]
    Calm,
    /// Every second, which the streams of a gateway need.
    Brisk,
}

// === impl Heartbeat ===

impl Heartbeat {
    /// What is watched of all that there is.
    pub(crate) fn config(self) -> watcher::Config {
        let seconds = match self {
            Self::Calm => SECONDS,
            Self::Brisk => BRISK_SECONDS,
        };
        watcher::Config::default().timeout(seconds)
    }
}

// === impl WatchFailure ===

impl WatchFailure {
    /// What `error` says of the watch of sessions, and what to do.
    pub(crate) fn new(error: &watcher::Error, at: Instant) -> Self {
        let said = with_causes(error);
        let why = match answer(error).map(|status| status.code) {
            Some(404) => format!(
                "{}: the cluster lacks the custom resource TkaSignin; crds.install=true of the chart installs it",
                said.trim_end()
            ),
            Some(403) => {
                format!(
                    "{said}: are the chart's Role for tkasignins and its RoleBinding to the server's account there?"
                )
            }
            Some(401) => format!("{said}: the API server does not take the token of the server's account"),
            _ => format!("{said}: does the Kubernetes API server run, and is it reached from here?"),
        };
        Self { at, why }
    }
}

// === impl WatchHealth ===

impl WatchHealth {
    /// Why the sessions are not known as they are at `now`, if they are not.
    pub fn check(&self, now: Instant) -> Result<(), String> {
        let (is_synced, watch_activity) = (*self.synced.borrow(), *self.watch_activity.borrow());
        match &*self.failure.borrow() {
            Some(failure) if !is_synced => Err(failure.why.clone()),
            Some(failure) if watch_activity < failure.at && now.duration_since(watch_activity) >= BROKEN => {
                Err(failure.why.clone())
            }
            _ if is_synced => Ok(()),
            _ => Err("still starting".to_owned()),
        }
    }
}

/// What is watched of all that there is.
pub(crate) fn config() -> watcher::Config {
    Heartbeat::Calm.config()
}

/// The object of that name as it is now and whenever it changes; none while there is none. [`watch_object`](watcher::watch_object) of kube does the
/// same by a watch that stays open.
pub(crate) fn object<K>(api: Api<K>, name: &str) -> impl Stream<Item = watcher::Result<Option<K>>> + Send + use<K>
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    let fields = format!("metadata.name={name}");
    let told = watcher(api, config().fields(&fields)).scan(false, |listed, event| {
        let change = match event {
            Ok(Event::Init) => {
                *listed = false;
                None
            }
            Ok(Event::InitApply(object)) => {
                *listed = true;
                Some(Ok(Some(object)))
            }
            Ok(Event::InitDone) => (!*listed).then_some(Ok(None)),
            Ok(Event::Apply(object)) => Some(Ok(Some(object))),
            Ok(Event::Delete(_)) => Some(Ok(None)),
            Err(error) => Some(Err(error)),
        };
        std::future::ready(Some(change))
    });
    with_backoff(told.filter_map(std::future::ready))
}

/// Waits until the object of that name, or that there is none, is as `is_so` says. What fails meanwhile is tried again: how long to wait
/// is for who asks to say.
pub(crate) async fn until<K>(api: Api<K>, name: &str, is_so: impl Fn(Option<&K>) -> bool)
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    let mut changes = pin!(object(api, name));
    while let Some(change) = changes.next().await {
        match change {
            Ok(object) if is_so(object.as_ref()) => return,
            Ok(_) => {}
            Err(error) => tracing::debug!(name, error = with_causes(&error), "watching failed"),
        }
    }
}

/// `stream`, which is asked again a while after each failure: as long as the API server asks for, within limits.
pub(crate) fn with_backoff<T: Send>(
    stream: impl Stream<Item = watcher::Result<T>> + Send + 'static,
) -> impl Stream<Item = watcher::Result<T>> + Send {
    let start = (stream.boxed(), retry::Watches::default(), None);
    stream::unfold(start, |(mut stream, mut retries, wait)| async move {
        if let Some(wait) = wait {
            sleep(wait).await;
        }
        let item = stream.next().await?;
        let failed = item.as_ref().err();
        let wait = failed.map(|error| retries.failed(retry_after(error), Instant::now()));
        Some((item, (stream, retries, wait)))
    })
}

/// How long the API server asks to wait.
fn retry_after(error: &watcher::Error) -> Option<Duration> {
    crate::error::retry_after(answer(error)?)
}

/// What the API server answered, when it answered.
fn answer(error: &watcher::Error) -> Option<&Status> {
    match error {
        watcher::Error::InitialListFailed(error)
        | watcher::Error::WatchStartFailed(error)
        | watcher::Error::WatchFailed(error) => status(error),
        watcher::Error::WatchError(status) => Some(status),
        watcher::Error::NoResourceVersion => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Clients;
    use crate::metrics::Metrics;
    use k8s_openapi::api::coordination::v1::Lease;
    use kube::Config;
    use prometheus_client::registry::Registry;
    use std::sync::{Arc, Mutex};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    #[tokio::test]
    async fn watch_that_failed_is_broken_until_the_next_word() {
        let (start, seconds) = (Instant::now(), Duration::from_secs);
        let (sync, synced) = watch::channel(false);
        let (fail, failure) = watch::channel(None);
        let (hear, watch_activity) = watch::channel(start);
        let standing = WatchHealth {
            synced,
            failure,
            watch_activity,
        };
        let why = |after| standing.check(start + seconds(after)).err();
        assert_eq!(why(0), Some("still starting".to_owned()));
        let failed = |code, after| {
            let status = Status::failure("list failed", "Reason").with_code(code).boxed();
            let error = watcher::Error::InitialListFailed(kube::Error::Api(status));
            Some(WatchFailure::new(&error, start + seconds(after)))
        };
        for (code, advice) in [
            (404, "crds.install=true"),
            (403, "the chart's Role for tkasignins"),
            (401, "does not take the token"),
            (500, "does the Kubernetes API server run"),
        ] {
            fail.send_replace(failed(code, 0));
            // Before the first list there is nothing to wait for.
            let why = why(0).unwrap();
            assert!(why.contains("list failed: ") && why.contains(advice), "{why}");
        }
        sync.send_replace(true);
        fail.send_replace(failed(403, 1));
        assert_eq!(why(9), None, "the next try may succeed");
        assert!(why(10).is_some());
        hear.send_replace(start + seconds(11));
        assert_eq!(why(60), None);
    }

    const EMPTY: &str =
        r#"{"kind": "LeaseList", "apiVersion": "v1", "metadata": {"resourceVersion": "1"}, "items": []}"#;

    /// Lists, and says no word to a watch. Notes what is asked for, and when.
    async fn silent(mut stream: TcpStream, notes: Arc<Mutex<Vec<(String, Instant)>>>) {
        let mut read = Vec::new();
        while let Ok(1..) = stream.read_buf(&mut read).await {
            if !read.ends_with(b"\r\n\r\n") {
                continue;
            }
            let text = String::from_utf8(std::mem::take(&mut read)).unwrap();
            let target = text.split(' ').nth(1).unwrap().to_owned();
            if !target.contains("watch=") {
                let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{EMPTY}", EMPTY.len());
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
            notes.lock().unwrap().push((target, Instant::now()));
        }
    }

    #[tokio::test]
    async fn silent_watch_is_begun_anew_within_seconds() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let notes = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&notes);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(silent(stream, Arc::clone(&kept)));
            }
        });
        let metrics = Metrics::register(&mut Registry::default());
        let clients = Clients::new(Config::new(url.parse().unwrap()), &metrics, |_, _| {}).unwrap();
        tokio::time::pause();
        let mut changes = Box::pin(object(Api::<Lease>::namespaced(clients.watches, "tka"), "tka-server"));
        assert!(matches!(changes.next().await, Some(Ok(None))));
        assert!(changes.next().await.is_some_and(|told| told.is_err()));
        // It is asked again, and answered as little.
        assert!(changes.next().await.is_some_and(|told| told.is_err()));
        let notes = notes.lock().unwrap();
        let watches: Vec<_> = notes.iter().filter(|(target, _)| target.contains("watch=")).collect();
        assert!(watches[0].0.contains("timeoutSeconds=3"), "{}", watches[0].0);
        let after = watches[1].1 - watches[0].1;
        assert!((SILENCE..Duration::from_secs(8)).contains(&after), "{after:?}");
    }
}
