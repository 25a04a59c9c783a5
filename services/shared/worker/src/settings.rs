//! Settings from an optional TOML file and the environment, every problem reported at once.
//!
//! The environment wins: `SALDO__BROKER__URL` sets `broker.url`. The file is named by `--config` or
//! `SALDO_CONFIG`. URLs hold passwords and are never printed; error texts name the setting and what is wrong
//! with it, not its value.

use std::net::SocketAddr;
use std::time::Duration;

mod reader;
mod servers;

use reader::parse;
pub use reader::{Reader, SettingsError};

use crate::broker::Address;
use crate::tls::Tls;
use crate::traces::Endpoint;

/// Every setting of every program, so that one file can serve all of them.
const NAMES: [&str; 63] = [
    "admin.require_user_id",
    "broker.ca_file",
    "broker.cert_file",
    "broker.key_file",
    "broker.management_url",
    "broker.tls",
    "broker.url",
    "broker.watch_url",
    "database.ca_file",
    "database.timeout",
    "database.tls",
    "database.url",
    "digest.after",
    "digest.most",
    "digest.window",
    "due.interval",
    "health.listen",
    "log.filter",
    "log.format",
    "mail.ca_file",
    "mail.check_interval",
    "mail.connections",
    "mail.from",
    "mail.give_up_after",
    "mail.hello_name",
    "mail.host",
    "mail.interval",
    "mail.link",
    "mail.merchant_connections",
    "mail.merchant_per_minute",
    "mail.password",
    "mail.per_minute",
    "mail.port",
    "mail.probe_interval",
    "mail.reply_to",
    "mail.retry_max",
    "mail.retry_min",
    "mail.time_zone",
    "mail.timeout",
    "mail.tls",
    "mail.user",
    "metrics.interval",
    "notices.age",
    "notices.window",
    "parked.interval",
    "parked.patience",
    "parked.reversal_patience",
    "payout.keys",
    "sweep.age",
    "sweep.interval",
    "traces.ca_file",
    "traces.endpoint",
    "traces.timeout",
    "traces.tls",
    "treasury.database_url",
    "worker.batch_bytes",
    "worker.batch_count",
    "worker.connect_timeout",
    "worker.give_back_after",
    "worker.lanes",
    "worker.publish_timeout",
    "worker.retry_max",
    "worker.shutdown_grace",
];

/// How logs look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Human,
    /// One JSON object a line.
    Json,
}

