//! Why a kubeconfig is none.

use crate::yaml;

/// Why kubectl cannot read a kubeconfig.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct Unreadable {
    /// The first is 1.
    pub line: usize,
    /// What is wrong, and what to write instead where that is known.
    pub problem: String,
}

// === impl Unreadable ===

impl Unreadable {
    pub(crate) fn new(line: usize, problem: &str) -> Self {
        Self {
            line,
            problem: problem.to_owned(),
        }
    }
}

impl From<yaml::Malformed> for Unreadable {
    fn from(malformed: yaml::Malformed) -> Self {
        let problem = if malformed.is_limit {
            malformed.problem
        } else {
            format!("it is not YAML: {}", malformed.problem)
        };
        Self {
            line: malformed.line,
            problem,
        }
    }
}
