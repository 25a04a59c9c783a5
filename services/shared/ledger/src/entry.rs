//! An entry: one double-entry posting, chained by hash to the account's previous one.

use contract::{
    Actor, EntryId, KeyHash, LengthPrefixed, Level, Note, OrderId, PostedEntry, ReferenceText, SignedAmount,
    Timestamp, UserId,
};
use rust_decimal::Decimal;

use crate::{Account, AccountKey};

/// What a posting is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryKind {
    /// A commission is credited.
    Commission,
    /// A credited commission, or a part of it, is taken back.
    CommissionReversal,
    /// A person credits or debits by hand.
    Adjustment,
    /// An adjustment is taken back.
    AdjustmentReversal,
    /// A withdrawal is paid.
    Withdrawal,
}

impl EntryKind {
    /// Every kind.
    pub const ALL: [Self; 5] = [
        Self::Commission,
        Self::CommissionReversal,
        Self::Adjustment,
        Self::AdjustmentReversal,
        Self::Withdrawal,
    ];

    /// As stored and published.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Commission => "commission",
            Self::CommissionReversal => "commission-reversal",
            Self::Adjustment => "adjustment",
            Self::AdjustmentReversal => "adjustment-reversal",
            Self::Withdrawal => "withdrawal",
        }
    }

    /// The account on the other side.
    pub fn counterpart(self) -> &'static str {
        match self {
            Self::Commission | Self::CommissionReversal => "commissions",
            Self::Adjustment | Self::AdjustmentReversal => "adjustments",
            Self::Withdrawal => "payouts",
        }
    }
}

impl std::str::FromStr for EntryKind {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text).ok_or_else(|| {
            format!("is no kind of entry; expected one of {}", Self::ALL.map(Self::as_str).join(", "))
        })
    }
}

/// What a rule wants posted.
#[derive(Debug, Clone)]
pub struct Posting {
    /// What for.
    pub kind: EntryKind,
    /// Above zero: credited to the customer. Never zero.
    pub amount: Decimal,
    /// The command that caused it.
    pub command: KeyHash,
    /// The shop's order.
    pub order: Option<OrderId>,
    /// How far down the affiliate tree.
    pub level: Option<Level>,
    /// For the customer's list of operations.
    pub note: Option<Note>,
    /// Who did it, where a person did, says the publisher.
    pub actor: Option<Actor>,
    /// The broker user who published the command, where one is required.
    pub user: Option<UserId>,
    /// What the other side calls it.
    pub reference: Option<ReferenceText>,
    /// The number of the account's entry that is taken back.
    pub reverses: Option<i64>,
    /// When it happened, says the publisher.
    pub occurred_at: Timestamp,
}

impl Posting {
    /// A posting of which nothing more is known.
    pub fn new(kind: EntryKind, amount: Decimal, command: KeyHash, occurred_at: Timestamp) -> Self {
        Self {
            kind,
            amount,
            command,
            order: None,
            level: None,
            note: None,
            actor: None,
            user: None,
            reference: None,
            reverses: None,
            occurred_at,
        }
    }
}

/// A posting in its account.
#[derive(Debug, Clone)]
pub struct Entry {
    /// What was posted.
    pub posting: Posting,
    /// The account and the entry's number in it.
    pub id: EntryId,
    /// The balance after it.
    pub balance_after: Decimal,
    /// When it was posted, by the database's clock.
    pub recorded_at: Timestamp,
    /// SHA-256 over all of it and the previous entry's hash.
    pub hash: [u8; 32],
}

impl Entry {
    /// The next entry of this account, whose `balance` is the one before it.
    pub fn next(account: &Account, posting: Posting, recorded_at: Timestamp) -> Self {
        let id = EntryId { account: account.id, number: account.entries + 1 };
        let balance_after = account.balance + posting.amount;
        let previous = account.head.unwrap_or_else(|| genesis(&account.key));
        let hash = Hashed {
            previous,
            number: id.number,
            kind: posting.kind.as_str(),
            counterpart: posting.kind.counterpart(),
            amount: SignedAmount::new(posting.amount, account.key.currency),
            balance_after: SignedAmount::new(balance_after, account.key.currency),
            command: posting.command,
            order: posting.order.as_ref().map_or("", OrderId::as_str),
            level: posting.level.map_or(0, Level::get),
            note: posting.note.as_ref().map_or("", Note::as_str),
            actor: posting.actor.as_ref().map_or("", Actor::as_str),
            user: posting.user.as_ref().map_or("", UserId::as_str),
            reference: posting.reference.as_ref().map_or("", ReferenceText::as_str),
            reverses: posting.reverses.unwrap_or(0),
            occurred_at: posting.occurred_at,
            recorded_at,
        }
        .hash();
        Self { posting, id, balance_after, recorded_at, hash }
    }

    /// As events show it.
    pub fn posted(&self, key: &AccountKey) -> PostedEntry {
        PostedEntry {
            id: self.id,
            kind: self.posting.kind.as_str(),
            counterpart: self.posting.kind.counterpart(),
            amount: SignedAmount::new(self.posting.amount, key.currency),
            balance_after: SignedAmount::new(self.balance_after, key.currency),
            occurred_at: self.posting.occurred_at,
            recorded_at: self.recorded_at,
        }
    }
}

