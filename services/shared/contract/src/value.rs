//! Texts and numbers that cannot hold a bad value.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserializer, MapAccess, Visitor, value::MapAccessDeserializer};
use serde::{Deserialize, Serialize};

/// Visitor methods that describe a value by its JSON type only. `serde`'s own messages repeat the value.
macro_rules! refuse {
    ($($kind:ident),+) => { $(refuse!(@$kind);)+ };
    (@null) => {
        fn visit_unit<E: de::Error>(self) -> Result<Self::Value, E> {
            Err(E::custom(is("null (what is absent is left out)", &self)))
        }
    };
    (@boolean) => {
        fn visit_bool<E: de::Error>(self, _: bool) -> Result<Self::Value, E> {
            Err(E::custom(is("a boolean", &self)))
        }
    };
    (@number) => {
        fn visit_i64<E: de::Error>(self, _: i64) -> Result<Self::Value, E> {
            Err(E::custom(is("a number", &self)))
        }
        fn visit_u64<E: de::Error>(self, _: u64) -> Result<Self::Value, E> {
            Err(E::custom(is("a number", &self)))
        }
        fn visit_f64<E: de::Error>(self, _: f64) -> Result<Self::Value, E> {
            Err(E::custom(is("a number", &self)))
        }
    };
    (@string) => {
        fn visit_str<E: de::Error>(self, _: &str) -> Result<Self::Value, E> {
            Err(E::custom(is("a string", &self)))
        }
    };
    (@array) => {
        fn visit_seq<A: de::SeqAccess<'de>>(self, _: A) -> Result<Self::Value, A::Error> {
            Err(de::Error::custom(is("an array", &self)))
        }
    };
    (@object) => {
        fn visit_map<A: MapAccess<'de>>(self, _: A) -> Result<Self::Value, A::Error> {
            Err(de::Error::custom(is("an object", &self)))
        }
    };
}

fn is(kind: &str, expected: &dyn de::Expected) -> String {
    format!("is {kind}; expected {expected}")
}

/// A JSON string, or an error that says what was expected.
pub(crate) fn text<'de, D: Deserializer<'de>>(
    deserializer: D,
    expected: &'static str,
) -> Result<Cow<'de, str>, D::Error> {
    struct Texts(&'static str);
    impl<'de> Visitor<'de> for Texts {
        type Value = Cow<'de, str>;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }
        fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Self::Value, E> {
            Ok(Cow::Borrowed(text))
        }
        fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
            Ok(Cow::Owned(text.to_owned()))
        }
        refuse!(null, boolean, number, array, object);
    }
    // `deserialize_str` would have serde_json, not this visitor, describe what is no string: by its value.
    deserializer.deserialize_any(Texts(expected))
}

/// For fields that hold objects: `#[serde(deserialize_with = "object")]`. A derived struct alone would also
/// read an array, field by field.
pub(crate) fn object<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<T, D::Error> {
    struct Objects<T>(PhantomData<T>);
    impl<'de, T: Deserialize<'de>> Visitor<'de> for Objects<T> {
        type Value = T;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }
        fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
            T::deserialize(MapAccessDeserializer::new(map))
        }
        refuse!(null, boolean, number, string, array);
    }
    deserializer.deserialize_any(Objects(PhantomData))
}

/// A JSON object and nothing else, at the top of a document.
pub(crate) struct Object<T>(pub(crate) T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        object(deserializer).map(Self)
    }
}

/// For optional fields, together with `default`: absent is `None`, `null` is an error.
pub(crate) fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

const CONTROL: fn(char) -> bool = char::is_control;

fn length(text: &str, max: usize) -> Result<(), String> {
    match text.chars().count() {
        0 => Err(format!("is empty; expected 1 to {max} characters")),
        n if n > max => Err(format!("has {n} characters; expected 1 to {max}")),
        _ => Ok(()),
    }
}

macro_rules! text_value {
    ($(#[$doc:meta])* $name:ident, $expected:literal, $max:literal, $pattern:literal, $check:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = String;
            fn try_from(text: String) -> Result<Self, String> {
                length(&text, $max)?;
                let check: fn(&str) -> Result<(), &'static str> = $check;
                check(&text).map_err(|problem| format!("{problem}; expected {}", $expected))?;
                Ok(Self(text))
            }
        }

        impl std::str::FromStr for $name {
            type Err = String;
            fn from_str(text: &str) -> Result<Self, String> {
                Self::try_from(text.to_owned())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = text(deserializer, concat!("a string: ", $expected))?;
                Self::try_from(text.into_owned()).map_err(de::Error::custom)
            }
        }

        impl JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({
                    "type": "string", "minLength": 1, "maxLength": $max, "pattern": $pattern,
                    "description": $expected,
                })
            }
        }
    };
}

