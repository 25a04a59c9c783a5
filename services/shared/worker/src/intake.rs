//! From a delivery to a command, or to the reason why it can never be one.
//!
//! The body is [`Received::read`]'s; here is what only the broker knows: content type, routing key, headers.
//! Headers and `reply_to` are otherwise ignored, whatever they claim to be.

use std::sync::Arc;

use contract::{CONTENT_TYPE, Commands, Malformed, MalformedReason, Received};
use lapin::BasicProperties;
use lapin::message::Delivery;
use lapin::types::{AMQPValue, FieldTable};
use ledger::Item;
use ledger::decide::ItemOrigin;
use time::OffsetDateTime;

use crate::broker::Outgoing;
use crate::topology;

/// A delivery and what was made of it.
#[derive(Debug)]
pub(crate) struct Arrived<C> {
    /// For the ack.
    pub(crate) tag: u64,
    /// How often the broker had delivered it before, says the broker.
    pub(crate) deliveries: u64,
    /// The command, or why there is none.
    pub(crate) command: Result<Arc<Item<C>>, Malformed>,
    /// What a dead letter needs.
    pub(crate) letter: Letter,
}

/// The parts of a message that a dead letter keeps: body, content type, message id, correlation id, and the
/// routing key in a header. Anything else of the publisher's could route, expire or forge something.
#[derive(Debug)]
pub(crate) struct Letter {
    pub(crate) body: Arc<[u8]>,
    routing_key: String,
    properties: BasicProperties,
}

impl<C: Commands> Arrived<C> {
    /// Reads a delivery.
    pub(crate) fn read(delivery: Delivery) -> Self {
        let deliveries = deliveries(&delivery);
        let body: Arc<[u8]> = delivery.data.into();
        let routing_key = delivery.routing_key.to_string();
        let command = if delivery.exchange.as_str() == topology::COMMANDS {
            read(&body, &routing_key, &delivery.properties)
        } else {
            // Topic permissions were asked about another exchange than the one they are for.
            Err(Malformed::new(
                MalformedReason::InvalidProperties,
                format_args!(
                    "the message was not published to {}; expected that exchange",
                    topology::COMMANDS
                ),
            ))
        };
        let mut kept = BasicProperties::default();
        if let Some(content_type) = delivery.properties.content_type() {
            kept = kept.with_content_type(content_type.clone());
        }
        if let Some(id) = delivery.properties.message_id() {
            kept = kept.with_message_id(id.clone());
        }
        if let Some(id) = delivery.properties.correlation_id() {
            kept = kept.with_correlation_id(id.clone());
        }
        let letter = Letter { body, routing_key, properties: kept };
        Self { tag: delivery.delivery_tag, deliveries, command, letter }
    }
}

/// The broker's own count. On a first delivery the header, if there is one, is the publisher's.
fn deliveries(delivery: &Delivery) -> u64 {
    if !delivery.redelivered {
        return 0;
    }
    let headers = delivery.properties.headers().as_ref();
    let count = headers.and_then(|headers| headers.inner().get("x-delivery-count"));
    match count {
        Some(AMQPValue::LongLongInt(count)) => u64::try_from(*count).unwrap_or(0),
        Some(AMQPValue::LongInt(count)) => u64::try_from(*count).unwrap_or(0),
        Some(AMQPValue::LongUInt(count)) => u64::from(*count),
        Some(AMQPValue::ShortInt(count)) => u64::try_from(*count).unwrap_or(0),
        Some(AMQPValue::ShortShortInt(count)) => u64::try_from(*count).unwrap_or(0),
        Some(AMQPValue::ShortShortUInt(count)) => u64::from(*count),
        Some(AMQPValue::ShortUInt(count)) => u64::from(*count),
        _ => 0,
    }
}

fn read<C: Commands>(
    body: &Arc<[u8]>,
    routing_key: &str,
    properties: &BasicProperties,
) -> Result<Arc<Item<C>>, Malformed> {
    let received = Received::<C>::read(body)?;
    check_properties(properties)?;
    if received.routing_key() != routing_key {
        return Err(Malformed::new(
            MalformedReason::RoutingKeyMismatch,
            format_args!(
                "the message was published with another routing key; its body asks for {}",
                received.routing_key()
            ),
        ));
    }
    Ok(Arc::new(Item { received, body: Arc::clone(body), origin: ItemOrigin::Delivered }))
}

fn check_properties(properties: &BasicProperties) -> Result<(), Malformed> {
    let refused = |detail: &str| Err(Malformed::new(MalformedReason::InvalidProperties, detail));
    let content_type = properties.content_type().as_ref().map_or("", |text| text.as_str());
    let media_type = content_type.split(';').next().unwrap_or_default().trim();
    if !media_type.eq_ignore_ascii_case(CONTENT_TYPE) {
        return refused("content_type: is missing or something else; expected application/cloudevents+json");
    }
    if properties.expiration().is_some() {
        return refused("expiration: is set; a command must not expire, leave it out");
    }
    let headers = properties.headers().as_ref();
    if headers.is_some_and(|headers| ["CC", "BCC"].iter().any(|name| headers.contains_key(name))) {
        return refused("headers: CC or BCC is set; a command is addressed by its routing key alone");
    }
    Ok(())
}

impl Letter {
    /// The dead letter to publish, to this worker's dead queue.
    pub(crate) fn dead<'a>(
        &'a self,
        worker: &'static str,
        queue: &'a str,
        why: &Malformed,
        now: OffsetDateTime,
    ) -> Outgoing<'a> {
        let text = |text: &str| AMQPValue::LongString(text.into());
        let mut headers = FieldTable::default();
        headers.insert("saldo-reason".into(), text(why.reason.code()));
        headers.insert("saldo-detail".into(), text(&why.detail));
        headers.insert("saldo-worker".into(), text(worker));
        headers.insert("saldo-routing-key".into(), text(&self.routing_key));
        let now = u64::try_from(now.unix_timestamp()).unwrap_or(0);
        headers.insert("saldo-dead-at".into(), AMQPValue::Timestamp(now));
        Outgoing {
            exchange: topology::DEAD,
            routing_key: queue,
            mandatory: true,
            body: &self.body,
            properties: self.properties.clone().with_headers(headers),
        }
    }
}
