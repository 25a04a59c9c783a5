//! The one consume loop, and everything a worker needs around its rules: broker, topology, settings,
//! telemetry, health and shutdown.
//!
//! A worker is its [`Handler`] and a `main` that calls [`main`].

mod backoff;
pub mod broker;
mod chores;
mod clerk;
mod fault;
mod health;
mod intake;
mod lane;
pub mod management;
pub mod settings;
pub mod submit;
mod supervisor;
mod telemetry;
pub mod topology;
pub mod watch;

use std::future::Future;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use ledger::vault::Sealed;
use ledger::{Failure, Item, Rules, Store};
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use crate::health::Health;
use crate::settings::{Reader, Settings};
use crate::supervisor::Supervisor;

/// How long health questions under way may take when the worker stops.
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

/// Runs a worker until SIGTERM or SIGINT. Fails at once, naming all problems, if its settings are not usable;
/// afterwards it never gives up.
///
/// `rules` makes the worker of the settings, and reads those that only this worker has; it returns `None` if it
/// cannot because one of them is missing or wrong, which the reader has noted.
pub fn main<H: Handler>(rules: impl FnOnce(&Settings, &mut Reader) -> Option<H>) -> ExitCode {
    let arguments = Arguments::parse();
    let (rules, settings, ledger, runtime) = match prepare(arguments.config.as_deref(), rules) {
        Ok(prepared) => prepared,
        Err(problem) => {
            use std::io::Write as _;
            let _ = writeln!(std::io::stderr(), "{}: {problem}", H::WORKER);
            return ExitCode::FAILURE;
        }
    };
    telemetry::start(&settings);
    runtime.block_on(run(Arc::new(rules), Arc::new(settings), ledger))
}

/// Everything that can be wrong before the worker starts.
fn prepare<H: Handler>(
    file: Option<&Path>,
    rules: impl FnOnce(&Settings, &mut Reader) -> Option<H>,
) -> Result<(H, Settings, ledger::store::Settings, Runtime), String> {
    let mut reader = Reader::new(file);
    let settings = Settings::read(&mut reader);
    let rules = rules(&settings, &mut reader);
    reader.finish().map_err(|error| error.to_string())?;
    let rules = rules.ok_or("the worker cannot be made of its settings")?;
    let ledger = settings.ledger(&format!("saldo {}", H::WORKER))?;
    let runtime = Runtime::new().map_err(|error| error.to_string())?;
    Ok((rules, settings, ledger, runtime))
}

async fn run<H: Handler>(
    rules: Arc<H>,
    settings: Arc<Settings>,
    ledger: ledger::store::Settings,
) -> ExitCode {
    let address = settings.health_listen;
    let listener = match health::bind(address).await {
        Ok(listener) => listener,
        Err(error) => {
            error!(%error, %address, "the health endpoint cannot listen (setting health.listen)");
            return ExitCode::FAILURE;
        }
    };
    let shutdown = CancellationToken::new();
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
    let health = Health::starting();
    // Answers until the end: a worker that is draining is live, and not ready.
    let served = CancellationToken::new();
    let answering = tokio::spawn(health::serve(listener, health.clone(), served.clone()));
    info!(worker = H::WORKER, version = env!("CARGO_PKG_VERSION"), %address, "started");
    Supervisor { rules, settings, ledger, health, shutdown }.run().await;
    served.cancel();
    // A client that never finishes its question does not keep the process.
    let _ = tokio::time::timeout(LAST_ANSWERS, answering).await;
    info!("stopped");
    ExitCode::SUCCESS
}
