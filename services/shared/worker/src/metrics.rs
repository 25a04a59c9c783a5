//! What is counted and measured, for `GET /metrics` of `health.listen`, in Prometheus' text format.
//!
//! Names are OpenTelemetry's where it has some for messaging and databases (semantic conventions 1.37, written as Prometheus
//! does: dots as underscores, the unit at the end), and begin with `saldo_` where it has none. Every one has the label
//! `worker`. What is counted by reason or class begins at zero, so that the first one is seen as an increase.
//!
//! Nothing here waits or fails, and nothing is kept of a message but numbers. Labels are words of the contract and of this
//! program, never of a publisher: their number is bounded. Until [`start`] was called, as in tests, nothing is kept.

use std::sync::Arc;
use std::time::{Duration, Instant};

use contract::{MalformedReason, ReasonCode};
use ledger::Settled;
use ledger::read::Unfinished;
use ledger::store::{Step, Steps};
use ledger::tally::{Fate, Tally};
use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use procfs::process::Process;
use procfs::{CurrentSI as _, WithCurrentSystemInfo as _};
use time::OffsetDateTime;

use crate::broker::BrokerError;
use crate::intake::Arrived;
use crate::topology::{DEAD, EVENTS};

mod readings;

pub(crate) use readings::Gauges;
pub use readings::Reading;

const READY: &str = "saldo_ready";
const TROUBLES: &str = "saldo_troubles";
const BUILD: &str = "saldo_build_info";
const COMMANDS: &str = "saldo_commands_total";
const REFUSALS: &str = "saldo_refusals_total";
const DUPLICATES: &str = "saldo_duplicates_total";
const DEAD_LETTERS: &str = "saldo_dead_letters_total";
const BATCH: &str = "saldo_batch_commands";
const IN_FLIGHT: &str = "saldo_in_flight_commands";
const TO_COMMIT: &str = "saldo_publish_to_commit_seconds";
const TO_ACK: &str = "saldo_publish_to_ack_seconds";
const OLDEST: &str = "saldo_oldest_command_timestamp_seconds";
const RETRIES: &str = "saldo_retries_total";
const SESSIONS: &str = "saldo_sessions_total";
const RECONNECTS: &str = "saldo_reconnects_total";
const LEDGER_STEP: &str = "saldo_ledger_step_seconds";
const SPANS_DROPPED: &str = "saldo_spans_dropped_total";
const PARKED: &str = "saldo_parked_commands";
const PARKED_OLDEST: &str = "saldo_parked_oldest_seconds";
const UNPUBLISHED: &str = "saldo_unpublished_batches";
const UNPUBLISHED_OLDEST: &str = "saldo_unpublished_oldest_seconds";
/// Commissions in their hold period, by currency.
pub const PENDING: &str = "saldo_pending_amount";
/// What open withdrawals hold, by currency.
pub const HELD: &str = "saldo_held_amount";
const CONSUMED: &str = "messaging_client_consumed_messages_total";
const SENT: &str = "messaging_client_sent_messages_total";
const PROCESS: &str = "messaging_process_duration_seconds";
const OPERATION: &str = "messaging_client_operation_duration_seconds";
const DATABASE: &str = "db_client_operation_duration_seconds";
const CPU: &str = "process_cpu_seconds_total";
const MEMORY: &str = "process_resident_memory_bytes";
const FILES: &str = "process_open_fds";
const STARTED: &str = "process_start_time_seconds";

/// The value of `messaging_system`.
const SYSTEM: &str = "rabbitmq";

/// Upper bounds, in seconds: from a fast disk's commit to a queue that was stuck for hours.
const SECONDS: [f64; 17] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 600.0, 3600.0];

/// Upper bounds of a batch's size; the last is the largest batch there is.
const COUNTS: [f64; 10] = [1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0];

/// How often what histograms have noted is put into their buckets; until then every value is kept.
const UPKEEP: Duration = Duration::from_secs(1);

/// Why something is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Retry {
    /// A batch lost a race, held a repeat, or a culprit.
    Race,
    /// A batch is halved, to find a culprit.
    Split,
    /// The ledger is not available for a batch.
    Ledger,
    /// The broker refuses events.
    Events,
    /// The broker does not take dead letters.
    Letters,
    /// The ledger is not available for chores.
    Chores,
}

impl Retry {
    const ALL: [Self; 6] = [Self::Race, Self::Split, Self::Ledger, Self::Events, Self::Letters, Self::Chores];

