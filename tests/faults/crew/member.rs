//! One worker: its process, the one before it, and the next.

use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use tests::{Relay, WorkerBuilder};

use super::record::{Answer, Watched};
use crate::schedule::{Worker, now};

/// `worker.shutdown_grace` as shipped, and what saying goodbye to everybody may take besides.
const GRACE: Duration = Duration::from_secs(20 + 10);

/// How often it is looked whether a process has ended that is expected to.
const GLANCE: Duration = Duration::from_millis(10);

/// A process that ends by itself is not started again sooner after it was started.
const PAUSE: Duration = Duration::from_secs(1);

/// So many lines of its log are shown of a process that ended by itself.
const LAST_LINES: usize = 20;

/// What a worker logs when somebody was given its free port before it came to it. That is nobody's fault.
const PORT_TAKEN: &str = "the health endpoint cannot listen";

/// What a worker logs of a panic: its own words, and Rust's before it has any.
const PANICS: [&str; 2] = ["a panic", "panicked"];

/// What went wrong, for the report.
#[derive(Debug, Clone, Default)]
pub(super) struct Problems(Arc<Mutex<Vec<String>>>);

impl Problems {
    pub(super) fn add(&self, problem: String) {
        self.0.lock().unwrap().push(problem);
    }

    pub(super) fn all(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) name: Worker,
    pub(super) broker: Relay,
    pub(super) ledger: Relay,
    builder: WorkerBuilder,
    logs: PathBuf,
    problems: Problems,
    /// Whoever has its process end holds this until there is a new one.
    turn: tokio::sync::Mutex<()>,
    process: Mutex<Process>,
    record: Mutex<Watched>,
}

#[derive(Debug)]
struct Process {
    worker: tests::Worker,
    generation: u32,
    started: Instant,
    /// When it was told to end, or to come to a fault point.
    leaving: Option<i64>,
    /// How many have frozen it and not resumed it yet.
    freezes: u32,
}

impl Process {
    fn start(name: Worker, builder: &WorkerBuilder, logs: &Path, generation: u32) -> Self {
        let log = logs.join(format!("{name}-{generation:04}.log"));
        let worker = builder.clone().log_to(&log).start();
        Self { worker, generation, started: Instant::now(), leaving: None, freezes: 0 }
    }

    /// Sends a signal, if there is anybody to receive it: nobody else has got its number, because it is not reaped yet.
    fn signal(&mut self, signal: &str) {
        if self.worker.is_running() {
            self.worker.signal(signal);
        }
    }

    fn last_words(&self) -> String {
        let log = self.worker.log();
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(LAST_LINES)..].join("\n")
    }
}

impl Member {
    pub(super) fn start(
        name: Worker,
        builder: WorkerBuilder,
        (broker, ledger): (Relay, Relay),
        logs: &Path,
        problems: Problems,
    ) -> Self {
        let process = Mutex::new(Process::start(name, &builder, logs, 1));
        let (turn, record) = (tokio::sync::Mutex::default(), Mutex::new(Watched::new(name)));
        Self { name, broker, ledger, builder, logs: logs.to_owned(), problems, turn, process, record }
    }

