//! A publisher and a worker at the same time, on the same cores.
//!
//! **The highest rate.** Publishers keep the queue from running dry and from growing, as fast as the worker goes: each
//! waits for its confirms, and all wait while the queue is full enough.
//!
//! **Latency** is from the moment a command is due, by the clock, until its event is read from a subscriber's queue, in
//! one process. When it is due does not depend on any answer, and publishing late counts: a worker that stalls is
//! charged for everybody who had to wait. A subscriber of every event would cost more than the worker; so it hears of
//! one shop's, and above some rate only some of the commands are for that shop.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

use futures_util::StreamExt as _;
use futures_util::future::{join_all, try_join_all};
use futures_util::stream::FuturesUnordered;
use hdrhistogram::Histogram;
use lapin::options::{BasicConsumeOptions, BasicPublishOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{Confirmation, Connection, ConnectionProperties};
use tests::message::MERCHANT;
use tests::{Publisher, Worker};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::{Duration, sleep};
use worker::topology::{COMMANDS, EVENTS};

use crate::drain::until;
use crate::figures::{Case, Cpu, Latency, Measured};
use crate::messages::{Ids, Spread, What, bodies};
use crate::stage::{ACCOUNTS, OTHER_MERCHANT, Stage, publish};

/// The publisher stops while the queue has more than this: two lanes' prefetch, and as much again.
const FULL: usize = 8_000;

/// Publishers that keep the queue full: so many that it is not they who set the rate.
const FILLING: usize = 8;

/// Commands that each of them publishes together.
const PART: usize = 500;

/// Publishers by the clock, with a connection each: a broker lets a single channel of a quorum queue get only so far
/// ahead.
const PUBLISHERS: usize = 4;

/// Before anything is counted: connections, caches, plans.
const WARM_UP: Duration = Duration::from_secs(3);

/// A queue with so many has grown: above [`FULL`] it has only what came until somebody looked.
const GROWN: usize = 4 * FULL;

/// Events a second that the subscriber is to hear, at most: it takes its share of the cores.
const HEARD: f64 = 500.0;

/// What becomes due within this time goes out together, as from publishers that do many things at once.
const TICK: Duration = Duration::from_millis(2);

/// How long things are measured.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lengths {
    pub(crate) rate: Duration,
    pub(crate) latency: Duration,
}

/// What was seen of the queue.
#[derive(Debug, Default)]
struct Looks {
    all: usize,
    /// With no command in it: then it may be the publishers that are slow.
    none: usize,
    /// The most commands that it had.
    most: usize,
}

/// A worker, and a publisher who knows how full its queue is.
pub(crate) struct Live {
    workers: Vec<Worker>,
    sent: u64,
}

impl Live {
    /// The worker is ready.
    pub(crate) async fn start(stage: &Stage) -> Self {
        Self { workers: vec![stage.worker(What::Commission).ready().await], sent: 0 }
    }

    /// The highest rate without a growing queue.
    pub(crate) async fn highest(&mut self, stage: &mut Stage, round: usize, length: Duration) -> Measured {
        stage.settle().await;
        let (stop, queued) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let publishing: Vec<_> = publishers(stage, FILLING)
            .await
            .into_iter()
            .map(|publisher| {
                tokio::spawn(publish_unless_full(
                    publisher,
                    self.next_run(),
                    Arc::clone(&stop),
                    Arc::clone(&queued),
                ))
            })
            .collect();
        let warm = self.keep_looking(stage, &queued, WARM_UP).await;
        let since = stage.newest_batch().await;
        let (began, usage) = (Instant::now(), stage.servers.usage(&self.workers, &mut stage.database).await);
        let looks = self.keep_looking(stage, &queued, length).await;
        let (until, seconds) = (stage.newest_batch().await, began.elapsed().as_secs_f64());
        let (cpu, wal) = stage.servers.usage(&self.workers, &mut stage.database).await.since(usage);
        stop.store(true, Ordering::Relaxed);
        let commands = stage.carried_out(since, until).await;
        for publisher in publishing {
            publisher.await.unwrap();
        }
        self.idle(stage).await;
        let most = warm.most.max(looks.most);
        assert!(most < GROWN, "the queue has grown to {most} commands");
        println!(
            "  the queue had at most {most} commands, and none in {} of {} looks",
            looks.none, looks.all
        );
        let memory = self.workers.iter().map(Worker::peak_memory).collect();
        Measured { case: Case::Live, round, commands, seconds, cpu, wal, memory }
    }

    /// Tells the publishers how many commands are in the queue, for so long.
    async fn keep_looking(&self, stage: &Stage, queued: &AtomicUsize, length: Duration) -> Looks {
        let (began, mut looks) = (Instant::now(), Looks::default());
        while began.elapsed() < length {
            let ready = stage.ready(What::Commission).await;
            queued.store(ready, Ordering::Relaxed);
            looks.all += 1;
            looks.none += usize::from(ready == 0);
            looks.most = looks.most.max(ready);
            sleep(Duration::from_millis(5)).await;
        }
        looks
    }

