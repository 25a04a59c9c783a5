//! Whether an account's entries are what was posted.

use contract::{Currency, KeyHash, SignedAmount};
use futures_util::{Stream, TryStreamExt};
use rust_decimal::Decimal;
use sqlx::{Connection, PgConnection};
use time::OffsetDateTime;

use super::{Result, parsed, unexpected};
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
    #[error("it stands where entry number {expected} should")]
    Number {
        /// The number that is due.
        expected: i64,
        /// The number that is there.
        found: i64,
    },
    /// The balance after an entry is not the one before it and the entry's amount.
    #[error("the balance after it is {found}; the one before it and its amount make {expected}")]
    RunningBalance {
        /// The entry.
        number: i64,
        /// The balance before it plus its amount.
        expected: Decimal,
        /// The balance after it, as recorded.
        found: Decimal,
    },
    /// An entry, or the one before it, is not what was posted.
    #[error("its hash is not that of its fields and the previous entry's hash")]
    Hash {
        /// The entry.
        number: i64,
    },
    /// The account's number of entries.
    #[error("the account says {account} entries; there are {found}")]
    Count {
        /// In the account's row.
        account: i64,
        /// Counted.
        found: i64,
    },
    /// The account's balance.
    #[error("the account's balance is {account}; its entries make {found}")]
    Balance {
        /// In the account's row.
        account: Decimal,
        /// The sum of the entries' amounts.
        found: Decimal,
    },
    /// The account's hash.
    #[error("the account's hash is not its newest entry's")]
    Head,
}

impl ChainFault {
    /// The number of the entry where it shows, if it does at one.
    pub fn number(&self) -> Option<i64> {
        match self {
            Self::Number { found: number, .. }
            | Self::RunningBalance { number, .. }
            | Self::Hash { number } => Some(*number),
            Self::NoAccount | Self::Count { .. } | Self::Balance { .. } | Self::Head => None,
        }
    }
}

/// Recomputes an account's numbers, running balance and hash chain from its entries, one after the other, and
/// compares them with each entry and with the account's row, all as of one moment.
///
/// # Errors
/// The database's.
pub async fn verify_chain(connection: &mut PgConnection, account: i64) -> Result<Chain> {
    let mut snapshot = connection.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
    let mut rows = rows(&mut snapshot, Scope::Account(account));
    let mut walk: Option<(Account, Walk)> = None;
    let mut faults = Vec::new();
    while let Some(Row { account, entry }) = rows.try_next().await? {
        let (_, walk) = if let Some(walk) = &mut walk {
            walk
        } else {
            let account = account.account()?;
            let begun = Walk::new(&account.key);
            walk.insert((account, begun))
        };
        if let Some(entry) = entry {
            walk.step(&entry, |fault| faults.push(fault));
        }
        if faults.len() >= Chain::MAX_FAULTS {
            break;
        }
    }
    drop(rows);
    snapshot.rollback().await?;
    let Some((account, walk)) = walk else {
        return Ok(Chain { owner: None, entries: 0, head: None, faults: vec![ChainFault::NoAccount] });
    };
    // A walk that was given up says nothing of the end.
    if faults.len() < Chain::MAX_FAULTS {
        walk.finish(&account, |fault| faults.push(fault));
    }
    faults.truncate(Chain::MAX_FAULTS);
    Ok(Chain { owner: Some(account.key), entries: walk.entries, head: walk.head(), faults })
}

/// Which accounts are read.
#[derive(Debug, Clone, Copy)]
pub(super) enum Scope<'a> {
    Ledger,
    Merchant(&'a str),
    Account(i64),
}

impl<'a> Scope<'a> {
    /// For statements that ask for all merchants or for one.
    pub(super) fn merchant(self) -> Option<&'a str> {
        match self {
            Self::Merchant(merchant) => Some(merchant),
            Self::Ledger | Self::Account(_) => None,
        }
    }
}

/// An account, and one of its entries if it has any.
pub(super) struct Row {
    pub(super) account: AccountFields,
    pub(super) entry: Option<EntryFields>,
}

/// An account's row, whatever somebody made of it.
pub(super) struct AccountFields {
    pub(super) id: i64,
    pub(super) merchant: String,
    pub(super) customer: String,
    pub(super) currency: String,
    pub(super) exponent: i16,
    pub(super) balance: Decimal,
    pub(super) entries: i64,
    pub(super) head: Option<Vec<u8>>,
}

/// An entry's row, whatever somebody made of it.
pub(super) struct EntryFields {
    pub(super) number: i64,
    kind: String,
    counterpart: String,
    amount: Decimal,
    pub(super) balance_after: Decimal,
    command: Vec<u8>,
    order_number: Option<String>,
    level: Option<i16>,
    note: Option<String>,
    actor: Option<String>,
    user_id: Option<String>,
    reference: Option<String>,
    reverses: Option<i64>,
    occurred_at: OffsetDateTime,
    recorded_at: OffsetDateTime,
    pub(super) hash: Vec<u8>,
}

