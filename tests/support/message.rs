//! Messages as publishers write them.

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
