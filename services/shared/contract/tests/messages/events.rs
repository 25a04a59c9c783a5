//! What the types write is what the event schemas and examples say.

use contract::commission::{
    CommissionCredited, CommissionHeld, CommissionMatured, CommissionRefused, CommissionReversed,
};
use contract::schema::Direction;
use contract::{
    AccountState, CommandKey, Currency, CustomerId, EntryId, Event, EventData, MerchantId, Origin,
    PostedEntry, ReasonCode, Reference, SignedAmount, Timestamp,
};
use serde_json::Value;

use crate::support::{committed, example, example_path, pretty, schema_errors, schemas};

fn at(time: &str) -> Timestamp {
    time.parse().unwrap()
}

fn eur() -> Currency {
    "EUR".parse().unwrap()
}

fn euros(figure: &str) -> SignedAmount {
    SignedAmount::new(figure.parse().unwrap(), eur())
}

fn merchant() -> MerchantId {
    "acme".parse().unwrap()
}

fn customer() -> CustomerId {
    "c-17".parse().unwrap()
}

fn key(id: &str) -> CommandKey {
    CommandKey { merchant: merchant(), source: "/affiliates/eu".parse().unwrap(), id: id.parse().unwrap() }
}

fn commission() -> Reference {
    key("order-9001-level-1").reference()
}

fn account(balance: &str, pending: &str, version: i64) -> AccountState {
    AccountState {
        balance: euros(balance),
        held: euros("0"),
        pending: euros(pending),
        available: euros(balance),
        currency: eur(),
        version,
    }
}

fn entry(number: i64, kind: &'static str, amount: &str, balance_after: &str) -> PostedEntry {
    PostedEntry {
        id: EntryId { account: 1042, number },
        kind,
        counterpart: "commissions",
        amount: euros(amount),
        balance_after: euros(balance_after),
        occurred_at: at("2026-11-22T10:00:00Z"),
        recorded_at: at("2026-11-22T10:00:00.031416Z"),
    }
}

fn composed(cause: &str, traceparent: Option<&str>, data: &impl EventData) -> Event {
    let time = at("2026-11-22T10:00:00.031416Z");
    Event::compose(Origin { worker: "commissions", cause: &key(cause), traceparent, time }, data).unwrap()
}

fn credited() -> CommissionCredited {
    CommissionCredited {
        merchant: merchant(),
        customer: customer(),
        commission: commission(),
        amount: euros("12.5"),
        currency: eur(),
        order: Some("9001".parse().unwrap()),
        level: serde_json::from_str("1").unwrap(),
        entry: entry(1, "commission", "12.5", "12.5"),
        account: account("12.5", "0", 1),
    }
}

fn held() -> CommissionHeld {
    CommissionHeld {
        merchant: merchant(),
        customer: customer(),
        commission: commission(),
        amount: euros("12.5"),
        currency: eur(),
        order: Some("9001".parse().unwrap()),
        level: serde_json::from_str("1").unwrap(),
        available_at: at("2026-12-22T10:00:00Z"),
        account: account("0", "12.5", 1),
    }
}

fn matured() -> CommissionMatured {
    CommissionMatured {
        merchant: merchant(),
        customer: customer(),
        commission: commission(),
        amount: euros("12.5"),
        currency: eur(),
        entry: entry(1, "commission", "12.5", "12.5"),
        account: account("12.5", "0", 2),
    }
}

fn reversed() -> CommissionReversed {
    CommissionReversed {
        merchant: merchant(),
        customer: customer(),
        commission: commission(),
        amount: euros("4"),
        remaining: euros("8.5"),
        currency: eur(),
        entry: Some(entry(2, "commission-reversal", "-4", "8.5")),
        account: account("8.5", "0", 2),
    }
}

fn refused() -> CommissionRefused {
    CommissionRefused {
        merchant: merchant(),
        command: "commission.reverse",
        reason: ReasonCode::ExceedsCommission,
        message: "more than the 8.50 EUR that are left of the commission".into(),
        customer: Some(customer()),
        commission: commission(),
        account: Some(account("8.5", "0", 2)),
    }
}

