//! What a worker brings: its commands' rules, without any I/O.

use std::time::Duration;

use contract::{
    CommandKey, Commands, ContentHash, CustomerId, CustomerKind, EntryId, Event, KeyHash, MerchantId,
    Received, Refusal, WithdrawalId,
};

use crate::vault::Sealed;
use crate::{AccountKey, Books, CustomerKey};

/// A worker's rules. They see the [`Books`] and nothing else: they cannot commit, publish or ack.
pub trait Rules: Send + Sync + 'static {
    /// What the worker is told to do.
    type Command: Commands;

    /// The worker's name: its queue is `saldo.<name>`, its events' source `/saldo/<name>`.
    const WORKER: &'static str;

    /// Whether merchants are read with all their preferences; without, only with what commissions need.
    const PREFERENCES: bool = true;

    /// What must be in the books before this command can be decided.
    fn needs(&self, command: &Self::Command) -> Needs;

    /// Decides one command. Either changes the books and tells so, or leaves them as they were.
    fn decide(&self, received: &Received<Self::Command>, books: &mut Books) -> Decision;

    /// The event that tells of a refusal.
    fn refused(&self, received: &Received<Self::Command>, refusal: &Refusal, books: &Books) -> Refused;

    /// How long this command may wait for what it names.
    fn patience(&self, command: &Self::Command) -> Duration;

    /// What is stored of the command's content, to know it again. Content that could be guessed from its hash is
    /// hashed with a key here.
    fn fingerprint(&self, received: &Received<Self::Command>) -> ContentHash {
        received.content
    }

    /// Whether the command's content is the one that [`Self::fingerprint`] was stored of.
    fn is_same(&self, received: &Received<Self::Command>, stored: ContentHash) -> bool {
        self.fingerprint(received) == stored
    }

    /// Encrypts a message that has to wait, where it must not lie in the database in clear; `None`: it may.
    fn conceal(&self, received: &Received<Self::Command>, body: &[u8]) -> Option<Sealed> {
        let _ = (received, body);
        None
    }

    /// The message that [`Self::conceal`] encrypted for the command under this key; `None` where it cannot be
    /// opened, because the key it was encrypted with is not among the configured ones.
    fn reveal(&self, key: KeyHash, sealed: &Sealed) -> Option<Vec<u8>> {
        let _ = (key, sealed);
        None
    }
}

/// What a command touches.
#[derive(Debug, Clone, Default)]
pub struct Needs {
    /// An account.
    pub account: Option<AccountKey>,
    /// What a customer that is not known yet is created as, with the account, provided the merchant exists;
    /// `None`: neither is created.
    pub creates: Option<CustomerKind>,
    /// What it names; the account of that is needed too.
    pub names: Option<Naming>,
    /// A customer, for what is known of it.
    pub customer: Option<CustomerKey>,
    /// Whether that customer's row is to change.
    pub changes_customer: bool,
    /// Whether the merchant's row is to change.
    pub changes_merchant: bool,
}

/// What a command names, as what, and how. Only what is of the command's own merchant is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Naming {
    /// A commission, by the command that created it.
    Commission(CommandKey),
    /// An entry, by the command that posted it.
    Entry(CommandKey),
    /// An entry of this merchant, by its id.
    EntryId(MerchantId, EntryId),
    /// A withdrawal, by the command that requested it.
    Withdrawal(CommandKey),
    /// A withdrawal of this merchant, by its id.
    WithdrawalId(MerchantId, WithdrawalId),
}

/// What became of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Carried out.
    Done {
        /// The account it changed, if it was about one.
        account: Option<i64>,
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
    /// A customer that is to become known.
    Customer(MerchantId, CustomerId),
}
