//! Settings from an optional TOML file and the environment, every problem reported at once.
//!
//! The environment wins: `SALDO__BROKER__URL` sets `broker.url`. The file is named by `--config` or
//! `SALDO_CONFIG`. URLs hold passwords and are never printed; error texts name the setting and what is wrong
//! with it, not its value.

use std::fmt::Display;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use config::{Config, Environment, File, FileFormat};
use ledger::vault::{KeysError, Vault};
use secrecy::{ExposeSecret, SecretString};

/// Every setting of every program, so that one file can serve all of them.
const NAMES: [&str; 55] = [
    "admin.require_user_id",
    "broker.management_url",
    "broker.url",
    "broker.watch_url",
    "database.timeout",
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
    "traces.endpoint",
    "traces.timeout",
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
    /// `broker.url`: `amqp://user:password@host:5672/vhost` (`/` is written `%2f`). Required.
    pub broker_url: SecretString,
    /// `database.url`: `postgres://role:password@host:5432/saldo`. Required.
    pub database_url: SecretString,
    /// `database.timeout`: a statement, or a whole batch, is given up after this. Default 30s.
    pub database_timeout: Duration,
    /// `health.listen`: where `/livez` and `/readyz` answer. Default 127.0.0.1:8080.
    pub health_listen: SocketAddr,
    /// `log.format`: `human` or `json`. Default human.
    pub log_format: LogFormat,
    /// `log.filter`: as tracing's `EnvFilter` reads it. Default `info`.
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
    pub traces_endpoint: Option<String>,
    /// `traces.timeout`: how long the endpoint may take for some hundred spans. Default 10s.
    pub traces_timeout: Duration,
}

/// Everything that is wrong with the settings.
#[derive(Debug, thiserror::Error)]
#[error("the settings are not usable:\n{}", .0.iter().map(|problem| format!("  - {problem}")).collect::<Vec<_>>().join("\n"))]
pub struct SettingsError(pub Vec<String>);

/// Reads settings one by one and collects what is wrong.
pub struct Reader {
    config: Config,
    problems: Vec<String>,
}

impl Reader {
    /// The file, if one is named, and the environment.
    pub fn new(file: Option<&Path>) -> Self {
        Self::of(file, Environment::default())
    }