/// One event of each type, with every optional field, from fixed inputs.
fn complete() -> [(&'static str, Event); 5] {
    let (credit, reverse) = ("order-9001-level-1", "refund-9001-1");
    let trace = Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
    [
        (CommissionCredited::TYPE, composed(credit, trace, &credited())),
        (CommissionHeld::TYPE, composed(credit, trace, &held())),
        (CommissionMatured::TYPE, composed(credit, trace, &matured())),
        (CommissionReversed::TYPE, composed(reverse, trace, &reversed())),
        (CommissionRefused::TYPE, composed(reverse, trace, &refused())),
    ]
}

/// The same with no optional field.
fn minimal() -> [(&'static str, Event); 5] {
    let (mut credited, mut held, mut reversed, mut refused) = (credited(), held(), reversed(), refused());
    (credited.order, credited.level, held.order, held.level) = (None, None, None, None);
    (reversed.entry, refused.customer, refused.account) = (None, None, None);
    [
        (CommissionCredited::TYPE, composed("a", None, &credited)),
        (CommissionHeld::TYPE, composed("a", None, &held)),
        (CommissionMatured::TYPE, composed("a", None, &matured())),
        (CommissionReversed::TYPE, composed("a", None, &reversed)),
        (CommissionRefused::TYPE, composed("a", None, &refused)),
    ]
}

#[test]
fn every_event_type_is_composed_here() {
    let types: Vec<_> = schemas(Direction::Event).map(|message| message.message_type).collect();
    assert_eq!(complete().iter().map(|(message_type, _)| *message_type).collect::<Vec<_>>(), types);
    assert_eq!(minimal().iter().map(|(message_type, _)| *message_type).collect::<Vec<_>>(), types);
}

#[test]
fn committed_event_examples_are_what_the_types_write() {
    committed(complete().into_iter().map(|(message_type, event)| {
        (example_path(message_type, "valid"), pretty(&serde_json::from_str(&event.body).unwrap()))
    }));
}

#[test]
fn events_are_what_their_schemas_say() {
    for (message_type, event) in complete().into_iter().chain(minimal()) {
        let message: Value = serde_json::from_str(&event.body).unwrap();
        assert_eq!(schema_errors(message_type, &message), [""; 0], "{message_type}");
        assert_eq!(message["type"], message_type);
        assert_eq!(message["id"], event.id);
    }
}

#[test]
fn an_event_is_the_same_after_it_was_stored() {
    for (_, event) in complete().into_iter().chain(minimal()) {
        assert!(!event.body.contains(['\n', '\r']), "outcomes are stored as lines");
        assert_eq!(Event::from_stored(&merchant(), &event.body), Some(event));
    }
}

#[test]
fn a_line_feed_in_a_text_stays_out_of_the_line() {
    let mut refused = refused();
    refused.message = "first\nsecond\r\u{2028}\"third\"".into();
    let event = composed("a", None, &refused);
    assert!(!event.body.contains(['\n', '\r']));
    assert_eq!(serde_json::from_str::<Value>(&event.body).unwrap()["data"]["message"], refused.message);
}

#[test]
fn what_was_not_stored_by_saldo_is_no_event() {
    for line in
        ["", "null", "{}", r#"{"id":"a"}"#, r#"{"id":"a","type":"commission"}"#, r#"{"id":1,"type":"a.v1"}"#]
    {
        assert_eq!(Event::from_stored(&merchant(), line), None, "{line}");
    }
}

#[test]
fn event_ids_and_routing_keys_are_golden() {
    let events = complete();
    let found: Vec<_> = events
        .iter()
        .map(|(_, event)| (event.name.as_str(), event.routing_key.as_str(), event.id.as_str()))
        .collect();
    assert_eq!(
        found,
        [
            ("commission.credited", "acme.commission.credited", "eacdf2296337cdcc600628c330d53f0c"),
            ("commission.held", "acme.commission.held", "8c858ced6632edcafa209c729a58f431"),
            ("commission.matured", "acme.commission.matured", "e95b94905cffa8b10ac1eb4e5733245e"),
            ("commission.reversed", "acme.commission.reversed", "a26b8ac8f832b6683aa9cbc5efe98e24"),
            ("commission.refused", "acme.commission.refused", "944a0e1ff7a0d265195b3ab8d2b2184c"),
        ]
    );
}

/// Every event type's invalid examples, and where the schema finds the one thing that is wrong.
const INVALID: &[(&str, &str, &str)] = &[
    ("commission.credited.v1", "invalid-account-without-version", "/data/account"),
    ("commission.credited.v1", "invalid-amount-number", "/data/amount"),
    ("commission.credited.v1", "invalid-entry-null", "/data/entry"),
    ("commission.credited.v1", "invalid-foreign-source", "/source"),
    ("commission.credited.v1", "invalid-without-cause", ""),
    ("commission.held.v1", "invalid-available-at-date", "/data/available_at"),
    ("commission.held.v1", "invalid-id", "/id"),
    ("commission.held.v1", "invalid-pending-leading-zero", "/data/account/pending"),
    ("commission.held.v1", "invalid-type", "/type"),
    ("commission.held.v1", "invalid-without-commission", "/data"),
    ("commission.matured.v1", "invalid-balance-exponent", "/data/account/balance"),
    ("commission.matured.v1", "invalid-currency", "/data/currency"),
    ("commission.matured.v1", "invalid-entry-id", "/data/entry/id"),
    ("commission.matured.v1", "invalid-specversion", "/specversion"),
    ("commission.matured.v1", "invalid-without-entry", "/data"),
    ("commission.reversed.v1", "invalid-data-base64", "/data_base64"),
    ("commission.reversed.v1", "invalid-entry-null", "/data/entry"),
    ("commission.reversed.v1", "invalid-remaining-number", "/data/remaining"),
    ("commission.reversed.v1", "invalid-version-string", "/data/account/version"),
    ("commission.reversed.v1", "invalid-without-remaining", "/data"),
    ("commission.refused.v1", "invalid-account-without-currency", "/data/account"),
    ("commission.refused.v1", "invalid-commission-string", "/data/commission"),
    ("commission.refused.v1", "invalid-reason-unknown", "/data/reason"),
    ("commission.refused.v1", "invalid-traceparent", "/traceparent"),
    ("commission.refused.v1", "invalid-without-message", "/data"),
];

#[test]
fn invalid_event_examples_fail_where_their_names_say() {
    for message in schemas(Direction::Event) {
        let of_type = INVALID.iter().filter(|(message_type, ..)| *message_type == message.message_type);
        let mut names: Vec<_> = of_type.clone().map(|(_, name, _)| *name).chain(["valid"]).collect();
        names.sort_unstable();
        let folder = example_path(message.message_type, "valid");
        assert_eq!(crate::support::names_in(folder.parent().unwrap()), names, "{}", message.message_type);
        assert!(names.len() > 4, "{} has too few invalid examples", message.message_type);
        for (message_type, name, path) in of_type {
            let message = serde_json::from_str(&example(message_type, name)).unwrap();
            let errors = schema_errors(message_type, &message);
            assert_eq!(errors, [*path], "{message_type} {name}");
        }
    }
}
