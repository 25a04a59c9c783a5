//! What the project set out to reach, and what was reached. A goal that was not measured is neither met nor
//! missed.
#![expect(clippy::float_arithmetic, reason = "ratios of what was measured")]

use serde::Serialize;

use super::summary::{IDLE, MIB, is_load, most_memory, ratio, to_round_trip};
use crate::figures::{Case, Figures};

/// At least so many times the other case's commands a second.
const RATES: [(Case, Case, f64); 8] = [
    (Case::Drain, Case::Limit, 0.75),
    (Case::Drain, Case::NaiveOne, 45.0),
    (Case::Drain, Case::NaiveSixteen, 13.0),
    (Case::Live, Case::Limit, 0.45),
    (Case::HotOne, Case::Drain, 0.8),
    (Case::HotZipf, Case::Drain, 0.8),
    (Case::GrowthRandom, Case::GrowthEmpty, 0.8),
    (Case::GrowthOrdered, Case::GrowthEmpty, 0.9),
];

/// Less than so many round trips, without load: half of all commands, and all but one in a hundred.
const HALF: f64 = 4.0;
const NEARLY_ALL: f64 = 10.0;

/// Less than this, in MiB, for every worker process in every case.
const MEMORY: f64 = 64.0;

/// One thing to reach.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Goal {
    /// With its unit, unless it is a ratio.
    pub(crate) what: String,
    pub(crate) needed: f64,
    /// `None` if no round measured it.
    pub(crate) reached: Option<f64>,
    /// `needed` itself is enough, and more is better; otherwise it must be less than `needed`.
    pub(crate) at_least: bool,
}

impl Goal {
    /// `None` if no round measured it.
    pub(crate) fn met(&self) -> Option<bool> {
        let reached = self.reached?;
        Some(if self.at_least { reached >= self.needed } else { reached < self.needed })
    }

    /// What was reached as a share of what is needed; where less is better, the other way round: 1 is the line.
    pub(super) fn share(&self) -> Option<f64> {
        let reached = self.reached?;
        let share = if self.at_least { reached / self.needed } else { self.needed / reached };
        share.is_finite().then_some(share)
    }
}

/// A goal with its verdict, for the file.
#[derive(Debug, Serialize)]
pub(super) struct Judged {
    met: Option<bool>,
    #[serde(flatten)]
    goal: Goal,
}

impl From<Goal> for Judged {
    fn from(goal: Goal) -> Self {
        Self { met: goal.met(), goal }
    }
}

/// All of them, measured or not.
pub(crate) fn goals(figures: &Figures) -> Vec<Goal> {
    let rates = RATES.map(|(case, to, needed)| Goal {
        what: format!("{} / {}", case.name(), to.name()),
        needed,
        reached: ratio(figures, case, to),
        at_least: true,
    });
    let idle = || figures.latencies.iter().filter(|latency| is_load(latency, IDLE));
    let waits = [
        Goal {
            what: "p50 without load / round trip".to_owned(),
            needed: HALF,
            reached: to_round_trip(figures, idle(), |latency| latency.p50),
            at_least: false,
        },
        Goal {
            what: "p99 without load / round trip".to_owned(),
            needed: NEARLY_ALL,
            reached: to_round_trip(figures, idle(), |latency| latency.p99),
            at_least: false,
        },
    ];
    let memory = Goal {
        what: "peak memory of a worker, MiB".to_owned(),
        needed: MEMORY,
        reached: most_memory(&figures.measured).map(|bytes| bytes / MIB),
        at_least: false,
    };
    rates.into_iter().chain(waits).chain([memory]).collect()
}
