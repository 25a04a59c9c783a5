//! How a customer is paid. All of it is secret; what people and programs may see is the masked form.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::json::present;
use crate::person::{Email, PersonName};
use crate::value::{Check, pattern, text_value, word_value};

const IBAN: &str = "^[A-Z]{2}[0-9]{2}[A-Z0-9]{11,30}$";

text_value!(
    /// A bank account's number (ISO 13616) in its electronic form. Checksum and country's format are right.
    secret Iban,
    "an IBAN without spaces, whose checksum and country's format are right",
    34,
    IBAN,
    |text| {
        let shape: Check = pattern!(IBAN, "is no IBAN");
        shape(text)?;
        text.parse::<iban::Iban>().map(|_| ()).map_err(|_| "has a typing error")
    }
);

impl Iban {
    /// Country and last four characters: `DE** **** … 3000`.
    pub fn masked(&self) -> String {
        let text = self.as_str();
        let (country, last) = (text.get(..2).unwrap_or_default(), text.len().saturating_sub(4));
        format!("{country}** **** … {}", text.get(last..).unwrap_or_default())
    }
}

const BIC: &str = "^[A-Z]{6}[A-Z0-9]{2}([A-Z0-9]{3})?$";

text_value!(
    /// A bank (ISO 9362). Only its form is checked: there is no list of all that exist.
    secret Bic,
    "a BIC of 8 or 11 letters and digits",
    11,
    BIC,
    pattern!(BIC, "is no BIC")
);

text_value!(
    /// A way to be paid in a customer's own words.
    secret PayoutText, lines of 500
);

word_value!(
    /// What kind of payout method it is.
    PayoutKind {
        /// A bank account.
        BankAccount = "bank-account",
        /// An account with `PayPal`.
        Paypal = "paypal",
        /// Anything else.
        Other = "other",
    }
);

/// How a customer is paid. Its JSON, such as `{"paypal":{"email":"…"}}`, is what is sealed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PayoutMethod {
    /// By bank transfer.
    BankAccount(BankAccount),
    /// By `PayPal`.
    Paypal(Paypal),
    /// By what a person reads here.
    Other(OtherMethod),
}

/// A bank account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub struct BankAccount {
    /// Its number (ISO 13616), capitals and digits without spaces; the checksum is verified.
    pub iban: Iban,
    /// The bank (ISO 9362), where the transfer needs it.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Bic")]
    pub bic: Option<Bic>,
    /// Whose account it is.
    pub holder: PersonName,
}

/// An account with `PayPal`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub struct Paypal {
    /// The address it is known by.
    pub email: Email,
}

/// Any other way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub struct OtherMethod {
    /// For whoever pays; no control characters but tab and line feed.
    pub text: PayoutText,
}

impl PayoutMethod {
    /// Which of them it is.
    pub fn kind(&self) -> PayoutKind {
        match self {
            Self::BankAccount(_) => PayoutKind::BankAccount,
            Self::Paypal(_) => PayoutKind::Paypal,
            Self::Other(_) => PayoutKind::Other,
        }
    }

    /// What everybody may see: `DE** **** … 3000`, `j***@e***`, `(17 characters)`. Enough for its owner to know it
    /// again, too little for anybody else to use it.
    pub fn masked(&self) -> String {
        match self {
            Self::BankAccount(account) => account.iban.masked(),
            Self::Paypal(paypal) => paypal.email.masked(),
            Self::Other(other) => match other.text.as_str().chars().count() {
                1 => "(1 character)".to_owned(),
                count => format!("({count} characters)"),
            },
        }
    }
}
