//! `saldo topology` and `saldo migrate`: what they say of what they do, and what they find.

use serde_json::{Value, json};
use tests::{PATIENCE, World, eventually};
use worker::topology::{COMMANDS, Limits, Topology};

/// As the API's path has it.
fn encoded(text: &str) -> String {
    text.replace('*', "%2A").replace('#', "%23")
}

#[tokio::test(flavor = "multi_thread")]
async fn apply_says_what_it_makes_and_that_nothing_was_missing() {
    let world = World::without_broker().await;
    world.manage("PUT", &format!("vhosts/{}", world.name), None).await;
    let administrator = tests::world::amqp_user();
    let all = json!({ "configure": ".*", "write": ".*", "read": ".*" });
    world.manage("PUT", &format!("permissions/{}/{administrator}", world.name), Some(all)).await;
    let Topology { exchanges, queues, bindings, policies } = Topology::new(Limits::default());
    let everything = exchanges.len() + queues.len() + bindings.len() + policies.len();

    let plan = world.saldo_at_broker(&["topology", "apply", "--dry-run"]).await;
    assert_eq!((plan.status, plan.output.lines().count()), (0, everything), "{plan:?}");
    assert!(plan.output.contains("queue saldo.commissions would be made\n"), "{plan:?}");
    let made = world.saldo_at_broker(&["topology", "apply", "--json"]).await;
    let rows = made.lines();
    assert_eq!(rows.len(), everything, "{made:?}");
    let row = json!({ "object": "exchange saldo.commands", "state": "made", "problem": null });
    assert!(rows.contains(&row) && rows.iter().all(|row| row["state"] == "made"), "{made:?}");

    let again = world.saldo_at_broker(&["topology", "apply"]).await;
    assert_eq!((again.status, again.messages.as_str()), (0, "saldo: nothing is missing\n"), "{again:?}");
    assert!(again.output.starts_with("as it should be: 4 exchanges, "), "{again:?}");

    // One thing of each kind that can be mended, and one that cannot.
    let vhost = &world.name;
    let policy = json!({ "pattern": "^x", "apply-to": "queues", "priority": 10, "definition": { "delivery-limit": 2 } });
    world.manage("PUT", &format!("policies/{vhost}/saldo.directory"), Some(policy)).await;
    let binding = format!("bindings/{vhost}/e/{COMMANDS}/q/saldo.commissions/{}", encoded("*.commission.#"));
    world.manage("DELETE", &binding, None).await;
    world.manage("DELETE", &format!("queues/{vhost}/saldo.notifier.dead"), None).await;
    world.manage("DELETE", &format!("exchanges/{vhost}/saldo.dead"), None).await;
    let direct = json!({ "type": "fanout", "durable": true });
    world.manage("PUT", &format!("exchanges/{vhost}/saldo.dead"), Some(direct)).await;
    let applied = world.saldo_at_broker(&["topology", "apply"]).await;
    assert_eq!(applied.status, 1, "{applied:?}");
    for line in [
        "policy saldo.directory set\n",
        "queue saldo.notifier.dead made\n",
        "binding saldo.commands -> saldo.commissions with key \"*.commission.#\" made\n",
        "exchange saldo.dead has type \"fanout\", expected \"direct\"\n",
    ] {
        assert!(applied.output.contains(line), "{line}: {applied:?}");
    }
    assert_eq!(applied.messages, "saldo: the topology differs in 1 place\n", "{applied:?}");
}

/// What is published to them, the broker holds against topic permissions; what comes these ways, it does not.
#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_and_strays_that_lead_to_commands_are_told() {
    let world = World::new().await;
    let vhost = &world.name;
    let check = async || world.saldo_at_broker(&["topology", "check", "--json"]).await;
    eventually("it is as it should be", PATIENCE, || async {
        let ran = check().await;
        if ran.status == 0 { Ok(()) } else { Err(ran) }
    })
    .await;
    let queue = |arguments: Value| Some(json!({ "durable": true, "arguments": arguments }));
    let letters = queue(json!({ "x-dead-letter-exchange": COMMANDS, "x-message-ttl": 0 }));
    world.manage("PUT", &format!("queues/{vhost}/own.letters"), letters).await;
    let straight =
        queue(json!({ "x-dead-letter-exchange": "", "x-dead-letter-routing-key": "saldo.commissions" }));
    world.manage("PUT", &format!("queues/{vhost}/own.straight"), straight).await;
    let innocent = queue(json!({ "x-dead-letter-exchange": "", "x-dead-letter-routing-key": "own.letters" }));
    world.manage("PUT", &format!("queues/{vhost}/own.innocent"), innocent).await;
    let strays =
        json!({ "type": "fanout", "durable": true, "arguments": { "alternate-exchange": COMMANDS } });
    world.manage("PUT", &format!("exchanges/{vhost}/own.strays"), Some(strays)).await;
    let policy = json!({ "pattern": "^nobody$", "apply-to": "queues",
                         "definition": { "dead-letter-exchange": COMMANDS } });
    world.manage("PUT", &format!("policies/{vhost}/own"), Some(policy)).await;
    let plain = json!({ "type": "fanout", "durable": true });
    world.manage("PUT", &format!("exchanges/{vhost}/own.plain"), Some(plain)).await;
    let bound = format!("bindings/{vhost}/e/own.plain/e/{COMMANDS}");
    world.manage("POST", &bound, Some(json!({ "routing_key": "", "arguments": {} }))).await;

    let ran = check().await;
    assert_eq!(ran.status, 1, "{ran:?}");
    let mut told: Vec<String> = ran
        .output
        .lines()
        .map(|line| {
            let row: Value = serde_json::from_str(line).unwrap();
            format!("{} {}", row["object"].as_str().unwrap(), row["problem"].as_str().unwrap())
        })
        .collect();
    told.sort();
    assert_eq!(
        told,
        [
            "binding own.plain -> saldo.commands with key \"\" is none of Saldo's",
            "exchange own.strays hands what it cannot route to saldo.commands, which is none of Saldo's doing",
            "policy own hands its dead letters to saldo.commands, which is none of Saldo's doing",
            "queue own.letters hands its dead letters to saldo.commands, which is none of Saldo's doing",
            "queue own.straight hands its dead letters to saldo.commissions, which is none of Saldo's doing",
        ]
    );
    let doctor = world.saldo_at_broker(&["doctor"]).await;
    for line in &told {
        let line = format!("✗ topology    {line}: what comes that way passes by topic permissions");
        assert!(doctor.output.contains(&line), "{line}: {doctor:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn migrating_takes_a_login_that_may_and_says_which() {
    let world = World::without_broker().await;
    let ran = world.saldo(&["migrate"]).await;
    assert_eq!(ran.status, 1, "{ran:?}");
    let wanted =
        "saldo: the login of database.url may not migrate; expected a superuser, a member of saldo_owner, or";
    assert!(ran.messages.starts_with(wanted), "{ran:?}");
    let administrator = world.database_url(None);
    let ran = world.saldo_with(&[("SALDO__DATABASE__URL", &administrator)], &["migrate"]).await;
    assert_eq!(ran.status, 0, "{ran:?}");
}
