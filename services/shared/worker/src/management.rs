//! Declaring and comparing the topology through `RabbitMQ`'s management API.
//!
//! [`Management::apply`] only adds: every object is declared, whatever became of the others, and what exists
//! otherwise stays as it is and is reported. Nothing is ever deleted. Stopped half-way it leaves whole objects;
//! applying again goes on. [`Management::check`] only reads.
//!
//! Requests are made one after the other, a few dozen at most, each bounded by [`TIMEOUT`].

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use reqwest::{Client, Method, Response, StatusCode, Url};
use secrecy::{ExposeSecret, SecretString};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use crate::broker::Address;
use crate::topology::{Binding, Exchange, Policy, Queue, Topology};

mod bindings;
mod messages;
mod nodes;
mod queues;
mod routes;
mod users;

pub(crate) use messages::Peeked;
pub use nodes::{ConnectionState, Node};
pub use queues::{QueueState, Waited};
pub use routes::Routes;
pub use users::{Standing, StoredPassword, standing};

/// For one request.
const TIMEOUT: Duration = Duration::from_secs(15);

/// Why the API could not be used. Never says how one logs in.
#[derive(Debug, thiserror::Error)]
pub enum ManagementError {
    /// A URL is not usable.
    #[error("{0}")]
    Url(String),
    /// It is not who it should be, or does not speak TLS.
    #[error("TLS with RabbitMQ's management API failed: {0}")]
    Tls(String),
    /// No answer.
    #[error("RabbitMQ's management API cannot be reached")]
    Unreachable(#[source] reqwest::Error),
    /// It does not know the user, or the user may not.
    #[error(
        "RabbitMQ's management API refuses this user ({0}); it takes the tag `administrator` or `policymaker`"
    )]
    Forbidden(StatusCode),
    /// The virtual host of `broker.url` does not exist.
    #[error("the broker has no virtual host {0}")]
    NoVhost(String),
    /// The broker takes something not, in its words.
    #[error("{object} was not set: {reason}")]
    Refused {
        /// What was to be set.
        object: String,
        /// Why it was not.
        reason: String,
    },
    /// An answer that makes no sense here.
    #[error("RabbitMQ's management API answered {status} for {object}")]
    Unexpected {
        /// What was asked for.
        object: String,
        /// The answer.
        status: StatusCode,
    },
}

impl From<reqwest::Error> for ManagementError {
    fn from(error: reqwest::Error) -> Self {
        match ledger::tls::trouble(&error) {
            Some(trouble) => Self::Tls(trouble),
            None => Self::Unreachable(error.without_url()),
        }
    }
}

/// What is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Such as `queue saldo.commissions`.
    pub object: String,
    /// What is the matter with it, beginning with a verb.
    pub problem: String,
}

impl Difference {
    fn new(object: &impl ToString, problem: impl Into<String>) -> Self {
        Self { object: object.to_string(), problem: problem.into() }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.object, self.problem)
    }
}

/// Whether a text can be `broker.management_url`, and if so, whether others can read what is sent there: it leaves the
/// machine, in clear.
///
/// # Errors
/// It cannot; the error says what is expected and does not repeat it.
pub(crate) fn may_be_overheard(url: &str) -> Result<bool, String> {
    let url = parse(url)?;
    Ok(url.scheme() == "http" && !url.host_str().is_some_and(ledger::tls::on_this_machine))
}

fn parse(url: &str) -> Result<Url, String> {
    let expected = || "expected a URL such as https://user:password@host:15671 or http://…".to_owned();
    let url: Url = url.parse().map_err(|_| expected())?;
    if matches!(url.scheme(), "http" | "https") && url.has_host() && url.query().is_none() {
        Ok(url)
    } else {
        Err(expected())
    }
}

/// One of the objects of a topology.
#[derive(Clone, Copy)]
enum Object<'a> {
    Exchange(&'a Exchange),
    Queue(&'a Queue),
    Binding(&'a Binding),
    Policy(&'a Policy),
}

impl fmt::Display for Object<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exchange(exchange) => write!(f, "exchange {}", exchange.name),
            Self::Queue(queue) => write!(f, "queue {}", queue.name),
            Self::Binding(Binding { exchange, queue, routing_key }) => {
                write!(f, "binding {exchange} -> {queue} with key \"{routing_key}\"")
            }
            Self::Policy(policy) => write!(f, "policy {}", policy.name),
        }
    }
}

