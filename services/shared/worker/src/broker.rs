//! Connections to the broker, and publishing that is only done when the broker has confirmed it.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use contract::{CONTENT_TYPE, Event};
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::runtime::default_runtime;
use lapin::types::{FieldTable, FrameSize, ShortString};
use lapin::uri::{AMQPScheme, AMQPUri};
use lapin::{BasicProperties, Channel, Confirmation, Connection, ConnectionProperties, ErrorKind};
use tokio::time::timeout;

use crate::metrics;
use crate::submit::Command;
use crate::tls::Tls;
use crate::topology;

/// A peer that is silent for twice this long is gone.
const HEARTBEAT_SECONDS: u16 = 10;

const PERSISTENT: u8 = 2;

/// So many messages are handed to the connection at once: enough to fill its buffer, few enough that a batch of large
/// ones does not lie in memory twice.
const WINDOW: usize = 250;

/// The largest frame of a connection that only publishes; the client has room for 64 of them from the start. A body is cut
/// into frames, properties cannot be, but ours are far smaller. Where messages are consumed, a publisher's headers must
/// fit: there the broker's own limit stays.
const PUBLISH_FRAME: FrameSize = 32 * 1024;

/// Where the broker is, as whom one connects, and how TLS is spoken. Its `Debug` form has no password.
#[derive(Clone, Default)]
pub struct Address {
    uri: AMQPUri,
    tls: Tls,
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Address").field("vhost", &self.uri.vhost).finish_non_exhaustive()
    }
}

impl Address {
    /// An `amqp://` or `amqps://` URL.
    ///
    /// # Errors
    /// It is none; the text does not repeat it.
    pub fn parse(url: &str, tls: Tls) -> Result<Self, String> {
        let uri = url
            .parse()
            .map_err(|_| "expected a URL such as amqps://user:password@host/%2f or amqp://…".to_owned())?;
        // lapin takes an IPv6 address for none at all, and would connect to this machine.
        let authority = url.split_once("://").and_then(|(_, rest)| rest.split(['/', '?', '#']).next());
        let host = authority.map(|it| it.rsplit_once('@').map_or(it, |(_, host)| host));
        if host.is_none_or(|host| host.starts_with('[')) {
            return Err("has an IPv6 address; expected the host's name, or its IPv4 address".to_owned());
        }
        Ok(Self { uri, tls })
    }

    /// As whom one connects.
    pub fn user(&self) -> &str {
        &self.uri.authority.userinfo.username
    }

    /// The virtual host.
    pub fn vhost(&self) -> &str {
        &self.uri.vhost
    }

    /// How TLS is spoken, with the broker and with its management API.
    pub fn tls(&self) -> &Tls {
        &self.tls
    }

    /// Whether others can read what is sent: it leaves the machine, in clear.
    pub fn may_be_overheard(&self) -> bool {
        self.uri.scheme == AMQPScheme::AMQP && !ledger::tls::on_this_machine(&self.uri.authority.host)
    }
}

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Messages come in, and are acked.
    Consume,
    /// Messages go out.
    Publish,
}

impl Purpose {
    /// As it stands in the name of a connection.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Consume => "consume",
            Self::Publish => "publish",
        }
    }
}

