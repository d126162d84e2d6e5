use std::io::Write;

use proptest::prelude::*;

use super::*;
use crate::config::LogFormat;

/// Each key that has an effect, with another value than its default. Some of them do not fit together: [`apart`] reads them.
pub(in crate::config) const EVERY_KEY: &str = "
debug: true
log: {format: text}
audit: {path: /a}
notifications:
  webhooks:
    - {name: a, url: 'https://a', events: [revoked], keyFile: /k}
    - {name: b, urlFile: /u, insecure: true, format: slack, caFile: /c}
otel: {endpoint: 'otel:4317', insecure: false}
tailscale: {port: 80, capName: c/d, socket: /s, maxUnverified: 2h}
server:
  readTimeout: 1s
  readHeaderTimeout: 2s
  writeTimeout: 3s
  idleTimeout: 4s
  allowedHosts: [kube.example.com]
  rateLimit: {requestsPerSecond: 1, burst: 2}
  approvalRateLimit: {requestsPerMinute: 7, burst: 11}
  maxConnections: 3
tls: {certFile: /c, keyFile: /k}
gateway:
  enabled: true
  default: true
  audit: all
  rateLimit: {requestsPerSecond: 5, burst: 6}
  maxRequestsPerSession: 8
  maxRequests: 9
  unreadTimeout: 6s
  recording: {folder: /r, s3: {bucket: b, endpoint: 'https://s', region: r, prefix: p}, stdin: true, maxBytes: 7, maxDuration: 8s, retentionDays: 9,
    recipients: [age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p]}
operator:
  namespace: ns
  clusterName: c
  contextPrefix: x-
  userPrefix: u-
  minPeriod: 2m
  maxCredentialPeriod: 30m
  maxSessionsPerDevice: 4
  maxBindingsPerDevice: 5
  machines: true
api: {retryAfterSeconds: 7}
health: {address: '::', port: 9}
clusterInfo:
  apiEndpoint: https://k
  caData: x
  insecureSkipTLSVerify: true
  labels: {env: dev}
  configMapRef:
    {enabled: true, name: m, namespace: o, keys: {apiEndpoint: a, caData: b, insecure: c, kubeconfig: d}}
";

/// What the original's repository has as its example (<https://github.com/SpechtLabs/tka/blob/main/config.yaml>).
pub(in crate::config) const OF_THE_ORIGINAL: &str = include_str!("../testdata/original.yaml");

/// What a file of that text says, whether it fits together or not.
pub(in crate::config) fn apart(text: &str) -> Config {
    let given = Source::default().given(Some(Path::new("f")), text.as_bytes(), |_| None);
    given.and_then(ParsedSettings::config).unwrap().0
}

