//! A run through the real store, with the model beside it.

mod worker;

use std::collections::BTreeMap;
use std::time::Duration;

use adjustments::Adjustments;
use commissions::Commissions;
use contract::commission::CommissionCommand;
use contract::{CommandKey, Event};
use directory::Directory;
use serde_json::json;
use sqlx::PgConnection;
use tests::World;
use tests::model::tables::{Tables, Whose, numbers};
use tests::model::{Awaited, Command, Key, Model, Outcome, Told};
use tests::story::{Sent, resolve};
use withdrawals::Withdrawals;

use self::worker::{Message, Worker, carry_out, key};
use super::script::{Script, Step};

/// Where the two do not agree, for people.
pub(super) type Disagreement = String;

/// What a run came to.
#[derive(Debug, Clone, Default)]
pub(super) struct Counts {
    /// Commands that were sent.
    pub(super) sent: usize,
    /// Different ones.
    pub(super) commands: usize,
    /// Of which were not refused.
    pub(super) done: usize,
    /// Of which wait at the end.
    pub(super) waiting: usize,
    /// Events, with the reasons of those that refuse.
    pub(super) told: BTreeMap<String, usize>,
    /// How often two lanes disturbed each other so that one had to begin again.
    pub(super) retries: usize,
}

/// The workers on a database, and a superuser.
pub(super) struct Bench {
    commissions: Worker<Commissions>,
    adjustments: Worker<Adjustments>,
    directory: Worker<Directory>,
    withdrawals: Worker<Withdrawals>,
    superuser: PgConnection,
}

/// Whatever a worker's type is.
macro_rules! worker {
    ($bench:expr, $name:expr, |$worker:ident| $do:expr) => {
        match $name {
            "commissions" => {
                let $worker = &mut $bench.commissions;
                $do
            }
            "adjustments" => {
                let $worker = &mut $bench.adjustments;
                $do
            }
            "directory" => {
                let $worker = &mut $bench.directory;
                $do
            }
            _ => {
                let $worker = &mut $bench.withdrawals;
                $do
            }
        }
    };
}

impl Bench {
    /// With these keys for payout details.
    pub(super) async fn new(world: &World, keys: &str) -> Self {
        let (hour, vault) = (Duration::from_hours(1), keys.parse().unwrap());
        Self {
            commissions: Worker::new(world, Commissions { patience: hour, reversal_patience: hour }).await,
            adjustments: Worker::new(world, Adjustments { patience: hour, reversal_patience: hour }).await,
            directory: Worker::new(world, Directory { patience: hour, vault }).await,
            withdrawals: Worker::new(world, Withdrawals { patience: hour }).await,
            superuser: world.superuser().await,
        }
    }

    fn begin(&mut self, impatient: bool) {
        let patience = if impatient { Duration::ZERO } else { Duration::from_hours(1) };
        (self.commissions.rules.patience, self.commissions.rules.reversal_patience) = (patience, patience);
        (self.adjustments.rules.patience, self.adjustments.rules.reversal_patience) = (patience, patience);
        self.directory.rules.patience = patience;
        self.withdrawals.rules.patience = patience;
        self.forget();
    }

    /// Scans have found nothing.
    fn forget(&mut self) {
        self.commissions.found.clear();
        self.adjustments.found.clear();
        self.directory.found.clear();
        self.withdrawals.found.clear();
    }
}

/// A command as a transaction left it.
#[derive(Debug, sqlx::FromRow)]
struct Record {
    batch_id: i64,
    id: String,
    merchant: String,
    content: Vec<u8>,
    /// `None`: it waits, for the merchant and customer that are said, or else for a command.
    outcome: Option<String>,
    awaited_merchant: Option<String>,
    awaited_customer: Option<String>,
    parked_at: i64,
}

fn id_of((merchant, source, id): &Key) -> String {
    let (merchant, source, id) = (merchant.parse().unwrap(), source.parse().unwrap(), id.parse().unwrap());
    CommandKey { merchant, source, id }.hash().to_string()
}

fn now() -> i64 {
    i64::try_from(time::OffsetDateTime::now_utc().unix_timestamp_nanos() / 1000).unwrap()
}

