//! Keeps a worker working: connects, checks, starts the lanes, and starts over when anything fails, for ever.
//!
//! Publishing and consuming have a connection each: while the broker blocks publishers it reads nothing on
//! theirs, and acks would wait with them. Nothing is consumed before the topology is found, the ledger's
//! schema fits, each lane has its thread, and the broker has confirmed a message: a broker that is short of memory
//! or disk must not be asked again and again for commands whose events it would not take.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use lapin::Connection;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::interval;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::backoff::Backoff;
use crate::broker::{self, BrokerError, Publisher, Purpose};
use crate::chores::Chores;
use crate::desk::{Access, Desk};
use crate::health::Health;
use crate::lane::{End, Lane, Shared};
use crate::metrics::{self, Server};
use crate::settings::Settings;
use crate::thread::LaneThread;
use crate::topology::{self, TopologyError};
use crate::traces::Traces;

/// So many sessions lost in a row without one ack, and messages are taken one at a time.
const LOSSES: u32 = 2;

/// The longest pause after a session that did open: the broker is there, and a killer may be in its queue.
const PAUSE_AFTER_LOSS: Duration = Duration::from_secs(1);

/// How often it is looked whether the connections are still there.
const LOOK: Duration = Duration::from_secs(1);

/// How long connections may take to say goodbye.
const GOODBYE: Duration = Duration::from_secs(2);

