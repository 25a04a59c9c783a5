//! A request for payout and the states it goes through.
//!
//! While it is open its amount is part of the account's `held`. Whatever changes a withdrawal does so under the
//! lock of its account.

use contract::{
    Actor, CommandKey, KeyHash, Note, ReferenceText, SignedAmount, Timestamp, UserId, WithdrawalId,
    WithdrawalState,
};
use rust_decimal::Decimal;

use crate::{AccountKey, EntryKind, PayoutSnapshot, Posting};

/// A withdrawal that exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Withdrawal {
    /// The command that requested it.
    pub request: CommandKey,
    /// The number of the account it is paid from.
    pub account: i64,
    /// Whose account that is.
    pub owner: AccountKey,
    /// How much.
    pub amount: Decimal,
    /// Where it stands.
    pub state: WithdrawalState,
    /// How the customer wanted to be paid when it was requested.
    pub payout: PayoutSnapshot,
    /// How many states it has had: the newest transition's number.
    pub transitions: i32,
    /// The number of the account's entry that paid it.
    pub payment: Option<i64>,
    /// When it was requested, by the database's clock.
    pub requested_at: Timestamp,
}

/// What can be done with a withdrawal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The shop is going to pay it.
    Approve,
    /// The shop has paid it.
    Pay,
    /// The shop does not pay it.
    Reject,
    /// The customer takes it back.
    Cancel,
}

impl Step {
    /// The state that the step leads to; `None` where it leads nowhere.
    pub fn from(self, state: WithdrawalState) -> Option<WithdrawalState> {
        use WithdrawalState::{Approved, Cancelled, Paid, Rejected, Requested};
        match (state, self) {
            (Requested, Self::Approve) => Some(Approved),
            (Requested | Approved, Self::Pay) => Some(Paid),
            (Requested | Approved, Self::Reject) => Some(Rejected),
            (Requested | Approved, Self::Cancel) => Some(Cancelled),
            (Approved, Self::Approve)
            | (Paid | Rejected | Cancelled, Self::Approve | Self::Pay | Self::Reject | Self::Cancel) => None,
        }
    }
}

/// Whether a withdrawal in this state still holds its amount.
pub fn is_open(state: WithdrawalState) -> bool {
    matches!(state, WithdrawalState::Requested | WithdrawalState::Approved)
}

impl Withdrawal {
    /// Saldo's id of it.
    pub fn id(&self) -> WithdrawalId {
        WithdrawalId(self.request.hash())
    }

    /// The amount as events show it.
    pub fn shown(&self) -> SignedAmount {
        SignedAmount::new(self.amount, self.owner.currency)
    }

    /// The posting that pays it.
    pub fn posting(&self, command: KeyHash, occurred_at: Timestamp) -> Posting {
        Posting::new(EntryKind::Withdrawal, -self.amount, command, occurred_at)
    }
}

/// A state that a withdrawal entered, and who brought it there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transition {
    /// The withdrawal, by the stored form of its requesting command's key.
    pub withdrawal: KeyHash,
    /// From 1, without gaps, within the withdrawal.
    pub number: i32,
    /// The state.
    pub state: WithdrawalState,
    /// Whom the command names.
    pub actor: Option<Actor>,
    /// The broker user who published it, where one is required.
    pub user: Option<UserId>,
    /// Why, for people.
    pub reason: Option<Note>,
    /// What the bank calls the payment.
    pub payment_reference: Option<ReferenceText>,
    /// The command.
    pub command: KeyHash,
    /// When it happened, says the publisher.
    pub occurred_at: Timestamp,
    /// When it was recorded, by the database's clock.
    pub recorded_at: Timestamp,
}
