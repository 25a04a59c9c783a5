//! What a letter's body holds, where it can be read.

use std::ops::Deref;

use ledger::vault::{Purpose, Sealed, Vault};
use worker::dead::Letter;
use zeroize::Zeroizing;

/// A body as it was published.
pub(super) enum Body<'l> {
    /// As it lies in the queue.
    Clear(&'l [u8]),
    /// Decrypted; wiped when it is dropped.
    Opened(Zeroizing<Vec<u8>>),
}

impl Deref for Body<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Clear(bytes) => bytes,
            Self::Opened(bytes) => bytes,
        }
    }
}

/// The body, decrypted where it is encrypted.
///
/// # Errors
/// It is not here, not all of it, or does not open; in words that follow the letter's name.
pub(super) fn open<'l>(letter: &'l Letter, vault: Option<&Vault>) -> Result<Body<'l>, String> {
    if letter.withheld {
        return Err(
            "its worker has no key for payout details and withheld the body; its publisher has it".to_owned()
        );
    }
    if !letter.is_whole() {
        return Err(format!("its body has {} bytes, too many to be read here", letter.bytes));
    }
    let (Some(key_id), Some(worker)) = (&letter.dead.key_id, letter.worker()) else {
        return Ok(Body::Clear(&letter.dead.body));
    };
    let Some(vault) = vault else {
        return Err(format!("its body is encrypted with the key {key_id}; set payout.keys"));
    };
    let sealed = Sealed { key_id: key_id.clone(), bytes: letter.dead.body.clone() };
    let opened = vault.open(Purpose::DeadLetter { worker }, &sealed);
    opened.map(Body::Opened).map_err(|error| format!("its body cannot be read: {error}"))
}
