//! What is wrong with a document.

use std::fmt::{self, Display, Formatter};

/// What is wrong with a document.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Problem {
    pub(super) path: String,
    pub(super) what: String,
}

// === impl Problem ===

impl Display for Problem {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.what)
    }
}
