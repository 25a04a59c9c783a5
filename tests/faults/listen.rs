//! Hears everything that comes out, for the whole run: events, dead letters, and what no queue took.
//!
//! Whatever is delivered is kept before it is acked, so that a lost connection costs nothing: it is delivered again.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use futures_util::stream::{SelectAll, iter};
use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicQosOptions, QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use serde_json::{Value, json};
use tests::World;
use tests::model::Key;
use tests::world::ALL_WORKERS;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use worker::topology::{self, EVENTS, UNROUTABLE};
use worker::watch;

use crate::link::{Link, within};
use crate::schedule::Worker;

/// The queue that hears all events.
const EVENTS_HERE: &str = "faults.events";
const PREFETCH: u16 = 500;
/// Between two connections.
const PAUSE: Duration = Duration::from_millis(500);
/// When nothing comes for so long, the connection is looked at.
const LOOK: Duration = Duration::from_secs(1);
/// More are not worth reading.
const MOST_PROBLEMS: usize = 100;

/// A dead letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DeadLetter {
    /// The publisher's.
    pub(crate) message_id: Option<String>,
    /// In whose dead queue it was.
    pub(crate) worker: Worker,
    /// The worker's reason, a code; `None`: the broker made it.
    pub(crate) reason: Option<String>,
}

/// All that was heard.
#[derive(Debug, Clone, Default)]
pub(crate) struct Heard(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// By id.
    events: BTreeMap<String, Arc<str>>,
    /// By the command that caused them.
    first: HashMap<Key, Arc<str>>,
    deliveries: usize,
    dead: Vec<DeadLetter>,
    dead_ids: HashSet<String>,
    unroutable: Vec<String>,
    problems: Vec<String>,
    last_at: Option<Instant>,
}

impl Heard {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// The first event that was heard of a command.
    pub(crate) fn first_event_of(&self, key: &Key) -> Option<Value> {
        let body = Arc::clone(self.state().first.get(key)?);
        serde_json::from_str(&body).ok()
    }

    /// Whether an event of a command was heard.
    pub(crate) fn has_event_of(&self, key: &Key) -> bool {
        self.state().first.contains_key(key)
    }

    /// Whether a dead letter with this `message_id` was heard.
    pub(crate) fn is_dead(&self, message_id: &str) -> bool {
        self.state().dead_ids.contains(message_id)
    }

    /// Every event's bytes, by id.
    pub(crate) fn events(&self) -> BTreeMap<String, Arc<str>> {
        self.state().events.clone()
    }

    /// All dead letters, each as often as it came.
    pub(crate) fn dead(&self) -> Vec<DeadLetter> {
        self.state().dead.clone()
    }

    /// The `message_id`s of what no queue took.
    pub(crate) fn unroutable(&self) -> Vec<String> {
        self.state().unroutable.clone()
    }

    /// How many events were delivered, and how many different ones.
    pub(crate) fn copies(&self) -> (usize, usize) {
        let state = self.state();
        (state.deliveries, state.events.len())
    }

    /// What must not have been heard.
    pub(crate) fn problems(&self) -> Vec<String> {
        self.state().problems.clone()
    }

    /// When something was heard last.
    pub(crate) fn last_at(&self) -> Option<Instant> {
        self.state().last_at
    }

    fn take(&self, from: Queue, delivery: &Delivery) {
        let mut state = self.state();
        state.last_at = Some(Instant::now());
        let message_id = delivery.properties.message_id().as_ref().map(ToString::to_string);
        match from {
            Queue::Events => {
                state.deliveries += 1;
                if let Err(problem) =
                    state.event(&delivery.data, delivery.routing_key.as_str(), message_id.as_deref())
                {
                    state.problem(problem);
                }
            }
            Queue::Dead(worker) => {
                let reason = header(delivery, watch::DeadLetter::REASON);
                state.dead_ids.extend(message_id.clone());
                state.dead.push(DeadLetter { message_id, worker, reason });
            }
            Queue::Unroutable => match message_id {
                Some(id) => state.unroutable.push(id),
                None => state.problem("an unroutable message has no message_id".to_owned()),
            },
        }
    }
}

