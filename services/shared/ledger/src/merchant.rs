//! A shop and its preferences.

use contract::MerchantId;
use serde::Deserialize;

/// A shop as far as decisions need it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Merchant {
    /// The shop's id, in every routing key of its commands.
    #[serde(rename = "merchant")]
    pub id: MerchantId,
    /// What people call it.
    pub name: String,
    /// Days from the moment a commission is recorded until it is credited; 0 credits at once.
    #[serde(default)]
    pub hold_days: u16,
}

impl Merchant {
    /// The longest hold period, in days.
    pub const MAX_HOLD_DAYS: u16 = 3650;

    /// Everything that is wrong with it, a sentence each, naming the field.
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if !(1..=200).contains(&self.name.chars().count()) || self.name.contains(char::is_control) {
            problems.push("name: expected 1 to 200 characters, none of them a control character".to_owned());
        }
        if self.hold_days > Self::MAX_HOLD_DAYS {
            problems.push(format!("hold_days: expected at most {}", Self::MAX_HOLD_DAYS));
        }
        problems
    }
}
