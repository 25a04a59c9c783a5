//! What a database says of itself: server, session, roles, privileges, triggers, migrations. For `saldo doctor`.
//!
//! Everything is read from the catalogues, which any role may read, and nothing is tried: a check that tried what must be
//! refused would have done it where it is not. Each question is one statement; their sizes are those of the schema, not of
//! the data, but for [`key_ids`], which goes from key to key along an index.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::{AssertSqlSafe, FromRow, PgConnection, Result};
use time::OffsetDateTime;

use crate::privileges::{Held, OWNER, ROLES};
use crate::schema::MIGRATIONS;

/// A server, as this session sees it.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct Server {
    /// Such as `15.18`.
    pub version: String,
    /// Such as 150018.
    pub version_number: i32,
    /// The session's TLS version; `None`: it is in clear.
    pub tls: Option<String>,
    /// Whether client and server are one machine, as far as addresses tell.
    pub local: bool,
    /// Whose session it is.
    pub role: String,
    /// Whether it cannot write: a standby, or set so.
    pub read_only: bool,
    /// What a commit waits for.
    pub synchronous_commit: String,
    /// Whether what is written reaches the disk.
    pub fsync: String,
    /// Whether torn pages are mended after a crash.
    pub full_page_writes: String,
}

/// Asks for the server and the session.
///
/// # Errors
/// The database's.
pub async fn server(connection: &mut PgConnection) -> Result<Server> {
    sqlx::query_as(
        "SELECT current_setting('server_version') AS version,
                current_setting('server_version_num')::integer AS version_number,
                (SELECT s.version FROM pg_stat_ssl s WHERE s.pid = pg_backend_pid() AND s.ssl) AS tls,
                inet_client_addr() IS NULL OR inet_client_addr() <<= '127.0.0.0/8' OR inet_client_addr() = '::1'
                    OR inet_client_addr() = inet_server_addr() AS local,
                current_user::text AS role,
                pg_is_in_recovery() OR current_setting('transaction_read_only')::boolean AS read_only,
                current_setting('synchronous_commit') AS synchronous_commit, current_setting('fsync') AS fsync,
                current_setting('full_page_writes') AS full_page_writes",
    )
    .fetch_one(connection)
    .await
}

/// The database's clock.
///
/// # Errors
/// The database's.
pub async fn clock(connection: &mut PgConnection) -> Result<OffsetDateTime> {
    sqlx::query_scalar("SELECT clock_timestamp()").fetch_one(connection).await
}

/// What a role is, besides its privileges on tables. All of it is the role's own: what it comes by as a member of another is
/// that one's.
#[derive(Debug, Clone, Default, PartialEq, Eq, FromRow)]
pub struct RoleState {
    /// Its name.
    pub name: String,
    /// `SUPERUSER`, `CREATEROLE` and so on: what it has of attributes that no service needs.
    pub attributes: Vec<String>,
    /// The roles that were granted to it, and whose privileges it has or can take.
    pub member_of: Vec<String>,
    /// Whether it can log in.
    pub logs_in: bool,
    /// How many tables, views, functions and schemas of Saldo's it owns.
    pub owns: i64,
    /// Whether it was let into the schema.
    pub enters: bool,
    /// Whether it was allowed to create in the schema.
    pub creates: bool,
}

/// The roles of [`ROLES`] that exist, and this session's own.
///
/// # Errors
/// The database's.
pub async fn roles(connection: &mut PgConnection) -> Result<Vec<RoleState>> {
    let sql = format!(
        "WITH {EFFECTIVE}, schema_grant AS (
             SELECT g.grantee, g.privilege_type FROM pg_namespace s, aclexplode(s.nspacl) g WHERE s.nspname = 'saldo'
         )
         SELECT r.rolname::text AS name,
                array_remove(ARRAY[
                    CASE WHEN r.rolsuper THEN 'SUPERUSER' END, CASE WHEN r.rolcreaterole THEN 'CREATEROLE' END,
                    CASE WHEN r.rolcreatedb THEN 'CREATEDB' END, CASE WHEN r.rolreplication THEN 'REPLICATION' END,
                    CASE WHEN r.rolbypassrls THEN 'BYPASSRLS' END], NULL) AS attributes,
                ARRAY(SELECT DISTINCT pg_get_userbyid(e.role)::text FROM effective e
                      WHERE e.member = r.oid AND NOT r.rolsuper ORDER BY 1) AS member_of,
                r.rolcanlogin AS logs_in,
                (SELECT count(*) FROM pg_class c WHERE c.relnamespace = s.oid AND c.relowner = r.oid)
                    + (SELECT count(*) FROM pg_proc p WHERE p.pronamespace = s.oid AND p.proowner = r.oid)
                    + (s.nspowner = r.oid)::integer AS owns,
                EXISTS (SELECT FROM schema_grant g WHERE g.grantee = r.oid AND g.privilege_type = 'USAGE') AS enters,
                EXISTS (SELECT FROM schema_grant g WHERE g.grantee = r.oid AND g.privilege_type = 'CREATE') AS creates
         FROM pg_roles r, pg_namespace s
         WHERE s.nspname = 'saldo' AND (r.rolname = ANY($1) OR r.rolname = current_user)
         ORDER BY 1"
    );
    sqlx::query_as(AssertSqlSafe(sql)).bind(names()).fetch_all(connection).await
}

