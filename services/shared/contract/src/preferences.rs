//! What a shop decides: whether and how its customers see and withdraw their money.

use std::borrow::Cow;
use std::collections::BTreeMap;

use rust_decimal::Decimal;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::Deserializer;
use serde::{Deserialize, Serialize};

use crate::json::{self, flag, object};
use crate::money::per_currency::{self, PerCurrency};
use crate::notification::MailPreferences;
use crate::template::template_value;
use crate::value::word_value;
use crate::{Amount, AmountOrZero, Currency, Email, Locale, Note, WithdrawalState};

/// A shop's preferences, without its name and its hold period, which have columns of their own. Written without
/// what has its default, and the same whether a default was written out or not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Preferences {
    /// Whether customers see their balance at all.
    #[serde(deserialize_with = "flag", skip_serializing_if = "bool::clone")]
    pub section_shown: bool,
    /// Stands above the balance.
    #[serde(skip_serializing_if = "is_default")]
    pub introduction: LocalizedText,
    /// How far an adjustment may take what is available below zero, at the currency's exponent. No limit where
    /// there is none.
    #[serde(
        deserialize_with = "per_currency::limits",
        serialize_with = "per_currency::serialize",
        skip_serializing_if = "is_default"
    )]
    pub negative_limit: BTreeMap<Currency, Decimal>,
    /// The language of whoever has no other.
    #[serde(skip_serializing_if = "is_default")]
    pub default_locale: Locale,
    /// Who gets an e-mail for each request for withdrawal.
    #[serde(deserialize_with = "recipients", skip_serializing_if = "is_default")]
    pub notify: Vec<Email>,
    /// Which states of a withdrawal its affiliate is told of by e-mail.
    #[serde(deserialize_with = "states", skip_serializing_if = "is_default")]
    pub notify_customer: Vec<WithdrawalState>,
    /// What mails say instead of the built-in words.
    #[serde(deserialize_with = "object", skip_serializing_if = "is_default")]
    pub mails: MailPreferences,
    /// Whether and how customers withdraw.
    #[serde(deserialize_with = "object", skip_serializing_if = "is_default")]
    pub withdrawals: WithdrawalPreferences,
}

/// A customer sees the balance and cannot withdraw it.
impl Default for Preferences {
    fn default() -> Self {
        Self {
            section_shown: true,
            introduction: LocalizedText::default(),
            negative_limit: BTreeMap::new(),
            default_locale: Locale::default(),
            notify: Vec::new(),
            notify_customer: Vec::new(),
            mails: MailPreferences::default(),
            withdrawals: WithdrawalPreferences::default(),
        }
    }
}

/// Whether and how a shop's affiliates withdraw.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(inline)]
pub struct WithdrawalPreferences {
    /// Whether withdrawals can be requested.
    #[serde(deserialize_with = "flag", skip_serializing_if = "is_default")]
    #[schemars(extend("default" = false))]
    pub enabled: bool,
    /// What must be reached, by currency; without one, nothing.
    #[serde(
        deserialize_with = "per_currency::minimums",
        serialize_with = "per_currency::serialize",
        skip_serializing_if = "is_default"
    )]
    #[schemars(with = "PerCurrency<AmountOrZero>")]
    pub minimum: BTreeMap<Currency, Decimal>,
    /// By what it must be reached: `balance`, which is available, or the `amount` that is requested.
    #[serde(skip_serializing_if = "is_default")]
    #[schemars(extend("default" = "balance"))]
    pub minimum_rule: MinimumRule,
    /// By language, shown to whoever has reached the minimum.
    #[serde(skip_serializing_if = "is_default")]
    pub message_reached: Localized<MessageTemplate>,
    /// By language, shown to whoever has not reached the minimum.
    #[serde(skip_serializing_if = "is_default")]
    pub message_not_reached: Localized<MessageTemplate>,
    /// By currency, requests below this are approved at once; without one, none is.
    #[serde(
        deserialize_with = "per_currency::amounts",
        serialize_with = "per_currency::serialize",
        skip_serializing_if = "is_default"
    )]
    #[schemars(with = "PerCurrency<Amount>")]
    pub auto_approve_below: BTreeMap<Currency, Decimal>,
}

pub(crate) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

word_value!(
    /// What has to reach the minimum of a withdrawal.
    #[derive(Default)]
    MinimumRule {
        /// What is available, however much of it is requested.
        #[default]
        Balance = "balance",
        /// What is requested.
        Amount = "amount",
    }
);

/// At most so many people are told of a request.
pub(crate) const MAX_RECIPIENTS: usize = 20;

pub(crate) fn recipients<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Email>, D::Error> {
    json::different(deserializer, MAX_RECIPIENTS, "an array of at most 20 different e-mail addresses")
}

/// An affiliate is told of at most so many states: all there are.
pub(crate) const MAX_STATES: usize = WithdrawalState::WORDS.len();

pub(crate) fn states<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<WithdrawalState>, D::Error> {
    json::different(deserializer, MAX_STATES, "an array of different states of a withdrawal")
}

/// A text for people, by language.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Localized<T>(pub BTreeMap<Locale, T>);

/// Plain sentences by language.
pub type LocalizedText = Localized<Note>;

impl<T> Localized<T> {
    /// In at most so many languages.
    const MOST: usize = 50;
    const EXPECTED: &'static str = "an object of at most 50 texts by language such as {\"en\": \"…\"}";

    /// The text for somebody of this locale, and the locale that it stands under: the somebody's own, without region,
    /// then without script, or else the same of the default locale.
    pub fn choose(&self, locale: Option<&Locale>, default: &Locale) -> Option<(&Locale, &T)> {
        locale
            .into_iter()
            .chain([default])
            .flat_map(Locale::with_fallbacks)
            .find_map(|locale| self.0.iter().find(|(of, _)| of.as_str() == locale))
    }
}

impl<T> Default for Localized<T> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Localized<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        json::map(deserializer, Self::MOST, Self::EXPECTED, |_, text| Ok(text)).map(Self)
    }
}

impl<T: JsonSchema> JsonSchema for Localized<T> {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "Localized".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "object",
            "propertyNames": generator.subschema_for::<Locale>(),
            "additionalProperties": generator.subschema_for::<T>(),
            "maxProperties": Self::MOST,
        })
    }
}

template_value!(
    /// A message in which figures are filled in: what must be reached, what is there, and how much of the one the
    /// other lacks.
    MessageTemplate, lines of 1000, with "min-value", "balance", "missing"
);
