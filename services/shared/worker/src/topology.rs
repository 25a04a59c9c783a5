//! What must exist in the broker: exchanges, queues, bindings and policies, declared in one place.
//!
//! What a queue needs to be correct (type, dead-letter target and strategy, overflow) is an argument, fixed
//! when it is created; limits and lengths are policies, so that they can be changed while it is in use.
//! `deploy/rabbitmq/definitions.json` is written from here. The management API's side is in
//! [`crate::management`]; a worker itself only checks that its objects exist ([`check_existence`]).

use contract::{adjustment, commission, directory, notification, withdrawal};
use lapin::options::{ExchangeDeclareOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{Connection, ErrorKind, ExchangeKind};
use serde_json::{Map, Value, json};

/// Publishers write commands here, and nowhere else.
pub const COMMANDS: &str = "saldo.commands";
/// Workers write events here.
pub const EVENTS: &str = "saldo.events";
/// Workers and the broker write dead letters here; the routing key is the dead queue's name.
pub const DEAD: &str = "saldo.dead";
/// A routing key that leads nowhere, to ask whether something is let through.
pub(crate) const PROBE: &str = "saldo.probe";
/// Commands that no queue takes: the alternate exchange of [`COMMANDS`], and its queue.
pub const UNROUTABLE: &str = "saldo.unroutable";

/// As the broker calls the default exchange, through which every queue can be reached by its name.
pub(crate) const DEFAULT_EXCHANGE: &str = "amq.default";

/// The queue of a worker.
pub fn queue(worker: &str) -> String {
    format!("saldo.{worker}")
}

/// Where a worker's dead letters go.
pub fn dead_queue(worker: &str) -> String {
    format!("saldo.{worker}.dead")
}

/// A worker's queue.
#[derive(Debug, Clone, Copy)]
struct Consumer {
    worker: &'static str,
    exchange: &'static str,
    routing: &'static [&'static str],
}

const fn commands(worker: &'static str, routing: &'static [&'static str]) -> Consumer {
    Consumer { worker, exchange: COMMANDS, routing }
}

/// The workers and what their queues are bound to.
const WORKERS: [Consumer; 5] = [
    commands(commission::WORKER, &[commission::ROUTING]),
    commands(adjustment::WORKER, &[adjustment::ROUTING]),
    commands(withdrawal::WORKER, &[withdrawal::ROUTING]),
    commands(directory::WORKER, &directory::ROUTING),
    Consumer { worker: notification::WORKER, exchange: EVENTS, routing: &notification::ROUTING },
];

/// The workers, in the order in which operators read of them.
pub fn workers() -> impl Iterator<Item = &'static str> {
    WORKERS.iter().map(|consumer| consumer.worker)
}

/// The worker whose queue takes commands with this routing key; `None`: no queue does, and they are confirmed all the
/// same, because [`UNROUTABLE`] takes them.
pub fn taken_by(routing_key: &str) -> Option<&'static str> {
    let mut takers = WORKERS.iter().filter(|consumer| consumer.exchange == COMMANDS);
    let bound = |pattern: &&str| takes(pattern, routing_key);
    takers.find(|consumer| consumer.routing.iter().any(bound)).map(|consumer| consumer.worker)
}

/// Whether a binding with this pattern takes a routing key, as a topic exchange compares them.
pub(crate) fn takes(pattern: &str, routing_key: &str) -> bool {
    matches(&words(pattern), &words(routing_key))
}

fn words(text: &str) -> Vec<&str> {
    text.split('.').collect()
}

/// `*` is one word, `#` any number of them.
fn matches(pattern: &[&str], words: &[&str]) -> bool {
    match (pattern, words) {
        ([], words) => words.is_empty(),
        (["#", rest @ ..], words) => (0..=words.len()).any(|skipped| matches(rest, &words[skipped..])),
        ([one, pattern @ ..], [word, words @ ..]) => (*one == "*" || one == word) && matches(pattern, words),
        (_, []) => false,
    }
}

/// Limits that operators may change.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Deliveries of one message before it is dead-lettered: high enough for repeated worker kills, low
    /// enough to get past a killer soon.
    pub delivery_limit: u32,
    /// Bytes a worker's queue may hold before publishers are pushed back.
    pub queue_bytes: u64,
    /// Bytes a subscriber's queue may hold before its oldest events are dropped.
    pub subscriber_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        // Both far below the watermark at which a broker with 1 GiB of memory blocks everybody.
        Self { delivery_limit: 50, queue_bytes: 256 * 1024 * 1024, subscriber_bytes: 64 * 1024 * 1024 }
    }
}

/// An exchange.
#[derive(Debug, Clone, PartialEq)]
pub struct Exchange {
    /// Its name.
    pub name: &'static str,
    /// `topic`, `direct` or `fanout`.
    pub kind: &'static str,
    /// Arguments.
    pub arguments: Map<String, Value>,
}

/// A durable queue.
#[derive(Debug, Clone, PartialEq)]
pub struct Queue {
    /// Its name.
    pub name: String,
    /// Arguments, the type among them.
    pub arguments: Map<String, Value>,
}

