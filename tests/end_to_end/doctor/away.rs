//! What is away, or does not let the operator in: its cause with what to do about it, a line for each section that was therefore
//! not looked at, and exit status 1.

use serde_json::{Value, json};
use tests::world::{PASSWORD, server};
use tests::{COMMISSIONS, PATIENCE, Ran, World, credit};
use worker::rights::Rights;

use super::{findings, names, unseen};

const AWAY: &str = "127.0.0.1:1";

const DATABASE: [&str; 6] = ["migrations", "roles", "privileges", "triggers", "keys", "clock"];
const MANAGEMENT: [&str; 6] = ["alarms", "topology", "queues", "consumers", "users", "clock"];

fn good(ran: &Ran, about: &str) {
    let good = |finding: &Value| finding["about"] == about && finding["state"] == "good";
    assert!(findings(ran).iter().any(good), "{about}: {ran:?}");
}

/// With these settings in place of the world's own.
async fn examined(world: &World, settings: &[(&str, &str)]) -> Ran {
    let ran = world.saldo_at_broker_with(settings, &["doctor", "--json"]).await;
    assert!(!format!("{ran:?}").contains("secret"), "{ran:?}");
    ran
}

/// A URL of somebody else.
fn as_somebody(url: &str, login: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap();
    format!("{scheme}://{login}@{}", rest.split_once('@').unwrap().1)
}

#[tokio::test(flavor = "multi_thread")]
async fn each_section_that_was_not_looked_at_says_so() {
    let world = World::new().await;
    let (broker, management) =
        (format!("amqp://user:secret@{AWAY}/%2f"), format!("http://user:secret@{AWAY}"));
    let ran =
        examined(&world, &[("SALDO__BROKER__URL", &broker), ("SALDO__BROKER__MANAGEMENT_URL", &management)])
            .await;
    names(&ran, "broker: the connection to the broker failed", "see whether RabbitMQ runs");
    names(&ran, "broker: RabbitMQ's management API cannot be reached", "management plugin");
    unseen(&ran, &MANAGEMENT);
    good(&ran, "privileges");
    let bad = findings(&ran).iter().filter(|finding| finding["state"] == "bad").count();
    assert!(ran.messages.ends_with(&format!(
        "{bad} of {} are not well, {} could not be looked at\n",
        findings(&ran).len(),
        MANAGEMENT.len()
    )));

    let database = format!("postgres://saldo_operator:secret@{AWAY}/saldo");
    let ran = examined(&world, &[("SALDO__DATABASE__URL", &database)]).await;
    names(&ran, "database: the database cannot be reached", "see whether PostgreSQL runs");
    unseen(&ran, &DATABASE);
    good(&ran, "topology");

    let wrong = [("SALDO__BROKER__URL", "http://secret@broker"), ("SALDO__WORKER__LANE", "1")];
    let ran = examined(&world, &wrong).await;
    names(&ran, "settings: broker.url: expected a URL such as amqps://", "correct it");
    names(&ran, "settings: worker.lane: there is no such setting", "correct it");
    unseen(&ran, &MANAGEMENT);
    good(&ran, "privileges");
}

