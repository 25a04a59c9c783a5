//! What becomes of users that are asked for.
//!
//! Running one again changes nothing. A user that may do something else is told of and left alone, unless `--replace` is
//! given; an administrator is left alone whatever is given; nobody is deleted. What an interruption leaves, and in which
//! order things are done for that, is [`Management::grant`]'s to say. A password that was made up is told once, with the
//! user's row: whoever interrupts before that runs the command again with `--new-password`.
//!
//! Rights count for connections that are made after them. Those that are open can go on with what they are busy with: that is
//! told, and `--disconnect` closes them, last of all and not of a user that was left alone. Interrupted before that, the same
//! command finds a user as wanted and closes its connections all the same.

use std::io;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use worker::management::{Management, ManagementError, Standing, standing};
use worker::rights::{BrokerUser, Rights};

use crate::output::{self, Output, counted};
use crate::{Done, Status, report};

/// Random bytes in a password that is made up.
const PASSWORD_BYTES: usize = 24;

/// What is done with users that are there, and how it is told.
#[derive(Debug, Clone, Copy, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "switches of a command line")]
pub(super) struct How {
    /// Give a user that is there a new password, too
    #[arg(long)]
    new_password: bool,
    /// Replace whatever else a user may do that is there
    #[arg(long)]
    replace: bool,
    /// Close the user's open connections, which can go on with what the rights from before allowed
    #[arg(long)]
    disconnect: bool,
    /// Change nothing; say what would be done
    #[arg(long)]
    dry_run: bool,
    /// Print one JSON object a line
    #[arg(long)]
    json: bool,
}

/// A user's report. The order of the fields is the order of the JSON.
#[derive(Debug, PartialEq, Serialize)]
struct Row {
    user: String,
    /// `created`, `finished` (an interrupted attempt), `unchanged`, `password changed`, `replaced`, `differs` or `interrupted`; with
    /// --dry-run what would be.
    state: &'static str,
    /// The keys that it may publish; `None`: every key, or it may not publish.
    publishes: Option<String>,
    /// The keys by which it may bind to events; `None`: every key, or it may not.
    hears: Option<String>,
    /// Its connections that were open when its rights were replaced, or that were closed.
    connections: Option<usize>,
    /// One that was made up.
    password: Option<String>,
    /// How it differs from what was asked for, where it still does.
    differences: Vec<String>,
    /// Whether --replace, which was not given, would change that.
    #[serde(skip)]
    is_replaceable: bool,
}

fn made_up() -> SecretString {
    URL_SAFE_NO_PAD.encode(rand::random::<[u8; PASSWORD_BYTES]>()).into()
}

pub(super) async fn settle(
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
    if failure.is_none() {
        failure = connections(&mut rows, how, management).await.err();
    }
    show(&rows, how, output)?;
    let keeps_password = given.is_none() && !how.new_password;
    let told = rows.iter().filter_map(about_differences);
    let told = told.chain(rows.iter().filter(|_| keeps_password).filter_map(about_password));
    told.chain(rows.iter().filter_map(|row| about_connections(row, how.disconnect)))
        .for_each(|told| output.message(told));
    if let Some(error) = failure {
        output.message(output::chain(&error));
        return Ok(Status::Bad);
    }
    Ok(if rows.iter().all(|row| row.differences.is_empty()) { Status::Good } else { Status::Bad })
}

/// What became of a user who was not there.
const CREATED: &str = "created";
/// What became of a user whom an interrupted attempt had left.
const FINISHED: &str = "finished";
/// What became of a user who had other rights.
const REPLACED: &str = "replaced";
/// What became of a user whose rights are not known to be in effect.
const INTERRUPTED: &str = "interrupted";

/// What is done about one user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Deed {
    state: &'static str,
    /// Whether anything is written.
    writes: bool,
    /// Whether the user gets a password that is made up.
    makes_up: bool,
}

/// Whether `--replace` leaves no difference: no administrator is touched, and no topic permission deleted.
fn is_replaceable(user: &BrokerUser, rights: &Rights) -> bool {
    let too_much = |found: &Option<String>, wanted: &Option<String>| found.is_some() && wanted.is_none();
    !user.is_administrator() && !too_much(&user.topic, &rights.topic) && !too_much(&user.hears, &rights.hears)
}

