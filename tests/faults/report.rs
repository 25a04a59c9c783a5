//! What a run came to: everything is checked, and told to people.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use comfy_table::{CellAlignment, Table, TableStyle};
use tests::worker_process::PAYOUT_KEYS;
use tests::{ReceivedMail, World};

use crate::check::{self, Ears, Findings};
use crate::crew::{self, Log};
use crate::inbox::Commanded;
use crate::journal::Journal;
use crate::listen::Heard;
use crate::mails::{self, Mailed};
use crate::publish::Counts;
use crate::readiness::{self, Recovery};
use crate::replay::{self, Replayed};
use crate::schedule::{Done, Fault};

/// Problems of a kind beyond this many are counted only.
const SHOWN: usize = 40;

/// What the workers say of faults that they cannot but notice, if only in their logs: otherwise the fault was none.
const TRACES: [(Fault, &str); 2] = [(Fault::LedgerReadOnly, "(25006)"), (Fault::LedgerFull, "(53100)")];

/// What was done to the workers, and what is left of them.
pub(crate) struct Run {
    pub(crate) faults: Vec<Done>,
    /// Messages that were in queues that were purged.
    pub(crate) purged: u32,
    pub(crate) crew: Log,
}

/// Copies the servers' and the workers' logs to where they stay; `None`: they cannot be.
pub(crate) fn keep(seed: u64, crew: Option<&Log>) -> Option<PathBuf> {
    let folder = std::env::temp_dir().join(format!("saldo-faults-{seed}"));
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).ok()?;
    for name in ["postgres", "rabbitmq"] {
        let log = format!("{name}.log");
        let kept = std::fs::copy(crate::servers::logs().join(&log), folder.join(&log));
        kept.ok()?;
    }
    crew.map_or(Ok(()), |crew| crew.copy_to(&folder)).ok().map(|()| folder)
}

impl Run {
    /// Kinds of faults that no worker's log has a trace of.
    fn without_effect(&self) -> Vec<String> {
        let logs: Vec<_> = self.crew.files().into_iter().flatten().map(std::fs::read).collect();
        let said = |word: &str| {
            let finds = |log: &Vec<u8>| log.windows(word.len()).any(|part| part == word.as_bytes());
            logs.iter().flatten().any(finds)
        };
        let happened = |fault: &Fault| self.faults.iter().any(|done| done.fault == *fault);
        let silent = TRACES.iter().filter(|(fault, word)| happened(fault) && !said(word));
        silent.map(|(fault, word)| format!("{fault}: no worker has met {word}")).collect()
    }
}

/// Everything that is told of a run.
#[derive(Debug, Default)]
pub(crate) struct Report {
    seed: u64,
    length: Duration,
    rate: u32,
    /// What could not be tried here, and why.
    pub(crate) skipped: Vec<String>,
    /// Why the run has failed.
    pub(crate) problems: Vec<String>,
    pub(crate) publishing: Counts,
    pub(crate) drained_in: Duration,
    /// Where the logs are, after a run that has failed.
    pub(crate) logs: Option<PathBuf>,
    /// How often there was a fault of each kind.
    faults: BTreeMap<&'static str, usize>,
    recoveries: Vec<Recovery>,
    quiet: usize,
    purged: u32,
    published: usize,
    deliveries: usize,
    processes: u32,
    findings: Findings,
    replayed: Replayed,
    mailed: Mailed,
}

impl Report {
    pub(crate) fn new(seed: u64, length: Duration, rate: u32) -> Self {
        Self { seed, length, rate, ..Self::default() }
    }

    /// Checks all that must hold, and takes the figures down.
    pub(crate) async fn check(
        &mut self,
        world: &World,
        journal: &Journal,
        heard: &Heard,
        run: &Run,
        received: &[ReceivedMail],
    ) {
        self.faults = crate::schedule::kinds().into_iter().map(|kind| (kind, 0)).collect();
        self.purged = run.purged;
        for done in &run.faults {
            *self.faults.entry(done.fault.kind()).or_default() += 1;
        }
        self.processes = run.crew.processes;
        self.problems.extend(run.crew.problems.iter().cloned());
        self.problems.extend(run.without_effect());
        let truth = readiness::judge(&run.faults, &run.crew.watched);
        self.problems.extend(truth.lies.into_iter().chain(truth.slow));
        (self.recoveries, self.quiet) = (truth.recoveries, truth.quiet);
        self.problems.extend(heard.problems());
        (self.deliveries, _) = heard.copies();

        let lines = journal.lines().clone();
        self.published = lines.len();
        let commanded = Commanded::of(&lines, PAYOUT_KEYS);
        let (events, dead, unroutable) = (heard.events(), heard.dead(), heard.unroutable());
        let ears = Ears { events: &events, dead: &dead, unroutable: &unroutable };
        let mut database = world.superuser().await;
        let findings = check::check(&mut database, &commanded, &lines, ears).await;
        self.findings = self.taken(findings);
        let replayed = replay::replay(&mut database, &commanded, &lines, crew::PATIENCE).await;
        self.replayed = self.taken(replayed);
        let mailed = mails::check_mails(&mut database, &self.replayed.withdrawals, received).await;
        self.mailed = self.taken(mailed);
        for problems in [&mut self.findings.problems, &mut self.replayed.problems, &mut self.mailed.problems]
        {
            self.problems.append(problems);
        }
        self.problems.extend(check::verify(world).await.err());
        self.problems.extend(self.too_little());
    }

