//! Commands as the model reads them.

use serde_json::{Value, json};

use super::{AccountKey, Key, micros, minor};

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
    pub(super) time: i64,
    pub(super) data: Value,
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

    pub(super) fn merchant(&self) -> String {
        self.key.0.clone()
    }

    pub(super) fn text(&self, field: &str) -> String {
        self.data[field].as_str().unwrap().to_owned()
    }

    pub(super) fn customer(&self) -> (String, String) {
        (self.merchant(), self.text("customer"))
    }

    pub(super) fn account(&self) -> AccountKey {
        (self.merchant(), self.text("customer"), self.text("currency"))
    }

    pub(super) fn amount(&self) -> Option<i64> {
        self.data["amount"].as_str().map(|amount| minor(amount, &self.text("currency")))
    }

    /// The key of the command that this one names, if it names one so.
    pub fn names(&self) -> Option<Key> {
        let fields = ["commission", "entry", "withdrawal"];
        fields.into_iter().find(|field| self.data[*field].is_object()).map(|field| self.named(field))
    }

    pub(super) fn named(&self, field: &str) -> Key {
        let part = |part: &str| self.data[field][part].as_str().unwrap().to_owned();
        (self.merchant(), part("source"), part("id"))
    }

    /// What makes it the same content: `12.5` is `12.50`, a default that is written out is none, and the time and the
    /// sender do not matter.
    pub(super) fn content(&self) -> Value {
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
