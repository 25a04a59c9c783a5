//! What happens in a run: written from a seed before anything runs, so that it can be repeated, and cut down to what
//! makes it fail.
//!
//! First the commands in an order that makes sense, each naming what came before, mostly. Then life happens to them:
//! some come late, some twice, some with another content under the same key, some under another merchant. Then four
//! queues are emptied in batches of any size.

use std::fmt;

use rand::rngs::StdRng;
use rand::seq::{IndexedRandom as _, SliceRandom as _};
use rand::{RngExt as _, SeedableRng as _};
use serde_json::{Value, json};
use tests::world::WORKERS;

/// Stand for the run's own merchants.
pub(super) const MERCHANTS: [&str; 2] = ["$a", "$b"];
const CUSTOMERS: [&str; 3] = ["anna", "ben", "chloe"];
const CURRENCIES: [(&str, u32); 3] = [("EUR", 2), ("JPY", 0), ("KWD", 3)];
const SOURCES: [&str; 2] = ["/shop", "/affiliates"];

/// A command with its sender. Where a merchant stands, its stand-in does; where one of Saldo's ids stands, an object
/// says which.
#[derive(Debug, Clone)]
pub(super) struct Sent {
    pub(super) message: Value,
    pub(super) user: Option<&'static str>,
}

#[derive(Debug, Clone)]
pub(super) enum Step {
    /// One worker takes these, in one transaction.
    Batch { worker: &'static str, commands: Vec<Sent> },
    /// Two of its lanes take these, at the same time.
    Race { worker: &'static str, lanes: [Vec<Sent>; 2] },
    /// A worker looks for parked commands that are due, and does nothing yet.
    Look { worker: &'static str },
    /// It decides those that it found, or looks first.
    Scan { worker: &'static str },
    /// The commissions worker looks for hold periods that are over, and lets those commissions mature, twice.
    Mature,
    /// Hold periods end: all, or about one in so many.
    Ripen { one_in: u32 },
    /// Those that wait must not wait any longer: all, or about one in so many.
    LosePatience { one_in: u32 },
}

/// A run.
#[derive(Debug, Clone)]
pub(super) struct Script {
    /// Nothing may wait for longer than its transaction.
    pub(super) impatient: bool,
    pub(super) steps: Vec<Step>,
}

impl Script {
    /// A random one.
    pub(super) fn write(seed: u64) -> Self {
        let mut writer = Writer { rng: StdRng::seed_from_u64(seed), written: Vec::new(), minute: 0 };
        let mut steps = writer.setting_out();
        let commands = writer.commands();
        steps.extend(writer.steps(commands));
        Self { impatient: writer.chance(12), steps }
    }

    /// How many commands are sent.
    pub(super) fn commands(&self) -> usize {
        self.steps.iter().map(Step::commands).sum()
    }

    /// All the ways to leave a stretch of this length out: of steps, or of a batch's commands.
    pub(super) fn cuts(&self, length: usize) -> Vec<Self> {
        let without = |steps: &[Step], from: usize, length: usize| {
            let rest = steps.iter().enumerate().filter(|(place, _)| !(from..from + length).contains(place));
            rest.map(|(_, step)| step.clone()).collect::<Vec<_>>()
        };
        let mut cuts: Vec<_> = (0..self.steps.len())
            .step_by(length)
            .map(|from| Self { steps: without(&self.steps, from, length), ..*self })
            .collect();
        for (place, step) in self.steps.iter().enumerate() {
            for fewer in step.cuts(length) {
                let mut script = self.clone();
                script.steps[place] = fewer;
                cuts.push(script);
            }
        }
        cuts
    }
}

impl Step {
    fn commands(&self) -> usize {
        match self {
            Self::Batch { commands, .. } => commands.len(),
            Self::Race { lanes: [first, second], .. } => first.len() + second.len(),
            _ => 0,
        }
    }

    fn cuts(&self, length: usize) -> Vec<Self> {
        let cut = |commands: &[Sent]| -> Vec<Vec<Sent>> {
            if commands.len() <= length {
                return Vec::new();
            }
            let from = (0..commands.len()).step_by(length);
            from.map(|from| {
                let rest = commands.iter().enumerate().filter(|(at, _)| !(from..from + length).contains(at));
                rest.map(|(_, sent)| sent.clone()).collect()
            })
            .collect()
        };
        match self {
            Self::Batch { worker, commands } => {
                cut(commands).into_iter().map(|commands| Self::Batch { worker, commands }).collect()
            }
            Self::Race { worker, lanes: [first, second] } => {
                let race = |first: &[Sent], second: &[Sent]| Self::Race {
                    worker,
                    lanes: [first.to_vec(), second.to_vec()],
                };
                let firsts = cut(first).into_iter().map(|fewer| race(&fewer, second));
                firsts.chain(cut(second).into_iter().map(|fewer| race(first, &fewer))).collect()
            }
            _ => Vec::new(),
        }
    }
}

impl fmt::Display for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "patience: {}", if self.impatient { "none" } else { "long" })?;
        for step in &self.steps {
            match step {
                Step::Batch { worker, commands } => {
                    writeln!(f, "{worker}:")?;
                    commands.iter().try_for_each(|sent| writeln!(f, "  {sent}"))?;
                }
                Step::Race { worker, lanes } => {
                    for (lane, commands) in lanes.iter().enumerate() {
                        writeln!(f, "{worker}, lane {lane}:")?;
                        commands.iter().try_for_each(|sent| writeln!(f, "  {sent}"))?;
                    }
                }
                other => writeln!(f, "{other:?}")?,
            }
        }
        Ok(())
    }
}

impl fmt::Display for Sent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { message, user } = self;
        let field = |field: &str| message[field].as_str().unwrap();
        write!(f, "{} {} {}", field("source"), field("id"), field("type").trim_end_matches(".v1"))?;
        if field("type").contains("put") {
            write!(f, " at {}", field("time"))?;
        }
        if let Some(user) = user {
            write!(f, " by {user}")?;
        }
        write!(f, " {}", message["data"])
    }
}

