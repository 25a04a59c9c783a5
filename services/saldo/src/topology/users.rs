//! `saldo topology publisher` and `services`: users of the broker who may do what they need and nothing else.
//!
//! Running one again changes nothing. A user that may do something else is told of and left alone, unless `--replace` is
//! given; an administrator is left alone whatever is given; nobody is deleted. What an interruption leaves, and in which
//! order things are done for that, is [`Management::grant`]'s to say. A password that was made up is told once, with the
//! user's row: whoever interrupts before that runs the command again with `--new-password`.

use std::io::{self, BufRead as _};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use contract::MerchantId;
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use worker::management::{Management, Standing, standing};
use worker::rights::{self, Allowed, BrokerUser, Rights};

use crate::output::{self, Output};
use crate::{Done, Status, report};

/// Random bytes in a password that is made up.
const PASSWORD_BYTES: usize = 24;

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

/// What is done with users that are there, and how it is told.
#[derive(Debug, Clone, Copy, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "switches of a command line")]
struct How {
    /// Give a user that is there a new password, too
    #[arg(long)]
    new_password: bool,
    /// Replace whatever else a user may do that is there
    #[arg(long)]
    replace: bool,
    /// Change nothing; say what would be done
    #[arg(long)]
    dry_run: bool,
    /// Print one JSON object a line
    #[arg(long)]
    json: bool,
}

fn user_name(text: &str) -> Result<String, String> {
    const LONGEST: usize = 128;
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    if rights::services().any(|(name, _)| name == text) {
        Err("is a service of Saldo's; expected a name of the publisher's own".to_owned())
    } else if (1..=LONGEST).contains(&text.len()) && text.chars().all(good) {
        Ok(text.to_owned())
    } else {
        Err(format!("expected 1 to {LONGEST} letters, digits, dots, hyphens and underscores"))
    }
}

fn service_name(text: &str) -> Result<String, String> {
    let names: Vec<_> = rights::services().map(|(name, _)| name).collect();
    if names.iter().any(|name| name == text) {
        Ok(text.to_owned())
    } else {
        Err(format!("expected one of {}", names.join(", ")))
    }
}

/// A user's report. The order of the fields is the order of the JSON.
#[derive(Debug, PartialEq, Serialize)]
struct Row {
    user: String,
    /// `created`, `finished` (an interrupted attempt), `unchanged`, `password changed`, `replaced`, or `differs`; with --dry-run what would
    /// be.
    state: &'static str,
    /// The keys that it may publish; `None`: every key, or it may not publish.
    publishes: Option<String>,
    /// One that was made up.
    password: Option<String>,
    /// How it differs from what was asked for, where it still does.
    differences: Vec<String>,
}

pub(crate) async fn publisher(wanted: Publisher, management: &Management, output: &mut Output) -> Done {
    let Publisher { user, merchant, allow, password_stdin, how } = wanted;
    let allowed = Allowed::all(allow).ok_or("--allow is missing")?;
    let given = if password_stdin { Some(read_password()?) } else { None };
    let rights = Rights::publisher(&merchant, &allowed);
    settle(vec![(user, rights)], given.as_ref(), how, management, output).await
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

fn made_up() -> SecretString {
    URL_SAFE_NO_PAD.encode(rand::random::<[u8; PASSWORD_BYTES]>()).into()
}

async fn settle(
    wanted: Vec<(String, Rights)>,
    given: Option<&SecretString>,
    how: How,
    management: &Management,
    output: &mut Output,
) -> Done {
    let found = management.users().await?;
    let (mut rows, mut failure) = (Vec::with_capacity(wanted.len()), None);
    for (name, rights) in wanted {
        let user = found.iter().find(|user| user.name == name);
        let (row, done) = one(&name, &rights, user, given, how, management).await;
        rows.push(row);
        if let Err(error) = done {
            failure = Some(error);
            break;
        }
    }
    show(&rows, how, output)?;
    for row in rows.iter().filter(|row| !row.differences.is_empty()) {
        output.message(format_args!(
            "{} {}",
            report::visible(&row.user),
            report::visible(&row.differences.join("; "))
        ));
    }
    if let Some(error) = failure {
        output.message(output::chain(&error));
        return Ok(Status::Bad);
    }
    Ok(if rows.iter().all(|row| row.differences.is_empty()) { Status::Good } else { Status::Bad })
}

/// What is done about one user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Deed {
    state: &'static str,
    /// Whether anything is written.
    writes: bool,
    /// Whether the user gets a password that is made up.
    makes_up: bool,
}

/// Decides it.
fn deed(standing: &Standing, user: Option<&BrokerUser>, given: bool, how: How) -> Deed {
    let makes_up = !given && (*standing == Standing::Missing || how.new_password);
    let is_administrator = user.is_some_and(|user| user.tags.iter().any(|tag| tag == "administrator"));
    let done = |state| Deed { state, writes: true, makes_up };
    match standing {
        Standing::Missing => done("created"),
        Standing::Unfinished => done("finished"),
        Standing::AsWanted if given || how.new_password => done("password changed"),
        Standing::AsWanted => Deed { state: "unchanged", writes: false, makes_up: false },
        Standing::Other(_) if how.replace && !is_administrator => done("replaced"),
        Standing::Other(_) => Deed { state: "differs", writes: false, makes_up: false },
    }
}

