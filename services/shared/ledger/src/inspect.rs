//! What a database says of itself: server, session, roles, privileges, triggers, migrations. For `saldo doctor`.
//!
//! Everything is read from the catalogues, which any role may read, and nothing is tried: a check that tried what must be
//! refused would have done it where it is not. Each question is one statement; their sizes are those of the schema, not of
//! the data, but for [`key_ids`], which goes from key to key along an index.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::{FromRow, PgConnection, Result};
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

/// What a role is, besides its privileges on tables.
#[derive(Debug, Clone, Default, PartialEq, Eq, FromRow)]
pub struct RoleState {
    /// Its name.
    pub name: String,
    /// `SUPERUSER`, `CREATEROLE` and so on: what it has of attributes that no service needs.
    pub attributes: Vec<String>,
    /// The roles whose privileges it has or can take.
    pub member_of: Vec<String>,
    /// How many tables, views, functions and schemas of Saldo's it owns.
    pub owns: i64,
    /// Whether it may create in the schema.
    pub creates: bool,
}

/// The roles of [`ROLES`] that exist, and this session's own.
///
/// # Errors
/// The database's.
pub async fn roles(connection: &mut PgConnection) -> Result<Vec<RoleState>> {
    sqlx::query_as(
        "SELECT r.rolname::text AS name,
                array_remove(ARRAY[
                    CASE WHEN r.rolsuper THEN 'SUPERUSER' END, CASE WHEN r.rolcreaterole THEN 'CREATEROLE' END,
                    CASE WHEN r.rolcreatedb THEN 'CREATEDB' END, CASE WHEN r.rolreplication THEN 'REPLICATION' END,
                    CASE WHEN r.rolbypassrls THEN 'BYPASSRLS' END], NULL) AS attributes,
                ARRAY(SELECT m.rolname::text FROM pg_roles m
                      WHERE NOT r.rolsuper AND m.oid <> r.oid AND pg_has_role(r.oid, m.oid, 'MEMBER')
                      ORDER BY 1) AS member_of,
                (SELECT count(*) FROM pg_class c WHERE c.relnamespace = s.oid AND c.relowner = r.oid)
                    + (SELECT count(*) FROM pg_proc p WHERE p.pronamespace = s.oid AND p.proowner = r.oid)
                    + (s.nspowner = r.oid)::integer AS owns,
                NOT r.rolsuper AND has_schema_privilege(r.oid, s.oid, 'CREATE') AS creates
         FROM pg_roles r, pg_namespace s
         WHERE s.nspname = 'saldo' AND (r.rolname = ANY($1) OR r.rolname = current_user)
         ORDER BY 1",
    )
    .bind(ROLES.map(|(name, _)| name.to_owned()).to_vec())
    .fetch_all(connection)
    .await
}

/// What the roles of [`ROLES`] may do in the schema, by role; however they come by it: granted to them, to a role that
/// they are a member of, or to everybody.
///
/// # Errors
/// The database's.
pub async fn privileges(connection: &mut PgConnection) -> Result<BTreeMap<String, BTreeSet<Held>>> {
    let rows: Vec<(String, String, String, Option<String>)> = sqlx::query_as(
        "SELECT r.rolname::text, c.relname::text, p.privilege, column_.name
         FROM pg_roles r
         CROSS JOIN pg_class c
         CROSS JOIN unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'REFERENCES', 'TRIGGER'])
             AS p (privilege)
         CROSS JOIN LATERAL (
             SELECT NULL::text AS name WHERE has_table_privilege(r.oid, c.oid, p.privilege)
             UNION ALL
             SELECT a.attname::text FROM pg_attribute a
             WHERE NOT has_table_privilege(r.oid, c.oid, p.privilege)
               AND a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
               AND CASE WHEN p.privilege IN ('SELECT', 'INSERT', 'UPDATE', 'REFERENCES')
                        THEN has_column_privilege(r.oid, c.oid, a.attnum, p.privilege) END
         ) AS column_
         WHERE c.relnamespace = to_regnamespace('saldo') AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
           AND r.rolname = ANY($1)",
    )
    .bind(ROLES.map(|(name, _)| name.to_owned()).to_vec())
    .fetch_all(connection)
    .await?;
    let mut privileges = BTreeMap::<_, BTreeSet<_>>::new();
    for (role, table, privilege, column) in rows {
        privileges.entry(role).or_default().insert(Held { table, privilege, column });
    }
    Ok(privileges)
}

/// Who else was granted something in the schema that is more than reading, or what is sealed: `role` and what, as
/// `INSERT on entry`. `PUBLIC` is everybody.
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
           AND (g.privilege_type <> 'SELECT' OR (g.relname = 'payout_method' AND coalesce(g.attname, 'sealed') = 'sealed'))
         ORDER BY 1, 2",
    )
    .bind(ROLES.map(|(name, _)| name.to_owned()).to_vec())
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

/// Who can become the owner, other than superusers.
///
/// # Errors
/// The database's.
pub async fn owners(connection: &mut PgConnection) -> Result<Vec<String>> {
    sqlx::query_scalar(
        "SELECT r.rolname::text FROM pg_roles r, pg_roles o
         WHERE o.rolname = $1 AND r.oid <> o.oid AND NOT r.rolsuper AND pg_has_role(r.oid, o.oid, 'MEMBER') ORDER BY 1",
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