/// A command that was written before, as later ones name it.
#[derive(Debug, Clone)]
struct Written {
    merchant: &'static str,
    customer: &'static str,
    currency: &'static str,
    /// Decimals of the currency.
    places: u32,
    source: &'static str,
    id: String,
    name: &'static str,
}

impl Written {
    fn reference(&self) -> Value {
        json!({ "source": self.source, "id": self.id })
    }
}

struct Writer {
    rng: StdRng,
    written: Vec<Written>,
    minute: u32,
}

/// Every command, and how often it is to be expected.
const WEIGHTS: [(&str, u32); 13] = [
    ("commission.credit", 20),
    ("commission.reverse", 10),
    ("adjustment.credit", 10),
    ("adjustment.debit", 10),
    ("adjustment.reverse", 10),
    ("withdrawal.request", 18),
    ("withdrawal.approve", 8),
    ("withdrawal.pay", 9),
    ("withdrawal.reject", 5),
    ("withdrawal.cancel", 7),
    ("customer.put", 7),
    ("payout-method.put", 8),
    ("preferences.put", 6),
];

fn worker(message: &Value) -> &'static str {
    match message["type"].as_str().unwrap().split('.').next().unwrap() {
        "commission" => "commissions",
        "adjustment" => "adjustments",
        "withdrawal" => "withdrawals",
        _ => "directory",
    }
}

impl Writer {
    /// True once in so many times.
    fn chance(&mut self, one_in: u32) -> bool {
        self.rng.random_ratio(1, one_in)
    }

