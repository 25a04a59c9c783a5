//! A dead letter: who made it, and what of it can be believed.
//!
//! A publisher chooses the headers of its messages. What a worker puts into its dead queue has headers of the worker's
//! alone; what the broker puts there (at the delivery limit, or when it expired) and what no queue took has those of the
//! publisher, `saldo-…` and `x-death` among them if it likes. So where a letter comes from is read from what a publisher
//! cannot choose ([`Origin`]), and only a worker's own headers are believed. The broker's account of a death is the
//! first of `x-death`; its reason is the broker's, its time may be the publisher's.

use std::collections::BTreeMap;
use std::fmt;

use contract::{LengthPrefixed, MalformedReason, Timestamp};
use lapin::message::Delivery;
use lapin::types::{AMQPValue, FieldTable};
use serde_json::{Map, Value};
use time::OffsetDateTime;

use crate::management::Peeked;
use crate::topology::{self, DEAD};
use crate::watch::DeadLetter;

/// As much of a body is listed by the management API: a few thousand of them fit into memory, and few commands are longer.
pub(super) const BEGINNING: usize = 8 * 1024;

/// The headers that are in a letter's name: all that a worker writes.
const NAMING: [&str; 7] = [
    DeadLetter::REASON,
    DeadLetter::DETAIL,
    DeadLetter::ROUTING_KEY,
    DeadLetter::USER,
    DeadLetter::DEAD_AT,
    DeadLetter::KEY_ID,
    DeadLetter::BODY_WITHHELD,
];

/// What names a letter: a hash over its queue and what it holds, the same as often as one looks. Of letters that are alike
/// in all of that it does not matter which is meant; the later ones have a name by their place among them.
///
/// A letter of more than 8 KiB that no client can receive, or can no longer, is named after its beginning and its length:
/// [`crate::dead::WalkError::Ambiguous`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LetterId(pub [u8; 16]);

impl fmt::Display for LetterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Who put a letter where it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The worker, which says why.
    Worker,
    /// The broker: the message was delivered too often, or has expired.
    Broker,
    /// Its publisher: no queue took it, or it went right into this queue.
    Publisher,
}

impl Origin {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Worker => "worker",
            Self::Broker => "broker",
            Self::Publisher => "publisher",
        }
    }
}

/// A dead letter.
#[derive(Clone)]
pub struct Letter {
    /// Its name.
    pub id: LetterId,
    /// Where it lies.
    pub queue: String,
    /// Who put it there.
    pub origin: Origin,
    /// Body, key id, message id, reason and detail, as far as they are to be believed.
    pub dead: DeadLetter,
    /// How long the body is; longer than what is here where only the beginning was read.
    pub bytes: u64,
    /// The key that the message was delivered with. `None`: nobody knows, because the broker made the letter.
    pub routing_key: Option<String>,
    /// Since when it is dead. `None`: nobody knows.
    pub dead_at: Option<Timestamp>,
    /// As whom the message was published, as the broker vouched for it then.
    pub user: Option<String>,
    /// Its worker left the body away, because it may hold payout details.
    pub withheld: bool,
    /// Whether a client can receive it; what is here otherwise comes from the management API.
    pub readable: bool,
    /// Whether it was handed out before.
    pub redelivered: bool,
    /// What the message says of its body.
    pub content_type: Option<String>,
    /// All headers, to be shown: nothing of them is to be believed that is not above.
    pub headers: BTreeMap<String, Value>,
}

impl fmt::Debug for Letter {
    /// Without what the message holds.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Letter").field("id", &self.id).field("queue", &self.queue).finish_non_exhaustive()
    }
}

/// A message of a queue, whichever way it was read.
pub(super) struct Seen {
    exchange: String,
    routing_key: String,
    redelivered: bool,
    content_type: Option<String>,
    message_id: Option<String>,
    correlation_id: Option<String>,
    user: Option<String>,
    headers: BTreeMap<String, Value>,
    body: Vec<u8>,
    bytes: u64,
    readable: bool,
}

impl From<Delivery> for Seen {
    fn from(delivery: Delivery) -> Self {
        let text = |text: &Option<lapin::types::ShortString>| text.as_ref().map(ToString::to_string);
        let properties = &delivery.properties;
        Self {
            exchange: delivery.exchange.to_string(),
            routing_key: delivery.routing_key.to_string(),
            redelivered: delivery.redelivered,
            content_type: text(properties.content_type()),
            message_id: text(properties.message_id()),
            correlation_id: text(properties.correlation_id()),
            user: text(properties.user_id()),
            headers: properties.headers().as_ref().map(table).unwrap_or_default().into_iter().collect(),
            bytes: delivery.data.len() as u64,
            body: delivery.data,
            readable: true,
        }
    }
}