/// Settings of a worker. Durations are written `250ms`, `30s`, `5m`, `1h`, `30d`.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `broker.url`: `amqps://user:password@host/vhost` (`/` is written `%2f`), or on this machine `amqp://…`. Required.
    /// `broker.tls`: `required`, or `optional`: what goes to another machine may be in clear, that is to say `amqp://…` and
    /// a `broker.management_url` with `http://…` may name one. Default `required`.
    /// `broker.ca_file`: a PEM file of certificates that are trusted besides the public ones.
    /// `broker.cert_file` and `broker.key_file`: PEM files of a certificate of our own (and those that vouch for it) and its
    /// key, not encrypted, for a broker that asks for one.
    pub broker: Address,
    /// `database.url`: `postgres://role:password@host:5432/saldo`. Required. How the way there is protected is said by
    /// `sslmode=disable|prefer|require|verify-ca|verify-full` in it; without that, nothing on this machine is encrypted,
    /// and to any other it is `verify-full`. `sslrootcert=FILE`, `sslcert=FILE` and `sslkey=FILE` are understood, too.
    /// `database.tls`: `required`, or `optional`: what goes to another machine may be in clear, if the URL says so, or says
    /// nothing and the server does not offer TLS; or be for whoever answers, with `require` and `verify-ca`, which look at no
    /// name. Default `required`.
    /// `database.ca_file`: a PEM file of certificates that are trusted besides the public ones; the URL's `sslrootcert`
    /// takes its place. `None` is what [`Reader::finish`] reports.
    pub database: Option<ledger::store::Settings>,
    /// `database.timeout`: a statement, or a whole batch, is given up after this. Default 30s.
    pub database_timeout: Duration,
    /// `health.listen`: where `/livez`, `/readyz` and `/metrics` answer whoever asks; metrics tell amounts of money.
    /// Default 127.0.0.1:8080.
    pub health_listen: SocketAddr,
    /// `log.format`: `human` or `json`. Default human.
    pub log_format: LogFormat,
    /// `log.filter`: as tracing's `EnvFilter` reads it. Default `info,lapin=off`: what the broker's client library says of
    /// a lost connection, Saldo says, too.
    pub log_filter: String,
    /// `admin.require_user_id`: whether commands of a shop's staff must carry the AMQP property `user_id`, which
    /// the broker vouches for: `true` or `false`. Without it nobody but the message says who sent it. Default true.
    pub require_user_id: bool,
    /// `worker.lanes`: how many batches may be under way at once. Default 2.
    pub lanes: usize,
    /// `worker.batch_count`: most commands in a batch, 1 to 1000 (a quorum queue hands out at most 2000 to a
    /// consumer, and the prefetch is twice the batch). Default 1000.
    pub batch_count: usize,
    /// `worker.batch_bytes`: a batch takes no further command once it holds this many bytes. Default 4 MiB.
    pub batch_bytes: usize,
    /// `worker.publish_timeout`: how long the broker may take to confirm a batch's events. Default 30s.
    pub publish_timeout: Duration,
    /// `worker.give_back_after`: how long commands are held while the database is away before they are
    /// returned to the queue. Default 1m.
    pub give_back_after: Duration,
    /// `worker.connect_timeout`: for one attempt to reach broker or database. Default 10s.
    pub connect_timeout: Duration,
    /// `worker.retry_max`: the longest pause between two attempts. Default 5s.
    pub retry_max: Duration,
    /// `worker.shutdown_grace`: how long a batch under way may take after SIGTERM. Default 20s.
    pub shutdown_grace: Duration,
    /// `sweep.interval`: how often unpublished batches are looked for. Default 10s.
    pub sweep_interval: Duration,
    /// `sweep.age`: how old a batch is before somebody else publishes its events. Default 30s.
    pub sweep_age: Duration,
    /// `parked.interval`: how often parked commands are looked at. Default 5s.
    pub parked_interval: Duration,
    /// `parked.patience`: how long a command waits for what it names. Default 1h.
    pub patience: Duration,
    /// `parked.reversal_patience`: how long a reversal does. Default 30d.
    pub reversal_patience: Duration,
    /// `due.interval`: how often ended hold periods are looked for. Default 1m.
    pub due_interval: Duration,
    /// `metrics.interval`: how often what waits in the ledger is counted, for `/metrics`. Default 15s.
    pub metrics_interval: Duration,
    /// `traces.endpoint`: where spans of sampled commands are sent, by OTLP over HTTP, such as
    /// `http://localhost:4318/v1/traces`. Default: nowhere.
    /// `traces.tls`: `required`, or `optional`: the endpoint may be one of `http://…` on another machine. Default
    /// `required`.
    pub traces_endpoint: Option<Endpoint>,
    /// `traces.ca_file`: certificates that are trusted besides the public ones, if the endpoint is one of HTTPS.
    pub traces_tls: Tls,
    /// `traces.timeout`: how long the endpoint may take for some hundred spans. Default 10s.
    pub traces_timeout: Duration,
}

/// `log.filter` where it is not set.
pub(crate) const DEFAULT_LOG_FILTER: &str = "info,lapin=off";

const DAY: Duration = Duration::from_hours(24);
const HOUR: Duration = Duration::from_hours(1);
const MINUTE: Duration = Duration::from_mins(1);
const SECOND: Duration = Duration::from_secs(1);

