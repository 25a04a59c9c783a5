//! Users of the broker: reading what they may, and making one that may what it should.
//!
//! **Order.** [`Management::grant`] makes the user first, which may enter no virtual host then; then its topic permissions,
//! without which it could publish or hear every key; its permissions last. Ended anywhere in between, it leaves a user that can do
//! nothing yet, and doing it again goes on from there. Where rights are replaced, the topic permission is changed while the
//! permissions are still the old ones: an interruption leaves a mixture of both, and never one without the other.
//!
//! **Nothing is widened unasked.** [`standing`] says how a user stands to what it should be; whoever calls decides. No user
//! is deleted, and nothing of another virtual host is touched but a password and tags, which belong to the user as such.

use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Management, ManagementError, Method, StatusCode, reason};
use crate::rights::{BrokerUser, NOTHING, Permissions, Rights};
use crate::topology::{COMMANDS, EVENTS};

/// How a user stands to the rights it should have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// There is no such user.
    Missing,
    /// It is there and may do nothing in the virtual host yet.
    Unfinished,
    /// It has exactly these rights.
    AsWanted,
    /// It has others: each a clause that follows its name.
    Other(Vec<String>),
}

/// Compares. An administrator is never as wanted.
pub fn standing(found: Option<&BrokerUser>, wanted: &Rights) -> Standing {
    let Some(user) = found else { return Standing::Missing };
    let mut clauses = Vec::new();
    let unlike = |tag: &&String| !wanted.tags.contains(&tag.as_str());
    let more: Vec<_> = user.tags.iter().filter(unlike).cloned().collect();
    if !more.is_empty() {
        clauses.push(format!("has the tag {}", more.join(", ")));
    }
    let lacks = wanted.tags.iter().filter(|tag| !user.tags.iter().any(|found| found == *tag));
    clauses.extend(lacks.map(|tag| format!("lacks the tag {tag}")));
    // What an interrupted attempt has left: its topic permission, and no permissions to use it with.
    let begun = |found: &Option<String>, wanted: &Option<String>| found.is_none() || found == wanted;
    if clauses.is_empty()
        && user.permissions.is_none()
        && begun(&user.topic, &wanted.topic)
        && begun(&user.hears, &wanted.hears)
    {
        return Standing::Unfinished;
    }
    match &user.permissions {
        None => clauses.push("has no permissions".to_owned()),
        Some(permissions) => {
            let Permissions { configure, write, read } = &wanted.permissions;
            let of = |verb: &str, found: &str, wanted: &str| {
                (found != wanted).then(|| format!("may {verb} `{found}`, not `{wanted}`"))
            };
            clauses.extend(of("configure", &permissions.configure, configure));
            clauses.extend(of("write", &permissions.write, write));
            clauses.extend(of("read", &permissions.read, read));
        }
    }
    clauses.extend(unlike_keys("publish", "command", user.topic.as_deref(), wanted.topic.as_deref()));
    clauses.extend(unlike_keys("hear", "event", user.hears.as_deref(), wanted.hears.as_deref()));
    if clauses.is_empty() { Standing::AsWanted } else { Standing::Other(clauses) }
}

/// Whether it may publish or hear other keys than it should; without a pattern it may all.
fn unlike_keys(may: &str, what: &str, found: Option<&str>, wanted: Option<&str>) -> Option<String> {
    match (found, wanted) {
        (found, wanted) if found == wanted => None,
        (None, Some(wanted)) => Some(format!("may {may} any {what}, not only `{wanted}`")),
        (Some(found), Some(wanted)) => Some(format!("may {may} `{found}`, not `{wanted}`")),
        (Some(found), None) => {
            Some(format!("has a topic permission to {may} `{found}`, and should have none"))
        }
        (None, None) => None,
    }
}

/// The API's own words for a user.
#[derive(Debug, Deserialize)]
struct Found {
    name: String,
    #[serde(default)]
    tags: Tags,
    #[serde(default)]
    password_hash: String,
    #[serde(default)]
    hashing_algorithm: Option<String>,
}

/// A list, or in older versions a text with commas.
#[derive(Debug, Default)]
struct Tags(Vec<String>);

impl<'de> Deserialize<'de> for Tags {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let tags = match Value::deserialize(deserializer)? {
            Value::Array(tags) => tags.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
            Value::String(tags) => tags.split(',').map(str::trim).map(str::to_owned).collect(),
            _ => Vec::new(),
        };
        Ok(Self(tags.into_iter().filter(|tag: &String| !tag.is_empty()).collect()))
    }
}

