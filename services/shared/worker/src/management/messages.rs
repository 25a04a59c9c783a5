//! Messages of a queue over HTTP: for those that no AMQP client can receive.
//!
//! [`Management::peek`] takes messages from the head of a queue and returns them: they are then behind all that were
//! returned before, and before all that were never handed out. [`Management::take_first`] takes one for good, whichever
//! it is: a crash right after it has lost that message. One that was not meant is published to the same queue again by
//! [`Management::put_back`], with its body, its headers and its properties but those by which it would go elsewhere or vanish.
//! Three things it does not have any more: its place; the user for whom the broker vouched, which the API says of its own
//! only (a worker's letter has it in a header); and, if it is a stray, the routing key that it was published with, so that it
//! can be thrown away and not replayed.

use std::collections::BTreeSet;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::{Method, Response, StatusCode};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::time::sleep;

use super::{Management, ManagementError};
use crate::topology::{DEAD, DEFAULT_EXCHANGE, PROBE};

/// By each way. What was taken by mistake is nowhere else: putting it back is worth several tries, and having it twice is
/// better than not having it.
const TRIES: usize = 3;

/// Between them.
const PAUSE: Duration = Duration::from_secs(1);

/// A message as the API shows it. Texts that are no UTF-8 have lost what makes them so.
#[derive(Clone, Deserialize)]
pub(crate) struct Peeked {
    pub(crate) exchange: String,
    pub(crate) routing_key: String,
    pub(crate) redelivered: bool,
    pub(crate) payload_bytes: u64,
    payload: String,
    /// An object, or an empty array where there is none.
    pub(crate) properties: Value,
}

impl Peeked {
    /// What the broker adds to what it hands out, anew each time.
    pub(crate) const COUNTERS: [&str; 2] = ["x-delivery-count", "x-acquired-count"];

    /// In bytes: a longer body, in base64 and beside its headers, might be more than the API reads of a request (10 MB, or
    /// what it is configured to). Commands are far shorter.
    pub(crate) const LONGEST: u64 = 1024 * 1024;

    /// The body, as much of it as was asked for.
    pub(crate) fn body(&self) -> Vec<u8> {
        STANDARD.decode(&self.payload).unwrap_or_default()
    }

    /// The exchanges that lead to its queue and nowhere else: the one it came by, where that is one; and the one that always
    /// is, by which a worker's letter is a stray.
    fn ways_back(&self) -> &'static [&'static str] {
        if self.exchange == DEAD { &[DEAD, DEFAULT_EXCHANGE] } else { &[DEFAULT_EXCHANGE] }
    }

    /// Its properties without those by which it would be refused, go elsewhere with the rights of the API's user, or vanish,
    /// and without what the broker has counted.
    fn own_properties(&self) -> Map<String, Value> {
        let mut properties = self.properties.as_object().cloned().unwrap_or_default();
        for name in ["user_id", "expiration", "reply_to"] {
            properties.remove(name);
        }
        if let Some(headers) = properties.get_mut("headers").and_then(Value::as_object_mut) {
            let is_foreign = |name: &str| ["CC", "BCC"].contains(&name) || Self::COUNTERS.contains(&name);
            headers.retain(|name, _| !is_foreign(name));
        }
        properties
    }
}

impl Management {
    /// The first messages of a queue, at most `count`, with this many bytes of each at most. They are returned to it.
    ///
    /// # Errors
    /// The API cannot be used, or there is no such queue.
    pub(crate) async fn peek(
        &self,
        queue: &str,
        count: usize,
        bytes: usize,
    ) -> Result<Vec<Peeked>, ManagementError> {
        // The other mode that returns them (`ack_requeue_true`) returns them later, when its channel is closed.
        let wanted = json!({
            "count": count, "ackmode": "reject_requeue_true", "encoding": "base64", "truncate": bytes,
        });
        self.messages(queue, &wanted).await
    }

    /// Takes the first message of a queue out of it, for good.
    ///
    /// # Errors
    /// The API cannot be used, or there is no such queue.
    pub(crate) async fn take_first(&self, queue: &str) -> Result<Option<Peeked>, ManagementError> {
        let wanted = json!({ "count": 1, "ackmode": "ack_requeue_false", "encoding": "base64" });
        Ok(self.messages(queue, &wanted).await?.pop())
    }

    /// Whether the API's user may put back any of these: nothing is to be taken before that is known.
    ///
    /// # Errors
    /// It may not, or the API cannot be used.
    pub(crate) async fn check_put_back(&self, messages: &[Peeked]) -> Result<(), ManagementError> {
        let ways: BTreeSet<_> = messages.iter().flat_map(Peeked::ways_back).collect();
        for exchange in ways {
            // Nobody has such a queue, so that nothing becomes of it.
            let answer = self.publish(exchange, PROBE, &Map::new(), "").await?;
            if answer.status() != StatusCode::OK {
                let object = format!("the right to write {exchange}, by which a letter would be put back");
                return Err(ManagementError::Unexpected { object, status: answer.status() });
            }
        }
        Ok(())
    }

    /// Publishes what was taken to the same queue.
    ///
    /// # Errors
    /// The API cannot be used, or the message went to no queue.
    pub(crate) async fn put_back(&self, queue: &str, message: &Peeked) -> Result<(), ManagementError> {
        let properties = message.own_properties();
        let tries = message.ways_back().iter().flat_map(|exchange| [exchange; TRIES]);
        let mut put = Ok(());
        for (number, exchange) in tries.enumerate() {
            if number > 0 {
                sleep(PAUSE).await;
            }
            put = self.route(exchange, queue, &properties, &message.payload).await;
            if put.is_ok() {
                break;
            }
        }
        put
    }

    /// Publishes to a queue.
    async fn route(
        &self,
        exchange: &str,
        queue: &str,
        properties: &Map<String, Value>,
        payload: &str,
    ) -> Result<(), ManagementError> {
        let answer = self.publish(exchange, queue, properties, payload).await?;
        let status = answer.status();
        let answer: Value = answer.json().await.unwrap_or_default();
        if answer["routed"] == true {
            return Ok(());
        }
        Err(ManagementError::Unexpected { object: format!("a message for {queue} by {exchange}"), status })
    }

    async fn publish(
        &self,
        exchange: &str,
        routing_key: &str,
        properties: &Map<String, Value>,
        payload: &str,
    ) -> Result<Response, ManagementError> {
        let path = ["exchanges", &self.vhost, exchange, "publish"];
        let body = json!({
            "properties": properties, "routing_key": routing_key, "payload": payload,
            "payload_encoding": "base64",
        });
        self.request(Method::POST, &path, None, Some(&body)).await
    }

    async fn messages(&self, queue: &str, wanted: &Value) -> Result<Vec<Peeked>, ManagementError> {
        let path = ["queues", &self.vhost, queue, "get"];
        let answer = self.request(Method::POST, &path, None, Some(wanted)).await?;
        match answer.status() {
            StatusCode::OK => Ok(answer.json().await?),
            status => {
                Err(ManagementError::Unexpected { object: format!("the messages of queue {queue}"), status })
            }
        }
    }
}
