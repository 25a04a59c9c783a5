//! What operators did with dead letters.

use contract::{Actor, Timestamp};
use serde::Serialize;
use sqlx::PgConnection;

use super::Result;
use crate::deed::DeedKind;

/// A deed that was recorded. Whether it was done as well, the letter's queue tells.
#[derive(Debug, Clone, Serialize)]
pub struct RecordedDeed {
    /// Its number.
    pub id: i64,
    /// When, by the database's clock.
    pub recorded_at: Timestamp,
    /// The database's role.
    pub role: String,
    /// Who said to be sitting there.
    pub actor: String,
    /// `replay`, `discard` or `reveal`.
    pub kind: String,
    /// Where the letter lay.
    pub queue: String,
    /// Its name, in hexadecimal.
    pub letter: String,
    /// Why it was dead.
    pub reason: Option<String>,
    /// The command's type, without a version.
    #[serde(rename = "type")]
    pub name: Option<String>,
    /// The merchant that it named.
    pub merchant: Option<String>,
    /// The command's `source`.
    pub source: Option<String>,
    /// The command's `id`.
    pub command_id: Option<String>,
    /// The key it was delivered or published with.
    pub routing_key: Option<String>,
    /// SHA-256 of the body as it lay there, in hexadecimal.
    pub fingerprint: Option<String>,
    /// As whom it was published.
    pub user_id: Option<String>,
    /// Why, and what was known of the command.
    pub note: Option<String>,
}

/// Which deeds.
#[derive(Debug, Clone, Default)]
pub struct DeedsWanted {
    /// Of this person only.
    pub actor: Option<Actor>,
    /// Of this kind only.
    pub kind: Option<DeedKind>,
    /// To the letter whose name begins so, in hexadecimal.
    pub letter: Option<String>,
    /// Recorded before the one with this number.
    pub before: Option<i64>,
}

/// Deeds, the newest first, at most `limit`; fewer than that are the last.
///
/// # Errors
/// The database's.
pub async fn deeds(
    connection: &mut PgConnection,
    wanted: &DeedsWanted,
    limit: i64,
) -> Result<Vec<RecordedDeed>> {
    // By the primary key, backwards: people write few of them.
    let rows = sqlx::query_as!(
        RecordedDeed,
        r#"SELECT id, recorded_at, role, actor, kind, queue, encode(letter, 'hex') AS "letter!", reason, type AS name,
                  merchant, source, command_id, routing_key, encode(fingerprint, 'hex') AS fingerprint, user_id, note
           FROM deed
           WHERE ($1::text IS NULL OR actor = $1) AND ($2::text IS NULL OR kind = $2)
             AND ($3::text IS NULL OR starts_with(encode(letter, 'hex'), $3)) AND ($4::bigint IS NULL OR id < $4)
           ORDER BY id DESC LIMIT $5"#,
        wanted.actor.as_ref().map(Actor::as_str),
        wanted.kind.map(DeedKind::as_str),
        wanted.letter.as_deref(),
        wanted.before,
        limit,
    );
    rows.fetch_all(connection).await
}
