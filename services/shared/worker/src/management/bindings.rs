//! Bindings that nobody declared: what reaches Saldo's queues and exchanges otherwise than it should, and what hears
//! commands besides. Only reads.
//!
//! The broker holds what is published to an exchange against topic permissions, and not what comes to it from another
//! exchange. So a binding from somewhere else is a way past them, and whoever made it may be gone.

use serde::Deserialize;

use super::{Difference, Management, ManagementError};
use crate::topology::{COMMANDS, Topology};

#[derive(Debug, Deserialize)]
struct Found {
    source: String,
    destination: String,
    destination_type: String,
    routing_key: String,
}

impl Management {
    /// Bindings to the topology's queues and exchanges that it does not have.
    ///
    /// # Errors
    /// The API cannot be used.
    pub async fn foreign_bindings(&self, topology: &Topology) -> Result<Vec<Difference>, ManagementError> {
        let found: Vec<Found> = self.list(&["bindings", self.vhost()], "").await?;
        Ok(found.iter().filter(|found| found.is_foreign_to(topology)).map(Found::difference).collect())
    }
}

impl Found {
    fn is_foreign_to(&self, topology: &Topology) -> bool {
        let Self { source, destination, destination_type, routing_key } = self;
        if destination_type != "queue" {
            return topology.exchanges.iter().any(|exchange| exchange.name == destination);
        }
        let declared = topology.bindings.iter().any(|binding| {
            binding.exchange == source && binding.queue == *destination && binding.routing_key == *routing_key
        });
        // The default exchange has one to each queue, which nobody can remove. What else hears commands hears payout
        // details, and what it takes is no stray any more.
        let to_own = !source.is_empty() && topology.queues.iter().any(|queue| queue.name == *destination);
        !declared && (to_own || source == COMMANDS)
    }

    fn difference(&self) -> Difference {
        let Self { source, destination, routing_key, .. } = self;
        let object = format!("binding {source} -> {destination} with key \"{routing_key}\"");
        Difference::new(&object, "is none of Saldo's")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::{EVENTS, Limits};

    #[test]
    fn only_what_leads_to_saldos_own_and_was_not_declared_is_foreign() {
        let topology = Topology::new(Limits::default());
        let foreign = |source: &str, destination: &str, destination_type: &str, routing_key: &str| {
            let text = str::to_owned;
            let (source, destination, routing_key) = (text(source), text(destination), text(routing_key));
            Found { source, destination, destination_type: text(destination_type), routing_key }
                .is_foreign_to(&topology)
        };
        for binding in &topology.bindings {
            assert!(!foreign(binding.exchange, &binding.queue, "queue", &binding.routing_key));
        }
        assert!(!foreign("", "saldo.commissions", "queue", "saldo.commissions"));
        assert!(!foreign(EVENTS, "acme-events", "queue", "acme.#"));
        assert!(foreign("own", COMMANDS, "exchange", ""));
        assert!(foreign("own", "saldo.commissions", "queue", "#"));
        assert!(foreign(COMMANDS, "saldo.commissions", "queue", "#"));
        assert!(foreign(COMMANDS, "tap", "queue", "#"));
    }
}
