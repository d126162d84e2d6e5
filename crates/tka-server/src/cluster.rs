//! How people reach the Kubernetes API server: from the configuration, or from a ConfigMap.

use std::collections::BTreeMap;
use std::net::IpAddr;

use axum::http::StatusCode;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, Client};
use thiserror::Error;
use tka_api::http::ClusterInfo;
use tka_api::kubeconfig::Cluster;
use tka_core::{ApiServerUrl, ApiServerUrlError, CaBundle, CaBundleError, is_host_name, shorten};
use tka_kubeconfig::{Kubeconfig, Unreadable, find};
use tka_operator::error::with_causes;

use crate::answer::Failure;
use crate::config;

/// Where it is said how people reach the API server.
#[derive(Clone)]
pub enum ClusterSource {
    /// In the configuration.
    Fixed(ClusterInfo),
    /// In a ConfigMap, read for each answer, so that a new certificate authority needs no restart.
    ConfigMap {
        /// Reads it.
        api: Box<Api<ConfigMap>>,
        /// Which one, and which of its keys.
        reference: config::ConfigMapRef,
        /// Labels, from the configuration.
        labels: BTreeMap<String, String>,
    },
}

/// Why it is not known how people reach the API server.
#[derive(Debug, Error)]
pub enum ClusterError {
    /// Nothing says it.
    #[error(
        "clusterInfo.apiEndpoint is not set: give the URL by which people reach the Kubernetes API server, or enable clusterInfo.configMapRef"
    )]
    Missing,
    /// Two things say it.
    #[error("clusterInfo.apiEndpoint and clusterInfo.configMapRef.enabled are both set: choose one")]
    Both,
    /// The URL is none that clients can use.
    #[error("the API server's URL {redacted:?} (apiEndpoint) is wrong")]
    BadUrl {
        /// The URL, without what may be secret in it.
        redacted: String,
        /// What is wrong with it.
        #[source]
        why: ApiServerUrlError,
    },
    /// The certificate authority is none that clients can use. It may hold a secret, and is not shown.
    #[error("the API server's certificate authority (caData) cannot be used")]
    BadCa(#[from] CaBundleError),
    /// The kubeconfig inside the ConfigMap cannot be read.
    #[error("the kubeconfig in the ConfigMap cannot be read")]
    BadKubeconfig(#[from] Unreadable),
    /// The kubeconfig inside the ConfigMap leads to a certificate authority that other machines do not have.
    #[error(
        "the cluster in the ConfigMap's kubeconfig has its certificate authority in the file {0}: write it there as certificate-authority-data"
    )]
    AuthorityFile(String),
    /// The kubeconfig inside the ConfigMap reaches the API server through a proxy. That is not handed on: what proxies a device has is its own
    /// matter.
    #[error(
        "the cluster in the ConfigMap's kubeconfig has a proxy-url, which is not handed on: take it out, and set HTTPS_PROXY on the devices that need one"
    )]
    Proxy,
    /// The kubeconfig inside the ConfigMap has the API server's certificate checked against what is no name. No client could use it.
    #[error(
        "the cluster in the ConfigMap's kubeconfig has the tls-server-name {0:?}, which is not a host name or an IP address: correct it, or take it out"
    )]
    ServerName(String),
    /// The current context of the kubeconfig inside the ConfigMap is not there, or its cluster is not. Another cluster is not what was meant.
    #[error(
        "the current context {0:?} of the ConfigMap's kubeconfig leads to none of its clusters: correct it, or leave current-context out for the first cluster"
    )]
    NoCurrentCluster(String),
    /// The ConfigMap has a kubeconfig, and beside it what only goes with an address of its own.
    #[error(
        "the ConfigMap has the key {key} beside the key {kubeconfig}, and no {endpoint}: write it into the kubeconfig, or take the kubeconfig out and add {endpoint}"
    )]
    Beside {
        /// The key that would not count.
        key: String,
        /// Key of the kubeconfig.
        kubeconfig: String,
        /// Key of the URL.
        endpoint: String,
    },
    /// The ConfigMap lacks the URL.
    #[error("the ConfigMap has neither the key {endpoint} nor a cluster under the key {kubeconfig}")]
    NoEndpoint {
        /// Key of the URL.
        endpoint: String,
        /// Key of the kubeconfig.
        kubeconfig: String,
    },
    /// The ConfigMap cannot be read.
    #[error("the ConfigMap {namespace}/{name} cannot be read")]
    Unreadable {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
        /// What the API server says.
        #[source]
        source: Box<kube::Error>,
    },
}