impl State {
    fn problem(&mut self, problem: String) {
        if self.problems.len() < MOST_PROBLEMS {
            self.problems.push(problem);
        }
    }

    fn event(&mut self, body: &[u8], routing_key: &str, message_id: Option<&str>) -> Result<(), String> {
        let shown = || String::from_utf8_lossy(body);
        let text = str::from_utf8(body).map_err(|_| format!("an event is not UTF-8: {}", shown()))?;
        if let Some(first) = message_id.and_then(|id| self.events.get(id)) {
            let same = **first == *text;
            return if same { Ok(()) } else { Err(format!("an event has two contents: {first} and {text}")) };
        }
        let event: Value = serde_json::from_str(text).map_err(|_| format!("an event is no JSON: {text}"))?;
        let field = |of: &Value, field: &str| {
            let text = of[field].as_str().map(str::to_owned);
            text.ok_or_else(|| format!("an event has no {field}: {text:?}", text = shown()))
        };
        let (id, merchant) = (field(&event, "id")?, field(&event["data"], "merchant")?);
        if message_id != Some(&*id) {
            return Err(format!("an event has another message_id, {message_id:?}: {text}"));
        }
        let name = field(&event, "type")?;
        if format!("{merchant}.{}", name.trim_end_matches(".v1")) != routing_key {
            return Err(format!("an event came with routing key {routing_key}: {text}"));
        }
        let key = (merchant, field(&event, "causationsource")?, field(&event, "causationid")?);
        let body: Arc<str> = text.into();
        self.first.entry(key).or_insert_with(|| Arc::clone(&body));
        self.events.insert(id, body);
        Ok(())
    }
}

fn header(delivery: &Delivery, name: &str) -> Option<String> {
    match delivery.properties.headers().as_ref()?.inner().get(name)? {
        AMQPValue::LongString(text) => Some(String::from_utf8_lossy(text.as_bytes()).into_owned()),
        other => Some(format!("{other:?}")),
    }
}

/// Which queue something comes from.
#[derive(Debug, Clone, Copy)]
enum Queue {
    Events,
    Dead(Worker),
    Unroutable,
}

impl Queue {
    fn name(self) -> String {
        match self {
            Self::Events => EVENTS_HERE.to_owned(),
            Self::Dead(worker) => topology::dead_queue(worker),
            Self::Unroutable => UNROUTABLE.to_owned(),
        }
    }
}

/// Listens until it is dropped.
#[derive(Debug)]
pub(crate) struct Listener {
    task: JoinHandle<()>,
}

