//! Seeing what becomes of commands while it happens: events, dead letters and unroutable commands, from a queue of one's own.
//!
//! The queue is exclusive and goes with the connection, so that a watcher leaves nothing behind. It sees what is
//! published after [`Watch::start`] returned. Saldo's policy for subscribers bounds it: a watcher that is too slow
//! loses the oldest, and asks the ledger. At most [`PREFETCH`] messages are in this process's memory.

use std::time::Duration;

use contract::MerchantId;
use futures_util::StreamExt;
use futures_util::future::try_join_all;
use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicQosOptions, QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{Channel, Connection, Consumer};
use serde::Deserialize;

use crate::broker::{Address, BrokerError, Purpose, connect};
use crate::submit::refusal;
use crate::topology::{DEAD, EVENTS, Limits, Topology, UNROUTABLE};

const PREFETCH: u16 = 1000;
const ACCESS_REFUSED: u16 = 403;
const NOT_FOUND: u16 = 404;

/// Why nothing can be seen.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// The user may not, in the broker's words.
    #[error("the broker lets this user not watch ({0})")]
    Forbidden(String),
    /// An exchange does not exist, in the broker's words.
    #[error("the broker has nothing to watch ({0}); run `saldo topology apply`")]
    Missing(String),
    /// The broker, or the way to it.
    #[error(transparent)]
    Broker(#[from] BrokerError),
}

impl From<lapin::Error> for WatchError {
    fn from(error: lapin::Error) -> Self {
        if let Some(words) = refusal(&error, ACCESS_REFUSED) {
            return Self::Forbidden(words);
        }
        match refusal(&error, NOT_FOUND) {
            Some(words) => Self::Missing(words),
            None => Self::Broker(error.into()),
        }
    }
}

/// Something that was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sighting {
    /// An event.
    Event(Told),
    /// A command that will never be applied.
    DeadLetter(DeadLetter),
    /// A command that no worker's queue takes.
    Unroutable {
        /// The command's bytes.
        body: Vec<u8>,
        /// The publisher's AMQP message id.
        message_id: Option<String>,
    },
}

/// What an event tells of the command that caused it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// Whose command.
    pub merchant: String,
    /// The command's `source`.
    pub source: String,
    /// The command's `id`.
    pub id: String,
    /// The event's type without its version, such as `commission.credited`.
    pub name: String,
    /// Why it was refused, for programs.
    pub reason: Option<String>,
    /// Why it was refused, for people.
    pub message: Option<String>,
}

impl Told {
    /// Reads an event; `None` if it is none that a command caused.
    pub fn read(body: &[u8]) -> Option<Self> {
        #[derive(Deserialize)]
        struct Envelope {
            #[serde(rename = "type")]
            message_type: String,
            causationsource: String,
            causationid: String,
            data: Data,
        }
        #[derive(Deserialize)]
        struct Data {
            merchant: String,
            reason: Option<String>,
            message: Option<String>,
        }
        let envelope: Envelope = serde_json::from_slice(body).ok()?;
        let (name, _version) = envelope.message_type.rsplit_once('.')?;
        let Data { merchant, reason, message } = envelope.data;
        // Other events have a `reason` too: the words of whoever rejected or reversed something.
        let refused = name.ends_with(".refused");
        Some(Self {
            merchant,
            source: envelope.causationsource,
            id: envelope.causationid,
            name: name.to_owned(),
            reason: reason.filter(|_| refused),
            message: message.filter(|_| refused),
        })
    }
}

/// A copy of a dead letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// The command's bytes, or those encrypted.
    pub body: Vec<u8>,
    /// The key that they are encrypted with; `None`: they are as they were published.
    pub key_id: Option<String>,
    /// The publisher's AMQP message id.
    pub message_id: Option<String>,
    /// Why: the worker's reason, or the broker's where it gave up delivering (`delivery-limit`).
    pub reason: Option<String>,
    /// Why, for people.
    pub detail: Option<String>,
}

impl DeadLetter {
    /// The header of the reason, a code.
    pub const REASON: &'static str = "saldo-reason";
    /// The header of the detail, a sentence.
    pub const DETAIL: &'static str = "saldo-detail";
    /// The header of the worker that made it.
    pub const WORKER: &'static str = "saldo-worker";
    /// The header of the routing key that the command was delivered with.
    pub const ROUTING_KEY: &'static str = "saldo-routing-key";
    /// The header of when it was made.
    pub const DEAD_AT: &'static str = "saldo-dead-at";
    /// The header of the key that the body is encrypted with, where it is: see [`ledger::vault`].
    pub const KEY_ID: &'static str = "saldo-key-id";
    /// The header that says that there is no body: it may hold payout details, and its worker has no key for them.
    pub const BODY_WITHHELD: &'static str = "saldo-body-withheld";
    const BROKERS_REASON: &'static str = "x-first-death-reason";

