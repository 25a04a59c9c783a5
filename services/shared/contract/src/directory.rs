//! The directory worker's commands and events: customers, how they are paid, and what their shop decides.

use std::collections::BTreeMap;

use rust_decimal::Decimal;
use schemars::JsonSchema;
use serde::de::Deserializer;
use serde::{Deserialize, Serialize};

use crate::command::{CommandData, commands};
use crate::event::event_data;
use crate::json::{self, flag, object, present, present_object};
use crate::money::per_currency::{self, PerCurrency};
use crate::notification::MailPreferences;
use crate::payout::{BankAccount, OtherMethod, PayoutMethod, Paypal};
use crate::preferences::{
    LocalizedText, MAX_RECIPIENTS, MAX_STATES, Preferences, WithdrawalPreferences, is_default, recipients,
    states,
};
use crate::{
    Actor, AmountOrZero, Currency, CustomerId, CustomerKind, Email, Locale, MerchantId, MerchantName,
    PayoutKind, PersonName, ReasonCode, Timestamp, UserId, WithdrawalState,
};

/// The name of the worker.
pub const WORKER: &str = "directory";

/// The routing keys of everything that could be a command of this worker, misspelt ones included.
pub const ROUTING: [&str; 3] = ["*.customer.#", "*.payout-method.#", "*.preferences.#"];

commands! {
    /// A command of the directory worker.
    pub enum DirectoryCommand {
        /// Say what is known of a customer.
        Customer(CustomerPut),
        /// Say how a customer is paid.
        PayoutMethod(PayoutMethodPut),
        /// Say what a shop decides.
        Preferences(PreferencesPut),
    }
}

/// Data of `customer.put.v1`: all that is known of a customer; what is absent is forgotten.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CustomerPut {
    /// The shop, as it is registered with Saldo.
    pub merchant: MerchantId,
    /// The shop's id of the customer.
    pub customer: CustomerId,
    /// What the customer is to the shop. Only affiliates may withdraw.
    pub kind: CustomerKind,
    /// What the customer is called.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "PersonName")]
    pub name: Option<PersonName>,
    /// Where the customer is reached.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Email")]
    pub email: Option<Email>,
    /// The customer's language, such as `de` or `pt-BR`; the shop's default where absent.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Locale")]
    pub locale: Option<Locale>,
}

impl CommandData for CustomerPut {
    type Data = Self;
    const NAME: &'static str = "customer.put";
    const TYPE: &'static str = "customer.put.v1";
    const IS_PUT: bool = true;
}

/// `payout-method.put.v1`
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PayoutMethodPut {
    /// Whose customer.
    pub merchant: MerchantId,
    /// Who is paid.
    pub customer: CustomerId,
    /// How, from now on.
    #[serde(flatten)]
    pub method: PayoutMethod,
}

/// Data of `payout-method.put.v1`: how a customer is paid from now on. Exactly one of the ways.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("oneOf" = [{"required": ["bank_account"]}, {"required": ["paypal"]}, {"required": ["other"]}]))]
pub struct PayoutMethodPutData {
    /// The shop, as it is registered with Saldo.
    merchant: MerchantId,
    /// The shop's id of the customer.
    customer: CustomerId,
    /// By bank transfer.
    #[serde(default, deserialize_with = "present_object")]
    #[schemars(with = "BankAccount")]
    bank_account: Option<BankAccount>,
    /// By `PayPal`.
    #[serde(default, deserialize_with = "present_object")]
    #[schemars(with = "Paypal")]
    paypal: Option<Paypal>,
    /// By what a person reads here.
    #[serde(default, deserialize_with = "present_object")]
    #[schemars(with = "OtherMethod")]
    other: Option<OtherMethod>,
}

