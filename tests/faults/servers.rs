//! Postgres and the broker as processes of this run's own, to be stopped and killed.
//!
//! `deploy/local/servers --unstarted` has made them and says where their launchers are. They end with this process, however
//! it ends.

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use sqlx::{Connection as _, PgConnection};
use tokio::net::TcpStream;

/// How long a server may take to start or to stop.
const PATIENCE: Duration = Duration::from_mins(1);

/// A process that a launcher became.
#[derive(Debug)]
struct Process {
    name: &'static str,
    child: Child,
}

impl Process {
    fn launch(launchers: &Path, name: &'static str, arguments: &[&str]) -> Self {
        let output = log(launchers, name);
        let child = Command::new(launchers.join(name))
            .args(arguments)
            .stdout(output.try_clone().unwrap())
            .stderr(output)
            .spawn()
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        Self { name, child }
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().try_into().unwrap()).unwrap()
    }

    /// Nothing happens to one that has ended.
    fn signal(&self, signal: Signal) {
        let _ = kill_process(self.pid(), signal);
    }

    fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// Asks, waits, and insists.
    async fn end(&mut self, signal: Signal) {
        self.signal(signal);
        let began = Instant::now();
        while self.ended().is_none() {
            if began.elapsed() > PATIENCE {
                self.signal(Signal::KILL);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The processes that it has started.
    fn children(&self) -> Vec<Pid> {
        let parent = self.child.id().to_string();
        let is_child = |stat: &str| {
            // The name, in parentheses, may hold anything.
            let (_, rest) = stat.rsplit_once(')')?;
            rest.split_whitespace().nth(1).map(|of| of == parent)
        };
        let processes = std::fs::read_dir("/proc").unwrap().filter_map(Result::ok);
        let of = |entry: std::fs::DirEntry| {
            let id: i32 = entry.file_name().to_str()?.parse().ok()?;
            let stat = std::fs::read_to_string(entry.path().join("stat")).ok()?;
            is_child(&stat)?.then(|| Pid::from_raw(id))?
        };
        processes.filter_map(of).collect()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.ended().is_none() {
            // Postgres takes its children along; the broker's data goes with the run.
            self.signal(if self.name == "postgres" { Signal::QUIT } else { Signal::KILL });
            let _ = self.child.wait();
        }
    }
}

/// Where the servers' logs are.
pub(crate) fn logs() -> PathBuf {
    PathBuf::from(std::env::var("SALDO_TEST_LAUNCHERS").unwrap_or_default()).join("../log")
}

fn log(launchers: &Path, name: &str) -> File {
    let path = launchers.join("../log").join(format!("{name}.log"));
    OpenOptions::new().create(true).append(true).open(path).unwrap()
}

/// Both, and Erlang's port mapper.
#[derive(Debug)]
pub(crate) struct Servers {
    launchers: PathBuf,
    postgres: Process,
    rabbitmq: Process,
    _epmd: Process,
}

impl Servers {
    /// Starts them.
    pub(crate) async fn start() -> Self {
        let launchers = std::env::var("SALDO_TEST_LAUNCHERS").unwrap_or_else(|_| {
            panic!("SALDO_TEST_LAUNCHERS is not set: run this inside deploy/local/servers --unstarted")
        });
        let launchers = PathBuf::from(launchers);
        let epmd = Process::launch(&launchers, "epmd", &[]);
        let rabbitmq = Process::launch(&launchers, "rabbitmq", &[]);
        let postgres = launch_postgres(&launchers);
        let mut servers = Self { launchers, postgres, rabbitmq, _epmd: epmd };
        servers.await_postgres().await;
        servers.await_rabbitmq().await;
        servers
    }

    /// Postgres is asked to stop at once, and is gone.
    pub(crate) async fn stop_postgres(&mut self) {
        self.postgres.end(Signal::QUIT).await;
    }

    /// Postgres is killed, its children too.
    pub(crate) async fn kill_postgres(&mut self) {
        let children = self.postgres.children();
        self.postgres.signal(Signal::KILL);
        for child in children {
            let _ = kill_process(child, Signal::KILL);
        }
        self.postgres.end(Signal::KILL).await;
    }

    /// Postgres is started, and answers.
    pub(crate) async fn start_postgres(&mut self) {
        self.postgres = launch_postgres(&self.launchers);
        self.await_postgres().await;
    }

    /// The broker is asked to stop, and is gone.
    pub(crate) async fn stop_rabbitmq(&mut self) {
        self.rabbitmq.end(Signal::TERM).await;
    }

    /// The broker is killed.
    pub(crate) async fn kill_rabbitmq(&mut self) {
        self.rabbitmq.end(Signal::KILL).await;
    }

    /// The broker is started, and answers.
    pub(crate) async fn start_rabbitmq(&mut self) {
        self.rabbitmq = Process::launch(&self.launchers, "rabbitmq", &[]);
        self.await_rabbitmq().await;
    }

    /// Publishers are blocked while the broker uses more memory than this.
    pub(crate) async fn limit_memory(&self, limit: &str) -> Result<(), String> {
        self.rabbitmqctl(&["set_vm_memory_high_watermark", "absolute", limit]).await
    }

    /// Every connection to a virtual host is closed.
    pub(crate) async fn close_connections(&self, vhost: &str) -> Result<(), String> {
        self.rabbitmqctl(&["close_all_connections", "--vhost", vhost, "a fault"]).await
    }

    async fn rabbitmqctl(&self, arguments: &[&str]) -> Result<(), String> {
        let mut command = tokio::process::Command::new(self.launchers.join("rabbitmqctl"));
        let output = command.args(arguments).output().await.map_err(|error| error.to_string())?;
        if output.status.success() {
            return Ok(());
        }
        Err(format!("rabbitmqctl {}: {}", arguments[0], String::from_utf8_lossy(&output.stderr)))
    }

    /// A connection as the administrator succeeds.
    async fn await_postgres(&mut self) {
        let (url, began) = (std::env::var("SALDO_TEST_DATABASE_URL").unwrap(), Instant::now());
        while PgConnection::connect(&url).await.is_err() {
            assert!(began.elapsed() < PATIENCE, "postgres does not start: see its log");
            if self.postgres.ended().is_some() {
                // Its predecessor's children may still be going.
                self.postgres = launch_postgres(&self.launchers);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// The broker opens this listener last.
    async fn await_rabbitmq(&mut self) {
        let url = std::env::var("SALDO_TEST_AMQP_URL").unwrap();
        let (address, began) = (url.rsplit_once('@').unwrap().1.to_owned(), Instant::now());
        while TcpStream::connect(&address).await.is_err() {
            assert!(began.elapsed() < PATIENCE, "rabbitmq does not start: see its log");
            assert_eq!(self.rabbitmq.ended(), None, "rabbitmq has ended: see its log");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// With commit times: the order in which transactions became visible.
fn launch_postgres(launchers: &Path) -> Process {
    Process::launch(launchers, "postgres", &["-c", "track_commit_timestamp=on"])
}
