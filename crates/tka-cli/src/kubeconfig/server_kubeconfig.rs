//! Validates the kubeconfig of a server. One that would not work is refused, and so is one with fields that a server must not set.

use serde::Deserialize;
use serde_json::Value;
use tka_api::kubeconfig::{Cluster, KeyedKubeconfig, KubeconfigFile};
use tka_core::{ApiServerUrl, ApiServerUrlError, CaBundle, CaBundleError, Namespace, is_unprintable};

use crate::kubeconfig::gateway_address::GatewayAddress;
use crate::kubeconfig::{committed, exec_plugin};
use crate::net::server::Server;

/// The fields of a cluster that a server may set. Files and proxies belong to this machine.
const CLUSTER_FIELDS: [&str; 4] = [
    "server",
    "certificate-authority-data",
    "insecure-skip-tls-verify",
    "tls-server-name",
];
/// The fields of a user that a server may set. Only the session is taken from a plugin, since a server must not choose programs to run.
const USER_FIELDS: [&str; 2] = ["token", "exec"];

/// How kubectl gets the credential.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum AuthMethod {
    /// As the rule or the server wants it: with the plugin, or through the gateway.
    Default,
    /// kubectl runs this program as its plugin, and goes to the API server itself.
    Plugin,
    /// kubectl needs none: the file has the gateway's address.
    Gateway,
    /// The file has a token, for programs that cannot run a plugin.
    Token,
}

impl AuthMethod {
    /// What a sign-in asks for. The original's server reads over it.
    pub(crate) fn sign_in_query(self) -> &'static str {
        match self {
            Self::Default => "?via=default",
            Self::Plugin | Self::Token => "?via=direct",
            Self::Gateway => "?via=gateway",
        }
    }

    /// What a request for a kubeconfig asks for. The original's server reads over it.
    pub(crate) fn kubeconfig_query(self) -> &'static str {
        match self {
            Self::Default => "?credential=exec&via=default",
            Self::Plugin => "?credential=exec",
            Self::Gateway => "?credential=exec&via=gateway",
            Self::Token => "",
        }
    }

    /// Whether nothing was chosen.
    pub(crate) fn is_open(self) -> bool {
        self == Self::Default
    }

    /// Where nothing else was chosen, the way that is there already.
    pub(crate) fn or_previous(self, has_gateway: Option<bool>) -> Self {
        match (self, has_gateway) {
            (Self::Default, Some(true)) => Self::Gateway,
            (Self::Default, Some(false)) => Self::Plugin,
            (form, _) => form,
        }
    }
}

/// How kubectl gets the credential from a kubeconfig that was written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Credential {
    Plugin,
    Token,
    /// Not at all: it goes through the gateway.
    None,
}

/// A kubeconfig as received: the wire type, and what the wire type would drop. It becomes a [`ServerKubeconfig`] or is refused.
#[derive(Debug, Deserialize)]
#[serde(try_from = "Value")]
pub(crate) struct ReceivedKubeconfig {
    keyed: KeyedKubeconfig,
    /// The first field that a server must not set.
    forbidden_field: Option<String>,
    /// Where the first text is that cannot stand in a kubeconfig.
    unprintable: Option<String>,
}

/// A valid kubeconfig. It is a type of its own, so that nothing unchecked is written to a file.
#[derive(Debug)]
pub(crate) struct ServerKubeconfig {
    /// The file without any plugin.
    file: KubeconfigFile,
    has_token: bool,
    /// The address, if there is no credential because it is that of the gateway.
    gateway: Option<GatewayAddress>,
    /// The session in the arguments of the server's plugin.
    pub(crate) session: Option<String>,
}

/// Why a kubeconfig is refused.
#[derive(Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum InvalidKubeconfig {
    #[error("it is a `{0}`, not a `Config`")]
    Kind(String),
    #[error("its current context `{0}` is not among its contexts")]
    NoContext(String),
    #[error("its context, cluster or user has no name")]
    NoName,
    #[error("its context names the cluster `{0}`, which it does not have")]
    NoCluster(String),
    #[error("its API server's URL {shown:?} is wrong: {why}")]
    BadServerUrl { shown: String, why: ApiServerUrlError },
    #[error("its certificate authority cannot be used: {0}")]
    BadCa(CaBundleError),
    #[error("its context names the user `{0}`, which it does not have")]
    NoUser(String),
    #[error("it holds no token")]
    NoToken,
    #[error("it does not lead through the gateway: this server may have none")]
    NoGateway,
    #[error("it names a program for kubectl to run, but no session for tka to request")]
    NoSession,
    #[error("it sets `{0}`, which a server must not set")]
    ForbiddenField(String),
    #[error("{0} in it has a control character or a line end")]
    Unprintable(String),
}