impl TryFrom<PayoutMethodPutData> for PayoutMethodPut {
    type Error = String;
    fn try_from(data: PayoutMethodPutData) -> Result<Self, String> {
        let PayoutMethodPutData { merchant, customer, bank_account, paypal, other } = data;
        let method = match (bank_account, paypal, other) {
            (Some(account), None, None) => PayoutMethod::BankAccount(account),
            (None, Some(paypal), None) => PayoutMethod::Paypal(paypal),
            (None, None, Some(other)) => PayoutMethod::Other(other),
            (Some(_), Some(_), _) | (_, Some(_), Some(_)) => {
                return Err(one_way("paypal", "is one way too many"));
            }
            (Some(_), None, Some(_)) => return Err(one_way("other", "is one way too many")),
            (None, None, None) => return Err(one_way("bank_account", "is missing")),
        };
        Ok(Self { merchant, customer, method })
    }
}

fn one_way(field: &str, problem: &str) -> String {
    format!("{field}: {problem}; expected exactly one of `bank_account`, `paypal`, `other`")
}

impl CommandData for PayoutMethodPut {
    type Data = PayoutMethodPutData;
    const NAME: &'static str = "payout-method.put";
    const TYPE: &'static str = "payout-method.put.v1";
    const IS_PUT: bool = true;
    const IS_SECRET: bool = true;
}

/// `preferences.put.v1`
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PreferencesPut {
    /// Which shop. Registered when first seen.
    pub merchant: MerchantId,
    /// What it calls itself.
    pub name: MerchantName,
    /// Who decides.
    pub actor: Actor,
    /// Commissions are pending for so many days.
    #[serde(skip_serializing_if = "is_default")]
    pub hold_days: u16,
    /// Everything else. Boxed: it is much larger than any other command.
    #[serde(flatten)]
    pub preferences: Box<Preferences>,
}

/// Data of `preferences.put.v1`: all that a shop decides; what is absent has its default. Registers the shop.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PreferencesPutData {
    /// The shop, which is registered with this.
    merchant: MerchantId,
    /// What the shop calls itself.
    name: MerchantName,
    /// Who decides, such as a login.
    actor: Actor,
    /// Commissions are pending for so many days before they are in the balance.
    #[serde(default, deserialize_with = "hold_days")]
    #[schemars(range(min = 0, max = MAX_HOLD_DAYS))]
    hold_days: u16,
    /// Whether customers see their balance at all.
    #[serde(default = "shown", deserialize_with = "flag")]
    section_shown: bool,
    /// By language, stands above the balance.
    #[serde(default)]
    introduction: LocalizedText,
    /// By currency, how far an adjustment may take what is available below zero; as far as it likes without one.
    #[serde(default, deserialize_with = "per_currency::limits")]
    #[schemars(with = "PerCurrency<AmountOrZero>")]
    negative_limit: BTreeMap<Currency, Decimal>,
    /// The language of whoever has no other.
    #[serde(default)]
    default_locale: Locale,
    /// Who gets an e-mail for each request for withdrawal.
    #[serde(default, deserialize_with = "recipients")]
    #[schemars(length(max = MAX_RECIPIENTS), extend("uniqueItems" = true))]
    notify: Vec<Email>,
    /// Which states of a withdrawal its affiliate is told of by e-mail; none where absent.
    #[serde(default, deserialize_with = "states")]
    #[schemars(length(max = MAX_STATES), extend("uniqueItems" = true))]
    notify_customer: Vec<WithdrawalState>,
    /// What mails say instead of the built-in words.
    #[serde(default, deserialize_with = "object")]
    mails: MailPreferences,
    /// Whether and how affiliates withdraw.
    #[serde(default, deserialize_with = "object")]
    withdrawals: WithdrawalPreferences,
}

/// Ten years.
const MAX_HOLD_DAYS: u16 = 3650;

fn hold_days<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u16, D::Error> {
    json::whole(deserializer, 0..=MAX_HOLD_DAYS, "a whole number of days from 0 to 3650")
}

fn shown() -> bool {
    Preferences::default().section_shown
}

