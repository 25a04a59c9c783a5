//! What Saldo does, said a second time: maps, whole numbers and about ten lines for each command. Nothing here is the
//! ledger's own code, so that what both agree on is what was meant.
//!
//! A run is a series of transactions ([`Model::begin`]) in which one worker takes commands ([`Model::apply`]), looks
//! again at those that wait ([`Model::retry`]), or lets commissions mature ([`Model::mature`]). Where the order was
//! the ledger's own choice, the model can be led along it instead ([`Model::decide`], [`Model::park`]).

mod command;
mod rules;
pub mod seen;
pub mod tables;
mod told;
mod units;

use std::collections::{BTreeMap, BTreeSet};

pub use command::Command;
use rules::No;
use serde_json::{Value, json};
pub use told::Told;
use units::{exponent, micros, minor, text};

/// Merchant, source and id.
pub type Key = (String, String, String);

/// Merchant, customer and currency.
pub type AccountKey = (String, String, String);

/// What becomes of a command that arrives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Its key was used with other content.
    Conflict,
    /// It was decided in an earlier transaction: the same is told again.
    Repeated(Vec<Told>),
    /// It waits.
    Parked,
    /// It is decided, and perhaps others that waited for it. Nothing is told of a copy in the same transaction.
    Decided(Vec<Told>),
}

/// What a command waits for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Awaited {
    /// Another command.
    Command(Key),
    /// A merchant.
    Merchant(String),
    /// A merchant's customer.
    Customer(String, String),
}

/// What a merchant prefers, by currency in the smallest unit.
#[derive(Debug, Clone, Default, PartialEq)]
struct Merchant {
    put_at: i64,
    hold_days: i64,
    enabled: bool,
    by_amount: bool,
    minimum: BTreeMap<String, i64>,
    negative_limit: BTreeMap<String, i64>,
    auto_approve_below: BTreeMap<String, i64>,
}

#[derive(Debug, Clone, PartialEq)]
struct Customer {
    kind: String,
    locale: Value,
    put_at: Option<i64>,
    /// Version, kind and time of the payout method.
    payout: Option<(i64, &'static str, i64)>,
}

/// In the smallest unit.
#[derive(Debug, Clone, Default)]
struct Account {
    balance: i64,
    held: i64,
    pending: i64,
    version: i64,
    entries: Vec<Entry>,
}

#[derive(Debug, Clone)]
struct Entry {
    kind: &'static str,
    amount: i64,
    reversed: bool,
}

#[derive(Debug, Clone)]
struct Commission {
    account: AccountKey,
    amount: i64,
    reversed: i64,
    /// When its hold period ends; `None`: it is over, or there was none.
    available_at: Option<i64>,
    was_held: bool,
}

#[derive(Debug, Clone)]
struct Withdrawal {
    account: AccountKey,
    amount: i64,
    payout: (i64, &'static str),
    /// Every state it has had.
    states: Vec<&'static str>,
}

/// A command that was seen.
#[derive(Debug, Clone)]
struct Known {
    id: String,
    name: String,
    content: Value,
    /// What it caused, and in which transaction.
    told: Option<(u64, Vec<Told>)>,
    entry: Option<(AccountKey, usize)>,
}

#[derive(Debug, Clone)]
struct Waiting {
    command: Command,
    awaited: Awaited,
    /// The transaction that parked it first, and its place among those of two lanes.
    since: (u64, i64),
    /// The transaction that parked it last.
    parked: u64,
    late: bool,
}

/// Everything.
#[derive(Debug, Clone, Default)]
pub struct Model {
    merchants: BTreeMap<String, Merchant>,
    customers: BTreeMap<(String, String), Customer>,
    accounts: BTreeMap<AccountKey, Account>,
    commissions: BTreeMap<Key, Commission>,
    withdrawals: BTreeMap<Key, Withdrawal>,
    commands: BTreeMap<Key, Known>,
    waiting: Vec<Waiting>,
    /// Whose numbers Saldo's ids of entries begin with.
    numbers: BTreeMap<i64, AccountKey>,
    /// Whether patience is over as soon as a transaction is.
    impatient: bool,
    transaction: u64,
    /// The commands that it is for.
    at_hand: BTreeSet<Key>,
    now: i64,
    /// The account that the command in hand turned out to be about, and the withdrawal.
    about: Option<AccountKey>,
    step_of: Option<Key>,
    /// Whether what it names is not seen.
    nothing_named: bool,
}

impl Merchant {
    /// From a command, or from what is stored.
    fn read(preferences: &Value, hold_days: i64, put_at: i64) -> Self {
        let withdrawals = &preferences["withdrawals"];
        let amounts = |amounts: &Value| {
            let amounts = amounts.as_object().into_iter().flatten();
            amounts.map(|(code, amount)| (code.clone(), minor(amount.as_str().unwrap(), code))).collect()
        };
        Self {
            put_at,
            hold_days,
            enabled: withdrawals["enabled"] == true,
            by_amount: withdrawals["minimum_rule"] == "amount",
            minimum: amounts(&withdrawals["minimum"]),
            negative_limit: amounts(&preferences["negative_limit"]),
            auto_approve_below: amounts(&withdrawals["auto_approve_below"]),
        }
    }

