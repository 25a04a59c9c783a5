//! Hashes over several texts, without ambiguity.

use sha2::{Digest, Sha256};

/// SHA-256 over parts, each preceded by its length as eight big-endian bytes, so that `("a", "bc")` and
/// `("ab", "c")` differ.
#[derive(Clone, Default)]
pub struct LengthPrefixed(Sha256);

impl LengthPrefixed {
    /// An empty hash.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends one part.
    #[must_use]
    pub fn part(mut self, bytes: impl AsRef<[u8]>) -> Self {
        let bytes = bytes.as_ref();
        self.0.update((bytes.len() as u64).to_be_bytes());
        self.0.update(bytes);
        self
    }

    /// The whole digest.
    pub fn finish(self) -> [u8; 32] {
        self.0.finalize().into()
    }

    /// Its first 16 bytes: enough to name one of 2^40 things with a chance of collision under 2^-48.
    pub fn finish_short(self) -> [u8; 16] {
        let mut short = [0; 16];
        short.copy_from_slice(&self.finish()[..16]);
        short
    }
}

/// SHA-256 over a command's type and its data in RFC 8785 form, amounts at the currency's exponent and
/// times in UTC: what "same content" means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContentHash(pub [u8; 32]);