/// Decides it.
fn deed(standing: &Standing, user: Option<&BrokerUser>, given: bool, how: How) -> Deed {
    let makes_up = !given && (*standing == Standing::Missing || how.new_password);
    let done = |state| Deed { state, writes: true, makes_up };
    match standing {
        Standing::Missing => done(CREATED),
        Standing::Unfinished => done(FINISHED),
        Standing::AsWanted if given || how.new_password => done("password changed"),
        Standing::AsWanted => Deed { state: "unchanged", writes: false, makes_up: false },
        Standing::Other(_) if how.replace && !user.is_some_and(BrokerUser::is_administrator) => {
            done(REPLACED)
        }
        Standing::Other(_) => Deed { state: "differs", writes: false, makes_up: false },
    }
}

/// Does it. A password that was made up is in the row even where something went wrong then.
async fn one(
    name: &str,
    rights: &Rights,
    user: Option<&BrokerUser>,
    given: Option<&SecretString>,
    how: How,
    management: &Management,
) -> (Row, Result<(), ManagementError>) {
    let before = standing(user, rights);
    let deed = deed(&before, user, given.is_some(), how);
    let mut row = Row {
        user: name.to_owned(),
        state: deed.state,
        publishes: if deed.writes { rights.topic.clone() } else { user.and_then(|user| user.topic.clone()) },
        hears: if deed.writes { rights.hears.clone() } else { user.and_then(|user| user.hears.clone()) },
        connections: None,
        password: None,
        differences: match before {
            Standing::Other(differences) if !deed.writes => differences,
            _ => Vec::new(),
        },
        is_replaceable: !deed.writes && user.is_some_and(|user| is_replaceable(user, rights)),
    };
    if how.dry_run {
        return (row, Ok(()));
    }
    let done =
        if deed.writes { write(&mut row, rights, user, given, deed, management).await } else { Ok(()) };
    (row, done)
}

/// Closes the connections of users who have what they should, or counts those of users who had something else. Who was just
/// made has none, and who differs was left alone.
async fn connections(rows: &mut [Row], how: How, management: &Management) -> Result<(), ManagementError> {
    let concerned = |row: &&mut Row| {
        let as_wanted = row.differences.is_empty() && row.state != CREATED;
        !how.dry_run && (row.state == REPLACED || (how.disconnect && as_wanted))
    };
    let rows: Vec<_> = rows.iter_mut().filter(concerned).collect();
    let users: Vec<_> = rows.iter().map(|row| row.user.as_str()).collect();
    if users.is_empty() {
        return Ok(());
    }
    let counts = if how.disconnect {
        management.disconnect(&users).await?
    } else {
        management.connections_of(&users).await?
    };
    for row in rows {
        row.connections = Some(counts.get(&row.user).copied().unwrap_or_default());
    }
    Ok(())
}

/// Gives the user its rights and looks at what came of it.
async fn write(
    row: &mut Row,
    rights: &Rights,
    user: Option<&BrokerUser>,
    given: Option<&SecretString>,
    deed: Deed,
    management: &Management,
) -> Result<(), ManagementError> {
    let new = deed.makes_up.then(made_up);
    row.password = new.as_ref().map(|password| password.expose_secret().to_owned());
    if let Err(error) = management.grant(&row.user, rights, new.as_ref().or(given), user).await {
        row.state = INTERRUPTED;
        return Err(error);
    }
    let users = management.users().await?;
    let user = users.iter().find(|user| user.name == row.user);
    match standing(user, rights) {
        Standing::AsWanted => {}
        // A topic permission that it should not have is one to be deleted, which nothing here does.
        Standing::Other(differences) => row.differences = differences,
        Standing::Missing | Standing::Unfinished => {
            row.differences.push("has no rights afterwards".to_owned());
        }
    }
    Ok(())
}

/// How a user differs, and what helps.
fn about_differences(row: &Row) -> Option<String> {
    let differences = (!row.differences.is_empty()).then(|| row.differences.join("; "))?;
    let advice = if row.is_replaceable { "; --replace changes that" } else { "" };
    Some(format!("{} {}{advice}", report::visible(&row.user), report::visible(&differences)))
}

/// That a user who was there has a password, of which nobody here knows anything.
fn about_password(row: &Row) -> Option<String> {
    (row.state == FINISHED).then(|| {
        format!("{} keeps the password it had; --new-password gives another", report::visible(&row.user))
    })
}

