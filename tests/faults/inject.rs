//! Carries faults out: begins one, lets it last, undoes it, and writes down when it was in effect.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use lapin::options::QueuePurgeOptions;
use sqlx::{Connection as _, PgConnection};
use tests::{Disk, MailServer, Step, World};
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::crew::Crew;
use crate::journal::{Journal, Kind};
use crate::link::{Link, SILENCE, within};
use crate::publish::Publishers;
use crate::schedule::{Done, Fault, Planned, Track, Worker, now};
use crate::servers::Servers;

/// How much a slow connection delays, each way.
const DELAY: Duration = Duration::from_millis(500);

/// For how long a worker is frozen so that something waits in its queue.
const BACKLOG: Duration = Duration::from_secs(2);

/// The broker is back within this, whatever happens to it.
const BROKER_IS_BACK: Duration = Duration::from_mins(1);

/// How much longer than it lasts a fault may take to begin and to undo.
const STUCK: Duration = Duration::from_mins(3);

/// How long after a purge everything that was under way to the queue has been confirmed, or is sent again anyway.
const UNDER_WAY: Duration = Duration::from_secs(SILENCE.as_secs() + 1);

/// How long a purge takes, with what comes before and after it.
pub(crate) const PURGING: Duration = Duration::from_secs(BACKLOG.as_secs() + UNDER_WAY.as_secs());

/// The broker's limits: what its configuration says, and what it always exceeds.
const MUCH_MEMORY: &str = "2GiB";
const NO_MEMORY: &str = "1MB";

/// The workers that decide commands.
const DECIDING: [Worker; 4] = tests::world::WORKERS;

/// Everything that can be broken.
pub(crate) struct Injector {
    pub(crate) world: World,
    pub(crate) servers: Mutex<Servers>,
    pub(crate) crew: Crew,
    pub(crate) publishers: Publishers,
    pub(crate) journal: Journal,
    pub(crate) mail: Mutex<MailServer>,
    pub(crate) disk: Option<Disk>,
    /// What was carried out.
    pub(crate) log: std::sync::Mutex<Vec<Done>>,
    /// What could not be.
    pub(crate) failed: std::sync::Mutex<Vec<String>>,
    /// Messages that were in queues that were purged.
    pub(crate) purged: AtomicU32,
    /// Whether every fault is told of.
    pub(crate) verbose: bool,
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
            let done = timeout(planned.lasts + STUCK, self.carry_out(planned)).await;
            match done.unwrap_or_else(|_| Err("it does not come to an end".to_owned())) {
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
        let started = self.begin(fault).await;
        let from = now();
        match fault {
            Fault::LedgerCloses => self.close_again_and_again(lasts).await?,
            _ if started.is_ok() => sleep(lasts).await,
            _ => {}
        }
        let until = now();
        // Also what was only half begun.
        self.undo(fault).await?;
        started?;
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
                let waits = timeout(BROKER_IS_BACK, self.backlog()).await;
                let limited = self.servers.lock().await.limit_memory(NO_MEMORY).await;
                for worker in DECIDING {
                    self.crew.resume(worker);
                }
                limited?;
                waits.map_err(|_| "there is no backlog".to_owned())?;
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
                // Before it takes a mail, when it has taken it and not said so, and after that.
                mail.at(Step::Message).times(2).closes();
                mail.at(Step::Message).times(2).takes_and_closes();
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

    /// Until something new waits for each worker that decides commands.
    async fn backlog(&self) {
        let since = now();
        loop {
            let waits = {
                let lines = self.journal.lines();
                let new = lines.iter().rev().take_while(|line| line.sent_at.is_none_or(|at| at > since));
                let new = new.filter(|line| line.kind == Kind::New && line.confirmed_at.is_some());
                new.filter_map(|line| line.worker).collect::<BTreeSet<_>>()
            };
            if DECIDING.iter().all(|worker| waits.contains(worker)) {
                return;
            }
            sleep(Duration::from_millis(100)).await;
        }
    }

    /// Empties a worker's queue while something waits in it. The broker may be away for a while.
    async fn purge(&self, worker: Worker) -> Result<(), String> {
        let began = Instant::now();
        loop {
            self.crew.freeze(worker);
            sleep(BACKLOG).await;
            let purged = self.purge_now(worker).await;
            self.crew.resume(worker);
            match purged {
                Ok(count) => {
                    self.purged.fetch_add(count, Ordering::SeqCst);
                    return Ok(());
                }
                Err(why) if began.elapsed() > BROKER_IS_BACK => return Err(why),
                Err(_) => sleep(BACKLOG).await,
            }
        }
    }

    /// How many messages are lost.
    async fn purge_now(&self, worker: Worker) -> Result<u32, String> {
        let Link { channel, connection } = Link::open(&self.world.amqp_url(), "faults: purges").await?;
        let queue = worker::topology::queue(worker);
        let purged = within(channel.queue_purge(queue.as_str().into(), QueuePurgeOptions::default())).await?;
        within(connection.close(200, "purged".into())).await?;
        Ok(purged)
    }

    async fn admin(&self) -> Result<PgConnection, String> {
        PgConnection::connect(&self.world.database_url(None)).await.map_err(|error| error.to_string())
    }

    async fn read_only(&self, on: bool) -> Result<(), String> {
        let mut admin = self.admin().await?;
        self.world.read_only(&mut admin, on).await.map_err(|error| error.to_string())
    }

    async fn close_again_and_again(&self, lasts: Duration) -> Result<(), String> {
        let (began, mut admin) = (Instant::now(), self.admin().await?);
        while began.elapsed() < lasts {
            World::end_sessions(&mut admin).await.map_err(|error| error.to_string())?;
            sleep(Duration::from_millis(100)).await;
        }
        Ok(())
    }
}
