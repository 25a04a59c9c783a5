//! Invented content, to see what a mail looks like.

use contract::notification::MailPreferences;
use contract::{Locale, MailKind, PayoutKind, WithdrawalState};
use ledger::mail::{MailContent, MailItem, MailShop};
use rust_decimal::Decimal;
use time::macros::datetime;

/// What a mail of this kind could tell somebody of this locale.
///
/// # Errors
///
/// None; the invented ids are read as if they were somebody's.
pub fn sample(kind: MailKind, locale: Option<Locale>) -> Result<MailContent, String> {
    let shop = MailShop {
        id: "bottega".parse()?,
        name: "Bottega Rossi".to_owned(),
        default_locale: Locale::default(),
        texts: MailPreferences::default(),
    };
    let first = told(kind, maria()?);
    let items = if kind == MailKind::AdminDigest { vec![first, joao()?, nameless()?] } else { vec![first] };
    Ok(MailContent { kind, shop, locale, items })
}

/// The item in the state that the mail tells of.
fn told(kind: MailKind, requested: MailItem) -> MailItem {
    let at = datetime!(2026-03-06 9:05 UTC);
    let text = |text: &str| Some(text.to_owned());
    let held = requested.held - requested.amount;
    let (note, reason) = (None, None);
    match kind {
        MailKind::AdminRequested | MailKind::AdminDigest | MailKind::CustomerRequested => requested,
        MailKind::CustomerApproved => MailItem { state: WithdrawalState::Approved, at, note, ..requested },
        MailKind::CustomerPaid => MailItem {
            state: WithdrawalState::Paid,
            at,
            held,
            balance: requested.balance - requested.amount,
            note: text("Thank you for your work in February!\nThe next payments are made in April."),
            payment_reference: text("SEPA-2026-03-0042"),
            reason,
            ..requested
        },
        MailKind::CustomerRejected => {
            let reason =
                text("The account belongs to somebody else.\nPlease save one of your own and ask again.");
            MailItem { state: WithdrawalState::Rejected, at, held, note, reason, ..requested }
        }
        MailKind::CustomerCancelled => {
            let reason = text("Cancelled by the customer");
            MailItem { state: WithdrawalState::Cancelled, at, held, note, reason, ..requested }
        }
    }
}

fn maria() -> Result<MailItem, String> {
    Ok(MailItem {
        withdrawal: "5f0c2d9a41be4c7f8a3e6d1b90c7e254".parse()?,
        state: WithdrawalState::Requested,
        at: datetime!(2026-03-05 14:30 UTC),
        requested_at: datetime!(2026-03-05 14:30 UTC),
        customer: "affiliate-17".parse()?,
        customer_name: Some("Maria Bianchi".to_owned()),
        amount: Decimal::new(125_050, 2),
        currency: "EUR".parse()?,
        payout_kind: PayoutKind::BankAccount,
        payout: "IT** **** … 3456".to_owned(),
        minimum: Some(Decimal::new(5_000, 2)),
        balance: Decimal::new(198_075, 2),
        held: Decimal::new(125_050, 2),
        note: Some("The commissions of February.\nThank you!".to_owned()),
        reason: None,
        payment_reference: None,
    })
}

fn joao() -> Result<MailItem, String> {
    Ok(MailItem {
        withdrawal: "a81b6f30d2c94e05b7d41c8e2f6a9037".parse()?,
        requested_at: datetime!(2026-03-05 14:33 UTC),
        customer: "affiliate-4".parse()?,
        customer_name: Some("João Almeida".to_owned()),
        amount: Decimal::new(8_000, 2),
        payout_kind: PayoutKind::Paypal,
        payout: "j***@e***".to_owned(),
        ..maria()?
    })
}

fn nameless() -> Result<MailItem, String> {
    Ok(MailItem {
        withdrawal: "0d7e94c1b6f2483a9c05e8f17a2b6d43".parse()?,
        requested_at: datetime!(2026-03-05 14:37 UTC),
        customer: "affiliate-230".parse()?,
        customer_name: None,
        amount: Decimal::new(42_000, 0),
        currency: "JPY".parse()?,
        payout_kind: PayoutKind::Other,
        payout: "(17 characters)".to_owned(),
        ..maria()?
    })
}
