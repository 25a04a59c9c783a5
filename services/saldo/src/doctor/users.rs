//! The users of the broker: whether any of them could do more than it should, and whether the one of `broker.url` can do what
//! the commands of this program need. What that is, [`worker::rights::reach`] and [`worker::rights::needs`] know.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};
use worker::management::{Management, ManagementError, Standing, StoredPassword, standing};
use worker::rights::reach::{Judged, judge};
use worker::rights::topic::{self, Confined};
use worker::rights::{self, BrokerUser, GUEST, OPERATOR, needs, services};
use worker::topology::{COMMANDS, EVENTS};

use super::advice::rabbitmqctl;
use super::broker::unanswered;
use super::finding::Finding;

pub(super) const ABOUT: &str = "users";

/// Looks; `own` is the user of `broker.url`, where that is known.
pub(super) async fn look(management: Result<&Management, &&'static str>, own: Option<&str>) -> Vec<Finding> {
    let management = match management {
        Ok(management) => management,
        Err(because) => return vec![Finding::unseen(ABOUT, because)],
    };
    match ask(management).await {
        Ok((users, guest)) => {
            let mut findings = judge_users(&users, management.vhost());
            findings.extend(own.map(|own| judge_own(own, &users)));
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
    let mut others = Vec::new();
    for user in users {
        let name = user.name.as_str();
        match judge(user) {
            Judged::Administrator => administrators.push(name),
            Judged::Worker(_) => workers.push(name),
            Judged::Operator => operators.push(name),
            Judged::Harmless if lacks_its_rights(user) => findings.push(Finding::bad(
                ABOUT,
                format!("{name} may not do what its program has to"),
                remedy(user, vhost),
            )),
            Judged::Harmless => {}
            Judged::Publisher(Confined { merchants, commands, .. }) => {
                let commands = if commands.is_empty() { "nothing".to_owned() } else { commands.join(", ") };
                others.push(format!("{name} publishes {commands} of {}", merchants.join(", ")));
            }
            Judged::Subscriber(merchants) => {
                others.push(format!("{name} hears events of {}", merchants.join(", ")));
            }
            Judged::Excess(clauses) => {
                let what = format!("{name} {}", clauses.join("; and "));
                findings.push(Finding::bad(ABOUT, what, remedy(user, vhost)));
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
    findings.extend(others.into_iter().map(|other| Finding::good(ABOUT, other)));
    findings
}

/// Whether it is one of the services' users, with other rights here than those.
fn lacks_its_rights(user: &BrokerUser) -> bool {
    let wanted = services().find(|(service, _)| *service == user.name);
    wanted.is_some_and(|(_, rights)| matches!(standing(Some(user), &rights), Standing::Other(_)))
}

/// What takes away what is too much: as much of the command as the user's rights tell.
fn remedy(user: &BrokerUser, vhost: &str) -> String {
    let BrokerUser { name, permissions, topic, hears, .. } = user;
    if services().any(|(service, _)| service == *name) {
        return format!("saldo topology services {name} --replace");
    }
    let mut nothing = rabbitmqctl(&format!("clear_permissions -p {vhost} {name}"));
    if !user.tags.is_empty() {
        nothing = format!("rabbitmqctl set_user_tags {name}, and {nothing}");
    }
    let may = |verb: fn(&rights::Permissions) -> &String, what: &str| {
        permissions.as_ref().is_some_and(|permissions| rights::matches(verb(permissions), what))
    };
    let (publishes, listens) = (may(|it| &it.write, COMMANDS), may(|it| &it.read, EVENTS));
    if listens && !publishes {
        let shops = hears.as_deref().and_then(topic::meant).map_or_else(Vec::new, |(merchants, _)| merchants);
        let (arguments, unknown) = shops_of(&shops);
        return format!(
            "saldo topology subscriber {name} {arguments} --replace{unknown}, whose queues are called {name}. and something; or \
             nothing: {nothing}"
        );
    }
    if !publishes {
        return format!("find out whose it is, or let it do nothing here: {nothing}");
    }
    let (shops, commands) = topic.as_deref().and_then(topic::meant).unwrap_or_default();
    // Whoever may send everything says nothing of what it is for.
    let told = commands.len() < rights::commands().count() && !commands.is_empty();
    let commands = if told { commands } else { vec!["COMMAND"] };
    let allow: Vec<_> = commands.iter().map(|command| format!("--allow {command}")).collect();
    let (shop, unknown) = match shops.as_slice() {
        [shop] if told => (shop.as_str(), String::new()),
        [shop] => {
            (shop.as_str(), ", with the commands that it sends, which its rights do not tell".to_owned())
        }
        [] => {
            ("ID", ", with its shop and the commands that it sends, which its rights do not tell".to_owned())
        }
        _ => ("ID", format!(", with one of {}: a user for each shop", shops.join(", "))),
    };
    format!(
        "saldo topology publisher {name} --merchant {shop} {} --replace{unknown}; or nothing: {nothing}",
        allow.join(" ")
    )
}

/// The shops as arguments, and what there is to say of them.
fn shops_of(shops: &[String]) -> (String, &'static str) {
    if shops.is_empty() {
        return ("--merchant ID".to_owned(), ", with the shops that it is for, which its rights do not tell");
    }
    let arguments: Vec<_> = shops.iter().map(|shop| format!("--merchant {shop}")).collect();
    (arguments.join(" "), "")
}

/// Whether this program can do its work as the user of `broker.url`.
fn judge_own(own: &str, users: &[BrokerUser]) -> Finding {
    let Some(user) = users.iter().find(|user| user.name == own) else {
        let what = format!("what {own} of broker.url may is not known: it is none of the broker's own users");
        return Finding::unknown(
            ABOUT,
            what,
            "ask whoever looks after the service that the broker asks for users",
        );
    };
    let refused = needs::refused(user);
    if refused.is_empty() {
        return Finding::good(ABOUT, format!("{own} of broker.url has what the commands of saldo need"));
    }
    if let Judged::Worker(worker) = judge(user) {
        return Finding::good(
            ABOUT,
            format!("{own} of broker.url is the worker {worker}'s, and not for saldo's other commands"),
        );
    }
    Finding::bad(
        ABOUT,
        format!("with {own} of broker.url these do not work: saldo {}", refused.join(", ")),
        format!("saldo topology services {OPERATOR}, and let broker.url log in as {OPERATOR}"),
    )
}

fn judge_guest(password: &StoredPassword) -> Option<Finding> {
    let advice = rabbitmqctl("delete_user guest, or change_password");
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

    fn user(name: &str, Rights { permissions, topic, hears, tags }: Rights) -> BrokerUser {
        let tags = tags.iter().map(|tag| (*tag).to_owned()).collect();
        BrokerUser { name: name.to_owned(), tags, permissions: Some(permissions), topic, hears }
    }

    fn permitted(name: &str, [configure, write, read]: [&str; 3], topic: Option<&str>) -> BrokerUser {
        let permissions =
            Permissions { configure: configure.to_owned(), write: write.to_owned(), read: read.to_owned() };
        let rights = Rights { permissions, topic: topic.map(str::to_owned), hears: None, tags: &[] };
        user(name, rights)
    }

    #[test]
    fn users_as_they_should_be_are_listed_by_what_they_are() {
        let mut users: Vec<_> = services().map(|(name, rights)| user(&name, rights)).collect();
        let allowed = "commission".parse().unwrap();
        users.push(user("affiliates", Rights::publisher(&"acme".parse().unwrap(), &allowed)));
        let merchants = ["acme".parse().unwrap(), "other".parse().unwrap()].into();
        users.push(user("erp", Rights::subscriber(&"erp".parse().unwrap(), &merchants)));
        users.push(BrokerUser {
            name: "root".to_owned(),
            tags: vec!["administrator".to_owned()],
            ..BrokerUser::default()
        });
        let found = judge_users(&users, "/");
        assert!(found.iter().all(|finding| finding.state == State::Good), "{found:?}");
        assert_eq!(found[3].what, "affiliates publishes commission.credit, commission.reverse of acme");
        assert_eq!(found[4].what, "erp hears events of acme, other");
        assert_eq!(found.len(), 5);
    }

    #[test]
    fn one_that_could_do_too_much_is_told_with_what_takes_it_away() {
        let publish = ["^$", r"^saldo\.commands$", "^$"];
        let found = judge_users(&[permitted("shop", publish, None)], "eu");
        assert_eq!((found.len(), found[0].state), (1, State::Bad));
        assert!(found[0].what.starts_with("shop may write saldo.commands and has no topic permission"));
        let advice = found[0].advice.as_ref().unwrap();
        assert!(
            advice.contains("--merchant ID --allow COMMAND --replace, with its shop")
                && advice
                    .ends_with("rabbitmqctl clear_permissions -p eu shop (as root on the broker's machine)"),
            "{advice}"
        );
    }

    #[test]
    fn a_remedy_has_what_the_users_rights_tell_and_says_what_they_do_not() {
        let publish = ["^$", r"^saldo\.commands$", "^$"];
        let of = |topic| remedy(&permitted("shop", publish, Some(topic)), "eu");
        for (topic, command) in [
            (
                r"acme\.commission",
                "saldo topology publisher shop --merchant acme --allow commission.credit --allow commission.reverse --replace;",
            ),
            (r"^acme\..*$", "--merchant acme --allow COMMAND --replace, with the commands that it sends"),
            (
                r"^(acme|other)\.customer\.put",
                "--merchant ID --allow customer.put --replace, with one of acme, other:",
            ),
        ] {
            assert!(of(topic).contains(command), "{topic}: {}", of(topic));
        }
        let hears = ["^erp-", "^erp-", r"^(erp-.*|saldo\.events)$"];
        let subscriber = BrokerUser { hears: Some("^acme.".to_owned()), ..permitted("erp", hears, None) };
        let advice = remedy(&subscriber, "eu");
        assert!(
            advice.starts_with("saldo topology subscriber erp --merchant acme --replace, whose queues"),
            "{advice}"
        );
        let advice = remedy(&permitted("erp", hears, None), "eu");
        assert!(advice.contains("--merchant ID --replace, with the shops that it is for"), "{advice}");
        let advice = remedy(&permitted("tap", ["^$", "^$", r"^saldo\.directory$"], None), "eu");
        assert!(
            advice.starts_with("find out whose it is, or let it do nothing here: rabbitmqctl"),
            "{advice}"
        );
        let tagged = BrokerUser { tags: vec!["policymaker".to_owned()], ..permitted("tap", ["^$"; 3], None) };
        assert!(remedy(&tagged, "eu").contains("set_user_tags tap, and rabbitmqctl clear_permissions"));
    }

    #[test]
    fn the_user_of_broker_url_is_told_what_will_not_work() {
        let allowed = "commission".parse().unwrap();
        let users = [
            user("saldo_operator", Rights::operator()),
            user("saldo_commissions", Rights::worker("commissions")),
            user("shop", Rights::publisher(&"acme".parse().unwrap(), &allowed)),
            permitted("root", [".*"; 3], None),
        ];
        let judged = |own| judge_own(own, &users);
        assert_eq!(judged("saldo_operator").state, State::Good);
        assert_eq!(judged("root").state, State::Good);
        assert_eq!(judged("saldo_commissions").state, State::Good);
        assert_eq!(judged("from-ldap").state, State::Unknown);
        let shop = judged("shop");
        assert_eq!(shop.state, State::Bad);
        assert!(shop.what.contains("saldo publish --watch, events republish, dead list"), "{}", shop.what);
        assert!(shop.advice.unwrap().contains("saldo topology services saldo_operator"));
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