#[derive(Debug, Deserialize)]
struct FoundPermissions {
    user: String,
    configure: String,
    write: String,
    read: String,
}

#[derive(Debug, Deserialize)]
struct FoundTopic {
    user: String,
    exchange: String,
    write: String,
    read: String,
}

/// A user's password as the broker keeps it.
#[derive(Debug, Clone)]
pub struct StoredPassword {
    /// Salt and hash, in base64.
    pub hash: String,
    /// Such as `rabbit_password_hashing_sha256`; `None`: as the broker does by default.
    pub algorithm: Option<String>,
}

impl Management {
    /// All users of the broker, with what they may in this virtual host.
    ///
    /// # Errors
    /// The API cannot be used: it takes the tag `administrator`.
    pub async fn users(&self) -> Result<Vec<BrokerUser>, ManagementError> {
        let users: Vec<Found> = self.list(&["users"], "").await?;
        let permissions: Vec<FoundPermissions> =
            self.list(&["vhosts", self.vhost(), "permissions"], "").await?;
        let topics: Vec<FoundTopic> = self.list(&["vhosts", self.vhost(), "topic-permissions"], "").await?;
        let found = users.into_iter().map(|user| {
            let permissions = permissions.iter().find(|found| found.user == user.name);
            let topic = |exchange: &str| {
                topics.iter().find(|found| found.user == user.name && found.exchange == exchange)
            };
            BrokerUser {
                permissions: permissions.map(|found| Permissions {
                    configure: found.configure.clone(),
                    write: found.write.clone(),
                    read: found.read.clone(),
                }),
                topic: topic(COMMANDS).map(|found| found.write.clone()),
                hears: topic(EVENTS).map(|found| found.read.clone()),
                tags: user.tags.0,
                name: user.name,
            }
        });
        Ok(found.collect())
    }

    /// One user's password as it is kept; `None`: there is no such user, or it cannot log in by one.
    ///
    /// # Errors
    /// As [`Self::users`]'.
    pub async fn stored_password(&self, name: &str) -> Result<Option<StoredPassword>, ManagementError> {
        let found: Option<Found> = self.get(&format!("user {name}"), &["users", name], None).await?;
        let password =
            |found: Found| StoredPassword { hash: found.password_hash, algorithm: found.hashing_algorithm };
        Ok(found.map(password).filter(|password| !password.hash.is_empty()))
    }

    /// Gives a user these rights and, if one is given, this password; makes it if it is not there, which takes one. The
    /// header says in which order.
    ///
    /// # Errors
    /// The API cannot be used or refuses; doing it again goes on.
    pub async fn grant(
        &self,
        name: &str,
        rights: &Rights,
        password: Option<&SecretString>,
        found: Option<&BrokerUser>,
    ) -> Result<(), ManagementError> {
        let Rights { permissions: Permissions { configure, write, read }, topic, hears, tags } = rights;
        let had_tags = found.is_none_or(|user| user.tags.iter().map(String::as_str).eq(tags.iter().copied()));
        if password.is_some() || !had_tags {
            self.put_user(name, tags, password).await?;
        }
        let topics = [
            topic.as_ref().map(|topic| json!({ "exchange": COMMANDS, "write": topic, "read": NOTHING })),
            hears.as_ref().map(|hears| json!({ "exchange": EVENTS, "write": NOTHING, "read": hears })),
        ];
        for body in topics.into_iter().flatten() {
            let object = format!("the topic permission of {name}");
            self.put(&object, &["topic-permissions", self.vhost(), name], &body).await?;
        }
        let body = json!({ "configure": configure, "write": write, "read": read });
        self.put(&format!("the permissions of {name}"), &["permissions", self.vhost(), name], &body).await
    }

    /// A user as such. Whoever is there keeps the password unless there is another.
    async fn put_user(
        &self,
        name: &str,
        tags: &[&str],
        password: Option<&SecretString>,
    ) -> Result<(), ManagementError> {
        let mut body = json!({ "tags": tags.join(",") });
        match (password, self.stored_password(name).await?) {
            (Some(password), _) => body["password"] = json!(password.expose_secret()),
            (None, Some(StoredPassword { hash, algorithm })) => {
                body["password_hash"] = json!(hash);
                body["hashing_algorithm"] = json!(algorithm);
            }
            (None, None) => body["password_hash"] = json!(""),
        }
        self.put(&format!("user {name}"), &["users", name], &body).await
    }