impl From<PreferencesPutData> for PreferencesPut {
    fn from(data: PreferencesPutData) -> Self {
        let PreferencesPutData { merchant, name, actor, hold_days, section_shown, introduction, .. } = data;
        let PreferencesPutData { negative_limit, default_locale, notify, notify_customer, .. } = data;
        let PreferencesPutData { mails, withdrawals, .. } = data;
        let preferences = Preferences {
            section_shown,
            introduction,
            negative_limit,
            default_locale,
            notify,
            notify_customer,
            mails,
            withdrawals,
        };
        Self { merchant, name, actor, hold_days, preferences: Box::new(preferences) }
    }
}

impl CommandData for PreferencesPut {
    type Data = PreferencesPutData;
    const NAME: &'static str = "preferences.put";
    const TYPE: &'static str = "preferences.put.v1";
    const NEEDS_USER: bool = true;
    const IS_PUT: bool = true;
}

event_data! {
    CustomerUpdated = "customer.updated",
    CustomerRefused = "customer.refused",
    PayoutMethodUpdated = "payout-method.updated",
    PayoutMethodRefused = "payout-method.refused",
    PreferencesUpdated = "preferences.updated",
    PreferencesRefused = "preferences.refused",
}

/// Data of `customer.updated.v1`. Without name and address: events are kept for ever, people may be forgotten.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct CustomerUpdated {
    /// Whose customer.
    pub merchant: MerchantId,
    /// Who.
    pub customer: CustomerId,
    /// What the customer is to the shop.
    pub kind: CustomerKind,
    /// The customer's language.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Locale")]
    pub locale: Option<Locale>,
    /// The command's `time`, which puts are ordered by.
    pub put_at: Timestamp,
}

/// Data of `payout-method.updated.v1`: the customer is paid in this way from now on.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct PayoutMethodUpdated {
    /// Whose customer.
    pub merchant: MerchantId,
    /// Who is paid.
    pub customer: CustomerId,
    /// Which of the customer's methods, from 1.
    pub version: i32,
    /// What kind of method.
    pub kind: PayoutKind,
    /// Enough for its owner to know it again.
    pub masked: String,
}

/// Data of `preferences.updated.v1`: the shop has decided.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct PreferencesUpdated {
    /// Which shop.
    pub merchant: MerchantId,
    /// What it calls itself.
    pub name: MerchantName,
    /// Who decided, says the command.
    pub actor: Actor,
    /// The broker user who sent the command.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "UserId")]
    pub user: Option<UserId>,
    /// Commissions are pending for so many days.
    pub hold_days: u16,
    /// How far an adjustment may take what is available below zero; no limit where there is none.
    #[serde(serialize_with = "per_currency::serialize", skip_serializing_if = "is_default")]
    #[schemars(with = "PerCurrency<AmountOrZero>")]
    pub negative_limit: BTreeMap<Currency, Decimal>,
    /// Whether and how affiliates withdraw; what has its default is left out. Kept for ever with this event, so that it
    /// can be said later what applied when.
    pub withdrawals: WithdrawalPreferences,
    /// The command's `time`, which puts are ordered by.
    pub put_at: Timestamp,
}

/// Data of `customer.refused.v1`: the command was understood and not carried out.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct CustomerRefused(pub PutRefused);

/// Data of `payout-method.refused.v1`: the command was understood and not carried out.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct PayoutMethodRefused(pub PutRefused);

/// Data of `preferences.refused.v1`: the command was understood and not carried out.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct PreferencesRefused(pub PutRefused);

/// What all refusals of this worker tell.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[schemars(inline)]
pub struct PutRefused {
    /// Whose command.
    pub merchant: MerchantId,
    /// The name of the refused command, such as `customer.put`.
    pub command: &'static str,
    /// Why, for programs.
    pub reason: ReasonCode,
    /// Why, for people.
    pub message: String,
    /// The customer, where the command names one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "CustomerId")]
    pub customer: Option<CustomerId>,
}
