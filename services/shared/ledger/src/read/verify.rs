//! Whether the whole ledger holds.
//!
//! **Promise.** All of it is looked at as of one moment, which no worker notices. What every account's entries say of
//! themselves ([`super::verify_chain`]) is computed here from one stream of rows; what belongs together across
//! tables ([`relations`]) the database compares, and sends only what differs. Memory is a row, and at most
//! [`Verification::MAX_FAULTS`] faults of each kind, whatever the size of the ledger.
//!
//! | holds | because otherwise |
//! |---|---|
//! | numbers, running balances, hash chain; the account's balance, count and hash | an entry was changed, removed, added or moved |
//! | held = open withdrawals; pending = commissions in their hold period | money could be promised twice |
//! | what a reversal takes back; what paid a withdrawal; a withdrawal's transitions | an effect has no cause, or two |
//! | entries and the commands that are recorded as decided with them name each other | so has an effect |
//! | trial balance; balances and entries make the same totals | an account is missing |
//! | the heads of an anchor | nobody can tell from the tables alone that the newest entries were removed, their commands with them |

mod anchor;
mod relations;

use std::fmt;
use std::io;

use contract::{EntryId, MerchantId, Timestamp};
use futures_util::TryStreamExt;
use serde::Serialize;
use sqlx::{Connection, PgConnection};

use super::chain::{self, AccountFields, EntryFields, Row, Scope, Walk};
use super::{ChainFault, Result};
use crate::Account;

use anchor::{Anchor, Sight};
pub use anchor::{Head, HeadFault};

/// Something that does not hold, and where.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// What was looked at.
    pub check: Check,
    /// Whose it is.
    pub merchant: Option<String>,
    /// Whose it is.
    pub customer: Option<String>,
    /// Of which of the customer's accounts.
    pub currency: Option<String>,
    /// That account's number.
    pub account: Option<i64>,
    /// The entry.
    pub entry: Option<EntryId>,
    /// The withdrawal's id.
    pub withdrawal: Option<String>,
    /// What was found and what was expected, for people.
    pub message: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, place) in [
            ("merchant", &self.merchant),
            ("customer", &self.customer),
            ("currency", &self.currency),
            ("withdrawal", &self.withdrawal),
        ] {
            if let Some(place) = place {
                write!(f, "{name} {place}, ")?;
            }
        }
        match (self.entry, self.account) {
            (Some(entry), _) => write!(f, "entry {entry}: {}", self.message),
            (None, Some(account)) => write!(f, "account {account}: {}", self.message),
            (None, None) => write!(f, "{}", self.message),
        }
    }
}

/// What is looked at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Check {
    /// The account's row can be understood.
    #[default]
    Account,
    /// Entries are numbered from 1 without gaps.
    Number,
    /// The balance after each entry is the one before it plus its amount.
    RunningBalance,
    /// Each entry's hash.
    Hash,
    /// The account's number of entries.
    Count,
    /// The account's balance is the sum of its entries.
    Balance,
    /// The account's hash is the newest entry's.
    Head,
    /// An anchored head is still there.
    Anchor,
    /// Each entry belongs to an account.
    Owner,
    /// What is held is what open withdrawals ask for.
    Held,
    /// What is pending are the commissions in their hold period.
    Pending,
    /// A reversal takes back an adjustment, wholly and once.
    Reversal,
    /// A withdrawal's state, payout method and transitions.
    Withdrawal,
    /// A withdrawal that is paid has its entry, and such an entry its withdrawal.
    Payment,
    /// An entry and its command name each other.
    Command,
    /// Trial balance and totals.
    Total,
}

impl Check {
    /// All of them.
    pub const ALL: [Self; 16] = [
        Self::Account,
        Self::Number,
        Self::RunningBalance,
        Self::Hash,
        Self::Count,
        Self::Balance,
        Self::Head,
        Self::Anchor,
        Self::Owner,
        Self::Held,
        Self::Pending,
        Self::Reversal,
        Self::Withdrawal,
        Self::Payment,
        Self::Command,
        Self::Total,
    ];
}

impl From<&ChainFault> for Check {
    fn from(fault: &ChainFault) -> Self {
        match fault {
            ChainFault::NoAccount => Self::Owner,
            ChainFault::Number { .. } => Self::Number,
            ChainFault::RunningBalance { .. } => Self::RunningBalance,
            ChainFault::Hash { .. } => Self::Hash,
            ChainFault::Count { .. } => Self::Count,
            ChainFault::Balance { .. } => Self::Balance,
            ChainFault::Head => Self::Head,
        }
    }
}

/// What is going to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// The moment as of which everything is looked at, by the database's clock.
    pub moment: Timestamp,
    /// Accounts.
    pub accounts: i64,
    /// Entries, as the accounts count them.
    pub entries: i64,
}

