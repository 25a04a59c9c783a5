//! Malformed messages, one of each kind: from the schemas, property by property, and by hand where a schema
//! has nothing to say.

mod from_schema;

use contract::schema::all;
use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldArray, FieldTable};
use serde_json::{Value, json};
use tests::Publisher;
use tests::message::{SOURCE, routing_key};

const CREDIT: &str = "commission.credit.v1";
const REVERSE: &str = "commission.reverse.v1";
/// Would receive what a malformed message credits.
pub(super) const VICTIM: &str = "mallory";

/// One way to be malformed.
#[derive(Debug, Clone)]
pub(super) struct Kind {
    pub(super) name: String,
    pub(super) routing_key: String,
    pub(super) body: Vec<u8>,
    pub(super) properties: BasicProperties,
    /// Any of these is right.
    pub(super) reasons: Vec<&'static str>,
    /// What the detail has to name.
    pub(super) names: String,
}

/// Everything that reaches the worker's queue.
pub(super) fn routed() -> Vec<Kind> {
    let mut kinds = Kinds::default();
    // Of the commissions worker, which stands for all: reading is the same code in every worker.
    for schema in all().into_iter().filter(|schema| [CREDIT, REVERSE].contains(&schema.message_type)) {
        kinds.add_from_schema(schema.message_type, &schema.schema);
    }
    kinds.amounts();
    kinds.vocabulary();
    kinds.texts();
    kinds.sizes();
    kinds.properties();
    kinds.routing_keys();
    kinds.kinds
}

/// Routing keys that belong to no worker's queue.
pub(super) fn unroutable() -> Vec<Kind> {
    let mut kinds = Kinds::default();
    for key in [
        "",
        "acme",
        "commission",
        "commission.credit",
        "acme.commissions.credit",
        "acme.Commission.credit",
        "acme.adjustments.credit",
        "acme.withdraw.pay",
        "x.acme.commission.credit",
        "acme..commission.credit",
        "acme.commission-credit",
        "acme/commission/credit",
        "*.#",
        "#",
        "saldo.commissions",
        "saldo.commissions.dead",
    ] {
        kinds.under(key);
    }
    kinds.kinds
}

#[derive(Default)]
struct Kinds {
    kinds: Vec<Kind>,
}