/// Memberships that give something: since Postgres 16 the creator of a role is a member of it that neither has its privileges
/// nor can become it. Older ones have not the columns that say so.
const EFFECTIVE: &str = "effective AS (
             SELECT m.roleid AS role, m.member FROM pg_auth_members m
             WHERE coalesce((to_jsonb(m)->>'set_option')::boolean, true)
                OR coalesce((to_jsonb(m)->>'inherit_option')::boolean, true)
         )";

fn names() -> Vec<String> {
    ROLES.map(|(name, _)| name.to_owned()).to_vec()
}

/// Somebody who is a member of one of Saldo's roles.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct Member {
    /// Of this one: one of [`ROLES`], or [`OWNER`].
    pub role: String,
    /// Who.
    pub name: String,
    /// Whether it can log in.
    pub logs_in: bool,
    /// Whether it was granted the role itself, and not one that was.
    pub direct: bool,
}

/// Who is a member of which of Saldo's roles, over however many others; by role and name.
///
/// # Errors
/// The database's.
pub async fn members(connection: &mut PgConnection) -> Result<Vec<Member>> {
    let sql = format!(
        "WITH RECURSIVE {EFFECTIVE}, reached AS (
             SELECT r.oid AS role, e.member FROM pg_roles r JOIN effective e ON e.role = r.oid
             WHERE r.rolname = ANY($1) OR r.rolname = $2
             UNION
             SELECT reached.role, e.member FROM reached JOIN effective e ON e.role = reached.member
         )
         SELECT pg_get_userbyid(reached.role)::text AS role, m.rolname::text AS name, m.rolcanlogin AS logs_in,
                EXISTS (SELECT FROM effective e WHERE e.role = reached.role AND e.member = reached.member) AS direct
         FROM reached JOIN pg_roles m ON m.oid = reached.member
         ORDER BY 1, 2"
    );
    sqlx::query_as(AssertSqlSafe(sql)).bind(names()).bind(OWNER).fetch_all(connection).await
}

/// What the roles of [`ROLES`] were granted in the schema, by role: to themselves, not to a role that they are a member of, nor
/// to everybody.
///
/// # Errors
/// The database's.
pub async fn privileges(connection: &mut PgConnection) -> Result<BTreeMap<String, BTreeSet<Held>>> {
    let rows: Vec<(String, String, String, Option<String>)> = sqlx::query_as(
        "SELECT r.rolname::text, g.relname::text, g.privilege_type, g.attname::text
         FROM (SELECT c.relname, c.relkind, NULL::name AS attname, (aclexplode(c.relacl)).*
               FROM pg_class c WHERE c.relnamespace = to_regnamespace('saldo')
               UNION ALL
               SELECT c.relname, c.relkind, a.attname, (aclexplode(a.attacl)).*
               FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
               WHERE c.relnamespace = to_regnamespace('saldo') AND a.attnum > 0 AND NOT a.attisdropped) AS g
         JOIN pg_roles r ON r.oid = g.grantee
         WHERE g.relkind IN ('r', 'p', 'v', 'm', 'f') AND r.rolname = ANY($1)",
    )
    .bind(names())
    .fetch_all(connection)
    .await?;
    let mut privileges = BTreeMap::<_, BTreeSet<_>>::new();
    for (role, table, privilege, column) in rows {
        privileges.entry(role).or_default().insert(Held { table, privilege, column });
    }
    Ok(privileges)
}