impl<'a> Object<'a> {
    /// Policies first: no queue is without its limits for a moment.
    fn all(topology: &'a Topology) -> impl Iterator<Item = Self> {
        let policies = topology.policies.iter().map(Self::Policy);
        let exchanges = topology.exchanges.iter().map(Self::Exchange);
        let queues = topology.queues.iter().map(Self::Queue);
        policies.chain(exchanges).chain(queues).chain(topology.bindings.iter().map(Self::Binding))
    }

    fn path(self, vhost: &'a str) -> Vec<&'a str> {
        match self {
            Self::Exchange(exchange) => vec!["exchanges", vhost, exchange.name],
            Self::Queue(queue) => vec!["queues", vhost, &queue.name],
            Self::Binding(binding) => vec!["bindings", vhost, "e", binding.exchange, "q", &binding.queue],
            Self::Policy(policy) => vec!["policies", vhost, &policy.name],
        }
    }

    fn declaration(self) -> (Method, Value) {
        match self {
            Self::Exchange(exchange) => (
                Method::PUT,
                json!({
                    "type": exchange.kind, "durable": true, "auto_delete": false, "internal": false,
                    "arguments": exchange.arguments,
                }),
            ),
            Self::Queue(queue) => {
                (Method::PUT, json!({ "durable": true, "auto_delete": false, "arguments": queue.arguments }))
            }
            Self::Binding(binding) => {
                (Method::POST, json!({ "routing_key": binding.routing_key, "arguments": {} }))
            }
            Self::Policy(policy) => (
                Method::PUT,
                json!({
                    "pattern": policy.pattern, "priority": policy.priority, "apply-to": "queues",
                    "definition": policy.definition,
                }),
            ),
        }
    }
}

/// A client of the management API for one virtual host.
#[derive(Clone)]
pub struct Management {
    client: Client,
    base: Url,
    vhost: String,
}

impl fmt::Debug for Management {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Management").field("vhost", &self.vhost).finish_non_exhaustive()
    }
}

impl Management {
    /// A client of this API, for the virtual host of `broker`, speaking TLS as with that.
    ///
    /// # Errors
    /// The URL is not usable.
    pub fn new(management_url: &SecretString, broker: &Address) -> Result<Self, ManagementError> {
        let base = parse(management_url.expose_secret())
            .map_err(|problem| ManagementError::Url(format!("broker.management_url: {problem}")))?;
        let tls = broker.tls().client_config().map_err(|error| ManagementError::Tls(error.to_string()))?;
        let redirects = reqwest::redirect::Policy::none();
        let client = Client::builder()
            .timeout(TIMEOUT)
            .redirect(redirects)
            .no_proxy()
            .tls_backend_preconfigured(tls)
            .build()?;
        Ok(Self { client, base, vhost: broker.vhost().to_owned() })
    }

    /// The virtual host.
    pub fn vhost(&self) -> &str {
        &self.vhost
    }

    /// Declares everything. What the broker refuses (because it exists otherwise, say) is returned, in its words.
    ///
    /// # Errors
    /// The API cannot be used at all.
    pub async fn apply(&self, topology: &Topology) -> Result<Vec<Difference>, ManagementError> {
        self.check_vhost().await?;
        let mut refused = Vec::new();
        for object in Object::all(topology) {
            let (method, body) = object.declaration();
            let answer = self.request(method, &object.path(&self.vhost), None, Some(&body)).await?;
            if !answer.status().is_success() {
                let problem = format!("was not declared: {}", reason(answer).await);
                refused.push(Difference::new(&object, problem));
            }
        }
        Ok(refused)
    }

    /// Compares everything. An empty list: all is as it should be.
    ///
    /// # Errors
    /// The API cannot be used at all.
    pub async fn check(&self, topology: &Topology) -> Result<Vec<Difference>, ManagementError> {
        self.check_vhost().await?;
        let in_force = self.policies_in_force().await?;
        let mut differences = Vec::new();
        for object in Object::all(topology) {
            let Some(mut found) = self.get::<Value>(&object, &object.path(&self.vhost), None).await? else {
                differences.push(Difference::new(&object, "is missing"));
                continue;
            };
            if let Some(policy) = in_force.get(&object.to_string()) {
                // Statistics of another policy are older than this one.
                if found["policy"] != *policy {
                    found["effective_policy_definition"] = Value::Null;
                }
                found["policy"] = policy.clone();
            }
            let problems = match object {
                Object::Exchange(exchange) => exchange_problems(exchange, &found),
                Object::Queue(queue) => queue_problems(queue, &topology.policies, &found),
                Object::Binding(binding) => binding_problems(binding, &found),
                Object::Policy(policy) => policy_problems(policy, &found),
            };
            differences.extend(problems.into_iter().map(|problem| Difference::new(&object, problem)));
        }
        Ok(differences)
    }