    fn state(&self) -> Value {
        let minimum = self.minimum.iter().filter(|(_, minimum)| **minimum > 0).collect::<BTreeMap<_, _>>();
        json!({
            "hold_days": self.hold_days, "enabled": self.enabled, "by_amount": self.by_amount, "minimum": minimum,
            "negative_limit": self.negative_limit, "auto_approve_below": self.auto_approve_below,
        })
    }
}

/// Who is new, who waits, who is a repeat.
impl Model {
    /// Nothing yet. `impatient`: nothing may wait for longer than its transaction.
    pub fn new(impatient: bool) -> Self {
        Self { impatient, ..Self::default() }
    }

    /// Begins a transaction at this time, in microseconds since 1970, for commands with these keys.
    pub fn begin(&mut self, now: i64, keys: impl IntoIterator<Item = Key>) {
        self.transaction += 1;
        self.now = now;
        self.at_hand = keys.into_iter().collect();
    }

    /// A command arrives.
    pub fn apply(&mut self, command: &Command) -> Outcome {
        match self.commands.get(&command.key) {
            Some(known) if known.content != command.content() => Outcome::Conflict,
            Some(Known { told: Some((transaction, told)), .. }) if *transaction < self.transaction => {
                Outcome::Repeated(told.clone())
            }
            Some(Known { told: Some(_), .. }) => Outcome::Decided(Vec::new()),
            Some(_) => Outcome::Parked,
            None => {
                let told = self.settle(command.clone(), (self.transaction, 0), false);
                if self.is_decided(&command.key) { Outcome::Decided(told) } else { Outcome::Parked }
            }
        }
    }

    /// Looks again at commands that wait, one after the other. Those that do not are passed over.
    pub fn retry(&mut self, keys: &[Key]) -> Vec<Told> {
        let mut taken = Vec::new();
        for key in keys {
            let place = self.waiting.iter().position(|waiting| waiting.command.key == *key);
            taken.extend(place.map(|place| self.waiting.remove(place)));
        }
        let settle = |Waiting { command, since, late, .. }| self.settle(command, since, late);
        taken.into_iter().flat_map(settle).collect()
    }

    /// Decides a command, or parks it; and then whatever waited for it.
    fn settle(&mut self, command: Command, since: (u64, i64), late: bool) -> Vec<Told> {
        let mut told = match self.decide(&command, late && since.0 < self.transaction) {
            Ok(told) => told,
            Err(awaited) => {
                let (parked, late) = (self.transaction, late || self.impatient);
                self.waiting.push(Waiting { command, awaited, since, parked, late });
                return Vec::new();
            }
        };
        for Waiting { command, since, late, .. } in self.woken(&command) {
            told.extend(self.settle(command, since, late));
        }
        told
    }

    /// Who waited for what this command has brought, the first to wait first. Of those that were parked earlier only
    /// who waited for a command that the transaction is for; the others are found by a scan.
    fn woken(&mut self, decided: &Command) -> Vec<Waiting> {
        let mut woken = Vec::new();
        for waiting in std::mem::take(&mut self.waiting) {
            let just_parked = waiting.parked == self.transaction;
            let for_it = match &waiting.awaited {
                Awaited::Command(key) => {
                    *key == decided.key && (just_parked || self.at_hand.contains(&decided.key))
                }
                other => just_parked && self.is_there(other),
            };
            if for_it && waiting.command.worker() == decided.worker() {
                woken.push(waiting);
            } else {
                self.waiting.push(waiting);
            }
        }
        let here = self.transaction;
        woken.sort_by_key(|waiting| match waiting.parked {
            parked if parked == here => (true, (0, 0), String::new()),
            _ => (false, waiting.since, waiting.command.id.clone()),
        });
        woken
    }

