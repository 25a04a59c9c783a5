//! Searching everything that Saldo writes for what must not stand there in clear.
//!
//! A secret is looked for whole and in pieces, so that a part of it is found as well, and in the forms that programs
//! write texts and bytes in: as it is, in other spacing and capitals, escaped, in hexadecimal, in base64, as a list
//! of bytes. What is looked through is told apart by its place, so that a test can show that it was looked through.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use lapin::types::AMQPValue;
use serde_json::Value;
use sqlx::{AssertSqlSafe, Row as _};

use crate::broker::Collected;
use crate::{Collector, Worker, World};

/// A piece of a secret has this many characters, and overlaps with the next one.
const PIECE: usize = 12;
const STEP: usize = 3;

/// Something that was written, and where.
#[derive(Debug, Clone)]
pub struct Trace {
    /// Such as `table saldo.inbox`, `log 1`, `events`.
    pub place: String,
    /// What stands there.
    pub bytes: Vec<u8>,
}

impl Trace {
    /// Of anything.
    pub fn new(place: impl Into<String>, bytes: impl Into<Vec<u8>>) -> Self {
        Self { place: place.into(), bytes: bytes.into() }
    }
}

/// What must not be seen.
#[derive(Debug, Clone, Default)]
pub struct Secrets(BTreeSet<String>);

impl Secrets {
    /// Of these texts.
    pub fn of(texts: &[&str]) -> Self {
        Self(texts.iter().map(|text| (*text).to_owned()).collect())
    }

    /// Every text that a `payout-method.put` says of how somebody is paid.
    pub fn add_method(&mut self, message: &Value) -> &mut Self {
        fn texts(value: &Value, into: &mut BTreeSet<String>) {
            match value {
                Value::String(text) => drop(into.insert(text.clone())),
                Value::Object(fields) => fields.values().for_each(|value| texts(value, into)),
                Value::Array(values) => values.iter().for_each(|value| texts(value, into)),
                Value::Null | Value::Bool(_) | Value::Number(_) => {}
            }
        }
        for way in ["bank_account", "paypal", "other"] {
            texts(&message["data"][way], &mut self.0);
        }
        self
    }

    /// How many texts.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Where any of them stands, in what form; sorted, each place and text once.
    pub fn find(&self, traces: &[Trace]) -> Vec<String> {
        let needles: Vec<(&str, Vec<Needle>)> =
            self.0.iter().map(|text| (text.as_str(), needles(text))).collect();
        let mut found = BTreeSet::new();
        for trace in traces {
            let hay = Hay::of(&trace.bytes);
            for (text, needles) in &needles {
                if let Some(needle) = needles.iter().find(|needle| hay.holds(needle)) {
                    found.insert(format!("{}: {text} ({})", trace.place, needle.form));
                }
            }
        }
        found.into_iter().collect()
    }

    /// Fails if any of them stands anywhere.
    pub fn assert_nowhere(&self, traces: &[Trace]) {
        let found = self.find(traces);
        assert!(found.is_empty(), "{} secrets stand in clear:\n{}", found.len(), found.join("\n"));
    }
}

/// Where this text stands, as it is.
pub fn places<'t>(text: &str, traces: &'t [Trace]) -> BTreeSet<&'t str> {
    let text = latin(text.as_bytes());
    let holds = |trace: &&Trace| latin(&trace.bytes).contains(&text);
    traces.iter().filter(holds).map(|trace| trace.place.as_str()).collect()
}

struct Needle {
    form: &'static str,
    text: String,
    way: Way,
}

/// What of the hay it is looked for in.
#[derive(Clone, Copy)]
enum Way {
    /// As it is.
    Exact,
    /// Whatever the letters' case.
    AnyCase,
    /// Letters and digits alone.
    Squeezed,
}

struct Hay {
    exact: String,
    lower: String,
    squeezed: String,
}

impl Hay {
    fn of(bytes: &[u8]) -> Self {
        let exact = latin(bytes);
        let lower = exact.to_ascii_lowercase();
        let squeezed = squeeze(&lower);
        Self { exact, lower, squeezed }
    }

    fn holds(&self, needle: &Needle) -> bool {
        match needle.way {
            Way::Exact => self.exact.contains(&needle.text),
            Way::AnyCase => self.lower.contains(&needle.text),
            Way::Squeezed => self.squeezed.contains(&needle.text),
        }
    }
}

/// Bytes as characters of the same number, whatever they are.
fn latin(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| char::from(*byte)).collect()
}

fn squeeze(text: &str) -> String {
    text.chars().filter(|c| c.is_ascii_alphanumeric() || !c.is_ascii()).collect()
}

fn needles(text: &str) -> Vec<Needle> {
    let chars: Vec<char> = text.chars().collect();
    let mut pieces = vec![text.to_owned()];
    let starts = (0..chars.len().saturating_sub(PIECE)).step_by(STEP);
    pieces.extend(starts.map(|start| chars[start..start + PIECE].iter().collect()));
    pieces.iter().flat_map(|piece| forms(piece)).collect()
}