/// Checks that the current context has an API server, and a token or a plugin.
pub(crate) fn validate(arrived: ReceivedKubeconfig) -> Result<ServerKubeconfig, InvalidKubeconfig> {
    let keyed = arrived.keyed;
    if keyed.kind != "Config" {
        return Err(InvalidKubeconfig::Kind(keyed.kind));
    }
    if let Some(field) = arrived.forbidden_field {
        return Err(InvalidKubeconfig::ForbiddenField(field));
    }
    if let Some(place) = arrived.unprintable {
        return Err(InvalidKubeconfig::Unprintable(place));
    }
    let current = &keyed.current_context;
    let context = keyed.contexts.get(current);
    let context = context.ok_or_else(|| InvalidKubeconfig::NoContext(current.clone()))?;
    // kubectl takes a context without a name for none.
    if [current, &context.cluster, &context.user]
        .iter()
        .any(|name| name.trim().is_empty())
    {
        return Err(InvalidKubeconfig::NoName);
    }
    let cluster = keyed.clusters.get(&context.cluster);
    let cluster = cluster.ok_or_else(|| InvalidKubeconfig::NoCluster(context.cluster.clone()))?;
    let user = keyed.users.get(&context.user);
    let user = user.ok_or_else(|| InvalidKubeconfig::NoUser(context.user.clone()))?;
    let has_token = user.token.as_ref().is_some_and(|token| !token.expose().is_empty());
    let gateway = GatewayAddress::of(cluster, user);
    if gateway.is_some() && cluster.insecure_skip_tls_verify {
        // It is reached by the name that its certificate is for.
        return Err(InvalidKubeconfig::ForbiddenField("insecure-skip-tls-verify".into()));
    }
    if !has_token && user.exec.is_none() && gateway.is_none() {
        return Err(InvalidKubeconfig::NoToken);
    }
    let exec = user.exec.as_ref();
    let session = exec.and_then(|exec| exec_plugin::session_argument(&exec.args));
    let session = session.map(ToOwned::to_owned);
    let through_gateway = gateway.as_ref().map(|_| context.cluster.clone());
    let mut file = KubeconfigFile::from(keyed);
    for named in &mut file.clusters {
        if through_gateway.as_ref() != Some(&named.name) {
            check_url(&named.cluster)?;
        }
        check_authority(&mut named.cluster)?;
    }
    for named in &mut file.users {
        named.user.exec = None;
    }
    Ok(ServerKubeconfig {
        file,
        has_token,
        gateway,
        session,
    })
}

/// Checks the API server's URL.
fn check_url(cluster: &Cluster) -> Result<(), InvalidKubeconfig> {
    let wrong = |why| InvalidKubeconfig::BadServerUrl {
        shown: ApiServerUrl::redacted(&cluster.server),
        why,
    };
    ApiServerUrl::parse(&cluster.server).map(drop).map_err(wrong)
}

/// Keeps only the certificates of the authority.
fn check_authority(cluster: &mut Cluster) -> Result<(), InvalidKubeconfig> {
    let authority = cluster.certificate_authority_data.take();
    let authority = authority
        .filter(|data| !data.is_empty())
        .map(|data| CaBundle::parse(&data));
    let authority = authority.transpose().map_err(InvalidKubeconfig::BadCa)?;
    cluster.certificate_authority_data = authority.map(|bundle| bundle.to_base64());
    Ok(())
}

/// The first field of a cluster or user that a server must not set.
fn forbidden_field(sent: &Value) -> Option<String> {
    let lists = [("clusters", &CLUSTER_FIELDS[..]), ("users", &USER_FIELDS)];
    lists.into_iter().find_map(|(list, accepted)| {
        let bodies = sent[list].as_object()?.values().filter_map(Value::as_object);
        let mut fields = bodies
            .flatten()
            .filter(|(_, value)| !is_empty(value))
            .map(|(field, _)| field);
        fields.find(|field| !accepted.contains(&field.as_str())).cloned()
    })
}

