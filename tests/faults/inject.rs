//! Carries faults out: begins one, lets it last, undoes it, and writes down when it was in effect.

use std::sync::Arc;
use std::time::Duration;

use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};
use tests::{Disk, MailServer, Step, World};
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep, sleep_until};

use crate::crew::Crew;
use crate::publish::Publishers;
use crate::schedule::{Done, Fault, Planned, Track, Worker};
use crate::servers::Servers;

/// How much a slow connection delays, each way.
const DELAY: Duration = Duration::from_millis(500);

/// For how long workers are frozen so that a backlog waits for what comes next.
const BACKLOG: Duration = Duration::from_secs(1);

/// The broker is back within this, whatever happens to it.
const BROKER_IS_BACK: Duration = Duration::from_mins(1);

/// How long after a purge everything that was under way to the queue has been confirmed, or is sent again anyway.
const UNDER_WAY: Duration = Duration::from_secs(11);

/// The broker's limits: what its configuration says, and what it always exceeds.
const MUCH_MEMORY: &str = "1GiB";
const NO_MEMORY: &str = "1MB";

/// The workers that decide commands.
const DECIDING: [Worker; 4] = tests::world::WORKERS;

/// Everything that can be broken.
pub(crate) struct Injector {
    pub(crate) world: World,
    pub(crate) servers: Mutex<Servers>,
    pub(crate) crew: Crew,
    pub(crate) publishers: Publishers,
    pub(crate) mail: Mutex<MailServer>,
    pub(crate) disk: Option<Disk>,
    /// What was carried out.
    pub(crate) log: std::sync::Mutex<Vec<Done>>,
    /// What could not be.
    pub(crate) failed: std::sync::Mutex<Vec<String>>,
    /// Whether every fault is told of.
    pub(crate) verbose: bool,
}

/// Microseconds since 1970.
pub(crate) fn now() -> i64 {
    i64::try_from(time::OffsetDateTime::now_utc().unix_timestamp_nanos() / 1000).unwrap()
}

impl Injector {
    /// One fault of a track after the other, each at its time or, where those before it took longer, as soon as they are
    /// over.
    pub(crate) async fn follow(self: Arc<Self>, track: Track, began: Instant) {
        for planned in track.plan {
            sleep_until(began + planned.at).await;
            if matches!(planned.fault, Fault::LedgerFull) && self.disk.is_none() {
                continue;
            }
            match self.carry_out(planned).await {
                Ok(done) => {
                    if self.verbose {
                        let lasted =
                            Duration::from_micros(u64::try_from(done.ended - done.began).unwrap_or(0));
                        println!("  {:>6.1} s  {} ({lasted:.1?})", began.elapsed().as_secs_f32(), done.fault);
                    }
                    self.log.lock().unwrap().push(done);
                }
                Err(why) => self.failed.lock().unwrap().push(format!("{}: {why}", planned.fault)),
            }
        }
    }

    async fn carry_out(&self, Planned { fault, lasts, .. }: Planned) -> Result<Done, String> {
        let began = now();
        if let Fault::KillAt(worker, point) = fault {
            let came = self.crew.kill_at(worker, point, lasts).await;
            // One that does not come to the point in time is killed anyway.
            let fault = if came { fault } else { Fault::Kill(worker) };
            return Ok(Done { fault, began, in_effect: [began, now()], ended: now() });
        }
        self.begin(fault).await?;
        let from = now();
        if let Fault::LedgerCloses = fault {
            self.close_again_and_again(lasts).await?;
        } else {
            sleep(lasts).await;
        }
        let until = now();
        self.undo(fault).await?;
        Ok(Done { fault, began, in_effect: [from, until], ended: now() })
    }

