//! Reading the ledger, for people and programs that only look.
//!
//! Every function is one statement, or one read-only snapshot where it needs several, and takes no lock. Whatever
//! names a customer, an account or a withdrawal looks for it within one merchant. Pages are bounded by a `limit`
//! and continue from where the last one ended, not from a count of rows, so that what is posted meanwhile neither
//! repeats nor hides anything. Amounts stand at their currency's exponent.
//!
//! What was recorded before a moment: an account's entries are numbered in the order in which they were recorded,
//! so a moment is a number, which `entries_before` in the schema finds. Half-open everywhere: since a moment,
//! until before another.

mod accounts;
mod backlog;
mod chain;
mod customers;
mod deeds;
mod events;
mod export;
mod mails;
mod operations;
mod outcomes;
mod standing;
mod verify;
mod withdrawals;

pub use accounts::{Balance, BalanceAt, Totals, balances, balances_at, balances_of, totals};
pub use backlog::{
    Backlog, MailBacklog, Outstanding, Unfinished, backlogs, held, mail_backlog, parked, pending, unpublished,
};
pub use chain::{Chain, ChainFault, verify_chain};
pub use customers::{
    Customer, CustomerSort, CustomersFrom, CustomersPage, CustomersWanted, customer, customers,
};
pub use deeds::{DeedsWanted, RecordedDeed, deeds};
pub use events::{batches_between, events_of};
pub use export::{Journal, JournalEntry, Opening};
pub use mails::{Mail, MailState, MailsPage, MailsWanted, mails};
pub use operations::{Operation, OperationsFrom, OperationsPage, Period, last_operation, operations};
pub use outcomes::{Outcome, outcome, outcomes};
pub use standing::{Standing, standing};
pub use verify::{Check, Extent, Fault, Head, HeadFault, Heads, Observer, Verification, VerifyError, verify};
pub use withdrawals::{
    Transition, Withdrawal, WithdrawalFrom, WithdrawalsPage, open_withdrawals, withdrawal, withdrawal_owner,
    withdrawals,
};

use contract::{KeyHash, Reference};

/// A value that the schema's own checks or the domain rule out, or a database's error.
type Result<T> = std::result::Result<T, sqlx::Error>;

fn unexpected(what: impl Into<String>) -> sqlx::Error {
    sqlx::Error::Decode(what.into().into())
}

fn parsed<T: std::str::FromStr>(column: &str, text: &str) -> Result<T> {
    text.parse().map_err(|_| unexpected(format!("{column} holds what no version of Saldo writes")))
}

fn optional<T: std::str::FromStr>(column: &str, text: Option<&str>) -> Result<Option<T>> {
    text.map(|text| parsed(column, text)).transpose()
}

fn key(column: &str, bytes: &[u8]) -> Result<KeyHash> {
    let hash = bytes.try_into().map(KeyHash);
    hash.map_err(|_| unexpected(format!("{column} has another length than a key")))
}

/// The texts of a command's key, where the inbox has it.
fn reference(source: Option<String>, id: Option<String>) -> Result<Option<Reference>> {
    let (Some(source), Some(id)) = (source, id) else { return Ok(None) };
    Ok(Some(Reference { source: parsed("inbox.source", &source)?, id: parsed("inbox.id", &id)? }))
}
