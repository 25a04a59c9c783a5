//! The command line's settings: each command asks for what it needs, and hears all problems at once.

use std::path::Path;
use std::time::Duration;

use ledger::store::Settings as Database;
use ledger::vault::{KeysError, Vault};
use notifier::letter::Style;
use secrecy::{ExposeSecret, SecretString};
use worker::management;
use worker::settings::{Reader, SettingsError};

/// For connecting to the broker, and for its answer to what is sent together.
pub(crate) const BROKER_TIMEOUT: Duration = Duration::from_secs(30);

/// What `doctor` looks at of everything. Not to be used where [`Settings::finish`] names it.
pub(crate) struct Everything {
    pub(crate) database: Option<Database>,
    pub(crate) broker: SecretString,
    pub(crate) management: SecretString,
    pub(crate) vault: Option<Vault>,
}

/// Settings being read. Nothing that was read may be used before [`Settings::finish`].
pub(crate) struct Settings(Reader);

impl Settings {
    pub(crate) fn read(file: Option<&Path>) -> Self {
        Self(Reader::new(file))
    }

    /// `broker.url`
    pub(crate) fn broker(&mut self) -> SecretString {
        self.0.broker_url()
    }

    /// `broker.watch_url`, or else `broker.url`.
    pub(crate) fn watch(&mut self) -> SecretString {
        let own = self.0.or("broker.watch_url", None, |url| {
            if url.starts_with("amqp://") {
                Ok(Some(SecretString::from(url)))
            } else {
                Err("expected a URL such as amqp://user:password@host:5672/%2f".to_owned())
            }
        });
        own.unwrap_or_else(|| self.0.broker_url())
    }

    /// `broker.management_url`
    pub(crate) fn management(&mut self) -> SecretString {
        self.0.secret("broker.management_url", management::check_url)
    }

    /// `database.url`; a statement may take `timeout`. `None` if it is not usable, which `finish` reports.
    pub(crate) fn database(&mut self, timeout: Duration) -> Option<Database> {
        let url = self.0.database_url();
        Database::from_url(url.expose_secret(), "saldo", timeout).ok()
    }

    /// `treasury.database_url`, in the same way.
    pub(crate) fn treasury(&mut self, timeout: Duration) -> Option<Database> {
        let url = self.0.treasury_database_url();
        Database::from_url(url.expose_secret(), "saldo", timeout).ok()
    }

    /// `payout.keys`. `None` if they are not usable, which `finish` reports.
    pub(crate) fn vault(&mut self) -> Option<Vault> {
        self.0.vault()
    }

    /// How mails look: `mail.link`, `mail.time_zone`.
    pub(crate) fn mail_style(&mut self) -> Style {
        notifier::settings::style(&mut self.0)
    }

    /// `database.url` where it is set.
    pub(crate) fn optional_database(&mut self, timeout: Duration) -> Option<Database> {
        self.0.or("database.url", None, |url| Database::from_url(url, "saldo", timeout).map(Some))
    }

    /// What every program would read, for `finish` to say what is wrong with any of it. What only some programs need counts
    /// where it is set.
    pub(crate) fn everything(&mut self, timeout: Duration) -> Everything {
        let worker = worker::settings::Settings::read(&mut self.0);
        let database = Database::from_url(worker.database_url.expose_secret(), "saldo doctor", timeout).ok();
        let management = self.management();
        self.0.or("broker.watch_url", (), |_| Ok(()));
        self.0.or("treasury.database_url", (), |url| {
            Database::from_url(url, "saldo doctor", timeout).map(drop)
        });
        let parsed = |keys: &str| keys.parse().map(Some).map_err(|error: KeysError| error.to_string());
        let vault = self.0.or("payout.keys", None, parsed);
        if self.0.or("mail.host", false, |_| Ok(true)) {
            notifier::settings::MailSettings::read(&mut self.0);
        }
        Everything { database, broker: worker.broker_url, management, vault }
    }

    /// # Errors
    /// Lists everything that is wrong.
    pub(crate) fn finish(self) -> Result<(), SettingsError> {
        self.0.finish()
    }
}
