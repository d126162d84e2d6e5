//! `tka doctor`: each thing broken in turn, and what is said of it.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::Command;

use serde_json::{Value, json};

use crate::fake_server::{Answer, FakeServer};
use crate::tailscaled::{Tailscaled, on_tailnet};
use crate::tka::{Outcome, User, login};

/// A user without problems: tailscale, server, API server, programs.
struct Well {
    user: User,
    tailscaled: Tailscaled,
    server: FakeServer,
    api_server: FakeServer,
}

type Script = Vec<(&'static str, Answer)>;

fn rules() -> Value {
    json!({"items": [
        {"name": "daily", "role": "view", "namespaces": [], "period": "8h0m0s", "priority": 0,
         "require_reason": false, "default": true}
    ]})
}

fn with_headers(status: u16, body: &Value, headers: &[&str]) -> Answer {
    let Answer::Http {
        headers: mut all, body, ..
    } = Answer::json(status, body)
    else {
        unreachable!()
    };
    all.extend(headers.iter().map(|line| (*line).to_owned()));
    Answer::Http {
        status,
        headers: all,
        body,
    }
}

fn ours(status: u16, body: &Value) -> Answer {
    let date = jiff::fmt::rfc2822::DateTimePrinter::new()
        .timestamp_to_rfc9110_string(&jiff::Timestamp::now())
        .unwrap();
    with_headers(
        status,
        body,
        &[
            concat!("Server: tka-server/", env!("CARGO_PKG_VERSION")),
            &format!("Date: {date}"),
        ],
    )
}

impl Well {
    fn new() -> Self {
        Self::with(&on_tailnet(), |cluster| {
            vec![("GET /rules", ours(200, &rules())), ("GET /cluster-info", cluster)]
        })
    }

    /// The same, with a tailscaled and a server that answer otherwise.
    fn with(status: &Value, script: impl FnOnce(Answer) -> Script) -> Self {
        let api_server = FakeServer::new(&[("GET /version", Answer::json(401, &json!({})))]);
        let cluster = json!({
            "server_url": format!("http://{}", api_server.address), "insecure_skip_tls_verify": false,
            "ca_data": "", "labels": {}
        });
        let well = Self {
            user: User::new(),
            tailscaled: Tailscaled::new(status),
            server: FakeServer::new(&script(Answer::json(200, &cluster))),
            api_server,
        };
        let bin = well.user.home().join("bin");
        fs::create_dir(&bin).unwrap();
        symlink(env!("CARGO_BIN_EXE_tka"), bin.join("tka")).unwrap();
        well.has_kubectl("v1.35.4");
        well
    }

    fn has_kubectl(&self, version: &str) {
        let path = self.user.home().join("bin/kubectl");
        let answer = json!({"clientVersion": {"gitVersion": version}});
        fs::write(&path, format!("#!/bin/sh\necho '{answer}'\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let program = self.user.home().join("bin/tka");
        let mut command = self.user.command_with(&self.server, &[]);
        let environment: Vec<_> = command
            .get_envs()
            .filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned())))
            .collect();
        command = Command::new(program);
        command.env_clear().envs(environment).current_dir(self.user.home());
        command.arg("doctor").args(arguments);
        command.env("PATH", self.user.home().join("bin"));
        command.env("TKA_TAILSCALE_SOCKET", self.tailscaled.socket());
        command
    }

    fn shown(&self, arguments: &[&str]) -> String {
        self.outcome(self.command(arguments))
    }

    fn outcome(&self, mut command: Command) -> String {
        let outcome = Outcome::from(command.output().unwrap());
        let shown = outcome.shown(&self.server);
        shown
            .replace(env!("CARGO_PKG_VERSION"), "VERSION")
            .replace(&self.api_server.address.port().to_string(), "API-PORT")
            .replace(&self.user.home().display().to_string(), "HOME")
            .replace(&self.tailscaled.socket().display().to_string(), "SOCKET")
            .replace(env!("CARGO_BIN_EXE_tka"), "BIN/tka")
            .replace(
                &std::path::Path::new(env!("CARGO_BIN_EXE_tka"))
                    .parent()
                    .unwrap()
                    .display()
                    .to_string(),
                "BIN",
            )
    }

    /// Names and fixes of what is wrong, and the exit status.
    fn wrong(mut command: Command) -> (i32, Vec<String>) {
        let outcome = Outcome::from(command.args(["-o", "json"]).output().unwrap());
        let found: Value = serde_json::from_str(&outcome.stdout).unwrap();
        let failed = found["checks"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|check| check["result"] == "failed");
        let names = failed.map(|check| {
            assert!(!check["fix"].as_array().unwrap().is_empty(), "{check}");
            check["name"].as_str().unwrap().to_owned()
        });
        let names: Vec<_> = names.collect();
        assert_eq!(found["ok"], Value::Bool(names.is_empty()));
        (outcome.status, names)
    }
}