    /// The names of the policies that the queues are under, by object. A queue's own page has its policy only once
    /// statistics were gathered, the list without statistics has it at once.
    async fn policies_in_force(&self) -> Result<BTreeMap<String, Value>, ManagementError> {
        let query = "disable_stats=true&page=1&page_size=500&use_regex=true&name=^saldo%5C.";
        let page: Value = self.list(&["queues", &self.vhost], query).await?;
        let queues = page["items"].as_array().into_iter().flatten();
        let under = queues.filter_map(|queue| {
            let policy = queue.get("policy").filter(|policy| policy.is_string())?;
            Some((format!("queue {}", queue["name"].as_str()?), policy.clone()))
        });
        Ok(under.collect())
    }

    async fn check_vhost(&self) -> Result<(), ManagementError> {
        let found: Option<Value> = self.get(&"the virtual host", &["vhosts", &self.vhost], None).await?;
        found.map(drop).ok_or_else(|| ManagementError::NoVhost(self.vhost.clone()))
    }

    /// What is always there, such as a list.
    async fn list<T: DeserializeOwned>(&self, path: &[&str], query: &str) -> Result<T, ManagementError> {
        let object = format!("the list of {}", path[0]);
        let status = StatusCode::NOT_FOUND;
        self.get(&object, path, Some(query)).await?.ok_or(ManagementError::Unexpected { object, status })
    }

    async fn get<T: DeserializeOwned>(
        &self,
        object: &impl ToString,
        path: &[&str],
        query: Option<&str>,
    ) -> Result<Option<T>, ManagementError> {
        let answer = self.request(Method::GET, path, query, None).await?;
        match answer.status() {
            StatusCode::OK => Ok(Some(answer.json().await?)),
            StatusCode::NOT_FOUND => Ok(None),
            status => Err(ManagementError::Unexpected { object: object.to_string(), status }),
        }
    }

