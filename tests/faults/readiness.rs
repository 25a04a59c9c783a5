//! Whether the workers told the truth about themselves, and how soon they were well again.
//!
//! A worker may not say that it is ready while something it needs has been away for longer than it takes to notice; and
//! once nothing that concerns it is wrong any more, it must be ready within [`RECOVERY`], and stay so until something is.
//! Pure: it is told what was done and what was said.

mod quiet;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::crew::record::{Answer, Spell, Watched};
use crate::schedule::{Done, Fault, Peer, Worker};
use quiet::Recovered;

/// The worker that uses the mail server.
const NOTIFIER: Worker = "notifier";

/// How soon a worker must be ready.
pub(crate) const RECOVERY: Duration = Duration::from_secs(30);

/// Answers that fail to come for no longer than this say more of the machine than of the worker.
const HICCUP: Duration = Duration::from_secs(2);

/// What came of it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Truth {
    /// Who said that it was ready and could not be.
    pub(crate) lies: Vec<String>,
    /// Who was not ready, and nothing was wrong.
    pub(crate) slow: Vec<String>,
    /// How long it took to be ready, by kind of fault.
    pub(crate) recoveries: Vec<Recovery>,
    /// How often nothing was wrong for long enough that one can say.
    pub(crate) quiet: usize,
}

/// Of all workers after one kind of fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Recovery {
    /// See [`Fault::kind`].
    pub(crate) kind: &'static str,
    /// How many.
    pub(crate) count: usize,
    /// Half of them took no longer.
    pub(crate) median: Duration,
    /// None took longer.
    pub(crate) longest: Duration,
}

/// How long a worker may go on saying that it is ready; `None`: for ever.
pub(crate) fn detection(fault: Fault, worker: Worker) -> Option<Duration> {
    use Fault as F;
    let seconds = match fault {
        _ if !concerns(fault, worker) => return None,
        F::BrokerStops | F::BrokerKilled | F::Cut(_, Peer::Broker) | F::Ghost(_, Peer::Broker) => 3,
        // One that has nothing to do asks its ledger, or its mail server, every second or two.
        F::LedgerStops
        | F::LedgerKilled
        | F::Cut(_, Peer::Ledger)
        | F::Ghost(_, Peer::Ledger)
        | F::MailStops => 5,
        // Two heartbeats of 10 s.
        F::Silent(_, Peer::Broker) | F::Deserted(_, Peer::Broker) => 25,
        // `database.timeout`, and the pause before a chore.
        F::Silent(_, Peer::Ledger) | F::Deserted(_, Peer::Ledger) => 16,
        // `worker.publish_timeout`, with a backlog; the notifier publishes next to nothing.
        F::BrokerAlarm if worker != NOTIFIER => 20,
        // Each batch fails, and commands arrive all the time; the notifier may have nothing to write.
        F::LedgerReadOnly if worker != NOTIFIER => 10,
        // A full disk has room left in some pages, a busy mail server takes connections, and what is closed or killed once
        // is there again at once.
        _ => return None,
    };
    Some(Duration::from_secs(seconds))
}

/// Whether the worker may be not ready because of it.
fn concerns(fault: Fault, worker: Worker) -> bool {
    use Fault as F;
    match fault {
        // A worker is frozen while its queue is purged.
        F::Purge(whose)
        | F::Kill(whose)
        | F::KillAt(whose, _)
        | F::Freeze(whose)
        | F::Terminate(whose)
        | F::Cut(whose, _)
        | F::Slow(whose, _)
        | F::Silent(whose, _)
        | F::Deserted(whose, _)
        | F::Ghost(whose, _) => whose == worker,
        F::MailStops | F::MailBusy | F::MailHangs | F::MailCuts => worker == NOTIFIER,
        F::BrokerStops
        | F::BrokerKilled
        | F::BrokerCloses
        | F::BrokerAlarm
        | F::LedgerStops
        | F::LedgerKilled
        | F::LedgerCloses
        | F::LedgerReadOnly
        | F::LedgerFull => true,
    }
}

/// Whether the worker may wait for what another's transaction has locked: its end does not come, and nobody knows yet
/// that it never will.
fn hinders(fault: Fault, worker: Worker) -> bool {
    match fault {
        Fault::Freeze(whose) | Fault::Silent(whose, Peer::Ledger) | Fault::Ghost(whose, Peer::Ledger) => {
            whose != worker
        }
        _ => false,
    }
}

