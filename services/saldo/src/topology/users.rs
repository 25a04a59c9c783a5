//! `saldo topology publisher`, `subscriber` and `services`: users of the broker who may do what they need and nothing else. What
//! is asked for; what becomes of it, [`super::settle`] does.

use std::io::{self, BufRead as _};

use contract::MerchantId;
use secrecy::SecretString;
use worker::management::Management;
use worker::rights::{self, Allowed, GUEST, Rights, SubscriberName};

use super::settle::{How, settle};
use crate::Done;
use crate::output::Output;

/// A password that is given is so long, in characters.
const PASSWORD_LENGTH: std::ops::RangeInclusive<usize> = 12..=255;

/// Create a broker user who publishes some commands of one shop
///
/// The user may publish these commands to saldo.commands, for this shop, and nothing else: it reads nothing and declares
/// nothing. Whoever listens to events takes another user. If there is such a user already, only a password that is given
/// changes; if it may do something else, that is told, nothing changes, and the exit status is 1. Needs a user with the tag
/// administrator in `broker.management_url`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  saldo topology publisher acme-affiliates --merchant acme --allow commission
  saldo topology publisher acme-till --merchant acme --allow adjustment.credit --allow adjustment.debit --dry-run
  pass show acme-shop | saldo topology publisher acme-shop --merchant acme --allow withdrawal --password-stdin")]
pub(crate) struct Publisher {
    /// The user's name: letters, digits, dots, hyphens and underscores
    #[arg(value_name = "USER", value_parser = user_name)]
    user: String,
    /// The shop
    #[arg(long, value_name = "ID")]
    merchant: MerchantId,
    /// A command such as commission.credit, or all about something, such as commission; can be given several times
    #[arg(long, value_name = "COMMAND", required = true)]
    allow: Vec<Allowed>,
    /// Read the user's password, a line, from standard input; without this one is made up
    #[arg(long, conflicts_with = "new_password")]
    password_stdin: bool,
    #[command(flatten)]
    how: How,
}

/// Create a broker user who hears the events of some shops
///
/// The user may declare queues of its own, called by its name, a dot and anything, bind them to saldo.events by keys that begin
/// with one of these shops, and consume them. Of Saldo's it publishes nothing and reads nothing else. If there is such a user
/// already, only a password that is given changes; if it may do something else, that is told, nothing changes, and the exit
/// status is 1. Needs a user with the tag administrator in `broker.management_url`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  saldo topology subscriber acme-erp --merchant acme
  saldo topology subscriber accounting --merchant acme --merchant demo --dry-run")]
pub(crate) struct Subscriber {
    /// The user's name: letters, digits, hyphens and underscores
    #[arg(value_name = "USER", value_parser = subscriber_name)]
    user: SubscriberName,
    /// A shop; can be given several times
    #[arg(long = "merchant", value_name = "ID", required = true)]
    merchants: Vec<MerchantId>,
    /// Read the user's password, a line, from standard input; without this one is made up
    #[arg(long, conflicts_with = "new_password")]
    password_stdin: bool,
    #[command(flatten)]
    how: How,
}

/// Create the broker users of the workers, the operator and monitoring
///
/// They are called `saldo_commissions` and so on, `saldo_operator` and `saldo_monitor`. Each worker may read its queue and
/// write events and dead letters. The operator may do what the commands of this program need, other than `topology`
/// and `doctor`: publish for every shop, have events told again, read dead letters, look at queues. Monitoring sees
/// figures. A user that is there keeps its password; if it may do something else, that is told, nothing changes, and the
/// exit status is 1. Needs a user with the tag administrator in `broker.management_url`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  saldo topology services --dry-run
  (umask 077; saldo topology services --json > users.jsonl)
  saldo topology services saldo_directory --new-password")]
pub(crate) struct Services {
    /// Only these users
    #[arg(value_name = "USER", value_parser = service_name)]
    users: Vec<String>,
    #[command(flatten)]
    how: How,
}

fn user_name(text: &str) -> Result<String, String> {
    const LONGEST: usize = 128;
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    if rights::services().any(|(name, _)| name == text) {
        Err("is a service of Saldo's; expected a name of the publisher's own".to_owned())
    } else if text == GUEST {
        Err("is the user that every new broker has; expected a name of the publisher's own".to_owned())
    } else if matches!(text, "." | "..") {
        Err("cannot be said in a URL; expected more than dots".to_owned())
    } else if (1..=LONGEST).contains(&text.len()) && text.chars().all(good) {
        Ok(text.to_owned())
    } else {
        Err(format!("expected 1 to {LONGEST} letters, digits, dots, hyphens and underscores"))
    }
}

fn subscriber_name(text: &str) -> Result<SubscriberName, String> {
    if text == GUEST {
        return Err(
            "is the user that every new broker has; expected a name of the subscriber's own".to_owned()
        );
    }
    text.parse()
}

fn service_name(text: &str) -> Result<String, String> {
    let names: Vec<_> = rights::services().map(|(name, _)| name).collect();
    if names.iter().any(|name| name == text) {
        Ok(text.to_owned())
    } else {
        Err(format!("expected one of {}", names.join(", ")))
    }
}

pub(crate) async fn publisher(wanted: Publisher, management: &Management, output: &mut Output) -> Done {
    let Publisher { user, merchant, allow, password_stdin, how } = wanted;
    let allowed = Allowed::all(allow).ok_or("--allow is missing")?;
    let given = if password_stdin { Some(read_password()?) } else { None };
    let rights = Rights::publisher(&merchant, &allowed);
    settle(vec![(user, rights)], given.as_ref(), how, management, output).await
}

pub(crate) async fn subscriber(wanted: Subscriber, management: &Management, output: &mut Output) -> Done {
    let Subscriber { user, merchants, password_stdin, how } = wanted;
    let given = if password_stdin { Some(read_password()?) } else { None };
    let rights = Rights::subscriber(&user, &merchants.into_iter().collect());
    settle(vec![(user.to_string(), rights)], given.as_ref(), how, management, output).await
}

pub(crate) async fn services(wanted: Services, management: &Management, output: &mut Output) -> Done {
    let Services { users, how } = wanted;
    let asked = |name: &String| users.is_empty() || users.contains(name);
    let wanted = rights::services().filter(|(name, _)| asked(name)).collect();
    settle(wanted, None, how, management, output).await
}

fn read_password() -> Result<SecretString, Box<dyn std::error::Error + Send + Sync>> {
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line)?;
    let password = line.trim_end_matches(['\n', '\r']);
    if PASSWORD_LENGTH.contains(&password.chars().count()) && !password.contains(char::is_control) {
        return Ok(password.to_owned().into());
    }
    let (min, max) = (PASSWORD_LENGTH.start(), PASSWORD_LENGTH.end());
    Err(format!("the password is not usable; expected a line of {min} to {max} characters").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_plain() {
        for wrong in ["", "a b", "a/b", "a\n", "ä", ".", "..", "guest", &"a".repeat(129)] {
            assert!(user_name(wrong).is_err(), "{wrong:?}");
        }
        assert_eq!(user_name("acme-shop_1.eu").unwrap(), "acme-shop_1.eu");
        for wrong in ["", ".", "..", "guest", "saldo"] {
            assert!(subscriber_name(wrong).is_err(), "{wrong:?}");
        }
        assert_eq!(subscriber_name("acme-erp").unwrap().to_string(), "acme-erp");
        assert!(service_name("saldo_treasurer").unwrap_err().contains("saldo_operator"));
    }
}
