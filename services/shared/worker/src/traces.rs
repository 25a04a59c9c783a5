//! Spans of sampled commands and of what follows from them, sent by OTLP over HTTP to `traces.endpoint`, where one is set.
//!
//! A command's `traceparent` (W3C Trace Context) goes on in every event that it causes, and in the mails about those. Where
//! it says that the trace is sampled, a worker adds a span for its own part, a child of the publisher's: from taking the
//! message to its ack, or a mail's delivery.
//!
//! **Bounds.** Nobody ever waits for a span: at most [`WAITING`] wait to be sent, [`AT_ONCE`] in one request. What finds
//! no room, and what the endpoint does not take within `traces.timeout`, is dropped and counted
//! (`saldo_spans_dropped_total`); it is not tried again. A crash loses those that wait.
//!
//! The endpoint's headers, where it wants a key, come from `OTEL_EXPORTER_OTLP_HEADERS`, as everywhere.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::time::{Duration, Instant, SystemTime};

use ledger::decide::Verdict;
use ledger::tls::on_this_machine;
pub use opentelemetry::trace::SpanKind;
use opentelemetry::trace::{SpanContext, SpanId, Status, TraceFlags, TraceId, TraceState};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanExporter as _, SpanLinks};
use reqwest::redirect::Policy;
use reqwest::{Client, Url};
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::task::JoinHandle;
use tracing::warn;

use crate::intake::Arrived;
use crate::metrics;
use crate::settings::Settings;

/// So many spans may wait to be sent.
const WAITING: usize = 8192;

/// So many are sent in one request.
const AT_ONCE: usize = 512;

/// So many of a batch have spans. Whether one is sampled is its publisher's word, and making a span takes a lane's time.
const OF_A_BATCH: usize = 100;

/// `traces.endpoint`: a URL, perhaps with a login.
#[derive(Clone)]
pub struct Endpoint(Url);

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint").finish_non_exhaustive()
    }
}

impl Endpoint {
    /// Whether others can read what is sent: it leaves the machine, in clear.
    pub(crate) fn may_be_overheard(&self) -> bool {
        self.0.scheme() == "http" && !self.0.host_str().is_some_and(on_this_machine)
    }
}

impl FromStr for Endpoint {
    type Err = String;

    /// # Errors
    /// It is no such URL; the error says what is expected and does not repeat it.
    fn from_str(url: &str) -> Result<Self, String> {
        match url.parse::<Url>() {
            Ok(url) if ["http", "https"].contains(&url.scheme()) && url.has_host() => Ok(Self(url)),
            _ => Err("expected a URL such as http://localhost:4318/v1/traces".to_owned()),
        }
    }
}

/// A place in a sampled trace: the trace, and the span that whatever comes next is a child of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trace {
    id: TraceId,
    parent: SpanId,
}

impl Trace {
    /// Reads a `traceparent` of version 00, as the contract lets it through; `None` where it is not sampled.
    pub fn sampled(traceparent: &str) -> Option<Self> {
        let mut parts = traceparent.split('-');
        let (Some("00"), Some(id), Some(parent), Some(flags), None) =
            (parts.next(), parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return None;
        };
        let flags = TraceFlags::new(u8::from_str_radix(flags, 16).ok()?);
        let trace = Self { id: TraceId::from_hex(id).ok()?, parent: SpanId::from_hex(parent).ok()? };
        let valid = trace.id != TraceId::INVALID && trace.parent != SpanId::INVALID;
        (valid && flags.is_sampled()).then_some(trace)
    }
}

/// What was done, from then until now.
#[derive(Debug, Clone)]
pub struct Work {
    /// What, such as `send mail`.
    pub name: Cow<'static, str>,
    /// Towards whom.
    pub kind: SpanKind,
    /// Since when.
    pub since: Instant,
    /// More about it, in words of the contract and of this program.
    pub attributes: Vec<(&'static str, Cow<'static, str>)>,
    /// Why it failed, if it did.
    pub error: Option<&'static str>,
}

/// Where spans go; nowhere, if nothing is set.
#[derive(Debug, Clone, Default)]
pub struct Traces(Option<Sender<SpanData>>);

impl Traces {
    /// Starts to send, if `traces.endpoint` is set; the task ends when every copy is dropped and all is sent.
    ///
    /// # Errors
    /// The endpoint cannot be used, in words for a person.
    pub(crate) fn start(worker: &str, settings: &Settings) -> Result<(Self, Option<JoinHandle<()>>), String> {
        let Some(endpoint) = &settings.traces_endpoint else { return Ok((Self::default(), None)) };
        // The exporter's own text repeats the URL.
        let wrong = || "traces.endpoint: cannot be used".to_owned();
        let timeout = settings.traces_timeout;
        let tls = settings.traces_tls.client_config().map_err(|_| wrong())?;
        let client = Client::builder()
            .timeout(timeout)
            .redirect(Policy::none())
            .no_proxy()
            .tls_backend_preconfigured(tls)
            .build();
        let client = client.map_err(|_| wrong())?;
        let mut exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(client)
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(endpoint.0.as_str())
            .with_timeout(timeout)
            .build()
            .map_err(|_| wrong())?;
        let version = KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
        let named = Resource::builder().with_service_name(format!("saldo-{worker}")).with_attribute(version);
        exporter.set_resource(&named.build());
        let (sender, receiver) = mpsc::channel(WAITING);
        Ok((Self(Some(sender)), Some(tokio::spawn(export(exporter, receiver, timeout)))))
    }

    /// Adds a span to its trace.
    pub fn add(&self, trace: Trace, work: impl FnOnce() -> Work) {
        let Some(sender) = &self.0 else { return };
        // Nothing is made for which there is no room.
        match sender.try_reserve() {
            Ok(place) => place.send(span(trace, work())),
            Err(_) => metrics::spans_dropped(1),
        }
    }