    /// Only these variables, such as `SALDO__BROKER__URL`, whatever the environment holds.
    pub fn of_variables<'a>(variables: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let variables = variables.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
        Self::of(None, Environment::default().source(Some(variables.collect())))
    }

    fn of(file: Option<&Path>, environment: Environment) -> Self {
        let mut problems = Vec::new();
        let mut builder = Config::builder();
        if let Some(file) = file {
            match std::fs::read_to_string(file) {
                // Parsed here first: the file's own error must not hide the environment's.
                Ok(text) => {
                    match Config::builder().add_source(File::from_str(&text, FileFormat::Toml)).build() {
                        Ok(parsed) => builder = builder.add_source(parsed),
                        Err(_) => problems.push(format!("{}: is not a TOML file", file.display())),
                    }
                }
                Err(error) => problems.push(format!("{}: {error}", file.display())),
            }
        }
        let environment = environment.prefix("SALDO").prefix_separator("__").separator("__");
        let config = builder.add_source(environment).build().unwrap_or_else(|_| {
            problems.push("the environment's SALDO__… variables contradict each other".to_owned());
            Config::default()
        });
        Self { config, problems }
    }

    fn text(&mut self, key: &'static str) -> Option<String> {
        debug_assert!(NAMES.contains(&key), "{key} is not among the settings' names");
        match self.config.get_string(key) {
            Ok(text) => Some(text),
            Err(config::ConfigError::NotFound(_)) => None,
            Err(_) => {
                self.problems.push(format!("{key}: expected a single value"));
                None
            }
        }
    }

    /// A setting with a default.
    pub fn or<T>(
        &mut self,
        key: &'static str,
        default: T,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> T {
        let Some(text) = self.text(key) else { return default };
        parse(&text).unwrap_or_else(|problem| {
            self.problem(key, &problem);
            default
        })
    }

    /// A setting that may be absent. `None` too if it is wrong, which [`Self::finish`] reports.
    pub fn optional<T>(
        &mut self,
        key: &'static str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let text = self.text(key)?;
        parse(&text).map_err(|problem| self.problem(key, &problem)).ok()
    }

    /// A setting without which nothing goes. `None` if it is missing or wrong, which [`Self::finish`] reports.
    pub fn required<T>(
        &mut self,
        key: &'static str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let Some(text) = self.text(key) else {
            self.missing(key);
            return None;
        };
        parse(&text).map_err(|problem| self.problem(key, &problem)).ok()
    }

    /// A secret without which nothing goes.
    pub fn secret(
        &mut self,
        key: &'static str,
        parse: impl FnOnce(&str) -> Result<(), String>,
    ) -> SecretString {
        let Some(text) = self.text(key) else {
            self.missing(key);
            return SecretString::default();
        };
        if let Err(problem) = parse(&text) {
            self.problem(key, &problem);
        }
        text.into()
    }

    /// A secret that may be absent.
    pub fn optional_secret(&mut self, key: &'static str) -> Option<SecretString> {
        self.text(key).map(Into::into)
    }

    /// Says what is wrong with a setting, such as that it contradicts another; never its value.
    pub fn problem(&mut self, key: &'static str, problem: &str) {
        self.problems.push(format!("{key}: {problem}"));
    }

    fn missing(&mut self, key: &'static str) {
        self.problem(key, &format!("is missing (SALDO__{})", key.to_uppercase().replace('.', "__")));
    }

    /// A duration within bounds.
    pub fn duration(&mut self, key: &'static str, default: Duration, max: Duration) -> Duration {
        self.or(key, default, |text| match humantime::parse_duration(text) {
            Ok(duration) if (SHORTEST..=max).contains(&duration) => Ok(duration),
            Ok(_) => Err(format!(
                "expected {} to {}",
                humantime::format_duration(SHORTEST),
                humantime::format_duration(max)
            )),
            Err(_) => Err("expected a duration such as 250ms, 30s, 5m, 1h or 30d".to_owned()),
        })
    }

    /// A whole number within bounds.
    pub fn number(&mut self, key: &'static str, default: usize, min: usize, max: usize) -> usize {
        self.or(key, default, |text| match text.parse() {
            Ok(number) if (min..=max).contains(&number) => Ok(number),
            _ => Err(format!("expected a whole number from {min} to {max}")),
        })
    }

    /// Yes or no.
    pub fn flag(&mut self, key: &'static str, default: bool) -> bool {
        self.or(key, default, |text| parse(text, "true or false"))
    }

    /// `payout.keys`, without which nothing goes: `ID:KEY[,ID:KEY…]`, see [`ledger::vault`]. `None` if they are
    /// missing or wrong, which [`Self::finish`] reports.
    pub fn vault(&mut self) -> Option<Vault> {
        let mut vault = None;
        self.secret("payout.keys", |keys| {
            vault = Some(keys.parse().map_err(|error: KeysError| error.to_string())?);
            Ok(())
        });
        vault
    }

    /// `broker.url`.
    pub fn broker_url(&mut self) -> SecretString {
        self.secret("broker.url", |url| match url.parse::<lapin::uri::AMQPUri>() {
            Ok(_) if url.starts_with("amqp://") => Ok(()),
            Ok(_) | Err(_) => Err("expected a URL such as amqp://user:password@host:5672/%2f".to_owned()),
        })
    }

    /// `database.url`.
    pub fn database_url(&mut self) -> SecretString {
        self.secret("database.url", |url| {
            ledger::store::Settings::from_url(url, "", Duration::from_secs(1)).map(drop)
        })
    }

    /// `treasury.database_url`: a login of the role `saldo_treasurer`.
    pub fn treasury_database_url(&mut self) -> SecretString {
        self.secret("treasury.database_url", |url| {
            ledger::store::Settings::from_url(url, "", Duration::from_secs(1)).map(drop)
        })
    }

    /// Everything that was wrong, unknown settings included.
    ///
    /// # Errors
    /// Anything was.
    pub fn finish(mut self) -> Result<(), SettingsError> {
        if let Ok(table) = self.config.cache.clone().into_table() {
            let mut unknown = Vec::new();
            for (section, value) in table {
                match value.into_table() {
                    Ok(values) => unknown.extend(values.into_keys().map(|key| format!("{section}.{key}"))),
                    Err(_) => unknown.push(section),
                }
            }
            unknown.retain(|key| !NAMES.contains(&key.as_str()));
            unknown.sort();
            self.problems.extend(unknown.into_iter().map(|key| format!("{key}: there is no such setting")));
        }
        if self.problems.is_empty() { Ok(()) } else { Err(SettingsError(self.problems)) }
    }
}