/// Of a message that nobody can receive.
impl From<&Peeked> for Seen {
    fn from(peeked: &Peeked) -> Self {
        let text = |name: &str| peeked.properties[name].as_str().map(str::to_owned);
        Self {
            exchange: peeked.exchange.clone(),
            routing_key: peeked.routing_key.clone(),
            redelivered: peeked.redelivered,
            content_type: text("content_type"),
            message_id: text("message_id"),
            correlation_id: text("correlation_id"),
            user: text("user_id"),
            headers: peeked.properties["headers"]
                .as_object()
                .cloned()
                .unwrap_or_default()
                .into_iter()
                .collect(),
            body: peeked.body(),
            bytes: peeked.payload_bytes,
            readable: false,
        }
    }
}

impl Seen {
    /// A hash over what stays the same between two looks, over AMQP and HTTP alike: of a long body its beginning and
    /// its length. Two letters can have the same one.
    pub(super) fn content(&self, queue: &str) -> [u8; 16] {
        let beginning = &self.body[..self.body.len().min(BEGINNING)];
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let header = |name: &str| self.headers.get(name).map(Value::to_string).unwrap_or_default();
        let headers = NAMING.iter().fold(LengthPrefixed::new(), |hash, name| hash.part(header(name)));
        headers
            .part(queue)
            .part(&self.exchange)
            .part(&self.routing_key)
            .part(text(&self.message_id))
            .part(text(&self.correlation_id))
            .part(text(&self.user))
            .part(text(&self.content_type))
            .part(self.bytes.to_be_bytes())
            .part(beginning)
            .finish_short()
    }

    /// What it is called, with this content: after all of its body, as far as that is here.
    pub(super) fn name(&self, content: [u8; 16]) -> [u8; 16] {
        if self.body.len() <= BEGINNING {
            return content;
        }
        LengthPrefixed::new().part(content).part(&self.body).finish_short()
    }

    pub(super) fn bytes(&self) -> u64 {
        let headers: usize =
            self.headers.iter().map(|(name, value)| name.len() + value.to_string().len()).sum();
        self.body.len() as u64 + headers as u64
    }

    fn origin(&self, queue: &str) -> Origin {
        let dead_lettered = self.exchange == DEAD && self.routing_key == queue;
        // The broker leaves none of its letters without, and no worker's letter has one.
        match (dead_lettered, self.headers.contains_key("x-death")) {
            (false, _) => Origin::Publisher,
            (true, true) => Origin::Broker,
            (true, false) => Origin::Worker,
        }
    }

    /// The letter, which is the one after `twins` of the same name in its queue.
    pub(super) fn letter(mut self, queue: &str, name: [u8; 16], twins: u32) -> Letter {
        let id = match twins {
            0 => name,
            twins => LengthPrefixed::new().part(name).part(twins.to_be_bytes()).finish_short(),
        };
        let origin = self.origin(queue);
        let text = |name: &str| self.headers.get(name).and_then(Value::as_str).map(str::to_owned);
        let mut dead = DeadLetter {
            body: Vec::new(),
            key_id: None,
            message_id: self.message_id.take(),
            reason: None,
            detail: None,
        };
        let (mut routing_key, mut dead_at, mut withheld) = (None, None, false);
        let mut user = self.user.take();
        match origin {
            Origin::Worker => {
                dead.key_id = text(DeadLetter::KEY_ID);
                dead.reason = text(DeadLetter::REASON);
                dead.detail = text(DeadLetter::DETAIL);
                routing_key = text(DeadLetter::ROUTING_KEY);
                dead_at = self.headers.get(DeadLetter::DEAD_AT).and_then(moment);
                user = text(DeadLetter::USER);
                withheld = self.headers.contains_key(DeadLetter::BODY_WITHHELD);
            }
            Origin::Broker => {
                let death = &self.headers["x-death"][0];
                dead.reason = death["reason"].as_str().map(|reason| reason.replace('_', "-"));
                dead_at = moment(&death["time"]);
            }
            Origin::Publisher => {
                let reason = if queue == topology::UNROUTABLE { Letter::UNROUTABLE } else { Letter::STRAY };
                dead.reason = Some(reason.to_owned());
                // Of any other exchange no topic permission was asked.
                routing_key = (self.exchange == topology::COMMANDS).then_some(self.routing_key);
            }
        }
        dead.body = self.body;
        self.headers.retain(|name, _| !Peeked::COUNTERS.contains(&name.as_str()));
        Letter {
            id: LetterId(id),
            queue: queue.to_owned(),
            origin,
            dead,
            bytes: self.bytes,
            routing_key,
            dead_at,
            user,
            withheld,
            readable: self.readable,
            redelivered: self.redelivered,
            content_type: self.content_type,
            headers: self.headers,
        }
    }
}

