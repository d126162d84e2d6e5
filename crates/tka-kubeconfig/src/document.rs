//! A kubeconfig of any origin. Tells what kubectl reads in it, and changes the few lines that say so. Every other line stays as it is
//! written.
//!
//! It is never written anew from values: people keep comments, anchors and fields in their kubeconfigs that we know nothing of. So the
//! text is changed where that is needed. What kubectl reads in the new text is then compared with what it read in the old one. Where
//! anything else would differ, nothing is changed.

use std::fmt;
use std::rc::Rc;

use tka_api::kubeconfig::EntryNames;

use crate::Unreadable;
use crate::model::{ExecConfig, Kubeconfig, Named, User, find};
use crate::obstacle::{self, Obstacle};
use crate::scalar::{Scalar, resolve};
use crate::yaml::{self, Malformed, Node, lines};

/// A kubeconfig as it is written.
#[derive(Clone)]
pub struct Document {
    pub(crate) text: String,
    /// None where it says nothing yet.
    pub(crate) root: Option<Rc<Node>>,
    /// What kubectl reads in it.
    pub(crate) says: Kubeconfig,
    /// Its root before all changes. People know the lines of that.
    pub(crate) origin: Option<Rc<Node>>,
}

/// The lists of a kubeconfig.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum List {
    /// `clusters`
    Clusters,
    /// `users`
    Users,
    /// `contexts`
    Contexts,
}

/// Why a kubeconfig is left as it is.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Refused {
    /// kubectl cannot read it.
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
    /// There are others, which kubectl would drop when it writes the file.
    #[error("line {line}: another YAML document begins, and kubectl reads only the first")]
    Documents {
        /// Where the second one begins.
        line: usize,
    },
    /// It is not what it should be.
    #[error("it is not a kubeconfig")]
    NotConfig,
    /// Editors and programs do not agree on its lines.
    #[error("line {line}: it has U+0085, U+2028 or U+2029, which end a line for some programs only")]
    Characters {
        /// Where the first one is.
        line: usize,
    },
    /// More would change than should.
    #[error("it cannot be changed without changing what else it says")]
    SideEffects,
    /// The same, where it is known what stands in the way.
    #[error("line {line}: it cannot be changed without changing what else it says: {obstacle}")]
    Obstructed {
        /// Where that is.
        line: usize,
        /// What it is.
        obstacle: Obstacle,
    },
}

pub(crate) const CURRENT: &str = "current-context";

// === impl Document ===

impl Document {
    /// Reads a kubeconfig; an empty one too.
    ///
    /// # Errors
    ///
    /// Where kubectl cannot read it, or where it cannot be changed safely.
    pub fn parse(text: String) -> Result<Self, Refused> {
        let parsed = yaml::parse(&text)?;
        let says = Kubeconfig::from_node(parsed.root.as_deref())?;
        if let Some(line) = parsed.more {
            return Err(Refused::Documents { line });
        }
        if let Some(at) = text.find(['\u{85}', '\u{2028}', '\u{2029}']) {
            let line = lines::number(&text, at);
            return Err(Refused::Characters { line });
        }
        let root = parsed.root.filter(|root| !root.is_null());
        let origin = root.clone();
        let document = Self {
            text,
            root,
            says,
            origin,
        };
        match &document.root {
            Some(root) if !document.says_where_it_looks(root) => Err(obstacle::at_top(root).into()),
            _ => Ok(document),
        }
    }

    /// What kubectl reads in it.
    #[must_use]
    pub fn says(&self) -> &Kubeconfig {
        &self.says
    }

    /// Whether what kubectl reads is where one looks for it, and not merged from elsewhere.
    fn says_where_it_looks(&self, root: &Node) -> bool {
        let lists = [List::Clusters, List::Users, List::Contexts];
        let is_there = |list: &List| self.items(*list).len() == self.says.names(*list).len();
        let are_there = lists.iter().all(is_there);
        let is_there = match root.get(CURRENT).map(|current| name(current)) {
            None => self.says.current_context.is_empty(),
            Some(found) => found.as_ref() == Some(&self.says.current_context),
        };
        are_there && is_there && !root.has_merge_key()
    }

    /// As it is written.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The names in a list, in their order.
    #[must_use]
    pub fn names(&self, list: List) -> Vec<&str> {
        self.says.names(list)
    }

    /// Whether a list has that name.
    #[must_use]
    pub fn has(&self, list: List, name: &str) -> bool {
        self.position(list, name).is_some()
    }

