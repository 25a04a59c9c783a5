//! Stretches of time in which nothing is wrong for a worker.

use std::time::Duration;

use super::{RECOVERY, concerns, hinders, micros, seconds};
use crate::crew::record::{Answer, Spell, Watched};
use crate::schedule::{Done, Fault};

/// What is asked so shortly before a fault may be answered in the middle of it.
const ANSWER: Duration = Duration::from_secs(1);

/// Faults that ended so shortly before the last one are recovered from together with it.
const TOGETHER: Duration = Duration::from_secs(1);

/// See the module. Times are microseconds since 1970.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Quiet {
    /// What is recovered from; nothing at the beginning, and after a process that ended by itself.
    pub(super) after: Vec<Fault>,
    from: i64,
    until: i64,
}

/// How a worker came into a quiet stretch.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Recovered {
    /// It took so long.
    After(i64),
    /// It took too long.
    TooLate(String),
    /// The stretch was over before one could say.
    Unknown,
}

/// All of them while a worker was watched.
pub(super) fn stretches(faults: &[Done], watched: &Watched) -> Vec<Quiet> {
    let (Some(first), Some(last)) = (watched.spells.first(), watched.spells.last()) else {
        return Vec::new();
    };
    let own = |done: &Done| concerns(done.fault, watched.worker).then_some(done.fault);
    let wrong = faults.iter().filter(|done| own(done).is_some() || hinders(done.fault, watched.worker));
    let mut wrong: Vec<_> = wrong.map(|done| (done.began, done.ended, own(done))).collect();
    wrong.extend(watched.down.iter().map(|(from, to)| (*from, *to, None)));
    wrong.sort_unstable();

    let (mut quiet, mut from, mut ended) = (Vec::new(), first.from, Vec::new());
    let mut add = |from: i64, until: i64, ended: &mut Vec<(i64, Fault)>| {
        ended.retain(|(end, _)| *end >= from - micros(TOGETHER));
        let after = std::mem::take(ended).into_iter().map(|(_, fault)| fault).collect();
        quiet.push(Quiet { after, from, until });
    };
    for (began, end, fault) in wrong {
        if began > from {
            add(from, began, &mut ended);
        }
        from = from.max(end);
        ended.extend(fault.map(|fault| (end, fault)));
    }
    if last.to > from {
        add(from, last.to, &mut ended);
    }
    quiet
}

impl Quiet {
    fn deadline(&self) -> i64 {
        self.from + micros(RECOVERY)
    }

    /// Whether being too late would have been seen.
    pub(super) fn is_long(&self) -> bool {
        self.until >= self.deadline()
    }

    /// Until when the last trouble lasted of those that began before the deadline.
    pub(super) fn recovery(&self, watched: &Watched) -> Recovered {
        let before = self.deadline().min(self.until);
        let here = |spell: &&Spell| spell.to >= self.from && spell.from < before;
        let Some(last) =
            watched.spells.iter().rposition(|spell| here(&spell) && spell.answer != Answer::Ready)
        else {
            return if watched.spells.iter().any(|spell| here(&spell)) {
                Recovered::After(0)
            } else {
                Recovered::Unknown
            };
        };
        let well = watched.spells[last + 1..].iter().find(|spell| spell.answer == Answer::Ready);
        match well.map(|spell| spell.from).filter(|well| *well < self.until) {
            Some(well) if well <= self.deadline() => Recovered::After((well - self.from).max(0)),
            None if self.until < self.deadline() => Recovered::Unknown,
            well => {
                let when = match well {
                    Some(well) => format!("only after {} s", seconds(well - self.from)),
                    None => format!("not within {} s", seconds(self.until - self.from)),
                };
                Recovered::TooLate(format!(
                    "{} was ready again {when}, once {} was over: {}",
                    watched.worker,
                    self.cause(),
                    said(&watched.spells[last]),
                ))
            }
        }
    }

    /// Who is well stays well.
    pub(super) fn relapses(&self, watched: &Watched) -> Vec<String> {
        let turns = watched.spells.windows(2).enumerate();
        let ill =
            turns.filter(|(_, pair)| pair[0].answer == Answer::Ready && pair[1].answer != Answer::Ready);
        let here =
            ill.filter(|(_, pair)| (self.deadline()..self.until - micros(ANSWER)).contains(&pair[1].from));
        here.map(|(number, pair)| {
            let well = watched.spells[number + 1..].iter().find(|spell| spell.answer == Answer::Ready);
            format!(
                "{} was not ready for {} s, {} s after {} was over and with nothing else wrong: {}",
                watched.worker,
                seconds(well.map_or(self.until, |well| well.from.min(self.until)) - pair[1].from),
                seconds(pair[1].from - self.from),
                self.cause(),
                said(&pair[1]),
            )
        })
        .collect()
    }

    fn cause(&self) -> String {
        if self.after.is_empty() {
            return "its start".to_owned();
        }
        let all: Vec<_> = self.after.iter().map(|fault| format!("{fault:?}")).collect();
        all.join(" and ")
    }
}

fn said(spell: &Spell) -> &str {
    match &spell.answer {
        Answer::Ready => "ready",
        Answer::NotReady(troubles) => troubles,
        Answer::Missing => "it did not answer",
    }
}
