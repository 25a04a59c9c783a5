//! Whom Saldo believes that they are who they say, and one way to speak TLS with them.
//!
//! The public certificate authorities are trusted, as Mozilla lists them (webpki-roots, which comes with each release), and
//! whoever a file names besides. The system's own store is not asked: what is trusted does not depend on the machine.

use lapin::tcp::OwnedTLSConfig;
use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};

/// Who is trusted.
#[derive(Debug, Clone, Default)]
pub struct Trust {
    /// Besides the public authorities; PEM, and nothing but certificates that were understood.
    roots: String,
}

impl Trust {
    /// The public authorities, and the certificates of this file.
    ///
    /// # Errors
    /// It cannot be read or holds something else; the text says what.
    pub fn with_file(file: &str) -> Result<Self, String> {
        let pem = ledger::tls::certificates(file)?;
        Ok(Self { roots: String::from_utf8_lossy(&pem).into_owned() })
    }

    /// For a client of a server that these vouch for.
    ///
    /// # Errors
    /// None that would not always come, whoever is trusted.
    pub fn client_config(&self) -> Result<ClientConfig, rustls::Error> {
        let mut roots: RootCertStore = webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect();
        roots.add_parsable_certificates(CertificateDer::pem_slice_iter(self.roots.as_bytes()).flatten());
        let builder = ClientConfig::builder_with_provider(ring::default_provider().into());
        Ok(builder.with_safe_default_protocol_versions()?.with_root_certificates(roots).with_no_client_auth())
    }

    /// For lapin, which trusts the public authorities by itself.
    pub(crate) fn for_lapin(&self) -> OwnedTLSConfig {
        let roots = Some(&self.roots).filter(|roots| !roots.is_empty());
        OwnedTLSConfig { identity: None, cert_chain: roots.cloned() }
    }
}
