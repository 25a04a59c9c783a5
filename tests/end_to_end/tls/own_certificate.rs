//! A broker that asks for a certificate of ours: before the real one stands a server that demands one, by an authority
//! of its own, and passes on what it has decrypted.

use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use tests::world::server;
use tests::{PATIENCE, Scratch, WorkerBuilder, World, credit};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::RootCertStore;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::PrivatePkcs8KeyDer;
use tokio_rustls::rustls::server::WebPkiClientVerifier;

use super::{BROKER, BROKER_CA, refused, trouble};

const CERTIFICATE: &str = "SALDO__BROKER__CERT_FILE";
const KEY: &str = "SALDO__BROKER__KEY_FILE";

/// Signs certificates.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: rcgen::Certificate,
}

/// Files with a certificate and its key.
struct Own {
    certificate: Scratch,
    key: Scratch,
}

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        Self { issuer: Issuer::new(params, key), certificate }
    }

    fn sign(&self, name: &str) -> (rcgen::Certificate, KeyPair) {
        let key = KeyPair::generate().unwrap();
        (CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, &self.issuer).unwrap(), key)
    }

    fn file(&self) -> Scratch {
        written("authority.pem", &self.certificate.pem())
    }

    fn own(&self) -> Own {
        let (certificate, key) = self.sign("worker.example");
        Own {
            certificate: written("own.pem", &certificate.pem()),
            key: written("own.key", &key.serialize_pem()),
        }
    }

    /// The port of a server that demands a certificate of this authority, and is the broker to whoever has one.
    async fn guard(&self) -> u16 {
        let (certificate, key) = self.sign("localhost");
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.der().clone()).unwrap();
        let provider = Arc::new(default_provider());
        let clients =
            WebPkiClientVerifier::builder_with_provider(roots.into(), Arc::clone(&provider)).build().unwrap();
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(clients)
            .with_single_cert(
                vec![certificate.der().clone()],
                PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
            )
            .unwrap();
        let broker = server("SALDO_TEST_AMQP_URL").rsplit_once('@').unwrap().1.to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            let acceptor = TlsAcceptor::from(Arc::new(config));
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, broker) = (acceptor.clone(), broker.clone());
                tokio::spawn(async move {
                    let Ok(mut client) = acceptor.accept(stream).await else { return };
                    let mut broker = TcpStream::connect(broker).await.unwrap();
                    let _ = tokio::io::copy_bidirectional(&mut client, &mut broker).await;
                });
            }
        });
        port
    }
}

fn written(name: &str, text: &str) -> Scratch {
    let file = Scratch::new(name);
    file.write(text);
    file
}

fn shown<'b>(builder: &'b mut WorkerBuilder, own: &Own) -> &'b mut WorkerBuilder {
    builder.set(CERTIFICATE, own.certificate.path()).set(KEY, own.key.path())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_asks_for_a_certificate_is_shown_ours_and_serves_nobody_without() {
    let world = World::new().await;
    let events = world.events().await;
    let (authority, stranger) = (Authority::new("ours"), Authority::new("a stranger's"));
    let (port, trusted) = (authority.guard().await, authority.file());
    let plain = world.worker_amqp_url("commissions");
    let (login, rest) = plain.trim_start_matches("amqp://").rsplit_once('@').unwrap();
    let (_, vhost) = rest.split_once('/').unwrap();
    let mut builder = world.worker();
    builder.set(BROKER, format!("amqps://{login}@localhost:{port}/{vhost}")).set(BROKER_CA, trusted.path());

    let without = builder.start();
    trouble(&without, "TLS with the broker failed: the server wants a certificate of ours").await;
    let (own, strange) = (authority.own(), stranger.own());
    let with_a_strange_one = shown(&mut builder.clone(), &strange).start();
    trouble(&with_a_strange_one, "TLS with the broker failed: the server refuses our certificate").await;
    let log = with_a_strange_one.log();
    assert!(!log.contains("PRIVATE KEY"), "{log}");

    let mut worker = shown(&mut builder, &own).ready().await;
    world.publisher().await.publish(&[credit("c-1", "anna", "12.50")]).await;
    assert_eq!(events.at_least(1, PATIENCE).await[0].json()["type"], "commission.credited.v1");
    assert!(worker.terminate().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_our_certificate_or_key_is_told_at_start() {
    let world = World::without_broker().await;
    let authority = Authority::new("ours");
    let (own, other) = (authority.own(), authority.own());
    let encrypted = written(
        "encrypted.key",
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
    );
    for (certificate, key, problem) in [
        (Some(own.certificate.path()), None, "broker.key_file: is missing, although broker.cert_file is set"),
        (None, Some(own.key.path()), "broker.cert_file: is missing, although broker.key_file is set"),
        (
            Some(own.certificate.path()),
            Some(other.key.path()),
            "broker.key_file: expected the key of the certificate",
        ),
        (
            Some(own.certificate.path()),
            Some(encrypted.path()),
            "broker.key_file: expected a private key in PEM form, not encrypted",
        ),
        (Some(own.key.path()), Some(own.key.path()), "broker.cert_file: expected certificates in PEM form"),
        (
            Some(own.certificate.path()),
            Some("/nowhere/own.key"),
            "broker.key_file: No such file or directory",
        ),
    ] {
        let mut builder = world.worker();
        for (setting, value) in [(CERTIFICATE, certificate), (KEY, key)] {
            if let Some(value) = value {
                builder.set(setting, value);
            }
        }
        let said = refused(&builder).await;
        assert!(said.contains(problem), "{problem}: {said}");
        assert!(!said.contains("PRIVATE KEY"), "{said}");
    }
}
