//! A shop's customer, and how it wants to be paid.

use contract::{
    CustomerId, CustomerKind, Email, KeyHash, Locale, MerchantId, PayoutKind, PersonName, Timestamp,
};

use crate::vault::Sealed;

/// Whose customer it is, and the shop's id of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CustomerKey {
    /// The shop.
    pub merchant: MerchantId,
    /// Its customer.
    pub customer: CustomerId,
}

/// A customer that is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Customer {
    /// Who it is.
    pub key: CustomerKey,
    /// Affiliates may withdraw.
    pub kind: CustomerKind,
    /// What people call it.
    pub name: Option<PersonName>,
    /// Where it gets mail.
    pub email: Option<Email>,
    /// In which language and with which numbers it is written to.
    pub locale: Option<Locale>,
    /// The `time` of the put that all this comes from; `None`: first seen through an account.
    pub put_at: Option<Timestamp>,
    /// How it is paid now.
    pub payout: Option<CurrentPayout>,
}

/// A customer's newest payout method.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CurrentPayout {
    /// What may be seen of it.
    pub snapshot: PayoutSnapshot,
    /// The `time` of the put that it comes from.
    pub put_at: Timestamp,
}

/// One version of a payout method, as a withdrawal keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PayoutSnapshot {
    /// From 1, without gaps, within the customer.
    pub version: i32,
    /// What kind of method.
    pub kind: PayoutKind,
    /// What people may see.
    pub masked: String,
}

/// A payout method that is put now.
#[derive(Debug, Clone)]
pub struct NewPayout {
    /// Whose it is.
    pub owner: CustomerKey,
    /// What may be seen of it.
    pub snapshot: PayoutSnapshot,
    /// The details.
    pub sealed: Sealed,
    /// The `time` of the put.
    pub put_at: Timestamp,
    /// The command, in its stored form.
    pub command: KeyHash,
}
