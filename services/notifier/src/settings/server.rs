//! How the mail server is reached.

use std::fmt;
use std::net::IpAddr;

use lettre::transport::smtp::client::{Certificate, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use secrecy::SecretString;
use worker::settings::Reader;

/// How the conversation with the mail server is protected.
#[derive(Clone)]
pub enum Security {
    /// `starttls`: it begins in clear and must turn to TLS before anything is said.
    StartTls(TlsParameters),
    /// `tls`: it is TLS from the first byte.
    Tls(TlsParameters),
    /// `none`: it is in clear.
    None,
}

/// With what the notifier logs in.
#[derive(Debug, Clone)]
pub struct Login {
    /// `mail.user`, a secret because it often is an address.
    pub user: SecretString,
    /// `mail.password`.
    pub password: SecretString,
}

/// The mail server, and who the notifier is to it.
#[derive(Clone)]
pub struct ServerSettings {
    /// `mail.host`: the mail server's name or IP address. Required.
    pub host: String,
    /// `mail.port`. Default 587 with `starttls`, 465 with `tls`, 25 with `none`.
    pub port: u16,
    /// `mail.tls`: `starttls` (a server that does not offer it gets nothing), `tls` or `none`. Default `starttls`.
    /// `mail.ca_file`: a PEM file of certificates that are trusted besides the public ones.
    pub security: Security,
    /// `mail.user` and `mail.password`, both or neither.
    pub login: Option<Login>,
    /// `mail.hello_name`: what the notifier calls itself. Default: this machine's full name, or `[127.0.0.1]` where it
    /// has none.
    pub hello_name: ClientId,
}

impl ServerSettings {
    /// Reads them. Not to be used before [`Reader::finish`].
    pub fn read(read: &mut Reader) -> Self {
        let host = read.required("mail.host", host).unwrap_or_default();
        let tls = read.or("mail.tls", Protection::StartTls, |text| match text {
            "starttls" => Ok(Protection::StartTls),
            "tls" => Ok(Protection::Implicit),
            "none" => Ok(Protection::None),
            _ => Err("expected starttls, tls or none".to_owned()),
        });
        let security = security(read, &host, tls);
        Self {
            port: read.or("mail.port", tls.port(), |text| match text.parse() {
                Ok(0) | Err(_) => Err("expected a port from 1 to 65535".to_owned()),
                Ok(port) => Ok(port),
            }),
            login: login(read, &host, tls),
            host,
            security,
            hello_name: read.optional("mail.hello_name", hello_name).unwrap_or_else(own_name),
        }
    }
}

/// Where it is only: the login is never shown.
impl fmt::Debug for ServerSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerSettings")
            .field("host", &self.host)
            .field("port", &self.port)
            .field("security", &self.security)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Security {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::StartTls(_) => "starttls",
            Self::Tls(_) => "tls",
            Self::None => "none",
        })
    }
}

/// `mail.tls` as it is written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Protection {
    StartTls,
    Implicit,
    None,
}

impl Protection {
    /// RFC 6409, RFC 8314, RFC 5321.
    fn port(self) -> u16 {
        match self {
            Self::StartTls => 587,
            Self::Implicit => 465,
            Self::None => 25,
        }
    }
}

fn security(read: &mut Reader, host: &str, tls: Protection) -> Security {
    let roots = read.optional("mail.ca_file", |file| {
        let pem = ledger::tls::certificates(file)?;
        Certificate::from_pem(pem.as_bytes()).map_err(|_| "has certificates that cannot be used".to_owned())
    });
    if tls == Protection::None {
        if roots.is_some() {
            read.problem("mail.ca_file", "has no use where mail.tls is none");
        }
        return Security::None;
    }
    match (parameters(host, roots), tls) {
        (Some(parameters), Protection::StartTls) => Security::StartTls(parameters),
        (Some(parameters), _) => Security::Tls(parameters),
        (None, _) => {
            read.problem("mail.tls", "TLS cannot be set up");
            Security::None
        }
    }
}

fn parameters(host: &str, roots: Option<Certificate>) -> Option<TlsParameters> {
    let mut builder = TlsParameters::builder(host.to_owned());
    if let Some(roots) = roots {
        builder = builder.add_root_certificate(roots);
    }
    builder.build_rustls().ok()
}

fn login(read: &mut Reader, host: &str, tls: Protection) -> Option<Login> {
    let user = read.optional_secret("mail.user");
    let password = read.optional_secret("mail.password");
    match (user, password) {
        (None, None) => None,
        (Some(_), None) => {
            read.problem("mail.password", "is missing, although mail.user is set");
            None
        }
        (None, Some(_)) => {
            read.problem("mail.user", "is missing, although mail.password is set");
            None
        }
        (Some(_), Some(_))
            if tls == Protection::None && !host.is_empty() && !ledger::tls::on_this_machine(host) =>
        {
            read.problem(
                "mail.password",
                "would be sent in clear: where mail.tls is none, only a mail server on this machine (localhost, \
                 127.0.0.1, ::1) is logged in to",
            );
            None
        }
        (Some(user), Some(password)) => Some(Login { user, password }),
    }
}

fn host(text: &str) -> Result<String, String> {
    if text.parse::<IpAddr>().is_ok() || is_name(text) {
        Ok(text.to_owned())
    } else {
        Err("expected a host name or an IP address, without a port".to_owned())
    }
}

/// RFC 1123, with the underscore that people use all the same.
fn is_name(text: &str) -> bool {
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label.chars().all(|letter| letter.is_ascii_alphanumeric() || "-_".contains(letter))
    };
    text.len() <= 253 && text.split('.').all(label)
}

fn hello_name(text: &str) -> Result<ClientId, String> {
    let literal = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    match literal.map(|text| text.strip_prefix("IPv6:").unwrap_or(text).parse()) {
        Some(Ok(IpAddr::V4(address))) => Ok(ClientId::Ipv4(address)),
        Some(Ok(IpAddr::V6(address))) => Ok(ClientId::Ipv6(address)),
        None if is_name(text) => Ok(ClientId::Domain(text.to_owned())),
        _ => Err("expected a host name or an address such as [192.0.2.1]".to_owned()),
    }
}

/// RFC 5321, 4.1.4: the full name, or where there is none an address.
fn own_name() -> ClientId {
    let system = rustix::system::uname();
    match system.nodename().to_str() {
        Ok(name) if is_name(name) && name.contains('.') => ClientId::Domain(name.to_owned()),
        _ => ClientId::Ipv4(std::net::Ipv4Addr::LOCALHOST),
    }
}
