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

    /// `broker.management_url` where it is set.
    pub(crate) fn optional_management(&mut self) -> Option<SecretString> {
        self.0.optional("broker.management_url", |url| management::check_url(url).map(|()| url.into()))
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

    /// `payout.keys` where they are set.
    pub(crate) fn optional_vault(&mut self) -> Option<Vault> {
        self.0.optional("payout.keys", |keys| keys.parse().map_err(|error: KeysError| error.to_string()))
    }

    /// How mails look: `mail.link`, `mail.time_zone`.
    pub(crate) fn mail_style(&mut self) -> Style {
        notifier::settings::style(&mut self.0)
    }

    /// `database.url` where it is set.
    pub(crate) fn optional_database(&mut self, timeout: Duration) -> Option<Database> {
        self.0.or("database.url", None, |url| Database::from_url(url, "saldo", timeout).map(Some))
    }

    /// # Errors
    /// Lists everything that is wrong.
    pub(crate) fn finish(self) -> Result<(), SettingsError> {
        self.0.finish()
    }
}