/// Does it, and looks at what came of it. A password that was made up is in the row even where something went wrong then.
async fn one(
    name: &str,
    rights: &Rights,
    user: Option<&BrokerUser>,
    given: Option<&SecretString>,
    how: How,
    management: &Management,
) -> (Row, Result<(), worker::management::ManagementError>) {
    let before = standing(user, rights);
    let deed = deed(&before, user, given.is_some(), how);
    let mut row = Row {
        user: name.to_owned(),
        state: deed.state,
        publishes: if deed.writes { rights.topic.clone() } else { user.and_then(|user| user.topic.clone()) },
        password: None,
        differences: match before {
            Standing::Other(differences) if !deed.writes => differences,
            _ => Vec::new(),
        },
    };
    if !deed.writes || how.dry_run {
        return (row, Ok(()));
    }
    let new = deed.makes_up.then(made_up);
    row.password = new.as_ref().map(|password| password.expose_secret().to_owned());
    if let Err(error) = management.grant(name, rights, new.as_ref().or(given), user).await {
        row.state = "interrupted";
        return (row, Err(error));
    }
    let after = management.users().await;
    let done = after.map(|users| {
        let user = users.iter().find(|user| user.name == name);
        match standing(user, rights) {
            Standing::AsWanted => {}
            // A topic permission that it should not have is one to be deleted, which nothing here does.
            Standing::Other(differences) => row.differences = differences,
            Standing::Missing | Standing::Unfinished => {
                row.differences.push("has no rights afterwards".to_owned());
            }
        }
    });
    (row, done)
}

fn show(rows: &[Row], how: How, output: &mut Output) -> io::Result<()> {
    if how.json {
        return rows.iter().try_for_each(|row| output.json(row));
    }
    let state = if how.dry_run { "would be" } else { "is" };
    let cells = rows
        .iter()
        .map(|row| [row.user.clone(), row.state.to_owned(), report::optional(row.publishes.as_ref())]);
    report::table(["user", state, "may publish"], &[], cells, output)?;
    // Not in the table, which breaks what is too wide.
    rows.iter().filter_map(|row| Some((&row.user, row.password.as_ref()?))).try_for_each(
        |(user, password)| output.line(format_args!("the password of {user}, told once: {password}")),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: How = How { new_password: false, replace: false, dry_run: false, json: false };

    #[test]
    fn nothing_is_written_about_a_user_that_is_as_wanted_or_has_other_rights() {
        let other = Standing::Other(vec!["may more".to_owned()]);
        for standing in [&Standing::AsWanted, &other] {
            assert!(!deed(standing, Some(&BrokerUser::default()), false, PLAIN).writes, "{standing:?}");
        }
        assert!(!deed(&other, Some(&BrokerUser::default()), true, PLAIN).writes);
        let replace = How { replace: true, ..PLAIN };
        assert_eq!(
            deed(&other, Some(&BrokerUser::default()), false, replace),
            Deed { state: "replaced", writes: true, makes_up: false }
        );
    }

    #[test]
    fn an_administrator_is_left_alone_whatever_is_asked() {
        let administrator = BrokerUser { tags: vec!["administrator".to_owned()], ..BrokerUser::default() };
        let all = How { new_password: true, replace: true, ..PLAIN };
        let other = Standing::Other(vec!["has the tag administrator".to_owned()]);
        assert_eq!(
            deed(&other, Some(&administrator), true, all),
            Deed { state: "differs", writes: false, makes_up: false }
        );
    }

    #[test]
    fn a_password_is_made_up_for_a_new_user_or_when_asked() {
        assert!(deed(&Standing::Missing, None, false, PLAIN).makes_up);
        assert!(!deed(&Standing::Missing, None, true, PLAIN).makes_up);
        let renewed = How { new_password: true, ..PLAIN };
        assert!(deed(&Standing::AsWanted, Some(&BrokerUser::default()), false, renewed).makes_up);
        assert!(!deed(&Standing::Unfinished, Some(&BrokerUser::default()), false, PLAIN).makes_up);
        assert_ne!(made_up().expose_secret(), made_up().expose_secret());
    }

    #[test]
    fn names_are_plain() {
        for wrong in ["", "a b", "a/b", "a\n", "ä", &"a".repeat(129)] {
            assert!(user_name(wrong).is_err(), "{wrong:?}");
        }
        assert_eq!(user_name("acme-shop_1.eu").unwrap(), "acme-shop_1.eu");
        assert!(service_name("saldo_treasurer").unwrap_err().contains("saldo_operator"));
    }
}
