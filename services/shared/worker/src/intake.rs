//! From a delivery to a command, or to the reason why it can never be one.
//!
//! The body is [`Received::read`]'s; here is what only the broker knows: content type, routing key, headers, and
//! the user, whom the broker has compared with the one who published. Headers and `reply_to` are otherwise
//! ignored, whatever they claim to be.

use std::sync::Arc;

use contract::{CONTENT_TYPE, Commands, Malformed, MalformedReason, Received, Timestamp, UserId};
use lapin::BasicProperties;
use lapin::message::Delivery;
use lapin::types::{AMQPValue, FieldTable, ShortString};
use ledger::Item;
use ledger::decide::ItemOrigin;
use ledger::vault::Sealed;
use serde::Deserialize;
use time::{Duration, OffsetDateTime};

use crate::broker::Outgoing;
use crate::topology;
use crate::traces::Trace;
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
pub(crate) struct Arrived<I> {
    /// For the ack.
    pub(crate) tag: u64,
    /// How often the broker had delivered it before, says the broker.
    pub(crate) deliveries: u64,
    /// When it was published: by the broker's clock where it is set to note that (`timestamp_in_ms`), else by the
    /// publisher's (AMQP `timestamp`). Believed by nothing but metrics.
    pub(crate) published_at: Option<OffsetDateTime>,
    /// The trace that it belongs to, if it is sampled.
    pub(crate) trace: Option<Trace>,
    /// What was understood, or why nothing was.
    pub(crate) item: Result<Arc<I>, Malformed>,
    /// What a dead letter needs.
    pub(crate) letter: Letter,
}

/// The parts of a message that a dead letter keeps: body (encrypted where [`crate::Handler::seal_letter`] says so),
/// content type, message id, correlation id, and in headers the routing key and the user for whom the broker vouched.
/// Anything else of the publisher's could route, expire or forge something.
#[derive(Debug)]
pub(crate) struct Letter {
    pub(crate) body: Arc<[u8]>,
    /// `None`: it came by another exchange than the one that permissions are asked about.
    routing_key: Option<String>,
    user: Option<ShortString>,
    properties: BasicProperties,
}

impl<C: Commands> Arrived<Item<C>> {
    /// Reads a command.
    pub(crate) fn command(delivery: Delivery, intake: Intake) -> Self {
        let mut arrived = Self::read(delivery, topology::COMMANDS, |body, routing_key, properties| {
            intake.read(body, routing_key, properties)
        });
        let item = arrived.item.as_ref().ok();
        arrived.trace = item.and_then(|item| item.received.traceparent.as_deref()).and_then(Trace::sampled);
        arrived
    }
}

impl<E> Arrived<E> {
    /// Reads an event. Only workers may publish them, so that nothing is asked of its properties.
    pub(crate) fn event(delivery: Delivery, read: impl FnOnce(&[u8]) -> Result<E, Malformed>) -> Self {
        let mut arrived = Self::read(delivery, topology::EVENTS, |body, _, _| read(body).map(Arc::new));
        arrived.trace = traceparent(&arrived.letter.body).as_deref().and_then(Trace::sampled);
        arrived
    }

