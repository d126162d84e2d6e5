//! How much is asked of the API server at a time.
//!
//! What a person waits for is asked at once. What is one of many ends waits in line, and a window says how many of the line are under way: it shrinks when the
//! API server has too much to do, and grows again while it answers. While a person waits for something, little of the line is under way.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use http::{Request, Response, StatusCode};
use tokio::sync::Notify;
use tokio::time::Instant;
use tower::{BoxError, Layer, Service, ServiceExt};

/// How many of the line are under way at first.
const FIRST: usize = 16;
/// How many at the most. More of them would only wait at the API server, and each has a connection.
const MOST: usize = 32;
/// How many at the least.
const LEAST: usize = 1;
/// How many while a person waits for something.
const BESIDE: usize = 2;
/// How long it is taken that a person still waits, after the last answer: a sign-in asks for one thing after another.
const LINGER: Duration = Duration::from_millis(50);

tokio::task_local! {
    static IN_LINE: ();
}

/// Has all that `work` asks of the API server wait in line.
pub(crate) async fn in_line<T>(work: impl Future<Output = T>) -> T {
    IN_LINE.scope((), work).await
}

/// How many requests are under way. Clones count the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pace(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    /// Notified for each request of the line that may be sent.
    free: Notify,
}

#[derive(Debug, Default)]
struct State {
    window: Window,
    /// How many of the line are under way.
    in_line: usize,
    /// How many others are.
    at_once: usize,
    /// When the last of those was answered.
    last: Option<Instant>,
}

/// How many of the line may be under way, as far as the API server lets them. By value.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Window {
    size: usize,
    /// How many were answered well since it last changed.
    well: usize,
    shrunk: Option<Instant>,
}

/// The place of one request, which is free again when this is dropped.
struct Place {
    pace: Pace,
    is_in_line: bool,
    began: Instant,
}

/// Sends requests when their turn has come.
#[derive(Clone)]
pub(crate) struct Paced<S> {
    inner: S,
    pace: Pace,
}

// === impl Window ===

impl Default for Window {
    fn default() -> Self {
        Self {
            size: FIRST,
            well: 0,
            shrunk: None,
        }
    }
}

impl Window {
    /// A request was answered well while it was full.
    fn grow(&mut self) {
        self.well += 1;
        if self.well >= self.size && self.size < MOST {
            (self.size, self.well) = (self.size + 1, 0);
        }
    }

    /// A request that `began` then is too much at `now`. Of those that were under way together the first says it for all.
    fn shrink(&mut self, began: Instant, now: Instant) {
        if self.shrunk.is_none_or(|shrunk| began >= shrunk) {
            *self = Self {
                size: (self.size / 2).max(LEAST),
                well: 0,
                shrunk: Some(now),
            };
        }
    }
}

// === impl State ===

impl State {
    /// How many of the line may be under way at `now`.
    fn room(&self, now: Instant) -> usize {
        let lingers = |last: Instant| now.saturating_duration_since(last) < LINGER;
        if self.at_once > 0 || self.last.is_some_and(lingers) {
            self.window.size.min(BESIDE)
        } else {
            self.window.size
        }
    }

    fn answered(&mut self, is_in_line: bool, began: Instant, status: Option<StatusCode>, now: Instant) {
        match status {
            Some(status) if is_too_much(status) => self.window.shrink(began, now),
            Some(_) if is_in_line && self.in_line >= self.window.size => self.window.grow(),
            _ => {}
        }
    }
}

/// Whether the API server, or what is before it, says by `status` that it has too much to do.
fn is_too_much(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT
    )
}

// === impl Pace ===

impl Pace {
    /// Waits for a place, where the request `is_in_line`.
    async fn place(&self, is_in_line: bool) -> Place {
        loop {
            // Before it is looked for, so that none is missed that comes free meanwhile.
            let free = self.0.free.notified();
            if let Some(place) = self.try_place(is_in_line) {
                return place;
            }
            free.await;
        }
    }

