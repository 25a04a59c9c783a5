//! What `saldo topology subscriber` makes hears its shops' events, and nothing else; nothing of its own leads to commands.

use std::collections::BTreeSet;

use contract::MerchantId;
use futures_util::StreamExt as _;
use lapin::options::{
    BasicConsumeOptions, BasicGetOptions, ExchangeBindOptions, ExchangeDeclareOptions, QueueBindOptions,
    QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{Connection, ConnectionProperties, ExchangeKind};
use serde_json::{Value, json};
use tests::{COMMISSIONS, PATIENCE, Publisher, Ran, World, credit, eventually};
use worker::rights::Rights;
use worker::topology::{COMMANDS, EVENTS};

use super::{ACCESS_REFUSED, code, publish};

fn name(world: &World) -> String {
    format!("{}_erp", world.name)
}

/// Runs `saldo topology subscriber` for a user of this world; its row.
async fn make(world: &World, arguments: &[&str]) -> (Ran, Value) {
    let name = name(world);
    let ran =
        world.saldo_at_broker(&[&["topology", "subscriber", &name, "--json"], arguments].concat()).await;
    let row = ran.json();
    assert_eq!(row["user"], name.as_str(), "{ran:?}");
    (ran, row)
}

async fn connect(world: &World, password: &str) -> Connection {
    let url = world.worker_amqp_url("commissions");
    let (_, host) = url.split_once('@').unwrap();
    let url = format!("amqp://{}:{password}@{host}", name(world));
    Connection::connect(&url, ConnectionProperties::default()).await.unwrap()
}

fn arguments(of: &[(&str, &str)]) -> FieldTable {
    let mut table = FieldTable::default();
    for (name, value) in of {
        table.insert(ShortString::from(*name), AMQPValue::LongString((*value).into()));
    }
    table
}

/// What the broker answers, each on a channel of its own: nothing, or the code that it closes the channel with.
async fn declare(who: &Connection, queue: &str, with: &[(&str, &str)]) -> Result<(), u16> {
    let channel = who.create_channel().await.unwrap();
    let declared = channel.queue_declare(queue.into(), QueueDeclareOptions::default(), arguments(with)).await;
    declared.map(drop).map_err(|error| code(&error))
}

async fn bind(who: &Connection, queue: &str, exchange: &str, key: &str) -> Result<(), u16> {
    let channel = who.create_channel().await.unwrap();
    let (options, none) = (QueueBindOptions::default(), FieldTable::default());
    channel
        .queue_bind(queue.into(), exchange.into(), key.into(), options, none)
        .await
        .map_err(|error| code(&error))
}

async fn take(who: &Connection, queue: &str) -> Result<(), u16> {
    let channel = who.create_channel().await.unwrap();
    channel.basic_get(queue.into(), BasicGetOptions::default()).await.map(drop).map_err(|error| code(&error))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_created_subscriber_hears_its_shops_and_nothing_else() {
    let world = World::new().await;
    world.register("other", 0).await;
    let (ran, row) = make(&world, &["--merchant", "acme"]).await;
    assert_eq!(
        (ran.status, &row["state"], &row["hears"], &row["publishes"]),
        (0, &json!("created"), &json!(r"^acme\."), &Value::Null),
        "{ran:?}"
    );
    let erp = connect(&world, row["password"].as_str().unwrap()).await;
    let own = format!("{}.events", name(&world));
    declare(&erp, &own, &[]).await.unwrap();

    for key in ["#", "other.#", "*.commission.credited", "", "acme", "acmex.#", "#.acme.#", "*"] {
        assert_eq!(bind(&erp, &own, EVENTS, key).await, Err(ACCESS_REFUSED), "{key}");
    }
    for exchange in [COMMANDS, "saldo.dead", "saldo.unroutable", "amq.topic"] {
        assert_eq!(bind(&erp, &own, exchange, "acme.#").await, Err(ACCESS_REFUSED), "{exchange}");
    }
    let command = credit("forged", "mallory", "1.00").to_string();
    for (exchange, key) in
        [(COMMANDS, "acme.commission.credit"), (EVENTS, "acme.commission.credited"), ("", COMMISSIONS)]
    {
        let answer = publish(&erp, exchange, key, &command, Publisher::properties()).await;
        assert_eq!(answer, Err(ACCESS_REFUSED), "{exchange:?}");
    }
    let others = format!("{}x.events", name(&world));
    world.manage("PUT", &format!("queues/{}/{others}", world.name), None).await;
    for queue in
        [others.as_str(), COMMISSIONS, "saldo.notifier", "saldo.commissions.dead", "saldo.unroutable"]
    {
        assert_eq!(take(&erp, queue).await, Err(ACCESS_REFUSED), "taking from {queue}");
        assert_eq!(bind(&erp, queue, EVENTS, "acme.#").await, Err(ACCESS_REFUSED), "binding {queue}");
    }
    for queue in ["", "erp.events", "saldo.events", &others] {
        assert_eq!(declare(&erp, queue, &[]).await, Err(ACCESS_REFUSED), "declaring {queue:?}");
    }

    // What it may: all of its shop, and that alone comes.
    bind(&erp, &own, EVENTS, "acme.#").await.unwrap();
    bind(&erp, &own, EVENTS, "acme.commission.credited").await.unwrap();
    let channel = erp.create_channel().await.unwrap();
    let options = BasicConsumeOptions { no_ack: true, ..Default::default() };
    let mut events =
        channel.basic_consume(own.as_str().into(), "".into(), options, FieldTable::default()).await.unwrap();
    let mut worker = world.worker().ready().await;
    let mut foreign = credit("foreign", "mallory", "1.00");
    foreign["data"]["merchant"] = json!("other");
    world.publisher().await.publish(&[foreign, credit("own", "anna", "5.00")]).await;
    let first = tokio::time::timeout(PATIENCE, events.next()).await.unwrap().unwrap().unwrap();
    assert_eq!(first.routing_key.as_str(), "acme.commission.credited");
    assert!(worker.terminate().await.success());
    assert_eq!(world.count("SELECT count(*) FROM entry").await, 2, "the other shop's was told, too");
    drop(erp);

    let (ran, row) = make(&world, &["--merchant", "acme"]).await;
    assert_eq!((ran.status, &row["state"]), (0, &json!("unchanged")), "{ran:?}");
    let (ran, row) = make(&world, &["--merchant", "acme", "--merchant", "other"]).await;
    assert_eq!((ran.status, &row["state"]), (1, &json!("differs")), "{ran:?}");
    assert!(ran.messages.contains(r"may hear `^acme\.`, not `^(acme|other)\.`"), "{ran:?}");
    let told = world.saldo_at_broker(&["doctor"]).await.output;
    assert!(told.contains(&format!("{} hears events of acme", name(&world))), "{told}");
}

/// A dead letter, a stray, or what comes through a binding would be held against no topic permission.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_a_subscriber_makes_leads_to_commands() {
    let world = World::new().await;
    let (_, row) = make(&world, &["--merchant", "acme"]).await;
    let erp = connect(&world, row["password"].as_str().unwrap()).await;
    let own = |what: &str| format!("{}.{what}", name(&world));
    for target in [COMMANDS, EVENTS, ""] {
        let letters =
            [("x-dead-letter-exchange", target), ("x-dead-letter-routing-key", "saldo.commissions")];
        assert_eq!(declare(&erp, &own("queue"), &letters).await, Err(ACCESS_REFUSED), "{target:?}");
        let channel = erp.create_channel().await.unwrap();
        let strays = arguments(&[("alternate-exchange", target)]);
        let options = ExchangeDeclareOptions::default();
        let declared =
            channel.exchange_declare(own("x").as_str().into(), ExchangeKind::Fanout, options, strays).await;
        if !target.is_empty() {
            assert_eq!(code(&declared.unwrap_err()), ACCESS_REFUSED, "{target:?}");
        }
    }
    let channel = erp.create_channel().await.unwrap();
    let (options, none) = (ExchangeDeclareOptions::default(), FieldTable::default);
    channel
        .exchange_declare(own("fanout").as_str().into(), ExchangeKind::Fanout, options, none())
        .await
        .unwrap();
    let options = ExchangeBindOptions::default();
    // Nor does a binding of an exchange hear more than one of a queue.
    let other = erp.create_channel().await.unwrap();
    let bound =
        other.exchange_bind(own("fanout").as_str().into(), EVENTS.into(), "#".into(), options, none()).await;
    assert_eq!(code(&bound.unwrap_err()), ACCESS_REFUSED);
    let bound = channel
        .exchange_bind(COMMANDS.into(), own("fanout").as_str().into(), "".into(), options, none())
        .await;
    assert_eq!(code(&bound.unwrap_err()), ACCESS_REFUSED);
}

/// Why doctor tells of readers without a topic permission: they hear everything, and the same user with one does not.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_may_read_events_hears_every_shop_unless_a_topic_permission_says_otherwise() {
    let world = World::new().await;
    let merchants: BTreeSet<MerchantId> = ["acme".parse().unwrap()].into();
    let confined = Rights::subscriber(&name(&world).parse().unwrap(), &merchants);
    let login = json!({ "password": tests::world::PASSWORD, "tags": "" });
    world.manage("PUT", &format!("users/{}", name(&world)), Some(login)).await;
    world.permit(&name(&world), &Rights { hears: None, ..confined.clone() }).await;
    let own = format!("{}.events", name(&world));
    let erp = connect(&world, tests::world::PASSWORD).await;
    declare(&erp, &own, &[]).await.unwrap();
    bind(&erp, &own, EVENTS, "#").await.unwrap();
    let told = world.saldo_at_broker(&["doctor"]).await;
    assert_eq!(told.status, 1, "{told:?}");
    assert!(
        told.output.contains(&format!("{} may read saldo.events and has no topic permission", name(&world)))
    );
    assert!(
        told.output.contains(&format!("saldo topology subscriber {} --merchant ID --replace", name(&world)))
    );

    world.permit(&name(&world), &confined).await;
    drop(erp);
    let erp = connect(&world, tests::world::PASSWORD).await;
    assert_eq!(bind(&erp, &own, EVENTS, "other.#").await, Err(ACCESS_REFUSED));
    assert_eq!(bind(&erp, &own, EVENTS, "#").await, Err(ACCESS_REFUSED));
}

