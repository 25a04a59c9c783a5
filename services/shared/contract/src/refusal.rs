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
    /// Nothing is left of the commission.
    AlreadyReversed,
    /// Another currency than the commission's.
    CurrencyMismatch,
    /// The balance, or a time, would leave the range that Saldo keeps.
    OutOfRange,
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
