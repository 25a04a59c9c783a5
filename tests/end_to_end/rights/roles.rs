//! What each database role holds, exactly, and what it is refused.

use ledger::inspect;
use ledger::privileges::{self, GUARDS, ROLES};
use sqlx::Executor as _;
use tests::World;

use super::{all_refused, rows, written};

/// Every role, every table, every privilege: the catalogue and the table in `ledger::privileges` say the same.
#[tokio::test(flavor = "multi_thread")]
async fn the_catalogue_grants_exactly_what_is_written() {
    let world = World::without_broker().await;
    let mut superuser = world.superuser().await;
    let held = inspect::privileges(&mut superuser).await.unwrap();
    assert_eq!(held.len(), ROLES.len(), "{held:?}");
    for (role, grants) in ROLES {
        let wanted: Vec<_> = grants.iter().map(|(table, grant)| format!("{table}: {grant}")).collect();
        assert_eq!(privileges::written(&held[role]), wanted, "{role}");
    }
    assert_eq!(inspect::strangers(&mut superuser).await.unwrap(), []);
    assert_eq!(inspect::other_owners(&mut superuser).await.unwrap(), Vec::<String>::new());
    let triggers: Vec<_> = inspect::triggers(&mut superuser).await.unwrap().into_iter().collect();
    let wanted: Vec<_> =
        GUARDS.iter().map(|(table, name)| (((*table).to_owned(), (*name).to_owned()), true)).collect();
    assert_eq!(triggers, wanted);
    for role in inspect::roles(&mut superuser).await.unwrap() {
        if ROLES.iter().any(|(name, _)| *name == role.name) {
            let plain = inspect::RoleState {
                name: role.name.clone(),
                logs_in: true,
                enters: true,
                ..inspect::RoleState::default()
            };
            assert_eq!(role, plain);
        }
    }
}

/// What a role was granted itself is told apart from what it comes by as a member of another, or as one of everybody. In a
/// transaction that is never committed: roles are the whole server's, and others use them now.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_role_comes_by_over_others_is_not_its_own() {
    let world = World::without_broker().await;
    let mut superuser = world.superuser().await;
    superuser
        .execute(
            "BEGIN;
             CREATE ROLE test_group NOLOGIN; CREATE ROLE test_login LOGIN;
             GRANT saldo_owner TO saldo_commissions;
             GRANT saldo_withdrawals, saldo_operator TO test_group; GRANT test_group TO test_login;
             GRANT SELECT ON entry TO PUBLIC;
             GRANT UPDATE (note) ON entry TO saldo_notifier;
             REVOKE SELECT ON notice FROM saldo_notifier;
             REVOKE USAGE ON SCHEMA saldo FROM saldo_directory",
        )
        .await
        .unwrap();
    let held = inspect::privileges(&mut superuser).await.unwrap();
    for (role, _) in ROLES.iter().filter(|(role, _)| *role != "saldo_notifier") {
        assert_eq!(held[*role], privileges::wanted(role).unwrap(), "{role}");
    }
    let wanted = privileges::wanted("saldo_notifier").unwrap();
    let notifier = &held["saldo_notifier"];
    assert_eq!(privileges::written(notifier.difference(&wanted)), ["entry: UPDATE(note)"]);
    assert_eq!(privileges::written(wanted.difference(notifier)), ["notice: SELECT"]);
    let strangers = inspect::strangers(&mut superuser).await.unwrap();
    assert_eq!(strangers, [("PUBLIC".to_owned(), "SELECT on entry".to_owned())]);

    let roles = inspect::roles(&mut superuser).await.unwrap();
    let role = |name: &str| roles.iter().find(|role| role.name == name).unwrap();
    assert_eq!(role("saldo_commissions").member_of, ["saldo_owner"]);
    assert_eq!((role("saldo_commissions").owns, role("saldo_commissions").creates), (0, false));
    assert!(!role("saldo_directory").enters && role("saldo_commissions").enters);
    let members = inspect::members(&mut superuser).await.unwrap();
    let members: Vec<_> = members
        .iter()
        .filter(|member| member.name.starts_with("test_") || member.role == "saldo_owner")
        .map(|member| {
            let inspect::Member { role, name, logs_in, direct } = member;
            (role.as_str(), name.as_str(), *logs_in, *direct)
        })
        .collect();
    assert_eq!(
        members,
        [
            ("saldo_operator", "test_group", false, true),
            ("saldo_operator", "test_login", true, false),
            ("saldo_owner", "saldo_commissions", true, true),
            ("saldo_withdrawals", "test_group", false, true),
            ("saldo_withdrawals", "test_login", true, false),
        ]
    );
    superuser.execute("ROLLBACK").await.unwrap();
}

