//! Broker, management API and database through TLS: what is encrypted, and who is not believed. The servers'
//! certificate is for `localhost` and no other name, and signed by an authority of their own.

mod own_certificate;

use std::sync::Arc;

use rcgen::{CertificateParams, KeyPair};
use serde_json::Value;
use tests::world::{PASSWORD, server};
use tests::{MailServer, PATIENCE, Scratch, Worker, WorkerBuilder, World, credit, eventually};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::PrivatePkcs8KeyDer;

const BROKER: &str = "SALDO__BROKER__URL";
const BROKER_CA: &str = "SALDO__BROKER__CA_FILE";
const MANAGEMENT: &str = "SALDO__BROKER__MANAGEMENT_URL";
const DATABASE: &str = "SALDO__DATABASE__URL";
const DATABASE_CA: &str = "SALDO__DATABASE__CA_FILE";

fn authority() -> String {
    server("SALDO_TEST_CA_FILE")
}

/// The broker through TLS, as this worker.
fn amqps_url(world: &World, worker: &str) -> String {
    let url = server("SALDO_TEST_AMQPS_URL");
    let (_, host) = url.split_once('@').unwrap();
    format!("amqps://saldo_{worker}_test:{PASSWORD}@{host}/{}", world.name)
}

/// The database by the name that its certificate is for.
fn database_url(world: &World, role: &str) -> String {
    world.database_url(Some(role)).replace("@127.0.0.1:", "@localhost:")
}

/// Lets a worker speak TLS with both servers.
fn encrypt(builder: &mut WorkerBuilder, world: &World, worker: &str) {
    let database = format!("{}?sslmode=verify-full", database_url(world, &format!("saldo_{worker}")));
    builder.set(BROKER, amqps_url(world, worker)).set(BROKER_CA, authority());
    builder.set(DATABASE, database).set(DATABASE_CA, authority());
}

/// Another name of the same servers.
fn by_address(url: &str) -> String {
    url.replace("@localhost:", "@127.0.0.1:")
}

/// What keeps a worker from being ready, once it says this.
async fn trouble(worker: &Worker, wanted: &str) {
    eventually("the worker says why it is not ready", PATIENCE, || async {
        match worker.readiness().await {
            Some((false, told))
                if told["troubles"]["session"].as_str().is_some_and(|why| why.contains(wanted)) =>
            {
                Ok(())
            }
            told => Err(told),
        }
    })
    .await;
    let log = worker.log();
    assert!(log.contains(wanted), "{log}");
    assert!(!log.contains(PASSWORD), "{log}");
}

/// The broker's connections of this worker, once there are two and their figures are known.
async fn connections(world: &World, worker: &str) -> Vec<Value> {
    let user = format!("saldo_{worker}_test");
    eventually("the worker's connections are listed", PATIENCE, || async {
        let all = world.manage("GET", &format!("vhosts/{}/connections", world.name), None).await;
        let own = |connection: &&Value| connection["user"] == user.as_str() && connection["ssl"].is_boolean();
        let found: Vec<_> = all.as_array().unwrap().iter().filter(own).cloned().collect();
        if found.len() == 2 { Ok(found) } else { Err(all) }
    })
    .await
}

