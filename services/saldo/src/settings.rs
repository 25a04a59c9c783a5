//! The command line's settings: each command asks for what it needs, and hears all problems at once.

use std::path::Path;
use std::time::Duration;

use ledger::store::Settings as Database;
use ledger::vault::{KeysError, Vault};
use notifier::letter::Style;
use secrecy::SecretString;
use worker::broker::Address;
use worker::settings::{Reader, SettingsError};

/// For connecting to the broker, and for its answer to what is sent together.
pub(crate) const BROKER_TIMEOUT: Duration = Duration::from_secs(30);

/// How the command line is known to the database.
const APPLICATION: &str = "saldo";

/// What `doctor` looks at of everything. Not to be used where [`Settings::finish`] names it.
pub(crate) struct Everything {
    pub(crate) database: Option<Database>,
    pub(crate) broker: Address,
    pub(crate) management: Option<SecretString>,
    pub(crate) vault: Option<Vault>,
}

/// Settings being read. Nothing that was read may be used before [`Settings::finish`].
pub(crate) struct Settings(Reader);

impl Settings {
    pub(crate) fn read(file: Option<&Path>) -> Self {
        Self(Reader::new(file))
    }

    /// `broker.url`
    pub(crate) fn broker(&mut self) -> Address {
        self.0.broker()
    }

    /// `broker.watch_url`, or else `broker.url`.
    pub(crate) fn watch(&mut self) -> Address {
        self.0.watch().unwrap_or_else(|| self.0.broker())
    }

    /// `broker.management_url`
    pub(crate) fn management(&mut self) -> SecretString {
        self.0.management_url()
    }

    /// `broker.management_url` where it is set.
    pub(crate) fn optional_management(&mut self) -> Option<SecretString> {
        self.0.optional_management_url()
    }

    /// `database.url`; a statement may take `timeout`. `None` if it is not usable, which `finish` reports.
    pub(crate) fn database(&mut self, timeout: Duration) -> Option<Database> {
        self.0.database(APPLICATION, timeout)
    }

    /// `treasury.database_url`, in the same way.
    pub(crate) fn treasury(&mut self, timeout: Duration) -> Option<Database> {
        self.0.treasury(APPLICATION, timeout)
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
        self.0.optional_database(APPLICATION, timeout)
    }

    /// What every program would read, for `finish` to say what is wrong with any of it. What only some programs need counts
    /// where it is set.
    pub(crate) fn everything(&mut self, timeout: Duration) -> Everything {
        let worker = worker::settings::Settings::read(&mut self.0);
        let database = self.optional_database(timeout);
        let management = self.optional_management();
        self.0.watch();
        self.0.optional_treasury(APPLICATION, timeout);
        let vault = self.optional_vault();
        if self.0.or("mail.host", false, |_| Ok(true)) {
            notifier::settings::MailSettings::read(&mut self.0);
        }
        Everything { database, broker: worker.broker, management, vault }
    }

    /// # Errors
    /// Lists everything that is wrong.
    pub(crate) fn finish(self) -> Result<(), SettingsError> {
        self.0.finish()
    }
}