    /// The current context, if one is set.
    #[must_use]
    pub fn current(&self) -> Option<&str> {
        Some(&*self.says.current_context).filter(|current| !current.is_empty())
    }

    /// Where a context leads.
    #[must_use]
    pub fn context(&self, name: &str) -> Option<EntryNames> {
        let context = find(&self.says.contexts, name)?;
        Some(EntryNames::new(
            context.cluster.clone(),
            context.user.clone(),
            name.to_owned(),
        ))
    }

    /// The API server of a cluster.
    #[must_use]
    pub fn server(&self, cluster: &str) -> Option<&str> {
        Some(&find(&self.says.clusters, cluster)?.server)
    }

    /// What kubectl runs for a user.
    #[must_use]
    pub fn call(&self, user: &str) -> Option<ExecConfig> {
        find(&self.says.users, user)?.exec.clone()
    }

    /// Whether a user has a token and nothing else.
    #[must_use]
    pub fn has_only_token(&self, user: &str) -> bool {
        find(&self.says.users, user).is_some_and(|user| user.is_token)
    }

    /// Whether a user has nothing, as for a gateway, or a token and nothing else.
    #[must_use]
    pub fn is_plain(&self, user: &str) -> bool {
        find(&self.says.users, user).is_some_and(User::is_plain)
    }

    /// Whether a context leads to that cluster or user.
    #[must_use]
    pub fn is_used(&self, list: List, name: &str) -> bool {
        self.says.is_used(list, name)
    }

    /// Whether there is nothing in it that anybody would miss.
    #[must_use]
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

    /// Whether a comment may stand in it. Where it [is blank](Self::is_blank), there is no text in which a `#` could be anything else.
    #[must_use]
    pub fn may_have_comment(&self) -> bool {
        let mut lines = self.text.split(['\n', '\r']);
        lines.any(|line| line.trim_start().starts_with('#') || line.contains(" #") || line.contains("\t#"))
    }

    pub(crate) fn items(&self, list: List) -> &[Rc<Node>] {
        let value = self.root.as_ref().and_then(|root| root.get(list.key()));
        value.map(|value| value.items()).unwrap_or_default()
    }

    pub(crate) fn position(&self, list: List, wanted: &str) -> Option<usize> {
        self.names(list).iter().position(|name| *name == wanted)
    }

    pub(crate) fn body(&self, list: List, name: &str) -> Option<&Rc<Node>> {
        self.items(list)[self.position(list, name)?].get(list.field())
    }
}

/// The name of a context that is written so; none where that is no name. Null is the empty one.
pub(crate) fn name(written: &Node) -> Option<String> {
    let written = written.resolved();
    match resolve(written.text()?, written.tag(), written.is_plain()) {
        Ok(Scalar::Null) => Some(String::new()),
        Ok(Scalar::Text(text)) => Some(text),
        _ => None,
    }
}

/// Not what it says, which may be tokens.
impl fmt::Debug for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Document({} bytes)", self.text.len())
    }
}

impl From<(usize, Obstacle)> for Refused {
    fn from((line, obstacle): (usize, Obstacle)) -> Self {
        Self::Obstructed { line, obstacle }
    }
}

impl From<Malformed> for Refused {
    fn from(malformed: Malformed) -> Self {
        Self::Unreadable(malformed.into())
    }
}

// === impl Kubeconfig ===

impl Kubeconfig {
    /// The names in a list, in their order.
    #[must_use]
    pub fn names(&self, list: List) -> Vec<&str> {
        match list {
            List::Clusters => names(&self.clusters),
            List::Users => names(&self.users),
            List::Contexts => names(&self.contexts),
        }
    }

    /// Whether a context leads to that cluster or user, which may be in another file or in none.
    #[must_use]
    pub fn is_used(&self, list: List, name: &str) -> bool {
        self.contexts.iter().any(|context| match list {
            List::Clusters => context.item.cluster == name,
            List::Users => context.item.user == name,
            List::Contexts => false,
        })
    }
}

fn names<T>(list: &[Named<T>]) -> Vec<&str> {
    list.iter().map(|named| &*named.name).collect()
}

// === impl List ===

impl List {
    /// What a kubeconfig calls it.
    #[must_use]
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
        let mut lists = [Self::Clusters, Self::Users, Self::Contexts].into_iter();
        lists.find(|list| list.key() == key)
    }
}
