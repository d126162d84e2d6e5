//! The ways to the API server that are compared. All lead one person to the same namespace, with the same role.

use std::cell::Cell;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use http::{Method, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;
use testbed::{Server, Testbed};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::api::Api;
use crate::caller::{Caller, Route};
use crate::ground::{Ground, proxy};
use crate::people::HOST;
use crate::{Outcome, bare};

/// Where everything is that is read.
pub(super) const NAMESPACE: &str = "gateway";
/// Who reads it.
const CALLER: &str = "alice@example.com";
/// The group that the other proxy has callers act as.
const GROUP: &str = "bench-view";
/// The account of the other proxy.
const ACCOUNT: &str = "tailscale-proxy";
/// What the other proxy's node is called.
const HOSTNAME: &str = "proxy";
/// How long a program may take to be there, and a node to be reached.
const LIMIT: Duration = Duration::from_mins(1);

/// A way.
pub(super) struct Way {
    pub(super) name: &'static str,
    /// The process that carries, if it is not the API server itself.
    pub(super) pid: Option<u32>,
    /// Whether it leads to no API server, but to a handler that asks who calls and no more.
    pub(super) is_bare: bool,
    route: Route,
    authority: String,
    prefix: &'static str,
    token: Option<String>,
}

/// All ways, and what must live as long as they are used.
pub(super) struct Ways {
    pub(super) all: Vec<Way>,
    /// The administrator's client.
    pub(super) admin: Api,
    _server: Server,
    _programs: [Child; 2],
    _files: TempDir,
}

// === impl Way ===

impl Way {
    /// A client that goes this way.
    pub(super) fn caller(&self) -> Client {
        Client {
            caller: Caller::new(self.route.clone(), &self.authority),
            prefix: self.prefix,
            token: self.token.clone(),
        }
    }
}

/// A client of the Kubernetes API.
pub(super) struct Client {
    pub(super) caller: Caller,
    prefix: &'static str,
    token: Option<String>,
}

// === impl Client ===

impl Client {
    /// Reads `path` as a whole; an error unless that succeeds. Returns how long it took and how many bytes there were.
    pub(super) async fn get(&mut self, path: &str) -> Outcome<(Duration, usize)> {
        let path = format!("{}{path}", self.prefix);
        let token = self.token.as_deref();
        let headers: Vec<_> = token.map(|token| ("authorization", token)).into_iter().collect();
        let answer = self.caller.send(Method::GET, &path, &headers, "").await?;
        if answer.status == StatusCode::OK {
            return Ok((answer.time, answer.body.len()));
        }
        let said = String::from_utf8_lossy(&answer.body);
        Err(format!("GET {path} was answered {}: {said}", answer.status).into())
    }

    /// Begins to read `path`.
    pub(super) async fn watch(&mut self, path: &str) -> Outcome<hyper::body::Incoming> {
        let path = format!("{}{path}", self.prefix);
        let token = self.token.as_deref();
        let headers: Vec<_> = token.map(|token| ("authorization", token)).into_iter().collect();
        let answer = self.caller.begin(Method::GET, &path, &headers, "").await?;
        if answer.status() == StatusCode::OK {
            return Ok(answer.into_body());
        }
        Err(format!("GET {path} was answered {}", answer.status()).into())
    }
}

// === impl Ways ===

impl Ways {
    /// Opens them: a server and its session, and the programs of the others.
    pub(super) async fn open(ground: &Ground) -> Outcome<Self> {
        let testbed = &ground.testbed;
        let program = testbed::peer("tailscale-proxy")?;
        let files = tempfile::tempdir()?;
        let server = ground.server(NAMESPACE, &testbed::with_gateway())?;
        let grants = json!([{ "src": [CALLER], "rules": [{ "role": "view", "period": "8h" }] }]);
        testbed.set_grants(server.capability(), grants)?;
        let tailnet = Route::Through(proxy(&testbed.node("ALICE")?)?);
        let address: SocketAddr = testbed.api_server().trim_start_matches("https://").parse()?;
        let gateway = Way {
            name: "TKA's gateway",
            pid: server.pid()?,
            is_bare: false,
            route: tailnet.clone(),
            authority: format!("{HOST}:{}", server.port()),
            prefix: "/k8s",
            token: None,
        };
        let direct = Way {
            name: "direct",
            pid: None,
            is_bare: false,
            route: Route::secured(address, &testbed.ca_file())?,
            authority: address.to_string(),
            prefix: "",
            token: Some(format!("Bearer {}", sign_in(&gateway).await?)),
        };
        let kubectl_proxy = kubectl_proxy(testbed, &direct, files.path()).await?;
        let other = other_proxy(testbed, &program, files.path())?;
        let (kubectl, kubectl_at) = kubectl_proxy;
        let through_kubectl = Way {
            name: "kubectl proxy",
            pid: kubectl.id(),
            is_bare: false,
            route: Route::To(kubectl_at),
            authority: kubectl_at.to_string(),
            prefix: "",
            token: None,
        };
        let through_other = Way {
            name: "proxy in the shape of Tailscale's",
            pid: other.id(),
            is_bare: false,
            route: tailnet.clone(),
            authority: format!("{HOSTNAME}.tailnet.test:80"),
            prefix: "",
            token: None,
        };
        let beside = bare::start(testbed.node("TKA")?.socket()).await?;
        let bare = Way {
            name: "the tailnet alone: a bare answer",
            pid: None,
            is_bare: true,
            route: tailnet,
            authority: format!("{HOST}:{}", beside.port()),
            prefix: "",
            token: None,
        };
        let ways = Self {
            // Last, because it is no way to the API server.
            all: vec![direct, through_kubectl, through_other, gateway, bare],
            admin: ground.admin().await?,
            _server: server,
            _programs: [kubectl, other],
            _files: files,
        };
        for way in ways.all.iter().filter(|way| !way.is_bare) {
            reachable(way).await?;
        }
        Ok(ways)
    }
}

/// Signs in over the tailnet, and returns the session's token.
async fn sign_in(gateway: &Way) -> Outcome<String> {
    let mut caller = gateway.caller().caller;
    let answer = caller
        .send(Method::POST, "/api/v1alpha1/login", &[("prefer", "wait=10")], "")
        .await?;
    let body: Value = serde_json::from_slice(&answer.body)?;
    let token = body["credential"]["status"]["token"].as_str();
    Ok(token
        .ok_or_else(|| format!("the sign-in gave no token: {}", answer.status))?
        .to_owned())
}

/// Starts `kubectl proxy` with the same token, and returns where it listens.
async fn kubectl_proxy(testbed: &Testbed, direct: &Way, folder: &Path) -> Outcome<(Child, SocketAddr)> {
    let token = direct.token.as_deref().and_then(|token| token.strip_prefix("Bearer "));
    let kubeconfig = folder.join("kubeconfig");
    let content = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "clusters": [{ "name": "c", "cluster": { "server": testbed.api_server(), "certificate-authority": testbed.ca_file() } }],
        "users": [{ "name": "u", "user": { "token": token } }],
        "contexts": [{ "name": "c", "context": { "cluster": "c", "user": "u" } }],
    });
    fs::write(&kubeconfig, content.to_string())?;
    let mut command = Command::new(testbed.bin().join("kubectl"));
    command
        .env_clear()
        .env("HOME", folder)
        .env("KUBECONFIG", &kubeconfig)
        .args(["proxy", "--port=0"]);
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let out = child.stdout.take().ok_or("kubectl proxy has no output")?;
    let line = tokio::time::timeout(LIMIT, BufReader::new(out).lines().next_line()).await??;
    let line = line.ok_or("kubectl proxy ended")?;
    let address = line.rsplit(' ').next().unwrap_or_default().parse();
    Ok((
        child,
        address.map_err(|_| format!("kubectl proxy does not say where it listens: {line}"))?,
    ))
}