    const fn class(self) -> &'static str {
        match self {
            Self::Race => "race",
            Self::Split => "split",
            Self::Ledger => "ledger",
            Self::Events => "events-refused",
            Self::Letters => "letters-refused",
            Self::Chores => "chores",
        }
    }
}

/// What a worker connects to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Server {
    Broker,
    Database,
}

impl Server {
    const fn name(self) -> &'static str {
        match self {
            Self::Broker => "broker",
            Self::Database => "database",
        }
    }
}

/// Writes down what was kept.
#[derive(Debug, Clone)]
pub(crate) struct Exposition {
    kept: PrometheusHandle,
    worker: &'static str,
}

/// From now on everything is kept, for this process; what is returned writes it down.
///
/// # Errors
/// It was started before.
pub(crate) fn start(worker: &'static str) -> Result<Exposition, BuildError> {
    let kept = PrometheusBuilder::new()
        .set_buckets(&SECONDS)?
        .set_buckets_for_metric(Matcher::Full(BATCH.to_owned()), &COUNTS)?
        .add_global_label("worker", worker)
        .install_recorder()?;
    describe();
    begin_at_zero();
    gauge!(BUILD, "version" => env!("CARGO_PKG_VERSION")).set(1.0);
    Ok(Exposition { kept, worker })
}

impl Exposition {
    /// Keeps histograms small between two questions, until the process ends.
    pub(crate) async fn upkeep(self) {
        let mut ticks = tokio::time::interval(UPKEEP);
        loop {
            ticks.tick().await;
            self.kept.run_upkeep();
        }
    }

    /// All of it as text, for a worker with so many troubles.
    pub(crate) fn render(&self, troubles: usize) -> String {
        gauge!(READY).set(if troubles == 0 { 1.0 } else { 0.0 });
        gauge!(TROUBLES).set(figure(count(troubles)));
        // What the kernel does not tell is left out.
        let cpu = measure_process().map(|cpu| cpu_text(self.worker, cpu)).unwrap_or_default();
        self.kept.render() + &cpu
    }
}

/// By hand: a counter is whole otherwise, and a rate of whole seconds is all steps.
fn cpu_text(worker: &str, cpu: Duration) -> String {
    let seconds = cpu.as_secs_f64();
    format!(
        "# HELP {CPU} CPU time of the process\n# TYPE {CPU} counter\n{CPU}{{worker=\"{worker}\"}} {seconds}\n"
    )
}

fn describe() {
    let histogram = |name: &'static str, text: &'static str| describe_histogram!(name, text);
    let counter = |name: &'static str, text: &'static str| describe_counter!(name, text);
    let gauge = |name: &'static str, text: &'static str| describe_gauge!(name, text);
    gauge(BUILD, "1; the version is a label");
    gauge(READY, "Whether /readyz says that the worker is ready");
    gauge(TROUBLES, "How many things keep the worker from being ready, as /readyz lists them");
    counter(
        COMMANDS,
        "Commands, by type and by what became of them, those included that time causes; a parked one once more when it is decided",
    );
    counter(REFUSALS, "Refused commands, by type and reason code");
    counter(DUPLICATES, "Deliveries of commands that had been decided or parked before");
    counter(DEAD_LETTERS, "Dead letters that the broker has confirmed, by reason");
    histogram(BATCH, "Deliveries taken in one batch");
    gauge(IN_FLIGHT, "Deliveries taken and not acked yet");
    histogram(TO_COMMIT, "From when a command was published, as far as its message says, to its commit");
    histogram(TO_ACK, "From when a command was published, as far as its message says, to its ack");
    gauge(OLDEST, "When the oldest command that a lane has under way was published; 0: idle, or unknown");
    counter(RETRIES, "What was tried again, by class");
    counter(SESSIONS, "Sessions in which something was consumed");
    counter(RECONNECTS, "Connections that were lost, and are made again");
    histogram(LEDGER_STEP, "Time of a batch in the ledger, by step");
    counter(SPANS_DROPPED, "Spans that could not be exported");
    gauge(PARKED, "Commands that wait for something");
    gauge(PARKED_OLDEST, "How long the first parked command has waited");
    gauge(UNPUBLISHED, "Committed batches whose events may not be published; a busy lane has one");
    gauge(UNPUBLISHED_OLDEST, "How long ago the first unpublished batch was begun");
    gauge(PENDING, "Commissions in their hold period, by currency");
    gauge(HELD, "What open withdrawals hold, by currency");
    counter(CONSUMED, "Messages consumed");
    counter(SENT, "Messages published and confirmed, or not (error_type)");
    histogram(PROCESS, "From taking a message to its ack");
    histogram(OPERATION, "Publishing a batch's messages until all are confirmed");
    histogram(DATABASE, "One use of the ledger, by operation");
    gauge(MEMORY, "Resident memory of the process");
    gauge(FILES, "Open file descriptors of the process");
    gauge(STARTED, "When the process was started, in seconds since 1970");
}

