//! Whether a kubeconfig that arrived would work: nothing is written before.

use serde::Serialize;
use tka_api::kubeconfig::{KeyedKubeconfig, KubeconfigFile};
use tka_core::Namespace;

/// Why a kubeconfig would not work.
#[derive(Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum Flaw {
    #[error("it is a `{0}`, not a `Config`")]
    Kind(String),
    #[error("its current context `{0}` is not among its contexts")]
    NoContext(String),
    #[error("its context names the cluster `{0}`, which it does not have")]
    NoCluster(String),
    #[error("`{0}` is no address of an API server")]
    NoServer(String),
    #[error("its context names the user `{0}`, which it does not have")]
    NoUser(String),
    #[error("it holds no token")]
    NoToken,
}

/// Checks that the current context leads to an API server and to a token or a plugin, and puts it into the shape that kubectl reads.
pub(crate) fn checked(keyed: KeyedKubeconfig) -> Result<KubeconfigFile, Flaw> {
    if keyed.kind != "Config" {
        return Err(Flaw::Kind(keyed.kind));
    }
    let current = &keyed.current_context;
    let context = keyed
        .contexts
        .get(current)
        .ok_or_else(|| Flaw::NoContext(current.clone()))?;
    let cluster = keyed
        .clusters
        .get(&context.cluster)
        .ok_or_else(|| Flaw::NoCluster(context.cluster.clone()))?;
    if !cluster.server.starts_with("https://") && !cluster.server.starts_with("http://") {
        return Err(Flaw::NoServer(cluster.server.clone()));
    }
    let user = keyed
        .users
        .get(&context.user)
        .ok_or_else(|| Flaw::NoUser(context.user.clone()))?;
    let has_token = user.token.as_ref().is_some_and(|token| !token.expose().is_empty());
    if has_token || user.exec.is_some() {
        Ok(keyed.into())
    } else {
        Err(Flaw::NoToken)
    }
}

/// Lets the current context work in `namespace`.
pub(crate) fn work_in(file: &mut KubeconfigFile, namespace: &Namespace) {
    for context in &mut file.contexts {
        if context.name == file.current_context {
            context.context.namespace = Some(namespace.to_string());
        }
    }
}

/// A kubeconfig, or a part of one, as YAML. Every text is quoted: kubectl's parser takes a bare `on` or `1e3` for something else.
pub(crate) fn to_yaml(part: &impl Serialize) -> Result<String, serde_saphyr::ser::Error> {
    serde_saphyr::to_string_with_options(
        part,
        serde_saphyr::ser_options! { quote_all: true, prefer_block_scalars: false },
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn alice() -> Value {
        json!({
            "kind": "Config", "apiVersion": "v1",
            "clusters": {"tka-cluster": {"server": "https://k:6443", "certificate-authority-data": "UEVN"}},
            "users": {"tka-user-alice": {"token": "secret"}},
            "contexts": {"on": {"cluster": "tka-cluster", "user": "tka-user-alice"}},
            "current-context": "on"
        })
    }

    fn check(change: impl FnOnce(&mut Value)) -> Result<KubeconfigFile, Flaw> {
        let mut value = alice();
        change(&mut value);
        checked(serde_json::from_value(value).unwrap())
    }

    #[test]
    fn what_would_not_work_is_refused() {
        let flaw = |change: fn(&mut Value)| check(change).unwrap_err();
        assert_eq!(flaw(|v| v["kind"] = json!("Secret")), Flaw::Kind("Secret".into()));
        assert_eq!(
            flaw(|v| v["current-context"] = json!("")),
            Flaw::NoContext(String::new())
        );
        assert_eq!(
            flaw(|v| v["clusters"] = json!({})),
            Flaw::NoCluster("tka-cluster".into())
        );
        assert_eq!(
            flaw(|v| v["clusters"]["tka-cluster"]["server"] = json!("")),
            Flaw::NoServer(String::new())
        );
        assert_eq!(flaw(|v| v["users"] = json!({})), Flaw::NoUser("tka-user-alice".into()));
        assert_eq!(flaw(|v| v["users"]["tka-user-alice"] = json!({})), Flaw::NoToken);
        assert_eq!(
            flaw(|v| v["users"]["tka-user-alice"]["token"] = json!("")),
            Flaw::NoToken
        );
    }

    #[test]
    fn yaml_is_what_kubectl_reads() {
        insta::assert_snapshot!(to_yaml(&check(|_| ()).unwrap()).unwrap(), @"
        apiVersion: 'v1'
        kind: 'Config'
        clusters:
        - name: 'tka-cluster'
          cluster:
            server: 'https://k:6443'
            certificate-authority-data: 'UEVN'
        users:
        - name: 'tka-user-alice'
          user:
            token: 'secret'
        contexts:
        - name: 'on'
          context:
            cluster: 'tka-cluster'
            user: 'tka-user-alice'
        current-context: 'on'
        ");
    }

    #[test]
    fn long_and_odd_texts_survive() {
        let token = format!("{}:# '\"\\ {{}}", "x".repeat(3000));
        let file = check(|v| v["users"]["tka-user-alice"]["token"] = json!(token)).unwrap();
        let read: KubeconfigFile = serde_saphyr::from_str(&to_yaml(&file).unwrap()).unwrap();
        assert_eq!(read.users[0].user.token.as_ref().unwrap().expose(), token);
    }
}

#[cfg(test)]
mod fuzz {
    use super::*;

    /// What a server sends is refused, or is a file that reads back as it was.
    #[test]
    fn kubeconfig() {
        bolero::check!().for_each(|bytes: &[u8]| {
            let Ok(keyed) = serde_json::from_slice::<KeyedKubeconfig>(bytes) else {
                return;
            };
            let Ok(file) = checked(keyed) else { return };
            let text = to_yaml(&file).unwrap();
            let read: KubeconfigFile = serde_saphyr::from_str(&text).unwrap();
            assert_eq!(to_yaml(&read).unwrap(), text);
        });
    }
}
