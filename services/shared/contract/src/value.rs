//! Texts and numbers that cannot hold a bad value.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserializer};
use serde::{Deserialize, Serialize};

use crate::json;

pub(crate) fn length(text: &str, max: usize) -> Result<(), String> {
    match text.chars().count() {
        0 => Err(format!("is empty; expected 1 to {max} characters")),
        n if n > max => Err(format!("has {n} characters; expected 1 to {max}")),
        _ => Ok(()),
    }
}

/// What [`text_value`] makes of a text whose length is right: whether it is one, or what is wrong with it.
pub(crate) type Check = fn(&str) -> Result<(), &'static str>;

/// One line.
pub(crate) const LINE: &str = r"^[^\x00-\x1F\x7F-\x9F]+$";

/// The reader's side of [`LINE`].
pub(crate) fn line(text: &str) -> Result<(), &'static str> {
    if text.contains(char::is_control) { Err("has a control character") } else { Ok(()) }
}

/// One line or several.
pub(crate) const LINES: &str = r"^[^\x00-\x08\x0B-\x1F\x7F-\x9F]+$";

/// The reader's side of [`LINES`].
pub(crate) fn lines(text: &str) -> Result<(), &'static str> {
    if text.contains(|c: char| c.is_control() && c != '\n' && c != '\t') {
        Err("has a control character")
    } else {
        Ok(())
    }
}

/// A check by the schema's own pattern. Compiled once; slower than a closure, so for texts that are seldom read.
macro_rules! pattern {
    ($pattern:expr, $problem:literal) => {
        |text| {
            static PATTERN: std::sync::LazyLock<regex_lite::Regex> =
                std::sync::LazyLock::new(|| regex_lite::Regex::new($pattern).expect("a valid pattern"));
            if PATTERN.is_match(text) { Ok(()) } else { Err($problem) }
        }
    };
}

/// A text with a rule: its description, length, pattern for the schema and check for the reader. `line` and
/// `lines` are the usual rules. A `secret` one can be neither displayed nor debugged.
macro_rules! text_value {
    ($(#[$doc:meta])* $name:ident, line of $max:literal) => {
        $crate::value::text_value!(
            $(#[$doc])* $name, concat!("1 to ", $max, " characters, none of them a control character"), $max,
            $crate::value::LINE, $crate::value::line
        );
    };
    ($(#[$doc:meta])* $name:ident, lines of $max:literal) => {
        $crate::value::text_value!(
            $(#[$doc])* $name, concat!("1 to ", $max, " characters, no control characters but tab and line feed"),
            $max, $crate::value::LINES, $crate::value::lines
        );
    };
    ($(#[$doc:meta])* secret $name:ident, line of $max:literal) => {
        $crate::value::text_value!(
            $(#[$doc])* secret $name, concat!("1 to ", $max, " characters, none of them a control character"),
            $max, $crate::value::LINE, $crate::value::line
        );
    };
    ($(#[$doc:meta])* secret $name:ident, lines of $max:literal) => {
        $crate::value::text_value!(
            $(#[$doc])* secret $name,
            concat!("1 to ", $max, " characters, no control characters but tab and line feed"), $max,
            $crate::value::LINES, $crate::value::lines
        );
    };
    ($(#[$doc:meta])* secret $name:ident, $($rule:tt)+) => {
        $crate::value::text_value!(@type $(#[$doc])* #[doc = "\n\nNot shown by `Debug`."] $name, $($rule)+);

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(concat!(stringify!($name), "(…)"))
            }
        }
    };
    (@type $(#[$doc:meta])* $name:ident, $expected:expr, $max:literal, $pattern:expr, $check:expr) => {
        // Shared, because a command's texts go into its key, its events, its posting and its rows.
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(std::sync::Arc<str>);

        impl $name {
            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl std::str::FromStr for $name {
            type Err = String;
            fn from_str(text: &str) -> Result<Self, String> {
                $crate::value::length(text, $max)?;
                let check: $crate::value::Check = $check;
                check(text).map_err(|problem| format!("{problem}; expected {}", $expected))?;
                Ok(Self(text.into()))
            }
        }

        impl TryFrom<String> for $name {
            type Error = String;
            fn try_from(text: String) -> Result<Self, String> {
                text.parse()
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = $crate::json::text(deserializer, concat!("a string: ", $expected))?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }

        impl schemars::JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }
            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({
                    "type": "string", "minLength": 1, "maxLength": $max, "pattern": $pattern,
                    "description": $expected,
                })
            }
        }
    };
    ($(#[$doc:meta])* $name:ident, $($rule:tt)+) => {
        $crate::value::text_value!(@type $(#[$doc])* #[derive(Debug)] $name, $($rule)+);

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

/// A choice of words: an enum that is written and read as one of them.
macro_rules! word_value {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $name {
            $($(#[$variant_doc])* $variant),+
        }

        impl $name {
            /// All of them, in their order.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];
            pub(crate) const WORDS: &'static [&'static str] = &[$($word),+];
            const EXPECTED: &'static str = concat!("one of the words", $(" `", $word, "`"),+);

            /// The word for it, in messages and in the database.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word),+
                }
            }

        }

        impl std::str::FromStr for $name {
            type Err = String;
            fn from_str(text: &str) -> Result<Self, String> {
                match text {
                    $($word => Ok(Self::$variant),)+
                    _ => Err(format!("is no such word; expected {}", Self::EXPECTED)),
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                $crate::json::text(deserializer, Self::EXPECTED)?.parse().map_err(serde::de::Error::custom)
            }
        }

        impl schemars::JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }
            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({ "type": "string", "enum": Self::WORDS })
            }
        }
    };
}

pub(crate) use {pattern, text_value, word_value};

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
    CustomerId, line of 128
);

text_value!(
    /// A publisher's id of a message.
    MessageId, line of 128
);

text_value!(
    /// The shop's number of an order.
    OrderId, line of 128
);

text_value!(
    /// Who did it, says the publisher: such as the login of a shop's employee.
    Actor, line of 128
);

text_value!(
    /// What the other side calls an operation: the number of a voucher, of a bank transfer.
    ReferenceText, line of 128
);

text_value!(
    /// A user of the message broker. No field of a command: the broker vouches for it (AMQP property `user_id`).
    UserId, line of 255
);

text_value!(
    /// What a shop calls itself.
    MerchantName, line of 200
);

text_value!(
    /// A sentence from a person or a system, kept with the entry.
    Note, lines of 500
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
        let number = json::whole(deserializer, 1..=u16::from(Self::MAX), Self::EXPECTED)?;
        u8::try_from(number).map(Self).map_err(de::Error::custom)
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
