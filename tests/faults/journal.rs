//! What the publishers have published, and what the broker said to it.
//!
//! A line is one message. It is written down before it is sent for the first time, and it is sent again until the broker
//! has confirmed it: what a line says of itself is all that the checks after a run know of the load.

use std::sync::{Arc, Mutex, MutexGuard};

use tests::model::Key;

/// What a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A command.
    New,
    /// A command that was published before, perhaps in other words.
    Copy,
    /// Another content under a key that was used before.
    Conflict,
    /// What no worker can decide, and why.
    Malformed(&'static str),
    /// What no queue takes.
    Unroutable,
}

/// A message.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    /// What it is.
    pub(crate) kind: Kind,
    /// Merchant, source and id; of what is malformed none.
    pub(crate) key: Option<Key>,
    /// Whose queue it goes to; none takes what is unroutable.
    pub(crate) worker: Option<&'static str>,
    /// The routing key.
    pub(crate) routing_key: String,
    /// Whom the broker vouches for.
    pub(crate) user: Option<String>,
    /// The message.
    pub(crate) body: Arc<[u8]>,
    /// When it was sent for the first time, in microseconds since 1970.
    pub(crate) sent_at: Option<i64>,
    /// When the broker confirmed it first.
    pub(crate) confirmed_at: Option<i64>,
    /// How often it was sent.
    pub(crate) attempts: u32,
}

/// All lines, by number; the property `message_id` of a message is [`message_id`] of its number.
#[derive(Debug, Clone, Default)]
pub(crate) struct Journal(Arc<Mutex<Vec<Line>>>);

/// The `message_id` of the line with this number.
pub(crate) fn message_id(number: usize) -> String {
    format!("line-{number}")
}

impl Journal {
    /// The lines so far.
    pub(crate) fn lines(&self) -> MutexGuard<'_, Vec<Line>> {
        self.0.lock().unwrap()
    }
}
