//! Whether the cluster answers through the gateway.

use tka_api::http::{ClusterInfo, GatewayInfo};

use super::check::{Finding, Verdict};
use super::network::summary;
use crate::api::client::gateway::GatewayAnswer;
use crate::api::client::{Client, ClientError};
use crate::context::CommandContext;
use crate::error::Error;
use crate::exit::Exit;
use crate::kubeconfig::gateway_address::GatewayAddress;

/// Asks the cluster through the gateway of `client`'s server, as kubectl would.
pub(super) fn gateway(ctx: &CommandContext, client: &Client, info: &Result<ClusterInfo, ClientError>) -> Finding {
    let Ok(info) = info else {
        return Finding::skipped("the server did not say whether it has a gateway");
    };
    let Some(gateway) = &info.gateway else {
        return Finding::skipped("this server has no gateway");
    };
    let Some(address) = GatewayAddress::parse(&gateway.url) else {
        let fix = "tell the server's administrator: a TKA server does not send this".to_owned();
        return Finding::failed(Exit::Failure, "the gateway's address cannot be used", vec![fix]);
    };
    let address = address.via_server(client.server());
    let answer = if address.server() == client.server() {
        client.cluster_version().map_err(Error::from)
    } else {
        // Named otherwise than the user does, which DNS may not know here.
        let other = ctx.client_for(address.server(), ctx.config.timeout);
        other.and_then(|other| Ok(other.cluster_version()?))
    };
    found(&address, gateway, answer)
}

fn found(address: &GatewayAddress, gateway: &GatewayInfo, answer: Result<GatewayAnswer, Error>) -> Finding {
    let usual = if gateway.default { ", the usual way" } else { "" };
    match answer {
        Ok(GatewayAnswer::Version(version)) => {
            let version = crate::terminal::messages::clean(&version);
            Finding::ok(format!("Kubernetes {version} answers through {address}{usual}"))
        }
        Ok(GatewayAnswer::NotSignedIn) => Finding::ok(format!(
            "the gateway {address} answers{usual}; the cluster is asked once you are signed in"
        )),
        Ok(GatewayAnswer::CredentialRefused) => {
            let fix = "tell the administrator: the cluster does not take the credential of your session; the clocks of \
                       both may differ, or the server uses another cluster's accounts";
            let found = format!("the API server behind the gateway {address} answers Unauthorized");
            Finding::failed(Exit::Failure, found, vec![fix.into()])
        }
        Err(Error::Client(error)) if error.exit() == Exit::Refused => Finding::skipped(format!(
            "the rule of the highest priority is not for it: {}",
            summary(&error)
        )),
        Err(Error::Client(error)) => {
            let mut fix = error.advice();
            fix.push("or sign in without the gateway: `tka login --via direct`".into());
            Finding::failed(error.exit(), format!("the gateway {address}: {}", summary(&error)), fix)
        }
        Err(error) => Finding::failed(error.exit(), error.to_string(), error.advice()),
    }
}

/// What an API server means that this device does not reach: nothing is wrong where the usual way does not lead there.
pub(super) fn explained(api_server: Finding, gateway: &Finding, info: &Result<ClusterInfo, ClientError>) -> Finding {
    if api_server.result != Verdict::Failed || gateway.result != Verdict::Ok {
        return api_server;
    }
    let is_default = info
        .as_ref()
        .is_ok_and(|info| info.gateway.as_ref().is_some_and(|gateway| gateway.default));
    if is_default {
        return Finding::skipped("this device does not reach it, and needs not: sessions go through the gateway");
    }
    let mut api_server = api_server;
    api_server
        .fix
        .push("or sign in through the gateway: `tka login --via gateway`".into());
    api_server
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(default: bool) -> GatewayInfo {
        GatewayInfo {
            url: "http://tka.example.ts.net:8080/k8s".into(),
            default,
            elevation: true,
        }
    }

    fn shown(default: bool, answer: GatewayAnswer) -> String {
        let info = info(default);
        let finding = found(&GatewayAddress::parse(&info.url).unwrap(), &info, Ok(answer));
        assert_eq!(finding.result, Verdict::Ok);
        finding.found
    }

    #[test]
    fn answers_say_how_far_they_came() {
        assert_eq!(
            shown(true, GatewayAnswer::Version("v1.35.0".into())),
            "Kubernetes v1.35.0 answers through http://tka.example.ts.net:8080/k8s, the usual way"
        );
        assert_eq!(
            shown(false, GatewayAnswer::NotSignedIn),
            "the gateway http://tka.example.ts.net:8080/k8s answers; the cluster is asked once you are signed in"
        );
    }

    #[test]
    fn private_api_server_is_fine_with_the_gateway() {
        let silent = || Finding::failed(Exit::Unreachable, "no answer", vec![]);
        let cluster = |default| {
            Ok(serde_json::from_value(serde_json::json!({
                "server_url": "https://10.0.0.1:6443", "gateway": info(default)
            }))
            .unwrap())
        };
        let works = Finding::ok("x");
        assert_eq!(explained(silent(), &works, &cluster(true)).result, Verdict::Skipped);
        let other = explained(silent(), &works, &cluster(false));
        assert_eq!((other.result, other.fix.len()), (Verdict::Failed, 1));
        let both = explained(silent(), &silent(), &cluster(true));
        assert_eq!(both.result, Verdict::Failed);
        assert_eq!(explained(Finding::ok("x"), &works, &cluster(true)).result, Verdict::Ok);
    }
}
