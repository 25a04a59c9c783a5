//! What publishers should not send: none of it changes the ledger, all of it is told why, and no command
//! beside it suffers.

mod kinds;

pub(crate) use kinds::copied;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use contract::Malformed;
use kinds::{Kind, VICTIM};
use lapin::options::{BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldArray, FieldTable};
use lapin::{BasicProperties, Confirmation, Connection, ConnectionProperties};
use serde_json::json;
use tests::broker::Collected;
use tests::message::routing_key;
use tests::wire::Wire;
use tests::{COMMISSIONS, Collector, PATIENCE, Publisher, World, credit, eventually};
use worker::topology::{Limits, UNROUTABLE, dead_queue};

/// What Saldo's own dead letters say of themselves, and all that they say; of who published them, where the broker vouched
/// for somebody, besides.
const HEADERS: [&str; 5] =
    ["saldo-dead-at", "saldo-detail", "saldo-reason", "saldo-routing-key", "saldo-worker"];
const USER: &str = "saldo-user";

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_malformed_message_is_dead_lettered_with_its_reason_and_changes_nothing() {
    let world = World::new().await;
    let (events, dead) = (world.events().await, world.dead_letters().await);
    let unroutable = Collector::of_queue(&world, UNROUTABLE).await;
    let publisher = world.publisher().await;
    let worker = world.worker().ready().await;
    let (routed, stray) = (kinds::routed(), kinds::unroutable());
    assert!(routed.len() >= 300, "{} kinds only", routed.len());

    let mut messages = Vec::new();
    for (number, kind) in routed.iter().chain(&stray).enumerate() {
        messages.push((kind.routing_key.clone(), kind.body.clone(), forged(&kind.properties, number)));
        let good = credit(&format!("good-{number}"), &format!("customer-{}", number % 50), "1.00");
        messages.push((routing_key(&good), good.to_string().into_bytes(), Publisher::properties()));
    }
    let good = messages.len() / 2;
    for part in messages.chunks(200) {
        let confirmed = publisher.raw_all(part).await;
        assert!(confirmed.iter().all(|one| *one == Confirmation::Ack(None)), "{confirmed:?}");
    }

    // Where each ended, by its number.
    let mut odd = Vec::new();
    let (mut dead, mut unroutable) = eventually("all have ended somewhere", PATIENCE, || async {
        let (told, dead, stranded) = (events.count(), dead.all(), unroutable.all());
        let counts = (told, dead.len(), stranded.len());
        let (dead, stranded) = (by_number(dead), by_number(stranded));
        if told >= good && counts.1 >= routed.len() && counts.2 >= stray.len() {
            return Ok((dead, stranded));
        }
        let missing = routed.iter().enumerate().filter(|(number, _)| !dead.contains_key(number));
        Err((counts, missing.map(|(_, kind)| &kind.name).take(10).collect::<Vec<_>>()))
    })
    .await;
    for (number, kind) in routed.iter().enumerate() {
        match dead.remove(&number).unwrap_or_default().as_slice() {
            [letter] => odd.extend(problems(kind, letter).map(|what| format!("{}: {what}", kind.name))),
            letters => odd.push(format!("{}: {} dead letters", kind.name, letters.len())),
        }
    }
    for (number, kind) in (routed.len()..).zip(&stray) {
        match unroutable.remove(&number).unwrap_or_default().as_slice() {
            [letter] if letter.body == kind.body => {}
            letters => odd.push(format!("{}: {} times unroutable", kind.name, letters.len())),
        }
    }
    odd.extend(dead.into_values().flatten().map(|letter| format!("dead as well: {letter:?}")));
    odd.extend(unroutable.into_values().flatten().map(|letter| format!("unroutable as well: {letter:?}")));
    assert!(odd.is_empty(), "{} of {} behave otherwise:\n{}", odd.len(), routed.len(), odd.join("\n"));
    eprintln!(
        "{} kinds dead-lettered, {} unroutable, {good} commands beside them",
        routed.len(),
        stray.len()
    );

    assert_eq!(events.causes("commission.credited").len(), good);
    assert_eq!(events.events_by_id().len(), good, "events of nothing else");
    let rows = |table: &str| match table {
        "entry" => "SELECT count(*) FROM entry",
        "inbox" => "SELECT count(*) FROM inbox",
        "customer" => "SELECT count(*) FROM customer",
        "waiting" => "SELECT count(*) FROM waiting",
        "account" => "SELECT count(*) FROM account",
        "merchant" => "SELECT count(*) FROM merchant",
        _ => "SELECT count(*) FROM commission",
    };
    let mut counts = Vec::new();
    for table in ["entry", "inbox", "customer", "account", "merchant", "waiting", "commission"] {
        counts.push(world.count(rows(table)).await);
    }
    let good = i64::try_from(good).unwrap();
    let tables = "entries, inbox, customers, accounts, merchants, waiting, commissions";
    assert_eq!(counts, [good, good, 50, 50, 1, 0, 0], "{tables}");
    let cents = "SELECT (100 * sum(balance + held + pending))::bigint FROM account";
    assert_eq!(world.count(cents).await, 100 * good, "all balances together");
    world.assert_told(&events).await;
    world.assert_sound().await;
    assert!(world.balance(VICTIM).await.is_zero());
    assert!(!worker.log().contains("session is lost"), "one of them cost the worker its session");
}

