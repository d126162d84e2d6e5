//! Looking at the cluster, and meddling with it, as its administrator. That uses the API server's own HTTP API, without a client
//! in between that could hide a status.

use std::fs;
use std::sync::Arc;

use http::{Method, Request, header};
use serde_json::{Value, json};
use testbed::Testbed;
use ureq::Agent;
use ureq::tls::{Certificate, ClientCert, PrivateKey, RootCerts, TlsConfig};

use crate::{Outcome, wait};

/// The API server.
#[derive(Clone, Debug)]
pub struct Cluster {
    url: String,
    administrator: Agent,
    anonymous: Agent,
}

/// A kind of object that sessions are made of.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// TkaSignin.
    Signin,
    /// ServiceAccount.
    Account,
    /// ClusterRoleBinding.
    Binding,
}

/// Whether that is what the API server answers to a credential that is worth nothing: of no account, or of one without the right.
#[must_use]
pub fn is_refused(status: u16) -> bool {
    matches!(status, 401 | 403)
}

// === impl Cluster ===

impl Cluster {
    /// The API server of `testbed`.
    pub fn of(testbed: &Testbed) -> Outcome<Self> {
        let kubeconfig: Value = serde_json::from_slice(&fs::read(testbed.kubeconfig())?)?;
        let user = &kubeconfig["users"][0]["user"];
        let pem = |key: &str| fs::read(user[key].as_str().unwrap_or_default());
        let certificate = Certificate::from_pem(&pem("client-certificate")?)?;
        let key = PrivateKey::from_pem(&pem("client-key")?)?;
        let authority = Certificate::from_pem(&fs::read(testbed.ca_file())?)?;
        let tls = || {
            let authorities = RootCerts::Specific(Arc::new(vec![authority.clone()]));
            TlsConfig::builder().root_certs(authorities)
        };
        let client = ClientCert::new_with_certs(&[certificate], key);
        Ok(Self {
            url: testbed.api_server(),
            administrator: agent(tls().client_cert(Some(client)).build()),
            anonymous: agent(tls().build()),
        })
    }

    /// The status that the API server answers to the owner of `token`.
    pub fn status(&self, token: &str, method: &str, path: &str) -> Outcome<u16> {
        let request = self
            .request(method, path)?
            .header(header::AUTHORIZATION, format!("Bearer {token}"));
        // With the right to create, the request fails later: its body is empty.
        Ok(self.anonymous.run(request.body(())?)?.status().as_u16())
    }

    /// Reads an object or a list; none if it is not there.
    pub fn get(&self, path: &str) -> Outcome<Option<Value>> {
        let answer = self.administrator.run(self.request("GET", path)?.body(())?)?;
        match read(answer)? {
            (404, _) => Ok(None),
            (_, value) => done(&format!("GET {path}"), value).map(Some),
        }
    }

    /// Creates an object.
    pub fn create(&self, path: &str, object: &Value) -> Outcome<Value> {
        done(
            &format!("POST {path}"),
            self.send("POST", path, "application/json", object)?.1,
        )
    }

    /// Creates an object, and returns what status that has.
    pub fn try_create(&self, path: &str, object: &Value) -> Outcome<u16> {
        Ok(self.send("POST", path, "application/json", object)?.0)
    }

    /// Changes an object by merging.
    pub fn patch(&self, path: &str, change: &Value) -> Outcome<Value> {
        let (_, value) = self.send("PATCH", path, "application/merge-patch+json", change)?;
        done(&format!("PATCH {path}"), value)
    }

    /// Deletes an object, which need not be there.
    pub fn delete(&self, path: &str) -> Outcome {
        let answer = self.administrator.run(self.request("DELETE", path)?.body(())?)?;
        match read(answer)? {
            (404, _) => Ok(()),
            (_, value) => done(&format!("DELETE {path}"), value).map(drop),
        }
    }

    /// The objects of `kind` that carry the labels of the sessions in `namespace`.
    pub fn of_sessions(&self, kind: Kind, namespace: &str) -> Outcome<Vec<Value>> {
        self.labelled(&kind.path(namespace), namespace)
    }

    /// The objects of the list at `path` that carry those labels.
    pub fn labelled(&self, path: &str, namespace: &str) -> Outcome<Vec<Value>> {
        let selector = format!("app.kubernetes.io/managed-by%3Dtka,tka.specht-labs.de/namespace%3D{namespace}");
        let path = format!("{path}?labelSelector={selector}");
        let list = self.get(&path)?.ok_or("the API server does not know the kind")?;
        Ok(list["items"].as_array().cloned().unwrap_or_default())
    }

    fn send(&self, method: &str, path: &str, media_type: &str, body: &Value) -> Outcome<(u16, Value)> {
        let request = self.request(method, path)?.header(header::CONTENT_TYPE, media_type);
        read(self.administrator.run(request.body(body.to_string())?)?)
    }

    fn request(&self, method: &str, path: &str) -> Outcome<http::request::Builder> {
        let method = Method::from_bytes(method.as_bytes())?;
        Ok(Request::builder().method(method).uri(format!("{}{path}", self.url)))
    }
}

fn agent(tls: TlsConfig) -> Agent {
    let config = Agent::config_builder()
        .proxy(None)
        .http_status_as_error(false)
        .tls_config(tls)
        .timeout_global(Some(wait::LIMIT));
    config.build().new_agent()
}

fn read(mut answer: http::Response<ureq::Body>) -> Outcome<(u16, Value)> {
    Ok((answer.status().as_u16(), answer.body_mut().read_json()?))
}

/// What the API server answered, unless that is a failure.
fn done(request: &str, value: Value) -> Outcome<Value> {
    if value["kind"] == "Status" && value["status"] == "Failure" {
        return Err(format!("{request}: {}", value["message"]).into());
    }
    Ok(value)
}

// === impl Kind ===

impl Kind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Signin, Self::Account, Self::Binding];

    /// Where those of `namespace` are; bindings have none.
    #[must_use]
    pub fn path(self, namespace: &str) -> String {
        match self {
            Self::Signin => format!("/apis/tka.specht-labs.de/v1alpha1/namespaces/{namespace}/tkasignins"),
            Self::Account => format!("/api/v1/namespaces/{namespace}/serviceaccounts"),
            Self::Binding => "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings".to_owned(),
        }
    }

    /// An object of this kind, as made by hand.
    #[must_use]
    pub fn object(self, name: &str, labels: &Value) -> Value {
        let mut object = match self {
            Self::Signin => json!({
                "apiVersion": "tka.specht-labs.de/v1alpha1", "kind": "TkaSignin",
                "spec": {"username": "alice@example.com", "role": "cluster-admin", "validity_period": "1h0m0s"},
            }),
            Self::Account => json!({"apiVersion": "v1", "kind": "ServiceAccount"}),
            Self::Binding => json!({
                "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"},
            }),
        };
        object["metadata"] = json!({"name": name, "labels": labels});
        object
    }
}
