//! Measures Saldo against what bounds it, in one run: the ledger without a broker, Postgres without either, and the
//! way of working that most people would write.
//!
//!     cargo build --release      # the workers; `just bench` does both
//!     deploy/local/servers cargo run --release -p bench -- [--rounds N] [--only CASE,…]
//!
//! Every round measures every case once, one after the other, each in a database and a virtual host of its own (the
//! large ledger is loaded once); so ratios compare what ran within minutes on the same machine. Figures are written to
//! `target/bench`. README.md beside this package says what they were, and what follows from them.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a program for developers fails loudly"
)]
#![expect(clippy::float_arithmetic, reason = "figures are measured, not kept")]

mod drain;
mod figures;
mod growth;
mod limit;
mod live;
mod machine;
mod messages;
mod naive;
mod report;
mod round_trip;
mod sql;
mod stage;
mod statements;
mod usage;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand};
use tests::World;

use figures::{Case, Figures, Measured};
use live::{Lengths, Live};
use messages::{Ids, Spread, What, bodies};
use stage::{ACCOUNTS, Stage};

/// Accounts of a shop that has many.
const MILLION: u64 = 1_000_000;

/// Shares of the highest rate at which latencies are measured.
const LOADS: [f64; 3] = [0.01, 0.1, 0.5];

#[derive(Debug, Parser)]
#[command(about = "Measures Saldo against what bounds it, all in one run")]
struct Arguments {
    #[command(subcommand)]
    form: Option<Form>,
    #[command(flatten)]
    whole: Whole,
}

#[derive(Debug, Subcommand)]
enum Form {
    /// Only `drain` and `naive-sixteen`; fails when their ratio is below this
    Short {
        /// The least that the ratio may be
        #[arg(long)]
        at_least: f64,
        #[command(flatten)]
        whole: Whole,
    },
}

fn setting(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

#[derive(Debug, clap::Args)]
struct Whole {
    /// How often everything is measured
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Only these cases, such as drain,naive-sixteen
    #[arg(long, value_delimiter = ',')]
    only: Vec<Case>,
    /// Commands of a drain
    #[arg(long, default_value_t = 200_000)]
    commands: usize,
    /// Commands that the naive one is given; four times as many where 16 are under way
    #[arg(long, default_value_t = 3_000)]
    naive_commands: usize,
    /// Entries of the large ledger
    #[arg(long, default_value_t = 10_000_000)]
    entries: u64,
    /// A worker's setting that is not as shipped, such as `SALDO__WORKER__LANES=3`
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = setting)]
    settings: Vec<(String, String)>,
    /// Where figures and plots are written
    #[arg(long, default_value = "target/bench")]
    into: PathBuf,
}

#[tokio::main]
async fn main() -> std::process::ExitCode {
    let Arguments { form, whole } = Arguments::parse();
    match form {
        None => {
            let figures = Run::new(whole).await.everything().await;
            print!("{}", report::print(&figures));
            std::process::ExitCode::SUCCESS
        }
        Some(Form::Short { at_least, mut whole }) => {
            whole.only = vec![Case::NaiveSixteen, Case::Drain];
            whole.into.push("short");
            let figures = Run::new(whole).await.everything().await;
            let ratio = report::drain_to_naive(&figures).unwrap();
            println!(
                "draining is {ratio:.1} times as fast as one message at a time, 16 under way; at least {at_least} is asked for"
            );
            if ratio >= at_least { std::process::ExitCode::SUCCESS } else { std::process::ExitCode::FAILURE }
        }
    }
}

/// A run and what it has found so far.
struct Run {
    whole: Whole,
    figures: Figures,
    /// A database with two shops of [`ACCOUNTS`], and nothing else.
    plain: World,
    /// How long an outcome is: known from the first that is measured.
    outcome_bytes: i32,
}

impl Run {
    async fn new(whole: Whole) -> Self {
        let plain = stage::template(ACCOUNTS).await;
        let figures = Figures { machine: machine::describe(&plain).await, ..Figures::default() };
        Self { whole, figures, plain, outcome_bytes: 0 }
    }

    async fn stage(&self, template: &World) -> Stage {
        Stage::like(template, &self.whole.settings).await
    }

    fn wanted(&self, case: Case) -> bool {
        self.whole.only.is_empty() || self.whole.only.contains(&case)
    }

    fn wants_one_of(&self, cases: &[Case]) -> bool {
        cases.iter().any(|case| self.wanted(*case))
    }