    /// Mostly one of them, so that things meet.
    fn merchant(&mut self) -> &'static str {
        if self.chance(6) { MERCHANTS[1] } else { MERCHANTS[0] }
    }

    fn customer(&mut self) -> &'static str {
        if self.chance(2) { CUSTOMERS[0] } else { self.any(&CUSTOMERS) }
    }

    fn any<T: Copy>(&mut self, of: &[T]) -> T {
        *of.choose(&mut self.rng).unwrap()
    }

    // ---- commands --------------------------------------------------------------------------------------------------

    /// Mostly there is a shop with customers who have earned something, before anything out of the ordinary happens.
    fn setting_out(&mut self) -> Vec<Step> {
        if self.chance(5) {
            return Vec::new();
        }
        let (mut directory, mut earned) = (vec![self.command("preferences.put", MERCHANTS[0])], Vec::new());
        for customer in CUSTOMERS {
            for name in ["customer.put", "payout-method.put", "commission.credit"] {
                let mut sent = self.command(name, MERCHANTS[0]);
                sent.message["data"]["customer"] = json!(customer);
                self.written.last_mut().unwrap().customer = customer;
                match name {
                    _ if self.chance(6) => {}
                    "commission.credit" => earned.push(sent),
                    _ => directory.push(sent),
                }
            }
        }
        let batch = |worker, commands| Step::Batch { worker, commands };
        vec![batch("directory", directory), batch("commissions", earned)]
    }

    fn commands(&mut self) -> Vec<Sent> {
        let mut commands = Vec::new();
        for merchant in MERCHANTS {
            if !self.chance(3) {
                commands.push(self.command("preferences.put", merchant));
            }
        }
        for _ in 0..self.rng.random_range(5..60) {
            let merchant = self.merchant();
            let name = WEIGHTS.choose_weighted(&mut self.rng, |(_, weight)| *weight).unwrap().0;
            // Mostly, there is something of the kind that is named.
            let first = match name {
                "commission.reverse" => "commission.credit",
                "adjustment.reverse" => "adjustment.credit",
                "withdrawal.approve" | "withdrawal.pay" | "withdrawal.reject" | "withdrawal.cancel" => {
                    "withdrawal.request"
                }
                name => name,
            };
            let there = self.written.iter().any(|known| known.merchant == merchant && known.name == first);
            let name = if there || self.chance(8) { name } else { first };
            commands.push(self.command(name, merchant));
        }
        if self.chance(60) {
            self.flood(&mut commands);
        }
        self.disturb(&mut commands);
        commands
    }

    /// So much for one customer that the account is full, all but ten euros. Late, because it takes many commands.
    fn flood(&mut self, commands: &mut Vec<Sent>) {
        let mut sent = self.command("adjustment.credit", MERCHANTS[0]);
        sent.message["data"]["customer"] = json!(CUSTOMERS[0]);
        sent.message["data"]["amount"] = json!("999999999999.99");
        sent.message["data"]["currency"] = json!("EUR");
        let at = commands.len() - self.rng.random_range(0..=commands.len().min(12));
        let copies = (0..1000).map(|number| {
            let mut sent = sent.clone();
            sent.message["id"] = json!(format!("flood-{number}"));
            sent
        });
        commands.splice(at..at, copies);
    }

    /// Late, repeated, conflicting.
    fn disturb(&mut self, commands: &mut Vec<Sent>) {
        for _ in 0..commands.len() / 6 {
            let from = self.rng.random_range(0..commands.len());
            let sent = commands.remove(from);
            let to = self.rng.random_range(0..=commands.len().min(from + 12)).max(from.saturating_sub(12));
            commands.insert(to, sent);
        }
        for _ in 0..commands.len().min(60) / 5 {
            let from = self.rng.random_range(0..commands.len());
            let mut copy = commands[from].clone();
            match self.rng.random_range(0..8) {
                // As it is.
                0..=3 => {}
                // Written otherwise.
                4 => {
                    if let Some(amount) =
                        copy.message["data"]["amount"].as_str().filter(|text| text.contains('.'))
                    {
                        copy.message["data"]["amount"] =
                            json!(amount.trim_end_matches('0').trim_end_matches('.'));
                    }
                    copy.message["time"] = json!("2020-01-01T00:00:00Z");
                }
                // Another content, perhaps another command.
                5 | 6 => {
                    let name = if self.chance(2) { self.any(&WEIGHTS).0 } else { name(&copy.message) };
                    let merchant =
                        MERCHANTS.into_iter().find(|name| copy.message["data"]["merchant"] == **name);
                    let (id, source) = (copy.message["id"].clone(), copy.message["source"].clone());
                    copy = self.command(name, merchant.unwrap());
                    self.written.pop();
                    copy.message["id"] = id;
                    copy.message["source"] = source;
                }
                // Another merchant's.
                _ => {
                    let other = MERCHANTS.into_iter().find(|name| copy.message["data"]["merchant"] != **name);
                    copy.message["data"]["merchant"] = json!(other.unwrap());
                }
            }
            let to = self.rng.random_range(from..=commands.len());
            commands.insert(to, copy);
        }
    }

    /// A new command of this merchant.
    fn command(&mut self, name: &'static str, merchant: &'static str) -> Sent {
        let (currency, places) = if self.chance(5) { self.any(&CURRENCIES) } else { CURRENCIES[0] };
        let new = Written {
            merchant,
            customer: self.customer(),
            currency,
            places,
            source: self.any(&SOURCES),
            id: format!("k-{}", self.written.len()),
            name,
        };
        let mut data = match name.split('.').next().unwrap() {
            "commission" => self.commission(&new),
            "adjustment" => self.adjustment(&new),
            "withdrawal" => self.withdrawal(&new),
            _ => self.directory(&new),
        };
        data["merchant"] = json!(merchant);
        // Only what people do has an actor.
        let user = if data.get("actor").is_none() || self.chance(6) { None } else { Some("acme-admin") };
        let message = json!({
            "specversion": "1.0", "id": new.id, "source": new.source, "type": format!("{name}.v1"),
            "time": self.time(), "data": data,
        });
        self.written.push(new);
        Sent { message, user }
    }

    fn commission(&mut self, new: &Written) -> Value {
        if new.name == "commission.reverse" {
            let named = self.name(new.merchant, &["commission.credit"]);
            let mut data = json!({ "commission": named.reference() });
            if self.chance(2) {
                let (currency, places) =
                    if self.chance(8) { self.any(&CURRENCIES) } else { (named.currency, named.places) };
                data["amount"] = json!(self.amount(places));
                data["currency"] = json!(currency);
            }
            return data;
        }
        let large = format!("{}0", self.any(&[2, 5, 10]));
        let amount = if self.chance(3) { self.amount(new.places) } else { large };
        let mut data = json!({ "customer": new.customer, "amount": amount, "currency": new.currency });
        match self.rng.random_range(0..8) {
            0 => data["available_at"] = json!("2020-01-01T00:00:00Z"),
            1 => data["available_at"] = json!("2090-01-01T00:00:00Z"),
            _ => {}
        }
        data
    }

    fn adjustment(&mut self, new: &Written) -> Value {
        if new.name != "adjustment.reverse" {
            return json!({
                "customer": new.customer, "amount": self.amount(new.places), "currency": new.currency,
                "description": "By hand", "actor": "maria",
            });
        }
        let named = self.name(new.merchant, &["adjustment.credit", "adjustment.debit"]);
        let mut data = json!({ "entry": named.reference(), "reason": "Typed twice", "actor": "maria" });
        if self.chance(3) {
            let named = if self.chance(6) { self.anything() } else { named };
            let after = self.any(&[0, 0, 0, 0, 1, 2]);
            data["entry"] = json!({ "$entry": [named.merchant, named.source, named.id, after] });
        }
        data
    }

    fn withdrawal(&mut self, new: &Written) -> Value {
        if new.name == "withdrawal.request" {
            let mut data = json!({ "customer": new.customer, "currency": new.currency });
            if !self.chance(3) {
                data["amount"] = json!(self.amount(new.places));
            }
            return data;
        }
        let named = self.name(new.merchant, &["withdrawal.request"]);
        let mut data = json!({ "withdrawal": named.reference() });
        if self.chance(3) {
            let named = if self.chance(6) { self.anything() } else { named.clone() };
            data["withdrawal"] = json!({ "$id": [named.merchant, named.source, named.id] });
        }
        match new.name {
            "withdrawal.cancel" => {
                data["customer"] = json!(if self.chance(6) { new.customer } else { named.customer });
            }
            "withdrawal.reject" => data["reason"] = json!("Wrong account"),
            "withdrawal.pay" if self.chance(2) => data["payment_reference"] = json!("SEPA-1"),
            _ => {}
        }
        if new.name != "withdrawal.cancel" {
            data["actor"] = json!("maria");
        }
        data
    }

    fn directory(&mut self, new: &Written) -> Value {
        match new.name {
            "customer.put" => {
                let kind = if self.chance(6) { self.any(&["customer", "reseller"]) } else { "affiliate" };
                let mut data = json!({ "customer": new.customer, "kind": kind });
                if self.chance(2) {
                    data["locale"] = json!(self.any(&["de", "en", "pt-BR"]));
                }
                data
            }
            "payout-method.put" => {
                let account = json!({ "iban": "DE89370400440532013000", "holder": "Anna" });
                match self.rng.random_range(0..3) {
                    0 => json!({ "customer": new.customer, "bank_account": account }),
                    1 => json!({ "customer": new.customer, "paypal": { "email": "anna@example.org" } }),
                    _ => json!({ "customer": new.customer, "other": { "text": "cash" } }),
                }
            }
            _ => self.preferences(),
        }
    }

    fn preferences(&mut self) -> Value {
        let mut data = json!({ "name": "Acme", "actor": "maria" });
        if self.chance(6) {
            data["hold_days"] = json!(3);
        }
        if self.chance(2) {
            data["negative_limit"] = self.limits(&["0", "10", "25"]);
        }
        let mut withdrawals = json!({ "enabled": !self.chance(16) });
        if self.chance(2) {
            withdrawals["minimum"] = self.limits(&["0", "5", "10"]);
            withdrawals["minimum_rule"] = json!(self.any(&["balance", "amount"]));
        }
        if self.chance(3) {
            withdrawals["auto_approve_below"] = self.limits(&["5", "10"]);
        }
        if !self.chance(15) {
            data["withdrawals"] = withdrawals;
        }
        data
    }

    /// In euros and yen; none in the third currency.
    fn limits(&mut self, of: &[&str]) -> Value {
        json!({ "EUR": self.any(of), "JPY": self.any(of) })
    }

    /// Around where limits are, so that they are met exactly, just not, and just so.
    fn amount(&mut self, places: u32) -> String {
        let unit = 10_i64.pow(places);
        let whole = self.any(&[1, 2, 5, 5, 10, 10, 10, 15, 20, 25, 50]);
        let minor = (whole * unit + self.any(&[-1, 0, 0, 0, 0, 1])).max(1);
        if places == 0 {
            minor.to_string()
        } else {
            format!("{}.{:0>2$}", minor / unit, minor % unit, places as usize)
        }
    }

    /// Puts have a time each, mostly later than the one before.
    fn time(&mut self) -> String {
        self.minute += self.any(&[0, 1, 1, 2, 5]);
        let minute = if self.chance(6) { self.minute.saturating_sub(15) } else { self.minute };
        format!("2026-01-0{}T{:02}:{:02}:00Z", 1 + minute / 1440, minute / 60 % 24, minute % 60)
    }

    /// What a command names: mostly one of these, of its own merchant.
    fn name(&mut self, merchant: &'static str, of: &[&str]) -> Written {
        let own: Vec<_> =
            self.written.iter().filter(|written| written.merchant == merchant).cloned().collect();
        let right: Vec<_> = own.iter().filter(|written| of.contains(&written.name)).cloned().collect();
        match self.rng.random_range(0..20) {
            0 if !own.is_empty() => own.choose(&mut self.rng).unwrap().clone(),
            1 => self.anything(),
            // Itself, or one of the next; what those will be is not known yet.
            2 => {
                let number = self.written.len() + self.rng.random_range(0..6);
                self.unwritten(merchant, number)
            }
            3 => self.unwritten(merchant, 1_000_000),
            // The newest are the most interesting.
            _ if !right.is_empty() => {
                let recent = right.len().saturating_sub(4);
                let from = if self.chance(3) { 0 } else { recent };
                right[from..].choose(&mut self.rng).unwrap().clone()
            }
            _ => self.unwritten(merchant, self.written.len() + 1),
        }
    }

    fn anything(&mut self) -> Written {
        match self.written.choose(&mut self.rng) {
            Some(written) => written.clone(),
            None => self.unwritten(MERCHANTS[0], 0),
        }
    }

    fn unwritten(&mut self, merchant: &'static str, number: usize) -> Written {
        Written {
            merchant,
            customer: self.customer(),
            currency: CURRENCIES[0].0,
            places: CURRENCIES[0].1,
            source: self.any(&SOURCES),
            id: format!("k-{number}"),
            name: "",
        }
    }

    // ---- steps -----------------------------------------------------------------------------------------------------

    fn steps(&mut self, commands: Vec<Sent>) -> Vec<Step> {
        let mut queues = WORKERS.map(|name| (name, Vec::new()));
        let mut steps = Vec::new();
        let mut commands = commands.into_iter().peekable();
        while commands.peek().is_some() || queues.iter().any(|(_, queue)| !queue.is_empty()) {
            // Publishers and workers take turns, neither knowing of the other.
            let arriving = self.rng.random_range(0..12);
            for sent in commands.by_ref().take(arriving) {
                let name = worker(&sent.message);
                queues.iter_mut().find(|(queue, _)| *queue == name).unwrap().1.push(sent);
            }
            let last = commands.peek().is_none();
            for _ in 0..if last { 4 } else { self.rng.random_range(1..4) } {
                let (worker, queue) = &mut queues[self.rng.random_range(0..WORKERS.len())];
                let worker = *worker;
                let most = self.rng.random_range(1..12).min(queue.len());
                let flood = queue.iter().any(|sent: &Sent| is_flood(sent));
                let mut batch: Vec<_> = queue.drain(..if flood { queue.len() } else { most }).collect();
                if batch.len() > 1 && !flood && self.chance(5) {
                    let second = batch.split_off(batch.len() / 2);
                    steps.push(Step::Race { worker, lanes: [batch, second] });
                } else if !batch.is_empty() {
                    steps.push(Step::Batch { worker, commands: batch });
                }
            }
            match self.rng.random_range(0..10) {
                // What waits for a merchant or a customer is found by scans alone.
                0 | 1 => steps.push(Step::Scan { worker: "directory" }),
                2 | 3 => steps.push(Step::Scan { worker: self.any(&WORKERS) }),
                4 => steps.push(Step::Look { worker: self.any(&WORKERS) }),
                5 => steps.push(Step::Ripen { one_in: self.any(&[1, 2, 3]) }),
                6 => steps.extend([Step::Ripen { one_in: 2 }, Step::Mature]),
                7 => steps.push(Step::Mature),
                8 => steps.push(Step::LosePatience { one_in: self.any(&[2, 5]) }),
                _ => {}
            }
        }
        steps.extend(self.ending());
        steps
    }

    /// Nothing waits and nothing is pending any longer.
    fn ending(&mut self) -> Vec<Step> {
        let mut scans = WORKERS.map(|worker| Step::Scan { worker });
        let mut ending = Vec::new();
        for _ in 0..2 {
            scans.shuffle(&mut self.rng);
            ending.extend(scans.clone());
        }
        ending.push(Step::LosePatience { one_in: 1 });
        scans.shuffle(&mut self.rng);
        ending.extend(scans.clone());
        // What those have decided may be what others waited for.
        scans.shuffle(&mut self.rng);
        ending.extend(scans);
        ending.extend([Step::Ripen { one_in: 1 }, Step::Mature]);
        ending
    }
}

fn is_flood(sent: &Sent) -> bool {
    sent.message["id"].as_str().unwrap().starts_with("flood")
}

fn name(message: &Value) -> &'static str {
    let name = message["type"].as_str().unwrap().trim_end_matches(".v1");
    WEIGHTS.iter().map(|(name, _)| *name).find(|known| *known == name).unwrap()
}
