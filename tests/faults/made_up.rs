//! Lines and rows of a run that never was.

use serde_json::{Value, json};
use tests::story;
use tests::worker_process::PAYOUT_KEYS;

use crate::inbox::{Commanded, Row, id_of};
use crate::journal::{Kind, Line};

/// A moment; others are so many microseconds later.
pub(crate) const NOON: i64 = 1_795_000_000_000_000;
pub(crate) const SECOND: i64 = 1_000_000;

/// A command of the shop `s`.
pub(crate) fn command(name: &str, id: &str, time: &str, mut data: Value) -> Value {
    data["merchant"] = json!("s");
    json!({
        "specversion": "1.0", "id": id, "source": "/shop", "type": format!("{name}.v1"), "time": time, "data": data,
    })
}

/// A line that was sent at noon and confirmed.
pub(crate) fn line(kind: Kind, message: &Value) -> Line {
    let text = |field: &str| message[field].as_str().unwrap().to_owned();
    let name = text("type").trim_end_matches(".v1").to_owned();
    Line {
        kind,
        key: Some(("s".to_owned(), text("source"), text("id"))),
        worker: Some(story::worker(message)),
        routing_key: format!("s.{name}"),
        user: None,
        body: message.to_string().into_bytes().into(),
        sent_at: Some(NOON),
        confirmed_at: Some(NOON),
        attempts: 1,
    }
}

/// A row of this line, decided so long after noon and committed at once, that tells this.
pub(crate) fn row(line: &Line, after: i64, told: &[(&str, Value)]) -> Row {
    let key = line.key.clone().unwrap();
    let lines = [line.clone()];
    let content = Commanded::of(&lines, PAYOUT_KEYS).content(0).unwrap().0.to_vec();
    let time = time::OffsetDateTime::from_unix_timestamp_nanos(i128::from(NOON + after) * 1000).unwrap();
    let time = time.format(&time::format_description::well_known::Rfc3339).unwrap();
    let event = |(name, data): &(&str, Value)| {
        json!({
            "id": format!("{name}-{}", key.2), "type": format!("{name}.v1"), "time": time,
            "causationsource": key.1, "causationid": key.2, "data": data,
        })
        .to_string()
    };
    Row {
        hash: id_of(&key).unwrap(),
        merchant: key.0.clone(),
        source: key.1.clone(),
        id: key.2.clone(),
        content,
        committed_at: NOON + after,
        batch_id: after,
        position: 0,
        account_id: None,
        version: None,
        outcome: Some(told.iter().map(event).collect::<Vec<_>>().join("\n")),
    }
}
