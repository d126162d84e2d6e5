//! Names of contexts, clusters and users: those of the server, apart from other rules and servers.

use std::net::IpAddr;

use tka_api::kubeconfig::EntryNames;

use crate::net::server::{HTTPS_PORT, Server};

/// Adds the suffix of a rule to the context and its user.
pub(crate) fn for_rule(names: EntryNames, choice: &str) -> EntryNames {
    EntryNames {
        user: format!("{}{choice}", names.user),
        context: format!("{}{choice}", names.context),
        ..names
    }
}

/// The names with a cluster that no context of the other way has. The gateway's address may be that of one rule, so its cluster is named like
/// the context. API servers are shared by the server's contexts, under the name that the server `sent`.
pub(crate) fn for_way(names: EntryNames, through_gateway: bool, sent: &str) -> EntryNames {
    let was_gateway = names.cluster == names.context;
    let cluster = match (through_gateway, was_gateway) {
        (true, _) => names.context.clone(),
        (false, true) => {
            let qualifier = names.context.rfind('@').map(|at| &names.context[at..]);
            format!("{sent}{}", qualifier.unwrap_or_default())
        }
        (false, false) => names.cluster,
    };
    EntryNames { cluster, ..names }
}

/// The first free variant: `names` alone, or with the server's name.
///
/// Servers use the same names unless configured otherwise. kubectl knows one entry of each name: that of the first file.
pub(crate) fn first_free(
    names: &EntryNames,
    server: &Server,
    is_preferred: impl Fn(&EntryNames) -> bool,
    is_free: impl Fn(&EntryNames) -> bool,
) -> Option<EntryNames> {
    let qualifiers = qualifiers(server).into_iter();
    let qualified = qualifiers.map(|qualifier| qualified(names, &qualifier));
    let candidates: Vec<_> = [names.clone()].into_iter().chain(qualified).collect();
    let preferred = candidates.iter().find(|names| is_preferred(names) && is_free(names));
    let chosen = preferred.or_else(|| candidates.iter().find(|names| is_free(names)));
    chosen.cloned()
}

fn qualified(names: &EntryNames, qualifier: &str) -> EntryNames {
    let at = |name: &str| format!("{name}@{qualifier}");
    EntryNames::new(at(&names.cluster), at(&names.user), at(&names.context))
}

/// The server's name: short, in full, and where that is not all of its address, that.
fn qualifiers(server: &Server) -> Vec<String> {
    let host = server.host();
    let short = match host.parse::<IpAddr>() {
        Ok(_) => host,
        Err(_) => host.split('.').next().unwrap_or(host),
    };
    let whole = match server.port() {
        HTTPS_PORT => host.to_owned(),
        port => format!("{host}:{port}"),
    };
    let address = server.has_more_than_host_and_port().then(|| server.to_string());
    [short.to_owned(), whole].into_iter().chain(address).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> EntryNames {
        EntryNames::new("c", "u", "x")
    }

    fn chosen(server: &str, preferred: &str, taken: &[&str]) -> Option<String> {
        let server = Server::new(server, HTTPS_PORT, None).unwrap();
        let is_free = |names: &EntryNames| {
            let all = [&names.cluster, &names.user, &names.context];
            !taken.iter().any(|taken| all.iter().any(|name| name == taken))
        };
        let chosen = first_free(&names(), &server, |names| names.cluster == preferred, is_free)?;
        Some(format!("{} {} {}", chosen.cluster, chosen.user, chosen.context))
    }

    #[test]
    fn rules_share_the_cluster() {
        let expected = EntryNames::new("c", "u-oncall", "x-oncall");
        assert_eq!(for_rule(names(), "-oncall"), expected);
    }

    #[test]
    fn ways_have_clusters_of_their_own() {
        let through = EntryNames::new("x@prod", "u@prod", "x@prod");
        let direct = EntryNames::new("c@prod", "u@prod", "x@prod");
        assert_eq!(for_way(direct.clone(), true, "c"), through);
        assert_eq!(for_way(through.clone(), true, "c"), through);
        assert_eq!(for_way(through, false, "c"), direct);
        assert_eq!(for_way(direct.clone(), false, "other"), direct);
        let plain = for_way(names(), true, "c");
        assert_eq!(plain, EntryNames::new("x", "u", "x"));
        assert_eq!(for_way(plain, false, "c"), names());
    }

    #[test]
    fn servers_are_told_apart_by_as_little_as_does() {
        let chosen = |server: &str, taken: &[&str]| chosen(server, "", taken).unwrap_or_default();
        assert_eq!(chosen("prod.example.ts.net", &[]), "c u x");
        let second = ["c", "u@prod"];
        for (server, taken, name) in [
            ("prod.example.ts.net", &["c"][..], "prod"),
            ("prod.example.ts.net", &["u"], "prod"),
            ("prod.example.ts.net", &["x"], "prod"),
            ("prod.example.ts.net", &second, "prod.example.ts.net"),
            ("prod:8080", &second, "prod:8080"),
            ("100.64.0.1", &["c"], "100.64.0.1"),
            ("http://prod:8080/a", &["c"], "prod"),
            (
                "http://prod:8080/a",
                &["c", "c@prod", "c@prod:8080"],
                "http://prod:8080/a",
            ),
        ] {
            let expected = format!("c@{name} u@{name} x@{name}");
            assert_eq!(chosen(server, taken), expected, "{server} {taken:?}");
        }
        assert_eq!(chosen("prod", &["c", "u@prod:443", "x@prod"]), "");
    }

    #[test]
    fn what_a_server_is_called_stays() {
        assert_eq!(chosen("prod", "c@prod", &[]).as_deref(), Some("c@prod u@prod x@prod"));
        assert_eq!(chosen("prod", "c@prod", &["x@prod"]).as_deref(), Some("c u x"));
    }
}