/// A publisher's properties with everything in them that somebody could believe.
fn forged(properties: &BasicProperties, number: usize) -> BasicProperties {
    let text = |text: &str| AMQPValue::LongString(text.into());
    let mut headers = properties.headers().clone().unwrap_or_default();
    for (name, value) in [
        ("saldo-reason", text("forged")),
        ("saldo-detail", text("forged")),
        ("saldo-forged", text("forged")),
        ("traceparent", text("forged")),
        ("x-delivery-count", AMQPValue::LongLongInt(40)),
        ("x-death", x_death()),
        ("x-first-death-queue", text("saldo.commissions")),
    ] {
        headers.insert(name.into(), value);
    }
    properties
        .clone()
        .with_headers(headers)
        .with_message_id(format!("kind-{number}").as_str().into())
        .with_correlation_id("correlation".into())
        .with_reply_to("amq.rabbitmq.reply-to.g1h2AA5yZXBseUA".into())
        .with_app_id("forged".into())
        .with_type("forged".into())
        .with_content_encoding("gzip".into())
        .with_priority(9)
        .with_timestamp(1)
}

fn x_death() -> AMQPValue {
    let mut death = FieldTable::default();
    death.insert("queue".into(), AMQPValue::LongString("saldo.commissions".into()));
    death.insert("reason".into(), AMQPValue::LongString("delivery_limit".into()));
    death.insert("exchange".into(), AMQPValue::LongString("saldo.commands".into()));
    death.insert("count".into(), AMQPValue::LongLongInt(40));
    AMQPValue::FieldArray(FieldArray::from(vec![AMQPValue::FieldTable(death)]))
}

fn by_number(letters: Vec<Collected>) -> BTreeMap<usize, Vec<Collected>> {
    let mut by_number: BTreeMap<usize, Vec<Collected>> = BTreeMap::new();
    for letter in letters {
        let id = letter.properties.message_id().as_ref().map(ToString::to_string).unwrap_or_default();
        let number = id.strip_prefix("kind-").and_then(|number| number.parse().ok());
        by_number.entry(number.unwrap_or(usize::MAX)).or_default().push(letter);
    }
    by_number
}

/// What is wrong with a dead letter.
fn problems(kind: &Kind, letter: &Collected) -> impl Iterator<Item = String> {
    let mut problems = Vec::new();
    let mut claim = |holds: bool, what: String| {
        if !holds {
            problems.push(what);
        }
    };
    let (reason, detail) = (letter.header("saldo-reason"), letter.header("saldo-detail"));
    let (reason, detail) = (reason.unwrap_or_default(), detail.unwrap_or_default());
    claim(kind.reasons.contains(&reason.as_str()), format!("reason {reason}: {detail}"));
    claim(detail.contains(&kind.names), format!("{} is not named: {detail}", kind.names));
    claim(
        detail.contains(' ') && detail.chars().count() <= Malformed::MAX_DETAIL,
        format!("detail {detail:?}"),
    );
    claim(!detail.contains(char::is_control), format!("control characters: {detail:?}"));
    claim(letter.body == kind.body, format!("the body has {} bytes", letter.body.len()));
    claim(letter.header("saldo-worker").as_deref() == Some("commissions"), "saldo-worker".to_owned());
    claim(
        letter.header("saldo-routing-key").as_ref() == Some(&kind.routing_key),
        "saldo-routing-key".to_owned(),
    );

    let properties = &letter.properties;
    let headers = properties.headers().clone().unwrap_or_default();
    let names: Vec<_> = headers.inner().keys().map(|name| name.as_str().to_owned()).collect();
    let user = kind.properties.user_id().as_ref().map(ToString::to_string);
    claim(letter.header(USER) == user, format!("headers {names:?}"));
    claim(names.into_iter().filter(|name| name != USER).eq(HEADERS), "headers".to_owned());
    claim(properties.content_type() == kind.properties.content_type(), "content type".to_owned());
    let kept = BasicProperties::default()
        .with_delivery_mode(2)
        .with_headers(headers)
        .with_message_id(properties.message_id().clone().unwrap_or_default())
        .with_correlation_id("correlation".into());
    let kept = match properties.content_type() {
        Some(content_type) => kept.with_content_type(content_type.clone()),
        None => kept,
    };
    claim(*properties == kept, format!("properties {properties:?}"));
    problems.into_iter()
}

