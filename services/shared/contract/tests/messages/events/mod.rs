//! What the types write is what the event schemas and examples say.

mod adjustments;
mod commissions;
mod directory;
mod notifications;
mod withdrawals;

use contract::schema::Direction;
use contract::{
    AccountState, CommandKey, Currency, CustomerId, EntryId, Event, EventData, MerchantId, Origin,
    PostedEntry, SignedAmount, Timestamp,
};
use serde_json::Value;

use crate::support::{committed, example, example_path, names_in, pretty, schema_errors, schemas};

/// An event and its type.
type Composed = (&'static str, Event);

/// An event with one thing wrong: its type, its name, and where the schema finds it.
type Invalid = (&'static str, &'static str, &'static str);

const TRACE: Option<&str> = Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");

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

fn key(source: &str, id: &str) -> CommandKey {
    CommandKey { merchant: merchant(), source: source.parse().unwrap(), id: id.parse().unwrap() }
}

fn account(balance: &str, held: &str, pending: &str, version: i64) -> AccountState {
    let decimal = |figure: &str| figure.parse::<rust_decimal::Decimal>().unwrap();
    AccountState {
        balance: euros(balance),
        held: euros(held),
        pending: euros(pending),
        available: SignedAmount::new(decimal(balance) - decimal(held), eur()),
        currency: eur(),
        version,
    }
}

fn entry(
    number: i64,
    kind: &'static str,
    counterpart: &'static str,
    amount: &str,
    balance_after: &str,
) -> PostedEntry {
    PostedEntry {
        id: EntryId { account: 1042, number },
        kind,
        counterpart,
        amount: euros(amount),
        balance_after: euros(balance_after),
        occurred_at: at("2026-11-22T10:00:00Z"),
        recorded_at: at("2026-11-22T10:00:00.031416Z"),
    }
}

fn composed<D: EventData>(
    worker: &'static str,
    cause: &CommandKey,
    traceparent: Option<&str>,
    data: &D,
) -> Composed {
    let time = at("2026-11-22T10:00:00.031416Z");
    (D::TYPE, Event::compose(Origin { worker, cause, traceparent, time }, data).unwrap())
}

/// One event of each type, with every optional field, from fixed inputs.
fn complete() -> Vec<Composed> {
    [
        commissions::complete(),
        adjustments::complete(),
        withdrawals::complete(),
        directory::complete(),
        notifications::complete(),
    ]
    .concat()
}

/// The same with no optional field.
fn minimal() -> Vec<Composed> {
    [
        commissions::minimal(),
        adjustments::minimal(),
        withdrawals::minimal(),
        directory::minimal(),
        notifications::minimal(),
    ]
    .concat()
}

/// Every event type's invalid examples, and where the schema finds the one thing that is wrong.
fn invalid() -> Vec<Invalid> {
    [
        commissions::INVALID,
        adjustments::INVALID,
        withdrawals::INVALID,
        directory::INVALID,
        notifications::INVALID,
    ]
    .concat()
}

/// Every valid example: its name, and the event.
fn examples() -> Vec<(&'static str, Composed)> {
    let complete = complete().into_iter().map(|event| ("valid", event));
    complete.chain([("valid-expired", notifications::expired())]).collect()
}

#[test]
fn every_event_type_is_composed_here() {
    let types: Vec<_> = schemas(Direction::Event).map(|message| message.message_type).collect();
    assert_eq!(complete().iter().map(|(message_type, _)| *message_type).collect::<Vec<_>>(), types);
    assert_eq!(minimal().iter().map(|(message_type, _)| *message_type).collect::<Vec<_>>(), types);
}

#[test]
fn committed_event_examples_are_what_the_types_write() {
    committed(examples().into_iter().map(|(name, (message_type, event))| {
        (example_path(message_type, name), pretty(&serde_json::from_str(&event.body).unwrap()))
    }));
}

#[test]
fn events_are_what_their_schemas_say() {
    for (message_type, event) in [complete(), minimal()].concat() {
        let message: Value = serde_json::from_str(&event.body).unwrap();
        assert_eq!(schema_errors(message_type, &message), [""; 0], "{message_type}");
        assert_eq!(message["type"], message_type);
        assert_eq!(message["id"], event.id);
    }
}

#[test]
fn an_event_is_the_same_after_it_was_stored() {
    for (_, event) in [complete(), minimal()].concat() {
        assert!(!event.body.contains(['\n', '\r']), "outcomes are stored as lines");
        assert_eq!(Event::from_stored(&merchant(), &event.body), Some(event));
    }
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
            ("adjustment.credited", "acme.adjustment.credited", "29775350f15980ce7509a146c342edc6"),
            ("adjustment.debited", "acme.adjustment.debited", "845c867ecd00b2814fb31180933fd7f4"),
            ("adjustment.reversed", "acme.adjustment.reversed", "99f9856b22bdcb011b79473065a5701c"),
            ("adjustment.refused", "acme.adjustment.refused", "a72eb872d4a792694ef1e48df25b554a"),
            ("withdrawal.requested", "acme.withdrawal.requested", "efa9f51b1c20795c3d42f7017328c4b0"),
            ("withdrawal.approved", "acme.withdrawal.approved", "0f8bfc22a0100a30295593f560c6135d"),
            ("withdrawal.paid", "acme.withdrawal.paid", "7df5eedfcfa7643a438684a615a226a0"),
            ("withdrawal.rejected", "acme.withdrawal.rejected", "07597056e219708cde2ead922b3b6e16"),
            ("withdrawal.cancelled", "acme.withdrawal.cancelled", "6ba9cbff043e67df6743f7b9040e7af4"),
            ("withdrawal.refused", "acme.withdrawal.refused", "58fdbdd77185a00aa59de89907630687"),
            ("customer.updated", "acme.customer.updated", "5e06bbc1668a95537610b672e9fcaa50"),
            ("customer.refused", "acme.customer.refused", "c0bc8c30cbd22b335a17b088abfa043d"),
            ("payout-method.updated", "acme.payout-method.updated", "3eaf362c1eca6ade727f8716da23bc38"),
            ("payout-method.refused", "acme.payout-method.refused", "3ea9a6fd914b3f67943da69aca5cdb2d"),
            ("preferences.updated", "acme.preferences.updated", "6b003f532f698391d984fd1c5c3101d1"),
            ("preferences.refused", "acme.preferences.refused", "787411d0f5fc31f690a6bcc08a2aafb8"),
            ("notification.failed", "acme.notification.failed", "f7877e3af00b0bc6e230c56b76ec3dfa"),
        ]
    );
}

#[test]
fn invalid_event_examples_fail_where_their_names_say() {
    let (invalid, valid) = (invalid(), examples());
    for message in schemas(Direction::Event) {
        let of_type = invalid.iter().filter(|(message_type, ..)| *message_type == message.message_type);
        let valid = valid.iter().filter(|(_, (message_type, _))| *message_type == message.message_type);
        let valid = valid.map(|(name, _)| *name);
        let mut names: Vec<_> = of_type.clone().map(|(_, name, _)| *name).chain(valid).collect();
        names.sort_unstable();
        let folder = example_path(message.message_type, "valid");
        assert_eq!(names_in(folder.parent().unwrap()), names, "{}", message.message_type);
        assert!(names.len() > 4, "{} has too few invalid examples", message.message_type);
        for (message_type, name, path) in of_type {
            let message = serde_json::from_str(&example(message_type, name)).unwrap();
            let errors = schema_errors(message_type, &message);
            assert_eq!(errors, [*path], "{message_type} {name}");
        }
    }
}
