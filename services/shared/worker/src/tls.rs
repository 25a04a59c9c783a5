//! How TLS is spoken with a server: whom to believe, and who one proves to be oneself.
//!
//! The public certificate authorities are trusted, as Mozilla lists them (webpki-roots, which comes with each release), and
//! whoever a file names besides. The system's own store is not asked: what is trusted does not depend on the machine.

use lapin::tcp::{OwnedIdentity, OwnedTLSConfig};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use secrecy::{ExposeSecret as _, SecretString};

/// Who is trusted, and with what one proves who one is.
#[derive(Debug, Clone, Default)]
pub struct Tls {
    /// Besides the public authorities; PEM, and nothing but certificates that were understood.
    roots: String,
    identity: Option<Identity>,
}

/// A certificate and its key, both PEM. The key is in no `Debug` form.
#[derive(Debug, Clone)]
struct Identity {
    certificates: String,
    key: SecretString,
}

impl Tls {
    /// Trusting the public authorities, and the certificates of this file.
    ///
    /// # Errors
    /// It cannot be read or holds something else; the text says what.
    pub fn trusting(file: &str) -> Result<Self, String> {
        Ok(Self { roots: ledger::tls::certificates(file)?, identity: None })
    }

    /// Shows these certificates, of which the first is one's own, to servers that ask for one.
    ///
    /// # Errors
    /// The key is no key in PEM form that is not encrypted, or another certificate's; the text says what was expected.
    pub fn showing(self, certificates: String, key: SecretString) -> Result<Self, String> {
        PrivateKeyDer::from_pem_slice(key.expose_secret().as_bytes())
            .map_err(|_| "expected a private key in PEM form, not encrypted".to_owned())?;
        let tls = Self { identity: Some(Identity { certificates, key }), ..self };
        tls.client_config().map_err(|_| "expected the key of the certificate".to_owned())?;
        Ok(tls)
    }

    /// For a client that speaks it so.
    ///
    /// # Errors
    /// None that would not always come.
    pub fn client_config(&self) -> Result<ClientConfig, rustls::Error> {
        let mut roots: RootCertStore = webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect();
        roots.add_parsable_certificates(certificates(&self.roots));
        let builder = ClientConfig::builder_with_provider(ring::default_provider().into());
        let builder = builder.with_safe_default_protocol_versions()?.with_root_certificates(roots);
        let Some(own) = &self.identity else { return Ok(builder.with_no_client_auth()) };
        let key = PrivateKeyDer::from_pem_slice(own.key.expose_secret().as_bytes());
        let key = key.map_err(|error| rustls::Error::General(error.to_string()))?;
        builder.with_client_auth_cert(certificates(&own.certificates).collect(), key)
    }

    /// For lapin, which trusts the public authorities by itself.
    pub(crate) fn for_lapin(&self) -> OwnedTLSConfig {
        let identity = self.identity.as_ref().map(|own| OwnedIdentity::PKCS8 {
            pem: own.certificates.clone().into_bytes(),
            key: own.key.expose_secret().as_bytes().to_vec(),
        });
        let roots = Some(&self.roots).filter(|roots| !roots.is_empty());
        OwnedTLSConfig { identity, cert_chain: roots.cloned() }
    }
}

fn certificates(pem: &str) -> impl Iterator<Item = CertificateDer<'static>> {
    CertificateDer::pem_slice_iter(pem.as_bytes()).flatten()
}
