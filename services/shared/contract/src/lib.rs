//! What Saldo says and hears: the message envelope, commands, events and the values they carry.
//!
//! Nothing here does I/O. A value that exists is valid: every rule of the contract is checked while a
//! message is read ([`Received::read`]), and no later layer checks again. Errors name the field, what is
//! wrong with it and what would be accepted, and never repeat the value, so that they can be logged.
//!
//! The JSON Schemas under `schemas/messages` are generated from these types ([`schema`]).

pub mod adjustment;
pub mod command;
pub mod commission;
mod digest;
pub mod directory;
pub mod event;
mod json;
mod key;
mod malformed;
pub mod money;
mod name;
pub mod notification;
pub mod payout;
mod person;
pub mod preferences;
mod refusal;
pub mod schema;
mod template;
mod time;
mod value;
pub mod withdrawal;

pub use command::{CONTENT_TYPE, Commands, MAX_MESSAGE_BYTES, Received};
pub use digest::{ContentHash, LengthPrefixed};
pub use event::{AccountState, Event, EventData, Origin, PostedEntry};
pub use key::{CommandKey, KeyHash, Reference};
pub use malformed::{Malformed, MalformedReason};
pub use money::{Amount, AmountOrZero, Currency, Money, SignedAmount};
pub use name::{EntryId, Name, OwnId, WithdrawalId};
pub use notification::MailKind;
pub use payout::{PayoutKind, PayoutMethod};
pub use person::{CustomerKind, Email, Locale, PersonName};
pub use preferences::Preferences;
pub use refusal::{ReasonCode, Refusal};
pub use time::Timestamp;
pub use value::{
    Actor, CustomerId, Level, MerchantId, MerchantName, MessageId, Note, OrderId, ReferenceText, Source,
    UserId,
};
pub use withdrawal::WithdrawalState;

/// Every `source` that starts with this is Saldo's own; commands that claim it are malformed.
pub const OWN_SOURCES: &str = "/saldo/";
