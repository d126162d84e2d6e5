//! Renders the sessions of this device.

use jiff::Timestamp;
use serde::Serialize;
use tka_api::http::RequestedAccess;

use crate::terminal::messages::clean;
use crate::terminal::output::{RenderOptions, Report};
use crate::terminal::table::table;
use crate::terminal::time_format;

/// The sessions of this device.
#[derive(Debug, Serialize)]
pub(crate) struct Status {
    pub(crate) items: Vec<StatusItem>,
}

/// One session.
#[derive(Debug, Serialize)]
pub(crate) struct StatusItem {
    pub(crate) server: String,
    /// Its name. None at the original's server.
    pub(crate) session: Option<String>,
    pub(crate) username: String,
    pub(crate) role: String,
    pub(crate) until: Timestamp,
    /// Its context, if this device wrote one.
    pub(crate) context: Option<String>,
    /// By which way its context leads to the cluster: `gateway` or `direct`. None without a context, unless it is an elevation.
    pub(crate) via: Option<RequestedAccess>,
    /// Whether it elevates this device: it acts for what uses the gateway without naming a rule.
    pub(crate) elevation: bool,
    /// Whether kubectl uses it.
    pub(crate) current: bool,
    /// Whether the server has just confirmed it.
    pub(crate) confirmed: bool,
}

// === impl Status ===

impl Report for Status {
    fn human(&self, options: &RenderOptions<'_>) -> String {
        if self.items.is_empty() {
            return String::new();
        }
        let heading = ["", "USER", "ROLE", "SERVER", "CONTEXT", "UNTIL", "NOTES"];
        let rows: Vec<_> = self.items.iter().map(|item| row(item, options)).collect();
        table(heading, &rows, options)
    }

    /// Names of sessions, or their servers.
    fn names(&self) -> Vec<String> {
        let name = |item: &StatusItem| clean(item.session.as_ref().unwrap_or(&item.server));
        self.items.iter().map(name).collect()
    }
}

fn row(item: &StatusItem, options: &RenderOptions<'_>) -> [String; 7] {
    let via = if item.elevation {
        Some("elevation: every program here that uses the gateway without naming a rule")
    } else {
        (item.via == Some(RequestedAccess::Gateway)).then_some("through the gateway")
    };
    let cached = (!item.confirmed).then_some("from the cache: the server did not answer");
    let notes: Vec<_> = via.into_iter().chain(cached).collect();
    [
        if item.current { "*" } else { "" }.to_owned(),
        clean(&item.username),
        clean(&item.role),
        clean(&item.server),
        item.context.as_deref().map(clean).unwrap_or_default(),
        time_format::until(item.until, options.clock.now, &options.clock.zone),
        notes.join("; "),
    ]
}

/// An elevation in a prompt: `^cluster-admin@tka 14m`.
pub(crate) fn elevated_prompt(role: &str, host: &str, until: Timestamp, now: Timestamp) -> String {
    format!("^{}", prompt(role, host, until, now))
}

/// A session in a prompt: `view@tka 14m`.
pub(crate) fn prompt(role: &str, host: &str, until: Timestamp, now: Timestamp) -> String {
    let is_name = host.parse::<std::net::IpAddr>().is_err();
    let short = host.split('.').next().filter(|_| is_name).unwrap_or(host);
    format!(
        "{}@{} {}",
        clean(role),
        clean(short),
        time_format::remaining(until, now)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prompts_are_short() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let line = |host| prompt("view", host, at(899), at(0));
        assert_eq!(line("tka.example.ts.net"), "view@tka 14m");
        assert_eq!(line("100.64.0.1"), "view@100.64.0.1 14m");
        let elevated = elevated_prompt("cluster-admin", "tka.example.ts.net", at(899), at(0));
        assert_eq!(elevated, "^cluster-admin@tka 14m");
    }
}
