//! How large a request's head may be, by what it asks for.
//!
//! hyper has one limit for a connection, and looks at it between two reads, so that somewhat more gets through.

use axum::extract::Request;
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tka_gateway::PREFIX;

use crate::answer::Failure;

/// Nothing that is asked for here is longer than a few hundred bytes.
const HEAD: usize = 32 * 1024;
/// Through the gateway, commands of exec are part of the path.
const HEAD_OF_GATEWAY: usize = 64 * 1024;

/// Refuses a head that is too large.
pub(super) async fn limit_head_size(request: Request, next: Next) -> Response {
    let is_carried = request.uri().path().starts_with(PREFIX);
    let limit = if is_carried { HEAD_OF_GATEWAY } else { HEAD };
    if size(&request) <= limit {
        return next.run(request).await;
    }
    let advice = &["send fewer or shorter headers, and a shorter path"];
    let message = format!("the head of a request has {limit} bytes at the most here");
    Failure::new(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, message, advice).into_response()
}

/// As HTTP/1.1 writes it, but for its first words.
fn size(request: &Request) -> usize {
    let path = request.uri().path_and_query().map_or(0, |path| path.as_str().len());
    let fields = request.headers().iter();
    path + fields
        .map(|(name, value)| name.as_str().len() + value.len() + 4)
        .sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::Router;
    use axum::body::Body;
    use axum::middleware::from_fn;
    use tower::ServiceExt;

    async fn status(path: &str, header: usize) -> u16 {
        let router = Router::new().fallback(|| async {}).layer(from_fn(limit_head_size));
        let request = Request::get(path)
            .header("x", "a".repeat(header))
            .body(Body::empty())
            .unwrap();
        router.oneshot(request).await.unwrap().status().as_u16()
    }

    #[tokio::test]
    async fn gateway_takes_longer_heads() {
        assert_eq!(status("/login", 16 << 10).await, 200);
        assert_eq!(status("/login", 40 << 10).await, 431);
        assert_eq!(status("/k8s/api", 40 << 10).await, 200);
        assert_eq!(status("/k8s/api", 65 << 10).await, 431);
        assert_eq!(status(&format!("/{}", "a".repeat(33 << 10)), 1).await, 431);
    }
}
