//! The withdrawals worker's commands and events.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::command::{CommandData, commands};
use crate::event::{AccountState, PostedEntry, event_data};
use crate::json::present;
use crate::value::word_value;
use crate::{
    Actor, Amount, Currency, CustomerId, MerchantId, Money, Name, Note, PayoutKind, ReasonCode, Reference,
    ReferenceText, SignedAmount, UserId, WithdrawalId,
};

/// The name of the worker.
pub const WORKER: &str = "withdrawals";

/// The routing keys of everything that could be a command of this worker, misspelt ones included.
pub const ROUTING: &str = "*.withdrawal.#";

commands! {
    /// A command of the withdrawals worker.
    pub enum WithdrawalCommand {
        /// A customer asks for money.
        Request(WithdrawalRequest),
        /// The shop agrees.
        Approve(WithdrawalApprove),
        /// The shop has paid.
        Pay(WithdrawalPay),
        /// The shop does not agree.
        Reject(WithdrawalReject),
        /// The customer has thought better of it.
        Cancel(WithdrawalCancel),
    }
}

/// `withdrawal.request.v1`
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WithdrawalRequest {
    /// Whose customer.
    pub merchant: MerchantId,
    /// Who asks.
    pub customer: CustomerId,
    /// Which of the customer's accounts.
    pub currency: Currency,
    /// How much; everything available where `None`.
    #[serde(rename = "amount", serialize_with = "amount", skip_serializing_if = "Option::is_none")]
    pub money: Option<Money>,
    /// From the customer, for whoever decides.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<Note>,
}

/// The amount alone: the currency stands beside it.
#[expect(clippy::ref_option, reason = "serde passes it so")]
fn amount<S: serde::Serializer>(money: &Option<Money>, serializer: S) -> Result<S::Ok, S::Error> {
    money.map(Amount::from).serialize(serializer)
}

/// Data of `withdrawal.request.v1`: a customer asks for money.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WithdrawalRequestData {
    /// The shop, as it is registered with Saldo.
    merchant: MerchantId,
    /// The shop's id of the customer.
    customer: CustomerId,
    /// ISO 4217 code of the account.
    currency: Currency,
    /// How much: above zero, at most as many decimals as the currency has; everything available where absent.
    #[serde(default, deserialize_with = "present")]
    #[schemars(with = "Amount")]
    amount: Option<Amount>,
    /// From the customer, for whoever decides; no control characters but tab and line feed.
    #[serde(default, deserialize_with = "present")]
    #[schemars(with = "Note")]
    note: Option<Note>,
}

impl TryFrom<WithdrawalRequestData> for WithdrawalRequest {
    type Error = String;
    fn try_from(data: WithdrawalRequestData) -> Result<Self, String> {
        let WithdrawalRequestData { merchant, customer, currency, amount, note } = data;
        let money = amount.map(|amount| Money::new(amount, currency)).transpose()?;
        Ok(Self { merchant, customer, currency, money, note })
    }
}

impl CommandData for WithdrawalRequest {
    type Data = WithdrawalRequestData;
    const NAME: &'static str = "withdrawal.request";
    const TYPE: &'static str = "withdrawal.request.v1";
}

/// Data of `withdrawal.approve.v1`: a requested withdrawal is going to be paid.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WithdrawalApprove {
    /// The shop, as it is registered with Saldo.
    pub merchant: MerchantId,
    /// Which: an object with `source` and `id` of the request, or its id as a string.
    pub withdrawal: Name<WithdrawalId>,
    /// Who decides, such as a login.
    pub actor: Actor,
    /// Kept with the decision; no control characters but tab and line feed.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Note")]
    pub note: Option<Note>,
}

impl CommandData for WithdrawalApprove {
    type Data = Self;
    const NAME: &'static str = "withdrawal.approve";
    const TYPE: &'static str = "withdrawal.approve.v1";
    const NEEDS_USER: bool = true;
}

/// Data of `withdrawal.pay.v1`: a requested or approved withdrawal was paid.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WithdrawalPay {
    /// The shop, as it is registered with Saldo.
    pub merchant: MerchantId,
    /// Which: an object with `source` and `id` of the request, or its id as a string.
    pub withdrawal: Name<WithdrawalId>,
    /// Who has paid, such as a login.
    pub actor: Actor,
    /// What the bank calls the payment.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "ReferenceText")]
    pub payment_reference: Option<ReferenceText>,
    /// For the customer's list of operations; no control characters but tab and line feed.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Note")]
    pub note: Option<Note>,
}

impl CommandData for WithdrawalPay {
    type Data = Self;
    const NAME: &'static str = "withdrawal.pay";
    const TYPE: &'static str = "withdrawal.pay.v1";
    const NEEDS_USER: bool = true;
}

/// Data of `withdrawal.reject.v1`: a withdrawal that is not paid yet will not be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WithdrawalReject {
    /// The shop, as it is registered with Saldo.
    pub merchant: MerchantId,
    /// Which: an object with `source` and `id` of the request, or its id as a string.
    pub withdrawal: Name<WithdrawalId>,
    /// Who decides, such as a login.
    pub actor: Actor,
    /// Why, for the customer; no control characters but tab and line feed.
    pub reason: Note,
}

impl CommandData for WithdrawalReject {
    type Data = Self;
    const NAME: &'static str = "withdrawal.reject";
    const TYPE: &'static str = "withdrawal.reject.v1";
    const NEEDS_USER: bool = true;
}

