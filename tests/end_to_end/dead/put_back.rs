//! A letter that was taken in the place of another one is put back as it was, and nothing is taken that could not be.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldArray, FieldTable};
use serde_json::{Value, json};
use tests::{Collector, PATIENCE, Publisher, World};
use worker::topology::{DEAD, UNROUTABLE, dead_queue};

use super::meddler::Meddler;
use super::unreadable::{deadly, killer, letters};
use super::{dead, deeds, holds, letter, list, put_raw, texts, user};
use crate::hostile::padded;

fn queue() -> String {
    dead_queue("commissions")
}

/// Everything that a message can say of itself.
fn rich() -> BasicProperties {
    let text = |text: &str| AMQPValue::LongString(text.into());
    let mut table = FieldTable::default();
    table.insert("inner".into(), text("é"));
    let mut headers = FieldTable::default();
    for (name, value) in [
        ("saldo-reason", text("culprit")),
        ("saldo-detail", text("23514")),
        ("saldo-routing-key", text("acme.commission.credit")),
        ("saldo-user", text("acme-admin")),
        ("a number", AMQPValue::LongLongInt(-7)),
        ("a flag", AMQPValue::Boolean(true)),
        ("a list", AMQPValue::FieldArray(FieldArray::from(vec![AMQPValue::FieldTable(table)]))),
    ] {
        headers.insert(name.into(), value);
    }
    Publisher::properties()
        .with_headers(headers)
        .with_message_id("m-1".into())
        .with_correlation_id("k-1".into())
        .with_type("t".into())
        .with_app_id("a".into())
        .with_content_encoding("identity".into())
        .with_priority(3)
        .with_timestamp(1_800_000_000)
}

const BODY: &[u8] = b"\0\xff no JSON";

/// The message with this body, as it is handed out for the first time.
async fn copy_of(world: &World) -> Value {
    let wanted = json!({ "count": 10, "ackmode": "reject_requeue_true", "encoding": "base64" });
    let messages =
        world.manage("POST", &format!("queues/{}/{}/get", world.name, queue()), Some(wanted)).await;
    let body = STANDARD.encode(BODY);
    messages.as_array().unwrap().iter().find(|message| message["payload"] == body.as_str()).unwrap().clone()
}

/// Discards a letter while somebody meddles.
async fn discard(world: &World, meddler: &Meddler, letter: &str) -> tests::Ran {
    let url = meddler.url();
    let settings = [("SALDO__BROKER__MANAGEMENT_URL", url.as_str())];
    let arguments = ["dead", "discard", letter, "--unread", "--because", "tests", "--actor", "anna"];
    world.saldo_at_broker_with(&settings, &arguments).await
}

/// The names of the letters that no client can receive.
async fn killers(world: &World) -> Vec<String> {
    let rows = list(world, &[]).await;
    let killers = rows.iter().filter(|row| row["readable_over_amqp"] == false);
    killers.map(|row| letter(row).to_owned()).collect()
}

