//! What an operator does with a dead letter, written down before it is done.
//!
//! [`record`] is one statement, committed when it has returned. A crash after it leaves a deed that was recorded and not
//! done: the letter is still there, and doing it again, which is recorded again, is right. Nothing is done that was not
//! recorded, and what is recorded stays: the database refuses to change it.

use std::borrow::Cow;

use contract::Actor;
use sha2::{Digest as _, Sha256};
use sqlx::PgConnection;

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeedKind {
    /// The command is published once more.
    Replay,
    /// The letter is thrown away.
    Discard,
    /// Its body is shown, although it may hold payout details.
    Reveal,
}

impl DeedKind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Replay, Self::Discard, Self::Reveal];

    /// The word for it, in the database and for people.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Replay => "replay",
            Self::Discard => "discard",
            Self::Reveal => "reveal",
        }
    }
}

impl std::str::FromStr for DeedKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.as_str() == text)
            .ok_or_else(|| "expected replay, discard or reveal".to_owned())
    }
}

/// What is to be done, to which letter. Texts can be anything: they are stored without what Postgres does not take, and
/// cut where they are too long.
#[derive(Debug, Clone)]
pub struct Deed<'a> {
    /// Who does it.
    pub actor: &'a Actor,
    /// What.
    pub kind: DeedKind,
    /// Where the letter lies.
    pub queue: &'a str,
    /// Its name.
    pub letter: [u8; 16],
    /// Why it was dead.
    pub reason: Option<&'a str>,
    /// Its command's type, without a version.
    pub name: Option<&'a str>,
    /// Whose command it says to be.
    pub merchant: Option<&'a str>,
    /// The command's `source`.
    pub source: Option<&'a str>,
    /// The command's `id`.
    pub command_id: Option<&'a str>,
    /// The key it was delivered with, or is published with.
    pub routing_key: Option<&'a str>,
    /// A hash of its body as it lies there; `None` where a body could be guessed from it that nobody may see.
    pub fingerprint: Option<[u8; 32]>,
    /// As whom it is published.
    pub user: Option<&'a str>,
    /// Why, and what was known of the command.
    pub note: Option<&'a str>,
}

/// The lengths of the columns, in characters.
mod most {
    pub(super) const QUEUE: usize = 255;
    pub(super) const REASON: usize = 128;
    pub(super) const NAME: usize = 128;
    pub(super) const MERCHANT: usize = 128;
    pub(super) const SOURCE: usize = 256;
    pub(super) const COMMAND_ID: usize = 128;
    pub(super) const ROUTING_KEY: usize = 255;
    pub(super) const USER: usize = 255;
    pub(super) const NOTE: usize = 1000;
}

/// Writes a deed down; its number.
///
/// # Errors
/// The database's: then nothing may be done.
pub async fn record(connection: &mut PgConnection, deed: &Deed<'_>) -> Result<i64, sqlx::Error> {
    let kept = |text: Option<&str>, most| text.map(|text| kept(text, most).into_owned());
    let id = sqlx::query_scalar!(
        "INSERT INTO deed (actor, kind, queue, letter, reason, type, merchant, source, command_id, routing_key,
                           fingerprint, user_id, note)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13) RETURNING id",
        deed.actor.as_str(),
        deed.kind.as_str(),
        &*self::kept(deed.queue, most::QUEUE),
        &deed.letter[..],
        kept(deed.reason, most::REASON),
        kept(deed.name, most::NAME),
        kept(deed.merchant, most::MERCHANT),
        kept(deed.source, most::SOURCE),
        kept(deed.command_id, most::COMMAND_ID),
        kept(deed.routing_key, most::ROUTING_KEY),
        deed.fingerprint.as_ref().map(<[u8; 32]>::as_slice),
        kept(deed.user, most::USER),
        kept(deed.note, most::NOTE),
    );
    id.fetch_one(connection).await
}

/// What [`Deed::fingerprint`] is of a body: its SHA-256.
pub fn fingerprint(body: &[u8]) -> [u8; 32] {
    Sha256::digest(body).into()
}

/// A text as it can be stored: Postgres has no NUL.
fn kept(text: &str, most: usize) -> Cow<'_, str> {
    if text.chars().count() <= most && !text.contains('\0') {
        return text.into();
    }
    let mut chars: Vec<char> = text.chars().take(most + 1).collect();
    if chars.len() > most {
        chars.truncate(most - 1);
        chars.push('…');
    }
    chars.into_iter().map(|c| if c == '\0' { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_stored_as_far_as_they_can_be() {
        assert_eq!(kept("äöü", 3), "äöü");
        assert_eq!(kept("äöüß", 3), "äö…");
        assert_eq!(kept("a\0b", 3), "a\u{fffd}b");
    }
}
