//! The model, led along the order that the inbox recorded.
//!
//! Nothing of one merchant concerns another, so that each has a model of its own. Its rows come as they were committed,
//! which must be the order of each account's versions as well.
//!
//! A decision locks accounts and what it changes, and of those it saw the newest. The rest it read after the clock that
//! its events bear, or, whether there is an account, up to [`LOCK_WAIT`] before: what another transaction changed
//! between then and its commit it may not have seen. So where the newest does not lead to what is recorded, the model
//! decides once more with what was newest a moment before; that must be rare.
//!
//! The inbox does not say which copy of a put it took, if they have different times: then there are several models, as
//! long as all of them say what is recorded.

use std::collections::{BTreeSet, HashMap};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use futures_util::TryStreamExt as _;
use serde_json::Value;
use sqlx::PgConnection;
use tests::model::seen::{CustomerThen, MerchantThen, View};
use tests::model::tables::{Tables, Whose, numbers};
use tests::model::{AccountKey, Command, Key, Model, Told};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::inbox::{Commanded, Moment, Row, id_of, rows};
use crate::journal::Line;

/// After so many problems the rest would say nothing new.
const MOST_PROBLEMS: usize = 20;

/// A transaction bears the time at which its commit began; others see it a little later.
const COMMIT: i64 = 1_000_000;

/// How long a batch may wait for its accounts, at most, after it has looked for those that exist: `database.timeout`.
const LOCK_WAIT: i64 = 60_000_000;

/// How long a batch may be under way. What was superseded before that nobody saw any more.
const UNDER_WAY: i64 = 600_000_000;

/// So many models of one merchant at most.
const MOST_MODELS: usize = 64;

/// One row in so many may have seen something that was not the newest.
const RARE: usize = 20;

/// What came of it.
#[derive(Debug, Default)]
pub(crate) struct Replayed {
    /// For people.
    pub(crate) problems: Vec<String>,
    /// Rows that the model agreed to, without those of maturities.
    pub(crate) decided: usize,
    /// Of which were not refused.
    pub(crate) done: usize,
    /// Commissions that matured.
    pub(crate) matured: usize,
    /// Rows that saw something that was not the newest.
    pub(crate) saw_older: usize,
    /// The withdrawals, by Saldo's ids.
    pub(crate) withdrawals: BTreeSet<String>,
}

/// Replays everything, and compares where it leads with the tables.
///
/// # Errors
/// The database's.
pub(crate) async fn replay(
    database: &mut PgConnection,
    commanded: &Commanded<'_>,
    lines: &[Line],
    patience: Duration,
    moment: Moment,
) -> sqlx::Result<Replayed> {
    let mut replay = Replay::new(commanded, lines, patience, numbers(database, None).await?);
    {
        let mut rows = rows(database, moment);
        while let Some(row) = rows.try_next().await? {
            if replay.replayed.problems.len() >= MOST_PROBLEMS {
                break;
            }
            replay.row(&row);
        }
    }
    let (mut replayed, tables) = replay.end();
    if replayed.problems.is_empty() {
        let real = Tables::read(database, Whose::Everybody).await?;
        replayed.problems.extend(tables.differences(&real, 5));
    }
    Ok(replayed)
}

/// All that is known so far.
struct Replay<'j> {
    commanded: &'j Commanded<'j>,
    lines: &'j [Line],
    /// In microseconds.
    patience: i64,
    numbers: HashMap<String, Vec<(AccountKey, i64)>>,
    shop: Option<Shop>,
    /// Of the merchants before.
    tables: Tables,
    replayed: Replayed,
}

/// A merchant whose rows are coming.
struct Shop {
    merchant: String,
    worlds: Vec<World>,
    /// By account.
    versions: HashMap<i64, i64>,
    /// The model said something else: what follows would, too.
    is_lost: bool,
}

/// One way in which everything can have come about.
#[derive(Debug, Clone)]
struct World {
    model: Model,
    /// With the times of their commits.
    changes: Vec<(i64, Change)>,
    saw_older: usize,
}

