//! Renders the caller's session.

use serde::Serialize;
use tka_api::http::LoginResponse;

use crate::terminal::messages::{access, clean, fields};
use crate::terminal::output::{RenderOptions, Report};

/// The caller's session: user, role and end.
#[derive(Debug, Serialize)]
pub(crate) struct SessionReport {
    #[serde(flatten)]
    pub(crate) login: LoginResponse,
    /// Whether its credential can be fetched.
    pub(crate) provisioned: bool,
    pub(crate) server: String,
    /// The kubeconfig for it, if this device has one.
    pub(crate) kubeconfig: Option<String>,
}

// === impl SessionReport ===

impl Report for SessionReport {
    fn human(&self, options: &RenderOptions<'_>) -> String {
        let user = vec![("user", self.login.username.clone())];
        let ready = if self.provisioned { "yes" } else { "not yet" };
        let mut lines = [
            user,
            access(&self.login, &options.clock),
            vec![("provisioned", ready.to_owned())],
        ]
        .concat();
        if options.long {
            lines.push(("server", self.server.clone()));
            lines.extend(self.kubeconfig.iter().map(|path| ("kubeconfig", path.clone())));
        }
        fields(lines, options)
    }

    /// The user's name.
    fn names(&self) -> Vec<String> {
        vec![clean(&self.login.username)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::terminal::messages::tests::{login, options};
    use crate::terminal::theme::Theme;

    #[test]
    fn a_session() {
        let palette = Theme::Notty.palette();
        let shown = |provisioned: bool, long: bool| {
            let report = SessionReport {
                login: login(),
                provisioned,
                server: "https://tka.example.ts.net".into(),
                kubeconfig: Some("/home/alice/.kube/tka/tka.example.ts.net_443.yaml".into()),
            };
            report.human(&RenderOptions {
                long,
                ..options(&palette)
            })
        };
        insta::assert_snapshot!(shown(true, false), @"
        user         alice@example.com
        role         cluster-admin
        until        in 14 min (2026-01-02 15:19:00 UTC)
        provisioned  yes
        ");
        insta::assert_snapshot!(shown(false, true), @"
        user         alice@example.com
        role         cluster-admin
        until        in 14 min (2026-01-02 15:19:00 UTC)
        provisioned  not yet
        server       https://tka.example.ts.net
        kubeconfig   /home/alice/.kube/tka/tka.example.ts.net_443.yaml
        ");
    }
}