    /// Every case in every round.
    async fn everything(mut self) -> Figures {
        let million = if self.wants_million() { Some(stage::template(MILLION).await) } else { None };
        let mut grown = None;
        for round in 1..=self.whole.rounds {
            println!("round {round} of {}", self.whole.rounds);
            self.bounds(round).await;
            self.drains(round).await;
            if let Some(million) = &million {
                self.on_a_million(round, million).await;
                if grown.is_none() && self.wants_grown() {
                    grown = Some(self.grow(million).await);
                }
            }
            if let Some(grown) = &mut grown {
                self.on_ten_million(round, grown).await;
            }
            if self.wanted(Case::Live) {
                self.live(round).await;
            }
        }
        self.figures
    }

    fn wants_grown(&self) -> bool {
        use Case::{CheckpointOrdered, CheckpointRandom, GrowthOrdered, GrowthRandom};
        self.wants_one_of(&[CheckpointRandom, GrowthRandom, CheckpointOrdered, GrowthOrdered])
    }

    fn wants_million(&self) -> bool {
        self.wants_grown() || self.wants_one_of(&[Case::CheckpointEmpty, Case::GrowthEmpty, Case::HotZipf])
    }

    fn note(&mut self, measured: Measured) {
        let name = measured.case.name();
        println!("  {name:<15} {:>9.0} commands/s", measured.rate());
        self.figures.measured.push(measured);
        self.keep();
    }

    /// What was measured so far outlives whatever goes wrong next.
    fn keep(&self) {
        report::write(&self.figures, &self.whole.into).unwrap();
    }

    /// What a drain is compared with.
    async fn bounds(&mut self, round: usize) {
        if self.wanted(Case::Limit) {
            let mut stage = self.stage(&self.plain).await;
            let bodies = self.commissions(round, Case::Limit, Spread::Even(ACCOUNTS), Ids::Random);
            let measured = limit::limit(&mut stage, round, &bodies).await;
            self.note(measured);
            stage.close().await;
        }
        if self.wanted(Case::Sql) {
            let mut stage = self.stage(&self.plain).await;
            let outcome_bytes = self.outcome_bytes().await;
            let measured = sql::sql(&mut stage, round, self.whole.commands as u64, outcome_bytes).await;
            self.note(measured);
            stage.close().await;
        }
        for (case, prefetch) in [(Case::NaiveOne, 1), (Case::NaiveSixteen, 16)] {
            if self.wanted(case) {
                let mut stage = self.stage(&self.plain).await;
                let count =
                    if prefetch == 1 { self.whole.naive_commands } else { self.whole.naive_commands * 4 };
                let bodies =
                    bodies(What::Commission, Spread::Even(ACCOUNTS), Ids::Random, seed(round, case), count);
                let measured = naive::naive(&mut stage, case, round, prefetch, &bodies).await;
                self.note(measured);
                stage.close().await;
            }
        }
    }

    /// One queue emptied, in many ways.
    async fn drains(&mut self, round: usize) {
        let even = Spread::Even(ACCOUNTS);
        for (case, what, spread, processes) in [
            (Case::Drain, What::Commission, even, 1),
            (Case::HotOne, What::Commission, Spread::One, 1),
            (Case::WorkersTwo, What::Commission, even, 2),
            (Case::WorkersFour, What::Commission, even, 4),
            (Case::Withdrawals, What::Withdrawal, even, 1),
            (Case::Adjustments, What::Adjustment, even, 1),
        ] {
            if self.wanted(case) {
                let mut stage = self.stage(&self.plain).await;
                if case == Case::Drain {
                    statements::begin(&mut stage).await;
                }
                let bodies = bodies(what, spread, Ids::Random, seed(round, case), self.whole.commands);
                stage.settle().await;
                let measured = drain::drain(&mut stage, case, round, what, &bodies, processes).await;
                if case == Case::Drain {
                    let statements = statements::end(&mut stage, round, measured.commands).await;
                    self.figures.statements.extend(statements);
                }
                self.note(measured);
                stage.close().await;
            }
        }
    }

