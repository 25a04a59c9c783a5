//! Who may do what in the broker, declared in one place.
//!
//! `RabbitMQ` asks two things. A user's permissions in a virtual host are three patterns, for the names of what it may
//! configure, write and read. A topic permission is a further pattern, for the routing keys that it may write to one
//! exchange, and for the keys by which it may bind to one; **without one it may write and bind every key**. So a publisher
//! ([`Rights::publisher`]) and a subscriber ([`Rights::subscriber`]) have both, always, and their patterns are made of parts
//! that were checked, never taken from anybody's keyboard.
//!
//! `saldo topology publisher`, `subscriber` and `services` make users of this, `deploy/local/rabbitmq-users.json` is held to
//! it by a test, [`reach`] says of any user whether it could do more than it should, and [`needs`] what it lacks for `saldo`.

pub mod needs;
mod pattern;
pub mod reach;
pub mod topic;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use contract::adjustment::AdjustmentCommand;
use contract::commission::CommissionCommand;
use contract::directory::DirectoryCommand;
use contract::withdrawal::WithdrawalCommand;
use contract::{Commands, MerchantId};

use crate::topology::{self, COMMANDS, DEAD, EVENTS, UNROUTABLE};

/// The user that a new broker has, and its password.
pub const GUEST: &str = "guest";

/// Matches no name.
pub const NOTHING: &str = "^$";

/// What a user may configure, write and read in a virtual host: patterns that look for a match anywhere in a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permissions {
    /// Create and delete.
    pub configure: String,
    /// Publish to, if it is an exchange; bind, if it is a queue.
    pub write: String,
    /// Consume and purge, if it is a queue; bind to, if it is an exchange.
    pub read: String,
}

/// A user as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rights {
    /// In the virtual host.
    pub permissions: Permissions,
    /// The keys that it may write to [`COMMANDS`]; `None`: that is not asked, because it may not write there at all, or
    /// may write everything.
    pub topic: Option<String>,
    /// The keys by which it may bind to [`EVENTS`]; `None`: that is not asked, in the same way.
    pub hears: Option<String>,
    /// What it may do in the management API.
    pub tags: &'static [&'static str],
}

/// A user as the broker has it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BrokerUser {
    /// Its name.
    pub name: String,
    /// Its tags.
    pub tags: Vec<String>,
    /// Its permissions in the virtual host; `None`: it cannot enter it.
    pub permissions: Option<Permissions>,
    /// The keys that it may write to [`COMMANDS`]; `None`: every key.
    pub topic: Option<String>,
    /// The keys by which it may bind to [`EVENTS`]; `None`: every key.
    pub hears: Option<String>,
}

impl BrokerUser {
    /// Whether it has this tag.
    pub(crate) fn has_tag(&self, tag: &str) -> bool {
        self.tags.iter().any(|found| found == tag)
    }

    /// Whether it may do everything, whatever its permissions are.
    pub fn is_administrator(&self) -> bool {
        self.has_tag("administrator")
    }
}

impl Rights {
    fn new(configure: &str, write: String, read: String) -> Self {
        let permissions = Permissions { configure: configure.to_owned(), write, read };
        Self { permissions, topic: None, hears: None, tags: &[] }
    }

    /// A worker reads its queue, and writes events and dead letters.
    pub fn worker(worker: &str) -> Self {
        Self::new(NOTHING, exactly([EVENTS, DEAD]), exactly([topology::queue(worker).as_str()]))
    }

    /// Whoever uses `saldo`: publishes, as anybody's substitute, and has events told again; watches with a queue whose name
    /// the broker makes up; reads dead letters and strays; sees queues. To create users, queues and policies takes an
    /// administrator.
    pub fn operator() -> Self {
        const OWN: &str = r"amq\.gen-.+";
        let dead: Vec<_> = topology::workers().map(topology::dead_queue).collect();
        let names = |names: &[&str]| names.iter().map(|name| escaped(name)).collect::<Vec<_>>().join("|");
        let read =
            names(&dead.iter().map(String::as_str).chain([EVENTS, DEAD, UNROUTABLE]).collect::<Vec<_>>());
        Self {
            tags: &["monitoring"],
            ..Self::new(
                &format!("^{OWN}$"),
                format!("^({}|{OWN})$", names(&[COMMANDS, EVENTS])),
                format!("^({read}|{OWN})$"),
            )
        }
    }

    /// Sees figures of everything, and touches nothing.
    pub fn monitor() -> Self {
        Self { tags: &["monitoring"], ..Self::new(NOTHING, NOTHING.to_owned(), NOTHING.to_owned()) }
    }

    /// A publisher of these commands of one shop. It reads nothing: whoever could read an exchange could bind it to
    /// [`COMMANDS`], and what comes that way is not held against its topic permission.
    pub fn publisher(merchant: &MerchantId, allowed: &Allowed) -> Self {
        let topic = Some(allowed.pattern(merchant));
        Self { topic, ..Self::new(NOTHING, exactly([COMMANDS]), NOTHING.to_owned()) }
    }

