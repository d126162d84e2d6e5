//! Watching objects of the API server, so that a connection which died without a word is noticed within seconds.

use std::fmt::Debug;
use std::pin::pin;
use std::time::Duration;

use futures::{Stream, StreamExt, stream};
use kube::core::Status;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Resource};
use serde::de::DeserializeOwned;
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

/// How often the API server says a word on the watch of sessions, be it that nothing changed.
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
    patient(told.filter_map(std::future::ready))
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
pub(crate) fn patient<T: Send>(
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
    let status: &Status = match error {
        watcher::Error::InitialListFailed(error)
        | watcher::Error::WatchStartFailed(error)
        | watcher::Error::WatchFailed(error) => status(error)?,
        watcher::Error::WatchError(status) => status,
        watcher::Error::NoResourceVersion => return None,
    };
    crate::error::retry_after(status)
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
