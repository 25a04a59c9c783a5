//! The users of the broker: whether any of them could do more than it should. What that is, [`worker::rights::reach`] knows.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};
use worker::management::{Management, ManagementError, Standing, StoredPassword, standing};
use worker::rights::reach::{Judged, judge};
use worker::rights::{BrokerUser, services};

use super::broker::unanswered;
use super::finding::Finding;

const ABOUT: &str = "users";

/// The user that a new broker has, and its password.
const GUEST: &str = "guest";

pub(super) async fn look(management: Option<&Management>) -> Vec<Finding> {
    let Some(management) = management else {
        let what = "were not looked at: broker.management_url is not usable";
        return vec![Finding::unknown(ABOUT, what, "set it first")];
    };
    match ask(management).await {
        Ok((users, guest)) => {
            let mut findings = judge_users(&users, management.vhost());
            findings.extend(guest.as_ref().and_then(judge_guest));
            findings
        }
        Err(error) => vec![unanswered(ABOUT, &error)],
    }
}

async fn ask(management: &Management) -> Result<(Vec<BrokerUser>, Option<StoredPassword>), ManagementError> {
    let users = management.users().await?;
    let guest = if users.iter().any(|user| user.name == GUEST) {
        management.stored_password(GUEST).await?
    } else {
        None
    };
    Ok((users, guest))
}

fn judge_users(users: &[BrokerUser], vhost: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    let (mut workers, mut operators, mut administrators) = (Vec::new(), Vec::new(), Vec::new());
    let mut publishers = Vec::new();
    for user in users {
        let name = user.name.as_str();
        match judge(user) {
            Judged::Administrator => administrators.push(name),
            Judged::Worker(_) => workers.push(name),
            Judged::Operator => operators.push(name),
            Judged::Harmless if lacks_its_rights(user) => findings.push(Finding::bad(
                ABOUT,
                format!("{name} may not do what its program has to"),
                remedy(name, vhost),
            )),
            Judged::Harmless => {}
            Judged::Publisher(confined) => {
                let commands = if confined.commands.is_empty() {
                    "nothing".to_owned()
                } else {
                    confined.commands.join(", ")
                };
                publishers.push(format!("{name} publishes {commands} of {}", confined.merchants.join(", ")));
            }
            Judged::Excess(clauses) => {
                findings.push(Finding::bad(
                    ABOUT,
                    format!("{name} {}", clauses.join("; and ")),
                    remedy(name, vhost),
                ));
            }
        }
    }
    let mut good = |who: &str, names: &[&str]| {
        if !names.is_empty() {
            findings.push(Finding::good(ABOUT, format!("{who}: {}", names.join(", "))));
        }
    };
    good("workers", &workers);
    good("operators, who may publish for every shop", &operators);
    good("administrators, who may do everything", &administrators);
    findings.extend(publishers.into_iter().map(|publisher| Finding::good(ABOUT, publisher)));
    findings
}

/// Whether it is one of the services' users, with other rights here than those.
fn lacks_its_rights(user: &BrokerUser) -> bool {
    let wanted = services().find(|(service, _)| *service == user.name);
    wanted.is_some_and(|(_, rights)| matches!(standing(Some(user), &rights), Standing::Other(_)))
}

fn remedy(name: &str, vhost: &str) -> String {
    if services().any(|(service, _)| service == name) {
        return format!("saldo topology services {name} --replace");
    }
    format!(
        "give it what it needs: saldo topology publisher {name} --merchant ID --allow COMMAND --replace; or nothing: \
         rabbitmqctl clear_permissions -p {vhost} {name}"
    )
}

fn judge_guest(password: &StoredPassword) -> Option<Finding> {
    let advice = "rabbitmqctl delete_user guest, or change_password";
    match password.algorithm.as_deref() {
        None | Some("rabbit_password_hashing_sha256") => is_guest(&password.hash)
            .then(|| Finding::bad(ABOUT, "guest has the password that every new broker has", advice)),
        Some(other) => Some(Finding::unknown(
            ABOUT,
            format!(
                "guest is there, with a password of another kind ({other}) than this program can compare"
            ),
            advice,
        )),
    }
}

/// Whether it is `guest`: four random bytes, then SHA-256 over them and the password, in base64
/// (<https://www.rabbitmq.com/docs/passwords>).
fn is_guest(hash: &str) -> bool {
    let Ok(bytes) = STANDARD.decode(hash) else { return false };
    let Some((salt, hashed)) = bytes.split_first_chunk::<4>() else { return false };
    Sha256::new().chain_update(salt).chain_update(GUEST).finalize().as_slice() == hashed
}

#[cfg(test)]
mod tests {
    use worker::rights::{Permissions, Rights};

    use super::super::finding::State;
    use super::*;

    fn user(name: &str, Rights { permissions, topic, tags }: Rights) -> BrokerUser {
        let tags = tags.iter().map(|tag| (*tag).to_owned()).collect();
        BrokerUser { name: name.to_owned(), tags, permissions: Some(permissions), topic }
    }

    #[test]
    fn users_as_they_should_be_are_listed_by_what_they_are() {
        let mut users: Vec<_> = services().map(|(name, rights)| user(&name, rights)).collect();
        let allowed = "commission".parse().unwrap();
        users.push(user("affiliates", Rights::publisher(&"acme".parse().unwrap(), &allowed)));
        users.push(BrokerUser {
            name: "root".to_owned(),
            tags: vec!["administrator".to_owned()],
            ..BrokerUser::default()
        });
        let found = judge_users(&users, "/");
        assert!(found.iter().all(|finding| finding.state == State::Good), "{found:?}");
        assert_eq!(
            found.last().unwrap().what,
            "affiliates publishes commission.credit, commission.reverse of acme"
        );
        assert_eq!(found.len(), 4);
    }

    #[test]
    fn one_that_could_do_too_much_is_told_with_what_takes_it_away() {
        let write = Permissions {
            configure: "^$".to_owned(),
            write: r"^saldo\.commands$".to_owned(),
            read: "^$".to_owned(),
        };
        let shop = BrokerUser { name: "shop".to_owned(), permissions: Some(write), ..BrokerUser::default() };
        let found = judge_users(&[shop], "eu");
        assert_eq!((found.len(), found[0].state), (1, State::Bad));
        assert!(found[0].what.starts_with("shop may write saldo.commands and has no topic permission"));
        assert!(found[0].advice.as_ref().unwrap().contains("clear_permissions -p eu shop"));
    }

    #[test]
    fn the_password_that_everybody_knows_is_recognised() {
        let hash = |password: &str| {
            let salt = [1, 2, 3, 4];
            let hashed = Sha256::new().chain_update(salt).chain_update(password).finalize();
            STANDARD.encode([&salt[..], hashed.as_slice()].concat())
        };
        let stored = |hash, algorithm: &str| StoredPassword { hash, algorithm: Some(algorithm.to_owned()) };
        let sha256 = "rabbit_password_hashing_sha256";
        assert_eq!(judge_guest(&stored(hash("guest"), sha256)).unwrap().state, State::Bad);
        assert!(judge_guest(&stored(hash("another"), sha256)).is_none());
        assert!(judge_guest(&stored("!".to_owned(), sha256)).is_none());
        let other = judge_guest(&stored(hash("guest"), "rabbit_password_hashing_sha512"));
        assert_eq!(other.unwrap().state, State::Unknown);
    }
}
