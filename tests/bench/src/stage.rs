//! Where a case plays: a database and a virtual host of its own, with accounts that exist already, as in a shop that is
//! not new.

use std::time::{Duration, SystemTime};

use futures_util::future::{join_all, try_join_all};
use lapin::options::{BasicPublishOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{Channel, Confirmation};
use sqlx::{Executor as _, PgConnection};
use tests::message::MERCHANT;
use tests::{Publisher, Worker, WorkerBuilder, World};
use worker::topology::{COMMANDS, Limits, queue};

use crate::messages::What;
use crate::usage::{Servers, Usage};

/// Published together before any of it must be confirmed.
const WINDOW: usize = 1000;

/// A second shop, with [`ACCOUNTS`] too: a subscriber can be interested in its events alone.
pub(crate) const OTHER_MERCHANT: &str = "probe";

/// Accounts where nothing else is said.
pub(crate) const ACCOUNTS: u64 = 10_000;

/// A world with accounts, and those who look at it.
pub(crate) struct Stage {
    pub(crate) world: World,
    pub(crate) database: PgConnection,
    pub(crate) servers: Servers,
    pub(crate) publisher: Publisher,
    /// What workers are told that is not as shipped.
    settings: Vec<(String, String)>,
}

impl Stage {
    /// One that looks as this database does, whose workers have these settings besides those as shipped.
    pub(crate) async fn like(template: &World, settings: &[(String, String)]) -> Self {
        let world = template.copy(limits()).await;
        let (database, publisher) = (world.superuser().await, world.publisher().await);
        let servers = Servers::find(&world).await;
        Self { world, database, servers, publisher, settings: settings.to_vec() }
    }

    /// Nothing is left of it.
    pub(crate) async fn close(self) {
        let Self { world, database, publisher, .. } = self;
        drop((database, publisher));
        world.remove().await;
    }

    /// A worker that carries this out, as it is shipped.
    pub(crate) fn worker(&self, what: What) -> WorkerBuilder {
        let mut builder = self.world.worker_of(what.worker());
        builder.program(what.worker());
        for (name, value) in &self.settings {
            builder.set(name, value);
        }
        builder
    }

    /// Puts the commands into their queue, every one confirmed.
    pub(crate) async fn fill(&self, what: What, bodies: &[String]) {
        for part in bodies.chunks(WINDOW) {
            publish(&self.publisher.channel, what, part).await;
        }
    }

    /// Messages that the queue has and nobody has been given.
    pub(crate) async fn ready(&self, what: What) -> usize {
        let options = QueueDeclareOptions { passive: true, ..Default::default() };
        let name = queue(what.worker());
        let state =
            self.publisher.channel.queue_declare(name.as_str().into(), options, FieldTable::default());
        usize::try_from(state.await.unwrap().message_count()).unwrap()
    }

    /// Whether any batch's events may still have to be published.
    pub(crate) async fn unpublished(&mut self) -> bool {
        sqlx::query_scalar("SELECT EXISTS (SELECT FROM batch WHERE published_at IS NULL)")
            .fetch_one(&mut self.database)
            .await
            .unwrap()
    }

    /// The newest batch.
    pub(crate) async fn newest_batch(&mut self) -> i64 {
        let newest = sqlx::query_scalar("SELECT coalesce(max(id), 0) FROM batch");
        newest.fetch_one(&mut self.database).await.unwrap()
    }

    /// Commands that were carried out in later batches than this one.
    pub(crate) async fn carried_out_since(&mut self, batch: i64) -> u64 {
        self.carried_out(batch, i64::MAX).await
    }

    /// Commands that were carried out in later batches than this one, up to that one. One that is refused costs less, and
    /// is no work.
    pub(crate) async fn carried_out(&mut self, after: i64, until: i64) -> u64 {
        let sql = "SELECT count(*) FROM inbox
                   WHERE batch_id > $1 AND batch_id <= $2 AND outcome NOT LIKE '%.refused.v1%'";
        let count: i64 =
            sqlx::query_scalar(sql).bind(after).bind(until).fetch_one(&mut self.database).await.unwrap();
        u64::try_from(count).unwrap()
    }

    /// The time, and what was used until now.
    pub(crate) async fn look(&mut self, workers: &[Worker]) -> (SystemTime, Usage) {
        let usage = self.servers.usage(workers, &mut self.database).await;
        (SystemTime::now(), usage)
    }

    /// Every case begins with nothing left to be written from before.
    pub(crate) async fn settle(&mut self) {
        self.database.execute("CHECKPOINT").await.unwrap();
    }
}

/// Publishes all of them at once; a queue has every one.
pub(crate) async fn publish(channel: &Channel, what: What, bodies: &[String]) {
    let (key, properties) = (what.routing_key(MERCHANT), what.properties());
    let started = bodies.iter().map(|body| {
        let options = BasicPublishOptions { mandatory: true, ..Default::default() };
        channel.basic_publish(
            COMMANDS.into(),
            key.as_str().into(),
            options,
            body.as_bytes(),
            properties.clone(),
        )
    });
    for confirmation in join_all(try_join_all(started).await.unwrap()).await {
        assert_eq!(confirmation.unwrap(), Confirmation::Ack(None));
    }
}

/// A queue must hold all commands of a case.
fn limits() -> Limits {
    Limits { queue_bytes: 1024 * 1024 * 1024, ..Limits::default() }
}

/// A database for stages to look like: affiliates of two shops who may withdraw, with one account each and money
/// enough. The accounts of the first, so many, are numbered from 1.
pub(crate) async fn template(accounts: u64) -> World {
    let world = World::without_broker().await;
    world.register(OTHER_MERCHANT, 0).await;
    let mut database = world.superuser().await;
    seed(&mut database, MERCHANT, accounts).await;
    seed(&mut database, OTHER_MERCHANT, ACCOUNTS).await;
    database.execute("VACUUM (ANALYZE) customer, payout_method, account").await.unwrap();
    world
}

async fn seed(database: &mut PgConnection, merchant: &str, accounts: u64) {
    let accounts = i64::try_from(accounts).unwrap();
    for statement in [
        "UPDATE merchant SET preferences = '{\"withdrawals\": {\"enabled\": true}}' WHERE id = $2 AND $1 > 0",
        "INSERT INTO customer (merchant, id, kind)
         SELECT $2, 'c-' || n, 'affiliate' FROM generate_series(0, $1 - 1) n",
        "INSERT INTO payout_method (merchant, customer, version, kind, masked, key_id, sealed, put_at, recorded_at, command)
         SELECT $2, 'c-' || n, 1, 'other', 'as agreed', 'none', '', now(), now(), decode(repeat('00', 16), 'hex')
         FROM generate_series(0, $1 - 1) n",
        "INSERT INTO account (merchant, customer, currency, exponent, balance)
         SELECT $2, 'c-' || n, 'EUR', 2, 1000000 FROM generate_series(0, $1 - 1) n",
    ] {
        sqlx::query(statement).bind(accounts).bind(merchant).execute(&mut *database).await.unwrap();
    }
}

/// How long anything may take before the run gives up.
pub(crate) const PATIENCE: Duration = Duration::from_mins(5);
