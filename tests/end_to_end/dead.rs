//! Dead letters: looked at without harm, replayed, discarded; and nothing of it without a word about who did it.

mod discard;
mod looking;
mod meddler;
mod put_back;
mod replay;
mod routes;
mod unreadable;

use lapin::BasicProperties;
use lapin::options::BasicPublishOptions;
use lapin::types::{AMQPValue, FieldTable};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Executor as _};
use tests::message::routing_key;
use tests::world::{PASSWORD, server};
use tests::{PATIENCE, Publisher, Ran, World, credit, eventually};
use worker::topology::{DEAD, dead_queue};

/// Commands with this note violate a constraint, as long as there is one.
const BOOM: &str = "boom";

/// Rows of `saldo dead list`.
async fn list(world: &World, filter: &[&str]) -> Vec<Value> {
    world.saldo_at_broker(&[&["dead", "list", "--json"], filter].concat()).await.lines()
}

/// What `saldo dead deeds` shows, the newest first.
async fn deeds(world: &World) -> Vec<Value> {
    world.saldo(&["dead", "deeds", "--json"]).await.lines()
}

/// Of each row.
fn texts<'r>(rows: &'r [Value], field: &str) -> Vec<&'r str> {
    rows.iter().map(|row| row[field].as_str().unwrap_or("-")).collect()
}

fn letter(row: &Value) -> &str {
    row["letter"].as_str().unwrap()
}

/// Waits until a queue holds so many messages.
async fn holds(publisher: &Publisher, queue: &str, count: u32) {
    eventually("the queue holds as many letters as it should", PATIENCE, || async {
        let queued = publisher.queued(queue).await;
        if queued.ready == count { Ok(()) } else { Err(queued) }
    })
    .await;
}

/// Puts a letter into a worker's queue of dead letters as this worker does.
async fn put(publisher: &Publisher, worker: &str, message: &Value, reason: &str, more: &[(&str, &str)]) {
    let mut headers = FieldTable::default();
    let key = routing_key(message);
    for (name, text) in
        [("saldo-reason", reason), ("saldo-routing-key", &key)].into_iter().chain(more.iter().copied())
    {
        headers.insert(name.into(), AMQPValue::LongString(text.into()));
    }
    headers.insert("saldo-dead-at".into(), AMQPValue::Timestamp(1_800_000_000));
    put_raw(publisher, worker, message.to_string().as_bytes(), Publisher::properties().with_headers(headers))
        .await;
}

async fn put_raw(publisher: &Publisher, worker: &str, body: &[u8], properties: BasicProperties) {
    let options = BasicPublishOptions { mandatory: true, ..Default::default() };
    let queue = dead_queue(worker);
    let confirm =
        publisher.channel.basic_publish(DEAD.into(), queue.as_str().into(), options, body, properties);
    assert_eq!(confirm.await.unwrap().await.unwrap(), lapin::Confirmation::Ack(None));
}

/// A world in which c-1 was credited, and has a letter all the same; and the event about it.
async fn decided() -> (World, Publisher, Vec<u8>) {
    let world = World::new().await;
    let (events, publisher) = (world.events().await, world.publisher().await);
    let mut worker = world.worker().ready().await;
    let command = credit("c-1", "anna", "12.50");
    publisher.publish(std::slice::from_ref(&command)).await;
    let told = events.at_least(1, PATIENCE).await[0].body.clone();
    assert!(worker.terminate().await.success());
    put(&publisher, "commissions", &command, "culprit", &[]).await;
    (world, publisher, told)
}

/// A broker user with these tags and permissions, and the management API's URL for it.
async fn user(world: &World, tags: &str, permissions: [&str; 3]) -> (String, String) {
    let name = format!("{}_user", world.name);
    world.manage("PUT", &format!("users/{name}"), Some(json!({ "password": PASSWORD, "tags": tags }))).await;
    let [configure, write, read] = permissions;
    let rights = json!({ "configure": configure, "write": write, "read": read });
    world.manage("PUT", &format!("permissions/{}/{name}", world.name), Some(rights)).await;
    let api = server("SALDO_TEST_MANAGEMENT_URL");
    let (scheme, rest) = api.split_once("://").unwrap();
    let url = format!("{scheme}://{name}:{PASSWORD}@{}", rest.split_once('@').unwrap().1);
    (name, url)
}

/// From now on, or no longer, the ledger refuses what says boom.
async fn trap(world: &World, on: bool) {
    let change = if on {
        format!("ADD CONSTRAINT boom CHECK (note <> '{BOOM}')")
    } else {
        "DROP CONSTRAINT boom".into()
    };
    world.superuser().await.execute(AssertSqlSafe(format!("ALTER TABLE entry {change}"))).await.unwrap();
}

fn noted(mut message: Value) -> Value {
    message["data"]["note"] = json!(BOOM);
    message
}

/// Runs a `saldo dead` command by anna.
async fn dead(world: &World, arguments: &[&str]) -> Ran {
    world.saldo_at_broker(&[&["dead"], arguments, &["--actor", "anna"]].concat()).await
}
