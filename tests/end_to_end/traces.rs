//! Trace context: from a command to its events, and to the mails about them; and the spans of those that are sampled.

use serde_json::json;
use tests::message::request;
use tests::{PATIENCE, SentSpan, SpanCollector, Step, World, credit, eventually};

use crate::mails::Office;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PUBLISHER: &str = "b7ad6b7169203331";

fn traceparent(flags: &str) -> String {
    format!("00-{TRACE}-{PUBLISHER}-{flags}")
}

/// What was done in the trace, by whom: all of it children of the publisher's span.
fn done(spans: &[SentSpan]) -> Vec<(&str, &str)> {
    for span in spans {
        assert_eq!((span.trace.as_str(), span.parent.as_str()), (TRACE, PUBLISHER), "{span:#?}");
        assert!(span.in_order, "{span:#?}");
    }
    let mut done: Vec<_> = spans.iter().map(|span| (span.service.as_str(), span.name.as_str())).collect();
    done.sort_unstable();
    done
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sampled_request_is_one_trace_from_the_command_to_the_mails() {
    let collector = SpanCollector::start().await;
    let mut office = Office::new(&[("anna", "100.00")]).await;
    office.shop.stop().await;
    let world = &office.shop.world;
    let mut withdrawals = world.worker_of("withdrawals");
    let _withdrawals = withdrawals.set("SALDO__TRACES__ENDPOINT", collector.endpoint()).ready().await;
    let mut notifier = world.notifier(&office.server);
    let _notifier = notifier.set("SALDO__TRACES__ENDPOINT", collector.endpoint()).ready().await;
    let mut sampled = request("w-1", "anna", Some("10.00"));
    sampled["traceparent"] = json!(traceparent("01"));
    let event = office.shop.done(sampled, "withdrawal.requested").await;
    assert_eq!(event["traceparent"], traceparent("01"));
    for mail in office.server.wait_mails(2).await {
        let raw = String::from_utf8_lossy(&mail.raw).into_owned();
        let header = format!("\r\ntraceparent: {}\r\n", traceparent("01"));
        assert!(raw.contains(&header), "{raw}");
    }
    let spans = collector.at_least(4).await;
    let notifier = "saldo-notifier";
    assert_eq!(
        done(&spans),
        [
            (notifier, "process saldo.notifier"),
            (notifier, "send mail"),
            (notifier, "send mail"),
            ("saldo-withdrawals", "process saldo.withdrawals"),
        ]
    );
    let outcome =
        |name: &str| spans.iter().find(|span| span.name == name).unwrap().attributes["saldo.outcome"].clone();
    assert_eq!(outcome("process saldo.withdrawals"), "decided");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_that_is_given_up_is_told_of_in_its_trace() {
    let office = Office::new(&[("anna", "100.00")]).await;
    office.server.at(Step::RcptTo).answers(550, "5.1.1 nobody");
    let _notifier = office.notifier().await;
    let mut traced = request("w-1", "anna", Some("10.00"));
    traced["traceparent"] = json!(traceparent("00"));
    office.shop.done(traced, "withdrawal.requested").await;
    assert_eq!(office.given_up().await["traceparent"], traceparent("00"));
}

#[tokio::test(flavor = "multi_thread")]
async fn only_sampled_commands_have_spans_dead_letters_included() {
    let collector = SpanCollector::start().await;
    let world = World::new().await;
    let (events, dead) = (world.events().await, world.dead_letters().await);
    let mut worker = world.worker();
    let mut worker = worker.set("SALDO__TRACES__ENDPOINT", collector.endpoint()).ready().await;
    let traced = |id: &str, amount: &str, flags: &str| {
        let mut command = credit(id, "anna", amount);
        command["traceparent"] = json!(traceparent(flags));
        command
    };
    let publisher = world.publisher().await;
    publisher
        .publish(&[credit("c-1", "anna", "1.00"), traced("c-2", "1.00", "00"), traced("c-3", "1.00", "01")])
        .await;
    events.at_least(3, PATIENCE).await;
    publisher.publish(&[traced("c-3", "2.00", "01")]).await;
    dead.at_least(1, PATIENCE).await;
    // What waits to be sent is sent before the process ends.
    assert!(worker.terminate().await.success());
    let spans = collector.at_least(2).await;
    assert_eq!(done(&spans), [("saldo-commissions", "process saldo.commissions"); 2]);
    let mut outcomes: Vec<_> = spans.iter().map(|span| span.attributes["saldo.outcome"].as_str()).collect();
    outcomes.sort_unstable();
    assert_eq!(outcomes, ["dead-lettered", "decided"]);
    let failed = spans.iter().find(|span| span.attributes["saldo.outcome"] == "dead-lettered").unwrap();
    assert_eq!(failed.attributes["error.type"], "idempotency-conflict");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_is_away_stops_nothing_and_what_is_dropped_is_counted() {
    let world = World::new().await;
    let events = world.events().await;
    let mut worker = world.worker();
    // Nobody listens on the port of TCP's multiplexer.
    let worker = worker.set("SALDO__TRACES__ENDPOINT", "http://127.0.0.1:1/v1/traces").ready().await;
    let mut sampled = credit("c-1", "anna", "1.00");
    sampled["traceparent"] = json!(traceparent("01"));
    world.publisher().await.publish(&[sampled]).await;
    events.at_least(1, PATIENCE).await;
    worker.wait_metric("saldo_spans_dropped_total", &[], 1.0).await;
    assert_eq!(worker.metrics().await.value("saldo_ready", &[]), Some(1.0));
    eventually("it is said", PATIENCE, || async {
        let log = worker.log();
        if log.contains("traces.endpoint does not take spans") { Ok(()) } else { Err(log) }
    })
    .await;
}
