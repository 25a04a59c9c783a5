//! What goes wrong, and when: written from a seed before anything runs.
//!
//! Four tracks run side by side, each with one fault at a time: the servers', the workers', the network's, and one for
//! mail and queues. A track deals its faults like cards: each comes up once, in random order, before any comes up again.
//! Now and then all of them rest, so that one can see how soon everybody is well again. A longer run begins with the same
//! faults as a shorter one.

use std::collections::BTreeSet;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use tests::world::ALL_WORKERS;

use crate::inject::PURGING;

/// A worker's name.
pub(crate) type Worker = &'static str;

/// The other end of a worker's connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Peer {
    /// The broker.
    Broker,
    /// The database.
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
    /// The broker is shut down in good order, and started again when it is over.
    BrokerStops,
    /// SIGKILL.
    BrokerKilled,
    /// The broker closes every connection.
    BrokerCloses,
    /// The broker is short of memory, and blocks publishers, while a backlog waits.
    BrokerAlarm,
    /// A worker's queue is emptied.
    Purge(Worker),
    /// The database is stopped in immediate mode.
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

/// Faults that come one after the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Track {
    /// Whose.
    pub(crate) name: &'static str,
    /// In the order of time.
    pub(crate) plan: Vec<Planned>,
}

/// Microseconds since 1970.
pub(crate) fn now() -> i64 {
    i64::try_from(time::OffsetDateTime::now_utc().unix_timestamp_nanos() / 1000).unwrap()
}

impl Fault {
    /// What kind of fault it is, for the report.
    pub(crate) fn kind(self) -> &'static str {
        match self {
            Self::Kill(_) => "worker killed",
            Self::KillAt(_, "received") => "worker killed when it has received",
            Self::KillAt(_, "committed") => "worker killed when it has committed",
            Self::KillAt(_, "published") => "worker killed when it has published",
            Self::KillAt(_, "leasing") => "notifier killed when leasing a mail",
            Self::KillAt(_, "leased") => "notifier killed when it has leased a mail",
            Self::KillAt(..) => "notifier killed when it has handed over a mail",
            Self::Freeze(_) => "worker stopped for a while",
            Self::Terminate(_) => "worker terminated and restarted",
            Self::BrokerStops => "broker stopped",
            Self::BrokerKilled => "broker killed",
            Self::BrokerCloses => "broker's connections closed",
            Self::BrokerAlarm => "broker's memory alarm",
            Self::Purge(_) => "queue purged",
            Self::LedgerStops => "database stopped at once",
            Self::LedgerKilled => "database killed",
            Self::LedgerCloses => "database connections terminated",
            Self::LedgerReadOnly => "database read-only",
            Self::LedgerFull => "database's disk full",
            Self::Cut(..) => "network cut",
            Self::Slow(..) => "network slow",
            Self::Silent(..) => "network silent",
            Self::Deserted(..) => "half-open, server's end gone",
            Self::Ghost(..) => "half-open, worker's end gone",
            Self::MailStops => "mail server away",
            Self::MailBusy => "mail server busy",
            Self::MailHangs => "mail server hanging",
            Self::MailCuts => "mail server closing",
        }
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kind = self.kind();
        match self {
            Self::Kill(worker)
            | Self::KillAt(worker, _)
            | Self::Freeze(worker)
            | Self::Terminate(worker)
            | Self::Purge(worker) => write!(f, "{kind}: {worker}"),
            Self::Cut(worker, peer)
            | Self::Slow(worker, peer)
            | Self::Silent(worker, peer)
            | Self::Deserted(worker, peer)
            | Self::Ghost(worker, peer) => write!(f, "{kind}: {worker} to {peer:?}"),
            _ => f.write_str(kind),
        }
    }
}

/// A fault, how long it lasts at least and at most, and how long it takes to undo.
#[derive(Debug, Clone, Copy)]
struct Card {
    fault: Fault,
    lasts: [u64; 2],
    undoing: u64,
}

