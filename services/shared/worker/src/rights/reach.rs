//! Whether a user of the broker could do more than it should: pure.
//!
//! Workers and the operator are known by exactly their rights and by how their names begin. Everybody else is asked for
//! everything of Saldo's, name by name, as the broker would be asked: there are few names, so that nothing has to be
//! concluded about patterns. A pattern that cannot be read here counts as one that matches. What goes through a topic
//! permission has no end of names; that pattern is read instead ([`super::topic`]).

use super::pattern::Pattern;
use super::{BrokerUser, OPERATOR, Permissions, Rights, topic, user_of};
use crate::topology::{self, COMMANDS, DEAD, DEFAULT_EXCHANGE, EVENTS, Limits, Topology, UNROUTABLE};

/// What a user is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Judged {
    /// It may do everything, and create users who may.
    Administrator,
    /// This worker.
    Worker(&'static str),
    /// An operator: may publish for every shop.
    Operator,
    /// May send these commands, and nothing else of Saldo's.
    Publisher(topic::Confined),
    /// Hears events of these merchants, and nothing else of Saldo's.
    Subscriber(Vec<String>),
    /// Touches nothing of Saldo's.
    Harmless,
    /// Could do this, each a clause that follows the user's name.
    Excess(Vec<String>),
}

/// Judges a user of the virtual host.
pub fn judge(user: &BrokerUser) -> Judged {
    let has = |tag: &str| user.has_tag(tag);
    if user.is_administrator() {
        return Judged::Administrator;
    }
    let is = |rights: &Rights, name: &str| {
        user.permissions.as_ref() == Some(&rights.permissions)
            && user.name.starts_with(name)
            && !has("policymaker")
            && !has("impersonator")
    };
    if let Some(worker) = topology::workers().find(|worker| is(&Rights::worker(worker), &user_of(worker))) {
        return Judged::Worker(worker);
    }
    if is(&Rights::operator(), OPERATOR) {
        return Judged::Operator;
    }
    let Some(permissions) = &user.permissions else { return Judged::Harmless };
    let (mut excess, publisher) = beyond(permissions, user.topic.as_deref());
    let heard = heard(permissions, user.hears.as_deref()).unwrap_or_else(|clause| {
        excess.push(clause);
        None
    });
    if has("policymaker") {
        excess.push(
            "has the tag policymaker: a policy of its making could drop what is in any queue".to_owned(),
        );
    }
    if has("impersonator") {
        excess.push("has the tag impersonator: what it publishes may name anybody as its user".to_owned());
    }
    match (publisher, heard) {
        _ if !excess.is_empty() => Judged::Excess(excess),
        // A pattern that matches nothing is nobody's.
        (Some(confined), _) if !confined.merchants.is_empty() => Judged::Publisher(confined),
        (_, Some(merchants)) if !merchants.is_empty() => Judged::Subscriber(merchants),
        _ => Judged::Harmless,
    }
}

/// What somebody who is no part of Saldo may do too much; and what it may publish, if that is right.
fn beyond(permissions: &Permissions, topic: Option<&str>) -> (Vec<String>, Option<topic::Confined>) {
    let mut excess = touched(permissions);
    if !Pattern::new(&permissions.write).matches(COMMANDS) {
        return (excess, None);
    }
    let confined = match published(topic) {
        Ok(confined) => Some(confined),
        Err(clause) => {
            excess.push(clause);
            None
        }
    };
    let read = &permissions.read;
    if !Pattern::is_nothing(read) {
        excess.push(format!(
            "may write {COMMANDS} and read something (`{read}`): an exchange that it may read, bound to {COMMANDS}, passes \
             by its topic permission"
        ));
    }
    (excess, confined)
}

/// What of Saldo's it may touch, other than by publishing commands and listening to events.
fn touched(permissions: &Permissions) -> Vec<String> {
    let Permissions { configure, write, read } = permissions;
    let topology = Topology::new(Limits::default());
    let queues: Vec<&str> = topology.queues.iter().map(|queue| queue.name.as_str()).collect();
    let mut everything: Vec<&str> = topology.exchanges.iter().map(|exchange| exchange.name).collect();
    everything.extend(&queues);
    everything.sort_unstable();
    everything.dedup();
    // Strays have an exchange and a queue of one name.
    let bindable: Vec<&str> = queues.iter().copied().filter(|name| *name != UNROUTABLE).collect();
    let questions: [(_, _, &[&str], _); 6] = [
        ("configure", configure, &everything, "delete and change them"),
        ("write", write, &[DEFAULT_EXCHANGE], "send anything straight into any queue"),
        ("write", write, &[EVENTS, DEAD, UNROUTABLE], "make up events, dead letters and strays"),
        ("write", write, &bindable, "bind them to an exchange of its own and send anything"),
        ("read", read, &queues, "take away what is in them"),
        ("read", read, &[COMMANDS, DEAD], "listen to commands, payout details among them"),
    ];
    let asked = questions.into_iter().filter_map(|(verb, pattern, names, so)| {
        let pattern = Pattern::new(pattern);
        let matched: Vec<&str> = names.iter().copied().filter(|name| pattern.matches(name)).collect();
        Some(format!("may {verb} {}: it could {so}", listed(&matched)?))
    });
    asked.collect()
}

