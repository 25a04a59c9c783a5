//! What each database role may do, and what the database itself refuses: one table that a person can read.
//!
//! The migrations grant it; a test holds them and this table equal, and `saldo doctor` holds a database to it. What
//! is not listed, nobody has. Pure: [`crate::inspect`] asks the database.

use std::collections::{BTreeMap, BTreeSet};

/// Owns the schema and everything in it, and cannot log in.
pub const OWNER: &str = "saldo_owner";
/// The command line's role.
pub const OPERATOR: &str = "saldo_operator";
/// Reads and seals payout details.
pub const TREASURER: &str = "saldo_treasurer";

/// A role's privileges: for each table or view the privileges in alphabetical order, each on all of it or, in brackets, on
/// these columns.
type Grants = &'static [(&'static str, &'static str)];

/// The role of a worker.
pub fn role_of(worker: &str) -> String {
    format!("saldo_{worker}")
}

/// Whether this is one of [`ROLES`].
pub fn is_role(name: &str) -> bool {
    ROLES.iter().any(|(role, _)| *role == name)
}

/// Every role that logs in, with all that it may do in the schema.
pub const ROLES: [(&str, Grants); 7] = [
    (
        "saldo_commissions",
        &[
            ("_sqlx_migrations", "SELECT"),
            (
                "account",
                "INSERT(currency,customer,exponent,merchant) SELECT UPDATE(balance,entries,head,held,pending,version)",
            ),
            ("batch", "INSERT(worker) SELECT UPDATE(published_at)"),
            ("commission", "INSERT SELECT UPDATE(reversed,state)"),
            ("customer", "INSERT(id,kind,merchant) SELECT(id,merchant)"),
            ("entry", "INSERT SELECT"),
            ("inbox", "INSERT SELECT UPDATE(account_id,batch_id,entry_number,outcome,position,version)"),
            ("merchant", "SELECT"),
            ("waiting", "DELETE INSERT SELECT"),
        ],
    ),
    (
        "saldo_adjustments",
        &[
            ("_sqlx_migrations", "SELECT"),
            (
                "account",
                "INSERT(currency,customer,exponent,merchant) SELECT UPDATE(balance,entries,head,held,pending,version)",
            ),
            ("batch", "INSERT(worker) SELECT UPDATE(published_at)"),
            ("customer", "INSERT(id,kind,merchant) SELECT(id,merchant)"),
            ("entry", "INSERT SELECT"),
            ("inbox", "INSERT SELECT UPDATE(account_id,batch_id,entry_number,outcome,position,version)"),
            ("merchant", "SELECT"),
            ("waiting", "DELETE INSERT SELECT"),
        ],
    ),
    (
        "saldo_withdrawals",
        &[
            ("_sqlx_migrations", "SELECT"),
            ("account", "SELECT UPDATE(balance,entries,head,held,pending,version)"),
            ("batch", "INSERT(worker) SELECT UPDATE(published_at)"),
            ("customer", "SELECT"),
            ("entry", "INSERT"),
            ("inbox", "INSERT SELECT UPDATE(account_id,batch_id,entry_number,outcome,position,version)"),
            ("merchant", "SELECT"),
            (
                "payout_method",
                "SELECT(command,customer,key_id,kind,masked,merchant,put_at,recorded_at,version)",
            ),
            ("waiting", "DELETE INSERT SELECT"),
            ("withdrawal", "INSERT SELECT UPDATE(changed_at,payment,state,transitions)"),
            ("withdrawal_transition", "INSERT"),
        ],
    ),
    (
        "saldo_directory",
        &[
            ("_sqlx_migrations", "SELECT"),
            ("batch", "INSERT(worker) SELECT UPDATE(published_at)"),
            ("customer", "INSERT SELECT UPDATE(email,kind,locale,name,put_at)"),
            ("inbox", "INSERT SELECT UPDATE(account_id,batch_id,entry_number,outcome,position,version)"),
            ("merchant", "INSERT SELECT UPDATE(hold_days,name,preferences,put_at,updated_at)"),
            (
                "payout_method",
                "INSERT SELECT(command,customer,key_id,kind,masked,merchant,put_at,recorded_at,version)",
            ),
            ("waiting", "DELETE INSERT SELECT"),
        ],
    ),
    (
        "saldo_notifier",
        &[
            ("_sqlx_migrations", "SELECT"),
            ("account", "SELECT"),
            ("batch", "INSERT(worker) SELECT UPDATE(published_at)"),
            ("customer", "SELECT"),
            ("delivery", "INSERT SELECT"),
            ("inbox", "INSERT SELECT"),
            (
                "mail",
                "INSERT SELECT UPDATE(answer,attempted_at,attempts,ended_at,next_attempt_at,state,status)",
            ),
            ("merchant", "SELECT"),
            ("notice", "INSERT SELECT"),
            ("withdrawal", "SELECT"),
            ("withdrawal_transition", "SELECT"),
        ],
    ),
    (
        OPERATOR,
        &[
            ("_sqlx_migrations", "SELECT"),
            ("account", "SELECT"),
            ("batch", "SELECT"),
            ("commission", "SELECT"),
            ("customer", "SELECT"),
            (
                "deed",
                "INSERT(actor,command_id,fingerprint,kind,letter,merchant,note,queue,reason,routing_key,source,type,user_id) SELECT",
            ),
            ("delivery", "SELECT"),
            ("entry", "SELECT"),
            ("inbox", "SELECT"),
            ("journal", "SELECT"),
            ("mail", "SELECT UPDATE(ended_at,give_up_at,next_attempt_at,recipient,resent,state)"),
            ("merchant", "SELECT"),
            ("notice", "SELECT"),
            (
                "payout_method",
                "SELECT(command,customer,key_id,kind,masked,merchant,put_at,recorded_at,version)",
            ),
            ("revelation", "SELECT"),
            ("trial_balance", "SELECT"),
            ("waiting", "SELECT"),
            ("withdrawal", "SELECT"),
            ("withdrawal_transition", "SELECT"),
        ],
    ),
    (
        TREASURER,
        &[
            ("_sqlx_migrations", "SELECT"),
            ("account", "SELECT"),
            ("customer", "SELECT"),
            ("inbox", "SELECT"),
            ("merchant", "SELECT"),
            ("payout_method", "SELECT UPDATE(key_id,sealed)"),
            ("revelation", "INSERT(actor,withdrawal)"),
            ("waiting", "SELECT UPDATE(body,key_id)"),
            ("withdrawal", "SELECT"),
            ("withdrawal_transition", "SELECT"),
        ],
    ),
];

