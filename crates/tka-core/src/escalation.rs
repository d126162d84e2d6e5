//! What a role can really do: rights from which its holder gets more than they say.
//!
//! The table follows [Kubernetes' good practices for RBAC](https://kubernetes.io/docs/concepts/security/rbac-good-practices/).

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

/// One rule of a role, as RBAC has it.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(default, rename_all = "camelCase")]
pub struct RoleRule {
    /// What may be done.
    pub verbs: Vec<String>,
    /// To resources of which API groups; the core group is empty.
    pub api_groups: Vec<String>,
    /// To which resources.
    pub resources: Vec<String>,
    /// To objects of which names; of all if empty.
    pub resource_names: Vec<String>,
}

/// A minor version of Kubernetes 1.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct MinorVersion(pub u32);

/// A right from which more follows.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Escalation {
    /// What it is called in output for programs.
    pub id: &'static str,
    /// What its holder can do, as a sentence.
    pub sentence: &'static str,
    /// Where that is explained.
    pub source: &'static str,
    /// The names of the objects for which alone the role has it; all if empty.
    pub names: BTreeSet<String>,
}

/// A row of the table. A role has it that has one of the verbs for one of the resources.
struct RiskyPermission {
    id: &'static str,
    resources: &'static [(&'static str, &'static str)],
    verbs: &'static [&'static str],
    sentence: &'static str,
    source: &'static str,
    /// The version from which on it is harmless.
    until: Option<MinorVersion>,
}

const ALL: &str = "*";
const RBAC: &str = "rbac.authorization.k8s.io";
const ADMISSION: &str = "admissionregistration.k8s.io";
const CERTIFICATES: &str = "certificates.k8s.io";

/// A page below that of the good practices.
macro_rules! practice {
    ($anchor:literal) => {
        concat!(
            "https://kubernetes.io/docs/concepts/security/rbac-good-practices/#",
            $anchor
        )
    };
}

