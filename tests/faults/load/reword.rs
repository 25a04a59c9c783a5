//! The same command in other words.

use std::fmt::Write as _;

use rand::RngExt as _;
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom as _, SliceRandom as _};
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use time::macros::offset;

/// Other bytes that mean the same: fields in another order, white space, escapes, `12.5` for `12.50`, the time as another
/// time zone has it, a default written out.
pub(super) fn reword(body: &[u8], rng: &mut StdRng) -> Vec<u8> {
    let mut message: Value = serde_json::from_slice(body).unwrap();
    if let Some(amount) = message["data"]["amount"].as_str().filter(|amount| amount.contains('.')) {
        message["data"]["amount"] = json!(amount.trim_end_matches('0').trim_end_matches('.'));
    }
    if rng.random() {
        let time = OffsetDateTime::parse(message["time"].as_str().unwrap(), &Rfc3339).unwrap();
        message["time"] = json!(time.to_offset(offset!(+2)).format(&Rfc3339).unwrap());
    }
    if rng.random() {
        message["datacontenttype"] = json!("application/json");
    }
    let mut words = String::new();
    write(&message, rng, &mut words);
    words.into_bytes()
}

fn write(value: &Value, rng: &mut StdRng, to: &mut String) {
    space(rng, to);
    match value {
        Value::Object(fields) => {
            let mut fields: Vec<_> = fields.iter().collect();
            fields.shuffle(rng);
            to.push('{');
            for (place, (name, field)) in fields.into_iter().enumerate() {
                to.push_str(if place > 0 { "," } else { "" });
                space(rng, to);
                string(name, rng, to);
                space(rng, to);
                to.push(':');
                write(field, rng, to);
            }
            to.push('}');
        }
        // Their order counts.
        Value::Array(items) => {
            to.push('[');
            for (place, item) in items.iter().enumerate() {
                to.push_str(if place > 0 { "," } else { "" });
                write(item, rng, to);
            }
            to.push(']');
        }
        Value::String(text) => string(text, rng, to),
        other => to.push_str(&other.to_string()),
    }
    space(rng, to);
}

fn space(rng: &mut StdRng, to: &mut String) {
    to.push_str(["", "", "", " ", "\n  ", "\t", "\r\n"].choose(rng).unwrap());
}

/// Stories' texts are ASCII.
fn string(text: &str, rng: &mut StdRng, to: &mut String) {
    to.push('"');
    for char in text.chars() {
        if rng.random_ratio(1, 8) || !char.is_ascii_graphic() || ['"', '\\'].contains(&char) {
            write!(to, "\\u{:04x}", u32::from(char)).unwrap();
        } else {
            to.push(char);
        }
    }
    to.push('"');
}
