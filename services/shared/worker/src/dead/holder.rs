//! A connection that holds letters. It may be lost by what it receives, so that nothing is asked of it without a look
//! whether it is still there: the client waits for ever for the rest of a frame that it has refused.

use std::time::Duration;

use lapin::options::{BasicAckOptions, BasicGetOptions, BasicNackOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{Channel, Connection};
use tokio::time::{Instant, sleep, timeout};

use super::letter::Seen;
use super::{Access, GLANCE, WalkError};
use crate::broker::{BrokerError, Purpose, connect};
use crate::submit::refusal;

const NOT_FOUND: u16 = 404;
const NORMAL: u16 = 200;

/// For closing a connection; one that is lost does not answer.
const GOODBYE: Duration = Duration::from_secs(2);

/// What a queue gave.
pub(super) enum Got {
    /// A letter, and the tag that it is held under.
    Letter(u64, Box<Seen>),
    /// It is empty.
    Nothing,
    /// The connection was lost.
    Lost,
}

/// A connection with one channel.
#[derive(Debug)]
pub(super) struct Holder {
    connection: Connection,
    channel: Channel,
    within: Duration,
}

impl Holder {
    pub(super) async fn open(access: &Access) -> Result<Self, WalkError> {
        let connection = connect(&access.broker, "saldo dead", Purpose::Consume, access.within).await?;
        let channel = connection.create_channel().await?;
        Ok(Self { connection, channel, within: access.within })
    }

    /// How many messages nobody holds; and everything that was said before on this connection has been heard.
    pub(super) async fn ready(&self, queue: &str) -> Result<usize, WalkError> {
        let options = QueueDeclareOptions { passive: true, ..Default::default() };
        let declared = self.channel.queue_declare(queue.into(), options, FieldTable::default());
        match self.unless_lost(declared).await? {
            Some(Ok(declared)) => Ok(usize::try_from(declared.message_count()).unwrap_or(usize::MAX)),
            Some(Err(error)) if refusal(&error, NOT_FOUND).is_some() => {
                Err(WalkError::Missing(queue.to_owned()))
            }
            Some(Err(error)) => Err(error.into()),
            None => Err(WalkError::NotHeld(queue.to_owned())),
        }
    }

    /// The next message.
    pub(super) async fn get(&self, queue: &str) -> Result<Got, WalkError> {
        let got = self.channel.basic_get(queue.into(), BasicGetOptions::default());
        match self.unless_lost(got).await? {
            Some(Ok(Some(got))) => {
                Ok(Got::Letter(got.delivery.delivery_tag, Box::new(Seen::from(got.delivery))))
            }
            Some(Ok(None)) => Ok(Got::Nothing),
            Some(Err(error)) if self.connection.status().connected() => Err(error.into()),
            Some(Err(_)) | None => Ok(Got::Lost),
        }
    }

    pub(super) async fn ack(&self, queue: &str, tag: u64) -> Result<(), WalkError> {
        self.channel.basic_ack(tag, BasicAckOptions::default()).await?;
        self.ready(queue).await.map(drop)
    }

    pub(super) async fn give_back(&self, tag: u64) -> Result<(), WalkError> {
        let options = BasicNackOptions { requeue: true, multiple: false };
        Ok(self.channel.basic_nack(tag, options).await?)
    }

    /// The broker's answer; `None`: the connection was lost before it came.
    async fn unless_lost<T>(&self, answer: impl Future<Output = T>) -> Result<Option<T>, WalkError> {
        let began = Instant::now();
        let mut answer = std::pin::pin!(answer);
        loop {
            tokio::select! {
                answer = &mut answer => return Ok(Some(answer)),
                () = sleep(GLANCE) => {}
            }
            if !self.connection.status().connected() {
                return Ok(None);
            }
            if began.elapsed() > self.within {
                let blocked = self.connection.status().blocked();
                return Err(BrokerError::Silent { after: self.within, blocked }.into());
            }
        }
    }

    pub(super) async fn end(self) {
        let _ = timeout(GOODBYE, self.connection.close(NORMAL, "".into())).await;
    }
}
