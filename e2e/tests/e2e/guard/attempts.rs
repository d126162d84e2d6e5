//! Who tries what, and what they try it on.

use std::fs;
use std::path::{Path, PathBuf};

use e2e::user::BOB;
use e2e::{Kind, Outcome, Site, World, rule, wait};
use serde_json::{Value, json};
use testbed::{Output, ServerOptions};

use Who::{Administrator, AsSession, Editor, Elsewhere, Impersonator, Server};

// What the refusals say.
pub(super) const SIGNINS: &str = "TkaSignins are written by TKA's server alone";
pub(super) const ACCOUNTS: &str = "ServiceAccounts of TKA's sessions are written by TKA's server alone";
pub(super) const BINDINGS: &str = "what a TKA session of namespace";
pub(super) const CREDENTIALS: &str = "credentials of TKA's sessions are issued through TKA's server alone";
pub(super) const OTHER_MAPS: &str = "TKA's server has nothing to do with ConfigMaps that are no tombstones";
pub(super) const LEASE: &str = "the Lease tka-server says which of TKA's servers reconciles";
pub(super) const SECRETS: &str = "no Secret holds a token of a TKA session or of TKA's server";
pub(super) const PODS: &str = "no pod runs as a TKA session";
pub(super) const SERVER_TOKEN: &str = "a token of TKA's server is for who may bind the ClusterRole tka:";
pub(super) const SERVER_PODS: &str = "pods that run as TKA's server are for who may bind the ClusterRole tka:";
pub(super) const POD_ACCESS: &str = "ways into the pods of TKA's namespace are for who may bind the ClusterRole tka:";
pub(super) const OTHER_ACCOUNTS: &str = "TKA's server has nothing to do with ServiceAccounts that are not of a session";
pub(super) const OTHER_BINDINGS: &str = "TKA's server has nothing to do with bindings but those of its own sessions";

pub(super) const SESSION_LABEL: &str = "tka.specht-labs.de/session";
pub(super) const NAMESPACE_LABEL: &str = "tka.specht-labs.de/namespace";
/// The name of a session that there is not.
pub(super) const UNUSED: &str = "tka-unused-abcdefghijklmnopqrstuvwxyz234567";

/// Who tries.
#[derive(Clone, Copy, Debug)]
pub(super) enum Who {
    /// `system:masters`: RBAC refuses nothing.
    Administrator,
    /// Has `admin` in the server's namespace, which includes `edit`, and may do everything with TkaSignins there.
    Editor,
    /// The editor, who may impersonate the accounts of the namespace, as the server's.
    Impersonator,
    /// The editor, as the account of Bob's session.
    AsSession,
    /// Has `admin` in another namespace, and may impersonate the accounts of that.
    Elsewhere,
    /// Has the server's own credential.
    Server,
}

/// What else an impersonator says of the impersonated user, as newer versions of kubectl have it.
const EXTRA: &str = "--as-user-extra=";

/// What follows `kubectl`.
#[derive(Clone)]
pub(super) struct Line(Vec<String>);

/// A site with a session of Bob's, and an editor.
pub(super) struct Guarded<'w> {
    pub(super) site: Site<'w>,
    pub(super) folder: PathBuf,
    pub(super) session: String,
}

// === impl Line ===

impl From<&str> for Line {
    fn from(words: &str) -> Self {
        Self(words.split(' ').map(str::to_owned).collect())
    }
}

impl From<String> for Line {
    fn from(words: String) -> Self {
        words.as_str().into()
    }
}

impl Line {
    pub(super) fn and(mut self, words: &str) -> Self {
        self.0.extend(Self::from(words).0);
        self
    }

    /// Without effect, where kubectl has a way to say so.
    pub(super) fn dry(self) -> Self {
        match self.0.as_slice() {
            [create, token, ..] if create == "create" && token == "token" => self,
            [get, ..] if get == "get" => self,
            _ => self.and("--dry-run=server"),
        }
    }
}

// === impl Guarded ===

impl<'w> Guarded<'w> {
    pub(super) fn new(world: &'w World, name: &str) -> Outcome<Self> {
        Self::with(world, ServerOptions::new(name))
    }

    pub(super) fn with(world: &'w World, options: ServerOptions) -> Outcome<Self> {
        let site = world.site_with(options)?;
        Self::of_role(world, site, "view")
    }

    /// The same, where Bob has that role.
    pub(super) fn of_role(world: &'w World, site: Site<'w>, role: &str) -> Outcome<Self> {
        let folder = world.new_folder(site.server.namespace())?;
        site.grant(&[(BOB, rule(role, "1h"))])?;
        site.caller("BOB")?.sign_in()?;
        let path = site.path_of_only(Kind::Signin)?;
        let session = path.rsplit('/').next().unwrap_or_default().to_owned();
        let guarded = Self { site, folder, session };
        guarded.hire_editor()?;
        Ok(guarded)
    }