    async fn begin(&self, fault: Fault) -> Result<(), String> {
        match fault {
            Fault::Kill(worker) => self.crew.kill(worker).await,
            Fault::Freeze(worker) => self.crew.freeze(worker),
            Fault::Terminate(worker) => self.crew.terminate(worker).await,
            Fault::BrokerStops => self.servers.lock().await.stop_rabbitmq().await,
            Fault::BrokerKilled => self.servers.lock().await.kill_rabbitmq().await,
            Fault::BrokerCloses => self.servers.lock().await.close_connections(&self.world.name).await?,
            Fault::BrokerAlarm => {
                for worker in DECIDING {
                    self.crew.freeze(worker);
                }
                sleep(BACKLOG).await;
                let limited = self.servers.lock().await.limit_memory(NO_MEMORY).await;
                for worker in DECIDING {
                    self.crew.resume(worker);
                }
                limited?;
            }
            Fault::Purge(worker) => self.purge(worker).await?,
            Fault::LedgerStops => self.servers.lock().await.stop_postgres().await,
            Fault::LedgerKilled => self.servers.lock().await.kill_postgres().await,
            Fault::LedgerReadOnly => self.read_only(true).await?,
            Fault::LedgerFull => {
                if !self.disk.as_ref().is_some_and(Disk::fill) {
                    return Err("the disk cannot be filled".to_owned());
                }
            }
            Fault::Cut(worker, peer) => self.crew.relay(worker, peer).cut(),
            Fault::Slow(worker, peer) => self.crew.relay(worker, peer).slow(DELAY),
            Fault::Silent(worker, peer) => self.crew.relay(worker, peer).silence(),
            Fault::Deserted(worker, peer) => self.crew.relay(worker, peer).desert(),
            Fault::Ghost(worker, peer) => self.crew.relay(worker, peer).haunt(),
            Fault::MailStops => self.mail.lock().await.stop().await,
            Fault::MailBusy => self.mail.lock().await.at(Step::RcptTo).answers(451, "4.3.2 later"),
            Fault::MailHangs => self.mail.lock().await.at(Step::Message).hangs(),
            Fault::MailCuts => {
                let mail = self.mail.lock().await;
                // Before it has said that it takes the mail, and, later on, after.
                mail.at(Step::Message).times(3).closes();
                mail.at(Step::Quit).closes();
            }
            Fault::KillAt(..) | Fault::LedgerCloses => {}
        }
        Ok(())
    }

    async fn undo(&self, fault: Fault) -> Result<(), String> {
        match fault {
            Fault::Freeze(worker) => self.crew.resume(worker),
            Fault::BrokerStops | Fault::BrokerKilled => self.servers.lock().await.start_rabbitmq().await,
            Fault::BrokerAlarm => self.servers.lock().await.limit_memory(MUCH_MEMORY).await?,
            Fault::Purge(worker) => {
                self.publishers.again(worker);
                sleep(UNDER_WAY).await;
                self.publishers.again(worker);
            }
            Fault::LedgerStops | Fault::LedgerKilled => self.servers.lock().await.start_postgres().await,
            Fault::LedgerReadOnly => self.read_only(false).await?,
            Fault::LedgerFull => self.disk.iter().for_each(Disk::enlarge),
            Fault::Cut(worker, peer)
            | Fault::Slow(worker, peer)
            | Fault::Silent(worker, peer)
            | Fault::Deserted(worker, peer)
            | Fault::Ghost(worker, peer) => self.crew.relay(worker, peer).restore(),
            Fault::MailStops => self.mail.lock().await.start_again().await,
            Fault::MailBusy | Fault::MailCuts => self.mail.lock().await.behave(),
            Fault::MailHangs => {
                let mail = self.mail.lock().await;
                mail.behave();
                mail.release();
            }
            Fault::Kill(_)
            | Fault::KillAt(..)
            | Fault::Terminate(_)
            | Fault::BrokerCloses
            | Fault::LedgerCloses => {}
        }
        Ok(())
    }

    /// Empties a worker's queue while something waits in it. The broker may be away for a while.
    async fn purge(&self, worker: Worker) -> Result<(), String> {
        let path = format!("queues/{}/{}/contents", self.world.name, worker::topology::queue(worker));
        let began = Instant::now();
        loop {
            self.crew.freeze(worker);
            sleep(BACKLOG).await;
            let purged = self.world.try_manage("DELETE", &path, None).await;
            self.crew.resume(worker);
            if purged.is_ok() || began.elapsed() > BROKER_IS_BACK {
                return purged.map(drop);
            }
            sleep(BACKLOG).await;
        }
    }

    async fn admin(&self) -> Result<PgConnection, String> {
        PgConnection::connect(&self.world.database_url(None)).await.map_err(|error| error.to_string())
    }

    async fn read_only(&self, on: bool) -> Result<(), String> {
        let change =
            if on { "SET default_transaction_read_only = on" } else { "RESET default_transaction_read_only" };
        let sql = format!("ALTER DATABASE {} {change}", self.world.name);
        let mut admin = self.admin().await?;
        // The administrator's own session may be one of the read-only ones.
        for sql in ["SET default_transaction_read_only = off", &sql] {
            admin.execute(AssertSqlSafe(sql)).await.map_err(|error| error.to_string())?;
        }
        if on {
            close_sessions(&mut admin).await?;
        }
        Ok(())
    }

    async fn close_again_and_again(&self, lasts: Duration) -> Result<(), String> {
        let (began, mut admin) = (Instant::now(), self.admin().await?);
        while began.elapsed() < lasts {
            close_sessions(&mut admin).await?;
            sleep(Duration::from_millis(100)).await;
        }
        Ok(())
    }
}

/// Terminates what the workers have with this database.
async fn close_sessions(admin: &mut PgConnection) -> Result<(), String> {
    let sql = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
               WHERE datname = current_database() AND pid <> pg_backend_pid()";
    sqlx::query(sql).execute(admin).await.map(drop).map_err(|error| error.to_string())
}
