//! Amounts of money. Never a float; never more decimals than the currency has.

use std::borrow::Cow;
use std::fmt;

use iso_currency::IntoEnumIterator;
use rust_decimal::Decimal;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserializer};
use serde::{Deserialize, Serialize};

use crate::json;

/// A currency of ISO 4217 that has an exponent (how many decimals its amounts have). Precious metals
/// and test codes have none and are refused.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Currency(iso_currency::Currency);

impl Currency {
    const EXPECTED: &'static str = "an ISO 4217 currency code such as EUR";

    /// The three letters.
    pub fn code(self) -> &'static str {
        self.0.code()
    }

    /// Decimals of an amount: JPY 0, EUR 2, KWD 3.
    pub fn exponent(self) -> u32 {
        self.0.exponent().map_or(0, u32::from)
    }

    /// Every currency that is accepted, by code.
    pub fn all() -> impl Iterator<Item = Self> {
        let mut all: Vec<_> = iso_currency::Currency::iter().filter(|c| c.exponent().is_some()).collect();
        all.sort_by_key(iso_currency::Currency::code);
        all.into_iter().map(Self)
    }
}

impl std::str::FromStr for Currency {
    type Err = String;
    fn from_str(code: &str) -> Result<Self, String> {
        iso_currency::Currency::from_code(code)
            .filter(|c| c.exponent().is_some())
            .map(Self)
            .ok_or_else(|| format!("is no such currency; expected {}", Self::EXPECTED))
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl PartialOrd for Currency {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Currency {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.code().cmp(other.code())
    }
}

impl Serialize for Currency {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.code())
    }
}

impl<'de> Deserialize<'de> for Currency {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        json::text(deserializer, Self::EXPECTED)?.parse().map_err(de::Error::custom)
    }
}

impl JsonSchema for Currency {
    fn schema_name() -> Cow<'static, str> {
        "Currency".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let codes: Vec<&str> = Self::all().map(Self::code).collect();
        json_schema!({ "type": "string", "enum": codes, "description": Self::EXPECTED })
    }
}

const PATTERN: &str = r"^(0|[1-9][0-9]{0,11})(\.[0-9]{1,4})?$";

/// A decimal as [`PATTERN`] has it, or what is wrong with it.
fn decimal(text: &str) -> Result<Decimal, &'static str> {
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    let (whole, decimals) = match text.split_once('.') {
        Some((whole, decimals)) if digits(decimals) => (whole, decimals),
        None => (text, ""),
        Some(_) => return Err("is not such a decimal"),
    };
    if !digits(whole) {
        return Err("is not such a decimal");
    }
    if whole.len() > 1 && whole.starts_with('0') {
        return Err("has a leading zero");
    }
    if whole.len() > 12 {
        return Err("is too large");
    }
    if decimals.len() > 4 {
        return Err("has more than four decimals");
    }
    text.parse().map_err(|_| "is not such a decimal")
}

/// An amount at this currency's exponent, or the problem that it has more decimals (trailing zeros included:
/// `1.50` yen is refused).
fn at_exponent(mut amount: Decimal, currency: Currency) -> Result<Decimal, String> {
    let (decimals, most) = (amount.scale(), currency.exponent());
    if decimals > most {
        return Err(format!("has {decimals} decimals; expected at most the currency's {most}"));
    }
    amount.rescale(most);
    Ok(amount)
}

/// What a command writes: a positive decimal as a string, below 10^12, with at most four decimals. Becomes
/// [`Money`] together with its currency.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Amount(Decimal);

impl Amount {
    const EXPECTED: &'static str =
        "a decimal string above zero such as \"12.50\", below 10^12, digits and one point only";
    /// A digit other than zero somewhere: JSON Schema's way to say "above zero" of a string.
    const ABOVE_ZERO: &'static str = "[1-9]";
}

impl std::str::FromStr for Amount {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        decimal(text)
            .and_then(|amount| if amount.is_zero() { Err("is zero") } else { Ok(Self(amount)) })
            .map_err(|problem| format!("{problem}; expected {}", Self::EXPECTED))
    }
}

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        json::text(deserializer, Self::EXPECTED)?.parse().map_err(de::Error::custom)
    }
}

impl Serialize for Amount {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl JsonSchema for Amount {
    fn schema_name() -> Cow<'static, str> {
        "Amount".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string", "pattern": PATTERN, "allOf": [{ "pattern": Self::ABOVE_ZERO }],
            "description": "Above zero; at most as many decimals as the currency has.",
        })
    }
}

/// The same as [`Amount`], or zero: what a limit is written as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AmountOrZero(Decimal);

impl AmountOrZero {
    const EXPECTED: &'static str =
        "a decimal string such as \"12.50\" or \"0\", below 10^12, digits and one point only";
}

impl std::str::FromStr for AmountOrZero {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        decimal(text).map(Self).map_err(|problem| format!("{problem}; expected {}", Self::EXPECTED))
    }
}

impl<'de> Deserialize<'de> for AmountOrZero {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        json::text(deserializer, Self::EXPECTED)?.parse().map_err(de::Error::custom)
    }
}