    /// Adds the spans of a batch that was worked off: of those that are sampled.
    pub(crate) fn worked<I>(&self, queue: &str, since: Instant, batch: &[Arrived<I>], verdicts: &[Verdict]) {
        if self.0.is_none() {
            return;
        }
        let mut verdicts = verdicts.iter();
        let mut made = 0;
        for arrived in batch {
            let (outcome, dead) = match &arrived.item {
                Err(malformed) => ("dead-lettered", Some(malformed)),
                Ok(_) => match verdicts.next() {
                    Some(Verdict::Dead(malformed)) => ("dead-lettered", Some(malformed)),
                    Some(Verdict::Repeated) => ("repeated", None),
                    Some(Verdict::Parked) => ("parked", None),
                    _ => ("decided", None),
                },
            };
            let Some(trace) = arrived.trace else { continue };
            made += 1;
            if made > OF_A_BATCH {
                metrics::spans_dropped(1);
                continue;
            }
            let work = || Work {
                name: format!("process {queue}").into(),
                kind: SpanKind::Consumer,
                since,
                attributes: vec![
                    ("messaging.system", "rabbitmq".into()),
                    ("messaging.operation.name", "process".into()),
                    ("messaging.operation.type", "process".into()),
                    ("messaging.destination.name", queue.to_owned().into()),
                    ("saldo.outcome", outcome.into()),
                ],
                error: dead.map(|malformed| malformed.reason.code()),
            };
            self.add(trace, work);
        }
    }
}

fn span(trace: Trace, work: Work) -> SpanData {
    let Work { name, kind, since, attributes, error } = work;
    let mut attributes: Vec<_> =
        attributes.into_iter().map(|(key, value)| KeyValue::new(key, value)).collect();
    let end_time = SystemTime::now();
    let id = SpanId::from_bytes(rand::random::<u64>().max(1).to_be_bytes());
    let mut status = Status::Unset;
    if let Some(error) = error {
        attributes.push(KeyValue::new("error.type", error));
        status = Status::error(error);
    }
    SpanData {
        span_context: SpanContext::new(trace.id, id, TraceFlags::SAMPLED, false, TraceState::NONE),
        parent_span_id: trace.parent,
        parent_span_is_remote: true,
        span_kind: kind,
        name,
        start_time: end_time.checked_sub(since.elapsed()).unwrap_or(end_time),
        end_time,
        attributes,
        dropped_attributes_count: 0,
        events: SpanEvents::default(),
        links: SpanLinks::default(),
        status,
        instrumentation_scope: InstrumentationScope::builder("saldo").build(),
    }
}

/// Sends what there is, for as long as anybody may add something.
async fn export(exporter: SpanExporter, mut spans: Receiver<SpanData>, within: Duration) {
    let mut batch = Vec::new();
    let mut failing = false;
    while spans.recv_many(&mut batch, AT_ONCE).await > 0 {
        let sent = batch.len();
        let answer = tokio::time::timeout(within, exporter.export(std::mem::take(&mut batch))).await;
        let failed = !matches!(answer, Ok(Ok(())));
        if failed {
            metrics::spans_dropped(sent);
        }
        // Once when it begins, not for every request; the error's own text may hold a URL.
        if failed && !failing {
            warn!(spans = sent, "traces.endpoint does not take spans; they are dropped");
        }
        failing = failed;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

    #[test]
    fn only_sampled_traces_are_followed() {
        let of = |parent: &str, flags: &str| Trace::sampled(&format!("00-{TRACE}-{parent}-{flags}"));
        let trace = of("b7ad6b7169203331", "01").unwrap();
        assert_eq!(
            (trace.id.to_string(), trace.parent.to_string()),
            (TRACE.to_owned(), "b7ad6b7169203331".to_owned())
        );
        assert_eq!(of("b7ad6b7169203331", "03"), Some(trace));
        for (parent, flags) in [("b7ad6b7169203331", "00"), ("0000000000000000", "01"), ("x", "01")] {
            assert_eq!(of(parent, flags), None, "{parent} {flags}");
        }
        assert_eq!(Trace::sampled(""), None);
    }

    #[test]
    fn a_span_is_a_child_of_the_publishers_and_says_why_it_failed() {
        let trace = Trace::sampled(&format!("00-{TRACE}-b7ad6b7169203331-01")).unwrap();
        let since = Instant::now();
        let work = Work {
            name: "send mail".into(),
            kind: SpanKind::Client,
            since,
            attributes: vec![],
            error: Some("refused"),
        };
        let span = span(trace, work);
        assert_eq!(span.parent_span_id.to_string(), "b7ad6b7169203331");
        assert_eq!(span.span_context.trace_id().to_string(), TRACE);
        assert!(span.span_context.is_valid() && span.span_context.span_id() != span.parent_span_id);
        assert!(span.start_time <= span.end_time);
        assert_eq!(span.status, Status::error("refused"));
    }

    #[test]
    fn an_endpoint_is_a_url_of_http_and_is_not_shown() {
        let endpoint = |url: &str| url.parse::<Endpoint>();
        assert!(!endpoint("http://localhost:4318/v1/traces").unwrap().may_be_overheard());
        assert!(!endpoint("https://otel:secret@collector.example.org/v1/traces").unwrap().may_be_overheard());
        let elsewhere = endpoint("http://otel:secret@collector.example.org/v1/traces").unwrap();
        assert!(elsewhere.may_be_overheard());
        assert!(!format!("{elsewhere:?}").contains("secret"));
        for wrong in ["localhost:4318", "grpc://localhost:4317", ""] {
            assert!(endpoint(wrong).unwrap_err().starts_with("expected a URL"), "{wrong}");
        }
    }
}
