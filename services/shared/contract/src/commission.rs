//! The commissions worker's commands and events.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::command::{CommandData, commands};
use crate::event::{AccountState, PostedEntry, event_data};
use crate::json::{object, present};
use crate::{
    Amount, Currency, CustomerId, Level, MerchantId, Money, Note, OrderId, ReasonCode, Reference,
    SignedAmount, Timestamp,
};

commands! {
    /// A command of the commissions worker.
    pub enum CommissionCommand {
        /// Credit a commission, now or after a hold period.
        Credit(CommissionCredit),
        /// Take a commission back, wholly or in part.
        Reverse(CommissionReverse),
    }
    by time {
        /// Credit a commission whose hold period is over.
        Mature(CommissionMature),
    }
}

/// `commission.credit.v1`
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CommissionCredit {
    /// Whose customer earns.
    pub merchant: MerchantId,
    /// Who earns. Created as an affiliate when first seen.
    pub customer: CustomerId,
    /// How much.
    #[serde(flatten)]
    pub money: Money,
    /// The order it was earned with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order: Option<OrderId>,
    /// How far down the affiliate tree.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub level: Option<Level>,
    /// A sentence for the customer's list of operations.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<Note>,
    /// Not credited before this; the merchant's hold period counts if it ends later.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub available_at: Option<Timestamp>,
}

/// Data of `commission.credit.v1`: an affiliate earned a commission.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CommissionCreditData {
    /// The shop, as it is registered with Saldo.
    merchant: MerchantId,
    /// Who earns: the shop's id of the customer, who becomes an affiliate when first seen.
    customer: CustomerId,
    /// How much: above zero, at most as many decimals as the currency has.
    amount: Amount,
    /// ISO 4217 code.
    currency: Currency,
    /// The order it was earned with.
    #[serde(default, deserialize_with = "present")]
    #[schemars(with = "OrderId")]
    order: Option<OrderId>,
    /// How far down the affiliate tree; 1 is the direct affiliate.
    #[serde(default, deserialize_with = "present")]
    #[schemars(with = "Level")]
    level: Option<Level>,
    /// For the customer's list of operations; no control characters but tab and line feed.
    #[serde(default, deserialize_with = "present")]
    #[schemars(with = "Note")]
    note: Option<Note>,
    /// Not credited before this RFC 3339 time; the merchant's hold period counts if it ends later.
    #[serde(default, deserialize_with = "present")]
    #[schemars(with = "Timestamp")]
    available_at: Option<Timestamp>,
}

impl TryFrom<CommissionCreditData> for CommissionCredit {
    type Error = String;
    fn try_from(data: CommissionCreditData) -> Result<Self, String> {
        let CommissionCreditData { merchant, customer, amount, currency, order, level, note, available_at } =
            data;
        let money = Money::new(amount, currency)?;
        Ok(Self { merchant, customer, money, order, level, note, available_at })
    }
}

impl CommandData for CommissionCredit {
    type Data = CommissionCreditData;
    const NAME: &'static str = "commission.credit";
    const TYPE: &'static str = "commission.credit.v1";
}

/// `commission.reverse.v1`
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CommissionReverse {
    /// Whose commission.
    pub merchant: MerchantId,
    /// The `commission.credit` to take back.
    pub commission: Reference,
    /// How much of it; all that is left where `None`.
    #[serde(flatten)]
    pub money: Option<Money>,
    /// Why, for the customer's list of operations.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<Note>,
}

/// Data of `commission.reverse.v1`: a commission is taken back, wholly or in part.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(
    extend("dependentRequired" = { "amount": ["currency"], "currency": ["amount"] })
)]
pub struct CommissionReverseData {
    /// The shop, as it is registered with Saldo.
    merchant: MerchantId,
    /// The `commission.credit` to take back.
    #[serde(deserialize_with = "object")]
    commission: Reference,
    /// How much of it, together with `currency`; all that is left where absent.
    #[serde(default, deserialize_with = "present")]
    #[schemars(with = "Amount")]
    amount: Option<Amount>,
    /// ISO 4217 code, the commission's.
    #[serde(default, deserialize_with = "present")]
    #[schemars(with = "Currency")]
    currency: Option<Currency>,
    /// Why, for the customer's list of operations; no control characters but tab and line feed.
    #[serde(default, deserialize_with = "present")]
    #[schemars(with = "Note")]
    reason: Option<Note>,
}

