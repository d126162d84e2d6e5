//! An admission webhook that does not do its work, so that creating one kind of object fails, or takes its time. So a real
//! API server answers 500, or nothing for a while.

use std::net::TcpListener;
use std::time::Duration;

use serde_json::json;

use crate::cluster::Kind;
use crate::{Outcome, Site, wait};

const CONFIGURATIONS: &str = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations";
/// Nothing listens there (tcpmux).
const CLOSED: &str = "127.0.0.1:1";
/// How long the API server waits for a webhook that hangs. It counts in whole seconds.
pub const HANG: Duration = Duration::from_secs(3);

/// Stands in the way of creating objects of one kind in one server's namespace, for as long as it lives.
#[derive(Debug)]
pub struct Obstacle<'s> {
    site: &'s Site<'s>,
    kind: Kind,
}

// === impl Obstacle ===

impl<'s> Obstacle<'s> {
    /// Every attempt fails at once, with 500.
    pub fn failing(site: &'s Site<'s>, kind: Kind) -> Outcome<Self> {
        let obstacle = Self::put_up(site, kind, CLOSED, "Fail")?;
        wait::until_true("the obstacle is in the way", || Ok(obstacle.probe()? == 500))?;
        Ok(obstacle)
    }

    /// Every attempt succeeds, after [`HANG`]. The listener is where the webhook would be; it must be kept.
    pub fn hanging(site: &'s Site<'s>, kind: Kind) -> Outcome<(Self, TcpListener)> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        listener.set_nonblocking(true)?;
        let obstacle = Self::put_up(site, kind, &listener.local_addr()?.to_string(), "Ignore")?;
        wait::until_true("the obstacle is in the way", || {
            obstacle.probe()?;
            Ok(listener.accept().is_ok())
        })?;
        Ok((obstacle, listener))
    }

    fn put_up(site: &'s Site<'s>, kind: Kind, address: &str, failure_policy: &str) -> Outcome<Self> {
        let (group, resource) = match kind {
            Kind::Signin => ("tka.specht-labs.de", "tkasignins"),
            Kind::Account => ("", "serviceaccounts"),
            Kind::Binding => return Err("bindings have no namespace: this would stand in everybody's way".into()),
        };
        let obstacle = Self { site, kind };
        let webhook = json!({
            "name": "obstacle.tailnet.test",
            "clientConfig": {"url": format!("https://{address}/")},
            "admissionReviewVersions": ["v1"],
            "sideEffects": "None",
            "failurePolicy": failure_policy,
            "timeoutSeconds": HANG.as_secs(),
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": site.server.namespace()}},
            "rules": [{"apiGroups": [group], "apiVersions": ["*"], "operations": ["CREATE"], "resources": [resource]}],
        });
        let configuration = json!({"metadata": {"name": obstacle.name()}, "webhooks": [webhook]});
        site.world.cluster.create(CONFIGURATIONS, &configuration)?;
        Ok(obstacle)
    }

    /// Tries to create an object, and leaves none.
    fn probe(&self) -> Outcome<u16> {
        let path = format!("{}?dryRun=All", self.kind.path(self.site.server.namespace()));
        let object = self.kind.object("probe", &json!({}));
        self.site.world.cluster.try_create(&path, &object)
    }

    fn name(&self) -> String {
        format!("obstacle-{}", self.site.server.namespace())
    }
}

impl Drop for Obstacle<'_> {
    fn drop(&mut self) {
        let path = format!("{CONFIGURATIONS}/{}", self.name());
        if let Err(error) = self.site.world.cluster.delete(&path) {
            eprintln!("e2e: an obstacle was not removed: {error}");
        }
    }
}