/// Who else was granted something in the schema that is more than reading, or what is sealed: `role` and what, as
/// `INSERT on entry`. `PUBLIC` is everybody, whose reading counts too: the services are among them.
///
/// # Errors
/// The database's.
pub async fn strangers(connection: &mut PgConnection) -> Result<Vec<(String, String)>> {
    sqlx::query_as(
        "SELECT DISTINCT CASE g.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(g.grantee)::text END,
                g.privilege_type || ' on ' || g.relname
         FROM (SELECT c.relname, c.relowner, NULL::name AS attname, (aclexplode(c.relacl)).*
               FROM pg_class c WHERE c.relnamespace = to_regnamespace('saldo')
               UNION ALL
               SELECT c.relname, c.relowner, a.attname, (aclexplode(a.attacl)).*
               FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
               WHERE c.relnamespace = to_regnamespace('saldo')) AS g
         WHERE g.grantee <> g.relowner AND g.grantee <> ALL(SELECT oid FROM pg_roles WHERE rolname = ANY($1))
           AND (g.privilege_type <> 'SELECT' OR g.grantee = 0
                OR (g.relname = 'payout_method' AND coalesce(g.attname, 'sealed') = 'sealed'))
         ORDER BY 1, 2",
    )
    .bind(names())
    .fetch_all(connection)
    .await
}

/// Whose the schema and everything in it is, where that is not [`OWNER`].
///
/// # Errors
/// The database's.
pub async fn other_owners(connection: &mut PgConnection) -> Result<Vec<String>> {
    sqlx::query_scalar(
        "SELECT DISTINCT pg_get_userbyid(o.owner)::text
         FROM (SELECT relowner AS owner FROM pg_class WHERE relnamespace = to_regnamespace('saldo')
               UNION SELECT proowner FROM pg_proc WHERE pronamespace = to_regnamespace('saldo')
               UNION SELECT nspowner FROM pg_namespace WHERE nspname = 'saldo') AS o
         WHERE pg_get_userbyid(o.owner) <> $1 ORDER BY 1",
    )
    .bind(OWNER)
    .fetch_all(connection)
    .await
}

/// The schema's own triggers, by table and name; whether each fires always.
///
/// # Errors
/// The database's.
pub async fn triggers(connection: &mut PgConnection) -> Result<BTreeMap<(String, String), bool>> {
    let rows: Vec<(String, String, bool)> = sqlx::query_as(
        "SELECT c.relname::text, t.tgname::text, t.tgenabled = 'A'
         FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
         WHERE c.relnamespace = to_regnamespace('saldo') AND NOT t.tgisinternal",
    )
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(|(table, name, always)| ((table, name), always)).collect())
}

/// What is the matter with a migration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MigrationState {
    /// It has not run.
    Missing,
    /// It began and did not end.
    Unfinished,
    /// It ran with another text.
    Changed,
    /// This program does not know it.
    Unknown,
}

/// The migrations that are not as this program has them, by version.
///
/// # Errors
/// The database's: also where there is no schema, or this role may not see it.
pub async fn migrations(connection: &mut PgConnection) -> Result<Vec<(i64, MigrationState)>> {
    let rows: Vec<(i64, bool, Vec<u8>)> =
        sqlx::query_as("SELECT version, success, checksum FROM _sqlx_migrations")
            .fetch_all(connection)
            .await?;
    let found: BTreeMap<_, _> =
        rows.into_iter().map(|(version, success, checksum)| (version, (success, checksum))).collect();
    let mut differences = Vec::new();
    for migration in MIGRATIONS.iter() {
        let state = match found.get(&migration.version) {
            None => MigrationState::Missing,
            Some((false, _)) => MigrationState::Unfinished,
            Some((true, checksum)) if checksum[..] != *migration.checksum => MigrationState::Changed,
            Some((true, _)) => continue,
        };
        differences.push((migration.version, state));
    }
    let known = |version: &i64| MIGRATIONS.iter().any(|migration| migration.version == *version);
    let unknown = found.keys().filter(|version| !known(version));
    differences.extend(unknown.map(|version| (*version, MigrationState::Unknown)));
    Ok(differences)
}

/// The ids of the keys that payout details and parked commands are encrypted with.
///
/// # Errors
/// The database's.
pub async fn key_ids(connection: &mut PgConnection) -> Result<Vec<String>> {
    sqlx::query_scalar(
        "WITH RECURSIVE used AS (
             (SELECT key_id FROM payout_method ORDER BY key_id LIMIT 1)
             UNION ALL
             SELECT (SELECT p.key_id FROM payout_method p WHERE p.key_id > u.key_id ORDER BY p.key_id LIMIT 1)
             FROM used u WHERE u.key_id IS NOT NULL
         )
         SELECT key_id FROM used WHERE key_id IS NOT NULL
         UNION SELECT key_id FROM waiting WHERE key_id IS NOT NULL ORDER BY 1",
    )
    .fetch_all(connection)
    .await
}
