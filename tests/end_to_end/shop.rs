//! A shop that pays out, with affiliates who have earned something and can be paid.

use futures_util::future::join_all;
use serde_json::{Value, json};
use sqlx::Row as _;
use tests::message::{MERCHANT, payout_method, preferences};
use tests::{Collector, PATIENCE, Publisher, Worker, World, credit, eventually};

/// The shop `acme` and the workers that it needs.
#[derive(Debug)]
pub(crate) struct Shop {
    pub(crate) world: World,
    pub(crate) events: Collector,
    pub(crate) publisher: Publisher,
    workers: Vec<Worker>,
}

impl Shop {
    /// Its withdrawals with these preferences, and affiliates with their earnings in EUR. Directory and commissions
    /// workers are running.
    pub(crate) async fn new(withdrawals: Value, affiliates: &[(&str, &str)]) -> Self {
        let mut put = preferences("shop", MERCHANT);
        put["data"]["withdrawals"] = withdrawals;
        put["data"]["withdrawals"]["enabled"] = json!(true);
        Self::with(put, affiliates).await
    }

    /// With this `preferences.put`.
    pub(crate) async fn with(preferences: Value, affiliates: &[(&str, &str)]) -> Self {
        let world = World::new().await;
        let (events, publisher) = (world.events().await, world.publisher().await);
        let mut shop = Self { world, events, publisher, workers: Vec::new() };
        shop.start(&["directory", "commissions"]).await;
        shop.done(preferences, "preferences.updated").await;
        for (affiliate, earned) in affiliates {
            shop.affiliate(affiliate, earned, "EUR").await;
        }
        shop
    }

    /// Starts a worker of each of these names.
    pub(crate) async fn start(&mut self, names: &[&str]) {
        let builders = names.iter().map(|name| self.world.worker_of(name)).collect::<Vec<_>>();
        self.workers.extend(join_all(builders.iter().map(tests::WorkerBuilder::ready)).await);
    }

    /// Stops the workers: each must end well.
    pub(crate) async fn stop(&mut self) {
        for mut worker in self.workers.drain(..) {
            assert!(worker.terminate().await.success(), "a worker did not end well");
        }
    }

    /// An affiliate who has earned this much and can be paid.
    pub(crate) async fn affiliate(&self, affiliate: &str, earned: &str, currency: &str) {
        let mut earned = credit(&format!("earned-{affiliate}-{currency}"), affiliate, earned);
        earned["data"]["currency"] = json!(currency);
        self.done(earned, "commission.credited").await;
        let method = payout_method(&format!("method-{affiliate}-{currency}"), affiliate);
        self.outcome(method).await;
    }

    /// Publishes a command and waits for the first event that it causes.
    pub(crate) async fn outcome(&self, command: Value) -> Value {
        let id = command["id"].clone();
        self.publisher.publish(&[command]).await;
        eventually(&format!("{id} is decided"), PATIENCE, || async {
            let mut events = self.events.all().into_iter().map(|event| event.json());
            events.find(|event| event["causationid"] == id).ok_or_else(|| self.events.count())
        })
        .await
    }

    /// Publishes a command, which must cause this event.
    pub(crate) async fn done(&self, command: Value, event: &str) -> Value {
        let outcome = self.outcome(command).await;
        assert_eq!(outcome["type"], format!("{event}.v1"), "{outcome}");
        outcome
    }

    /// Publishes a command, which must be refused for this reason.
    pub(crate) async fn refused(&self, command: Value, reason: &str) -> Value {
        let outcome = self.outcome(command).await;
        assert_eq!(outcome["data"]["reason"], reason, "{outcome}");
        outcome
    }

    /// The account's row; `None`: there is none.
    pub(crate) async fn account(&self, customer: &str, currency: &str) -> Option<Value> {
        sqlx::query("SELECT to_jsonb(a) FROM account a WHERE customer = $1 AND currency = $2")
            .bind(customer)
            .bind(currency)
            .fetch_optional(&mut self.world.superuser().await)
            .await
            .unwrap()
            .map(|row| row.get(0))
    }

    /// Everything that is about money.
    pub(crate) async fn money(&self) -> Value {
        sqlx::query_scalar(
            "SELECT jsonb_build_object(
                 'accounts', (SELECT jsonb_agg(to_jsonb(a) ORDER BY a.id) FROM account a),
                 'entries', (SELECT jsonb_agg(to_jsonb(e) ORDER BY e.account_id, e.number) FROM entry e),
                 'withdrawals', (SELECT jsonb_agg(to_jsonb(w) ORDER BY w.key) FROM withdrawal w),
                 'transitions', (SELECT jsonb_agg(to_jsonb(t) ORDER BY t.withdrawal, t.number)
                                 FROM withdrawal_transition t))",
        )
        .fetch_one(&mut self.world.superuser().await)
        .await
        .unwrap()
    }

    /// The states that the request of this id has had, by their numbers, and the ids of the commands that brought
    /// them about.
    pub(crate) async fn history(&self, request: &str) -> Vec<(i32, String, String)> {
        sqlx::query_as(
            "SELECT t.number, t.state, c.id
             FROM inbox i JOIN withdrawal_transition t ON t.withdrawal = i.key JOIN inbox c ON c.key = t.command
             WHERE i.id = $1 ORDER BY t.number",
        )
        .bind(request)
        .fetch_all(&mut self.world.superuser().await)
        .await
        .unwrap()
    }

    /// Stops the workers. Everything must have been decided and told, and the whole ledger must hold.
    pub(crate) async fn close(mut self) {
        self.stop().await;
        assert_eq!(self.world.count("SELECT count(*) FROM waiting").await, 0);
        self.world.assert_told(&self.events).await;
        self.world.assert_sound().await;
    }
}

/// The figures of an event's account: balance, held, available, version.
pub(crate) fn figures(event: &Value) -> (String, String, String, i64) {
    let account = &event["data"]["account"];
    let figure = |name: &str| account[name].as_str().unwrap().to_owned();
    (figure("balance"), figure("held"), figure("available"), account["version"].as_i64().unwrap())
}

/// [`figures`] as a test writes them.
pub(crate) fn expected(
    balance: &str,
    held: &str,
    available: &str,
    version: i64,
) -> (String, String, String, i64) {
    (balance.to_owned(), held.to_owned(), available.to_owned(), version)
}