/// Starts the proxy in the shape of Tailscale's, on a node of its own. Its account may impersonate, as that of Tailscale's operator may.
fn other_proxy(testbed: &Testbed, program: &Path, folder: &Path) -> Outcome<Child> {
    testbed.apply(&rights().to_string())?;
    let namespace = format!("--namespace={NAMESPACE}");
    let token = testbed.kubectl(&["create", "token", ACCOUNT, &namespace, "--duration=8h"])?;
    let (token_file, key_file, state) = (folder.join("token"), folder.join("key"), folder.join("state"));
    fs::write(&token_file, token)?;
    fs::write(&key_file, testbed.auth_key("tag:ci")?)?;
    fs::create_dir(&state)?;
    let mut command = Command::new(program);
    command
        .env_clear()
        .env("HOME", folder)
        .env("SSL_CERT_FILE", testbed.control_ca_file())
        .env("TS_LOGS_DIR", folder)
        .env("TS_NO_LOGS_NO_SUPPORT", "true")
        .env("TS_DISABLE_PORTMAPPER", "1")
        .env("TS_ASSUME_NETWORK_UP_FOR_TEST", "1");
    command.arg(format!("--hostname={HOSTNAME}"));
    command.arg(format!("--control-url={}", testbed.control_url()));
    command.arg(format!("--api-server={}", testbed.api_server()));
    command.arg(format!("--group={GROUP}"));
    let files = [
        ("state-dir", &state),
        ("auth-key-file", &key_file),
        ("token-file", &token_file),
        ("ca-file", &testbed.ca_file()),
    ];
    for (flag, file) in files {
        command.arg(format!("--{flag}={}", file.display()));
    }
    let log = fs::File::create(testbed.logs().join("tailscale-proxy.log"))?;
    Ok(command
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .kill_on_drop(true)
        .spawn()?)
}

/// What the other proxy may do, and the group.
fn rights() -> Value {
    let role_ref = |name: &str| json!({ "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name });
    let rbac = "rbac.authorization.k8s.io/v1";
    json!({ "apiVersion": "v1", "kind": "List", "items": [
        { "apiVersion": "v1", "kind": "ServiceAccount", "metadata": { "name": ACCOUNT, "namespace": NAMESPACE } },
        {
            "apiVersion": rbac, "kind": "ClusterRole", "metadata": { "name": ACCOUNT },
            "rules": [{ "apiGroups": [""], "resources": ["users", "groups"], "verbs": ["impersonate"] }],
        },
        {
            "apiVersion": rbac, "kind": "ClusterRoleBinding", "metadata": { "name": ACCOUNT }, "roleRef": role_ref(ACCOUNT),
            "subjects": [{ "kind": "ServiceAccount", "name": ACCOUNT, "namespace": NAMESPACE }],
        },
        {
            "apiVersion": rbac, "kind": "ClusterRoleBinding", "metadata": { "name": GROUP }, "roleRef": role_ref("view"),
            "subjects": [{ "apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": GROUP }],
        },
    ]})
}

/// Waits until a way leads there.
async fn reachable(way: &Way) -> Outcome {
    let last = Cell::new(String::new());
    let look = async {
        loop {
            let mut client = way.caller();
            match client
                .get(&format!("/api/v1/namespaces/{NAMESPACE}/configmaps?limit=1"))
                .await
            {
                Ok(_) => return,
                Err(error) => last.set(error.to_string()),
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    };
    let waited = tokio::time::timeout(LIMIT, look).await;
    Ok(waited.map_err(|_| format!("{} leads nowhere: {}", way.name, last.take()))?)
}
