//! The database: the connection, the server, the migrations, the keys; and the roles, which are [`super::roles`]'.

use ledger::inspect::{self, MigrationState, Server};
use ledger::schema;
use ledger::store::Settings as Database;
use ledger::vault::Vault;
use sqlx::PgConnection;
use sqlx::error::DatabaseError;

use super::finding::Finding;
use super::{advice, roles};
use crate::{ledger_access, output};

pub(super) const ABOUT: &str = "database";
pub(super) const MIGRATIONS: &str = "migrations";
pub(super) const KEYS: &str = "keys";

/// The oldest server that Saldo is tested with.
const OLDEST: (i32, &str) = (150_000, "15");

const MIGRATE: &str =
    "saldo migrate, with a superuser's login, or one that may create roles, in database.url";

/// Looks; and the connection, for who has further questions, or why there is none.
pub(super) async fn look(
    database: Result<Database, &'static str>,
    vault: Option<&Vault>,
) -> (Vec<Finding>, Result<PgConnection, &'static str>) {
    let (first, because) = match database {
        // What is wrong with it is a finding already.
        Err(because) => (Finding::unseen(ABOUT, because), because),
        Ok(database) => match ledger_access::connect_unchecked(Some(database)).await {
            Ok(mut connection) => {
                let findings = ask(&mut connection, vault).await;
                return (findings, Ok(connection));
            }
            Err(error) => (
                Finding::bad(ABOUT, output::chain(&error), advice::database(&error)),
                "there is no connection to the database",
            ),
        },
    };
    (unseen(first, MIGRATIONS, because), Err(because))
}

/// A finding, and that whatever comes from this section on was not looked at.
fn unseen(first: Finding, from: &str, because: &str) -> Vec<Finding> {
    let all = [MIGRATIONS, roles::ABOUT, roles::PRIVILEGES, roles::TRIGGERS, KEYS];
    let rest = all.into_iter().skip_while(|about| *about != from);
    std::iter::once(first).chain(rest.map(|about| Finding::unseen(about, because))).collect()
}

async fn ask(connection: &mut PgConnection, vault: Option<&Vault>) -> Vec<Finding> {
    let mut findings = Vec::new();
    match inspect::server(connection).await {
        Ok(server) => findings.extend(judge_server(&server)),
        Err(error) => findings.push(unanswered(ABOUT, &error)),
    }
    match inspect::migrations(connection).await {
        Ok(differences) => findings.extend(judge_migrations(&differences)),
        Err(error) if is_missing(&error) => {
            let none = "there is no Saldo schema that this role may see";
            findings.extend(unseen(
                Finding::bad(MIGRATIONS, none, MIGRATE),
                roles::ABOUT,
                "there is no schema to see",
            ));
            return findings;
        }
        Err(error) => findings.push(unanswered(MIGRATIONS, &error)),
    }
    findings.extend(roles::look(connection).await);
    match inspect::key_ids(connection).await {
        Ok(used) => findings.push(judge_keys(&used, vault)),
        Err(error) => findings.push(unanswered(KEYS, &error)),
    }
    findings
}

/// No such table, no such schema, or no right to see it.
fn is_missing(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(DatabaseError::code);
    code.is_some_and(|code| matches!(&*code, "42P01" | "3F000" | "42501"))
}

pub(super) fn unanswered(about: &'static str, error: &sqlx::Error) -> Finding {
    let advice = if ledger_access::may_not(error) {
        "let database.url log in as saldo_operator, who may ask"
    } else {
        "see in PostgreSQL's log what happened, and run saldo doctor again"
    };
    Finding::unknown(about, format!("not looked at: {}", output::chain(error)), advice)
}

fn judge_server(server: &Server) -> Vec<Finding> {
    let mut findings = Vec::new();
    let (oldest, version) = OLDEST;
    if server.version_number < oldest {
        findings.push(Finding::bad(
            ABOUT,
            format!("PostgreSQL {} is older than {version}, which Saldo needs", server.version),
            "upgrade PostgreSQL",
        ));
    }
    match (&server.tls, server.local) {
        (Some(tls), _) => {
            findings.push(Finding::good(ABOUT, format!("PostgreSQL {}, encrypted ({tls})", server.version)));
        }
        (None, true) => {
            findings.push(Finding::good(
                ABOUT,
                format!("PostgreSQL {}, in clear within this machine", server.version),
            ));
        }
        (None, false) => findings.push(Finding::bad(
            ABOUT,
            format!("PostgreSQL {} on another machine, and the connection is not encrypted", server.version),
            "switch on TLS in PostgreSQL (ssl = on) and add sslmode=verify-full to database.url",
        )),
    }
    if server.read_only {
        findings.push(Finding::bad(
            ABOUT,
            "takes no writes: it is a standby, or set to be read-only",
            "let database.url lead to the primary, or reset default_transaction_read_only",
        ));
    }
    let durability = [
        (
            "synchronous_commit",
            &server.synchronous_commit,
            "a commit would not wait for the disk, and could be lost",
        ),
        ("fsync", &server.fsync, "a power failure could destroy everything"),
        ("full_page_writes", &server.full_page_writes, "a power failure could leave torn pages"),
    ];
    let off: Vec<_> = durability.into_iter().filter(|(_, value, _)| *value == "off").collect();
    findings.extend(off.iter().map(|(name, _, so)| {
        Finding::bad(
            ABOUT,
            format!("{name} is off: {so}"),
            format!("set {name} = on in postgresql.conf, and reload"),
        )
    }));
    if off.is_empty() {
        let set = durability.map(|(name, value, _)| format!("{name} {value}")).join(", ");
        findings.push(Finding::good(ABOUT, format!("commits are durable: {set}")));
    }
    findings
}

