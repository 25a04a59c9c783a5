//! Writing what follows from a batch.
//!
//! Rows go in as one array a column. Where there are many of both, `unnest` stands in the list of what is selected: all that
//! stand there advance together, value by value, and shorter ones end in NULL. In FROM, where it means the same, each would be
//! made into rows of its own first, which costs a wide row half of what it costs to write.
//!
//! Locks are held for as long as this takes, and other lanes wait for them. So the widest statements
//! (entries, accounts, inbox) are made ready, their arguments encoded, while the database carries out the one before
//! ([`meanwhile`]).

use std::future::{Future as _, poll_fn};
use std::pin::pin;
use std::task::Poll;

use contract::{
    Actor, CommandKey, Commands, ContentHash, CustomerId, Event, KeyHash, Level, MerchantId, Note, OrderId,
    ReferenceText, UserId,
};
use sqlx::postgres::PgArguments;
use sqlx::query::Query;
use sqlx::{PgTransaction, Postgres};
use time::OffsetDateTime;

use super::load::{bytes, unexpected};
use super::{BatchId, directory, withdrawals};
use crate::decide::{Item, ItemOrigin, Plan, Record};
use crate::{Awaited, Books, CommissionState, Failure, Rules};

/// A statement and its arguments; `None`: there is nothing to write.
pub(super) type Statement = Option<Query<'static, Postgres, PgArguments>>;

/// Does some work while the database carries out a statement.
pub(super) async fn meanwhile<T>(
    transaction: &mut PgTransaction<'_>,
    statement: Statement,
    work: impl FnOnce() -> T,
) -> Result<T, Failure> {
    let Some(statement) = statement else { return Ok(work()) };
    let mut running = pin!(statement.execute(&mut **transaction));
    // Sends it, where it is prepared already and the socket takes it whole; otherwise the rest follows after the work.
    let begun = poll_fn(|context| Poll::Ready(running.as_mut().poll(context))).await;
    let done = work();
    match begun {
        Poll::Ready(executed) => executed?,
        Poll::Pending => running.await?,
    };
    Ok(done)
}

async fn carry_out(transaction: &mut PgTransaction<'_>, statement: Statement) -> Result<(), Failure> {
    meanwhile(transaction, statement, || ()).await
}

/// A row for this transaction; earlier batches whose events are out are marked on the way.
pub(super) async fn batch(
    transaction: &mut PgTransaction<'_>,
    worker: &str,
    published: &[BatchId],
) -> Result<BatchId, Failure> {
    let published: Vec<i64> = published.iter().map(|batch| batch.0).collect();
    let id = sqlx::query_scalar!(
        "WITH marked AS (UPDATE batch SET published_at = clock_timestamp() WHERE id = ANY($2))
         INSERT INTO batch (worker) VALUES ($1) RETURNING id",
        worker,
        &published,
    )
    .fetch_one(&mut **transaction)
    .await?;
    Ok(BatchId(id))
}

/// Everything that follows from a batch, each kind only where there is any of it; of its entries, those that are not written
/// yet.
pub(super) async fn plan<R: Rules>(
    transaction: &mut PgTransaction<'_>,
    rules: &R,
    batch: BatchId,
    plan: &Plan<R::Command>,
    entries: Statement,
) -> Result<(), Failure> {
    let Plan { books, records, .. } = plan;
    let accounts = meanwhile(transaction, entries, || accounts(books)).await?;
    let (inbox, outcomes) = meanwhile(transaction, accounts, || {
        let (decided_late, new) = inbox_rows(rules, records);
        (insert(batch, &new), decided_late)
    })
    .await?;
    commissions(transaction, books).await?;
    withdrawals::write(transaction, books).await?;
    directory::write(transaction, books).await?;
    carry_out(transaction, inbox).await?;
    update(transaction, batch, &outcomes).await?;
    park(transaction, rules, books, records).await
}

