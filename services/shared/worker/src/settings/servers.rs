//! Where broker and database are, and how the way there is protected.
//!
//! A URL says how: `amqps://`, `https://`, `sslmode=…`. What leaves the machine must not be readable on the way, whether or
//! not a password is sent with it, because commands hold bank accounts and the ledger holds names: a URL that would let it
//! be is refused at start, unless `broker.tls` or `database.tls` is `optional`. A server that proves who it is does so by a
//! public authority or by one of `broker.ca_file` or `database.ca_file`.

use std::time::Duration;

use ledger::store::Settings as Database;
use secrecy::SecretString;

use super::Reader;
use crate::broker::Address;
use crate::management;
use crate::tls::Tls;
use crate::traces::Endpoint;

impl Reader {
    /// `broker.url`. Not to be used before [`Self::finish`].
    pub fn broker(&mut self) -> Address {
        let address = self.address();
        self.required("broker.url", address).unwrap_or_default()
    }

    /// `broker.watch_url`, where it is set.
    pub fn watch(&mut self) -> Option<Address> {
        let address = self.address();
        self.optional("broker.watch_url", address)
    }

    /// `broker.management_url`.
    pub fn management_url(&mut self) -> SecretString {
        let check = self.management_check();
        self.secret("broker.management_url", check)
    }

    /// `broker.management_url`, where it is set.
    pub fn optional_management_url(&mut self) -> Option<SecretString> {
        let check = self.management_check();
        self.optional("broker.management_url", |url| check(url).map(|()| url.into()))
    }

    fn management_check(&mut self) -> impl FnOnce(&str) -> Result<(), String> + use<> {
        let optional = self.tls_is_optional("broker.tls");
        move |url| {
            if management::may_be_overheard(url)? && !optional {
                Err(in_clear("https://…", "broker.tls"))
            } else {
                Ok(())
            }
        }
    }

    /// `database.url`, as a program with this name, whose statements may take `timeout`. `None` if it is missing or wrong,
    /// which [`Self::finish`] reports.
    pub fn database(&mut self, application: &str, timeout: Duration) -> Option<Database> {
        let database = self.required("database.url", |url| Database::from_url(url, application, timeout));
        self.protected("database.url", database)
    }

    /// `database.url` where it is set.
    pub fn optional_database(&mut self, application: &str, timeout: Duration) -> Option<Database> {
        let database = self.optional("database.url", |url| Database::from_url(url, application, timeout));
        self.protected("database.url", database)
    }

    /// `treasury.database_url`: a login of the role `saldo_treasurer`. Like [`Self::database`], with whose settings for TLS.
    pub fn treasury(&mut self, application: &str, timeout: Duration) -> Option<Database> {
        let url = "treasury.database_url";
        let database = self.required(url, |text| Database::from_url(text, application, timeout));
        self.protected(url, database)
    }

    /// Reads a URL of the broker.
    fn address(&mut self) -> impl FnOnce(&str) -> Result<Address, String> + use<> {
        let tls = self.broker_tls();
        let optional = self.tls_is_optional("broker.tls");
        move |url| {
            let address = Address::parse(url, tls)?;
            if address.may_be_overheard() && !optional {
                Err(in_clear("amqps://…", "broker.tls"))
            } else {
                Ok(address)
            }
        }
    }

    /// `broker.ca_file`, and `broker.cert_file` with `broker.key_file`: both or neither.
    fn broker_tls(&mut self) -> Tls {
        let tls = self.optional("broker.ca_file", Tls::trusting).unwrap_or_default();
        let named = |file: &str| Ok(file.to_owned());
        let (certificates, key) =
            (self.optional("broker.cert_file", named), self.optional("broker.key_file", named));
        let (certificates, key) = match (certificates, key) {
            (None, None) => return tls,
            (Some(certificates), Some(key)) => (certificates, key),
            (Some(_), None) => {
                self.problem("broker.key_file", "is missing, although broker.cert_file is set");
                return tls;
            }
            (None, Some(_)) => {
                self.problem("broker.cert_file", "is missing, although broker.key_file is set");
                return tls;
            }
        };
        let certificates = ledger::tls::certificates(&certificates);
        let certificates = certificates.map_err(|problem| self.problem("broker.cert_file", &problem));
        let key = std::fs::read_to_string(key).map_err(|error| error.to_string());
        let key = key.map_err(|problem| self.problem("broker.key_file", &problem));
        let (Ok(certificates), Ok(key)) = (certificates, key) else { return tls };
        tls.showing(certificates, key.into()).unwrap_or_else(|problem| {
            self.problem("broker.key_file", &problem);
            Tls::default()
        })
    }

    /// `treasury.database_url` where it is set.
    pub fn optional_treasury(&mut self, application: &str, timeout: Duration) -> Option<Database> {
        let url = "treasury.database_url";
        let database = self.optional(url, |text| Database::from_url(text, application, timeout));
        self.protected(url, database)
    }

    fn protected(&mut self, url: &'static str, database: Option<Database>) -> Option<Database> {
        let roots = self.optional("database.ca_file", ledger::tls::certificates);
        let optional = self.tls_is_optional("database.tls");
        let mut database = database?;
        if optional {
            database = database.with_optional_tls();
        }
        if let Some(roots) = roots {
            database = database
                .trusting(roots)
                .map_err(|problem| self.problem("database.ca_file", &problem))
                .ok()?;
        }
        if database.may_be_overheard() && !optional {
            self.problem(url, &in_clear("sslmode=verify-full", "database.tls"));
        } else if database.may_be_intercepted() && !optional {
            let problem = "is encrypted for whoever answers on another machine; expected sslmode=verify-full, or database.tls \
                           set to optional where nobody can answer in its place";
            self.problem(url, problem);
        }
        Some(database)
    }

