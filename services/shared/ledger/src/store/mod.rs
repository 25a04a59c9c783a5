//! The batch store: one batch of commands, one transaction, a few set-wise statements.
//!
//! **Promise.** After [`Store::carry_out`] returns `Ok`, every command of the batch is decided (or parked)
//! and its outcome is durable together with its effect. After an `Err`, none is, or all are and the answer
//! to COMMIT was lost; deciding the same batch again is right in either case.
//!
//! | step | statement | why there |
//! |---|---|---|
//! | ask | inbox, for the items' keys | only while repeats are about (below); before any lock, to hold them for less |
//! | lock | accounts, found by whose they are, by number, ascending, always | whoever holds one only ever waits for a higher one |
//! | resolve | where one of them is missing, or a command names something: begun anew, accounts found by their keys and by what is named, missing customers, then accounts, created in key order, then all locked as above | whoever creates holds no lock yet, so that creators can only wait for creators |
//! | lock | merchants and customers that are to change, in key order | after the accounts |
//! | read | clock and merchants; customers; what is named; waiting (taken) | statements of their own, begun after the lock wait, see what the other side committed |
//! | decide | in memory, part by part; the entries of a part are written while the next is decided | [`crate::decide`]: others wait for the locks |
//! | write | batch, the other entries, accounts, commissions, withdrawals, merchants, customers, payout methods, inbox by key, waiting | inbox, new merchants and new customers without ON CONFLICT: a unique violation means that a command is recorded, or another lane was faster |
//!
//! **Repeats.** That no command is carried out twice is the unique key's doing alone: whatever a batch decides of a command
//! that is recorded already, its row is refused, and nothing of the batch stays. Asking the inbox first only saves that
//! detour. Commands are hardly ever repeated, and then in company (what a lost session had not acked, what a publisher sends
//! once more), so a store asks for its first batches, and again for some after every repeat; otherwise it trusts that all is
//! new. Where that, or what was asked before the locks, turns out wrong, the batch has lost a race: it asks before its locks
//! and once more when it has them. So it does not lose again to whoever was before it in the queue, and what fails then
//! fails by its own fault. One that time has caused, of which another process may be just as sure, asks twice at once.
//!
//! **Bounds.** Memory is the batch's commands, at most 500 that waited for them, the rows they touch, and their
//! outcomes. The server cancels a statement after `statement_timeout`; [`Settings::timeout`] bounds the whole
//! batch from outside.
//!
//! **A crash** before COMMIT leaves nothing. After it, the `batch` row says that the events may not have been
//! published: the commands' redelivery finds the outcomes in the inbox, and the [sweep](Store::unpublished)
//! finds the batch.

mod directory;
mod due;
pub(crate) mod load;
mod named;
mod settings;
mod steps;
mod sweep;
mod waiting;
mod withdrawals;
pub(crate) mod write;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use contract::{Event, KeyHash};
use sqlx::{Connection, PgConnection, PgTransaction};

pub use due::ParkedDue;
pub use settings::Settings;
pub use steps::{Step, Steps};
pub use sweep::Unpublished;

use crate::decide::{Deciding, Item, ItemOrigin, Plan, Stored, Verdict};
use crate::store::steps::Stopwatch;
use crate::tally::Tally;
use crate::{Account, Awaited, Books, Failure, Rules, schema};

/// All that a store asks for, it asks for by a key that has an index. A plan is kept for as long as its connection: one made
/// while a table was all but empty would read it as a whole ever after, for every batch, until Postgres happens to look at
/// the table's statistics anew.
const BY_INDEX: [(&str, &str); 3] =
    [("enable_seqscan", "off"), ("enable_hashjoin", "off"), ("enable_mergejoin", "off")];

/// So many commands are decided before their entries are written, while the next are decided: few enough that most of a full
/// batch is decided meanwhile, many enough that a statement for each is nothing.
const PART: usize = 250;

/// The transaction that decided a batch, as the `batch` table numbers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchId(pub i64);

/// What became of a batch.
#[derive(Debug, Default)]
pub struct Settled {
    /// The transaction; `None` where nothing had to be written.
    pub batch: Option<BatchId>,
    /// One for each command, in their order; parked ones that another scan took meanwhile are left out.
    pub verdicts: Vec<Verdict>,
    /// What to publish before anything is acked.
    pub events: Vec<Event>,
    /// Whether a merchant or customer became known: what is parked for it can be decided.
    pub arrivals: bool,
    /// What became of the commands.
    pub tally: Tally,
    /// How long each step took; `None`: nothing was written, or it was no batch of commands.
    pub steps: Option<Steps>,
}