/// The entries that were posted after the first ones, so many.
pub(super) fn entries(books: &Books, first: usize) -> Statement {
    let entries = books.changes().entries.get(first..).unwrap_or_default();
    if entries.is_empty() {
        return None;
    }
    let postings = || entries.iter().map(|entry| &entry.posting);
    Some(sqlx::query!(
        "INSERT INTO entry (account_id, number, kind, counterpart, amount, balance_after, command, hash, occurred_at,
                            recorded_at, order_number, level, note, actor, user_id, reference, reverses)
         SELECT unnest($1::bigint[]), unnest($2::bigint[]), unnest($3::text[]), unnest($4::text[]),
                unnest($5::numeric[]), unnest($6::numeric[]), unnest($7::bytea[]), unnest($8::bytea[]),
                unnest($9::timestamptz[]), $10, unnest($11::text[]), unnest($12::smallint[]), unnest($13::text[]),
                unnest($14::text[]), unnest($15::text[]), unnest($16::text[]), unnest($17::bigint[])",
        &entries.iter().map(|entry| entry.id.account).collect::<Vec<_>>(),
        &entries.iter().map(|entry| entry.id.number).collect::<Vec<_>>(),
        &postings().map(|posting| posting.kind.as_str()).collect::<Vec<_>>() as _,
        &postings().map(|posting| posting.kind.counterpart()).collect::<Vec<_>>() as _,
        &postings().map(|posting| posting.amount).collect::<Vec<_>>(),
        &entries.iter().map(|entry| entry.balance_after).collect::<Vec<_>>(),
        &postings().map(|posting| posting.command.0.as_slice()).collect::<Vec<_>>() as _,
        &entries.iter().map(|entry| entry.hash.as_slice()).collect::<Vec<_>>() as _,
        &postings().map(|posting| posting.occurred_at.get()).collect::<Vec<_>>(),
        books.now().get(),
        &sparse(postings().map(|posting| posting.order.as_ref().map(OrderId::as_str))) as _,
        &sparse(postings().map(|posting| posting.level.map(|level| i16::from(level.get())))) as _,
        &sparse(postings().map(|posting| posting.note.as_ref().map(Note::as_str))) as _,
        &sparse(postings().map(|posting| posting.actor.as_ref().map(Actor::as_str))) as _,
        &sparse(postings().map(|posting| posting.user.as_ref().map(UserId::as_str))) as _,
        &sparse(postings().map(|posting| posting.reference.as_ref().map(ReferenceText::as_str))) as _,
        &sparse(postings().map(|posting| posting.reverses)) as _,
    ))
}

/// A column that is often without any value: then an empty array, which unnest fills up with NULL. The others must
/// have a value for each row.
fn sparse<T>(values: impl Iterator<Item = Option<T>>) -> Vec<Option<T>> {
    let values: Vec<_> = values.collect();
    if values.iter().all(Option::is_none) { Vec::new() } else { values }
}

fn accounts(books: &Books) -> Statement {
    let accounts: Vec<_> =
        books.changes().accounts.iter().filter_map(|id| books.account_by_id(*id)).collect();
    if accounts.is_empty() {
        return None;
    }
    Some(sqlx::query!(
        "UPDATE account a
         SET balance = n.balance, held = n.held, pending = n.pending, version = n.version,
             entries = n.entries, head = n.head
         FROM (SELECT unnest($1::bigint[]) AS id, unnest($2::numeric[]) AS balance, unnest($3::numeric[]) AS held,
                      unnest($4::numeric[]) AS pending, unnest($5::bigint[]) AS version,
                      unnest($6::bigint[]) AS entries, unnest($7::bytea[]) AS head) n
         WHERE a.id = n.id",
        &accounts.iter().map(|account| account.id).collect::<Vec<_>>(),
        &accounts.iter().map(|account| account.balance).collect::<Vec<_>>(),
        &accounts.iter().map(|account| account.held).collect::<Vec<_>>(),
        &accounts.iter().map(|account| account.pending).collect::<Vec<_>>(),
        &accounts.iter().map(|account| account.version).collect::<Vec<_>>(),
        &accounts.iter().map(|account| account.entries).collect::<Vec<_>>(),
        &accounts.iter().map(|account| account.head.as_ref().map(<[u8; 32]>::as_slice)).collect::<Vec<_>>()
            as _,
    ))
}

