//! Whether the cluster has what TKA relies on. Nothing waits for the answer: what a version lacks is said, and serving goes on.

use std::time::Duration;

use kube::Client;
use tka_operator::backoff;
use tka_operator::error::with_causes;
use tokio::sync::watch;
use tokio::time::sleep;

/// The oldest version in which all is there (`docs/kubernetes.md` has what was tested).
const OLDEST: Version = Version { major: 1, minor: 30 };
/// Since when tokens have an ID however the API server is configured
/// (<https://kubernetes.io/docs/reference/command-line-tools-reference/feature-gates/>, `ServiceAccountTokenJTI`).
const TOKEN_IDS: Version = Version { major: 1, minor: 32 };

/// How often the version is read: a cluster may be upgraded while the server runs.
const VERSION_INTERVAL: Duration = Duration::from_hours(1);
/// The longest wait after a failure.
const LONGEST_RETRY: Duration = Duration::from_mins(5);

/// A version of Kubernetes.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
struct Version {
    major: u32,
    minor: u32,
}

/// What the cluster lacks, once that is known.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Cluster {
    /// The version, as the API server says it.
    pub version: String,
    /// What is missing, and what to do.
    pub lacks: Option<String>,
}

/// Reads the version now and then, and says into `told` and the log what it lacks.
pub async fn watch_version(client: Client, told: watch::Sender<Option<Cluster>>) {
    let mut failures = 0;
    loop {
        let wait = match client.apiserver_version().await {
            Ok(info) => {
                failures = 0;
                tell(&told, Cluster::of(&info.major, &info.minor, &info.git_version));
                VERSION_INTERVAL
            }
            Err(error) => {
                failures += 1;
                let wait = backoff(failures, None, LONGEST_RETRY);
                tracing::debug!(
                    error = with_causes(&error),
                    ?wait,
                    "cannot read the version of Kubernetes"
                );
                wait
            }
        };
        sleep(wait).await;
    }
}

fn tell(told: &watch::Sender<Option<Cluster>>, cluster: Cluster) {
    if told.borrow().as_ref() == Some(&cluster) {
        return;
    }
    match &cluster.lacks {
        None => tracing::info!(version = cluster.version, "the cluster has what is needed"),
        Some(lacks) => tracing::warn!(version = cluster.version, "{lacks}"),
    }
    told.send_replace(Some(cluster));
}

// === impl Version ===

impl Version {
    /// Providers write the minor version as `30+`.
    fn parse(major: &str, minor: &str) -> Option<Self> {
        let number = |text: &str| {
            let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
            text[..digits].parse().ok()
        };
        Some(Self {
            major: number(major)?,
            minor: number(minor)?,
        })
    }
}

// === impl Cluster ===

impl Cluster {
    /// What a cluster of that version lacks.
    fn of(major: &str, minor: &str, text: &str) -> Self {
        let lacks = match Version::parse(major, minor) {
            None => Some(format!(
                "the API server says no version that can be read ({text:?}): TKA needs Kubernetes {}.{} or later",
                OLDEST.major, OLDEST.minor
            )),
            Some(version) if version < OLDEST => Some(format!(
                "Kubernetes {text} has no ValidatingAdmissionPolicy of version v1, so that nothing keeps other subjects from sessions, and its \
                 tokens have no ID for audit records: upgrade the cluster to {}.{} or later",
                OLDEST.major, OLDEST.minor
            )),
            Some(version) if version < TOKEN_IDS => Some(format!(
                "in Kubernetes {text} IDs of tokens, by which the guard and audit records know credentials, are a beta feature that is on by \
                 default: leave the feature gate ServiceAccountTokenJTI of the API server as it is, or upgrade the cluster to {}.{}",
                TOKEN_IDS.major, TOKEN_IDS.minor
            )),
            Some(_) => None,
        };
        Self {
            version: text.to_owned(),
            lacks,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lacks(major: &str, minor: &str) -> String {
        let cluster = Cluster::of(major, minor, &format!("v{major}.{minor}"));
        cluster.lacks.unwrap_or_default()
    }

    #[test]
    fn what_a_version_lacks_is_said_with_what_to_do() {
        for minor in ["32", "33+", "35", "37", "100"] {
            assert_eq!(lacks("1", minor), "", "{minor}");
        }
        assert_eq!(lacks("2", "0"), "");
        for minor in ["30", "31", "30+"] {
            let said = lacks("1", minor);
            assert!(
                said.contains("ServiceAccountTokenJTI") && said.contains("1.32"),
                "{said}"
            );
        }
        for minor in ["29", "29+", "9", "0"] {
            let said = lacks("1", minor);
            assert!(
                said.contains("ValidatingAdmissionPolicy") && said.contains("upgrade the cluster to 1.30"),
                "{said}"
            );
        }
        for (major, minor) in [("", ""), ("1", ""), ("1", "x"), ("1", "99999999999")] {
            assert!(lacks(major, minor).contains("needs Kubernetes 1.30"), "{major}.{minor}");
        }
    }

    #[test]
    fn a_version_is_told_once() {
        let (sender, mut told) = watch::channel(None);
        let cluster = Cluster::of("1", "35", "v1.35.4");
        tell(&sender, cluster.clone());
        assert!(told.has_changed().unwrap());
        assert_eq!(*told.borrow_and_update(), Some(cluster.clone()));
        tell(&sender, cluster);
        assert!(!told.has_changed().unwrap());
    }
}