/// Whether what waited for a command is decided together with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waiters {
    /// It is.
    Taken,
    /// It is left to a scan: one of them may be what made the command fail.
    Left,
}

/// Whether a batch asks the inbox what it has of its items.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ask {
    /// They are taken to be new.
    Not,
    /// Before any lock.
    Early,
    /// Once more when the locks are held: then nothing changes any more.
    Twice,
}

/// A dedicated connection to the ledger. Not shared: a lane has its own.
#[derive(Debug)]
pub struct Store {
    connection: PgConnection,
    /// Whether the last batch failed for a race, or for a culprit.
    raced: bool,
    /// So many batches ask the inbox after a repeat.
    doubting: u32,
    /// So many of the next ones still do.
    doubted: u32,
}

impl Store {
    /// Connects. Does not look at the schema; see [`crate::schema::check`].
    ///
    /// # Errors
    /// The database cannot be reached or refuses the login.
    pub async fn connect(settings: &Settings) -> Result<Self, Failure> {
        let options = settings.options().clone().options(BY_INDEX);
        let connection = PgConnection::connect_with(&options).await?;
        let doubting = settings.doubting;
        Ok(Self { connection, raced: false, doubting, doubted: doubting })
    }

    /// Connects to a ledger with the schema that this program is written for.
    ///
    /// # Errors
    /// As [`Self::connect`]'s, or the schema is another one.
    pub async fn open(settings: &Settings) -> Result<Self, Failure> {
        let mut store = Self::connect(settings).await?;
        schema::check(store.connection())
            .await
            .map_err(|mismatch| Failure::Infrastructure { state: mismatch.to_string(), lost: true })?;
        Ok(store)
    }

    /// The connection, for checks.
    pub fn connection(&mut self) -> &mut PgConnection {
        &mut self.connection
    }

    /// Decides a batch and commits what follows; `published` are earlier batches whose events are out.
    ///
    /// # Errors
    /// See [`Failure`]. The connection is usable again unless it says `lost`.
    pub async fn carry_out<R: Rules>(
        &mut self,
        rules: &R,
        items: &[Arc<Item<R::Command>>],
        waiters: Waiters,
        published: &[BatchId],
    ) -> Result<Settled, Failure> {
        let ask = self.ask(items);
        let settled = match self.try_to_carry_out(rules, items, waiters, published, ask).await {
            // Rows that are written before the inbox can contradict what is there of a repeat.
            Err(Failure::Culprit { .. }) if ask != Ask::Twice => Err(Failure::Raced),
            settled => settled,
        };
        if matches!(settled, Err(Failure::Raced)) {
            self.doubted = self.doubting;
        }
        // Its culprit is looked for in its halves, which then need not lose a race first.
        self.raced = matches!(settled, Err(Failure::Raced | Failure::Culprit { .. }));
        settled
    }

    fn ask<C>(&self, items: &[Arc<Item<C>>]) -> Ask {
        let any = |is: fn(ItemOrigin) -> bool| items.iter().any(|item| is(item.origin));
        if self.raced || any(|origin| origin == ItemOrigin::Due) {
            Ask::Twice
        } else if self.doubted > 0 || any(|origin| origin != ItemOrigin::Delivered) {
            Ask::Early
        } else {
            Ask::Not
        }
    }