    fn read(
        delivery: Delivery,
        exchange: &str,
        read: impl FnOnce(&Arc<[u8]>, &str, &BasicProperties) -> Result<Arc<E>, Malformed>,
    ) -> Self {
        let deliveries = deliveries(&delivery);
        let published_at = published_at(&delivery.properties);
        let body: Arc<[u8]> = delivery.data.into();
        let routing_key = delivery.routing_key.to_string();
        let asked_for = delivery.exchange.as_str() == exchange;
        let item = if asked_for {
            read(&body, &routing_key, &delivery.properties)
        } else {
            // Topic permissions were asked about another exchange than the one they are for.
            Err(Malformed::new(
                MalformedReason::InvalidProperties,
                format_args!("the message was not published to {exchange}; expected that exchange"),
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
        let user = delivery.properties.user_id().clone();
        // Nobody may take it for one that a topic permission has let through.
        let routing_key = asked_for.then_some(routing_key);
        let letter = Letter { body, routing_key, user, properties: kept };
        Self { tag: delivery.delivery_tag, deliveries, published_at, trace: None, item, letter }
    }
}

/// The trace that an event carries on.
fn traceparent(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Envelope {
        traceparent: Option<String>,
    }
    serde_json::from_slice::<Envelope>(body).ok()?.traceparent
}

/// The header can be the publisher's as well, where the broker is not told to overwrite it.
fn published_at(properties: &BasicProperties) -> Option<OffsetDateTime> {
    let at = claimed(properties)?;
    // Nobody published before 1970: a clock that was not set.
    (at > OffsetDateTime::UNIX_EPOCH).then_some(at)
}

fn claimed(properties: &BasicProperties) -> Option<OffsetDateTime> {
    let headers = properties.headers().as_ref();
    let brokers = headers.and_then(|headers| headers.inner().get("timestamp_in_ms"));
    if let Some(AMQPValue::LongLongInt(milliseconds)) = brokers {
        return OffsetDateTime::from_unix_timestamp_nanos(i128::from(*milliseconds) * 1_000_000).ok();
    }
    let publishers = (*properties.timestamp())?;
    OffsetDateTime::from_unix_timestamp(i64::try_from(publishers).ok()?).ok()
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

/// Whoever publishes a payout method says so, also with another routing key or in broken JSON.
const SECRET_TYPE: &str = "payout-method";

/// Whether a body in clear may hold payout details.
pub(crate) fn may_hold_secrets(body: &[u8]) -> bool {
    #[derive(serde::Deserialize)]
    struct Typed {
        #[serde(rename = "type")]
        message_type: String,
    }
    let says_so = body.windows(SECRET_TYPE.len()).any(|window| window == SECRET_TYPE.as_bytes());
    // JSON can write any letter of it in another way.
    says_so
        || serde_json::from_slice::<Typed>(body).is_ok_and(|typed| typed.message_type.contains(SECRET_TYPE))
}

impl Letter {
    /// The dead letter to publish, to this worker's dead queue; with this body, where one is encrypted. A worker
    /// that has no key to encrypt with withholds the body of what should never have come to its queue.
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
        let withheld = sealed.is_none() && may_hold_secrets(&self.body);
        headers.insert(DeadLetter::DETAIL.into(), text(&why.detail));
        headers.insert(DeadLetter::WORKER.into(), text(worker));
        if let Some(routing_key) = &self.routing_key {
            headers.insert(DeadLetter::ROUTING_KEY.into(), text(routing_key));
        }
        if let Some(user) = &self.user {
            headers.insert(DeadLetter::USER.into(), text(user.as_str()));
        }
        let now = u64::try_from(now.unix_timestamp()).unwrap_or(0);
        headers.insert(DeadLetter::DEAD_AT.into(), AMQPValue::Timestamp(now));
        if let Some(sealed) = sealed {
            headers.insert(DeadLetter::KEY_ID.into(), text(&sealed.key_id));
        }
        if withheld {
            headers.insert(DeadLetter::BODY_WITHHELD.into(), AMQPValue::Boolean(true));
        }
        let body = match sealed {
            Some(sealed) => sealed.bytes.as_slice(),
            None if withheld => &[],
            None => &*self.body,
        };
        Outgoing {
            exchange: topology::DEAD,
            routing_key: queue,
            mandatory: true,
            body,
            properties: self.properties.clone().with_headers(headers),
        }
    }
}

#[cfg(test)]
mod tests {
    use contract::MerchantId;
    use ledger::vault::{Purpose, Vault};
    use serde_json::value::RawValue;
    use time::macros::datetime;

    use super::*;

    const NOW: OffsetDateTime = datetime!(2026-11-22 10:00 UTC);

    /// A command of each sort.
    #[derive(Debug, Clone)]
    enum Probe {
        Plain(MerchantId),
        Staff(MerchantId),
        Put(MerchantId),
    }

    impl Commands for Probe {
        const TYPES: &'static [&'static str] = &["probe.plain.v1", "probe.staff.v1", "probe.put.v1"];

        fn read(message_type: &str, data: &RawValue) -> Option<Result<Self, Malformed>> {
            let merchant = serde_json::from_str(data.get()).unwrap();
            match message_type {
                "probe.plain.v1" => Some(Ok(Self::Plain(merchant))),
                "probe.staff.v1" => Some(Ok(Self::Staff(merchant))),
                "probe.put.v1" => Some(Ok(Self::Put(merchant))),
                _ => None,
            }
        }

        fn merchant(&self) -> &MerchantId {
            let (Self::Plain(merchant) | Self::Staff(merchant) | Self::Put(merchant)) = self;
            merchant
        }

        fn name(&self) -> &'static str {
            self.message_type().trim_end_matches(".v1")
        }

        fn message_type(&self) -> &'static str {
            match self {
                Self::Plain(_) => "probe.plain.v1",
                Self::Staff(_) => "probe.staff.v1",
                Self::Put(_) => "probe.put.v1",
            }
        }

        fn needs_user(&self) -> bool {
            matches!(self, Self::Staff(_))
        }

        fn is_put(&self) -> bool {
            matches!(self, Self::Put(_))
        }

        fn canonical(&self) -> Vec<u8> {
            Vec::new()
        }
    }

