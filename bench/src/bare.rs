//! The least that any server on a tailnet does with a request: it asks tailscaled who calls, and answers. What TKA's server takes beyond that is its own.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tka_tailnet::LocalApi;
use tokio::net::TcpListener;

use crate::Outcome;

/// Starts such a server beside the tailscaled whose socket that is, and returns where it listens. It ends with the runtime.
pub async fn start(socket: &Path) -> Outcome<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    let tailscaled = LocalApi::new(socket);
    tokio::spawn(async move {
        loop {
            // A connection that cannot be taken is the caller's to notice.
            let Ok((connection, peer)) = listener.accept().await else {
                continue;
            };
            let tailscaled = tailscaled.clone();
            tokio::spawn(async move {
                let _ = connection.set_nodelay(true);
                let service = service_fn(move |request| answer(tailscaled.clone(), peer, request));
                let _ = http1::Builder::new()
                    .serve_connection(TokioIo::new(connection), service)
                    .await;
            });
        }
    });
    Ok(address)
}

/// The query asks for an answer of so many bytes. Without one it is the caller's name.
async fn answer(
    tailscaled: LocalApi,
    peer: SocketAddr,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let bytes = request.uri().query().and_then(|bytes| bytes.parse().ok());
    let (status, body) = match tailscaled.whois(peer).await {
        Ok(caller) => (
            StatusCode::OK,
            bytes.map_or(caller.user_profile.login_name, |bytes| "x".repeat(bytes)),
        ),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    };
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    Ok(response)
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::*;
    use crate::caller::{Caller, Route};
    use crate::people::People;
    use crate::stand_in::StandIn;

    #[tokio::test]
    async fn caller_is_answered_who_they_are() {
        let people = People {
            devices: 2,
            devices_per_user: 1,
        };
        let stand_in = StandIn::start(people, "example.com/cap/tka", Vec::new()).unwrap();
        let address = start(&stand_in.socket()).await.unwrap();
        let mut caller = Caller::new(Route::From(People::loopback(1), address), "tka.tailnet.test");
        for _ in 0..2 {
            let answer = caller.send(Method::GET, "/", &[], "").await.unwrap();
            assert_eq!(
                (answer.status, &*answer.body),
                (StatusCode::OK, &b"user-1@example.com"[..])
            );
        }
        let long = caller.send(Method::GET, "/?1000", &[], "").await.unwrap();
        assert_eq!(long.body.len(), 1000);
        let mut stranger = Caller::new(Route::To(address), "tka.tailnet.test");
        let answer = stranger.send(Method::GET, "/", &[], "").await.unwrap();
        assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(stand_in.asked(), 4);
    }
}