    pub(super) fn namespace(&self) -> &str {
        self.site.server.namespace()
    }

    /// Gives an account of the namespace `admin` in another.
    pub(super) fn hire_elsewhere(&self, other: &str) -> Outcome {
        let account = format!("{}:elsewhere", self.namespace());
        for line in [
            format!("create namespace {other}"),
            "create serviceaccount elsewhere".to_owned(),
            format!("create rolebinding editors --clusterrole=admin --serviceaccount={account} --namespace={other}"),
        ] {
            self.allows(Administrator, line)?;
        }
        self.write_kubeconfig("elsewhere")
    }

    fn hire_editor(&self) -> Outcome {
        for line in [
            "create serviceaccount editor".to_owned(),
            "create role signins --verb=* --resource=tkasignins.tka.specht-labs.de,tkasignins.tka.specht-labs.de/status".to_owned(),
            format!("create rolebinding signins --role=signins --serviceaccount={}:editor", self.namespace()),
            format!("create rolebinding editors --clusterrole=admin --serviceaccount={}:editor", self.namespace()),
        ] {
            self.allows(Administrator, line)?;
        }
        self.write_kubeconfig("editor")
    }

    /// Writes a kubeconfig of an account in the namespace.
    pub(super) fn write_kubeconfig(&self, account: &str) -> Outcome {
        let World { testbed, tokens, .. } = self.site.world;
        let token = self.allows(Administrator, format!("create token {account}"))?;
        tokens.add(token.trim())?;
        let mut kubeconfig: Value = serde_json::from_slice(&fs::read(testbed.kubeconfig())?)?;
        kubeconfig["users"][0]["user"] = json!({ "token": token.trim() });
        Ok(fs::write(self.folder.join(account), kubeconfig.to_string())?)
    }

    /// What makes kubectl act as the account of Bob's session.
    pub(super) fn as_session(&self) -> String {
        format!("--as=system:serviceaccount:{}:{}", self.namespace(), self.session)
    }

    pub(super) fn kubectl(&self, who: Who, line: impl Into<Line>) -> Outcome<Output> {
        let line = line.into();
        match who {
            Administrator => self.kubectl_with(&self.site.world.testbed.kubeconfig(), line),
            Editor => self.kubectl_with(&self.folder.join("editor"), line),
            Impersonator => {
                let server = format!("--as=system:serviceaccount:{}:tka", self.namespace());
                self.kubectl_with(&self.folder.join("editor"), line.and(&server))
            }
            AsSession => self.kubectl_with(&self.folder.join("editor"), line.and(&self.as_session())),
            Elsewhere => self.kubectl_with(&self.folder.join("elsewhere"), line),
            Server => self.kubectl_with(&self.site.server.kubeconfig(), line),
        }
    }

    pub(super) fn kubectl_with(&self, kubeconfig: &Path, Line(mut words): Line) -> Outcome<Output> {
        if !words.iter().any(|word| word.starts_with("--namespace=")) {
            words.push(format!("--namespace={}", self.namespace()));
        }
        let extra = words.iter().position(|word| word.starts_with(EXTRA));
        let kubeconfig = match extra.map(|at| words.remove(at)) {
            Some(extra) => self.impersonating(kubeconfig, &extra[EXTRA.len()..])?,
            None => kubeconfig.to_owned(),
        };
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        Ok(self.site.world.testbed.kubectl_with(&kubeconfig, &words)?)
    }

    /// A kubeconfig with which its user says `KEY=VALUE` of the impersonated user. Older versions of kubectl have no flag for that.
    fn impersonating(&self, kubeconfig: &Path, extra: &str) -> Outcome<PathBuf> {
        let (key, value) = extra.split_once('=').ok_or("the extra has no value")?;
        let mut document: Value = serde_saphyr::from_str(&fs::read_to_string(kubeconfig)?)?;
        document["users"][0]["user"]["as-user-extra"] = json!({ key: [value] });
        let path = self.folder.join("impersonating");
        fs::write(&path, document.to_string())?;
        Ok(path)
    }

    /// Tries until a policy of this release refuses it and says why.
    pub(super) fn refuses(&self, who: Who, why: &str, line: impl Into<Line>) -> Outcome {
        let line = line.into().dry();
        let policy = format!(".{}.tka.specht-labs.de' denied request: {why}", self.namespace());
        let mut said = String::new();
        let refused = wait::until_true("it is refused", || {
            said = self.kubectl(who, line.clone())?.stderr;
            Ok(said.contains(&policy))
        });
        refused.map_err(|error| format!("{who:?}: {}: {error}: {said}", line.0.join(" ")).into())
    }

    /// The same, for an editor and for an administrator.
    pub(super) fn refuses_both(&self, why: &str, line: impl Into<Line>) -> Outcome {
        let line = line.into();
        self.refuses(Editor, why, line.clone())?;
        self.refuses(Administrator, why, line)
    }

