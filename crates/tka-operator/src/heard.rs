//! When the API server last said a word on a watch.
//!
//! A watch that is silent may have missed an end. So what must not outlive an end asks when there was a word.

use bytes::Bytes;
use http::Response;
use http_body::Body;
use http_body_util::BodyExt;
use tokio::sync::watch;
use tokio::time::Instant;
use tower::BoxError;
use tower::util::MapResponseLayer;

use crate::retry::Told;

/// When the API server last said a word. Clones tell the same.
#[derive(Clone, Debug)]
pub struct Heard(watch::Sender<Instant>);

// === impl Heard ===

impl Default for Heard {
    /// Nothing was heard yet, and the silence begins now.
    fn default() -> Self {
        Self(watch::Sender::new(Instant::now()))
    }
}

impl Heard {
    /// When there was the last word, and a notification at each.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<Instant> {
        self.0.subscribe()
    }

    /// There was a word.
    fn word(&self) {
        self.0.send_replace(Instant::now());
    }

    /// Answers pass, and each tells of its words. An answer that is no success is none: what is watched was not told.
    pub(crate) fn layer<B>(&self) -> MapResponseLayer<impl Fn(Response<B>) -> Response<Told> + Clone + use<B>>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let heard = self.clone();
        MapResponseLayer::new(move |response: Response<B>| heard.listen(response))
    }

    fn listen<B>(&self, response: Response<B>) -> Response<Told>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let heard = self.clone();
        if !response.status().is_success() {
            return response.map(|body| body.map_err(Into::into).boxed_unsync());
        }
        heard.word();
        let listened = move |frame| {
            heard.word();
            frame
        };
        response.map(|body| body.map_frame(listened).map_err(Into::into).boxed_unsync())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::Full;
    use std::time::Duration;

    #[tokio::test(start_paused = true)]
    async fn words_are_heard_and_refusals_are_none() {
        let heard = Heard::default();
        let told = heard.subscribe();
        let answer = |status: u16| {
            Response::builder()
                .status(status)
                .body(Full::new(Bytes::from_static(b"{}")))
                .unwrap()
        };
        let start = *told.borrow();
        tokio::time::advance(Duration::from_secs(1)).await;
        heard.listen(answer(500)).into_body().collect().await.unwrap();
        assert_eq!(*told.borrow(), start);
        let response = heard.listen(answer(200));
        let at_the_head = *told.borrow();
        assert!(at_the_head > start);
        tokio::time::advance(Duration::from_secs(1)).await;
        response.into_body().collect().await.unwrap();
        assert!(*told.borrow() > at_the_head);
    }
}
