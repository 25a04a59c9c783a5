//! The database is away, or as good as: nothing is dead-lettered, the worker says that it is not ready, and
//! when the trouble is over everything is decided, exactly once, without a hand.

use std::time::{Duration, Instant};

use lapin::options::{BasicConsumeOptions, BasicQosOptions};
use lapin::types::{AMQPValue, FieldTable};
use serde_json::Value;
use sqlx::{AssertSqlSafe, Executor as _, PgConnection};
use tests::{COMMISSIONS, Collector, Disk, PATIENCE, Publisher, Worker, World, credit, eventually};
use worker::topology::{Limits, dead_queue};

/// A database, its superuser since before any outage, and a worker's surroundings.
struct Scene {
    world: World,
    admin: PgConnection,
    events: Collector,
    publisher: Publisher,
    published: usize,
}

impl Scene {
    async fn new() -> Self {
        let world = World::with_limits(Limits { delivery_limit: 5, ..Limits::default() }).await;
        let admin = world.superuser().await;
        let (events, publisher) = (world.events().await, world.publisher().await);
        Self { world, admin, events, publisher, published: 0 }
    }

    async fn publish(&mut self, count: usize) {
        let numbers = self.published..self.published + count;
        let command = |number| credit(&format!("c-{number}"), &format!("customer-{}", number % 13), "1.00");
        self.publisher.publish(&numbers.map(command).collect::<Vec<_>>()).await;
        self.published += count;
    }

    async fn admin(&mut self, sql: &str) {
        self.admin.execute(AssertSqlSafe(sql)).await.unwrap();
    }

    async fn end_sessions(&mut self) -> i64 {
        World::end_sessions(&mut self.admin).await.unwrap()
    }

    async fn read_only(&mut self, on: bool) {
        self.world.read_only(&mut self.admin, on).await.unwrap();
    }

    /// Everything published so far is decided, once; nothing is dead.
    async fn decided(&self) {
        eventually("everything is decided and told", PATIENCE, || async {
            let told = self.events.causes("commission.credited").len();
            let queued = self.publisher.queued(COMMISSIONS).await;
            if (told, queued.ready) == (self.published, 0) { Ok(()) } else { Err((told, queued)) }
        })
        .await;
        let entries = self.world.count("SELECT count(*) FROM entry").await;
        assert_eq!(usize::try_from(entries).unwrap(), self.published);
        self.nothing_is_dead().await;
        self.world.assert_sound().await;
        self.world.assert_told(&self.events).await;
    }

    async fn nothing_is_dead(&self) {
        assert_eq!(self.publisher.queued(&dead_queue("commissions")).await.ready, 0, "dead letters");
    }

