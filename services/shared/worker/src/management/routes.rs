//! Where the broker really hands commands: its bindings as they are. Only reads.
//!
//! What no queue is bound for is confirmed all the same, because the alternate exchange takes it: whoever publishes cannot
//! tell by the answer.

use super::bindings::Binding;
use super::{Management, ManagementError};
use crate::topology::{self, COMMANDS};

/// The bindings of [`COMMANDS`], as they were at one moment.
#[derive(Debug, Clone, Default)]
pub struct Routes(Vec<Binding>);

impl Routes {
    /// Whether a command with this routing key gets to this worker's queue. A way round by other exchanges, which is none
    /// of Saldo's, does not count.
    pub fn lead_to(&self, worker: &str, routing_key: &str) -> bool {
        let queue = topology::queue(worker);
        let ends_there = |route: &&Binding| route.destination_type == "queue" && route.destination == queue;
        self.0.iter().filter(ends_there).any(|route| topology::takes(&route.routing_key, routing_key))
    }
}

impl Management {
    /// Reads them. It takes a user who may enter the virtual host, with the tag `management`.
    ///
    /// # Errors
    /// The API cannot be used.
    pub async fn routes(&self) -> Result<Routes, ManagementError> {
        self.list(&["exchanges", self.vhost(), COMMANDS, "bindings", "source"], "").await.map(Routes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn routes(bound: &[(&str, &str, &str)]) -> Routes {
        let route = |(destination, destination_type, routing_key): &(&str, &str, &str)| {
            let text = |text: &str| text.to_owned();
            Binding {
                source: COMMANDS.to_owned(),
                destination: text(destination),
                destination_type: text(destination_type),
                routing_key: text(routing_key),
            }
        };
        Routes(bound.iter().map(route).collect())
    }

    #[test]
    fn only_a_binding_of_the_workers_own_queue_that_takes_the_key_leads_there() {
        let key = "acme.commission.credit";
        for pattern in ["*.commission.#", "#", "acme.commission.credit", "acme.*.credit", "#.credit"] {
            assert!(
                routes(&[("saldo.commissions", "queue", pattern)]).lead_to("commissions", key),
                "{pattern}"
            );
        }
        for pattern in ["*.adjustment.#", "*.commission", "acme.commission.credit.*", "commission.#", ""] {
            assert!(
                !routes(&[("saldo.commissions", "queue", pattern)]).lead_to("commissions", key),
                "{pattern}"
            );
        }
        let elsewhere = [
            ("saldo.adjustments", "queue", "#"),
            ("tap", "queue", "#"),
            ("saldo.commissions", "exchange", "#"),
        ];
        assert!(!routes(&elsewhere).lead_to("commissions", key));
        assert!(!routes(&[]).lead_to("commissions", key));
    }
}
