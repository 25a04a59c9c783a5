//! A database and a virtual host of one's own.

use std::sync::atomic::{AtomicU32, Ordering};

use rust_decimal::Decimal;
use serde_json::{Value, json};
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use sqlx::{Connection, Executor, PgConnection};
use tokio::sync::OnceCell;
use worker::rights::{Permissions, Rights};
use worker::topology::{Limits, Topology};

use crate::worker_process::WorkerBuilder;
use crate::{Collector, MailServer, PATIENCE, Publisher, http_client};

/// The workers that decide commands, by name.
pub const WORKERS: [&str; 4] = ["commissions", "adjustments", "directory", "withdrawals"];

/// The worker that decides nothing.
const NOTIFIER: &str = "notifier";

/// All workers, by name.
pub const ALL_WORKERS: [&str; 5] = [WORKERS[0], WORKERS[1], WORKERS[2], WORKERS[3], NOTIFIER];

/// The roles that log in besides the workers'.
const PEOPLE: [&str; 2] = ["saldo_operator", "saldo_treasurer"];

/// The password of every role and user that tests make.
pub const PASSWORD: &str = "for-tests-only";

/// What a variable such as `SALDO_TEST_CA_FILE` says about the servers.
pub fn server(variable: &str) -> String {
    std::env::var(variable).unwrap_or_else(|_| {
        panic!("{variable} is not set: run the tests through tests/run, or inside deploy/local/servers")
    })
}

/// A test's own database and virtual host, with the merchant `acme` registered.
#[derive(Debug, Clone)]
pub struct World {
    /// Database and virtual host have this name.
    pub name: String,
}

impl World {
    /// A new world with the default topology.
    pub async fn new() -> Self {
        Self::with_limits(Limits::default()).await
    }

    /// A new world whose queues have these limits.
    pub async fn with_limits(limits: Limits) -> Self {
        let world = Self::named();
        tokio::join!(world.make_database(), world.make_vhost(limits));
        world
    }

    /// A new world whose database is a copy of this one's, in which nobody may be working, and whose queues have these
    /// limits.
    pub async fn copy(&self, limits: Limits) -> Self {
        let world = Self::named();
        let mut admin = PgConnection::connect(&server("SALDO_TEST_DATABASE_URL")).await.unwrap();
        // File by file: a large one would otherwise pass through the write-ahead log.
        let statement = format!("CREATE DATABASE {} TEMPLATE {} STRATEGY FILE_COPY", world.name, self.name);
        admin.execute(sqlx::AssertSqlSafe(statement)).await.unwrap();
        world.make_vhost(limits).await;
        world
    }

    /// Removes database and virtual host, whoever still uses them.
    pub async fn remove(self) {
        let mut admin = PgConnection::connect(&server("SALDO_TEST_DATABASE_URL")).await.unwrap();
        let statement = format!("DROP DATABASE {} WITH (FORCE)", self.name);
        admin.execute(sqlx::AssertSqlSafe(statement)).await.unwrap();
        self.manage("DELETE", &format!("vhosts/{}", self.name), None).await;
    }

    /// A new world that is a database and nothing more.
    pub async fn without_broker() -> Self {
        let world = Self::named();
        world.make_database().await;
        world
    }

    /// By a name that nobody else has.
    fn named() -> Self {
        static WORLDS: AtomicU32 = AtomicU32::new(1);
        let number = WORLDS.fetch_add(1, Ordering::SeqCst);
        Self { name: format!("saldo_{}_{number}", std::process::id()) }
    }

    async fn make_database(&self) {
        static ROLES: OnceCell<()> = OnceCell::const_new();
        let mut admin = PgConnection::connect(&server("SALDO_TEST_DATABASE_URL")).await.unwrap();
        admin.execute(sqlx::AssertSqlSafe(format!("CREATE DATABASE {}", self.name))).await.unwrap();
        let mut database = self.superuser().await;
        ledger::schema::migrate(&mut database).await.unwrap();
        // Roles belong to the server: one password change at a time.
        ROLES
            .get_or_init(|| async {
                let workers = ALL_WORKERS.iter().map(|worker| format!("saldo_{worker}"));
                for role in workers.chain(PEOPLE.map(str::to_owned)) {
                    let statement = format!("ALTER ROLE {role} PASSWORD '{PASSWORD}'");
                    admin.execute(sqlx::AssertSqlSafe(statement)).await.unwrap();
                }
            })
            .await;
        self.register("acme", 0).await;
    }