    fn process(&self) -> MutexGuard<'_, Process> {
        self.process.lock().unwrap()
    }

    fn problem(&self, generation: u32, what: &str) {
        self.problems.add(format!("{} (process {generation}) {what}", self.name));
    }

    /// SIGKILL if it still runs, and the next one.
    fn replace(&self, process: &mut Process, builder: &WorkerBuilder, gone: i64) {
        process.worker.kill();
        *process = Process::start(self.name, builder, &self.logs, process.generation + 1);
        self.record.lock().unwrap().down.push((gone, now()));
    }

    /// Whether it has ended without being asked to, which is noted.
    fn has_failed(&self, process: &mut Process) -> bool {
        let Some(status) = process.worker.status() else { return false };
        if process.leaving.is_some() {
            return false;
        }
        let words = process.last_words();
        if !words.contains(PORT_TAKEN) {
            let what = format!("needed a restart by hand: {status}; its log ends with\n{words}");
            self.problem(process.generation, &what);
        }
        true
    }

    /// Starts it again if it has ended without being asked to.
    pub(super) fn look_after(&self) {
        let mut process = self.process();
        if process.leaving.is_none() && !process.worker.is_running() && process.started.elapsed() > PAUSE {
            self.has_failed(&mut process);
            self.replace(&mut process, &self.builder, now());
        }
    }

    /// Ends it by SIGKILL and starts it again.
    pub(super) async fn kill(&self) {
        let _turn = self.turn.lock().await;
        let mut process = self.process();
        self.has_failed(&mut process);
        self.replace(&mut process, &self.builder, now());
    }

    /// Starts one that dies at this point, waits for that, and starts it again; whether it came to it.
    pub(super) async fn kill_at(&self, point: &str, patience: Duration) -> bool {
        let _turn = self.turn.lock().await;
        {
            let mut process = self.process();
            self.has_failed(&mut process);
            self.replace(&mut process, self.builder.clone().dies_at(point, 1), now());
            process.leaving = Some(now());
        }
        let status = self.ended(patience).await;
        let mut process = self.process();
        let came = status.is_some_and(|status| status.signal() == Some(9));
        if let Some(status) = status.filter(|_| !came) {
            let words = process.last_words();
            if !words.contains(PORT_TAKEN) {
                let what = format!("was to be killed at {point} and ended with {status}\n{words}");
                self.problem(process.generation, &what);
            }
        }
        self.replace(&mut process, &self.builder, now());
        came
    }

    /// Ends it by SIGTERM, and starts it again.
    pub(super) async fn terminate(&self) {
        let _turn = self.turn.lock().await;
        self.end_well().await;
        let mut process = self.process();
        let since = process.leaving.unwrap_or_else(now);
        self.replace(&mut process, &self.builder, since);
    }

    /// Ends it by SIGTERM for good.
    pub(super) async fn end(&self) {
        let _turn = self.turn.lock().await;
        self.end_well().await;
        self.process().worker.kill();
    }

    async fn end_well(&self) {
        let generation = {
            let mut process = self.process();
            if self.has_failed(&mut process) {
                return;
            }
            process.leaving = Some(now());
            process.signal("TERM");
            // As service managers do: one that is stopped could not end.
            process.signal("CONT");
            process.generation
        };
        match self.ended(GRACE).await {
            Some(status) if status.success() => {}
            Some(status) => {
                let words = self.process().last_words();
                self.problem(generation, &format!("was told to end and ended with {status}\n{words}"));
            }
            None => self.problem(generation, &format!("was told to end and had not after {GRACE:?}")),
        }
    }

    /// Waits for its end; `None` if it still runs.
    async fn ended(&self, patience: Duration) -> Option<ExitStatus> {
        let began = Instant::now();
        loop {
            let status = self.process().worker.status();
            if status.is_some() || began.elapsed() > patience {
                return status;
            }
            tokio::time::sleep(GLANCE).await;
        }
    }

    /// SIGSTOP; not to one that was told to end.
    pub(super) fn freeze(&self) {
        let mut process = self.process();
        if process.leaving.is_none() {
            process.freezes += 1;
            process.signal("STOP");
        }
    }

    /// SIGCONT, once everybody who has frozen it has said so.
    pub(super) fn resume(&self) {
        let mut process = self.process();
        process.freezes = process.freezes.saturating_sub(1);
        if process.freezes == 0 {
            process.signal("CONT");
        }
    }

    /// Asks whether it is ready, and notes what it says.
    pub(super) async fn ask(&self, client: &reqwest::Client) {
        let (generation, port) = {
            let process = self.process();
            (process.generation, process.worker.port())
        };
        let asked = now();
        let answer = ready(client, port).await.unwrap_or(Answer::Missing);
        self.record.lock().unwrap().note(asked, generation, answer);
    }

    /// What it said last, if this process has said anything.
    pub(super) fn answer(&self) -> Option<Answer> {
        let generation = self.process().generation;
        let record = self.record.lock().unwrap();
        record.spells.last().filter(|last| last.generation == generation).map(|last| last.answer.clone())
    }

    pub(super) fn record(&self) -> Watched {
        self.record.lock().unwrap().clone()
    }

    #[cfg(test)]
    pub(super) fn process_id(&self) -> u32 {
        self.process().worker.id()
    }

    pub(super) fn generation(&self) -> u32 {
        self.process().generation
    }
}

async fn ready(client: &reqwest::Client, port: u16) -> reqwest::Result<Answer> {
    let response = client.get(format!("http://127.0.0.1:{port}/readyz")).send().await?;
    if response.status().is_success() {
        return Ok(Answer::Ready);
    }
    let report: serde_json::Value = response.json().await?;
    Ok(Answer::NotReady(report["troubles"].to_string()))
}

/// The lines that speak of a panic.
pub(super) fn panics(log: &str) -> Vec<&str> {
    log.lines().filter(|line| PANICS.iter().any(|word| line.contains(word))).collect()
}