/// What `config` itself says of how people reach the API server; nothing where a ConfigMap says it.
///
/// What is there is checked first, whatever is missing: that may come from a flag, and what is wrong stays wrong then.
pub fn settled(config: &config::ClusterInfo) -> Result<Option<ClusterInfo>, ClusterError> {
    let given = (!config.api_endpoint.is_empty()).then_some(&config.api_endpoint);
    let server_url = given.map(|text| url(text)).transpose()?;
    let ca_data = authority(&config.ca_data)?;
    match (server_url, config.config_map_ref.enabled) {
        (None, false) => Err(ClusterError::Missing),
        (Some(_), true) => Err(ClusterError::Both),
        (None, true) => Ok(None),
        (Some(server_url), false) => Ok(Some(ClusterInfo {
            server_url,
            insecure_skip_tls_verify: config.insecure_skip_tls_verify,
            ca_data,
            tls_server_name: None,
            labels: config.labels.clone(),
            instance: None,
            gateway: None,
        })),
    }
}

// === impl ClusterError ===

impl ClusterError {
    /// The key of the configuration that it is about.
    #[must_use]
    pub fn key(&self) -> &'static str {
        match self {
            Self::Missing | Self::Both | Self::BadUrl { .. } => "clusterInfo.apiEndpoint",
            Self::BadCa(_) => "clusterInfo.caData",
            _ => "clusterInfo.configMapRef",
        }
    }
}

// === impl ClusterSource ===

impl ClusterSource {
    /// The source that `config` names. What it says is checked here, so that a mistake shows at the start and not at the
    /// first request.
    pub fn new(config: &config::ClusterInfo, client: Client) -> Result<Self, ClusterError> {
        if let Some(info) = settled(config)? {
            return Ok(Self::Fixed(info));
        }
        let reference = config.config_map_ref.clone();
        Ok(Self::ConfigMap {
            api: Box::new(Api::namespaced(client, &reference.namespace)),
            reference,
            labels: config.labels.clone(),
        })
    }

    /// How people reach the API server, now.
    pub async fn info(&self) -> Result<ClusterInfo, Failure> {
        match self {
            Self::Fixed(info) => Ok(info.clone()),
            Self::ConfigMap { api, reference, labels } => read(api, reference, labels).await.map_err(|error| {
                tracing::error!(error = with_causes(&error), "cannot read the clusterInfo ConfigMap");
                let advice = &["ask an administrator to look at clusterInfo.configMapRef and the ConfigMap"];
                let what = "the address of the Kubernetes API server is not known";
                Failure::new(StatusCode::INTERNAL_SERVER_ERROR, what, advice).with_cause(&error)
            }),
        }
    }
}

async fn read(
    api: &Api<ConfigMap>,
    reference: &config::ConfigMapRef,
    labels: &BTreeMap<String, String>,
) -> Result<ClusterInfo, ClusterError> {
    let unreadable = |source| ClusterError::Unreadable {
        namespace: reference.namespace.clone(),
        name: reference.name.clone(),
        source: Box::new(source),
    };
    let config_map = api.get(&reference.name).await.map_err(unreadable)?;
    from_data(&config_map.data.unwrap_or_default(), &reference.keys, labels)
}

fn from_data(
    data: &BTreeMap<String, String>,
    keys: &config::ConfigMapKeys,
    labels: &BTreeMap<String, String>,
) -> Result<ClusterInfo, ClusterError> {
    let given = |key: &str| data.get(key).map(String::as_str).unwrap_or_default();
    let value = |key: &str| given(key).trim();
    let is_insecure = matches!(value(&keys.insecure), "true" | "True" | "TRUE" | "1");
    let mut cluster = Cluster {
        // A file that became a key ends with a line's end. Any other space is a mistake, which the URL's own check names.
        server: given(&keys.api_endpoint).trim_end_matches(['\r', '\n']).into(),
        certificate_authority_data: Some(value(&keys.ca_data).into()),
        insecure_skip_tls_verify: is_insecure,
        ..Cluster::default()
    };
    // Where a line begins means something in YAML.
    let kubeconfig = given(&keys.kubeconfig);
    if cluster.server.is_empty() && !kubeconfig.trim().is_empty() {
        let beside = [
            (&keys.ca_data, !value(&keys.ca_data).is_empty()),
            (&keys.insecure, is_insecure),
        ];
        if let Some((key, _)) = beside.into_iter().find(|(_, is_given)| *is_given) {
            return Err(ClusterError::Beside {
                key: key.clone(),
                kubeconfig: keys.kubeconfig.clone(),
                endpoint: keys.api_endpoint.clone(),
            });
        }
        cluster = current_cluster(kubeconfig)?.unwrap_or_default();
    }
    if cluster.server.is_empty() {
        let (endpoint, kubeconfig) = (keys.api_endpoint.clone(), keys.kubeconfig.clone());
        return Err(ClusterError::NoEndpoint { endpoint, kubeconfig });
    }
    Ok(ClusterInfo {
        server_url: url(&cluster.server)?,
        insecure_skip_tls_verify: cluster.insecure_skip_tls_verify,
        ca_data: authority(&cluster.certificate_authority_data.unwrap_or_default())?,
        tls_server_name: cluster.tls_server_name,
        labels: labels.clone(),
        instance: None,
        gateway: None,
    })
}