/// What a decision may not have seen.
#[derive(Debug, Clone)]
enum Change {
    /// The merchant was like this before.
    Merchant(MerchantThen),
    /// The customer was like this before.
    Customer(String, CustomerThen),
    /// The customer had no account in this currency before.
    Account(String, Value),
    /// The command was not decided before.
    Decided(Key, String),
}

/// A row as the model has to decide it.
struct Due<'r> {
    row: &'r Row,
    /// The database's clock when it was decided.
    clock: i64,
    /// What it may have said, apart from what does not matter.
    commands: Vec<Command>,
    late: bool,
    told: Vec<Told>,
}

impl<'j> Replay<'j> {
    fn new(
        commanded: &'j Commanded<'j>,
        lines: &'j [Line],
        patience: Duration,
        accounts: Vec<(AccountKey, i64)>,
    ) -> Self {
        let mut numbers: HashMap<String, Vec<_>> = HashMap::new();
        for (account, number) in accounts {
            numbers.entry(account.0.clone()).or_default().push((account, number));
        }
        Self {
            commanded,
            lines,
            patience: i64::try_from(patience.as_micros()).unwrap(),
            numbers,
            shop: None,
            tables: Tables::default(),
            replayed: Replayed::default(),
        }
    }

    /// The next row: merchant by merchant, in the order of their commits.
    fn row(&mut self, row: &Row) {
        if row.is_notifiers() {
            return;
        }
        if self.shop.as_ref().is_none_or(|shop| shop.merchant != row.merchant) {
            self.close();
            let accounts = self.numbers.remove(&row.merchant).unwrap_or_default();
            self.shop = Some(Shop::new(&row.merchant, accounts));
        }
        let Some(mut shop) = self.shop.take() else { return };
        if !shop.is_lost {
            // Whatever a broken ledger has led the model to.
            let tried = catch_unwind(AssertUnwindSafe(|| self.decide(&mut shop, row)));
            if let Err(problem) =
                tried.unwrap_or_else(|_| Err("the model cannot make sense of it".to_owned()))
            {
                shop.is_lost = true;
                let Row { merchant, source, id, batch_id, position, .. } = row;
                self.problem(format!("{merchant} {source} {id} (batch {batch_id}, {position}): {problem}"));
            }
        }
        self.shop = Some(shop);
    }

    fn decide(&mut self, shop: &mut Shop, row: &Row) -> Result<(), String> {
        shop.has_order(row)?;
        let told = told(row)?;
        let clock = clock(row)?;
        if row.is_maturity() {
            self.replayed.matured += 1;
            return shop.mature(row, clock, &told);
        }
        let (commands, first_sent) = self.commands(row)?;
        let late = clock > first_sent + self.patience;
        let is_done = !told[0].name.ends_with(".refused");
        shop.decide(&Due { row, clock, commands, late, told })?;
        self.replayed.decided += 1;
        self.replayed.done += usize::from(is_done);
        Ok(())
    }

    /// What a row can have been, and when it was sent first.
    fn commands(&self, row: &Row) -> Result<(Vec<Command>, i64), String> {
        let winners = self.commanded.winners(row);
        let sent = winners.iter().filter_map(|number| self.lines[*number].sent_at).min();
        let Some(sent) = sent else {
            return Err("the inbox has a content that nobody sent under this key".to_owned());
        };
        let mut commands: Vec<Command> = Vec::new();
        for number in winners {
            let line = &self.lines[number];
            let message: Value = serde_json::from_slice(&line.body).map_err(|error| error.to_string())?;
            let command = Command::read(&message, line.user.as_deref(), &row.hash);
            if !commands.iter().any(|known| known.is_as_good_as(&command)) {
                commands.push(command);
            }
        }
        Ok((commands, sent))
    }

    fn problem(&mut self, problem: String) {
        self.replayed.problems.push(problem);
    }

