//! What the commands of `saldo` need of the user of `broker.url`: pure. [`Rights::operator`](super::Rights::operator) has all of
//! it, which a test holds; whoever has less is told what will not work.

use super::BrokerUser;
use super::pattern::Pattern;
use crate::topology::{self, COMMANDS, DEAD, EVENTS, UNROUTABLE};

/// A queue that the broker makes up a name for, as a watcher has one.
const MADE_UP: &str = "amq.gen-JzTY20BRgKO-HjmUJj0wLg";

/// The commands that would be refused, in the order in which `saldo --help` has them.
pub fn refused(user: &BrokerUser) -> Vec<&'static str> {
    let Some(permissions) = &user.permissions else {
        return vec![
            "publish",
            "publish --watch",
            "events republish",
            "dead list",
            "dead replay",
            "dead discard",
        ];
    };
    let may = |pattern: &str, names: &[&str]| {
        let pattern = Pattern::new(pattern);
        names.iter().all(|name| pattern.matches(name))
    };
    let queues: Vec<_> = topology::workers().map(topology::dead_queue).collect();
    let letters: Vec<_> = queues.iter().map(String::as_str).chain([UNROUTABLE]).collect();
    let (configure, write, read) = (&permissions.configure, &permissions.write, &permissions.read);
    let publishes = may(write, &[COMMANDS]);
    let tells = may(write, &[EVENTS]);
    let looks = may(read, &letters);
    let listens = may(configure, &[MADE_UP])
        && may(write, &[MADE_UP])
        && may(read, &[MADE_UP, EVENTS, DEAD, UNROUTABLE]);
    let every_shop = user.topic.is_none();
    let works = [
        ("publish", publishes),
        ("publish --watch", publishes && listens && user.hears.is_none()),
        ("events republish", tells),
        ("dead list", looks),
        ("dead replay", looks && publishes && every_shop),
        ("dead discard", looks && tells),
    ];
    works.into_iter().filter(|(_, works)| !works).map(|(command, _)| command).collect()
}

#[cfg(test)]
mod tests {
    use super::super::{Allowed, Rights};
    use super::*;

    fn user(Rights { permissions, topic, hears, .. }: Rights) -> BrokerUser {
        BrokerUser { permissions: Some(permissions), topic, hears, ..BrokerUser::default() }
    }

    #[test]
    fn the_operator_lacks_nothing_and_each_other_user_what_it_is_not_for() {
        assert_eq!(refused(&user(Rights::operator())), Vec::<&str>::new());
        let allowed: Allowed = "commission".parse().unwrap();
        let publisher = user(Rights::publisher(&"acme".parse().unwrap(), &allowed));
        assert_eq!(
            refused(&publisher),
            ["publish --watch", "events republish", "dead list", "dead replay", "dead discard"]
        );
        assert_eq!(
            refused(&user(Rights::worker("commissions"))),
            ["publish", "publish --watch", "dead list", "dead replay", "dead discard"]
        );
        assert_eq!(refused(&BrokerUser::default()).len(), 6);
    }
}
