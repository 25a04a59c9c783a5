//! The part of the ledger that a batch touches, in memory.

use std::collections::{BTreeSet, HashMap};

use contract::command::CommandData;
use contract::commission::CommissionCredit;
use contract::{
    AccountState, CommandKey, Event, EventData, KeyHash, MerchantId, Origin, PostedEntry, ReasonCode,
    Received, Refusal, Timestamp,
};
use rust_decimal::Decimal;

use crate::{Account, AccountKey, Commission, Entry, Merchant, Posting};

/// Rows that the batch has locked or read, and what its commands have changed so far.
#[derive(Debug, Clone)]
pub struct Books {
    worker: &'static str,
    now: Timestamp,
    merchants: HashMap<MerchantId, Merchant>,
    account_ids: HashMap<AccountKey, i64>,
    accounts: HashMap<i64, Account>,
    named: HashMap<KeyHash, Named>,
    changes: Changes,
}

/// What the batch has to write, besides the inbox.
#[derive(Debug, Clone, Default)]
pub struct Changes {
    /// New entries, in the order they were posted.
    pub entries: Vec<Entry>,
    /// Accounts that differ from their rows.
    pub accounts: BTreeSet<i64>,
    /// Commissions that differ from their rows, or have none and need one.
    pub commissions: HashMap<KeyHash, Commission>,
}

/// What a `{source, id}` stands for.
#[expect(clippy::large_enum_variant, reason = "nearly all that is named is a commission")]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Named {
    /// A commission.
    Commission(Commission),
    /// A command that was refused: there is nothing to name.
    Refused,
    /// A command that created something else.
    Other,
    /// Nothing that is decided yet.
    Unknown,
}

/// What moves between an account's figures besides the balance.
#[derive(Debug, Clone, Copy, Default)]
pub struct Shift {
    /// Added to `pending`.
    pub pending: Decimal,
    /// Added to `held`.
    pub held: Decimal,
}

impl Books {
    /// Books of a worker at a moment, still empty.
    pub fn new(worker: &'static str, now: Timestamp) -> Self {
        Self {
            worker,
            now,
            merchants: HashMap::new(),
            account_ids: HashMap::new(),
            accounts: HashMap::new(),
            named: HashMap::new(),
            changes: Changes::default(),
        }
    }

    /// Enters a merchant that was read.
    pub fn load_merchant(&mut self, merchant: Merchant) {
        self.merchants.insert(merchant.id.clone(), merchant);
    }

    /// Enters an account that was locked.
    pub fn load_account(&mut self, account: Account) {
        self.account_ids.insert(account.key.clone(), account.id);
        self.accounts.insert(account.id, account);
    }

    /// Enters what a reference was found to stand for.
    pub fn load_named(&mut self, key: KeyHash, named: Named) {
        self.named.insert(key, named);
    }

    /// The database's clock, read after the locks were taken.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// A registered merchant.
    pub fn merchant(&self, id: &MerchantId) -> Option<&Merchant> {
        self.merchants.get(id)
    }

    /// An account by whose it is.
    pub fn account(&self, key: &AccountKey) -> Option<&Account> {
        self.account_ids.get(key).and_then(|id| self.accounts.get(id))
    }

    /// An account by its number.
    pub fn account_by_id(&self, id: i64) -> Option<&Account> {
        self.accounts.get(&id)
    }

    /// What a reference stands for now.
    pub fn named(&self, key: KeyHash) -> &Named {
        self.named.get(&key).unwrap_or(&Named::Unknown)
    }

    /// Notes that the command under this key was decided. If that made no commission known, it names none.
    pub fn note_decided(&mut self, key: KeyHash, message_type: &str) {
        self.named.entry(key).or_insert(if message_type == CommissionCredit::TYPE {
            Named::Refused
        } else {
            Named::Other
        });
    }

    /// Writes down a new or changed commission. One that was just credited at once needs no row of its own.
    pub fn put_commission(&mut self, commission: Commission) {
        let key = commission.key.hash();
        self.changes.commissions.insert(key, commission.clone());
        self.named.insert(key, Named::Commission(commission));
    }

    /// Makes a commission that was just credited at once known to the rest of the batch.
    pub fn know_commission(&mut self, commission: Commission) {
        self.named.insert(commission.key.hash(), Named::Commission(commission));
    }

    /// Changes an account without a posting. The version grows by one.
    ///
    /// # Errors
    /// A figure would leave ±[`Account::LIMIT`], or `held` or `pending` would fall below zero; nothing has
    /// changed then.
    pub fn shift(&mut self, account: i64, shift: Shift) -> Result<AccountState, Refusal> {
        let account = changed(&mut self.accounts, account, shift, Decimal::ZERO)?;
        self.changes.accounts.insert(account.id);
        Ok(account.state())
    }

    /// Posts an entry, and shifts other figures with it. The version grows by one.
    ///
    /// # Errors
    /// As [`Self::shift`].
    pub fn post(
        &mut self,
        account: i64,
        shift: Shift,
        posting: Posting,
    ) -> Result<(PostedEntry, AccountState), Refusal> {
        let account = changed(&mut self.accounts, account, shift, posting.amount)?;
        self.changes.accounts.insert(account.id);
        let entry = Entry::next(account, posting, self.now);
        account.balance = entry.balance_after;
        account.entries = entry.id.number;
        account.head = Some(entry.hash);
        let posted = entry.posted(&account.key);
        let state = account.state();
        self.changes.entries.push(entry);
        Ok((posted, state))
    }

    /// The event that this command causes.
    pub fn event<C, D: EventData>(&self, received: &Received<C>, data: &D) -> Event {
        self.event_of(&received.key, received.traceparent.as_deref(), data)
    }

    /// The event that the command under this key causes, now that its time has come.
    pub fn event_of<D: EventData>(&self, cause: &CommandKey, traceparent: Option<&str>, data: &D) -> Event {
        let origin = Origin { worker: self.worker, cause, traceparent, time: self.now };
        #[expect(
            clippy::expect_used,
            reason = "event data are plain structs, whose serialisation cannot fail"
        )]
        Event::compose(origin, data).expect("an event's data can be written as JSON")
    }

    /// What was changed so far.
    pub fn changes(&self) -> &Changes {
        &self.changes
    }
}

/// The account with the shift applied and its version grown, if every figure stays within its range; the
/// balance is only checked.
fn changed(
    accounts: &mut HashMap<i64, Account>,
    account: i64,
    shift: Shift,
    posted: Decimal,
) -> Result<&mut Account, Refusal> {
    let out_of_range =
        || Refusal::new(ReasonCode::OutOfRange, "The account would leave the range of ±10^15.");
    let account = accounts.get_mut(&account).ok_or_else(out_of_range)?;
    let (pending, held) = (account.pending + shift.pending, account.held + shift.held);
    let within = |figure: Decimal| figure.abs() <= Account::LIMIT;
    let possible = within(account.balance + posted)
        && [pending, held].into_iter().all(|figure| within(figure) && figure >= Decimal::ZERO);
    if !possible {
        return Err(out_of_range());
    }
    account.pending = pending;
    account.held = held;
    account.version += 1;
    Ok(account)
}
