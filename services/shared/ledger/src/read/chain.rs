//! Whether an account's entries are what was posted.

use contract::{Currency, KeyHash, SignedAmount};
use futures_util::TryStreamExt;
use rust_decimal::Decimal;
use sqlx::{Connection, PgConnection};

use super::{AccountRow, Result};
use crate::entry::{Hashed, genesis};
use crate::{Account, AccountKey};

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chain {
    /// Whose account it is; `None` if there is no such account.
    pub owner: Option<AccountKey>,
    /// How many entries were read.
    pub entries: i64,
    /// The newest entry's hash, as recorded.
    pub head: Option<[u8; 32]>,
    /// What is wrong, in the order of the entries; at most [`Chain::MAX_FAULTS`].
    pub faults: Vec<ChainFault>,
}

impl Chain {
    /// Reading on would add nothing: one changed entry alone explains no more than a few.
    pub const MAX_FAULTS: usize = 20;
}

/// Something that Saldo never writes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChainFault {
    /// There is no such account.
    #[error("there is no such account")]
    NoAccount,
    /// An entry is missing, or one too many.
    #[error("entry {found} stands where entry {expected} should")]
    Number {
        /// The number that is due.
        expected: i64,
        /// The number that is there.
        found: i64,
    },
    /// The balance after an entry is not the one before it and the entry's amount.
    #[error("entry {number}: the balance after it is not the one before it plus its amount")]
    RunningBalance {
        /// The entry.
        number: i64,
    },
    /// An entry, or the one before it, is not what was posted.
    #[error("entry {number}: its hash is not that of its fields and the previous entry's hash")]
    Hash {
        /// The entry.
        number: i64,
    },
    /// The account's number of entries.
    #[error("the account says {account} entries, there are {found}")]
    Count {
        /// In the account's row.
        account: i64,
        /// Counted.
        found: i64,
    },
    /// The account's balance.
    #[error("the account's balance is not the sum of its entries")]
    Balance,
    /// The account's hash.
    #[error("the account's hash is not the newest entry's")]
    Head,
}

/// Recomputes an account's numbers, running balance and hash chain from its entries, one after the other, and
/// compares them with each entry and with the account's row, all as of one moment.
///
/// # Errors
/// The database's.
pub async fn verify_chain(connection: &mut PgConnection, account: i64) -> Result<Chain> {
    let mut snapshot = connection.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
    let row = sqlx::query_as!(
        AccountRow,
        "SELECT id, merchant, customer, currency, balance, held, pending, version, entries, head
         FROM account WHERE id = $1",
        account,
    )
    .fetch_optional(&mut *snapshot)
    .await?;
    let Some(account) = row.map(Account::try_from).transpose()? else {
        return Ok(Chain { owner: None, entries: 0, head: None, faults: vec![ChainFault::NoAccount] });
    };
    let mut walk = Walk::new(&account);
    let mut rows = sqlx::query_as!(
        Row,
        "SELECT number, kind, counterpart, amount, balance_after, command, order_number, level, note, actor,
                user_id, reference, reverses, occurred_at, recorded_at, hash
         FROM entry WHERE account_id = $1 ORDER BY number",
        account.id,
    )
    .fetch(&mut *snapshot);
    while let Some(row) = rows.try_next().await? {
        walk.step(&row);
        if walk.faults.len() >= Chain::MAX_FAULTS {
            break;
        }
    }
    drop(rows);
    snapshot.rollback().await?;
    Ok(walk.finish(account))
}

struct Row {
    number: i64,
    kind: String,
    counterpart: String,
    amount: Decimal,
    balance_after: Decimal,
    command: Vec<u8>,
    order_number: Option<String>,
    level: Option<i16>,
    note: Option<String>,
    actor: Option<String>,
    user_id: Option<String>,
    reference: Option<String>,
    reverses: Option<i64>,
    occurred_at: time::OffsetDateTime,
    recorded_at: time::OffsetDateTime,
    hash: Vec<u8>,
}

impl Row {
    /// The hash that the fields have; `None` if they cannot be an entry's at all.
    fn hash(&self, previous: [u8; 32], currency: Currency) -> Option<[u8; 32]> {
        let exact = |amount: Decimal| {
            (amount.normalize().scale() <= currency.exponent()).then(|| SignedAmount::new(amount, currency))
        };
        let hashed = Hashed {
            previous,
            number: self.number,
            kind: &self.kind,
            counterpart: &self.counterpart,
            amount: exact(self.amount)?,
            balance_after: exact(self.balance_after)?,
            command: KeyHash(self.command.as_slice().try_into().ok()?),
            order: self.order_number.as_deref().unwrap_or(""),
            level: u8::try_from(self.level.unwrap_or(0)).ok()?,
            note: self.note.as_deref().unwrap_or(""),
            actor: self.actor.as_deref().unwrap_or(""),
            user: self.user_id.as_deref().unwrap_or(""),
            reference: self.reference.as_deref().unwrap_or(""),
            reverses: self.reverses.unwrap_or(0),
            occurred_at: self.occurred_at.into(),
            recorded_at: self.recorded_at.into(),
        };
        Some(hashed.hash())
    }
}

/// Where the walk along the entries is.
struct Walk {
    currency: Currency,
    entries: i64,
    last_number: i64,
    balance: Decimal,
    head: [u8; 32],
    faults: Vec<ChainFault>,
}

impl Walk {
    fn new(account: &Account) -> Self {
        Self {
            currency: account.key.currency,
            entries: 0,
            last_number: 0,
            balance: Decimal::ZERO,
            head: genesis(&account.key),
            faults: Vec::new(),
        }
    }

    /// Goes on from what is recorded, so that one changed entry is not reported once for each after it.
    fn step(&mut self, row: &Row) {
        let number = row.number;
        if number != self.last_number + 1 {
            self.faults.push(ChainFault::Number { expected: self.last_number + 1, found: number });
        }
        if self.balance.checked_add(row.amount) != Some(row.balance_after) {
            self.faults.push(ChainFault::RunningBalance { number });
        }
        let recorded = <[u8; 32]>::try_from(row.hash.as_slice()).unwrap_or_default();
        if row.hash(self.head, self.currency) != Some(recorded) {
            self.faults.push(ChainFault::Hash { number });
        }
        self.entries += 1;
        self.last_number = number;
        self.balance = row.balance_after;
        self.head = recorded;
    }

    fn finish(self, account: Account) -> Chain {
        let Self { entries, balance, mut faults, .. } = self;
        let head = (entries > 0).then_some(self.head);
        // A walk that was given up says nothing of the end.
        if faults.len() < Chain::MAX_FAULTS {
            if account.entries != entries {
                faults.push(ChainFault::Count { account: account.entries, found: entries });
            }
            if account.balance != balance {
                faults.push(ChainFault::Balance);
            }
            if account.head != head {
                faults.push(ChainFault::Head);
            }
        }
        Chain { owner: Some(account.key), entries, head, faults }
    }
}