/// Changed by their account's lock holder only, so that an update has no rival. A new one can have: the same key for
/// another account, recorded meanwhile or before, whose transaction the inbox will undo. Key order, so that such two wait
/// for each other in one direction only.
async fn commissions(transaction: &mut PgTransaction<'_>, books: &Books) -> Result<(), Failure> {
    let mut commissions: Vec<_> = books.changes().commissions.values().collect();
    commissions.sort_unstable_by_key(|commission| commission.key.hash());
    if commissions.is_empty() {
        return Ok(());
    }
    let state = |state| match state {
        CommissionState::Pending { .. } => "pending",
        CommissionState::Credited => "credited",
        CommissionState::Cancelled => "cancelled",
    };
    let about = || commissions.iter().map(|commission| &commission.about);
    let available_at = |state| match state {
        CommissionState::Pending { available_at } => Some(available_at.get()),
        CommissionState::Credited | CommissionState::Cancelled => None,
    };
    sqlx::query!(
        "INSERT INTO commission (key, account_id, amount, reversed, state, available_at, order_number, level, note)
         SELECT * FROM unnest($1::bytea[], $2::bigint[], $3::numeric[], $4::numeric[], $5::text[],
                              $6::timestamptz[], $7::text[], $8::smallint[], $9::text[])
         ON CONFLICT (key) DO UPDATE SET reversed = excluded.reversed, state = excluded.state",
        &commissions.iter().map(|commission| bytes(&commission.key.hash())).collect::<Vec<_>>(),
        &commissions.iter().map(|commission| commission.account).collect::<Vec<_>>(),
        &commissions.iter().map(|commission| commission.amount).collect::<Vec<_>>(),
        &commissions.iter().map(|commission| commission.reversed).collect::<Vec<_>>(),
        &commissions.iter().map(|commission| state(commission.state).to_owned()).collect::<Vec<_>>(),
        &commissions.iter().map(|commission| available_at(commission.state)).collect::<Vec<_>>() as _,
        &about().map(|about| about.order.as_ref().map(OrderId::to_string)).collect::<Vec<_>>() as _,
        &about().map(|about| about.level.map(Level::get).map(i16::from)).collect::<Vec<_>>() as _,
        &about().map(|about| about.note.as_ref().map(Note::to_string)).collect::<Vec<_>>() as _,
    )
    .execute(&mut **transaction)
    .await?;
    Ok(())
}

/// Rows for the inbox: of commands that had been parked, and are decided now; and new ones. In key order: two lanes that
/// meet on several keys wait for each other in one direction only.
fn inbox_rows<'a, R: Rules>(rules: &R, records: &'a [Record<R::Command>]) -> (Vec<Row<'a>>, Vec<Row<'a>>) {
    let mut rows: Vec<Row<'_>> =
        records.iter().zip(0..).map(|(record, position)| Row::of(rules, record, position)).collect();
    rows.sort_unstable_by_key(|row| row.key);
    let (mut known, new): (Vec<_>, Vec<_>) = rows.into_iter().partition(|row| row.was_parked);
    known.retain(|row| row.outcome.is_some());
    (known, new)
}

struct Row<'a> {
    key: KeyHash,
    was_parked: bool,
    account: Option<i64>,
    version: Option<i64>,
    entry: Option<i64>,
    position: i32,
    /// Merchant, source and id.
    texts: &'a CommandKey,
    message_type: &'static str,
    content: ContentHash,
    outcome: Option<&'a str>,
}