/// A command with every field there is.
fn valid(message_type: &str, id: &str) -> Value {
    let data = if message_type == CREDIT {
        json!({ "merchant": "acme", "customer": VICTIM, "amount": "12.50", "currency": "EUR", "order": "9001",
                "level": 1, "note": "Summer", "available_at": "2026-01-01T00:00:00Z" })
    } else {
        json!({ "merchant": "acme", "commission": { "source": SOURCE, "id": "nothing" }, "amount": "1.00",
                "currency": "EUR", "reason": "Returned" })
    };
    json!({ "specversion": "1.0", "id": id, "source": SOURCE, "type": message_type,
            "time": "2026-11-22T10:00:00Z", "datacontenttype": "application/json",
            "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "data": data })
}

impl Kinds {
    fn id(&self) -> String {
        format!("malformed-{}", self.kinds.len())
    }

    fn add(
        &mut self,
        name: impl Into<String>,
        body: impl Into<Vec<u8>>,
        reasons: &[&'static str],
        names: &str,
    ) {
        self.kinds.push(Kind {
            name: name.into(),
            routing_key: "acme.commission.credit".to_owned(),
            body: body.into(),
            properties: Publisher::properties(),
            reasons: reasons.to_vec(),
            names: names.to_owned(),
        });
    }

    fn credit(&self) -> Value {
        valid(CREDIT, &self.id())
    }

    /// What is no amount, in both commands.
    fn amounts(&mut self) {
        let wrong = [
            "-1",
            "-0.01",
            "0",
            "0.00",
            "0.0000",
            "1e3",
            "1E3",
            "1e-2",
            "1_000",
            "1,000",
            "1,50",
            "+5",
            "5.",
            ".5",
            ".",
            "-",
            "01",
            "00.5",
            "00",
            " 5",
            "5 ",
            "\t5",
            "5\n",
            "5\u{0}",
            "1.2.3",
            "0x10",
            "0b1",
            "NaN",
            "inf",
            "Infinity",
            "½",
            "٣",
            "５",
            "$5",
            "5€",
            "5 EUR",
            "five",
            "1234567890123",
            "1000000000000.00",
            "99999999999999999999999999999999999999",
            "12.345",
            "12.34567",
            "0.001",
            "0.00001",
            "12.500",
        ];
        for (amount, currency) in wrong.map(|amount| (amount, "EUR")).into_iter().chain([
            ("1.5", "JPY"),
            ("1.0", "JPY"),
            ("0.1", "JPY"),
            ("1.2345", "KWD"),
            ("0.0001", "KWD"),
        ]) {
            for message_type in [CREDIT, REVERSE] {
                let mut message = valid(message_type, &self.id());
                message["data"]["amount"] = json!(amount);
                message["data"]["currency"] = json!(currency);
                let name = format!("{message_type} amount {amount:?} {currency}");
                self.add(name, message.to_string(), &["invalid-data"], "amount");
                self.kinds.last_mut().unwrap().routing_key = routing_key(&message);
            }
        }
        for number in ["5", "5.0", "12.5", "1e2", "-5", "0", "123456789012345678901234567890"] {
            let body = self.credit().to_string().replace("\"12.50\"", number);
            self.add(format!("amount as the number {number}"), body, &["invalid-data"], "amount");
        }
        for (name, missing) in [("amount", "currency"), ("currency", "amount")] {
            let mut message = valid(REVERSE, &self.id());
            message["data"].as_object_mut().unwrap().remove(missing);
            self.add(
                format!("reverse {name} without {missing}"),
                message.to_string(),
                &["invalid-data"],
                missing,
            );
            self.kinds.last_mut().unwrap().routing_key = routing_key(&message);
        }
    }

    /// What is no currency, source, version, type or time.
    fn vocabulary(&mut self) {
        for code in ["EU", "EURO", "XXX", "XAU", "XTS", "978", "€"] {
            let mut message = self.credit();
            message["data"]["currency"] = json!(code);
            self.add(format!("currency {code}"), message.to_string(), &["invalid-data"], "currency");
        }
        for source in ["/saldo/", "/saldo/commissions", "/saldo//x", "has space", "ä", "back\\slash", "<x>"]
        {
            let mut message = self.credit();
            message["source"] = json!(source);
            self.add(format!("source {source}"), message.to_string(), &["not-cloudevents"], "source");
        }
        for version in ["1", "1.0.0", "1.1", "0.3", "2.0", "v1.0"] {
            let mut message = self.credit();
            message["specversion"] = json!(version);
            self.add(
                format!("specversion {version}"),
                message.to_string(),
                &["not-cloudevents"],
                "specversion",
            );
        }
        for message_type in [
            "commission.credit",
            "commission.credit.v2",
            "commission.credit.v1.v1",
            "commission.credited.v1",
            "commission.mature.v1",
            "adjustment.credit.v1",
            "Commission.Credit.v1",
            "commission.delete.v1",
        ] {
            let mut message = self.credit();
            message["type"] = json!(message_type);
            self.add(format!("type {message_type}"), message.to_string(), &["unknown-type"], "type");
        }
        for time in [
            "yesterday",
            "2026-11-22",
            "2026-11-22T10:00:00",
            "2026-11-22 10:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-02-30T00:00:00Z",
            "2026-11-22T25:00:00Z",
            "1969-12-31T23:59:59Z",
            "10000-01-01T00:00:00Z",
            "1970-01-01T00:00:00+01:00",
            "2026-11-22T10:00:60Z",
            "-001-01-01T00:00:00Z",
            "1763805600",
        ] {
            let mut message = self.credit();
            message["time"] = json!(time);
            self.add(format!("time {time}"), message.to_string(), &["not-cloudevents"], "time");
            let mut message = self.credit();
            message["data"]["available_at"] = json!(time);
            self.add(format!("available_at {time}"), message.to_string(), &["invalid-data"], "available_at");
        }
    }

    /// What is no JSON object.
    fn texts(&mut self) {
        let text = self.credit().to_string();
        let half = text.len() / 2;
        let not_json: Vec<(&str, Vec<u8>)> = vec![
            ("empty body", Vec::new()),
            ("a space", b" ".to_vec()),
            ("one NUL", b"\0".to_vec()),
            ("only NULs", vec![0; 100]),
            ("cut after the first byte", text[..1].into()),
            ("cut in the middle", text[..half].into()),
            ("last byte missing", text[..text.len() - 1].into()),
            ("first byte missing", text[1..].into()),
            ("rubbish behind", format!("{text}x").into()),
            ("NUL behind", format!("{text}\0").into()),
            ("two documents", format!("{text}{text}").into()),
            ("two lines", format!("{text}\n{text}\n").into()),
            ("byte order mark", format!("\u{feff}{text}").into()),
            ("UTF-16 little-endian", text.encode_utf16().flat_map(u16::to_le_bytes).collect()),
            ("UTF-16 big-endian", text.encode_utf16().flat_map(u16::to_be_bytes).collect()),
            ("single quotes", text.replace('"', "'").into()),
            ("a comment", format!("/* */{text}").into()),
            ("a trailing comma", text.replace("}}", ",}}").into()),
            ("a name without quotes", text.replace("\"amount\"", "amount").into()),
            ("NaN", text.replace("\"level\":1", "\"level\":NaN").into()),
            ("a number with a plus sign", text.replace("\"level\":1", "\"level\":+1").into()),
            ("a number with a leading zero", text.replace("\"level\":1", "\"level\":01").into()),
            ("a hexadecimal number", text.replace("\"level\":1", "\"level\":0x1").into()),
            ("a line feed inside a string", text.replace("Summer", "Sum\nmer").into()),
            ("a NUL inside a string", text.replace("Summer", "Sum\0mer").into()),
            ("an unknown escape", text.replace("Summer", "Sum\\xmer").into()),
            ("brackets that never close", b"[".repeat(30_000)),
            ("braces that never close", b"{\"a\":".repeat(6_000)),
            ("XML", b"<commission amount=\"12.50\"/>".to_vec()),
            ("a form", b"merchant=acme&amount=12.50".to_vec()),
            ("gzip", b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\xab\x56".to_vec()),
            ("CBOR", b"\xa2\x62id\x61x\x64data\xa0".to_vec()),
            ("every byte there is", (0..=255).collect()),
            ("terminal escapes", b"\x1b[2J\x1b]0;owned\x07".to_vec()),
        ];
        for (name, body) in not_json {
            self.add(name, body, &["not-json"], "the body");
        }
        for (name, from, to, field) in [
            ("an impossible number", "\"level\":1", "\"level\":1e999", "level"),
            ("a lone surrogate", "Summer", "Sum\\ud800mer", "note"),
            ("a surrogate the wrong way round", "Summer", "\\udc00\\ud800", "note"),
        ] {
            self.add(name, text.replace(from, to), &["not-json"], field);
        }
        for (name, bytes) in [
            ("a byte that UTF-8 never has", &b"\xff"[..]),
            ("a lone continuation byte", b"\x80"),
            ("an overlong slash", b"\xc0\xaf"),
            ("an encoded surrogate", b"\xed\xa0\x80"),
            ("beyond Unicode", b"\xf5\x80\x80\x80"),
            ("Latin-1", b"caf\xe9"),
            ("a cut sequence", b"\xe2\x82"),
        ] {
            let mut body = self.credit().to_string().into_bytes();
            let at = body.windows(6).position(|part| part == b"Summer").unwrap();
            body.splice(at..at + 6, bytes.iter().copied());
            self.add(name, body, &["not-json"], "the body");
        }
        for (name, body) in [
            ("null", "null".to_owned()),
            ("true", "true".to_owned()),
            ("a number", "1".to_owned()),
            ("a string", "\"text\"".to_owned()),
            ("an empty array", "[]".to_owned()),
            ("an array of commands", format!("[{}]", self.credit())),
            ("a command inside a string", json!(self.credit().to_string()).to_string()),
            ("deep arrays", "[".repeat(10_000) + &"]".repeat(10_000)),
        ] {
            self.add(name, body, &["not-cloudevents"], "the body");
        }
        self.add("an empty object", "{}", &["not-cloudevents"], "specversion");
        for (name, field, inside) in [
            ("deep arrays for data", "data", "[".repeat(10_000) + &"]".repeat(10_000)),
            ("deep objects for data", "data", "{\"a\":".repeat(5_000) + "1" + &"}".repeat(5_000)),
            ("deep arrays for an id", "id", "[".repeat(10_000) + &"]".repeat(10_000)),
        ] {
            let mut message = self.credit();
            message[field] = json!("@");
            let body = message.to_string().replace("\"@\"", &inside);
            self.add(name, body, &["invalid-data", "not-cloudevents"], field);
        }
        let mut message = self.credit();
        message["data"]["note"] = json!("@");
        let deep = "[".repeat(10_000) + &"]".repeat(10_000);
        self.add(
            "deep arrays for a note",
            message.to_string().replace("\"@\"", &deep),
            &["invalid-data"],
            "note",
        );
    }

    fn sizes(&mut self) {
        let text = self.credit().to_string();
        let padded = |bytes: usize| format!("{text}{}", " ".repeat(bytes - text.len()));
        self.add("one byte too many", padded(contract::MAX_MESSAGE_BYTES + 1), &["too-large"], "the body");
        self.add("1 MiB of spaces", padded(1024 * 1024), &["too-large"], "the body");
        self.add("1 MiB of rubbish", vec![b'x'; 1024 * 1024], &["too-large"], "the body");
        let mut message = self.credit();
        message["extension"] = json!("x".repeat(1024 * 1024));
        self.add("a 1 MiB extension", message.to_string(), &["too-large"], "the body");
    }

    /// A good body with properties that no command may have.
    fn properties(&mut self) {
        let mut with = |name: &str, properties: BasicProperties, names: &str| {
            let body = self.credit().to_string();
            self.add(name, body, &["invalid-properties"], names);
            self.kinds.last_mut().unwrap().properties = properties;
        };
        with("no content type", BasicProperties::default().with_delivery_mode(2), "content_type");
        for content_type in [
            "",
            "text/plain",
            "application/json",
            "application/cloudevents",
            "application/cloudevents+jsonx",
            "application/cloudevents-batch+json",
            "application/octet-stream",
            "; application/cloudevents+json",
        ] {
            let properties = Publisher::properties().with_content_type(content_type.into());
            with(&format!("content type {content_type:?}"), properties, "content_type");
        }
        for expiration in ["3600000", "86400000"] {
            let properties = Publisher::properties().with_expiration(expiration.into());
            with(&format!("expiration {expiration}"), properties, "expiration");
        }
        for (name, keys) in [
            ("nothing", vec![]),
            ("its own key", vec!["acme.commission.credit"]),
            ("another purpose", vec!["acme.adjustment.credit"]),
            ("another merchant", vec!["other.commission.credit"]),
            ("three", vec!["acme.commission.reverse", "other.commission.credit", "x"]),
        ] {
            with(&format!("CC naming {name}"), copied("CC", &keys), "CC");
        }
    }

    /// A good body under keys that reach the queue and are not its own.
    fn routing_keys(&mut self) {
        for key in [
            "other.commission.credit",
            "ACME.commission.credit",
            "acme-.commission.credit",
            ".commission.credit",
            " acme.commission.credit",
            "*.commission.credit",
            "acme.commission",
            "acme.commission.",
            "acme.commission.reverse",
            "acme.commission.mature",
            "acme.commission.Credit",
            "acme.commission.credit.",
            "acme.commission.credit.v1",
            "acme.commission.credit.acme",
            "acme.commission.credit.commission.credit",
            "acme.commission.#",
            "acme.commission.*",
            "acme.commission.credit ",
            "acme.commission.credit\u{0}",
            "acme.commission.\u{1b}[2J",
        ] {
            self.under(key);
        }
        let mut reverse = valid(REVERSE, &self.id());
        self.add("a reversal as a credit", reverse.to_string(), &["routing-key-mismatch"], "routing key");
        reverse = valid(REVERSE, &self.id());
        reverse["data"]["merchant"] = json!("other");
        self.add(
            "another merchant's reversal",
            reverse.to_string(),
            &["routing-key-mismatch"],
            "routing key",
        );
        let mut credit = self.credit();
        credit["data"]["merchant"] = json!("other");
        self.add("another merchant's credit", credit.to_string(), &["routing-key-mismatch"], "routing key");
        // The broker takes BCC away and delivers under the first key, whichever matched.
        for key in ["acme.adjustment.credit", "mine.alone", "acme", ""] {
            self.under(key);
            let kind = self.kinds.last_mut().unwrap();
            kind.name = format!("under {key:?} with its own key in BCC");
            kind.properties = copied("BCC", &["acme.commission.credit"]);
        }
        for key in ["acme.adjustment.credit", ""] {
            self.under(key);
            let kind = self.kinds.last_mut().unwrap();
            kind.name = format!("under {key:?} with its own key in CC");
            kind.properties = copied("CC", &["acme.commission.credit"]);
            kind.reasons = vec!["invalid-properties"];
            "CC".clone_into(&mut kind.names);
        }
    }

    fn under(&mut self, key: &str) {
        let body = self.credit().to_string();
        self.add(format!("under {key:?}"), body, &["routing-key-mismatch"], "routing key");
        key.clone_into(&mut self.kinds.last_mut().unwrap().routing_key);
    }
}

/// Proper properties and a header that lists further keys.
pub(crate) fn copied(header: &str, keys: &[&str]) -> BasicProperties {
    let keys: Vec<_> = keys.iter().map(|key| AMQPValue::LongString((*key).into())).collect();
    let mut headers = FieldTable::default();
    headers.insert(header.into(), AMQPValue::FieldArray(FieldArray::from(keys)));
    Publisher::properties().with_headers(headers)
}
