//! What tests and benchmark share: a world of their own each (database, virtual host, users), workers as real
//! processes, publishers, and collectors of what comes out.
//!
//! Servers are found through `SALDO_TEST_DATABASE_URL`, `SALDO_TEST_AMQP_URL` and `SALDO_TEST_MANAGEMENT_URL`, and
//! through TLS by `SALDO_TEST_AMQPS_URL`, `SALDO_TEST_MANAGEMENTS_URL` and `SALDO_TEST_CA_FILE`, all with an
//! administrator's login, and the broker's metrics by `SALDO_TEST_PROMETHEUS_URL`; `tests/run` sets them.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests fail loudly")]

pub mod broker;
pub mod bulk;
pub mod check;
pub mod command_line;
pub mod disk;
pub mod mail_server;
pub mod message;
pub mod metrics;
pub mod model;
pub mod parse_mail;
pub mod relay;
pub mod secrets;
pub mod span_collector;
pub mod story;
pub mod wire;
pub mod worker_process;
pub mod world;

use std::future::Future;
use std::time::{Duration, Instant};

pub use broker::{Collector, Publisher};
pub use bulk::Bulk;
pub use check::{COMMISSIONS, seeded};
pub use command_line::{Ran, Scratch};
pub use disk::Disk;
pub use mail_server::{Happening, MailEvent, MailServer, MailTls, ReceivedMail, Step};
pub use message::{credit, reverse};
pub use metrics::Metrics;
pub use parse_mail::ParsedMail;
pub use relay::Relay;
pub use span_collector::{SentSpan, SpanCollector};
pub use worker_process::{Worker, WorkerBuilder};
pub use world::World;

/// How long anything may take before a test gives up.
pub const PATIENCE: Duration = Duration::from_mins(1);

/// Asks servers on this machine. reqwest wants to be told how TLS is spoken even where it is not.
pub fn http_client(timeout: Duration) -> reqwest::Client {
    let tls = worker::tls::Tls::default().client_config().unwrap();
    reqwest::Client::builder().timeout(timeout).no_proxy().tls_backend_preconfigured(tls).build().unwrap()
}

/// Polls until `probe` gives a value; otherwise fails with what it saw last.
pub async fn eventually<T, S, F>(what: &str, patience: Duration, mut probe: impl FnMut() -> F) -> T
where
    F: Future<Output = Result<T, S>>,
    S: std::fmt::Debug,
{
    let began = Instant::now();
    loop {
        match probe().await {
            Ok(value) => return value,
            Err(seen) if began.elapsed() > patience => {
                panic!("not within {patience:?}: {what}; last seen: {seen:?}")
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(25)).await,
        }
    }
}
