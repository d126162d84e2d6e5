//! `/kubeconfig`: a kubeconfig with a fresh credential.

use std::sync::Arc;

use axum::extract::{Query, State};
use axum::http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde::Deserialize;
use tka_api::http::{ErrorResponse, RequestedAccess};
use tka_api::kubeconfig::{KeyedKubeconfig, KubeconfigFile};
use utoipa::{IntoParams, ToSchema};

use super::view;
use crate::App;
use crate::answer::{Failure, pending};
use crate::audit_context::AuditContext;
use crate::authorize::Authorized;

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct KubeconfigQuery {
    /// How the credential gets into kubectl: as a token in the file, or by asking `tka` for one.
    #[serde(default)]
    #[param(inline)]
    credential: CredentialForm,
    /// By which way the session is to reach the cluster; where that is the gateway, the kubeconfig has no credential.
    #[serde(default)]
    #[param(inline)]
    via: Option<RequestedAccess>,
}

/// How a credential gets into kubectl.
#[derive(Clone, Copy, Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum CredentialForm {
    /// As a token.
    #[default]
    Token,
    /// By an exec plugin: no token is in the file.
    Exec,
    /// Not at all: the file holds the address of the gateway.
    Gateway,
}

/// Kubeconfig
///
/// A kubeconfig with a fresh credential of the calling device's session. As JSON its entries are keyed by name; as YAML it is a
/// file that kubectl reads. A browser gets none with a token in it, because any page can have it send a GET.
#[utoipa::path(
    get,
    path = "/kubeconfig",
    tag = "session",
    params(KubeconfigQuery),
    responses(
        (status = 200, description = "The kubeconfig", content(
            (KeyedKubeconfig = "application/json"),
            (KubeconfigFile = "application/yaml"),
        )),
        (status = 202, description = "Signed in, not provisioned yet",
            headers(("Retry-After" = u32, description = "When to ask again, in seconds"))),
        (status = 400, description = "Tagged node, malformed or ambiguous rules, or no such kind", body = ErrorResponse),
        (status = 401, description = "Not signed in", body = ErrorResponse),
        (status = 403, description = "No rule, through Funnel, or a token asked for by a browser", body = ErrorResponse),
        (status = 500, description = "The server could not identify the caller", body = ErrorResponse),
        (status = 503, description = "The request could not be completed just now", body = ErrorResponse),
    )
)]
pub(super) async fn kubeconfig(
    State(app): State<Arc<App>>,
    Extension(context): Extension<Arc<AuditContext>>,
    mut authorized: Authorized,
    method: Method,
    kind: Result<Query<KubeconfigQuery>, axum::extract::rejection::QueryRejection>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let Query(kind) = kind.map_err(|error| {
        let advice = &["ask for `credential=token`, `credential=exec` or `credential=gateway`, and for `via=direct`, `via=gateway` or `via=default`"];
        Failure::new(StatusCode::BAD_REQUEST, "there is no such kind of kubeconfig", advice).with_cause(&error)
    })?;
    if matches!(kind.credential, CredentialForm::Token) {
        // Before anything is read, and for HEAD too.
        context.refuse_browser()?;
    }
    let stored = authorized.session(&app).await?;
    if !stored.provisioned {
        return Ok(pending(app.retry_after_seconds, ()));
    }
    let session = &stored.session;
    let yaml = yaml_type(&headers);
    if method == Method::HEAD {
        // What GET would answer, without a credential that would be dropped.
        let media_type = yaml.unwrap_or("application/json");
        return Ok(([(CACHE_CONTROL, "no-store"), (CONTENT_TYPE, media_type)], ()).into_response());
    }
    let through_gateway = authorized.0.goes_through_gateway(&app, kind.via, &session.rule)?;
    let kubeconfig = match kind.credential {
        _ if through_gateway => view::gateway(&app, &authorized.0.rules, session, false)?,
        CredentialForm::Token => view::kubeconfig(&app, &context, &mut authorized.0, session).await?,
        CredentialForm::Gateway => view::gateway(&app, &authorized.0.rules, session, false)?,
        CredentialForm::Exec => {
            // The plugin would be refused.
            authorized.0.may_have_token(session)?;
            let user = view::exec(&app, session).into();
            view::with_user(&app, app.cluster.info().await?, session, user)
        }
    };
    rendered(kubeconfig, yaml)
}

fn rendered(kubeconfig: KeyedKubeconfig, yaml: Option<&'static str>) -> Result<Response, Failure> {
    let no_store = [(CACHE_CONTROL, "no-store")];
    let Some(media_type) = yaml else {
        return Ok((no_store, Json(kubeconfig)).into_response());
    };
    let file = serde_saphyr::to_string(&KubeconfigFile::from(kubeconfig)).map_err(|error| {
        let message = "the kubeconfig does not serialize";
        Failure::new(StatusCode::INTERNAL_SERVER_ERROR, message, &[]).with_cause(&error)
    })?;
    Ok((no_store, [(CONTENT_TYPE, media_type)], file).into_response())
}

/// The YAML media type that the caller wants more than JSON. Without a preference it is JSON, which the original's CLI expects.
fn yaml_type(headers: &HeaderMap) -> Option<&'static str> {
    let accepted = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let accepted = accepted.flat_map(|value| value.split(','));
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
    use axum::http::HeaderValue;
    use proptest::prelude::*;

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
        let preferred = "Application/YAML; charset=utf-8, application/json;q=0.5";
        assert_eq!(chosen(&[preferred]), Some("application/yaml"));
        assert_eq!(chosen(&["text/html", "text/yaml"]), Some("text/yaml"));
    }

    proptest! {
        #[test]
        fn any_accept_is_one_of_the_forms(values: Vec<Vec<u8>>) {
            let mut headers = HeaderMap::new();
            for value in values.iter().filter_map(|value| HeaderValue::from_bytes(value).ok()) {
                headers.append(ACCEPT, value);
            }
            let yaml = yaml_type(&headers);
            prop_assert!(yaml.is_none_or(|yaml| yaml.ends_with("yaml")));
        }

        #[test]
        fn any_query_is_one_of_the_kinds_or_refused(query in "(credential=)?[!-~]*") {
            let Ok(uri) = format!("/kubeconfig?{query}").parse() else { return Ok(()) };
            let read = Query::<KubeconfigQuery>::try_from_uri(&uri).map(|Query(kind)| kind.credential);
            let asks_for_exec = query.split(['&', '#']).any(|pair| pair == "credential=exec");
            if matches!(read, Ok(CredentialForm::Exec)) {
                // Percent signs may spell it otherwise.
                prop_assert!(asks_for_exec || query.contains('%'));
            }
        }
    }
}

#[cfg(test)]
mod fuzz {
    use super::*;
    use axum::http::{HeaderValue, Uri};

    /// What is behind the question mark, and what is accepted: an answer has one form, whatever is asked for.
    #[test]
    fn request() {
        bolero::check!().for_each(|bytes: &[u8]| {
            let (query, accept) = bytes.split_at(bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len()));
            if let Ok(value) = HeaderValue::from_bytes(accept.trim_ascii()) {
                let yaml = yaml_type(&HeaderMap::from_iter([(ACCEPT, value)]));
                assert!(yaml.is_none_or(|yaml| yaml.ends_with("yaml")));
            }
            let Ok(query) = std::str::from_utf8(query) else { return };
            if let Ok(uri) = format!("/kubeconfig?{query}").parse::<Uri>() {
                let _ = Query::<KubeconfigQuery>::try_from_uri(&uri);
            }
        });
    }
}