/// A binding of a queue.
#[derive(Debug, Clone, PartialEq)]
pub struct Binding {
    /// From this exchange.
    pub exchange: &'static str,
    /// To this queue.
    pub queue: String,
    /// With this key.
    pub routing_key: String,
}

/// A policy for queues. At most one matches a queue: the one with the highest priority.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    /// Its name.
    pub name: String,
    /// Which queues.
    pub pattern: String,
    /// Higher wins.
    pub priority: i32,
    /// What it sets.
    pub definition: Map<String, Value>,
}

/// Everything that must exist in a virtual host.
#[derive(Debug, Clone, PartialEq)]
pub struct Topology {
    /// Exchanges.
    pub exchanges: Vec<Exchange>,
    /// Queues.
    pub queues: Vec<Queue>,
    /// Bindings.
    pub bindings: Vec<Binding>,
    /// Policies.
    pub policies: Vec<Policy>,
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

impl Topology {
    /// The whole topology with these limits.
    pub fn new(limits: Limits) -> Self {
        let exchange = |name, kind, arguments| Exchange { name, kind, arguments: object(arguments) };
        let quorum = || object(json!({ "x-queue-type": "quorum" }));
        let mut topology = Self {
            exchanges: vec![
                exchange(COMMANDS, "topic", json!({ "alternate-exchange": UNROUTABLE })),
                exchange(EVENTS, "topic", json!({})),
                exchange(DEAD, "direct", json!({})),
                exchange(UNROUTABLE, "fanout", json!({})),
            ],
            queues: vec![Queue { name: UNROUTABLE.to_owned(), arguments: quorum() }],
            bindings: vec![Binding {
                exchange: UNROUTABLE,
                queue: UNROUTABLE.to_owned(),
                routing_key: String::new(),
            }],
            policies: vec![Policy {
                name: "saldo.subscribers".to_owned(),
                pattern: ".*".to_owned(),
                priority: 0,
                definition: object(json!({
                    "max-length-bytes": limits.subscriber_bytes, "overflow": "drop-head",
                })),
            }],
        };
        // Dead letters and strays are never dropped by Saldo's own policies.
        topology.policies.push(Policy {
            name: "saldo.kept".to_owned(),
            pattern: format!(
                r"^saldo\.(unroutable|({})\.dead)$",
                WORKERS.map(|consumer| consumer.worker).join("|")
            ),
            priority: 10,
            // Operators look at dead letters again and again; 4.x would drop one at the 21st look.
            definition: object(json!({ "delivery-limit": 1_000_000 })),
        });
        for consumer in WORKERS {
            topology.add_worker(consumer, limits);
        }
        topology
    }

    fn add_worker(&mut self, consumer: Consumer, limits: Limits) {
        let Consumer { worker, exchange, routing } = consumer;
        let (queue, dead) = (queue(worker), dead_queue(worker));
        let arguments = if exchange == COMMANDS {
            // A command is never dropped: a full queue pushes back on publishers.
            json!({
                "x-queue-type": "quorum",
                "x-dead-letter-exchange": DEAD,
                "x-dead-letter-routing-key": dead,
                "x-dead-letter-strategy": "at-least-once",
                "x-overflow": "reject-publish",
            })
        } else {
            // What is dropped is found in the ledger; with a target for dead letters, it would all go there.
            json!({ "x-queue-type": "quorum", "x-overflow": "drop-head" })
        };
        let bytes = if exchange == COMMANDS { limits.queue_bytes } else { limits.subscriber_bytes };
        self.queues.push(Queue { name: queue.clone(), arguments: object(arguments) });
        self.queues
            .push(Queue { name: dead.clone(), arguments: object(json!({ "x-queue-type": "quorum" })) });
        self.bindings.push(Binding { exchange: DEAD, queue: dead.clone(), routing_key: dead });
        self.bindings.extend(routing.iter().map(|routing_key| Binding {
            exchange,
            queue: queue.clone(),
            routing_key: (*routing_key).to_owned(),
        }));
        self.policies.push(Policy {
            name: queue.clone(),
            pattern: format!("^{}$", queue.replace('.', r"\.")),
            priority: 10,
            definition: object(json!({
                "delivery-limit": limits.delivery_limit, "max-length-bytes": bytes,
            })),
        });
    }