fn begin_at_zero() {
    for reason in MalformedReason::ALL {
        counter!(DEAD_LETTERS, "reason" => reason.code()).absolute(0);
    }
    for retry in Retry::ALL {
        counter!(RETRIES, "class" => retry.class()).absolute(0);
    }
    for server in [Server::Broker, Server::Database] {
        counter!(RECONNECTS, "to" => server.name()).absolute(0);
    }
    for name in [DUPLICATES, SESSIONS, SPANS_DROPPED] {
        counter!(name).absolute(0);
    }
    for exchange in [EVENTS, DEAD] {
        sent(exchange, 0, None);
    }
    gauge!(IN_FLIGHT).set(0.0);
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
const fn figure(count: u64) -> f64 {
    count as f64
}

fn count(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

/// Returns the CPU time that was used.
fn measure_process() -> procfs::ProcResult<Duration> {
    let process = Process::myself()?;
    let stat = process.stat()?;
    gauge!(MEMORY).set(figure(stat.rss_bytes().get()));
    gauge!(FILES).set(figure(count(process.fd_count()?)));
    let booted = procfs::KernelStats::current()?.btime;
    let ticks = procfs::ticks_per_second();
    gauge!(STARTED).set(figure(booted + stat.starttime / ticks));
    Ok(Duration::from_millis((stat.utime + stat.stime) * 1000 / ticks))
}

/// A batch that a lane has taken, from then until it is acked or given up.
#[derive(Debug)]
pub(crate) struct Taken {
    /// When.
    pub(crate) at: Instant,
    queue: Arc<str>,
    lane: String,
    count: usize,
    acked: bool,
}

impl Taken {
    /// What a lane took just now.
    pub(crate) fn now<I>(queue: &Arc<str>, lane: &str, batch: &[Arrived<I>]) -> Self {
        counter!(
            CONSUMED, "messaging_system" => SYSTEM, "messaging_destination_name" => Arc::clone(queue),
            "messaging_operation_name" => "consume"
        )
        .increment(count(batch.len()));
        let size = figure(count(batch.len()));
        histogram!(BATCH).record(size);
        gauge!(IN_FLIGHT).increment(size);
        oldest_under_way(lane, batch.iter().filter_map(|arrived| arrived.published_at).min());
        let (queue, lane) = (Arc::clone(queue), lane.to_owned());
        Self { at: Instant::now(), queue, lane, count: batch.len(), acked: false }
    }

    /// It is in its queue again, for whoever comes first.
    pub(crate) fn give_back(&mut self) {
        gauge!(IN_FLIGHT).decrement(figure(count(std::mem::take(&mut self.count))));
        oldest_under_way(&self.lane, None);
    }

    /// All of it is acked.
    pub(crate) fn acked<I>(&mut self, batch: &[Arrived<I>]) {
        self.acked = true;
        ages(TO_ACK, batch);
        histogram!(
            PROCESS, "messaging_system" => SYSTEM, "messaging_destination_name" => Arc::clone(&self.queue),
            "messaging_operation_name" => "process"
        )
        .record_many(self.at.elapsed(), self.count);
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        gauge!(IN_FLIGHT).decrement(figure(count(self.count)));
        // What is acked counts until the next is taken, or there is none: no gap in between looks like idleness.
        if !self.acked {
            oldest_under_way(&self.lane, None);
        }
    }
}

/// A batch's commands are decided, durably.
pub(crate) fn committed<I>(batch: &[Arrived<I>]) {
    ages(TO_COMMIT, batch);
}

/// When the oldest of what a lane has under way was published; `None`: nobody says, or there is nothing.
pub(crate) fn oldest_under_way(lane: &str, published_at: Option<OffsetDateTime>) {
    let since_1970 = published_at.map_or(0, |at| u64::try_from(at.unix_timestamp()).unwrap_or(0));
    gauge!(OLDEST, "lane" => lane.to_owned()).set(figure(since_1970));
}

fn ages<I>(name: &'static str, batch: &[Arrived<I>]) {
    let now = OffsetDateTime::now_utc();
    let ages = histogram!(name);
    let commands = batch.iter().filter(|arrived| arrived.item.is_ok());
    for published_at in commands.filter_map(|arrived| arrived.published_at) {
        // The broker's clock may be ahead of this one.
        ages.record((now - published_at).as_seconds_f64().max(0.0));
    }
}

/// What became of a batch, delivered or not.
pub(crate) fn settled(settled: &Settled) {
    tallied(&settled.tally);
    if let Some(steps) = &settled.steps {
        timed(steps);
    }
}

fn tallied(tally: &Tally) {
    for line in tally.lines() {
        let command = line.command.rsplit_once('.').map_or(line.command, |(name, _version)| name);
        let outcome = match &line.fate {
            Fate::Told(event) => event.rsplit_once('.').map_or(event.as_str(), |(_, what)| what).to_owned(),
            Fate::Refused(code) => {
                counter!(REFUSALS, "type" => command, "reason" => code_of(*code)).increment(line.count);
                "refused".to_owned()
            }
            Fate::Parked => "parked".to_owned(),
            Fate::Repeated => {
                counter!(DUPLICATES).increment(line.count);
                "repeated".to_owned()
            }
        };
        counter!(COMMANDS, "type" => command, "outcome" => outcome).increment(line.count);
    }
}

fn code_of(reason: ReasonCode) -> String {
    serde_json::to_value(reason).ok().and_then(|code| Some(code.as_str()?.to_owned())).unwrap_or_default()
}

fn timed(steps: &Steps) {
    for step in Step::ALL {
        histogram!(LEDGER_STEP, "step" => step.name()).record(steps.of(step));
    }
}

/// Dead letters of these reasons are in their queue.
pub(crate) fn dead_letters(reasons: impl Iterator<Item = MalformedReason>) {
    for reason in reasons {
        counter!(DEAD_LETTERS, "reason" => reason.code()).increment(1);
    }
}

/// Something is tried again.
pub(crate) fn retried(retry: Retry) {
    counter!(RETRIES, "class" => retry.class()).increment(1);
}

/// A session has begun.
pub(crate) fn session() {
    counter!(SESSIONS).increment(1);
}

/// A connection is lost.
pub(crate) fn lost(to: Server) {
    counter!(RECONNECTS, "to" => to.name()).increment(1);
}

/// Messages were published to an exchange, all of them confirmed or not.
pub(crate) fn published(exchange: &str, messages: usize, took: Duration, error: Option<&BrokerError>) {
    // What is published elsewhere is a probe, or an operator's.
    let Some(exchange) = [EVENTS, DEAD].into_iter().find(|known| *known == exchange) else { return };
    sent(exchange, count(messages), error.map(BrokerError::kind));
    let labels = [
        ("messaging_system", SYSTEM),
        ("messaging_destination_name", exchange),
        ("messaging_operation_name", "publish"),
    ];
    histogram!(OPERATION, &labels).record(took);
}

fn sent(exchange: &'static str, messages: u64, error: Option<&'static str>) {
    let mut labels = vec![
        ("messaging_system", SYSTEM),
        ("messaging_destination_name", exchange),
        ("messaging_operation_name", "publish"),
    ];
    labels.extend(error.map(|error| ("error_type", error)));
    counter!(SENT, &labels).increment(messages);
}

/// The ledger was used.
pub(crate) fn used_ledger(operation: &'static str, took: Duration) {
    histogram!(DATABASE, "db_system_name" => "postgresql", "db_operation_name" => operation).record(took);
}

/// Spans are lost.
pub(crate) fn spans_dropped(spans: usize) {
    counter!(SPANS_DROPPED).increment(count(spans));
}

/// Commands that wait for something.
pub(crate) fn parked(parked: Unfinished) -> [Reading; 2] {
    [Reading::count(PARKED, parked.count), Reading::age(PARKED_OLDEST, parked.longest)]
}

/// Batches whose events may not be published.
pub(crate) fn unpublished(unpublished: Unfinished) -> [Reading; 2] {
    [Reading::count(UNPUBLISHED, unpublished.count), Reading::age(UNPUBLISHED_OLDEST, unpublished.longest)]
}
