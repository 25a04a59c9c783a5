//! Messages of a queue over HTTP: for those that no AMQP client can receive.
//!
//! [`Management::peek`] takes messages from the head of a queue and returns them: they are then behind all that were
//! returned before, and before all that were never handed out. [`Management::take_first`] takes one for good, whichever
//! it is: a crash right after it has lost that message.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::{Method, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Management, ManagementError};
use crate::topology::{DEAD, PROBE};

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
    /// The body, as much of it as was asked for.
    pub(crate) fn body(&self) -> Vec<u8> {
        STANDARD.decode(&self.payload).unwrap_or_default()
    }

    /// The exchange that leads to its queue, and nowhere else.
    fn way_back(&self) -> &str {
        if self.exchange == DEAD { DEAD } else { "amq.default" }
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

    /// Whether the API's user may put back what was taken: nothing is to be taken before that is known.
    ///
    /// # Errors
    /// It may not, or the API cannot be used.
    pub(crate) async fn check_put_back(&self, message: &Peeked) -> Result<(), ManagementError> {
        // Nobody has such a queue, so that nothing becomes of it.
        let body = json!({
            "properties": {}, "routing_key": PROBE, "payload": "", "payload_encoding": "base64",
        });
        let exchange = message.way_back();
        let path = ["exchanges", &self.vhost, exchange, "publish"];
        match self.request(Method::POST, &path, None, Some(&body)).await?.status() {
            StatusCode::OK => Ok(()),
            status => Err(ManagementError::Unexpected {
                object: format!("the right to write {exchange}, by which a letter would be put back"),
                status,
            }),
        }
    }

    /// Publishes what was taken to the same queue, through the exchange it came by where that leads nowhere else. As
    /// whom it was published the API's user can say of itself only: that is left out where it is refused.
    ///
    /// # Errors
    /// The API cannot be used, or the message went to no queue.
    pub(crate) async fn put_back(&self, queue: &str, message: &Peeked) -> Result<(), ManagementError> {
        let path = ["exchanges", &self.vhost, message.way_back(), "publish"];
        let mut properties = message.properties.clone();
        if let Some(known) = properties.as_object_mut() {
            // By these it would go elsewhere, with the rights of the API's user, or vanish.
            for name in ["expiration", "reply_to"] {
                known.remove(name);
            }
            if let Some(headers) = known.get_mut("headers").and_then(Value::as_object_mut) {
                headers.retain(|name, _| name != "CC" && name != "BCC");
            }
        }
        loop {
            let body = json!({
                "properties": if properties.is_object() { properties.clone() } else { json!({}) },
                "routing_key": queue, "payload": message.payload, "payload_encoding": "base64",
            });
            let answer = self.request(Method::POST, &path, None, Some(&body)).await?;
            let status = answer.status();
            let answer: Value = answer.json().await.unwrap_or_default();
            if answer["routed"] == true {
                return Ok(());
            }
            if properties.as_object_mut().and_then(|known| known.remove("user_id")).is_none() {
                return Err(ManagementError::Unexpected { object: format!("a message for {queue}"), status });
            }
        }
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