    /// What must have happened for the rest to mean anything.
    fn too_little(&self) -> Vec<String> {
        let Self { findings, replayed, mailed, .. } = self;
        let wanted = self.rate as usize * usize::try_from(self.length.as_secs()).unwrap_or(usize::MAX) / 3;
        let purges = self.faults.get("queue purged").copied().unwrap_or(0);
        let little = [
            ("messages published", self.published, wanted),
            ("commands that are not refused", replayed.done, findings.commands / 3),
            ("commissions that matured", replayed.matured, 1),
            ("duplicates absorbed", findings.duplicates, 1),
            ("keys with other content", findings.conflicts, 1),
            ("malformed messages", findings.malformed, 1),
            ("unroutable messages", findings.unroutable, 1),
            ("mails", mailed.mails, 1),
            ("times that nothing was wrong for long", self.quiet, 1),
            ("messages in purged queues", self.purged as usize, purges.min(1)),
        ];
        let little = little.into_iter().filter(|(_, count, least)| count < least);
        let mut little: Vec<_> = little
            .map(|(what, count, least)| format!("too few to say anything: {count} {what}, of {least}"))
            .collect();
        // The broker gives up what has killed workers again and again; kills alone must not come to that often.
        if findings.given_up > findings.commands / 1000 {
            little.push(format!("{} commands are given up by the broker", findings.given_up));
        }
        little
    }

    fn taken<T: Default>(&mut self, checked: sqlx::Result<T>) -> T {
        checked.unwrap_or_else(|error| {
            self.problems.push(format!("the ledger cannot be checked: {error}"));
            T::default()
        })
    }

    fn faults(&self) -> Table {
        let mut table = Table::new();
        table.load_style(TableStyle::new()).set_header(["fault", "times", "recovered", "median", "longest"]);
        for column in table.column_iter_mut().skip(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        for (kind, times) in &self.faults {
            let recovery = self.recoveries.iter().find(|recovery| recovery.kind == *kind);
            let seconds = |of: fn(&Recovery) -> Duration| {
                recovery.map_or_else(String::new, |recovery| format!("{:.1} s", of(recovery).as_secs_f32()))
            };
            let count = recovery.map_or(0, |recovery| recovery.count).to_string();
            let (median, longest) =
                (seconds(|recovery| recovery.median), seconds(|recovery| recovery.longest));
            table.add_row([(*kind).to_owned(), times.to_string(), count, median, longest]);
        }
        table
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { findings, replayed, mailed, publishing, .. } = self;
        writeln!(f, "\n{}\n", self.faults())?;
        let total: usize = self.faults.values().sum();
        let mut line = |what: &str, said: String| writeln!(f, "{what:<10}{said}");
        line(
            "faults",
            format!(
                "{total} in {:.0?}, {} worker processes; at rest {:.0?} later",
                self.length, self.processes, self.drained_in
            ),
        )?;
        line(
            "published",
            format!(
                "{} messages, each confirmed: {} malformed, {} unroutable, {} keys with other content; \
                 {} sent again, {} connections lost, {} not taken, {} purged",
                self.published,
                findings.malformed,
                findings.unroutable,
                findings.conflicts,
                publishing.resent,
                publishing.reconnects,
                publishing.nacks,
                self.purged
            ),
        )?;
        line(
            "commands",
            format!(
                "{} decided, {} of them not refused; {} duplicates absorbed; {} given up by the broker, and {} copies",
                findings.commands,
                replayed.done,
                findings.duplicates,
                findings.given_up,
                findings.given_up_copies
            ),
        )?;
        line("events", format!("{} different ones, delivered {} times", findings.events, self.deliveries))?;
        line(
            "model",
            format!(
                "agrees with {} decisions and {} maturities, {} of which saw something older than the newest",
                replayed.decided, replayed.matured, replayed.saw_older
            ),
        )?;
        line(
            "ready",
            format!(
                "nothing was wrong for a worker for over 30 s {} times: it was ready in time",
                self.quiet
            ),
        )?;
        line(
            "mails",
            format!("{} about {} requests, {} of them twice", mailed.mails, mailed.requests, mailed.copies),
        )?;
        for skipped in &self.skipped {
            line("skipped", skipped.clone())?;
        }
        writeln!(f)?;
        for problem in self.problems.iter().take(SHOWN) {
            writeln!(f, "  {problem}")?;
        }
        if self.problems.len() > SHOWN {
            writeln!(f, "  and {} more", self.problems.len() - SHOWN)?;
        }
        if let Some(logs) = &self.logs {
            writeln!(f, "the logs: {}", logs.display())?;
        }
        let verdict = match self.problems.len() {
            0 => "nothing is lost".to_owned(),
            count => format!("{count} problems"),
        };
        write!(f, "seed {}: {verdict}", self.seed)
    }
}

/// How far a run is.
pub(crate) fn progress(elapsed: Duration, faults: usize, journal: &Journal, heard: &Heard) {
    let published = journal.lines().iter().filter(|line| line.confirmed_at.is_some()).count();
    let (_, events) = heard.copies();
    println!(
        "  {:>5.0} s  {faults} faults, {published} messages confirmed, {events} events heard",
        elapsed.as_secs_f32()
    );
}