    /// Latencies at a share of this rate.
    pub(crate) async fn latency(
        &mut self,
        stage: &mut Stage,
        round: usize,
        load: f64,
        highest: f64,
        lengths: Lengths,
    ) -> Latency {
        let rate = highest * load;
        stage.settle().await;
        let clock = Clock::new(stage, rate, WARM_UP + lengths.latency).await;
        let sent: Arc<Vec<AtomicU64>> = Arc::new((0..clock.count()).map(|_| AtomicU64::new(0)).collect());
        let began = Instant::now();
        let run = self.next_run();
        let heard = Heard::start(stage, began, run, clock.every(), Arc::clone(&sent)).await;
        let skipped = due_after(rate, WARM_UP).next_multiple_of(clock.every());
        let note = Arc::clone(&sent);
        let usage = stage.servers.usage(&self.workers, &mut stage.database).await;
        let from = Instant::now();
        let sending = tokio::spawn(clock.run(run, move |n, now: Instant| {
            note[n].store(nanos(now.duration_since(began)), Ordering::Relaxed);
        }));
        sending.await.unwrap();
        let (cpu, _) = stage.servers.usage(&self.workers, &mut stage.database).await.since(usage);
        let busy = cpu.per_second(from.elapsed().as_secs_f64());
        self.idle(stage).await;
        Latency { busy, ..heard.report(round, load, rate, skipped).await }
    }

    fn next_run(&mut self) -> u64 {
        self.sent += 1;
        self.sent
    }

    /// Waits until nothing is left to do.
    async fn idle(&self, stage: &mut Stage) {
        until("the queue is empty", async || stage.ready(What::Commission).await == 0).await;
        until("every batch is marked", async || !stage.unpublished().await).await;
    }
}

/// Publishes one part after the other, each confirmed before the next, and waits while the queue is full enough.
async fn publish_unless_full(
    publisher: Publisher,
    run: u64,
    stop: Arc<AtomicBool>,
    queued: Arc<AtomicUsize>,
) {
    let mut seed = 1_000_000 * run;
    while !stop.load(Ordering::Relaxed) {
        if queued.load(Ordering::Relaxed) > FULL {
            sleep(Duration::from_millis(2)).await;
            continue;
        }
        seed += 1;
        let part = bodies(What::Commission, Spread::Even(ACCOUNTS), Ids::Random, seed, PART);
        publish(&publisher.channel, What::Commission, &part).await;
    }
}

async fn publishers(stage: &Stage, count: usize) -> Vec<Publisher> {
    join_all((0..count).map(|_| stage.world.publisher())).await
}

/// Publishes by the clock.
struct Clock {
    publishers: Vec<Publisher>,
    rate: f64,
    length: Duration,
}

impl Clock {
    async fn new(stage: &Stage, rate: f64, length: Duration) -> Self {
        Self { publishers: publishers(stage, PUBLISHERS).await, rate, length }
    }

    fn count(&self) -> usize {
        due_after(self.rate, self.length)
    }

    /// So many commands there are for one that the subscriber hears of. Odd: the publishers take turns, and it is to
    /// hear of all of them.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a rate through a rate is a small number"
    )]
    fn every(&self) -> usize {
        (self.rate / HEARD).ceil() as usize | 1
    }

    /// Tells how many are due by now, each time that some are, in a thread of its own: an asynchronous timer would be
    /// late by up to a millisecond.
    fn hand(&self, began: Instant, count: usize) -> UnboundedReceiver<usize> {
        let (told, due) = unbounded_channel();
        let rate = self.rate;
        std::thread::spawn(move || {
            let mut done = 0;
            while done < count {
                let looked = Instant::now();
                let now = (due_after(rate, looked - began) + 1).min(count);
                if now > done {
                    done = now;
                    if told.send(done).is_err() {
                        break;
                    }
                }
                let next = time_of(rate, done).saturating_sub(began.elapsed());
                std::thread::sleep(next.max(TICK.saturating_sub(looked.elapsed())));
            }
        });
        due
    }

    /// Publishes all; every one is confirmed in the end. `sending` is told when each is due, before it is given away.
    async fn run(self, run: u64, sending: impl Fn(usize, Instant)) {
        let what = What::Commission;
        let (properties, count, every) = (what.properties(), self.count(), self.every());
        let (confirms, mut confirmed) = unbounded_channel();
        let confirming = tokio::spawn(async move {
            let mut open = FuturesUnordered::new();
            loop {
                tokio::select! {
                    next = confirmed.recv() => match next {
                        Some(confirm) => open.push(confirm),
                        None => break,
                    },
                    Some(confirmation) = open.next() => assert_eq!(lapin::Result::unwrap(confirmation), Confirmation::Ack(None)),
                }
            }
            while let Some(confirmation) = open.next().await {
                assert_eq!(confirmation.unwrap(), Confirmation::Ack(None));
            }
        });
        let (began, mut done) = (Instant::now(), 0);
        let mut due = self.hand(began, count);
        while let Some(until) = due.recv().await {
            let started = (done..until).map(|n| {
                sending(n, began + time_of(self.rate, n));
                // The number comes last: the event names the command by it.
                let merchant = if n % every == 0 { OTHER_MERCHANT } else { MERCHANT };
                let account = (n as u64 * 7919 + run) % ACCOUNTS;
                let body = what.body(&format!("live-{run}-{n}"), merchant, account);
                let options = BasicPublishOptions { mandatory: true, ..Default::default() };
                let (key, properties) = (what.routing_key(merchant), properties.clone());
                let channel = &self.publishers[n % PUBLISHERS].channel;
                async move {
                    channel
                        .basic_publish(COMMANDS.into(), key.into(), options, body.as_bytes(), properties)
                        .await
                }
            });
            for confirm in try_join_all(started).await.unwrap() {
                confirms.send(confirm).unwrap();
            }
            done = until;
        }
        drop(confirms);
        confirming.await.unwrap();
    }
}

