//! `saldo doctor` finds nothing in a sound world, and each damage in one that is not.

mod away;

use lapin::options::{BasicPublishOptions, ExchangeBindOptions, ExchangeDeclareOptions};
use lapin::types::FieldTable;
use lapin::{Connection, ConnectionProperties, ExchangeKind};
use serde_json::{Value, json};
use sqlx::Executor as _;
use tests::worker_process::PAYOUT_KEYS;
use tests::world::PASSWORD;
use tests::{COMMISSIONS, PATIENCE, Publisher, Ran, World, credit, eventually};
use worker::rights::{Permissions, Rights};
use worker::topology::COMMANDS;

use crate::mails::Office;

/// A report's findings.
fn findings(ran: &Ran) -> Vec<Value> {
    assert!(ran.status <= 1, "{ran:?}");
    ran.output.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The red ones, as `about: what`; each has advice.
fn bad(ran: &Ran) -> Vec<String> {
    let bad = findings(ran).into_iter().filter(|finding| finding["state"] == "bad").map(|finding| {
        assert!(finding["advice"].as_str().is_some_and(|advice| !advice.is_empty()), "{finding}");
        format!("{}: {}", finding["about"].as_str().unwrap(), finding["what"].as_str().unwrap())
    });
    bad.collect()
}

/// Fails unless this is among the red ones, and the advice says this.
fn names(ran: &Ran, what: &str, advice: &str) {
    assert_eq!(ran.status, 1, "{ran:?}");
    let text = |finding: &Value, field: &str| finding[field].as_str().unwrap_or_default().to_owned();
    let named = findings(ran).iter().any(|finding| {
        finding["state"] == "bad"
            && format!("{}: {}", text(finding, "about"), text(finding, "what")).contains(what)
            && text(finding, "advice").contains(advice)
    });
    assert!(named, "no {what:?} with {advice:?} in {:#?}", findings(ran));
}

/// Fails unless each of these sections says that it was not looked at.
fn unseen(ran: &Ran, sections: &[&str]) {
    assert_eq!(ran.status, 1, "{ran:?}");
    for about in sections {
        let unseen = |finding: &Value| {
            let what = finding["what"].as_str().unwrap_or_default();
            finding["about"] == *about && finding["state"] == "unknown" && what.starts_with("not looked at: ")
        };
        assert!(findings(ran).iter().any(unseen), "nothing unknown about {about}: {ran:?}");
    }
}

async fn examined(world: &World) -> Ran {
    world.saldo_at_broker(&["doctor", "--json"]).await
}

/// Where nothing is wrong but that no worker runs, and statistics have come to say so.
async fn without_workers() -> World {
    let world = World::new().await;
    eventually("only consumers are missing", PATIENCE, || async {
        let ran = examined(&world).await;
        let bad = bad(&ran);
        if bad.len() == 5 && bad.iter().all(|finding| finding.starts_with("consumers: nobody consumes")) {
            Ok(())
        } else {
            Err(bad)
        }
    })
    .await;
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn in_a_sound_world_everything_is_well() {
    let mut office = Office::new(&[("anna", "100.00")]).await;
    office.shop.start(&["adjustments"]).await;
    let _notifier = office.notifier().await;
    let world = &office.shop.world;
    let (broker, management) = (world.amqp_url(), std::env::var("SALDO_TEST_MANAGEMENT_URL").unwrap());
    let settings = [
        ("SALDO__BROKER__URL", broker.as_str()),
        ("SALDO__BROKER__MANAGEMENT_URL", management.as_str()),
        ("SALDO__PAYOUT__KEYS", PAYOUT_KEYS),
    ];
    let ran = eventually("all is well", PATIENCE, || async {
        let ran = world.saldo_with(&settings, &["doctor", "--json"]).await;
        let all_good = findings(&ran).iter().all(|finding| finding["state"] == "good");
        if ran.status == 0 && all_good { Ok(ran) } else { Err(ran.output) }
    })
    .await;
    assert_eq!(ran.messages, "", "{ran:?}");
    let about = findings(&ran)
        .iter()
        .map(|finding| finding["about"].as_str().unwrap().to_owned())
        .collect::<Vec<_>>();
    for wanted in [
        "settings",
        "database",
        "migrations",
        "roles",
        "privileges",
        "triggers",
        "keys",
        "broker",
        "alarms",
        "topology",
        "queues",
        "consumers",
        "users",
        "clock",
    ] {
        assert!(about.iter().any(|about| about == wanted), "nothing about {wanted}: {about:?}");
    }
    let read = world.saldo_with(&settings, &["doctor"]).await;
    assert!(read.output.lines().all(|line| line.starts_with("✓ ")), "{read:?}");
    assert!(!read.output.contains(PASSWORD), "{read:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_in_the_database_is_named_with_what_mends_it() {
    let world = without_workers().await;
    world
        .superuser()
        .await
        .execute(
            "GRANT UPDATE (note) ON entry TO saldo_notifier;
             GRANT DELETE ON inbox TO PUBLIC;
             REVOKE SELECT ON merchant FROM saldo_commissions;
             ALTER TABLE entry DISABLE TRIGGER append_only;
             ALTER TABLE revelation ENABLE TRIGGER append_only;
             DROP TRIGGER outcome_once ON inbox;
             GRANT CREATE ON SCHEMA saldo TO saldo_directory;
             DELETE FROM _sqlx_migrations WHERE version = 6",
        )
        .await
        .unwrap();
    let ran = examined(&world).await;
    // What everybody was granted is one finding, and not one of each role.
    assert_eq!(bad(&ran).iter().filter(|finding| finding.contains("inbox: DELETE")).count(), 0, "{ran:?}");
    for (what, advice) in [
        (
            "privileges: saldo_notifier may more than it should: entry: UPDATE(note)",
            "as a superuser: SET ROLE saldo_owner; REVOKE UPDATE(note) ON saldo.entry FROM saldo_notifier;",
        ),
        (
            "privileges: PUBLIC is none of Saldo's roles and was granted DELETE on inbox",
            "REVOKE DELETE ON saldo.inbox FROM PUBLIC;",
        ),
        (
            "privileges: saldo_commissions lacks: merchant: SELECT",
            "GRANT SELECT ON saldo.merchant TO saldo_commissions",
        ),
        ("triggers: append_only of entry does not always fire", "ENABLE ALWAYS TRIGGER append_only"),
        ("triggers: append_only of revelation does not always fire", "ENABLE ALWAYS TRIGGER append_only"),
        ("triggers: inbox has no trigger outcome_once", "saldo migrate"),
        ("roles: saldo_directory may create in the schema", "REVOKE CREATE ON SCHEMA saldo"),
        ("migrations: 6 has not run", "saldo migrate"),
    ] {
        names(&ran, what, advice);
    }

    // As the administrator, who is more than anybody needs.
    let (database, broker) = (world.database_url(None), world.amqp_url());
    let settings = [("SALDO__DATABASE__URL", database.as_str()), ("SALDO__BROKER__URL", broker.as_str())];
    names(
        &world.saldo_with(&settings, &["doctor", "--json"]).await,
        "is SUPERUSER",
        "database.url log in as one of",
    );

    let empty = World::without_broker().await;
    empty.superuser().await.execute("DROP SCHEMA saldo CASCADE").await.unwrap();
    let ran = examined(&empty).await;
    names(&ran, "migrations: there is no Saldo schema", "saldo migrate");
    unseen(&ran, &["roles", "privileges", "triggers", "keys"]);
}

/// A person who is a member of a role is listed. (Whoever should not be one, the unit tests have: roles are the whole
/// server's.)
#[tokio::test(flavor = "multi_thread")]
async fn who_may_see_payout_details_is_listed() {
    let world = World::without_broker().await;
    let maria = format!("maria_{}", world.name);
    let mut superuser = world.superuser().await;
    let create = format!("CREATE ROLE {maria} LOGIN IN ROLE saldo_treasurer, saldo_operator");
    superuser.execute(sqlx::AssertSqlSafe(create)).await.unwrap();
    let ran = examined(&world).await;
    superuser.execute(sqlx::AssertSqlSafe(format!("DROP ROLE {maria}"))).await.unwrap();
    for role in ["saldo_treasurer, who sees payout details in clear", "saldo_operator"] {
        let listed = |finding: &Value| {
            let what = finding["what"].as_str().unwrap();
            finding["state"] == "good" && what.starts_with(&format!("as {role}: ")) && what.contains(&maria)
        };
        assert!(findings(&ran).iter().any(listed), "{ran:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_in_the_topology_is_named_with_what_mends_it() {
    let world = without_workers().await;
    let vhost = &world.name;
    let binding = format!("bindings/{vhost}/e/{COMMANDS}/q/{COMMISSIONS}/*.commission.%23");
    world.manage("DELETE", &binding, None).await;
    let policy = json!({ "pattern": "^saldo\\.directory$", "apply-to": "queues", "priority": 10,
                         "definition": { "delivery-limit": 2, "max-length-bytes": 268_435_456 } });
    world.manage("PUT", &format!("policies/{vhost}/saldo.directory"), Some(policy)).await;
    world.manage("DELETE", &format!("queues/{vhost}/saldo.notifier.dead"), None).await;
    world.manage("DELETE", &format!("queues/{vhost}/saldo.adjustments"), None).await;
    world
        .manage(
            "PUT",
            &format!("queues/{vhost}/saldo.adjustments"),
            Some(json!({ "durable": true, "arguments": {} })),
        )
        .await;
    let ran = examined(&world).await;
    for (what, advice) in [
        (
            "binding saldo.commands -> saldo.commissions with key \"*.commission.#\" is missing",
            "saldo topology apply",
        ),
        ("policy saldo.directory has delivery-limit 2, expected 50", "saldo topology apply"),
        ("queue saldo.notifier.dead is missing", "saldo topology apply"),
        ("queue saldo.adjustments has type \"classic\", expected \"quorum\"", "delete it"),
    ] {
        names(&ran, &format!("topology: {what}"), advice);
    }
}

/// A user of this world with these rights.
async fn user(world: &World, name: &str, [configure, write, read]: [&str; 3], topic: Option<&str>) -> String {
    let name = format!("{}_{name}", world.name);
    world.manage("PUT", &format!("users/{name}"), Some(json!({ "password": PASSWORD, "tags": "" }))).await;
    let permissions =
        Permissions { configure: configure.to_owned(), write: write.to_owned(), read: read.to_owned() };
    let rights = Rights { permissions, topic: topic.map(str::to_owned), hears: None, tags: &[] };
    world.permit(&name, &rights).await;
    name
}

#[tokio::test(flavor = "multi_thread")]
async fn every_user_who_could_do_too_much_is_named() {
    let world = without_workers().await;
    let publish = ["^$", r"^saldo\.commands$", "^$"];
    let own = r"^acme\.commission\.credit$";
    for (name, rights, topic, says) in [
        ("unconfined", publish, None, "has no topic permission"),
        ("unanchored", publish, Some(r"acme\.commission"), "a topic permission that does not begin with `^`"),
        ("open", publish, Some(r"^acme\.commission"), "a topic permission that does not end with `$`"),
        ("everybody", publish, Some(r"^.*\.commission\.credit$"), "does not begin with one shop's id"),
        ("everything", publish, Some(r"^acme\..*$"), "may publish every command of acme"),
        ("events", ["^$", r"^saldo\.events$", "^$"], None, "may write saldo.events"),
        ("dead", ["^$", r"^saldo\.dead$", "^$"], None, "may write saldo.dead"),
        ("default", ["^$", r"^amq\.default$", "^$"], None, "may write amq.default"),
        ("binder", ["^own", r"^(own|saldo\.commissions$)", "^own"], None, "may write saldo.commissions"),
        ("configurer", [r"^saldo\.commands$", "^$", "^$"], None, "may configure saldo.commands"),
        ("taker", ["^$", "^$", r"^saldo\.withdrawals$"], None, "may read saldo.withdrawals"),
        ("detour", ["^own", r"^(own|saldo\.commands$)", "^own"], Some(own), "passes by its topic permission"),
        ("reader", ["^own", "^own", r"^(own|saldo\.events$)"], None, "it may hear every event of every shop"),
    ] {
        let name = user(&world, name, rights, topic).await;
        let ran = examined(&world).await;
        names(&ran, &format!("users: {name} "), &format!("clear_permissions -p {} {name}", world.name));
        assert!(
            bad(&ran).iter().any(|finding| finding.contains(&name) && finding.contains(says)),
            "{name}: {ran:?}"
        );
    }
    // Who is confined is not among them, and what it may do is told.
    let name = user(&world, "confined", publish, Some(own)).await;
    let ran = examined(&world).await;
    let told = format!("{name} publishes commission.credit of acme");
    assert!(
        findings(&ran).iter().any(|finding| finding["what"] == told.as_str() && finding["state"] == "good"),
        "{ran:?}"
    );
    assert_eq!(bad(&ran).iter().filter(|finding| finding.starts_with("users: ")).count(), 13, "{ran:?}");

    // This program cannot do its work as such a user.
    let url = world.amqp_url();
    let (scheme, rest) = url.split_once("://").unwrap();
    let as_publisher = format!("{scheme}://{name}:{PASSWORD}@{}", rest.split_once('@').unwrap().1);
    let ran = world
        .saldo_at_broker_with(&[("SALDO__BROKER__URL", as_publisher.as_str())], &["doctor", "--json"])
        .await;
    names(
        &ran,
        &format!(
            "users: with {name} of broker.url these do not work: saldo publish --watch, events republish"
        ),
        "saldo topology services saldo_operator",
    );
}

/// Why a publisher must not read anything: the broker holds what is published against the topic permission, not what comes
/// from another exchange.
#[tokio::test(flavor = "multi_thread")]
async fn an_exchange_of_ones_own_passes_by_a_topic_permission() {
    let world = World::new().await;
    let rights = ["^own$", r"^(own|saldo\.commands)$", "^own$"];
    let name = user(&world, "detour", rights, Some(r"^acme\.commission\.credit$")).await;
    let url = world.worker_amqp_url("commissions").replace("saldo_commissions_test:", &format!("{name}:"));
    let connection = Connection::connect(&url, ConnectionProperties::default()).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    let (options, none) = (ExchangeDeclareOptions::default(), FieldTable::default);
    channel.exchange_declare("own".into(), ExchangeKind::Fanout, options, none()).await.unwrap();
    let options = ExchangeBindOptions::default();
    channel.exchange_bind(COMMANDS.into(), "own".into(), "".into(), options, none()).await.unwrap();
    let command = credit("c-1", "mallory", "1000.00").to_string();
    channel
        .basic_publish(
            "own".into(),
            "other.commission.credit".into(),
            BasicPublishOptions::default(),
            command.as_bytes(),
            Publisher::properties(),
        )
        .await
        .unwrap();
    let publisher = world.publisher().await;
    eventually("it is in the worker's queue", PATIENCE, || async {
        let queued = publisher.queued(COMMISSIONS).await;
        if queued.ready == 1 { Ok(()) } else { Err(queued) }
    })
    .await;
    let bound = "topology: binding own -> saldo.commands with key \"\" is none of Saldo's";
    names(&examined(&world).await, bound, "remove it");
}
