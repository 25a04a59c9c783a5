//! All the ways to spoil a command.

use serde_json::{Value, json};
use tests::story;

use crate::journal::{Kind, Line};

/// The only one that the message itself does not show.
pub(super) const CONTENT_TYPE: &str = "another content type";

/// A way to spoil.
pub(super) struct Spoiling {
    /// What is wrong.
    why: &'static str,
    /// The commands that it is done to.
    pub(super) of: &'static [&'static str],
    how: How,
}

enum How {
    /// Something else in the message.
    Message(fn(&mut Value)),
    /// Something else than the message.
    Body(fn(Vec<u8>) -> Vec<u8>),
    /// Something else around it.
    Line(fn(&mut Line)),
}

use How::{Body, Line as Around, Message};

/// Some of each worker's.
const ANY: &[&str] = &[
    "commission.credit",
    "commission.reverse",
    "adjustment.debit",
    "adjustment.reverse",
    "withdrawal.request",
    "withdrawal.pay",
    "customer.put",
    "payout-method.put",
    "preferences.put",
];
const MONEY: &[&str] = &["commission.credit", "adjustment.credit", "adjustment.debit"];
const PUTS: &[&str] = &["customer.put", "payout-method.put", "preferences.put"];
const STAFF: &[&str] = &[
    "adjustment.credit",
    "adjustment.debit",
    "adjustment.reverse",
    "withdrawal.approve",
    "withdrawal.pay",
    "withdrawal.reject",
    "preferences.put",
];

const fn way(why: &'static str, of: &'static [&'static str], how: How) -> Spoiling {
    Spoiling { why, of, how }
}

/// All of them.
pub(super) const ALL: [Spoiling; 24] = [
    way("nothing", ANY, Body(|_| Vec::new())),
    way("half a message", ANY, Body(|mut body| body.drain(..body.len() / 2).collect())),
    way("not JSON", ANY, Body(|_| b"<command/>".to_vec())),
    way("not UTF-8", ANY, Body(|body| [&body[..body.len() - 1], b",\"note\":\"\xff\"}"].concat())),
    way("not an object", ANY, Body(|body| [&b"["[..], &body, b"]"].concat())),
    way("too large", ANY, Message(|message| message["padding"] = json!("x".repeat(33 * 1024)))),
    way("no version of the envelope", ANY, Message(|message| without(message, "specversion"))),
    way("no id", ANY, Message(|message| without(message, "id"))),
    way("Saldo's own source", ANY, Message(|message| message["source"] = json!("/saldo/shop"))),
    way("no time", ANY, Message(|message| without(message, "time"))),
    way("a future version", ANY, Message(|message| message["type"] = type_of(message, ".v1", ".v2"))),
    way("a misspelt type", ANY, Message(|message| message["type"] = type_of(message, ".v1", "s.v1"))),
    way("no data", ANY, Message(|message| without(message, "data"))),
    way("an unknown field", ANY, Message(|message| message["data"]["colour"] = json!("red"))),
    way("a null", ANY, Message(|message| message["data"]["merchant"] = Value::Null)),
    way("a number for an amount", MONEY, Message(|message| message["data"]["amount"] = json!(12.5))),
    way("a negative amount", MONEY, Message(|message| message["data"]["amount"] = json!("-5"))),
    way("too many decimals", MONEY, Message(|message| message["data"]["amount"] = json!("1.23456"))),
    way("a wrong currency", MONEY, Message(|message| message["data"]["currency"] = json!("EURO"))),
    way("from the future", PUTS, Message(|message| message["time"] = json!("2190-01-01T00:00:00Z"))),
    way("no user", STAFF, Around(|line| line.user = None)),
    way("another routing key", ANY, Around(|line| line.routing_key += ".again")),
    way("another worker's queue", ANY, Around(elsewhere)),
    way(CONTENT_TYPE, ANY, Around(|_| ())),
];

fn without(message: &mut Value, field: &str) {
    message.as_object_mut().unwrap().remove(field);
}

fn type_of(message: &Value, from: &str, to: &str) -> Value {
    json!(message["type"].as_str().unwrap().replace(from, to))
}

fn elsewhere(line: &mut Line) {
    let (merchant, _) = line.routing_key.split_once('.').unwrap();
    let name = if line.worker == Some("adjustments") { "withdrawal.pay" } else { "adjustment.credit" };
    line.routing_key = format!("{merchant}.{name}");
    line.worker = Some(story::worker(&json!({ "type": name })));
}

impl Spoiling {
    /// The command, spoilt.
    pub(super) fn spoil(&self, mut line: Line) -> Line {
        (line.kind, line.key) = (Kind::Malformed(self.why), None);
        match self.how {
            Message(change) => {
                let mut message = serde_json::from_slice(&line.body).unwrap();
                change(&mut message);
                line.body = message.to_string().into_bytes().into();
            }
            Body(change) => line.body = change(line.body.to_vec()).into(),
            Around(change) => change(&mut line),
        }
        line
    }
}