#[test]
fn nothing_wrong_in_every_form() {
    insta::assert_snapshot!("doctor_human", Well::new().shown(&[]));
    insta::assert_snapshot!("doctor_ascii", Well::new().shown(&["--theme", "ascii"]));
    insta::assert_snapshot!("doctor_json", Well::new().shown(&["-o", "json"]));
    insta::assert_snapshot!("doctor_yaml", Well::new().shown(&["-o", "yaml"]));
    insta::assert_snapshot!("doctor_name", Well::new().shown(&["-o", "name"]));
}

#[test]
fn consequences_are_told_from_causes() {
    let well = Well::with(&json!({"BackendState": "Stopped"}), |_| vec![]);
    insta::assert_snapshot!("doctor_stopped", well.shown(&[]));
    let well = Well::with(&on_tailnet(), |_| {
        vec![(
            "GET /rules",
            ours(403, &json!({"message": "no rule of the tailnet policy reaches you"})),
        )]
    });
    insta::assert_snapshot!("doctor_no_rule", well.shown(&[]));
    let well = Well::with(&on_tailnet(), |_| vec![("GET /rules", Answer::html(200))]);
    insta::assert_snapshot!("doctor_foreign", well.shown(&["--theme", "ascii"]));
}

/// Each thing that only the server's answers show.
#[test]
fn what_the_server_says_is_named() {
    let refused = |status, message: &str| ours(status, &json!({"message": message}));
    let late = with_headers(200, &rules(), &["Date: Thu, 01 Jan 2026 00:00:00 GMT"]);
    let table: Vec<(&str, i32, Script)> = vec![
        ("version", 8, vec![("GET /rules", ours(200, &json!({"other": []})))]),
        (
            "identity",
            1,
            vec![("GET /rules", refused(500, "tailscaled does not know the caller"))],
        ),
        (
            "identity",
            4,
            vec![(
                "GET /rules",
                refused(403, "requests through Tailscale Funnel are refused"),
            )],
        ),
        (
            "identity",
            7,
            vec![("GET /rules", refused(400, "the device x is a tagged node"))],
        ),
        (
            "rule",
            4,
            vec![("GET /rules", refused(403, "no rule of the tailnet policy reaches you"))],
        ),
        ("rule", 7, vec![("GET /rules", refused(400, "the rule is malformed"))]),
        (
            "server",
            1,
            vec![
                ("GET /rules", refused(503, "the answer took too long")),
                ("GET /cluster-info", refused(503, "the answer took too long")),
            ],
        ),
        (
            "api-server",
            1,
            vec![
                ("GET /rules", ours(200, &rules())),
                ("GET /cluster-info", refused(500, "no cluster")),
            ],
        ),
    ];
    for (name, status, script) in table {
        let well = Well::with(&on_tailnet(), |_| script);
        assert_eq!(Well::wrong(well.command(&[])), (status, vec![name.to_owned()]));
    }
    let well = Well::with(&on_tailnet(), |cluster| {
        vec![("GET /rules", late), ("GET /cluster-info", cluster)]
    });
    assert_eq!(Well::wrong(well.command(&[])), (1, vec!["clock".to_owned()]));
}

/// A rule that gives what the cluster has not, or may have.
fn with_role(key: &str, value: &Value) -> Value {
    let mut rules = rules();
    rules["items"][0][key] = value.clone();
    rules
}

#[test]
fn faults_that_are_not_each_others_are_all_named() {
    let missing = with_role("problem", &json!("there is no ClusterRole view"));
    let rules = |rules: &Value, date: &[&str]| ("GET /rules", with_headers(200, rules, date));
    let well = Well::with(&on_tailnet(), |cluster| {
        vec![rules(&missing, &[]), ("GET /cluster-info", cluster)]
    });
    assert_eq!(Well::wrong(well.command(&[])), (7, vec!["role".to_owned()]));
    let well = Well::with(&on_tailnet(), |_| {
        vec![
            rules(&missing, &["Date: Thu, 01 Jan 2026 00:00:00 GMT"]),
            ("GET /cluster-info", ours(500, &json!({"message": "no cluster"}))),
        ]
    });
    fs::remove_file(well.user.home().join("bin/kubectl")).unwrap();
    let all = ["role", "api-server", "clock", "kubectl"].map(str::to_owned);
    assert_eq!(Well::wrong(well.command(&[])), (7, all.to_vec()));
}

#[test]
fn unchecked_role_is_skipped_and_not_ok() {
    let well = Well::with(&on_tailnet(), |cluster| {
        vec![
            ("GET /rules", ours(200, &with_role("unchecked", &json!(true)))),
            ("GET /cluster-info", cluster),
        ]
    });
    let shown = well.shown(&[]);
    assert!(
        shown.contains("– role        the server could not check the roles in the cluster just now"),
        "{shown}"
    );
}

#[test]
fn kubectl_that_hangs_is_not_waited_for() {
    let well = Well::new();
    let path = well.user.home().join("bin/kubectl");
    fs::write(&path, "#!/bin/sh\nexec /bin/sleep 600\n").unwrap();
    assert_eq!(
        Well::wrong(well.command(&["--timeout", "2"])),
        (1, vec!["kubectl".to_owned()])
    );
}

