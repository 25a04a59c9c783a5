//! What queues hold, as the management API's statistics tell it: up to 5 s old, and free for the queues themselves.
//!
//! **How long the first message has waited** nobody tells of a quorum queue, and looking at it would count as a
//! delivery of it. But the queue counts what it was given, and keeps its order: when as many messages as are behind the
//! first had not come yet, neither had the first. So its age is read from the history of that count, which is kept for an
//! hour in steps that grow with age ([`HISTORIES`]): a lower bound, which falls short by a step at most. Counts are of
//! what publishers sent: what the broker itself moves into a queue of dead letters is not among them.

use std::time::Duration;

use serde::Deserialize;

use super::{Management, ManagementError};

/// Queues of one answer, which the API allows no more of.
const PAGE: usize = 500;

/// How far back the broker keeps a count, and in what steps, in seconds: its `basic` retention policy.
const HISTORIES: [(u64, u64); 2] = [(600, 5), (3_600, 60)];

/// What a queue holds.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct QueueState {
    /// Its name.
    pub name: String,
    /// Whether somebody keeps it: a quorum queue without a leader takes nothing and gives nothing.
    pub has_leader: bool,
    /// Dead letters that it still has to hand on, and that are neither in this queue nor in another one for anybody to see.
    pub handing_on: u64,
    /// Messages that nobody has been given.
    pub ready: u64,
    /// Messages that consumers hold and have not acked.
    pub unacked: u64,
    /// Who consumes.
    pub consumers: u64,
    /// Messages a second that came lately.
    pub arriving: f64,
    /// Messages a second that were acked lately.
    pub leaving: f64,
}

/// How long a queue's first message has been in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waited {
    /// There is none.
    Empty,
    /// For so long at least: up to a step more, or, from the end of the history on, any time.
    AtLeast(Duration),
    /// The history of the queue does not tell: the broker was started since it came, or has not counted it yet.
    Unknown,
}

#[derive(Debug, Deserialize)]
struct Page {
    items: Vec<Found>,
    page_count: u64,
}

/// The API's own words for a queue. What has not been counted yet is missing.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Found {
    name: String,
    leader: Option<String>,
    messages_dlx: u64,
    messages_ready: u64,
    messages_unacknowledged: u64,
    consumers: u64,
    message_stats: Stats,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Stats {
    publish: u64,
    publish_details: Details,
    ack_details: Details,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Details {
    rate: f64,
    samples: Vec<Sample>,
}

/// How many had come by a moment, in milliseconds since 1970 by the broker's clock.
#[derive(Debug, Clone, Copy, Deserialize)]
struct Sample {
    sample: u64,
    timestamp: u64,
}

impl Management {
    /// All queues of the virtual host, by name.
    ///
    /// # Errors
    /// The API cannot be used.
    pub async fn queues(&self) -> Result<Vec<QueueState>, ManagementError> {
        let mut queues = Vec::new();
        for page in 1.. {
            let query = format!("page={page}&page_size={PAGE}&sort=name");
            let answer: Page = self.list(&["queues", &self.vhost], &query).await?;
            queues.extend(answer.items.into_iter().map(QueueState::from));
            if page >= answer.page_count {
                break;
            }
        }
        Ok(queues)
    }

    /// How long the queue's first message has been in it.
    ///
    /// # Errors
    /// The API cannot be used.
    pub async fn waited(&self, queue: &str) -> Result<Waited, ManagementError> {
        let mut waited = Waited::Empty;
        for (age, step) in HISTORIES {
            let query = format!("msg_rates_age={age}&msg_rates_incr={step}");
            let path = ["queues", &self.vhost, queue];
            let found: Option<Found> = self.get(&format!("queue {queue}"), &path, Some(&query)).await?;
            let (so_far, complete) = found.map_or((Waited::Empty, true), Found::waited);
            waited = so_far;
            if complete {
                break;
            }
        }
        Ok(waited)
    }
}

impl Found {
    /// How long the first message has waited, and whether a longer history would tell no more.
    fn waited(mut self) -> (Waited, bool) {
        let held = self.messages_ready + self.messages_unacknowledged;
        if held == 0 {
            return (Waited::Empty, true);
        }
        let Some(before) = self.message_stats.publish.checked_sub(held) else {
            return (Waited::Unknown, true);
        };
        let mut history = std::mem::take(&mut self.message_stats.publish_details.samples);
        history.sort_unstable_by_key(|counted| counted.timestamp);
        let Some(now) = history.last().map(|newest| newest.timestamp) else {
            return (Waited::Unknown, true);
        };
        let came = history.partition_point(|counted| counted.sample <= before);
        // Not counted yet, or counted in the step that is going on.
        let by = history.get(came).map_or(now, |counted| counted.timestamp);
        (Waited::AtLeast(Duration::from_millis(now.saturating_sub(by))), came > 0)
    }
}

impl From<Found> for QueueState {
    fn from(found: Found) -> Self {
        Self {
            name: found.name,
            has_leader: found.leader.is_some_and(|node| !node.is_empty()),
            handing_on: found.messages_dlx,
            ready: found.messages_ready,
            unacked: found.messages_unacknowledged,
            consumers: found.consumers,
            arriving: found.message_stats.publish_details.rate,
            leaving: found.message_stats.ack_details.rate,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A queue that has so many of so many that came; the history newest first, as the API tells it: seconds and count.
    fn found(held: u64, publish: u64, history: &[(u64, u64)]) -> Found {
        let samples: Vec<_> =
            history.iter().map(|(at, count)| json!({ "sample": count, "timestamp": at * 1000 })).collect();
        let found = json!({
            "name": "q", "messages_ready": held - 1, "messages_unacknowledged": 1, "consumers": 2,
            "message_stats": { "publish": publish, "publish_details": { "rate": 1.5, "samples": samples } },
        });
        serde_json::from_value(found).unwrap()
    }

    fn at_least(seconds: u64) -> Waited {
        Waited::AtLeast(Duration::from_secs(seconds))
    }

    #[test]
    fn the_first_message_is_as_old_as_the_count_that_includes_it() {
        let history = [(120, 100), (115, 100), (110, 90), (105, 60), (100, 0)];
        for (held, waited) in [(5, 5), (10, 5), (11, 10), (40, 10), (41, 15), (100, 15)] {
            assert_eq!(found(held, 100, &history).waited(), (at_least(waited), true), "{held} of 100");
        }
    }

    #[test]
    fn a_message_from_before_the_history_asks_for_a_longer_one() {
        let history = [(120, 100), (115, 100), (110, 90)];
        assert_eq!(found(11, 100, &history).waited(), (at_least(10), false));
    }

    #[test]
    fn what_came_since_the_last_count_has_not_waited() {
        assert_eq!(found(2, 102, &[(120, 100), (115, 90)]).waited(), (at_least(0), true));
    }

    #[test]
    fn a_count_that_began_anew_tells_nothing() {
        assert_eq!(found(11, 10, &[(120, 10), (115, 0)]).waited(), (Waited::Unknown, true));
        assert_eq!(found(2, 10, &[]).waited(), (Waited::Unknown, true));
    }

    #[test]
    fn a_queue_that_was_never_used_has_no_statistics() {
        let found: Found = serde_json::from_value(json!({ "name": "q", "consumers": 0 })).unwrap();
        assert_eq!(found.waited(), (Waited::Empty, true));
    }
}