    /// Tries once what RBAC refuses.
    pub(super) fn has_no_right(&self, who: Who, why: &str, line: impl Into<Line>) -> Outcome {
        let output = self.kubectl(who, line)?;
        if !output.status.success() && output.stderr.contains(why) && !output.stderr.contains("denied request") {
            return Ok(());
        }
        Err(format!("{who:?}: {}: {}{}", output.command, output.stdout, output.stderr).into())
    }

    /// Does it, and returns what kubectl printed.
    pub(super) fn allows(&self, who: Who, line: impl Into<Line>) -> Outcome<String> {
        Ok(self.kubectl(who, line)?.success()?)
    }

    pub(super) fn would_allow(&self, who: Who, line: impl Into<Line>) -> Outcome {
        self.allows(who, line.into().dry()).map(drop)
    }

    /// Creating an object.
    pub(super) fn creating(&self, object: &Value) -> Outcome<Line> {
        let (_, path) = tempfile::Builder::new()
            .suffix(".json")
            .tempfile_in(&self.folder)?
            .keep()?;
        fs::write(&path, object.to_string())?;
        Ok(Line(vec![
            "create".to_owned(),
            format!("--filename={}", path.display()),
        ]))
    }

    /// Waits until the policies are in force: what succeeds then does so under them.
    pub(super) fn wait_in_force(&self) -> Outcome {
        let (namespace, session) = (self.namespace(), &self.session);
        self.refuses(Administrator, SIGNINS, format!("annotate signin {session} a=b"))?;
        self.refuses(
            Administrator,
            ACCOUNTS,
            format!("annotate serviceaccount {session} a=b"),
        )?;
        let bind = format!("create rolebinding x --clusterrole=view --serviceaccount={namespace}:{session}");
        self.refuses(Administrator, BINDINGS, bind)?;
        self.refuses(Administrator, CREDENTIALS, format!("create token {session}"))?;
        self.refuses(Administrator, SECRETS, self.creating(&secret(session))?)?;
        self.refuses(Administrator, PODS, self.creating(&pod("serviceAccountName", session))?)?;
        self.refuses(Editor, SERVER_TOKEN, "create token tka")?;
        self.refuses(Editor, SERVER_PODS, self.creating(&pod("serviceAccountName", "tka"))?)?;
        self.refuses(Server, OTHER_ACCOUNTS, "create serviceaccount x")?;
        self.refuses(
            Server,
            OTHER_BINDINGS,
            "create clusterrolebinding x --clusterrole=view --user=x",
        )
    }

    /// A binding of a session that there is not, as the server would make it.
    pub(super) fn binding(&self, role: &str) -> Value {
        let namespace = self.namespace();
        let mut binding = Kind::Binding.object(&format!("{namespace}:{UNUSED}"), &labels(namespace));
        binding["roleRef"]["name"] = role.into();
        binding["subjects"] = json!([{ "kind": "ServiceAccount", "name": UNUSED, "namespace": namespace }]);
        binding
    }
}

/// A binding on which a careless policy spends more than the API server lets it, and then refuses it. Long names rather than
/// many: each release in the cluster looks at them all.
pub(super) fn costly_binding() -> Value {
    let name = |number| format!("system:serviceaccount:{number}:{}", "a".repeat(900));
    let user = |number| json!({ "apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": name(number) });
    let mut binding = Kind::Binding.object("costly", &json!({}));
    binding["subjects"] = (0..1_500).map(user).collect();
    binding
}

/// The labels of a session that there is not.
pub(super) fn labels(namespace: &str) -> Value {
    json!({ "app.kubernetes.io/managed-by": "tka", SESSION_LABEL: UNUSED, NAMESPACE_LABEL: namespace })
}

pub(super) fn secret(account: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/service-account-token",
        "metadata": { "name": "token", "annotations": { "kubernetes.io/service-account.name": account } },
    })
}

pub(super) fn pod(field: &str, account: &str) -> Value {
    json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "pod" }, "spec": pod_spec(field, account) })
}

pub(super) fn pod_spec(field: &str, account: &str) -> Value {
    json!({ field: account, "containers": [{ "name": "main", "image": "example.com/main" }] })
}

pub(super) fn deployment(name: &str, account: &str, replicas: u32) -> Value {
    let labels = json!({ "app": name });
    let template = json!({ "metadata": { "labels": labels }, "spec": pod_spec("serviceAccountName", account) });
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": name },
        "spec": { "replicas": replicas, "selector": { "matchLabels": labels }, "template": template },
    })
}

pub(super) fn cron_job(account: &str) -> Value {
    let mut spec = pod_spec("serviceAccount", account);
    spec["restartPolicy"] = "Never".into();
    json!({
        "apiVersion": "batch/v1", "kind": "CronJob", "metadata": { "name": "job" },
        "spec": { "schedule": "0 0 1 1 *", "jobTemplate": { "spec": { "template": { "spec": spec } } } },
    })
}
