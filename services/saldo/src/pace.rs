//! At most so many a second.

use std::num::NonZeroU32;

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};

/// A rate that is kept to from the first second on.
pub(crate) struct Pace {
    limiter: DefaultDirectRateLimiter,
    burst: NonZeroU32,
}

impl Pace {
    pub(crate) fn new(rate: NonZeroU32) -> Self {
        // What may go out together without exceeding the rate by much: a tenth of a second's.
        let burst = NonZeroU32::new(rate.get().div_ceil(10)).unwrap_or(NonZeroU32::MIN);
        Self { limiter: RateLimiter::direct(Quota::per_second(rate).allow_burst(burst)), burst }
    }

    /// How many may go out together.
    pub(crate) fn burst(&self) -> usize {
        self.burst.get() as usize
    }

    /// Until the next one may go out.
    pub(crate) async fn wait(&self) {
        self.limiter.until_ready().await;
    }
}