impl<'a> Row<'a> {
    fn of<R: Rules>(rules: &R, record: &'a Record<R::Command>, position: i32) -> Self {
        let received = &record.item.received;
        Self {
            key: received.hash,
            was_parked: record.was_parked,
            account: record.account.map(|(id, _)| id),
            version: record.account.map(|(_, version)| version),
            entry: record.entry,
            position,
            texts: &received.key,
            message_type: received.command.message_type(),
            content: rules.fingerprint(received),
            outcome: record.outcome.as_deref(),
        }
    }
}

/// An outcome that no command asked for: of a key of Saldo's own, in a batch of its own, for the sweep to publish.
pub(crate) async fn own_outcome(
    transaction: &mut PgTransaction<'_>,
    worker: &str,
    key: &CommandKey,
    message_type: &'static str,
    content: ContentHash,
    event: &Event,
) -> Result<(), Failure> {
    let batch = batch(transaction, worker, &[]).await?;
    let row = Row {
        key: key.hash(),
        was_parked: false,
        account: None,
        version: None,
        entry: None,
        position: 0,
        texts: key,
        message_type,
        content,
        outcome: Some(&event.body),
    };
    carry_out(transaction, insert(batch, &[row])).await
}

fn insert(batch: BatchId, rows: &[Row<'_>]) -> Statement {
    if rows.is_empty() {
        return None;
    }
    Some(sqlx::query!(
        "INSERT INTO inbox (batch_id, key, position, merchant, source, id, type, content, account_id, version,
                            entry_number, outcome)
         SELECT $1, unnest($2::bytea[]), unnest($3::integer[]), unnest($4::text[]), unnest($5::text[]),
                unnest($6::text[]), unnest($7::text[]), unnest($8::bytea[]), unnest($9::bigint[]),
                unnest($10::bigint[]), unnest($11::bigint[]), unnest($12::text[])",
        batch.0,
        &rows.iter().map(|row| row.key.0.as_slice()).collect::<Vec<_>>() as _,
        &rows.iter().map(|row| row.position).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.texts.merchant.as_str()).collect::<Vec<_>>() as _,
        &rows.iter().map(|row| row.texts.source.as_str()).collect::<Vec<_>>() as _,
        &rows.iter().map(|row| row.texts.id.as_str()).collect::<Vec<_>>() as _,
        &rows.iter().map(|row| row.message_type).collect::<Vec<_>>() as _,
        &rows.iter().map(|row| row.content.0.as_slice()).collect::<Vec<_>>() as _,
        &sparse(rows.iter().map(|row| row.account)) as _,
        &sparse(rows.iter().map(|row| row.version)) as _,
        &sparse(rows.iter().map(|row| row.entry)) as _,
        &sparse(rows.iter().map(|row| row.outcome)) as _,
    ))
}

/// The outcomes of commands that had been parked.
async fn update(
    transaction: &mut PgTransaction<'_>,
    batch: BatchId,
    rows: &[Row<'_>],
) -> Result<(), Failure> {
    if rows.is_empty() {
        return Ok(());
    }
    let written = sqlx::query!(
        "UPDATE inbox i
         SET batch_id = $1, account_id = n.account_id, version = n.version, entry_number = n.entry_number,
             position = n.position, outcome = n.outcome
         FROM unnest($2::bytea[], $3::bigint[], $4::bigint[], $5::bigint[], $6::integer[], $7::text[])
              AS n (key, account_id, version, entry_number, position, outcome)
         WHERE i.key = n.key",
        batch.0,
        &rows.iter().map(|row| row.key.0.as_slice()).collect::<Vec<_>>() as _,
        &rows.iter().map(|row| row.account).collect::<Vec<_>>() as _,
        &rows.iter().map(|row| row.version).collect::<Vec<_>>() as _,
        &rows.iter().map(|row| row.entry).collect::<Vec<_>>() as _,
        &rows.iter().map(|row| row.position).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.outcome).collect::<Vec<_>>() as _,
    )
    .execute(&mut **transaction)
    .await?
    .rows_affected();
    // One that is decided twice has one row: then none of it may stay.
    if written == rows.len() as u64 { Ok(()) } else { Err(unexpected()) }
}