/// Shorter pauses and limits would be busy loops, or no limits.
const SHORTEST: Duration = Duration::from_millis(10);
const DAY: Duration = Duration::from_hours(24);
const HOUR: Duration = Duration::from_hours(1);
const MINUTE: Duration = Duration::from_mins(1);
const SECOND: Duration = Duration::from_secs(1);

impl Settings {
    /// Reads a worker's settings. Not to be used before [`Reader::finish`].
    pub fn read(read: &mut Reader) -> Self {
        Self {
            broker_url: read.broker_url(),
            database_url: read.database_url(),
            database_timeout: read.duration("database.timeout", 30 * SECOND, 10 * MINUTE),
            health_listen: read.or("health.listen", SocketAddr::from(([127, 0, 0, 1], 8080)), |text| {
                parse(text, "an address and port such as 127.0.0.1:8080")
            }),
            log_format: read.or("log.format", LogFormat::Human, |text| match text {
                "human" => Ok(LogFormat::Human),
                "json" => Ok(LogFormat::Json),
                _ => Err("expected human or json".to_owned()),
            }),
            log_filter: read.or("log.filter", "info".to_owned(), |text| {
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
            traces_endpoint: read.optional("traces.endpoint", |url| {
                crate::traces::check_endpoint(url).map(|()| url.to_owned())
            }),
            traces_timeout: read.duration("traces.timeout", 10 * SECOND, MINUTE),
        }
    }

    /// How the ledger is reached.
    ///
    /// # Errors
    /// The URL is not one, which [`Reader::finish`] has ruled out.
    pub fn ledger(&self, application: &str) -> Result<ledger::store::Settings, String> {
        ledger::store::Settings::from_url(
            self.database_url.expose_secret(),
            application,
            self.database_timeout,
        )
    }

    /// What a lane may hold unacknowledged.
    pub fn prefetch(&self) -> u16 {
        u16::try_from(self.batch_count * 2).unwrap_or(2000)
    }
}

fn parse<T: std::str::FromStr>(text: &str, expected: impl Display) -> Result<T, String> {
    text.parse().map_err(|_| format!("expected {expected}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

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
                "broker.url: expected a URL such as amqp://user:password@host:5672/%2f",
                "database.url: is missing (SALDO__DATABASE__URL)",
                "admin.require_user_id: expected true or false",
                "worker.lanes: expected a whole number from 1 to 16",
                "payout.keys: is missing (SALDO__PAYOUT__KEYS)",
                "worker.lane: there is no such setting",
            ]
        );
    }

    #[test]
    fn keys_are_read_and_wrong_ones_not_repeated() {
        let mut good = reader(&[("SALDO__PAYOUT__KEYS", &format!("2026:{KEY}"))]);
        assert_eq!(good.vault().unwrap().current(), "2026");
        good.finish().unwrap();
        let mut bad = reader(&[("SALDO__PAYOUT__KEYS", &format!("2026:{KEY},{KEY}"))]);
        assert!(bad.vault().is_none());
        let SettingsError(problems) = bad.finish().unwrap_err();
        assert_eq!(problems, ["payout.keys: key 2: has no colon; expected ID:KEY"]);
    }

    #[test]
    fn what_may_be_absent_is_read_where_it_is_there() {
        let mut reader = reader(&[("SALDO__MAIL__USER", "saldo"), ("SALDO__MAIL__HOST", "")]);
        assert_eq!(reader.optional_secret("mail.user").unwrap().expose_secret(), "saldo");
        assert!(reader.optional_secret("mail.password").is_none());
        let filled = |text: &str| if text.is_empty() { Err("is empty".to_owned()) } else { Ok(text.len()) };
        assert_eq!(reader.required("mail.user", filled), Some(5));
        assert_eq!(reader.required("mail.from", filled), None);
        assert_eq!(reader.optional("mail.link", filled), None);
        assert_eq!(reader.optional("mail.host", filled), None);
        reader.problem("mail.password", "is missing, although mail.user is set");
        let SettingsError(problems) = reader.finish().unwrap_err();
        assert_eq!(
            problems,
            [
                "mail.from: is missing (SALDO__MAIL__FROM)",
                "mail.host: is empty",
                "mail.password: is missing, although mail.user is set",
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
