//! What a stretch of time has cost: CPU time of every process that had a part in it, write-ahead log, memory.
//!
//! CPU time is the kernel's, in steps of 10 ms a process: exact enough over seconds, and free.

use procfs::process::{Process, all_processes};
use sqlx::PgConnection;
use tests::{PATIENCE, Worker, World, eventually};

use crate::figures::Cpu;

/// The servers' processes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Servers {
    postmaster: i32,
    broker: i32,
}

/// Everything up to a moment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Usage {
    cpu: Cpu,
    wal: u64,
}

impl Servers {
    /// Asks both who they are.
    pub(crate) async fn find(world: &World) -> Self {
        let backend: i32 = sqlx::query_scalar("SELECT pg_backend_pid()")
            .fetch_one(&mut world.superuser().await)
            .await
            .unwrap();
        let postmaster = Process::new(backend).unwrap().stat().unwrap().ppid;
        // The broker tells its statistics every few seconds.
        let broker = eventually("the broker says which process it is", PATIENCE, || async {
            let nodes = world.manage("GET", "nodes", None).await;
            nodes[0]["os_pid"].as_str().and_then(|text| text.parse().ok()).ok_or(nodes)
        });
        Self { postmaster, broker: broker.await }
    }

    /// What was used so far; without workers, this program's is the worker's.
    pub(crate) async fn usage(self, workers: &[Worker], database: &mut PgConnection) -> Usage {
        let wal: i64 =
            sqlx::query_scalar("SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint")
                .fetch_one(database)
                .await
                .unwrap();
        Usage { cpu: self.cpu(workers), wal: u64::try_from(wal).unwrap() }
    }

    fn cpu(self, workers: &[Worker]) -> Cpu {
        let own = i32::try_from(std::process::id()).unwrap();
        let workers: Vec<_> = workers.iter().map(|worker| i32::try_from(worker.id()).unwrap()).collect();
        let ticks: u64 = procfs::ticks_per_second();
        let mut cpu = Cpu::default();
        // One that ends while it is looked at is counted by its parent.
        for stat in all_processes().unwrap().filter_map(|process| process.ok()?.stat().ok()) {
            let itself = seconds(stat.utime + stat.stime, ticks);
            let reaped = seconds(u64::try_from(stat.cutime + stat.cstime).unwrap_or(0), ticks);
            if stat.pid == self.postmaster {
                cpu.postgres += itself + reaped;
            } else if stat.ppid == self.postmaster {
                cpu.postgres += itself;
            } else if stat.pid == self.broker || stat.ppid == self.broker {
                cpu.broker += itself;
            } else if workers.contains(&stat.pid) || (workers.is_empty() && stat.pid == own) {
                cpu.worker += itself;
            } else if stat.pid == own {
                cpu.publisher += itself;
            }
        }
        cpu
    }
}

impl Usage {
    /// What was used since: CPU time, and bytes of write-ahead log.
    pub(crate) fn since(self, earlier: Self) -> (Cpu, u64) {
        let cpu = Cpu {
            worker: self.cpu.worker - earlier.cpu.worker,
            postgres: self.cpu.postgres - earlier.cpu.postgres,
            broker: self.cpu.broker - earlier.cpu.broker,
            publisher: self.cpu.publisher - earlier.cpu.publisher,
        };
        (cpu, self.wal - earlier.wal)
    }
}

#[expect(clippy::cast_precision_loss, reason = "ticks of hours")]
fn seconds(ticks: u64, per_second: u64) -> f64 {
    ticks as f64 / per_second as f64
}
