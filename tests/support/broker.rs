//! Publishing as a shop's systems do, and collecting what comes out.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::future::{join_all, try_join_all};
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, ConfirmSelectOptions, QueueBindOptions,
    QueueDeclareOptions,
};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Confirmation, Connection, ConnectionProperties};
use serde_json::Value;

use crate::message::routing_key;
use crate::{PATIENCE, World, eventually};

/// How the routing keys end of commands that need a user id.
const NEED_USER: [&str; 7] = [
    ".adjustment.credit",
    ".adjustment.debit",
    ".adjustment.reverse",
    ".withdrawal.approve",
    ".withdrawal.pay",
    ".withdrawal.reject",
    ".preferences.put",
];

/// A publisher's connection, with confirms.
#[derive(Debug, Clone)]
pub struct Publisher {
    connection: Arc<Connection>,
    /// For what tests publish in unusual ways.
    pub channel: Channel,
}

impl Publisher {
    /// Connects as administrator.
    pub async fn connect(world: &World) -> Self {
        Self::connect_to(&world.amqp_url()).await
    }

    /// Connects to this URL.
    pub async fn connect_to(url: &str) -> Self {
        let connection = Connection::connect(url, ConnectionProperties::default()).await.unwrap();
        let channel = connection.create_channel().await.unwrap();
        channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
        Self { connection: Arc::new(connection), channel }
    }

    /// The properties of a proper command.
    pub fn properties() -> BasicProperties {
        BasicProperties::default().with_content_type(contract::CONTENT_TYPE.into()).with_delivery_mode(2)
    }

    /// The properties of a proper command of a person who may decide.
    pub fn admin_properties() -> BasicProperties {
        Self::properties().with_user_id(crate::world::amqp_user().as_str().into())
    }

    /// Publishes messages under the keys their bodies ask for, those that need one with the administrator's user
    /// id; all must be confirmed and routed.
    pub async fn publish(&self, messages: &[Value]) {
        for part in messages.chunks(1000) {
            let bodies: Vec<_> =
                part.iter().map(|message| (routing_key(message), message.to_string())).collect();
            let published = bodies.iter().map(|(key, body)| {
                let needs_user = NEED_USER.iter().any(|name| key.ends_with(name));
                let properties = if needs_user { Self::admin_properties() } else { Self::properties() };
                self.raw(key, body.as_bytes(), properties)
            });
            for confirmation in join_all(published).await {
                assert_eq!(confirmation, Confirmation::Ack(None));
            }
        }
    }

    /// Publishes anything to `saldo.commands`.
    pub async fn raw(&self, routing_key: &str, body: &[u8], properties: BasicProperties) -> Confirmation {
        let options = BasicPublishOptions { mandatory: true, ..Default::default() };
        let exchange = worker::topology::COMMANDS;
        self.channel
            .basic_publish(exchange.into(), routing_key.into(), options, body, properties)
            .await
            .unwrap()
            .await
            .unwrap()
    }

    /// Publishes without waiting for each; returns the confirmations in order.
    pub async fn raw_all(&self, messages: &[(String, Vec<u8>, BasicProperties)]) -> Vec<Confirmation> {
        let options = BasicPublishOptions { mandatory: true, ..Default::default() };
        let exchange = worker::topology::COMMANDS;
        let started = messages.iter().map(|(key, body, properties)| {
            self.channel.basic_publish(
                exchange.into(),
                key.as_str().into(),
                options,
                body,
                properties.clone(),
            )
        });
        let confirms = try_join_all(started).await.unwrap();
        join_all(confirms).await.into_iter().map(Result::unwrap).collect()
    }

    /// Publishes bytes as an event, confirmed.
    pub async fn publish_event(&self, routing_key: &str, body: &[u8]) {
        let confirm = self.channel.basic_publish(
            worker::topology::EVENTS.into(),
            routing_key.into(),
            BasicPublishOptions::default(),
            body,
            Self::properties(),
        );
        assert!(confirm.await.unwrap().await.unwrap().is_ack());
    }

    /// Publishes to one queue alone.
    pub async fn into_queue(&self, queue: &str, body: &[u8]) {
        let options = BasicPublishOptions::default();
        let confirm = self.channel.basic_publish("".into(), queue.into(), options, body, Self::properties());
        assert!(confirm.await.unwrap().await.unwrap().is_ack());
    }

    /// Waits until a queue has handed out all that it had.
    pub async fn consumed(&self, queue: &str) {
        eventually("all is handed out", PATIENCE, || async {
            let queued = self.queued(queue).await;
            if queued.ready == 0 { Ok(()) } else { Err(queued) }
        })
        .await;
    }

