//! Selects the one server that a name means.

use crate::discovery::clusters::{Cluster, Clusters, State};

/// Why a name selects no server.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SelectError {
    #[error("no TKA server named `{name}` was found")]
    Unknown { name: String, found: Vec<String> },
    #[error("`{name}` matches several TKA servers")]
    Ambiguous { name: String, found: Vec<String> },
    #[error("no TKA server answers at {}", places.join(" or "))]
    NoServer { places: Vec<String>, problem: String },
    /// No server is set, and none was found.
    #[error("no TKA server is set, and none was found on the tailnet")]
    NoneFound { tag: String },
    /// No server is set, and several were found.
    #[error("no TKA server is set, and several were found on the tailnet")]
    SeveralFound { found: Vec<String> },
}

/// Selects the only server among `answers`. One with a known port counts even without a response.
pub(super) fn only(name: &str, answers: Clusters) -> Result<Cluster, SelectError> {
    let is_sure = |one: &Cluster| !one.is_guessed_port || one.state == State::Answers;
    let (mut servers, others): (Vec<_>, Vec<_>) = answers.items.into_iter().partition(is_sure);
    match (servers.pop(), servers.is_empty()) {
        (Some(only), true) => Ok(only),
        (Some(last), false) => Err(SelectError::Ambiguous {
            name: name.to_owned(),
            found: servers.into_iter().chain([last]).map(|one| one.name).collect(),
        }),
        (None, _) => Err(SelectError::NoServer {
            problem: others.first().and_then(|one| one.problem.clone()).unwrap_or_default(),
            places: others.into_iter().map(|one| one.server).collect(),
        }),
    }
}

// === impl SelectError ===

impl SelectError {
    pub(super) fn unknown(name: &str, all: &Clusters) -> Self {
        let servers = all.items.iter().filter(|one| one.state == State::Answers);
        Self::Unknown {
            name: name.to_owned(),
            found: servers.map(|one| one.name.clone()).collect(),
        }
    }

    pub(crate) fn why(&self) -> Vec<String> {
        match self {
            Self::NoServer { problem, .. } => vec![problem.clone()],
            Self::NoneFound { tag } => vec![format!("no node with {tag} answers this device as a TKA server does")],
            Self::SeveralFound { found } => found.clone(),
            Self::Unknown { .. } | Self::Ambiguous { .. } => vec![],
        }
    }

    pub(crate) fn advice(&self) -> Vec<String> {
        const ELSEWHERE: &str = "set its address with `tka config server HOST:PORT`";
        match self {
            Self::Unknown { found, .. } if found.is_empty() => vec![
                "no server was found: `tka doctor` shows why".to_owned(),
                ELSEWHERE.to_owned(),
            ],
            Self::Unknown { found, .. } => vec![format!("use one of {}", found.join(", ")), ELSEWHERE.to_owned()],
            Self::Ambiguous { found, .. } => vec![format!("use one of these names: {}", found.join(", "))],
            Self::NoServer { .. } => vec![ELSEWHERE.to_owned()],
            Self::NoneFound { .. } => vec![
                ELSEWHERE.to_owned(),
                "see which nodes were asked with `tka clusters --long`".to_owned(),
                "or ask an administrator of the tailnet for a grant that lets this device reach the server".to_owned(),
            ],
            Self::SeveralFound { .. } => vec![
                "choose one with `tka login --server SERVER`".to_owned(),
                "or make it the default with `tka clusters use NAME`; `tka clusters` shows what each is for".to_owned(),
            ],
        }
    }
}
