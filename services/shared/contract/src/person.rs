//! Texts about people. What identifies a person is a secret: no log line and no panic may show it.

use crate::value::{pattern, text_value, word_value};

word_value!(
    /// What a customer is to the shop.
    CustomerKind {
        /// Buys.
        Customer = "customer",
        /// Earns commissions, and alone may withdraw.
        Affiliate = "affiliate",
        /// Sells on.
        Reseller = "reseller",
    }
);

text_value!(
    /// What a person, or whoever holds a bank account, is called.
    secret PersonName, line of 200
);

/// What HTML accepts as `<input type=email>` (WHATWG, "valid e-mail address").
const EMAIL: &str = concat!(
    "^[a-zA-Z0-9.!#$%&'*+/=?^_`{|}~-]+@[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?",
    r"(?:\.[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?)*$"
);

text_value!(
    /// An e-mail address, as HTML's forms accept it. Never resolved, and compared letter by letter.
    secret Email,
    "an e-mail address of at most 254 characters",
    254,
    EMAIL,
    pattern!(EMAIL, "is no e-mail address")
);

impl Email {
    /// The first letters of both sides: `j***@e***`.
    pub fn masked(&self) -> String {
        let first = |part: &str| part.chars().next().unwrap_or('*');
        let (local, domain) = self.as_str().split_once('@').unwrap_or_default();
        format!("{}***@{}***", first(local), first(domain))
    }
}

const LOCALE: &str = "^[a-z]{2,3}(-[A-Z][a-z]{3})?(-([A-Z]{2}|[0-9]{3}))?$";

text_value!(
    /// A language, and where it matters its script and region, as BCP 47 writes them: `de`, `pt-BR`, `zh-Hant-TW`.
    Locale,
    "a language such as de, pt-BR or zh-Hant-TW",
    12,
    LOCALE,
    pattern!(LOCALE, "is no such language")
);

impl Locale {
    /// This locale, then without its region, then without its script.
    pub fn with_fallbacks(&self) -> impl Iterator<Item = &str> {
        std::iter::successors(Some(self.as_str()), |text| text.rsplit_once('-').map(|(shorter, _)| shorter))
    }
}

/// English.
impl Default for Locale {
    fn default() -> Self {
        Self("en".into())
    }
}