fn judge_migrations(differences: &[(i64, MigrationState)]) -> Vec<Finding> {
    let bad = differences.iter().map(|(version, state)| match state {
        MigrationState::Missing => Finding::bad(MIGRATIONS, format!("{version} has not run"), MIGRATE),
        MigrationState::Unfinished => Finding::bad(
            MIGRATIONS,
            format!("{version} began and did not end"),
            "see in PostgreSQL's log why; remove its row from saldo._sqlx_migrations, then saldo migrate",
        ),
        MigrationState::Changed => Finding::bad(
            MIGRATIONS,
            format!("{version} is not the one that has run here"),
            "use the programs that this database was made with, or a newer release of them",
        ),
        MigrationState::Unknown => Finding::bad(
            MIGRATIONS,
            format!("{version} has run here, and this program does not know it"),
            "use programs as new as the database",
        ),
    });
    Finding::all_or(
        bad.collect(),
        MIGRATIONS,
        format!("all have run; the schema has version {}", schema::version()),
    )
}

/// The names of keys are no secrets.
fn judge_keys(used: &[String], vault: Option<&Vault>) -> Finding {
    if used.is_empty() {
        return Finding::good(KEYS, "nothing is encrypted yet");
    }
    let Some(vault) = vault else {
        let advice =
            "set payout.keys as the directory worker has them, or leave this to where they are: --skip keys";
        let what = "payout.keys are not set here: whether all can be read is not known";
        return Finding::unknown(KEYS, what, advice);
    };
    let missing: Vec<_> = used
        .iter()
        .filter(|id| !vault.key_ids().any(|known| known == id.as_str()))
        .map(String::as_str)
        .collect();
    if missing.is_empty() {
        Finding::good(KEYS, format!("payout.keys has all {} that are in use", used.len()))
    } else {
        Finding::bad(
            KEYS,
            format!("payout details are encrypted with {}, which payout.keys lacks", missing.join(", ")),
            "add the key from where it was kept; without it they cannot be read again",
        )
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::State;
    use super::*;

    fn server() -> Server {
        let on = || "on".to_owned();
        Server {
            version: "15.18".to_owned(),
            version_number: 150_018,
            tls: None,
            local: true,
            role: "saldo_operator".to_owned(),
            read_only: false,
            synchronous_commit: on(),
            fsync: on(),
            full_page_writes: on(),
        }
    }

    fn bad(findings: &[Finding]) -> Vec<&str> {
        findings
            .iter()
            .filter(|finding| finding.state == State::Bad)
            .map(|finding| finding.what.as_str())
            .collect()
    }

    #[test]
    fn a_sound_server_is_well() {
        assert!(bad(&judge_server(&server())).is_empty());
        let remote = Server { tls: Some("TLSv1.3".to_owned()), local: false, ..server() };
        assert!(bad(&judge_server(&remote)).is_empty());
    }

    #[test]
    fn what_can_lose_commits_or_be_listened_to_is_bad() {
        let off = || "off".to_owned();
        for (server, says) in [
            (Server { fsync: off(), ..server() }, "fsync is off"),
            (Server { full_page_writes: off(), ..server() }, "full_page_writes is off"),
            (Server { synchronous_commit: off(), ..server() }, "synchronous_commit is off"),
            (Server { read_only: true, ..server() }, "takes no writes"),
            (Server { local: false, ..server() }, "not encrypted"),
            (Server { version_number: 140_009, ..server() }, "is older than 15"),
        ] {
            let findings = judge_server(&server);
            let bad = bad(&findings);
            assert!(bad.len() == 1 && bad[0].contains(says), "{bad:?}");
        }
    }

    #[test]
    fn each_migration_that_differs_is_told_with_what_to_do() {
        use MigrationState::{Changed, Missing, Unfinished, Unknown};
        let findings = judge_migrations(&[(3, Changed), (5, Unfinished), (6, Missing), (9, Unknown)]);
        assert_eq!(
            bad(&findings),
            [
                "3 is not the one that has run here",
                "5 began and did not end",
                "6 has not run",
                "9 has run here, and this program does not know it"
            ]
        );
        assert_eq!(judge_migrations(&[]).len(), 1);
    }

    #[test]
    fn a_key_that_is_in_use_and_not_set_is_bad_and_none_at_all_unknown() {
        let keys = "new:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
        let vault: Vault = keys.parse().unwrap();
        let used = ["new".to_owned(), "old".to_owned()];
        assert_eq!(judge_keys(&used[..1], Some(&vault)).state, State::Good);
        let lacking = judge_keys(&used, Some(&vault));
        assert_eq!((lacking.state, lacking.what.contains("with old,")), (State::Bad, true));
        assert_eq!(judge_keys(&used, None).state, State::Unknown);
        assert_eq!(judge_keys(&[], None).state, State::Good);
    }
}
