//! Request bodies that no handler reads.
//!
//! A refusal is often written before the body arrives. Then hyper closes the connection, and the reset that the body meets may overtake the
//! refusal. The caller sees a broken connection, or 502 from its proxy. So the rest of a small body is received first (RFC 9112, 9.6).

use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, BodyDataStream, Bytes, HttpBody};
use axum::extract::{Request, State};
use axum::http::header::EXPECT;
use axum::middleware::Next;
use axum::response::Response;
use futures::{Stream, StreamExt, stream};

use super::body::BODY_BYTES;

/// How long the rest of a body may take to arrive. It is on its way.
const REST_LIMIT: Duration = Duration::from_secs(5);

/// A request's body, which the handler and [`receive_rest`] read one after the other.
#[derive(Clone)]
struct SharedBody(Arc<Mutex<BodyDataStream>>);

// === impl SharedBody ===

impl SharedBody {
    fn new(body: Body) -> Self {
        Self(Arc::new(Mutex::new(body.into_data_stream())))
    }

    fn poll(&self, ctx: &mut Context<'_>) -> Poll<Option<Result<Bytes, axum::Error>>> {
        let mut body = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        body.poll_next_unpin(ctx)
    }

    fn chunks(self) -> impl Stream<Item = Result<Bytes, axum::Error>> + Send + 'static {
        stream::poll_fn(move |ctx| self.poll(ctx))
    }

    /// Receives what is left, up to `limit` bytes. An error means that there will be no more.
    async fn discard(self, limit: usize) {
        let mut left = limit;
        let mut chunks = std::pin::pin!(self.chunks());
        while let Some(Ok(chunk)) = chunks.next().await {
            let Some(rest) = left.checked_sub(chunk.len()) else {
                return;
            };
            left = rest;
        }
    }
}

/// Receives the rest of a small body before it returns the response. `read_timeout` is how long a body may take.
pub(super) async fn receive_rest(State(read_timeout): State<Duration>, request: Request, next: Next) -> Response {
    let is_small = usize::try_from(request.body().size_hint().lower()).is_ok_and(|least| least <= BODY_BYTES);
    // A caller that expects 100 has not sent its body, and will not after a refusal (RFC 9110, 10.1.1).
    if request.body().is_end_stream() || !is_small || request.headers().contains_key(EXPECT) {
        return next.run(request).await;
    }
    let (parts, body) = request.into_parts();
    let body = SharedBody::new(body);
    let lent = Body::from_stream(body.clone().chunks());
    let response = next.run(Request::from_parts(parts, lent)).await;
    // A body that does not arrive in time gets the reset.
    let _ = tokio::time::timeout(read_timeout.min(REST_LIMIT), body.discard(BODY_BYTES)).await;
    response
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use axum::Router;
    use axum::http::StatusCode;
    use axum::middleware::from_fn_with_state;
    use axum::routing::post;
    use tower::ServiceExt;

    use super::*;

    /// The status of a response to a body that comes in pieces, how many pieces were received, and the seconds that it took.
    async fn respond(path: &str, header: (&str, &str), pieces: Vec<Vec<u8>>, ends: bool) -> (u16, usize, u64) {
        let received = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&received);
        let arriving = stream::iter(pieces).then(move |piece| {
            let counter = Arc::clone(&counter);
            async move {
                tokio::time::sleep(Duration::from_secs(1)).await;
                counter.fetch_add(1, Ordering::Relaxed);
                Ok::<_, Infallible>(piece)
            }
        });
        let body = if ends {
            Body::from_stream(arriving)
        } else {
            Body::from_stream(arriving.chain(stream::pending()))
        };
        let read = post(|body: Bytes| async move { (StatusCode::CREATED, body) });
        let router = Router::new()
            .route("/read", read)
            .fallback(|| async { StatusCode::NOT_FOUND })
            .layer(from_fn_with_state(Duration::from_secs(10), receive_rest));
        let request = Request::post(path).header(header.0, header.1).body(body).unwrap();
        let began = tokio::time::Instant::now();
        let response = router.oneshot(request).await.unwrap();
        let took = began.elapsed().as_secs();
        (response.status().as_u16(), received.load(Ordering::Relaxed), took)
    }

    #[tokio::test(start_paused = true)]
    async fn small_bodies_are_received_before_the_refusal() {
        let pieces = || vec![b"{}".to_vec(); 3];
        let plain = ("accept", "*/*");
        assert_eq!(respond("/nothing", plain, pieces(), true).await, (404, 3, 3));
        assert_eq!(respond("/read", plain, pieces(), true).await, (201, 3, 3));
        let expecting = ("expect", "100-continue");
        assert_eq!(respond("/nothing", expecting, pieces(), true).await, (404, 0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn large_and_endless_bodies_are_not_received() {
        let plain = ("accept", "*/*");
        let large = vec![vec![b'{'; BODY_BYTES]; 5];
        assert_eq!(respond("/nothing", plain, large, true).await, (404, 2, 2));
        assert_eq!(respond("/nothing", plain, vec![], false).await, (404, 0, 5));
    }
}
