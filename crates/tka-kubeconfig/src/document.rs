//! A kubeconfig that may be anybody's: what it says of clusters, users and contexts, and a way to change these few lines of it and
//! leave every other as it is written.
//!
//! It is never written anew from values. kubectl's YAML differs from ours in what a bare `yes`, `0123` or `1e3` is, and people keep
//! comments, anchors and fields in their kubeconfigs that we know nothing of. So the text is changed where that is needed, and what
//! the new text says is compared with what the old one said: where anything else would differ, nothing is changed.

use std::collections::HashSet;
use std::fmt;
use std::rc::Rc;

use tka_api::kubeconfig::EntryNames;

use crate::yaml::{self, Node};

/// A kubeconfig as it is written.
#[derive(Clone)]
pub struct Document {
    pub(crate) text: String,
    /// None where it says nothing yet.
    pub(crate) root: Option<Rc<Node>>,
}

/// The lists of a kubeconfig.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum List {
    Clusters,
    Users,
    Contexts,
}

/// What kubectl is to run for a user's credential.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Call {
    pub api_version: String,
    pub command: String,
    pub args: Vec<String>,
}

/// Why a kubeconfig is left as it is.
#[derive(Debug, Eq, PartialEq, thiserror::Error)]
pub enum Refused {
    #[error("line {line} is not YAML: {problem}")]
    Malformed { line: usize, problem: String },
    #[error("it has several YAML documents, of which kubectl reads one")]
    Documents,
    #[error("it is not a kubeconfig")]
    NotConfig,
    #[error("its `{0}` is not what a kubeconfig has there")]
    Shape(String),
    #[error("it has two {0} named `{1}`")]
    Twice(&'static str, String),
    #[error("it has characters that end a line for some readers and not for others")]
    Characters,
    #[error("it cannot be changed without changing what else it says")]
    Unsure,
}

pub(crate) const CURRENT: &str = "current-context";

// === impl Document ===

impl Document {
    /// Reads a kubeconfig; an empty one too.
    pub fn parse(text: String) -> Result<Self, Refused> {
        // YAML 1.1, which kubectl reads, breaks lines at these, and YAML 1.2 does not.
        if text.contains(['\u{85}', '\u{2028}', '\u{2029}', '\0']) {
            return Err(Refused::Characters);
        }
        let root = yaml::parse(&text)?.filter(|root| !root.is_null());
        if let Some(root) = &root {
            check(root)?;
        }
        Ok(Self { text, root })
    }

    pub fn text(&self) -> &str {
        &self.text
    }

    /// The names in a list, in their order.
    pub fn names(&self, list: List) -> Vec<&str> {
        self.items(list).iter().filter_map(|item| name(item)).collect()
    }

    pub fn has(&self, list: List, name: &str) -> bool {
        self.position(list, name).is_some()
    }

    /// The current context, if one is set.
    pub fn current(&self) -> Option<&str> {
        let current = self.root.as_ref()?.get(CURRENT)?.text()?;
        (!current.is_empty()).then_some(current)
    }

    /// Where a context leads.
    pub fn context(&self, name: &str) -> Option<EntryNames> {
        let context = self.body(List::Contexts, name)?;
        Some(EntryNames {
            cluster: context.get("cluster")?.text()?.to_owned(),
            user: context.get("user")?.text()?.to_owned(),
            context: name.to_owned(),
        })
    }

    /// The API server of a cluster.
    pub fn server(&self, cluster: &str) -> Option<&str> {
        self.body(List::Clusters, cluster)?.get("server")?.text()
    }

    /// What kubectl is to run for a user.
    pub fn call(&self, user: &str) -> Option<Call> {
        let exec = self.body(List::Users, user)?.get("exec")?;
        let text = |key| {
            exec.get(key)
                .and_then(|value| value.text())
                .unwrap_or_default()
                .to_owned()
        };
        let args = exec.get("args").map(|args| args.items()).unwrap_or_default();
        Some(Call {
            api_version: text("apiVersion"),
            command: text("command"),
            args: args
                .iter()
                .filter_map(|arg| arg.text())
                .map(ToOwned::to_owned)
                .collect(),
        })
    }