/// Nothing is wrong with such settings, and still nobody has looked.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_not_to_be_looked_at_counts_unless_it_is_left_out() {
    let world = World::new().await;
    let broker = world.amqp_url();
    let settings = [("SALDO__BROKER__URL", broker.as_str())];
    let ran = world.saldo_with(&settings, &["doctor", "--json"]).await;
    good(&ran, "settings");
    unseen(&ran, &MANAGEMENT);
    let told = findings(&ran);
    // Each of them, and the management API itself.
    let (unseen, all) = (MANAGEMENT.len() + 1, told.len());
    let summary = format!("saldo: {unseen} of {all} could not be looked at, what was is well\n");
    assert_eq!(ran.messages, summary, "{ran:?}");
    let reason = told
        .iter()
        .find(|finding| finding["what"] == "management API not asked: broker.management_url is not set");
    assert!(
        reason.is_some_and(|finding| finding["advice"].as_str().unwrap().contains("tag administrator")),
        "{ran:?}"
    );
    // The advice is said once.
    let advised = told.iter().filter(|finding| finding["advice"].is_string()).count();
    assert_eq!(advised, 1, "{ran:?}");

    let skipped = [MANAGEMENT.as_slice(), &["broker"]].concat();
    let skip: Vec<_> = skipped.iter().flat_map(|about| ["--skip", about]).collect();
    let ran = world.saldo_with(&settings, &[&["doctor", "--json"], skip.as_slice()].concat()).await;
    assert_eq!((ran.status, ran.messages.as_str()), (0, ""), "{ran:?}");
    assert!(
        findings(&ran).iter().all(|finding| !skipped.contains(&finding["about"].as_str().unwrap())),
        "{ran:?}"
    );
    assert_eq!(world.saldo(&["doctor", "--skip", "everything"]).await.status, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn advice_is_by_cause() {
    let world = World::new().await;
    let (broker, management) = (world.amqp_url(), server("SALDO_TEST_MANAGEMENT_URL"));
    let (database, operator) = (world.database_url(None), world.database_url(Some("saldo_operator")));
    let nowhere = broker.replace(&world.name, "nowhere");
    let stranger = operator.replace("saldo_operator:", "nobody_here:");
    for (setting, value, what, advice) in [
        (
            "SALDO__BROKER__MANAGEMENT_URL",
            as_somebody(&management, "saldo_admin:secret"),
            "broker: RabbitMQ's management API refuses this user (401 Unauthorized)",
            "user and password of broker.management_url",
        ),
        (
            "SALDO__BROKER__MANAGEMENT_URL",
            format!("{management}/elsewhere"),
            "broker: RabbitMQ's management API answered 404 Not Found",
            "path under which the plugin is served",
        ),
        (
            "SALDO__BROKER__MANAGEMENT_URL",
            as_somebody(&management.replace("http:", "https:"), "saldo_admin:secret"),
            "broker: TLS with RabbitMQ's management API failed",
            "broker.ca_file",
        ),
        (
            "SALDO__BROKER__URL",
            as_somebody(&broker, "saldo_admin:secret"),
            "broker: the broker refuses this login",
            "user and password of broker.url",
        ),
        (
            "SALDO__BROKER__URL",
            nowhere.clone(),
            "broker: the broker does not let this user into the virtual host",
            "virtual host of broker.url exists",
        ),
        (
            "SALDO__BROKER__URL",
            nowhere,
            "topology: the broker has no virtual host nowhere",
            "rabbitmqctl add_vhost nowhere",
        ),
        (
            "SALDO__DATABASE__URL",
            operator.replace(PASSWORD, "secret"),
            "database: the database refuses the connection",
            "role and password of database.url",
        ),
        // PostgreSQL does not tell whether there is such a role.
        ("SALDO__DATABASE__URL", stranger, "database: the database refuses the connection", "password"),
        (
            "SALDO__DATABASE__URL",
            database.replace(&world.name, "nowhere"),
            "database: the database refuses the connection",
            "whether the database that database.url names is there",
        ),
    ] {
        names(&examined(&world, &[(setting, &value)]).await, what, advice);
    }
    // Whoever answers there speaks something else.
    let metrics = server("SALDO_TEST_PROMETHEUS_URL");
    let ran = examined(&world, &[("SALDO__BROKER__MANAGEMENT_URL", &metrics)]).await;
    let told = findings(&ran);
    let broker =
        told.iter().find(|finding| finding["about"] == "broker" && finding["state"] == "bad").unwrap();
    assert!(!broker["advice"].as_str().unwrap().contains("administrator"), "{broker}");
}

/// A login that is no administrator's learns less, and is told so.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_login_may_not_ask_is_unknown() {
    let world = World::new().await;
    let name = format!("saldo_operator_{}", world.name);
    let login = json!({ "password": PASSWORD, "tags": "monitoring" });
    world.manage("PUT", &format!("users/{name}"), Some(login)).await;
    world.permit(&name, &Rights::operator()).await;
    let as_operator = |url: &str| as_somebody(url, &format!("{name}:{PASSWORD}"));
    let broker = as_operator(&world.amqp_url());
    let management = as_operator(&server("SALDO_TEST_MANAGEMENT_URL"));
    let settings =
        [("SALDO__BROKER__URL", broker.as_str()), ("SALDO__BROKER__MANAGEMENT_URL", management.as_str())];
    let ran = world.saldo_with(&settings, &["doctor", "--json"]).await;
    for about in ["users", "topology"] {
        unseen(&ran, &[about]);
        let told = findings(&ran);
        let finding = told.iter().find(|finding| finding["about"] == about).unwrap();
        assert!(finding["advice"].as_str().unwrap().contains("with the tag administrator"), "{finding}");
    }
    let administrator = world.saldo_at_broker(&["doctor"]).await;
    assert!(
        administrator.output.contains(&format!("operators, who may publish for every shop: {name}")),
        "{administrator:?}"
    );

    // And these are the rights that the other commands need.
    let mut worker = world.worker().ready().await;
    let file = tests::Scratch::new("command");
    let mut command = credit("c-1", "anna", "12.50");
    command["data"]["note"] = json!("by the operator");
    file.write(&command.to_string());
    let published = world.saldo_with(&settings, &["publish", file.path(), "--watch", "--json"]).await;
    assert!(published.output.contains("\"credited\""), "{published:?}");
    let events = world.events().await;
    let republish = ["events", "republish", "--since", "2026-01-01"];
    assert_eq!(world.saldo_with(&settings, &republish).await.status, 0);
    events.at_least(1, PATIENCE).await;
    let queues = world.saldo_with(&settings, &["queues", "--json"]).await;
    assert!(queues.output.contains(COMMISSIONS), "{queues:?}");
    assert_eq!(events.causes("commission.credited"), ["c-1".to_owned()].into());
    assert!(worker.terminate().await.success());
}
