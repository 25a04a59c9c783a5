//! How the broker itself is: version, nodes, alarms, connections that it blocks, its clock. Only reads.

use std::time::{Duration, SystemTime};

use serde::Deserialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;

use super::{Management, ManagementError, Method};

/// A node of the cluster, as its statistics tell.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// Whether it runs.
    pub running: bool,
    /// Whether it takes no messages because memory is short.
    pub mem_alarm: bool,
    /// Whether it takes no messages because the disk is full.
    pub disk_free_alarm: bool,
    /// File descriptors in use. Newer versions do not count them: 0.
    pub fd_used: u64,
    /// File descriptors that it may have; 0: not counted.
    pub fd_total: u64,
    /// Nodes that it has lost sight of and that run.
    pub partitions: Vec<String>,
}

/// A connection to the broker.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct ConnectionState {
    /// As whom.
    pub user: String,
    /// `running`, `flow`, `blocking`, `blocked` …
    pub state: String,
}

/// What [`Management::clock`] tells may be as much later than it says: the header that it comes from has no fractions, and the
/// broker's web server writes it anew once a second.
pub const CLOCK_STEP: Duration = Duration::from_secs(2);

impl Management {
    /// The broker's version, such as `3.10.8`.
    ///
    /// # Errors
    /// The API cannot be used.
    pub async fn version(&self) -> Result<String, ManagementError> {
        #[derive(Deserialize)]
        struct Overview {
            rabbitmq_version: String,
        }
        let overview: Overview = self.list(&["overview"], "").await?;
        Ok(overview.rabbitmq_version)
    }

    /// All nodes of the cluster.
    ///
    /// # Errors
    /// The API cannot be used: it takes the tag `monitoring` or `administrator`.
    pub async fn nodes(&self) -> Result<Vec<Node>, ManagementError> {
        self.list(&["nodes"], "").await
    }

    /// All connections to the virtual host.
    ///
    /// # Errors
    /// The API cannot be used.
    pub async fn connections(&self) -> Result<Vec<ConnectionState>, ManagementError> {
        self.list(&["vhosts", self.vhost(), "connections"], "columns=user,state").await
    }

    /// The time by the broker's clock, to a second, and ours just before it was asked for; `None`: it does not say.
    ///
    /// # Errors
    /// The API cannot be used.
    pub async fn clock(&self) -> Result<Option<(OffsetDateTime, SystemTime)>, ManagementError> {
        let asked = SystemTime::now();
        let answer = self.request(Method::GET, &["whoami"], None, None).await?;
        // HTTP's date is RFC 2822's, with the zone by name (RFC 9110, 5.6.7).
        let date = answer.headers().get("date").and_then(|date| date.to_str().ok());
        let date = date.and_then(|date| OffsetDateTime::parse(date, &Rfc2822).ok());
        Ok(date.map(|date| (date, asked)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_date_of_an_answer_is_read() {
        let date = OffsetDateTime::parse("Mon, 30 Nov 2026 14:04:19 GMT", &Rfc2822).unwrap();
        assert_eq!(date.unix_timestamp(), 1_796_047_459);
    }
}
