//! JSON values, read with errors that say what is wrong and what would be accepted, and never the value.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::ops::RangeInclusive;

use serde::Deserialize;
use serde::de::{
    self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor, value::MapAccessDeserializer,
};

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
        fn visit_seq<A: SeqAccess<'de>>(self, _: A) -> Result<Self::Value, A::Error> {
            Err(de::Error::custom(is("an array", &self)))
        }
    };
    (@object) => {
        fn visit_map<A: MapAccess<'de>>(self, _: A) -> Result<Self::Value, A::Error> {
            Err(de::Error::custom(is("an object", &self)))
        }
    };
}

pub(crate) fn is(kind: &str, expected: &dyn de::Expected) -> String {
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

/// The same as [`present`] for fields that hold objects.
pub(crate) fn present_object<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    object(deserializer).map(Some)
}

/// A JSON boolean.
pub(crate) fn flag<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    struct Flags;
    impl<'de> Visitor<'de> for Flags {
        type Value = bool;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("true or false")
        }
        fn visit_bool<E: de::Error>(self, flag: bool) -> Result<bool, E> {
            Ok(flag)
        }
        refuse!(null, number, string, array, object);
    }
    deserializer.deserialize_any(Flags)
}

/// A whole number of this range, `1.0` being one: JSON Schema and RFC 8785 know no difference to 1.
pub(crate) fn whole<'de, D: Deserializer<'de>>(
    deserializer: D,
    range: RangeInclusive<u16>,
    expected: &'static str,
) -> Result<u16, D::Error> {
    struct Numbers(RangeInclusive<u16>, &'static str);
    impl<'de> Visitor<'de> for Numbers {
        type Value = u16;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.1)
        }
        fn visit_u64<E: de::Error>(self, number: u64) -> Result<u16, E> {
            u16::try_from(number)
                .ok()
                .filter(|number| self.0.contains(number))
                .ok_or_else(|| E::custom(format_args!("is out of range; expected {}", self.1)))
        }
        fn visit_i64<E: de::Error>(self, _: i64) -> Result<u16, E> {
            Err(E::custom(format_args!("is out of range; expected {}", self.1)))
        }
        fn visit_f64<E: de::Error>(mut self, number: f64) -> Result<u16, E> {
            // Minus zero is zero.
            let number = if number == 0.0 { 0.0 } else { number };
            self.0
                .find(|whole| f64::from(*whole).total_cmp(&number).is_eq())
                .ok_or_else(|| E::custom(format_args!("is no such number; expected {}", self.1)))
        }
        refuse!(null, boolean, string, array, object);
    }
    deserializer.deserialize_any(Numbers(range, expected))
}

/// An array of at most so many different values.
pub(crate) fn different<'de, D, T>(
    deserializer: D,
    most: usize,
    expected: &'static str,
) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + PartialEq,
{
    struct Lists<T>(usize, &'static str, PhantomData<T>);
    impl<'de, T: Deserialize<'de> + PartialEq> Visitor<'de> for Lists<T> {
        type Value = Vec<T>;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.1)
        }
        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<T>, A::Error> {
            let refused = |problem: &str| de::Error::custom(format_args!("{problem}; expected {}", self.1));
            let mut list = Vec::new();
            while let Some(value) = seq.next_element()? {
                if list.len() == self.0 {
                    return Err(refused("is too long"));
                }
                if list.contains(&value) {
                    return Err(refused("holds a value twice"));
                }
                list.push(value);
            }
            Ok(list)
        }
        refuse!(null, boolean, number, string, object);
    }
    deserializer.deserialize_any(Lists(most, expected, PhantomData))
}

/// An object with at most so many names, all of them `K`s and none of them twice. `value` makes what is kept of what
/// stands under a name.
pub(crate) fn map<'de, D, K, V, T>(
    deserializer: D,
    most: usize,
    expected: &'static str,
    value: fn(&K, V) -> Result<T, String>,
) -> Result<BTreeMap<K, T>, D::Error>
where
    D: Deserializer<'de>,
    K: Deserialize<'de> + Ord,
    V: Deserialize<'de>,
{
    struct Maps<K, V, T>(usize, &'static str, fn(&K, V) -> Result<T, String>);
    impl<'de, K: Deserialize<'de> + Ord, V: Deserialize<'de>, T> Visitor<'de> for Maps<K, V, T> {
        type Value = BTreeMap<K, T>;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.1)
        }
        fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Self::Value, A::Error> {
            let mut map = BTreeMap::new();
            while let Some(key) = access.next_key::<K>()? {
                if map.len() == self.0 {
                    return Err(de::Error::custom(format_args!("has too many names; expected {}", self.1)));
                }
                let value = access.next_value_seed(Under { key: &key, map: &map, value: self.2 })?;
                map.insert(key, value);
            }
            Ok(map)
        }
        refuse!(null, boolean, number, string, array);
    }
    /// What is checked here has the name in its error's path.
    struct Under<'a, K, V, T> {
        key: &'a K,
        map: &'a BTreeMap<K, T>,
        value: fn(&K, V) -> Result<T, String>,
    }
    impl<'de, K: Ord, V: Deserialize<'de>, T> DeserializeSeed<'de> for Under<'_, K, V, T> {
        type Value = T;
        fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<T, D::Error> {
            let value = V::deserialize(deserializer)?;
            if self.map.contains_key(self.key) {
                return Err(de::Error::custom("stands there twice; expected once"));
            }
            (self.value)(self.key, value).map_err(de::Error::custom)
        }
    }
    deserializer.deserialize_any(Maps(most, expected, value))
}

pub(crate) use refuse;