#[test]
fn original_server_is_well_as_far_as_it_goes() {
    for answer in [
        Answer::json(401, &json!({"message": "not signed in"})),
        Answer::json(200, &login()),
    ] {
        let well = Well::with(&on_tailnet(), |cluster| {
            vec![
                ("GET /rules", Answer::html(404)),
                ("GET /login", answer),
                ("GET /cluster-info", cluster),
            ]
        });
        assert_eq!(Well::wrong(well.command(&[])), (0, vec![]));
    }
}

#[test]
fn what_is_on_this_machine_is_named() {
    let names = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
    let well = Well::new();
    fs::remove_file(well.user.home().join("bin/kubectl")).unwrap();
    assert_eq!(Well::wrong(well.command(&[])), (1, names(&["kubectl"])));

    let well = Well::new();
    well.has_kubectl("v1.20.0");
    assert_eq!(Well::wrong(well.command(&[])), (1, names(&["kubectl"])));

    let well = Well::new();
    let mut command = well.command(&[]);
    let elsewhere = well.user.home().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    fs::copy(well.user.home().join("bin/kubectl"), elsewhere.join("kubectl")).unwrap();
    command.env("PATH", &elsewhere);
    assert_eq!(Well::wrong(command), (1, names(&["plugin"])));

    for (text, mode, expected) in [
        ("kind: Secret", 0o600, "kubeconfig"),
        ("", 0o644, "kubeconfig"),
        (EXEC, 0o600, "plugin"),
    ] {
        let well = Well::new();
        well.user.has_kubeconfig(&well.server);
        let path = well.user.kubeconfig(&well.server);
        fs::write(&path, text).unwrap();
        fs::set_permissions(well.user.folder(), fs::Permissions::from_mode(0o700)).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        assert_eq!(Well::wrong(well.command(&[])), (1, names(&[expected])), "{text}");
    }
}

#[test]
fn plugin_is_looked_for_where_kubectl_does() {
    let found = |command: &str| {
        let well = Well::new();
        well.user.has_kubeconfig(&well.server);
        let path = well.user.kubeconfig(&well.server);
        fs::write(&path, EXEC.replace("/gone/tka", command)).unwrap();
        fs::set_permissions(well.user.folder(), fs::Permissions::from_mode(0o700)).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        let program = fs::File::create(well.user.folder().join("here")).unwrap();
        program.set_permissions(fs::Permissions::from_mode(0o700)).unwrap();
        Well::wrong(well.command(&[])).1
    };
    for command in ["tka", "./here", env!("CARGO_BIN_EXE_tka")] {
        assert_eq!(found(command), [""; 0], "{command}");
    }
    for command in ["tka-not-there", "./tka", "/gone/tka"] {
        assert_eq!(found(command), ["plugin"], "{command}");
    }
}

#[test]
fn what_was_merged_into_is_looked_at_too() {
    for (text, expected) in [
        (EXEC, Some("plugin")),
        ("users: {}", Some("kubeconfig")),
        ("kind: Config", None),
    ] {
        let well = Well::new();
        let (folder, config) = (well.user.folder(), well.user.home().join("config"));
        fs::create_dir_all(&folder).unwrap();
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)).unwrap();
        let merged =
            json!({"file": config, "session": "s", "cluster": "c", "user": "u", "context": "x", "previous": null});
        let known = json!({"server": "x", "sessions": [], "merged": [merged]});
        let path = well.user.kubeconfig(&well.server).with_extension("json");
        fs::write(path, known.to_string()).unwrap();
        fs::write(&config, text).unwrap();
        let expected: Vec<_> = expected.iter().map(ToString::to_string).collect();
        assert_eq!(Well::wrong(well.command(&[])).1, expected, "{text}");
    }
}

const EXEC: &str = "
apiVersion: v1
kind: Config
clusters: []
contexts: []
current-context: x
users:
- name: u
  user: {exec: {apiVersion: client.authentication.k8s.io/v1, command: /gone/tka,
    args: [credential, --server, x, --session, s], interactiveMode: IfAvailable, installHint: x}}
";

#[test]
fn proxy_that_leads_nowhere_is_not_the_names_fault() {
    let well = Well::new();
    let mut command = well.command(&["--server", "tka.example.ts.net:8080"]);
    command.env("HTTP_PROXY", "http://127.0.0.1:9");
    assert_eq!(Well::wrong(command), (5, vec!["server".to_owned()]));
}

/// Where tailscaled cannot be asked but the server answers, all else is told.
#[test]
fn tailscaled_that_cannot_be_asked() {
    let well = Well::new();
    let mut command = well.command(&[]);
    command.env("TKA_TAILSCALE_SOCKET", "/nowhere/tailscaled.sock");
    insta::assert_snapshot!("doctor_no_socket", well.outcome(command));
    let mut command = well.command(&["--port", "9"]);
    command.env("TKA_TAILSCALE_SOCKET", "/nowhere/tailscaled.sock");
    assert_eq!(Well::wrong(command), (5, vec!["tailscale".to_owned()]));
}
