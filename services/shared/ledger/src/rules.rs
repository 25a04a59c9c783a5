//! What a worker brings: its commands' rules, without any I/O.

use std::time::Duration;

use contract::{CommandKey, Commands, Event, KeyHash, MerchantId, Received, Refusal};

use crate::{AccountKey, Books};

/// A worker's rules. They see the [`Books`] and nothing else: they cannot commit, publish or ack.
pub trait Rules: Send + Sync + 'static {
    /// What the worker is told to do.
    type Command: Commands;

    /// The worker's name: its queue is `saldo.<name>`, its events' source `/saldo/<name>`.
    const WORKER: &'static str;

    /// What must be in the books before this command can be decided.
    fn needs(&self, command: &Self::Command) -> Needs;

    /// Decides one command. Either changes the books and tells so, or leaves them as they were.
    fn decide(&self, received: &Received<Self::Command>, books: &mut Books) -> Decision;

    /// The event that tells of a refusal.
    fn refused(&self, received: &Received<Self::Command>, refusal: &Refusal, books: &Books) -> Refused;

    /// How long this command may wait for what it names.
    fn patience(&self, command: &Self::Command) -> Duration;
}

/// What a command touches.
#[derive(Debug, Clone, Default)]
pub struct Needs {
    /// An account, created if missing (and its customer as an affiliate), provided the merchant exists.
    pub account: Option<AccountKey>,
    /// What it names by the creating command; the account of that is needed too.
    pub names: Option<CommandKey>,
}

/// What became of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Carried out.
    Done {
        /// The account it changed.
        account: i64,
        /// What to tell the world; at least one.
        events: Vec<Event>,
    },
    /// Understood and not carried out.
    Refused(Refusal),
    /// It names something that is not known yet.
    NotYet {
        /// What it waits for.
        awaited: Awaited,
        /// What it is refused with when that does not arrive in time.
        otherwise: Refusal,
    },
    /// Caused by time, and no longer due. Never the answer to a message.
    Nothing,
}

/// A refusal as it is recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The account it met, if any.
    pub account: Option<i64>,
    /// What to tell the world.
    pub event: Event,
}

/// What a parked command waits for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Awaited {
    /// A command that is to be decided.
    Command(KeyHash),
    /// A merchant that is to be registered.
    Merchant(MerchantId),
}
