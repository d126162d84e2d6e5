//! A kubeconfig that a team can commit: the gateway's address, and nothing personal.

use tka_api::http::UNUSED_TOKEN;
use tka_api::kubeconfig::{Cluster, EntryNames, KeyedKubeconfig, KubeconfigFile, User};
use tka_core::{Namespace, RuleName};

use crate::kubeconfig::gateway_address::GatewayAddress;
use crate::kubeconfig::store::StoreError;
use crate::net::server::Server;

/// What a reader of the file has to know.
const COMMENT: &str =
    "# The cluster's API over the tailnet. There is no credential in this file: the tailnet knows who you are.\n";

/// The kubeconfig as text, for the rule of the highest priority or for `rule`.
pub(crate) fn text(
    gateway: GatewayAddress,
    rule: Option<&RuleName>,
    namespace: Option<&Namespace>,
) -> Result<String, StoreError> {
    let sign_in = match rule {
        Some(rule) => format!("tka login --server {} --rule {rule}", gateway.server()),
        None => format!("tka login --server {}", gateway.server()),
    };
    let yaml = tka_kubeconfig::to_yaml(&file(gateway, rule, namespace))?;
    Ok(format!("{COMMENT}# Sign in first: {sign_in}\n{yaml}"))
}

fn file(gateway: GatewayAddress, rule: Option<&RuleName>, namespace: Option<&Namespace>) -> KubeconfigFile {
    let node = node(gateway.server());
    let name = rule.map_or_else(|| node.clone(), |rule| format!("{node}-{rule}"));
    let address = match rule {
        Some(rule) => gateway.of_rule(rule),
        None => gateway,
    };
    let cluster = Cluster {
        server: address.to_string(),
        ..Cluster::default()
    };
    KeyedKubeconfig::new(EntryNames::new(&*name, &*name, &*name), cluster, user(&address))
        .in_namespace(namespace.map(ToString::to_string))
        .into()
}

/// The user of a kubeconfig for the gateway. Over https kubectl asks for a user name where there is no credential at all.
pub(crate) fn user(address: &GatewayAddress) -> User {
    User {
        token: address.is_https().then(|| UNUSED_TOKEN.to_owned().into()),
        exec: None,
    }
}

/// The name of the node: short, or its address.
fn node(server: &Server) -> String {
    match server.host().parse::<std::net::IpAddr>() {
        Ok(address) => address.to_string(),
        Err(_) => server.host().split('.').next().unwrap_or_default().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(url: &str, rule: Option<&str>) -> String {
        let rule = rule.map(|rule| RuleName::try_from(rule.to_owned()).unwrap());
        super::text(GatewayAddress::parse(url).unwrap(), rule.as_ref(), None).unwrap()
    }

    #[test]
    fn plain_http_has_no_credential_at_all() {
        insta::assert_snapshot!(text("http://tka.example.ts.net:8080/k8s", None));
    }

    #[test]
    fn https_has_a_placeholder_and_the_rule_its_address() {
        insta::assert_snapshot!(text("https://tka.example.ts.net/k8s", Some("oncall")));
    }

    #[test]
    fn kubectl_reads_it() {
        for (url, rule) in [("http://100.64.0.1:8080/k8s", None), ("https://tka.x/k8s", Some("a"))] {
            let text = text(url, rule);
            let read = tka_kubeconfig::Kubeconfig::from_text(&text).unwrap();
            assert!(read.current_user().is_some_and(|user| user.exec.is_none()), "{text}");
            assert!(GatewayAddress::parse(&read.clusters[0].item.server).is_some(), "{text}");
        }
    }
}
