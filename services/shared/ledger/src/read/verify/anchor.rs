//! Heads that were exported earlier: what the ledger must still have.

use std::cmp::Ordering;
use std::io;

use contract::{EntryId, MerchantId};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use super::{AccountFields, Check, EntryFields, Fault, Faults, Heads, VerifyError};
use crate::Account;

/// An account's newest entry, as it once was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Head {
    /// The account's number.
    pub account: i64,
    /// Whose it is.
    pub merchant: String,
    /// Whose it is.
    pub customer: String,
    /// Of which of the customer's accounts.
    pub currency: String,
    /// How many entries it had: the newest one's number.
    pub entries: i64,
    /// The newest entry's hash, 64 lower-case hexadecimal digits; `None` where there was no entry.
    pub head: Option<String>,
    /// The balance.
    pub balance: String,
}

/// Why a line of an anchor is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HeadFault {
    /// There are entries without a hash, or the other way round, or less than none.
    #[error("entries and head do not belong together")]
    Entries,
    /// The hash.
    #[error("head is no hash: expected 64 lower-case hexadecimal digits")]
    Hash,
    /// The balance.
    #[error("balance is no amount")]
    Balance,
}

impl Head {
    pub(super) fn of(account: &Account) -> Self {
        let key = &account.key;
        Self {
            account: account.id,
            merchant: key.merchant.to_string(),
            customer: key.customer.to_string(),
            currency: key.currency.to_string(),
            entries: account.entries,
            head: account.head.map(|head| hexadecimal(&head)),
            balance: super::chain::shown(account.balance, key.currency).to_string(),
        }
    }

    /// Whether the fields, each of the right type, can be a head.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check(&self) -> Result<(), HeadFault> {
        let digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if self.entries < 0 || (self.entries == 0) != self.head.is_none() {
            return Err(HeadFault::Entries);
        }
        if self.head.as_ref().is_some_and(|head| head.len() != 64 || !head.bytes().all(digit)) {
            return Err(HeadFault::Hash);
        }
        self.balance.parse::<Decimal>().map(|_| ()).map_err(|_| HeadFault::Balance)
    }

    fn fault(&self, message: impl Into<String>) -> Fault {
        Fault {
            check: Check::Anchor,
            merchant: Some(self.merchant.clone()),
            customer: Some(self.customer.clone()),
            currency: Some(self.currency.clone()),
            account: Some(self.account),
            message: message.into(),
            ..Fault::default()
        }
    }
}

/// An anchor, read in step with the ledger: both are ordered by account.
pub(super) struct Anchor<'a> {
    lines: Heads<'a>,
    merchant: Option<&'a MerchantId>,
    ahead: Option<Head>,
    last: i64,
    compared: u64,
}

impl<'a> Anchor<'a> {
    pub(super) fn new(lines: Heads<'a>, merchant: Option<&'a MerchantId>) -> Self {
        Self { lines, merchant, ahead: None, last: 0, compared: 0 }
    }

    pub(super) fn compared(&self) -> u64 {
        self.compared
    }

    /// What was anchored of this account; accounts that should have come before it are missing.
    pub(super) fn reach(
        &mut self,
        account: &AccountFields,
        faults: &mut Faults,
    ) -> Result<Sight, VerifyError> {
        while let Some(head) = self.next()? {
            match head.account.cmp(&account.id) {
                Ordering::Less => self.missing(&head, faults),
                Ordering::Equal => {
                    self.compared += 1;
                    return Ok(Sight::of(head, account, faults));
                }
                Ordering::Greater => {
                    self.ahead = Some(head);
                    break;
                }
            }
        }
        Ok(Sight::default())
    }

    /// After the last account: whatever is left is missing.
    pub(super) fn finish(&mut self, faults: &mut Faults) -> Result<(), VerifyError> {
        while let Some(head) = self.next()? {
            self.missing(&head, faults);
        }
        Ok(())
    }

    fn missing(&mut self, head: &Head, faults: &mut Faults) {
        self.compared += 1;
        faults.add(head.fault("there is no such account any more"));
    }

    /// The next line that is of the merchant.
    fn next(&mut self) -> Result<Option<Head>, VerifyError> {
        if let Some(ahead) = self.ahead.take() {
            return Ok(Some(ahead));
        }
        for head in &mut *self.lines {
            let head = head.map_err(VerifyError::Anchor)?;
            if head.account <= self.last {
                let what = format!("account {} stands after account {}", head.account, self.last);
                return Err(VerifyError::Anchor(io::Error::new(io::ErrorKind::InvalidData, what)));
            }
            self.last = head.account;
            if self.merchant.is_none_or(|merchant| merchant.as_str() == head.merchant) {
                return Ok(Some(head));
            }
        }
        Ok(None)
    }
}

/// An account's anchored head while its entries pass by, until it was seen.
#[derive(Debug, Default)]
pub(super) struct Sight(Option<Head>);

impl Sight {
    fn of(head: Head, account: &AccountFields, faults: &mut Faults) -> Self {
        let anchored = [&head.merchant, &head.customer, &head.currency];
        if anchored != [&account.merchant, &account.customer, &account.currency] {
            let [merchant, customer, currency] = anchored;
            let what = format!("it was merchant {merchant}'s, customer {customer}'s, in {currency}");
            faults.add(account.fault(Check::Anchor, what));
        }
        Self(Some(head).filter(|head| head.entries > 0))
    }

    pub(super) fn entry(&mut self, account: &AccountFields, entry: &EntryFields, faults: &mut Faults) {
        let Some(head) = self.0.take_if(|head| head.entries == entry.number) else { return };
        let mut fault = |what: String| {
            let entry = Some(EntryId { account: account.id, number: entry.number });
            faults.add(Fault { entry, ..account.fault(Check::Anchor, what) });
        };
        if head.head.as_deref() != Some(&hexadecimal(&entry.hash)) {
            fault("its hash is another one than the anchor's".to_owned());
        }
        if head.balance.parse() != Ok(entry.balance_after) {
            fault(format!(
                "the balance after it is {}; the anchor has {}",
                entry.balance_after.normalize(),
                head.balance
            ));
        }
    }

    pub(super) fn end(&self, account: &AccountFields, faults: &mut Faults) {
        if let Some(head) = &self.0 {
            let entry = Some(EntryId { account: account.id, number: head.entries });
            let what = "the anchor has it; it is not there any more";
            faults.add(Fault { entry, ..account.fault(Check::Anchor, what) });
        }
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(64), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
