//! What exists against what should: pure. Each problem comes with what mends it.

use std::fmt;

use serde_json::{Map, Value, json};

use crate::topology::{Binding, Exchange, Policy, Queue};

/// What is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Such as `queue saldo.commissions`.
    pub object: String,
    /// What is the matter with it, beginning with a verb.
    pub problem: String,
    /// What mends it.
    pub remedy: Remedy,
}

/// What mends a difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remedy {
    /// `saldo topology apply`
    Apply,
    /// To delete the object and have it made again: what it was declared with is fixed.
    Remake,
    /// To change a policy that is not Saldo's.
    Yield,
    /// To remove what nobody declared.
    Remove,
}

impl Difference {
    pub(super) fn new(object: &impl ToString, problem: impl Into<String>, remedy: Remedy) -> Self {
        Self { object: object.to_string(), problem: problem.into(), remedy }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.object, self.problem)
    }
}

/// What is the matter with an object, and what mends it.
type Problem = (String, Remedy);

pub(super) fn exchange(wanted: &Exchange, found: &Value) -> Vec<Problem> {
    let mut problems = Problems::new(Remedy::Remake);
    problems.compare("type", &json!(wanted.kind), &found["type"]);
    problems.compare("durable", &json!(true), &found["durable"]);
    problems.compare_all("argument ", &wanted.arguments, &found["arguments"]);
    problems.found
}

/// Also whether the policy that is in force is one of ours and, as far as statistics were gathered, that nothing
/// (an operator policy) changes it. Which of ours applies follows from their patterns and priorities, which are
/// compared by themselves.
pub(super) fn queue(wanted: &Queue, policies: &[Policy], found: &Value) -> Vec<Problem> {
    let mut problems = Problems::new(Remedy::Remake);
    problems.compare("durable", &json!(true), &found["durable"]);
    if let Some(kind) = wanted.arguments.get("x-queue-type") {
        problems.compare("type", kind, &found["type"]);
    }
    problems.compare_all("argument ", &wanted.arguments, &found["arguments"]);
    let Some(name) = found["policy"].as_str().filter(|name| !name.is_empty()) else {
        problems.found.push(("is under no policy".to_owned(), Remedy::Apply));
        return problems.found;
    };
    problems.remedy = Remedy::Yield;
    match policies.iter().find(|policy| policy.name == name) {
        None => problems.add(format!("is under the policy {name}, which is not Saldo's and hides Saldo's")),
        Some(policy) => {
            let effective = &found["effective_policy_definition"];
            if effective.is_object() {
                problems.compare_all("policy in force: ", &policy.definition, effective);
            }
        }
    }
    problems.found
}

pub(super) fn binding(wanted: &Binding, found: &Value) -> Vec<Problem> {
    let same = |binding: &Value| {
        binding["routing_key"] == wanted.routing_key.as_str()
            && binding["arguments"].as_object().is_none_or(Map::is_empty)
    };
    let bound = found.as_array().is_some_and(|bindings| bindings.iter().any(same));
    if bound { Vec::new() } else { vec![("is missing".to_owned(), Remedy::Apply)] }
}

pub(super) fn policy(wanted: &Policy, found: &Value) -> Vec<Problem> {
    let mut problems = Problems::new(Remedy::Apply);
    problems.compare("pattern", &json!(wanted.pattern), &found["pattern"]);
    problems.compare("apply-to", &json!("queues"), &found["apply-to"]);
    problems.compare("priority", &json!(wanted.priority), &found["priority"]);
    problems.compare_all("", &wanted.definition, &found["definition"]);
    problems.found
}

/// Problems that one remedy mends.
struct Problems {
    remedy: Remedy,
    found: Vec<Problem>,
}

impl Problems {
    fn new(remedy: Remedy) -> Self {
        Self { remedy, found: Vec::new() }
    }

    fn add(&mut self, problem: String) {
        self.found.push((problem, self.remedy));
    }

    fn compare(&mut self, name: &str, wanted: &Value, found: &Value) {
        match (wanted == found, found) {
            (true, _) => {}
            (false, Value::Null) => self.add(format!("lacks {name}, expected {wanted}")),
            (false, _) => self.add(format!("has {name} {found}, expected {wanted}")),
        }
    }

    /// Every key of either side.
    fn compare_all(&mut self, prefix: &str, wanted: &Map<String, Value>, found: &Value) {
        // An empty object is an empty array in some answers.
        let none = Map::new();
        let found = found.as_object().unwrap_or(&none);
        for (key, value) in wanted {
            self.compare(&format!("{prefix}{key}"), value, found.get(key).unwrap_or(&Value::Null));
        }
        for (key, value) in found.iter().filter(|(key, _)| !wanted.contains_key(*key)) {
            self.add(format!("has {prefix}{key} {value}, expected none"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::{Limits, Topology, queue as name_of};

    fn commissions() -> (Queue, Vec<Policy>) {
        let topology = Topology::new(Limits::default());
        let name = name_of("commissions");
        (topology.queues.into_iter().find(|queue| queue.name == name).unwrap(), topology.policies)
    }

    fn as_declared(wanted: &Queue, policies: &[Policy]) -> Value {
        let policy = policies.iter().find(|policy| policy.name == wanted.name).unwrap();
        json!({
            "durable": true, "type": "quorum", "arguments": wanted.arguments,
            "policy": policy.name, "effective_policy_definition": policy.definition,
        })
    }

    #[test]
    fn a_queue_as_declared_has_no_problems() {
        let (wanted, policies) = commissions();
        assert!(queue(&wanted, &policies, &as_declared(&wanted, &policies)).is_empty());
    }

    #[test]
    fn a_queue_that_differs_is_described_argument_by_argument_each_with_what_mends_it() {
        let (wanted, policies) = commissions();
        let mut found = as_declared(&wanted, &policies);
        found["arguments"]["x-overflow"] = json!("drop-head");
        found["arguments"]["x-expires"] = json!(5);
        found["policy"] = json!("somebody's");
        assert_eq!(
            queue(&wanted, &policies, &found),
            [
                (
                    r#"has argument x-overflow "drop-head", expected "reject-publish""#.to_owned(),
                    Remedy::Remake
                ),
                ("has argument x-expires 5, expected none".to_owned(), Remedy::Remake),
                (
                    "is under the policy somebody's, which is not Saldo's and hides Saldo's".to_owned(),
                    Remedy::Yield
                ),
            ]
        );
        found["policy"] = Value::Null;
        assert_eq!(
            queue(&wanted, &policies, &found).last(),
            Some(&("is under no policy".to_owned(), Remedy::Apply))
        );
    }

    #[test]
    fn an_operator_policy_that_changes_ours_is_found() {
        let (wanted, policies) = commissions();
        let mut found = as_declared(&wanted, &policies);
        found["effective_policy_definition"]["max-length-bytes"] = json!(10);
        let found = queue(&wanted, &policies, &found);
        assert!(found.len() == 1 && found[0].1 == Remedy::Yield, "{found:?}");
    }
}
