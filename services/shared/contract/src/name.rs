//! Saldo's own ids, and the two ways in which a command names what exists.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserializer, MapAccess, SeqAccess, Visitor, value::MapAccessDeserializer};
use serde::{Deserialize, Serialize};

use crate::json::{is, refuse};
use crate::key::{KeyHash, Reference};

/// What [`EntryId`] and [`WithdrawalId`] have in common: one text form, which schema and reader share.
macro_rules! id_text {
    ($name:ident, $expected:literal, $pattern:literal) => {
        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                crate::json::text(deserializer, $expected)?.parse().map_err(de::Error::custom)
            }
        }

        impl OwnId for $name {
            const EXPECTED: &'static str = $expected;
        }

        impl JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "pattern": $pattern })
            }
        }
    };
}

/// An id that Saldo gives.
pub trait OwnId: FromStr<Err = String> + Serialize + JsonSchema {
    /// For errors: what a good one is.
    const EXPECTED: &'static str;
}

/// Saldo's own id of an entry: the account's number and the entry's number within it, such as `1042-7`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EntryId {
    /// The account.
    pub account: i64,
    /// The entry's number within the account, from 1, without gaps.
    pub number: i64,
}

id_text!(EntryId, "an entry's id such as 1042-7", "^[1-9][0-9]{0,17}-[1-9][0-9]{0,17}$");

impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.account, self.number)
    }
}

impl FromStr for EntryId {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        // 18 digits always fit into an i64; no account will ever have more.
        let number = |digits: &str| {
            let good = digits.len() <= 18
                && !digits.starts_with('0')
                && digits.bytes().all(|byte| byte.is_ascii_digit());
            good.then(|| digits.parse().ok()).flatten()
        };
        text.split_once('-')
            .and_then(|(account, entry)| Some(Self { account: number(account)?, number: number(entry)? }))
            .ok_or_else(|| format!("is no such id; expected {}", Self::EXPECTED))
    }
}

/// Saldo's own id of a withdrawal: the key of the command that requested it, as 32 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WithdrawalId(pub KeyHash);

id_text!(WithdrawalId, "a withdrawal's id of 32 digits and letters a to f", "^[0-9a-f]{32}$");

impl fmt::Display for WithdrawalId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for WithdrawalId {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let mut bytes = [0; 16];
        Some(text)
            .filter(|text| !text.bytes().any(|byte| byte.is_ascii_uppercase()))
            .and_then(|text| hex::decode_to_slice(text, &mut bytes).ok())
            .map(|()| Self(KeyHash(bytes)))
            .ok_or_else(|| format!("is no such id; expected {}", Self::EXPECTED))
    }
}

/// How a command names what exists: by the command that created it, or by Saldo's id. Looked up within the
/// naming command's merchant only. In JSON an object is the one and a string the other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Name<I> {
    /// By the command that created it, which may arrive later.
    Command(Reference),
    /// By Saldo's id, which nobody can know before it exists.
    Id(I),
}

impl<'de, I: OwnId> Deserialize<'de> for Name<I> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Names<I>(PhantomData<I>);
        impl<'de, I: OwnId> Visitor<'de> for Names<I> {
            type Value = Name<I>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "the creating command's `source` and `id` as an object, or {}", I::EXPECTED)
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                Reference::deserialize(MapAccessDeserializer::new(map)).map(Name::Command)
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
                text.parse().map(Name::Id).map_err(E::custom)
            }
            refuse!(null, boolean, number, array);
        }
        deserializer.deserialize_any(Names(PhantomData))
    }
}

impl<I: OwnId> JsonSchema for Name<I> {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "Name".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [generator.subschema_for::<Reference>(), generator.subschema_for::<I>()] })
    }
}