/// What stands before an account's first entry: it ties the chain to its account.
pub fn genesis(key: &AccountKey) -> [u8; 32] {
    LengthPrefixed::new()
        .part(key.merchant.as_str())
        .part(key.customer.as_str())
        .part(key.currency.code())
        .finish()
}

/// The fields an entry's hash covers. Absent texts are empty (a present one never is), an absent number is 0;
/// amounts stand at the currency's exponent, times in microseconds since 1970.
#[derive(Debug, Clone)]
pub struct Hashed<'a> {
    /// The previous entry's hash, or [`genesis`].
    pub previous: [u8; 32],
    /// The entry's number.
    pub number: i64,
    /// [`EntryKind::as_str`]
    pub kind: &'a str,
    /// [`EntryKind::counterpart`]
    pub counterpart: &'a str,
    /// What was posted.
    pub amount: SignedAmount,
    /// The balance after it.
    pub balance_after: SignedAmount,
    /// The command's key.
    pub command: KeyHash,
    /// The order, or nothing.
    pub order: &'a str,
    /// The level, or 0.
    pub level: u8,
    /// The note, or nothing.
    pub note: &'a str,
    /// The actor, or nothing.
    pub actor: &'a str,
    /// The broker user, or nothing.
    pub user: &'a str,
    /// The reference, or nothing.
    pub reference: &'a str,
    /// The number of the entry that is taken back, or 0.
    pub reverses: i64,
    /// When it happened.
    pub occurred_at: Timestamp,
    /// When it was posted.
    pub recorded_at: Timestamp,
}

impl Hashed<'_> {
    /// SHA-256 over the fields, each preceded by its length. User, reference and what is taken back come last,
    /// all three or none: entries that have none of them keep the hash they had before there were such fields.
    pub fn hash(&self) -> [u8; 32] {
        let hash = LengthPrefixed::new()
            .part(self.previous)
            .part(self.number.to_be_bytes())
            .part(self.kind)
            .part(self.counterpart)
            .part(self.amount.to_string())
            .part(self.balance_after.to_string())
            .part(self.command.0)
            .part(self.order)
            .part([self.level])
            .part(self.note)
            .part(self.actor)
            .part(self.occurred_at.as_micros().to_be_bytes())
            .part(self.recorded_at.as_micros().to_be_bytes());
        if self.user.is_empty() && self.reference.is_empty() && self.reverses == 0 {
            return hash.finish();
        }
        hash.part(self.user).part(self.reference).part(self.reverses.to_be_bytes()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The literals were computed by other means: whoever audits the chain has these bytes to agree with.
    #[test]
    fn an_entrys_hash_is_what_it_always_was() {
        let key = AccountKey {
            merchant: "acme".parse().unwrap(),
            customer: "Ännchen".parse().unwrap(),
            currency: "EUR".parse().unwrap(),
        };
        let hex = |hash: [u8; 32]| hash.map(|byte| format!("{byte:02x}")).concat();
        assert_eq!(hex(genesis(&key)), "71bd2815ef0bb5c70567155b148c0653db90d86ad3440158e101568bddf05ca3");

        let mut account = Account::new(1, key);
        let at = |time: &str| time.parse().unwrap();
        let occurred_at = at("2026-11-22T11:00:00.123456+01:00");
        let posting = Posting {
            order: Some("9001".parse().unwrap()),
            level: Some(Level::try_from(2).unwrap()),
            note: Some("Für November".parse().unwrap()),
            ..Posting::new(EntryKind::Commission, Decimal::new(125, 1), KeyHash([7; 16]), occurred_at)
        };
        let first = Entry::next(&account, posting, at("2026-11-22T10:00:01Z"));
        assert_eq!(hex(first.hash), "7b0a89225f171c8db4196175d1729aa432c3f51b79f3e1aee94d178192a643ea");

        (account.balance, account.entries, account.head) = (first.balance_after, 1, Some(first.hash));
        let (kind, amount) = (EntryKind::CommissionReversal, Decimal::new(-405, 2));
        let posting = Posting {
            actor: Some("ops@example.org".parse().unwrap()),
            ..Posting::new(kind, amount, KeyHash([8; 16]), at("1970-01-01T00:00:00Z"))
        };
        let second = Entry::next(&account, posting, at("2026-11-22T10:00:02Z"));
        assert_eq!(hex(second.hash), "7ad228f75ebe677083ab938ea8f40936b7f6cc26d4871a19056ff9a6f92ebd99");

        (account.balance, account.entries, account.head) = (second.balance_after, 2, Some(second.hash));
        let (kind, amount) = (EntryKind::AdjustmentReversal, Decimal::new(-845, 2));
        let posting = Posting {
            note: Some("Typed twice".parse().unwrap()),
            actor: Some("maria".parse().unwrap()),
            user: Some("acme_admin".parse().unwrap()),
            reference: Some("T-7".parse().unwrap()),
            reverses: Some(1),
            ..Posting::new(kind, amount, KeyHash([9; 16]), at("2026-11-22T10:00:03Z"))
        };
        let third = Entry::next(&account, posting, at("2026-11-22T10:00:03.5Z"));
        assert_eq!(hex(third.hash), "1f06a7b8b62d297a84d4504863dae9e7b71c4ebba022aac5db21cc1b8cf885c1");
    }
}