    /// The merchant has no more rows.
    fn close(&mut self) {
        let Some(shop) = self.shop.take() else { return };
        if let Some(world) = shop.worlds.first() {
            self.tables.add(Tables::of(&world.model));
            self.replayed.saw_older += world.saw_older;
        }
    }

    fn end(mut self) -> (Replayed, Tables) {
        self.close();
        let Replayed { decided, saw_older, .. } = self.replayed;
        if saw_older > decided / RARE + RARE {
            self.problem(format!("{saw_older} of {decided} decisions saw what was not the newest"));
        }
        self.replayed.withdrawals = self.tables.rows("withdrawals").map(|(id, _)| id.clone()).collect();
        (self.replayed, self.tables)
    }
}

impl Shop {
    fn new(merchant: &str, accounts: Vec<(AccountKey, i64)>) -> Self {
        let mut model = Model::new(false);
        for (account, number) in accounts {
            model.number(account, number);
        }
        let world = World { model, changes: Vec::new(), saw_older: 0 };
        Self { merchant: merchant.to_owned(), worlds: vec![world], versions: HashMap::new(), is_lost: false }
    }

    /// Along the order of commits no account's version goes down.
    fn has_order(&mut self, row: &Row) -> Result<(), String> {
        let (Some(account), Some(version)) = (row.account_id, row.version) else { return Ok(()) };
        let before = self.versions.insert(account, version);
        match before.filter(|before| *before > version) {
            Some(before) => {
                Err(format!("version {version} of account {account} was committed after version {before}"))
            }
            None => Ok(()),
        }
    }

    fn mature(&mut self, row: &Row, clock: i64, told: &[Told]) -> Result<(), String> {
        let cause = &told[0].cause;
        if id_of(cause).as_ref() != Some(&row.id) {
            return Err(format!("it is the maturity of another commission than {cause:?}"));
        }
        for world in &mut self.worlds {
            world.model.begin(clock, []);
            agree(&world.model.mature(cause), told)?;
        }
        Ok(())
    }

    fn decide(&mut self, due: &Due<'_>) -> Result<(), String> {
        if let ([world], [command]) = (&mut self.worlds[..], &due.commands[..])
            && world.views(command, due).is_empty()
        {
            return world.decide(command, due, View::default());
        }
        let (mut worlds, mut problem) = (Vec::new(), None);
        for world in &self.worlds {
            for command in &due.commands {
                match world.decided(command, due) {
                    Ok(world) => worlds.push(world),
                    Err(unlike) => problem = problem.or(Some(unlike)),
                }
            }
        }
        if worlds.is_empty() {
            return Err(problem.unwrap_or_default());
        }
        worlds.truncate(MOST_MODELS);
        self.worlds = worlds;
        Ok(())
    }
}

impl World {
    /// With the newest view that leads to what is recorded.
    fn decided(&self, command: &Command, due: &Due<'_>) -> Result<Self, String> {
        let mut newest = self.clone();
        let Err(problem) = newest.decide(command, due, View::default()) else { return Ok(newest) };
        for view in self.views(command, due) {
            let mut world = self.clone();
            if world.decide(command, due, view).is_ok() {
                world.saw_older += 1;
                return Ok(world);
            }
        }
        Err(problem)
    }

    /// Decides; what is told must be what is recorded.
    fn decide(&mut self, command: &Command, due: &Due<'_>, view: View) -> Result<(), String> {
        let (merchant, customer) = (self.model.merchant_now(command), self.model.customer_now(command));
        let had_account = self.model.has_account(command);
        self.model.begin(due.clock, []);
        let told = self.model.decide_seeing(command, due.late, view);
        let told = told.map_err(|awaited| {
            format!("it is decided in time, and should wait for {awaited:?}\n store: {:?}", due.told)
        })?;
        agree(&told, &due.told)?;
        let at = due.row.committed_at;
        self.changes.retain(|(then, _)| *then >= at - UNDER_WAY);
        if merchant != self.model.merchant_now(command) {
            self.changes.push((at, Change::Merchant(merchant)));
        }
        if let (Some(id), Some(then)) = (command.customer_id(), customer)
            && self.model.customer_now(command).is_some_and(|now| now != then)
        {
            self.changes.push((at, Change::Customer(id.to_owned(), then)));
        }
        if !had_account && self.model.has_account(command) {
            let customer = command.customer_id().unwrap_or_default().to_owned();
            self.changes.push((at, Change::Account(customer, command.currency().clone())));
        }
        self.changes.push((at, Change::Decided(command.key.clone(), command.id.clone())));
        Ok(())
    }

