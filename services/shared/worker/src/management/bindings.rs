//! Ways that nobody declared: bindings, dead-letter and alternate exchanges that reach Saldo's queues and exchanges otherwise
//! than they should, and what hears commands besides. Only reads.
//!
//! The broker holds what is published to an exchange against topic permissions, and not what comes to it from another exchange,
//! as a dead letter or as a stray. So each of these is a way past them, and whoever made it may be gone.
//!
//! Not seen: shovels and federation, which publish as users of their own, and dead letters of a queue whose dead-letter
//! exchange is the default one and that names no key: they keep the key that they came with, which a publisher chose.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::{Difference, Management, ManagementError, Remedy};
use crate::topology::{COMMANDS, Topology};

/// The API's own words for a binding.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Binding {
    pub(super) source: String,
    pub(super) destination: String,
    pub(super) destination_type: String,
    pub(super) routing_key: String,
}

/// The API's own words for a queue or an exchange.
#[derive(Debug, Deserialize)]
struct Object {
    name: String,
    #[serde(default)]
    arguments: Value,
}

/// The API's own words for a policy.
#[derive(Debug, Deserialize)]
struct Policy {
    name: String,
    definition: Map<String, Value>,
}

impl Management {
    /// Whatever leads to the topology's queues and exchanges and does not belong to it.
    ///
    /// # Errors
    /// The API cannot be used.
    pub async fn foreign_ways(&self, topology: &Topology) -> Result<Vec<Difference>, ManagementError> {
        let bindings: Vec<Binding> = self.list(&["bindings", self.vhost()], "").await?;
        let exchanges: Vec<Object> = self.list(&["exchanges", self.vhost()], "").await?;
        let queues: Vec<Object> = self.list(&["queues", self.vhost()], "disable_stats=true").await?;
        let policies: Vec<Policy> = self.list(&["policies", self.vhost()], "").await?;
        let bound = bindings.iter().filter(|found| found.is_foreign_to(topology)).map(Binding::difference);
        let own_exchange = |found: &&Object| topology.exchanges.iter().any(|own| own.name == found.name);
        let own_queue = |found: &&Object| topology.queues.iter().any(|own| own.name == found.name);
        // What Saldo's own were declared with is compared by `check`.
        let exchanges =
            exchanges.iter().filter(|found| !own_exchange(found)).map(|found| ("exchange", found));
        let queues = queues.iter().filter(|found| !own_queue(found)).map(|found| ("queue", found));
        let declared = exchanges.chain(queues).filter_map(|(kind, found)| {
            let way =
                way_in(topology, |key| found.arguments.get(format!("x-{key}")).or(found.arguments.get(key)))?;
            Some(Difference::new(&format!("{kind} {}", found.name), way, Remedy::Remove))
        });
        let set = policies.iter().filter_map(|policy| {
            let way = way_in(topology, |key| policy.definition.get(key))?;
            Some(Difference::new(&format!("policy {}", policy.name), way, Remedy::Remove))
        });
        Ok(bound.chain(declared).chain(set).collect())
    }
}

/// Where arguments or a policy lead to, if that is Saldo's: by keys as policies have them.
fn way_in<'a>(topology: &Topology, value: impl Fn(&str) -> Option<&'a Value>) -> Option<String> {
    let text = |key: &str| value(key).and_then(Value::as_str);
    let is_own = |name: &&str| topology.exchanges.iter().any(|exchange| exchange.name == *name);
    if let Some(exchange) = text("alternate-exchange").filter(is_own) {
        return Some(format!("hands what it cannot route to {exchange}, which is none of Saldo's doing"));
    }
    let exchange = text("dead-letter-exchange")?;
    if is_own(&exchange) {
        return Some(format!("hands its dead letters to {exchange}, which is none of Saldo's doing"));
    }
    let queue = text("dead-letter-routing-key")
        .filter(|key| topology.queues.iter().any(|queue| queue.name == *key))?;
    exchange.is_empty().then(|| format!("hands its dead letters to {queue}, which is none of Saldo's doing"))
}

impl Binding {
    fn is_foreign_to(&self, topology: &Topology) -> bool {
        let Self { source, destination, destination_type, routing_key } = self;
        if destination_type != "queue" {
            return source == COMMANDS
                || topology.exchanges.iter().any(|exchange| exchange.name == destination);
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
        Difference::new(&object, "is none of Saldo's", Remedy::Remove)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::topology::{EVENTS, Limits};

    #[test]
    fn only_what_leads_to_saldos_own_and_was_not_declared_is_foreign() {
        let topology = Topology::new(Limits::default());
        let foreign = |source: &str, destination: &str, destination_type: &str, routing_key: &str| {
            let text = str::to_owned;
            let (source, destination, routing_key) = (text(source), text(destination), text(routing_key));
            Binding { source, destination, destination_type: text(destination_type), routing_key }
                .is_foreign_to(&topology)
        };
        for binding in &topology.bindings {
            assert!(!foreign(binding.exchange, &binding.queue, "queue", &binding.routing_key));
        }
        assert!(!foreign("", "saldo.commissions", "queue", "saldo.commissions"));
        assert!(!foreign(EVENTS, "acme-events", "queue", "acme.#"));
        assert!(!foreign(EVENTS, "acme-exchange", "exchange", "acme.#"));
        assert!(foreign("own", COMMANDS, "exchange", ""));
        assert!(foreign("own", "saldo.commissions", "queue", "#"));
        assert!(foreign(COMMANDS, "saldo.commissions", "queue", "#"));
        assert!(foreign(COMMANDS, "tap", "queue", "#"));
        assert!(foreign(COMMANDS, "tap", "exchange", "#"));
    }

    #[test]
    fn dead_letters_and_strays_that_lead_to_saldos_own_are_found() {
        let topology = Topology::new(Limits::default());
        let way = |definition: Value| way_in(&topology, |key| definition.get(key));
        for (definition, says) in [
            (
                json!({ "dead-letter-exchange": COMMANDS, "message-ttl": 0 }),
                "its dead letters to saldo.commands",
            ),
            (json!({ "alternate-exchange": COMMANDS }), "cannot route to saldo.commands"),
            (
                json!({ "dead-letter-exchange": "", "dead-letter-routing-key": "saldo.commissions" }),
                "its dead letters to saldo.commissions",
            ),
        ] {
            let found = way(definition.clone());
            assert!(found.as_ref().is_some_and(|found| found.contains(says)), "{definition}: {found:?}");
        }
        for definition in [
            json!({}),
            json!({ "dead-letter-exchange": "own", "dead-letter-routing-key": "saldo.commissions" }),
            json!({ "dead-letter-exchange": "", "dead-letter-routing-key": "own.dead" }),
            json!({ "alternate-exchange": "own", "max-length": 3 }),
        ] {
            assert_eq!(way(definition.clone()), None, "{definition}");
        }
    }
}
