//! TLS with a server whose certificate is for another name than the one it is called by (`tls-server-name` of a kubeconfig).

use ureq::http::Uri;
use ureq::http::uri::Authority;
use ureq::unversioned::transport::{
    ConnectProxyConnector, ConnectionDetails, Connector, RustlsConnector, SocksConnector, TcpConnector, Transport,
};

/// Speaks TLS with one server by another name, and with all others by their own.
#[derive(Debug)]
struct NamedTls {
    server: Authority,
    name: Uri,
    inner: RustlsConnector,
}

/// What connects to `server`, which shows a certificate for `name`. None if `name` is no name.
pub(super) fn connector(server: Authority, name: &str) -> Option<impl Connector<(), Out: Transport>> {
    let host = if name.contains(':') {
        format!("[{name}]")
    } else {
        name.to_owned()
    };
    let named = NamedTls {
        server,
        name: format!("https://{host}/").parse().ok()?,
        inner: RustlsConnector::default(),
    };
    // As ureq's own, but for the name.
    Some(
        ().chain(SocksConnector::default())
            .chain(ConnectProxyConnector::default())
            .chain(TcpConnector::default())
            .chain(named),
    )
}

// === impl NamedTls ===

impl<In: Transport> Connector<In> for NamedTls {
    type Out = <RustlsConnector as Connector<In>>::Out;

    /// A proxy is connected to on the way, by its own name.
    fn connect(&self, details: &ConnectionDetails, chained: Option<In>) -> Result<Option<Self::Out>, ureq::Error> {
        if details.uri.authority() != Some(&self.server) || !details.needs_tls() {
            return self.inner.connect(details, chained);
        }
        let named = ConnectionDetails {
            uri: &self.name,
            addrs: details.addrs.clone(),
            config: details.config,
            request_level: details.request_level,
            resolver: details.resolver,
            now: details.now,
            timeout: details.timeout,
            current_time: details.current_time.clone(),
            run_connector: details.run_connector.clone(),
            register_shutdown: details.register_shutdown.clone(),
        };
        self.inner.connect(&named, chained)
    }
}