/// Nobody's `reply_to`, headers or count are believed, not even of a message that has come back.
#[tokio::test(flavor = "multi_thread")]
async fn forged_properties_change_nothing() {
    let world = World::new().await;
    let (events, publisher) = (world.events().await, world.publisher().await);
    let mut messages = Vec::new();
    for number in 0..40 {
        let message = credit(&format!("c-{number}"), "anna", "1.00");
        let properties = forged(&Publisher::properties(), number);
        let properties = match number % 4 {
            0 => properties,
            1 => properties.with_reply_to("saldo.commissions".into()),
            2 => properties.with_reply_to("amq.rabbitmq.reply-to.".into()),
            _ => properties.with_message_id("".into()),
        };
        messages.push((routing_key(&message), message.to_string().into_bytes(), properties));
    }
    let confirmed = publisher.raw_all(&messages).await;
    assert!(confirmed.iter().all(|one| *one == Confirmation::Ack(None)), "{confirmed:?}");
    // The first worker dies with all of them: the broker's own count is 1 then, not 41.
    let mut first = world.worker().dies_at("received", 1).start();
    first.ended(PATIENCE).await;
    let mut worker = world.worker().ready().await;
    eventually("all are credited", PATIENCE, || async {
        let done = events.causes("commission.credited").len();
        if done == 40 { Ok(()) } else { Err(done) }
    })
    .await;
    assert!(worker.terminate().await.success());
    let log = worker.log();
    assert!(!log.contains("session is lost") && !log.contains("one at a time"), "{log}");
    assert_eq!(publisher.queued(COMMISSIONS).await.ready, 0);
    assert_eq!(publisher.queued(&dead_queue("commissions")).await.ready, 0);
    assert_eq!(world.balance("anna").await, 40.into());
    assert_eq!(events.events_by_id().len(), 40);
}

/// Two deliveries that a connection cannot survive: one whose headers are as long as the broker takes them, and
/// one that arrives well the first time, and the second time not: with the broker's own header its frame is
/// longer than the connection's limit.
#[tokio::test(flavor = "multi_thread")]
async fn deliveries_that_kill_connections_end_in_dead_and_take_nothing_with_them() {
    const COMMANDS: usize = 1000;
    const KILLERS: [usize; 2] = [300, 700];
    let world = World::with_limits(Limits { delivery_limit: 6, ..Limits::default() }).await;
    let (events, publisher) = (world.events().await, world.publisher().await);
    let paddings = [longest_header(&world, false).await, longest_header(&world, true).await];
    let messages: Vec<_> = (0..COMMANDS)
        .map(|number| {
            let message = credit(&format!("c-{number}"), &format!("customer-{}", number % 20), "1.00");
            let killer = KILLERS.iter().position(|killer| *killer == number);
            let properties = killer.map_or_else(Publisher::properties, |killer| padded(paddings[killer]));
            (routing_key(&message), message.to_string().into_bytes(), properties)
        })
        .collect();
    for part in messages.chunks(200) {
        assert!(publisher.raw_all(part).await.iter().all(|one| *one == Confirmation::Ack(None)));
    }

    let began = Instant::now();
    let mut worker = world.worker().start();
    eventually("all but the killers are credited, and those are dead", PATIENCE * 2, || async {
        let credited = events.causes("commission.credited").len();
        let dead = publisher.queued(&dead_queue("commissions")).await.ready;
        if (credited, dead) == (COMMANDS - 2, 2) { Ok(()) } else { Err((credited, dead)) }
    })
    .await;
    worker.wait_ready(PATIENCE).await;
    let took = began.elapsed();
    assert!(worker.terminate().await.success());
    assert_eq!(publisher.queued(COMMISSIONS).await.ready, 0);
    assert_eq!(world.count("SELECT count(*) FROM inbox WHERE id IN ('c-300', 'c-700')").await, 0);
    assert_eq!(world.count("SELECT count(*) FROM entry").await, 998);
    world.assert_sound().await;

    // Over HTTP: with the broker's account of its death each is too long for any consumer again.
    let question = json!({ "count": 10, "ackmode": "ack_requeue_true", "encoding": "auto" });
    let path = format!("queues/{}/{}/get", world.name, dead_queue("commissions"));
    let letters = world.manage("POST", &path, Some(question)).await;
    let mut bodies = Vec::new();
    for letter in letters.as_array().unwrap() {
        assert_eq!(letter["properties"]["headers"]["x-death"][0]["reason"], "delivery_limit");
        bodies.push(letter["payload"].as_str().unwrap().as_bytes());
    }
    bodies.sort_unstable();
    assert_eq!(bodies, KILLERS.map(|killer| messages[killer].1.as_slice()));
    let losses = worker.log().matches("session is lost").count();
    eprintln!("{paddings:?} bytes of padding cost {losses} sessions; 998 were decided in {took:?}");
}