    /// The connection.
    pub fn connection(&self) -> &Connection {
        &self.connection
    }
}

/// A message that came out.
#[derive(Debug, Clone)]
pub struct Collected {
    /// The key it was delivered under.
    pub routing_key: String,
    /// The bytes.
    pub body: Vec<u8>,
    /// The properties, headers among them.
    pub properties: BasicProperties,
}

impl Collected {
    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// A header's text.
    pub fn header(&self, name: &str) -> Option<String> {
        let headers = self.properties.headers().as_ref()?;
        match headers.inner().get(name)? {
            lapin::types::AMQPValue::LongString(text) => {
                Some(String::from_utf8_lossy(text.as_bytes()).into_owned())
            }
            other => Some(format!("{other:?}")),
        }
    }
}

/// Takes everything out of a queue, in the background.
#[derive(Debug, Clone)]
pub struct Collector {
    collected: Arc<Mutex<Vec<Collected>>>,
    _connection: Arc<Connection>,
}

impl Collector {
    /// Of a new queue bound to an exchange.
    pub async fn bound(world: &World, exchange: &str, key: &str) -> Self {
        let connection =
            Connection::connect(&world.amqp_url(), ConnectionProperties::default()).await.unwrap();
        let channel = connection.create_channel().await.unwrap();
        let options = QueueDeclareOptions { exclusive: true, ..Default::default() };
        let queue = channel.queue_declare("".into(), options, FieldTable::default()).await.unwrap();
        let name = queue.name().clone();
        channel
            .queue_bind(
                name.clone(),
                exchange.into(),
                key.into(),
                QueueBindOptions::default(),
                FieldTable::default(),
            )
            .await
            .unwrap();
        Self::start(connection, channel, name.as_str()).await
    }

    /// Of an existing queue.
    pub async fn of_queue(world: &World, queue: &str) -> Self {
        let connection =
            Connection::connect(&world.amqp_url(), ConnectionProperties::default()).await.unwrap();
        let channel = connection.create_channel().await.unwrap();
        Self::start(connection, channel, queue).await
    }

    async fn start(connection: Connection, channel: Channel, queue: &str) -> Self {
        let mut consumer = channel
            .basic_consume(queue.into(), "".into(), BasicConsumeOptions::default(), FieldTable::default())
            .await
            .unwrap();
        let collected = Arc::new(Mutex::new(Vec::new()));
        let into = Arc::clone(&collected);
        tokio::spawn(async move {
            while let Some(Ok(delivery)) = consumer.next().await {
                into.lock().unwrap().push(Collected {
                    routing_key: delivery.routing_key.to_string(),
                    body: delivery.data.clone(),
                    properties: delivery.properties.clone(),
                });
                let _ = delivery.acker.ack(BasicAckOptions::default()).await;
            }
        });
        Self { collected, _connection: Arc::new(connection) }
    }

    /// Looks at what came so far without copying it.
    pub(crate) fn peek<T>(&self, look: impl FnOnce(&Vec<Collected>) -> T) -> T {
        look(&self.collected.lock().unwrap())
    }

    /// Everything so far.
    pub fn all(&self) -> Vec<Collected> {
        self.collected.lock().unwrap().clone()
    }

    /// Waits until there are this many, and returns them all.
    pub async fn at_least(&self, count: usize, patience: Duration) -> Vec<Collected> {
        eventually(&format!("{count} messages"), patience, || async {
            let all = self.all();
            if all.len() >= count { Ok(all) } else { Err(all.len()) }
        })
        .await
    }

    /// Events by id; fails if one id came with two contents.
    pub fn events_by_id(&self) -> BTreeMap<String, Value> {
        let mut events: BTreeMap<String, Vec<u8>> = BTreeMap::new();
        for event in self.all() {
            let id = event.json()["id"].as_str().unwrap().to_owned();
            let first = events.entry(id.clone()).or_insert_with(|| event.body.clone());
            assert_eq!(*first, event.body, "event {id} has two contents");
        }
        events.into_iter().map(|(id, body)| (id, serde_json::from_slice(&body).unwrap())).collect()
    }

    /// The `causationid`s of events of this type.
    pub fn causes(&self, name: &str) -> BTreeSet<String> {
        let wanted = format!("{name}.v1");
        self.events_by_id()
            .into_values()
            .filter(|event| event["type"] == wanted.as_str())
            .map(|event| event["causationid"].as_str().unwrap().to_owned())
            .collect()
    }
}