fn forms(piece: &str) -> Vec<Needle> {
    let bytes = piece.as_bytes();
    let lower = latin(bytes).to_ascii_lowercase();
    let joined = |separator: &str| bytes.iter().map(u8::to_string).collect::<Vec<_>>().join(separator);
    let escaped = piece.chars().fold(String::new(), |mut escaped, c| {
        let mut units = [0; 2];
        if c.is_ascii() {
            escaped.push(c.to_ascii_lowercase());
        } else {
            let _ = c.encode_utf16(&mut units).iter().try_for_each(|unit| write!(escaped, "\\u{unit:04x}"));
        }
        escaped
    });
    let mut needles = vec![
        Needle { form: "as it is", text: lower.clone(), way: Way::AnyCase },
        Needle { form: "in hexadecimal", text: hex(bytes), way: Way::AnyCase },
        Needle { form: "as bytes", text: joined(", "), way: Way::Exact },
        Needle { form: "as bytes", text: joined(","), way: Way::Exact },
        Needle { form: "escaped", text: escaped, way: Way::AnyCase },
        Needle {
            form: "escaped",
            text: bytes.escape_ascii().to_string().to_ascii_lowercase(),
            way: Way::AnyCase,
        },
    ];
    let squeezed = squeeze(&lower);
    if squeezed.len() >= PIECE - 2 {
        needles.push(Needle { form: "in other spacing", text: squeezed, way: Way::Squeezed });
    }
    // What of base64 does not depend on what stands before and after.
    for (before, skip) in [(0, 0), (1, 2), (2, 3)] {
        let mut whole = vec![0; before];
        whole.extend(bytes);
        whole.truncate(whole.len() / 3 * 3);
        let text = STANDARD_NO_PAD.encode(whole);
        let text = text.get(skip..).unwrap_or_default().to_owned();
        if text.len() >= PIECE - 2 {
            let url = text.replace('+', "-").replace('/', "_");
            needles.push(Needle { form: "in base64", text, way: Way::Exact });
            needles.push(Needle { form: "in base64", text: url, way: Way::Exact });
        }
    }
    needles
}

/// In small letters, as Postgres writes bytes.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

impl World {
    /// Everything that this world's database holds, of all tables there are, statistics among them: every row as
    /// text, and once more the columns of bytes as bytes.
    pub async fn table_traces(&self) -> Vec<Trace> {
        let mut database = self.superuser().await;
        let tables = sqlx::query(
            "SELECT quote_ident(n.nspname), quote_ident(c.relname),
                    ARRAY(SELECT quote_ident(a.attname) FROM pg_attribute a
                          WHERE a.attrelid = c.oid AND a.atttypid = 'bytea'::regtype AND a.attnum > 0
                            AND NOT a.attisdropped)
             FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
             WHERE c.relkind IN ('r', 'p', 'm')
               AND (n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')
                    OR c.relname IN ('pg_statistic', 'pg_description', 'pg_largeobject'))
             ORDER BY 1, 2",
        )
        .fetch_all(&mut database)
        .await
        .unwrap();
        let mut traces = Vec::new();
        for table in tables {
            let (schema, name, columns): (String, String, Vec<String>) =
                (table.get(0), table.get(1), table.get(2));
            let rows = format!("SELECT t::text FROM {schema}.{name} t");
            let rows: Vec<String> =
                sqlx::query_scalar(AssertSqlSafe(rows)).fetch_all(&mut database).await.unwrap();
            traces.push(Trace::new(format!("table {schema}.{name}"), rows.join("\n")));
            for column in columns {
                let bytes = format!("SELECT {column} FROM {schema}.{name} WHERE {column} IS NOT NULL");
                let bytes: Vec<Vec<u8>> =
                    sqlx::query_scalar(AssertSqlSafe(bytes)).fetch_all(&mut database).await.unwrap();
                traces.push(Trace::new(format!("bytes {schema}.{name}.{column}"), bytes.join(&b'\n')));
            }
        }
        traces
    }

    /// Everything that was written down in this world: tables, these workers' logs, and these messages.
    pub async fn traces(&self, workers: &[Worker], messages: &[(&str, &Collector)]) -> Vec<Trace> {
        let mut traces = self.table_traces().await;
        traces.extend(
            workers.iter().enumerate().map(|(n, worker)| Trace::new(format!("log {n}"), worker.log())),
        );
        for (place, collector) in messages {
            traces.extend(collector.all().iter().map(|message| message.trace(place)));
        }
        traces
    }
}

impl Collected {
    /// Routing key, body, and everything that the properties and headers hold.
    pub fn trace(&self, place: &str) -> Trace {
        fn texts(value: &AMQPValue, into: &mut Vec<u8>) {
            match value {
                AMQPValue::LongString(text) => into.extend(text.as_bytes()),
                AMQPValue::ByteArray(bytes) => into.extend(bytes.as_slice()),
                AMQPValue::FieldArray(values) => {
                    values.as_slice().iter().for_each(|value| texts(value, into))
                }
                AMQPValue::FieldTable(fields) => {
                    for (name, value) in fields.inner() {
                        into.extend(name.as_str().as_bytes());
                        into.push(b' ');
                        texts(value, into);
                    }
                }
                other => into.extend(format!("{other:?}").into_bytes()),
            }
            into.push(b'\n');
        }
        let mut bytes = format!("{}\n{:?}\n", self.routing_key, self.properties).into_bytes();
        if let Some(headers) = self.properties.headers() {
            texts(&AMQPValue::FieldTable(headers.clone()), &mut bytes);
        }
        bytes.extend(&self.body);
        Trace::new(place, bytes)
    }
}