/// Why the broker did not take something.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    /// The connection or channel failed.
    #[error("the connection to the broker failed")]
    Lost(#[from] lapin::Error),
    /// It does not know the user, or the password is another.
    #[error("the broker refuses this login")]
    Login(#[source] lapin::Error),
    /// There is no such virtual host, or the user may not enter it.
    #[error("the broker does not let this user into the virtual host")]
    NoEntry(#[source] lapin::Error),
    /// It is not who it should be, or does not speak TLS.
    #[error("TLS with the broker failed: {0}")]
    Tls(String),
    /// AMQP's names have at most 255 bytes.
    #[error("the broker's user has a name longer than 255 bytes")]
    User,
    /// No answer in time: the network, or a broker that is out of memory or disk and takes nothing.
    #[error("the broker did not answer within {} s{}", .after.as_secs(), if *.blocked { " (it blocks publishers)" } else { "" })]
    Silent {
        /// How long was waited.
        after: Duration,
        /// Whether the broker said that it blocks publishers.
        blocked: bool,
    },
    /// The broker refused: a queue that rejects when full is.
    #[error("the broker refused {0} messages (a queue that they go to is full or not available)")]
    Refused(usize),
    /// No queue takes the message.
    #[error("no queue takes {0} messages")]
    Unroutable(usize),
    /// AMQP's names have at most 255 bytes.
    #[error("a routing key is longer than 255 bytes")]
    RoutingKey,
    /// Confirms are off, which no channel of this module has.
    #[error("the broker was not asked to confirm")]
    Unconfirmed,
}

impl BrokerError {
    /// As metrics name it.
    pub(crate) const fn kind(&self) -> &'static str {
        match self {
            Self::Lost(_) | Self::Login(_) | Self::NoEntry(_) => "lost",
            Self::Tls(_) => "tls",
            Self::User | Self::RoutingKey | Self::Unconfirmed => "misuse",
            Self::Silent { .. } => "timeout",
            Self::Refused(_) => "refused",
            Self::Unroutable(_) => "unroutable",
        }
    }
}

/// Connects, with a name that operators see in the management pages.
///
/// # Errors
/// The broker cannot be reached in time, is not trusted, or refuses.
pub async fn connect(
    address: &Address,
    name: &str,
    purpose: Purpose,
    within: Duration,
) -> Result<Connection, BrokerError> {
    let Address { mut uri, tls } = address.clone();
    uri.query.heartbeat.get_or_insert(HEARTBEAT_SECONDS);
    if purpose == Purpose::Publish {
        uri.query.frame_max.get_or_insert(PUBLISH_FRAME);
    }
    let properties = ConnectionProperties::default().with_connection_name(name.into());
    let runtime = default_runtime()?;
    match timeout(within, Connection::connect_uri_with_config(uri, properties, tls.for_lapin(), runtime))
        .await
    {
        Ok(connected) => connected.map_err(refusal),
        Err(_) => Err(BrokerError::Silent { after: within, blocked: false }),
    }
}

/// Why a connection was not made.
fn refusal(error: lapin::Error) -> BrokerError {
    const ACCESS_REFUSED: u16 = 403;
    const NOT_ALLOWED: u16 = 530;
    if let Some(trouble) = ledger::tls::trouble(&error) {
        return BrokerError::Tls(trouble);
    }
    match error.kind() {
        ErrorKind::ProtocolError(why) if why.get_id() == ACCESS_REFUSED => BrokerError::Login(error),
        ErrorKind::ProtocolError(why) if why.get_id() == NOT_ALLOWED => BrokerError::NoEntry(error),
        _ => error.into(),
    }
}

/// A message to be published.
#[derive(Debug)]
pub struct Outgoing<'a> {
    /// To this exchange.
    pub exchange: &'a str,
    /// With this key.
    pub routing_key: &'a str,
    /// Whether a queue must take it.
    pub mandatory: bool,
    /// The bytes.
    pub body: &'a [u8],
    /// Properties; made persistent when published.
    pub properties: BasicProperties,
}

impl<'a> Outgoing<'a> {
    /// An event. Nobody has to be bound.
    pub fn event(event: &'a Event) -> Self {
        Self {
            exchange: topology::EVENTS,
            routing_key: &event.routing_key,
            mandatory: false,
            body: event.body.as_bytes(),
            properties: BasicProperties::default()
                .with_content_type(CONTENT_TYPE.into())
                .with_message_id(event.id.as_str().into()),
        }
    }

    /// A command, as this user publishes it.
    pub fn command(command: &Command<'a>, user: &ShortString) -> Self {
        Self {
            exchange: topology::COMMANDS,
            routing_key: command.routing_key,
            mandatory: true,
            body: command.body,
            properties: BasicProperties::default()
                .with_content_type(CONTENT_TYPE.into())
                .with_message_id(command.message_id.into())
                .with_user_id(user.clone()),
        }
    }
}

/// A channel that publishes with confirms.
#[derive(Debug)]
pub struct Publisher {
    connection: Arc<Connection>,
    channel: Channel,
    timeout: Duration,
}

impl Publisher {
    /// Opens a channel.
    ///
    /// # Errors
    /// The connection fails.
    pub async fn open(connection: Arc<Connection>, timeout: Duration) -> Result<Self, BrokerError> {
        let channel = connection.create_channel().await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        Ok(Self { connection, channel, timeout })
    }

