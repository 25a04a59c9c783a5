//! Commands: how a message body becomes one, or why it never can.

use std::borrow::Cow;

use schemars::JsonSchema;
use serde::de::{DeserializeOwned, Error as _, IgnoredAny};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use crate::json::{self, Object};
use crate::key::{CommandKey, KeyHash};
use crate::value::{MessageId, Source};
use crate::{
    ContentHash, LengthPrefixed, Malformed, MalformedReason, MerchantId, OWN_SOURCES, Timestamp, UserId,
};

/// The AMQP content type of every command and event.
pub const CONTENT_TYPE: &str = "application/cloudevents+json";

/// A message may be this long, in bytes.
pub const MAX_MESSAGE_BYTES: usize = 32 * 1024;

/// One command, made of its data. The error says which field is unacceptable beside the others, and why:
/// `amount: has 3 decimals; …`.
pub trait CommandData: TryFrom<Self::Data, Error: std::fmt::Display> + Serialize {
    /// The `data` of the message, field by field, unknown fields refused; the JSON Schema is generated from it.
    /// The command itself where no field depends on another.
    type Data: DeserializeOwned + JsonSchema;
    /// What is done, without a version: `commission.credit`.
    const NAME: &'static str;
    /// The `type` of the message: the name and the version of its data.
    const TYPE: &'static str;
    /// [`Commands::needs_user`]
    const NEEDS_USER: bool = false;
    /// [`Commands::is_put`]
    const IS_PUT: bool = false;
    /// [`Commands::is_secret`]
    const IS_SECRET: bool = false;