    /// `traces.endpoint`, where it is set.
    pub(super) fn traces_endpoint(&mut self) -> Option<Endpoint> {
        let optional = self.tls_is_optional("traces.tls");
        self.optional("traces.endpoint", |url| {
            let endpoint: Endpoint = url.parse()?;
            if endpoint.may_be_overheard() && !optional {
                return Err(in_clear("https://…", "traces.tls"));
            }
            Ok(endpoint)
        })
    }

    fn tls_is_optional(&mut self, key: &'static str) -> bool {
        self.or(key, false, |text| match text {
            "required" => Ok(false),
            "optional" => Ok(true),
            _ => Err("expected required or optional".to_owned()),
        })
    }
}

fn in_clear(expected: &str, setting: &str) -> String {
    format!(
        "would send everything in clear to another machine; expected {expected}, or {setting} set to optional where nobody \
         can listen"
    )
}

#[cfg(test)]
mod tests {
    use super::super::SettingsError;
    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(1);

    /// What is wrong with these settings, for somebody who needs all of them.
    fn problems(variables: &[(&str, &str)]) -> Vec<String> {
        const LOCAL: [(&str, &str); 4] = [
            ("SALDO__BROKER__URL", "amqp://user:secret@localhost/%2f"),
            ("SALDO__BROKER__MANAGEMENT_URL", "http://user:secret@127.0.0.1:15672"),
            ("SALDO__DATABASE__URL", "postgres://role:secret@localhost/saldo"),
            ("SALDO__TREASURY__DATABASE_URL", "postgres://role:secret@localhost/saldo"),
        ];
        let mut read = Reader::of_variables(LOCAL.iter().chain(variables).copied());
        read.broker();
        read.watch();
        read.management_url();
        read.database("test", TIMEOUT);
        read.treasury("test", TIMEOUT);
        read.finish().map_or_else(|SettingsError(problems)| problems, |()| Vec::new())
    }

    #[test]
    fn nothing_leaves_the_machine_in_clear_unless_that_is_allowed() {
        let elsewhere = [
            ("SALDO__BROKER__URL", "amqp://user:secret@broker/%2f"),
            ("SALDO__BROKER__WATCH_URL", "amqp://user:secret@192.0.2.1/%2f"),
            ("SALDO__BROKER__MANAGEMENT_URL", "http://user:secret@broker:15672"),
            ("SALDO__DATABASE__URL", "postgres://role:secret@db/saldo?sslmode=prefer"),
            ("SALDO__TREASURY__DATABASE_URL", "postgres://role:secret@db/saldo?sslmode=disable"),
        ];
        let found = problems(&elsewhere);
        assert_eq!(found.len(), elsewhere.len(), "{found:?}");
        for (problem, (url, allowed)) in found.iter().zip([
            ("broker.url", "broker.tls"),
            ("broker.watch_url", "broker.tls"),
            ("broker.management_url", "broker.tls"),
            ("database.url", "database.tls"),
            ("treasury.database_url", "database.tls"),
        ]) {
            let begin = format!("{url}: would send everything in clear to another machine; expected ");
            assert!(problem.starts_with(&begin) && problem.contains(allowed), "{problem}");
            assert!(!problem.contains("secret"), "{problem}");
        }
        let allowed = [("SALDO__BROKER__TLS", "optional"), ("SALDO__DATABASE__TLS", "optional")];
        assert_eq!(problems(&[elsewhere.as_slice(), &allowed].concat()), [""; 0]);
    }

    #[test]
    fn what_is_encrypted_may_go_anywhere() {
        let encrypted = [
            ("SALDO__BROKER__URL", "amqps://user:secret@broker/%2f"),
            ("SALDO__BROKER__MANAGEMENT_URL", "https://user:secret@broker:15671"),
            ("SALDO__DATABASE__URL", "postgres://role:secret@db/saldo"),
            ("SALDO__TREASURY__DATABASE_URL", "postgres://role:secret@db/saldo?sslmode=verify-full"),
        ];
        assert_eq!(problems(&encrypted), [""; 0]);
        for mode in ["require", "verify-ca"] {
            let url = format!("postgres://role:secret@db/saldo?sslmode={mode}");
            let found = problems(&[("SALDO__DATABASE__URL", &url)]);
            assert!(found.len() == 1 && found[0].contains("whoever answers"), "{mode}: {found:?}");
        }
    }

    #[test]
    fn a_file_of_certificates_that_is_none_is_told_of_once_by_its_setting() {
        let file = std::env::temp_dir().join(format!("saldo-worker-{}.pem", std::process::id()));
        std::fs::write(&file, "-----BEGIN CERTIFICATE-----\nbroken\n-----END CERTIFICATE-----\n").unwrap();
        let found = problems(&[
            ("SALDO__BROKER__CA_FILE", file.to_str().unwrap()),
            ("SALDO__BROKER__TLS", "perhaps"),
            ("SALDO__DATABASE__CA_FILE", "/nowhere/ca.pem"),
        ]);
        std::fs::remove_file(&file).unwrap();
        assert_eq!(
            found,
            [
                "broker.ca_file: expected certificates in PEM form",
                "broker.tls: expected required or optional",
                "database.ca_file: No such file or directory (os error 2)",
            ]
        );
    }
}