    async fn make_vhost(&self, limits: Limits) {
        static USERS: OnceCell<()> = OnceCell::const_new();
        let user = amqp_user();
        self.manage("PUT", &format!("vhosts/{}", self.name), None).await;
        let all = json!({ "configure": ".*", "write": ".*", "read": ".*" });
        self.manage("PUT", &format!("permissions/{}/{user}", self.name), Some(all)).await;
        // Users belong to the broker, which answers 400 to whoever comes second at the same moment.
        USERS
            .get_or_init(async || {
                for worker in ALL_WORKERS {
                    let login = json!({ "password": PASSWORD, "tags": "" });
                    self.manage("PUT", &format!("users/saldo_{worker}_test"), Some(login)).await;
                }
            })
            .await;
        for worker in ALL_WORKERS {
            self.permit(&format!("saldo_{worker}_test"), &Rights::worker(worker)).await;
        }
        let definitions = Topology::new(limits).definitions(&self.name);
        self.manage("POST", &format!("definitions/{}", self.name), Some(definitions)).await;
    }

    /// Gives a user of the broker what these rights have for this virtual host.
    pub async fn permit(&self, user: &str, rights: &Rights) {
        let Rights { permissions: Permissions { configure, write, read }, topic, hears, .. } = rights;
        let permissions = json!({ "configure": configure, "write": write, "read": read });
        self.manage("PUT", &format!("permissions/{}/{user}", self.name), Some(permissions)).await;
        if let Some(write) = topic {
            let topic = json!({ "exchange": worker::topology::COMMANDS, "write": write, "read": "^$" });
            self.manage("PUT", &format!("topic-permissions/{}/{user}", self.name), Some(topic)).await;
        }
        if let Some(read) = hears {
            let topic = json!({ "exchange": worker::topology::EVENTS, "write": "^$", "read": read });
            self.manage("PUT", &format!("topic-permissions/{}/{user}", self.name), Some(topic)).await;
        }
    }

    /// Registers a merchant.
    pub async fn register(&self, merchant: &str, hold_days: i32) {
        sqlx::query("INSERT INTO merchant (id, name, hold_days) VALUES ($1, $1, $2) ON CONFLICT (id) DO UPDATE SET hold_days = $2")
            .bind(merchant)
            .bind(hold_days)
            .execute(&mut self.superuser().await)
            .await
            .unwrap();
    }

    /// The management API; fails the test on any refusal.
    pub async fn manage(&self, method: &str, path: &str, body: Option<Value>) -> Value {
        self.try_manage(method, path, body).await.unwrap_or_else(|problem| panic!("{problem}"))
    }

    /// The management API of a broker that may be away.
    ///
    /// # Errors
    /// It is, or it refuses.
    pub async fn try_manage(&self, method: &str, path: &str, body: Option<Value>) -> Result<Value, String> {
        let url = format!("{}/api/{path}", server("SALDO_TEST_MANAGEMENT_URL"));
        let mut request = http_client(PATIENCE).request(method.parse().unwrap(), url);
        if let Some(body) = body {
            request = request.json(&body);
        } else if method == "PUT" {
            request = request.json(&json!({}));
        }
        let failed = |error: reqwest::Error| format!("{method} {path}: {}", error.without_url());
        let response = request.send().await.map_err(failed)?;
        let status = response.status();
        let text = response.text().await.map_err(failed)?;
        if !status.is_success() {
            return Err(format!("{method} {path}: {status} {text}"));
        }
        Ok(serde_json::from_str(&text).unwrap_or(Value::Null))
    }

    /// Ends every session of this database but the administrator's own; how many there were.
    ///
    /// # Errors
    /// The database's.
    pub async fn end_sessions(admin: &mut PgConnection) -> sqlx::Result<i64> {
        let sql = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
                   WHERE datname = current_database() AND pid <> pg_backend_pid()";
        sqlx::query_scalar(sql).fetch_one(admin).await
    }

    /// New sessions cannot write, and there are no old ones; or they can again.
    ///
    /// # Errors
    /// The database's.
    pub async fn read_only(&self, admin: &mut PgConnection, on: bool) -> sqlx::Result<()> {
        let change =
            if on { "SET default_transaction_read_only = on" } else { "RESET default_transaction_read_only" };
        // The administrator's own session may be one of those that cannot.
        admin.execute("SET default_transaction_read_only = off").await?;
        admin.execute(sqlx::AssertSqlSafe(format!("ALTER DATABASE {} {change}", self.name))).await?;
        if on {
            Self::end_sessions(admin).await?;
        }
        Ok(())
    }

    /// A connection as superuser, `search_path` set.
    pub async fn superuser(&self) -> PgConnection {
        self.connection(None).await
    }

    /// A connection as one of the service roles, `search_path` set.
    pub async fn connect_as(&self, role: &str) -> PgConnection {
        self.connection(Some(role)).await
    }

    /// In clear, as what is measured is: the server would offer TLS, and sqlx take it.
    async fn connection(&self, role: Option<&str>) -> PgConnection {
        let options: PgConnectOptions = self.database_url(role).parse().unwrap();
        let mut connection = PgConnection::connect_with(&options.ssl_mode(PgSslMode::Disable)).await.unwrap();
        connection.execute("SET search_path = saldo").await.unwrap();
        connection
    }

