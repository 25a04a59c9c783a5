//! A user's open connections. Each channel remembers what its user was allowed there, until it has nothing to do for a while: other
//! rights count for what is done anew, and for a busy channel not at all.
//!
//! The broker lists a connection once it has gathered statistics, every 5 s by default, and by then may have gone on with it.
//! [`Management::disconnect`] therefore looks for longer than that, and leaves alone what was connected after it was called, or
//! within [`CLOCK_STEP`] of that: who connects again has the new rights. Interrupted, it has closed some of them; again it goes on.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;
use tokio::time::{Instant, sleep};

use super::{CLOCK_STEP, Management, ManagementError, Method, StatusCode};

/// Longer than a broker as it is shipped takes to list a new connection.
const LISTED_WITHIN: Duration = Duration::from_secs(6);

const PAUSE: Duration = Duration::from_millis(500);

#[derive(Debug, Deserialize)]
struct Found {
    name: String,
    #[serde(default)]
    user: String,
    /// In milliseconds since 1970, by the broker's clock.
    #[serde(default)]
    connected_at: i128,
}

impl Management {
    /// How many connections to the virtual host each of these users has open, as far as they are listed already.
    ///
    /// # Errors
    /// The API cannot be used: it takes the tag `monitoring` or `administrator`.
    pub async fn connections_of(&self, users: &[&str]) -> Result<BTreeMap<String, usize>, ManagementError> {
        Ok(counted(&self.listed(users).await?))
    }

    /// Closes the connections to the virtual host that these users have open; how many each had.
    ///
    /// # Errors
    /// The API cannot be used: it takes the tag `administrator`. Some may be closed by then.
    pub async fn disconnect(&self, users: &[&str]) -> Result<BTreeMap<String, usize>, ManagementError> {
        let began = Instant::now();
        let now = self.clock().await?.map(|(now, _)| now + CLOCK_STEP);
        let before = |found: &Found| {
            now.is_none_or(|now| found.connected_at * 1_000_000 <= now.unix_timestamp_nanos())
        };
        let mut closed: Vec<Found> = Vec::new();
        loop {
            for found in self.listed(users).await?.into_iter().filter(before) {
                if !closed.iter().any(|closed| closed.name == found.name) {
                    self.close(&found.name).await?;
                    closed.push(found);
                }
            }
            if began.elapsed() > LISTED_WITHIN {
                return Ok(counted(&closed));
            }
            sleep(PAUSE).await;
        }
    }

    async fn listed(&self, users: &[&str]) -> Result<Vec<Found>, ManagementError> {
        let query = "columns=name,user,connected_at";
        let mut found: Vec<Found> = self.list(&["vhosts", self.vhost(), "connections"], query).await?;
        found.retain(|found| users.contains(&found.user.as_str()));
        Ok(found)
    }

    async fn close(&self, name: &str) -> Result<(), ManagementError> {
        let answer = self.request(Method::DELETE, &["connections", name], None, None).await?;
        match answer.status() {
            // It may have gone by itself.
            StatusCode::NO_CONTENT | StatusCode::NOT_FOUND => Ok(()),
            status => Err(ManagementError::Unexpected { object: format!("connection {name}"), status }),
        }
    }
}

fn counted(connections: &[Found]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for Found { user, .. } in connections {
        *counts.entry(user.clone()).or_default() += 1;
    }
    counts
}
