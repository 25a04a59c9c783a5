//! What a mail tells, as the ledger has it when the mail is written.
//!
//! Texts from outside are plain strings here, exactly as they are stored: whoever writes a mail must be able to show
//! whatever there is.

use contract::notification::MailPreferences;
use contract::{
    Currency, CustomerId, Locale, MailKind, MerchantId, PayoutKind, WithdrawalId, WithdrawalState,
};
use rust_decimal::Decimal;
use time::OffsetDateTime;

/// All that a mail is written from.
#[derive(Debug, Clone)]
pub struct MailContent {
    /// What it is for.
    pub kind: MailKind,
    /// Whose customers it is about.
    pub shop: MailShop,
    /// The reader's language, where it is known; otherwise the shop's counts.
    pub locale: Option<Locale>,
    /// What it tells of: one thing, or, in a digest, at least one.
    pub items: Vec<MailItem>,
}

/// The shop that a mail is about.
#[derive(Debug, Clone)]
pub struct MailShop {
    /// Its id.
    pub id: MerchantId,
    /// What it calls itself.
    pub name: String,
    /// The language of whoever has no other.
    pub default_locale: Locale,
    /// What it says instead of the built-in words.
    pub texts: MailPreferences,
}

/// A withdrawal and the state it has entered.
#[derive(Clone)]
pub struct MailItem {
    /// Which withdrawal.
    pub withdrawal: WithdrawalId,
    /// The state that it entered.
    pub state: WithdrawalState,
    /// When it entered it, by the database's clock.
    pub at: OffsetDateTime,
    /// When it was requested, by the database's clock.
    pub requested_at: OffsetDateTime,
    /// Whose it is.
    pub customer: CustomerId,
    /// What the customer is called, where that is known.
    pub customer_name: Option<String>,
    /// How much.
    pub amount: Decimal,
    /// In this currency; so are the other figures.
    pub currency: Currency,
    /// How the customer is paid.
    pub payout_kind: PayoutKind,
    /// The masked form of the method.
    pub payout: String,
    /// The shop's minimum at the request, where there was one.
    pub minimum: Option<Decimal>,
    /// The account's balance after it.
    pub balance: Decimal,
    /// What is reserved by open withdrawals after it.
    pub held: Decimal,
    /// What was said with it: the customer's note with a request, the staff's with an approval or a payment.
    pub note: Option<String>,
    /// Why it was rejected or cancelled.
    pub reason: Option<String>,
    /// What the bank calls the payment.
    pub payment_reference: Option<String>,
}

impl MailItem {
    /// What the customer could have withdrawn before it entered this state. A request reserves its amount, a rejection
    /// or cancellation gives it back; an approval or a payment changes nothing of what is available.
    pub fn available_before(&self) -> Decimal {
        match self.state {
            WithdrawalState::Requested => self.available() + self.amount,
            WithdrawalState::Rejected | WithdrawalState::Cancelled => self.available() - self.amount,
            WithdrawalState::Approved | WithdrawalState::Paid => self.available(),
        }
    }

    /// What the customer can withdraw after it.
    pub fn available(&self) -> Decimal {
        self.balance - self.held
    }
}

/// Names and notes are people's.
impl std::fmt::Debug for MailItem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MailItem")
            .field("withdrawal", &self.withdrawal)
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}