    /// Reads the data.
    ///
    /// # Errors
    /// A field is missing, unknown or has an unacceptable value.
    fn read(data: &RawValue) -> Result<Self, Malformed> {
        let data: Self::Data = read(data.get(), MalformedReason::InvalidData, "data")?;
        Self::try_from(data)
            .map_err(|problem| Malformed::new(MalformedReason::InvalidData, format_args!("data.{problem}")))
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

    /// Only for broker users the broker vouches for (the AMQP property `user_id`): what a shop's staff does.
    fn needs_user(&self) -> bool {
        false
    }

    /// Replaces what is stored if its `time` is newer, and is refused otherwise.
    fn is_put(&self) -> bool {
        false
    }

    /// Its data is so little and so secret that it could be guessed from the content's hash, which therefore is
    /// not what is stored of it.
    fn is_secret(&self) -> bool {
        false
    }

    /// The data in RFC 8785 form. Amounts stand at the currency's exponent and times in UTC because the
    /// types write them so.
    fn canonical(&self) -> Vec<u8>;
}

/// A worker's commands: the enum and its [`Commands`]. Those that stand under `by time` are caused by the
/// passing of time; no message can ask for them.
macro_rules! commands {
    (
        $(#[$doc:meta])*
        pub enum $name:ident { $($(#[$variant_doc:meta])* $variant:ident($data:ident)),+ $(,)? }
        $(by time { $($(#[$timed_doc:meta])* $timed:ident($timed_data:ident)),+ $(,)? })?
    ) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub enum $name {
            $($(#[$variant_doc])* $variant($data),)+
            $($($(#[$timed_doc])* $timed($timed_data),)+)?
        }

        impl $crate::Commands for $name {
            const TYPES: &'static [&'static str] = &[$($data::TYPE),+];

            fn read(
                message_type: &str,
                data: &serde_json::value::RawValue,
            ) -> Option<Result<Self, $crate::Malformed>> {
                match message_type {
                    $($data::TYPE => Some(<$data as $crate::command::CommandData>::read(data).map(Self::$variant)),)+
                    _ => None,
                }
            }

            fn merchant(&self) -> &$crate::MerchantId {
                match self {
                    $(Self::$variant(command) => &command.merchant,)+
                    $($(Self::$timed(command) => &command.merchant,)+)?
                }
            }

            fn name(&self) -> &'static str {
                match self {
                    $(Self::$variant(_) => $data::NAME,)+
                    $($(Self::$timed(_) => $timed_data::NAME,)+)?
                }
            }

            fn message_type(&self) -> &'static str {
                match self {
                    $(Self::$variant(_) => $data::TYPE,)+
                    $($(Self::$timed(_) => $timed_data::TYPE,)+)?
                }
            }

            fn needs_user(&self) -> bool {
                match self {
                    $(Self::$variant(_) => $data::NEEDS_USER,)+
                    $($(Self::$timed(_) => false,)+)?
                }
            }

            fn is_put(&self) -> bool {
                match self {
                    $(Self::$variant(_) => $data::IS_PUT,)+
                    $($(Self::$timed(_) => false,)+)?
                }
            }

            fn is_secret(&self) -> bool {
                match self {
                    $(Self::$variant(_) => $data::IS_SECRET,)+
                    $($(Self::$timed(_) => false,)+)?
                }
            }

            fn canonical(&self) -> Vec<u8> {
                match self {
                    $(Self::$variant(command) => $crate::command::canonical(command),)+
                    $($(Self::$timed(command) => $crate::command::canonical(command),)+)?
                }
            }
        }
    };
}

pub(crate) use commands;

/// A command as it was received: read, checked, and hashed.
#[derive(Debug, Clone)]
pub struct Received<C> {
    /// What makes it the same command.
    pub key: CommandKey,
    /// The key's stored form, which everybody looks things up with.
    pub hash: KeyHash,
    /// What makes it the same content.
    pub content: ContentHash,
    /// When it happened, says the publisher.
    pub time: Timestamp,
    /// W3C trace context, if there was a well-formed one.
    pub traceparent: Option<String>,
    /// The broker user who sent it, where the delivery names one. Not part of the message: `None` until the
    /// receiver fills it in.
    pub user: Option<UserId>,
    /// What is to be done.
    pub command: C,
}

/// A `CloudEvents` 1.0 message. Other attributes are extensions and are allowed, whatever they hold.
#[derive(Deserialize)]
struct Envelope<'a> {
    #[expect(dead_code, reason = "checked while it is read")]
    #[serde(deserialize_with = "spec_version")]
    specversion: (),
    id: MessageId,
    source: Source,
    #[serde(borrow, rename = "type", deserialize_with = "message_type")]
    message_type: Cow<'a, str>,
    time: Timestamp,
    #[expect(dead_code, reason = "checked while it is read")]
    #[serde(default, deserialize_with = "json_content")]
    datacontenttype: (),
    /// Raw, because a malformed one is ignored, not refused.
    #[serde(borrow, default)]
    traceparent: Option<&'a RawValue>,
    #[expect(dead_code, reason = "refused while it is read")]
    #[serde(default, deserialize_with = "no_base64")]
    data_base64: (),
    #[serde(borrow)]
    data: &'a RawValue,
}

fn message_type<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Cow<'de, str>, D::Error> {
    json::text(deserializer, "a type such as \"commission.credit.v1\"")
}

fn spec_version<'de, D: Deserializer<'de>>(deserializer: D) -> Result<(), D::Error> {
    match &*json::text(deserializer, "the string \"1.0\"")? {
        "1.0" => Ok(()),
        _ => Err(D::Error::custom("is another text; expected the string \"1.0\"")),
    }
}

fn json_content<'de, D: Deserializer<'de>>(deserializer: D) -> Result<(), D::Error> {
    match &*json::text(deserializer, "\"application/json\"")? {
        "application/json" => Ok(()),
        _ => Err(D::Error::custom("is another text; expected \"application/json\"")),
    }
}

fn no_base64<'de, D: Deserializer<'de>>(deserializer: D) -> Result<(), D::Error> {
    IgnoredAny::deserialize(deserializer)?;
    Err(D::Error::custom("is not accepted; expected the content as a JSON object in `data`"))
}

/// Reads a JSON object; only where that fails, once more to find out whether it is JSON at all and where the
/// culprit is, which costs time.
fn read<'a, T: Deserialize<'a>>(json: &'a str, reason: MalformedReason, root: &str) -> Result<T, Malformed> {
    if let Ok(Object(read)) = serde_json::from_str(json) {
        return Ok(read);
    }
    if let Err(error) = serde_json::from_str::<IgnoredAny>(json) {
        return Err(Malformed::new(
            MalformedReason::NotJson,
            format_args!("the body: {error}; expected JSON"),
        ));
    }
    let mut deserializer = serde_json::Deserializer::from_str(json);
    let Object(read) = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        // Some strings (lone surrogates) and numbers (1e999) pass the grammar and are still no JSON one can read.
        let reason = if error.inner().is_data() { reason } else { MalformedReason::NotJson };
        Malformed::from_json(reason, root, &error)
    })?;
    Ok(read)
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
        let envelope: Envelope<'_> = read(text, MalformedReason::NotCloudEvents, "")?;
        if envelope.source.as_str().starts_with(OWN_SOURCES) {
            return Err(Malformed::new(
                MalformedReason::NotCloudEvents,
                format_args!("source: starts with {OWN_SOURCES}, which is kept for Saldo's own messages"),
            ));
        }
        let Some(command) = C::read(&envelope.message_type, envelope.data) else {
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
        let hash = key.hash();
        Self { key, hash, content, time, traceparent, user: None, command }
    }

    /// `<merchant>.<type without version>`: the only routing key this command may be delivered under.
    pub fn routing_key(&self) -> String {
        format!("{}.{}", self.key.merchant, self.command.name())
    }
}

/// A `traceparent` as W3C Trace Context writes version 00; anything else is ignored, as that says.
fn trace(value: Option<&RawValue>) -> Option<String> {
    let text: String = serde_json::from_str(value?.get()).ok()?;
    let hex = |part: &str, len| {
        part.len() == len && part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    };
    let some = |part: &str, len| hex(part, len) && part.bytes().any(|byte| byte != b'0');
    let well_formed = match text.split('-').collect::<Vec<_>>()[..] {
        [version, trace, parent, flags] => {
            hex(version, 2) && version != "ff" && some(trace, 32) && some(parent, 16) && hex(flags, 2)
        }
        _ => false,
    };
    well_formed.then_some(text)
}

/// RFC 8785 form of data whose types cannot fail to serialise. What `serde_json` writes is that form once the
/// names are sorted, because names are ASCII and numbers whole and small; a test holds it against `serde_jcs`.
#[expect(clippy::expect_used, reason = "no data at all would give all commands of a type the same content")]
pub(crate) fn canonical<T: Serialize>(data: &T) -> Vec<u8> {
    let mut data = serde_json::to_value(data)
        .expect("every value of a command is a string, a boolean, a whole number, an array or an object");
    data.sort_all_objects();
    data.to_string().into_bytes()
}
