//! Where spans go: a real OTLP endpoint over HTTP, on 127.0.0.1, that keeps what it is sent.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::{PATIENCE, eventually};

/// A span as it was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SentSpan {
    /// `service.name`.
    pub service: String,
    /// What was done.
    pub name: String,
    /// The trace, in hexadecimal.
    pub trace: String,
    /// The span that it is a child of, in hexadecimal.
    pub parent: String,
    /// Its attributes, as far as they are texts.
    pub attributes: BTreeMap<String, String>,
    /// Whether it ended after it began.
    pub in_order: bool,
}

type Spans = Arc<Mutex<Vec<SentSpan>>>;

/// The endpoint. It ends with the test.
#[derive(Debug)]
pub struct SpanCollector {
    port: u16,
    spans: Spans,
    _serving: JoinHandle<()>,
}

impl SpanCollector {
    /// Starts to listen.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (port, spans) = (listener.local_addr().unwrap().port(), Spans::default());
        let router = Router::new().route("/v1/traces", post(take)).with_state(Arc::clone(&spans));
        let serving = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { port, spans, _serving: serving }
    }

    /// For `traces.endpoint`.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}/v1/traces", self.port)
    }

    /// What it was sent so far.
    pub fn spans(&self) -> Vec<SentSpan> {
        self.spans.lock().unwrap().clone()
    }

    /// Waits until it was sent this many.
    pub async fn at_least(&self, count: usize) -> Vec<SentSpan> {
        eventually(&format!("{count} spans are sent"), PATIENCE, || async {
            let spans = self.spans();
            if spans.len() >= count { Ok(spans) } else { Err(spans) }
        })
        .await
    }
}

async fn take(State(spans): State<Spans>, body: Bytes) -> StatusCode {
    let Ok(request) = ExportTraceServiceRequest::decode(body) else { return StatusCode::BAD_REQUEST };
    let mut spans = spans.lock().unwrap();
    for resource in request.resource_spans {
        let named = resource.resource.map(|resource| texts(&resource.attributes)).unwrap_or_default();
        let service = named.get("service.name").cloned().unwrap_or_default();
        let sent = resource.scope_spans.iter().flat_map(|scope| &scope.spans);
        spans.extend(sent.map(|span| read(&service, span)));
    }
    StatusCode::OK
}

fn read(service: &str, span: &Span) -> SentSpan {
    let hexadecimal =
        |bytes: &[u8]| bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
    SentSpan {
        service: service.to_owned(),
        name: span.name.clone(),
        trace: hexadecimal(&span.trace_id),
        parent: hexadecimal(&span.parent_span_id),
        attributes: texts(&span.attributes),
        in_order: span.start_time_unix_nano <= span.end_time_unix_nano,
    }
}

fn texts(attributes: &[KeyValue]) -> BTreeMap<String, String> {
    let text = |attribute: &KeyValue| match attribute.value.as_ref()?.value.as_ref()? {
        Value::StringValue(text) => Some((attribute.key.clone(), text.clone())),
        _ => None,
    };
    attributes.iter().filter_map(text).collect()
}
