//! Renders how to reach a cluster.

use anstyle::Style;
use tka_api::http::ClusterInfo;

use crate::terminal::messages::{clean, styled_fields};
use crate::terminal::output::{RenderOptions, Report};

// === impl ClusterInfo ===

impl Report for ClusterInfo {
    /// The certificate authority is complete only with `--long`.
    fn human(&self, options: &RenderOptions<'_>) -> String {
        let plain = Style::new();
        let (verified, style) = match (self.insecure_skip_tls_verify, self.ca_data.is_empty()) {
            (true, _) => (
                "not verified: others on the network path can read the traffic",
                options.palette.warning,
            ),
            (false, true) => ("verified with the system's authorities", plain),
            (false, false) => ("verified with the cluster's authority", plain),
        };
        let mut lines = vec![
            ("server", self.server_url.clone(), plain),
            ("TLS", verified.to_owned(), style),
        ];
        if let Some(name) = &self.tls_server_name {
            lines.push(("TLS name", clean(name), plain));
        }
        if !self.ca_data.is_empty() {
            let data = &self.ca_data;
            lines.push(("CA", if options.long { data.clone() } else { shortened(data) }, plain));
        }
        if let Some(gateway) = &self.gateway {
            let default = if gateway.default { ", by default" } else { "" };
            lines.push(("gateway", format!("{}{default}", clean(&gateway.url)), plain));
        }
        let labels = self.labels.iter();
        lines.extend(labels.map(|(name, value)| ("label", format!("{name}={value}"), plain)));
        styled_fields(lines, options)
    }

    /// The API server's URL.
    fn names(&self) -> Vec<String> {
        vec![clean(&self.server_url)]
    }
}

fn shortened(text: &str) -> String {
    let (start, length) = (text.chars().take(20).collect::<String>(), text.chars().count());
    if length <= 40 {
        text.to_owned()
    } else {
        format!("{start}… ({length} characters of base64, --long shows them)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::terminal::messages::tests::options;
    use crate::terminal::theme::Theme;
    use std::collections::BTreeMap;
    use tka_api::http::GatewayInfo;

    #[test]
    fn a_cluster() {
        let mut info = ClusterInfo {
            server_url: "https://k8s.example.com:6443".into(),
            insecure_skip_tls_verify: false,
            ca_data: "LS0tLS1CRUdJTiBDRVJU".repeat(10),
            tls_server_name: Some("k8s.internal".into()),
            labels: BTreeMap::from([("env".into(), "prod".into()), ("region".into(), "eu".into())]),
            instance: None,
            gateway: Some(GatewayInfo {
                url: "http://tka.example.ts.net:8080/k8s".into(),
                default: true,
                elevation: true,
            }),
        };
        let palette = Theme::Notty.palette();
        insta::assert_snapshot!(info.human(&options(&palette)), @"
        server    https://k8s.example.com:6443
        TLS       verified with the cluster's authority
        TLS name  k8s.internal
        CA        LS0tLS1CRUdJTiBDRVJU… (200 characters of base64, --long shows them)
        gateway   http://tka.example.ts.net:8080/k8s, by default
        label     env=prod
                  region=eu
        ");
        info.tls_server_name = None;
        info.gateway = None;
        info.insecure_skip_tls_verify = true;
        info.ca_data.clear();
        insta::assert_snapshot!(info.human(&RenderOptions { long: true, ..options(&palette) }), @"
        server  https://k8s.example.com:6443
        TLS     not verified: others on the network path can read the traffic
        label   env=prod
                region=eu
        ");
    }
}
