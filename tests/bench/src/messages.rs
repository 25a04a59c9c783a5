//! Commands as a shop's systems would send them: rendered before any clock runs.

use lapin::BasicProperties;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use rand_distr::{Distribution as _, Zipf};
use tests::Publisher;
use tests::message::MERCHANT;

/// Whose accounts the commands are for, each by its number.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Spread {
    /// All the same.
    One,
    /// Each of so many as often as any other.
    Even(u64),
    /// The k-th of so many 1/k as often as the first.
    Zipf(u64),
}

/// How publishers make their ids.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Ids {
    /// As UUIDs of version 4: no two are near each other.
    Random,
    /// As UUIDs of version 7: what comes later sorts after it.
    Ordered,
}

/// What the commands ask for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum What {
    Commission,
    Adjustment,
    Withdrawal,
}

impl What {
    /// The worker that carries it out.
    pub(crate) fn worker(self) -> &'static str {
        match self {
            Self::Commission => "commissions",
            Self::Adjustment => "adjustments",
            Self::Withdrawal => "withdrawals",
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Commission => "commission.credit",
            Self::Adjustment => "adjustment.credit",
            Self::Withdrawal => "withdrawal.request",
        }
    }

    /// The key it is published with, for this shop.
    pub(crate) fn routing_key(self, merchant: &str) -> String {
        format!("{merchant}.{}", self.name())
    }

    /// The properties it is published with.
    pub(crate) fn properties(self) -> BasicProperties {
        match self {
            Self::Commission | Self::Withdrawal => Publisher::properties(),
            Self::Adjustment => Publisher::admin_properties(),
        }
    }

    /// The message under this id, for this customer of this shop.
    pub(crate) fn body(self, id: &str, merchant: &str, customer: u64) -> String {
        let own = match self {
            Self::Commission => r#""amount":"12.50","order":"9001","level":1,"note":"Summer campaign""#,
            Self::Adjustment => r#""amount":"12.50","description":"Thank you","actor":"maria""#,
            Self::Withdrawal => r#""amount":"1.25""#,
        };
        format!(
            r#"{{"specversion":"1.0","id":"{id}","source":"/affiliates/eu","type":"{}.v1","time":"2026-11-22T10:00:00Z","data":{{"merchant":"{merchant}","customer":"{}","currency":"EUR",{own}}}}}"#,
            self.name(),
            customer_id(customer),
        )
    }
}

/// The customer whose account has this number, from 0.
pub(crate) fn customer_id(number: u64) -> String {
    format!("c-{number}")
}

/// So many bodies, different each time that the seed is.
pub(crate) fn bodies(what: What, spread: Spread, ids: Ids, seed: u64, count: usize) -> Vec<String> {
    let mut random = StdRng::seed_from_u64(seed);
    let zipf = match spread {
        Spread::Zipf(accounts) => Zipf::new(accounts_as_float(accounts), 1.0).ok(),
        Spread::One | Spread::Even(_) => None,
    };
    (0..count)
        .map(|n| {
            let customer = match (spread, &zipf) {
                (Spread::Zipf(_), Some(zipf)) => rank(zipf.sample(&mut random)),
                (Spread::Even(accounts) | Spread::Zipf(accounts), _) => random.random_range(0..accounts),
                (Spread::One, _) => 0,
            };
            what.body(&id(ids, seed, n, &mut random), MERCHANT, customer)
        })
        .collect()
}

/// As a UUID looks.
pub(crate) fn id(ids: Ids, seed: u64, n: usize, random: &mut StdRng) -> String {
    let tail = random.random::<u64>();
    let head = match ids {
        Ids::Random => random.random::<u64>(),
        // Twenty a millisecond, from a moment that the seed moves by a day.
        Ids::Ordered => (1_790_000_000_000 + seed % 1000 * 86_400_000 + n as u64 / 20) << 16 | 0x7000,
    };
    let text = format!("{head:016x}{tail:016x}");
    format!("{}-{}-{}-{}-{}", &text[..8], &text[8..12], &text[12..16], &text[16..20], &text[20..])
}

#[expect(clippy::cast_precision_loss, reason = "a million accounts")]
fn accounts_as_float(accounts: u64) -> f64 {
    accounts as f64
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "ranks are whole, from 1")]
fn rank(sample: f64) -> u64 {
    sample as u64 - 1
}
