//! What was measured, as plain data: nothing here measures, and nothing here judges.

use clap::ValueEnum;
use serde::Serialize;

/// One thing that is measured, in every round.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Case {
    /// The ledger alone: the same messages from memory, read, decided and committed by two connections.
    Limit,
    /// Postgres alone: the same rows made in SQL, 500 a transaction, two connections.
    Sql,
    /// One message, one transaction, one event, one ack.
    NaiveOne,
    /// The same, 16 at a time.
    NaiveSixteen,
    /// One worker process empties a queue, 10,000 accounts.
    Drain,
    /// The same with all commands for one account.
    HotOne,
    /// The same with a Zipf distribution over a million accounts.
    HotZipf,
    /// A million accounts without history, between two checkpoints.
    GrowthEmpty,
    /// Ten million entries and inbox rows, random publisher ids.
    GrowthRandom,
    /// The same, ids in the order of time.
    GrowthOrdered,
    /// As `GrowthEmpty`, right after a checkpoint.
    CheckpointEmpty,
    /// As `GrowthRandom`, right after a checkpoint.
    CheckpointRandom,
    /// As `GrowthOrdered`, right after a checkpoint.
    CheckpointOrdered,
    /// Two worker processes.
    WorkersTwo,
    /// Four worker processes.
    WorkersFour,
    /// Withdrawal requests.
    Withdrawals,
    /// Credits by hand.
    Adjustments,
    /// Publisher and worker at the same time, the queue never growing.
    Live,
}

impl Case {
    /// As it is called on the command line and in results.
    pub(crate) fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }
}

/// CPU time in seconds, of user and system together, by whose it was.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(crate) struct Cpu {
    /// All worker processes (or, where there is none, this program).
    pub(crate) worker: f64,
    /// Postgres with all its processes.
    pub(crate) postgres: f64,
    /// RabbitMQ.
    pub(crate) broker: f64,
    /// This program as publisher and subscriber, where workers are processes of their own.
    pub(crate) publisher: f64,
}

impl Cpu {
    /// All of them.
    pub(crate) fn total(self) -> f64 {
        self.worker + self.postgres + self.broker + self.publisher
    }

    /// In each of so many seconds.
    pub(crate) fn per_second(self, seconds: f64) -> Self {
        Self {
            worker: self.worker / seconds,
            postgres: self.postgres / seconds,
            broker: self.broker / seconds,
            publisher: self.publisher / seconds,
        }
    }
}

/// One case in one round.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Measured {
    pub(crate) case: Case,
    /// From 1.
    pub(crate) round: usize,
    /// Commands that were carried out while the clock ran.
    pub(crate) commands: u64,
    /// While the clock ran.
    pub(crate) seconds: f64,
    /// While the clock ran.
    pub(crate) cpu: Cpu,
    /// Write-ahead log of Postgres, in bytes, while the clock ran.
    pub(crate) wal: u64,
    /// The most memory that each worker process had resident, in bytes; empty where there was none.
    pub(crate) memory: Vec<u64>,
}

impl Measured {
    /// Commands a second.
    pub(crate) fn rate(&self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "commands of a run are far below 2^52")]
        let commands = self.commands as f64;
        commands / self.seconds
    }
}

/// From a publish to its outcome event, in seconds, while publisher and worker run side by side.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Latency {
    /// From 1.
    pub(crate) round: usize,
    /// The load as a share of [`Case::Live`]'s rate in the same round.
    pub(crate) load: f64,
    /// Commands a second that were published.
    pub(crate) rate: f64,
    /// How many were heard of.
    pub(crate) samples: u64,
    /// Cores that were kept busy meanwhile: seconds of CPU time in a second, warming up included.
    pub(crate) busy: Cpu,
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) p999: f64,
    pub(crate) max: f64,
    /// For the plot: quantile (0 to 1) and seconds, ascending.
    pub(crate) curve: Vec<(f64, f64)>,
}

/// What the least that anybody must wait for takes, in seconds: one durable commit of one row, and one persistent
/// message confirmed by a quorum queue, one after the other.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct RoundTrip {
    /// From 1.
    pub(crate) round: usize,
    /// Median of the commits.
    pub(crate) commit: f64,
    /// Median of the confirms.
    pub(crate) confirm: f64,
    /// Median of both together.
    pub(crate) both: f64,
}

/// What a large ledger takes on disk.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Size {
    /// Rows of `entry`, and of `inbox`.
    pub(crate) entries: u64,
    pub(crate) accounts: u64,
    /// Bytes with indexes, and those of its indexes alone.
    pub(crate) entry: u64,
    pub(crate) entry_indexes: u64,
    pub(crate) inbox: u64,
    pub(crate) inbox_indexes: u64,
    pub(crate) account: u64,
    pub(crate) account_indexes: u64,
}

/// One statement of Postgres' own statistics, over one drain.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Statement {
    pub(crate) round: usize,
    /// The first words of it.
    pub(crate) text: String,
    pub(crate) calls: u64,
    /// Execution, in microseconds of wall time for each command of the drain.
    pub(crate) micros: f64,
    /// Write-ahead log, in bytes for each command of the drain.
    pub(crate) wal: f64,
}

/// Everything of one run.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Figures {
    /// What it ran on: cores, memory, versions, commit; name and value.
    pub(crate) machine: Vec<(String, String)>,
    pub(crate) measured: Vec<Measured>,
    pub(crate) latencies: Vec<Latency>,
    pub(crate) round_trips: Vec<RoundTrip>,
    pub(crate) size: Option<Size>,
    pub(crate) statements: Vec<Statement>,
}
