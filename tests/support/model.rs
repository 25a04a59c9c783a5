//! What Saldo does, said a second time: maps, whole numbers and about ten lines for each command. Nothing here is the
//! ledger's own code, so that what both agree on is what was meant.
//!
//! A run is a series of transactions ([`Model::begin`]) in which one worker takes commands ([`Model::apply`]), looks
//! again at those that wait ([`Model::retry`]), or lets commissions mature ([`Model::mature`]). Where the order was
//! the ledger's own choice, the model can be led along it instead ([`Model::decide`], [`Model::park`]).

mod rules;
pub mod seen;
pub mod tables;

use std::collections::{BTreeMap, BTreeSet};

use rules::No;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Merchant, source and id.
pub type Key = (String, String, String);

/// Merchant, customer and currency.
pub type AccountKey = (String, String, String);

/// A command, as far as it matters what it says.
#[derive(Debug, Clone)]
pub struct Command {
    /// What makes it the same command.
    pub key: Key,
    /// Saldo's id of it: 32 hexadecimal digits.
    pub id: String,
    /// Such as `commission.credit`.
    pub name: String,
    /// Whom the broker vouches for.
    pub user: Option<String>,
    time: i64,
    data: Value,
}

/// An event, as far as the model has an opinion of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// Such as `commission.credited`.
    pub name: String,
    /// The command that caused it.
    pub cause: Key,
    /// What is compared of its data.
    pub facts: Value,
}

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

/// Decimals of a currency.
fn exponent(currency: &str) -> u32 {
    match currency {
        "JPY" => 0,
        "KWD" => 3,
        _ => 2,
    }
}

/// An amount as messages write it, in the smallest unit.
fn minor(amount: &str, currency: &str) -> i64 {
    let (whole, decimals) = amount.split_once('.').unwrap_or((amount, ""));
    let places = exponent(currency) as usize;
    format!("{whole}{decimals:0<places$}").parse().unwrap()
}

/// The same as text, with exactly the currency's decimals.
fn text(minor: i64, currency: &str) -> String {
    let (sign, places) = (if minor < 0 { "-" } else { "" }, exponent(currency));
    let (whole, decimals) = (minor.abs() / 10_i64.pow(places), minor.abs() % 10_i64.pow(places));
    if places == 0 {
        format!("{sign}{whole}")
    } else {
        format!("{sign}{whole}.{decimals:0>0$}", places as usize)
    }
}

fn micros(time: &str) -> i64 {
    let time = OffsetDateTime::parse(time, &Rfc3339).unwrap();
    i64::try_from(time.unix_timestamp_nanos() / 1000).unwrap()
}

impl Command {
    /// A message, who sent it, and Saldo's id of it.
    pub fn read(message: &Value, user: Option<&str>, id: &str) -> Self {
        let field = |field: &str| message[field].as_str().unwrap().to_owned();
        let merchant = message["data"]["merchant"].as_str().unwrap().to_owned();
        Self {
            key: (merchant, field("source"), field("id")),
            id: id.to_owned(),
            name: field("type").trim_end_matches(".v1").to_owned(),
            user: user.map(str::to_owned),
            time: micros(&field("time")),
            data: message["data"].clone(),
        }
    }

