//! The ledger against the model: random sequences of all commands, late, repeated, conflicting and impossible ones
//! included, through the real store with every worker's own rules and role, and through
//! [`tests::model`], which says the same in about ten lines for each command.
//!
//! After each transaction the two agree on every verdict, on every event with its amounts and its reason, and on what
//! the tables say of accounts, customers, merchants, commissions, withdrawals and of what waits. Where they do not, the
//! sequence is cut down to what is needed for that, and shown.
//!
//! `SALDO_TEST_SEQUENCES` is how many; `SALDO_TEST_SEED` repeats a run, and with `SALDO_TEST_SEQUENCE` one of it.

mod real;
mod script;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use ledger::read::{Extent, Head, Observer, verify};
use ledger::vault::Vault;
use tests::World;

use real::{Bench, Counts, Disagreement, Run};
use script::Script;

/// Unless `SALDO_TEST_SEQUENCES` says otherwise.
const SEQUENCES: u64 = 300;

/// Sequences that run at the same time.
const TRACKS: usize = 3;

/// How long a failing sequence is cut down for.
const SHRINKING: Duration = Duration::from_mins(2);

/// What must have happened in so many sequences: otherwise too much is refused for it to mean anything.
const EVENTS: [&str; 22] = [
    "adjustment.credited",
    "adjustment.debited",
    "adjustment.reversed",
    "adjustment.refused adjustment.debit below-limit",
    "adjustment.refused adjustment.reverse already-reversed",
    "commission.credited",
    "commission.held",
    "commission.matured",
    "commission.reversed",
    "commission.refused commission.reverse exceeds-commission",
    "customer.updated",
    "customer.refused customer.put outdated",
    "payout-method.updated",
    "preferences.updated",
    "withdrawal.requested",
    "withdrawal.approved",
    "withdrawal.paid",
    "withdrawal.rejected",
    "withdrawal.cancelled",
    "withdrawal.refused withdrawal.request below-minimum",
    "withdrawal.refused withdrawal.request insufficient-funds",
    "withdrawal.refused withdrawal.pay invalid-transition",
];

fn setting(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|value| value.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::print_stderr, reason = "how much was tried")]
async fn the_ledger_does_what_the_model_does() {
    let seed = tests::check::seed();
    let world = World::without_broker().await;
    let keys = format!("test:{}", Vault::generate_key());
    let runs = Arc::new(Runs {
        world: world.clone(),
        keys,
        seed,
        next: AtomicU64::new(0),
        merchants: AtomicU64::new(0),
    });
    let (first, last) = match setting("SALDO_TEST_SEQUENCE") {
        Some(one) => (one, one),
        None => (0, setting("SALDO_TEST_SEQUENCES").unwrap_or(SEQUENCES).saturating_sub(1)),
    };
    runs.next.store(first, Ordering::SeqCst);
    let began = Instant::now();
    let tracks = (0..TRACKS).map(|_| tokio::spawn(Arc::clone(&runs).track(last)));
    let mut counts = Counts::default();
    let mut failed = None;
    for track in tracks.collect::<Vec<_>>() {
        match track.await.unwrap() {
            Ok(more) => counts.add(more),
            Err(problem) => failed = failed.or(Some(problem)),
        }
    }
    if let Some((number, script, problem)) = failed {
        panic!("{}", runs.explain(number, script, problem).await);
    }
    eprintln!("{} sequences in {:?}: {counts:#?}", last - first + 1, began.elapsed());
    let verification = verify(&mut world.superuser().await, None, None, &mut Unseen).await.unwrap();
    assert!(verification.holds(), "{:#?}", verification.faults);
    if last - first + 1 >= SEQUENCES {
        let missing: Vec<_> = EVENTS.iter().filter(|event| !counts.told.contains_key(**event)).collect();
        assert!(missing.is_empty(), "never happened: {missing:?}");
    }
}

/// Sequences on one database.
struct Runs {
    world: World,
    keys: String,
    seed: u64,
    /// The next sequence.
    next: AtomicU64,
    /// Merchants of a run were never there before.
    merchants: AtomicU64,
}

impl Runs {
    fn script(&self, number: u64) -> Script {
        // Neighbours must not have much in common.
        Script::write(self.seed.wrapping_add(number.wrapping_mul(0x9E37_79B9_7F4A_7C15)))
    }

    /// One sequence after the other; the first that fails ends all.
    async fn track(self: Arc<Self>, last: u64) -> Result<Counts, (u64, Script, Disagreement)> {
        let mut counts = Counts::default();
        let mut bench = Bench::new(&self.world, &self.keys).await;
        loop {
            let number = self.next.fetch_add(1, Ordering::SeqCst);
            if number > last {
                return Ok(counts);
            }
            let script = self.script(number);
            match self.run(&script, &mut bench).await {
                Ok(more) => {
                    assert_eq!(
                        more.waiting, 0,
                        "sequence {number} leaves commands waiting, after all patience"
                    );
                    counts.add(more);
                }
                Err(problem) => {
                    self.next.store(last + 1, Ordering::SeqCst);
                    return Err((number, script, problem));
                }
            }
        }
    }

    /// A panic is as good as a disagreement.
    async fn run(&self, script: &Script, bench: &mut Bench) -> Result<Counts, Disagreement> {
        let number = self.merchants.fetch_add(1, Ordering::SeqCst);
        let run = AssertUnwindSafe(Run::of(script, bench, number)).catch_unwind();
        run.await.unwrap_or_else(|panic| {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            Err(format!("panic: {}", text.unwrap_or_default()))
        })
    }

    /// Leaves out whatever can be left out of a failing script.
    async fn shrink(&self, mut script: Script, mut problem: Disagreement) -> (Script, Disagreement) {
        let until = Instant::now() + SHRINKING;
        let mut length = script.steps.len().max(1).next_power_of_two();
        while length > 0 {
            let mut smaller = None;
            for cut in script.cuts(length) {
                if Instant::now() > until {
                    return (script, problem);
                }
                let mut bench = Bench::new(&self.world, &self.keys).await;
                if let Err(problem) = self.run(&cut, &mut bench).await {
                    smaller = Some((cut, problem));
                    break;
                }
            }
            match smaller {
                Some(smaller) => (script, problem) = smaller,
                None => length /= 2,
            }
        }
        (script, problem)
    }

    /// What a failing sequence comes down to, for people.
    async fn explain(&self, number: u64, script: Script, problem: Disagreement) -> String {
        let seed = self.seed;
        let (smallest, problem) = self.shrink(script, problem).await;
        format!(
            "SALDO_TEST_SEED={seed} SALDO_TEST_SEQUENCE={number}: model and ledger do not agree.\n{problem}\n\n\
             The shortest sequence in which they do not:\n{smallest}"
        )
    }
}

impl Counts {
    fn add(&mut self, more: Self) {
        self.sent += more.sent;
        self.commands += more.commands;
        self.done += more.done;
        self.waiting += more.waiting;
        self.retries += more.retries;
        for (kind, count) in more.told {
            *self.told.entry(kind).or_default() += count;
        }
    }
}

/// Nobody looks on.
struct Unseen;

impl Observer for Unseen {
    fn begins(&mut self, _: Extent) -> std::io::Result<()> {
        Ok(())
    }
    fn has_read(&mut self, _: u64) {}
    fn head(&mut self, _: &Head) -> std::io::Result<()> {
        Ok(())
    }
    fn compares(&mut self) {}
}