impl Listener {
    /// Declares the queue for events and begins to listen. Before anything is published, and before anything breaks.
    pub(crate) async fn start(world: &World, heard: Heard) -> Self {
        // Saldo's own policy for subscribers would drop what is too much for one that has gone for a moment.
        let limits = json!({ "delivery-limit": 1_000_000 });
        let policy =
            json!({ "pattern": r"^faults\.", "apply-to": "queues", "priority": 20, "definition": limits });
        world.manage("PUT", &format!("policies/{}/faults", world.name), Some(policy)).await;
        let url = world.amqp_url();
        declare(&url).await.unwrap();
        let task = tokio::spawn(async move {
            loop {
                // Whatever it was: it is tried again.
                let _ = listen(&url, &heard).await;
                tokio::time::sleep(PAUSE).await;
            }
        });
        Self { task }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn declare(url: &str) -> Result<(), String> {
    let Link { channel, connection } = Link::open(url, "faults: declares").await?;
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
    let durable = QueueDeclareOptions { durable: true, ..Default::default() };
    within(channel.queue_declare(EVENTS_HERE.into(), durable, arguments)).await?;
    let options = QueueBindOptions::default();
    within(channel.queue_bind(EVENTS_HERE.into(), EVENTS.into(), "#".into(), options, FieldTable::default()))
        .await?;
    within(connection.close(200, "".into())).await
}

/// Until the connection is lost.
async fn listen(url: &str, heard: &Heard) -> Result<(), String> {
    let Link { connection, channel } = Link::open(url, "faults: listens").await?;
    within(channel.basic_qos(PREFETCH, BasicQosOptions::default())).await?;
    let mut deliveries = SelectAll::new();
    for from in [Queue::Events, Queue::Unroutable].into_iter().chain(ALL_WORKERS.map(Queue::Dead)) {
        let (queue, options) = (from.name(), BasicConsumeOptions::default());
        let consumer =
            channel.basic_consume(queue.as_str().into(), "".into(), options, FieldTable::default());
        let consumer = within(consumer).await?.map(move |delivery| Some((from, delivery)));
        // One that ends must not be missed among the others.
        deliveries.push(consumer.chain(iter([None])));
    }
    while connection.status().connected() {
        let Ok(next) = timeout(LOOK, deliveries.next()).await else { continue };
        let Some((from, delivery)) = next.flatten() else { break };
        let delivery = delivery.map_err(|error| error.to_string())?;
        heard.take(from, &delivery);
        within(delivery.acker.ack(BasicAckOptions::default())).await?;
    }
    Ok(())
}

#[cfg(test)]
mod test {
    use lapin::BasicProperties;

    use super::*;

    fn event(id: &str, cause: &str, amount: &str) -> Delivery {
        let body = json!({
            "id": id, "type": "commission.credited.v1", "causationsource": "/shop", "causationid": cause,
            "data": { "merchant": "acme", "amount": amount },
        });
        let mut delivery = Delivery::mock(
            1,
            EVENTS.into(),
            "acme.commission.credited".into(),
            false,
            body.to_string().into(),
        );
        delivery.properties = BasicProperties::default().with_message_id(id.into());
        delivery
    }

    fn key(id: &str) -> Key {
        ("acme".to_owned(), "/shop".to_owned(), id.to_owned())
    }

    #[test]
    fn what_is_told_twice_in_the_same_words_is_one_event() {
        let heard = Heard::default();
        for id in ["e-1", "e-2", "e-1"] {
            heard.take(Queue::Events, &event(id, "k-1", "5"));
        }
        assert_eq!(heard.copies(), (3, 2));
        assert_eq!(heard.first_event_of(&key("k-1")).unwrap()["id"], "e-1");
        assert!(heard.has_event_of(&key("k-1")) && !heard.has_event_of(&key("k-2")));
        assert!(heard.problems().is_empty() && heard.last_at().is_some());
    }

    #[test]
    fn an_event_with_two_contents_is_a_problem_and_so_is_one_that_is_none() {
        let heard = Heard::default();
        heard.take(Queue::Events, &event("e-1", "k-1", "5"));
        let mut broken: Vec<_> =
            ["", "{}", "\u{1}"].map(|body| Delivery { data: body.into(), ..event("e-2", "k-2", "5") }).into();
        broken.push(event("e-1", "k-1", "6"));
        broken.push(Delivery { properties: BasicProperties::default(), ..event("e-3", "k-3", "5") });
        broken.push(Delivery { routing_key: "other.commission.credited".into(), ..event("e-4", "k-4", "5") });
        broken.push(Delivery { data: b"\xff".to_vec(), ..event("e-5", "k-5", "5") });
        for (place, delivery) in broken.iter().enumerate() {
            heard.take(Queue::Events, delivery);
            assert_eq!(heard.problems().len(), place + 1, "{:?}", heard.problems());
        }
        assert_eq!(heard.events().len(), 1);
    }

    #[test]
    fn a_dead_letter_has_its_workers_reason_or_else_the_broker_made_it() {
        let heard = Heard::default();
        let mut headers = FieldTable::default();
        headers.insert(watch::DeadLetter::REASON.into(), AMQPValue::LongString("not-json".into()));
        let mut delivery = event("line-1", "k-1", "5");
        heard.take(Queue::Dead("directory"), &delivery);
        delivery.properties =
            BasicProperties::default().with_message_id("line-2".into()).with_headers(headers);
        heard.take(Queue::Dead("directory"), &delivery);
        let reasons: Vec<_> =
            heard.dead().into_iter().map(|letter| (letter.message_id, letter.reason)).collect();
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(reasons, [(text("line-1"), None), (text("line-2"), text("not-json"))]);
        assert!(heard.is_dead("line-2") && !heard.is_dead("line-3"));
        heard.take(Queue::Unroutable, &event("line-4", "k-1", "5"));
        assert_eq!(heard.unroutable(), ["line-4"]);
    }
}
