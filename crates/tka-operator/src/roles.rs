//! The roles that the API server lets this server give out by name. This finds those that the cluster does not have, and what the others can really
//! do. A misspelt one would otherwise be noticed when the first person asks for it.

use std::collections::BTreeSet;

use futures::future::{join, try_join_all};
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, ResourceRule, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec, SelfSubjectRulesReview,
    SelfSubjectRulesReviewSpec,
};
use k8s_openapi::api::rbac::v1::PolicyRule;
use kube::Api;
use kube::api::PostParams;
use tka_core::{Escalation, RoleName, RoleRule, Scope, escalations};

use crate::Error;
use crate::sessions::Sessions;

const GROUP: &str = "rbac.authorization.k8s.io";
const RESOURCE: &str = "clusterroles";

/// The `ClusterRole`s that this server's own rights name, sorted. None where its rights name none.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct BindableRoles {
    /// Those that the cluster does not have.
    pub missing: Vec<String>,
    /// The others from which more follows than their rules say, with what follows, whatever the version of Kubernetes is.
    pub risky: Vec<(String, Vec<Escalation>)>,
}

// === impl Sessions ===

impl Sessions {
    /// Reads the `ClusterRole`s that this server's own rights name.
    pub async fn named_roles(&self) -> Result<BindableRoles, Error> {
        let reviews: Api<SelfSubjectRulesReview> = Api::all(self.client.clone());
        let review = SelfSubjectRulesReview {
            spec: SelfSubjectRulesReviewSpec {
                namespace: Some(self.namespace.clone()),
            },
            ..SelfSubjectRulesReview::default()
        };
        let review = reviews.create(&PostParams::default(), &review).await?;
        let rules = review.status.map(|status| status.resource_rules).unwrap_or_default();
        let reads = named(&rules).into_iter().map(|name| async move {
            let role = self.roles.get_opt(&name).await?;
            Ok::<_, Error>((name, role))
        });
        let mut found = BindableRoles::default();
        for (name, role) in try_join_all(reads).await? {
            let Some(role) = role else {
                found.missing.push(name);
                continue;
            };
            let rules: Vec<_> = role.rules.unwrap_or_default().into_iter().map(role_rule).collect();
            let escalations = escalations(&rules, None);
            if !escalations.is_empty() {
                found.risky.push((name, escalations));
            }
        }
        Ok(found)
    }

    /// Refuses what a rule gives if the cluster does not have the role, or does not let this server bind it wherever the rule says. Nothing is written.
    pub async fn check_bindable(&self, role: &RoleName, scope: &Scope) -> Result<(), Error> {
        let (exists, may_bind) = join(self.check_role(role), self.check_binding(role, scope)).await;
        exists.and(may_bind)
    }

    async fn check_binding(&self, role: &RoleName, scope: &Scope) -> Result<(), Error> {
        let places: Vec<Option<&str>> = match scope {
            Scope::Cluster => vec![None],
            Scope::Namespaces(_) => scope.namespaces().map(|name| Some(name.as_str())).collect(),
        };
        let checks = places.into_iter().map(|place| self.check_binding_in(role, place));
        try_join_all(checks).await.map(drop)
    }

    /// Asks as the API server itself asks when a binding is made, which is in the binding's namespace
    /// (<https://kubernetes.io/docs/reference/access-authn-authz/rbac/#restrictions-on-role-binding-creation-or-update>).
    async fn check_binding_in(&self, role: &RoleName, namespace: Option<&str>) -> Result<(), Error> {
        let reviews: Api<SelfSubjectAccessReview> = Api::all(self.client.clone());
        let review = SelfSubjectAccessReview {
            spec: SelfSubjectAccessReviewSpec {
                resource_attributes: Some(ResourceAttributes {
                    group: Some(GROUP.to_owned()),
                    resource: Some(RESOURCE.to_owned()),
                    name: Some(role.to_string()),
                    namespace: namespace.map(str::to_owned),
                    verb: Some("bind".to_owned()),
                    ..ResourceAttributes::default()
                }),
                ..SelfSubjectAccessReviewSpec::default()
            },
            ..SelfSubjectAccessReview::default()
        };
        let review = reviews.create(&PostParams::default(), &review).await?;
        if review.status.is_some_and(|status| status.allowed) {
            return Ok(());
        }
        Err(Error::RoleNotAllowedThere {
            role: role.clone(),
            namespace: namespace.map(str::to_owned),
        })
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

fn role_rule(rule: PolicyRule) -> RoleRule {
    RoleRule {
        verbs: rule.verbs,
        api_groups: rule.api_groups.unwrap_or_default(),
        resources: rule.resources.unwrap_or_default(),
        resource_names: rule.resource_names.unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::examples;
    use crate::fake_api_server::clients;
    use serde_json::json;

    #[tokio::test]
    async fn roles_that_rights_name_are_missing_or_read() {
        let rules = json!([
            { "verbs": ["get"], "apiGroups": ["rbac.authorization.k8s.io"], "resources": [RESOURCE],
              "resourceNames": ["view", "viewer", "edti", "edit"] },
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
            (_, "edit") => Some((
                200,
                json!({ "metadata": { "name": "edit" }, "rules": [{ "verbs": ["create"], "apiGroups": [""], "resources": ["pods"] }] }),
            )),
            _ => Some((
                404,
                json!({ "kind": "Status", "status": "Failure", "reason": "NotFound", "code": 404 }),
            )),
        });
        let sessions = examples::sessions(clients, examples::at(0));
        let named = sessions.named_roles().await.unwrap();
        assert_eq!(named.missing, ["edti", "viewer"]);
        let [(name, found)] = named.risky.as_slice() else {
            panic!("{named:?}")
        };
        assert_eq!((name.as_str(), found.len(), found[0].id), ("edit", 1, "workloads"));
    }

    #[tokio::test]
    async fn api_server_that_does_not_answer_is_an_error() {
        let sessions = examples::sessions(clients(|_| None), examples::at(0));
        assert!(sessions.named_roles().await.is_err());
    }

    /// An API server that has the role `edit`, and lets it be bound in the namespace `shop` alone.
    fn edit_in_shop() -> Sessions {
        let clients = clients(|request| {
            if request.path.ends_with("/clusterroles/edit") {
                return Some((200, json!({ "metadata": { "name": "edit" } })));
            }
            let asked = &request.body["spec"]["resourceAttributes"];
            assert_eq!(
                (&asked["verb"], &asked["name"]),
                (&json!("bind"), &json!("edit")),
                "{request:?}"
            );
            let allowed = asked["namespace"] == "shop";
            Some((
                201,
                json!({ "metadata": {}, "spec": {}, "status": { "allowed": allowed } }),
            ))
        });
        examples::sessions(clients, examples::at(0))
    }

    /// `cases.md` 11.6
    #[tokio::test]
    async fn role_is_usable_where_it_may_be_bound_alone() {
        let sessions = edit_in_shop();
        let role = RoleName::try_from("edit".to_owned()).unwrap();
        let there = |names: &[&str]| {
            let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
            Scope::from_stored(&names).unwrap()
        };
        sessions.check_bindable(&role, &there(&["shop"])).await.unwrap();
        for (scope, place) in [
            (Scope::Cluster, "in the whole cluster"),
            (there(&["other"]), "in the namespace other"),
            (there(&["other", "shop"]), "in the namespace other"),
        ] {
            let error = sessions.check_bindable(&role, &scope).await.unwrap_err();
            assert!(error.to_string().ends_with(place), "{error}");
            assert!(!error.is_transient());
        }
    }
}