impl TryFrom<CommissionReverseData> for CommissionReverse {
    type Error = String;
    fn try_from(data: CommissionReverseData) -> Result<Self, String> {
        let CommissionReverseData { merchant, commission, amount, currency, reason } = data;
        let money = match (amount, currency) {
            (Some(amount), Some(currency)) => Some(Money::new(amount, currency)?),
            (None, None) => None,
            (Some(_), None) => return Err("currency: is missing; expected together with `amount`".into()),
            (None, Some(_)) => return Err("amount: is missing; expected together with `currency`".into()),
        };
        Ok(Self { merchant, commission, money, reason })
    }
}

impl CommandData for CommissionReverse {
    type Data = CommissionReverseData;
    const NAME: &'static str = "commission.reverse";
    const TYPE: &'static str = "commission.reverse.v1";
}

/// The hold period of this commission is over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CommissionMature {
    /// Whose commission.
    pub merchant: MerchantId,
    /// The `commission.credit` that was held.
    pub commission: Reference,
}

impl CommissionMature {
    /// As [`CommandData::NAME`]; recorded with the outcome.
    pub const NAME: &'static str = "commission.mature";
    /// As [`CommandData::TYPE`]; recorded with the outcome.
    pub const TYPE: &'static str = "commission.mature.v1";
}

event_data! {
    CommissionCredited = "commission.credited",
    CommissionHeld = "commission.held",
    CommissionMatured = "commission.matured",
    CommissionReversed = "commission.reversed",
    CommissionRefused = "commission.refused",
}

/// Data of `commission.credited.v1`: the commission is in the balance.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct CommissionCredited {
    /// Whose customer.
    pub merchant: MerchantId,
    /// Who earned.
    pub customer: CustomerId,
    /// The command that created the commission.
    pub commission: Reference,
    /// The commission.
    pub amount: SignedAmount,
    /// Its currency.
    pub currency: Currency,
    /// The order it was earned with.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "OrderId")]
    pub order: Option<OrderId>,
    /// How far down the affiliate tree.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Level")]
    pub level: Option<Level>,
    /// The posting.
    pub entry: PostedEntry,
    /// The account after it.
    pub account: AccountState,
}

/// Data of `commission.held.v1`: the commission is pending until its hold period ends.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct CommissionHeld {
    /// Whose customer.
    pub merchant: MerchantId,
    /// Who earned.
    pub customer: CustomerId,
    /// The command that created the commission.
    pub commission: Reference,
    /// The commission.
    pub amount: SignedAmount,
    /// Its currency.
    pub currency: Currency,
    /// The order it was earned with.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "OrderId")]
    pub order: Option<OrderId>,
    /// How far down the affiliate tree.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Level")]
    pub level: Option<Level>,
    /// When the hold period ends.
    pub available_at: Timestamp,
    /// The account after it: `pending` has grown.
    pub account: AccountState,
}

/// Data of `commission.matured.v1`: the hold period is over, what is left of the commission is in the balance.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct CommissionMatured {
    /// Whose customer.
    pub merchant: MerchantId,
    /// Who earned.
    pub customer: CustomerId,
    /// The command that created the commission.
    pub commission: Reference,
    /// What was left of it and is now in the balance.
    pub amount: SignedAmount,
    /// Its currency.
    pub currency: Currency,
    /// The posting.
    pub entry: PostedEntry,
    /// The account after it.
    pub account: AccountState,
}

/// Data of `commission.reversed.v1`: a commission, or a part of it, was taken back.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct CommissionReversed {
    /// Whose customer.
    pub merchant: MerchantId,
    /// Who had earned.
    pub customer: CustomerId,
    /// The command that created the commission.
    pub commission: Reference,
    /// How much was taken back now.
    pub amount: SignedAmount,
    /// What is left of the commission.
    pub remaining: SignedAmount,
    /// Its currency.
    pub currency: Currency,
    /// The posting; absent where the commission was still pending and only shrank.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "PostedEntry")]
    pub entry: Option<PostedEntry>,
    /// The account after it.
    pub account: AccountState,
}

/// Data of `commission.refused.v1`: a command was understood and not carried out.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct CommissionRefused {
    /// Whose command.
    pub merchant: MerchantId,
    /// The name of the refused command, such as `commission.reverse`.
    pub command: &'static str,
    /// Why, for programs.
    pub reason: ReasonCode,
    /// Why, for people.
    pub message: String,
    /// The customer, where one is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "CustomerId")]
    pub customer: Option<CustomerId>,
    /// The command that created the commission.
    pub commission: Reference,
    /// The unchanged account, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "AccountState")]
    pub account: Option<AccountState>,
}

/// The name of the worker.
pub const WORKER: &str = "commissions";

/// The routing keys of everything that could be a command of this worker: a misspelt one is to reach the
/// worker's dead letters, with a reason.
pub const ROUTING: &str = "*.commission.#";