/// Why a session could not be opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    #[error(transparent)]
    Broker(#[from] BrokerError),
    #[error(transparent)]
    Topology(#[from] TopologyError),
    /// What is committed cannot be published.
    #[error("events that are committed cannot be published: {0}")]
    Unpublished(String),
    #[error("the ledger is not available: {0}")]
    Ledger(#[from] ledger::Failure),
    #[error("a lane has no thread: {0}")]
    Thread(std::io::Error),
    /// Some lanes consumed already: what they were sent may be what ended the connection.
    #[error(transparent)]
    Lanes(BrokerError),
}

pub(crate) struct Supervisor<D, F: Fn(Access) -> D> {
    /// Makes a desk, with a connection of its own.
    pub(crate) desk: F,
    pub(crate) settings: Arc<Settings>,
    pub(crate) ledger: ledger::store::Settings,
    pub(crate) health: Health,
    pub(crate) traces: Traces,
    pub(crate) shutdown: CancellationToken,
}

/// Two connections and what runs on them.
struct Session<D> {
    shared: Arc<Shared>,
    consume: Connection,
    publish: Arc<Connection>,
    lanes: Vec<(LaneThread<D>, Lane<D>)>,
    chores: Chores<D>,
}

impl<D: Desk, F: Fn(Access) -> D> Supervisor<D, F> {
    /// Works until the shutdown token is cancelled.
    pub(crate) async fn run(self) {
        let mut pauses = Backoff::new(self.settings.retry_max);
        let mut after_loss = Backoff::new(PAUSE_AFTER_LOSS.min(self.settings.retry_max));
        let (mut losses, mut careful, mut unpublished) = (0, false, false);
        while !self.shutdown.is_cancelled() {
            let opened = tokio::select! {
                () = self.shutdown.cancelled() => break,
                opened = self.open(careful, unpublished) => opened,
            };
            let session = match opened {
                Ok(session) => session,
                Err(error) => {
                    self.health.trouble("session", &error);
                    let cause =
                        std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
                    if let OpenError::Lanes(_) = error {
                        losses += 1;
                        careful |= losses >= LOSSES;
                        metrics::lost(Server::Broker);
                        warn!(%error, cause, losses, careful, "the session is lost while it begins, starting over");
                        self.pause(after_loss.pause()).await;
                    } else {
                        warn!(%error, cause, "not consuming, trying again");
                        self.pause(pauses.pause()).await;
                    }
                    continue;
                }
            };
            unpublished = false;
            pauses.reset();
            self.health.fine("session");
            metrics::session();
            info!(lanes = session.lanes.len(), careful, "consuming");
            let shared = Arc::clone(&session.shared);
            let end = session.run().await;
            let acked = shared.acked.load(Ordering::Relaxed);
            match end {
                End::Stopped => break,
                End::Suspicious => {
                    warn!("a command keeps coming back; taking one at a time until it is through");
                    careful = true;
                }
                End::Past => {
                    info!("through; taking batches again");
                    (losses, careful) = (0, false);
                }
                End::Lost(ref why) | End::Unpublished(ref why) => {
                    metrics::lost(Server::Broker);
                    unpublished = matches!(end, End::Unpublished(_));
                    losses = if acked == 0 { losses + 1 } else { 0 };
                    careful |= losses >= LOSSES;
                    if acked > 0 {
                        after_loss.reset();
                    }
                    warn!(why, losses, careful, "the session is lost, starting over");
                    self.pause(after_loss.pause()).await;
                }
            }
        }
    }

    async fn pause(&self, pause: Duration) {
        tokio::select! {
            () = self.shutdown.cancelled() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }

    /// Opens a session; after one that could not publish, only once everything committed is published: commands
    /// taken meanwhile would only come back, and count as delivered once more each time.
    async fn open(&self, careful: bool, unpublished: bool) -> Result<Session<D>, OpenError> {
        let settings = &self.settings;
        let connect = |purpose: Purpose| {
            let name = format!("{} {}", D::WORKER, purpose.as_str());
            async move { broker::connect(&settings.broker, &name, purpose, settings.connect_timeout).await }
        };
        let publish = Arc::new(connect(Purpose::Publish).await?);
        topology::check_existence(&publish, D::WORKER).await?;
        let publisher = Publisher::open(Arc::clone(&publish), settings.publish_timeout).await?;
        publisher.probe().await?;
        let desk = || (self.desk)(Access::new(self.ledger.clone(), Arc::clone(settings)));
        let mut first = desk();
        first.access().connect().await?;

        let shared = Arc::new(Shared {
            settings: Arc::clone(settings),
            health: self.health.clone(),
            traces: self.traces.clone(),
            shutdown: self.shutdown.clone(),
            session: self.shutdown.child_token(),
            acked: AtomicU64::new(0),
            parked: Notify::new(),
            careful,
        });
        let mut chores = Chores::new(Arc::clone(&shared), first, publisher);
        if unpublished {
            chores.catch_up().await?;
        }
        let mut threads = Vec::new();
        for number in 1..=if careful { 1 } else { settings.lanes } {
            threads.push((number, LaneThread::start(number).await.map_err(OpenError::Thread)?));
        }
        let consume = connect(Purpose::Consume).await?;
        let mut lanes = Vec::new();
        for (number, thread) in threads {
            let lane = Lane::open(number, Arc::clone(&shared), desk(), &consume, &publish).await;
            lanes.push((thread, lane.map_err(OpenError::Lanes)?));
        }
        Ok(Session { shared, consume, publish, lanes, chores })
    }
}

impl<D: Desk> Session<D> {
    /// Runs until one part ends, and then ends the others: each finishes the batch it has under way.
    async fn run(self) -> End {
        let Self { shared, consume, publish, lanes, chores } = self;
        let mut parts = JoinSet::new();
        for (thread, lane) in lanes {
            parts.spawn(async move { thread.run(lane).await.unwrap_or_else(panicked) });
        }
        parts.spawn(chores.run());
        let (mut first, mut lost) = (None, false);
        let mut look = interval(LOOK);
        // One grace period for all parts.
        let overdue = overdue(&shared);
        tokio::pin!(overdue);
        loop {
            let next = tokio::select! {
                next = parts.join_next() => next,
                _ = look.tick(), if !lost => {
                    // All parts may wait for the ledger, and notice nothing.
                    lost = !(consume.status().connected() && publish.status().connected());
                    if lost {
                        shared.health.trouble("session", &"not consuming");
                        shared.session.cancel();
                    }
                    continue;
                }
                () = &mut overdue => {
                    warn!("the grace period is over; what is under way is left to its redelivery");
                    parts.abort_all();
                    break;
                }
            };
            let Some(end) = next else { break };
            // Not ready at once: the others may take long to finish what they have under way.
            shared.health.trouble("session", &"not consuming");
            shared.session.cancel();
            // A part that panicked has left nothing half done that a new session would not do again.
            let end = end.unwrap_or_else(|_| panicked());
            if !matches!(end, End::Stopped) {
                first.get_or_insert(end);
            }
        }
        for connection in [&consume, &*publish] {
            let _ = tokio::time::timeout(GOODBYE, connection.close(200, "done".into())).await;
        }
        let otherwise =
            if lost { End::Lost("a connection to the broker is lost".to_owned()) } else { End::Stopped };
        if shared.shutdown.is_cancelled() { End::Stopped } else { first.unwrap_or(otherwise) }
    }
}

fn panicked() -> End {
    End::Lost("a part of the worker panicked".to_owned())
}

/// Resolves when a shutdown has lasted longer than the grace period; the worker is not ready from its beginning.
async fn overdue(shared: &Shared) {
    shared.shutdown.cancelled().await;
    shared.health.trouble("shutdown", &"stopping");
    tokio::time::sleep(shared.settings.shutdown_grace).await;
}
