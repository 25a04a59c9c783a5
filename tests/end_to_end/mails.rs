//! Mails: whoever is to be told is told, once, whatever happens to the notifier, the mail server or the event.

mod away;
mod content;
mod digests;
mod hostile;
mod kills;
mod operator;
mod outages;
mod overlooked;
mod settings;
mod trouble;

use serde_json::{Value, json};
use tests::message::{MERCHANT, at, customer, of_merchant, payout_method, preferences, request};
use tests::parse_mail::parse;
use tests::{MailServer, PATIENCE, ParsedMail, Worker, World, eventually};

use crate::shop::Shop;

/// The addresses of the shop's staff.
pub(crate) const STAFF: [&str; 2] = ["ada@shop.example", "bea@shop.example"];

/// A `preferences.put` of a shop that pays out and tells these people.
pub(crate) fn telling(merchant: &str, notify: &[&str], notify_customer: &[&str]) -> Value {
    let mut put = preferences(&format!("shop-{merchant}"), merchant);
    put["data"]["notify"] = json!(notify);
    put["data"]["notify_customer"] = json!(notify_customer);
    put
}

/// A shop and a mail server that a notifier can use.
pub(crate) struct Office {
    pub(crate) shop: Shop,
    pub(crate) server: MailServer,
}

impl Office {
    /// `acme`, which tells its staff, with affiliates who have earned this; its withdrawals worker is running.
    pub(crate) async fn new(affiliates: &[(&str, &str)]) -> Self {
        Self::with(telling(MERCHANT, &STAFF, &[]), affiliates).await
    }

    /// With these preferences.
    pub(crate) async fn with(preferences: Value, affiliates: &[(&str, &str)]) -> Self {
        let mut shop = Shop::with(preferences, affiliates).await;
        shop.start(&["withdrawals"]).await;
        Self { shop, server: MailServer::builder().start().await }
    }

    /// Another shop with one affiliate, `zoe`, who has earned 100 EUR.
    pub(crate) async fn other_shop(&self, merchant: &str, notify: &[&str]) {
        let shop = &self.shop;
        shop.done(telling(merchant, notify, &[]), "preferences.updated").await;
        let mut earned = tests::credit(&format!("earned-{merchant}"), "zoe", "100.00");
        earned["data"]["merchant"] = json!(merchant);
        shop.done(earned, "commission.credited").await;
        let method = of_merchant(payout_method(&format!("method-{merchant}"), "zoe"), merchant);
        shop.done(method, "payout-method.updated").await;
    }

    /// An affiliate's name, address and language.
    pub(crate) async fn known_as(&self, affiliate: &str, name: &str, email: &str, locale: &str) {
        let mut put =
            at(customer(&format!("known-{affiliate}"), affiliate, "affiliate"), "2026-11-22T11:00:00Z");
        put["data"]["name"] = json!(name);
        put["data"]["email"] = json!(email);
        put["data"]["locale"] = json!(locale);
        self.shop.done(put, "customer.updated").await;
    }

    /// An affiliate asks for 10 EUR.
    pub(crate) async fn asks(&self, id: &str, affiliate: &str) -> Value {
        self.shop.done(request(id, affiliate, Some("10.00")), "withdrawal.requested").await
    }

    /// The affiliate of another shop asks for 10 EUR.
    pub(crate) async fn other_asks(&self, merchant: &str) {
        let asked = of_merchant(request(&format!("w-{merchant}"), "zoe", Some("10.00")), merchant);
        self.shop.done(asked, "withdrawal.requested").await;
    }

    /// The event of a mail that is given up.
    pub(crate) async fn given_up(&self) -> Value {
        eventually("a mail is given up", PATIENCE, || async {
            let events: Vec<_> = self.shop.events.all().iter().map(tests::broker::Collected::json).collect();
            let given_up = events.iter().find(|event| event["type"] == "notification.failed.v1");
            given_up.cloned().ok_or(events.len())
        })
        .await
    }

    /// A notifier.
    pub(crate) async fn notifier(&self) -> Worker {
        self.shop.world.notifier(&self.server).ready().await
    }

    /// What somebody died with is due now, as it would be when the lease is over.
    pub(crate) async fn release_leases(&self) {
        release_leases(&self.shop.world).await;
    }

    /// Waits until no mail is due any more.
    pub(crate) async fn quiet(&self) {
        quiet(&self.shop.world).await;
    }

    /// The mails so far, parsed, with their recipients.
    pub(crate) fn mails(&self) -> Vec<(String, ParsedMail)> {
        self.server.mails().iter().map(|mail| (mail.to.join(","), parse(&mail.raw))).collect()
    }

    /// To whom mails went, sorted.
    pub(crate) fn recipients(&self) -> Vec<String> {
        let mut recipients: Vec<_> = self.server.mails().iter().map(|mail| mail.to.join(",")).collect();
        recipients.sort();
        recipients
    }
}

/// Waits until every request has a notice and no mail is due any more.
pub(crate) async fn quiet(world: &World) {
    eventually("all is told", PATIENCE, || async {
        let missing = world
            .count("SELECT count(*) FROM withdrawal_transition t WHERE NOT EXISTS (SELECT FROM notice n WHERE (n.withdrawal, n.state) = (t.withdrawal, t.state))")
            .await;
        let due = world.count("SELECT count(*) FROM mail WHERE state = 'due'").await;
        if (missing, due) == (0, 0) { Ok(()) } else { Err((missing, due)) }
    })
    .await;
}

/// What somebody died with is due now.
pub(crate) async fn release_leases(world: &World) {
    sqlx::query("UPDATE mail SET next_attempt_at = statement_timestamp() WHERE state = 'due'")
        .execute(&mut world.superuser().await)
        .await
        .unwrap();
}

/// So many states of mails.
pub(crate) async fn states(world: &World) -> Vec<(String, i64)> {
    sqlx::query_as("SELECT state, count(*) FROM mail GROUP BY state ORDER BY state")
        .fetch_all(&mut world.superuser().await)
        .await
        .unwrap()
}

/// All that a mail says, for a test that fails.
pub(crate) fn holds(mail: &ParsedMail, wanted: &[&str]) {
    for wanted in wanted {
        assert!(mail.text.contains(wanted), "no {wanted:?} in the text of {mail:#?}");
    }
}