    async fn put(&self, object: &str, path: &[&str], body: &Value) -> Result<(), ManagementError> {
        let answer = self.request(Method::PUT, path, None, Some(body)).await?;
        match answer.status() {
            StatusCode::CREATED | StatusCode::NO_CONTENT => Ok(()),
            _ => Err(ManagementError::Refused { object: object.to_owned(), reason: reason(answer).await }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rights::Allowed;

    fn wanted(allowed: &str) -> Rights {
        let allowed: Allowed = allowed.parse().unwrap();
        Rights::publisher(&"acme".parse().unwrap(), &allowed)
    }

    fn having(rights: Rights) -> BrokerUser {
        let Rights { permissions, topic, hears, tags } = rights;
        let tags = tags.iter().map(|tag| (*tag).to_owned()).collect();
        BrokerUser { name: "shop".to_owned(), tags, permissions: Some(permissions), topic, hears }
    }

    fn clauses(found: &BrokerUser, wanted: &Rights) -> Vec<String> {
        match standing(Some(found), wanted) {
            Standing::Other(clauses) => clauses,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_user_is_missing_unfinished_or_as_it_should_be() {
        let rights = wanted("commission");
        assert_eq!(standing(None, &rights), Standing::Missing);
        let whole = having(rights.clone());
        assert_eq!(standing(Some(&whole), &rights), Standing::AsWanted);
        for topic in [None, rights.topic.clone()] {
            let unfinished = BrokerUser { permissions: None, topic, ..whole.clone() };
            assert_eq!(standing(Some(&unfinished), &rights), Standing::Unfinished);
        }
    }

    #[test]
    fn whatever_a_user_has_besides_is_told_not_replaced() {
        let rights = wanted("commission");
        assert_eq!(
            clauses(&having(wanted("commission.credit")), &rights),
            [r"may publish `^acme\.commission\.credit$`, not `^acme\.commission\.(credit|reverse)$`"]
        );
        let mut unconfined = having(rights.clone());
        unconfined.topic = None;
        assert_eq!(
            clauses(&unconfined, &rights),
            [r"may publish any command, not only `^acme\.commission\.(credit|reverse)$`"]
        );
        let mut administrator = having(rights.clone());
        administrator.tags.push("administrator".to_owned());
        assert_eq!(clauses(&administrator, &rights), ["has the tag administrator"]);
        let mut worker = having(Rights::worker("commissions"));
        worker.topic.clone_from(&rights.topic);
        assert_eq!(
            clauses(&worker, &rights),
            [
                r"may write `^saldo\.(events|dead)$`, not `^saldo\.commands$`",
                r"may read `^saldo\.commissions$`, not `^$`"
            ]
        );
        // Half of another attempt, for other commands.
        let other = BrokerUser { permissions: None, ..having(wanted("adjustment.credit")) };
        assert_eq!(clauses(&other, &rights).len(), 2);
    }

    #[test]
    fn a_subscriber_is_held_to_what_it_may_hear() {
        let of = |merchant: &str| {
            Rights::subscriber(&"shop".parse().unwrap(), &[merchant.parse().unwrap()].into())
        };
        assert_eq!(standing(Some(&having(of("acme"))), &of("acme")), Standing::AsWanted);
        assert_eq!(clauses(&having(of("acme")), &of("other")), [r"may hear `^acme\.`, not `^other\.`"]);
        let everything = BrokerUser { hears: None, ..having(of("acme")) };
        assert_eq!(clauses(&everything, &of("acme")), [r"may hear any event, not only `^acme\.`"]);
        let begun = BrokerUser { permissions: None, ..having(of("acme")) };
        assert_eq!(standing(Some(&begun), &of("acme")), Standing::Unfinished);
        assert!(matches!(standing(Some(&begun), &of("other")), Standing::Other(_)));
    }

    #[test]
    fn tags_are_read_as_any_version_writes_them() {
        for (written, read) in [
            (json!(["monitoring", "management"]), vec!["monitoring", "management"]),
            (json!("monitoring, management"), vec!["monitoring", "management"]),
            (json!(""), vec![]),
            (json!([]), vec![]),
        ] {
            assert_eq!(serde_json::from_value::<Tags>(written).unwrap().0, read);
        }
    }
}