fn agree<T: PartialEq + std::fmt::Debug>(what: &str, model: &T, real: &T) -> Result<(), Disagreement> {
    if model == real { Ok(()) } else { Err(format!("{what}\n model: {model:#?}\n store: {real:#?}")) }
}

/// One run on a bench, with merchants that nobody had before.
pub(super) struct Run<'b> {
    bench: &'b mut Bench,
    model: Model,
    merchants: [String; 2],
    /// By id.
    events: BTreeMap<String, std::sync::Arc<str>>,
    counts: Counts,
}

impl<'b> Run<'b> {
    /// Carries the script out; fails where model and store do not agree.
    pub(super) async fn of(
        script: &Script,
        bench: &'b mut Bench,
        number: u64,
    ) -> Result<Counts, Disagreement> {
        bench.begin(script.impatient);
        let model = Model::new(script.impatient);
        let merchants = [format!("a-{number}"), format!("b-{number}")];
        let mut run = Self { bench, model, merchants, events: BTreeMap::new(), counts: Counts::default() };
        for (place, step) in script.steps.iter().enumerate() {
            run.step(step).await.map_err(|problem| format!("step {place}: {problem}"))?;
        }
        let (commands, done) = run.model.counts();
        let waiting = run.model.state()["waiting"].as_object().unwrap().len();
        Ok(Counts { sent: script.commands(), commands, done, waiting, ..run.counts })
    }

    async fn step(&mut self, step: &Step) -> Result<(), Disagreement> {
        match step {
            Step::Batch { worker, commands } => self.batch(worker, commands).await?,
            Step::Race { worker, lanes: [first, second] } => self.race(worker, first, second).await?,
            Step::Look { worker } => self.look(worker).await?,
            Step::Scan { worker } => self.scan(worker).await?,
            Step::Mature => self.mature().await?,
            Step::Ripen { one_in } => {
                let ripe = self.model.ripen(every(*one_in));
                let past = "UPDATE commission SET available_at = clock_timestamp() - interval '1 hour' WHERE key = ANY($1)";
                self.change(past, &ripe).await;
            }
            Step::LosePatience { one_in } => {
                let late = self.model.lose_patience(every(*one_in));
                let past =
                    "UPDATE waiting SET deadline = clock_timestamp() - interval '1 hour' WHERE key = ANY($1)";
                self.change(past, &late).await;
            }
        }
        Ok(())
    }

    /// What time would do. A scan that came before knows nothing of it.
    async fn change(&mut self, statement: &'static str, ids: &[String]) {
        self.bench.forget();
        sqlx::query(statement).bind(bytes(ids)).execute(&mut self.bench.superuser).await.unwrap();
    }

    async fn batch(&mut self, worker: &str, sent: &[Sent]) -> Result<(), Disagreement> {
        let messages: Vec<_> = sent.iter().map(|sent| self.message(sent, true)).collect();
        let waited: Vec<_> = messages.iter().map(|message| self.model.waits(&message.command.key)).collect();
        let done = worker!(self.bench, worker, |worker| worker.batch(&messages).await)?;

        self.model.begin(now(), messages.iter().map(|message| message.command.key.clone()));
        let (mut told, mut outcomes) = (Vec::new(), Vec::new());
        for message in &messages {
            let outcome = self.model.apply(&message.command);
            if let Outcome::Repeated(again) | Outcome::Decided(again) = &outcome {
                told.extend(again.clone());
            }
            outcomes.push(outcome);
        }
        let recorded = waited.contains(&true)
            || outcomes.iter().any(|outcome| matches!(outcome, Outcome::Repeated(_) | Outcome::Conflict));
        let verdicts =
            messages.iter().zip(outcomes).zip(waited).map(|((message, outcome), waited)| match outcome {
                Outcome::Conflict => "dead",
                Outcome::Repeated(_) => "repeated",
                Outcome::Decided(_) | Outcome::Parked if waited => "parked",
                Outcome::Decided(_) | Outcome::Parked => self.verdict(&message.command.key),
            });
        let verdicts: Vec<_> = verdicts.collect();
        agree("verdicts", &verdicts, &done.verdicts)?;
        if !recorded && done.retries > 0 {
            return Err(format!("a batch without a repeat took {} detours", done.retries));
        }
        self.agree_on_events(&told, &done.events)?;
        self.compare().await
    }

