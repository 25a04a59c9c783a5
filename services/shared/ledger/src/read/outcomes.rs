//! What became of commands.

use std::collections::HashMap;

use contract::{CommandKey, ContentHash, Event, KeyHash, MerchantId, Timestamp};
use sqlx::PgConnection;

use super::{Result, key, parsed, unexpected};
use crate::Awaited;

/// What the ledger knows of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It was decided.
    Decided {
        /// The content it was decided with.
        content: ContentHash,
        /// What it caused.
        events: Vec<Event>,
    },
    /// It waits for what it names.
    Parked {
        /// The content it was parked with.
        content: ContentHash,
        /// What it waits for.
        awaiting: Awaited,
        /// Since when.
        since: Timestamp,
        /// When it is refused at the latest.
        deadline: Timestamp,
    },
    /// No command was ever accepted under this key.
    Unknown,
}

/// What became of a command.
///
/// # Errors
/// The database's.
pub async fn outcome(connection: &mut PgConnection, key: &CommandKey) -> Result<Outcome> {
    let mut found = outcomes(connection, std::slice::from_ref(key)).await?;
    Ok(found.remove(key).unwrap_or(Outcome::Unknown))
}

/// What became of several commands; those that are unknown are left out.
///
/// # Errors
/// The database's.
pub async fn outcomes(
    connection: &mut PgConnection,
    keys: &[CommandKey],
) -> Result<HashMap<CommandKey, Outcome>> {
    let asked: HashMap<KeyHash, &CommandKey> = keys.iter().map(|key| (key.hash(), key)).collect();
    let hashes: Vec<Vec<u8>> = asked.keys().map(|hash| hash.0.to_vec()).collect();
    let rows = sqlx::query_as!(
        OutcomeRow,
        r#"SELECT i.key AS "key!", i.merchant AS "merchant!", i.source AS "source!", i.id AS "id!",
                  i.content AS "content!", i.outcome AS "outcome?",
                  w.awaited_command AS "awaited_command?", w.awaited_merchant AS "awaited_merchant?",
                  w.awaited_customer AS "awaited_customer?",
                  w.parked_at AS "parked_at?", w.deadline AS "deadline?"
           FROM inbox i LEFT JOIN waiting w ON w.key = i.key
           WHERE i.key = ANY($1)"#,
        &hashes,
    )
    .fetch_all(connection)
    .await?;
    let mut found = HashMap::with_capacity(rows.len());
    for row in rows {
        let asked = asked.get(&key("inbox.key", &row.key)?).copied();
        if let Some(key) = asked.filter(|key| row.is_of(key)) {
            found.insert(key.clone(), row.outcome(&key.merchant)?);
        }
    }
    Ok(found)
}

struct OutcomeRow {
    key: Vec<u8>,
    merchant: String,
    source: String,
    id: String,
    content: Vec<u8>,
    outcome: Option<String>,
    awaited_command: Option<Vec<u8>>,
    awaited_merchant: Option<String>,
    awaited_customer: Option<String>,
    parked_at: Option<time::OffsetDateTime>,
    deadline: Option<time::OffsetDateTime>,
}

impl OutcomeRow {
    /// The index has a hash; the texts decide.
    fn is_of(&self, key: &CommandKey) -> bool {
        (key.merchant.as_str(), key.source.as_str(), key.id.as_str())
            == (self.merchant.as_str(), self.source.as_str(), self.id.as_str())
    }

    fn outcome(self, merchant: &MerchantId) -> Result<Outcome> {
        let content = <[u8; 32]>::try_from(self.content).map(ContentHash);
        let content = content.map_err(|_| unexpected("inbox.content has another length than a hash"))?;
        if let Some(lines) = self.outcome {
            let events = lines.lines().filter_map(|line| Event::from_stored(merchant, line)).collect();
            return Ok(Outcome::Decided { content, events });
        }
        let (Some(since), Some(deadline)) = (self.parked_at, self.deadline) else {
            return Err(unexpected("a parked command has no row in waiting"));
        };
        let command = self.awaited_command.map(<[u8; 16]>::try_from);
        let awaiting = match (command, self.awaited_merchant, self.awaited_customer) {
            (Some(Ok(key)), None, None) => Awaited::Command(KeyHash(key)),
            (None, Some(merchant), None) => Awaited::Merchant(parsed("waiting.awaited_merchant", &merchant)?),
            (None, Some(merchant), Some(customer)) => Awaited::Customer(
                parsed("waiting.awaited_merchant", &merchant)?,
                parsed("waiting.awaited_customer", &customer)?,
            ),
            _ => return Err(unexpected("a parked command waits for nothing")),
        };
        Ok(Outcome::Parked { content, awaiting, since: since.into(), deadline: deadline.into() })
    }
}