/// What no service may do, whichever it is.
const NOBODY: [&str; 22] = [
    "UPDATE entry SET amount = amount + 1",
    "UPDATE entry SET note = 'other'",
    "DELETE FROM entry",
    "TRUNCATE entry",
    "DELETE FROM account",
    "UPDATE account SET merchant = 'other'",
    "DELETE FROM inbox",
    "UPDATE inbox SET content = content",
    "UPDATE inbox SET id = 'other'",
    "DELETE FROM batch",
    "UPDATE batch SET worker = 'other'",
    "UPDATE withdrawal_transition SET state = 'paid'",
    "DELETE FROM withdrawal_transition",
    "UPDATE revelation SET actor = 'other'",
    "DELETE FROM revelation",
    "DELETE FROM _sqlx_migrations",
    "ALTER TABLE entry DISABLE TRIGGER ALL",
    "DROP TRIGGER append_only ON entry",
    "CREATE TABLE saldo.other (id bigint)",
    "SET session_replication_role = replica",
    "SET ROLE saldo_owner",
    "SET ROLE saldo_treasurer",
];

/// What is the work of others.
const REFUSED_TO: [(&str, &[&str]); 5] = [
    (
        "saldo_adjustments",
        &[
            "SELECT name FROM customer",
            "SELECT email FROM customer",
            "UPDATE customer SET kind = 'affiliate'",
            "INSERT INTO customer (merchant, id, kind, email) VALUES ('acme', 'x', 'customer', 'x@example.org')",
            "INSERT INTO account (merchant, customer, currency, exponent, balance) VALUES ('acme', 'anna', 'USD', 2, 9)",
            "SELECT FROM commission",
            "INSERT INTO commission SELECT * FROM commission",
            "SELECT FROM withdrawal",
            "UPDATE withdrawal SET state = 'paid'",
            "SELECT masked FROM payout_method",
            "INSERT INTO merchant (id, name) VALUES ('own', 'own')",
            "UPDATE merchant SET hold_days = 0",
            "SELECT FROM mail",
        ],
    ),
    (
        "saldo_directory",
        &[
            "SELECT FROM entry",
            "INSERT INTO entry (account_id, number) VALUES (1, 1)",
            "SELECT balance FROM account",
            "UPDATE account SET balance = 1000",
            "INSERT INTO account (merchant, customer, currency, exponent) VALUES ('acme', 'anna', 'USD', 2)",
            "SELECT FROM commission",
            "SELECT FROM withdrawal",
            "INSERT INTO withdrawal_transition (withdrawal, number) VALUES ('', 1)",
            "SELECT sealed FROM payout_method",
            "UPDATE payout_method SET masked = 'x'",
            "DELETE FROM payout_method",
            "DELETE FROM customer",
            "DELETE FROM merchant",
            "SELECT FROM mail",
        ],
    ),
    (
        "saldo_withdrawals",
        &[
            "SELECT FROM entry",
            "SELECT FROM commission",
            "UPDATE commission SET reversed = 0",
            "INSERT INTO account (merchant, customer, currency, exponent) VALUES ('acme', 'anna', 'USD', 2)",
            "INSERT INTO customer (merchant, id, kind) VALUES ('acme', 'x', 'affiliate')",
            "UPDATE customer SET kind = 'affiliate'",
            "UPDATE merchant SET preferences = '{}'",
            "SELECT sealed FROM payout_method",
            "INSERT INTO payout_method (merchant, customer) VALUES ('acme', 'anna')",
            "UPDATE withdrawal SET amount = 1",
            "UPDATE withdrawal SET payout_version = 2",
            "DELETE FROM withdrawal",
            "SELECT FROM withdrawal_transition",
            "SELECT FROM mail",
        ],
    ),
    (
        "saldo_notifier",
        &[
            "SELECT FROM entry",
            "INSERT INTO entry (account_id, number) VALUES (1, 1)",
            "UPDATE account SET balance = 1000",
            "SELECT FROM waiting",
            "SELECT masked FROM payout_method",
            "UPDATE inbox SET outcome = 'other'",
        ],
    ),
    (
        "saldo_operator",
        &[
            "SELECT sealed FROM payout_method",
            "INSERT INTO revelation (withdrawal, actor) VALUES ('', 'maria')",
            "INSERT INTO batch (worker) VALUES ('commissions')",
            "DELETE FROM waiting",
        ],
    ),
];