/// AMQP's short texts are UTF-8, and the broker does not look. A consumer does, and loses its connection.
#[tokio::test(flavor = "multi_thread")]
async fn texts_that_are_no_utf_8_end_in_dead_and_take_nothing_with_them() {
    const COMMANDS: usize = 300;
    const KEY: &[u8] = b"acme.commission.credit";
    const MESSAGE_ID: u16 = 1 << 7;
    const HEADERS: u16 = 1 << 13;
    let world = World::with_limits(Limits { delivery_limit: 4, ..Limits::default() }).await;
    let (events, publisher) = (world.events().await, world.publisher().await);
    let commands = |numbers: std::ops::Range<usize>| -> Vec<_> {
        numbers.map(|number| credit(&format!("c-{number}"), "anna", "1.00")).collect()
    };
    let body = credit("killer", "mallory", "1.00").to_string();
    let hostile = [
        (KEY, MESSAGE_ID, &b"\x02\xff\xfe"[..]),
        (KEY, HEADERS, b"\0\0\0\x05\x02\xc0\xaft\x01"),
        (b"acme.commission.\xff", 0, b""),
    ];
    for (number, (key, flags, properties)) in hostile.into_iter().enumerate() {
        publisher.publish(&commands(number * 100..(number + 1) * 100)).await;
        let mut wire = Wire::connect(&world);
        assert!(
            wire.publish(worker::topology::COMMANDS, key, flags, properties, body.as_bytes()),
            "message {number}"
        );
    }
    let began = Instant::now();
    let mut worker = world.worker().ready().await;
    eventually("all commands are credited", PATIENCE, || async {
        let seen = (events.causes("commission.credited").len(), publisher.queued(COMMISSIONS).await);
        if seen.0 == COMMANDS && seen.1.ready == 0 { Ok(()) } else { Err(seen) }
    })
    .await;
    eventually("the others are dead", PATIENCE, || async {
        let dead = publisher.queued(&dead_queue("commissions")).await.ready;
        if dead == 3 { Ok(()) } else { Err(dead) }
    })
    .await;
    worker.wait_ready(PATIENCE).await;
    let losses = worker.log().matches("session is lost").count();
    eprintln!("3 texts that are no UTF-8 cost {losses} sessions; 300 were decided in {:?}", began.elapsed());
    assert!(worker.terminate().await.success());
    assert_eq!(publisher.queued(COMMISSIONS).await.ready, 0);
    assert!(world.balance("mallory").await.is_zero());
    assert_eq!(world.count("SELECT count(*) FROM entry").await, 300);
    world.assert_sound().await;
}

/// Proper properties with a header of this many bytes.
pub(crate) fn padded(bytes: usize) -> BasicProperties {
    let mut headers = FieldTable::default();
    headers.insert("padding".into(), AMQPValue::LongString("x".repeat(bytes).into()));
    Publisher::properties().with_headers(headers)
}

