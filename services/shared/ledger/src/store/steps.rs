//! How long each step of a batch takes.

use std::time::{Duration, Instant};

/// A step of [`carry_out`](crate::Store::carry_out), in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// BEGIN, and the inbox before any lock.
    Ask,
    /// Accounts found, created and locked; the inbox once more, where that is needed.
    Lock,
    /// What the decision depends on.
    Read,
    /// The decision, and the entries that are written meanwhile.
    Decide,
    /// Everything else that is written.
    Write,
    /// COMMIT, or nothing to commit.
    Commit,
}

impl Step {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Ask, Self::Lock, Self::Read, Self::Decide, Self::Write, Self::Commit];

    /// As metrics name it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ask => "ask",
            Self::Lock => "lock",
            Self::Read => "read",
            Self::Decide => "decide",
            Self::Write => "write",
            Self::Commit => "commit",
        }
    }
}

/// The time that each step of one batch took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Steps([Duration; Step::ALL.len()]);

impl Steps {
    /// How long it took.
    pub const fn of(&self, step: Step) -> Duration {
        self.0[step as usize]
    }
}

/// Takes the time from one step to the next.
#[derive(Debug)]
pub(super) struct Stopwatch {
    steps: Steps,
    since: Instant,
}

impl Stopwatch {
    pub(super) fn start() -> Self {
        Self { steps: Steps::default(), since: Instant::now() }
    }

    /// The step is over, the next one begins.
    pub(super) fn done(&mut self, step: Step) {
        let now = Instant::now();
        self.steps.0[step as usize] += now - self.since;
        self.since = now;
    }

    pub(super) fn steps(&self) -> Steps {
        self.steps
    }
}
