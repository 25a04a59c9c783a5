//! The five workers under a service manager, each behind two relays of its own.
//!
//! Whoever ends without being asked to is noted as a problem, and started again so that the run goes on: within [`LOOK`],
//! or a second after the last start.
//! Each is asked every [`ASK`] whether it is ready. The logs of all processes are kept until the [`Log`] is dropped.
//!
//! At most one of `kill`, `kill_at` and `terminate` at a time has a worker's process: a second one waits for it.

mod member;
pub(crate) mod record;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use ::tests::world::ALL_WORKERS;
use ::tests::{MailServer, Relay, WorkerBuilder, World, http_client};
use futures_util::future::join_all;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use crate::mails;
use crate::schedule::{Peer, Worker};
use member::{Member, Problems, panics};
use record::{Answer, Watched};

/// How long commands and reversals wait for what they name: `parked.patience` and `parked.reversal_patience`.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// How often it is looked whether all are there.
const LOOK: Duration = Duration::from_millis(50);

/// How often each is asked whether it is ready, and how long it may think about it.
const ASK: Duration = Duration::from_millis(100);
const ANSWER: Duration = Duration::from_secs(1);

/// How long all may take to be ready when nothing is wrong.
const START: Duration = Duration::from_mins(1);

/// Where a run is shorter, and has less to do, than what the workers are shipped for.
const SETTINGS: [(&str, &str); 9] = [
    // What is prefetched is not in the queue when it is purged, and what a batch holds is lost together.
    ("WORKER__BATCH_COUNT", "25"),
    ("DATABASE__TIMEOUT", "10s"),
    ("WORKER__PUBLISH_TIMEOUT", "10s"),
    ("WORKER__CONNECT_TIMEOUT", "5s"),
    ("WORKER__GIVE_BACK_AFTER", "8s"),
    ("SWEEP__INTERVAL", "2s"),
    ("SWEEP__AGE", "5s"),
    ("PARKED__INTERVAL", "1s"),
    ("DUE__INTERVAL", "1s"),
];

/// The same for the notifier alone.
const MAIL_SETTINGS: [(&str, &str); 12] = [
    ("MAIL__RETRY_MIN", "500ms"),
    ("MAIL__RETRY_MAX", "3s"),
    ("MAIL__TIMEOUT", "5s"),
    ("MAIL__INTERVAL", "1s"),
    ("MAIL__PROBE_INTERVAL", "1s"),
    ("MAIL__CHECK_INTERVAL", "2s"),
    ("MAIL__PER_MINUTE", "100000"),
    ("MAIL__MERCHANT_PER_MINUTE", "100000"),
    ("MAIL__LINK", mails::LINK),
    ("DIGEST__AFTER", "5"),
    ("DIGEST__WINDOW", "20s"),
    ("NOTICES__AGE", "5s"),
];

/// See the module.
#[derive(Debug)]
pub(crate) struct Crew {
    members: Vec<Arc<Member>>,
    problems: Problems,
    tasks: JoinSet<()>,
    logs: Folder,
}

impl Crew {
    /// Starts all; returns when all are ready, or says which is not.
    pub(crate) async fn start(world: &World, mail: &MailServer) -> Result<Self, String> {
        let (logs, problems) = (Folder::new()?, Problems::default());
        let client = http_client(ANSWER);
        let (mut members, mut tasks) = (Vec::new(), JoinSet::new());
        for name in ALL_WORKERS {
            let mut builder = world.worker_of(name);
            configure(&mut builder, name, mail);
            let broker = behind_relay(&world.worker_amqp_url(name)).await?;
            let ledger = behind_relay(&world.database_url(Some(&format!("saldo_{name}")))).await?;
            builder.set("SALDO__BROKER__URL", broker.1).set("SALDO__DATABASE__URL", ledger.1);
            let relays = (broker.0, ledger.0);
            let member = Arc::new(Member::start(name, builder, relays, &logs.0, problems.clone()));
            tasks.spawn(ask(Arc::clone(&member), client.clone()));
            members.push(member);
        }
        tasks.spawn(look_after(members.clone()));
        let crew = Self { members, problems, tasks, logs };
        crew.wait_ready(START).await?;
        Ok(crew)
    }

