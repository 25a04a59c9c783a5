//! A shop and its preferences.

use contract::{MerchantId, MerchantName, Preferences, Timestamp};

/// A shop that is registered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Merchant {
    /// The shop's id, in every routing key of its commands.
    pub id: MerchantId,
    /// What people call it.
    pub name: MerchantName,
    /// Days from the moment a commission is recorded until it is credited; 0 credits at once.
    pub hold_days: u16,
    /// The rest of what it prefers; the defaults where the worker's rules do not ask for it.
    pub preferences: Preferences,
    /// The `time` of the put that all this comes from; `None`: registered before there were puts.
    pub put_at: Option<Timestamp>,
}
