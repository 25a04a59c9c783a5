//! What nobody may do, whoever asks: the database and the broker refuse it themselves.

mod mails;
mod publishers;
mod roles;
mod subscribers;

use lapin::options::{
    BasicConsumeOptions, BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Confirmation, Connection, ConnectionProperties, ErrorKind};
use ledger::read::{ChainFault, verify_chain};
use rust_decimal::Decimal;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Executor as _, PgConnection};
use tests::world::PASSWORD;
use tests::{COMMISSIONS, PATIENCE, Publisher, World, credit, eventually};
use worker::topology::{COMMANDS, DEAD, EVENTS, UNROUTABLE, dead_queue};

use crate::hostile::copied;

/// Insufficient privilege.
const REFUSED: &str = "42501";
const ACCESS_REFUSED: u16 = 403;

/// A world with one credited commission and a parked reversal, and its rows as text.
async fn written() -> (World, String) {
    let world = World::new().await;
    let events = world.events().await;
    let mut worker = world.worker().ready().await;
    let publisher = world.publisher().await;
    publisher.publish(&[credit("c-1", "anna", "12.50"), tests::reverse("r-1", "c-unknown", None)]).await;
    events.at_least(1, PATIENCE).await;
    eventually("the reversal waits", PATIENCE, || async {
        let waiting = world.count("SELECT count(*) FROM waiting").await;
        if waiting == 1 { Ok(()) } else { Err(waiting) }
    })
    .await;
    assert!(worker.terminate().await.success());
    let rows = rows(&world).await;
    (world, rows)
}

/// Everything that must stay.
async fn rows(world: &World) -> String {
    sqlx::query_scalar(
        "SELECT concat((SELECT string_agg(e::text, '|') FROM entry e), (SELECT string_agg(i::text, '|' ORDER BY i.id) FROM inbox i),
                       (SELECT string_agg(m::text, '|' ORDER BY m.id) FROM merchant m), (SELECT string_agg(a::text, '|') FROM account a))",
    )
    .fetch_one(&mut world.superuser().await)
    .await
    .unwrap()
}

