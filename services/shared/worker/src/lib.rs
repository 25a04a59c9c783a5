//! The one consume loop, and everything a worker needs around its rules: broker, topology, settings,
//! telemetry, health and shutdown.
//!
//! A worker that decides commands is its [`Handler`] and a `main` that calls [`main`]; one that makes something of events
//! is its [`Subscriber`], and calls [`listen`].

mod backoff;
pub mod broker;
mod chores;
mod clerk;
pub mod dead;
mod desk;
pub mod fault;
mod health;
mod intake;
mod lane;
pub mod management;
mod measure;
pub mod metrics;
mod recorder;
pub mod rights;
pub mod settings;
pub mod submit;
mod supervisor;
mod telemetry;
mod thread;
pub mod tls;
pub mod topology;
pub mod traces;
pub mod watch;

use std::future::Future;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use contract::Malformed;
use ledger::decide::Verdict;
use ledger::vault::Sealed;
use ledger::{Failure, Item, Rules, Store};
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

pub use crate::backoff::jittered;
use crate::clerk::Clerk;
pub use crate::desk::Access;
use crate::desk::Desk;
pub use crate::health::Health;
use crate::metrics::{Exposition, Reading};
use crate::recorder::Recorder;
use crate::settings::{Reader, Settings};
use crate::supervisor::Supervisor;
use crate::traces::Traces;

/// Of every program that links this crate. A command is many small texts, made by one thread and dropped by another.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How long questions under way, and the last spans, may take when the worker stops.
const LAST_ANSWERS: Duration = Duration::from_millis(500);

/// A worker: its rules, what time makes due, and what may lie in a queue of dead letters in clear.
pub trait Handler: Rules + std::fmt::Debug {
    /// Commands that no message asks for and that are due now, without the first `skip`, at most `limit`. They
    /// are decided like any other, so finding one twice does no harm. By default time makes nothing due.
    fn due(
        _store: &mut Store,
        _skip: i64,
        _limit: i64,
    ) -> impl Future<Output = Result<Vec<Arc<Item<Self::Command>>>, Failure>> + Send {
        std::future::ready(Ok(Vec::new()))
    }

    /// Figures of the ledger that this worker shows in its metrics. By default none.
    fn readings(_store: &mut Store) -> impl Future<Output = Result<Vec<Reading>, Failure>> + Send {
        std::future::ready(Ok(Vec::new()))
    }

    /// The encrypted body for the dead letter of a command with this one; `None`, as it is by default: the letter
    /// keeps the body. A malformed command can hold anything, so whoever is sent secrets encrypts all of them.
    ///
    /// Letters that the broker makes, of a command that it delivered too often, do not come by here: they hold
    /// the body in clear.
    fn seal_letter(&self, _body: &[u8]) -> Option<Sealed> {
        None
    }
}

#[derive(Debug, Parser)]
#[command(version, about = "A worker of Saldo; settings come from SALDO__… variables and a TOML file")]
struct Arguments {
    /// TOML file with settings; the environment wins over it
    #[arg(long, env = "SALDO_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
}

/// A worker that makes something of events, which are settled by whoever published them: what it makes is its own.
pub trait Subscriber: std::fmt::Debug + Send + Sync + 'static {
    /// Its name: of its queue, its role, its logs.
    const WORKER: &'static str;

    /// What it understands of an event.
    type Event: std::fmt::Debug + Send + Sync + 'static;

    /// Reads an event's bytes.
    ///
    /// # Errors
    /// It is none that this worker expects.
    fn read(body: &[u8]) -> Result<Self::Event, Malformed>;

    /// Records what follows from events, durably, before they are acked; one verdict each, in their order. An event can
    /// come twice.
    fn record(
        &self,
        store: &mut Store,
        events: &[Arc<Self::Event>],
    ) -> impl Future<Output = Result<Vec<Verdict>, Failure>> + Send;

    /// Events that should have come long ago and did not, without the first `skip`, at most `limit`: an event is the
    /// fast path, the ledger is the truth.
    fn overlooked(
        &self,
        store: &mut Store,
        skip: i64,
        limit: i64,
    ) -> impl Future<Output = Result<Vec<Arc<Self::Event>>, Failure>> + Send;

    /// Figures of the ledger that this worker shows in its metrics. By default none.
    fn readings(_store: &mut Store) -> impl Future<Output = Result<Vec<Reading>, Failure>> + Send {
        std::future::ready(Ok(Vec::new()))
    }

    /// What it does besides, whether the broker is there or not, until it is told to stop.
    fn beside(self: Arc<Self>, work: Beside) -> impl Future<Output = ()> + Send;
}

/// What [`Subscriber::beside`] works with.
#[derive(Debug, Clone)]
pub struct Beside {
    /// How the ledger is reached.
    pub ledger: ledger::store::Settings,
    /// The worker's settings.
    pub settings: Arc<Settings>,
    /// Where it says what troubles it.
    pub health: Health,
    /// Where its spans go.
    pub traces: Traces,
    /// Cancelled when the process is to end.
    pub shutdown: CancellationToken,
}

