//! A worker as a process.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde_json::Value;

use crate::{Metrics, PATIENCE, World, eventually, http_client};

/// The key that payout details are encrypted with in tests: 32 bytes, the alphabet and six digits.
pub const PAYOUT_KEYS: &str = "test:YWJjZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXoxMjM0NTY=";

/// How long it may take to say how it is.
const ANSWER: Duration = Duration::from_secs(5);

/// A worker's settings before it is started.
#[derive(Debug, Clone)]
pub struct WorkerBuilder {
    queue: String,
    program: String,
    environment: BTreeMap<String, String>,
    log: Option<PathBuf>,
}

impl WorkerBuilder {
    pub(crate) fn new(world: &World, worker: &str) -> Self {
        let mut builder = Self {
            queue: worker::topology::queue(worker),
            program: format!("{worker}-under-test"),
            environment: BTreeMap::new(),
            log: None,
        };
        builder
            .set("SALDO__BROKER__URL", world.worker_amqp_url(worker))
            .set("SALDO__DATABASE__URL", world.database_url(Some(&format!("saldo_{worker}"))))
            .set("SALDO__LOG__FILTER", "info");
        if worker == "directory" {
            builder.set("SALDO__PAYOUT__KEYS", PAYOUT_KEYS);
        }
        builder
    }

    /// The queue that it consumes.
    pub fn queue(&self) -> &str {
        &self.queue
    }

    /// Sets an environment variable, such as `SALDO__WORKER__LANES`.
    pub fn set(&mut self, name: &str, value: impl Into<String>) -> &mut Self {
        self.environment.insert(name.to_owned(), value.into());
        self
    }

    /// Runs another program of this workspace, such as the worker without fault points.
    pub fn program(&mut self, name: &str) -> &mut Self {
        name.clone_into(&mut self.program);
        self
    }

    /// Logs into this file, which stays; without this the log goes with the worker.
    pub fn log_to(&mut self, file: &Path) -> &mut Self {
        self.log = Some(file.to_owned());
        self
    }

    /// Kills itself by SIGKILL when it comes to this fault point (`received`, `committed`, `published`) for the
    /// n-th time.
    pub fn dies_at(&mut self, point: &str, n: usize) -> &mut Self {
        self.set("SALDO_FAULT", format!("{point}:{n}"))
    }

    /// Starts it, without waiting.
    pub fn start(&self) -> Worker {
        static WORKERS: AtomicU32 = AtomicU32::new(1);
        let port = free_port();
        let number = WORKERS.fetch_add(1, Ordering::SeqCst);
        let own = || std::env::temp_dir().join(format!("saldo-worker-{}-{number}.log", std::process::id()));
        let (log, keeps_log) = (self.log.clone().unwrap_or_else(own), self.log.is_some());
        let output = File::create(&log).unwrap();
        let mut command = Command::new(program(&self.program));
        forget_settings(&mut command);
        let child = command
            .envs(&self.environment)
            .env("SALDO__HEALTH__LISTEN", format!("127.0.0.1:{port}"))
            .stdin(Stdio::null())
            .stdout(output.try_clone().unwrap())
            .stderr(output)
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", self.program));
        Worker { child, port, log, keeps_log, ended: None }
    }

    /// Starts it and waits until it is ready.
    pub async fn ready(&self) -> Worker {
        let worker = self.start();
        worker.wait_ready(PATIENCE).await;
        worker
    }
}

/// A program of this workspace, built beside the test.
pub fn program(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    test.ancestors()
        .skip(1)
        .take(2)
        .map(|folder| folder.join(name))
        .find(|program| program.exists())
        .unwrap_or_else(|| panic!("{name} is not built beside {}", test.display()))
}

/// A developer's own settings are not the test's.
pub(crate) fn forget_settings(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        let upper = name.to_string_lossy().to_uppercase();
        if upper.starts_with("SALDO__") || ["SALDO_CONFIG", "SALDO_FAULT"].contains(&upper.as_str()) {
            command.env_remove(name);
        }
    }
}

/// The most memory that a process has had resident, in bytes; 0 once it has ended.
pub(crate) fn peak_memory(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or("0 kB");
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap_or(0) * 1024
}