const SECOND: u64 = 1000;

/// Of every so many seconds the last ones are a rest: longer than everybody may take to be well again.
const ROUND: u64 = 120 * SECOND;
const REST: u64 = 35 * SECOND;

fn card(fault: Fault, shortest: u64, longest: u64) -> Card {
    Card { fault, lasts: [shortest * SECOND, longest * SECOND], undoing: 0 }
}

/// The broker takes about six seconds to shut down, and as many to start.
fn servers() -> Vec<Card> {
    vec![
        Card { undoing: 13 * SECOND, ..card(Fault::BrokerStops, 1, 8) },
        Card { undoing: 7 * SECOND, ..card(Fault::BrokerKilled, 0, 8) },
        card(Fault::BrokerCloses, 0, 0),
        card(Fault::BrokerAlarm, 5, 35),
        Card { undoing: SECOND, ..card(Fault::LedgerStops, 0, 8) },
        Card { undoing: SECOND, ..card(Fault::LedgerKilled, 0, 8) },
        card(Fault::LedgerCloses, 1, 6),
        card(Fault::LedgerReadOnly, 4, 15),
        card(Fault::LedgerFull, 4, 15),
    ]
}

fn workers() -> Vec<Card> {
    let of = |worker: Worker| {
        let mut cards = vec![
            card(Fault::Kill(worker), 0, 0),
            card(Fault::Freeze(worker), 2, 8),
            // Longer than the broker waits for a heartbeat.
            card(Fault::Freeze(worker), 22, 30),
            Card { undoing: 2 * SECOND, ..card(Fault::Terminate(worker), 0, 0) },
        ];
        let mails = ["leasing", "leased", "handed"].into_iter().filter(|_| worker == "notifier");
        let points = ["received", "committed", "published"].into_iter().chain(mails);
        // As long as it may take to come there.
        cards.extend(points.map(|point| card(Fault::KillAt(worker, point), 10, 10)));
        cards
    };
    ALL_WORKERS.into_iter().flat_map(of).collect()
}

fn network() -> Vec<Card> {
    let mut cards = Vec::new();
    for worker in ALL_WORKERS {
        for peer in [Peer::Broker, Peer::Ledger] {
            cards.push(card(Fault::Cut(worker, peer), 1, 10));
            cards.push(card(Fault::Slow(worker, peer), 4, 12));
            for half_open in [Fault::Silent, Fault::Deserted, Fault::Ghost] {
                cards.push(card(half_open(worker, peer), 2, 10));
            }
            // Long enough to be noticed.
            let noticed = if cards.len() % 4 == 0 { Fault::Silent } else { Fault::Deserted };
            cards.push(card(noticed(worker, peer), 28, 35));
        }
    }
    cards
}

fn mail_and_queues() -> Vec<Card> {
    // What was under way to the queue is waited for.
    let undoing = PURGING.as_secs() * SECOND;
    let purge = |worker| Card { undoing, ..card(Fault::Purge(worker), 0, 0) };
    let mut cards: Vec<_> = ALL_WORKERS.into_iter().map(purge).collect();
    for mail in [Fault::MailStops, Fault::MailBusy, Fault::MailHangs, Fault::MailCuts] {
        cards.extend([card(mail, 2, 12); 2]);
    }
    cards
}

/// Every kind of fault that there is.
pub(crate) fn kinds() -> BTreeSet<&'static str> {
    let cards = [servers(), workers(), network(), mail_and_queues()];
    cards.iter().flatten().map(|card| card.fault.kind()).collect()
}