/// How many sessions of this role the database has, and how many of them are encrypted.
async fn sessions(world: &World, role: &str) -> (i64, i64) {
    let sql =
        "SELECT count(*), count(*) FILTER (WHERE ssl) FROM pg_stat_activity JOIN pg_stat_ssl USING (pid)
               WHERE datname = current_database() AND usename = $1";
    sqlx::query_as(sql).bind(role).fetch_one(&mut world.superuser().await).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn all_connections_of_a_worker_are_encrypted_and_it_decides() {
    let world = World::new().await;
    let events = world.events().await;
    let mut builder = world.worker();
    encrypt(&mut builder, &world, "commissions");
    let mut worker = builder.ready().await;
    world.publisher().await.publish(&[credit("c-1", "anna", "12.50")]).await;
    let event = events.at_least(1, PATIENCE).await[0].json();
    assert_eq!(event["type"], "commission.credited.v1");

    let connections = connections(&world, "commissions").await;
    assert!(connections.iter().all(|connection| connection["ssl"] == true), "{connections:?}");
    // Encrypted or not, they are what they were.
    let publish =
        connections.iter().find(|connection| connection["user_provided_name"] == "commissions publish");
    let publish = publish.unwrap_or_else(|| panic!("{connections:?}"));
    assert_eq!((&publish["frame_max"], &publish["timeout"]), (&32_768.into(), &10.into()), "{publish}");
    let (all, encrypted) = sessions(&world, "saldo_commissions").await;
    assert!(all > 0 && all == encrypted, "{encrypted} of {all} sessions");
    assert!(worker.terminate().await.success());

    // One that was not told to encrypt is seen not to.
    let _plain = world.worker_of("adjustments").ready().await;
    let connections = self::connections(&world, "adjustments").await;
    assert!(connections.iter().all(|connection| connection["ssl"] == false), "{connections:?}");
    let (all, encrypted) = sessions(&world, "saldo_adjustments").await;
    assert!(all > 0 && encrypted == 0, "{encrypted} of {all} sessions");
}

#[tokio::test(flavor = "multi_thread")]
async fn all_connections_of_the_notifier_are_encrypted() {
    let world = World::new().await;
    let mail = MailServer::builder().start().await;
    let mut builder = world.notifier(&mail);
    encrypt(&mut builder, &world, "notifier");
    let _notifier = builder.ready().await;
    let connections = connections(&world, "notifier").await;
    assert!(connections.iter().all(|connection| connection["ssl"] == true), "{connections:?}");
    let (all, encrypted) = sessions(&world, "saldo_notifier").await;
    assert!(all > 1 && all == encrypted, "{encrypted} of {all} sessions");
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_that_nobody_trusted_vouches_for_get_nothing() {
    let world = World::new().await;
    let untrusted = "the server's certificate is signed by nobody who is trusted";
    // Whose figures it reads in the ledger meanwhile.
    let broker = world.worker_of("adjustments").set(BROKER, amqps_url(&world, "adjustments")).start();
    let url = format!("{}?sslmode=verify-full", database_url(&world, "saldo_commissions"));
    let ledger = world.worker().set(DATABASE, url).start();
    trouble(&broker, &format!("TLS with the broker failed: {untrusted}")).await;
    trouble(&ledger, &format!("TLS failed: {untrusted}")).await;
    assert_eq!(sessions(&world, "saldo_commissions").await, (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_for_another_name_is_refused() {
    let world = World::new().await;
    let other = "the server's certificate is for another name";
    let mut builder = world.worker();
    encrypt(&mut builder, &world, "commissions");
    let broker = builder.clone().set(BROKER, by_address(&amqps_url(&world, "commissions"))).start();
    // Without a word on how, because it is said whom to trust.
    let ledger = builder.set(DATABASE, world.database_url(Some("saldo_commissions"))).start();
    trouble(&broker, &format!("TLS with the broker failed: {other}")).await;
    trouble(&ledger, &format!("TLS failed: {other}")).await;
}

/// A port where whoever connects is shown a certificate that has expired, and the file with that certificate.
async fn expired_server() -> (u16, Scratch) {
    let mut certificate = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    certificate.not_before = rcgen::date_time_ymd(2020, 1, 1);
    certificate.not_after = rcgen::date_time_ymd(2021, 1, 1);
    let key = KeyPair::generate().unwrap();
    let certificate = certificate.self_signed(&key).unwrap();
    let file = Scratch::new("expired.pem");
    file.write(&certificate.pem());
    let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
        )
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let acceptor = TlsAcceptor::from(Arc::new(config));
        while let Ok((stream, _)) = listener.accept().await {
            let _ = acceptor.accept(stream).await;
        }
    });
    (port, file)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_has_expired_is_told_of() {
    let world = World::without_broker().await;
    let (port, certificate) = expired_server().await;
    let url = format!("amqps://saldo:{PASSWORD}@localhost:{port}/v");
    let worker = world.worker().set(BROKER, url).set(BROKER_CA, certificate.path()).start();
    trouble(&worker, "TLS with the broker failed: the server's certificate has expired").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_without_tls_is_told_of() {
    let world = World::new().await;
    let plain = world.worker_amqp_url("commissions").replace("amqp://", "amqps://");
    let worker = world.worker().set(BROKER, plain).start();
    trouble(&worker, "TLS with the broker failed: the server does not speak TLS on this port").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_are_served_through_tls_and_told_whom_not_to_trust() {
    let world = World::new().await;
    let (broker, database) = (
        format!("{}/{}", server("SALDO_TEST_AMQPS_URL"), world.name),
        format!("{}?sslmode=verify-full", database_url(&world, "saldo_operator")),
    );
    let (management, authority) = (server("SALDO_TEST_MANAGEMENTS_URL"), authority());
    let settings = [
        (BROKER, broker.as_str()),
        (MANAGEMENT, &management),
        (BROKER_CA, &authority),
        (DATABASE, &database),
        (DATABASE_CA, &authority),
    ];
    let mut builder = world.worker();
    encrypt(&mut builder, &world, "commissions");
    let _worker = builder.ready().await;
    let commands = Scratch::new("commands.jsonl");
    commands.write(&credit("c-1", "anna", "12.50").to_string());
    let publish = ["publish", commands.path(), "--watch", "--json"];
    for arguments in
        [publish.as_slice(), &["topology", "check"], &["queues", "--json"], &["verify"], &["balance", "acme"]]
    {
        let ran = world.saldo_with(&settings, arguments).await;
        assert_eq!(ran.status, 0, "{arguments:?}: {ran:?}");
    }
    for (setting, value, arguments, wanted) in [
        (
            MANAGEMENT,
            by_address(&management),
            ["topology", "check"],
            "TLS with RabbitMQ's management API failed: the server's",
        ),
        (
            BROKER,
            by_address(&broker),
            ["publish", commands.path()],
            "TLS with the broker failed: the server's certificate",
        ),
        (
            DATABASE,
            by_address(&database),
            ["balance", "acme"],
            "TLS with the database failed: the server's certificate",
        ),
    ] {
        let ran = world.saldo_with(&[settings.as_slice(), &[(setting, &value)]].concat(), &arguments).await;
        assert!(ran.status == 1 && ran.messages.contains(wanted), "{ran:?}");
        assert!(!ran.messages.contains(PASSWORD), "{ran:?}");
    }
}

/// A worker that does not start, and what it says.
async fn refused(builder: &WorkerBuilder) -> String {
    let mut worker = builder.start();
    assert!(!worker.ended(PATIENCE).await.success());
    worker.log()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_would_send_in_clear_to_another_machine_does_not_start() {
    let world = World::without_broker().await;
    let mut builder = world.worker();
    builder
        .set(BROKER, format!("amqp://saldo:{PASSWORD}@broker.example/v"))
        .set(DATABASE, format!("postgres://saldo:{PASSWORD}@db.example/saldo?sslmode=prefer"));
    let said = refused(&builder).await;
    for (url, setting) in [("broker.url", "broker.tls"), ("database.url", "database.tls")] {
        let line =
            said.lines().find(|line| line.contains(&format!("- {url}: would send everything in clear")));
        assert!(line.is_some_and(|line| line.contains(setting)), "{said}");
    }
    assert!(!said.contains(PASSWORD), "{said}");
    // With leave to do so it starts, and looks for them.
    builder.set("SALDO__BROKER__TLS", "optional").set("SALDO__DATABASE__TLS", "optional");
    let worker = builder.start();
    worker.wait_not_ready(PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_holds_no_certificates_is_named_by_its_setting() {
    let world = World::without_broker().await;
    let file = Scratch::new("ca.pem");
    file.write("no certificate");
    let said = refused(world.worker().set(BROKER_CA, file.path()).set(DATABASE_CA, "/nowhere/ca.pem")).await;
    for problem in
        ["broker.ca_file: expected certificates in PEM form", "database.ca_file: No such file or directory"]
    {
        assert!(said.contains(problem), "{said}");
    }
}