/// A running worker. Killed when dropped; its log is printed if the test fails.
#[derive(Debug)]
pub struct Worker {
    child: Child,
    port: u16,
    log: PathBuf,
    keeps_log: bool,
    ended: Option<ExitStatus>,
}

impl Worker {
    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The port where it says how it is.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// `/readyz`: whether it is ready, and what it says.
    pub async fn readiness(&self) -> Option<(bool, Value)> {
        let url = format!("http://127.0.0.1:{}/readyz", self.port);
        let response = http_client(ANSWER).get(url).send().await.ok()?;
        let ready = response.status().is_success();
        Some((ready, response.json().await.unwrap_or(Value::Null)))
    }

    /// `/metrics`.
    pub async fn metrics(&self) -> Metrics {
        let url = format!("http://127.0.0.1:{}/metrics", self.port);
        let client = http_client(Duration::from_secs(5));
        let answer = client.get(url).send().await.unwrap().error_for_status().unwrap();
        Metrics::read(&answer.text().await.unwrap())
    }

    /// Waits until this metric has this value.
    pub async fn wait_metric(&self, name: &str, labels: &[(&str, &str)], wanted: f64) {
        let what = format!("{name} {labels:?} is {wanted}");
        eventually(&what, PATIENCE, || async {
            let seen = self.metrics().await.value(name, labels);
            if seen == Some(wanted) { Ok(()) } else { Err(seen) }
        })
        .await;
    }

    /// Whether `/livez` answers well.
    pub async fn is_live(&self) -> bool {
        let url = format!("http://127.0.0.1:{}/livez", self.port);
        http_client(ANSWER).get(url).send().await.is_ok_and(|response| response.status().is_success())
    }

    /// Waits until it is ready.
    pub async fn wait_ready(&self, patience: Duration) {
        eventually("the worker is ready", patience, || async {
            match self.readiness().await {
                Some((true, _)) => Ok(()),
                other => Err(other),
            }
        })
        .await;
    }

    /// Waits until it says that it is not ready; returns its troubles.
    pub async fn wait_not_ready(&self, patience: Duration) -> Value {
        eventually("the worker is not ready", patience, || async {
            match self.readiness().await {
                Some((false, troubles)) => Ok(troubles),
                other => Err(other),
            }
        })
        .await
    }

    /// Sends a signal by name.
    pub fn signal(&self, signal: &str) {
        let status =
            Command::new("kill").arg(format!("-{signal}")).arg(self.id().to_string()).status().unwrap();
        assert!(status.success(), "kill -{signal}");
    }

    /// Its exit status; `None` while it runs.
    pub fn status(&mut self) -> Option<ExitStatus> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().unwrap();
        }
        self.ended
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        self.status().is_none()
    }

    /// Waits until it has ended by itself.
    pub async fn ended(&mut self, patience: Duration) -> ExitStatus {
        let began = std::time::Instant::now();
        while self.is_running() {
            assert!(began.elapsed() < patience, "the worker has not ended within {patience:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        self.ended.unwrap()
    }

    /// SIGTERM, and waits for the exit status.
    pub async fn terminate(&mut self) -> ExitStatus {
        self.signal("TERM");
        self.ended(PATIENCE).await
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        self.ended = self.child.wait().ok();
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// The most memory it has had resident, in bytes.
    pub fn peak_memory(&self) -> u64 {
        peak_memory(self.id())
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            let log = self.log();
            let tail: Vec<_> = log.lines().rev().take(40).collect();
            #[expect(clippy::print_stderr, reason = "a failing test shows what the worker said")]
            for line in tail.iter().rev() {
                eprintln!("worker {}: {line}", self.id());
            }
        }
        if !self.keeps_log {
            let _ = std::fs::remove_file(&self.log);
        }
    }
}

/// A port that is free, and that nothing else started by this process is told to use: what was looked for at the same time
/// may not have taken its own yet.
pub fn free_port() -> u16 {
    static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    let mut given = GIVEN.lock().unwrap();
    loop {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        if given.insert(port) {
            return port;
        }
    }
}
