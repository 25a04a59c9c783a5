//! What makes a command the same command.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{LengthPrefixed, MerchantId, MessageId, Source};

/// A command's idempotency key, for ever. The merchant is part of it so that nobody can occupy another
/// merchant's keys or read its outcomes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CommandKey {
    /// Whose command it is.
    pub merchant: MerchantId,
    /// The publisher, as it names itself.
    pub source: Source,
    /// The publisher's id of the command.
    pub id: MessageId,
}

/// The first 16 bytes of SHA-256 over merchant, source and id, length-prefixed: what is stored and indexed.
/// The texts are kept beside it and compared on a hit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyHash(pub [u8; 16]);

impl CommandKey {
    /// The stored form.
    pub fn hash(&self) -> KeyHash {
        KeyHash(
            LengthPrefixed::new()
                .part(self.merchant.as_str())
                .part(self.source.as_str())
                .part(self.id.as_str())
                .finish_short(),
        )
    }

    /// The key without its merchant, as events and other commands name it.
    pub fn reference(&self) -> Reference {
        Reference { source: self.source.clone(), id: self.id.clone() }
    }
}

/// Names something by the command that created it. Looked up within the naming command's merchant only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Reference {
    /// The `source` of the creating command.
    pub source: Source,
    /// The `id` of the creating command.
    pub id: MessageId,
}

impl Reference {
    /// The key of what is named, seen from this merchant.
    pub fn within(&self, merchant: &MerchantId) -> CommandKey {
        CommandKey { merchant: merchant.clone(), source: self.source.clone(), id: self.id.clone() }
    }
}

impl std::fmt::Display for KeyHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}
