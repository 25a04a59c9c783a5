//! What each command does, in about ten lines.

use serde_json::{Value, json};

use super::{
    Account, AccountKey, Awaited, Command, Commission, Customer, Entry, Key, Known, Merchant, Model, Told,
    Withdrawal, exponent, micros, text,
};

/// No figure of an account may leave ± this many whole units.
const LIMIT: i64 = 1_000_000_000_000_000;

const DAY: i64 = 24 * 60 * 60 * 1_000_000;

/// Why a command is not carried out.
#[derive(Debug, Clone)]
pub(super) enum No {
    Refused(&'static str),
    /// And what it is refused with when its patience is over.
    Waits(Awaited, &'static str),
}

pub(super) type Answer<T> = Result<T, No>;

fn refuse<T>(code: &'static str) -> Answer<T> {
    Err(No::Refused(code))
}

/// Puts are ordered by their time.
fn newer(known: Option<i64>, time: i64) -> Answer<()> {
    if known.is_some_and(|known| time <= known) { refuse("outdated") } else { Ok(()) }
}

/// With whom a person's command names, and who sent it.
fn by(c: &Command, mut facts: Value) -> Value {
    for field in ["actor", "payment_reference"] {
        if !c.data[field].is_null() {
            facts[field] = c.data[field].clone();
        }
    }
    if let Some(user) = &c.user {
        facts["user"] = json!(user);
    }
    facts
}

/// What each command does.
impl Model {
    pub(super) fn answer(&mut self, c: &Command) -> Answer<Vec<Told>> {
        match c.name.as_str() {
            "commission.credit" => self.commission_credit(c),
            "commission.reverse" => self.commission_reverse(c),
            "adjustment.credit" => self.adjust(c, "adjustment.credited", 1),
            "adjustment.debit" => self.adjust(c, "adjustment.debited", -1),
            "adjustment.reverse" => self.adjustment_reverse(c),
            "withdrawal.request" => self.withdrawal_request(c),
            "withdrawal.approve" => self.withdrawal_step(c, "approved"),
            "withdrawal.pay" => self.withdrawal_step(c, "paid"),
            "withdrawal.reject" => self.withdrawal_step(c, "rejected"),
            "withdrawal.cancel" => self.withdrawal_step(c, "cancelled"),
            "customer.put" => self.customer_put(c),
            "payout-method.put" => self.payout_method_put(c),
            "preferences.put" => self.preferences_put(c),
            other => panic!("no such command: {other}"),
        }
    }

    fn commission_credit(&mut self, c: &Command) -> Answer<Vec<Told>> {
        let hold_days = self.merchant(c)?.hold_days;
        let account = self.opened(c, "affiliate");
        let amount = c.amount().unwrap();
        let wanted = c.data["available_at"].as_str().map_or(0, micros);
        let available_at = wanted.max(self.now + hold_days * DAY);
        let held = available_at > self.now;
        let (event, moved) = if held {
            ("commission.held", self.book(&account, [0, 0, amount], None)?)
        } else {
            ("commission.credited", self.book(&account, [amount, 0, 0], Some((c, "commission")))?)
        };
        let available_at = held.then_some(available_at);
        let commission = Commission { account, amount, reversed: 0, available_at, was_held: held };
        self.commissions.insert(c.key.clone(), commission);
        Ok(vec![self.told(c, event, amount, moved)])
    }

    fn commission_reverse(&mut self, c: &Command) -> Answer<Vec<Told>> {
        let key = c.named("commission");
        let codes = ["unknown-commission", "not-a-commission", "commission-refused"];
        self.created(&key, &["commission.credit"], codes)?;
        let Commission { account, amount, reversed, available_at, .. } = self.commissions[&key].clone();
        self.about = Some(account.clone());
        let left = amount - reversed;
        let part = match c.data["currency"].as_str() {
            Some(currency) if currency != account.2 => return refuse("currency-mismatch"),
            _ if left == 0 => return refuse("already-reversed"),
            Some(_) if c.amount().unwrap() > left => return refuse("exceeds-commission"),
            Some(_) => c.amount().unwrap(),
            None => left,
        };
        let mut moved = match available_at {
            Some(_) => self.book(&account, [0, 0, -part], None)?,
            None => self.book(&account, [-part, 0, 0], Some((c, "commission-reversal")))?,
        };
        self.commissions.get_mut(&key).unwrap().reversed += part;
        moved["remaining"] = json!(text(left - part, &account.2));
        Ok(vec![self.told(c, "commission.reversed", part, moved)])
    }

    /// The hold period of a commission ends: what is left of it moves into the balance.
    pub fn mature(&mut self, key: &Key) -> Vec<Told> {
        let Some(commission) = self.commissions.get(key).cloned() else { return Vec::new() };
        let Commission { account, amount, reversed, available_at, .. } = commission;
        let left = amount - reversed;
        if left == 0 || available_at.is_none_or(|available_at| available_at > self.now) {
            return Vec::new();
        }
        self.about = Some(account.clone());
        let Ok(moved) = self.book(&account, [left, 0, -left], None) else { return Vec::new() };
        let moved = self.post(&account, left, None, "commission", moved);
        self.commissions.get_mut(key).unwrap().available_at = None;
        vec![self.told_of(key, "commission.matured", left, moved)]
    }

    fn adjust(&mut self, c: &Command, event: &str, sign: i64) -> Answer<Vec<Told>> {
        let limit = self.merchant(c)?.negative_limit.get(&c.text("currency")).copied();
        let account = self.opened(c, "customer");
        let amount = sign * c.amount().unwrap();
        if sign < 0 && limit.is_some_and(|limit| self.available(&account) + amount < -limit) {
            return refuse("below-limit");
        }
        let moved = self.book(&account, [amount, 0, 0], Some((c, "adjustment")))?;
        Ok(vec![self.told(c, event, amount.abs(), by(c, moved))])
    }

    fn adjustment_reverse(&mut self, c: &Command) -> Answer<Vec<Told>> {
        let (account, place) = self.entry(c)?;
        self.about = Some(account.clone());
        let Entry { kind, amount, reversed } = self.accounts[&account].entries[place];
        if kind != "adjustment" {
            return refuse("not-an-adjustment");
        }
        if reversed {
            return refuse("already-reversed");
        }
        let mut moved = self.book(&account, [-amount, 0, 0], Some((c, "adjustment-reversal")))?;
        self.accounts.get_mut(&account).unwrap().entries[place].reversed = true;
        moved["reversed"] = json!(place + 1);
        Ok(vec![self.told(c, "adjustment.reversed", amount, by(c, moved))])
    }

    fn withdrawal_request(&mut self, c: &Command) -> Answer<Vec<Told>> {
        let (merchant, account) = (self.merchant(c)?, c.account());
        self.about = self.accounts.contains_key(&account).then(|| account.clone());
        let payout = match self.customers.get(&c.customer()) {
            _ if !merchant.enabled => return refuse("withdrawals-disabled"),
            None => return refuse("unknown-customer"),
            Some(customer) if customer.kind != "affiliate" => return refuse("not-an-affiliate"),
            Some(customer) => customer.payout.map_or_else(|| refuse("no-payout-method"), Ok)?,
        };
        let available = self.available(&account);
        let amount = c.amount().unwrap_or(available);
        let minimum = merchant.minimum.get(&account.2).copied().unwrap_or(0);
        // Where there is none, what is available decides.
        if minimum > 0 && (if merchant.by_amount { amount } else { available }) < minimum {
            return refuse("below-minimum");
        }
        if amount <= 0 || amount > available {
            return refuse("insufficient-funds");
        }
        let mut moved = self.book(&account, [0, amount, 0], None)?;
        let small = merchant.auto_approve_below.get(&account.2).is_some_and(|below| amount < *below);
        let payout = (payout.0, payout.1);
        let withdrawal = Withdrawal { account: account.clone(), amount, payout, states: vec!["requested"] };
        self.withdrawals.insert(c.key.clone(), withdrawal);
        if minimum > 0 {
            moved["minimum"] = json!(text(minimum, &account.2));
        }
        let mut told = vec![self.told_step(c, &c.key, moved)];
        if small {
            self.withdrawals.get_mut(&c.key).unwrap().states.push("approved");
            let moved = self.book(&account, [0, 0, 0], None)?;
            told.push(self.told_step(c, &c.key, moved));
        }
        Ok(told)
    }

    fn withdrawal_step(&mut self, c: &Command, to: &'static str) -> Answer<Vec<Told>> {
        let key = self.withdrawal(c)?;
        let Withdrawal { account, amount, states, .. } = self.withdrawals[&key].clone();
        if to == "cancelled" && c.text("customer") != account.1 {
            return refuse("unknown-withdrawal");
        }
        (self.about, self.step_of) = (Some(account.clone()), Some(key.clone()));
        match (*states.last().unwrap(), to) {
            ("requested", _) | ("approved", "paid" | "rejected" | "cancelled") => {}
            _ => return refuse("invalid-transition"),
        }
        if ["approved", "paid"].contains(&to) && self.available(&account) < 0 {
            return refuse("insufficient-funds");
        }
        let moved = match to {
            "approved" => self.book(&account, [0, 0, 0], None)?,
            "paid" => self.book(&account, [-amount, -amount, 0], Some((c, "withdrawal")))?,
            _ => self.book(&account, [0, -amount, 0], None)?,
        };
        self.withdrawals.get_mut(&key).unwrap().states.push(to);
        let moved = if to == "cancelled" { moved } else { by(c, moved) };
        Ok(vec![self.told_step(c, &key, moved)])
    }

    fn customer_put(&mut self, c: &Command) -> Answer<Vec<Told>> {
        self.merchant(c)?;
        let known = self.customers.get(&c.customer());
        newer(known.and_then(|known| known.put_at), c.time)?;
        let payout = known.and_then(|known| known.payout);
        let (kind, locale) = (c.text("kind"), c.data["locale"].clone());
        let mut facts = json!({ "customer": c.text("customer"), "kind": kind });
        if !locale.is_null() {
            facts["locale"] = locale.clone();
        }
        self.customers.insert(c.customer(), Customer { kind, locale, put_at: Some(c.time), payout });
        Ok(vec![Told { name: "customer.updated".to_owned(), cause: c.key.clone(), facts }])
    }

    fn payout_method_put(&mut self, c: &Command) -> Answer<Vec<Told>> {
        self.merchant(c)?;
        let (merchant, customer) = c.customer();
        let Some(known) = self.customers.get_mut(&c.customer()) else {
            return Err(No::Waits(Awaited::Customer(merchant, customer), "unknown-customer"));
        };
        newer(known.payout.map(|(_, _, put_at)| put_at), c.time)?;
        let kinds = [("bank_account", "bank-account"), ("paypal", "paypal"), ("other", "other")];
        let (_, kind) = kinds.into_iter().find(|(field, _)| c.data.get(field).is_some()).unwrap();
        let version = known.payout.map_or(0, |(version, ..)| version) + 1;
        known.payout = Some((version, kind, c.time));
        let facts = json!({ "customer": customer, "version": version, "kind": kind });
        Ok(vec![Told { name: "payout-method.updated".to_owned(), cause: c.key.clone(), facts }])
    }

    fn preferences_put(&mut self, c: &Command) -> Answer<Vec<Told>> {
        newer(self.merchants.get(&c.key.0).map(|known| known.put_at), c.time)?;
        let merchant = Merchant::read(&c.data, c.data["hold_days"].as_i64().unwrap_or(0), c.time);
        let facts = json!({ "preferences": merchant.state() });
        self.merchants.insert(c.merchant(), merchant);
        let facts = by(c, facts);
        Ok(vec![Told { name: "preferences.updated".to_owned(), cause: c.key.clone(), facts }])
    }
}

/// What commands have in common.
impl Model {
    fn merchant(&self, c: &Command) -> Answer<Merchant> {
        let merchant = c.merchant();
        let waits = || No::Waits(Awaited::Merchant(merchant.clone()), "unknown-merchant");
        self.merchants.get(&merchant).cloned().ok_or_else(waits)
    }

    /// The command's account. It, and its customer, are there from now on.
    fn opened(&mut self, c: &Command, kind: &str) -> AccountKey {
        let new = || Customer { kind: kind.to_owned(), locale: Value::Null, put_at: None, payout: None };
        self.customers.entry(c.customer()).or_insert_with(new);
        self.accounts.entry(c.account()).or_default();
        self.about = Some(c.account());
        c.account()
    }

    fn available(&self, account: &AccountKey) -> i64 {
        self.accounts.get(account).map_or(0, |account| account.balance - account.held)
    }

    /// Refuses, or waits, unless this command is decided, is one of these, and was not refused. The codes: it is not
    /// known, it is another command, it was refused.
    fn created(&self, key: &Key, by: &[&str], codes: [&'static str; 3]) -> Answer<()> {
        let [unknown, other, refused] = codes;
        match self.commands.get(key).filter(|known| known.told.is_some() && !self.nothing_named) {
            None => Err(No::Waits(Awaited::Command(key.clone()), unknown)),
            Some(known) if !by.contains(&known.name.as_str()) => refuse(other),
            Some(Known { told: Some((_, told)), .. }) if told[0].name.ends_with(".refused") => {
                refuse(refused)
            }
            Some(_) => Ok(()),
        }
    }

    /// The entry that is named, by its command or by Saldo's id, which is never waited for.
    pub(super) fn entry(&self, c: &Command) -> Answer<(AccountKey, usize)> {
        if let Some(id) = c.data["entry"].as_str() {
            let (number, place) = id.split_once('-').unwrap();
            let (number, place): (i64, usize) = (number.parse().unwrap(), place.parse().unwrap());
            let account = self.numbers.get(&number).filter(|account| account.0 == c.key.0);
            let posted =
                |account: &AccountKey| self.accounts.get(account).map_or(0, |account| account.entries.len());
            let account = account.filter(|account| place <= posted(account) && !self.nothing_named);
            return account
                .map_or_else(|| refuse("unknown-entry"), |account| Ok((account.clone(), place - 1)));
        }
        let key = c.named("entry");
        if let Some(Known { entry: Some(entry), .. }) =
            self.commands.get(&key).filter(|_| !self.nothing_named)
        {
            return Ok(entry.clone());
        }
        let codes = ["unknown-entry", "not-an-adjustment", "adjustment-refused"];
        self.created(&key, &["adjustment.credit", "adjustment.debit"], codes)?;
        refuse("not-an-adjustment")
    }

    /// The withdrawal that is named, by its request or by Saldo's id, which is never waited for.
    pub(super) fn withdrawal(&self, c: &Command) -> Answer<Key> {
        if let Some(id) = c.data["withdrawal"].as_str() {
            let from = (c.merchant(), String::new(), String::new());
            let mut own =
                self.withdrawals.range(from..).map(|(key, _)| key).take_while(|key| key.0 == c.key.0);
            let known = own.find(|key| self.commands[*key].id == id && !self.nothing_named);
            return known.map_or_else(|| refuse("unknown-withdrawal"), |key| Ok(key.clone()));
        }
        let key = c.named("withdrawal");
        let codes = ["unknown-withdrawal", "not-a-withdrawal", "withdrawal-refused"];
        self.created(&key, &["withdrawal.request"], codes).map(|()| key)
    }

    /// Moves balance, held and pending, with an entry where a command posts one, and says how the account is then.
    fn book(
        &mut self,
        key: &AccountKey,
        [balance, held, pending]: [i64; 3],
        posts: Option<(&Command, &'static str)>,
    ) -> Answer<Value> {
        let limit = LIMIT * 10_i64.pow(exponent(&key.2));
        let account = self.accounts.get_mut(key).unwrap();
        let after = [account.balance + balance, account.held + held, account.pending + pending];
        if after.iter().any(|figure| figure.abs() > limit) {
            return refuse("out-of-range");
        }
        [account.balance, account.held, account.pending] = after;
        account.version += 1;
        let moved = json!({ "account": self.shown(key) });
        Ok(match posts {
            Some((c, kind)) => self.post(key, balance, Some(c), kind, moved),
            None => moved,
        })
    }

    fn post(
        &mut self,
        key: &AccountKey,
        amount: i64,
        c: Option<&Command>,
        kind: &'static str,
        mut moved: Value,
    ) -> Value {
        let account = self.accounts.get_mut(key).unwrap();
        account.entries.push(Entry { kind, amount, reversed: false });
        let number = account.entries.len();
        moved["entry"] = json!([number, kind, text(amount, &key.2), text(account.balance, &key.2)]);
        if let Some(c) = c {
            self.commands.get_mut(&c.key).unwrap().entry = Some((key.clone(), number - 1));
        }
        moved
    }

    /// An account as events show it.
    fn shown(&self, key: &AccountKey) -> Value {
        let Account { balance, held, pending, version, .. } = &self.accounts[key];
        let shown = |figure: i64| text(figure, &key.2);
        json!({
            "balance": shown(*balance), "held": shown(*held), "pending": shown(*pending),
            "available": shown(balance - held), "currency": key.2, "version": version,
        })
    }

    fn told(&self, c: &Command, event: &str, amount: i64, facts: Value) -> Told {
        self.told_of(&c.key, event, amount, facts)
    }

    /// About a customer's money.
    fn told_of(&self, cause: &Key, event: &str, amount: i64, mut facts: Value) -> Told {
        let (_, customer, currency) = self.about.as_ref().unwrap();
        facts["customer"] = json!(customer);
        facts["currency"] = json!(currency);
        facts["amount"] = json!(text(amount, currency));
        Told { name: event.to_owned(), cause: cause.clone(), facts }
    }

    /// A withdrawal has entered its newest state.
    fn told_step(&self, c: &Command, key: &Key, mut facts: Value) -> Told {
        let Withdrawal { amount, payout, states, .. } = &self.withdrawals[key];
        let state = states.last().unwrap();
        facts["withdrawal"] = json!(self.commands[key].id);
        facts["state"] = json!(state);
        facts["payout"] = json!(payout);
        self.told(c, &format!("withdrawal.{state}"), *amount, facts)
    }

    pub(super) fn refused(&self, c: &Command, reason: &str) -> Told {
        let mut facts = json!({ "command": c.name, "reason": reason });
        if let Some(account) = &self.about {
            facts["account"] = self.shown(account);
            facts["customer"] = json!(account.1);
        }
        if let Some(customer) = c.data["customer"].as_str().filter(|_| c.name != "withdrawal.cancel") {
            facts["customer"] = json!(customer);
        }
        if let Some(withdrawal) = &self.step_of {
            facts["withdrawal"] = json!(self.commands[withdrawal].id);
        }
        let (subject, _) = c.name.rsplit_once('.').unwrap();
        Told { name: format!("{subject}.refused"), cause: c.key.clone(), facts }
    }
}
