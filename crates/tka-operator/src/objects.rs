//! The objects of a session, and a session read back from its `TkaSignin`. By value, without a cluster.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::api::rbac::v1::{ClusterRoleBinding, RoleRef, Subject};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::ObjectMeta;
use kube::{Resource, ResourceExt};
use tka_api::resource::{
    ANNOTATION_LAST_SIGN_IN, ANNOTATION_VALID_UNTIL, FINALIZER, LABEL_CALLER, LABEL_MANAGED_BY, LABEL_NAMESPACE,
    LABEL_SESSION, MANAGED_BY, SigninDevice, TkaSignin, TkaSigninSpec,
};
use tka_core::{Caller, Device, Identity, Period, RoleName, Session, SessionName, UserId};

use crate::Error;

/// What every object of every session can be selected by.
pub const SELECTOR: &str = "app.kubernetes.io/managed-by=tka,tka.specht-labs.de/session";

/// The `TkaSignin` of `session`.
#[must_use]
pub fn signin(session: &Session, namespace: &str) -> TkaSignin {
    let mut signin = TkaSignin::new(session.name().as_str(), spec(session));
    signin.metadata.namespace = Some(namespace.into());
    signin.metadata.finalizers = Some(vec![FINALIZER.into()]);
    signin.metadata.labels = Some(labels(&session.name(), session.caller.key().as_str(), namespace));
    signin.metadata.annotations = Some(BTreeMap::from([
        (ANNOTATION_LAST_SIGN_IN.into(), session.signed_in.to_string()),
        (ANNOTATION_VALID_UNTIL.into(), session.until().to_string()),
    ]));
    signin
}

fn spec(session: &Session) -> TkaSigninSpec {
    let user_id = match session.caller.identity {
        Identity::User { id, .. } => Some(id.0),
        Identity::Machine { .. } => None,
    };
    TkaSigninSpec {
        username: session.caller.username().into(),
        role: session.role.to_string(),
        validity_period: session.period.to_string(),
        user_id,
        device: Some(SigninDevice {
            stable_id: session.caller.device.stable_id.clone(),
            name: session.caller.device.name.clone(),
        }),
    }
}

/// The ServiceAccount of the session that `signin` holds. It belongs to the `TkaSignin`, so that Kubernetes collects it with it.
pub fn service_account(signin: &TkaSignin) -> Result<ServiceAccount, Error> {
    let owner = OwnerReference {
        api_version: TkaSignin::api_version(&()).into(),
        kind: TkaSignin::kind(&()).into(),
        name: signin.name_any(),
        uid: signin.uid().ok_or(Error::Incomplete("metadata.uid"))?,
        ..OwnerReference::default()
    };
    Ok(ServiceAccount {
        metadata: ObjectMeta {
            name: Some(signin.name_any()),
            namespace: signin.namespace(),
            labels: Some(signin.labels().clone()),
            owner_references: Some(vec![owner]),
            ..ObjectMeta::default()
        },
        // Credentials are asked for with TokenRequest; no pod is meant to run as a session.
        automount_service_account_token: Some(false),
        ..ServiceAccount::default()
    })
}

/// The binding of the session that `signin` holds. It cannot be owned: an owner of a cluster-scoped object is cluster-scoped
/// (<https://kubernetes.io/docs/concepts/architecture/garbage-collection/#owners-dependents>).
#[must_use]
pub fn binding(signin: &TkaSignin) -> ClusterRoleBinding {
    let namespace = signin.namespace().unwrap_or_default();
    ClusterRoleBinding {
        metadata: ObjectMeta {
            name: Some(binding_name(&namespace, &signin.name_any())),
            labels: Some(signin.labels().clone()),
            ..ObjectMeta::default()
        },
        role_ref: RoleRef {
            api_group: "rbac.authorization.k8s.io".into(),
            kind: "ClusterRole".into(),
            name: signin.spec.role.clone(),
        },
        subjects: Some(vec![Subject {
            kind: "ServiceAccount".into(),
            name: signin.name_any(),
            namespace: Some(namespace),
            ..Subject::default()
        }]),
    }
}

/// The name of a session's binding. Names of RBAC objects may hold a colon, and namespaces may not: no two sessions of two
/// servers in one cluster meet.
#[must_use]
pub fn binding_name(namespace: &str, session: &str) -> String {
    format!("{namespace}:{session}")
}

fn labels(name: &SessionName, caller: &str, namespace: &str) -> BTreeMap<String, String> {
    BTreeMap::from([
        (LABEL_MANAGED_BY.into(), MANAGED_BY.into()),
        (LABEL_SESSION.into(), name.as_str().into()),
        (LABEL_NAMESPACE.into(), namespace.into()),
        (LABEL_CALLER.into(), caller.into()),
    ])
}

/// The session that `signin` holds.
///
/// The name must be the one that this caller, device and role lead to: an object made by hand, or one of the original TKA,
/// is no session of ours.
pub fn session(signin: &TkaSignin) -> Result<Session, Error> {
    let refuse = |why: String| Error::NotASession {
        name: signin.name_any(),
        why,
    };
    let spec = &signin.spec;
    let device = spec
        .device
        .as_ref()
        .ok_or_else(|| refuse("spec.device is missing".into()))?;
    let user_id = spec.user_id.ok_or_else(|| refuse("spec.user_id is missing".into()))?;
    let session = Session {
        caller: Caller {
            identity: Identity::User {
                id: UserId(user_id),
                login_name: spec.username.clone(),
            },
            device: Device {
                stable_id: device.stable_id.clone(),
                name: device.name.clone(),
            },
        },
        role: RoleName::try_from(spec.role.clone()).map_err(|error| refuse(error.to_string()))?,
        period: spec
            .validity_period
            .parse::<Period>()
            .map_err(|error| refuse(error.to_string()))?,
        signed_in: last_sign_in(signin).map_err(refuse)?,
    };
    if session.name().as_str() != signin.name_any() {
        return Err(refuse("its name is not that of this caller, device and role".into()));
    }
    Ok(session)
}