    /// The outage shows as this, and goes on showing while nothing changes.
    async fn stays_not_ready(&self, worker: &Worker, because: &str) {
        eventually(&format!("not ready because of {because}"), PATIENCE, || async {
            match worker.readiness().await {
                Some((false, troubles)) if troubles.to_string().contains(because) => Ok(()),
                other => Err(other),
            }
        })
        .await;
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(2) {
            let readiness = worker.readiness().await;
            assert!(matches!(readiness, Some((false, _))), "ready during the outage: {readiness:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        self.nothing_is_dead().await;
    }

    /// The trouble is over: nobody does anything.
    async fn recovers(&self, mut worker: Worker) {
        let began = Instant::now();
        self.decided().await;
        worker.wait_ready(PATIENCE).await;
        eprintln!("{}: recovered within {:?}", self.world.name, began.elapsed());
        assert!(worker.terminate().await.success());
        assert_eq!(self.publisher.queued(COMMISSIONS).await.ready, 0, "not acked");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_only_database_only_delays() {
    let mut scene = Scene::new().await;
    let worker = scene.world.worker().ready().await;
    scene.publish(100).await;
    scene.decided().await;
    scene.read_only(true).await;
    scene.publish(200).await;
    scene.stays_not_ready(&worker, "25006").await;
    scene.read_only(false).await;
    scene.recovers(worker).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_grant_only_delays() {
    let mut scene = Scene::new().await;
    let worker = scene.world.worker().ready().await;
    scene.admin("REVOKE INSERT ON entry FROM saldo_commissions").await;
    scene.publish(200).await;
    scene.stays_not_ready(&worker, "42501").await;
    assert_eq!(scene.world.count("SELECT count(*) FROM inbox").await, 0);
    scene.admin("GRANT INSERT ON entry TO saldo_commissions").await;
    scene.recovers(worker).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_schema_version_only_delays() {
    let mut scene = Scene::new().await;
    let worker = scene.world.worker().ready().await;
    scene
        .admin(
            "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
             VALUES (9999, 'from the future', true, '', 0)",
        )
        .await;
    scene.end_sessions().await;
    scene.publish(200).await;
    scene.stays_not_ready(&worker, "start a newer program").await;
    assert_eq!(scene.world.count("SELECT count(*) FROM inbox").await, 0);
    scene.admin("DELETE FROM _sqlx_migrations WHERE version = 9999").await;
    scene.recovers(worker).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_end_again_and_again_only_delay() {
    let mut scene = Scene::new().await;
    scene.publish(5000).await;
    let worker = scene
        .world
        .worker()
        .set("SALDO__WORKER__BATCH_COUNT", "50")
        .set("SALDO__WORKER__RETRY_MAX", "100ms")
        .ready()
        .await;
    let (began, mut ended) = (Instant::now(), 0);
    while began.elapsed() < Duration::from_secs(3) {
        ended += scene.end_sessions().await;
        tokio::time::sleep(Duration::from_millis(40)).await;
    }
    let meanwhile = scene.world.count("SELECT count(*) FROM entry").await;
    eprintln!("{ended} connections ended; {meanwhile} of 5000 decided meanwhile");
    assert!(ended > 20, "{ended} connections ended");
    scene.recovers(worker).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_lane_gives_back_comes_back_once() {
    given_back(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_two_lanes_give_back_comes_back_at_most_twice() {
    given_back(2).await;
}

/// An outage that is long for `give_back_after`: each lane returns what it holds, once.
async fn given_back(lanes: i64) {
    const COMMANDS: u32 = 100;
    let mut scene = Scene::new().await;
    let worker = scene
        .world
        .worker()
        .set("SALDO__WORKER__LANES", lanes.to_string())
        .set("SALDO__WORKER__GIVE_BACK_AFTER", "1s")
        .ready()
        .await;
    scene.read_only(true).await;
    scene.publish(100).await;
    scene.stays_not_ready(&worker, "25006").await;
    // Back in the queue, and there it stays while nothing has changed.
    let began = Instant::now();
    eventually("all lanes have given back what they held", PATIENCE, || async {
        let queued = scene.publisher.queued(COMMISSIONS).await;
        let settled = queued.ready == COMMANDS && began.elapsed() > Duration::from_secs(2);
        if settled { Ok(()) } else { Err(queued) }
    })
    .await;
    let quiet = Instant::now();
    while quiet.elapsed() < Duration::from_secs(3) {
        assert_eq!(
            scene.publisher.queued(COMMISSIONS).await.ready,
            COMMANDS,
            "taken again during the outage"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let counts = deliveries(&scene.world, COMMANDS).await;
    eprintln!("{lanes} lanes: given back {counts:?} times");
    assert!(counts.iter().all(|count| (1..=lanes).contains(count)), "{counts:?}");
    let (ready, troubles) = worker.readiness().await.unwrap();
    assert!(!ready, "{troubles}");
    scene.read_only(false).await;
    scene.recovers(worker).await;
}

/// How often the broker says that each of the queue's messages was delivered. Looking is one more.
async fn deliveries(world: &World, count: u32) -> Vec<i64> {
    use futures_util::StreamExt as _;
    let looker = world.publisher().await;
    looker.channel.basic_qos(2000, BasicQosOptions::default()).await.unwrap();
    let (queue, options) = (COMMISSIONS.into(), BasicConsumeOptions::default());
    let consumer =
        looker.channel.basic_consume(queue, "".into(), options, FieldTable::default()).await.unwrap();
    let of = |delivery: lapin::message::Delivery| match delivery.properties.headers().as_ref() {
        Some(headers) => match headers.inner().get("x-delivery-count") {
            Some(AMQPValue::LongLongInt(count)) => *count,
            _ => 0,
        },
        None => 0,
    };
    let mut counts: Vec<i64> =
        consumer.take(count.try_into().unwrap()).map(|delivery| of(delivery.unwrap())).collect().await;
    looker.connection().close(200, "looked".into()).await.unwrap();
    counts.sort_unstable();
    counts.dedup();
    counts
}

/// The ledger's entries on a disk of their own, which is full.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_only_delays() {
    let mut scene = Scene::new().await;
    let disk = Disk::of(&scene.world, &["entry"]).await;
    let worker = scene.world.worker().set("SALDO__WORKER__BATCH_COUNT", "200").ready().await;
    match &disk {
        Ok(disk) => assert!(disk.shrink("1m")),
        Err(why) => {
            eprintln!("{why}: a trigger plays the full disk");
            scene
                .admin(
                    "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                        RAISE EXCEPTION 'could not extend file' USING ERRCODE = 'disk_full'; END $$;
                     CREATE TRIGGER full_disk BEFORE INSERT ON entry EXECUTE FUNCTION full_disk()",
                )
                .await;
        }
    }
    scene.publish(8000).await;
    scene.stays_not_ready(&worker, "53100").await;
    let meanwhile = scene.world.count("SELECT count(*) FROM entry").await;
    eprintln!("{meanwhile} of 8000 decided before the disk was full");
    assert!(meanwhile < 8000);
    match &disk {
        Ok(disk) => disk.enlarge(),
        Err(_) => scene.admin("DROP TRIGGER full_disk ON entry").await,
    }
    scene.recovers(worker).await;
}

/// A worker that has nothing to do notices as well.
#[tokio::test(flavor = "multi_thread")]
async fn an_idle_worker_notices_that_its_database_is_away() {
    let mut scene = Scene::new().await;
    let worker = scene.world.worker().set("SALDO__PARKED__INTERVAL", "200ms").ready().await;
    scene.admin("REVOKE SELECT ON waiting FROM saldo_commissions").await;
    let troubles: Value = worker.wait_not_ready(PATIENCE).await;
    assert!(troubles["troubles"]["chores"].as_str().unwrap().contains("42501"), "{troubles}");
    scene.admin("GRANT SELECT ON waiting TO saldo_commissions").await;
    scene.publish(20).await;
    scene.recovers(worker).await;
}