/// Parks what has to wait. One that waited before keeps its deadline.
async fn park<R: Rules>(
    transaction: &mut PgTransaction<'_>,
    rules: &R,
    books: &Books,
    records: &[Record<R::Command>],
) -> Result<(), Failure> {
    let parked: Vec<_> =
        records.iter().filter_map(|record| Some((record, record.awaits.as_ref()?))).collect();
    if parked.is_empty() {
        return Ok(());
    }
    let times = |record: &Record<R::Command>| -> (OffsetDateTime, OffsetDateTime) {
        match record.item.origin {
            ItemOrigin::Parked { since, deadline } => (since.get(), deadline.get()),
            ItemOrigin::Delivered | ItemOrigin::Due => {
                let patience = rules.patience(&record.item.received.command);
                let patience = time::Duration::try_from(patience).unwrap_or(time::Duration::MAX);
                (books.now().get(), books.now().plus(patience).get())
            }
        }
    };
    let awaited: Vec<AwaitedColumns<'_>> =
        parked.iter().map(|(_, awaited)| AwaitedColumns::of(awaited)).collect();
    let text = |text: Option<&str>| text.map(str::to_owned);
    let (mut bodies, mut key_ids) = (Vec::with_capacity(parked.len()), Vec::with_capacity(parked.len()));
    for (record, _) in &parked {
        let Item { received, body, .. } = &*record.item;
        let sealed = rules.conceal(received, body);
        let (body, key_id) =
            sealed.map_or_else(|| (body.to_vec(), None), |sealed| (sealed.bytes, Some(sealed.key_id)));
        bodies.push(body);
        key_ids.push(key_id);
    }
    let user = |record: &Record<R::Command>| record.item.received.user.as_ref().map(UserId::to_string);
    sqlx::query!(
        "INSERT INTO waiting (worker, key, awaited_command, awaited_merchant, awaited_customer, body, key_id,
                              user_id, parked_at, deadline)
         SELECT $1, * FROM unnest($2::bytea[], $3::bytea[], $4::text[], $5::text[], $6::bytea[], $7::text[],
                                  $8::text[], $9::timestamptz[], $10::timestamptz[])",
        R::WORKER,
        &parked.iter().map(|(record, _)| bytes(&record.item.received.hash)).collect::<Vec<_>>(),
        &awaited.iter().map(|awaited| awaited.command.map(bytes)).collect::<Vec<_>>() as _,
        &awaited.iter().map(|awaited| text(awaited.merchant)).collect::<Vec<_>>() as _,
        &awaited.iter().map(|awaited| text(awaited.customer)).collect::<Vec<_>>() as _,
        &bodies,
        &key_ids as _,
        &parked.iter().map(|(record, _)| user(record)).collect::<Vec<_>>() as _,
        &parked.iter().map(|(record, _)| times(record).0).collect::<Vec<_>>(),
        &parked.iter().map(|(record, _)| times(record).1).collect::<Vec<_>>(),
    )
    .execute(&mut **transaction)
    .await?;
    Ok(())
}

/// What is awaited, as its columns.
struct AwaitedColumns<'a> {
    command: Option<&'a KeyHash>,
    merchant: Option<&'a str>,
    customer: Option<&'a str>,
}

impl<'a> AwaitedColumns<'a> {
    fn of(awaited: &'a Awaited) -> Self {
        let (command, merchant, customer) = match awaited {
            Awaited::Command(key) => (Some(key), None, None),
            Awaited::Merchant(merchant) => (None, Some(merchant), None),
            Awaited::Customer(merchant, customer) => (None, Some(merchant), Some(customer)),
        };
        let (merchant, customer) = (merchant.map(MerchantId::as_str), customer.map(CustomerId::as_str));
        Self { command, merchant, customer }
    }
}