    /// Waits until all are ready at once; otherwise says who is not, and why.
    pub(crate) async fn wait_ready(&self, patience: Duration) -> Result<(), String> {
        let began = Instant::now();
        loop {
            let answers = self.members.iter().map(|member| (member.name, member.answer()));
            let others: Vec<_> = answers.filter(|(_, answer)| *answer != Some(Answer::Ready)).collect();
            if others.is_empty() {
                return Ok(());
            }
            if began.elapsed() > patience {
                return Err(format!("not ready after {patience:?}: {others:?}; {:?}", self.problems()));
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    fn member(&self, worker: Worker) -> &Member {
        let found = self.members.iter().find(|member| member.name == worker);
        found.unwrap_or_else(|| panic!("there is no worker {worker}"))
    }

    /// What is between a worker and its broker or ledger, and nobody else.
    pub(crate) fn relay(&self, worker: Worker, peer: Peer) -> Relay {
        let member = self.member(worker);
        match peer {
            Peer::Broker => member.broker.clone(),
            Peer::Ledger => member.ledger.clone(),
        }
    }

    /// SIGKILL; started again at once.
    pub(crate) async fn kill(&self, worker: Worker) {
        self.member(worker).kill().await;
    }

    /// SIGKILL, and started again so that it dies at this fault point; when it did, or patience is over, started again
    /// without. Returns whether it came to the point.
    pub(crate) async fn kill_at(&self, worker: Worker, point: &str, patience: Duration) -> bool {
        self.member(worker).kill_at(point, patience).await
    }

    /// SIGTERM: it must end with status 0 within its grace period. Started again.
    pub(crate) async fn terminate(&self, worker: Worker) {
        self.member(worker).terminate().await;
    }

    /// SIGSTOP, to what process there is. Nothing happens to one that was told to end.
    pub(crate) fn freeze(&self, worker: Worker) {
        self.member(worker).freeze();
    }

    /// SIGCONT.
    pub(crate) fn resume(&self, worker: Worker) {
        self.member(worker).resume();
    }

    /// What went wrong so far.
    pub(crate) fn problems(&self) -> Vec<String> {
        self.problems.all()
    }

    /// SIGTERM to all; what is in the logs is looked at.
    pub(crate) async fn end(mut self) -> Log {
        self.tasks.shutdown().await;
        let watched = self.members.iter().map(|member| member.record()).collect();
        join_all(self.members.iter().map(|member| member.end())).await;
        let processes = self.members.iter().map(|member| member.generation()).sum();
        let mut log = Log { problems: self.problems(), watched, processes, logs: self.logs };
        log.look_for_panics();
        log
    }
}

fn configure(builder: &mut WorkerBuilder, name: Worker, mail: &MailServer) {
    let patience = format!("{}s", PATIENCE.as_secs());
    builder
        .set("NO_COLOR", "1")
        .set("SALDO__PARKED__PATIENCE", patience.as_str())
        .set("SALDO__PARKED__REVERSAL_PATIENCE", patience);
    for (setting, value) in SETTINGS {
        builder.set(&format!("SALDO__{setting}"), value);
    }
    if name == "notifier" {
        for (setting, value) in mail.settings() {
            builder.set(setting, value);
        }
        for (setting, value) in MAIL_SETTINGS {
            builder.set(&format!("SALDO__{setting}"), value);
        }
    }
}

/// A relay to a URL's host and port, and the URL that leads through it.
async fn behind_relay(url: &str) -> Result<(Relay, String), String> {
    // A URL is not shown: it holds a password.
    let (login, rest) = url.rsplit_once('@').ok_or("a server's URL has no login")?;
    let (host, path) = rest.split_once('/').ok_or("a server's URL has no path")?;
    let found = tokio::net::lookup_host(host).await.map_err(|error| format!("{host}: {error}"))?;
    let target: Option<SocketAddr> = found.into_iter().next();
    let relay = Relay::to(target.ok_or_else(|| format!("{host} has no address"))?).await;
    let through = format!("{login}@127.0.0.1:{}/{path}", relay.port());
    Ok((relay, through))
}

async fn ask(member: Arc<Member>, client: reqwest::Client) {
    let mut ticks = interval(ASK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        member.ask(&client).await;
    }
}

async fn look_after(members: Vec<Arc<Member>>) {
    let mut ticks = interval(LOOK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        for member in &members {
            member.look_after();
        }
    }
}

/// A folder that goes with whoever holds it.
#[derive(Debug)]
struct Folder(PathBuf);

impl Folder {
    fn new() -> Result<Self, String> {
        static FOLDERS: AtomicU32 = AtomicU32::new(1);
        let number = FOLDERS.fetch_add(1, Ordering::SeqCst);
        let path = std::env::temp_dir().join(format!("saldo-crew-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// What is left of a crew.
#[derive(Debug)]
pub(crate) struct Log {
    /// Who needed a restart by hand, did not end well, or panicked.
    pub(crate) problems: Vec<String>,
    /// What each said of itself, until all were told to end.
    pub(crate) watched: Vec<Watched>,
    /// How many processes there were.
    pub(crate) processes: u32,
    logs: Folder,
}

impl Log {
    /// Each process's log: a name like `commissions-0001.log`.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub(crate) fn files(&self) -> std::io::Result<Vec<PathBuf>> {
        let entries = std::fs::read_dir(&self.logs.0)?;
        let mut files: Vec<_> = entries.map(|entry| Ok(entry?.path())).collect::<std::io::Result<_>>()?;
        files.sort();
        Ok(files)
    }

    /// Copies all logs into a folder, which is created.
    ///
    /// # Errors
    /// It cannot be created or written to.
    pub(crate) fn copy_to(&self, folder: &Path) -> std::io::Result<()> {
        std::fs::create_dir_all(folder)?;
        for file in self.files()? {
            if let Some(name) = file.file_name() {
                std::fs::copy(&file, folder.join(name))?;
            }
        }
        Ok(())
    }

    fn look_for_panics(&mut self) {
        let files = self.files().unwrap_or_else(|error| {
            self.problems.push(format!("the logs are not there: {error}"));
            Vec::new()
        });
        for file in files {
            let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            match std::fs::read(&file) {
                Ok(text) => {
                    let text = String::from_utf8_lossy(&text);
                    let found = panics(&text);
                    if let Some(first) = found.first() {
                        self.problems
                            .push(format!("{name} panicked, {} lines; the first: {first}", found.len()));
                    }
                }
                Err(error) => self.problems.push(format!("{name}: its log cannot be read: {error}")),
            }
        }
    }
}