/// The line for a password that was made up.
fn told_once(row: &Row) -> Option<String> {
    let (user, password) = (&row.user, row.password.as_ref()?);
    let doubt = if row.state == INTERRUPTED { " (it may not be in effect)" } else { "" };
    Some(format!("the password of {user}, told once{doubt}: {password}"))
}

/// What is to be said of a user's open connections.
fn about_connections(row: &Row, closed: bool) -> Option<String> {
    let (user, number) = (report::visible(&row.user), row.connections?);
    Some(match (closed, number) {
        (true, number) => format!("{} of {user} closed", counted(number, "connection")),
        (false, 0) => format!(
            "connections of {user} that were made just now may go on by the rights from before: --disconnect closes them"
        ),
        (false, number) => {
            format!(
                "{} of {user} can go on by the rights from before: --disconnect closes what is open",
                counted(number, "connection")
            )
        }
    })
}

fn show(rows: &[Row], how: How, output: &mut Output) -> io::Result<()> {
    if how.json {
        return rows.iter().try_for_each(|row| output.json(row));
    }
    let state = if how.dry_run { "would be" } else { "is" };
    let cells = rows.iter().map(|row| {
        let [publishes, hears] = [&row.publishes, &row.hears].map(|keys| report::optional(keys.as_ref()));
        [row.user.clone(), row.state.to_owned(), publishes, hears]
    });
    report::table(["user", state, "may publish", "may hear"], &[], cells, output)?;
    // Not in the table, which breaks what is too wide.
    rows.iter().filter_map(told_once).try_for_each(|line| output.line(line))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: How =
        How { new_password: false, replace: false, disconnect: false, dry_run: false, json: false };

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
    fn replacing_is_advised_where_it_leaves_no_difference() {
        let (none, some) = (None, Some("^acme\\.".to_owned()));
        for (topic, hears, replaceable) in
            [(&none, &none, true), (&some, &none, false), (&none, &some, false)]
        {
            let user = BrokerUser { topic: topic.clone(), hears: hears.clone(), ..BrokerUser::default() };
            assert_eq!(is_replaceable(&user, &Rights::operator()), replaceable, "{topic:?} {hears:?}");
        }
        let administrator = BrokerUser { tags: vec!["administrator".to_owned()], ..BrokerUser::default() };
        assert!(!is_replaceable(&administrator, &Rights::operator()));
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

    fn row(state: &'static str) -> Row {
        Row {
            user: "shop".to_owned(),
            state,
            publishes: None,
            hears: None,
            connections: None,
            password: None,
            differences: Vec::new(),
            is_replaceable: false,
        }
    }

    #[test]
    fn a_password_is_told_with_whether_it_can_be_relied_on() {
        let told = |state| told_once(&Row { password: Some("pw".to_owned()), ..row(state) }).unwrap();
        assert_eq!(told(CREATED), "the password of shop, told once: pw");
        assert_eq!(told(INTERRUPTED), "the password of shop, told once (it may not be in effect): pw");
        assert_eq!(told_once(&row(CREATED)), None);
        assert_eq!(
            about_password(&row(FINISHED)).unwrap(),
            "shop keeps the password it had; --new-password gives another"
        );
        assert_eq!(about_password(&row(CREATED)), None);
    }

    #[test]
    fn replacing_is_advised_where_it_would_help() {
        let told = |is_replaceable| {
            let differences = vec!["may a".to_owned(), "may b".to_owned()];
            about_differences(&Row { differences, is_replaceable, ..row("differs") }).unwrap()
        };
        assert_eq!(told(true), "shop may a; may b; --replace changes that");
        assert_eq!(told(false), "shop may a; may b");
        assert_eq!(about_differences(&row("unchanged")), None);
    }

    #[test]
    fn open_connections_are_told_of_once_rights_are_others() {
        let row = |connections| Row { connections, ..row(REPLACED) };
        assert_eq!(about_connections(&row(None), false), None);
        let told = |number, closed| about_connections(&row(Some(number)), closed).unwrap();
        assert_eq!(
            told(1, false),
            "1 connection of shop can go on by the rights from before: --disconnect closes what is open"
        );
        assert!(told(2, false).starts_with("2 connections of shop can go on"));
        assert!(told(0, false).contains("made just now"));
        assert_eq!(told(2, true), "2 connections of shop closed");
    }
}
