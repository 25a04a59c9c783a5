//! The baseline: what most people write, and write well. One message, one transaction with a statement for each thing
//! that is read or written, one event, confirmed, one ack; up to `prefetch` of them at the same time, each with a
//! connection of its own.
//!
//! It reads, validates and decides with the same code, and leaves the same rows but those of batches, so that only the
//! way of working differs. It has no outbox: a crash between commit and confirm would cost the event.

use std::sync::Arc;
use std::time::Instant;

use contract::commission::CommissionCommand;
use contract::{Event, KeyHash, Received};
use futures_util::StreamExt as _;
use lapin::options::ConfirmSelectOptions;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions};
use lapin::types::FieldTable;
use lapin::{Channel, Confirmation, Connection, ConnectionProperties};
use ledger::decide::{Item, Plan, Stored, decide};
use ledger::{Account, AccountKey, Books, Merchant};
use rust_decimal::Decimal;
use sqlx::{Connection as _, PgConnection};
use std::collections::HashMap;
use tests::message::item;
use time::OffsetDateTime;
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use worker::broker::Outgoing;
use worker::topology::queue;

use crate::figures::{Case, Measured};
use crate::limit::RULES;
use crate::messages::What;
use crate::stage::Stage;

/// Takes all of them out of the queue.
pub(crate) async fn naive(
    stage: &mut Stage,
    case: Case,
    round: usize,
    prefetch: u16,
    bodies: &[String],
) -> Measured {
    stage.fill(What::Commission, bodies).await;
    let connection = Arc::new(
        Connection::connect(&stage.world.amqp_url(), ConnectionProperties::default()).await.unwrap(),
    );
    let channel = connection.create_channel().await.unwrap();
    channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
    channel.basic_qos(prefetch, BasicQosOptions::default()).await.unwrap();
    let mut databases = Vec::new();
    for _ in 0..prefetch {
        let database = stage.world.connect_as("saldo_commissions").await;
        databases.push(Arc::new(Mutex::new(database)));
    }
    stage.settle().await;
    let name = queue(What::Commission.worker());
    let mut consumer = channel
        .basic_consume(
            name.as_str().into(),
            "naive".into(),
            BasicConsumeOptions::default(),
            FieldTable::default(),
        )
        .await
        .unwrap();
    let usage = stage.servers.usage(&[], &mut stage.database).await;
    let began = Instant::now();
    let (mut tasks, mut free, mut taken) = (JoinSet::new(), databases, 0);
    while taken < bodies.len() {
        let delivery = consumer.next().await.unwrap().unwrap();
        taken += 1;
        let database = loop {
            if let Some(database) = free.pop() {
                break database;
            }
            free.push(tasks.join_next().await.unwrap().unwrap());
        };
        let channel = channel.clone();
        tasks.spawn(async move {
            let body = std::str::from_utf8(&delivery.data).unwrap();
            let events = carry_out(&mut *database.lock().await, item(body)).await;
            for event in &events {
                publish(&channel, event).await;
            }
            delivery.acker.ack(BasicAckOptions::default()).await.unwrap();
            database
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    let seconds = began.elapsed().as_secs_f64();
    let (cpu, wal) = stage.servers.usage(&[], &mut stage.database).await.since(usage);
    // All are in a batch that does not exist.
    let commands = stage.carried_out_since(-1).await;
    assert_eq!(commands, bodies.len() as u64, "each command was carried out, none twice");
    Measured { case, round, commands, seconds, cpu, wal, memory: Vec::new() }
}

async fn publish(channel: &Channel, event: &Event) {
    let event = Outgoing::event(event);
    let (exchange, key) = (event.exchange.into(), event.routing_key.into());
    let options = BasicPublishOptions::default();
    let confirm =
        channel.basic_publish(exchange, key, options, event.body, event.properties.with_delivery_mode(2));
    assert_eq!(confirm.await.unwrap().await.unwrap(), Confirmation::Ack(None));
}

/// One command, one transaction.
async fn carry_out(database: &mut PgConnection, item: Arc<Item<CommissionCommand>>) -> Vec<Event> {
    let CommissionCommand::Credit(credit) = &item.received.command else {
        panic!("only commissions are published")
    };
    let owner = AccountKey {
        merchant: credit.merchant.clone(),
        customer: credit.customer.clone(),
        currency: credit.money.currency(),
    };
    let mut transaction = database.begin().await.unwrap();
    // The account is locked first, so that what is read next cannot change.
    let account: (i64, Decimal, Decimal, Decimal, i64, i64, Option<Vec<u8>>) = sqlx::query_as(
        "SELECT id, balance, held, pending, version, entries, head FROM account
         WHERE merchant = $1 AND customer = $2 AND currency = $3 FOR UPDATE",
    )
    .bind(owner.merchant.as_str())
    .bind(owner.customer.as_str())
    .bind(owner.currency.code())
    .fetch_one(&mut *transaction)
    .await
    .unwrap();
    let (now, name, hold_days): (OffsetDateTime, String, i32) =
        sqlx::query_as("SELECT clock_timestamp(), name, hold_days FROM merchant WHERE id = $1")
            .bind(owner.merchant.as_str())
            .fetch_one(&mut *transaction)
            .await
            .unwrap();
    let stored = stored(&mut transaction, &item.received).await;
    let mut books = Books::new(contract::commission::WORKER, now.into());
    books.load_merchant(Merchant {
        id: owner.merchant.clone(),
        name: name.parse().unwrap(),
        hold_days: u16::try_from(hold_days).unwrap(),
        preferences: contract::Preferences::default(),
        put_at: None,
    });
    let (id, balance, held, pending, version, entries, newest) = account;
    let mut account = Account::new(id, owner);
    (account.balance, account.held, account.pending) = (balance, held, pending);
    (account.version, account.entries) = (version, entries);
    account.head = newest.map(|hash| hash.try_into().unwrap());
    books.load_account(account);
    let plan = decide(&RULES, books, std::slice::from_ref(&item), &stored, Vec::new());
    write(&mut transaction, &plan).await;
    transaction.commit().await.unwrap();
    plan.events
}

/// A statement for each row.
async fn write(database: &mut PgConnection, plan: &Plan<CommissionCommand>) {
    for entry in &plan.books.changes().entries {
        let posting = &entry.posting;
        sqlx::query(
            "INSERT INTO entry (account_id, number, kind, counterpart, amount, balance_after, command, order_number,
                                level, note, occurred_at, recorded_at, hash)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)",
        )
        .bind(entry.id.account)
        .bind(entry.id.number)
        .bind(posting.kind.as_str())
        .bind(posting.kind.counterpart())
        .bind(posting.amount)
        .bind(entry.balance_after)
        .bind(posting.command.0.as_slice())
        .bind(posting.order.as_ref().map(ToString::to_string))
        .bind(posting.level.map(|level| i16::from(level.get())))
        .bind(posting.note.as_ref().map(ToString::to_string))
        .bind(posting.occurred_at.get())
        .bind(entry.recorded_at.get())
        .bind(entry.hash.as_slice())
        .execute(&mut *database)
        .await
        .unwrap();
    }
    for account in plan.books.changes().accounts.iter().filter_map(|id| plan.books.account_by_id(*id)) {
        sqlx::query("UPDATE account SET balance = $2, version = $3, entries = $4, head = $5 WHERE id = $1")
            .bind(account.id)
            .bind(account.balance)
            .bind(account.version)
            .bind(account.entries)
            .bind(account.head.map(|head| head.to_vec()))
            .execute(&mut *database)
            .await
            .unwrap();
    }
    for record in &plan.records {
        let received = &record.item.received;
        sqlx::query(
            "INSERT INTO inbox (key, batch_id, account_id, version, entry_number, position, merchant, source, id, type,
                                content, outcome)
             VALUES ($1, 0, $2, $3, $4, 0, $5, $6, $7, $8, $9, $10)",
        )
        .bind(received.hash.0.as_slice())
        .bind(record.account.map(|(id, _)| id))
        .bind(record.account.map(|(_, version)| version))
        .bind(record.entry)
        .bind(received.key.merchant.as_str())
        .bind(received.key.source.as_str())
        .bind(received.key.id.as_str())
        .bind(contract::Commands::message_type(&received.command))
        .bind(received.content.0.as_slice())
        .bind(&record.outcome)
        .execute(&mut *database)
        .await
        .unwrap();
    }
}

/// What the inbox has for it.
async fn stored(
    database: &mut PgConnection,
    received: &Received<CommissionCommand>,
) -> HashMap<KeyHash, Stored> {
    let row: Option<(Vec<u8>, Option<String>)> =
        sqlx::query_as("SELECT content, outcome FROM inbox WHERE key = $1")
            .bind(received.hash.0.as_slice())
            .fetch_optional(database)
            .await
            .unwrap();
    row.into_iter()
        .map(|(content, outcome)| {
            let content = contract::ContentHash(content.try_into().unwrap());
            (received.hash, Stored { content, same_key: true, outcome })
        })
        .collect()
}