/// Where the first text is that kubectl or an editor reads as something else, or not at all. Certificates are checked by themselves, and a plugin
/// is not taken over. A value may be a token, so it is not shown.
fn unprintable(sent: &Value) -> Option<String> {
    let in_field = |(key, value): (&String, &Value)| match (key.as_str(), value) {
        ("certificate-authority-data" | "exec", _) => None,
        (key, _) if key.contains(is_unprintable) => Some(format!("the name {key:?}")),
        (key, Value::String(text)) => text.contains(is_unprintable).then(|| format!("`{key}`")),
        (_, value) => unprintable(value),
    };
    sent.as_object()?.iter().find_map(in_field)
}

/// Whether a field is empty. The original's server sends empty fields.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(value) => !value,
        Value::Number(_) => false,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(entries) => entries.is_empty(),
    }
}

// === impl ReceivedKubeconfig ===

impl TryFrom<Value> for ReceivedKubeconfig {
    type Error = serde_json::Error;

    fn try_from(sent: Value) -> Result<Self, Self::Error> {
        let (forbidden_field, unprintable) = (forbidden_field(&sent), unprintable(&sent));
        let keyed = serde_json::from_value(sent)?;
        Ok(Self {
            keyed,
            forbidden_field,
            unprintable,
        })
    }
}

// === impl ServerKubeconfig ===

impl ServerKubeconfig {
    /// The file as kubectl reads it, and how kubectl gets credentials. This program's plugin asks for `session`, or for the one in the server's
    /// plugin. Otherwise the file has the server's token, or the gateway's address.
    pub(crate) fn with_credential(
        self,
        server: &Server,
        session: Option<&str>,
        rule_options: &[String],
        form: AuthMethod,
    ) -> Result<(KubeconfigFile, Credential), InvalidKubeconfig> {
        let mut file = self.file;
        if let Some(address) = self.gateway {
            return match form {
                AuthMethod::Default | AuthMethod::Gateway => {
                    set_gateway(&mut file, &address.via_server(server));
                    Ok((file, Credential::None))
                }
                AuthMethod::Plugin | AuthMethod::Token => Err(InvalidKubeconfig::NoToken),
            };
        }
        match (form, session.or(self.session.as_deref())) {
            (AuthMethod::Gateway, _) => Err(InvalidKubeconfig::NoGateway),
            (AuthMethod::Plugin | AuthMethod::Default, Some(session)) => {
                exec_plugin::set_plugin(&mut file, server, session, rule_options);
                Ok((file, Credential::Plugin))
            }
            _ if self.has_token => Ok((file, Credential::Token)),
            (AuthMethod::Plugin | AuthMethod::Default, None) => Err(InvalidKubeconfig::NoSession),
            (AuthMethod::Token, _) => Err(InvalidKubeconfig::NoToken),
        }
    }
}

// === impl InvalidKubeconfig ===

impl InvalidKubeconfig {
    /// Whether the server tried to set what only this machine may.
    pub(crate) fn is_suspicious(&self) -> bool {
        matches!(
            self,
            Self::NoSession | Self::ForbiddenField(_) | Self::BadCa(CaBundleError::PrivateKey)
        )
    }
}

/// Sets the address of the current context's cluster, and removes all but the placeholder from its user.
fn set_gateway(file: &mut KubeconfigFile, address: &GatewayAddress) {
    let mut contexts = file.contexts.iter();
    let Some(context) = contexts.find(|one| one.name == file.current_context) else {
        return;
    };
    for named in &mut file.clusters {
        if named.name == context.context.cluster {
            named.cluster.server = address.to_string();
        }
    }
    for named in &mut file.users {
        if named.name == context.context.user {
            named.user = committed::user(address);
        }
    }
}