/// Sees what is read while it is.
pub trait Observer {
    /// Before anything else.
    ///
    /// # Errors
    /// It has nowhere to write that; nothing is read then.
    fn begins(&mut self, extent: Extent) -> io::Result<()>;

    /// So many entries have been read. Said now and then.
    fn has_read(&mut self, entries: u64);

    /// An account as its entries leave it, accounts by number: a line of a later anchor.
    ///
    /// # Errors
    /// It has nowhere to write that; nothing more is read then.
    fn head(&mut self, head: &Head) -> io::Result<()>;

    /// All entries have been read; what remains to be compared, the database compares.
    fn compares(&mut self);
}

/// Nobody watches.
impl Observer for () {
    fn begins(&mut self, _: Extent) -> io::Result<()> {
        Ok(())
    }

    fn has_read(&mut self, _: u64) {}

    fn head(&mut self, _: &Head) -> io::Result<()> {
        Ok(())
    }

    fn compares(&mut self) {}
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verification {
    /// The moment as of which everything was looked at, by the database's clock.
    pub moment: Timestamp,
    /// Accounts that were read.
    pub accounts: u64,
    /// Entries that were read.
    pub entries: u64,
    /// Lines of the anchor that were compared; `None`: there was no anchor.
    pub anchored: Option<u64>,
    /// What does not hold, at most [`Self::MAX_FAULTS`] of each kind.
    pub faults: Vec<Fault>,
    /// How many more faults there are.
    pub more: u64,
}

impl Verification {
    /// So many faults of one kind say what kind of thing has happened.
    pub const MAX_FAULTS: usize = 20;