impl Letter {
    /// The reason of what no queue took.
    pub const UNROUTABLE: &'static str = "unroutable";
    /// The reason of what was put into a queue of dead letters by a publisher.
    pub const STRAY: &'static str = "stray";
    /// The reasons of what the broker dead-letters, with its underscores as hyphens.
    pub const BROKERS: [&'static str; 4] = ["delivery-limit", "rejected", "expired", "maxlen"];

    /// All reasons that a letter can have, unless somebody forges one or a worker is newer than this program.
    pub fn reasons() -> impl Iterator<Item = &'static str> {
        let workers = MalformedReason::ALL.into_iter().map(MalformedReason::code);
        workers.chain(Self::BROKERS).chain([Self::UNROUTABLE, Self::STRAY])
    }

    /// Whose letter it is; `None`: no worker has had it.
    pub fn worker(&self) -> Option<&'static str> {
        topology::workers().find(|worker| topology::dead_queue(worker) == self.queue)
    }

    /// Whether the body is here as it was published, to its end.
    pub fn is_whole(&self) -> bool {
        !self.withheld && self.dead.body.len() as u64 == self.bytes
    }

    /// Whether the body is in clear and may hold payout details. A worker encrypts or withholds such; the broker and
    /// publishers do not.
    pub fn may_hold_secrets(&self) -> bool {
        self.dead.key_id.is_none() && crate::intake::may_hold_secrets(&self.dead.body)
    }
}

/// Seconds since 1970.
fn moment(value: &Value) -> Option<Timestamp> {
    Some(OffsetDateTime::from_unix_timestamp(value.as_i64()?).ok()?.into())
}

fn table(table: &FieldTable) -> Map<String, Value> {
    table.inner().iter().map(|(name, value)| (name.to_string(), json(value))).collect()
}