    /// A subscriber to events of these shops, at least one. What it declares is called after it and a dot; nothing of that can
    /// lead on to [`COMMANDS`], be it by a binding, as a dead letter or as a stray: each takes the right to write there.
    pub fn subscriber(name: &SubscriberName, merchants: &BTreeSet<MerchantId>) -> Self {
        let own = format!(r"{}\..+", name.0);
        let merchants: Vec<_> = merchants.iter().map(ToString::to_string).collect();
        let hears = Some(format!(r"^{}\.", any_of(&merchants)));
        let read = format!("^({own}|{})$", escaped(EVENTS));
        Self { hears, ..Self::new(&format!("^{own}$"), format!("^{own}$"), read) }
    }
}

/// A subscriber's name, which begins the names of its queues: without a dot, so that no subscriber's are another's, and none of
/// those that begin the names of Saldo's and the broker's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubscriberName(String);

impl FromStr for SubscriberName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const LONGEST: usize = 128;
        let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        if ["saldo", "amq"].contains(&text) || services().any(|(name, _)| name == text) {
            Err("names what is Saldo's or the broker's own; expected a name of the subscriber's own"
                .to_owned())
        } else if (1..=LONGEST).contains(&text.len()) && text.chars().all(good) {
            Ok(Self(text.to_owned()))
        } else {
            Err(format!("expected 1 to {LONGEST} letters, digits, hyphens and underscores"))
        }
    }
}

impl fmt::Display for SubscriberName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether a pattern of a permission lets its user at this name; one that cannot be read here does.
pub fn matches(pattern: &str, name: &str) -> bool {
    pattern::Pattern::new(pattern).matches(name)
}

/// The user of the operator.
pub const OPERATOR: &str = "saldo_operator";
/// The user of a monitoring system.
pub const MONITOR: &str = "saldo_monitor";

/// The user of a worker.
pub fn user_of(worker: &str) -> String {
    format!("saldo_{worker}")
}

/// The users that Saldo itself needs, by name.
pub fn services() -> impl Iterator<Item = (String, Rights)> {
    let workers = topology::workers().map(|worker| (user_of(worker), Rights::worker(worker)));
    workers.chain([(OPERATOR.to_owned(), Rights::operator()), (MONITOR.to_owned(), Rights::monitor())])
}

/// The names of all commands, such as `commission.credit`.
pub fn commands() -> impl Iterator<Item = &'static str> {
    let types = [
        CommissionCommand::TYPES,
        AdjustmentCommand::TYPES,
        WithdrawalCommand::TYPES,
        DirectoryCommand::TYPES,
    ];
    types.into_iter().flatten().filter_map(|with_version| Some(with_version.rsplit_once('.')?.0))
}

/// Commands that a publisher may send; at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allowed(BTreeSet<&'static str>);

impl FromStr for Allowed {
    type Err = String;

    /// One command, such as `commission.credit`, or all about something, such as `commission`.
    fn from_str(text: &str) -> Result<Self, String> {
        let about = |name: &str| name.rsplit_once('.').is_some_and(|(about, _)| about == text);
        let named: BTreeSet<_> = commands().filter(|name| *name == text || about(name)).collect();
        if named.is_empty() {
            let known: Vec<_> = commands().collect();
            return Err(format!(
                "is no command; expected one of {}, or the part before the dot",
                known.join(", ")
            ));
        }
        Ok(Self(named))
    }
}

impl fmt::Display for Allowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.iter().copied().collect::<Vec<_>>().join(", "))
    }
}

impl Allowed {
    /// All of these together; `None` of none.
    pub fn all(these: impl IntoIterator<Item = Self>) -> Option<Self> {
        these.into_iter().reduce(|mut all, more| {
            all.0.extend(more.0);
            all
        })
    }

    /// Their names.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.0.iter().copied()
    }

    /// The routing keys of this merchant's: anchored at both ends. Neither a merchant's id nor a command's name has a
    /// character that means anything in a pattern, but for the dots.
    fn pattern(&self, merchant: &MerchantId) -> String {
        let mut groups = BTreeMap::<&str, Vec<&str>>::new();
        for name in &self.0 {
            let (about, what) = name.rsplit_once('.').unwrap_or((name, ""));
            groups.entry(about).or_default().push(what);
        }
        let groups: Vec<_> =
            groups.iter().map(|(about, what)| format!(r"{}\.{}", escaped(about), any_of(what))).collect();
        format!(r"^{merchant}\.{}$", any_of(&groups))
    }
}

fn any_of<T: AsRef<str>>(these: &[T]) -> String {
    let joined = these.iter().map(AsRef::as_ref).collect::<Vec<_>>().join("|");
    if these.len() == 1 { joined } else { format!("({joined})") }
}

fn escaped(name: &str) -> String {
    name.replace('.', r"\.")
}