/// The cluster of the current context. Without a current context it is the first: kubeadm writes a kubeconfig with one cluster and nothing else, without
/// a name (<https://kubernetes.io/docs/reference/setup-tools/kubeadm/implementation-details/>).
fn current_cluster(kubeconfig: &str) -> Result<Option<Cluster>, ClusterError> {
    let kubeconfig = Kubeconfig::from_text(kubeconfig)?;
    let name = kubeconfig.current_context.as_str();
    let current = kubeconfig.current().map(|context| context.cluster.as_str());
    let current = current.and_then(|name| find(&kubeconfig.clusters, name).cloned());
    // Neither does kubectl take another one.
    if current.is_none() && !name.is_empty() {
        return Err(ClusterError::NoCurrentCluster(shorten(name)));
    }
    let first = || kubeconfig.clusters.first().map(|named| named.item.clone());
    let Some(cluster) = current.or_else(first) else {
        return Ok(None);
    };
    if !cluster.proxy_url.is_empty() {
        return Err(ClusterError::Proxy);
    }
    // As kubectl does: the file counts where there is no data.
    if cluster.certificate_authority_data.is_empty() && !cluster.certificate_authority.is_empty() {
        return Err(ClusterError::AuthorityFile(cluster.certificate_authority));
    }
    let name = &cluster.tls_server_name;
    if !(name.is_empty() || is_host_name(name) || name.parse::<IpAddr>().is_ok()) {
        return Err(ClusterError::ServerName(shorten(name)));
    }
    let authority = String::from_utf8_lossy(&cluster.certificate_authority_data);
    Ok(Some(Cluster {
        server: cluster.server,
        certificate_authority_data: Some(authority.into_owned()),
        insecure_skip_tls_verify: cluster.insecure_skip_tls_verify,
        tls_server_name: Some(cluster.tls_server_name).filter(|name| !name.is_empty()),
    }))
}

/// The URL, if clients can send a token there.
fn url(text: &str) -> Result<String, ClusterError> {
    match ApiServerUrl::parse(text) {
        Ok(url) => Ok(url.to_string()),
        Err(why) => Err(ClusterError::BadUrl {
            redacted: ApiServerUrl::redacted(text),
            why,
        }),
    }
}

/// The certificate authority as PEM in base64; empty stays empty.
fn authority(text: &str) -> Result<String, ClusterError> {
    if text.trim().is_empty() {
        return Ok(String::new());
    }
    Ok(CaBundle::parse(text)?.to_base64())
}

