//! From a delivery to a command, or to the reason why it can never be one.
//!
//! The body is [`Received::read`]'s; here is what only the broker knows: content type, routing key, headers, and
//! the user, whom the broker has compared with the one who published. Headers and `reply_to` are otherwise
//! ignored, whatever they claim to be.

use std::sync::Arc;

use contract::{CONTENT_TYPE, Commands, Malformed, MalformedReason, Received, Timestamp, UserId};
use lapin::BasicProperties;
use lapin::message::Delivery;
use lapin::types::{AMQPValue, FieldTable};
use ledger::Item;
use ledger::decide::ItemOrigin;
use ledger::vault::Sealed;
use time::{Duration, OffsetDateTime};

use crate::broker::Outgoing;
use crate::topology;
use crate::watch::DeadLetter;

/// How far a put's `time` may be ahead of the clock: clocks differ a little. What is further ahead would keep every
/// later put out, for as long as it is.
const MAX_AHEAD: Duration = Duration::minutes(5);

/// What is asked of deliveries beyond the contract.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Intake {
    /// Whether [`Commands::needs_user`] counts.
    pub(crate) require_user: bool,
    /// The time.
    pub(crate) now: OffsetDateTime,
}

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

/// The parts of a message that a dead letter keeps: body (encrypted where [`crate::Handler::seal_letter`] says so),
/// content type, message id, correlation id, and the routing key in a header. Anything else of the publisher's could
/// route, expire or forge something.
#[derive(Debug)]
pub(crate) struct Letter {
    pub(crate) body: Arc<[u8]>,
    routing_key: String,
    properties: BasicProperties,
}

impl<C: Commands> Arrived<C> {
    /// Reads a delivery.
    pub(crate) fn read(delivery: Delivery, intake: Intake) -> Self {
        let deliveries = deliveries(&delivery);
        let body: Arc<[u8]> = delivery.data.into();
        let routing_key = delivery.routing_key.to_string();
        let command = if delivery.exchange.as_str() == topology::COMMANDS {
            intake.read(&body, &routing_key, &delivery.properties)
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

impl Intake {
    fn read<C: Commands>(
        self,
        body: &Arc<[u8]>,
        routing_key: &str,
        properties: &BasicProperties,
    ) -> Result<Arc<Item<C>>, Malformed> {
        let mut received = Received::<C>::read(body)?;
        check_properties(properties)?;
        received.user = self.user(&received.command, properties)?;
        if received.routing_key() != routing_key {
            return Err(Malformed::new(
                MalformedReason::RoutingKeyMismatch,
                format_args!(
                    "the message was published with another routing key; its body asks for {}",
                    received.routing_key()
                ),
            ));
        }
        if received.command.is_put() && received.time > Timestamp::from(self.now + MAX_AHEAD) {
            return Err(Malformed::new(
                MalformedReason::InvalidData,
                format_args!(
                    "time: is more than {} minutes ahead of the clock here; expected the time of the change",
                    MAX_AHEAD.whole_minutes()
                ),
            ));
        }
        Ok(Arc::new(Item { received, body: Arc::clone(body), origin: ItemOrigin::Delivered }))
    }

    /// The publishing user, where the delivery names one.
    fn user<C: Commands>(
        self,
        command: &C,
        properties: &BasicProperties,
    ) -> Result<Option<UserId>, Malformed> {
        let refused = |problem: &str| {
            Malformed::new(MalformedReason::InvalidProperties, format_args!("user_id: {problem}"))
        };
        match properties.user_id() {
            Some(user) => user.as_str().parse().map(Some).map_err(|problem: String| refused(&problem)),
            None if command.needs_user() && self.require_user => {
                Err(refused("is missing; expected the broker user who publishes, as this command needs one"))
            }
            None => Ok(None),
        }
    }
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
    /// The dead letter to publish, to this worker's dead queue; with this body, where one is encrypted.
    pub(crate) fn dead<'a>(
        &'a self,
        worker: &'static str,
        queue: &'a str,
        why: &Malformed,
        sealed: Option<&'a Sealed>,
        now: OffsetDateTime,
    ) -> Outgoing<'a> {
        let text = |text: &str| AMQPValue::LongString(text.into());
        let mut headers = FieldTable::default();
        headers.insert(DeadLetter::REASON.into(), text(why.reason.code()));
        headers.insert(DeadLetter::DETAIL.into(), text(&why.detail));
        headers.insert(DeadLetter::WORKER.into(), text(worker));
        headers.insert(DeadLetter::ROUTING_KEY.into(), text(&self.routing_key));
        let now = u64::try_from(now.unix_timestamp()).unwrap_or(0);
        headers.insert(DeadLetter::DEAD_AT.into(), AMQPValue::Timestamp(now));
        if let Some(sealed) = sealed {
            headers.insert(DeadLetter::KEY_ID.into(), text(&sealed.key_id));
        }
        Outgoing {
            exchange: topology::DEAD,
            routing_key: queue,
            mandatory: true,
            body: sealed.map_or(&*self.body, |sealed| &sealed.bytes),
            properties: self.properties.clone().with_headers(headers),
        }
    }
}
