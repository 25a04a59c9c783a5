//! Breaks everything around the workers for as long as one likes, and says whether anything was lost.
//!
//!     deploy/local/servers --unstarted cargo run -p tests --bin faults -- --minutes 10 --seed 1
//!
//! All five workers run as processes, each behind connections that can be cut, with a Postgres and a broker that are
//! killed and a mail server that misbehaves. Publishers keep a journal of what the broker confirmed. Afterwards everything
//! is given time to drain, and what the ledger, the broker and the mail server have is held against the journal and against
//! [`tests::model`].
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::float_arithmetic,
    reason = "a program for developers"
)]

mod check;
mod crew;
mod drain;
mod inbox;
mod inject;
mod journal;
mod link;
mod listen;
mod load;
#[cfg(test)]
mod made_up;
mod mails;
mod problems;
mod publish;
mod readiness;
mod replay;
mod report;
mod schedule;
mod servers;

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

use clap::Parser;
use tests::{Disk, MailServer, World};
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::crew::Crew;
use crate::inject::Injector;
use crate::journal::Journal;
use crate::listen::{Heard, Listener};
use crate::publish::Publishers;
use crate::report::{Report, Run, keep};
use crate::servers::Servers;

/// The tables whose disk can be full: every worker writes some of them.
const TABLES: [&str; 4] = ["inbox", "entry", "withdrawal_transition", "mail"];

/// Breaks everything around the workers, and says whether anything was lost. Exit status 0: nothing was.
#[derive(Debug, Parser)]
struct Options {
    /// For how many minutes faults are injected; draining and checking come on top.
    #[arg(long, default_value_t = 3.0, value_parser = minutes)]
    minutes: f64,
    /// Repeats the schedule of a run. Random otherwise.
    #[arg(long)]
    seed: Option<u64>,
    /// Messages a second, on average.
    #[arg(long, default_value_t = 150, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    rate: u32,
    /// Tells of every fault as it is over.
    #[arg(long, short)]
    verbose: bool,
}

fn minutes(text: &str) -> Result<f64, String> {
    let minutes: f64 = text.parse().map_err(|_| "expected a number of minutes".to_owned())?;
    if (0.1..=600.0).contains(&minutes) { Ok(minutes) } else { Err("expected 0.1 to 600 minutes".to_owned()) }
}

#[tokio::main]
async fn main() -> ExitCode {
    let options = Options::parse();
    let seed = options.seed.unwrap_or_else(|| u64::from(rand::random::<u32>()));
    println!("seed {seed}, {} minutes, {} messages a second", options.minutes, options.rate);
    let report = run(&options, seed).await;
    println!("{report}");
    if report.problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

async fn run(options: &Options, seed: u64) -> Report {
    let length = Duration::from_secs_f64(options.minutes * 60.0);
    let mut report = Report::new(seed, length, options.rate);
    let servers = Servers::start().await;
    let world = World::new().await;
    let disk =
        Disk::of(&world, &TABLES).await.map_err(|why| report.skipped.push(format!("a full disk: {why}")));
    let mail = MailServer::builder().start().await;
    let (journal, heard) = (Journal::default(), Heard::default());
    let listener = Listener::start(&world, heard.clone()).await;
    let crew = match Crew::start(&world, &mail).await {
        Ok(crew) => crew,
        Err(problem) => {
            report.problems.push(problem);
            return report;
        }
    };
    let publishers = Publishers::start(&world, seed, options.rate, journal.clone(), heard.clone());
    let injector = Arc::new(Injector {
        world: world.clone(),
        servers: Mutex::new(servers),
        crew,
        publishers,
        journal: journal.clone(),
        mail: Mutex::new(mail),
        disk: disk.ok(),
        log: std::sync::Mutex::default(),
        purged: AtomicU32::default(),
        failed: std::sync::Mutex::default(),
        verbose: options.verbose,
    });

    let began = Instant::now();
    let mut tracks = JoinSet::new();
    for track in schedule::tracks(seed, length) {
        tracks.spawn(Arc::clone(&injector).follow(track, began));
    }
    let mut clock = tokio::time::interval(Duration::from_secs(30));
    loop {
        tokio::select! {
            _ = clock.tick() => report::progress(began.elapsed(), injector.log.lock().unwrap().len(), &journal, &heard),
            ended = tracks.join_next() => match ended {
                Some(Ok(())) => {}
                Some(Err(panic)) => {
                    // A server does not come back: there is nothing left to check.
                    report.problems.push(format!("a track ended: {panic}"));
                    report.logs = keep(seed, None);
                    return report;
                }
                None => break,
            },
        }
    }
    println!("the faults are over after {:.0?}; draining", began.elapsed());

    let draining = Instant::now();
    report.problems.extend(injector.publishers.finish(drain::PATIENCE).await.err());
    report.problems.extend(drain::drain(&world, &heard).await.err());
    report.problems.extend(injector.crew.wait_ready(readiness::RECOVERY).await.err());
    report.drained_in = draining.elapsed();
    report.problems.extend(injector.publishers.problems());
    report.publishing = injector.publishers.counts();

    let Some(injector) = Arc::into_inner(injector) else { panic!("a track is still being followed") };
    let Injector { crew, servers, mail, disk, log, failed, purged, .. } = injector;
    report.problems.extend(failed.into_inner().unwrap());
    let log = Run { faults: log.into_inner().unwrap(), purged: purged.into_inner(), crew: crew.end().await };
    drop(listener);
    report.check(&world, &journal, &heard, &log, &mail.lock().await.mails()).await;
    if !report.problems.is_empty() {
        report.logs = keep(seed, Some(&log.crew));
    }
    drop(disk);
    drop(servers);
    report
}