/// Data of `withdrawal.cancel.v1`: the customer takes a request back that is not paid yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WithdrawalCancel {
    /// The shop, as it is registered with Saldo.
    pub merchant: MerchantId,
    /// The shop's id of the customer, whose withdrawal it must be.
    pub customer: CustomerId,
    /// Which: an object with `source` and `id` of the request, or its id as a string.
    pub withdrawal: Name<WithdrawalId>,
    /// Why; no control characters but tab and line feed.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Note")]
    pub reason: Option<Note>,
}

impl CommandData for WithdrawalCancel {
    type Data = Self;
    const NAME: &'static str = "withdrawal.cancel";
    const TYPE: &'static str = "withdrawal.cancel.v1";
}

word_value!(
    /// How far a withdrawal has got.
    WithdrawalState {
        /// The customer has asked; the amount is reserved.
        Requested = "requested",
        /// The shop has agreed; the amount is reserved.
        Approved = "approved",
        /// The shop has paid. The end.
        Paid = "paid",
        /// The shop has not agreed. The end.
        Rejected = "rejected",
        /// The customer has taken it back. The end.
        Cancelled = "cancelled",
    }
);

event_data! {
    WithdrawalRequested = "withdrawal.requested",
    WithdrawalApproved = "withdrawal.approved",
    WithdrawalPaid = "withdrawal.paid",
    WithdrawalRejected = "withdrawal.rejected",
    WithdrawalCancelled = "withdrawal.cancelled",
    WithdrawalRefused = "withdrawal.refused",
}

/// What all events of a withdrawal tell of it.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[schemars(inline)]
pub struct WithdrawalFacts {
    /// Whose customer.
    pub merchant: MerchantId,
    /// Who asked.
    pub customer: CustomerId,
    /// Saldo's id of the withdrawal.
    pub withdrawal: WithdrawalId,
    /// The command that requested it.
    pub request: Reference,
    /// How much.
    pub amount: SignedAmount,
    /// Its currency.
    pub currency: Currency,
    /// How far it has got.
    pub state: WithdrawalState,
    /// How the customer is paid, as it was at the request.
    pub payout: MaskedPayout,
}

/// A payout method as everybody may see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(inline)]
pub struct MaskedPayout {
    /// What kind of method.
    pub kind: PayoutKind,
    /// Enough for its owner to know it again.
    pub masked: String,
    /// Which of the customer's methods, from 1.
    pub version: i32,
}

/// Data of `withdrawal.requested.v1`: the amount is reserved.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct WithdrawalRequested {
    /// The withdrawal.
    #[serde(flatten)]
    pub facts: WithdrawalFacts,
    /// The minimum that was reached, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "SignedAmount")]
    pub minimum: Option<SignedAmount>,
    /// From the customer.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Note")]
    pub note: Option<Note>,
    /// The account after it: `held` has grown.
    pub account: AccountState,
}

/// Data of `withdrawal.approved.v1`: the withdrawal is going to be paid.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct WithdrawalApproved {
    /// The withdrawal.
    #[serde(flatten)]
    pub facts: WithdrawalFacts,
    /// Who decided, says the command; absent where it was small enough to need nobody.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Actor")]
    pub actor: Option<Actor>,
    /// The broker user who sent the command.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "UserId")]
    pub user: Option<UserId>,
    /// Kept with the decision.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Note")]
    pub note: Option<Note>,
    /// The account after it.
    pub account: AccountState,
}

/// Data of `withdrawal.paid.v1`: the withdrawal was paid, balance and `held` have shrunk.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct WithdrawalPaid {
    /// The withdrawal.
    #[serde(flatten)]
    pub facts: WithdrawalFacts,
    /// Who has paid, says the command.
    pub actor: Actor,
    /// The broker user who sent the command.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "UserId")]
    pub user: Option<UserId>,
    /// What the bank calls the payment.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "ReferenceText")]
    pub payment_reference: Option<ReferenceText>,
    /// Kept with the payment.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Note")]
    pub note: Option<Note>,
    /// The posting.
    pub entry: PostedEntry,
    /// The account after it.
    pub account: AccountState,
}

/// Data of `withdrawal.rejected.v1`: the shop does not pay, the amount is available again.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct WithdrawalRejected {
    /// The withdrawal.
    #[serde(flatten)]
    pub facts: WithdrawalFacts,
    /// Who decided, says the command.
    pub actor: Actor,
    /// The broker user who sent the command.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "UserId")]
    pub user: Option<UserId>,
    /// Why.
    pub reason: Note,
    /// The account after it.
    pub account: AccountState,
}

/// Data of `withdrawal.cancelled.v1`: the customer took the request back, the amount is available again.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct WithdrawalCancelled {
    /// The withdrawal.
    #[serde(flatten)]
    pub facts: WithdrawalFacts,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Note")]
    pub reason: Option<Note>,
    /// The account after it.
    pub account: AccountState,
}

/// Data of `withdrawal.refused.v1`: a command was understood and not carried out.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct WithdrawalRefused {
    /// Whose command.
    pub merchant: MerchantId,
    /// The name of the refused command, such as `withdrawal.request`.
    pub command: &'static str,
    /// Why, for programs.
    pub reason: ReasonCode,
    /// Why, for people.
    pub message: String,
    /// The customer, where one is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "CustomerId")]
    pub customer: Option<CustomerId>,
    /// The withdrawal, where one is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "WithdrawalId")]
    pub withdrawal: Option<WithdrawalId>,
    /// The unchanged account, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "AccountState")]
    pub account: Option<AccountState>,
}
