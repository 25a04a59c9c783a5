//! From rounds to one figure each. Medians throughout, but for the memory, of which the most counts: a bound
//! that held in most rounds is no bound.
#![expect(clippy::float_arithmetic, reason = "medians and ratios of what was measured")]

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::figures::{Case, Cpu, Figures, Latency, Measured};

/// The load at which nothing waits for another command, as a share of what the live case carries out.
pub(super) const IDLE: f64 = 0.01;

pub(super) const MIB: f64 = 1_048_576.0;

/// All rounds of one case.
#[derive(Debug, Serialize)]
pub(super) struct CaseRow {
    pub(super) case: Case,
    pub(super) rounds: usize,
    /// Commands a second, and the least and most of all rounds.
    pub(super) rate: f64,
    pub(super) least: f64,
    pub(super) most: f64,
    /// Of the limit in the same round.
    pub(super) of_limit: Option<f64>,
    /// Microseconds for each command.
    pub(super) cpu: Cpu,
    /// Bytes for each command.
    pub(super) wal: f64,
    /// In MiB; `None` where there was no worker process.
    pub(super) memory: Option<f64>,
}

/// All rounds at one load. Seconds, or multiples of the round trip in the same round.
#[derive(Debug, Serialize)]
pub(super) struct LatencyRow {
    pub(super) load: f64,
    pub(super) rate: f64,
    /// Of all rounds together.
    pub(super) samples: u64,
    /// Cores that all processes together kept busy.
    pub(super) busy: f64,
    pub(super) seconds: Quantiles<f64>,
    pub(super) round_trips: Quantiles<Option<f64>>,
}

#[derive(Debug, Serialize)]
pub(super) struct Quantiles<T> {
    pub(super) p50: T,
    pub(super) p99: T,
    pub(super) p999: T,
    pub(super) max: T,
}

impl<T> Quantiles<T> {
    fn of(quantile: impl Fn(fn(&Latency) -> f64) -> T) -> Self {
        Self {
            p50: quantile(|latency| latency.p50),
            p99: quantile(|latency| latency.p99),
            p999: quantile(|latency| latency.p999),
            max: quantile(|latency| latency.max),
        }
    }
}

/// The round trip, in seconds.
#[derive(Debug, Serialize)]
pub(super) struct Waits {
    pub(super) commit: f64,
    pub(super) confirm: f64,
    pub(super) both: f64,
}

/// A table on disk: bytes for each of its rows, which are megabytes for a million.
#[derive(Debug, Serialize)]
pub(super) struct SizeRow {
    pub(super) table: &'static str,
    pub(super) rows: u64,
    pub(super) heap: f64,
    pub(super) indexes: f64,
    pub(super) both: f64,
}

/// A statement in all rounds that had it.
#[derive(Debug, Serialize)]
pub(super) struct StatementRow {
    pub(super) text: String,
    pub(super) calls: f64,
    /// Microseconds for each command.
    pub(super) micros: f64,
    /// Bytes for each command.
    pub(super) wal: f64,
}

/// Of those that are numbers; `None` if there are none. Between two in the middle, halfway.
pub(super) fn median(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<_> = values.into_iter().filter(|value| value.is_finite()).collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    let upper = *values.get(middle)?;
    Some(if values.len() % 2 == 1 { upper } else { f64::midpoint(values[middle - 1], upper) })
}

/// The median of the ratios of two cases' rates, each within one round.
pub(super) fn ratio(figures: &Figures, case: Case, to: Case) -> Option<f64> {
    let rounds = figures.measured.iter().filter(|measured| measured.case == case);
    median(rounds.filter_map(|one| {
        let other = figures.measured.iter().find(|other| other.case == to && other.round == one.round)?;
        Some(one.rate() / other.rate())
    }))
}

/// The median of a latency's ratios to the round trip, each within one round.
pub(super) fn to_round_trip<'a>(
    figures: &Figures,
    latencies: impl IntoIterator<Item = &'a Latency>,
    quantile: impl Fn(&Latency) -> f64,
) -> Option<f64> {
    median(latencies.into_iter().filter_map(|latency| {
        let trip = figures.round_trips.iter().find(|trip| trip.round == latency.round)?;
        Some(quantile(latency) / trip.both)
    }))
}

/// The most memory, in bytes, that any worker process had.
pub(super) fn most_memory<'a>(measured: impl IntoIterator<Item = &'a Measured>) -> Option<f64> {
    measured.into_iter().flat_map(|measured| &measured.memory).max().copied().map(real)
}

pub(super) fn is_load(latency: &Latency, load: f64) -> bool {
    (latency.load - load).abs() < 1e-6
}