#[tokio::test(flavor = "multi_thread")]
async fn each_role_is_refused_what_is_not_its_work() {
    let (world, before) = written().await;
    for (role, statements) in REFUSED_TO {
        let mut connection = world.connect_as(role).await;
        all_refused(&mut connection, &NOBODY, "").await;
        all_refused(&mut connection, statements, "").await;
    }
    // Who may take the treasurer's role: nobody but who is it.
    let mut treasurer = world.connect_as("saldo_treasurer").await;
    all_refused(&mut treasurer, &NOBODY[..NOBODY.len() - 1], "").await;
    let more = [
        "INSERT INTO entry (account_id, number) VALUES (1, 1)",
        "SELECT FROM entry",
        "UPDATE account SET balance = 1000",
        "UPDATE withdrawal SET state = 'paid'",
        "UPDATE payout_method SET masked = 'x'",
        "UPDATE payout_method SET version = 2",
        "INSERT INTO payout_method (merchant, customer) VALUES ('acme', 'anna')",
        "INSERT INTO revelation (withdrawal, actor, role) VALUES ('', 'maria', 'saldo_operator')",
        "INSERT INTO revelation (withdrawal, actor, revealed_at) VALUES ('', 'maria', '2020-01-01')",
        "SELECT FROM revelation",
        "DELETE FROM waiting",
        "INSERT INTO batch (worker) VALUES ('directory')",
        "SELECT FROM mail",
    ];
    all_refused(&mut treasurer, &more, "").await;
    assert_eq!(rows(&world).await, before);
}

/// A parked reversal and its batch are the commissions worker's: the others' grants on the same tables do not reach them.
#[tokio::test(flavor = "multi_thread")]
async fn a_workers_rows_are_not_another_workers() {
    let (world, before) = written().await;
    for role in ["saldo_adjustments", "saldo_withdrawals", "saldo_directory"] {
        let mut other = world.connect_as(role).await;
        all_refused(
            &mut other,
            &[
                "UPDATE batch SET published_at = now() WHERE worker = 'commissions'",
                "INSERT INTO batch (worker) VALUES ('commissions')",
                "DELETE FROM waiting WHERE worker = 'commissions'",
                "INSERT INTO waiting (key, worker, awaited_merchant, body, parked_at, deadline)
                 SELECT key, 'commissions', 'acme', '', now(), now() FROM inbox",
                "UPDATE inbox SET outcome = '' WHERE outcome IS NULL",
                "UPDATE inbox SET batch_id = 7 WHERE outcome IS NULL",
            ],
            "is another worker's",
        )
        .await;
    }
    let mut notifier = world.connect_as("saldo_notifier").await;
    let told = ["UPDATE batch SET published_at = now() WHERE worker = 'commissions'"];
    all_refused(&mut notifier, &told, "is another worker's").await;
    assert_eq!(rows(&world).await, before);

    let mut own = world.connect_as("saldo_commissions").await;
    for statement in [
        "UPDATE batch SET published_at = now() WHERE worker = 'commissions'",
        "INSERT INTO batch (worker) VALUES ('commissions')",
        "DELETE FROM waiting WHERE worker = 'commissions'",
        "UPDATE inbox SET outcome = '' WHERE outcome IS NULL",
    ] {
        assert!(own.execute(statement).await.unwrap().rows_affected() > 0, "{statement}");
    }
}

/// Every type of command is its worker's in the trigger, too.
#[tokio::test(flavor = "multi_thread")]
async fn a_parked_command_of_each_type_is_its_own_workers_to_decide() {
    let world = World::without_broker().await;
    for name in worker::rights::commands() {
        let worker = match name.split('.').next().unwrap() {
            "commission" => "commissions",
            "adjustment" => "adjustments",
            "withdrawal" => "withdrawals",
            _ => "directory",
        };
        sqlx::query(
            "INSERT INTO inbox (batch_id, key, position, merchant, source, id, type, content)
             VALUES (1, substr(sha256($1::bytea), 1, 16), 1, 'acme', '/s', $2, $2 || '.v1', sha256('x'))",
        )
        .bind(name.as_bytes())
        .bind(name)
        .execute(&mut world.superuser().await)
        .await
        .unwrap();
        for role in tests::world::WORKERS {
            let mut connection = world.connect_as(&privileges::role_of(role)).await;
            let update = "UPDATE inbox SET position = 2 WHERE id = $1 AND outcome IS NULL";
            let done = sqlx::query(update).bind(name).execute(&mut connection).await;
            assert_eq!(done.is_ok(), role == worker, "{role} and {name}: {done:?}");
        }
    }
}
