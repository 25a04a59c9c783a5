//! The shops' systems: they publish, and do not rest before the broker has confirmed everything.
//!
//! What is to be sent again, for whatever reason, is on one list for all publishers; a publisher that loses its
//! connection puts everything there that was not confirmed.

mod waves;

use std::collections::{BTreeSet, HashSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::{BasicProperties, Channel, Confirmation, PublisherConfirm};
use tests::World;
use tests::model::Key;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval, sleep};
use worker::topology::COMMANDS;

use crate::journal::{Journal, Kind, Line, message_id};
use crate::link::{Link, within};
use crate::listen::Heard;
use crate::load::{Load, Moment};
use crate::schedule::{Worker, now};
use waves::Waves;

const PUBLISHERS: usize = 2;
/// What a publisher may have unconfirmed.
const UNCONFIRMED: usize = 200;
/// How often a publisher looks whether there is something to publish.
const LOOK: Duration = Duration::from_millis(20);
/// Between two connections; longer and longer while there is none.
const PAUSES: [Duration; 4] =
    [Duration::from_millis(200), Duration::from_millis(500), Duration::from_secs(1), Duration::from_secs(3)];

/// All publishers.
#[derive(Debug)]
pub(crate) struct Publishers {
    desk: Arc<Desk>,
    tasks: Vec<JoinHandle<()>>,
}

/// What publishing came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Connections that were lost, given up or not to be had.
    pub(crate) reconnects: usize,
    /// Messages that the broker did not take.
    pub(crate) nacks: usize,
    /// Messages that were sent once more.
    pub(crate) resent: usize,
}

/// What the publishers share.
#[derive(Debug)]
struct Desk {
    journal: Journal,
    heard: Heard,
    pile: Mutex<Pile>,
}

#[derive(Debug)]
struct Pile {
    load: Load,
    waves: Waves,
    /// Lines to be sent again.
    again: BTreeSet<usize>,
    /// Lines that were sent and not confirmed yet.
    open: usize,
    /// Nothing new is published any more.
    finishing: bool,
    counts: Counts,
    problems: Vec<String>,
}

/// A line as it is sent.
struct Parcel {
    number: usize,
    routing_key: String,
    body: Arc<[u8]>,
    properties: BasicProperties,
}

impl Publishers {
    /// Begins to publish what the seed says: about so many messages a second, in bursts and lulls.
    pub(crate) fn start(world: &World, seed: u64, rate: u32, journal: Journal, heard: Heard) -> Self {
        let pile = Mutex::new(Pile {
            load: Load::new(seed, tests::world::amqp_user()),
            waves: Waves::new(seed, rate, Instant::now()),
            again: BTreeSet::new(),
            open: 0,
            finishing: false,
            counts: Counts::default(),
            problems: Vec::new(),
        });
        let desk = Arc::new(Desk { journal, heard, pile });
        let start = |_| tokio::spawn(publish_for_ever(Arc::clone(&desk), world.amqp_url()));
        let tasks = (0..PUBLISHERS).map(start).collect();
        Self { desk, tasks }
    }

    /// A worker's queue was emptied: publishes again whatever it may have lost, as a shop does that misses an answer.
    pub(crate) fn again(&self, worker: Worker) {
        let lines = self.desk.journal.lines();
        let heard = &self.desk.heard;
        let missing = unanswered(&lines, worker, |key| heard.has_event_of(key), |id| heard.is_dead(id));
        drop(lines);
        self.desk.pile().again.extend(missing);
    }

    /// Publishes nothing new, and returns when everything is confirmed.
    ///
    /// # Errors
    /// Not everything is, within this time.
    pub(crate) async fn finish(&self, patience: Duration) -> Result<(), String> {
        self.desk.pile().finishing = true;
        let until = Instant::now() + patience;
        loop {
            let (again, open) = {
                let pile = self.desk.pile();
                (pile.again.len(), pile.open)
            };
            if again + open == 0 {
                return Ok(());
            }
            if self.tasks.iter().any(JoinHandle::is_finished) {
                return Err("a publisher has panicked".to_owned());
            }
            if Instant::now() > until {
                return Err(format!(
                    "not confirmed within {patience:?}: {open} messages sent, {again} to be sent"
                ));
            }
            sleep(LOOK).await;
        }
    }