    /// Decides a command now, whether it waited or is new; waiters stay. `late`: its patience is over.
    ///
    /// # Errors
    /// What it would have to wait for.
    pub fn decide(&mut self, command: &Command, late: bool) -> Result<Vec<Told>, Awaited> {
        self.know(command);
        (self.about, self.step_of) = (None, None);
        let told = match self.answer(command) {
            Ok(told) => told,
            Err(No::Waits(awaited, _)) if !late => return Err(awaited),
            Err(No::Waits(_, code) | No::Refused(code)) => vec![self.refused(command, code)],
        };
        self.commands.get_mut(&command.key).unwrap().told = Some((self.transaction, told.clone()));
        self.waiting.retain(|waiting| waiting.command.key != command.key);
        Ok(told)
    }

    /// Lets a command wait for this, whatever the model would have done with it. `at`: commands with a lower one have
    /// waited for longer.
    pub fn park(&mut self, command: &Command, awaited: Awaited, at: i64) {
        self.know(command);
        self.waiting.retain(|waiting| waiting.command.key != command.key);
        let (parked, late) = (self.transaction, self.impatient);
        let waiting = Waiting { command: command.clone(), awaited, since: (parked, at), parked, late };
        self.waiting.push(waiting);
    }

    fn know(&mut self, c: &Command) {
        let (id, name, content) = (c.id.clone(), c.name.clone(), c.content());
        self.commands.entry(c.key.clone()).or_insert(Known { id, name, content, told: None, entry: None });
    }

    fn is_there(&self, awaited: &Awaited) -> bool {
        match awaited {
            Awaited::Command(key) => self.is_decided(key),
            Awaited::Merchant(merchant) => self.merchants.contains_key(merchant),
            Awaited::Customer(merchant, customer) => {
                self.customers.contains_key(&(merchant.clone(), customer.clone()))
            }
        }
    }

    /// Whether a command has an outcome.
    pub fn is_decided(&self, key: &Key) -> bool {
        self.commands.get(key).is_some_and(|known| known.told.is_some())
    }

    /// Whether a command waits.
    pub fn waits(&self, key: &Key) -> bool {
        self.waiting.iter().any(|waiting| waiting.command.key == *key)
    }

    /// The command that waits under this id of Saldo's.
    pub fn waiting_by_id(&self, id: &str) -> Option<Command> {
        let command = self.waiting.iter().map(|waiting| &waiting.command).find(|command| command.id == id);
        command.cloned()
    }

    /// Whether the patience of a command that waits is over.
    pub fn is_late(&self, key: &Key) -> bool {
        let waiting = self.waiting.iter().find(|waiting| waiting.command.key == *key);
        waiting.is_some_and(|waiting| waiting.late && waiting.since.0 < self.transaction)
    }

    /// Whether the key of this command is known with other content.
    pub fn conflicts(&self, command: &Command) -> bool {
        self.commands.get(&command.key).is_some_and(|known| known.content != command.content())
    }

    /// The commands of a worker that wait and need not, or may not, any longer, by Saldo's ids.
    pub fn due(&self, worker: &str) -> Vec<String> {
        let own = self.waiting.iter().filter(|waiting| waiting.command.worker() == worker);
        let due = own.filter(|waiting| waiting.late || self.is_there(&waiting.awaited));
        let mut due: Vec<_> = due.map(|waiting| waiting.command.id.clone()).collect();
        due.sort_unstable();
        due
    }

    /// The patience of those that wait is over where `chosen` says so; their ids.
    pub fn lose_patience(&mut self, mut chosen: impl FnMut() -> bool) -> Vec<String> {
        let lost = self.waiting.iter_mut().filter_map(|waiting| {
            let chosen = chosen();
            waiting.late |= chosen;
            chosen.then(|| waiting.command.id.clone())
        });
        lost.collect()
    }

    /// The hold periods of commissions end where `chosen` says so; their ids.
    pub fn ripen(&mut self, mut chosen: impl FnMut() -> bool) -> Vec<String> {
        let (mut ripe, commands) = (Vec::new(), &self.commands);
        for (key, commission) in &mut self.commissions {
            if commission.is_pending() && chosen() {
                commission.available_at = Some(0);
                ripe.push(commands[key].id.clone());
            }
        }
        ripe
    }