/// The longest padding that the broker takes, or that a consumer receives as well: found by trying.
pub(crate) async fn longest_header(world: &World, received: bool) -> usize {
    let fits = async |bytes: usize| {
        let connection =
            Connection::connect(&world.amqp_url(), ConnectionProperties::default()).await.unwrap();
        let channel = connection.create_channel().await.unwrap();
        channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
        let options = QueueDeclareOptions { exclusive: true, ..Default::default() };
        let queue = channel.queue_declare("".into(), options, FieldTable::default()).await.unwrap();
        let name = queue.name().clone();
        let tried = async {
            let options = BasicPublishOptions::default();
            channel.basic_publish("".into(), name.clone(), options, b"", padded(bytes)).await?.await?;
            if received {
                return channel.basic_get(name.clone(), BasicGetOptions { no_ack: true }).await.map(drop);
            }
            Ok(())
        };
        tokio::time::timeout(Duration::from_secs(5), tried).await.is_ok_and(|fits| fits.is_ok())
    };
    let (mut fitting, mut failing) = (130_000, 131_072);
    assert!(fits(fitting).await, "not even {fitting}");
    while failing - fitting > 1 {
        let middle = usize::midpoint(fitting, failing);
        if fits(middle).await {
            fitting = middle;
        } else {
            failing = middle;
        }
    }
    fitting
}

/// A command alone may make the database refuse; the other 999 of its batch do not suffer.
#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_violates_a_constraint_is_found_in_its_batch_and_goes_alone() {
    culprits(VIOLATION, "23514, constraint boom", &[271]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_that_violate_a_constraint_are_found_wherever_they_stand_in_their_batch() {
    culprits(VIOLATION, "23514, constraint boom", &[13, 99, 271, 272, 399, 499, 600, 801, 900, 999]).await;
}

const VIOLATION: &str = "ALTER TABLE entry ADD CONSTRAINT boom CHECK (note <> 'boom')";

/// The same for an error of class 22, which the command meets in a trigger.
#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_makes_a_calculation_fail_is_found_in_its_batch_and_goes_alone() {
    let division = "CREATE FUNCTION divide() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN IF NEW.note = 'boom' THEN PERFORM 1 / (NEW.number - NEW.number); END IF; RETURN NEW; END $$;
        CREATE TRIGGER divide BEFORE INSERT ON entry FOR EACH ROW EXECUTE FUNCTION divide()";
    culprits(division, "22012", &[271]).await;
}

async fn culprits(trap: &'static str, told: &str, places: &[usize]) {
    const COMMANDS: usize = 1_000;
    let rest = COMMANDS - places.len();
    let world = World::new().await;
    sqlx::raw_sql(trap).execute(&mut world.superuser().await).await.unwrap();
    let (events, dead, publisher) =
        (world.events().await, world.dead_letters().await, world.publisher().await);
    let mut messages: Vec<_> = (0..COMMANDS)
        .map(|number| credit(&format!("c-{number}"), &format!("customer-{}", number % 7), "1.00"))
        .collect();
    for place in places {
        messages[*place]["data"]["note"] = json!("boom");
    }
    publisher.publish(&messages).await;
    let mut worker = world.worker().set("SALDO__WORKER__LANES", "1").ready().await;
    eventually("the culprits are dead and the rest are credited", PATIENCE, || async {
        let seen = (events.causes("commission.credited").len(), dead.all().len());
        if seen == (rest, places.len()) { Ok(()) } else { Err(seen) }
    })
    .await;
    assert!(worker.terminate().await.success());
    assert_eq!(publisher.queued(COMMISSIONS).await.ready, 0);
    for (letter, place) in dead.all().iter().zip(places) {
        assert_eq!(letter.header("saldo-reason").unwrap(), "culprit");
        assert!(letter.header("saldo-detail").unwrap().contains(told), "{letter:?}");
        assert_eq!(letter.body, messages[*place].to_string().as_bytes());
    }
    let rest = i64::try_from(rest).unwrap();
    assert_eq!(world.count("SELECT count(*) FROM entry").await, rest);
    assert_eq!(world.count("SELECT count(*) FROM inbox").await, rest);
    let batches = world.count("SELECT count(*) FROM batch").await;
    eprintln!("{rest} of {COMMANDS} in {batches} transactions");
    // Halved ten times for each.
    let most = 10 * i64::try_from(places.len()).unwrap() + 10;
    assert!(batches <= most, "{batches} transactions: the batch was taken apart more than needed");
    world.assert_sound().await;
    world.assert_told(&events).await;
}
