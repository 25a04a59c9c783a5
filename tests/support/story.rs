//! Commands as life brings them, from a seed: shops whose customers earn, are corrected, ask for their money and change
//! their minds, each command naming what came before it, mostly.
//!
//! Where a merchant stands, its stand-in does, and where an id of Saldo's stands, an object says which: whoever sends
//! the commands puts real ones there ([`resolve`]).

use std::fmt;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::{Value, json};

use crate::model::Key;

/// Stand for the two merchants of a story.
pub const MERCHANTS: [&str; 2] = ["$a", "$b"];
/// The customers of each merchant.
pub const CUSTOMERS: [&str; 3] = ["anna", "ben", "chloe"];
const CURRENCIES: [(&str, u32); 3] = [("EUR", 2), ("JPY", 0), ("KWD", 3)];
const SOURCES: [&str; 2] = ["/shop", "/affiliates"];

/// A command with its sender.
#[derive(Debug, Clone)]
pub struct Sent {
    /// The message, with stand-ins.
    pub message: Value,
    /// Whom the broker vouches for.
    pub user: Option<&'static str>,
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

/// Writes one story.
#[derive(Debug)]
pub struct Writer {
    /// Where all chance in the story comes from.
    pub rng: StdRng,
    written: Vec<Written>,
    minute: u32,
}

/// Every command, and how often it is to be expected.
pub const WEIGHTS: [(&str, u32); 13] = [
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

/// The worker whose command it is.
pub fn worker(message: &Value) -> &'static str {
    match message["type"].as_str().unwrap().split('.').next().unwrap() {
        "commission" => "commissions",
        "adjustment" => "adjustments",
        "withdrawal" => "withdrawals",
        _ => "directory",
    }
}

/// Such as `commission.credit`.
pub fn name(message: &Value) -> &'static str {
    let name = message["type"].as_str().unwrap().trim_end_matches(".v1");
    WEIGHTS.iter().map(|(name, _)| *name).find(|known| *known == name).unwrap()
}

impl Writer {
    /// A story from this seed.
    pub fn new(seed: u64) -> Self {
        Self { rng: StdRng::seed_from_u64(seed), written: Vec::new(), minute: 0 }
    }

    /// True once in so many times.
    pub fn chance(&mut self, one_in: u32) -> bool {
        self.rng.random_ratio(1, one_in)
    }

    /// Mostly one of them, so that things meet.
    fn merchant(&mut self) -> &'static str {
        if self.chance(6) { MERCHANTS[1] } else { MERCHANTS[0] }
    }

    fn customer(&mut self) -> &'static str {
        if self.chance(2) { CUSTOMERS[0] } else { self.any(&CUSTOMERS) }
    }

    /// One of these.
    pub fn any<T: Copy>(&mut self, of: &[T]) -> T {
        *of.choose(&mut self.rng).unwrap()
    }

    /// A shop with customers who have earned something, before anything out of the ordinary happens; mostly all of it.
    pub fn setting_out(&mut self, merchant: &'static str) -> Vec<Sent> {
        let mut commands = vec![self.command("preferences.put", merchant)];
        for customer in CUSTOMERS {
            for name in ["customer.put", "payout-method.put", "commission.credit"] {
                let mut sent = self.command(name, merchant);
                sent.message["data"]["customer"] = json!(customer);
                self.written.last_mut().unwrap().customer = customer;
                if !self.chance(6) {
                    commands.push(sent);
                }
            }
        }
        commands
    }

    /// So many new commands of both merchants, in an order that makes sense.
    pub fn commands(&mut self, count: usize) -> Vec<Sent> {
        let mut commands = Vec::with_capacity(count);
        for _ in 0..count {
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
        commands
    }

    /// Some come late, by at most 12 places, so that others come before what they name.
    pub fn delay(&mut self, commands: &mut Vec<Sent>) {
        for _ in 0..commands.len() / 6 {
            let from = self.rng.random_range(0..commands.len());
            let sent = commands.remove(from);
            let to = self.rng.random_range(0..=commands.len().min(from + 12)).max(from.saturating_sub(12));
            commands.insert(to, sent);
        }
    }

    /// Another command with this source and id, which were another's: of the same name, or of any.
    pub fn other(&mut self, name: &'static str, merchant: &'static str, key: [&str; 2]) -> Sent {
        let name = if self.chance(2) { self.any(&WEIGHTS).0 } else { name };
        self.aside(name, merchant, key)
    }

    /// A command with this source and id that no later one will name.
    pub fn aside(&mut self, name: &'static str, merchant: &'static str, [source, id]: [&str; 2]) -> Sent {
        let mut sent = self.command(name, merchant);
        self.written.pop();
        (sent.message["source"], sent.message["id"]) = (json!(source), json!(id));
        sent
    }

    /// A new command of this merchant.
    pub fn command(&mut self, name: &'static str, merchant: &'static str) -> Sent {
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
        format!("2026-01-{:02}T{:02}:{:02}:00Z", 1 + minute / 1440, minute / 60 % 24, minute % 60)
    }

    /// What a command names: mostly one of these, of its own merchant.
    fn name(&mut self, merchant: &'static str, of: &[&str]) -> Written {
        let own = |known: &&Written| known.merchant == merchant;
        let right: Vec<_> =
            self.written.iter().filter(own).filter(|known| of.contains(&known.name)).collect();
        match self.rng.random_range(0..20) {
            0 => {
                let own: Vec<_> = self.written.iter().filter(own).collect();
                match own.choose(&mut self.rng) {
                    Some(known) => (*known).clone(),
                    None => self.unwritten(merchant, 0),
                }
            }
            1 => self.anything(),
            // Itself, or one of the next; what those will be is not known yet.
            2 => {
                let number = self.written.len() + self.rng.random_range(0..6);
                self.unwritten(merchant, number)
            }
            3 => self.unwritten(merchant, 1_000_000),
            // The newest are the most interesting.
            _ if !right.is_empty() => {
                let all = self.rng.random_ratio(1, 3);
                let from = if all { 0 } else { right.len().saturating_sub(4) };
                (*right[from..].choose(&mut self.rng).unwrap()).clone()
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
}

/// Puts real merchants and ids where their stand-ins are. `id`: what to name the withdrawal that the command with this key
/// requested, or, with a number, the entry so many after the one that it posted.
pub fn resolve(value: &mut Value, merchants: &[String; 2], id: &impl Fn(&Key, Option<usize>) -> Value) {
    let name = |value: &Value| {
        let stand_in = MERCHANTS.iter().position(|name| value == name);
        stand_in.map(|place| merchants[place].clone())
    };
    if let Some(merchant) = name(value) {
        *value = json!(merchant);
    } else if let Some(parts) = value.get("$id").or_else(|| value.get("$entry")) {
        let text = |part: usize| parts[part].as_str().unwrap().to_owned();
        let key = (name(&parts[0]).unwrap(), text(1), text(2));
        *value = id(&key, parts[3].as_u64().map(|after| usize::try_from(after).unwrap()));
    } else if let Value::Object(fields) = value {
        fields.values_mut().for_each(|field| resolve(field, merchants, id));
    }
}
