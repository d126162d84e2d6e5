//! Bodies that move while their session's bytes may, and are counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use futures::stream;
use http_body::{Body, Frame};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, StreamBody};

use crate::flow::{Gate, StopReason};

/// What went wrong with a body.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A body of whatever kind.
pub type BoxBody = UnsyncBoxBody<Bytes, BoxError>;

/// Counts bytes. Clones count together.
#[derive(Clone, Debug, Default)]
pub struct Counter(Arc<AtomicU64>);

// === impl Counter ===

impl Counter {
    /// Counts `more` bytes.
    pub fn add(&self, more: usize) {
        self.0
            .fetch_add(u64::try_from(more).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// How many there were.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// `body`, whose frames move while `gate` is open and fail once it is cut. Its bytes are counted by `count`; `kept` is dropped with it.
pub fn gated_body<B, K>(body: B, gate: Gate, count: Counter, kept: K) -> BoxBody
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
    K: Send + 'static,
{
    let start = Some((Box::pin(body), gate, kept));
    let frames = stream::unfold(start, move |state| {
        let count = count.clone();
        async move {
            let (mut body, mut gate, kept) = state?;
            let frame = match gate.run(body.frame()).await {
                Ok(Some(Ok(frame))) => frame,
                Ok(Some(Err(error))) => return Some((Err(error.into()), None)),
                // The client begins a watch anew that comes to its end, and takes one that breaks for a failure.
                Ok(None) | Err(StopReason::Drained) => return None,
                Err(StopReason::Cut(cut)) => return Some((Err(cut.into()), None)),
            };
            count.add(frame.data_ref().map_or(0, Bytes::len));
            Some((Ok::<Frame<Bytes>, BoxError>(frame), Some((body, gate, kept))))
        }
    });
    StreamBody::new(frames).boxed_unsync()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Cut, CutKind, Flow};
    use futures::FutureExt;
    use http_body_util::Full;
    use tokio::sync::{mpsc, watch};

    fn channel() -> (mpsc::Sender<Bytes>, impl Body<Data = Bytes, Error = BoxError>) {
        let (sender, receiver) = mpsc::channel(8);
        let frames = stream::unfold(receiver, |mut receiver| async move {
            let data = receiver.recv().await?;
            Some((Ok(Frame::data(data)), receiver))
        });
        (sender, StreamBody::new(frames))
    }

    #[tokio::test]
    async fn bytes_move_wait_and_end_with_their_session() {
        let (flow, receiver) = watch::channel(Flow::Open);
        let (sender, body) = channel();
        let count = Counter::default();
        let mut body = gated_body(body, Gate::new(receiver), count.clone(), ());
        sender.send(Bytes::from_static(b"one")).await.unwrap();
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "one");
        flow.send_replace(Flow::Held);
        sender.send(Bytes::from_static(b"two")).await.unwrap();
        assert!(body.frame().now_or_never().is_none());
        flow.send_replace(Flow::Open);
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "two");
        sender.send(Bytes::from_static(b"three")).await.unwrap();
        flow.send_replace(Flow::Cut(Cut::new(CutKind::Ended, "signed out")));
        assert_eq!(body.frame().await.unwrap().unwrap_err().to_string(), "signed out");
        assert!(body.frame().await.is_none());
        assert_eq!(count.get(), 6);
    }

    #[tokio::test]
    async fn what_is_kept_goes_with_the_body() {
        let (_flow, receiver) = watch::channel(Flow::Open);
        let kept = Arc::new(());
        let body = gated_body(
            Full::new(Bytes::from_static(b"x")),
            Gate::new(receiver),
            Counter::default(),
            Arc::clone(&kept),
        );
        assert_eq!(Arc::strong_count(&kept), 2);
        body.collect().await.unwrap();
        assert_eq!(Arc::strong_count(&kept), 1);
    }
}