    /// The commissions whose hold period is over, by Saldo's ids.
    pub fn ripe(&self) -> Vec<String> {
        let ripe = |commission: &Commission| {
            commission.is_pending() && commission.available_at.is_some_and(|at| at <= self.now)
        };
        let mut ripe: Vec<_> = self
            .commissions
            .iter()
            .filter(|(_, commission)| ripe(commission))
            .map(|(key, _)| self.commands[key].id.clone())
            .collect();
        ripe.sort_unstable();
        ripe
    }

    /// Saldo numbers accounts; entries' ids begin with that.
    pub fn number(&mut self, account: AccountKey, number: i64) {
        self.numbers.insert(number, account);
    }

    /// Saldo's id of the entry that a command posted, or of one so many after it.
    pub fn entry_id(&self, command: &Key, after: usize) -> Option<String> {
        let (account, place) = self.commands.get(command)?.entry.as_ref()?;
        let (number, _) = self.numbers.iter().find(|(_, of)| *of == account)?;
        Some(format!("{number}-{}", place + 1 + after))
    }

    /// How many commands were seen, and how many are decided otherwise than refused.
    pub fn counts(&self) -> (usize, usize) {
        let done =
            |known: &&Known| known.told.as_ref().is_some_and(|(_, told)| !told[0].name.ends_with(".refused"));
        (self.commands.len(), self.commands.values().filter(done).count())
    }

    /// The ids of all commands.
    pub fn ids(&self) -> Vec<String> {
        self.commands.values().map(|known| known.id.clone()).collect()
    }

    /// How everything stands, to be compared with what the tables say.
    pub fn state(&self) -> Value {
        let id = |key: &Key| self.commands[key].id.clone();
        let accounts: BTreeMap<_, _> = (self.accounts.iter())
            .map(|((merchant, customer, currency), account)| {
                let Account { balance, held, pending, version, entries } = account;
                let figures = json!([balance, held, pending, version, entries.len()]);
                (format!("{merchant} {customer} {currency}"), figures)
            })
            .collect();
        let customers: BTreeMap<_, _> = (self.customers.iter())
            .map(|((merchant, customer), Customer { kind, locale, payout, .. })| {
                let payout = payout.map(|(version, ..)| version);
                (format!("{merchant} {customer}"), json!([kind, locale, payout]))
            })
            .collect();
        // One that was credited at once and never reversed is its entry and nothing more.
        let kept =
            self.commissions.iter().filter(|(_, commission)| commission.was_held || commission.reversed > 0);
        let commissions: BTreeMap<_, _> = kept
            .map(|(key, commission)| {
                (id(key), json!([commission.amount, commission.reversed, commission.state()]))
            })
            .collect();
        let withdrawals: BTreeMap<_, _> = (self.withdrawals.iter())
            .map(|(key, Withdrawal { amount, payout, states, .. })| {
                (id(key), json!([amount, states.last(), payout.0, states]))
            })
            .collect();
        let waiting: BTreeMap<_, _> = self
            .waiting
            .iter()
            .map(|waiting| (waiting.command.id.clone(), waiting.awaited.state()))
            .collect();
        let merchants: BTreeMap<_, _> =
            self.merchants.iter().map(|(id, known)| (id, known.state())).collect();
        let decided: BTreeMap<_, _> =
            self.commands.values().map(|known| (known.id.clone(), known.told.is_some())).collect();
        json!({
            "accounts": accounts, "customers": customers, "commissions": commissions, "merchants": merchants,
            "withdrawals": withdrawals, "waiting": waiting, "decided": decided,
        })
    }

    /// Preferences as they are stored, as [`Self::state`] shows them.
    pub fn preferences_state(preferences: &Value, hold_days: i64) -> Value {
        Merchant::read(preferences, hold_days, 0).state()
    }
}

impl Commission {
    fn is_pending(&self) -> bool {
        self.available_at.is_some() && self.reversed < self.amount
    }

    fn state(&self) -> &'static str {
        match self.available_at {
            Some(_) if self.reversed < self.amount => "pending",
            Some(_) => "cancelled",
            None => "credited",
        }
    }
}

impl Awaited {
    /// What kind of thing is awaited.
    fn state(&self) -> Value {
        match self {
            Self::Command(_) => json!("command"),
            Self::Merchant(_) => json!("merchant"),
            Self::Customer(..) => json!("customer"),
        }
    }
}