    /// Publishes all of them, pipelined, and returns when the broker has confirmed every one.
    ///
    /// # Errors
    /// At least one was not confirmed; the others may have been.
    pub async fn publish(&self, messages: &[Outgoing<'_>]) -> Result<(), BrokerError> {
        let Some(first) = messages.first() else { return Ok(()) };
        let began = Instant::now();
        let published = self.publish_in_time(messages).await;
        metrics::published(first.exchange, messages.len(), began.elapsed(), published.as_ref().err());
        published
    }

    async fn publish_in_time(&self, messages: &[Outgoing<'_>]) -> Result<(), BrokerError> {
        let Ok(published) = timeout(self.timeout, self.publish_and_wait(messages)).await else {
            let blocked = self.connection.status().blocked();
            return Err(BrokerError::Silent { after: self.timeout, blocked });
        };
        published
    }

    async fn publish_and_wait(&self, messages: &[Outgoing<'_>]) -> Result<(), BrokerError> {
        let mut confirms = Vec::with_capacity(messages.len());
        for part in messages.chunks(WINDOW) {
            let mut starts = Vec::with_capacity(part.len());
            for message in part {
                let short = |text| ShortString::try_new(text).map_err(|_| BrokerError::RoutingKey);
                starts.push(Begun::poll(Box::pin(self.channel.basic_publish(
                    short(message.exchange)?,
                    short(message.routing_key)?,
                    BasicPublishOptions { mandatory: message.mandatory, ..Default::default() },
                    message.body,
                    message.properties.clone().with_delivery_mode(PERSISTENT),
                ))));
            }
            for start in starts {
                confirms.push(start.end().await?);
            }
        }
        let (mut refused, mut unroutable) = (0, 0);
        for confirm in confirms {
            match confirm.await? {
                Confirmation::Ack(None) => {}
                Confirmation::Ack(Some(_)) => unroutable += 1,
                Confirmation::Nack(_) => refused += 1,
                Confirmation::NotRequested => return Err(BrokerError::Unconfirmed),
            }
        }
        match (refused, unroutable) {
            (0, 0) => Ok(()),
            (0, strays) => Err(BrokerError::Unroutable(strays)),
            (refused, _) => Err(BrokerError::Refused(refused)),
        }
    }

    /// Publishes a message that no queue takes, and waits for the confirm: whether the broker takes anything
    /// at all right now. One that is out of memory or disk does not say so before something is published.
    ///
    /// # Errors
    /// It does not.
    pub async fn probe(&self) -> Result<(), BrokerError> {
        let probe = Outgoing {
            exchange: topology::DEAD,
            routing_key: topology::PROBE,
            mandatory: false,
            body: b"",
            properties: BasicProperties::default().with_headers(FieldTable::default()),
        };
        // No message to be counted.
        self.publish_in_time(&[probe]).await
    }
}

/// A future that was begun without anybody waiting for it yet. A batch's publishes are begun one after the other, then
/// awaited in their order, in which the broker's answers come too: by the time that the last one is awaited, most are
/// long there. `join_all` would wake its task for each of them.
enum Begun<F: Future> {
    Done(F::Output),
    Pending(Pin<Box<F>>),
}

impl<F: Future> Begun<F> {
    fn poll(mut future: Pin<Box<F>>) -> Self {
        match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(output) => Self::Done(output),
            Poll::Pending => Self::Pending(future),
        }
    }

    async fn end(self) -> F::Output {
        match self {
            Self::Done(output) => output,
            Self::Pending(future) => future.await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(url: &str) -> Result<Address, String> {
        Address::parse(url, Tls::default())
    }

    #[test]
    fn a_user_is_read_from_the_url_as_the_broker_knows_it() {
        let user = |url: &str| address(url).unwrap().user().to_owned();
        assert_eq!(user("amqp://saldo:secret@localhost:5672/%2f"), "saldo");
        assert_eq!(user("amqps://acme%2Fj%C3%B6rg%40shop:secret@localhost/v"), "acme/jörg@shop");
        assert_eq!(user("amqp://localhost"), "guest");
    }

    #[test]
    fn what_is_no_address_is_not_repeated_and_what_is_one_hides_its_password() {
        for (url, wanted) in [
            ("http://user:secret@localhost", "expected a URL such as"),
            ("secret", "expected a URL such as"),
            ("amqp:secret", "expected a URL such as"),
            ("amqps://user:secret@[2001:db8::1]/v", "has an IPv6 address"),
        ] {
            let problem = address(url).unwrap_err();
            assert!(problem.starts_with(wanted) && !problem.contains("secret"), "{problem}");
        }
        assert!(!format!("{:?}", address("amqps://user:secret@broker/v").unwrap()).contains("secret"));
    }

    #[test]
    fn only_what_leaves_the_machine_in_clear_may_be_overheard() {
        let overheard = |url: &str| address(url).unwrap().may_be_overheard();
        assert!(overheard("amqp://broker") && overheard("amqp://user:secret@192.0.2.1/v"));
        assert!(
            !overheard("amqps://broker") && !overheard("amqp://127.0.0.1") && !overheard("amqp://localhost")
        );
    }

    #[test]
    fn a_command_names_its_publisher_and_itself() {
        let command = Command { routing_key: "acme.commission.credit", body: b"{}", message_id: "run-1" };
        let outgoing = Outgoing::command(&command, &"saldo".into());
        assert_eq!((outgoing.exchange, outgoing.routing_key), (topology::COMMANDS, command.routing_key));
        assert!(outgoing.mandatory);
        let wanted = BasicProperties::default()
            .with_content_type(CONTENT_TYPE.into())
            .with_message_id("run-1".into())
            .with_user_id("saldo".into());
        assert_eq!(outgoing.properties, wanted);
    }
}