    /// Once the transaction is over.
    fn verdict(&self, key: &Key) -> &'static str {
        if self.model.is_decided(key) { "decided" } else { "parked" }
    }

    /// Which of the two lanes comes first, in what, is theirs to say: the model is led along what they recorded.
    async fn race(&mut self, worker: &str, first: &[Sent], second: &[Sent]) -> Result<(), Disagreement> {
        let [first, second] =
            [first, second].map(|sent| sent.iter().map(|sent| self.message(sent, false)).collect::<Vec<_>>());
        let done = worker!(self.bench, worker, |worker| worker.race([&first, &second]).await)?;

        self.model.begin(now(), []);
        for record in self.recorded([done[0].batch, done[1].batch]).await {
            let own =
                if done[0].batch == Some(record.batch_id) { [&first, &second] } else { [&second, &first] };
            let arrived = own.into_iter().flatten().find(|message| {
                message.command.id == record.id
                    && worker!(self.bench, worker, |worker| worker.is_same(message, &record.content))
            });
            let waited = self.model.waiting_by_id(&record.id);
            let command = waited.or_else(|| arrived.map(|message| message.command.clone()));
            let command = command.ok_or_else(|| format!("{record:?} is recorded, whatever it is"))?;
            let Some(outcome) = &record.outcome else {
                self.model.park(&command, awaited_by(&command, &record), record.parked_at);
                continue;
            };
            let late = self.model.is_late(&command.key);
            let told = self.model.decide(&command, late);
            let told = told.map_err(|awaited| format!("{command:?} is decided; it waits for {awaited:?}"))?;
            let real = outcome
                .lines()
                .map(|line| Told::read(&record.merchant, &serde_json::from_str(line).unwrap()));
            agree("events", &told, &real.collect())?;
        }
        for (messages, done) in [(&first, &done[0]), (&second, &done[1])] {
            self.counts.retries += done.retries;
            for event in &done.events {
                self.remember(event)?;
            }
            let conflicts: Vec<_> =
                messages.iter().map(|message| self.model.conflicts(&message.command)).collect();
            let dead = done.verdicts.iter().map(|verdict| *verdict == "dead").collect();
            agree("conflicts", &conflicts, &dead)?;
        }
        self.compare().await
    }

    async fn look(&mut self, worker: &str) -> Result<(), Disagreement> {
        let found = worker!(self.bench, worker, |worker| worker.look(&self.merchants).await);
        agree("what is due", &self.model.due(worker), &found)
    }

    async fn scan(&mut self, worker: &str) -> Result<(), Disagreement> {
        if worker!(self.bench, worker, |worker| worker.found.is_empty()) {
            self.look(worker).await?;
        }
        if worker!(self.bench, worker, |worker| worker.found.is_empty()) {
            return Ok(());
        }
        let (keys, done) = worker!(self.bench, worker, |worker| worker.scan().await)?;
        self.model.begin(now(), keys.iter().cloned());
        // Those that are not parked any more are nobody's.
        let keys: Vec<_> = keys.into_iter().filter(|key| self.model.waits(key)).collect();
        let told = self.model.retry(&keys);
        let verdicts: Vec<_> = keys.iter().map(|key| self.verdict(key)).collect();
        agree("verdicts", &verdicts, &done.verdicts)?;
        self.agree_on_events(&told, &done.events)?;
        self.compare().await
    }

    async fn mature(&mut self) -> Result<(), Disagreement> {
        let Bench { commissions: Worker { lanes, rules, .. }, .. } = &mut *self.bench;
        let mut found = lanes[1].commissions_due(0, 100_000).await.unwrap();
        found.retain(|item| self.merchants.contains(&item.received.key.merchant.to_string()));
        let keys = found.iter().filter_map(|item| match &item.received.command {
            CommissionCommand::Mature(mature) => Some(key(&mature.commission.within(&mature.merchant))),
            _ => None,
        });
        let keys: Vec<_> = keys.collect();
        let mut ids: Vec<_> = keys.iter().map(id_of).collect();
        ids.sort_unstable();
        self.model.begin(now(), []);
        agree("what is ripe", &self.model.ripe(), &ids)?;
        if found.is_empty() {
            return Ok(());
        }
        let done = carry_out(&mut lanes[1], rules, &found, 0).await?;
        // Another scan had found the same, and comes too late.
        let again = carry_out(&mut lanes[1], rules, &found, 0).await?;
        let told: Vec<_> = keys.iter().flat_map(|key| self.model.mature(key)).collect();
        self.agree_on_events(&told, &done.events)?;
        self.agree_on_events(&Vec::new(), &again.events)?;
        self.compare().await
    }

    // ---- what is compared ------------------------------------------------------------------------------------------

    fn agree_on_events(&mut self, told: &Vec<Told>, events: &[Event]) -> Result<(), Disagreement> {
        let mut real = Vec::new();
        for event in events {
            real.push(self.remember(event)?);
        }
        agree("events", told, &real)
    }

    /// Whatever is told again is told in the same words.
    fn remember(&mut self, event: &Event) -> Result<Told, Disagreement> {
        let merchant = event.routing_key.split('.').next().unwrap();
        let told = Told::read(merchant, &serde_json::from_str(&event.body).unwrap());
        if let Some(first) = self.events.get(&event.id) {
            agree("the event's bytes", first, &event.body)?;
        } else {
            self.events.insert(event.id.clone(), event.body.clone());
            *self.counts.told.entry(told.kind()).or_default() += 1;
        }
        Ok(told)
    }

    /// All the tables.
    async fn compare(&mut self) -> Result<(), Disagreement> {
        let database = &mut self.bench.superuser;
        for (account, number) in numbers(database, Some(&self.merchants)).await.unwrap() {
            self.model.number(account, number);
        }
        let real = Tables::read(database, Whose::Of(&self.merchants, &self.model.ids())).await.unwrap();
        let differences = Tables::of(&self.model).differences(&real, 10);
        if differences.is_empty() { Ok(()) } else { Err(differences.join("\n")) }
    }

    /// What these transactions decided and parked, in their order.
    async fn recorded(&mut self, batches: [Option<i64>; 2]) -> Vec<Record> {
        let records = "SELECT i.batch_id, encode(key, 'hex') AS id, i.merchant, i.content, i.outcome,
                              w.awaited_merchant, w.awaited_customer,
                              coalesce(extract(epoch FROM w.parked_at) * 1000000, 0)::bigint AS parked_at
                       FROM inbox i LEFT JOIN waiting w USING (key)
                       WHERE i.batch_id = ANY($1) ORDER BY i.batch_id, i.position";
        sqlx::query_as(records).bind(&batches[..]).fetch_all(&mut self.bench.superuser).await.unwrap()
    }

    // ---- messages --------------------------------------------------------------------------------------------------

    /// `foresees`: it may name by Saldo's id what does not exist yet. That nobody can know; and while two lanes are at
    /// work, which of the two came first would be nowhere recorded.
    fn message(&self, sent: &Sent, foresees: bool) -> Message {
        let mut message = sent.message.clone();
        resolve(&mut message["data"], &self.merchants, &|key, after| match after {
            None if foresees || self.model.is_decided(key) => json!(id_of(key)),
            None => json!("0".repeat(32)),
            Some(after) => json!(self.model.entry_id(key, after).as_deref().unwrap_or("999999999-1")),
        });
        let key = (
            message["data"]["merchant"].as_str().unwrap().to_owned(),
            message["source"].as_str().unwrap().to_owned(),
            message["id"].as_str().unwrap().to_owned(),
        );
        let command = Command::read(&message, sent.user, &id_of(&key));
        Message { command, body: message.to_string().into_bytes().into(), user: sent.user }
    }
}

fn every(one_in: u32) -> impl FnMut() -> bool {
    let mut count = 0;
    move || {
        count += 1;
        count % one_in == 0
    }
}

fn bytes(ids: &[String]) -> Vec<Vec<u8>> {
    let byte = |id: &str, at: usize| u8::from_str_radix(&id[at..at + 2], 16).unwrap();
    ids.iter().map(|id| (0..id.len()).step_by(2).map(|at| byte(id, at)).collect()).collect()
}

fn awaited_by(command: &Command, record: &Record) -> Awaited {
    match (&record.awaited_merchant, &record.awaited_customer) {
        (Some(merchant), Some(customer)) => Awaited::Customer(merchant.clone(), customer.clone()),
        (Some(merchant), None) => Awaited::Merchant(merchant.clone()),
        (None, _) => Awaited::Command(command.names().unwrap()),
    }
}
