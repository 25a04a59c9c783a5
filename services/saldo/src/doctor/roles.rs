//! Who may do what in the database: roles, their privileges, and the triggers that refuse what no privilege rules out.
//! Compared with [`ledger::privileges`], exactly: too little stops a worker, too much is a hole. What a role was granted itself is
//! one thing, what it comes by as a member of another ([`super::memberships`]) or as one of everybody is theirs: each finding has
//! the statement that mends it.

use std::collections::{BTreeMap, BTreeSet};

use ledger::inspect::{self, Member, RoleState};
use ledger::privileges::{self, GUARDS, Held, OWNER, ROLES};
use sqlx::PgConnection;

use super::advice::{as_owner, as_superuser};
use super::database::unanswered;
use super::finding::Finding;
use super::memberships;
use crate::output::counted;

pub(super) const ABOUT: &str = "roles";
pub(super) const PRIVILEGES: &str = "privileges";
pub(super) const TRIGGERS: &str = "triggers";

/// What is asked about roles.
struct Asked {
    /// Whose session it is.
    session: String,
    roles: Vec<RoleState>,
    members: Vec<Member>,
    /// Owners of something in the schema that should not be.
    other_owners: Vec<String>,
}

pub(super) async fn look(connection: &mut PgConnection) -> Vec<Finding> {
    let mut findings = match ask(connection).await {
        Ok(asked) => judge_roles(&asked),
        Err(error) => vec![unanswered(ABOUT, &error)],
    };
    match both(connection).await {
        Ok((held, strangers)) => findings.extend(judge_privileges(&held, &strangers)),
        Err(error) => findings.push(unanswered(PRIVILEGES, &error)),
    }
    match inspect::triggers(connection).await {
        Ok(triggers) => findings.extend(judge_triggers(&triggers)),
        Err(error) => findings.push(unanswered(TRIGGERS, &error)),
    }
    findings
}

async fn ask(connection: &mut PgConnection) -> sqlx::Result<Asked> {
    Ok(Asked {
        session: inspect::server(connection).await?.role,
        roles: inspect::roles(connection).await?,
        members: inspect::members(connection).await?,
        other_owners: inspect::other_owners(connection).await?,
    })
}

async fn both(
    connection: &mut PgConnection,
) -> sqlx::Result<(BTreeMap<String, BTreeSet<Held>>, Vec<(String, String)>)> {
    Ok((inspect::privileges(connection).await?, inspect::strangers(connection).await?))
}

fn judge_roles(asked: &Asked) -> Vec<Finding> {
    let Asked { session, roles, members, other_owners } = asked;
    let missing = ROLES.iter().filter(|(name, _)| !roles.iter().any(|role| role.name == *name));
    let mut bad: Vec<_> = missing
        .map(|(name, _)| Finding::bad(ABOUT, format!("there is no role {name}"), "saldo migrate"))
        .collect();
    bad.extend(roles.iter().flat_map(judge_role));
    bad.extend(memberships::judge(roles, members));
    let owned = other_owners.iter().filter(|owner| !roles.iter().any(|role| role.name == **owner));
    bad.extend(owned.map(|owner| {
        Finding::bad(
            ABOUT,
            format!("{owner} owns something in the schema; all of it should be {OWNER}'s"),
            as_superuser(&format!(
                "ALTER … OWNER TO {OWNER}, for what psql's \\d saldo.* shows as {owner}'s"
            )),
        )
    }));
    let good = format!("none has more than it should; the session is {session}'s");
    let mut findings = Finding::all_or(bad, ABOUT, good);
    findings.extend(memberships::list(roles, members));
    findings
}

