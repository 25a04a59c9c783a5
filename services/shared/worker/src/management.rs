//! Declaring and comparing the topology through `RabbitMQ`'s management API.
//!
//! [`Management::plan`] says what is missing and which policies differ, and [`Management::carry_out`] adds or changes one such
//! thing. What exists otherwise stays as it is, and [`Management::check`] reports it. Nothing is ever deleted. Stopped half-way
//! that leaves whole objects; planning again goes on. Planning and checking only read.
//!
//! Requests are made one after the other, a few dozen at most, each bounded by [`TIMEOUT`].

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use reqwest::{Client, Method, Response, StatusCode, Url};
use secrecy::{ExposeSecret, SecretString};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::broker::Address;
use crate::topology::{Binding, Exchange, Policy, Queue, Topology};

mod bindings;
mod compare;
mod connections;
mod messages;
mod nodes;
mod queues;
mod routes;
mod users;

pub use compare::{Difference, Remedy};
pub(crate) use messages::Peeked;
pub use nodes::{CLOCK_STEP, ConnectionState, Node};
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
    /// Nobody is there.
    #[error("RabbitMQ's management API cannot be reached")]
    Unreachable(#[source] reqwest::Error),
    /// No answer in time.
    #[error("RabbitMQ's management API did not answer within {} s", TIMEOUT.as_secs())]
    Silent,
    /// Somebody else is there.
    #[error("what answers is not RabbitMQ's management API")]
    Garbled(#[source] reqwest::Error),
    /// It does not know the user, or the user may not: `RabbitMQ` has one status for both.
    #[error(
        "RabbitMQ's management API refuses this user ({0}): its password is wrong, or it lacks the tag or right that this takes"
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
            None if error.is_timeout() => Self::Silent,
            None if error.is_decode() => Self::Garbled(error.without_url()),
            None => Self::Unreachable(error.without_url()),
        }
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

/// What is done to an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It is made.
    Make,
    /// It is there, and gets other values.
    Set,
}

/// An object that is to be declared. Shown, it is the object's kind and name.
pub struct Step<'a> {
    object: Object<'a>,
    /// What becomes of it.
    pub change: Change,
}

impl fmt::Display for Step<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.object.fmt(f)
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

    /// What is to be declared so that nothing is missing and no policy differs, in the order in which that is best done.
    ///
    /// # Errors
    /// The API cannot be used at all.
    pub async fn plan<'a>(&self, topology: &'a Topology) -> Result<Vec<Step<'a>>, ManagementError> {
        self.check_vhost().await?;
        let mut steps = Vec::new();
        for object in Object::all(topology) {
            let found = self.get::<Value>(&object, &object.path(&self.vhost), None).await?;
            let change = match (&object, &found) {
                (_, None) => Some(Change::Make),
                (Object::Binding(binding), Some(found)) => {
                    (!compare::binding(binding, found).is_empty()).then_some(Change::Make)
                }
                (Object::Policy(policy), Some(found)) => {
                    (!compare::policy(policy, found).is_empty()).then_some(Change::Set)
                }
                (Object::Exchange(_) | Object::Queue(_), Some(_)) => None,
            };
            steps.extend(change.map(|change| Step { object, change }));
        }
        Ok(steps)
    }

    /// Declares an object. What the broker refuses (because it exists otherwise by now, say) is returned, in its words.
    ///
    /// # Errors
    /// The API cannot be used at all.
    pub async fn carry_out(&self, step: &Step<'_>) -> Result<Option<String>, ManagementError> {
        let (method, body) = step.object.declaration();
        let answer = self.request(method, &step.object.path(&self.vhost), None, Some(&body)).await?;
        Ok(if answer.status().is_success() { None } else { Some(reason(answer).await) })
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
                differences.push(Difference::new(&object, "is missing", Remedy::Apply));
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
                Object::Exchange(exchange) => compare::exchange(exchange, &found),
                Object::Queue(queue) => compare::queue(queue, &topology.policies, &found),
                Object::Binding(binding) => compare::binding(binding, &found),
                Object::Policy(policy) => compare::policy(policy, &found),
            };
            let difference = |(problem, remedy)| Difference::new(&object, problem, remedy);
            differences.extend(problems.into_iter().map(difference));
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

    /// Where something is; each element of the path is percent-encoded. No URL can say `.` or `..`: they would be left out,
    /// and what is asked for would be something else.
    fn url(&self, path: &[&str], query: Option<&str>) -> Result<Url, ManagementError> {
        if let Some(name) = path.iter().find(|name| matches!(**name, "." | "..")) {
            return Err(ManagementError::Url(format!(
                "RabbitMQ's management API cannot be asked about what is called `{name}`; expected another name"
            )));
        }
        let mut url = self.base.clone();
        url.path_segments_mut()
            .map_err(|()| ManagementError::Url("broker.management_url: is not usable".to_owned()))?
            .pop_if_empty()
            .push("api")
            .extend(path);
        url.set_query(query);
        Ok(url)
    }

    /// Sends a request.
    async fn request(
        &self,
        method: Method,
        path: &[&str],
        query: Option<&str>,
        body: Option<&Value>,
    ) -> Result<Response, ManagementError> {
        let mut request = self.client.request(method, self.url(path, query)?);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::Tls;

    #[test]
    fn names_are_percent_encoded_and_credentials_are_not_shown() {
        let management = Management::new(
            &"http://user:secret@localhost:15672".into(),
            &Address::parse("amqp://user:secret@localhost/shops%2f%25eu", Tls::default()).unwrap(),
        )
        .unwrap();
        assert_eq!(management.vhost(), "shops/%eu");
        assert!(!format!("{management:?}").contains("secret"));
        let url = |names: &[&str]| management.url(names, None).map(|url| url.path().to_owned());
        assert_eq!(url(&["queues", management.vhost(), "a b"]).unwrap(), "/api/queues/shops%2F%25eu/a%20b");
        assert_eq!(url(&["users", "%2e", "..."]).unwrap(), "/api/users/%252e/...");
        for name in [".", ".."] {
            let problem = url(&["users", name]).unwrap_err().to_string();
            assert!(problem.contains(&format!("`{name}`")), "{problem}");
        }
    }
}
