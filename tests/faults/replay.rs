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
//! The inbox does not say which copy of a command it took. So all copies must come to the same, which they would not if
//! those of a put had different times: the load has none such, and one that had would be a problem.

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

use crate::inbox::{Commanded, Row, id_of, rows};
use crate::journal::Line;

/// After so many problems the rest would say nothing new.
const MOST_PROBLEMS: usize = 20;

/// A transaction bears the time at which its commit began; others see it a little later.
const COMMIT: i64 = 1_000_000;

/// How long a batch may wait for its accounts, at most, after it has looked for those that exist: `database.timeout`, and as
/// long as its worker may be frozen.
const LOCK_WAIT: i64 = 60_000_000;

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
) -> sqlx::Result<Replayed> {
    let mut replay = Replay::new(commanded, lines, patience, numbers(database, None).await?);
    {
        let mut rows = rows(database);
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
    model: Model,
    /// With the times of their commits.
    changes: Vec<(i64, Change)>,
    saw_older: usize,
    /// By account.
    versions: HashMap<i64, i64>,
    /// The model said something else: what follows would, too.
    is_lost: bool,
}

/// What a decision may not have seen.
#[derive(Debug)]
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
struct Due {
    committed_at: i64,
    events: Events,
    command: Command,
    late: bool,
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
        let events = Events::of(row)?;
        if row.is_maturity() {
            self.replayed.matured += 1;
            return shop.mature(row, events.clock, &events.told);
        }
        let (command, first_sent) = self.command(row)?;
        let late = events.clock > first_sent + self.patience;
        let is_done = !events.told[0].name.ends_with(".refused");
        shop.decide(&Due { committed_at: row.committed_at, events, command, late })?;
        self.replayed.decided += 1;
        self.replayed.done += usize::from(is_done);
        Ok(())
    }

    /// What a row was, and when it was sent first.
    fn command(&self, row: &Row) -> Result<(Command, i64), String> {
        let winners = self.commanded.winners(row);
        let sent = winners.iter().filter_map(|number| self.lines[*number].sent_at).min();
        let Some(sent) = sent else {
            return Err("the inbox has a content that nobody sent under this key".to_owned());
        };
        let command = |number: &usize| {
            let line = &self.lines[*number];
            let message: Value = serde_json::from_slice(&line.body).map_err(|error| error.to_string())?;
            Ok::<_, String>(Command::read(&message, line.user.as_deref(), &row.hash))
        };
        let first = command(&winners[0])?;
        for number in &winners[1..] {
            if !command(number)?.is_as_good_as(&first) {
                return Err(
                    "it has copies that do not come to the same, and nobody knows which it was".to_owned()
                );
            }
        }
        Ok((first, sent))
    }

    fn problem(&mut self, problem: String) {
        self.replayed.problems.push(problem);
    }

    /// The merchant has no more rows.
    fn close(&mut self) {
        let Some(shop) = self.shop.take() else { return };
        self.tables.add(Tables::of(&shop.model));
        self.replayed.saw_older += shop.saw_older;
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
        let (merchant, changes, versions) = (merchant.to_owned(), Vec::new(), HashMap::new());
        Self { merchant, model, changes, saw_older: 0, versions, is_lost: false }
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
        self.model.begin(clock, []);
        agree(&self.model.mature(cause), told)
    }

    /// With the newest view that leads to what is recorded.
    fn decide(&mut self, due: &Due) -> Result<(), String> {
        let views = self.views(due);
        let before = (!views.is_empty()).then(|| self.model.before(&due.command));
        let Err(problem) = self.decide_seeing(due, View::default()) else { return Ok(()) };
        for (view, before) in views.into_iter().zip(before.iter().cycle()) {
            self.model.restore(before.clone());
            if self.decide_seeing(due, view).is_ok() {
                self.saw_older += 1;
                return Ok(());
            }
        }
        Err(problem)
    }

    /// Decides; what is told must be what is recorded.
    fn decide_seeing(&mut self, due: &Due, view: View) -> Result<(), String> {
        let command = &due.command;
        let (merchant, customer) = (self.model.merchant_now(command), self.model.customer_now(command));
        let had_account = self.model.has_account(command);
        self.model.begin(due.events.clock, []);
        let told = self.model.decide_seeing(command, due.late, view);
        let told = told.map_err(|awaited| {
            format!("it is decided in time, and should wait for {awaited:?}\n store: {:?}", due.events.told)
        })?;
        agree(&told, &due.events.told)?;
        let (model, store) = (self.model.available_at(&command.key), due.events.available_at);
        if model != store {
            return Err(format!("it is available at another time\n model: {model:?}\n store: {store:?}"));
        }
        let at = due.committed_at;
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
    fn views(&self, due: &Due) -> Vec<View> {
        let command = &due.command;
        let (read, looked) = (due.events.clock - COMMIT, due.events.clock - COMMIT - LOCK_WAIT);
        let asks = command.name == "withdrawal.request";
        let is_unknown = due.events.told[0].kind().contains(" unknown-");
        let mut views = vec![View::default()];
        let mut also = |add: &dyn Fn(&mut View)| {
            let mut more = views.clone();
            more.iter_mut().for_each(add);
            views.extend(more);
        };
        let (mut merchants, mut customers) = (vec![None], vec![None]);
        for (at, change) in self.changes.iter().rev().take_while(|(at, _)| *at >= looked) {
            match change {
                Change::Merchant(then) if then.is_known() && *at >= read => {
                    merchants.push(Some(then.clone()));
                }
                // Accounts are made for merchants who were there while accounts were looked for.
                Change::Merchant(then) if !then.is_known() && is_unknown => {
                    merchants.push(Some(then.clone()));
                }
                Change::Customer(id, then)
                    if asks && *at >= read && command.customer_id() == Some(id.as_str()) =>
                {
                    customers.push(Some(then.clone()));
                }
                Change::Account(id, currency)
                    if asks
                        && command.customer_id() == Some(id.as_str())
                        && command.currency() == currency =>
                {
                    also(&|view| view.no_account = true);
                }
                Change::Decided(key, id)
                    if is_unknown
                        && *at >= read
                        && (command.names().as_ref() == Some(key)
                            || command.withdrawal_id() == Some(id.as_str())) =>
                {
                    also(&|view| view.nothing_named = true);
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

/// What a row tells, the one time that its events have, and when a commission becomes available, if it says so.
struct Events {
    told: Vec<Told>,
    clock: i64,
    available_at: Option<i64>,
}

impl Events {
    fn of(row: &Row) -> Result<Self, String> {
        if row.outcome.is_none() {
            return Err("it is still parked, although all patience is over".to_owned());
        }
        let events: Vec<Value> = row
            .events()
            .map(|event| {
                serde_json::from_str(event).map_err(|error| format!("an event is not JSON: {error}"))
            })
            .collect::<Result<_, _>>()?;
        let clocks: BTreeSet<_> = events.iter().map(|event| micros(&event["time"])).collect();
        let (1, Some(Some(clock))) = (clocks.len(), clocks.first()) else {
            return Err("its events do not have one time".to_owned());
        };
        Ok(Self {
            told: events.iter().map(|event| Told::read(&row.merchant, event)).collect(),
            clock: *clock,
            available_at: micros(&events[0]["data"]["available_at"]),
        })
    }
}

/// A time in microseconds since 1970.
fn micros(time: &Value) -> Option<i64> {
    let time = OffsetDateTime::parse(time.as_str()?, &Rfc3339).ok()?;
    i64::try_from(time.unix_timestamp_nanos() / 1000).ok()
}

#[cfg(test)]
mod claims;