/// What a role is itself.
fn judge_role(role: &RoleState) -> Vec<Finding> {
    let RoleState { name, attributes, owns, .. } = role;
    let mut bad = Vec::new();
    let mut add = |what: String, advice: String| bad.push(Finding::bad(ABOUT, what, advice));
    if !attributes.is_empty() {
        let advice = if privileges::is_role(name) {
            let none: Vec<_> = attributes.iter().map(|attribute| format!("NO{attribute}")).collect();
            as_superuser(&format!("ALTER ROLE {name} {};", none.join(" ")))
        } else {
            "let database.url log in as one of Saldo's roles, such as saldo_operator".to_owned()
        };
        add(format!("{name} is {}: more than anybody needs for Saldo", attributes.join(", ")), advice);
    }
    if *owns > 0 {
        let things = counted(usize::try_from(*owns).unwrap_or(usize::MAX), "thing");
        add(
            format!("{name} owns {things} in the schema, and could change them at will"),
            as_superuser(&format!("ALTER … OWNER TO {OWNER}, for what psql's \\d saldo.* shows as {name}'s")),
        );
    }
    if role.creates && *owns == 0 {
        add(
            format!("{name} may create in the schema"),
            as_owner(&format!("REVOKE CREATE ON SCHEMA saldo FROM {name};")),
        );
    }
    if privileges::is_role(name) && !role.enters {
        add(
            format!("{name} may not enter the schema"),
            as_owner(&format!("GRANT USAGE ON SCHEMA saldo TO {name};")),
        );
    }
    bad
}

fn judge_privileges(held: &BTreeMap<String, BTreeSet<Held>>, strangers: &[(String, String)]) -> Vec<Finding> {
    let none = BTreeSet::new();
    let mut bad = Vec::new();
    for (role, _) in ROLES {
        let (held, wanted) = (held.get(role).unwrap_or(&none), privileges::wanted(role).unwrap_or_default());
        let statements = |verb: &str, to: &str, these: &[String]| {
            let one = |line: &String| {
                let (table, privileges) = line.split_once(": ").unwrap_or((line, ""));
                format!("{verb} {} ON saldo.{table} {to} {role};", privileges.replace(' ', ", "))
            };
            these.iter().map(one).collect::<Vec<_>>().join(" ")
        };
        // A column of what is granted as a whole gives nothing.
        let gives = |held: &&Held| !wanted.contains(&Held { column: None, ..(*held).clone() });
        let excess = privileges::written(held.difference(&wanted).filter(gives));
        if !excess.is_empty() {
            bad.push(Finding::bad(
                PRIVILEGES,
                format!("{role} may more than it should: {}", excess.join("; ")),
                as_owner(&statements("REVOKE", "FROM", &excess)),
            ));
        }
        let lacking = privileges::written(wanted.difference(held));
        if !lacking.is_empty() {
            bad.push(Finding::bad(
                PRIVILEGES,
                format!("{role} lacks: {}", lacking.join("; ")),
                format!(
                    "saldo migrate, if migrations are missing; otherwise {}",
                    as_owner(&statements("GRANT", "TO", &lacking))
                ),
            ));
        }
    }
    let mut by_stranger = BTreeMap::<&str, Vec<&str>>::new();
    for (who, what) in strangers {
        by_stranger.entry(who).or_default().push(what);
    }
    bad.extend(by_stranger.into_iter().map(|(who, what)| {
        Finding::bad(
            PRIVILEGES,
            format!("{who} is none of Saldo's roles and was granted {}", what.join(", ")),
            {
                let revoke =
                    |what: &&str| format!("REVOKE {} FROM {who};", what.replacen(" on ", " ON saldo.", 1));
                as_owner(&what.iter().map(revoke).collect::<Vec<_>>().join(" "))
            },
        )
    }));
    Finding::all_or(bad, PRIVILEGES, "each role has what it needs and nothing more")
}

fn judge_triggers(found: &BTreeMap<(String, String), bool>) -> Vec<Finding> {
    let bad = GUARDS.iter().filter_map(|(table, trigger)| {
        match found.get(&((*table).to_owned(), (*trigger).to_owned())) {
            Some(true) => None,
            Some(false) => Some(Finding::bad(
                TRIGGERS,
                format!("{trigger} of {table} does not always fire"),
                format!(
                    "{}; then saldo verify --anchor FILE",
                    as_owner(&format!("ALTER TABLE saldo.{table} ENABLE ALWAYS TRIGGER {trigger}"))
                ),
            )),
            None => Some(Finding::bad(
                TRIGGERS,
                format!("{table} has no trigger {trigger}"),
                "saldo migrate, if migrations are missing; otherwise make it as the migrations do, then saldo verify --anchor FILE",
            )),
        }
    });
    Finding::all_or(bad.collect(), TRIGGERS, format!("all {} fire always", GUARDS.len()))
}

#[cfg(test)]
mod tests {
    use super::super::finding::State;
    use super::*;

    fn sound() -> Asked {
        let role = |(name, _): (&str, _)| RoleState {
            name: name.to_owned(),
            logs_in: true,
            enters: true,
            ..RoleState::default()
        };
        Asked {
            session: "saldo_operator".to_owned(),
            roles: ROLES.map(role).to_vec(),
            members: Vec::new(),
            other_owners: Vec::new(),
        }
    }