/// `info` as an entry of a kubeconfig.
#[must_use]
pub fn entry(info: ClusterInfo) -> Cluster {
    Cluster {
        server: info.server_url,
        // kubectl refuses an authority beside a server that is not to be verified.
        certificate_authority_data: Some(info.ca_data).filter(|ca| !ca.is_empty() && !info.insecure_skip_tls_verify),
        insecure_skip_tls_verify: info.insecure_skip_tls_verify,
        tls_server_name: info.tls_server_name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PEM: &str = include_str!("../../tka-core/src/testdata/ca.pem");

    fn base64(text: &str) -> String {
        data_encoding::BASE64.encode(text.as_bytes())
    }

    fn data(pairs: &[(&str, &str)]) -> Result<ClusterInfo, ClusterError> {
        let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        let data = pairs.iter().map(owned);
        from_data(&data.collect(), &config::ConfigMapKeys::default(), &BTreeMap::new())
    }

    /// `cases.md 3`: PEM with comments, and base64 of it; never a private key.
    #[test]
    fn authority_may_be_pem_or_base64() {
        let encoded = base64(PEM);
        let commented = format!("# prod\n{PEM}");
        for text in [PEM, &encoded, &commented, &base64(&commented)] {
            assert_eq!(authority(text).unwrap(), encoded, "{text}");
        }
        assert_eq!(authority(" ").unwrap(), "");
        let key = format!("{PEM}-----BEGIN PRIVATE KEY-----\nTk9ORQ==\n-----END PRIVATE KEY-----\n");
        for bad in ["not base64!", "bm90IGEgY2VydA==", &key, &base64(&key)] {
            let error = authority(bad).unwrap_err();
            assert!(matches!(error, ClusterError::BadCa(_)), "{bad}");
            assert!(!with_causes(&error).contains("Tk9ORQ"), "{error}");
        }
    }

    /// `cases.md 3`
    #[test]
    fn wrong_url_is_refused_without_its_password() {
        let (spaced, twice) = ("https://k 6443", "https://https://k");
        for bad in [spaced, "https://k ", twice, "https://", "http://k"] {
            assert!(matches!(url(bad), Err(ClusterError::BadUrl { .. })), "{bad}");
        }
        let said = with_causes(&url("https://user:hunter2@k").unwrap_err());
        assert!(said.contains("a user name or a password"), "{said}");
        assert!(!said.contains("hunter2"), "{said}");
    }

    #[test]
    fn config_map_of_kubeadm_is_read() {
        let kubeconfig = format!(
            "apiVersion: v1\nclusters:\n- cluster:\n    certificate-authority-data: {}\n    server: https://10.0.0.1:6443\n  name: \"\"\ncontexts: null\ncurrent-context: \"\"\nkind: Config\npreferences: {{}}\nusers: null\n",
            base64(PEM)
        );
        let info = data(&[("kubeconfig", &kubeconfig)]).unwrap();
        assert_eq!(info.server_url, "https://10.0.0.1:6443");
        assert_eq!(info.ca_data, base64(PEM));
    }

    /// cases.md 1
    #[test]
    fn cluster_is_read_as_kubectl_reads_it() {
        let read = |cluster: &str| data(&[("kubeconfig", &format!("clusters: [{cluster}]"))]);
        let nameless = read("{cluster: {server: https://a}}").unwrap();
        assert_eq!((&*nameless.server_url, &nameless.tls_server_name), ("https://a", &None));
        let named = read("{name: ~, cluster: {server: https://10.0.0.1, tls-server-name: k8s.example.com}}").unwrap();
        assert_eq!(entry(named).tls_server_name.as_deref(), Some("k8s.example.com"));
        for name in ["a b", "\"a\\Lb\"", "https://a", "'*.a'"] {
            let wrong = read(&format!("{{cluster: {{server: https://a, tls-server-name: {name}}}}}")).unwrap_err();
            assert!(matches!(wrong, ClusterError::ServerName(_)), "{name}: {wrong}");
        }
        let by_path = read("{cluster: {server: https://a, certificate-authority: /etc/ca.pem}}").unwrap_err();
        assert!(by_path.to_string().contains("in the file /etc/ca.pem"), "{by_path}");
        let both = format!(
            "{{cluster: {{server: https://a, certificate-authority: /x, certificate-authority-data: {}}}}}",
            authority(PEM).unwrap()
        );
        let read_both = read(&both).unwrap();
        assert_eq!(read_both.ca_data, authority(PEM).unwrap(), "kubectl reads no file then");
        let unreadable = with_causes(&read("{name: 1, cluster: {server: https://a}}").unwrap_err());
        assert!(unreadable.contains("line 1: `name` must be a text"), "{unreadable}");
    }

    /// cases.md 1
    #[test]
    fn nothing_in_the_kubeconfig_is_dropped() {
        let of = |kubeconfig: &str| data(&[("kubeconfig", kubeconfig)]);
        let indented = "  apiVersion: v1\n  clusters:\n  - cluster: {server: https://a}\n";
        assert_eq!(of(indented).unwrap().server_url, "https://a");
        let many = |current: &str| {
            format!(
                "clusters: [{{name: a, cluster: {{server: https://a}}}}, {{name: b, cluster: {{server: https://b}}}}]\n\
                 contexts: [{{name: x, context: {{cluster: b}}}}]\ncurrent-context: {current}\n"
            )
        };
        assert_eq!(of(&many("x")).unwrap().server_url, "https://b");
        assert_eq!(of(&many("''")).unwrap().server_url, "https://a");
        let proxied = of("clusters: [{cluster: {server: https://a, proxy-url: http://proxy}}]").unwrap_err();
        assert!(proxied.to_string().contains("proxy-url"), "{proxied}");
        let plain = ("kubeconfig", "clusters: [{cluster: {server: https://a}}]");
        for beside in [("caData", PEM), ("insecure", "true")] {
            let error = data(&[plain, beside]).unwrap_err().to_string();
            assert!(error.contains(beside.0) && error.contains("apiEndpoint"), "{error}");
        }
    }

    /// As kubectl, which takes no other cluster then.
    #[test]
    fn current_context_that_leads_nowhere_is_refused() {
        let of = |context: &str, current: &str| {
            let clusters =
                "clusters: [{name: a, cluster: {server: https://a}}, {name: b, cluster: {server: https://b}}]";
            let contexts = format!("contexts: [{{name: x, context: {context}}}]");
            data(&[(
                "kubeconfig",
                &format!("{clusters}\n{contexts}\ncurrent-context: {current}\n"),
            )])
        };
        assert_eq!(of("{cluster: b}", "x").unwrap().server_url, "https://b");
        assert_eq!(of("{cluster: c}", "~").unwrap().server_url, "https://a");
        for (context, current) in [
            ("{cluster: c}", "x"),
            ("{user: u}", "x"),
            ("{}", "x"),
            ("{cluster: b}", "z"),
        ] {
            let error = of(context, current).unwrap_err();
            let said = format!("the current context \"{current}\" of the ConfigMap's kubeconfig leads to none");
            assert!(error.to_string().contains(&said), "{context} {current}: {error}");
            assert_eq!(error.key(), "clusterInfo.configMapRef");
        }
        let without_clusters = data(&[("kubeconfig", "current-context: x\n")]).unwrap_err();
        assert!(
            matches!(without_clusters, ClusterError::NoCurrentCluster(_)),
            "{without_clusters}"
        );
    }

    /// cases.md 3: as the setting of that name refuses it. A file's last line end is none of it.
    #[test]
    fn address_in_the_config_map_is_as_strict_as_the_setting() {
        assert_eq!(data(&[("apiEndpoint", "https://k\n")]).unwrap().server_url, "https://k");
        for bad in ["https://k ", " https://k", "https://k 6443"] {
            let error = data(&[("apiEndpoint", bad)]).unwrap_err();
            assert!(matches!(error, ClusterError::BadUrl { .. }), "{bad}: {error}");
        }
    }

    #[test]
    fn keys_of_the_config_map_are_read() {
        let info = data(&[("apiEndpoint", "https://k:6443"), ("insecure", "true")]).unwrap();
        assert!(info.insecure_skip_tls_verify);
        assert_eq!(info.ca_data, "");
    }

    #[test]
    fn bad_config_maps_are_errors() {
        let error = |pairs: &[(&str, &str)]| data(pairs).unwrap_err();
        assert!(matches!(error(&[]), ClusterError::NoEndpoint { .. }));
        let url = ("apiEndpoint", "https://k");
        assert!(matches!(
            error(&[("apiEndpoint", "http://k")]),
            ClusterError::BadUrl { .. }
        ));
        assert!(matches!(error(&[url, ("caData", "?")]), ClusterError::BadCa(_)));
        let of_kubeconfig = |text| error(&[("kubeconfig", text)]);
        assert!(matches!(of_kubeconfig(": ["), ClusterError::BadKubeconfig(_)));
        assert!(matches!(of_kubeconfig("clusters: []"), ClusterError::NoEndpoint { .. }));
    }

    proptest! {
        #[test]
        fn any_config_map_is_read_or_an_error(endpoint in ".*", ca in ".*", kubeconfig in ".*") {
            let _ = data(&[("apiEndpoint", &endpoint), ("caData", &ca)]);
            let _ = data(&[("kubeconfig", &kubeconfig)]);
        }
    }
}

#[cfg(test)]
mod fuzz {
    use super::*;

    /// A kubeadm ConfigMap by anybody: what is read of it is an address over TLS.
    #[test]
    fn config_map() {
        bolero::check!().for_each(|bytes: &[u8]| {
            let Ok(text) = std::str::from_utf8(bytes) else { return };
            for key in ["kubeconfig", "apiEndpoint", "caData"] {
                let data = BTreeMap::from([
                    ("apiEndpoint".to_owned(), "https://k".to_owned()),
                    (key.to_owned(), text.to_owned()),
                ]);
                if let Ok(info) = from_data(&data, &config::ConfigMapKeys::default(), &BTreeMap::new()) {
                    assert!(ApiServerUrl::parse(&info.server_url).is_ok(), "{info:?}");
                    let is_whole = info.ca_data.is_empty() || CaBundle::parse(&info.ca_data).is_ok();
                    assert!(is_whole, "{info:?}");
                }
            }
        });
    }
}