    /// As RabbitMQ's definitions file, without users and virtual hosts.
    pub fn definitions(&self, vhost: &str) -> Value {
        json!({
            "exchanges": self.exchanges.iter().map(|exchange| json!({
                "name": exchange.name, "vhost": vhost, "type": exchange.kind, "durable": true,
                "auto_delete": false, "internal": false, "arguments": exchange.arguments,
            })).collect::<Vec<_>>(),
            "queues": self.queues.iter().map(|queue| json!({
                "name": queue.name, "vhost": vhost, "durable": true, "auto_delete": false,
                "arguments": queue.arguments,
            })).collect::<Vec<_>>(),
            "bindings": self.bindings.iter().map(|binding| json!({
                "source": binding.exchange, "vhost": vhost, "destination": binding.queue,
                "destination_type": "queue", "routing_key": binding.routing_key, "arguments": {},
            })).collect::<Vec<_>>(),
            "policies": self.policies.iter().map(|policy| json!({
                "name": policy.name, "vhost": vhost, "pattern": policy.pattern, "apply-to": "queues",
                "priority": policy.priority, "definition": policy.definition,
            })).collect::<Vec<_>>(),
        })
    }
}

/// Why a worker cannot start consuming.
#[derive(Debug, thiserror::Error)]
pub enum TopologyError {
    /// Objects are missing.
    #[error("the broker has no {}; run `saldo topology apply`", .0.join(", no "))]
    Missing(Vec<String>),
    /// The question could not be asked.
    #[error("the broker's topology could not be checked")]
    Unreadable(#[source] lapin::Error),
}

/// Checks that what a worker uses exists. A passive declare sees no type, argument or binding: `saldo topology
/// check` compares those.
///
/// # Errors
/// Something is missing, all of it listed; or the connection is lost.
pub async fn check_existence(connection: &Connection, worker: &str) -> Result<(), TopologyError> {
    let mut missing = Vec::new();
    for exchange in [EVENTS, DEAD] {
        // A refusal closes the channel, so each question has its own.
        let channel = connection.create_channel().await.map_err(TopologyError::Unreadable)?;
        let options = ExchangeDeclareOptions { passive: true, ..Default::default() };
        let declared =
            channel.exchange_declare(exchange.into(), ExchangeKind::Topic, options, FieldTable::default());
        if !exists(declared.await)? {
            missing.push(format!("exchange {exchange}"));
        }
    }
    for queue in [queue(worker), dead_queue(worker)] {
        let channel = connection.create_channel().await.map_err(TopologyError::Unreadable)?;
        let options = QueueDeclareOptions { passive: true, ..Default::default() };
        let declared = channel.queue_declare(queue.as_str().into(), options, FieldTable::default()).await;
        if !exists(declared)? {
            missing.push(format!("queue {queue}"));
        }
    }
    if missing.is_empty() { Ok(()) } else { Err(TopologyError::Missing(missing)) }
}

fn exists<T>(answer: lapin::Result<T>) -> Result<bool, TopologyError> {
    const NOT_FOUND: u16 = 404;
    match answer {
        Ok(_) => Ok(true),
        Err(error) => match error.kind() {
            ErrorKind::ProtocolError(refusal) if refusal.get_id() == NOT_FOUND => Ok(false),
            _ => Err(TopologyError::Unreadable(error)),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_worker_has_its_commands_a_queue_for_dead_letters_and_no_limit_there() {
        let topology = Topology::new(Limits::default());
        let bound = |queue: &str| -> Vec<&str> {
            let to = topology.bindings.iter().filter(|binding| binding.queue == queue);
            to.map(|binding| binding.routing_key.as_str()).collect()
        };
        assert_eq!(bound("saldo.commissions"), ["*.commission.#"]);
        assert_eq!(bound("saldo.adjustments"), ["*.adjustment.#"]);
        assert_eq!(bound("saldo.withdrawals"), ["*.withdrawal.#"]);
        assert_eq!(bound("saldo.directory"), ["*.customer.#", "*.payout-method.#", "*.preferences.#"]);
        assert_eq!(bound("saldo.notifier"), notification::ROUTING);
        for Consumer { worker, .. } in WORKERS {
            assert_eq!(bound(&dead_queue(worker)), [dead_queue(worker)]);
            let exact = format!(r"^saldo\.{worker}$");
            assert_eq!(topology.policies.iter().filter(|policy| policy.pattern == exact).count(), 1);
        }
        let kept = topology.policies.iter().find(|policy| policy.name == "saldo.kept").unwrap();
        assert_eq!(
            kept.pattern,
            r"^saldo\.(unroutable|(commissions|adjustments|withdrawals|directory|notifier)\.dead)$"
        );
    }

    #[test]
    fn a_routing_key_belongs_to_the_worker_that_is_bound_to_it_or_to_nobody() {
        for (key, worker) in [
            ("acme.commission.credit", Some("commissions")),
            ("acme.commission", Some("commissions")),
            ("acme.commission.a.b", Some("commissions")),
            ("acme.payout-method.put", Some("directory")),
            ("acme.withdrawal.pay", Some("withdrawals")),
            // The notifier listens to events, not to commands.
            ("acme.unheard.of", None),
            ("commission.credit", None),
            ("acme.shop.commission.credit", None),
            ("saldo.commissions.dead", None),
            ("", None),
        ] {
            assert_eq!(taken_by(key), worker, "{key}");
        }
    }

    #[test]
    fn the_committed_definitions_are_what_the_code_declares() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../deploy/rabbitmq/definitions.json");
        let wanted = format!("{:#}\n", Topology::new(Limits::default()).definitions("/"));
        if std::env::var_os("SALDO_WRITE_SCHEMAS").is_some() {
            std::fs::write(path, &wanted).unwrap();
        }
        let committed = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            committed == wanted,
            "deploy/rabbitmq/definitions.json is not what the code declares; run `just schemas`"
        );
    }
}
