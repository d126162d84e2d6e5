//! What people read, as text. Nothing here prints, and time comes in as an argument.

pub(crate) mod clusters;
pub(crate) mod doctor;
pub(crate) mod rules;
pub(crate) mod sessions;
pub(crate) mod status;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use tka_api::http::{ClusterInfo, LoginResponse};

use crate::error::Error;
use crate::theme::{Palette, paint};
use crate::when;

/// A point in time and the zone to show times in.
#[derive(Clone, Debug)]
pub(crate) struct Clock {
    pub(crate) now: Timestamp,
    pub(crate) zone: TimeZone,
}

/// Lines of a label and a value each.
type Fields = Vec<(&'static str, String)>;

impl Clock {
    /// The time it is here.
    pub(crate) fn system() -> Self {
        Self {
            now: Timestamp::now(),
            zone: TimeZone::system(),
        }
    }
}

/// A sign-in; `extra` is what `--long` adds.
pub(crate) fn signed_in(login: &LoginResponse, extra: Fields, clock: &Clock, palette: &Palette) -> String {
    let head = done(
        &format!("signed in as {}", paint(palette.strong, clean(&login.username))),
        palette,
    );
    head + &fields([access(login, clock), extra].concat(), palette)
}

/// The session that the server knows.
pub(crate) fn session(
    login: &LoginResponse,
    provisioned: bool,
    extra: Fields,
    clock: &Clock,
    palette: &Palette,
) -> String {
    let user = vec![("user", clean(&login.username))];
    let ready = vec![("provisioned", if provisioned { "yes" } else { "not yet" }.to_owned())];
    fields([user, access(login, clock), ready, extra].concat(), palette)
}

/// How to reach the cluster; `long` shows the certificate authority whole.
pub(crate) fn cluster_info(info: &ClusterInfo, long: bool, palette: &Palette) -> String {
    let verified = match (info.insecure_skip_tls_verify, info.ca_data.is_empty()) {
        (true, _) => paint(palette.warning, "not verified: anyone on the way can read along"),
        (false, true) => "verified with the system's authorities".to_owned(),
        (false, false) => "verified with the cluster's authority".to_owned(),
    };
    let mut lines = vec![("server", clean(&info.server_url)), ("TLS", verified)];
    if !info.ca_data.is_empty() {
        lines.push((
            "CA",
            if long {
                clean(&info.ca_data)
            } else {
                shortened(&clean(&info.ca_data))
            },
        ));
    }
    lines.extend(
        info.labels
            .iter()
            .map(|(name, value)| ("label", format!("{}={}", clean(name), clean(value)))),
    );
    fields(lines, palette)
}

/// Something that went well.
pub(crate) fn done(text: &str, palette: &Palette) -> String {
    format!("{} {text}\n", paint(palette.ok, palette.signs.ok))
}

/// Something to know.
pub(crate) fn note(text: &str, palette: &Palette) -> String {
    format!("{} {text}\n", paint(palette.label, palette.signs.arrow))
}

/// Something that may be a problem.
pub(crate) fn warning(text: &str, palette: &Palette) -> String {
    format!("{} {text}\n", paint(palette.warning, palette.signs.warning))
}

/// What happened, why, and what to do. A cause that says nothing new is left out.
pub(crate) fn error(error: &Error, palette: &Palette) -> String {
    let what = clean(&error.to_string());
    let why = error.why().into_iter().map(|line| ("why", clean(&line)));
    let why = why.filter(|(_, line)| !what.contains(line));
    let advice = error.advice().into_iter().map(|line| ("do", clean(&line)));
    let sign = paint(palette.error, palette.signs.error);
    format!("{sign} {what}\n{}", fields(why.chain(advice).collect(), palette))
}

fn access(login: &LoginResponse, clock: &Clock) -> Fields {
    vec![
        ("role", clean(&login.role)),
        ("until", when::until(login.until, clock.now, &clock.zone)),
    ]
}

/// Aligned lines; a label is not repeated.
fn fields(lines: Fields, palette: &Palette) -> String {
    let width = lines.iter().map(|(label, _)| label.len()).max().unwrap_or(0);
    let mut last = "";
    let mut text = String::new();
    for (label, value) in lines {
        let shown = if label == last { "" } else { label };
        text.push_str("  ");
        text.push_str(&paint(palette.label, format_args!("{shown:width$}")));
        text.push_str("  ");
        text.push_str(&value);
        text.push('\n');
        last = label;
    }
    text
}

/// Without control characters: what a server sends must not steer the terminal.
pub(crate) fn clean(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_whitespace() { ' ' } else { c })
        .filter(|c| !c.is_control())
        .collect()
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
    use crate::args::Global;
    use crate::client::{ClientError, Operation, Trouble};
    use crate::config::Config;
    use crate::server::Server;
    use crate::theme::Theme;
    use std::collections::BTreeMap;
    use tka_api::http::ErrorResponse;

    fn clock() -> Clock {
        Clock {
            now: "2026-01-02T15:04:05Z".parse().unwrap(),
            zone: TimeZone::UTC,
        }
    }

    fn login() -> LoginResponse {
        LoginResponse {
            username: "alice@example.com".into(),
            role: "cluster-admin".into(),
            until: "2026-01-02T15:19:00Z".parse().unwrap(),
        }
    }

    fn plain() -> Palette {
        Theme::Notty.palette()
    }

    #[test]
    fn a_sign_in() {
        insta::assert_snapshot!(signed_in(&login(), vec![], &clock(), &plain()), @"
        ✓ signed in as alice@example.com
          role   cluster-admin
          until  in 14 min (2026-01-02 15:19:00 UTC)
        ");
        let extra = vec![("server", "https://tka.example.ts.net".to_owned())];
        insta::assert_snapshot!(signed_in(&login(), extra, &clock(), &Theme::Ascii.palette()), @"
        ok: signed in as alice@example.com
          role    cluster-admin
          until   in 14 min (2026-01-02 15:19:00 UTC)
          server  https://tka.example.ts.net
        ");
    }

    #[test]
    fn a_session() {
        insta::assert_snapshot!(session(&login(), true, vec![], &clock(), &plain()), @"
        user         alice@example.com
        role         cluster-admin
        until        in 14 min (2026-01-02 15:19:00 UTC)
        provisioned  yes
        ");
        insta::assert_snapshot!(session(&login(), false, vec![], &clock(), &plain()), @"
        user         alice@example.com
        role         cluster-admin
        until        in 14 min (2026-01-02 15:19:00 UTC)
        provisioned  not yet
        ");
    }

    #[test]
    fn a_cluster() {
        let mut info = ClusterInfo {
            server_url: "https://k8s.example.com:6443".into(),
            insecure_skip_tls_verify: false,
            ca_data: "LS0tLS1CRUdJTiBDRVJU".repeat(10),
            labels: BTreeMap::from([("env".into(), "prod".into()), ("region".into(), "eu".into())]),
        };
        insta::assert_snapshot!(cluster_info(&info, false, &plain()), @"
        server  https://k8s.example.com:6443
        TLS     verified with the cluster's authority
        CA      LS0tLS1CRUdJTiBDRVJU… (200 characters of base64, --long shows them)
        label   env=prod
                region=eu
        ");
        info.insecure_skip_tls_verify = true;
        info.ca_data.clear();
        insta::assert_snapshot!(cluster_info(&info, true, &plain()), @"
        server  https://k8s.example.com:6443
        TLS     not verified: anyone on the way can read along
        label   env=prod
                region=eu
        ");
    }

    fn shown(server: &str, operation: Operation, trouble: Trouble) -> String {
        let server = Server::new(server, 443, None).unwrap();
        error(
            &Error::Client(ClientError {
                server: Box::new(server),
                operation,
                trouble: Box::new(trouble),
            }),
            &plain(),
        )
    }

    #[test]
    fn refusals_in_the_servers_words() {
        let account = serde_json::json!({
            "message": "no rule of the tailnet policy reaches you",
            "advice": ["ask for a grant", "ask for a grant"],
            "cause": {"message": "capability\u{1b}[31m specht-labs.de/cap/tka\nis absent", "advice": ["look at the grants"]}
        });
        let trouble = Trouble::Answered {
            status: 403,
            error: serde_json::from_value(account).unwrap(),
        };
        insta::assert_snapshot!(shown("tka.example.ts.net", Operation::SignIn, trouble), @"
        ✗ https://tka.example.ts.net refuses to sign you in
          why  no rule of the tailnet policy reaches you
               capability[31m specht-labs.de/cap/tka is absent
          do   ask for a grant
               look at the grants
        ");
    }

    #[test]
    fn refusals_without_words() {
        for (status, operation) in [
            (400, Operation::SignIn),
            (401, Operation::FetchKubeconfig),
            (403, Operation::SignIn),
            (404, Operation::SignOut),
            (500, Operation::ShowCluster),
        ] {
            let trouble = Trouble::Answered {
                status,
                error: ErrorResponse::default(),
            };
            insta::assert_snapshot!(format!("bare_{status}"), shown("tka", operation, trouble));
        }
    }

    #[test]
    fn troubles_on_the_way() {
        use std::time::Duration;
        let refused = || std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        for (name, trouble) in [
            ("unknown_host", Trouble::UnknownHost),
            ("no_connection", Trouble::NoConnection(refused())),
            ("timed_out", Trouble::TimedOut(Duration::from_secs(30))),
            (
                "no_proxy",
                Trouble::NoProxy {
                    variable: "HTTPS_PROXY",
                    reason: "Connection refused".into(),
                },
            ),
            (
                "proxy_refused",
                Trouble::ProxyRefused {
                    variable: "HTTPS_PROXY",
                    reason: "it answered with HTTP status 500".into(),
                },
            ),
            ("tls", Trouble::Tls("invalid peer certificate: UnknownIssuer".into())),
            (
                "broken",
                Trouble::Broken("the connection ended before the answer did".into()),
            ),
            (
                "foreign",
                Trouble::Foreign {
                    status: 200,
                    content_type: "text/html".into(),
                },
            ),
            (
                "bad_gateway",
                Trouble::Foreign {
                    status: 502,
                    content_type: String::new(),
                },
            ),
            (
                "unusable",
                Trouble::UnusableKubeconfig(crate::kubeconfig::Flaw::NoToken),
            ),
            ("not_provisioned", Trouble::NotProvisioned(Duration::from_millis(1500))),
        ] {
            insta::assert_snapshot!(name, shown("tka", Operation::SignIn, trouble));
        }
    }

    #[test]
    fn a_wrong_configuration() {
        let config = |variables: &dyn Fn(&str) -> Option<String>| Config::load(&Global::default(), None, variables);
        let set = |name: &str| (name == "TKA_TAILSCALE_HOSTNAME").then(|| "a b".to_owned());
        let wrong = config(&set).unwrap().server().unwrap_err();
        insta::assert_snapshot!(error(&wrong.into(), &plain()), @"
        ✗ the server's address cannot be used
          why  `a b` is not a host name or address
          do   give --server a name in your tailnet, a full name, an address or a URL, and --port a port
        ");
    }

    #[test]
    fn colours_do_not_reach_into_the_text() {
        let text = signed_in(&login(), vec![], &clock(), &Theme::TokyoNight.palette());
        assert!(text.contains("\u{1b}[") && text.ends_with("UTC)\n"), "{text:?}");
    }
}