/// The triggers that refuse what no grant rules out, by table. Each fires always, also for a session that replays
/// replication.
pub const GUARDS: [(&str, &str); 14] = [
    ("batch", "own_added"),
    ("batch", "own_changed"),
    ("deed", "append_only"),
    ("deed", "append_only_whole"),
    ("entry", "append_only"),
    ("entry", "append_only_whole"),
    ("inbox", "outcome_once"),
    ("inbox", "own_changed"),
    ("revelation", "append_only"),
    ("revelation", "append_only_whole"),
    ("waiting", "own_added"),
    ("waiting", "own_removed"),
    ("withdrawal_transition", "append_only"),
    ("withdrawal_transition", "append_only_whole"),
];

/// Something that a role may do: a privilege on a table and, unless it is on all of it, a column.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Held {
    /// The table or view.
    pub table: String,
    /// `SELECT`, `INSERT` …
    pub privilege: String,
    /// `None`: the whole of it.
    pub column: Option<String>,
}

/// What is written in [`ROLES`] for one of its roles; `None`: it is none of them.
pub fn wanted(role: &str) -> Option<BTreeSet<Held>> {
    let (_, grants) = ROLES.iter().find(|(name, _)| *name == role)?;
    let mut wanted = BTreeSet::new();
    for (table, privileges) in *grants {
        for privilege in privileges.split(' ') {
            let (privilege, columns) = privilege.split_once('(').unwrap_or((privilege, ""));
            let held = |column: Option<&str>| Held {
                table: (*table).to_owned(),
                privilege: privilege.to_owned(),
                column: column.map(str::to_owned),
            };
            let columns = columns.trim_end_matches(')').split(',').filter(|column| !column.is_empty());
            let named: Vec<_> = columns.map(|column| held(Some(column))).collect();
            wanted.extend(if named.is_empty() { vec![held(None)] } else { named });
        }
    }
    Some(wanted)
}

/// As it stands in [`ROLES`], with the table in front: `mail: SELECT UPDATE(ended_at,state)`, one for each table.
pub fn written<'a>(held: impl IntoIterator<Item = &'a Held>) -> Vec<String> {
    let mut tables = BTreeMap::<&str, BTreeMap<&str, Vec<&str>>>::new();
    for Held { table, privilege, column } in held {
        tables.entry(table).or_default().entry(privilege).or_default().extend(column.as_deref());
    }
    let privilege = |(privilege, columns): (&str, Vec<&str>)| match columns.as_slice() {
        [] => privilege.to_owned(),
        columns => format!("{privilege}({})", columns.join(",")),
    };
    let line = |(table, privileges): (&str, BTreeMap<&str, Vec<&str>>)| {
        format!("{table}: {}", privileges.into_iter().map(privilege).collect::<Vec<_>>().join(" "))
    };
    tables.into_iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back_and_is_in_order() {
        for (role, grants) in ROLES {
            let lines: Vec<_> =
                grants.iter().map(|(table, privileges)| format!("{table}: {privileges}")).collect();
            assert_eq!(written(&wanted(role).unwrap()), lines, "{role}");
        }
        assert!(GUARDS.is_sorted());
        assert!(wanted(OWNER).is_none());
    }

    #[test]
    fn nobody_changes_or_removes_what_is_append_only_and_the_notifier_moves_no_money() {
        for (role, _) in ROLES {
            let held = wanted(role).unwrap();
            let append_only = ["entry", "withdrawal_transition", "revelation"];
            let changes = held.iter().filter(|held| {
                append_only.contains(&held.table.as_str())
                    && !matches!(held.privilege.as_str(), "SELECT" | "INSERT")
            });
            assert_eq!(changes.count(), 0, "{role}");
            assert!(held.iter().all(|held| held.privilege != "TRUNCATE" && held.privilege != "TRIGGER"));
            let sealed = held.iter().any(|held| {
                held.table == "payout_method"
                    && held.privilege == "SELECT"
                    && held.column.as_ref().is_none_or(|column| column == "sealed")
            });
            assert_eq!(sealed, role == TREASURER, "{role}");
        }
        let notifier = wanted("saldo_notifier").unwrap();
        let money = ["account", "entry", "commission", "withdrawal"];
        let moves = |held: &Held| money.contains(&held.table.as_str()) && held.privilege != "SELECT";
        assert!(!notifier.iter().any(moves));
    }
}