/// Compares what was said with what was done.
pub(crate) fn judge(faults: &[Done], watched: &[Watched]) -> Truth {
    let mut truth = Truth::default();
    let mut times: BTreeMap<&str, Vec<i64>> = BTreeMap::new();
    for one in watched {
        truth.lies.extend(faults.iter().filter_map(|done| lie(done, faults, one)));
        let smooth = Watched { spells: without_hiccups(&one.spells), ..one.clone() };
        for quiet in quiet::stretches(faults, &smooth) {
            match quiet.recovery(&smooth) {
                Recovered::After(time) => {
                    let kinds: BTreeSet<_> = quiet.after.iter().map(|fault| fault.kind()).collect();
                    for kind in kinds {
                        times.entry(kind).or_default().push(time);
                    }
                }
                Recovered::TooLate(text) => truth.slow.push(text),
                Recovered::Unknown => {}
            }
            truth.quiet += usize::from(quiet.is_long());
            truth.slow.extend(quiet.relapses(&smooth));
        }
    }
    truth.recoveries = times.into_iter().map(|(kind, times)| Recovery::of(kind, times)).collect();
    truth
}

impl Recovery {
    fn of(kind: &'static str, mut times: Vec<i64>) -> Self {
        times.sort_unstable();
        let at = |index: usize| Duration::from_micros(times.get(index).map_or(0, |time| time.unsigned_abs()));
        let last = times.len().saturating_sub(1);
        Self { kind, count: times.len(), median: at(last / 2), longest: at(last) }
    }
}

/// What the worker should have noticed of this fault, and said nothing of.
fn lie(done: &Done, faults: &[Done], watched: &Watched) -> Option<String> {
    let worker = watched.worker;
    let notices = micros(detection(done.fault, worker)?);
    let ready = || watched.spells.iter().filter(|spell| spell.answer == Answer::Ready);
    attentive(done, faults, watched).into_iter().find_map(|(from, until)| {
        let late = from + notices;
        // Who was ready before and after a moment was ready in it, although nobody asked.
        let spell = ready().find(|spell| late <= until && spell.from <= until && spell.to >= late)?;
        Some(format!(
            "{worker} was ready {} s after it could have noticed {:?}, which takes {} s at most ({} s into it)",
            seconds(spell.to.min(until) - from),
            done.fault,
            seconds(notices),
            seconds(spell.to.min(until) - done.in_effect[0]),
        ))
    })
}

/// While the fault was in effect: from when until when the worker ran without interruption and did not hang on a
/// connection of which it could not know yet that it is dead.
fn attentive(done: &Done, faults: &[Done], watched: &Watched) -> Vec<(i64, i64)> {
    let worker = watched.worker;
    let hangs = |other: &&Done| match other.fault {
        Fault::Silent(whose, peer) | Fault::Deserted(whose, peer) => {
            whose == worker && Some(peer) == peer_of(done.fault) && *other != done
        }
        _ => false,
    };
    let frozen = |other: &&Done| [Fault::Freeze(worker), Fault::Purge(worker)].contains(&other.fault);
    let frozen = faults.iter().filter(frozen);
    let mut breaks: Vec<_> = frozen.map(|other| (other.began, other.ended)).collect();
    breaks.extend(&watched.down);
    breaks.extend(faults.iter().filter(hangs).map(|other| {
        let longest = detection(other.fault, worker).unwrap_or_default();
        (other.began, other.ended + micros(longest))
    }));
    breaks.sort_unstable();
    let [mut from, lifted] = done.in_effect;
    let mut pieces = Vec::new();
    for (begins, ends) in breaks {
        pieces.push((from, begins.min(lifted)));
        from = from.max(ends);
    }
    pieces.push((from, lifted));
    pieces.retain(|(from, until)| from < until);
    pieces
}

/// Whom it takes away.
fn peer_of(fault: Fault) -> Option<Peer> {
    use Fault as F;
    match fault {
        F::Cut(_, peer) | F::Silent(_, peer) | F::Deserted(_, peer) | F::Ghost(_, peer) => Some(peer),
        F::BrokerStops | F::BrokerKilled | F::BrokerAlarm => Some(Peer::Broker),
        F::LedgerStops | F::LedgerKilled => Some(Peer::Ledger),
        _ => None,
    }
}

/// Where answers failed to come for a moment and the same process was ready before and after, it was ready.
fn without_hiccups(spells: &[Spell]) -> Vec<Spell> {
    let mut smooth: Vec<Spell> = Vec::with_capacity(spells.len());
    for (number, spell) in spells.iter().enumerate() {
        let (before, after) = (smooth.last(), spells.get(number + 1));
        let hiccup = before.zip(after).is_some_and(|(before, after)| {
            let ready = |other: &Spell| other.answer == Answer::Ready && other.generation == spell.generation;
            let short = after.from - spell.from < micros(HICCUP);
            spell.answer == Answer::Missing && ready(before) && ready(after) && short
        });
        if !hiccup {
            smooth.push(spell.clone());
        }
    }
    smooth
}

fn micros(duration: Duration) -> i64 {
    duration.as_micros().try_into().unwrap_or(i64::MAX)
}

/// With one decimal.
fn seconds(micros: i64) -> String {
    let tenths = micros.max(0) / 100_000;
    format!("{}.{}", tenths / 10, tenths % 10)
}