    fn try_place(&self, is_in_line: bool) -> Option<Place> {
        let (mut state, began) = (self.state(), Instant::now());
        if !is_in_line {
            state.at_once += 1;
        } else if state.in_line < state.room(began) {
            state.in_line += 1;
        } else {
            return None;
        }
        let pace = self.clone();
        Some(Place {
            pace,
            is_in_line,
            began,
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S> Layer<S> for Pace {
    type Service = Paced<S>;

    fn layer(&self, inner: S) -> Paced<S> {
        let pace = self.clone();
        Paced { inner, pace }
    }
}

// === impl Place ===

impl Place {
    /// It was answered with a status, or not at all.
    fn answered(&self, status: Option<StatusCode>) {
        let mut state = self.pace.state();
        state.answered(self.is_in_line, self.began, status, Instant::now());
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let now = Instant::now();
        let free = {
            let mut state = self.pace.state();
            if self.is_in_line {
                state.in_line = state.in_line.saturating_sub(1);
            } else {
                state.at_once = state.at_once.saturating_sub(1);
                state.last = Some(now);
            }
            state.room(now).saturating_sub(state.in_line)
        };
        // One that is told and finds no place waits again. While any waits, some are under way, and tell when they are done.
        for _ in 0..free {
            self.pace.0.free.notify_one();
        }
    }
}

// === impl Paced ===

impl<S: fmt::Debug> fmt::Debug for Paced<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Paced")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}

impl<S, A, B> Service<Request<A>> for Paced<S>
where
    S: Service<Request<A>, Response = Response<B>, Error = BoxError> + Clone + Send + 'static,
    S::Future: Send,
    A: Send + 'static,
    B: Send,
{
    type Response = Response<B>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Response<B>, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        // Whether there is room is asked when its turn has come.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<A>) -> Self::Future {
        let (inner, pace) = (self.inner.clone(), self.pace.clone());
        let is_in_line = IN_LINE.try_with(|()| ()).is_ok();
        async move {
            let turn = pace.place(is_in_line).await;
            let answer = inner.oneshot(request).await;
            turn.answered(answer.as_ref().ok().map(Response::status));
            answer
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn window_halves_once_for_all_that_were_under_way_and_grows_again() {
        let (mut window, start) = (Window::default(), Instant::now());
        let second = Duration::from_secs(1);
        window.shrink(start, start + second);
        window.shrink(start, start + second);
        assert_eq!(window.size, FIRST / 2);
        // What is sent after that is too much as well.
        window.shrink(start + second, start + 2 * second);
        assert_eq!(window.size, FIRST / 4);
        for times in 3..20 {
            window.shrink(start + times * second, start + times * second);
        }
        assert_eq!(window.size, LEAST);
        for _ in 0..LEAST {
            window.grow();
        }
        assert_eq!(window.size, LEAST + 1);
        for _ in 0..10 * MOST * MOST {
            window.grow();
        }
        assert_eq!(window.size, MOST);
    }

    #[test]
    fn too_much_is_what_the_api_server_says_when_it_is_overloaded() {
        let is = |status: u16| is_too_much(StatusCode::from_u16(status).unwrap());
        assert!([429, 503, 504].into_iter().all(is));
        assert!(![200, 201, 403, 404, 409, 500].into_iter().any(is));
    }

    fn fill(pace: &Pace) -> Vec<Place> {
        std::iter::from_fn(|| pace.try_place(true)).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn line_makes_way_for_a_person_and_goes_on_afterwards() {
        let pace = Pace::default();
        let all = fill(&pace);
        assert_eq!(all.len(), FIRST);
        let person = pace.place(false).now_or_never();
        assert!(person.is_some(), "a person waits for nothing");
        drop(all);
        let few = fill(&pace);
        assert_eq!(few.len(), BESIDE);
        drop((person, few));
        assert_eq!(
            fill(&pace).len(),
            BESIDE,
            "the next request of a sign-in is about to come"
        );
        tokio::time::advance(LINGER).await;
        assert_eq!(fill(&pace).len(), FIRST);
    }

    #[tokio::test(start_paused = true)]
    async fn place_that_is_given_up_is_the_next_ones() {
        let pace = Pace::default();
        let mut all = fill(&pace);
        let mut first = pace.place(true).boxed();
        let mut second = pace.place(true).boxed();
        assert!((&mut first).now_or_never().is_none() && (&mut second).now_or_never().is_none());
        all.pop();
        // It was told that there is a place, and is cut off before it takes it.
        drop(first);
        assert!(second.now_or_never().is_some());
        assert_eq!(pace.state().in_line, FIRST - 1);
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_than_the_window_is_under_way_however_many_wait() {
        let pace = Pace::default();
        let most = Arc::new(AtomicUsize::new(0));
        let noted = Arc::clone(&most);
        let counted = pace.clone();
        let service = tower::service_fn(move |_: Request<()>| {
            let (counted, noted) = (counted.clone(), Arc::clone(&noted));
            async move {
                noted.fetch_max(counted.state().in_line, Ordering::SeqCst);
                tokio::time::sleep(Duration::from_millis(1)).await;
                Ok::<_, BoxError>(Response::new(()))
            }
        });
        let paced = pace.layer(service);
        let asks = (0..500).map(|_| paced.clone().oneshot(Request::new(())));
        let answers = in_line(futures::future::join_all(asks)).await;
        assert!(answers.into_iter().all(|answer| answer.is_ok()));
        let most = most.load(Ordering::SeqCst);
        assert!((FIRST..=MOST).contains(&most), "{most}");
        assert_eq!(pace.state().in_line, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn answer_that_is_too_much_makes_the_line_slower() {
        let pace = Pace::default();
        let service = tower::service_fn(|_: Request<()>| async {
            let response = Response::builder().status(StatusCode::TOO_MANY_REQUESTS);
            Ok::<_, BoxError>(response.body(())?)
        });
        let paced = pace.layer(service);
        assert!(in_line(paced.oneshot(Request::new(()))).await.is_ok());
        assert_eq!(fill(&pace).len(), FIRST / 2);
    }
}