    pub(crate) fn of(delivery: Delivery) -> Self {
        let headers = delivery.properties.headers().as_ref();
        let header = |name: &str| match headers?.inner().get(name)? {
            AMQPValue::LongString(text) => Some(String::from_utf8_lossy(text.as_bytes()).into_owned()),
            AMQPValue::ShortString(text) => Some(text.as_str().to_owned()),
            _ => None,
        };
        let brokers = || header(Self::BROKERS_REASON).map(|reason| reason.replace('_', "-"));
        Self {
            reason: header(Self::REASON).or_else(brokers),
            detail: header(Self::DETAIL),
            key_id: header(Self::KEY_ID),
            message_id: message_id(&delivery),
            body: delivery.data,
        }
    }
}

fn message_id(delivery: &Delivery) -> Option<String> {
    delivery.properties.message_id().as_ref().map(|id| id.as_str().to_owned())
}

/// A connection that sees events and dead letters.
#[derive(Debug)]
pub struct Watch {
    channel: Channel,
    consumer: Consumer,
    /// Deliveries since the last acknowledgement.
    unacked: u16,
    /// Keeps the queue.
    _connection: Connection,
}

impl Watch {
    /// Starts to watch these merchants' events, and all dead letters and unroutable commands.
    ///
    /// # Errors
    /// The broker cannot be reached, or the user may not declare a queue of its own or read the exchanges.
    pub async fn start(
        broker: &Address,
        name: &str,
        merchants: &[MerchantId],
        within: Duration,
    ) -> Result<Self, WatchError> {
        let connection = connect(broker, name, Purpose::Consume, within).await?;
        let channel = connection.create_channel().await?;
        channel.basic_qos(PREFETCH, BasicQosOptions::default()).await?;
        let options = QueueDeclareOptions { exclusive: true, auto_delete: true, ..Default::default() };
        let queue = channel.queue_declare("".into(), options, FieldTable::default()).await?;
        let queue = queue.name().clone();
        let events = merchants.iter().map(|merchant| (EVENTS, format!("{merchant}.#")));
        let dead =
            Topology::new(Limits::default()).bindings.into_iter().filter(|binding| binding.exchange == DEAD);
        let dead = dead.map(|binding| (DEAD, binding.routing_key));
        try_join_all(events.chain(dead).chain([(UNROUTABLE, String::new())]).map(|(exchange, key)| {
            let options = QueueBindOptions::default();
            let key = ShortString::from(key.as_str());
            channel.queue_bind(queue.clone(), exchange.into(), key, options, FieldTable::default())
        }))
        .await?;
        let options = BasicConsumeOptions { exclusive: true, ..Default::default() };
        let consumer = channel.basic_consume(queue, "".into(), options, FieldTable::default()).await?;
        Ok(Self { channel, consumer, unacked: 0, _connection: connection })
    }

    /// The next sighting; `None` when the connection is gone.
    pub async fn next(&mut self) -> Option<Sighting> {
        loop {
            let delivery = self.consumer.next().await?.ok()?;
            self.unacked += 1;
            if self.unacked >= PREFETCH / 2 {
                let options = BasicAckOptions { multiple: true };
                self.channel.basic_ack(delivery.delivery_tag, options).await.ok()?;
                self.unacked = 0;
            }
            match delivery.exchange.as_str() {
                DEAD => return Some(Sighting::DeadLetter(DeadLetter::of(delivery))),
                EVENTS => {
                    if let Some(told) = Told::read(&delivery.data) {
                        return Some(Sighting::Event(told));
                    }
                }
                // An alternate exchange's messages keep the name of the exchange they were published to.
                _ => {
                    let message_id = message_id(&delivery);
                    return Some(Sighting::Unroutable { body: delivery.data, message_id });
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_tells_of_its_cause_and_of_a_refusals_reason() {
        let body =
            br#"{"specversion":"1.0","id":"x","source":"/saldo/commissions","type":"commission.refused.v1",
            "causationsource":"/affiliates/eu","causationid":"c-1",
            "data":{"merchant":"demo","reason":"exceeds-commission","message":"Too much."}}"#;
        let told = Told::read(body).unwrap();
        assert_eq!((told.merchant.as_str(), told.name.as_str()), ("demo", "commission.refused"));
        assert_eq!((told.source.as_str(), told.id.as_str()), ("/affiliates/eu", "c-1"));
        assert_eq!(told.reason.as_deref(), Some("exceeds-commission"));
        let body = br#"{"type":"adjustment.reversed.v1","causationsource":"/a","causationid":"r-1",
            "data":{"merchant":"demo","reason":"It was a mistake"}}"#;
        assert_eq!(Told::read(body).unwrap().reason, None);
    }
}