    fn delivery(name: &str, time: &str) -> Delivery {
        let body = format!(
            r#"{{"specversion":"1.0","id":"1","source":"/s","type":"probe.{name}.v1","time":"{time}","data":"acme"}}"#
        );
        let key = format!("acme.probe.{name}");
        let mut delivery =
            Delivery::mock(1, topology::COMMANDS.into(), key.as_str().into(), false, body.into_bytes());
        delivery.properties = BasicProperties::default().with_content_type(CONTENT_TYPE.into());
        delivery
    }

    fn sent_by(user: &str, name: &str) -> Delivery {
        let mut delivery = delivery(name, "2026-11-22T10:00:00Z");
        delivery.properties = delivery.properties.with_user_id(user.into());
        delivery
    }

    fn read(delivery: Delivery, require_user: bool) -> Result<Arc<Item<Probe>>, Malformed> {
        Arrived::command(delivery, Intake { require_user, now: NOW }).item
    }

    fn user(read: Result<Arc<Item<Probe>>, Malformed>) -> Option<String> {
        read.unwrap().received.user.as_ref().map(ToString::to_string)
    }

    #[test]
    fn the_publishing_user_comes_with_the_command_whether_it_is_needed_or_not() {
        for name in ["plain", "staff", "put"] {
            for require in [true, false] {
                assert_eq!(user(read(sent_by("acme-admin", name), require)).as_deref(), Some("acme-admin"));
            }
        }
    }

    #[test]
    fn a_command_of_a_shops_staff_needs_a_user() {
        let nobody = |name| delivery(name, "2026-11-22T10:00:00Z");
        let malformed = read(nobody("staff"), true).unwrap_err();
        assert_eq!(malformed.reason, MalformedReason::InvalidProperties);
        assert_eq!(
            malformed.detail,
            "user_id: is missing; expected the broker user who publishes, as this command needs one"
        );
        assert_eq!(user(read(nobody("staff"), false)), None);
        for name in ["plain", "put"] {
            assert_eq!(user(read(nobody(name), true)), None);
        }
    }

    #[test]
    fn what_is_no_user_is_malformed_even_where_none_is_needed() {
        for name in ["", "a\nb"] {
            let malformed = read(sent_by(name, "plain"), false).unwrap_err();
            assert_eq!(malformed.reason, MalformedReason::InvalidProperties, "{name:?}");
            assert!(malformed.detail.starts_with("user_id: "), "{}", malformed.detail);
        }
    }

