//! How the ledger is reached.
//!
//! The way there is protected as the URL's `sslmode` says. Where it has none, nothing on this machine is encrypted, which
//! would only cost time, and everything else is, to a server that proves who it is.

use std::str::FromStr;
use std::time::Duration;

use percent_encoding::percent_decode_str;
use sqlx::ConnectOptions;
use sqlx::postgres::{PgConnectOptions, PgSslMode};

use crate::tls;

/// What the URL calls them; sqlx knows all of these.
const MODE: [&str; 2] = ["sslmode", "ssl-mode"];
const ROOTS: [&str; 3] = ["sslrootcert", "ssl-root-cert", "ssl-ca"];
const CERTIFICATE: [&str; 2] = ["sslcert", "ssl-cert"];
const KEY: [&str; 2] = ["sslkey", "ssl-key"];

/// So many batches without a repeat, and the next ones are taken to be all new. A repeat that one of those turns out to hold
/// costs it once more what it did: among at least so many others that is little, whoever sends them.
const DOUBTING: u32 = 20;

/// Where the database is and how long it may take. Its `Debug` form has no password.
#[derive(Clone)]
pub struct Settings {
    options: PgConnectOptions,
    /// Whether it was said how the way there is protected.
    mode_is_named: bool,
    /// Whether the URL names the certificates that are trusted.
    roots_are_named: bool,
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
    /// The URL, or a file of certificates that it names, cannot be understood; the text does not repeat it.
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
        let roots = parameter(url, &ROOTS);
        let settings = Self {
            options: with_own_certificate(options, url)?,
            // sqlx reads that variable, too.
            mode_is_named: parameter(url, &MODE).is_some() || std::env::var_os("PGSSLMODE").is_some(),
            roots_are_named: roots.is_some(),
            timeout,
            doubting: DOUBTING,
        };
        if settings.is_on_this_machine() && !settings.roots_are_named {
            return Ok(settings.mode_unless_named(PgSslMode::Disable));
        }
        let settings = settings.mode_unless_named(PgSslMode::VerifyFull);
        let Some(file) = roots else { return Ok(settings) };
        let trusted = tls::certificates(&file).and_then(|roots| settings.with_roots(roots));
        trusted.map_err(|problem| format!("sslrootcert: {problem}"))
    }

    /// With this bound for a statement and for a batch.
    #[must_use]
    pub fn within(self, timeout: Duration) -> Self {
        let milliseconds = timeout.as_millis().to_string();
        Self { options: self.options.options([("statement_timeout", milliseconds)]), timeout, ..self }
    }

    /// As another program of Saldo is known to the database.
    #[must_use]
    pub fn named(self, application: &str) -> Self {
        Self { options: self.options.application_name(application), ..self }
    }

    /// With these certificates (PEM) trusted besides the public ones, unless the URL names others. Whoever names any
    /// wants a server that proves who it is: where it was not said how the way there is protected, it is encrypted, on
    /// this machine too.
    ///
    /// # Errors
    /// The URL has an `sslmode` that checks no certificate.
    pub fn trusting(self, roots: String) -> Result<Self, String> {
        if self.roots_are_named {
            Ok(self)
        } else {
            self.mode_unless_named(PgSslMode::VerifyFull).with_roots(roots)
        }
    }

    fn with_roots(self, roots: String) -> Result<Self, String> {
        let mode = match self.options.get_ssl_mode() {
            // Whoever says whom to trust wants that to be looked at. The public authorities are trusted besides, so that the
            // name has to be, too.
            PgSslMode::Require => PgSslMode::VerifyFull,
            mode @ (PgSslMode::VerifyCa | PgSslMode::VerifyFull) => mode,
            PgSslMode::Disable | PgSslMode::Allow | PgSslMode::Prefer => {
                return Err(
                    "has no use with an sslmode that checks no certificate; expected verify-full".to_owned()
                );
            }
        };
        Ok(Self { options: self.options.ssl_mode(mode).ssl_root_cert_from_pem(roots.into_bytes()), ..self })
    }

    /// Where it was not said how the way to another machine is protected: if the server offers it, and whoever it is.
    #[must_use]
    pub fn with_optional_tls(self) -> Self {
        if self.is_on_this_machine() { self } else { self.mode_unless_named(PgSslMode::Prefer) }
    }

    fn mode_unless_named(self, mode: PgSslMode) -> Self {
        if self.mode_is_named { self } else { Self { options: self.options.ssl_mode(mode), ..self } }
    }

    /// Whether others can read what is sent: it leaves the machine, and need not be encrypted.
    pub fn may_be_overheard(&self) -> bool {
        let clear =
            matches!(self.options.get_ssl_mode(), PgSslMode::Disable | PgSslMode::Allow | PgSslMode::Prefer);
        clear && !self.is_on_this_machine()
    }

    /// Whether it is encrypted for whoever answers: it leaves the machine, and nobody looks whether the server is the one
    /// that was meant.
    pub fn may_be_intercepted(&self) -> bool {
        matches!(self.options.get_ssl_mode(), PgSslMode::Require | PgSslMode::VerifyCa)
            && !self.is_on_this_machine()
    }

    fn is_on_this_machine(&self) -> bool {
        let host = self.options.get_host();
        // A path is that of a socket.
        self.options.get_socket().is_some() || host.starts_with('/') || tls::on_this_machine(host)
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

/// A parameter of a URL, by one of its names.
fn parameter(url: &str, names: &[&str]) -> Option<String> {
    let (_, query) = url.split_once('?')?;
    let query = query.split('#').next()?;
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    let (_, value) = pairs.find(|(name, _)| names.contains(name))?;
    Some(percent_decode_str(value).decode_utf8_lossy().into_owned())
}

/// With what the client proves who it is, if the URL names that.
fn with_own_certificate(options: PgConnectOptions, url: &str) -> Result<PgConnectOptions, String> {
    match (file(url, &CERTIFICATE)?, file(url, &KEY)?) {
        (None, None) => Ok(options),
        (Some(certificate), Some(key)) => {
            Ok(options.ssl_client_cert_from_pem(certificate).ssl_client_key_from_pem(key))
        }
        _ => Err("has one of sslcert and sslkey; expected both or neither".to_owned()),
    }
}

/// What is in the file that a parameter names. It is read now, so that a missing one is told of before anything begins.
fn file(url: &str, names: &[&str]) -> Result<Option<Vec<u8>>, String> {
    let contents = parameter(url, names).map(std::fs::read).transpose();
    contents.map_err(|error| format!("{}: {error}", names[0]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(url: &str) -> Result<Settings, String> {
        Settings::from_url(url, "test", Duration::from_secs(1))
    }

    fn mode(settings: &Settings) -> String {
        format!("{:?}", settings.options.get_ssl_mode())
    }

    #[test]
    fn without_a_word_on_it_only_what_leaves_the_machine_is_encrypted_and_to_a_server_that_is_known() {
        for here in ["localhost:5432", "127.0.0.1", "[::1]", "%2Fvar%2Frun%2Fpostgresql"] {
            let settings = settings(&format!("postgres://role:secret@{here}/saldo")).unwrap();
            assert_eq!((mode(&settings).as_str(), settings.may_be_overheard()), ("Disable", false), "{here}");
            assert_eq!(mode(&settings.with_optional_tls()), "Disable", "{here}");
        }
        for elsewhere in ["db", "192.0.2.1:5432", "db.example.org", "[2001:db8::1]"] {
            let settings = settings(&format!("postgres://role:secret@{elsewhere}/saldo")).unwrap();
            assert_eq!(
                (mode(&settings).as_str(), settings.may_be_overheard()),
                ("VerifyFull", false),
                "{elsewhere}"
            );
            let settings = settings.with_optional_tls();
            assert_eq!(
                (mode(&settings).as_str(), settings.may_be_overheard()),
                ("Prefer", true),
                "{elsewhere}"
            );
        }
    }

    #[test]
    fn what_the_url_says_is_done() {
        for (said, wanted, overheard) in [
            ("sslmode=disable", "Disable", true),
            ("application_name=x&ssl-mode=prefer", "Prefer", true),
            ("sslmode=require", "Require", false),
            ("sslmode=verify-ca", "VerifyCa", false),
        ] {
            let settings = settings(&format!("postgres://role@db/saldo?{said}")).unwrap().with_optional_tls();
            assert_eq!(
                (mode(&settings).as_str(), settings.may_be_overheard()),
                (wanted, overheard),
                "{said}"
            );
        }
        assert!(settings("postgres://role@db/saldo?sslmode=perhaps").is_err());
    }

    #[test]
    fn files_that_the_url_names_are_read_at_once() {
        for (said, wanted) in [
            ("sslrootcert=%2Fnowhere%2Fca.pem", "sslrootcert: No such file or directory (os error 2)"),
            ("sslcert=/nowhere/own.pem", "sslcert: No such file or directory (os error 2)"),
            ("sslkey=/dev/null", "has one of sslcert and sslkey; expected both or neither"),
            ("sslrootcert=/dev/null", "sslrootcert: expected certificates in PEM form"),
        ] {
            assert_eq!(settings(&format!("postgres://role@db/saldo?{said}")).unwrap_err(), wanted);
        }
    }

    #[test]
    fn whom_to_trust_is_of_use_or_refused() {
        let trusting =
            |url: &str| settings(url).unwrap().trusting(String::new()).map(|settings| mode(&settings));
        assert_eq!(trusting("postgres://role@localhost/saldo").unwrap(), "VerifyFull");
        assert_eq!(trusting("postgres://role@db/saldo").unwrap(), "VerifyFull");
        assert_eq!(trusting("postgres://role@db/saldo?sslmode=require").unwrap(), "VerifyFull");
        let problem = trusting("postgres://role@db/saldo?sslmode=disable").unwrap_err();
        assert!(problem.contains("expected verify-full"), "{problem}");
    }
}
