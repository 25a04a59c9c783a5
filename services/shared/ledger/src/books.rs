//! The part of the ledger that a batch touches, in memory.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use contract::adjustment::{AdjustmentCredit, AdjustmentDebit};
use contract::command::CommandData;
use contract::commission::CommissionCredit;
use contract::withdrawal::WithdrawalRequest;
use contract::{
    AccountState, CommandKey, EntryId, Event, EventData, KeyHash, MerchantId, Origin, PostedEntry,
    ReasonCode, Received, Refusal, Timestamp,
};
use rust_decimal::Decimal;

use crate::{
    Account, AccountKey, Awaited, Commission, CurrentPayout, Customer, CustomerKey, Entry, EntryKind,
    Merchant, NewPayout, Posting, Transition, Withdrawal,
};

/// Commands of a worker that create what its others name. One that was decided and created nothing was refused.
const CREATING: [(&str, &str); 4] = [
    (contract::commission::WORKER, CommissionCredit::TYPE),
    (contract::adjustment::WORKER, AdjustmentCredit::TYPE),
    (contract::adjustment::WORKER, AdjustmentDebit::TYPE),
    (contract::withdrawal::WORKER, WithdrawalRequest::TYPE),
];

/// Rows that the batch has locked or read, and what its commands have changed so far.
#[derive(Debug, Clone)]
pub struct Books {
    worker: &'static str,
    now: Timestamp,
    merchants: HashMap<MerchantId, Merchant>,
    customers: HashMap<CustomerKey, Customer>,
    account_ids: HashMap<AccountKey, i64>,
    accounts: HashMap<i64, Account>,
    posted: HashMap<EntryId, Posted>,
    named: HashMap<KeyHash, Named>,
    changes: Changes,
    arrived: Vec<Awaited>,
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
    /// Withdrawals that differ from their rows, or have none; in key order.
    pub withdrawals: BTreeMap<KeyHash, Withdrawal>,
    /// Those of them that have none.
    pub new_withdrawals: BTreeSet<KeyHash>,
    /// States that withdrawals entered, in their order.
    pub transitions: Vec<Transition>,
    /// Merchants that differ from their rows.
    pub merchants: BTreeSet<MerchantId>,
    /// Merchants that have none.
    pub new_merchants: BTreeSet<MerchantId>,
    /// Customers that differ from their rows.
    pub customers: BTreeSet<CustomerKey>,
    /// Customers that have none.
    pub new_customers: BTreeSet<CustomerKey>,
    /// New versions of payout methods, in their order.
    pub payouts: Vec<NewPayout>,
}

/// What a `{source, id}` stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Named {
    /// A commission.
    Commission(Commission),
    /// A withdrawal.
    Withdrawal(Withdrawal),
    /// An entry; [`Books::posted`] has it.
    Entry(EntryId),
    /// A command of this worker that was refused: there is nothing to name.
    Refused,
    /// A command that creates, or would have created, something else.
    Other,
    /// Nothing that is decided yet.
    Unknown,
}

/// An entry that a command names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Posted {
    /// What it was posted for.
    pub kind: EntryKind,
    /// What was posted.
    pub amount: Decimal,
    /// Whether another entry takes it back.
    pub reversed: bool,
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
            customers: HashMap::new(),
            account_ids: HashMap::new(),
            accounts: HashMap::new(),
            posted: HashMap::new(),
            named: HashMap::new(),
            changes: Changes::default(),
            arrived: Vec::new(),
        }
    }

    /// Enters a merchant that was read.
    pub fn load_merchant(&mut self, merchant: Merchant) {
        self.merchants.insert(merchant.id.clone(), merchant);
    }

    /// Enters a customer that was read.
    pub fn load_customer(&mut self, customer: Customer) {
        self.customers.insert(customer.key.clone(), customer);
    }

    /// Enters an entry that was read.
    pub fn load_posted(&mut self, id: EntryId, posted: Posted) {
        self.posted.insert(id, posted);
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

    /// A customer that is known.
    pub fn customer(&self, key: &CustomerKey) -> Option<&Customer> {
        self.customers.get(key)
    }

    /// An entry that a command names, or that was posted in this batch.
    pub fn posted(&self, id: EntryId) -> Option<&Posted> {
        self.posted.get(&id)
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

    /// Notes that the command under this key was decided, in this batch or before. If that made nothing known, it
    /// names nothing of what this worker's commands name.
    pub fn note_decided(&mut self, key: KeyHash, message_type: &str) {
        self.named.entry(key).or_insert(if CREATING.contains(&(self.worker, message_type)) {
            Named::Refused
        } else {
            Named::Other
        });
    }

    /// What has become known since this was last asked: who waits for it can be decided.
    pub fn arrived(&mut self) -> Vec<Awaited> {
        std::mem::take(&mut self.arrived)
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

    /// Writes down a withdrawal and the state it entered.
    pub fn put_withdrawal(&mut self, withdrawal: Withdrawal, transition: Transition) {
        let key = withdrawal.request.hash();
        if transition.number == 1 {
            self.changes.new_withdrawals.insert(key);
        }
        self.changes.withdrawals.insert(key, withdrawal.clone());
        self.changes.transitions.push(transition);
        self.named.insert(key, Named::Withdrawal(withdrawal));
    }

    /// Writes down a shop, new or changed.
    pub fn put_merchant(&mut self, merchant: Merchant) {
        let id = merchant.id.clone();
        if self.merchants.insert(id.clone(), merchant).is_none() {
            self.arrived.push(Awaited::Merchant(id.clone()));
            self.changes.new_merchants.insert(id);
        } else if !self.changes.new_merchants.contains(&id) {
            self.changes.merchants.insert(id);
        }
    }

    /// Writes down a customer, new or changed.
    pub fn put_customer(&mut self, customer: Customer) {
        let key = customer.key.clone();
        if self.customers.insert(key.clone(), customer).is_none() {
            self.arrived.push(Awaited::Customer(key.merchant.clone(), key.customer.clone()));
            self.changes.new_customers.insert(key);
        } else if !self.changes.new_customers.contains(&key) {
            self.changes.customers.insert(key);
        }
    }

    /// Writes down a new version of a known customer's payout method.
    pub fn put_payout(&mut self, payout: NewPayout) {
        if let Some(customer) = self.customers.get_mut(&payout.owner) {
            let (snapshot, put_at) = (payout.snapshot.clone(), payout.put_at);
            customer.payout = Some(CurrentPayout { snapshot, put_at });
        }
        self.changes.payouts.push(payout);
    }

    /// Makes the entry that a command just posted known under that command's key.
    pub fn know_entry(&mut self, command: KeyHash, entry: EntryId) {
        self.named.insert(command, Named::Entry(entry));
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
        let shown = entry.posted(&account.key);
        let state = account.state();
        let Posting { kind, amount, reverses, .. } = entry.posting;
        self.posted.insert(entry.id, Posted { kind, amount, reversed: false });
        if let Some(number) = reverses
            && let Some(taken_back) = self.posted.get_mut(&EntryId { number, ..entry.id })
        {
            taken_back.reversed = true;
        }
        self.changes.entries.push(entry);
        Ok((shown, state))
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