/// As the management API writes it.
fn json(value: &AMQPValue) -> Value {
    match value {
        AMQPValue::Boolean(value) => Value::from(*value),
        AMQPValue::ShortShortInt(value) => Value::from(*value),
        AMQPValue::ShortShortUInt(value) => Value::from(*value),
        AMQPValue::ShortInt(value) => Value::from(*value),
        AMQPValue::ShortUInt(value) => Value::from(*value),
        AMQPValue::LongInt(value) => Value::from(*value),
        AMQPValue::LongUInt(value) => Value::from(*value),
        AMQPValue::LongLongInt(value) => Value::from(*value),
        AMQPValue::Float(value) => Value::from(*value),
        AMQPValue::Double(value) => Value::from(*value),
        AMQPValue::Timestamp(value) => Value::from(*value),
        AMQPValue::ShortString(text) => Value::from(text.as_str()),
        AMQPValue::LongString(text) => String::from_utf8_lossy(text.as_bytes()).into(),
        AMQPValue::ByteArray(bytes) => String::from_utf8_lossy(bytes.as_slice()).into(),
        AMQPValue::FieldArray(values) => values.as_slice().iter().map(json).collect(),
        AMQPValue::FieldTable(values) => Value::Object(table(values)),
        AMQPValue::DecimalValue(value) => Value::from(format!("{value:?}")),
        AMQPValue::Void => Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use lapin::BasicProperties;
    use serde_json::json;

    use super::*;
    use crate::topology::{COMMANDS, UNROUTABLE, dead_queue};

    fn message(exchange: &str, key: &str, headers: &Value) -> Seen {
        let mut table = FieldTable::default();
        for (name, value) in headers.as_object().unwrap() {
            let value = match value {
                Value::String(text) => AMQPValue::LongString(text.as_str().into()),
                Value::Array(_) => {
                    let mut death = FieldTable::default();
                    death.insert("reason".into(), AMQPValue::LongString("delivery_limit".into()));
                    death.insert("time".into(), AMQPValue::Timestamp(1_800_000_000));
                    AMQPValue::FieldArray(vec![AMQPValue::FieldTable(death)].into())
                }
                other => AMQPValue::LongLongInt(other.as_i64().unwrap()),
            };
            table.insert(name.as_str().into(), value);
        }
        let mut delivery = Delivery::mock(1, exchange.into(), key.into(), false, b"{}".to_vec());
        delivery.properties =
            BasicProperties::default().with_headers(table).with_user_id("acme-admin".into());
        delivery.into()
    }

    fn named(message: Seen, queue: &str) -> Letter {
        let name = message.name(message.content(queue));
        message.letter(queue, name, 0)
    }

    fn letter(exchange: &str, key: &str, queue: &str, headers: &Value) -> Letter {
        named(message(exchange, key, headers), queue)
    }

    fn claims() -> Value {
        json!({
            "saldo-reason": "not-json", "saldo-routing-key": "acme.withdrawal.pay", "saldo-user": "boss",
            "saldo-key-id": "k", "saldo-dead-at": 1_700_000_000,
        })
    }

    #[test]
    fn a_workers_own_headers_are_believed() {
        let queue = dead_queue("commissions");
        let letter = letter(DEAD, &queue, &queue, &claims());
        assert_eq!(letter.origin, Origin::Worker);
        assert_eq!(letter.dead.reason.as_deref(), Some("not-json"));
        assert_eq!(letter.routing_key.as_deref(), Some("acme.withdrawal.pay"));
        assert_eq!(letter.user.as_deref(), Some("boss"));
        assert_eq!(letter.dead_at.unwrap().to_string(), "2023-11-14T22:13:20Z");
    }

    #[test]
    fn a_publishers_claims_are_not() {
        let queue = dead_queue("commissions");
        let mut forged = claims();
        forged["x-death"] = json!([{}]);
        let brokers = letter(DEAD, &queue, &queue, &forged);
        assert_eq!(brokers.origin, Origin::Broker);
        assert_eq!(brokers.dead.reason.as_deref(), Some("delivery-limit"));
        let stray = letter(COMMANDS, "acme.unheard.of", UNROUTABLE, &claims());
        assert_eq!((stray.origin, stray.dead.reason.as_deref()), (Origin::Publisher, Some("unroutable")));
        assert_eq!(stray.routing_key.as_deref(), Some("acme.unheard.of"));
        let direct = letter("", &queue, &queue, &claims());
        assert_eq!((direct.origin, direct.dead.reason.as_deref()), (Origin::Publisher, Some("stray")));
        assert_eq!(brokers.routing_key, None);
        for letter in [brokers, stray, direct] {
            assert_eq!(letter.user.as_deref(), Some("acme-admin"), "the broker vouched for it");
            assert_eq!(letter.dead.key_id, None);
        }
    }

    #[test]
    fn a_letter_keeps_its_name_whatever_the_broker_counts_and_twins_have_one_each() {
        let queue = dead_queue("commissions");
        let mut counted = claims();
        counted["x-delivery-count"] = json!(7);
        let (one, other) = (letter(DEAD, &queue, &queue, &claims()), letter(DEAD, &queue, &queue, &counted));
        assert_eq!(one.id, other.id);
        assert!(!other.headers.contains_key("x-delivery-count"));
        let twin = message(DEAD, &queue, &claims());
        let content = twin.content(&queue);
        assert_ne!(twin.letter(&queue, content, 1).id, one.id);
        assert_ne!(letter(DEAD, "other", &queue, &claims()).id, one.id);
    }

    #[test]
    fn letters_that_differ_in_anything_have_names_that_differ() {
        let queue = dead_queue("commissions");
        let with = |change: &dyn Fn(&mut Seen)| {
            let mut message = message(DEAD, &queue, &claims());
            message.body = vec![b'x'; 3 * BEGINNING];
            message.bytes = message.body.len() as u64;
            change(&mut message);
            named(message, &queue).id
        };
        let header = |name: &'static str| {
            with(&|message| {
                message.headers.insert(name.to_owned(), "other".into());
            })
        };
        let mut ids = vec![
            with(&|_| {}),
            with(&|message| message.body[0] = b'y'),
            with(&|message| message.body[BEGINNING] = b'y'),
            with(&|message| message.body[3 * BEGINNING - 1] = b'y'),
            with(&|message| message.content_type = Some("text/plain".to_owned())),
            with(&|message| message.message_id = Some("m".to_owned())),
            with(&|message| message.correlation_id = Some("m".to_owned())),
            with(&|message| message.user = None),
        ];
        ids.extend(NAMING.map(header));
        let count = ids.len();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), count);
    }

    #[test]
    fn http_and_amqp_name_a_letter_alike() {
        let queue = dead_queue("commissions");
        let peeked: Peeked = serde_json::from_value(json!({
            "exchange": DEAD, "routing_key": queue, "redelivered": true, "payload_bytes": 2, "payload": "e30=",
            "properties": { "user_id": "acme-admin", "headers": claims() },
        }))
        .unwrap();
        let over_amqp = message(DEAD, &queue, &claims());
        assert_eq!(Seen::from(&peeked).content(&queue), over_amqp.content(&queue));
    }
}