/// The broker remembers for each connection what its user may: rights that are replaced count for those that are made then.
#[tokio::test(flavor = "multi_thread")]
async fn replaced_rights_count_once_old_connections_are_closed() {
    let world = World::new().await;
    let (_, row) = make(&world, &["--merchant", "acme"]).await;
    let password = row["password"].as_str().unwrap();
    let erp = connect(&world, password).await;
    let own = format!("{}.events", name(&world));
    declare(&erp, &own, &[]).await.unwrap();
    let (channel, queue) = (erp.create_channel().await.unwrap(), own.clone());
    let busy = tokio::spawn(async move {
        loop {
            let (options, none) = (QueueBindOptions::default(), FieldTable::default());
            let bound =
                channel.queue_bind(queue.as_str().into(), EVENTS.into(), "acme.#".into(), options, none);
            if let Err(error) = bound.await {
                return error;
            }
        }
    });
    let listed = format!("vhosts/{}/connections", world.name);
    eventually("the connection is listed", PATIENCE, || async {
        let connections = world.manage("GET", &listed, None).await;
        let mine = connections.as_array().unwrap().iter().filter(|it| it["user"] == name(&world).as_str());
        if mine.count() == 1 { Ok(()) } else { Err(connections) }
    })
    .await;

    let (ran, row) = make(&world, &["--merchant", "other", "--replace"]).await;
    assert_eq!(
        (ran.status, &row["state"], &row["connections"]),
        (0, &json!("replaced"), &json!(1)),
        "{ran:?}"
    );
    assert!(ran.messages.contains("1 connection of") && ran.messages.contains("--disconnect"), "{ran:?}");
    // It is told, and left alone: there it has gone on with what it was doing. (An idle channel forgets, and asks again.)
    assert!(!busy.is_finished(), "{:?}", busy.await);
    let other = connect(&world, password).await;
    assert_eq!(bind(&other, &own, EVENTS, "acme.#").await, Err(ACCESS_REFUSED));

    // Both are closed, also the one that may not be listed yet; and who connects then is left alone.
    let (ran, row) = make(&world, &["--merchant", "other", "--disconnect"]).await;
    assert_eq!(
        (ran.status, &row["state"], &row["connections"]),
        (0, &json!("unchanged"), &json!(2)),
        "{ran:?}"
    );
    eventually("both are closed", PATIENCE, || async {
        let open = [&erp, &other].map(|connection| connection.status().connected());
        if open == [false, false] { Ok(()) } else { Err(open) }
    })
    .await;
    eventually("what was busy has ended", PATIENCE, || async { busy.is_finished().then_some(()).ok_or(()) })
        .await;
    let again = connect(&world, password).await;
    assert_eq!(bind(&again, &own, EVENTS, "acme.#").await, Err(ACCESS_REFUSED));
    bind(&again, &own, EVENTS, "other.#").await.unwrap();
}
