//! The digests that names rest on.

use data_encoding::{BASE32_NOPAD, Encoding};
use sha2::{Digest as _, Sha256};

/// A digest over fields of which none can run into the next.
pub(crate) struct Digest(Sha256);

/// How much of a digest a name carries.
const DIGEST_BYTES: usize = 20;
const ENCODING: Encoding = BASE32_NOPAD;

// === impl Digest ===

impl Digest {
    /// A digest for one `purpose`, different from the digest of the same fields for any other.
    pub(crate) fn new(purpose: &str) -> Self {
        let mut digest = Self(Sha256::new());
        digest.field("tka.specht-labs.de/v1");
        digest.field(purpose);
        digest
    }

    /// Adds a field, its length first.
    pub(crate) fn field(&mut self, text: &str) {
        self.0.update((text.len() as u64).to_be_bytes());
        self.0.update(text.as_bytes());
    }

    /// 32 lower-case letters and digits.
    pub(crate) fn finish(self) -> String {
        ENCODING.encode(&self.0.finalize()[..DIGEST_BYTES]).to_ascii_lowercase()
    }
}
