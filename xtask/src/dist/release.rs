//! What is released.

use std::collections::BTreeMap;

use crate::{
    Outcome,
    image::{Source, program::Target},
};

/// A version, of a commit, for a place to download it from.
#[derive(Clone, Debug)]
pub(super) struct Release {
    pub(super) version: &'static str,
    pub(super) repository: &'static str,
    pub(super) source: Source,
}

/// The files of a release by their names.
pub(super) type Files = BTreeMap<String, Vec<u8>>;

// === impl Release ===

impl Release {
    /// That of the commit which is checked out; none without one.
    pub(super) fn of_checkout() -> Outcome<Option<Self>> {
        let source = Source::find()?;
        Ok(source.revision.is_some().then_some(Self {
            version: env!("CARGO_PKG_VERSION"),
            repository: env!("CARGO_PKG_REPOSITORY"),
            source,
        }))
    }

    /// The file of `program` for `target`, with an extension.
    pub(super) fn named(&self, program: &str, target: &Target, extension: &str) -> String {
        let (system, architecture) = (target.system, target.architecture);
        format!("{program}-{}-{system}-{architecture}.{extension}", self.version)
    }

    /// The time of the commit, in seconds since 1970.
    pub(super) fn time(&self) -> u64 {
        u64::try_from(self.source.time).unwrap_or_default()
    }

    /// The same, as a text.
    pub(super) fn timestamp(&self) -> Outcome<String> {
        Ok(jiff::Timestamp::from_second(self.source.time)?.to_string())
    }

    /// The commit, with `-dirty` where files differ from it.
    pub(super) fn revision(&self) -> &str {
        self.source.revision.as_deref().unwrap_or_default()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::dist) fn release() -> Release {
        Release {
            version: "1.2.3",
            repository: "https://example.com/tka",
            source: Source {
                time: 1_700_000_000,
                revision: Some("0123456789abcdef0123456789abcdef01234567".to_owned()),
            },
        }
    }
}