const RIGHTS: [RiskyPermission; 15] = [
    RiskyPermission {
        id: "escalate",
        resources: &[(RBAC, "clusterroles"), (RBAC, "roles")],
        verbs: &["escalate"],
        sentence: "It may write roles with more rights than it has itself.",
        source: practice!("escalate-verb"),
        until: None,
    },
    RiskyPermission {
        id: "bind",
        resources: &[(RBAC, "clusterroles"), (RBAC, "roles")],
        verbs: &["bind"],
        sentence: "It may bind roles with more rights than it has itself, to itself too.",
        source: practice!("bind-verb"),
        until: None,
    },
    RiskyPermission {
        id: "impersonate",
        resources: &[
            ("", "users"),
            ("", "groups"),
            ("", "serviceaccounts"),
            ("authentication.k8s.io", "uids"),
        ],
        verbs: &["impersonate"],
        sentence: "It may act as other users, groups or ServiceAccounts, and has all rights that these have.",
        source: practice!("impersonate-verb"),
        until: None,
    },
    RiskyPermission {
        id: "node-proxy",
        resources: &[("", "nodes/proxy")],
        verbs: &["get", "create", "update", "patch", "delete"],
        sentence: "It reaches the kubelet's API, which runs commands in every pod of a node and is not audited. `get` is enough.",
        source: practice!("access-to-proxy-subresource-of-nodes"),
        until: None,
    },
    RiskyPermission {
        id: "secrets",
        resources: &[("", "secrets")],
        verbs: &["get", "list", "watch"],
        sentence: "It reads Secrets, and so passwords, keys and tokens of others. `list` and `watch` show their contents too.",
        source: practice!("listing-secrets"),
        until: None,
    },
    RiskyPermission {
        id: "exec",
        resources: &[("", "pods/exec"), ("", "pods/attach"), ("", "pods/ephemeralcontainers")],
        verbs: &["create", "update", "patch"],
        sentence: "It runs programs in pods of others, with what their ServiceAccounts, Secrets and volumes give.",
        source: practice!("workload-creation"),
        until: None,
    },
    RiskyPermission {
        id: "exec-by-get",
        resources: &[("", "pods/exec"), ("", "pods/attach")],
        verbs: &["get"],
        sentence: "It looks like reading, and it runs programs in pods: before Kubernetes 1.35 `get` is enough for exec over WebSocket.",
        source: "https://kubernetes.io/docs/reference/command-line-tools-reference/feature-gates/#AuthorizePodWebsocketUpgradeCreatePermission",
        until: Some(MinorVersion(35)),
    },
    RiskyPermission {
        id: "workloads",
        resources: &[
            ("", "pods"),
            ("", "replicationcontrollers"),
            ("apps", "deployments"),
            ("apps", "daemonsets"),
            ("apps", "statefulsets"),
            ("apps", "replicasets"),
            ("batch", "jobs"),
            ("batch", "cronjobs"),
        ],
        verbs: &["create", "update", "patch"],
        sentence: "It runs pods, which may use any ServiceAccount, Secret and volume of their namespace.",
        source: practice!("workload-creation"),
        until: None,
    },
    RiskyPermission {
        id: "tokens",
        resources: &[("", "serviceaccounts/token")],
        verbs: &["create"],
        sentence: "It issues tokens of ServiceAccounts, and has all rights that these have.",
        source: practice!("token-request"),
        until: None,
    },
    RiskyPermission {
        id: "webhooks",
        resources: &[
            (ADMISSION, "validatingwebhookconfigurations"),
            (ADMISSION, "mutatingwebhookconfigurations"),
        ],
        verbs: &["create", "update", "patch"],
        sentence: "It changes admission webhooks, which read and may change every object that is written.",
        source: practice!("control-admission-webhooks"),
        until: None,
    },
    RiskyPermission {
        id: "admission-policies",
        resources: &[
            (ADMISSION, "validatingadmissionpolicies"),
            (ADMISSION, "validatingadmissionpolicybindings"),
            (ADMISSION, "mutatingadmissionpolicies"),
            (ADMISSION, "mutatingadmissionpolicybindings"),
        ],
        verbs: &["create", "update", "patch", "delete", "deletecollection"],
        sentence: "It changes admission policies, and so may switch off the guard that lets the TKA server alone write sessions.",
        source: practice!("control-admission-webhooks"),
        until: None,
    },
    RiskyPermission {
        id: "certificates",
        resources: &[(CERTIFICATES, "certificatesigningrequests/approval")],
        verbs: &["update", "patch"],
        sentence: "It approves certificate requests. With `create` for requests it gets certificates of other users and of nodes.",
        source: practice!("csrs-and-certificate-issuing"),
        until: None,
    },
    RiskyPermission {
        id: "signers",
        resources: &[(CERTIFICATES, "signers")],
        verbs: &["approve", "sign"],
        sentence: "It may approve or sign certificates of a signer, and with the API server's signer those of any user.",
        source: practice!("csrs-and-certificate-issuing"),
        until: None,
    },
    RiskyPermission {
        id: "volumes",
        resources: &[("", "persistentvolumes")],
        verbs: &["create", "update", "patch"],
        sentence: "It makes persistent volumes, and a volume may be any folder of a node.",
        source: practice!("persistent-volume-creation"),
        until: None,
    },
    RiskyPermission {
        id: "namespaces",
        resources: &[("", "namespaces")],
        verbs: &["update", "patch"],
        sentence: "It changes labels of namespaces, on which pod security and network policies rest.",
        source: practice!("namespace-modification"),
        until: None,
    },
];

/// That of a role without limits.
const EVERYTHING: (&str, &str, &str) = (
    "everything",
    "It may do everything to everything, and whatever is installed later.",
    practice!("least-privilege"),
);

/// What the holder of a role with these rules gets beyond them, in the order of the table. `version` is the cluster's, if it is known.
#[must_use]
pub fn escalations(rules: &[RoleRule], version: Option<MinorVersion>) -> Vec<Escalation> {
    if rules.iter().any(RoleRule::is_everything) {
        let (id, sentence, source) = EVERYTHING;
        return vec![Escalation {
            id,
            sentence,
            source,
            names: BTreeSet::new(),
        }];
    }
    let holds = |right: &&RiskyPermission| {
        right
            .until
            .is_none_or(|until| version.is_none_or(|version| version < until))
    };
    RIGHTS
        .iter()
        .filter(holds)
        .filter_map(|right| right.given_by(rules))
        .collect()
}

// === impl RoleRule ===

impl RoleRule {
    fn is_everything(&self) -> bool {
        let has = |list: &[String]| list.iter().any(|item| item == ALL);
        has(&self.verbs) && has(&self.api_groups) && has(&self.resources) && self.resource_names.is_empty()
    }

    /// As the API server decides it: `*` is all, and `*/exec` that subresource of all.
    fn gives(&self, verb: &str, group: &str, resource: &str) -> bool {
        let has = |list: &[String], wanted: &str| list.iter().any(|item| item == ALL || item == wanted);
        let of_all = resource.split_once('/').map(|(_, sub)| format!("*/{sub}"));
        let has_resource = has(&self.resources, resource) || of_all.is_some_and(|all| self.resources.contains(&all));
        has(&self.verbs, verb) && has(&self.api_groups, group) && has_resource
    }
}

// === impl RiskyPermission ===