/// How many are due, at this rate, after this time.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a rate times seconds is a count"
)]
fn due_after(rate: f64, time: Duration) -> usize {
    (rate * time.as_secs_f64()) as usize
}

/// When this one is due.
fn time_of(rate: f64, n: usize) -> Duration {
    Duration::from_secs_f64(as_float(n as u64) / rate)
}

/// A subscriber that notes when it heard of each command that is for its shop.
struct Heard {
    /// So many commands there are for one that is.
    every: usize,
    times: Arc<Vec<AtomicU64>>,
    sent: Arc<Vec<AtomicU64>>,
    _connection: Connection,
}

impl Heard {
    async fn start(stage: &Stage, began: Instant, run: u64, every: usize, sent: Arc<Vec<AtomicU64>>) -> Self {
        let prefix = format!("\"causationid\":\"live-{run}-");
        let connection =
            Connection::connect(&stage.world.amqp_url(), ConnectionProperties::default()).await.unwrap();
        let channel = connection.create_channel().await.unwrap();
        let options = QueueDeclareOptions { exclusive: true, ..Default::default() };
        let queue = channel.queue_declare("".into(), options, FieldTable::default()).await.unwrap();
        let (name, bind) = (queue.name().clone(), QueueBindOptions::default());
        let key = format!("{OTHER_MERCHANT}.#");
        channel
            .queue_bind(name.clone(), EVENTS.into(), key.as_str().into(), bind, FieldTable::default())
            .await
            .unwrap();
        let options = BasicConsumeOptions { no_ack: true, ..Default::default() };
        let mut consumer =
            channel.basic_consume(name, "".into(), options, FieldTable::default()).await.unwrap();
        let times: Arc<Vec<AtomicU64>> = Arc::new((0..sent.len()).map(|_| AtomicU64::new(0)).collect());
        let into = Arc::clone(&times);
        tokio::spawn(async move {
            // Ends with its connection.
            while let Some(Ok(delivery)) = consumer.next().await {
                let now = nanos(began.elapsed());
                if let Some(slot) = number(&delivery.data, &prefix).and_then(|n| into.get(n)) {
                    slot.store(now, Ordering::Relaxed);
                }
            }
        });
        Self { every, times, sent, _connection: connection }
    }

    /// What was sent before this number was to warm up.
    async fn report(&self, round: usize, load: f64, rate: f64, skipped: usize) -> Latency {
        let all = || self.times.iter().step_by(self.every).all(|slot| slot.load(Ordering::Relaxed) > 0);
        until("every event is heard", async || all()).await;
        // From a microsecond to five minutes, in steps of a thousandth.
        let mut histogram = Histogram::<u64>::new_with_bounds(1_000, 300_000_000_000, 3).unwrap();
        for (sent, heard) in self.sent.iter().zip(self.times.iter()).skip(skipped).step_by(self.every) {
            histogram.record(heard.load(Ordering::Relaxed) - sent.load(Ordering::Relaxed)).unwrap();
        }
        let at = |quantile| seconds(histogram.value_at_quantile(quantile));
        Latency {
            round,
            load,
            rate,
            samples: histogram.len(),
            busy: Cpu::default(),
            p50: at(0.5),
            p99: at(0.99),
            p999: at(0.999),
            max: seconds(histogram.max()),
            curve: histogram
                .iter_quantiles(5)
                .map(|step| (step.quantile_iterated_to(), seconds(step.value_iterated_to())))
                .collect(),
        }
    }
}

/// Which command of the run the event is about; what stands before the number is of that run alone.
fn number(event: &[u8], prefix: &str) -> Option<usize> {
    let text = std::str::from_utf8(event).ok()?;
    text.split_once(prefix)?.1.split_once('"')?.0.parse().ok()
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap()
}

fn seconds(nanos: u64) -> f64 {
    Duration::from_nanos(nanos).as_secs_f64()
}

#[expect(clippy::cast_precision_loss, reason = "counts of a run are far below 2^52")]
fn as_float(count: u64) -> f64 {
    count as f64
}