    /// Sends a request; each element of the path is percent-encoded.
    async fn request(
        &self,
        method: Method,
        path: &[&str],
        query: Option<&str>,
        body: Option<&Value>,
    ) -> Result<Response, ManagementError> {
        let mut url = self.base.clone();
        url.path_segments_mut()
            .map_err(|()| ManagementError::Url("broker.management_url: is not usable".to_owned()))?
            .pop_if_empty()
            .push("api")
            .extend(path);
        url.set_query(query);
        let mut request = self.client.request(method, url);
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = request.send().await?;
        match answer.status() {
            status @ (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => {
                Err(ManagementError::Forbidden(status))
            }
            _ => Ok(answer),
        }
    }
}

/// Why the broker refused, in its words: it names the argument and both values.
async fn reason(answer: Response) -> String {
    let status = answer.status();
    let body: Value = answer.json().await.unwrap_or_default();
    match body.get("reason").map(|reason| reason.as_str().map_or_else(|| reason.to_string(), str::to_owned)) {
        Some(reason) => reason,
        None => format!("the broker answered {status}"),
    }
}

fn exchange_problems(wanted: &Exchange, found: &Value) -> Vec<String> {
    let mut problems = Vec::new();
    compare("type", &json!(wanted.kind), &found["type"], &mut problems);
    compare("durable", &json!(true), &found["durable"], &mut problems);
    compare_all("argument ", &wanted.arguments, &found["arguments"], &mut problems);
    problems
}

/// Also whether the policy that is in force is one of ours and, as far as statistics were gathered, that nothing
/// (an operator policy) changes it. Which of ours applies follows from their patterns and priorities, which are
/// compared by themselves.
fn queue_problems(wanted: &Queue, policies: &[Policy], found: &Value) -> Vec<String> {
    let mut problems = Vec::new();
    compare("durable", &json!(true), &found["durable"], &mut problems);
    if let Some(kind) = wanted.arguments.get("x-queue-type") {
        compare("type", kind, &found["type"], &mut problems);
    }
    compare_all("argument ", &wanted.arguments, &found["arguments"], &mut problems);
    match found["policy"].as_str().filter(|name| !name.is_empty()) {
        None => problems.push("is under no policy".to_owned()),
        Some(name) => match policies.iter().find(|policy| policy.name == name) {
            None => {
                problems.push(format!("is under the policy {name}, which is not Saldo's and hides Saldo's"));
            }
            Some(policy) => {
                let effective = &found["effective_policy_definition"];
                if effective.is_object() {
                    compare_all("policy in force: ", &policy.definition, effective, &mut problems);
                }
            }
        },
    }
    problems
}

fn binding_problems(wanted: &Binding, found: &Value) -> Vec<String> {
    let same = |binding: &Value| {
        binding["routing_key"] == wanted.routing_key.as_str()
            && binding["arguments"].as_object().is_none_or(Map::is_empty)
    };
    let bound = found.as_array().is_some_and(|bindings| bindings.iter().any(same));
    if bound { Vec::new() } else { vec!["is missing".to_owned()] }
}

fn policy_problems(wanted: &Policy, found: &Value) -> Vec<String> {
    let mut problems = Vec::new();
    compare("pattern", &json!(wanted.pattern), &found["pattern"], &mut problems);
    compare("apply-to", &json!("queues"), &found["apply-to"], &mut problems);
    compare("priority", &json!(wanted.priority), &found["priority"], &mut problems);
    compare_all("", &wanted.definition, &found["definition"], &mut problems);
    problems
}

fn compare(name: &str, wanted: &Value, found: &Value, problems: &mut Vec<String>) {
    match (wanted == found, found) {
        (true, _) => {}
        (false, Value::Null) => problems.push(format!("lacks {name}, expected {wanted}")),
        (false, _) => problems.push(format!("has {name} {found}, expected {wanted}")),
    }
}

/// Every key of either side.
fn compare_all(prefix: &str, wanted: &Map<String, Value>, found: &Value, problems: &mut Vec<String>) {
    // An empty object is an empty array in some answers.
    let none = Map::new();
    let found = found.as_object().unwrap_or(&none);
    for (key, value) in wanted {
        compare(&format!("{prefix}{key}"), value, found.get(key).unwrap_or(&Value::Null), problems);
    }
    for (key, value) in found.iter().filter(|(key, _)| !wanted.contains_key(*key)) {
        problems.push(format!("has {prefix}{key} {value}, expected none"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::Tls;
    use crate::topology::{Limits, queue};

    fn commissions() -> (Queue, Vec<Policy>) {
        let topology = Topology::new(Limits::default());
        let name = queue("commissions");
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
        assert!(queue_problems(&wanted, &policies, &as_declared(&wanted, &policies)).is_empty());
    }

    #[test]
    fn a_queue_that_differs_is_described_argument_by_argument() {
        let (wanted, policies) = commissions();
        let mut found = as_declared(&wanted, &policies);
        found["arguments"]["x-overflow"] = json!("drop-head");
        found["arguments"]["x-expires"] = json!(5);
        found["policy"] = json!("somebody's");
        assert_eq!(
            queue_problems(&wanted, &policies, &found),
            [
                r#"has argument x-overflow "drop-head", expected "reject-publish""#,
                "has argument x-expires 5, expected none",
                "is under the policy somebody's, which is not Saldo's and hides Saldo's",
            ]
        );
    }

    #[test]
    fn an_operator_policy_that_changes_ours_is_found() {
        let (wanted, policies) = commissions();
        let mut found = as_declared(&wanted, &policies);
        found["effective_policy_definition"]["max-length-bytes"] = json!(10);
        assert_eq!(queue_problems(&wanted, &policies, &found).len(), 1);
    }

    #[test]
    fn names_are_percent_encoded_and_credentials_are_not_shown() {
        let management = Management::new(
            &"http://user:secret@localhost:15672".into(),
            &Address::parse("amqp://user:secret@localhost/shops%2f%25eu", Tls::default()).unwrap(),
        )
        .unwrap();
        assert_eq!(management.vhost(), "shops/%eu");
        assert!(!format!("{management:?}").contains("secret"));
        let mut url = management.base.clone();
        url.path_segments_mut().unwrap().push("api").extend(["queues", management.vhost(), "a b"]);
        assert!(url.path().ends_with("/api/queues/shops%2F%25eu/a%20b"), "{}", url.path());
    }
}
