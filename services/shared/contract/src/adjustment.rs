//! The adjustments worker's commands and events.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::command::{CommandData, commands};
use crate::event::{AccountState, PostedEntry, event_data};
use crate::json::present;
use crate::{
    Actor, Amount, Currency, CustomerId, EntryId, MerchantId, Money, Name, Note, ReasonCode, ReferenceText,
    SignedAmount, Timestamp, UserId,
};

/// The name of the worker.
pub const WORKER: &str = "adjustments";

/// The routing keys of everything that could be a command of this worker, misspelt ones included.
pub const ROUTING: &str = "*.adjustment.#";

commands! {
    /// A command of the adjustments worker.
    pub enum AdjustmentCommand {
        /// Give a customer money.
        Credit(AdjustmentCredit),
        /// Take money from a customer.
        Debit(AdjustmentDebit),
        /// Take one of the two back.
        Reverse(AdjustmentReverse),
    }
}

/// A credit or a debit by the shop's staff. `SIGN` is the entry's: 1 or -1.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Adjustment<const SIGN: i8> {
    /// Whose customer.
    pub merchant: MerchantId,
    /// Whose account. Created as a plain customer when first seen.
    pub customer: CustomerId,
    /// How much.
    #[serde(flatten)]
    pub money: Money,
    /// Why, for the customer's list of operations.
    pub description: Note,
    /// Who does it.
    pub actor: Actor,
    /// What the shop calls it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reference: Option<ReferenceText>,
    /// The date of the operation; the command's own time where `None`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub occurred_at: Option<Timestamp>,
}

/// `adjustment.credit.v1`
pub type AdjustmentCredit = Adjustment<1>;

/// `adjustment.debit.v1`
pub type AdjustmentDebit = Adjustment<-1>;

/// Data of `adjustment.credit.v1` and `adjustment.debit.v1`: staff gives a customer money, or takes it.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AdjustmentData {
    /// The shop, as it is registered with Saldo.
    merchant: MerchantId,
    /// The shop's id of the customer, who becomes a plain customer when first seen.
    customer: CustomerId,
    /// How much: above zero, at most as many decimals as the currency has.
    amount: Amount,
    /// ISO 4217 code.
    currency: Currency,
    /// Why, for the customer's list of operations; no control characters but tab and line feed.
    description: Note,
    /// Who does it, such as a login.
    actor: Actor,
    /// What the shop calls it, such as a voucher's number.
    #[serde(default, deserialize_with = "present")]
    #[schemars(with = "ReferenceText")]
    reference: Option<ReferenceText>,
    /// The RFC 3339 time of the operation; the message's `time` where absent.
    #[serde(default, deserialize_with = "present")]
    #[schemars(with = "Timestamp")]
    occurred_at: Option<Timestamp>,
}

impl<const SIGN: i8> TryFrom<AdjustmentData> for Adjustment<SIGN> {
    type Error = String;
    fn try_from(data: AdjustmentData) -> Result<Self, String> {
        let AdjustmentData { merchant, customer, description, actor, reference, occurred_at, .. } = data;
        let money = Money::new(data.amount, data.currency)?;
        Ok(Self { merchant, customer, money, description, actor, reference, occurred_at })
    }
}

impl CommandData for AdjustmentCredit {
    type Data = AdjustmentData;
    const NAME: &'static str = "adjustment.credit";
    const TYPE: &'static str = "adjustment.credit.v1";
    const NEEDS_USER: bool = true;
}

impl CommandData for AdjustmentDebit {
    type Data = AdjustmentData;
    const NAME: &'static str = "adjustment.debit";
    const TYPE: &'static str = "adjustment.debit.v1";
    const NEEDS_USER: bool = true;
}

/// Data of `adjustment.reverse.v1`: an adjustment is taken back, wholly and once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AdjustmentReverse {
    /// The shop, as it is registered with Saldo.
    pub merchant: MerchantId,
    /// The entry to take back: an object with `source` and `id` of the command that posted it, or its id as a
    /// string.
    pub entry: Name<EntryId>,
    /// Why, for the customer's list of operations; no control characters but tab and line feed.
    pub reason: Note,
    /// Who does it, such as a login.
    pub actor: Actor,
}

impl CommandData for AdjustmentReverse {
    type Data = Self;
    const NAME: &'static str = "adjustment.reverse";
    const TYPE: &'static str = "adjustment.reverse.v1";
    const NEEDS_USER: bool = true;
}

event_data! {
    AdjustmentCredited = "adjustment.credited",
    AdjustmentDebited = "adjustment.debited",
    AdjustmentReversed = "adjustment.reversed",
    AdjustmentRefused = "adjustment.refused",
}

/// Data of `adjustment.credited.v1`: the customer was given money.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct AdjustmentCredited(pub AdjustmentPosted);

/// Data of `adjustment.debited.v1`: money was taken from the customer.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct AdjustmentDebited(pub AdjustmentPosted);

/// What [`AdjustmentCredited`] and [`AdjustmentDebited`] tell.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[schemars(inline)]
pub struct AdjustmentPosted {
    /// Whose customer.
    pub merchant: MerchantId,
    /// Whose account.
    pub customer: CustomerId,
    /// How much, above zero.
    pub amount: SignedAmount,
    /// Its currency.
    pub currency: Currency,
    /// Why.
    pub description: Note,
    /// Who did it, says the command.
    pub actor: Actor,
    /// The broker user who sent the command.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "UserId")]
    pub user: Option<UserId>,
    /// What the shop calls it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "ReferenceText")]
    pub reference: Option<ReferenceText>,
    /// The posting.
    pub entry: PostedEntry,
    /// The account after it.
    pub account: AccountState,
}

/// Data of `adjustment.reversed.v1`: an adjustment was taken back.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct AdjustmentReversed {
    /// Whose customer.
    pub merchant: MerchantId,
    /// Whose account.
    pub customer: CustomerId,
    /// The entry that was taken back.
    pub reversed: EntryId,
    /// That entry's amount: below zero where it was a debit.
    pub amount: SignedAmount,
    /// Its currency.
    pub currency: Currency,
    /// Why.
    pub reason: Note,
    /// Who did it, says the command.
    pub actor: Actor,
    /// The broker user who sent the command.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "UserId")]
    pub user: Option<UserId>,
    /// The posting that takes it back.
    pub entry: PostedEntry,
    /// The account after it.
    pub account: AccountState,
}

/// Data of `adjustment.refused.v1`: a command was understood and not carried out.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct AdjustmentRefused {
    /// Whose command.
    pub merchant: MerchantId,
    /// The name of the refused command, such as `adjustment.debit`.
    pub command: &'static str,
    /// Why, for programs.
    pub reason: ReasonCode,
    /// Why, for people.
    pub message: String,
    /// The customer, where one is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "CustomerId")]
    pub customer: Option<CustomerId>,
    /// The unchanged account, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "AccountState")]
    pub account: Option<AccountState>,
}