    /// Whether all of it holds.
    pub fn holds(&self) -> bool {
        self.faults.is_empty()
    }
}

/// Why the ledger could not be looked at. That something does not hold is no such error.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The database's.
    #[error("the ledger cannot be read")]
    Database(#[from] sqlx::Error),
    /// The anchor's.
    #[error("the anchor cannot be read")]
    Anchor(#[source] io::Error),
    /// The observer's.
    #[error("the accounts' heads cannot be written")]
    Heads(#[source] io::Error),
}

/// The lines of an anchor.
pub type Heads<'a> = &'a mut dyn Iterator<Item = io::Result<Head>>;

/// Verifies the whole ledger, or one merchant's part of it, and compares it with an anchor if there is one. Of that,
/// lines of other merchants are passed over.
///
/// Reads as long as it takes: the connection must not cancel its statements early.
///
/// # Errors
/// It could not be read, or the anchor, or the observer gave up.
pub async fn verify(
    connection: &mut PgConnection,
    merchant: Option<&MerchantId>,
    anchor: Option<Heads<'_>>,
    observer: &mut impl Observer,
) -> std::result::Result<Verification, VerifyError> {
    let scope = merchant.map_or(Scope::Ledger, |merchant| Scope::Merchant(merchant.as_str()));
    let mut snapshot = connection.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
    let extent = extent(&mut snapshot, scope).await?;
    observer.begins(extent).map_err(VerifyError::Heads)?;

    let mut faults = Faults::default();
    let mut anchor = anchor.map(|lines| Anchor::new(lines, merchant));
    let (accounts, entries) = accounts(&mut snapshot, scope, anchor.as_mut(), observer, &mut faults).await?;
    observer.compares();
    relations::compare(&mut snapshot, scope, &mut faults).await?;
    snapshot.rollback().await?;

    let anchored = anchor.map(|anchor| anchor.compared());
    let Faults { list: faults, more } = faults;
    Ok(Verification { moment: extent.moment, accounts, entries, anchored, faults, more })
}

async fn extent(snapshot: &mut PgConnection, scope: Scope<'_>) -> Result<Extent> {
    let row = sqlx::query!(
        r#"SELECT now() AS "moment!", count(*) AS "accounts!", coalesce(sum(entries), 0)::bigint AS "entries!"
           FROM account WHERE $1::text IS NULL OR merchant = $1"#,
        scope.merchant(),
    )
    .fetch_one(snapshot)
    .await?;
    Ok(Extent { moment: row.moment.into(), accounts: row.accounts, entries: row.entries })
}

/// Everything that an account's own rows say, account by account; how many there were, and entries.
async fn accounts(
    snapshot: &mut PgConnection,
    scope: Scope<'_>,
    mut anchor: Option<&mut Anchor<'_>>,
    observer: &mut impl Observer,
    faults: &mut Faults,
) -> std::result::Result<(u64, u64), VerifyError> {
    /// Often enough for a progress bar, too seldom to cost anything.
    const SAID_EVERY: u64 = 1000;

    let (mut accounts, mut entries) = (0, 0);
    let mut current: Option<Visit> = None;
    let mut rows = chain::rows(snapshot, scope);
    loop {
        let row = rows.try_next().await?;
        let next = row.as_ref().map(|row| row.account.id);
        if let Some(visit) = current.take_if(|visit| Some(visit.fields.id) != next) {
            visit.end(observer, faults)?;
        }
        let Some(Row { account, entry }) = row else { break };
        let visit = if let Some(visit) = &mut current {
            visit
        } else {
            accounts += 1;
            let sight = match &mut anchor {
                Some(anchor) => anchor.reach(&account, faults)?,
                None => Sight::default(),
            };
            current.insert(Visit::begin(account, sight, faults))
        };
        if let Some(entry) = entry {
            visit.entry(&entry, faults);
            entries += 1;
            if entries % SAID_EVERY == 0 {
                observer.has_read(entries);
            }
        }
    }
    observer.has_read(entries);
    if let Some(anchor) = anchor {
        anchor.finish(faults)?;
    }
    Ok((accounts, entries))
}

/// An account while its entries pass by.
struct Visit {
    fields: AccountFields,
    /// The account and how far its chain holds; `None`: the row cannot be an account's.
    account: Option<(Account, Walk)>,
    sight: Sight,
}

impl Visit {
    fn begin(fields: AccountFields, sight: Sight, faults: &mut Faults) -> Self {
        let account = match fields.account() {
            Ok(account) => Some(account),
            Err(error) => {
                let what = std::error::Error::source(&error).map_or_else(String::new, ToString::to_string);
                faults.add(fields.fault(Check::Account, what));
                None
            }
        };
        if let Some(exponent) = account.as_ref().map(|account| account.key.currency.exponent())
            && u32::try_from(fields.exponent) != Ok(exponent)
        {
            let found = fields.exponent;
            let what = format!("it says that its currency has {found} decimals; it has {exponent}");
            faults.add(fields.fault(Check::Account, what));
        }
        let account = account.map(|account| {
            let walk = Walk::new(&account.key);
            (account, walk)
        });
        Self { fields, account, sight }
    }

    fn entry(&mut self, entry: &EntryFields, faults: &mut Faults) {
        if let Some((_, walk)) = &mut self.account {
            walk.step(entry, |fault| faults.add(self.fields.chain_fault(&fault)));
        }
        self.sight.entry(&self.fields, entry, faults);
    }

    fn end(self, observer: &mut impl Observer, faults: &mut Faults) -> std::result::Result<(), VerifyError> {
        self.sight.end(&self.fields, faults);
        let Some((account, walk)) = self.account else { return Ok(()) };
        walk.finish(&account, |fault| faults.add(self.fields.chain_fault(&fault)));
        observer.head(&Head::of(&account)).map_err(VerifyError::Heads)
    }
}

impl AccountFields {
    fn fault(&self, check: Check, message: impl Into<String>) -> Fault {
        Fault {
            check,
            merchant: Some(self.merchant.clone()),
            customer: Some(self.customer.clone()),
            currency: Some(self.currency.clone()),
            account: Some(self.id),
            message: message.into(),
            ..Fault::default()
        }
    }

    fn chain_fault(&self, fault: &ChainFault) -> Fault {
        let entry = fault.number().map(|number| EntryId { account: self.id, number });
        Fault { entry, ..self.fault(fault.into(), fault.to_string()) }
    }
}

/// Faults, as many as are told.
#[derive(Debug, Default)]
struct Faults {
    list: Vec<Fault>,
    more: u64,
}

impl Faults {
    fn add(&mut self, fault: Fault) {
        if self.list.iter().filter(|known| known.check == fault.check).count() < Verification::MAX_FAULTS {
            self.list.push(fault);
        } else {
            self.more += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_one_kind_hides_no_other() {
        let mut faults = Faults::default();
        let fault = |check| Fault { check, ..Fault::default() };
        for _ in 0..1000 {
            faults.add(fault(Check::Hash));
        }
        faults.add(fault(Check::Held));
        assert_eq!(faults.list.len(), Verification::MAX_FAULTS + 1);
        assert_eq!(faults.list.last().map(|fault| fault.check), Some(Check::Held));
        assert_eq!(faults.more, 980);
    }

    #[test]
    fn a_fault_says_where_it_is() {
        let fault = Fault {
            check: Check::Hash,
            merchant: Some("acme".to_owned()),
            customer: Some("c-17".to_owned()),
            currency: Some("EUR".to_owned()),
            account: Some(4),
            entry: Some(EntryId { account: 4, number: 2 }),
            withdrawal: None,
            message: ChainFault::Hash { number: 2 }.to_string(),
        };
        assert_eq!(
            fault.to_string(),
            "merchant acme, customer c-17, currency EUR, entry 4-2: its hash is not that of its fields and the \
             previous entry's hash"
        );
    }
}
