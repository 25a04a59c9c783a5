//! Commands: how a message body becomes one, or why it never can.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::key::CommandKey;
use crate::value::{self, MessageId, Source};
use crate::{ContentHash, LengthPrefixed, Malformed, MalformedReason, MerchantId, OWN_SOURCES, Timestamp};

/// The AMQP content type of every command and event.
pub const CONTENT_TYPE: &str = "application/cloudevents+json";

/// A message may be this long, in bytes.
pub const MAX_MESSAGE_BYTES: usize = 32 * 1024;

/// One command's data: a struct that serde reads, unknown fields refused.
pub trait CommandData: Serialize + serde::de::DeserializeOwned {
    /// What is done, without a version: `commission.credit`.
    const NAME: &'static str;
    /// The `type` of the message: the name and the version of its data.
    const TYPE: &'static str;

    /// Reads the data.
    ///
    /// # Errors
    /// A field is missing, unknown or has an unacceptable value.
    fn read(data: &RawValue) -> Result<Self, Malformed> {
        read(data.get(), MalformedReason::InvalidData, "data")
    }
}

/// All commands of one worker: an enum with one variant for each.
pub trait Commands: Sized + Clone + Send + Sync + std::fmt::Debug + 'static {
    /// The `type`s of the worker's commands, as in [`CommandData::TYPE`].
    const TYPES: &'static [&'static str];

    /// Reads the data of a message of this type; `None` if the worker has no such command.
    fn read(message_type: &str, data: &RawValue) -> Option<Result<Self, Malformed>>;

    /// Whose command it is.
    fn merchant(&self) -> &MerchantId;

    /// [`CommandData::NAME`] of the variant.
    fn name(&self) -> &'static str;

    /// [`CommandData::TYPE`] of the variant.
    fn message_type(&self) -> &'static str;

    /// The data in RFC 8785 form. Amounts stand at the currency's exponent and times in UTC because the
    /// types write them so.
    fn canonical(&self) -> Vec<u8>;
}

/// A command as it was received: read, checked, and hashed.
#[derive(Debug, Clone)]
pub struct Received<C> {
    /// What makes it the same command.
    pub key: CommandKey,
    /// What makes it the same content.
    pub content: ContentHash,
    /// When it happened, says the publisher.
    pub time: Timestamp,
    /// W3C trace context, if there was a well-formed one.
    pub traceparent: Option<String>,
    /// What is to be done.
    pub command: C,
}

/// A `CloudEvents` 1.0 message. Other attributes are extensions and are allowed.
#[derive(Deserialize)]
pub(crate) struct Envelope<'a> {
    #[expect(dead_code, reason = "checked while it is read")]
    specversion: SpecVersion,
    id: MessageId,
    source: Source,
    #[serde(rename = "type")]
    message_type: MessageType,
    time: Timestamp,
    #[serde(default, deserialize_with = "value::present")]
    #[expect(dead_code, reason = "checked while it is read")]
    datacontenttype: Option<JsonContent>,
    #[serde(default)]
    traceparent: Option<serde_json::Value>,
    #[expect(dead_code, reason = "refused while it is read")]
    #[serde(default, deserialize_with = "value::present")]
    data_base64: Option<NoBase64>,
    #[serde(borrow)]
    data: &'a RawValue,
}

macro_rules! checked_text {
    ($name:ident, $expected:literal, $check:expr) => {
        struct $name(#[allow(dead_code, reason = "some are only checked")] String);
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = value::text(deserializer, $expected)?;
                let check: fn(&str) -> bool = $check;
                if check(&text) {
                    Ok(Self(text.into_owned()))
                } else {
                    Err(serde::de::Error::custom(concat!("is something else; expected ", $expected)))
                }
            }
        }
    };
}

checked_text!(SpecVersion, "the string \"1.0\"", |text| text == "1.0");
checked_text!(MessageType, "a type such as \"commission.credit.v1\"", |_| true);
checked_text!(JsonContent, "\"application/json\"", |text| text == "application/json");

struct NoBase64;
impl<'de> Deserialize<'de> for NoBase64 {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        serde::de::IgnoredAny::deserialize(deserializer)?;
        Err(serde::de::Error::custom("is not accepted; expected the content as a JSON object in `data`"))
    }
}

