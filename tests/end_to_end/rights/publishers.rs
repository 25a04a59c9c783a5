//! What `saldo topology publisher` makes can do its commands for its merchant, and nothing else; and what it finds stays.

use lapin::options::{QueueBindOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{Confirmation, Connection, ConnectionProperties};
use serde_json::{Value, json};
use tests::{COMMISSIONS, PATIENCE, Publisher, Ran, World, credit, eventually, reverse};
use worker::rights::{Rights, services};
use worker::topology::{COMMANDS, DEAD, EVENTS, UNROUTABLE};

use super::{ACCESS_REFUSED, code, publish};

/// Runs `saldo topology publisher` for a user of this world, with these further arguments; its row.
async fn make(world: &World, arguments: &[&str]) -> (Ran, Value) {
    let name = name(world);
    let all = [&["topology", "publisher", &name, "--json"], arguments].concat();
    let ran = world.saldo_at_broker(&all).await;
    let row = ran.json();
    assert_eq!(row["user"], name.as_str(), "{ran:?}");
    (ran, row)
}

fn name(world: &World) -> String {
    format!("{}_shop", world.name)
}

const AFFILIATES: [&str; 4] = ["--merchant", "acme", "--allow", "commission"];
const PATTERN: &str = r"^acme\.commission\.(credit|reverse)$";

async fn connect(world: &World, password: &str) -> lapin::Result<Connection> {
    let url = world.worker_amqp_url("commissions");
    let (_, host) = url.split_once('@').unwrap();
    let url = format!("amqp://{}:{password}@{host}", name(world));
    Connection::connect(&url, ConnectionProperties::default()).await
}

/// All that the broker has of the user: in this virtual host, and its tags.
async fn rights(world: &World) -> Value {
    let name = name(world);
    let get = async |path: String| world.try_manage("GET", &path, None).await.unwrap_or_default();
    json!([
        get(format!("permissions/{}/{name}", world.name)).await,
        get(format!("topic-permissions/{}/{name}", world.name)).await,
        get(format!("users/{name}")).await,
    ])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_created_publisher_sends_its_commands_for_its_merchant_and_nothing_else() {
    let world = World::new().await;
    world.register("other", 0).await;
    let events = world.events().await;
    let (ran, row) = make(&world, &AFFILIATES).await;
    assert_eq!(
        (ran.status, &row["state"], &row["publishes"]),
        (0, &json!("created"), &json!(PATTERN)),
        "{ran:?}"
    );
    let password = row["password"].as_str().unwrap();
    assert!(password.len() >= 32 && !ran.messages.contains(password), "{ran:?}");
    let shop = connect(&world, password).await.unwrap();
    let mut worker = world.worker().ready().await;

    let mut foreign = credit("foreign", "mallory", "1.00");
    foreign["data"]["merchant"] = json!("other");
    let foreign = foreign.to_string();
    for key in [
        "other.commission.credit",
        "acme.adjustment.credit",
        "acme.withdrawal.pay",
        "acme.preferences.put",
        "acme.commission.credit.x",
        "acmex.commission.credit",
        "xacme.commission.credit",
        "",
        "#",
    ] {
        let answer = publish(&shop, COMMANDS, key, &foreign, Publisher::properties()).await;
        assert_eq!(answer, Err(ACCESS_REFUSED), "{key}");
    }
    for exchange in ["", EVENTS, DEAD, UNROUTABLE, "amq.topic"] {
        let answer = publish(&shop, exchange, COMMISSIONS, &foreign, Publisher::properties()).await;
        assert_eq!(answer, Err(ACCESS_REFUSED), "{exchange:?}");
    }
    let channel = shop.create_channel().await.unwrap();
    let declared =
        channel.queue_declare("".into(), QueueDeclareOptions::default(), FieldTable::default()).await;
    assert_eq!(code(&declared.unwrap_err()), ACCESS_REFUSED);
    let channel = shop.create_channel().await.unwrap();
    let (queue, key, options) = (COMMISSIONS.into(), "#".into(), QueueBindOptions::default());
    let bound = channel.queue_bind(queue, EVENTS.into(), key, options, FieldTable::default()).await;
    assert_eq!(code(&bound.unwrap_err()), ACCESS_REFUSED);

    for (key, command) in [
        ("acme.commission.credit", credit("own", "anna", "5.00")),
        ("acme.commission.reverse", reverse("back", "own", None)),
    ] {
        let answer = publish(&shop, COMMANDS, key, &command.to_string(), Publisher::properties()).await;
        assert_eq!(answer, Ok(Confirmation::Ack(None)), "{key}");
    }
    eventually("both are carried out", PATIENCE, || async {
        let done = [events.causes("commission.credited").len(), events.causes("commission.reversed").len()];
        if done == [1, 1] { Ok(()) } else { Err(done) }
    })
    .await;
    assert_eq!(world.count("SELECT count(*) FROM account WHERE merchant <> 'acme'").await, 0);
    assert!(worker.terminate().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn making_a_publisher_again_changes_nothing_and_never_widens_it_unasked() {
    let world = World::new().await;
    let (ran, row) = make(&world, &[&AFFILIATES[..], &["--dry-run"]].concat()).await;
    assert_eq!(
        (ran.status, &row["state"], &row["password"]),
        (0, &json!("created"), &Value::Null),
        "{ran:?}"
    );
    assert_eq!(rights(&world).await, json!([null, null, null]));

    let (_, row) = make(&world, &AFFILIATES).await;
    let password = row["password"].as_str().unwrap().to_owned();
    let made = rights(&world).await;
    let (ran, row) = make(&world, &AFFILIATES).await;
    assert_eq!(
        (ran.status, &row["state"], &row["password"]),
        (0, &json!("unchanged"), &Value::Null),
        "{ran:?}"
    );
    assert_eq!(rights(&world).await, made);

    for other in [
        &["--merchant", "acme", "--allow", "commission", "--allow", "adjustment.credit"][..],
        &["--merchant", "acme", "--allow", "commission.credit"],
        &["--merchant", "other", "--allow", "commission"],
    ] {
        let (ran, row) = make(&world, other).await;
        assert_eq!((ran.status, &row["state"]), (1, &json!("differs")), "{ran:?}");
        assert!(ran.messages.contains(&format!("may publish `{PATTERN}`, not")), "{ran:?}");
        assert_eq!(rights(&world).await, made);
    }
    let (ran, row) =
        make(&world, &["--merchant", "acme", "--allow", "withdrawal.request", "--replace"]).await;
    assert_eq!((ran.status, &row["state"]), (0, &json!("replaced")), "{ran:?}");
    let replaced = rights(&world).await;
    assert_eq!(replaced[1][0]["write"], r"^acme\.withdrawal\.request$");
    assert_eq!((&replaced[0], &replaced[2]), (&made[0], &made[2]), "only the topic permission");
    connect(&world, &password).await.unwrap();
    let (_, row) =
        make(&world, &["--merchant", "acme", "--allow", "withdrawal.request", "--new-password"]).await;
    let renewed = row["password"].as_str().unwrap();
    assert!(connect(&world, &password).await.is_err());
    connect(&world, renewed).await.unwrap();
}

/// What an interruption leaves is nobody who may publish anything, and is finished; what looks like one and is more is not
/// touched.
#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_creation_is_finished_and_a_user_with_more_is_left_alone() {
    let user = async |world: &World, tags: &str| {
        let login = json!({ "password": "for-tests-only", "tags": tags });
        world.manage("PUT", &format!("users/{}", name(world)), Some(login)).await;
    };
    let put = async |world: &World, what: &str, body: Value| {
        world.manage("PUT", &format!("{what}/{}/{}", world.name, name(world)), Some(body)).await;
    };
    let topic = json!({ "exchange": COMMANDS, "write": PATTERN, "read": "^$" });
    let write = json!({ "configure": "^$", "write": r"^saldo\.commands$", "read": "^$" });

    for with_topic in [false, true] {
        let world = World::new().await;
        user(&world, "").await;
        if with_topic {
            put(&world, "topic-permissions", topic.clone()).await;
        }
        assert!(connect(&world, "for-tests-only").await.is_err(), "it may enter nowhere yet");
        let (ran, row) = make(&world, &AFFILIATES).await;
        assert_eq!((ran.status, &row["state"]), (0, &json!("finished")), "{ran:?}");
        assert_eq!(rights(&world).await[1][0]["write"], PATTERN);
        connect(&world, "for-tests-only").await.unwrap();
    }

    let unconfined = World::new().await;
    user(&unconfined, "").await;
    put(&unconfined, "permissions", write.clone()).await;
    let (ran, row) = make(&unconfined, &AFFILIATES).await;
    assert_eq!((ran.status, &row["state"]), (1, &json!("differs")), "{ran:?}");
    assert!(ran.messages.contains("may publish any command"), "{ran:?}");
    let (ran, _) = make(&unconfined, &[&AFFILIATES[..], &["--replace"]].concat()).await;
    assert_eq!(ran.status, 0, "{ran:?}");
    assert_eq!(rights(&unconfined).await[1][0]["write"], PATTERN);

    let administrator = World::new().await;
    user(&administrator, "administrator").await;
    let before = rights(&administrator).await;
    let (ran, row) =
        make(&administrator, &[&AFFILIATES[..], &["--replace", "--new-password"]].concat()).await;
    assert_eq!(
        (ran.status, &row["state"], &row["password"]),
        (1, &json!("differs"), &Value::Null),
        "{ran:?}"
    );
    assert_eq!(rights(&administrator).await, before);
    administrator.manage("DELETE", &format!("users/{}", name(&administrator)), None).await;
}

/// These belong to the broker and not to a world: they keep their passwords, and get rights in this one.
#[tokio::test(flavor = "multi_thread")]
async fn the_services_users_are_made_with_the_rights_that_are_declared() {
    let world = World::new().await;
    let first = world.saldo_at_broker(&["topology", "services", "--json"]).await;
    assert_eq!(first.lines().len(), services().count(), "{first:?}");
    for (name, Rights { permissions, .. }) in services() {
        let found = world.manage("GET", &format!("permissions/{}/{name}", world.name), None).await;
        assert_eq!(
            [&found["configure"], &found["write"], &found["read"]],
            [&permissions.configure, &permissions.write, &permissions.read]
        );
    }
    let again = world.saldo_at_broker(&["topology", "services", "--json"]).await;
    assert!(
        again.lines().iter().all(|row| row["state"] == "unchanged" && row["password"].is_null()),
        "{again:?}"
    );
}
