//! Why a well-formed command was not carried out.

use schemars::JsonSchema;
use serde::Serialize;

/// What a program branches on. Stable: a code never changes its meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub enum ReasonCode {
    /// The merchant was not registered within the waiting time.
    UnknownMerchant,
    /// The commission did not arrive within the waiting time.
    UnknownCommission,
    /// The commission that is named was itself refused.
    CommissionRefused,
    /// What is named exists and is no commission.
    NotACommission,
    /// More than what is left of the commission.
    ExceedsCommission,
    /// Nothing is left of the commission, or the adjustment was taken back before.
    AlreadyReversed,
    /// Another currency than the commission's.
    CurrencyMismatch,
    /// The balance, or a time, would leave the range that Saldo keeps.
    OutOfRange,
    /// The shop has no such customer, or none arrived within the waiting time.
    UnknownCustomer,
    /// The shop has no such entry, or none arrived within the waiting time.
    UnknownEntry,
    /// What is named exists and is no adjustment that could be taken back.
    NotAnAdjustment,
    /// The adjustment that is named was itself refused.
    AdjustmentRefused,
    /// The debit would take what is available further below zero than the shop's limit.
    BelowLimit,
    /// The shop does not pay out.
    WithdrawalsDisabled,
    /// The shop pays out to affiliates only.
    NotAnAffiliate,
    /// Nobody has said how the customer is paid.
    NoPayoutMethod,
    /// The shop's minimum is not reached.
    BelowMinimum,
    /// More than what is available, now.
    InsufficientFunds,
    /// The shop, or the customer, has no such withdrawal, or none arrived within the waiting time.
    UnknownWithdrawal,
    /// What is named exists and is no withdrawal.
    NotAWithdrawal,
    /// The request that is named was itself refused.
    WithdrawalRefused,
    /// Not possible, or not possible any more, in the withdrawal's state.
    InvalidTransition,
    /// Something newer is stored.
    Outdated,
}

/// A normal outcome: stored, published as `….refused`, acked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// For programs.
    pub code: ReasonCode,
    /// For people: one sentence.
    pub message: String,
}

impl Refusal {
    /// A refusal with this code and sentence.
    pub fn new(code: ReasonCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}