/// Reads JSON; only where that fails, once more with the path to the culprit, which costs time.
fn read<'a, T: Deserialize<'a>>(json: &'a str, reason: MalformedReason, root: &str) -> Result<T, Malformed> {
    serde_json::from_str(json).or_else(|_| {
        let mut deserializer = serde_json::Deserializer::from_str(json);
        serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
            let reason =
                if error.inner().is_data() { reason } else { MalformedReason::NotJson };
            Malformed::from_json(reason, root, &error)
        })
    })
}

impl<C: Commands> Received<C> {
    /// Reads a message body.
    ///
    /// # Errors
    /// Too large, not JSON, not a `CloudEvents` message, a type that `C` does not have, or bad data; in this
    /// order of precedence.
    pub fn read(body: &[u8]) -> Result<Self, Malformed> {
        if body.len() > MAX_MESSAGE_BYTES {
            return Err(Malformed::new(
                MalformedReason::TooLarge,
                format_args!("the body has {} bytes; at most {MAX_MESSAGE_BYTES} are accepted", body.len()),
            ));
        }
        let text = std::str::from_utf8(body).map_err(|error| {
            Malformed::new(
                MalformedReason::NotJson,
                format_args!("the body is not UTF-8 at byte {}; JSON is", error.valid_up_to()),
            )
        })?;
        if !text.trim_start_matches([' ', '\t', '\n', '\r']).starts_with('{') {
            // Syntax first: `nul` is no JSON, `null` is JSON but no message.
            read::<serde::de::IgnoredAny>(text, MalformedReason::NotJson, "")?;
            return Err(Malformed::new(
                MalformedReason::NotCloudEvents,
                "the body is not a JSON object; expected one CloudEvents message",
            ));
        }
        let envelope: Envelope<'_> = read(text, MalformedReason::NotCloudEvents, "")?;
        if envelope.source.as_str().starts_with(OWN_SOURCES) {
            return Err(Malformed::new(
                MalformedReason::NotCloudEvents,
                format_args!("source: starts with {OWN_SOURCES}, which is kept for Saldo's own messages"),
            ));
        }
        let Some(command) = C::read(&envelope.message_type.0, envelope.data) else {
            return Err(Malformed::new(
                MalformedReason::UnknownType,
                format_args!("type: is unknown here; expected one of {}", C::TYPES.join(", ")),
            ));
        };
        let command = command?;
        Ok(Self::new(envelope.source, envelope.id, envelope.time, trace(envelope.traceparent), command))
    }

    /// A command that was read elsewhere, or that the passing of time causes.
    pub fn new(
        source: Source,
        id: MessageId,
        time: Timestamp,
        traceparent: Option<String>,
        command: C,
    ) -> Self {
        let key = CommandKey { merchant: command.merchant().clone(), source, id };
        let content = ContentHash(
            LengthPrefixed::new().part(command.message_type()).part(command.canonical()).finish(),
        );
        Self { key, content, time, traceparent, command }
    }

    /// `<merchant>.<type without version>`: the only routing key this command may be delivered under.
    pub fn routing_key(&self) -> String {
        format!("{}.{}", self.key.merchant, self.command.name())
    }
}

/// A `traceparent` as W3C Trace Context writes it; anything else is ignored, as that says.
fn trace(value: Option<serde_json::Value>) -> Option<String> {
    let text = match value {
        Some(serde_json::Value::String(text)) => text,
        _ => return None,
    };
    let mut parts = text.split('-');
    let mut hex = |len: usize| {
        parts.next().is_some_and(|part| part.len() == len && part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')))
    };
    let well_formed = hex(2) && hex(32) && hex(16) && hex(2) && parts.next().is_none();
    well_formed.then_some(text)
}

/// RFC 8785 form of data whose types cannot fail to serialise.
pub(crate) fn canonical<T: Serialize>(data: &T) -> Vec<u8> {
    // Every key and value of a command is a string, a small integer or an object of those.
    serde_jcs::to_vec(data).unwrap_or_default()
}