/// Accounts by id, each once for each of its entries by number, or once if it has none. Nothing is kept but the
/// row at hand, however many there are.
pub(super) fn rows<'c>(
    snapshot: &'c mut PgConnection,
    scope: Scope<'_>,
) -> impl Stream<Item = Result<Row>> + use<'c> {
    let account = match scope {
        Scope::Account(account) => Some(account),
        Scope::Ledger | Scope::Merchant(_) => None,
    };
    sqlx::query_as!(
        JoinedRow,
        r#"SELECT a.id, a.merchant, a.customer, a.currency, a.exponent, a.balance, a.entries, a.head,
                  e.number AS "number?", e.kind AS "kind?", e.counterpart AS "counterpart?", e.amount AS "amount?",
                  e.balance_after AS "balance_after?", e.command AS "command?", e.order_number, e.level, e.note,
                  e.actor, e.user_id, e.reference, e.reverses, e.occurred_at AS "occurred_at?",
                  e.recorded_at AS "recorded_at?", e.hash AS "hash?"
           FROM account a LEFT JOIN entry e ON e.account_id = a.id
           WHERE ($1::text IS NULL OR a.merchant = $1) AND ($2::bigint IS NULL OR a.id = $2)
           ORDER BY a.id, e.number"#,
        scope.merchant(),
        account,
    )
    .fetch(snapshot)
    .map_ok(Row::from)
}

struct JoinedRow {
    id: i64,
    merchant: String,
    customer: String,
    currency: String,
    exponent: i16,
    balance: Decimal,
    entries: i64,
    head: Option<Vec<u8>>,
    number: Option<i64>,
    kind: Option<String>,
    counterpart: Option<String>,
    amount: Option<Decimal>,
    balance_after: Option<Decimal>,
    command: Option<Vec<u8>>,
    order_number: Option<String>,
    level: Option<i16>,
    note: Option<String>,
    actor: Option<String>,
    user_id: Option<String>,
    reference: Option<String>,
    reverses: Option<i64>,
    occurred_at: Option<OffsetDateTime>,
    recorded_at: Option<OffsetDateTime>,
    hash: Option<Vec<u8>>,
}

impl From<JoinedRow> for Row {
    fn from(row: JoinedRow) -> Self {
        let JoinedRow { id, merchant, customer, currency, exponent, balance, entries, head, .. } = row;
        let account = AccountFields { id, merchant, customer, currency, exponent, balance, entries, head };
        // The columns that no entry is without are there together or, without an entry, none is.
        let entry = (|| {
            Some(EntryFields {
                number: row.number?,
                kind: row.kind?,
                counterpart: row.counterpart?,
                amount: row.amount?,
                balance_after: row.balance_after?,
                command: row.command?,
                order_number: row.order_number,
                level: row.level,
                note: row.note,
                actor: row.actor,
                user_id: row.user_id,
                reference: row.reference,
                reverses: row.reverses,
                occurred_at: row.occurred_at?,
                recorded_at: row.recorded_at?,
                hash: row.hash?,
            })
        })();
        Self { account, entry }
    }
}

impl AccountFields {
    /// The account, with nothing held or pending, which its entries do not say.
    ///
    /// # Errors
    /// It is none that Saldo writes.
    pub(super) fn account(&self) -> Result<Account> {
        let key = AccountKey {
            merchant: parsed("account.merchant", &self.merchant)?,
            customer: parsed("account.customer", &self.customer)?,
            currency: parsed("account.currency", &self.currency)?,
        };
        let head = self.head.as_deref().map(<[u8; 32]>::try_from).transpose();
        let head = head.map_err(|_| unexpected("account.head has another length than a hash"))?;
        Ok(Account { balance: self.balance, entries: self.entries, head, ..Account::new(self.id, key) })
    }
}

impl EntryFields {
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

/// As people write it; never rounded, whatever somebody made of it.
pub(super) fn shown(amount: Decimal, currency: Currency) -> Decimal {
    let mut amount = amount.normalize();
    if amount.scale() < currency.exponent() {
        amount.rescale(currency.exponent());
    }
    amount
}

/// Where the walk along an account's entries is.
pub(super) struct Walk {
    currency: Currency,
    entries: i64,
    last_number: i64,
    sum: Decimal,
    balance: Decimal,
    head: [u8; 32],
}

impl Walk {
    pub(super) fn new(owner: &AccountKey) -> Self {
        Self {
            currency: owner.currency,
            entries: 0,
            last_number: 0,
            sum: Decimal::ZERO,
            balance: Decimal::ZERO,
            head: genesis(owner),
        }
    }

    /// Goes on from what is recorded, so that one changed entry is not reported once for each after it.
    pub(super) fn step(&mut self, row: &EntryFields, mut fault: impl FnMut(ChainFault)) {
        let number = row.number;
        if number != self.last_number + 1 {
            fault(ChainFault::Number { expected: self.last_number + 1, found: number });
        }
        // Far beyond what the column holds: never saturates.
        let expected = self.balance.saturating_add(row.amount);
        if expected != row.balance_after {
            let [expected, found] = [expected, row.balance_after].map(|amount| shown(amount, self.currency));
            fault(ChainFault::RunningBalance { number, expected, found });
        }
        let recorded = <[u8; 32]>::try_from(row.hash.as_slice()).unwrap_or_default();
        if row.hash(self.head, self.currency) != Some(recorded) {
            fault(ChainFault::Hash { number });
        }
        self.entries += 1;
        self.last_number = number;
        self.sum = self.sum.saturating_add(row.amount);
        self.balance = row.balance_after;
        self.head = recorded;
    }

    /// Compares with the account's row.
    pub(super) fn finish(&self, account: &Account, mut fault: impl FnMut(ChainFault)) {
        if account.entries != self.entries {
            fault(ChainFault::Count { account: account.entries, found: self.entries });
        }
        if account.balance != self.sum {
            let [account, found] = [account.balance, self.sum].map(|amount| shown(amount, self.currency));
            fault(ChainFault::Balance { account, found });
        }
        if account.head != self.head() {
            fault(ChainFault::Head);
        }
    }

    fn head(&self) -> Option<[u8; 32]> {
        (self.entries > 0).then_some(self.head)
    }
}
