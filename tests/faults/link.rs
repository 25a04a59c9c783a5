//! Connections to the broker for whatever goes on while it comes and goes.

use std::time::Duration;

use lapin::uri::AMQPUri;
use lapin::{Channel, Connection, ConnectionProperties};
use tokio::time::timeout;

/// How long the broker may take to answer anything.
pub(crate) const SILENCE: Duration = Duration::from_secs(10);

/// A peer that is silent for twice this long is gone.
const HEARTBEAT_SECONDS: u16 = 5;

/// A connection with one channel.
pub(crate) struct Link {
    pub(crate) connection: Connection,
    pub(crate) channel: Channel,
}

impl Link {
    /// Straight to the broker, with a name that its management pages show.
    ///
    /// # Errors
    /// Why there is none.
    pub(crate) async fn open(url: &str, name: &str) -> Result<Self, String> {
        let mut uri: AMQPUri = url.parse()?;
        uri.query.heartbeat = Some(HEARTBEAT_SECONDS);
        let properties = ConnectionProperties::default().with_connection_name(name.into());
        let connection = within(Connection::connect_uri(uri, properties)).await?;
        let channel = within(connection.create_channel()).await?;
        Ok(Self { connection, channel })
    }
}

/// What the broker answers, or why it does not.
///
/// # Errors
/// An error or silence, as text.
pub(crate) async fn within<T>(answer: impl Future<Output = lapin::Result<T>>) -> Result<T, String> {
    match timeout(SILENCE, answer).await {
        Ok(answer) => answer.map_err(|error| error.to_string()),
        Err(_) => Err(format!("no answer within {SILENCE:?}")),
    }
}
