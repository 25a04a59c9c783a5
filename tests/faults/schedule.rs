//! What goes wrong, and when: written from a seed before anything runs.

use std::time::Duration;

/// A worker's name.
pub(crate) type Worker = &'static str;

/// The other end of a worker's connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Peer {
    /// RabbitMQ.
    Broker,
    /// PostgreSQL.
    Ledger,
}

/// Something that goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    /// SIGKILL; it is started again at once, as a service manager would.
    Kill(Worker),
    /// SIGKILL at a fault point of the code; it is started again at once.
    KillAt(Worker, &'static str),
    /// SIGSTOP, and SIGCONT when it is over.
    Freeze(Worker),
    /// SIGTERM; it must end well, and is started again.
    Terminate(Worker),
    /// RabbitMQ is shut down in good order, and started again when it is over.
    BrokerStops,
    /// SIGKILL.
    BrokerKilled,
    /// RabbitMQ closes every connection.
    BrokerCloses,
    /// RabbitMQ is short of memory, and blocks publishers; before that workers are frozen so that a backlog waits.
    BrokerAlarm,
    /// A worker's queue is emptied.
    Purge(Worker),
    /// PostgreSQL is stopped in immediate mode.
    LedgerStops,
    /// SIGKILL, to its children as well.
    LedgerKilled,
    /// Every connection of a worker is terminated, again and again.
    LedgerCloses,
    /// New sessions cannot write.
    LedgerReadOnly,
    /// The disk of some tables is full.
    LedgerFull,
    /// A worker's connections are closed, and new ones refused.
    Cut(Worker, Peer),
    /// Everything takes longer by half a second each way.
    Slow(Worker, Peer),
    /// Both ends stay open, and hear nothing of each other.
    Silent(Worker, Peer),
    /// Only the worker's end stays open.
    Deserted(Worker, Peer),
    /// Only the other end stays open.
    Ghost(Worker, Peer),
    /// The mail server is away.
    MailStops,
    /// It says "later" to everything.
    MailBusy,
    /// It does not answer.
    MailHangs,
    /// It closes connections after it has taken a mail.
    MailCuts,
}

/// A fault with its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Planned {
    /// From the beginning of the run.
    pub(crate) at: Duration,
    /// What.
    pub(crate) fault: Fault,
    /// For how long; zero: only a moment.
    pub(crate) lasts: Duration,
}

/// A fault that was carried out, in microseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Done {
    /// What.
    pub(crate) fault: Fault,
    /// Before anything was done.
    pub(crate) began: i64,
    /// When it was certainly in effect.
    pub(crate) in_effect: [i64; 2],
    /// After everything was undone.
    pub(crate) ended: i64,
}