/// Whose events it may hear, if any; or what is wrong with that. Binding takes a queue or exchange that it may write.
fn heard(permissions: &Permissions, hears: Option<&str>) -> Result<Option<Vec<String>>, String> {
    if Pattern::is_nothing(&permissions.write) || !Pattern::new(&permissions.read).matches(EVENTS) {
        return Ok(None);
    }
    let Some(pattern) = hears else {
        return Err(format!(
            "may read {EVENTS} and has no topic permission there: it may hear every event of every shop"
        ));
    };
    topic::heard(pattern).map(Some).map_err(|why| {
        format!("has a topic permission for {EVENTS} that {why}: it may hear other shops, or cannot be seen not to")
    })
}

/// What a topic permission lets through, or what is wrong with it.
fn published(topic: Option<&str>) -> Result<topic::Confined, String> {
    let Some(pattern) = topic else {
        return Err(format!(
            "may write {COMMANDS} and has no topic permission: it may publish every command of every shop"
        ));
    };
    let confined = topic::read(pattern).map_err(|why| {
        format!("has a topic permission that {why}: it may publish for other shops, or cannot be seen not to")
    })?;
    let shops = confined.merchants.join(", ");
    match &confined.stray {
        None => Ok(confined),
        Some(_) if confined.commands.len() == super::commands().count() => {
            Err(format!("may publish every command of {shops}, adjustments and payments among them"))
        }
        Some(stray) => Err(format!(
            "has a topic permission for any word where commands have their group: it lets through {stray}, which is none"
        )),
    }
}

/// So many names are told, and then how many more there are.
const TOLD: usize = 3;

