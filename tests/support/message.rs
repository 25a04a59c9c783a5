//! Messages as publishers write them.

use std::sync::Arc;

use contract::{Commands, Received};
use ledger::Item;
use ledger::decide::ItemOrigin;
use serde_json::{Value, json};

/// The merchant of most tests.
pub const MERCHANT: &str = "acme";
/// The source of most tests' commands.
pub const SOURCE: &str = "/affiliates/test";

/// A `commission.credit` as JSON, to be changed by the test.
pub fn credit(id: &str, customer: &str, amount: &str) -> Value {
    envelope(
        "commission.credit.v1",
        id,
        json!({ "merchant": MERCHANT, "customer": customer, "amount": amount, "currency": "EUR", "order": "9001" }),
    )
}

/// A `commission.reverse` of the commission with this id, wholly or in part.
pub fn reverse(id: &str, commission: &str, amount: Option<&str>) -> Value {
    let mut data = json!({ "merchant": MERCHANT, "commission": { "source": SOURCE, "id": commission } });
    if let Some(amount) = amount {
        data["amount"] = json!(amount);
        data["currency"] = json!("EUR");
    }
    envelope("commission.reverse.v1", id, data)
}

/// An `adjustment.credit` or `adjustment.debit`, in EUR.
pub fn adjustment(what: &str, id: &str, customer: &str, amount: &str) -> Value {
    envelope(
        &format!("adjustment.{what}.v1"),
        id,
        json!({
            "merchant": MERCHANT, "customer": customer, "amount": amount, "currency": "EUR",
            "description": "By hand", "actor": "maria",
        }),
    )
}

/// An `adjustment.reverse` of the entry that the command with this id posted.
pub fn reverse_adjustment(id: &str, adjustment: &str) -> Value {
    envelope(
        "adjustment.reverse.v1",
        id,
        json!({
            "merchant": MERCHANT, "entry": { "source": SOURCE, "id": adjustment }, "reason": "Typed twice",
            "actor": "maria",
        }),
    )
}

/// A `withdrawal.request` in EUR, of everything where there is no amount.
pub fn request(id: &str, customer: &str, amount: Option<&str>) -> Value {
    let mut data = json!({ "merchant": MERCHANT, "customer": customer, "currency": "EUR" });
    if let Some(amount) = amount {
        data["amount"] = json!(amount);
    }
    envelope("withdrawal.request.v1", id, data)
}

/// A `withdrawal.approve`, `.pay` or `.reject` by the shop of the withdrawal that the command with this id requested.
pub fn decide(what: &str, id: &str, request: &str) -> Value {
    let withdrawal = json!({ "source": SOURCE, "id": request });
    let mut data = json!({ "merchant": MERCHANT, "withdrawal": withdrawal, "actor": "maria" });
    if what == "reject" {
        data["reason"] = json!("Wrong account");
    }
    envelope(&format!("withdrawal.{what}.v1"), id, data)
}

/// A `withdrawal.cancel` by the customer.
pub fn cancel(id: &str, customer: &str, request: &str) -> Value {
    let withdrawal = json!({ "source": SOURCE, "id": request });
    let data = json!({ "merchant": MERCHANT, "customer": customer, "withdrawal": withdrawal });
    envelope("withdrawal.cancel.v1", id, data)
}

/// A `customer.put`.
pub fn customer(id: &str, customer: &str, kind: &str) -> Value {
    envelope(
        "customer.put.v1",
        id,
        json!({ "merchant": MERCHANT, "customer": customer, "kind": kind, "name": "Anna", "locale": "en" }),
    )
}

/// A `payout-method.put` with an IBAN.
pub fn payout_method(id: &str, customer: &str) -> Value {
    let account = json!({ "iban": IBAN, "bic": "COBADEFFXXX", "holder": "Anna Schmidt" });
    let data = json!({ "merchant": MERCHANT, "customer": customer, "bank_account": account });
    envelope("payout-method.put.v1", id, data)
}

/// An IBAN that nobody has, from the standard's own examples.
pub const IBAN: &str = "DE89370400440532013000";

/// A `preferences.put` with withdrawals enabled.
pub fn preferences(id: &str, merchant: &str) -> Value {
    envelope(
        "preferences.put.v1",
        id,
        json!({ "merchant": merchant, "name": "Acme", "actor": "maria", "withdrawals": { "enabled": true } }),
    )
}

/// The message for another merchant.
pub fn of_merchant(mut message: Value, merchant: &str) -> Value {
    message["data"]["merchant"] = json!(merchant);
    message
}

/// The message with another `time`.
pub fn at(mut message: Value, time: &str) -> Value {
    message["time"] = json!(time);
    message
}

/// Any command.
pub fn envelope(message_type: &str, id: &str, data: Value) -> Value {
    let mut message = json!({
        "specversion": "1.0", "id": id, "source": SOURCE, "type": message_type,
        "time": "2026-11-22T10:00:00Z",
    });
    message["data"] = data;
    message
}

/// The routing key that this message's body asks for.
pub fn routing_key(message: &Value) -> String {
    let name = message["type"].as_str().unwrap().trim_end_matches(".v1");
    format!("{}.{name}", message["data"]["merchant"].as_str().unwrap())
}

/// A message as a worker's item, delivered.
pub fn item<C: Commands>(body: &str) -> Arc<Item<C>> {
    let body: Arc<[u8]> = body.as_bytes().into();
    Arc::new(Item { received: Received::read(&body).unwrap(), body, origin: ItemOrigin::Delivered })
}