/// Everything that goes wrong within this time.
pub(crate) fn tracks(seed: u64, length: Duration) -> Vec<Track> {
    // A name, the cards, and the shortest and longest pause between two of them.
    let tracks = [
        ("servers", servers(), [4, 12]),
        ("workers", workers(), [1, 5]),
        ("network", network(), [1, 5]),
        ("mail and queues", mail_and_queues(), [3, 8]),
    ];
    let track = |(number, (name, cards, pauses)): (usize, (_, Vec<Card>, _))| {
        let rng = StdRng::seed_from_u64(seed.wrapping_mul(31).wrapping_add(number as u64));
        Track { name, plan: deal(rng, &cards, pauses, length) }
    };
    tracks.into_iter().enumerate().map(track).collect()
}

fn deal(mut rng: StdRng, cards: &[Card], [shortest, longest]: [u64; 2], length: Duration) -> Vec<Planned> {
    let (mut plan, mut now, mut deck) = (Vec::new(), 0, Vec::new());
    loop {
        if deck.is_empty() {
            deck = cards.to_vec();
            deck.shuffle(&mut rng);
        }
        let Some(Card { fault, lasts: [least, most], undoing }) = deck.pop() else { return plan };
        now += rng.random_range(shortest * SECOND..=longest * SECOND);
        let lasts = rng.random_range(least..=most);
        if now % ROUND + lasts + undoing > ROUND - REST {
            now = now.next_multiple_of(ROUND);
        }
        let (at, lasts) = (Duration::from_millis(now), Duration::from_millis(lasts));
        now += u64::try_from(lasts.as_millis()).unwrap() + undoing;
        if Duration::from_millis(now) > length {
            return plan;
        }
        plan.push(Planned { at, fault, lasts });
    }
}

#[cfg(test)]
mod test {
    use super::*;

    const MINUTES: Duration = Duration::from_mins(10);

    #[test]
    fn the_same_seed_repeats_the_schedule_and_a_longer_run_begins_like_a_shorter_one() {
        assert_eq!(tracks(7, MINUTES), tracks(7, MINUTES));
        assert_ne!(tracks(7, MINUTES), tracks(8, MINUTES));
        for (short, long) in tracks(7, MINUTES / 2).iter().zip(tracks(7, MINUTES)) {
            assert!(short.plan.len() < long.plan.len());
            assert!(long.plan.starts_with(&short.plan), "{}", short.name);
        }
    }

    #[test]
    fn one_fault_of_a_track_ends_before_the_next_begins_and_before_the_run_does() {
        for Track { plan, .. } in tracks(3, MINUTES) {
            assert!(plan.windows(2).all(|pair| pair[0].at + pair[0].lasts < pair[1].at));
            assert!(plan.iter().all(|planned| planned.at + planned.lasts <= MINUTES));
        }
    }

    #[test]
    fn all_tracks_rest_at_the_same_time() {
        let rests = |at: Duration| at.as_millis() % u128::from(ROUND) > u128::from(ROUND - REST);
        for Track { name, plan } in tracks(5, MINUTES) {
            let at_rest = |planned: &&Planned| rests(planned.at) || rests(planned.at + planned.lasts);
            assert_eq!(plan.iter().find(at_rest), None, "{name}");
        }
    }

    #[test]
    fn everything_goes_wrong_within_twenty_minutes() {
        let tracks = tracks(11, MINUTES * 2);
        let faults: BTreeSet<_> =
            tracks.iter().flat_map(|track| &track.plan).map(|planned| planned.fault).collect();
        let cards = [servers(), workers(), network(), mail_and_queues()];
        let missing: Vec<_> =
            cards.iter().flatten().map(|card| card.fault).filter(|fault| !faults.contains(fault)).collect();
        assert!(missing.is_empty(), "{missing:?}");
    }

    /// `--minutes 3.5 --seed 80`.
    #[test]
    fn the_short_run_of_all_tests_has_every_kind_of_fault() {
        let tracks = tracks(80, Duration::from_secs(210));
        let planned = tracks.iter().flat_map(|track| &track.plan);
        assert_eq!(planned.map(|planned| planned.fault.kind()).collect::<BTreeSet<_>>(), kinds());
    }
}
