//! What is known of a commission beyond its entry: how much was taken back, and whether it is still pending.

use contract::{
    CommandKey, KeyHash, Level, Money, Note, OrderId, ReasonCode, Refusal, SignedAmount, Timestamp,
};
use rust_decimal::Decimal;

use crate::{AccountKey, EntryKind, Posting};

/// A commission that exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commission {
    /// The command that created it.
    pub key: CommandKey,
    /// The number of the account it belongs to.
    pub account: i64,
    /// Whose account that is.
    pub owner: AccountKey,
    /// What was earned.
    pub amount: Decimal,
    /// What was taken back of it; at most the amount.
    pub reversed: Decimal,
    /// Where the rest is.
    pub state: CommissionState,
    /// What its entries say of it.
    pub about: About,
}

/// What was said of a commission, for its entries.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct About {
    /// The order it was earned with.
    pub order: Option<OrderId>,
    /// How far down the affiliate tree.
    pub level: Option<Level>,
    /// For the customer's list of operations.
    pub note: Option<Note>,
}

/// Where a commission's money is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommissionState {
    /// Pending until its hold period ends.
    Pending {
        /// When it ends.
        available_at: Timestamp,
    },
    /// In the balance.
    Credited,
    /// Nowhere: wholly taken back while it was pending.
    Cancelled,
}

impl Commission {
    /// What is left of it.
    pub fn remaining(&self) -> Decimal {
        self.amount - self.reversed
    }

    /// How much a reversal of this part, or of all that is left, takes back.
    ///
    /// # Errors
    /// Nothing is left, more than what is left is asked for, or another currency is named.
    pub fn reversible(&self, part: Option<Money>) -> Result<Decimal, Refusal> {
        let (remaining, currency) = (self.remaining(), self.owner.currency);
        if let Some(part) = part.filter(|part| part.currency() != currency) {
            return Err(Refusal::new(
                ReasonCode::CurrencyMismatch,
                format!("The commission is in {currency}, the reversal in {}.", part.currency()),
            ));
        }
        if remaining.is_zero() {
            return Err(Refusal::new(ReasonCode::AlreadyReversed, "Nothing is left of the commission."));
        }
        match part.map(Money::amount) {
            None => Ok(remaining),
            Some(part) if part <= remaining => Ok(part),
            Some(part) => Err(Refusal::new(
                ReasonCode::ExceedsCommission,
                format!(
                    "{part} {currency} is more than the {} {currency} that is left of the commission.",
                    SignedAmount::new(remaining, currency),
                ),
            )),
        }
    }

    /// Takes back this much, which [`Self::reversible`] allowed.
    pub fn reverse(&mut self, part: Decimal) {
        self.reversed += part;
        if self.remaining().is_zero() && matches!(self.state, CommissionState::Pending { .. }) {
            self.state = CommissionState::Cancelled;
        }
    }

    /// The posting that credits what is left of it.
    pub fn credit(&self, command: KeyHash, occurred_at: Timestamp) -> Posting {
        let About { order, level, note } = self.about.clone();
        let posting = Posting::new(EntryKind::Commission, self.remaining(), command, occurred_at);
        Posting { order, level, note, ..posting }
    }

    /// The posting that takes a part of it back from the balance.
    pub fn reversal(
        &self,
        part: Decimal,
        reason: Option<Note>,
        command: KeyHash,
        occurred_at: Timestamp,
    ) -> Posting {
        let About { order, level, .. } = self.about.clone();
        let posting = Posting::new(EntryKind::CommissionReversal, -part, command, occurred_at);
        Posting { order, level, note: reason, ..posting }
    }
}