impl Settings {
    /// Reads a worker's settings. Not to be used before [`Reader::finish`].
    pub fn read(read: &mut Reader) -> Self {
        let database_timeout = read.duration("database.timeout", 30 * SECOND, 10 * MINUTE);
        Self {
            broker: read.broker(),
            database: read.database("saldo", database_timeout),
            database_timeout,
            health_listen: read.or("health.listen", SocketAddr::from(([127, 0, 0, 1], 8080)), |text| {
                parse(text, "an address and port such as 127.0.0.1:8080")
            }),
            log_format: read.or("log.format", LogFormat::Human, |text| match text {
                "human" => Ok(LogFormat::Human),
                "json" => Ok(LogFormat::Json),
                _ => Err("expected human or json".to_owned()),
            }),
            log_filter: read.or("log.filter", DEFAULT_LOG_FILTER.to_owned(), |text| {
                tracing_subscriber::EnvFilter::try_new(text)
                    .map(|_| text.to_owned())
                    .map_err(|_| "expected a filter such as info or info,worker=debug".to_owned())
            }),
            require_user_id: read.flag("admin.require_user_id", true),
            lanes: read.number("worker.lanes", 2, 1, 16),
            batch_count: read.number("worker.batch_count", 1000, 1, 1000),
            batch_bytes: read.number("worker.batch_bytes", 4 * 1024 * 1024, 1024, 64 * 1024 * 1024),
            publish_timeout: read.duration("worker.publish_timeout", 30 * SECOND, 10 * MINUTE),
            give_back_after: read.duration("worker.give_back_after", MINUTE, 10 * MINUTE),
            connect_timeout: read.duration("worker.connect_timeout", 10 * SECOND, MINUTE),
            retry_max: read.duration("worker.retry_max", 5 * SECOND, MINUTE),
            shutdown_grace: read.duration("worker.shutdown_grace", 20 * SECOND, HOUR),
            sweep_interval: read.duration("sweep.interval", 10 * SECOND, HOUR),
            sweep_age: read.duration("sweep.age", 30 * SECOND, DAY),
            parked_interval: read.duration("parked.interval", 5 * SECOND, HOUR),
            patience: read.duration("parked.patience", HOUR, 365 * DAY),
            reversal_patience: read.duration("parked.reversal_patience", 30 * DAY, 3650 * DAY),
            due_interval: read.duration("due.interval", MINUTE, HOUR),
            metrics_interval: read.duration("metrics.interval", 15 * SECOND, HOUR),
            traces_endpoint: read.traces_endpoint(),
            traces_tls: read.optional("traces.ca_file", Tls::trusting).unwrap_or_default(),
            traces_timeout: read.duration("traces.timeout", 10 * SECOND, MINUTE),
        }
    }

    /// How the ledger is reached.
    ///
    /// # Errors
    /// The URL is not one, which [`Reader::finish`] has ruled out.
    pub fn ledger(&self, application: &str) -> Result<ledger::store::Settings, String> {
        let database = self.database.clone().ok_or("database.url is not usable")?;
        Ok(database.named(application))
    }

    /// What a lane may hold unacknowledged.
    pub fn prefetch(&self) -> u16 {
        u16::try_from(self.batch_count * 2).unwrap_or(2000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reader(variables: &[(&str, &str)]) -> Reader {
        Reader::of_variables(variables.iter().copied())
    }

    const URLS: [(&str, &str); 2] = [
        ("SALDO__BROKER__URL", "amqp://user:secret@localhost/%2f"),
        ("SALDO__DATABASE__URL", "postgres://role:secret@localhost/saldo"),
    ];

    #[test]
    fn names_are_sorted_and_so_are_there_once() {
        assert!(NAMES.is_sorted_by(|one, next| one < next));
    }

    #[test]
    fn only_urls_are_required_of_a_worker_without_secrets_of_its_own() {
        let mut reader = reader(&URLS);
        let settings = Settings::read(&mut reader);
        assert!(settings.require_user_id);
        tracing_subscriber::EnvFilter::try_new(&settings.log_filter).unwrap();
        reader.finish().unwrap();
    }

    #[test]
    fn all_problems_are_listed_together_a_workers_own_included() {
        let mut reader = reader(&[
            ("SALDO__BROKER__URL", "http://user:secret@localhost"),
            ("SALDO__ADMIN__REQUIRE_USER_ID", "perhaps"),
            ("SALDO__WORKER__LANES", "0"),
            ("SALDO__WORKER__LANE", "1"),
        ]);
        assert!(Settings::read(&mut reader).require_user_id);
        assert!(reader.vault().is_none());
        let SettingsError(problems) = reader.finish().unwrap_err();
        assert_eq!(
            problems,
            [
                "broker.url: expected a URL such as amqps://user:password@host/%2f or amqp://…",
                "database.url: is missing (SALDO__DATABASE__URL)",
                "admin.require_user_id: expected true or false",
                "worker.lanes: expected a whole number from 1 to 16",
                "payout.keys: is missing (SALDO__PAYOUT__KEYS)",
                "worker.lane: there is no such setting",
            ]
        );
    }

    #[test]
    fn the_user_need_not_be_named_where_that_is_switched_off() {
        let mut reader = reader(&[("SALDO__ADMIN__REQUIRE_USER_ID", "false"), URLS[0], URLS[1]]);
        assert!(!Settings::read(&mut reader).require_user_id);
        reader.finish().unwrap();
    }
}