    /// Whether a user has a token and nothing else.
    pub fn has_just_a_token(&self, user: &str) -> bool {
        let body = self.body(List::Users, user);
        body.is_some_and(|user| user.entries().len() == 1 && user.get("token").is_some())
    }

    /// Whether a context leads to that cluster or user, or might.
    pub fn is_used(&self, list: List, name: &str) -> bool {
        let leads = |item: &Rc<Node>| {
            let Some(context) = item.get("context") else {
                return false;
            };
            let target = context.get(list.field()).and_then(|value| value.text());
            context.takes_in() || target == Some(name)
        };
        self.items(List::Contexts).iter().any(leads)
    }

    /// Whether there is nothing in it that anybody would miss.
    pub fn is_blank(&self) -> bool {
        const OF_NOTHING: [&str; 4] = ["apiVersion", "kind", "preferences", CURRENT];
        let entries = self.root.as_ref().map(|root| root.entries()).unwrap_or_default();
        let says_nothing = |key: &str, value: &Node| match List::named(key) {
            Some(_) => value.items().is_empty(),
            None => OF_NOTHING.contains(&key) && value.entries().is_empty(),
        };
        let mut entries = entries.iter();
        self.current().is_none() && entries.all(|(key, value)| key.text().is_some_and(|key| says_nothing(key, value)))
    }

    pub(crate) fn items(&self, list: List) -> &[Rc<Node>] {
        let value = self.root.as_ref().and_then(|root| root.get(list.key()));
        value.map(|value| value.items()).unwrap_or_default()
    }

    pub(crate) fn position(&self, list: List, wanted: &str) -> Option<usize> {
        self.items(list).iter().position(|item| name(item) == Some(wanted))
    }

    pub(crate) fn body(&self, list: List, name: &str) -> Option<&Rc<Node>> {
        self.items(list)[self.position(list, name)?].get(list.field())
    }
}

/// Not what it says, which may be tokens.
impl fmt::Debug for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Document({} bytes)", self.text.len())
    }
}

/// Refuses what kubectl could not read, or what we might read otherwise than kubectl does.
fn check(root: &Node) -> Result<(), Refused> {
    if !root.is_mapping() || root.get("kind").is_some_and(|kind| kind.text() != Some("Config")) {
        return Err(Refused::NotConfig);
    }
    let mut keys = HashSet::new();
    for (key, _) in root.entries() {
        let key = key.text().ok_or(Refused::NotConfig)?;
        if !keys.insert(key) {
            return Err(Refused::Twice("keys", key.to_owned()));
        }
    }
    if root.takes_in() {
        return Err(Refused::Unsure);
    }
    if root.get(CURRENT).is_some_and(|current| current.text().is_none()) {
        return Err(Refused::Shape(CURRENT.to_owned()));
    }
    [List::Clusters, List::Users, List::Contexts]
        .into_iter()
        .filter_map(|list| Some((list, root.get(list.key())?)))
        .try_for_each(|(list, value)| check_list(list, value))
}

fn check_list(list: List, value: &Node) -> Result<(), Refused> {
    let shape = || Refused::Shape(list.key().to_owned());
    if !value.is_null() && !value.is_sequence() {
        return Err(shape());
    }
    let mut names = HashSet::new();
    for item in value.items() {
        if !item.is_mapping() || item.takes_in() {
            return Err(shape());
        }
        let name = name(item).ok_or_else(shape)?;
        if !names.insert(name) {
            return Err(Refused::Twice(list.key(), name.to_owned()));
        }
    }
    Ok(())
}

/// The name of a list's item; one without is named by nothing.
fn name(item: &Node) -> Option<&str> {
    item.get("name").map_or(Some(""), |name| name.text())
}

// === impl List ===

impl List {
    /// What a kubeconfig calls it.
    pub fn key(self) -> &'static str {
        match self {
            Self::Clusters => "clusters",
            Self::Users => "users",
            Self::Contexts => "contexts",
        }
    }

    /// What each of its items has beside the name.
    pub(crate) fn field(self) -> &'static str {
        match self {
            Self::Clusters => "cluster",
            Self::Users => "user",
            Self::Contexts => "context",
        }
    }

    fn named(key: &str) -> Option<Self> {
        [Self::Clusters, Self::Users, Self::Contexts]
            .into_iter()
            .find(|list| list.key() == key)
    }
}
