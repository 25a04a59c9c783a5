//! Who may do what about mails: the notifier, an operator, and nobody else.

use lapin::Confirmation;
use lapin::options::{BasicConsumeOptions, QueueBindOptions, QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::FieldTable;
use serde_json::Value;
use sqlx::Executor as _;
use tests::{Publisher, World, credit};
use worker::topology::{COMMANDS, DEAD, EVENTS, UNROUTABLE, dead_queue, queue};

use super::{ACCESS_REFUSED, all_refused, code, publish, user};
use crate::mails::Office;

/// One withdrawal, of which two have been told. Nobody is at work any more.
async fn told() -> Office {
    let mut office = Office::new(&[("anna", "100.00")]).await;
    office.asks("w-1", "anna").await;
    let mut notifier = office.notifier().await;
    office.quiet().await;
    assert!(notifier.terminate().await.success());
    office.shop.stop().await;
    office
}

/// Every row of every table.
async fn rows(world: &World) -> String {
    let traces = world.table_traces().await;
    let ours = traces.into_iter().filter(|trace| trace.place.starts_with("table saldo."));
    let shown = ours.map(|trace| format!("{}: {}", trace.place, String::from_utf8_lossy(&trace.bytes)));
    shown.collect::<Vec<_>>().join("\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_notifiers_role_tells_and_changes_nothing_that_it_tells_of() {
    let office = told().await;
    let world = &office.shop.world;
    let before = rows(world).await;
    let mut notifier = world.connect_as("saldo_notifier").await;
    all_refused(
        &mut notifier,
        &[
            // Money.
            "SELECT FROM entry",
            "INSERT INTO entry SELECT * FROM entry",
            "UPDATE entry SET amount = 1",
            "DELETE FROM entry",
            "INSERT INTO account (merchant, customer, currency, exponent) VALUES ('acme', 'anna', 'USD', 2)",
            "UPDATE account SET balance = 1000",
            "UPDATE account SET held = 0",
            "DELETE FROM account",
            "SELECT FROM account FOR UPDATE",
            "SELECT FROM commission",
            "UPDATE commission SET state = 'mature'",
            "INSERT INTO withdrawal SELECT * FROM withdrawal",
            "UPDATE withdrawal SET state = 'paid'",
            "DELETE FROM withdrawal",
            "SELECT FROM withdrawal FOR UPDATE",
            "INSERT INTO withdrawal_transition SELECT * FROM withdrawal_transition",
            "UPDATE withdrawal_transition SET state = 'paid'",
            "DELETE FROM withdrawal_transition",
            "TRUNCATE withdrawal_transition",
            // People, and how they are paid.
            "INSERT INTO merchant (id, name) VALUES ('own', 'own')",
            "UPDATE merchant SET preferences = '{}'",
            "DELETE FROM merchant",
            "UPDATE customer SET email = 'mallory@evil.example'",
            "DELETE FROM customer",
            "SELECT sealed FROM payout_method",
            "SELECT masked FROM payout_method",
            "UPDATE payout_method SET masked = 'x'",
            "SELECT FROM revelation",
            "INSERT INTO revelation (withdrawal, actor) SELECT key, 'maria' FROM withdrawal",
            // Commands, and what became of them.
            "SELECT FROM waiting",
            "INSERT INTO waiting (key, worker, body) VALUES ('', 'notifier', '')",
            "DELETE FROM waiting",
            "UPDATE inbox SET outcome = 'other'",
            "UPDATE inbox SET outcome = NULL",
            "UPDATE inbox SET id = 'other'",
            "INSERT INTO inbox SELECT * FROM inbox ON CONFLICT (key) DO UPDATE SET outcome = 'other'",
            "DELETE FROM inbox",
            "TRUNCATE inbox",
            "UPDATE batch SET worker = 'other'",
            "DELETE FROM batch",
            // What was told to whom.
            "UPDATE notice SET state = 'paid'",
            "UPDATE notice SET noticed_at = now()",
            "DELETE FROM notice",
            "TRUNCATE notice CASCADE",
            "UPDATE mail SET recipient = 'mallory@evil.example'",
            "UPDATE mail SET merchant = 'other'",
            "UPDATE mail SET kind = 'customer-paid'",
            "UPDATE mail SET created_at = now()",
            "UPDATE mail SET give_up_at = now()",
            "UPDATE mail SET patience = '9 days'",
            "UPDATE mail SET resent = resent + 1",
            "DELETE FROM mail",
            "TRUNCATE mail CASCADE",
            "UPDATE delivery SET recipient = 'mallory@evil.example'",
            "UPDATE delivery SET mail_id = 1",
            "DELETE FROM delivery",
            "TRUNCATE delivery",
            // The schema and the roles.
            "ALTER TABLE mail ADD COLUMN extra text",
            "DROP TABLE mail CASCADE",
            "CREATE TABLE saldo.other (id bigint)",
            "CREATE INDEX other ON mail (answer)",
            "DELETE FROM _sqlx_migrations",
            "SET session_replication_role = replica",
            "SET ROLE saldo_owner",
            "SET ROLE saldo_operator",
            "SET ROLE saldo_treasurer",
        ],
        "",
    )
    .await;
    assert_eq!(rows(world).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_but_the_notifier_and_an_operator_sees_or_touches_mails() {
    let office = told().await;
    let world = &office.shop.world;
    let before = rows(world).await;
    for role in
        ["saldo_commissions", "saldo_adjustments", "saldo_directory", "saldo_withdrawals", "saldo_treasurer"]
    {
        let mut other = world.connect_as(role).await;
        for table in ["notice", "mail", "delivery"] {
            let statements = [
                format!("SELECT FROM {table}"),
                format!("INSERT INTO {table} OVERRIDING SYSTEM VALUE SELECT * FROM {table}"),
                format!("DELETE FROM {table}"),
                format!("TRUNCATE {table} CASCADE"),
            ];
            all_refused(&mut other, &statements.each_ref().map(String::as_str), "").await;
        }
        let changes = [
            "INSERT INTO notice (withdrawal, state) VALUES ('', 'paid')",
            "UPDATE notice SET state = 'paid'",
            "UPDATE mail SET state = 'sent'",
            "UPDATE mail SET recipient = 'mallory@evil.example'",
            "UPDATE mail SET answer = 'x'",
            "UPDATE delivery SET recipient = 'mallory@evil.example'",
            "SET ROLE saldo_notifier",
        ];
        all_refused(&mut other, &changes, "").await;
    }
    assert_eq!(rows(world).await, before);
}

/// An operator has mails sent again. For that the state is theirs to set, also to `sent`; what a mail server has said is
/// not, nor how often it was asked.
#[tokio::test(flavor = "multi_thread")]
async fn an_operator_has_mails_sent_again_and_cannot_make_up_that_a_server_took_one() {
    let office = told().await;
    let world = &office.shop.world;
    let before = rows(world).await;
    let mut operator = world.connect_as("saldo_operator").await;
    all_refused(
        &mut operator,
        &[
            "UPDATE mail SET status = 250",
            "UPDATE mail SET answer = '2.0.0 taken'",
            "UPDATE mail SET attempts = attempts + 1",
            "UPDATE mail SET attempts = 0",
            "UPDATE mail SET attempted_at = now()",
            "UPDATE mail SET state = 'sent', status = 250",
            "UPDATE mail SET created_at = now()",
            "UPDATE mail SET patience = '9 days'",
            "UPDATE mail SET merchant = 'other'",
            "UPDATE mail SET kind = 'customer-paid'",
            "INSERT INTO mail (merchant, kind, recipient, next_attempt_at, patience, give_up_at)
             VALUES ('acme', 'customer-paid', 'mallory@evil.example', now(), '1 day', now())",
            "DELETE FROM mail",
            "TRUNCATE mail CASCADE",
            "INSERT INTO notice SELECT * FROM notice",
            "UPDATE notice SET state = 'paid'",
            "DELETE FROM notice",
            "INSERT INTO delivery SELECT * FROM delivery",
            "UPDATE delivery SET recipient = 'mallory@evil.example'",
            "UPDATE delivery SET mail_id = 1",
            "DELETE FROM delivery",
            "SET ROLE saldo_notifier",
        ],
        "",
    )
    .await;
    assert_eq!(rows(world).await, before);

    // A mail that the server never took: by hand it can be said to be at its end, and that is all there is to see of it.
    world.superuser().await.execute(UNTOUCHED).await.unwrap();
    let by_hand = "UPDATE mail SET state = 'sent', ended_at = now() WHERE state = 'due'";
    assert_eq!(operator.execute(by_hand).await.unwrap().rows_affected(), 2);
    let told_apart =
        "SELECT count(*) FROM mail WHERE state = 'sent' AND attempts = 0 AND attempted_at IS NULL
                      AND status IS NULL AND answer IS NULL";
    assert_eq!(world.count(told_apart).await, 2);
}

/// The mails as they were recorded.
const UNTOUCHED: &str = "UPDATE mail SET state = 'due', ended_at = NULL, attempts = 0, attempted_at = NULL,
                                         status = NULL, answer = NULL";

#[tokio::test(flavor = "multi_thread")]
async fn the_notifiers_user_reads_its_queue_tells_events_and_configures_nothing() {
    // The rights of the local deployment.
    let users: Value =
        serde_json::from_str(include_str!("../../../deploy/local/rabbitmq-users.json")).unwrap();
    let permissions = users["permissions"].as_array().unwrap();
    let permissions = permissions.iter().find(|user| user["user"] == "saldo_notifier").unwrap();
    let world = World::new().await;
    let user = user(&world, "notifier", permissions, None).await;
    let own = queue("notifier");
    let body = credit("c-1", "anna", "1.00").to_string();
    for (exchange, key) in
        [(COMMANDS, "acme.commission.credit"), ("", own.as_str()), (UNROUTABLE, "x"), ("amq.topic", "x")]
    {
        let answer = publish(&user, exchange, key, &body, Publisher::properties()).await;
        assert_eq!(answer, Err(ACCESS_REFUSED), "{exchange:?} {key}");
    }
    for exchange in [EVENTS, DEAD] {
        let answer = publish(&user, exchange, "saldo.probe", "", Publisher::properties()).await;
        assert_eq!(answer, Ok(Confirmation::Ack(None)), "{exchange}");
    }
    for name in ["", "own", "saldo.own"] {
        let channel = user.create_channel().await.unwrap();
        let declared =
            channel.queue_declare(name.into(), QueueDeclareOptions::default(), FieldTable::default()).await;
        assert_eq!(code(&declared.unwrap_err()), ACCESS_REFUSED, "queue {name:?}");
    }
    for exchange in [COMMANDS, EVENTS] {
        let channel = user.create_channel().await.unwrap();
        let (key, options) = ("#".into(), QueueBindOptions::default());
        let bound = channel
            .queue_bind(own.as_str().into(), exchange.into(), key, options, FieldTable::default())
            .await;
        assert_eq!(code(&bound.unwrap_err()), ACCESS_REFUSED, "binding to {exchange}");
    }
    let others = tests::world::WORKERS.map(queue);
    let dead = [dead_queue("notifier"), dead_queue("withdrawals"), UNROUTABLE.to_owned()];
    for name in others.iter().chain(&dead).chain([&own]) {
        let channel = user.create_channel().await.unwrap();
        let deleted = channel.queue_delete(name.as_str().into(), QueueDeleteOptions::default()).await;
        assert_eq!(code(&deleted.unwrap_err()), ACCESS_REFUSED, "deleting {name}");
        let channel = user.create_channel().await.unwrap();
        let (tag, options) = ("".into(), BasicConsumeOptions::default());
        let consumed = channel.basic_consume(name.as_str().into(), tag, options, FieldTable::default()).await;
        if *name == own {
            consumed.unwrap();
        } else {
            assert_eq!(code(&consumed.unwrap_err()), ACCESS_REFUSED, "consuming {name}");
        }
    }
}