impl JsonSchema for AmountOrZero {
    fn schema_name() -> Cow<'static, str> {
        "AmountOrZero".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string", "pattern": PATTERN,
            "description": "Zero or above; at most as many decimals as the currency has.",
        })
    }
}

/// For fields that hold an amount for some currencies, each at its currency's exponent.
pub(crate) mod per_currency {
    use std::collections::BTreeMap;

    use serde::{Deserializer, Serializer};

    use super::{Amount, AmountOrZero, Currency, Decimal, JsonSchema, SignedAmount, at_exponent};
    use crate::json;

    /// As many as one likes: there are not more currencies.
    const MOST: usize = usize::MAX;
    const EXPECTED: &str = "an object of amounts by currency such as {\"EUR\": \"12.50\"}";

    /// Above zero.
    pub(crate) fn amounts<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<BTreeMap<Currency, Decimal>, D::Error> {
        json::map(deserializer, MOST, EXPECTED, |currency, Amount(amount)| at_exponent(amount, *currency))
    }

    /// Zero or above.
    pub(crate) fn limits<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<BTreeMap<Currency, Decimal>, D::Error> {
        json::map(deserializer, MOST, EXPECTED, |currency, AmountOrZero(amount)| {
            at_exponent(amount, *currency)
        })
    }

    /// Zero or above, where zero is the same as nothing.
    pub(crate) fn minimums<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<BTreeMap<Currency, Decimal>, D::Error> {
        let mut minimums = limits(deserializer)?;
        minimums.retain(|_, minimum| !minimum.is_zero());
        Ok(minimums)
    }

    pub(crate) fn serialize<S: Serializer>(
        amounts: &BTreeMap<Currency, Decimal>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_map(
            amounts.iter().map(|(currency, amount)| (currency, SignedAmount::new(*amount, *currency))),
        )
    }

    /// The schema of such a field.
    pub(crate) struct PerCurrency<A>(std::marker::PhantomData<A>);

    impl<A: JsonSchema> JsonSchema for PerCurrency<A> {
        fn inline_schema() -> bool {
            true
        }
        fn schema_name() -> std::borrow::Cow<'static, str> {
            "PerCurrency".into()
        }
        fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
            schemars::json_schema!({
                "type": "object",
                "propertyNames": generator.subschema_for::<Currency>(),
                "additionalProperties": generator.subschema_for::<A>(),
            })
        }
    }
}

/// A positive amount in a currency, at the currency's exponent. Written as the fields `amount` and `currency`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Money {
    #[serde(serialize_with = "written")]
    amount: Decimal,
    currency: Currency,
}

impl Money {
    /// An amount together with its currency.
    ///
    /// # Errors
    /// The amount has more decimals than the currency (trailing zeros included: `1.50` yen is refused).
    pub fn new(amount: Amount, currency: Currency) -> Result<Self, String> {
        at_exponent(amount.0, currency)
            .map(|amount| Self { amount, currency })
            .map_err(|problem| format!("amount: {problem}"))
    }

    /// A decimal that is known to be positive and exact, such as the rest of a commission; `None` if it is
    /// not. Trailing zeros do not matter here: what the database returns may have them.
    pub fn positive(amount: Decimal, currency: Currency) -> Option<Self> {
        let mut amount = amount.normalize();
        if amount <= Decimal::ZERO || amount.scale() > currency.exponent() {
            return None;
        }
        amount.rescale(currency.exponent());
        Some(Self { amount, currency })
    }

    /// The amount, with exactly the currency's decimals.
    pub fn amount(self) -> Decimal {
        self.amount
    }

    /// The currency.
    pub fn currency(self) -> Currency {
        self.currency
    }
}

/// A string: no reader of JSON may make a float of it.
fn written<S: serde::Serializer>(amount: &Decimal, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(amount)
}

impl From<Money> for Amount {
    fn from(money: Money) -> Self {
        Self(money.amount)
    }
}

/// What an event shows: a decimal string of any sign with exactly the currency's decimals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SignedAmount(Decimal);

impl SignedAmount {
    /// A figure of this currency: a sum of its amounts, so that the exponent holds it exactly.
    pub fn new(mut figure: Decimal, currency: Currency) -> Self {
        debug_assert!(
            figure.normalize().scale() <= currency.exponent(),
            "a sum of amounts has their decimals"
        );
        figure.rescale(currency.exponent());
        if figure.is_zero() {
            // A difference can be minus zero, which would be written "-0.00".
            figure.set_sign_positive(true);
        }
        Self(figure)
    }
}

impl From<Money> for SignedAmount {
    fn from(money: Money) -> Self {
        Self(money.amount)
    }
}

impl fmt::Display for SignedAmount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Serialize for SignedAmount {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl JsonSchema for SignedAmount {
    fn schema_name() -> Cow<'static, str> {
        "SignedAmount".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string", "pattern": r"^-?(0|[1-9][0-9]{0,15})(\.[0-9]{1,4})?$",
            "description": "Exactly as many decimals as the currency has.",
        })
    }
}
