//! What TLS takes, whatever is spoken through it: files of certificates, and words for what went wrong.
//!
//! Files are read once, when settings are: one that is missing or holds something else is told of before anything is
//! connected, and one that is replaced later counts from the next start on.

use std::error::Error;
use std::io;
use std::net::IpAddr;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{AlertDescription, CertificateError, RootCertStore};

/// A PEM file of certificates that can be trusted: as it is, once each was understood.
///
/// # Errors
/// It cannot be read, or holds no certificates or broken ones.
pub fn certificates(file: &str) -> Result<String, String> {
    const EXPECTED: &str = "expected certificates in PEM form";
    let pem = std::fs::read(file).map_err(|error| error.to_string())?;
    // There may be remarks between them, in whatever encoding.
    let pem = String::from_utf8_lossy(&pem).into_owned();
    let mut trusted = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        let added = certificate.map(|certificate| trusted.add(certificate));
        if !matches!(added, Ok(Ok(()))) {
            return Err(EXPECTED.to_owned());
        }
    }
    if trusted.is_empty() { Err(EXPECTED.to_owned()) } else { Ok(pem) }
}

/// Whether what is sent to this host never leaves the machine, as far as its name tells.
pub fn on_this_machine(host: &str) -> bool {
    let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    host.eq_ignore_ascii_case("localhost")
        || address.parse().is_ok_and(|address: IpAddr| address.is_loopback())
}

/// What TLS found wrong, if an error comes of that: in words for whoever has to mend it, without any secret.
pub fn trouble(error: &(dyn Error + 'static)) -> Option<String> {
    if let Some(error) = error.downcast_ref::<rustls::Error>() {
        return Some(words(error));
    }
    // An I/O error that wraps another one names that one's source as its own.
    let wrapped = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
    match wrapped {
        Some(inner) => trouble(inner),
        None => error.source().and_then(trouble),
    }
}

fn words(error: &rustls::Error) -> String {
    let rustls::Error::InvalidCertificate(why) = error else {
        return match error {
            rustls::Error::InvalidMessage(_) => "the server does not speak TLS on this port".to_owned(),
            rustls::Error::AlertReceived(alert) => refused(*alert),
            other => other.to_string(),
        };
    };
    match why {
        CertificateError::UnknownIssuer => {
            "the server's certificate is signed by nobody who is trusted (ca_file names further authorities)"
                .to_owned()
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "the server's certificate has expired".to_owned()
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "the server's certificate is not valid yet".to_owned()
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            format!("the server's certificate is for another name: {why}")
        }
        _ => error.to_string(),
    }
}

/// What the server said before it closed the connection.
fn refused(alert: AlertDescription) -> String {
    match alert {
        AlertDescription::CertificateRequired => {
            "the server wants a certificate of ours (cert_file and key_file; sslcert and sslkey)".to_owned()
        }
        AlertDescription::BadCertificate
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateRevoked
        | AlertDescription::CertificateExpired
        | AlertDescription::CertificateUnknown
        | AlertDescription::UnknownCA
        | AlertDescription::DecryptError
        | AlertDescription::AccessDenied => format!("the server refuses our certificate ({alert:?})"),
        // Without the word, TLS 1.2 has none for it.
        AlertDescription::HandshakeFailure => {
            "the server breaks off (HandshakeFailure): it may want a certificate of ours, or have no way of \
             encryption in common with us"
                .to_owned()
        }
        other => format!("the server breaks off ({other:?})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_addresses_and_localhost_are_this_machine() {
        for here in ["localhost", "LOCALHOST", "127.0.0.1", "127.1.2.3", "::1", "[::1]"] {
            assert!(on_this_machine(here), "{here}");
        }
        for elsewhere in
            ["", "db", "192.0.2.1", "localhost.example.org", "127.0.0.1.example.org", "[2001:db8::1]"]
        {
            assert!(!on_this_machine(elsewhere), "{elsewhere}");
        }
    }

    #[test]
    fn what_is_wrong_with_a_certificate_is_found_however_deep_and_told_in_words() {
        let told = |why| {
            let inner = io::Error::new(io::ErrorKind::InvalidData, rustls::Error::InvalidCertificate(why));
            trouble(&sqlx::Error::Io(io::Error::other(inner))).unwrap()
        };
        assert!(told(CertificateError::UnknownIssuer).contains("signed by nobody who is trusted"));
        assert!(told(CertificateError::Expired).ends_with("has expired"));
        assert!(told(CertificateError::NotValidForName).contains("for another name"));
        assert!(told(CertificateError::Revoked).contains("Revoked"));
        let alert = |alert| trouble(&io::Error::other(rustls::Error::AlertReceived(alert))).unwrap();
        assert!(alert(AlertDescription::CertificateRequired).contains("wants a certificate of ours"));
        assert!(alert(AlertDescription::UnknownCA).ends_with("refuses our certificate (UnknownCA)"));
        assert!(alert(AlertDescription::InternalError).ends_with("breaks off (InternalError)"));
        assert!(trouble(&sqlx::Error::Io(io::ErrorKind::ConnectionReset.into())).is_none());
        assert!(trouble(&sqlx::Error::RowNotFound).is_none());
    }
}