/// All of these are refused, with this word in the message.
async fn all_refused(who: &mut PgConnection, statements: &[&str], because: &str) {
    let mut allowed = Vec::new();
    for statement in statements {
        match who.execute(AssertSqlSafe(*statement)).await {
            Ok(done) => allowed.push(format!("{statement}: {done:?}")),
            Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some(REFUSED) => {
                if !error.message().contains(because) {
                    allowed.push(format!("{statement}: {}", error.message()));
                }
            }
            Err(other) => allowed.push(format!("{statement}: {other}")),
        }
    }
    assert!(allowed.is_empty(), "not refused as they should be:\n{}", allowed.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_workers_role_can_append_and_nothing_else() {
    let (world, before) = written().await;
    let mut role = world.connect_as("saldo_commissions").await;
    all_refused(
        &mut role,
        &[
            "UPDATE entry SET amount = amount + 1",
            "UPDATE entry SET note = 'other'",
            "DELETE FROM entry",
            "TRUNCATE entry",
            "DROP TABLE entry",
            "ALTER TABLE entry DISABLE TRIGGER append_only",
            "ALTER TABLE entry DISABLE TRIGGER ALL",
            "ALTER TABLE entry ADD COLUMN extra text",
            "DROP TRIGGER append_only ON entry",
            "DROP TRIGGER outcome_once ON inbox",
            "DROP FUNCTION refuse_change() CASCADE",
            "CREATE OR REPLACE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$",
            "CREATE TRIGGER other BEFORE INSERT ON entry FOR EACH ROW EXECUTE FUNCTION refuse_change()",
            "CREATE RULE other AS ON DELETE TO entry DO INSTEAD NOTHING",
            "CREATE TABLE saldo.other (id bigint)",
            "SET session_replication_role = replica",
            "SET ROLE saldo_owner",
            "SET SESSION AUTHORIZATION saldo_owner",
            "ALTER ROLE saldo_commissions SUPERUSER",
            "GRANT saldo_owner TO saldo_commissions",
            "COPY entry TO '/tmp/entries'",
            "UPDATE merchant SET hold_days = 0",
            "INSERT INTO merchant (id, name) VALUES ('own', 'own')",
            "DELETE FROM merchant",
            "UPDATE customer SET kind = 'affiliate'",
            "DELETE FROM customer",
            "UPDATE account SET merchant = 'other'",
            "UPDATE account SET currency = 'USD'",
            "DELETE FROM account",
            "UPDATE commission SET amount = 1",
            "DELETE FROM commission",
            "UPDATE inbox SET content = content",
            "UPDATE inbox SET id = 'other'",
            "DELETE FROM inbox",
            "TRUNCATE inbox",
            "DELETE FROM batch",
            "UPDATE waiting SET body = ''",
            "DELETE FROM _sqlx_migrations",
        ],
        "",
    )
    .await;
    all_refused(&mut role, &["UPDATE inbox SET outcome = 'other' WHERE id = 'c-1'"], "written once").await;
    all_refused(&mut role, &["UPDATE inbox SET outcome = NULL WHERE id = 'c-1'"], "written once").await;
    all_refused(&mut role, &["UPDATE inbox SET batch_id = 7 WHERE id = 'c-1'"], "written once").await;
    assert_eq!(rows(&world).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_cannot_be_changed_even_by_a_superuser() {
    let (world, before) = written().await;
    let changes = ["UPDATE entry SET amount = amount + 1", "DELETE FROM entry", "TRUNCATE entry"];
    let mut superuser = world.superuser().await;
    all_refused(&mut superuser, &changes, "append-only").await;
    superuser.execute("SET session_replication_role = replica").await.unwrap();
    all_refused(&mut superuser, &changes, "append-only").await;
    superuser.execute("SET session_replication_role = DEFAULT").await.unwrap();
    superuser.execute("SET ROLE saldo_owner").await.unwrap();
    all_refused(&mut superuser, &changes, "append-only").await;
    assert_eq!(rows(&world).await, before);
}

/// Who owns the server can do anything, and is found out.
#[tokio::test(flavor = "multi_thread")]
async fn entries_that_were_changed_all_the_same_are_found() {
    use ChainFault::{Balance, Count, Hash, Head, Number, RunningBalance};

    let world = World::new().await;
    let events = world.events().await;
    let mut worker = world.worker().ready().await;
    let (euros, half) = (|euros: i64| Decimal::from(euros), Decimal::new(50, 2));
    let cases: [(&str, &[&str], &[ChainFault]); 7] = [
        ("untouched", &[], &[]),
        (
            "note",
            &["UPDATE entry SET note = 'other' WHERE number = 2 AND account_id = $1"],
            &[Hash { number: 2 }],
        ),
        (
            "amount",
            &["UPDATE entry SET amount = amount + 1 WHERE number = 2 AND account_id = $1"],
            &[
                RunningBalance { number: 2, expected: euros(26), found: euros(25) },
                Hash { number: 2 },
                Balance { account: half + euros(37), found: half + euros(38) },
            ],
        ),
        (
            "newest-deleted",
            &["DELETE FROM entry WHERE number = 3 AND account_id = $1"],
            &[Count { account: 3, found: 2 }, Balance { account: half + euros(37), found: euros(25) }, Head],
        ),
        (
            "oldest-deleted",
            &["DELETE FROM entry WHERE number = 1 AND account_id = $1"],
            &[
                Number { expected: 1, found: 2 },
                RunningBalance { number: 2, expected: half + euros(12), found: euros(25) },
                Hash { number: 2 },
                Count { account: 3, found: 2 },
                Balance { account: half + euros(37), found: euros(25) },
            ],
        ),
        (
            "renumbered",
            &["UPDATE entry SET number = 4 WHERE number = 3 AND account_id = $1"],
            &[Number { expected: 3, found: 4 }, Hash { number: 4 }],
        ),
        // Whoever sees to it that the sums are right again has not the hash.
        (
            "sums-mended",
            &[
                "UPDATE entry SET amount = amount + 1, balance_after = balance_after + 1
                 WHERE number = 3 AND account_id = $1",
                "UPDATE account SET balance = balance + 1 WHERE id = $1",
            ],
            &[Hash { number: 3 }],
        ),
    ];
    let commands: Vec<_> = (0..3)
        .flat_map(|n| cases.map(|(customer, ..)| credit(&format!("{customer}-{n}"), customer, "12.50")))
        .collect();
    world.publisher().await.publish(&commands).await;
    events.at_least(commands.len(), PATIENCE).await;
    assert!(worker.terminate().await.success());
    world.assert_sound().await;

    let mut superuser = world.superuser().await;
    superuser.execute("ALTER TABLE entry DISABLE TRIGGER ALL").await.unwrap();
    let mut accounts = Vec::new();
    for (customer, changes, _) in cases {
        let account: i64 = sqlx::query_scalar("SELECT id FROM account WHERE customer = $1")
            .bind(customer)
            .fetch_one(&mut superuser)
            .await
            .unwrap();
        for change in changes {
            let done = sqlx::query(*change).bind(account).execute(&mut superuser).await.unwrap();
            assert_eq!(done.rows_affected(), 1, "{change}");
        }
        accounts.push(account);
    }
    let mut operator = world.connect_as("saldo_operator").await;
    for ((customer, _, faults), account) in cases.into_iter().zip(accounts) {
        let chain = verify_chain(&mut operator, account).await.unwrap();
        assert_eq!(chain.faults, faults, "{customer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_operators_role_reads_and_changes_nothing() {
    let (world, before) = written().await;
    let mut operator = world.connect_as("saldo_operator").await;
    all_refused(
        &mut operator,
        &[
            "INSERT INTO entry SELECT * FROM entry",
            "UPDATE entry SET amount = 1",
            "DELETE FROM entry",
            "TRUNCATE entry",
            "INSERT INTO account (merchant, customer, currency, exponent) VALUES ('acme', 'anna', 'USD', 2)",
            "UPDATE account SET balance = 1000",
            "INSERT INTO inbox SELECT * FROM inbox",
            "UPDATE inbox SET outcome = NULL",
            "DELETE FROM inbox",
            "INSERT INTO commission SELECT * FROM commission",
            "DELETE FROM waiting",
            "INSERT INTO merchant (id, name) VALUES ('new', 'New')",
            "UPDATE merchant SET hold_days = 14",
            "DELETE FROM merchant",
            "SELECT sealed FROM payout_method",
            "ALTER TABLE entry DISABLE TRIGGER ALL",
            "SET session_replication_role = replica",
            "SET ROLE saldo_owner",
            "SET ROLE saldo_commissions",
        ],
        "",
    )
    .await;
    assert_eq!(rows(&world).await, before);
}

/// A user of this world with these rights.
async fn user(world: &World, name: &str, permissions: &Value, topics: Option<&str>) -> Connection {
    let name = format!("{}_{name}", world.name);
    world.manage("PUT", &format!("users/{name}"), Some(json!({ "password": PASSWORD, "tags": "" }))).await;
    world.manage("PUT", &format!("permissions/{}/{name}", world.name), Some(permissions.clone())).await;
    if let Some(write) = topics {
        let topics = json!({ "exchange": COMMANDS, "write": write, "read": "^$" });
        world.manage("PUT", &format!("topic-permissions/{}/{name}", world.name), Some(topics)).await;
    }
    let url = world.worker_amqp_url("commissions").replace("saldo_commissions_test:", &format!("{name}:"));
    Connection::connect(&url, ConnectionProperties::default()).await.unwrap()
}

/// What the broker answers to a publish: a confirmation, or the code it closes the channel with.
async fn publish(
    connection: &Connection,
    exchange: &str,
    key: &str,
    body: &str,
    properties: BasicProperties,
) -> Result<Confirmation, u16> {
    let channel = connection.create_channel().await.unwrap();
    channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
    let options = BasicPublishOptions::default();
    let confirm = channel.basic_publish(exchange.into(), key.into(), options, body.as_bytes(), properties);
    match confirm.await.unwrap().await {
        Ok(confirmation) => Ok(confirmation),
        Err(error) => Err(code(&error)),
    }
}

fn code(error: &lapin::Error) -> u16 {
    match error.kind() {
        ErrorKind::ProtocolError(refusal) => refusal.get_id(),
        _ => 0,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_workers_user_commands_nothing_and_configures_nothing() {
    // The rights of the local deployment.
    let users: Value = serde_json::from_str(include_str!("../../deploy/local/rabbitmq-users.json")).unwrap();
    let permissions = users["permissions"].as_array().unwrap();
    let permissions = permissions.iter().find(|user| user["user"] == "saldo_commissions").unwrap();
    let world = World::new().await;
    let user = user(&world, "worker", permissions, None).await;
    let command = credit("c-1", "anna", "1.00").to_string();
    for (exchange, key) in
        [(COMMANDS, "acme.commission.credit"), ("", COMMISSIONS), (UNROUTABLE, "x"), ("amq.topic", "x")]
    {
        let answer = publish(&user, exchange, key, &command, Publisher::properties()).await;
        assert_eq!(answer, Err(ACCESS_REFUSED), "{exchange:?} {key}");
    }
    for exchange in [EVENTS, DEAD] {
        let answer = publish(&user, exchange, "saldo.probe", "", Publisher::properties()).await;
        assert_eq!(answer, Ok(Confirmation::Ack(None)), "{exchange}");
    }
    for queue in ["", "own", "saldo.own"] {
        let channel = user.create_channel().await.unwrap();
        let options = QueueDeclareOptions::default();
        let declared = channel.queue_declare(queue.into(), options, FieldTable::default()).await;
        assert_eq!(code(&declared.unwrap_err()), ACCESS_REFUSED, "queue {queue:?}");
    }
    for queue in [COMMISSIONS, &dead_queue("commissions"), UNROUTABLE] {
        let channel = user.create_channel().await.unwrap();
        let deleted = channel.queue_delete(queue.into(), QueueDeleteOptions::default()).await;
        assert_eq!(code(&deleted.unwrap_err()), ACCESS_REFUSED, "deleting {queue}");
        if queue != COMMISSIONS {
            let channel = user.create_channel().await.unwrap();
            let options = BasicConsumeOptions::default();
            let consumed =
                channel.basic_consume(queue.into(), "".into(), options, FieldTable::default()).await;
            assert_eq!(code(&consumed.unwrap_err()), ACCESS_REFUSED, "consuming {queue}");
        }
    }
    assert_eq!(world.publisher().await.queued(COMMISSIONS).await.ready, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publisher_is_confined_to_its_merchant_and_purpose() {
    let world = World::new().await;
    world.register("other", 0).await;
    let (events, dead) = (world.events().await, world.dead_letters().await);
    let permissions = json!({ "configure": "^$", "write": r"^saldo\.commands$", "read": "^$" });
    let topics = r"^acme\.commission\.(credit|reverse)$";
    let shop = user(&world, "affiliates", &permissions, Some(topics)).await;
    let mut worker = world.worker().ready().await;

    let own = credit("own", "anna", "1.00");
    let mut foreign = credit("foreign", "mallory", "1.00");
    foreign["data"]["merchant"] = json!("other");
    let (own, foreign) = (own.to_string(), foreign.to_string());
    for key in [
        "other.commission.credit",
        "acme.adjustment.credit",
        "acme.withdrawal.pay",
        "acme.commission.mature",
        "acme.commission.credit.x",
        "xacme.commission.credit",
        "acme.commission",
        "",
        "#",
    ] {
        for body in [&own, &foreign] {
            let answer = publish(&shop, COMMANDS, key, body, Publisher::properties()).await;
            assert_eq!(answer, Err(ACCESS_REFUSED), "{key}");
        }
    }
    for exchange in ["", EVENTS, DEAD, UNROUTABLE] {
        let answer = publish(&shop, exchange, COMMISSIONS, &foreign, Publisher::properties()).await;
        assert_eq!(answer, Err(ACCESS_REFUSED), "{exchange:?}");
    }

    // The broker lets copies pass; the worker does not.
    let key = "acme.commission.credit";
    let mut letters = 0;
    for (header, keys) in [
        ("CC", ["other.commission.credit"]),
        ("CC", ["acme.adjustment.credit"]),
        ("BCC", ["other.commission.credit"]),
        ("BCC", ["acme.adjustment.credit"]),
    ] {
        let answer = publish(&shop, COMMANDS, key, &foreign, copied(header, &keys)).await;
        assert_eq!(answer, Ok(Confirmation::Ack(None)), "{header} {keys:?}");
        letters += 1;
    }
    let answer = publish(&shop, COMMANDS, key, &own, copied("CC", &["other.commission.credit"])).await;
    assert_eq!(answer, Ok(Confirmation::Ack(None)));
    letters += 1;
    assert_eq!(
        publish(&shop, COMMANDS, key, &foreign, Publisher::properties()).await,
        Ok(Confirmation::Ack(None))
    );
    letters += 1;
    // What it may do.
    assert_eq!(
        publish(&shop, COMMANDS, key, &own, Publisher::properties()).await,
        Ok(Confirmation::Ack(None))
    );

    let seen = dead.at_least(letters, PATIENCE).await;
    events.at_least(1, PATIENCE).await;
    assert!(worker.terminate().await.success());
    let reasons: Vec<_> = seen.iter().filter_map(|letter| letter.header("saldo-reason")).collect();
    let expected =
        |reason: &&String| matches!(reason.as_str(), "invalid-properties" | "routing-key-mismatch");
    assert_eq!(reasons.iter().filter(expected).count(), letters, "{reasons:?}");
    assert_eq!(events.causes("commission.credited"), ["own".to_owned()].into());
    assert_eq!(world.count("SELECT count(*) FROM entry").await, 1);
    assert_eq!(world.count("SELECT count(*) FROM account WHERE merchant <> 'acme'").await, 0);
    assert_eq!(world.publisher().await.queued(COMMISSIONS).await.ready, 0);
}