    async fn try_to_carry_out<R: Rules>(
        &mut self,
        rules: &R,
        items: &[Arc<Item<R::Command>>],
        waiters: Waiters,
        published: &[BatchId],
        ask: Ask,
    ) -> Result<Settled, Failure> {
        let needs = load::Needed::of(rules, items);
        let mut watch = Stopwatch::start();
        let mut transaction = self.connection.begin().await?;
        let mut stored = HashMap::new();
        if ask != Ask::Not {
            stored = load::inbox(&mut transaction, items).await?;
            self.doubted = if stored.is_empty() { self.doubted.saturating_sub(1) } else { self.doubting };
        }
        watch.done(Step::Ask);
        let mut known = None;
        if needs.only_accounts() {
            known = load::lock_known(&mut transaction, &needs).await?;
            if known.is_none() {
                transaction.rollback().await?;
                transaction = self.connection.begin().await?;
            }
        }
        let (accounts, created) = match known {
            Some(accounts) => (accounts, false),
            None => load::resolve_and_lock(&mut transaction, &needs, &stored).await?,
        };
        if ask == Ask::Twice {
            let now = load::inbox(&mut transaction, items).await?;
            if created && now.len() > stored.len() {
                // What was created for one that is recorded by now must not stay.
                return Err(Failure::Raced);
            }
            stored = now;
        }
        watch.done(Step::Lock);
        let (books, items, waiters) =
            read(&mut transaction, rules, items, waiters, &needs, &stored, accounts).await?;
        watch.done(Step::Read);
        let deciding = Deciding::new(rules, books, &stored, waiters);
        let (plan, entries) = decide(&mut transaction, deciding, &items).await?;
        watch.done(Step::Decide);
        let batch = if plan.records.is_empty() {
            transaction.rollback().await?;
            None
        } else {
            let id = write::batch(&mut transaction, R::WORKER, published).await?;
            write::plan(&mut transaction, rules, id, &plan, entries).await?;
            watch.done(Step::Write);
            transaction.commit().await?;
            Some(id)
        };
        watch.done(Step::Commit);
        let Plan { verdicts, events, arrivals, tally, .. } = plan;
        Ok(Settled { batch, verdicts, events, arrivals, tally, steps: batch.map(|_| watch.steps()) })
    }

    /// Marks batches whose events are out; otherwise done by the next batch.
    ///
    /// # Errors
    /// The database's; they stay unmarked, and the sweep publishes them once more.
    pub async fn mark_published(&mut self, batches: &[BatchId]) -> Result<(), Failure> {
        let ids: Vec<i64> = batches.iter().map(|batch| batch.0).collect();
        sqlx::query!("UPDATE batch SET published_at = clock_timestamp() WHERE id = ANY($1)", &ids)
            .execute(&mut self.connection)
            .await?;
        Ok(())
    }
}

/// What is to be decided, and against what: the books, the items that are still ours, and what waited for them.
type Read<C> = (Books, Vec<Arc<Item<C>>>, Vec<(Awaited, Arc<Item<C>>)>);

/// Everything from the locks on the accounts to the decision.
async fn read<R: Rules>(
    transaction: &mut PgTransaction<'_>,
    rules: &R,
    items: &[Arc<Item<R::Command>>],
    waiters: Waiters,
    needs: &load::Needed,
    stored: &HashMap<KeyHash, Stored>,
    accounts: Vec<Account>,
) -> Result<Read<R::Command>, Failure> {
    let locked = directory::lock(transaction, needs).await?;
    let (now, merchants) = directory::merchants(transaction, needs, &locked, R::PREFERENCES).await?;
    let mut books = Books::new(R::WORKER, now);
    for merchant in merchants {
        books.load_merchant(merchant);
    }
    for account in accounts {
        books.load_account(account);
    }
    for customer in directory::customers(transaction, needs, &locked).await? {
        books.load_customer(customer);
    }
    named::named(transaction, needs, &mut books).await?;
    let (taken, waiters) = waiting::take(transaction, rules, items, stored, waiters).await?;
    let items = items.iter().filter(|item| still_ours(item, &taken)).cloned().collect();
    Ok((books, items, waiters))
}

/// Decides the items, and has the entries of a part written while the next one is decided. Returns with the last part's
/// entries, ready to be written.
async fn decide<R: Rules>(
    transaction: &mut PgTransaction<'_>,
    mut deciding: Deciding<'_, R>,
    items: &[Arc<Item<R::Command>>],
) -> Result<(Plan<R::Command>, write::Statement), Failure> {
    let (mut entries, mut made) = (None, 0);
    for part in items.chunks(PART) {
        let next = || {
            deciding.decide(part);
            let next = write::entries(deciding.books(), made);
            made = deciding.books().changes().entries.len();
            next
        };
        entries = write::meanwhile(transaction, entries, next).await?;
    }
    Ok((deciding.end(), entries))
}

/// A parked command that another scan took meanwhile is no longer ours to decide.
fn still_ours<C>(item: &Item<C>, taken: &HashSet<KeyHash>) -> bool {
    !matches!(item.origin, ItemOrigin::Parked { .. }) || taken.contains(&item.received.hash)
}