impl RiskyPermission {
    fn given_by(&self, rules: &[RoleRule]) -> Option<Escalation> {
        let gives = |rule: &&RoleRule| {
            let mut resources = self.resources.iter();
            resources.any(|(group, resource)| {
                let mut verbs = self.verbs.iter();
                verbs.any(|verb| rule.gives(verb, group, resource) && rule.is_effective(verb, resource))
            })
        };
        let giving: Vec<&RoleRule> = rules.iter().filter(gives).collect();
        let is_limited = !giving.iter().any(|rule| rule.resource_names.is_empty());
        let names = giving
            .iter()
            .flat_map(|rule| &rule.resource_names)
            .filter(|_| is_limited);
        (!giving.is_empty()).then(|| Escalation {
            id: self.id,
            sentence: self.sentence,
            source: self.source,
            names: names.cloned().collect(),
        })
    }
}

impl RoleRule {
    /// A whole object that is created has no name yet, so that a rule with names never allows it.
    fn is_effective(&self, verb: &str, resource: &str) -> bool {
        self.resource_names.is_empty() || resource.contains('/') || !["create", "deletecollection"].contains(&verb)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(verbs: &[&str], groups: &[&str], resources: &[&str], names: &[&str]) -> RoleRule {
        let owned = |texts: &[&str]| texts.iter().map(ToString::to_string).collect();
        RoleRule {
            verbs: owned(verbs),
            api_groups: owned(groups),
            resources: owned(resources),
            resource_names: owned(names),
        }
    }

    fn ids(rules: &[RoleRule]) -> Vec<&'static str> {
        escalations(rules, None).iter().map(|found| found.id).collect()
    }

    #[test]
    fn each_right_is_found_alone() {
        for right in &RIGHTS {
            for (group, resource) in right.resources {
                for verb in right.verbs {
                    let found = ids(&[rule(&[verb], &[group], &[resource], &[])]);
                    assert_eq!(found, [right.id], "{verb} {group}/{resource}");
                }
            }
            assert!(
                right.sentence.ends_with('.') && right.source.starts_with("https://kubernetes.io/"),
                "{}",
                right.id
            );
        }
    }

    #[test]
    fn what_only_reads_harmless_things_is_not_told() {
        for rule in [
            rule(
                &["get", "list", "watch"],
                &["", "apps", "batch"],
                &["pods", "pods/log", "deployments", "configmaps"],
                &[],
            ),
            rule(&["get"], &[RBAC], &["clusterroles"], &[]),
            rule(&["create"], &["example.com"], &["secrets", "pods"], &[]),
            rule(&["create"], &[CERTIFICATES], &["certificatesigningrequests"], &[]),
            rule(&["*"], &[""], &["configmaps"], &[]),
            RoleRule::default(),
        ] {
            assert_eq!(ids(&[rule]), Vec::<&str>::new());
        }
    }

    #[test]
    fn stars_mean_all() {
        assert_eq!(ids(&[rule(&["*"], &["*"], &["*"], &[])]), ["everything"]);
        assert_eq!(
            ids(&[rule(&["get"], &["*"], &["*"], &[])]),
            ["node-proxy", "secrets", "exec-by-get"]
        );
        assert_eq!(ids(&[rule(&["create"], &[""], &["*/exec"], &[])]), ["exec"]);
        assert_eq!(
            ids(&[rule(&["*"], &[RBAC], &["clusterroles"], &[])]),
            ["escalate", "bind"]
        );
    }

    #[test]
    fn names_limit_what_has_a_name() {
        let found = escalations(&[rule(&["bind"], &[RBAC], &["clusterroles"], &["view", "edit"])], None);
        assert_eq!(found[0].names.iter().collect::<Vec<_>>(), ["edit", "view"]);
        let both = [
            rule(&["get"], &[""], &["secrets"], &["one"]),
            rule(&["list"], &[""], &["secrets"], &[]),
        ];
        assert!(escalations(&both, None)[0].names.is_empty());
        assert_eq!(
            ids(&[rule(&["create"], &[""], &["pods"], &["one"])]),
            Vec::<&str>::new()
        );
        assert_eq!(
            ids(&[rule(&["create"], &[""], &["serviceaccounts/token"], &["one"])]),
            ["tokens"]
        );
    }

    #[test]
    fn exec_by_get_ends_with_a_version() {
        let rules = [rule(&["get"], &[""], &["pods/exec"], &[])];
        let found = |version| escalations(&rules, version).len();
        assert_eq!(
            (
                found(None),
                found(Some(MinorVersion(34))),
                found(Some(MinorVersion(35)))
            ),
            (1, 1, 0)
        );
    }
}
