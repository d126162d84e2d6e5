//! The roles that the API server lets this server give out by name, and which of them the cluster does not have. A misspelt one would otherwise be
//! noticed when the first person asks for it.

use std::collections::BTreeSet;

use futures::future::try_join_all;
use k8s_openapi::api::authorization::v1::{ResourceRule, SelfSubjectRulesReview, SelfSubjectRulesReviewSpec};
use kube::Api;
use kube::api::PostParams;

use crate::Error;
use crate::sessions::Sessions;

const RESOURCE: &str = "clusterroles";

// === impl Sessions ===

impl Sessions {
    /// The `ClusterRole`s that this server's own rights name and that the cluster does not have, sorted. None where its rights name none.
    pub async fn missing_roles(&self) -> Result<Vec<String>, Error> {
        let reviews: Api<SelfSubjectRulesReview> = Api::all(self.client.clone());
        let review = SelfSubjectRulesReview {
            spec: SelfSubjectRulesReviewSpec {
                namespace: Some(self.namespace.clone()),
            },
            ..SelfSubjectRulesReview::default()
        };
        let review = reviews.create(&PostParams::default(), &review).await?;
        let rules = review.status.map(|status| status.resource_rules).unwrap_or_default();
        let reads = named(&rules).into_iter().map(|role| async move {
            let found = self.roles.get_metadata_opt(&role).await?;
            Ok::<_, Error>(found.is_none().then_some(role))
        });
        Ok(try_join_all(reads).await?.into_iter().flatten().collect())
    }

    /// Tells on this server's pod that roles are missing; on its account where it runs elsewhere.
    pub fn tell_missing_roles(&self, what: &str) {
        self.events.missing_roles(what);
    }
}

/// The roles that rules let one read by name.
fn named(rules: &[ResourceRule]) -> BTreeSet<String> {
    let has = |list: &Option<Vec<String>>, item: &str| list.iter().flatten().any(|found| found == item);
    let of_roles = rules
        .iter()
        .filter(|rule| has(&rule.resources, RESOURCE) && rule.verbs.iter().any(|verb| verb == "get"));
    of_roles
        .flat_map(|rule| rule.resource_names.iter().flatten().cloned())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::double::clients;
    use crate::examples;
    use serde_json::json;

    #[tokio::test]
    async fn only_roles_that_rights_name_and_the_cluster_lacks_are_missing() {
        let rules = json!([
            { "verbs": ["get"], "apiGroups": ["rbac.authorization.k8s.io"], "resources": [RESOURCE],
              "resourceNames": ["view", "viewer", "edti"] },
            { "verbs": ["bind"], "apiGroups": ["rbac.authorization.k8s.io"], "resources": [RESOURCE], "resourceNames": ["bound"] },
            { "verbs": ["get"], "apiGroups": [""], "resources": ["secrets"], "resourceNames": ["a"] },
            { "verbs": ["get"], "apiGroups": [""], "resources": [RESOURCE] },
        ]);
        let clients = clients(move |request| match request.path.rsplit_once('/')? {
            (_, "selfsubjectrulesreviews") => Some((
                201,
                json!({ "metadata": {}, "spec": {},
                        "status": { "resourceRules": rules, "nonResourceRules": [], "incomplete": false } }),
            )),
            (_, "view") => Some((200, json!({ "metadata": { "name": "view" } }))),
            _ => Some((
                404,
                json!({ "kind": "Status", "status": "Failure", "reason": "NotFound", "code": 404 }),
            )),
        });
        let sessions = examples::sessions(clients, examples::at(0));
        assert_eq!(sessions.missing_roles().await.unwrap(), ["edti", "viewer"]);
    }

    #[tokio::test]
    async fn api_server_that_does_not_answer_is_an_error() {
        let sessions = examples::sessions(clients(|_| None), examples::at(0));
        assert!(sessions.missing_roles().await.is_err());
    }
}
