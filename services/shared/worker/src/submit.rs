//! Sending commands as a publisher does, and learning what became of each.
//!
//! Every command names the user who publishes (`user_id`), which the broker holds to: what a shop's staff does needs
//! it. A window of commands is published pipelined, mandatory and persistent; the answer says of every one whether a
//! queue has it. When the connection fails nothing is known of the window: sending it again is right, because a
//! command's key makes it count once.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::{join_all, try_join_all};
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions, ExchangeDeclareOptions};
use lapin::types::{FieldTable, ShortString};
use lapin::{Channel, Confirmation, Connection, ErrorKind, ExchangeKind};
use time::OffsetDateTime;
use tokio::time::timeout;

use crate::broker::{Address, BrokerError, Outgoing, Purpose, connect};
use crate::topology::COMMANDS;

const PERSISTENT: u8 = 2;
const ACCESS_REFUSED: u16 = 403;
const NOT_FOUND: u16 = 404;

/// What the broker did with a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Submission {
    /// A queue has it, durably.
    Confirmed,
    /// The queue is full, or nobody keeps it at the moment; worth another try in a while.
    Full,
    /// No queue takes its routing key.
    Unroutable,
    /// The user may not publish with its routing key, in the broker's words.
    Forbidden(String),
}

/// Why nothing can be sent.
#[derive(Debug, thiserror::Error)]
pub enum SubmitError {
    /// The exchange for commands does not exist.
    #[error("the broker has no exchange {COMMANDS}; run `saldo topology apply`")]
    NoExchange,
    /// The broker, or the way to it.
    #[error(transparent)]
    Broker(#[from] BrokerError),
}

/// A command to be sent: its routing key and its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Command<'a> {
    /// `<merchant>.<type without version>`
    pub routing_key: &'a str,
    /// The message.
    pub body: &'a [u8],
    /// The AMQP message id, which a dead letter of the command keeps.
    pub message_id: &'a str,
}

/// A connection for sending commands.
#[derive(Debug)]
pub struct Submitter {
    connection: Connection,
    channel: Channel,
    user: ShortString,
    timeout: Duration,
}

impl Submitter {
    /// Connects. `within` bounds the connecting, and later each window.
    ///
    /// # Errors
    /// The broker cannot be reached or has no exchange for commands.
    pub async fn connect(broker: &Address, name: &str, within: Duration) -> Result<Self, SubmitError> {
        let user = ShortString::try_new(broker.user()).map_err(|_| BrokerError::User)?;
        let connection = connect(broker, name, Purpose::Publish, within).await?;
        let asked = connection.create_channel().await.map_err(BrokerError::from)?;
        let options = ExchangeDeclareOptions { passive: true, ..Default::default() };
        let declared =
            asked.exchange_declare(COMMANDS.into(), ExchangeKind::Topic, options, FieldTable::default());
        match declared.await {
            Err(error) if refusal(&error, NOT_FOUND).is_some() => return Err(SubmitError::NoExchange),
            answer => answer.map_err(BrokerError::from)?,
        }
        let channel = confirming(&connection).await?;
        Ok(Self { connection, channel, user, timeout: within })
    }

    /// Sends the commands and waits until the broker has answered for every one; one answer for each, in order.
    ///
    /// # Errors
    /// The connection failed or the broker was silent: any of them may or may not have been taken.
    pub async fn submit(&mut self, commands: &[Command<'_>]) -> Result<Vec<Submission>, BrokerError> {
        match self.window(commands).await {
            Err(BrokerError::Lost(error)) if refusal(&error, ACCESS_REFUSED).is_some() => {
                // The refusal of one key closed the channel for all.
                self.by_key(commands).await
            }
            answer => answer,
        }
    }

    /// The commands of each key by themselves, so that one that is refused does not stop the others.
    async fn by_key(&mut self, commands: &[Command<'_>]) -> Result<Vec<Submission>, BrokerError> {
        let mut places: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (place, command) in commands.iter().enumerate() {
            places.entry(command.routing_key).or_default().push(place);
        }
        let mut answers = vec![Submission::Full; commands.len()];
        for places in places.into_values() {
            let group: Vec<Command<'_>> = places.iter().map(|place| commands[*place]).collect();
            self.channel = confirming(&self.connection).await?;
            let group = match self.window(&group).await {
                Ok(group) => group,
                Err(BrokerError::Lost(error)) => match refusal(&error, ACCESS_REFUSED) {
                    Some(words) => vec![Submission::Forbidden(words); places.len()],
                    None => return Err(error.into()),
                },
                Err(error) => return Err(error),
            };
            for (place, answer) in places.into_iter().zip(group) {
                answers[place] = answer;
            }
        }
        self.channel = confirming(&self.connection).await?;
        Ok(answers)
    }

    async fn window(&self, commands: &[Command<'_>]) -> Result<Vec<Submission>, BrokerError> {
        timeout(self.timeout, self.publish(commands)).await.unwrap_or_else(|_| {
            let blocked = self.connection.status().blocked();
            Err(BrokerError::Silent { after: self.timeout, blocked })
        })
    }

    async fn publish(&self, commands: &[Command<'_>]) -> Result<Vec<Submission>, BrokerError> {
        // From when on a command's age counts, where the broker does not say: see `metrics`.
        let now = u64::try_from(OffsetDateTime::now_utc().unix_timestamp()).unwrap_or(0);
        let mut starts = Vec::with_capacity(commands.len());
        for command in commands {
            let short = |text| ShortString::try_new(text).map_err(|_| BrokerError::RoutingKey);
            let routing_key = short(command.routing_key)?;
            let outgoing = Outgoing::command(command, &self.user);
            starts.push(self.channel.basic_publish(
                outgoing.exchange.into(),
                routing_key,
                BasicPublishOptions { mandatory: outgoing.mandatory, ..Default::default() },
                outgoing.body,
                outgoing.properties.with_delivery_mode(PERSISTENT).with_timestamp(now),
            ));
        }
        let mut answers = Vec::with_capacity(commands.len());
        for confirmation in join_all(try_join_all(starts).await?).await {
            answers.push(match confirmation? {
                Confirmation::Ack(None) => Submission::Confirmed,
                Confirmation::Ack(Some(_)) => Submission::Unroutable,
                Confirmation::Nack(_) => Submission::Full,
                Confirmation::NotRequested => return Err(BrokerError::Unconfirmed),
            });
        }
        Ok(answers)
    }
}

async fn confirming(connection: &Connection) -> Result<Channel, BrokerError> {
    let channel = connection.create_channel().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    Ok(channel)
}

/// What the broker said when it closed the channel with this code.
pub(crate) fn refusal(error: &lapin::Error, code: u16) -> Option<String> {
    match error.kind() {
        ErrorKind::ProtocolError(refusal) if refusal.get_id() == code => {
            Some(refusal.get_message().as_str().to_owned())
        }
        _ => None,
    }
}
