//! `/kubeconfig`: a kubeconfig with a fresh credential.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use futures::future::try_join;
use tka_api::http::ErrorResponse;
use tka_api::kubeconfig::{EntryNames, KeyedKubeconfig, KubeconfigFile};
use tka_core::Caller;

use crate::answer::Failure;
use crate::authorize::Authorized;
use crate::{App, KubeconfigNames, cluster};

/// Kubeconfig
///
/// A kubeconfig with a fresh credential of the calling device's session. As JSON its entries are keyed by name; as YAML it is a
/// file that kubectl reads.
#[utoipa::path(
    get,
    path = "/kubeconfig",
    tag = "session",
    responses(
        (status = 200, description = "The kubeconfig", content(
            (KeyedKubeconfig = "application/json"),
            (KubeconfigFile = "application/yaml"),
        )),
        (status = 202, description = "Signed in, not provisioned yet",
            headers(("Retry-After" = u32, description = "When to ask again, in seconds"))),
        (status = 400, description = "Tagged node, or malformed or ambiguous rules", body = ErrorResponse),
        (status = 401, description = "Not signed in", body = ErrorResponse),
        (status = 403, description = "No rule, or through Funnel", body = ErrorResponse),
        (status = 500, description = "Who is calling could not be found out", body = ErrorResponse),
        (status = 503, description = "The cluster could not be asked just now", body = ErrorResponse),
    )
)]
pub(super) async fn kubeconfig(
    State(app): State<Arc<App>>,
    who: Authorized,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let stored = who
        .session(&app)
        .await?
        .ok_or_else(|| Failure::not_signed_in(StatusCode::UNAUTHORIZED))?;
    if !stored.provisioned {
        return Ok((
            StatusCode::ACCEPTED,
            [(RETRY_AFTER, app.retry_after_seconds.to_string())],
        )
            .into_response());
    }
    let credential = async {
        app.sessions
            .credential(&stored.session, (app.clock)())
            .await
            .map_err(Failure::from)
    };
    let (info, credential) = try_join(app.cluster.info(), credential).await?;
    tracing::info!(
        session = %stored.session.name(),
        username = who.caller.username(),
        device = who.caller.device.name,
        expires = %credential.expires,
        "credential issued"
    );
    let names = entry_names(&app.names, &who.caller);
    let kubeconfig = KeyedKubeconfig::with_token(names, cluster::entry(info), credential.token);
    let no_store = [(CACHE_CONTROL, "no-store")];
    match yaml_type(&headers) {
        None => Ok((no_store, Json(kubeconfig)).into_response()),
        Some(media_type) => {
            let file = serde_saphyr::to_string(&KubeconfigFile::from(kubeconfig)).map_err(|error| {
                Failure::new(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "the kubeconfig does not serialize",
                    &[],
                )
                .because(&error)
            })?;
            Ok((no_store, [(CONTENT_TYPE, media_type)], file).into_response())
        }
    }
}

fn entry_names(names: &KubeconfigNames, caller: &Caller) -> EntryNames {
    let short_name = caller.short_name();
    EntryNames {
        cluster: names.cluster.clone(),
        user: format!("{}{short_name}", names.user_prefix),
        context: format!("{}{short_name}", names.context_prefix),
    }
}

/// The YAML media type that the caller wants more than JSON. Without a preference it is JSON, which the original's CLI expects.
fn yaml_type(headers: &HeaderMap) -> Option<&'static str> {
    let accepted = headers
        .get_all(ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','));
    accepted
        .map(|part| part.split(';').next().unwrap_or_default().trim().to_ascii_lowercase())
        .find_map(|media_type| match media_type.as_str() {
            "application/yaml" => Some(Some("application/yaml")),
            "text/yaml" => Some(Some("text/yaml")),
            "application/x-yaml" => Some(Some("application/x-yaml")),
            "application/json" | "application/*" | "*/*" => Some(None),
            _ => None,
        })?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(accept: &[&str]) -> Option<&'static str> {
        let mut headers = HeaderMap::new();
        for value in accept {
            headers.append(ACCEPT, value.parse().unwrap());
        }
        yaml_type(&headers)
    }

    #[test]
    fn json_unless_yaml_is_asked_for() {
        assert_eq!(chosen(&[]), None);
        assert_eq!(chosen(&["*/*"]), None);
        assert_eq!(chosen(&["application/json, application/yaml"]), None);
        assert_eq!(chosen(&["text/html"]), None);
        for yaml in ["application/yaml", "text/yaml", "application/x-yaml"] {
            assert_eq!(chosen(&[yaml]), Some(yaml));
        }
        assert_eq!(
            chosen(&["Application/YAML; charset=utf-8, application/json;q=0.5"]),
            Some("application/yaml")
        );
        assert_eq!(chosen(&["text/html", "text/yaml"]), Some("text/yaml"));
    }
}
