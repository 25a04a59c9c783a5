//! What a mail says of its withdrawals, item by item.

use contract::{MailKind, PayoutKind, WithdrawalState};
use ledger::mail::MailItem;
use minijinja::{Value, context};

use super::LetterError;
use super::figures::Figures;
use super::passage::{Passage, mark};
use super::words::Words;

/// How an item is put into words.
pub(super) struct Facts<'a> {
    pub(super) words: &'a Words,
    pub(super) figures: &'a Figures<'a>,
}

type Rows = Result<Vec<Value>, LetterError>;

impl Facts<'_> {
    /// Each of one line.
    pub(super) fn rows(&self, kind: MailKind, item: &MailItem) -> Rows {
        match kind {
            MailKind::AdminRequested | MailKind::AdminDigest => self.for_admin(item),
            _ => self.for_customer(item),
        }
    }

    fn for_admin(&self, item: &MailItem) -> Rows {
        let mut rows = vec![
            self.row("customer", &customer(item))?,
            self.amount("amount", item.amount, item)?,
            self.row("payout", &self.payout(item)?)?,
            self.amount("balance", item.balance, item)?,
            self.amount("available-before", item.available_before(), item)?,
            self.amount("available-after", item.available(), item)?,
        ];
        if let Some(minimum) = item.minimum {
            rows.push(self.amount("minimum", minimum, item)?);
        }
        rows.push(self.row("requested-at", &Passage::words(self.figures.time(item.requested_at)?))?);
        rows.push(self.row("request", &Passage::words(item.withdrawal.to_string()))?);
        Ok(rows)
    }

    fn for_customer(&self, item: &MailItem) -> Rows {
        let state = self.words.word(&format!("state-{}", item.state))?;
        let mut rows = vec![
            self.amount("amount", item.amount, item)?,
            self.row("state", &Passage::words(state))?,
            self.row("payout", &self.payout(item)?)?,
        ];
        if let Some(reference) = &item.payment_reference {
            rows.push(self.row("payment-reference", &Passage::value(reference))?);
        }
        rows.push(self.amount("available-now", item.available(), item)?);
        rows.push(self.row("requested-at", &Passage::words(self.figures.time(item.requested_at)?))?);
        if item.state != WithdrawalState::Requested {
            rows.push(self.row(&format!("{}-at", item.state), &Passage::words(self.figures.time(item.at)?))?);
        }
        Ok(rows)
    }

    /// What people have written, perhaps in several lines. The staff's note with an approval is not for the customer.
    pub(super) fn quotes(&self, kind: MailKind, item: &MailItem) -> Rows {
        let (label, text) = match kind {
            MailKind::AdminRequested | MailKind::AdminDigest => ("customer-note", &item.note),
            MailKind::CustomerPaid => ("shop-note", &item.note),
            MailKind::CustomerRejected | MailKind::CustomerCancelled => ("reason", &item.reason),
            MailKind::CustomerRequested | MailKind::CustomerApproved => return Ok(Vec::new()),
        };
        text.iter().map(|text| self.row(label, &Passage::note(text))).collect()
    }

    /// A line of a digest.
    pub(super) fn digest(&self, item: &MailItem) -> Result<Value, LetterError> {
        let id = item.withdrawal.to_string();
        Ok(context! {
            customer => customer(item).to_value(),
            amount => self.figures.amount(item.amount, item.currency),
            payout => self.payout(item)?.to_value(),
            time => self.figures.time(item.requested_at)?,
            short_id => format!("{}…", id.chars().take(8).collect::<String>()),
            id,
        })
    }

    fn row(&self, label: &str, passage: &Passage) -> Result<Value, LetterError> {
        let label = self.words.word(&format!("label-{label}"))?;
        Ok(context! { label, ..passage.to_value() })
    }

    fn amount(
        &self,
        label: &str,
        figure: rust_decimal::Decimal,
        item: &MailItem,
    ) -> Result<Value, LetterError> {
        self.row(label, &Passage::words(self.figures.amount(figure, item.currency)))
    }

    fn payout(&self, item: &MailItem) -> Result<Passage, LetterError> {
        let kind = self.words.word(&format!("payout-{}", item.payout_kind))?;
        Ok(match hidden(item) {
            Some(count) => Passage::words(format!("{kind} {}", self.words.counted("payout-hidden", count)?)),
            None => Passage::marked(&format!("{kind}, {}", mark(&item.payout))),
        })
    }
}

/// Name and id, or the id alone.
fn customer(item: &MailItem) -> Passage {
    let id = mark(item.customer.as_str());
    match &item.customer_name {
        Some(name) => Passage::marked(&format!("{} ({id})", mark(name))),
        None => Passage::marked(&id),
    }
}

/// How long a payout method of another kind is, which is all that is shown of it: the ledger has it in English.
fn hidden(item: &MailItem) -> Option<usize> {
    let inside = item.payout.strip_prefix('(')?.strip_suffix(')')?;
    let count = inside.strip_suffix(" characters").or_else(|| inside.strip_suffix(" character"))?;
    count.parse().ok().filter(|_| item.payout_kind == PayoutKind::Other)
}