fn from(text: &str, environment: &[(&str, &str)], flags: &[(&'static str, &str)]) -> Result<Config, ConfigError> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    let environment: BTreeMap<_, _> = environment.iter().copied().collect();
    let flags = flags.iter().map(|(key, text)| (*key, (*text).to_owned()));
    let source = Source {
        path: Some(file.path().to_owned()),
        home: None,
        flags: flags.map(|(key, text)| Setting { key, text }).collect(),
    };
    let lookup = |name: &str| environment.get(name).map(|text| (*text).to_owned());
    Ok(source.load(lookup)?.config)
}

/// What is wrong with a file of that text, one problem a line, without the file's name.
fn wrong(text: &str) -> Vec<String> {
    let loaded = Source::default().resolve_layers(Some("f".into()), text.into(), |_| None);
    let ConfigError::Wrong(problems) = loaded.unwrap_err() else {
        panic!("not what is wrong")
    };
    let lines = problems.0.iter().map(Problem::to_string);
    lines
        .map(|line| line.strip_prefix("f:").unwrap_or(&line).to_owned())
        .collect()
}

fn why(text: &str, environment: &[(&str, &str)]) -> String {
    from(text, environment, &[]).unwrap_err().to_string()
}

#[test]
fn nothing_given_is_the_defaults() {
    let config = from("", &[], &[]).unwrap();
    assert_eq!(config.tailscale.port, 443);
    assert_eq!(config.tailscale.cap_name, "specht-labs.de/cap/tka");
    assert_eq!(config.operator.namespace, "tka-dev");
    assert_eq!(config.operator.min_period.to_string(), "1m0s");
    assert_eq!(config.api.retry_after_seconds, 1);
    assert_eq!(config.health.port, 8080);
    assert_eq!(config.cluster_info.config_map_ref.name, "cluster-info");
}

#[test]
fn every_key_is_known() {
    let config = apart(EVERY_KEY);
    assert_eq!(config.server.idle_timeout.to_string(), "4s");
    assert_eq!(config.cluster_info.labels["env"], "dev");
    assert_eq!(config.cluster_info.config_map_ref.keys.kubeconfig, "d");
}

#[test]
fn file_of_the_original_is_taken_as_it_is() {
    let config = from(OF_THE_ORIGINAL, &[], &[]).unwrap();
    assert_eq!(config.tailscale.tailnet, "sphinx-map.ts.net");
    assert_eq!(config.server.idle_timeout.to_string(), "2m0s");
    assert_eq!(config.cluster_info.labels["owner"], "specht-labs");
    assert!(!config.debug, "server.debug has no effect there either");
    // Its own `tka config set` writes keys in lower case, and it reads them in any.
    let lower =
        "api:\n  retryafterseconds: 3\nclusterinfo:\n  insecureskiptlsverify: true\ntailscale: {capname: c/d}\n";
    let config = from(lower, &[], &[]).unwrap();
    assert_eq!(config.api.retry_after_seconds, 3);
    assert!(config.cluster_info.insecure_skip_tls_verify);
    assert_eq!(config.tailscale.cap_name, "c/d");
    let labels = from("clusterInfo: {labels: {tier: 1, spot: false, zone: 1.5}}", &[], &[]).unwrap();
    let labels: Vec<_> = labels.cluster_info.labels.into_values().collect();
    assert_eq!(labels, ["false", "1", "1.5"]);
    let output = "output: {theme: dark, long: true, quiet: false, markdownlint-fix: false}";
    assert!(from(output, &[], &[]).is_ok());
}

#[test]
fn environment_is_over_the_file_and_flags_are_over_both() {
    let config = from(
        "tailscale: {port: 1, hostname: file, tailnet: file}\nclusterInfo: {labels: {a: b}}",
        &[
            ("TKA_TAILSCALE_PORT", "2"),
            ("TKA_TAILSCALE_HOSTNAME", "007"),
            ("TKA_LOG_FORMAT", "text"),
            ("TKA_CLUSTERINFO_LABELS", "c=d"),
        ],
        &[("tailscale.port", "3")],
    )
    .unwrap();
    assert_eq!(config.tailscale.port, 3);
    assert_eq!(config.tailscale.hostname, "007");
    assert_eq!(config.tailscale.tailnet, "file");
    assert_eq!(config.log.format, LogFormat::Text);
    let labels: Vec<_> = config.cluster_info.labels.into_keys().collect();
    assert_eq!(labels, ["c"], "instead of those of the file");
}

#[test]
fn every_key_can_come_from_the_environment() {
    let environment = [
        ("TKA_CLUSTERINFO_LABELS", "env=prod, region=eu"),
        ("TKA_CLUSTERINFO_INSECURESKIPTLSVERIFY", "true"),
        ("TKA_CLUSTERINFO_CONFIGMAPREF_KEYS_CADATA", "ca"),
        ("TKA_SERVER_READTIMEOUT", "90s"),
        ("TKA_OPERATOR_CLUSTERNAME", "prod #1"),
        ("TKA_CLUSTERINFO_CADATA", "-----BEGIN\nx"),
        ("TKA_HEALTH_ADDRESS", "::"),
        ("TKA_HEALTH_PORT", ""),
        ("TKA_SERVER_ALLOWEDHOSTS", "a.example, b.example"),
    ];
    let config = from("", &environment, &[]).unwrap();
    assert_eq!(config.cluster_info.labels["region"], "eu");
    assert!(config.cluster_info.insecure_skip_tls_verify);
    assert_eq!(config.cluster_info.config_map_ref.keys.ca_data, "ca");
    assert_eq!(config.server.read_timeout.to_string(), "1m30s");
    assert_eq!(config.operator.cluster_name.as_str(), "prod #1");
    assert_eq!(config.cluster_info.ca_data, "-----BEGIN\nx");
    assert_eq!(config.health.address.to_string(), "::");
    assert_eq!(config.health.port, 8080);
    assert_eq!(config.server.allowed_hosts, ["a.example", "b.example"]);
}

#[test]
fn every_problem_has_line_key_and_nearest_key() {
    let text = "\
tailscale:
  prot: 80
  port: 70000
operator:
  machine: true
  minPeriod: 5 minutes
  maxCredentialPeriod: 1h1s
  clusterName: 7
server: 5
log: {format: jsno}
burst: 1
clusterInfo: {labels: [a], apiEndpoint: {}}
xyzzy: {a: b}
";
    assert_eq!(
        wrong(text),
        [
            "2: tailscale.prot: there is no such key; did you mean tailscale.port?",
            "3: tailscale.port: it takes a whole number from 1 to 65535, and not 70000",
            "5: operator.machine: there is no such key; did you mean operator.machines?",
            "6: operator.minPeriod: \"5 minutes\" is not a duration: write \"5m\"",
            "7: operator.maxCredentialPeriod: 1h0m1s is too long: a credential lives for an hour at the most",
            "8: operator.clusterName: it takes a text, and not 7: put it into quotes",
            "9: server: it takes no value, but settings below it: allowedHosts, debug, host, idleTimeout, \
             maxConnections, readHeaderTimeout, readTimeout, writeTimeout, approvalRateLimit, rateLimit",
            "10: log.format: it takes json or text, and not \"jsno\"",
            "11: burst: there is no such key; did you mean gateway.rateLimit.burst or server.approvalRateLimit.burst or server.rateLimit.burst?",
            "12: clusterInfo.labels: it takes labels, each as `key: value`",
            "12: clusterInfo.apiEndpoint: it takes a text, and not a section",
            "13: xyzzy: there is no such key: docs/configuration.md has them all",
        ]
    );
}

/// An advice that is followed leads to no other mistake.
#[test]
fn number_without_its_unit_is_not_put_into_quotes() {
    let text = "tailscale: {maxUnverified: 60}\nserver: {readTimeout: 1.5}\noperator: {maxCredentialPeriod: true}\n";
    let unit = |number: &str| {
        format!(
            "\"{number}\" is not a duration: write its unit, such as \"{number}m\" for minutes or \"{number}h\" for hours"
        )
    };
    assert_eq!(
        wrong(text),
        [
            format!("1: tailscale.maxUnverified: {}", unit("60")),
            format!("2: server.readTimeout: {}", unit("1.5")),
            "3: operator.maxCredentialPeriod: \"true\" is not a duration: write numbers with units, such as \"30m\", \"8h\" or \"1h30m\", \
             and 24 hours for a day"
                .to_owned(),
        ]
    );
    for key in keys()
        .settings()
        .iter()
        .filter(|key| key.expected().as_deref() == Some("a text"))
    {
        let nest = |inner, part| format!("{{{part}: {inner}}}");
        let of = |value: &str| key.name.rsplit('.').fold(value.to_owned(), nest);
        let advised = |problem: &String| problem.contains("put it into quotes");
        if wrong(&of("60")).iter().any(advised) {
            let quoted = Source::default().resolve_layers(Some("f".into()), of("'60'").into(), |_| None);
            let problems = quoted.err().map(|error| error.to_string()).unwrap_or_default();
            // `tls` wants two keys, and what is about a bucket wants one.
            let wants_another = ["it is missing", "has no meaning without"];
            assert!(
                problems.is_empty() || wants_another.iter().any(|words| problems.contains(words)),
                "{}: {problems}",
                key.name
            );
        }
    }
}

#[test]
fn wrong_values_of_the_environment_and_of_flags_are_named() {
    let environment = [("TKA_TAILSCALE_PORT", "70000"), ("TKA_OPERATOR_MINPERIOD", "soon")];
    let error = from("debug: 2", &environment, &[("health.port", "x")])
        .unwrap_err()
        .to_string();
    for line in [
        "1: debug: it takes true or false, and not 2",
        "TKA_TAILSCALE_PORT in the environment: tailscale.port: it takes a whole number from 1 to 65535, and not 70000",
        "TKA_OPERATOR_MINPERIOD in the environment: operator.minPeriod: \"soon\" is not a duration",
        "the flags: health.port: it takes a whole number from 1 to 65535, and not \"x\"",
    ] {
        assert!(error.contains(line), "{line}: {error}");
    }
    assert!(from("operator: {maxCredentialPeriod: 1h}", &[], &[]).is_ok());
}

#[test]
fn what_is_no_yaml_is_named_with_its_line() {
    assert!(wrong("tailscale: [")[0].contains("it is not YAML"));
    assert!(wrong("debug: true\n  a: b\n")[0].starts_with("2: it is not YAML"));
    assert!(wrong("- 1")[0].contains("it is not YAML"));
    assert!(wrong("- 1")[0].contains("it is a list"));
    assert_eq!(wrong("- 1")[0].matches("YAML").count(), 1);
}

/// `config check` says so of a file that helm or an editor has ended with `---`.
#[test]
fn last_line_of_dashes_is_no_second_document() {
    assert!(from("debug: true\n---\n", &[], &[]).unwrap().debug);
    let two = wrong("debug: true\n---\nlog:\n  format: text\n");
    assert_eq!(
        two,
        ["3: another YAML document begins, and one alone can be the configuration: put all settings into one"]
    );
}

/// A key in two ways of writing is one key: which of them holds would be a guess.
#[test]
fn key_that_is_given_twice_is_refused() {
    let twice = wrong("operator:\n  machines: false\n  Machines: true\n");
    assert_eq!(
        twice,
        ["3: operator.machines: it is given twice, on line 2 before: leave one out"]
    );
    assert_eq!(wrong("tailscale: {port: 1}\ntailscale.port: 2\n").len(), 1);
    assert_eq!(from("tailscale.port: 81", &[], &[]).unwrap().tailscale.port, 81);
}

/// `cases.md 9`
#[test]
fn empty_section_is_the_defaults() {
    let text = "tailscale:\nserver: {rateLimit: }\nclusterInfo:\n  labels:\n  configMapRef: {keys: ~}\noutput:\n";
    let config = from(text, &[("TKA_TAILSCALE_HOSTNAME", "x")], &[]).unwrap();
    assert_eq!((config.tailscale.port, config.tailscale.hostname.as_str()), (443, "x"));
    assert_eq!(config.cluster_info.config_map_ref.keys.ca_data, "caData");
    assert!(why("tailscael:\n", &[]).contains("tailscael"));
}

/// `cases.md 9`
#[test]
fn numbers_and_switches_may_stand_in_quotes() {
    let text = "tailscale: {port: '80'}\ndebug: \"true\"\noperator: {maxSessionsPerDevice: '7', clusterName: '1e3'}";
    let config = from(text, &[("TKA_HEALTH_PORT", "\"81\"")], &[]).unwrap();
    let read = (config.tailscale.port, config.health.port, config.debug);
    assert_eq!(read, (80, 81, true));
    assert_eq!(config.operator.max_sessions_per_device.get(), 7);
    assert_eq!(config.operator.cluster_name.as_str(), "1e3");
    for port in [
        "''", "' 443'", "'443 '", "'+443'", "'0443'", "'0x1bb'", "'4_43'", "'443.0'", "'true'", "'70000'", "443.5",
    ] {
        let why = why(&format!("tailscale: {{port: {port}}}"), &[]);
        assert!(why.contains("tailscale.port"), "{port}: {why}");
    }
    for machines in ["'yes'", "'True'", "'1'", "1", "'on'", "''"] {
        let why = why(&format!("operator: {{machines: {machines}}}"), &[]);
        assert!(why.contains("operator.machines"), "{machines}: {why}");
    }
}

/// YAML takes `0443` for a fraction, and a person does not.
#[test]
fn number_that_begins_with_a_zero_is_refused_with_the_number() {
    for port in ["0443", "'0443'", "443.0", "'00443'"] {
        assert_eq!(
            wrong(&format!("tailscale: {{port: {port}}}")),
            [
                "1: tailscale.port: it takes a whole number from 1 to 65535, without a zero before it and without a fraction: write 443"
            ],
            "{port}"
        );
    }
    let zero = [
        "gateway: {recording: {maxBytes: 0}}",
        "gateway: {recording: {maxBytes: 0.0}}",
    ]
    .map(wrong);
    assert_eq!(
        zero[0],
        ["1: gateway.recording.maxBytes: it takes a whole number from 1, and not 0"]
    );
    assert!(zero[1][0].ends_with("from 1, and not 0.0"), "{zero:?}");
    assert!(wrong("tailscale: {port: 70000.0}")[0].ends_with("and not 70000.0"));
}

/// In our words, and with what to write.
#[test]
fn name_or_address_that_cannot_be_one_is_refused_with_advice() {
    for (text, expected) in [
        (
            r#"operator: {clusterName: "a\Lb"}"#,
            "operator.clusterName: it contains U+2028, and no kubeconfig can have control characters, line ends or byte order marks in a \
             name: write it on one line, such as \"prod\"",
        ),
        (
            r#"operator: {contextPrefix: "a\nb"}"#,
            "operator.contextPrefix: it contains U+000A",
        ),
        (
            r#"operator: {userPrefix: "a\x7fb"}"#,
            "operator.userPrefix: it contains U+007F",
        ),
        (
            "operator: {namespace: A B}",
            "operator.namespace: \"A B\" cannot be the name of a namespace: write small letters",
        ),
        (
            "clusterInfo: {configMapRef: {name: A b}}",
            "clusterInfo.configMapRef.name: \"A b\" cannot be the name of a ConfigMap: write small letters",
        ),
        (
            "clusterInfo: {configMapRef: {keys: {caData: a b}}}",
            "clusterInfo.configMapRef.keys.caData: \"a b\" cannot be the name of a key in a ConfigMap",
        ),
        (
            "tailscale: {capName: 'c/d '}",
            "tailscale.capName: \"c/d \" cannot be the name of a capability: write it as the tailnet policy has it",
        ),
        ("tailscale: {socket: ''}", "tailscale.socket: it is empty"),
        (
            "tailscale: {port: 0}",
            "tailscale.port: it takes a whole number from 1 to 65535, and not 0",
        ),
        (
            "health: {address: localhost}",
            "health.address: \"localhost\" is not an IP address: write \"127.0.0.1\" for this machine alone, or \"0.0.0.0\" for all addresses",
        ),
        (
            "gateway: {recording: {s3: {bucket: 's3://b'}}}",
            "gateway.recording.s3.bucket: \"s3://b\" cannot be the name of a bucket: write its name alone",
        ),
        (
            "gateway: {recording: {s3: {bucket: b, endpoint: 'https://u:hunter2@s'}}}",
            "gateway.recording.s3.endpoint: \"…@s\" is not the URL of a store: write https://",
        ),
        (
            "otel: {endpoint: 'a!b:4317'}",
            "otel.endpoint: \"a!b:4317\" is not HOST:PORT",
        ),
    ] {
        let wrong = wrong(text);
        assert!(
            wrong.len() == 1 && wrong[0].starts_with(&format!("1: {expected}")),
            "{text}: {wrong:?}"
        );
    }
}

/// An entry that no `Host` can be would be taken for one that lets requests in.
#[test]
fn allowed_hosts_are_names_that_a_request_can_have() {
    for (host, expected) in [
        ("https://a/", "is a URL: write its host alone, \"a\""),
        ("https://a:8443/x", "is a URL: write its host alone, \"a\""),
        ("https://u:hunter2@a/", "is a URL: write its host alone"),
        ("a:8443", "has a port, and any port is let in: write \"a\""),
        ("10.0.0.1", "is an address"),
        ("fd00::1", "is an address"),
        ("[fd00::1]", "is an address"),
        ("bücher.example", "is not in ASCII: write it as DNS has it, with xn--"),
        ("*.example.com", "is not the name of a host"),
        ("a b", "is not the name of a host"),
    ] {
        let wrong = wrong(&format!("server: {{allowedHosts: [kube.example.com, '{host}']}}"));
        assert!(
            wrong[0].starts_with("1: server.allowedHosts: \"") && wrong[0].contains(expected),
            "{host}: {wrong:?}"
        );
        assert!(!wrong[0].contains("hunter2"), "{wrong:?}");
    }
    let hosts = |list: &str| {
        from(&format!("server: {{allowedHosts: {list}}}"), &[], &[])
            .unwrap()
            .server
            .allowed_hosts
    };
    assert_eq!(hosts("[Kube.example.com., a_b]"), ["Kube.example.com.", "a_b"]);
    assert_eq!(hosts("[]"), [""; 0]);
}

/// A server that runs keeps its settings when its file turns wrong, and its probe must find it.
#[test]
fn health_is_read_from_a_file_that_is_wrong_elsewhere() {
    let health = |text: &str| {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        let source = Source {
            path: Some(file.path().to_owned()),
            ..Source::default()
        };
        let variable = |name: &str| (name == "TKA_HEALTH_ADDRESS").then(|| "10.0.0.1".to_owned());
        source.health(variable)
    };
    let read = health("health: {port: 81}\nnonsense: 1\ntls: {certFile: /c}\nserver: {maxConnections: 0}\n").unwrap();
    assert_eq!((read.address.to_string().as_str(), read.port), ("10.0.0.1", 81));
    let wrong = health("health: {prot: 81}\nnonsense: 1\n").unwrap_err().to_string();
    assert!(wrong.contains("health.prot") && !wrong.contains("nonsense"), "{wrong}");
}

/// `cases.md 4`: a limit without a value is not no limit.
#[test]
fn setting_without_a_value_is_refused() {
    for key in keys().settings().iter().filter(|key| !key.may_be_empty()) {
        let nest = |inner, part| format!("{{{part}: {inner}}}");
        let text = key.name.rsplit('.').fold("null".to_owned(), nest);
        let wrong = wrong(&text);
        assert!(
            wrong[0].starts_with(&format!("1: {}: it is empty", key.name)),
            "{text}: {wrong:?}"
        );
    }
}

/// `cases.md 4`: an empty list of recipients is not "recordings that all may read".
#[test]
fn recipients_are_named_or_the_key_is_left_out() {
    let file = |value: &str| format!("gateway: {{recording: {{recipients: {value}}}}}");
    for value in ["", "~", "null", "[]", "''", "','", "[~]", "['']", "{}", "false"] {
        let why = why(&file(value), &[]);
        assert!(why.contains("gateway.recording.recipients"), "{value}: {why}");
    }
    for text in ["", " ", ","] {
        let why = why("", &[("TKA_GATEWAY_RECORDING_RECIPIENTS", text)]);
        assert!(why.contains("names no recipient"), "{text:?}: {why}");
    }
    assert!(from("", &[], &[]).unwrap().gateway.recording.recipients.is_empty());
}

/// `cases.md 9`
#[test]
fn file_in_another_encoding_is_refused_with_advice() {
    let utf16 = |text: &str| text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>();
    let said = |bytes: Vec<u8>| {
        let loaded = Source::default().resolve_layers(Some("f".into()), bytes, |_| None);
        loaded.unwrap_err().to_string()
    };
    let (marked, latin1) = (utf16("\u{feff}debug: true"), b"# M\xe4rz\n".to_vec());
    for bytes in [marked, utf16("debug: true")] {
        let error = said(bytes);
        assert!(error.ends_with("f: it is not UTF-8: save it as UTF-8"), "{error}");
    }
    for (bytes, line) in [(latin1.clone(), 1), ([b"debug: true\n\n", &*latin1].concat(), 3)] {
        let error = said(bytes);
        let expected = format!("f:{line}: it is not UTF-8: save it as UTF-8");
        assert!(error.ends_with(&expected), "{error}");
    }
    let nul = said(b"debug: true\n# a\0b\n".to_vec());
    assert!(nul.contains("f:2: it has a NUL byte"), "{nul}");
    assert!(from("\u{feff}debug: true", &[], &[]).unwrap().debug);
}

/// `cases.md 3`: a file that is no YAML may hold a key, which no error shows.
#[test]
fn error_shows_nothing_of_the_file() {
    let text = "clusterInfo:\n  caData: |\n-----BEGIN PRIVATE KEY-----\nTk9ORQ: [\n";
    assert!(!why(text, &[]).contains("Tk9ORQ"), "{}", why(text, &[]));
}

#[test]
fn missing_file_is_an_error_when_it_was_asked_for() {
    let source = Source {
        path: Some("/nowhere/config.yaml".into()),
        ..Source::default()
    };
    let error = source.load(|_| None).unwrap_err();
    assert!(error.to_string().contains("/nowhere/config.yaml"));
}

proptest! {
    #[test]
    fn any_text_is_a_configuration_or_refused(text in ".*", port in ".*") {
        let _ = from(&text, &[("TKA_TAILSCALE_PORT", &port), ("TKA_CLUSTERINFO_LABELS", &port)], &[]);
    }
}