    /// What it came to so far.
    pub(crate) fn counts(&self) -> Counts {
        self.desk.pile().counts
    }

    /// What the broker must not have done.
    pub(crate) fn problems(&self) -> Vec<String> {
        self.desk.pile().problems.clone()
    }
}

impl Drop for Publishers {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// The lines for this worker that were sent and that nobody can be sure of. An event answers every line with its key,
/// unless several contents have been published with that key: all but one of those have a dead letter each, and which
/// one has none cannot be known.
fn unanswered(
    lines: &[Line],
    worker: Worker,
    has_event: impl Fn(&Key) -> bool,
    is_dead: impl Fn(&str) -> bool,
) -> Vec<usize> {
    let contested: HashSet<_> = lines
        .iter()
        .filter(|line| line.kind == Kind::Conflict)
        .filter_map(|line| line.key.as_ref())
        .collect();
    let is_told =
        |line: &Line| line.key.as_ref().is_some_and(|key| !contested.contains(key) && has_event(key));
    let own = lines.iter().enumerate().filter(|(_, line)| line.worker == Some(worker) && line.attempts > 0);
    let missing = own.filter(|(number, line)| !is_told(line) && !is_dead(&message_id(*number)));
    missing.map(|(number, _)| number).collect()
}

impl Desk {
    fn pile(&self) -> MutexGuard<'_, Pile> {
        self.pile.lock().unwrap()
    }

    /// What is to be sent now, if anything is.
    fn take(&self) -> Option<Parcel> {
        let mut pile = self.pile();
        let again = pile.again.pop_first();
        let number = match again {
            Some(number) => number,
            None if pile.finishing || !pile.waves.allow(Instant::now()) => return None,
            None => {
                let known = |key: &Key| self.heard.first_event_of(key);
                let line = pile.load.next(Moment { now: now(), known: &known });
                let mut lines = self.journal.lines();
                lines.push(line);
                lines.len() - 1
            }
        };
        pile.open += 1;
        let mut lines = self.journal.lines();
        let line = &mut lines[number];
        line.sent_at.get_or_insert_with(now);
        line.attempts += 1;
        pile.counts.resent += usize::from(line.attempts > 1);
        let properties = BasicProperties::default()
            .with_content_type(line.content_type().into())
            .with_delivery_mode(2)
            .with_message_id(message_id(number).as_str().into());
        let properties = match &line.user {
            Some(user) => properties.with_user_id(user.as_str().into()),
            None => properties,
        };
        Some(Parcel {
            number,
            routing_key: line.routing_key.clone(),
            body: Arc::clone(&line.body),
            properties,
        })
    }
}

async fn publish_for_ever(desk: Arc<Desk>, url: String) {
    let mut failures = 0;
    loop {
        let mut confirmed = 0;
        // Whatever it was: what is not confirmed is sent again.
        let _ = publish(&desk, &url, &mut confirmed).await;
        failures = if confirmed > 0 { 0 } else { failures + 1 };
        desk.pile().counts.reconnects += 1;
        sleep(PAUSES[failures.min(PAUSES.len() - 1)]).await;
    }
}

/// Until something goes wrong.
async fn publish(desk: &Desk, url: &str, confirmed: &mut usize) -> Result<(), String> {
    let Link { connection, channel } = Link::open(url, "faults: publishes").await?;
    within(channel.confirm_select(ConfirmSelectOptions::default())).await?;
    let mut open = Open { desk, numbers: Vec::new() };
    let mut confirms = FuturesUnordered::new();
    let mut looks = interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        if connection.status().blocked() {
            return Err("the broker blocks publishers".to_owned());
        }
        while confirms.len() < UNCONFIRMED {
            let Some(parcel) = desk.take() else { break };
            open.numbers.push(parcel.number);
            let confirm = send(&channel, &parcel).await?;
            confirms.push(async move { (parcel.number, within(confirm).await) });
        }
        tokio::select! {
            Some((number, confirmation)) = confirms.next() => {
                open.settle(number, confirmation?)?;
                *confirmed += 1;
            }
            _ = looks.tick() => {}
        }
    }
}

