//! Pauses between attempts: doubling, jittered, never longer than a maximum, without end.

use std::time::Duration;

use rand::RngExt as _;

/// The pause after the first failure.
const FIRST: Duration = Duration::from_millis(100);

/// Between half of a pause and all of it, so that not everybody comes back at once.
pub fn jittered(pause: Duration) -> Duration {
    pause.mul_f64(rand::rng().random_range(0.5..=1.0))
}

/// How long to wait before the next attempt.
#[derive(Debug)]
pub(crate) struct Backoff {
    next: Duration,
    max: Duration,
}

impl Backoff {
    /// Pauses up to `max`.
    pub(crate) fn new(max: Duration) -> Self {
        Self { next: FIRST.min(max), max }
    }

    /// A pause between half of the current length and all of it; the next one is twice as long.
    pub(crate) fn pause(&mut self) -> Duration {
        let current = self.next;
        self.next = (current * 2).min(self.max);
        jittered(current)
    }

    /// Something went well.
    pub(crate) fn reset(&mut self) {
        self.next = FIRST.min(self.max);
    }
}