text_value!(
    /// Names a shop.
    MerchantId,
    "1 to 63 lower-case letters, digits and hyphens",
    63,
    "^[a-z0-9-]{1,63}$",
    |text| {
        let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if text.chars().all(good) { Ok(()) } else { Err("has other characters") }
    }
);

text_value!(
    /// The merchant's id of a customer.
    CustomerId,
    "1 to 128 characters, none of them a control character",
    128,
    r"^[^\x00-\x1F\x7F-\x9F]+$",
    |text| if text.contains(CONTROL) { Err("has a control character") } else { Ok(()) }
);

text_value!(
    /// A publisher's id of a message.
    MessageId,
    "1 to 128 characters, none of them a control character",
    128,
    r"^[^\x00-\x1F\x7F-\x9F]+$",
    |text| if text.contains(CONTROL) { Err("has a control character") } else { Ok(()) }
);

text_value!(
    /// The shop's number of an order.
    OrderId,
    "1 to 128 characters, none of them a control character",
    128,
    r"^[^\x00-\x1F\x7F-\x9F]+$",
    |text| if text.contains(CONTROL) { Err("has a control character") } else { Ok(()) }
);

text_value!(
    /// A user of the message broker. No field of a command: the broker vouches for it (AMQP property `user_id`).
    UserId,
    "1 to 255 characters, none of them a control character",
    255,
    r"^[^\x00-\x1F\x7F-\x9F]+$",
    |text| if text.contains(CONTROL) { Err("has a control character") } else { Ok(()) }
);

text_value!(
    /// A sentence from a person or a system, kept with the entry.
    Note,
    "1 to 500 characters, no control characters but tab and line feed",
    500,
    r"^[^\x00-\x08\x0B-\x1F\x7F-\x9F]+$",
    |text| {
        if text.contains(|c: char| c.is_control() && c != '\n' && c != '\t') {
            Err("has a control character")
        } else {
            Ok(())
        }
    }
);

text_value!(
    /// Who publishes: a URI reference (RFC 3986), such as `/affiliates/eu`. Only its characters are checked: it
    /// is compared, never resolved.
    Source,
    "a URI reference of 1 to 128 characters, such as /affiliates/eu",
    128,
    r"^[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=%-]+$",
    |text| {
        let good = |c: char| c.is_ascii_alphanumeric() || "-._~:/?#[]@!$&'()*+,;=%".contains(c);
        if text.chars().all(good) { Ok(()) } else { Err("has a character that no URI has") }
    }
);

/// How far down an affiliate's tree the commission was earned; 1 is the direct affiliate, 20 the most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Level(u8);

impl Level {
    const MAX: u8 = 20;
    const EXPECTED: &'static str = "a whole number from 1 to 20";

    /// The number.
    pub fn get(self) -> u8 {
        self.0
    }
}

impl TryFrom<i16> for Level {
    type Error = String;
    fn try_from(number: i16) -> Result<Self, String> {
        match u8::try_from(number) {
            Ok(level @ 1..=Self::MAX) => Ok(Self(level)),
            _ => Err(format!("is out of range; expected {}", Self::EXPECTED)),
        }
    }
}

impl<'de> Deserialize<'de> for Level {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Levels;
        impl<'de> Visitor<'de> for Levels {
            type Value = Level;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(Level::EXPECTED)
            }
            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Level, E> {
                match u8::try_from(number) {
                    Ok(level @ 1..=Level::MAX) => Ok(Level(level)),
                    _ => Err(E::custom(format_args!("is out of range; expected {}", Level::EXPECTED))),
                }
            }
            fn visit_i64<E: de::Error>(self, _: i64) -> Result<Level, E> {
                Err(E::custom(format_args!("is out of range; expected {}", Level::EXPECTED)))
            }
            // JSON Schema and RFC 8785 know no difference between 1 and 1.0.
            fn visit_f64<E: de::Error>(self, number: f64) -> Result<Level, E> {
                (1..=Level::MAX)
                    .find(|level| f64::from(*level).total_cmp(&number).is_eq())
                    .map(Level)
                    .ok_or_else(|| E::custom(format_args!("is no such number; expected {}", Level::EXPECTED)))
            }
            refuse!(null, boolean, string, array, object);
        }
        deserializer.deserialize_any(Levels)
    }
}

impl JsonSchema for Level {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "Level".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "integer", "minimum": 1, "maximum": Self::MAX, "description": Self::EXPECTED })
    }
}

/// Saldo's own id of an entry: the account's number and the entry's number within it, such as `1042-7`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EntryId {
    /// The account.
    pub account: i64,
    /// The entry's number within the account, from 1, without gaps.
    pub number: i64,
}

impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.account, self.number)
    }
}

impl Serialize for EntryId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl JsonSchema for EntryId {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "EntryId".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^[1-9][0-9]*-[1-9][0-9]*$" })
    }
}