/// A world with one letter that no client can receive and one that one can.
async fn with_killer() -> (World, Publisher, String) {
    let world = World::new().await;
    let publisher = world.publisher().await;
    killer(&world, &publisher, b"{}").await;
    put_raw(&publisher, "commissions", b"another", Publisher::properties()).await;
    holds(&publisher, &queue(), 2).await;
    list(&world, &[]).await;
    let name = killers(&world).await.pop().unwrap();
    (world, publisher, name)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_letter_that_comes_in_between_is_put_back_as_it_was() {
    // Its name, in a world where nothing happens to it.
    let other = World::new().await;
    put_raw(&other.publisher().await, "commissions", BODY, rich()).await;
    let name = letter(&list(&other, &[]).await[0]).to_owned();

    // At once; where the way that it came by is barred for a moment; and where it is barred for longer.
    for refusals in [0, 1, 3] {
        let (world, publisher, killer) = with_killer().await;
        let newcomer = {
            let publisher = publisher.clone();
            Box::new(async move { put_raw(&publisher, "commissions", BODY, rich()).await })
        };
        let meddler = Meddler::start(&world, &queue(), Some(newcomer), refusals).await;
        let ran = discard(&world, &meddler, &killer).await;
        assert_eq!(ran.status, 1, "{ran:?}");
        assert!(ran.messages.contains("another letter had come first, and was put back"), "{ran:?}");
        holds(&publisher, &queue(), 3).await;
        let copy = copy_of(&world).await;
        let counted = copy["properties"]["headers"].get("x-delivery-count");
        assert!(counted.is_none_or(|count| *count == 0), "{copy:#}");
        let rows = list(&world, &[]).await;
        // The other way leads there as well, and does not say that it was a worker who put it there.
        let keeps_its_name = refusals < 3;
        assert_eq!(texts(&rows, "letter").contains(&name.as_str()), keeps_its_name, "{rows:#?}");
        assert_eq!(killers(&world).await, [killer.as_str()]);
        // Undisturbed, it goes.
        let ran = discard(&world, &meddler, &killer).await;
        assert_eq!(ran.status, 0, "{ran:?}");
        assert_eq!(deeds(&world).await.len(), 2, "both attempts are recorded");

        let queue = Collector::of_queue(&world, &queue()).await;
        let left = queue.at_least(2, PATIENCE).await;
        let [copy] = &left.iter().filter(|left| left.body == BODY).collect::<Vec<_>>()[..] else {
            panic!("lost or doubled: {left:?}")
        };
        assert_eq!(copy.routing_key, dead_queue("commissions"));
        // What the broker counts is no part of it.
        let mut headers = FieldTable::default();
        for (name, value) in copy.properties.headers().as_ref().unwrap().inner() {
            if !name.as_str().starts_with("x-") {
                headers.insert(name.clone(), value.clone());
            }
        }
        assert_eq!(copy.properties.clone().with_headers(headers), rich());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_letter_that_no_client_can_receive_is_put_back_as_it_was() {
    for meant in [0, 1] {
        let world = World::new().await;
        let publisher = world.publisher().await;
        letters(&world, &publisher).await;
        list(&world, &[]).await;
        let before = list(&world, &[]).await;
        let show = async |name: &str| world.saldo_at_broker(&["dead", "show", name, "--json"]).await.json();
        let names = killers(&world).await;
        assert_eq!(names.len(), 2, "{before:#?}");
        let (meant, taken) = (&names[meant], &names[1 - meant]);
        let was = show(taken).await;
        let meddler = Meddler::start(&world, &queue(), None, 0).await;
        let ran = discard(&world, &meddler, meant).await;
        assert_eq!(ran.status, 1, "{ran:?}");
        assert!(ran.messages.contains("was put back at the end of the queue"), "{ran:?}");
        holds(&publisher, &queue(), 12).await;
        let is = show(taken).await;
        for field in ["body", "headers", "bytes", "message_id", "content_type", "reason", "made_by", "queue"]
        {
            assert_eq!(is[field], was[field], "{field}");
        }
        let sorted = |rows: &[Value]| {
            let mut names: Vec<String> = texts(rows, "letter").into_iter().map(str::to_owned).collect();
            names.sort_unstable();
            names
        };
        assert_eq!(sorted(&list(&world, &[]).await), sorted(&before), "nothing is lost, doubled or renamed");
    }
}

/// A stray loses what it cannot keep, and nothing else.
#[tokio::test(flavor = "multi_thread")]
async fn a_stray_that_is_put_back_is_there_to_be_discarded() {
    let world = World::new().await;
    let publisher = world.publisher().await;
    let killer = padded(deadly(&world).await);
    publisher.raw("acme.unheard.of", b"{}", killer).await;
    holds(&publisher, UNROUTABLE, 1).await;
    list(&world, &[]).await;
    let name = killers(&world).await.pop().unwrap();
    let newcomer = {
        let publisher = publisher.clone();
        Box::new(async move {
            publisher
                .raw("acme.heard.of", BODY, Publisher::properties().with_expiration("60000".into()))
                .await;
        })
    };
    let meddler = Meddler::start(&world, UNROUTABLE, Some(newcomer), 0).await;
    let ran = discard(&world, &meddler, &name).await;
    assert!(ran.messages.contains("was put back at the end of the queue"), "{ran:?}");
    holds(&publisher, UNROUTABLE, 2).await;
    let rows = list(&world, &[]).await;
    let stray = rows.iter().find(|row| row["readable_over_amqp"] == true).unwrap();
    assert_eq!((&stray["reason"], &stray["routing_key"]), (&"unroutable".into(), &Value::Null));
    let ran = dead(&world, &["discard", letter(stray), "--unread", "--because", "tests"]).await;
    assert_eq!(ran.status, 0, "{ran:?}");
}

/// Where even that fails, nobody is left in the belief that it is there.
#[tokio::test(flavor = "multi_thread")]
async fn a_letter_that_cannot_be_put_back_after_all_is_told() {
    let (world, publisher, killer) = with_killer().await;
    let newcomer = {
        let publisher = publisher.clone();
        Box::new(async move { put_raw(&publisher, "commissions", BODY, rich()).await })
    };
    let meddler = Meddler::start(&world, &queue(), Some(newcomer), 100).await;
    let ran = discard(&world, &meddler, &killer).await;
    assert_eq!(ran.status, 1, "{ran:?}");
    assert!(
        ran.messages.contains("could not be put back: it is lost: RabbitMQ's management API answered 503"),
        "{ran:?}"
    );
    holds(&publisher, &queue(), 2).await;
    assert_eq!(killers(&world).await, [killer]);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_taken_by_a_user_who_may_not_put_it_back() {
    let (world, publisher, killer) = with_killer().await;
    let read = r"^saldo\.(unroutable|.*\.dead)$";
    let discard = ["dead", "discard", &killer, "--unread", "--because", "tests", "--actor", "anna"];
    for (write, missing) in
        [("^$", "amq.default"), (r"^amq\.default$", DEAD), (r"^saldo\.dead$", "amq.default")]
    {
        let (_, url) = user(&world, "management", ["^$", write, read]).await;
        let ran = world.saldo_at_broker_with(&[("SALDO__BROKER__MANAGEMENT_URL", &url)], &discard).await;
        assert_eq!(ran.status, 1, "{write}: {ran:?}");
        assert!(ran.messages.contains("could not be taken out"), "{write}: {ran:?}");
        assert!(ran.messages.contains(missing), "{write}: {ran:?}");
        holds(&publisher, &queue(), 2).await;
        assert_eq!(killers(&world).await, [killer.as_str()], "{write}");
    }
    let (name, url) = user(&world, "management", ["^$", r"^(saldo\.dead|amq\.default)$", read]).await;
    let ran = world.saldo_at_broker_with(&[("SALDO__BROKER__MANAGEMENT_URL", &url)], &discard).await;
    assert_eq!(ran.status, 0, "{ran:?}");
    holds(&publisher, &queue(), 1).await;
    world.manage("DELETE", &format!("users/{name}"), None).await;
}

/// Of long ones only the beginnings are listed; and a very long one could not be put back.
#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_told_apart_or_be_put_back_stays() {
    let world = World::new().await;
    let publisher = world.publisher().await;
    let body = |end: u8| [vec![b'x'; 9_000], vec![end]].concat();
    for end in [1, 2] {
        killer(&world, &publisher, &body(end)).await;
    }
    killer(&world, &publisher, b"short").await;
    holds(&publisher, &queue(), 3).await;
    list(&world, &[]).await;
    let rows = list(&world, &[]).await;
    assert_eq!(killers(&world).await.len(), 3, "{rows:#?}");
    let (long, short): (Vec<&Value>, Vec<&Value>) = rows.iter().partition(|row| row["bytes"] == 9_001);
    let discard =
        async |row: &Value| dead(&world, &["discard", letter(row), "--unread", "--because", "tests"]).await;
    for row in &long {
        let ran = discard(row).await;
        assert_eq!(ran.status, 1, "{ran:?}");
        assert!(ran.messages.contains("is as long and begins alike"), "{ran:?}");
    }
    holds(&publisher, &queue(), 3).await;
    let ran = discard(short[0]).await;
    assert_eq!(ran.status, 0, "{ran:?}");
    holds(&publisher, &queue(), 2).await;

    let world = World::new().await;
    let publisher = world.publisher().await;
    killer(&world, &publisher, &vec![b'x'; 1_500_000]).await;
    killer(&world, &publisher, b"short").await;
    holds(&publisher, &queue(), 2).await;
    list(&world, &[]).await;
    let rows = list(&world, &[]).await;
    let row = |short: bool| rows.iter().find(|row| (row["bytes"] == 5) == short).unwrap();
    let discard =
        async |row: &Value| dead(&world, &["discard", letter(row), "--unread", "--because", "tests"]).await;
    let ran = discard(row(true)).await;
    assert_eq!(ran.status, 1, "{ran:?}");
    assert!(ran.messages.contains("is too long to be put back if it is taken by mistake"), "{ran:?}");
    for short in [false, true] {
        let ran = discard(row(short)).await;
        assert_eq!(ran.status, 0, "{ran:?}");
    }
    holds(&publisher, &queue(), 0).await;
}