fn last_sign_in(signin: &TkaSignin) -> Result<Timestamp, String> {
    let text = signin
        .annotations()
        .get(ANNOTATION_LAST_SIGN_IN)
        .ok_or_else(|| format!("the annotation {ANNOTATION_LAST_SIGN_IN} is missing"))?;
    text.parse()
        .map_err(|_| format!("the annotation {ANNOTATION_LAST_SIGN_IN} is no RFC 3339 time: {text:?}"))
}

/// Whether account and binding exist, and the status speaks of this sign-in and not of an earlier one.
#[must_use]
pub fn is_provisioned(signin: &TkaSignin, session: &Session) -> bool {
    signin
        .status
        .as_ref()
        .is_some_and(|status| status.provisioned && status.valid_until == Some(session.until()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tka_api::resource::TkaSigninStatus;
    use tka_core::Rule;

    fn alice() -> Session {
        let caller = Caller {
            identity: Identity::User {
                id: UserId(7),
                login_name: "alice@example.com".into(),
            },
            device: Device {
                stable_id: "n1".into(),
                name: "laptop".into(),
            },
        };
        let rule = Rule::parse(r#"{"role": "view", "period": "1h"}"#).unwrap();
        Session::new(caller, &rule, "2026-01-01T00:00:00Z".parse().unwrap())
    }

    fn stored() -> TkaSignin {
        let mut signin = signin(&alice(), "tka-dev");
        signin.metadata.uid = Some("u1".into());
        signin
    }

    fn why(signin: &TkaSignin) -> String {
        session(signin).unwrap_err().to_string()
    }

    #[test]
    fn what_is_written_is_read_back() {
        assert_eq!(session(&stored()).unwrap(), alice());
    }

    #[test]
    fn account_belongs_to_its_signin() {
        let account = service_account(&stored()).unwrap();
        let owner = &account.owner_references()[0];
        assert_eq!((owner.kind.as_str(), owner.uid.as_str()), ("TkaSignin", "u1"));
        assert_eq!(owner.api_version, "tka.specht-labs.de/v1alpha1");
        assert_eq!(account.name_any(), stored().name_any());
    }

    #[test]
    fn binding_gives_the_role_to_the_account_alone() {
        let binding = binding(&stored());
        let subjects = binding.subjects.clone().unwrap();
        assert_eq!(binding.role_ref.name, "view");
        assert_eq!(subjects.len(), 1);
        assert_eq!(subjects[0].name, stored().name_any());
        assert_eq!(subjects[0].namespace.as_deref(), Some("tka-dev"));
    }

    #[test]
    fn bindings_of_two_servers_do_not_meet() {
        let here = binding(&stored()).name_any();
        let there = binding(&signin(&alice(), "tka-prod")).name_any();
        assert_ne!(here, there);
    }

    #[test]
    fn all_objects_carry_the_labels() {
        let signin = stored();
        for labels in [
            signin.labels(),
            service_account(&signin).unwrap().labels(),
            binding(&signin).labels(),
        ] {
            assert_eq!(labels[LABEL_MANAGED_BY], MANAGED_BY);
            assert_eq!(labels[LABEL_SESSION], signin.name_any());
            assert_eq!(labels[LABEL_NAMESPACE], "tka-dev");
        }
    }

    #[test]
    fn object_with_another_role_is_no_session() {
        let mut forged = stored();
        forged.spec.role = "cluster-admin".into();
        assert!(why(&forged).contains("its name is not that of"));
    }

    #[test]
    fn object_of_the_original_is_no_session() {
        let mut original = stored();
        original.spec.device = None;
        assert!(why(&original).contains("spec.device is missing"));
    }

    #[test]
    fn object_without_a_sign_in_is_no_session() {
        let mut unsigned = stored();
        unsigned.metadata.annotations = None;
        assert!(why(&unsigned).contains("last-attempted-sign-in is missing"));
    }

    #[test]
    fn status_of_an_earlier_sign_in_does_not_count() {
        let session = alice();
        let mut signin = stored();
        assert!(!is_provisioned(&signin, &session));
        let status = |until: &str| TkaSigninStatus {
            provisioned: true,
            valid_until: Some(until.parse().unwrap()),
            signed_in: None,
        };
        signin.status = Some(status("2026-01-01T00:59:59Z"));
        assert!(!is_provisioned(&signin, &session));
        signin.status = Some(status("2026-01-01T01:00:00Z"));
        assert!(is_provisioned(&signin, &session));
    }

    proptest! {
        #[test]
        fn any_object_is_read_or_refused(
            username in ".*", role in ".*", period in ".*", signed_in in ".*", name in ".*", stable_id in ".*", user_id: Option<i64>,
        ) {
            let mut signin = stored();
            signin.metadata.name = Some(name);
            signin.metadata.annotations = Some(BTreeMap::from([(ANNOTATION_LAST_SIGN_IN.to_owned(), signed_in)]));
            signin.spec = TkaSigninSpec {
                username, role, validity_period: period, user_id,
                device: Some(SigninDevice { stable_id, name: "d".into() }),
            };
            prop_assert!(session(&signin).is_err());
        }
    }
}