fn listed(names: &[&str]) -> Option<String> {
    match names {
        [] => None,
        names if names.len() > TOLD => {
            Some(format!("{} and {} more", names.get(..TOLD)?.join(", "), names.len() - TOLD))
        }
        names => Some(names.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rights::{Allowed, services};

    fn user(name: &str, [configure, write, read]: [&str; 3], topic: Option<&str>) -> BrokerUser {
        let permissions =
            Permissions { configure: configure.to_owned(), write: write.to_owned(), read: read.to_owned() };
        BrokerUser {
            name: name.to_owned(),
            tags: Vec::new(),
            permissions: Some(permissions),
            topic: topic.map(str::to_owned),
            hears: None,
        }
    }

    fn of(name: &str, rights: Rights) -> BrokerUser {
        let Rights { permissions, topic, hears, tags } = rights;
        let tags = tags.iter().map(|tag| (*tag).to_owned()).collect();
        BrokerUser { name: name.to_owned(), tags, permissions: Some(permissions), topic, hears }
    }

    fn excess(user: &BrokerUser) -> Vec<String> {
        match judge(user) {
            Judged::Excess(excess) => excess,
            other => panic!("{user:?} is {other:?}"),
        }
    }

    const COMMANDS_ONLY: [&str; 3] = ["^$", r"^saldo\.commands$", "^$"];
    const AFFILIATES: &str = r"^acme\.commission\.(credit|reverse)$";

    #[test]
    fn users_as_they_are_declared_do_nothing_that_they_should_not() {
        for (name, rights) in services() {
            let judged = judge(&of(&name, rights));
            assert!(!matches!(judged, Judged::Excess(_)), "{name}: {judged:?}");
        }
        assert_eq!(judge(&of("saldo_directory_2", Rights::worker("directory"))), Judged::Worker("directory"));
        let allowed: Allowed = "commission.credit".parse().unwrap();
        let publisher = Rights::publisher(&"acme".parse().unwrap(), &allowed);
        let Judged::Publisher(confined) = judge(&of("shop", publisher)) else { panic!() };
        assert_eq!(
            (confined.merchants, confined.commands),
            (vec!["acme".to_owned()], vec!["commission.credit"])
        );
        let merchants = ["acme".parse().unwrap(), "other".parse().unwrap()].into();
        let subscriber = of("erp", Rights::subscriber(&"erp".parse().unwrap(), &merchants));
        assert_eq!(judge(&subscriber), Judged::Subscriber(vec!["acme".to_owned(), "other".to_owned()]));
        // Without anything to bind, there is nothing to hear with.
        assert_eq!(judge(&user("reader", ["^$", "^$", r"^saldo\.events$"], None)), Judged::Harmless);
        let nothing = Some("^$".to_owned());
        assert_eq!(judge(&BrokerUser { hears: nothing.clone(), ..subscriber }), Judged::Harmless);
        assert_eq!(judge(&user("shop", COMMANDS_ONLY, nothing.as_deref())), Judged::Harmless);
        assert_eq!(judge(&BrokerUser::default()), Judged::Harmless);
    }

    #[test]
    fn rights_of_the_services_in_anybody_elses_hands_are_too_much() {
        let worker = excess(&of("shop", Rights::worker("commissions")));
        assert_eq!(
            worker,
            [
                "may write saldo.events, saldo.dead: it could make up events, dead letters and strays",
                "may read saldo.commissions: it could take away what is in them",
            ]
        );
        assert!(!excess(&of("shop", Rights::operator())).is_empty());
        // One worker's user with another's rights.
        assert!(!excess(&of("saldo_commissions", Rights::worker("withdrawals"))).is_empty());
    }

    #[test]
    fn a_publisher_without_a_proper_topic_permission_is_found() {
        let none = excess(&user("shop", COMMANDS_ONLY, None));
        assert!(none.len() == 1 && none[0].contains("has no topic permission"), "{none:?}");
        for (pattern, says) in [
            (r"acme\.commission\.credit", "does not begin with `^`"),
            (r"^acme\.", "does not end with `$`"),
            ("^.*$", "does not begin with one shop's id"),
            (r"^acme\..*$", "every command of acme"),
            (r"^acme\.[a-z]+\.credit$", "lets through acme.aommission.credit, which is none"),
        ] {
            let found = excess(&user("shop", COMMANDS_ONLY, Some(pattern)));
            assert!(found.len() == 1 && found[0].contains(says), "{pattern}: {found:?}");
        }
    }

    #[test]
    fn a_subscriber_who_could_hear_other_shops_is_found() {
        let rights = ["^erp-", "^erp-", r"^(erp-.*|saldo\.events)$"];
        for (hears, says) in [
            (None, "may read saldo.events and has no topic permission there"),
            (Some(r"acme\."), "a topic permission for saldo.events that does not begin with `^`"),
            (Some("^acme"), "does not begin with one shop's id"),
            (Some(r"^acme\.|#"), "has alternatives outside of brackets"),
        ] {
            let subscriber = BrokerUser { hears: hears.map(str::to_owned), ..user("erp", rights, None) };
            let found = excess(&subscriber);
            assert!(found.len() == 1 && found[0].contains(says), "{hears:?}: {found:?}");
        }
    }

    #[test]
    fn everything_else_that_is_too_much_is_told() {
        for (permissions, says) in [
            (
                ["^saldo", "^$", "^$"],
                "may configure saldo.adjustments, saldo.adjustments.dead, saldo.commands and 11 more",
            ),
            (["^$", r"^amq\.default$", "^$"], "straight into any queue"),
            (["^$", r"^saldo\.events$", "^$"], "may write saldo.events: it could make up events"),
            (
                ["^own", r"^(own|saldo\.commissions$)", "^own"],
                "may write saldo.commissions: it could bind them",
            ),
            (["^$", "^$", r"^saldo\.directory$"], "may read saldo.directory: it could take away"),
            (["^$", "^$", r"^saldo\.commands$"], "may read saldo.commands: it could listen"),
            // Not understood, so taken for a match.
            (["^$", "^$", r"^(?=saldo)"], "may read saldo.unroutable, saldo.commissions"),
        ] {
            let found = excess(&user("shop", permissions, None));
            assert!(found.iter().any(|clause| clause.contains(says)), "{permissions:?}: {found:?}");
        }
        let everything = excess(&user("shop", [".*", ".*", ".*"], None));
        assert_eq!(everything.len(), 9, "{everything:#?}");
        let round_about =
            excess(&user("shop", ["^own", r"^(own|saldo\.commands$)", "^own"], Some(AFFILIATES)));
        assert!(round_about.len() == 1 && round_about[0].contains("passes by"), "{round_about:?}");
        let mut policymaker = user("shop", ["^$"; 3], None);
        policymaker.tags.push("policymaker".to_owned());
        assert!(excess(&policymaker)[0].contains("policymaker"));
    }

    #[test]
    fn an_administrator_is_one_whatever_else_it_has() {
        let mut administrator = user("root", [".*", ".*", ".*"], None);
        administrator.tags.push("administrator".to_owned());
        assert_eq!(judge(&administrator), Judged::Administrator);
    }
}
