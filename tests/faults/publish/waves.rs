//! How many messages are published when: bursts and lulls around an average.

use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{RngExt as _, SeedableRng as _};

/// Of the average, in percent. Their own average is about 100.
const HEIGHTS: [u64; 7] = [0, 10, 50, 100, 100, 150, 300];
/// How long a wave lasts, in milliseconds.
const LENGTHS: std::ops::RangeInclusive<u64> = 1000..=6000;
/// What could not be published is made up for, but for no more than so many seconds of it.
const MEMORY: u64 = 10;
/// A message.
const WHOLE: u64 = 1_000_000;

/// Says when it is time for the next message.
#[derive(Debug)]
pub(super) struct Waves {
    rng: StdRng,
    rate: u64,
    height: u64,
    until: Instant,
    seen: Instant,
    /// In millionths of a message.
    allowance: u64,
}

impl Waves {
    /// About so many messages a second.
    pub(super) fn new(seed: u64, rate: u32, now: Instant) -> Self {
        let rng = StdRng::seed_from_u64(seed);
        Self { rng, rate: rate.into(), height: 100, until: now, seen: now, allowance: 0 }
    }

    /// Whether it is time. Each yes is for one message.
    pub(super) fn allow(&mut self, now: Instant) -> bool {
        while self.seen < now {
            if self.until <= self.seen {
                self.height = *HEIGHTS.choose(&mut self.rng).unwrap();
                self.until = self.seen + Duration::from_millis(self.rng.random_range(LENGTHS));
            }
            let to = self.until.min(now);
            let micros = u64::try_from((to - self.seen).as_micros()).unwrap();
            self.allowance += self.rate * micros * self.height / 100;
            self.seen = to;
        }
        self.allowance = self.allowance.min(MEMORY * self.rate * WHOLE);
        let Some(rest) = self.allowance.checked_sub(WHOLE) else { return false };
        self.allowance = rest;
        true
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn there_are_bursts_and_lulls_and_the_average_is_as_said() {
        let began = Instant::now();
        let mut waves = Waves::new(1, 50, began);
        let mut seconds = Vec::new();
        for second in 0..3600 {
            let mut count = 0;
            for tick in 0..50 {
                let now = began + Duration::from_millis(second * 1000 + tick * 20);
                while waves.allow(now) {
                    count += 1;
                }
            }
            seconds.push(count);
        }
        let total: u32 = seconds.iter().sum();
        assert!((160_000..200_000).contains(&total), "{total} instead of 180,000");
        assert!(seconds.iter().filter(|count| **count > 120).count() > 100);
        assert!(seconds.iter().filter(|count| **count < 10).count() > 100);
    }

    #[test]
    fn what_was_missed_is_made_up_for_to_some_extent() {
        let began = Instant::now();
        let mut waves = Waves::new(1, 50, began);
        let later = began + Duration::from_hours(1);
        let count = (0..100_000).take_while(|_| waves.allow(later)).count();
        assert_eq!(count, 500);
    }
}