/// A pattern of these names, which all begin with `saldo.`.
fn exactly<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let names: Vec<_> = names.into_iter().map(|name| escaped(name.trim_start_matches("saldo."))).collect();
    format!(r"^saldo\.{}$", any_of(&names))
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn publisher(merchant: &str, allowed: &[&str]) -> String {
        let allowed = Allowed::all(allowed.iter().map(|text| text.parse().unwrap())).unwrap();
        Rights::publisher(&merchant.parse().unwrap(), &allowed).topic.unwrap()
    }

    #[test]
    fn a_publishers_pattern_is_anchored_and_names_merchant_and_commands() {
        assert_eq!(
            publisher("acme", &["commission.credit", "commission.reverse"]),
            r"^acme\.commission\.(credit|reverse)$"
        );
        assert_eq!(
            publisher("acme", &["commission"]),
            publisher("acme", &["commission.reverse", "commission.credit"])
        );
        assert_eq!(publisher("a-1", &["payout-method.put"]), r"^a-1\.payout-method\.put$");
        assert_eq!(
            publisher("acme", &["withdrawal.request", "commission"]),
            r"^acme\.(commission\.(credit|reverse)|withdrawal\.request)$"
        );
    }

    #[test]
    fn nothing_but_commands_can_be_allowed() {
        for wrong in
            ["", "commission.mature", "commission.", ".*", "commission.credit.v1", "commission|x", "#"]
        {
            let problem = wrong.parse::<Allowed>().unwrap_err();
            assert!(problem.contains("commission.credit, "), "{problem}");
        }
        assert_eq!(commands().count(), 13);
        assert!(Allowed::all([]).is_none());
    }

    #[test]
    fn a_subscriber_has_queues_of_its_own_and_binds_its_merchants_keys() {
        let of = |merchants: &[&str]| {
            let merchants = merchants.iter().map(|merchant| merchant.parse().unwrap()).collect();
            Rights::subscriber(&"acme-erp_1".parse().unwrap(), &merchants)
        };
        let Rights { permissions, topic, hears, tags } = of(&["other", "acme"]);
        assert_eq!(
            [permissions.configure, permissions.write, permissions.read],
            [r"^acme-erp_1\..+$", r"^acme-erp_1\..+$", r"^(acme-erp_1\..+|saldo\.events)$"]
        );
        assert_eq!((topic, hears.as_deref(), tags.len()), (None, Some(r"^(acme|other)\."), 0));
        assert_eq!(of(&["acme"]).hears.unwrap(), r"^acme\.");
        for wrong in
            ["saldo", "amq", "saldo_operator", "saldo.x", "a.b", "", "a b", "ä", "a\n", &"a".repeat(129)]
        {
            assert!(wrong.parse::<SubscriberName>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn workers_have_these_rights() {
        let Rights { permissions, topic, tags, .. } = Rights::worker("commissions");
        assert_eq!(
            [permissions.configure, permissions.write, permissions.read],
            [NOTHING, r"^saldo\.(events|dead)$", r"^saldo\.commissions$"]
        );
        assert!(topic.is_none() && tags.is_empty());
    }

    #[test]
    fn the_local_deployments_users_are_what_the_code_declares() {
        let users: Value =
            serde_json::from_str(include_str!("../../../../deploy/local/rabbitmq-users.json")).unwrap();
        let of = |list: &str, key: &str, name: &str| -> Option<Value> {
            users[list].as_array().unwrap().iter().find(|item| item[key] == name).cloned()
        };
        let affiliates = Allowed::all(["commission".parse().unwrap()]).unwrap();
        let others = commands().filter(|name| !name.starts_with("commission."));
        let shop = Allowed::all(others.map(|name| name.parse().unwrap())).unwrap();
        let demo = "demo".parse().unwrap();
        let mut wanted: BTreeMap<_, _> = services().collect();
        wanted.insert("demo_affiliates".to_owned(), Rights::publisher(&demo, &affiliates));
        wanted.insert("demo_shop".to_owned(), Rights::publisher(&demo, &shop));
        for (name, rights) in &wanted {
            let user = of("users", "name", name).unwrap_or_else(|| panic!("there is no user {name}"));
            assert_eq!(user["tags"], rights.tags.join(","), "{name}");
            let found = of("permissions", "user", name).unwrap();
            let Permissions { configure, write, read } = &rights.permissions;
            assert_eq!(
                [&found["configure"], &found["write"], &found["read"]],
                [configure, write, read],
                "{name}"
            );
            let found = of("topic_permissions", "user", name);
            assert_eq!(
                found.as_ref().map(|topic| topic["write"].as_str().unwrap()),
                rights.topic.as_deref(),
                "{name}"
            );
        }
        let others = users["users"].as_array().unwrap().iter().filter(|user| {
            user["tags"] != "administrator" && !wanted.contains_key(user["name"].as_str().unwrap())
        });
        assert_eq!(others.count(), 0);
    }
}
