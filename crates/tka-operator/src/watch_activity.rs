//! When the API server last said a word on the watch of sessions.
//!
//! A watch that is silent may have missed an end. So what must not outlive an end asks when there was a word. A word counts once all that was told
//! before it has been taken in. An event counts when it is in the store. The end of a watch, which the API server brings about every second or so,
//! counts, too. The head of an answer and the pages of a list do not count: what they tell is not in the store yet.

use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, StreamBody};
use tokio::sync::watch;
use tokio::time::Instant;
use tower::{BoxError, Layer, Service};

use crate::retry::BodyStream;

/// When the API server last said a word. Clones tell the same.
#[derive(Clone, Debug)]
pub struct WatchActivity(watch::Sender<Instant>);

/// Passes requests on, and hears watches end.
#[derive(Clone, Debug)]
pub struct WatchActivityService<S> {
    inner: S,
    watch_activity: WatchActivity,
}

// === impl WatchActivity ===

impl Default for WatchActivity {
    /// Nothing was heard yet, and the silence begins now.
    fn default() -> Self {
        Self(watch::Sender::new(Instant::now()))
    }
}

impl WatchActivity {
    /// When there was the last word, and a notification at each.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<Instant> {
        self.0.subscribe()
    }

    /// There was a word, and all that was told before it is in the store.
    pub(crate) fn mark(&self) {
        self.0.send_replace(Instant::now());
    }

    /// The answer to a watch, of which the end is a word.
    fn listen<B>(self, response: Response<B>) -> Response<BodyStream>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        response.map(|body| {
            let state = (Box::pin(body), self);
            let frames = futures::stream::unfold(state, |(mut body, watch_activity)| async move {
                let Some(frame) = body.frame().await else {
                    watch_activity.mark();
                    return None;
                };
                let frame: Result<Frame<Bytes>, BoxError> = frame.map_err(Into::into);
                Some((frame, (body, watch_activity)))
            });
            StreamBody::new(frames).boxed_unsync()
        })
    }
}

impl<S> Layer<S> for WatchActivity {
    type Service = WatchActivityService<S>;

    fn layer(&self, inner: S) -> WatchActivityService<S> {
        let watch_activity = self.clone();
        WatchActivityService { inner, watch_activity }
    }
}

impl<S, A, B> Service<Request<A>> for WatchActivityService<S>
where
    S: Service<Request<A>, Response = Response<B>>,
    S::Future: Send + 'static,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<BodyStream>;
    type Error = S::Error;
    type Future = futures::future::BoxFuture<'static, Result<Response<BodyStream>, S::Error>>;

    fn poll_ready(&mut self, ctx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(ctx)
    }

    fn call(&mut self, request: Request<A>) -> Self::Future {
        let query = request.uri().query().unwrap_or_default();
        let is_watch = query.split('&').any(|parameter| parameter == "watch=true");
        let watch_activity = self.watch_activity.clone();
        let answer = self.inner.call(request);
        Box::pin(async move {
            let response = answer.await?;
            if is_watch && response.status().is_success() {
                return Ok(watch_activity.listen(response));
            }
            Ok(response.map(|body| body.map_err(Into::into).boxed_unsync()))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::Full;
    use std::convert::Infallible;
    use std::time::Duration;
    use tower::{ServiceExt, service_fn};

    /// Whether reading the answer of that status to a request with that query, head and body, is a word.
    async fn is_word(query: &str, status: u16) -> [bool; 2] {
        let watch_activity = WatchActivity::default();
        let told = watch_activity.subscribe();
        let answers = service_fn(move |_: Request<()>| {
            let body = Full::new(Bytes::from_static(b"{}"));
            let response = Response::builder().status(status).body(body).unwrap();
            std::future::ready(Ok::<_, Infallible>(response))
        });
        let start = *told.borrow();
        tokio::time::advance(Duration::from_secs(1)).await;
        let request = Request::get(format!("/signins?{query}")).body(()).unwrap();
        let response = watch_activity.layer(answers).oneshot(request).await.unwrap();
        let at_the_head = *told.borrow() > start;
        response.into_body().collect().await.unwrap();
        [at_the_head, *told.borrow() > start]
    }

    #[tokio::test(start_paused = true)]
    async fn end_of_a_watch_is_a_word_and_nothing_else_is() {
        assert_eq!(is_word("&watch=true&timeoutSeconds=1", 200).await, [false, true]);
        assert_eq!(is_word("&watch=true&timeoutSeconds=1", 500).await, [false, false]);
        assert_eq!(is_word("&limit=500", 200).await, [false, false]);
    }
}