    async fn on_a_million(&mut self, round: usize, million: &World) {
        if self.wanted(Case::HotZipf) {
            let mut stage = self.stage(million).await;
            let bodies = self.commissions(round, Case::HotZipf, Spread::Zipf(MILLION), Ids::Random);
            stage.settle().await;
            let measured = drain::drain(&mut stage, Case::HotZipf, round, What::Commission, &bodies, 1).await;
            self.note(measured);
            stage.close().await;
        }
        let cases = [Case::CheckpointEmpty, Case::GrowthEmpty];
        if self.wants_one_of(&cases) {
            let mut stage = self.stage(million).await;
            self.after_and_between_checkpoints(round, &mut stage, cases, Ids::Random).await;
            stage.close().await;
        }
    }

    /// A drain right after a checkpoint: of nearly every page that it touches, the first change is logged, and with it the
    /// whole page. Then another one, which finds most of them changed already, as most commands of a ledger do that
    /// carries out thousands a second: between two checkpoints come a million of them.
    async fn after_and_between_checkpoints(
        &mut self,
        round: usize,
        stage: &mut Stage,
        cases: [Case; 2],
        ids: Ids,
    ) {
        stage.settle().await;
        for case in cases {
            let bodies = self.commissions(round, case, Spread::Even(MILLION), ids);
            let measured = drain::drain(stage, case, round, What::Commission, &bodies, 1).await;
            self.note(measured);
        }
    }

    /// The large ledger is loaded once, and grows by a fiftieth with every drain.
    async fn grow(&mut self, million: &World) -> Stage {
        let mut stage = self.stage(million).await;
        let outcome_bytes = usize::try_from(self.outcome_bytes().await).unwrap();
        println!("  loading {} entries", self.whole.entries);
        growth::grow(&stage.world, self.whole.entries, MILLION, outcome_bytes).await;
        self.figures.size = Some(growth::size(&stage.world).await);
        // A ledger in use has in memory what it reads; this one was only written.
        let bodies = self.commissions(0, Case::GrowthRandom, Spread::Even(MILLION), Ids::Random);
        drain::drain(&mut stage, Case::GrowthRandom, 0, What::Commission, &bodies, 1).await;
        stage
    }

    async fn on_ten_million(&mut self, round: usize, grown: &mut Stage) {
        let mut cases = [
            ([Case::CheckpointRandom, Case::GrowthRandom], Ids::Random),
            ([Case::CheckpointOrdered, Case::GrowthOrdered], Ids::Ordered),
        ];
        // Neither always finds what the other has warmed.
        cases.rotate_left(round % 2);
        for (cases, ids) in cases {
            if self.wants_one_of(&cases) {
                self.after_and_between_checkpoints(round, grown, cases, ids).await;
            }
        }
    }

    async fn live(&mut self, round: usize) {
        let mut stage = self.stage(&self.plain).await;
        let lengths = Lengths { rate: Duration::from_secs(8), latency: Duration::from_secs(12) };
        let mut live = Live::start(&stage).await;
        let highest = live.highest(&mut stage, round, lengths.rate).await;
        let rate = highest.rate();
        self.note(highest);
        self.figures.round_trips.push(round_trip::round_trip(&mut stage, round).await);
        for load in LOADS {
            let latency = live.latency(&mut stage, round, load, rate, lengths).await;
            let ms = [latency.p50, latency.p99, latency.p999].map(|seconds| seconds * 1000.0);
            println!(
                "  at {load:<4} of it   p50 {:.2} ms, p99 {:.2} ms, p99.9 {:.2} ms",
                ms[0], ms[1], ms[2]
            );
            self.figures.latencies.push(latency);
            self.keep();
        }
        drop(live);
        stage.close().await;
    }

    fn commissions(&self, round: usize, case: Case, spread: Spread, ids: Ids) -> Vec<String> {
        bodies(What::Commission, spread, ids, seed(round, case), self.whole.commands)
    }

    /// How long the outcome of a commission is: what one looks like.
    async fn outcome_bytes(&mut self) -> i32 {
        if self.outcome_bytes == 0 {
            let mut stage = self.stage(&self.plain).await;
            let bodies = bodies(What::Commission, Spread::Even(ACCOUNTS), Ids::Random, 1, 1000);
            limit::limit(&mut stage, 0, &bodies).await;
            self.outcome_bytes = sqlx::query_scalar("SELECT avg(length(outcome))::integer FROM inbox")
                .fetch_one(&mut stage.database)
                .await
                .unwrap();
            stage.close().await;
        }
        self.outcome_bytes
    }
}

/// Every case of every round has ids of its own.
fn seed(round: usize, case: Case) -> u64 {
    round as u64 * 100 + case as u64
}
