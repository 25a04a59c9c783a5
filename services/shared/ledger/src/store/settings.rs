//! How the ledger is reached.

use std::str::FromStr;
use std::time::Duration;

use sqlx::ConnectOptions;
use sqlx::postgres::PgConnectOptions;

/// So many batches without a repeat, and the next ones are taken to be all new. A repeat that one of those turns out to hold
/// costs it once more what it did: among at least so many others that is little, whoever sends them.
const DOUBTING: u32 = 20;

/// Where the database is and how long it may take. Its `Debug` form has no password.
#[derive(Clone)]
pub struct Settings {
    options: PgConnectOptions,
    timeout: Duration,
    /// See [`Self::doubting`].
    pub(super) doubting: u32,
}

impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Settings").field("timeout", &self.timeout).finish_non_exhaustive()
    }
}

impl Settings {
    /// Settings from a `postgres://` URL. Whatever the server's defaults are, the session is READ COMMITTED,
    /// waits for its commits to be durable, and has its statements cancelled after `timeout`.
    ///
    /// # Errors
    /// The URL cannot be understood; the text does not repeat it.
    pub fn from_url(url: &str, application: &str, timeout: Duration) -> Result<Self, String> {
        if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
            return Err("expected a URL such as postgres://user:password@host:5432/saldo".to_owned());
        }
        let options = PgConnectOptions::from_str(url)
            .map_err(|_| "expected a URL such as postgres://user:password@host:5432/saldo".to_owned())?
            .application_name(application)
            .options([
                ("search_path", "saldo"),
                ("synchronous_commit", "on"),
                ("default_transaction_isolation", "read committed"),
                ("statement_timeout", &timeout.as_millis().to_string()),
                ("timezone", "UTC"),
                // A host that vanishes in the middle of a transaction must not keep its locks for hours.
                ("idle_in_transaction_session_timeout", &timeout.as_millis().to_string()),
                ("tcp_keepalives_idle", "10"),
                ("tcp_keepalives_interval", "5"),
                ("tcp_keepalives_count", "3"),
                ("tcp_user_timeout", "20000"),
            ])
            // Statements and their parameters are nobody's business in a log.
            .disable_statement_logging();
        Ok(Self { options, timeout, doubting: DOUBTING })
    }

    /// A store asks the inbox for repeats before its first batches, so many, and before as many after each repeat; see
    /// [`crate::store`]. By default 20.
    #[must_use]
    pub fn doubting(self, batches: u32) -> Self {
        Self { doubting: batches, ..self }
    }

    /// For connecting.
    pub fn options(&self) -> &PgConnectOptions {
        &self.options
    }

    /// How long a statement may take.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }
}