    /// The database's URL, as the superuser or as a role.
    pub fn database_url(&self, role: Option<&str>) -> String {
        let url = server("SALDO_TEST_DATABASE_URL");
        let (scheme, rest) = url.split_once("://").unwrap();
        let (login, rest) = rest.split_once('@').unwrap();
        let host = rest.split('/').next().unwrap();
        match role {
            Some(role) => format!("{scheme}://{role}:{PASSWORD}@{host}/{}", self.name),
            None => format!("{scheme}://{login}@{host}/{}", self.name),
        }
    }

    /// The broker's URL for the administrator, in this virtual host.
    pub fn amqp_url(&self) -> String {
        format!("{}/{}", server("SALDO_TEST_AMQP_URL"), self.name)
    }

    /// The broker's URL for a worker's own user.
    pub fn worker_amqp_url(&self, worker: &str) -> String {
        let url = server("SALDO_TEST_AMQP_URL");
        let (_, host) = url.split_once('@').unwrap();
        format!("amqp://saldo_{worker}_test:{PASSWORD}@{host}/{}", self.name)
    }

    /// Where the broker tells its metrics: host and port.
    pub fn broker_metrics(&self) -> String {
        let url = server("SALDO_TEST_PROMETHEUS_URL");
        url.split_once("://").unwrap().1.to_owned()
    }

    /// A commissions worker, to be configured and started.
    pub fn worker(&self) -> WorkerBuilder {
        self.worker_of("commissions")
    }

    /// Any worker, to be configured and started.
    pub fn worker_of(&self, worker: &str) -> WorkerBuilder {
        WorkerBuilder::new(self, worker)
    }

    /// Any worker, which looks often for what is parked or due, and counts it.
    pub fn quick(&self, worker: &str) -> WorkerBuilder {
        let mut builder = self.worker_of(worker);
        for name in ["PARKED", "DUE", "METRICS"] {
            builder.set(&format!("SALDO__{name}__INTERVAL"), "100ms");
        }
        builder
    }

    /// A notifier that uses this mail server and is impatient.
    pub fn notifier(&self, server: &MailServer) -> WorkerBuilder {
        let mut builder = self.quick(NOTIFIER);
        for (name, value) in server.settings() {
            builder.set(name, value);
        }
        for name in
            ["MAIL__INTERVAL", "MAIL__PROBE_INTERVAL", "MAIL__RETRY_MIN", "NOTICES__AGE", "SWEEP__AGE"]
        {
            builder.set(&format!("SALDO__{name}"), "100ms");
        }
        for (name, value) in [
            // Tests of digests say when there is one.
            ("DIGEST__AFTER", "1000"),
            ("MAIL__RETRY_MAX", "500ms"),
            ("MAIL__PER_MINUTE", "100000"),
            ("MAIL__MERCHANT_PER_MINUTE", "100000"),
            ("SWEEP__INTERVAL", "200ms"),
            ("WORKER__RETRY_MAX", "500ms"),
        ] {
            builder.set(&format!("SALDO__{name}"), value);
        }
        builder
    }

    /// A confirmed publisher.
    pub async fn publisher(&self) -> Publisher {
        Publisher::connect(self).await
    }

    /// Collects every event from now on.
    pub async fn events(&self) -> Collector {
        Collector::bound(self, worker::topology::EVENTS, "#").await
    }

    /// Takes what is, and what arrives, in the commissions worker's dead queue.
    pub async fn dead_letters(&self) -> Collector {
        self.dead_letters_of("commissions").await
    }

    /// Takes what is, and what arrives, in a worker's dead queue.
    pub async fn dead_letters_of(&self, worker: &str) -> Collector {
        Collector::of_queue(self, &worker::topology::dead_queue(worker)).await
    }

    /// Messages in a queue, ready and unacknowledged, as the broker counts them (its figures are a few seconds old).
    pub async fn depth(&self, queue: &str) -> u64 {
        let queue = self.manage("GET", &format!("queues/{}/{queue}", self.name), None).await;
        queue["messages"].as_u64().unwrap_or(u64::MAX)
    }

    /// One number from the database.
    pub async fn count(&self, query: &'static str) -> i64 {
        sqlx::query_scalar(query).fetch_one(&mut self.superuser().await).await.unwrap()
    }

    /// A customer's balance in EUR.
    pub async fn balance(&self, customer: &str) -> Decimal {
        sqlx::query_scalar(
            "SELECT coalesce(sum(balance), 0) FROM account WHERE customer = $1 AND currency = 'EUR'",
        )
        .bind(customer)
        .fetch_one(&mut self.superuser().await)
        .await
        .unwrap()
    }
}

/// The administrator's name at the broker.
pub fn amqp_user() -> String {
    let url = server("SALDO_TEST_AMQP_URL");
    url.split_once("://").unwrap().1.split(':').next().unwrap().to_owned()
}
