//! All workers, with something of everything behind them.

use std::path::PathBuf;

use futures_util::future::join_all;
use serde_json::{Value, json};
use tests::message::{MERCHANT, adjustment, customer, payout_method, request, routing_key};
use tests::world::ALL_WORKERS;
use tests::{
    Collector, MailServer, PATIENCE, Publisher, Scratch, Worker, World, credit, eventually, reverse,
};
use time::OffsetDateTime;

use super::files::monitoring;
use super::prometheus::serve_textfile;
use crate::mails::{STAFF, telling};

/// What the committed configuration scrapes: the workers, the broker twice, and the node exporter.
pub(super) const TARGETS: usize = ALL_WORKERS.len() + 3;

/// Workers, and what they need.
#[derive(Debug)]
pub(super) struct Stack {
    world: World,
    publisher: Publisher,
    /// Is a subscriber's queue.
    events: Collector,
    mail_server: MailServer,
    workers: Vec<(&'static str, Worker)>,
    _verified: Scratch,
    textfile_port: u16,
}

impl Stack {
    /// All workers, ready.
    pub(super) async fn new() -> Self {
        let (world, mail_server) = (World::new().await, MailServer::builder().start().await);
        let (publisher, events) = (world.publisher().await, world.events().await);
        let starts = ALL_WORKERS.map(|name| {
            let mut builder =
                if name == "notifier" { world.notifier(&mail_server) } else { world.quick(name) };
            builder.set("SALDO__METRICS__INTERVAL", "500ms");
            async move { (name, builder.ready().await) }
        });
        let workers = join_all(starts).await;
        let verified = Scratch::new("saldo.prom");
        let ran = world.saldo(&["verify", "--metrics", verified.path()]).await;
        assert_eq!(ran.status, 0, "{ran:?}");
        let textfile_port = serve_textfile(PathBuf::from(verified.path())).await;
        Self { world, publisher, events, mail_server, workers, _verified: verified, textfile_port }
    }

    /// The committed configuration, with this stack's addresses and a shorter interval.
    pub(super) fn scraped(&self) -> String {
        let mut text = std::fs::read_to_string(monitoring("prometheus.yml")).unwrap();
        let mut replace = |old: &str, new: &str| {
            assert!(text.contains(old), "no {old} in prometheus.yml");
            text = text.replace(old, new);
        };
        replace("_interval: 15s", "_interval: 1s");
        replace(r#"vhost: ["/"]"#, &format!(r#"vhost: ["{}"]"#, self.world.name));
        replace("127.0.0.1:25675", &self.world.broker_metrics());
        replace("127.0.0.1:9100", &format!("127.0.0.1:{}", self.textfile_port));
        for (port, (name, worker)) in (25680..).zip(&self.workers) {
            let target = |port| format!(r#"["127.0.0.1:{port}"], labels: {{ worker: {name} }}"#);
            replace(&target(port), &target(worker.port()));
        }
        text
    }

    /// Publishes commands that meet every fate, and waits until they have.
    pub(super) async fn carry_out_all_kinds(&self) {
        let mut held = credit("held", "anna", "5.00");
        held["data"]["available_at"] = json!("2090-01-01T00:00:00Z");
        self.publish(&[telling(MERCHANT, &STAFF, &[]), customer("anna", "anna", "affiliate")]).await;
        self.caused("preferences.updated").await;
        self.publish(&[credit("earned", "anna", "100.00"), held, payout_method("method", "anna")]).await;
        self.publish(&[adjustment("credit", "by-hand", "anna", "1.00")]).await;
        for event in
            ["commission.credited", "commission.held", "payout-method.updated", "adjustment.credited"]
        {
            self.caused(event).await;
        }
        self.publish(&[request("asked", "anna", Some("10.00")), request("too-much", "anna", Some("999.00"))])
            .await;
        self.caused("withdrawal.requested").await;
        self.caused("withdrawal.refused").await;
        // A repeat, a parked one, a dead letter and a stray.
        self.publish(&[credit("earned", "anna", "100.00"), reverse("parked", "unknown", None)]).await;
        self.publisher.raw("acme.commission.credit", b"no JSON", Publisher::properties()).await;
        self.publisher.raw("acme.unheard.of", b"{}", Publisher::properties()).await;
        self.mail_server.wait_mails(STAFF.len()).await;
        eventually("one is parked", PATIENCE, || async {
            match self.world.count("SELECT count(*) FROM waiting").await {
                1 => Ok(()),
                other => Err(other),
            }
        })
        .await;
    }

    /// Publishes commands that say when they were published.
    async fn publish(&self, commands: &[Value]) {
        for command in commands {
            let now = OffsetDateTime::now_utc().unix_timestamp().try_into().unwrap();
            let properties = Publisher::admin_properties().with_timestamp(now);
            self.publisher.raw(&routing_key(command), command.to_string().as_bytes(), properties).await;
        }
    }

    async fn caused(&self, event: &str) {
        eventually(event, PATIENCE, || async {
            if self.events.causes(event).is_empty() { Err(self.events.all().len()) } else { Ok(()) }
        })
        .await;
    }
}