/// Sets the namespace of the current context.
pub(crate) fn set_namespace(file: &mut KubeconfigFile, namespace: &Namespace) {
    for context in &mut file.contexts {
        if context.name == file.current_context {
            context.context.namespace = Some(namespace.to_string());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use tka_kubeconfig::to_yaml;

    const CA: &str = include_str!("../../../tka-core/src/testdata/ca.b64");

    fn alice() -> Value {
        json!({
            "kind": "Config", "apiVersion": "v1",
            "clusters": {"tka-cluster": {"server": "https://k:6443", "certificate-authority-data": CA}},
            "users": {"tka-user-alice": {"token": "secret"}},
            "contexts": {"on": {"cluster": "tka-cluster", "user": "tka-user-alice"}},
            "current-context": "on"
        })
    }

    fn sent(change: impl FnOnce(&mut Value)) -> Result<ServerKubeconfig, InvalidKubeconfig> {
        let mut value = alice();
        change(&mut value);
        validate(serde_json::from_value(value).unwrap())
    }

    fn check(change: impl FnOnce(&mut Value)) -> Result<KubeconfigFile, InvalidKubeconfig> {
        sent(change).map(|sent| sent.file)
    }

    fn exec(args: &[&str]) -> Value {
        json!({"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": "/bin/evil", "args": args,
            "interactiveMode": "Never", "installHint": "run this: evil"}})
    }

    #[test]
    fn what_would_not_work_is_refused() {
        let invalid = |field: &str, value: Value| {
            let changed = check(|sent| *sent.pointer_mut(field).unwrap() = value);
            changed.unwrap_err()
        };
        let (server, user) = ("/clusters/tka-cluster/server", "/users/tka-user-alice");
        let no_context = InvalidKubeconfig::NoContext(String::new());
        let no_cluster = InvalidKubeconfig::NoCluster("tka-cluster".into());
        for (field, value, expected) in [
            ("/kind", json!("Secret"), InvalidKubeconfig::Kind("Secret".into())),
            ("/current-context", json!(""), no_context),
            ("/contexts/on/cluster", json!(" "), InvalidKubeconfig::NoName),
            ("/contexts/on/user", json!(""), InvalidKubeconfig::NoName),
            ("/clusters", json!({}), no_cluster),
            ("/users", json!({}), InvalidKubeconfig::NoUser("tka-user-alice".into())),
            (user, json!({}), InvalidKubeconfig::NoToken),
            (user, json!({"token": ""}), InvalidKubeconfig::NoToken),
        ] {
            assert_eq!(invalid(field, value), expected, "{field}");
        }
        let unnamed = check(|sent| {
            sent["contexts"][""] = sent["contexts"]["on"].clone();
            sent["current-context"] = json!("");
        });
        assert_eq!(unnamed.unwrap_err(), InvalidKubeconfig::NoName);
        for url in ["", "http://k"] {
            let invalid = invalid(server, json!(url));
            assert!(matches!(invalid, InvalidKubeconfig::BadServerUrl { .. }), "{invalid}");
        }
        let said = invalid(server, json!("https://user:hunter2@k")).to_string();
        assert!(!said.contains("hunter2"), "{said}");
        for bad in ["UEVN", "LS0tLS1CRUdJTiBQUklWQVRFIEtFWS0tLS0t"] {
            let invalid = invalid("/clusters/tka-cluster/certificate-authority-data", json!(bad));
            assert!(matches!(invalid, InvalidKubeconfig::BadCa(_)), "cases.md 3: {invalid}");
        }
    }

    /// kubectl, editors and terminals read these as something else, or not at all.
    #[test]
    fn control_characters_and_line_ends_are_refused() {
        for wrong in [
            '\u{7f}', '\u{85}', '\u{2028}', '\u{2029}', '\n', '\0', '\u{1b}', '\u{feff}', '\u{ffff}',
        ] {
            let text = format!("a{wrong}b");
            let renamed = |sent: &mut Value| {
                sent["contexts"] = json!({text.clone(): {"cluster": "tka-cluster", "user": "tka-user-alice"}});
                sent["current-context"] = json!(text);
            };
            let place = format!("the name {text:?}");
            assert_eq!(check(renamed).unwrap_err(), InvalidKubeconfig::Unprintable(place));
            for (list, name, field) in [
                ("contexts", "on", "namespace"),
                ("users", "tka-user-alice", "token"),
                ("clusters", "tka-cluster", "tls-server-name"),
            ] {
                let refused = check(|sent| sent[list][name][field] = json!(text)).unwrap_err();
                assert_eq!(refused, InvalidKubeconfig::Unprintable(format!("`{field}`")));
            }
        }
        for right in ["täst", "a b", "a\u{a0}b", "日本"] {
            check(|sent| sent["contexts"]["on"]["namespace"] = json!(right)).unwrap();
        }
    }

    #[test]
    fn forbidden_fields_are_refused() {
        for (list, name, field, value) in [
            ("users", "tka-user-alice", "auth-provider", json!({"name": "gcp"})),
            ("users", "tka-user-alice", "tokenFile", json!("/etc/passwd")),
            ("users", "tka-user-alice", "client-certificate", json!("/x")),
            ("users", "tka-user-alice", "client-certificate-data", json!("UEVN")),
            ("users", "tka-user-alice", "client-key", json!("/x")),
            ("users", "tka-user-alice", "username", json!("x")),
            ("users", "tka-user-alice", "as", json!("system:admin")),
            ("users", "tka-user-alice", "as-groups", json!(["system:masters"])),
            ("users", "tka-user-alice", "as-user-extra", json!({"a": ["b"]})),
            ("users", "another", "tokenFile", json!("/x")),
            ("clusters", "tka-cluster", "certificate-authority", json!("/x")),
            ("clusters", "tka-cluster", "proxy-url", json!("http://evil")),
            ("clusters", "tka-cluster", "disable-compression", json!(true)),
            ("clusters", "tka-cluster", "unheard-of", json!(0)),
        ] {
            let invalid = sent(|v| v[list][name][field] = value).unwrap_err();
            assert_eq!(invalid, InvalidKubeconfig::ForbiddenField(field.into()));
        }
        let said = sent(|v| {
            v["clusters"]["tka-cluster"]["tls-server-name"] = json!("k8s");
            v["clusters"]["tka-cluster"]["LocationOfOrigin"] = json!("");
            v["users"]["tka-user-alice"]["impersonate-groups"] = json!(null);
            v["preferences"] = json!({});
        });
        let file = said.unwrap().file;
        assert_eq!(file.clusters[0].cluster.tls_server_name.as_deref(), Some("k8s"));
    }

    #[test]
    fn only_the_session_is_taken_from_a_plugin() {
        let server = Server::new("tka", 443, None).unwrap();
        let with = |user: Value, session: Option<&str>, form| {
            let sent = sent(|v| v["users"]["tka-user-alice"] = user).unwrap();
            let filled = sent.with_credential(&server, session, &[], form);
            filled.map(|(file, _)| to_yaml(&file).unwrap())
        };
        let (named, bare) = (exec(&["x", "--session", "tka-alice"]), exec(&["x"]));
        for (user, session) in [(&named, None), (&named, Some("tka-alice")), (&bare, Some("tka-alice"))] {
            let text = with(user.clone(), session, AuthMethod::Plugin).unwrap();
            assert!(text.contains("- '--session'\n      - 'tka-alice'"), "{text}");
            assert!(!text.contains("evil"), "{text}");
        }
        let of_bare = with(bare.clone(), None, AuthMethod::Plugin);
        assert_eq!(of_bare, Err(InvalidKubeconfig::NoSession));
        let of_named = with(named.clone(), None, AuthMethod::Token);
        assert_eq!(of_named, Err(InvalidKubeconfig::NoToken));
        let mut both = named;
        both["token"] = json!("secret");
        let text = with(both, None, AuthMethod::Token).unwrap();
        assert!(text.contains("token: 'secret'") && !text.contains("exec"), "{text}");
    }

    #[test]
    fn yaml_is_what_kubectl_reads() {
        insta::assert_snapshot!(to_yaml(&check(|_| ()).unwrap()).unwrap().replace(CA, "UEVN"), @"
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
    use tka_kubeconfig::to_yaml;

    /// A kubeconfig is refused, or it has no plugin and reads back as it was.
    #[test]
    fn kubeconfig() {
        bolero::check!().for_each(|bytes: &[u8]| {
            let Ok(arrived) = serde_json::from_slice(bytes) else {
                return;
            };
            let Ok(ServerKubeconfig { file, .. }) = validate(arrived) else {
                return;
            };
            assert!(file.users.iter().all(|named| named.user.exec.is_none()));
            let text = to_yaml(&file).unwrap();
            let read: KubeconfigFile = serde_saphyr::from_str(&text).unwrap();
            assert_eq!(to_yaml(&read).unwrap(), text);
        });
    }
}