/// In the order of [`Case`], those that were measured.
pub(super) fn cases(figures: &Figures) -> Vec<CaseRow> {
    let cases: BTreeSet<_> = figures.measured.iter().map(|measured| measured.case).collect();
    cases
        .into_iter()
        .map(|case| {
            let rounds: Vec<_> = figures.measured.iter().filter(|measured| measured.case == case).collect();
            let middle = |figure: &dyn Fn(&Measured) -> f64| {
                median(rounds.iter().map(|round| figure(round))).unwrap_or(f64::NAN)
            };
            let each = |total: f64, round: &Measured| total / real(round.commands);
            let rates = || rounds.iter().map(|round| round.rate());
            CaseRow {
                case,
                rounds: rounds.len(),
                rate: middle(&Measured::rate),
                least: rates().fold(f64::INFINITY, f64::min),
                most: rates().fold(0.0, f64::max),
                of_limit: ratio(figures, case, Case::Limit),
                cpu: Cpu {
                    worker: middle(&|round| each(round.cpu.worker, round) * 1e6),
                    postgres: middle(&|round| each(round.cpu.postgres, round) * 1e6),
                    broker: middle(&|round| each(round.cpu.broker, round) * 1e6),
                    publisher: middle(&|round| each(round.cpu.publisher, round) * 1e6),
                },
                wal: middle(&|round| each(real(round.wal), round)),
                memory: most_memory(rounds.iter().copied()).map(|bytes| bytes / MIB),
            }
        })
        .collect()
}

/// All loads, ascending, each with its rounds.
pub(super) fn by_load(figures: &Figures) -> Vec<(f64, Vec<&Latency>)> {
    let mut loads: Vec<(f64, Vec<&Latency>)> = Vec::new();
    for latency in &figures.latencies {
        match loads.iter_mut().find(|(load, _)| is_load(latency, *load)) {
            Some((_, rounds)) => rounds.push(latency),
            None => loads.push((latency.load, vec![latency])),
        }
    }
    loads.sort_by(|(one, _), (other, _)| one.total_cmp(other));
    loads
}

pub(super) fn latencies(figures: &Figures) -> Vec<LatencyRow> {
    let row = |(load, rounds): (f64, Vec<&Latency>)| {
        let middle = |figure: fn(&Latency) -> f64| {
            median(rounds.iter().map(|round| figure(round))).unwrap_or(f64::NAN)
        };
        LatencyRow {
            load,
            rate: middle(|latency| latency.rate),
            samples: rounds.iter().map(|latency| latency.samples).sum(),
            busy: middle(|latency| latency.busy.total()),
            seconds: Quantiles::of(middle),
            round_trips: Quantiles::of(|figure| to_round_trip(figures, rounds.iter().copied(), figure)),
        }
    };
    by_load(figures).into_iter().map(row).collect()
}

pub(super) fn round_trip(figures: &Figures) -> Option<Waits> {
    let trips = &figures.round_trips;
    Some(Waits {
        commit: median(trips.iter().map(|trip| trip.commit))?,
        confirm: median(trips.iter().map(|trip| trip.confirm))?,
        both: median(trips.iter().map(|trip| trip.both))?,
    })
}

pub(super) fn sizes(figures: &Figures) -> Vec<SizeRow> {
    let Some(size) = &figures.size else { return Vec::new() };
    let row = |table, rows, both: u64, indexes: u64| SizeRow {
        table,
        rows,
        heap: real(both.saturating_sub(indexes)) / real(rows),
        indexes: real(indexes) / real(rows),
        both: real(both) / real(rows),
    };
    vec![
        row("entry", size.entries, size.entry, size.entry_indexes),
        row("inbox", size.entries, size.inbox, size.inbox_indexes),
        row("account", size.accounts, size.account, size.account_indexes),
    ]
}

/// The dearest first.
pub(super) fn statements(figures: &Figures) -> Vec<StatementRow> {
    let mut texts: BTreeMap<&str, Vec<_>> = BTreeMap::new();
    for statement in &figures.statements {
        texts.entry(&statement.text).or_default().push(statement);
    }
    let mut rows: Vec<_> = texts
        .into_iter()
        .map(|(text, rounds)| StatementRow {
            text: text.to_owned(),
            calls: median(rounds.iter().map(|round| real(round.calls))).unwrap_or(f64::NAN),
            micros: median(rounds.iter().map(|round| round.micros)).unwrap_or(f64::NAN),
            wal: median(rounds.iter().map(|round| round.wal)).unwrap_or(f64::NAN),
        })
        .collect();
    rows.sort_by(|one, other| other.micros.total_cmp(&one.micros));
    rows
}

#[expect(clippy::cast_precision_loss, reason = "bytes and counts of a run are far below 2^52")]
fn real(number: u64) -> f64 {
    number as f64
}