/// Runs a worker until SIGTERM or SIGINT. Fails at once, naming all problems, if its settings are not usable;
/// afterwards it never gives up.
///
/// `rules` makes the worker of the settings, and reads those that only this worker has; it returns `None` if it
/// cannot because one of them is missing or wrong, which the reader has noted.
pub fn main<H: Handler>(rules: impl FnOnce(&Settings, &mut Reader) -> Option<H>) -> ExitCode {
    start(H::WORKER, rules, |rules, _| {
        let desk = move |access| Clerk::new(Arc::clone(&rules), access);
        (desk, std::future::ready(()))
    })
}

/// [`main`] for a worker that listens to events.
pub fn listen<S: Subscriber>(subscriber: impl FnOnce(&Settings, &mut Reader) -> Option<S>) -> ExitCode {
    start(S::WORKER, subscriber, |subscriber, work| {
        let beside = Arc::clone(&subscriber).beside(work);
        let desk = move |access| Recorder::new(Arc::clone(&subscriber), access);
        (desk, beside)
    })
}

fn start<T, D, F, B>(
    name: &'static str,
    build: impl FnOnce(&Settings, &mut Reader) -> Option<T>,
    begin: impl FnOnce(Arc<T>, Beside) -> (F, B),
) -> ExitCode
where
    D: Desk,
    F: Fn(Access) -> D,
    B: Future<Output = ()> + Send,
{
    let arguments = Arguments::parse();
    let (made, settings, ledger, runtime) = match prepare(name, arguments.config.as_deref(), build) {
        Ok(prepared) => prepared,
        Err(problem) => return unusable(name, &problem),
    };
    telemetry::start(&settings);
    let inside = runtime.enter();
    let started = metrics::start(name).map_err(|error| error.to_string());
    let (metrics, (traces, exporting)) =
        match started.and_then(|metrics| Ok((metrics, Traces::start(name, &settings)?))) {
            Ok(started) => started,
            Err(problem) => return unusable(name, &problem),
        };
    let work = Beside {
        ledger,
        settings: Arc::new(settings),
        health: Health::starting(),
        traces,
        shutdown: CancellationToken::new(),
    };
    let (desk, beside) = begin(Arc::new(made), work.clone());
    drop(inside);
    let status = runtime.block_on(run(name, desk, work, beside, metrics, exporting));
    // A name that somebody is still looking up keeps nobody.
    runtime.shutdown_background();
    status
}

fn unusable(name: &str, problem: &str) -> ExitCode {
    use std::io::Write as _;
    let _ = writeln!(std::io::stderr(), "{name}: {problem}");
    ExitCode::FAILURE
}

/// Everything that can be wrong before the worker starts.
fn prepare<T>(
    name: &str,
    file: Option<&Path>,
    build: impl FnOnce(&Settings, &mut Reader) -> Option<T>,
) -> Result<(T, Settings, ledger::store::Settings, Runtime), String> {
    let mut reader = Reader::new(file);
    let settings = Settings::read(&mut reader);
    let made = build(&settings, &mut reader);
    reader.finish().map_err(|error| error.to_string())?;
    let made = made.ok_or("the worker cannot be made of its settings")?;
    let ledger = settings.ledger(&format!("saldo {name}"))?;
    let runtime = Runtime::new().map_err(|error| error.to_string())?;
    Ok((made, settings, ledger, runtime))
}

async fn run<D: Desk>(
    name: &'static str,
    desk: impl Fn(Access) -> D,
    work: Beside,
    beside: impl Future<Output = ()> + Send,
    metrics: Exposition,
    exporting: Option<JoinHandle<()>>,
) -> ExitCode {
    let Beside { ledger, settings, health, traces, shutdown } = work;
    let address = settings.health_listen;
    let listener = match health::bind(address).await {
        Ok(listener) => listener,
        Err(error) => {
            error!(%error, %address, "the health endpoint cannot listen (setting health.listen)");
            return ExitCode::FAILURE;
        }
    };
    let signals = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()));
    let (Ok(mut terminate), Ok(mut interrupt)) = signals else {
        error!("signals cannot be received");
        return ExitCode::FAILURE;
    };
    let stop = shutdown.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        info!("stopping: finishing what is under way, returning what is not");
        stop.cancel();
    });
    // Answers until the end: a worker that is draining is live, and not ready.
    let served = CancellationToken::new();
    let answering = tokio::spawn(health::serve(listener, health.clone(), metrics.clone(), served.clone()));
    info!(worker = name, version = env!("CARGO_PKG_VERSION"), %address, "started");
    tokio::spawn(metrics.upkeep());
    tokio::spawn(measure::run::<D>(ledger.clone(), settings.metrics_interval, shutdown.clone()));
    let supervisor = Supervisor { desk, settings, ledger, health, traces, shutdown };
    tokio::join!(supervisor.run(), beside);
    served.cancel();
    // A client that never finishes its question does not keep the process.
    let _ = tokio::time::timeout(LAST_ANSWERS, answering).await;
    // Whoever added spans is gone, so that this ends.
    if let Some(exporting) = exporting {
        let _ = tokio::time::timeout(LAST_ANSWERS, exporting).await;
    }
    info!("stopped");
    ExitCode::SUCCESS
}