    #[test]
    fn a_put_from_the_future_is_malformed_and_anything_else_is_not() {
        for (time, accepted) in [
            ("1970-01-01T00:00:00Z", true),
            ("2026-11-22T10:05:00Z", true),
            ("2026-11-22T10:05:00.000001Z", false),
            ("2026-11-22T12:05:00+02:00", true),
            ("2026-11-22T12:05:01+02:00", false),
            ("9999-12-31T23:59:59Z", false),
        ] {
            assert!(read(delivery("plain", time), true).is_ok(), "{time}");
            match read(delivery("put", time), true) {
                Ok(_) => assert!(accepted, "{time}"),
                Err(malformed) => {
                    assert!(!accepted, "{time}");
                    assert_eq!(malformed.reason, MalformedReason::InvalidData);
                    assert_eq!(
                        malformed.detail,
                        "time: is more than 5 minutes ahead of the clock here; expected the time of the change"
                    );
                }
            }
        }
    }

    #[test]
    fn a_payout_method_in_another_queue_is_not_repeated_in_its_dead_letter() {
        for body in [
            r#"{"type":"payout-method.put.v1","data":{"iban":"DE89370400440532013000""#,
            r#"{"type":"payout\u002dmethod.put.v1","data":{"iban":"DE89370400440532013000"}}"#,
        ] {
            let mut delivery = delivery("staff", "2026-11-22T10:00:00Z");
            delivery.data = body.into();
            let arrived = Arrived::<Item<Probe>>::command(delivery, Intake { require_user: true, now: NOW });
            let why = arrived.item.unwrap_err();
            let letter = arrived.letter.dead("commissions", "saldo.commissions.dead", &why, None, NOW);
            assert_eq!(letter.body, b"", "{body}");
            let headers = letter.properties.headers().as_ref().unwrap().inner();
            assert_eq!(headers.get(DeadLetter::BODY_WITHHELD), Some(&AMQPValue::Boolean(true)));
        }
    }

    #[test]
    fn a_dead_letter_keeps_the_body_or_has_it_sealed() {
        let mut delivery = delivery("staff", "2026-11-22T10:00:00Z");
        delivery.properties =
            delivery.properties.with_message_id("run-1".into()).with_user_id("\u{1}".into());
        let body = delivery.data.clone();
        let arrived = Arrived::<Item<Probe>>::command(delivery, Intake { require_user: true, now: NOW });
        let why = arrived.item.unwrap_err();
        let vault: Vault = format!("2026:{}", Vault::generate_key()).parse().unwrap();
        let purpose = Purpose::DeadLetter { worker: "directory" };
        for sealed in [None, Some(vault.seal(purpose, &body))] {
            let letter = arrived.letter.dead("directory", "saldo.directory.dead", &why, sealed.as_ref(), NOW);
            let mut copy = Delivery::mock(1, letter.exchange.into(), "".into(), false, letter.body.to_vec());
            copy.properties = letter.properties;
            assert_eq!(copy.properties.user_id(), &None, "the broker would refuse it");
            let user = copy.properties.headers().as_ref().unwrap().inner().get(DeadLetter::USER);
            assert_eq!(user, Some(&AMQPValue::LongString("\u{1}".into())));
            assert_eq!(copy.properties.content_type().as_ref().unwrap().as_str(), CONTENT_TYPE);
            let seen = DeadLetter::of(copy);
            assert_eq!(seen.reason.as_deref(), Some("invalid-properties"));
            assert_eq!(seen.detail.as_deref(), Some(why.detail.as_str()));
            assert_eq!(seen.message_id.as_deref(), Some("run-1"));
            if let Some(key_id) = seen.key_id {
                assert!(!seen.body.windows(4).any(|part| part == b"acme"));
                let opened = vault.open(purpose, &Sealed { key_id, bytes: seen.body }).unwrap();
                assert_eq!(*opened, body);
            } else {
                assert!(sealed.is_none());
                assert_eq!(seen.body, body);
            }
        }
    }
}
