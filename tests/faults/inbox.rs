//! What the inbox recorded, and which of the journal's lines each row is.

use std::collections::HashMap;
use std::time::Duration;

use contract::directory::{DirectoryCommand, WORKER as DIRECTORY};
use contract::{CommandKey, ContentHash, Received};
use directory::Directory;
use futures_util::stream::BoxStream;
use ledger::Rules as _;
use sqlx::PgConnection;
use tests::model::Key;

use crate::journal::{Kind, Line};

/// Where what time does to commissions comes from.
pub(crate) const MATURITY: &str = "/saldo/commissions/maturity";
/// Where failed mails come from.
const NOTIFIER: &str = "/saldo/notifier/";

/// A row of the inbox.
#[derive(Debug, Clone, sqlx::FromRow)]
pub(crate) struct Row {
    pub(crate) merchant: String,
    pub(crate) source: String,
    pub(crate) id: String,
    /// Saldo's id of the command.
    pub(crate) hash: String,
    pub(crate) content: Vec<u8>,
    /// When its transaction was committed, in microseconds since 1970.
    pub(crate) committed_at: i64,
    pub(crate) batch_id: i64,
    pub(crate) position: i32,
    pub(crate) account_id: Option<i64>,
    pub(crate) version: Option<i64>,
    /// The events, one a line; `None`: it is parked.
    pub(crate) outcome: Option<String>,
}

impl Row {
    pub(crate) fn key(&self) -> Key {
        (self.merchant.clone(), self.source.clone(), self.id.clone())
    }

    /// Whether a mail that failed is all that it is about.
    pub(crate) fn is_notifiers(&self) -> bool {
        self.source.starts_with(NOTIFIER)
    }

    pub(crate) fn is_maturity(&self) -> bool {
        self.source == MATURITY
    }

    /// The events.
    pub(crate) fn events(&self) -> impl Iterator<Item = &str> {
        self.outcome.as_deref().unwrap_or_default().lines()
    }
}

/// All rows: merchant by merchant, and of each in the order in which they were committed. The server must keep the times
/// of commits (`track_commit_timestamp`).
pub(crate) fn rows(database: &mut PgConnection) -> BoxStream<'_, sqlx::Result<Row>> {
    const ROWS: &str = r#"
        SELECT merchant, source, id, encode(key, 'hex') AS hash, content, batch_id, position, account_id, version, outcome,
               (extract(epoch FROM pg_xact_commit_timestamp(xmin)) * 1000000)::bigint AS committed_at
        FROM inbox
        ORDER BY merchant COLLATE "C", committed_at, batch_id, position"#;
    sqlx::query_as(ROWS).fetch(database)
}

/// The lines that are commands, by key.
pub(crate) struct Commanded<'j> {
    lines: &'j [Line],
    by_key: HashMap<&'j Key, Vec<usize>>,
    directory: Directory,
}

impl<'j> Commanded<'j> {
    /// `keys` are those that payout details are encrypted with.
    pub(crate) fn of(lines: &'j [Line], keys: &str) -> Self {
        let mut by_key: HashMap<&Key, Vec<usize>> = HashMap::new();
        for (number, line) in lines.iter().enumerate() {
            if let (Kind::New | Kind::Copy | Kind::Conflict, Some(key)) = (line.kind, &line.key) {
                by_key.entry(key).or_default().push(number);
            }
        }
        let directory = Directory { patience: Duration::ZERO, vault: keys.parse().unwrap() };
        Self { lines, by_key, directory }
    }

    /// Under each key the numbers of its lines, in their order.
    pub(crate) fn keys(&self) -> impl Iterator<Item = (&Key, &[usize])> {
        self.by_key.iter().map(|(key, numbers)| (*key, &numbers[..]))
    }

    /// The numbers of a key's lines.
    pub(crate) fn of_key(&self, key: &Key) -> &[usize] {
        self.by_key.get(key).map_or(&[], Vec::as_slice)
    }

    /// Of the lines under a row's key those that say what it recorded.
    pub(crate) fn winners(&self, row: &Row) -> Vec<usize> {
        let mut numbers = self.of_key(&row.key()).to_vec();
        numbers.retain(|number| self.is_same(&self.lines[*number], &row.content));
        numbers
    }

    /// A payout method's content is stored keyed.
    fn is_same(&self, line: &Line, content: &[u8]) -> bool {
        let Ok(content) = content.try_into().map(ContentHash) else { return false };
        if line.worker == Some(DIRECTORY) {
            let received = Received::<DirectoryCommand>::read(&line.body);
            return received.is_ok_and(|received| self.directory.is_same(&received, content));
        }
        line.content() == Some(content)
    }

    /// A line's content, by which copies of it are known; `None`: it cannot be read.
    pub(crate) fn content(&self, number: usize) -> Option<ContentHash> {
        self.lines[number].content()
    }
}

/// Saldo's id of the command under a key; `None`: no command can have it.
pub(crate) fn id_of((merchant, source, id): &Key) -> Option<String> {
    let (merchant, source, id) = (merchant.parse().ok()?, source.parse().ok()?, id.parse().ok()?);
    Some(CommandKey { merchant, source, id }.hash().to_string())
}