    /// The worker whose command it is.
    pub fn worker(&self) -> &'static str {
        match self.name.split('.').next().unwrap() {
            "commission" => "commissions",
            "adjustment" => "adjustments",
            "withdrawal" => "withdrawals",
            _ => "directory",
        }
    }

    fn merchant(&self) -> String {
        self.key.0.clone()
    }

    fn text(&self, field: &str) -> String {
        self.data[field].as_str().unwrap().to_owned()
    }

    fn customer(&self) -> (String, String) {
        (self.merchant(), self.text("customer"))
    }

    fn account(&self) -> AccountKey {
        (self.merchant(), self.text("customer"), self.text("currency"))
    }

    fn amount(&self) -> Option<i64> {
        self.data["amount"].as_str().map(|amount| minor(amount, &self.text("currency")))
    }

    /// The key of the command that this one names, if it names one so.
    pub fn names(&self) -> Option<Key> {
        let fields = ["commission", "entry", "withdrawal"];
        fields.into_iter().find(|field| self.data[*field].is_object()).map(|field| self.named(field))
    }

    fn named(&self, field: &str) -> Key {
        let part = |part: &str| self.data[field][part].as_str().unwrap().to_owned();
        (self.merchant(), part("source"), part("id"))
    }

    /// What makes it the same content: `12.5` is `12.50`, a default that is written out is none, and the time and the
    /// sender do not matter.
    fn content(&self) -> Value {
        let mut data = self.data.clone();
        if let Some(amount) = self.amount() {
            data["amount"] = json!(amount);
        }
        if self.name == "preferences.put" {
            let data = data.as_object_mut().unwrap();
            if let Some(withdrawals) = data.get_mut("withdrawals").and_then(Value::as_object_mut) {
                without_defaults(
                    withdrawals,
                    &[("enabled", json!(false)), ("minimum_rule", json!("balance"))],
                );
            }
            let defaults =
                [("hold_days", json!(0)), ("section_shown", json!(true)), ("default_locale", json!("en"))];
            without_defaults(data, &defaults);
        }
        json!([self.name, data])
    }
}

/// Preferences without what is as it would be anyway; amounts by their value, and a minimum of 0 as none.
fn without_defaults(preferences: &mut serde_json::Map<String, Value>, defaults: &[(&str, Value)]) {
    for (name, value) in preferences.iter_mut() {
        if ["minimum", "negative_limit", "auto_approve_below"].contains(&name.as_str()) {
            let amounts = value.as_object_mut().unwrap();
            for amount in amounts.values_mut() {
                let figure: rust_decimal::Decimal = amount.as_str().unwrap().parse().unwrap();
                *amount = json!(figure.normalize().to_string());
            }
            amounts.retain(|_, amount| name != "minimum" || *amount != "0");
        }
    }
    preferences.retain(|name, value| {
        let is_default = defaults.iter().any(|(default, is)| default == name && is == value);
        !is_default && !value.as_object().is_some_and(serde_json::Map::is_empty)
    });
}

impl Told {
    /// What is compared of an event: amounts, states and reasons; neither texts for people nor times.
    pub fn read(merchant: &str, event: &Value) -> Self {
        const FACTS: [&str; 16] = [
            "account",
            "actor",
            "amount",
            "command",
            "currency",
            "customer",
            "kind",
            "locale",
            "minimum",
            "reason",
            "remaining",
            "state",
            "user",
            "version",
            "withdrawal",
            "payment_reference",
        ];
        let field = |field: &str| event[field].as_str().unwrap().to_owned();
        let data = &event["data"];
        let mut facts: serde_json::Map<_, _> =
            FACTS.iter().filter_map(|fact| Some(((*fact).to_owned(), data.get(fact)?.clone()))).collect();
        // Saldo's ids of entries end with their number.
        let number = |id: &Value| id.as_str().unwrap().split_once('-').unwrap().1.parse::<i64>().unwrap();
        if let Some(entry) = data.get("entry") {
            let (kind, amount, after) = (&entry["kind"], &entry["amount"], &entry["balance_after"]);
            facts.insert("entry".to_owned(), json!([number(&entry["id"]), kind, amount, after]));
        }
        if let Some(reversed) = data.get("reversed") {
            facts.insert("reversed".to_owned(), json!(number(reversed)));
        }
        if let Some(days) = data.get("hold_days") {
            let preferences = Model::preferences_state(data, days.as_i64().unwrap());
            facts.insert("preferences".to_owned(), preferences);
        }
        if let Some(payout) = data.get("payout") {
            facts.insert("payout".to_owned(), json!([payout["version"], payout["kind"]]));
        }
        let name = field("type").trim_end_matches(".v1").to_owned();
        if !name.ends_with(".refused") && facts.get("reason").is_some() {
            facts.remove("reason");
        }
        let cause = (merchant.to_owned(), field("causationsource"), field("causationid"));
        Self { name, cause, facts: Value::Object(facts) }
    }
}

impl Told {
    /// The name, and of a refusal the command and the reason.
    pub fn kind(&self) -> String {
        let fact = |fact: &str| self.facts[fact].as_str().map(|text| format!(" {text}")).unwrap_or_default();
        format!("{}{}{}", self.name, fact("command"), fact("reason"))
    }
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