    fn bad(findings: &[Finding]) -> Vec<String> {
        let bad = findings.iter().filter(|finding| finding.state == State::Bad);
        bad.map(|finding| format!("{} → {}", finding.what, finding.advice.as_deref().unwrap_or_default()))
            .collect()
    }

    fn with(change: impl FnOnce(&mut RoleState)) -> Vec<String> {
        let mut asked = sound();
        change(&mut asked.roles[0]);
        bad(&judge_roles(&asked))
    }

    #[test]
    fn roles_as_the_migrations_make_them_are_well() {
        assert!(bad(&judge_roles(&sound())).is_empty());
    }

    #[test]
    fn a_role_that_is_more_than_a_role_should_be_is_told() {
        assert_eq!(
            with(|role| role.attributes = vec!["CREATEROLE".to_owned(), "CREATEDB".to_owned()]),
            ["saldo_commissions is CREATEROLE, CREATEDB: more than anybody needs for Saldo → \
              as a superuser: ALTER ROLE saldo_commissions NOCREATEROLE NOCREATEDB;"]
        );
        assert_eq!(with(|role| role.enters = false).len(), 1);
        assert_eq!(with(|role| role.owns = 1).len(), 1);
        assert_eq!(with(|role| role.creates = true).len(), 1);
        assert_eq!(with(|role| role.name = "other".to_owned()).len(), 2);
        let mut asked = sound();
        let superuser = RoleState {
            name: "root".to_owned(),
            attributes: vec!["SUPERUSER".to_owned()],
            ..RoleState::default()
        };
        asked.roles.push(superuser);
        let found = bad(&judge_roles(&asked));
        assert!(found.len() == 1 && found[0].contains("let database.url log in as one"), "{found:?}");
    }

    #[test]
    fn privileges_are_compared_both_ways_and_the_statement_that_mends_them_is_told() {
        let mut held: BTreeMap<_, _> =
            ROLES.iter().map(|(role, _)| ((*role).to_owned(), privileges::wanted(role).unwrap())).collect();
        assert!(bad(&judge_privileges(&held, &[])).is_empty());
        let notifier = held.get_mut("saldo_notifier").unwrap();
        let privilege = |table: &str, privilege: &str, column: Option<&str>| Held {
            table: table.to_owned(),
            privilege: privilege.to_owned(),
            column: column.map(str::to_owned),
        };
        notifier.insert(privilege("entry", "UPDATE", Some("note")));
        notifier.insert(privilege("entry", "INSERT", None));
        notifier.insert(privilege("account", "SELECT", Some("balance")));
        notifier.remove(&privilege("notice", "SELECT", None));
        assert_eq!(
            bad(&judge_privileges(&held, &[("PUBLIC".to_owned(), "DELETE on entry".to_owned())])),
            [
                "saldo_notifier may more than it should: entry: INSERT UPDATE(note) → \
                 as a superuser: SET ROLE saldo_owner; REVOKE INSERT, UPDATE(note) ON saldo.entry FROM saldo_notifier;",
                "saldo_notifier lacks: notice: SELECT → saldo migrate, if migrations are missing; otherwise \
                 as a superuser: SET ROLE saldo_owner; GRANT SELECT ON saldo.notice TO saldo_notifier;",
                "PUBLIC is none of Saldo's roles and was granted DELETE on entry → \
                 as a superuser: SET ROLE saldo_owner; REVOKE DELETE ON saldo.entry FROM PUBLIC;",
            ]
        );
    }

    #[test]
    fn a_trigger_that_is_gone_or_does_not_always_fire_is_told() {
        let mut found: BTreeMap<_, _> =
            GUARDS.iter().map(|(table, name)| (((*table).to_owned(), (*name).to_owned()), true)).collect();
        assert!(bad(&judge_triggers(&found)).is_empty());
        found.insert(("entry".to_owned(), "append_only".to_owned()), false);
        found.remove(&("inbox".to_owned(), "outcome_once".to_owned()));
        let found = bad(&judge_triggers(&found));
        assert!(found[0].starts_with("append_only of entry does not always fire"), "{found:?}");
        assert!(found[1].starts_with("inbox has no trigger outcome_once"), "{found:?}");
    }
}