    /// What a command may have seen besides the newest, if it can make a difference.
    fn views(&self, command: &Command, due: &Due<'_>) -> Vec<View> {
        let (read, looked) = (due.clock - COMMIT, due.clock - COMMIT - LOCK_WAIT);
        let asks = command.name == "withdrawal.request";
        let is_unknown = due.told[0].kind().contains(" unknown-");
        let mut views = vec![View::default()];
        let mut also = |add: &dyn Fn(&mut View)| {
            let mut more = views.clone();
            more.iter_mut().for_each(add);
            views.extend(more);
        };
        let (mut merchants, mut customers) = (vec![None], vec![None]);
        for (at, change) in self.changes.iter().rev() {
            match change {
                // Accounts are made of merchants who were seen while they were looked for.
                Change::Merchant(then) if *at >= if then.is_known() { read } else { looked } => {
                    merchants.push(Some(then.clone()));
                }
                Change::Customer(id, then)
                    if asks && *at >= read && command.customer_id() == Some(id.as_str()) =>
                {
                    customers.push(Some(then.clone()));
                }
                Change::Account(id, currency)
                    if asks
                        && *at >= looked
                        && command.customer_id() == Some(id.as_str())
                        && command.currency() == currency =>
                {
                    also(&|view| view.no_account = true);
                }
                Change::Decided(key, id) if is_unknown && *at >= read => {
                    if command.names().as_ref() == Some(key) || command.withdrawal_id() == Some(id.as_str()) {
                        also(&|view| view.nothing_named = true);
                    }
                }
                _ => {}
            }
        }
        // A put of preferences has the merchant locked.
        if command.name == "preferences.put" {
            merchants.truncate(1);
        }
        let both = merchants.iter().flat_map(|merchant| {
            customers.iter().flat_map(|customer| {
                views.iter().map(|view| View {
                    merchant: merchant.clone(),
                    customer: customer.clone(),
                    ..view.clone()
                })
            })
        });
        // The first is the newest.
        both.skip(1).collect()
    }
}

fn agree(model: &[Told], store: &[Told]) -> Result<(), String> {
    if model == store {
        Ok(())
    } else {
        Err(format!("it is decided otherwise\n model: {model:?}\n store: {store:?}"))
    }
}

/// What a row tells; at least one event.
fn told(row: &Row) -> Result<Vec<Told>, String> {
    let told = row.events().map(|event| {
        let event = serde_json::from_str(event).map_err(|error| format!("an event is not JSON: {error}"))?;
        Ok(Told::read(&row.merchant, &event))
    });
    let told: Vec<_> = told.collect::<Result<_, String>>()?;
    match row.outcome {
        None => Err("it is still parked, although all patience is over".to_owned()),
        Some(_) if told.is_empty() => Err("its outcome is empty".to_owned()),
        Some(_) => Ok(told),
    }
}

/// The one time of a row's events, in microseconds since 1970.
fn clock(row: &Row) -> Result<i64, String> {
    let time = |event: &str| -> Option<i64> {
        let event: Value = serde_json::from_str(event).ok()?;
        let time = OffsetDateTime::parse(event["time"].as_str()?, &Rfc3339).ok()?;
        i64::try_from(time.unix_timestamp_nanos() / 1000).ok()
    };
    let times: BTreeSet<_> = row.events().map(time).collect();
    match (times.len(), times.first()) {
        (1, Some(Some(time))) => Ok(*time),
        _ => Err("its events do not have one time".to_owned()),
    }
}

#[cfg(test)]
mod claims;