async fn send(channel: &Channel, parcel: &Parcel) -> Result<PublisherConfirm, String> {
    let options = BasicPublishOptions { mandatory: true, ..Default::default() };
    let (key, properties) = (parcel.routing_key.as_str().into(), parcel.properties.clone());
    within(channel.basic_publish(COMMANDS.into(), key, options, &parcel.body, properties)).await
}

/// The lines that a connection has sent and the broker has not confirmed. They are sent again when it is gone.
struct Open<'a> {
    desk: &'a Desk,
    numbers: Vec<usize>,
}

impl Open<'_> {
    fn settle(&mut self, number: usize, confirmation: Confirmation) -> Result<(), String> {
        match confirmation {
            Confirmation::Ack(returned) => {
                if returned.is_some() {
                    // The alternate exchange takes whatever no worker's queue does.
                    let problem = format!("{} was returned by the broker", message_id(number));
                    self.desk.pile().problems.push(problem);
                }
                self.desk.journal.lines()[number].confirmed_at.get_or_insert_with(now);
                let place = self.numbers.iter().position(|open| *open == number);
                self.numbers.swap_remove(place.unwrap());
                self.desk.pile().open -= 1;
                Ok(())
            }
            Confirmation::Nack(_) => {
                self.desk.pile().counts.nacks += 1;
                Err(format!("the broker did not take {}", message_id(number)))
            }
            Confirmation::NotRequested => panic!("confirms are on"),
        }
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        let mut pile = self.desk.pile();
        pile.open -= self.numbers.len();
        pile.again.extend(self.numbers.drain(..));
    }
}

#[cfg(test)]
mod test {
    use super::*;

    fn line(kind: Kind, worker: Worker, id: &str) -> Line {
        let key =
            (!matches!(kind, Kind::Malformed(_))).then(|| (String::new(), String::new(), id.to_owned()));
        Line {
            kind,
            key,
            worker: Some(worker),
            routing_key: String::new(),
            user: None,
            body: Arc::from([]),
            sent_at: Some(1),
            confirmed_at: Some(2),
            attempts: 1,
        }
    }

    #[test]
    fn what_nobody_has_answered_is_published_again_and_what_may_be_lost_beside_an_answer() {
        const HERE: Worker = "commissions";
        let unsent =
            Line { attempts: 0, sent_at: None, confirmed_at: None, ..line(Kind::New, HERE, "silent") };
        let unconfirmed = Line { confirmed_at: None, ..line(Kind::New, HERE, "silent") };
        let cases = [
            (line(Kind::New, HERE, "told"), false),
            (line(Kind::Copy, HERE, "told"), false),
            (line(Kind::New, HERE, "silent"), true),
            (line(Kind::New, "directory", "silent"), false),
            (unsent, false),
            (unconfirmed, true),
            (line(Kind::Malformed("no id"), HERE, ""), true),
            // A dead letter: line 7.
            (line(Kind::Malformed("no id"), HERE, ""), false),
            // Of two contents one was decided, and the other may have been lost.
            (line(Kind::New, HERE, "told-and-contested"), true),
            (line(Kind::Conflict, "directory", "told-and-contested"), false),
            // A dead letter: line 10.
            (line(Kind::Conflict, HERE, "told-and-contested"), false),
        ];
        let (lines, wanted): (Vec<_>, Vec<_>) = cases.into_iter().unzip();
        let dead = ["line-7", "line-10"];
        let again = unanswered(&lines, HERE, |(.., id)| id.starts_with("told"), |id| dead.contains(&id));
        let wanted: Vec<_> = (0..lines.len()).filter(|number| wanted[*number]).collect();
        assert_eq!(again, wanted);
    }
}
