//! Events as the model has an opinion of them.

use serde_json::{Value, json};

use super::{Key, Model};

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
