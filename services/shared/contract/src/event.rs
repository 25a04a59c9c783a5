//! Events: what happened, as bytes that never change once they are stored.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::Serialize;

use crate::{CommandKey, Currency, EntryId, LengthPrefixed, MerchantId, SignedAmount, Timestamp};

/// One event's data.
pub trait EventData: Serialize {
    /// What happened, without a version: `commission.credited`.
    const NAME: &'static str;
    /// The `type` of the message: the name and the version of its data.
    const TYPE: &'static str;
}

/// Names the types' events: version 1 of what happened.
macro_rules! event_data {
    ($($name:ident = $text:literal),* $(,)?) => {
        $(impl $crate::EventData for $name {
            const NAME: &'static str = $text;
            const TYPE: &'static str = concat!($text, ".v1");
        })*
    };
}

pub(crate) use event_data;

/// An account after what the event tells. Events of one account can arrive out of order: `version` orders them.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[schemars(inline)]
pub struct AccountState {
    /// The sum of the account's entries.
    pub balance: SignedAmount,
    /// Reserved by open withdrawals.
    pub held: SignedAmount,
    /// Commissions in their hold period; not part of the balance.
    pub pending: SignedAmount,
    /// `balance - held`.
    pub available: SignedAmount,
    /// Its currency.
    pub currency: Currency,
    /// Grows by one with every change of the account.
    pub version: i64,
}

/// A posting to a customer's account.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[schemars(inline)]
pub struct PostedEntry {
    /// Saldo's id of the entry.
    pub id: EntryId,
    /// What kind of posting, such as `commission`.
    pub kind: &'static str,
    /// The other side of the posting.
    pub counterpart: &'static str,
    /// Above zero: credited to the customer.
    pub amount: SignedAmount,
    /// The balance after it.
    pub balance_after: SignedAmount,
    /// When it happened, says the publisher.
    pub occurred_at: Timestamp,
    /// When it was posted, by the database's clock.
    pub recorded_at: Timestamp,
}

/// What an event comes from.
#[derive(Debug, Clone, Copy)]
pub struct Origin<'a> {
    /// The worker that decided: `commissions`.
    pub worker: &'static str,
    /// The command that caused it.
    pub cause: &'a CommandKey,
    /// The cause's trace context, carried on.
    pub traceparent: Option<&'a str>,
    /// When it was decided, by the database's clock.
    pub time: Timestamp,
}

/// An event ready to be stored and published: one line of JSON and where it goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// [`EventData::NAME`], such as `commission.credited`.
    pub name: String,
    /// `<merchant>.<name>`.
    pub routing_key: String,
    /// The message's `id`, also sent as the AMQP message id.
    pub id: String,
    /// The exact bytes: JSON without a raw line feed. Shared, because the same bytes are stored and published.
    pub body: Arc<str>,
}

#[derive(Serialize)]
struct Envelope<'a, D> {
    specversion: &'static str,
    id: &'a str,
    source: String,
    #[serde(rename = "type")]
    message_type: &'static str,
    time: Timestamp,
    datacontenttype: &'static str,
    causationsource: &'a str,
    causationid: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    traceparent: Option<&'a str>,
    data: &'a D,
}

impl Event {
    /// The message for this data. Its id is a hash over merchant, cause and type: the same cause has the
    /// same event, however often it is published.
    ///
    /// # Errors
    /// The data cannot be written as JSON, which no event type of this crate brings about.
    pub fn compose<D: EventData>(origin: Origin<'_>, data: &D) -> Result<Self, serde_json::Error> {
        let Origin { worker, cause, traceparent, time } = origin;
        let id = hex::encode(
            LengthPrefixed::new()
                .part(cause.merchant.as_str())
                .part(cause.source.as_str())
                .part(cause.id.as_str())
                .part(D::TYPE)
                .finish_short(),
        );
        let body = serde_json::to_string(&Envelope {
            specversion: "1.0",
            id: &id,
            source: format!("{}{worker}", crate::OWN_SOURCES),
            message_type: D::TYPE,
            time,
            datacontenttype: "application/json",
            causationsource: cause.source.as_str(),
            causationid: cause.id.as_str(),
            traceparent,
            data,
        })?;
        Ok(Self {
            name: D::NAME.to_owned(),
            routing_key: routing_key(&cause.merchant, D::NAME),
            id,
            body: body.into(),
        })
    }

    /// An event from its stored line; `None` if it is none.
    pub fn from_stored(merchant: &MerchantId, body: &str) -> Option<Self> {
        #[derive(serde::Deserialize)]
        struct Stored<'a> {
            #[serde(borrow)]
            id: std::borrow::Cow<'a, str>,
            #[serde(borrow, rename = "type")]
            message_type: std::borrow::Cow<'a, str>,
        }
        let stored: Stored<'_> = serde_json::from_str(body).ok()?;
        let (name, _version) = stored.message_type.rsplit_once('.')?;
        Some(Self {
            name: name.to_owned(),
            routing_key: routing_key(merchant, name),
            id: stored.id.into_owned(),
            body: body.into(),
        })
    }
}

fn routing_key(merchant: &MerchantId, name: &str) -> String {
    format!("{merchant}.{name}")
}
