//! Bodies whose reader may stop reading: what it does not take within a while is given up.
//!
//! Over HTTP/1.1 a connection that takes nothing is closed by the server. Over HTTP/2 a connection goes on while one of its streams stalls, and hyper does
//! not ask the body of that one for more. So another task asks.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::stream;
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use thiserror::Error;
use tokio::sync::mpsc;

use crate::body::{BoxBody, BoxError};

/// Nothing of an answer was read for too long.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[error("nothing of the answer was read for {0:?}")]
pub struct StallTimeout(Duration);

type Read = Result<Frame<Bytes>, BoxError>;

/// `body`, which is dropped when a frame of it was not read for as long as `limit`. Its reader finds an error then. At most two frames wait for the reader.
#[must_use]
pub fn with_stall_timeout(body: BoxBody, limit: Duration) -> BoxBody {
    let (sender, receiver) = mpsc::channel(1);
    let given_up = Arc::new(AtomicBool::new(false));
    tokio::spawn(hand_over(body, sender, limit, Arc::clone(&given_up)));
    let frames = stream::unfold(Some(receiver), move |receiver| {
        let given_up = Arc::clone(&given_up);
        async move {
            let mut receiver = receiver?;
            if let Some(read) = receiver.recv().await {
                return Some((read, Some(receiver)));
            }
            // An answer that was given up must not pass for a whole one.
            let is_given_up = given_up.load(Ordering::Acquire);
            is_given_up.then(|| (Err(StallTimeout(limit).into()), None))
        }
    });
    StreamBody::new(frames).boxed_unsync()
}

async fn hand_over(mut body: BoxBody, sender: mpsc::Sender<Read>, limit: Duration, given_up: Arc<AtomicBool>) {
    loop {
        let frame = tokio::select! {
            biased;
            () = sender.closed() => return,
            frame = body.frame() => frame,
        };
        let Some(frame) = frame else { return };
        match sender.send_timeout(frame, limit).await {
            Ok(()) => {}
            Err(mpsc::error::SendTimeoutError::Closed(_)) => return,
            Err(mpsc::error::SendTimeoutError::Timeout(_)) => return given_up.store(true, Ordering::Release),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Weak;
    use tokio::time::sleep;

    const LIMIT: Duration = Duration::from_mins(10);

    /// A body of so many frames, and what is there while it is.
    fn body(frames: u8) -> (BoxBody, Weak<()>) {
        let there = Arc::new(());
        let weak = Arc::downgrade(&there);
        let frames = stream::unfold((0, there), move |(number, there)| async move {
            let frame = Frame::data(Bytes::copy_from_slice(&[number]));
            (number < frames).then(|| (Ok::<_, BoxError>(frame), (number + 1, there)))
        });
        (StreamBody::new(frames).boxed_unsync(), weak)
    }

    #[tokio::test(start_paused = true)]
    async fn slow_reader_gets_all_and_a_stalled_one_an_error() {
        let (whole, _there) = body(5);
        let mut slow = with_stall_timeout(whole, LIMIT);
        for number in 0..5 {
            sleep(LIMIT / 2).await;
            let frame = slow.frame().await.unwrap().unwrap();
            assert_eq!(frame.into_data().unwrap().as_ref(), [number]);
        }
        assert!(slow.frame().await.is_none());

        let (whole, there) = body(5);
        let mut stalled = with_stall_timeout(whole, LIMIT);
        stalled.frame().await.unwrap().unwrap();
        sleep(LIMIT / 2).await;
        assert!(there.upgrade().is_some());
        sleep(LIMIT).await;
        assert!(there.upgrade().is_none(), "nothing is kept for it");
        stalled.frame().await.unwrap().unwrap();
        assert_eq!(
            stalled.frame().await.unwrap().unwrap_err().to_string(),
            StallTimeout(LIMIT).to_string()
        );
        assert!(stalled.frame().await.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn body_goes_with_its_reader() {
        let silent = stream::pending::<Result<Frame<Bytes>, BoxError>>();
        let there = Arc::new(());
        let kept = Arc::clone(&there);
        let silent = StreamBody::new(futures::StreamExt::inspect(silent, move |_| drop(Arc::clone(&kept))));
        let read = with_stall_timeout(silent.boxed_unsync(), LIMIT);
        sleep(Duration::from_secs(1)).await;
        assert_eq!(Arc::strong_count(&there), 2);
        drop(read);
        sleep(Duration::from_secs(1)).await;
        assert_eq!(Arc::strong_count(&there), 1);
    }
}
