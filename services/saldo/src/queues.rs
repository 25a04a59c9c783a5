//! `saldo queues`: what waits, in the broker and in the ledger.
//!
//! Operators look here when something is broken. So either side is shown without the other, and what could not be read
//! is said beside it.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::time::Duration;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use ledger::read::{self, Backlog};
use ledger::store::Settings as Database;
use serde::Serialize;
use sqlx::PgConnection;
use tokio::time::MissedTickBehavior;
use worker::management::{Management, ManagementError, QueueState, Waited};
use worker::topology;

use crate::output::{self, Output};
use crate::settings::Settings;
use crate::{Done, Status, ledger_access, number, report};

/// A batch whose events were not published for so long is not the one that is going on.
const OVERDUE: Duration = Duration::from_mins(1);

/// Questions to the broker under way at once: a shop may have hundreds of subscribers.
const AT_ONCE: usize = 4;

/// Show what waits: every queue, and what the ledger has not finished
///
/// One row for each worker, with its queue, its dead letters, its parked commands, and its committed batches whose events
/// may not have been published; then one for every other queue of the virtual host. Figures of queues are statistics of
/// the broker and up to 10 s old. How long a queue's first message has waited is known to 5 s for ten minutes, to a minute
/// for an hour, and not beyond that. Exit status 1 if something could not be read or a worker's queue is missing.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  saldo queues --watch
  saldo queues --json | jq 'select(.dead > 0)'")]
pub(crate) struct Arguments {
    /// Look again every so many seconds, until interrupted
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "2",
          value_parser = number::within(1..=3600))]
    watch: Option<u64>,
    /// Print one JSON object a line
    #[arg(long)]
    json: bool,
}

/// A queue, or a worker. The order of the fields is the order of the JSON. What is `None` does not exist or could not
/// be read.
#[derive(Debug, Default, PartialEq, Serialize)]
struct Row {
    queue: String,
    worker: Option<String>,
    ready: Option<u64>,
    unacked: Option<u64>,
    consumers: Option<u64>,
    arriving_per_second: Option<f64>,
    leaving_per_second: Option<f64>,
    /// `None` also where there is nothing, or its age is not known.
    oldest_seconds: Option<u64>,
    dead: Option<u64>,
    /// Dead letters of the broker's that are not in the other queue yet.
    handing_on: Option<u64>,
    parked: Option<i64>,
    parked_seconds: Option<u64>,
    unpublished: Option<i64>,
    unpublished_seconds: Option<u64>,
    /// What somebody should look at.
    attention: Vec<&'static str>,
}

pub(crate) async fn run(arguments: Arguments, config: Option<&Path>, output: &mut Output) -> Done {
    let Arguments { watch, json } = arguments;
    let mut settings = Settings::read(config);
    let (management, broker) = (settings.management(), settings.broker());
    let database = settings.database(ledger_access::STATEMENT_TIMEOUT);
    settings.finish()?;
    let mut sides = Sides { management: Management::new(&management, &broker)?, database, connection: None };
    let Some(seconds) = watch else { return sides.look_and_show(json, output).await };
    let mut looks = tokio::time::interval(Duration::from_secs(seconds));
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        looks.tick().await;
        if !json {
            output.clear()?;
        }
        sides.look_and_show(json, output).await?;
        output.flush()?;
    }
}

/// Where one looks.
struct Sides {
    management: Management,
    database: Option<Database>,
    connection: Option<PgConnection>,
}

impl Sides {
    async fn look_and_show(&mut self, json: bool, output: &mut Output) -> Done {
        let (rows, problems) = self.look().await;
        show(&rows, json, output)?;
        for problem in &problems {
            output.message(problem);
        }
        Ok(if problems.is_empty() { Status::Good } else { Status::Bad })
    }

    /// Everything that can be read, and what is wrong.
    async fn look(&mut self) -> (Vec<Row>, Vec<String>) {
        let mut problems = Vec::new();
        let queues = self.queues().await.map_err(|error| problems.push(output::chain(&error))).ok();
        let backlogs = self.backlogs().await.map_err(|error| problems.push(output::chain(&*error))).ok();
        if let Some(queues) = &queues {
            let missing = topology::workers()
                .flat_map(|worker| [topology::queue(worker), topology::dead_queue(worker)]);
            for queue in missing.filter(|name| !queues.contains_key(name)) {
                problems.push(format!("the broker has no queue {queue}; run `saldo topology apply`"));
            }
        }
        (rows(queues, backlogs.as_deref()), problems)
    }

    async fn queues(&self) -> Result<Queues, ManagementError> {
        let queues = self.management.queues().await?;
        let looks = queues.into_iter().map(async |queue| {
            let waited = match queue.ready + queue.unacked {
                0 => Waited::Empty,
                _ => self.management.waited(&queue.name).await?,
            };
            Ok((queue.name.clone(), (queue, waited)))
        });
        stream::iter(looks).buffered(AT_ONCE).try_collect().await
    }

    async fn backlogs(&mut self) -> Result<Vec<Backlog>, Box<dyn std::error::Error + Send + Sync>> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => ledger_access::connect(self.database.clone()).await?,
        };
        let backlogs = read::backlogs(&mut connection).await?;
        self.connection = Some(connection);
        Ok(backlogs)
    }
}

type Queues = BTreeMap<String, (QueueState, Waited)>;

/// A row for each worker, then one for every other queue.
fn rows(queues: Option<Queues>, backlogs: Option<&[Backlog]>) -> Vec<Row> {
    let mut queues = queues.unwrap_or_default();
    let mut rows: Vec<Row> = topology::workers()
        .map(|worker| {
            let found = queues.remove(&topology::queue(worker));
            let has_leader = found.as_ref().map(|(queue, _)| queue.has_leader);
            let mut row = match found {
                Some((queue, waited)) => Row::of(queue, waited),
                None => Row { queue: topology::queue(worker), ..Row::default() },
            };
            row.worker = Some(worker.to_owned());
            if has_leader == Some(false) {
                row.attention.push("no leader");
            }
            if row.handing_on > Some(0) {
                row.attention.push("dead letters under way");
            }
            if row.consumers == Some(0) {
                row.attention.push("no consumer");
            }
            row.dead =
                queues.remove(&topology::dead_queue(worker)).map(|(dead, _)| dead.ready + dead.unacked);
            if row.dead > Some(0) {
                row.attention.push("dead letters");
            }
            if let Some(backlogs) = backlogs {
                row.add(backlogs.iter().find(|backlog| backlog.worker == worker));
            }
            row
        })
        .collect();
    rows.extend(queues.into_values().map(|(queue, waited)| {
        let mut row = Row::of(queue, waited);
        if row.queue == topology::UNROUTABLE && row.ready > Some(0) {
            row.attention.push("strays");
        }
        row
    }));
    rows
}

impl Row {
    fn of(queue: QueueState, waited: Waited) -> Self {
        let oldest = match waited {
            Waited::AtLeast(age) => Some(age.as_secs()),
            Waited::Empty | Waited::Unknown => None,
        };
        Self {
            queue: queue.name,
            ready: Some(queue.ready),
            unacked: Some(queue.unacked),
            consumers: Some(queue.consumers),
            arriving_per_second: Some(queue.arriving),
            leaving_per_second: Some(queue.leaving),
            oldest_seconds: oldest,
            handing_on: Some(queue.handing_on),
            ..Self::default()
        }
    }

    /// What the ledger has not finished; `None` is nothing.
    fn add(&mut self, backlog: Option<&Backlog>) {
        self.parked = Some(backlog.map_or(0, |backlog| backlog.parked));
        self.parked_seconds = backlog.and_then(|backlog| backlog.parked_for).map(|age| age.as_secs());
        self.unpublished = Some(backlog.map_or(0, |backlog| backlog.unpublished));
        let unpublished = backlog.and_then(|backlog| backlog.unpublished_for);
        self.unpublished_seconds = unpublished.map(|age| age.as_secs());
        if unpublished > Some(OVERDUE) {
            self.attention.push("events not published");
        }
    }
}

fn show(rows: &[Row], json: bool, output: &mut Output) -> io::Result<()> {
    if json {
        return rows.iter().try_for_each(|row| output.json(row));
    }
    let rate = |rate: Option<f64>| report::optional(rate.map(|rate| format!("{rate:.1}")));
    let age = |seconds: Option<u64>| {
        report::optional(seconds.map(|seconds| humantime::format_duration(Duration::from_secs(seconds))))
    };
    let since = |count: Option<i64>, seconds: Option<u64>| match (count, seconds) {
        (Some(count), Some(seconds)) if count > 0 => format!("{count} ({})", age(Some(seconds))),
        (count, _) => report::optional(count),
    };
    let cells = rows.iter().map(|row| {
        [
            row.queue.clone(),
            report::optional(row.ready),
            report::optional(row.unacked),
            report::optional(row.consumers),
            rate(row.arriving_per_second),
            rate(row.leaving_per_second),
            age(row.oldest_seconds),
            report::optional(row.dead),
            since(row.parked, row.parked_seconds),
            since(row.unpublished, row.unpublished_seconds),
            row.attention.join(", "),
        ]
    });
    let header = [
        "queue",
        "ready",
        "in flight",
        "consumers",
        "in/s",
        "out/s",
        "oldest",
        "dead",
        "parked",
        "unpublished",
        "look at",
    ];
    report::table(header, &[1, 2, 3, 4, 5, 6, 7, 8, 9], cells, output)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(name: String, ready: u64, consumers: u64) -> (String, (QueueState, Waited)) {
        let state =
            QueueState { name: name.clone(), has_leader: true, ready, consumers, ..QueueState::default() };
        (name, (state, Waited::Empty))
    }

    fn all(dead: u64, consumers: u64) -> Queues {
        let of = |worker| {
            [queue(topology::queue(worker), 0, consumers), queue(topology::dead_queue(worker), dead, 0)]
        };
        topology::workers().flat_map(of).collect()
    }

    #[test]
    fn a_worker_is_one_row_and_every_other_queue_another() {
        let mut queues = all(0, 2);
        queues.extend([queue("crm".to_owned(), 7, 0), queue(topology::UNROUTABLE.to_owned(), 0, 0)]);
        let rows = rows(Some(queues), Some(&[]));
        let names: Vec<&str> = rows.iter().map(|row| row.queue.as_str()).collect();
        let workers: Vec<String> = topology::workers().map(topology::queue).collect();
        assert_eq!(names[..workers.len()], workers);
        assert_eq!(names[workers.len()..], ["crm", topology::UNROUTABLE]);
        assert!(rows.iter().all(|row| row.attention.is_empty()), "{rows:?}");
        assert!(
            rows[..workers.len()].iter().all(|row| row.parked == Some(0) && row.dead == Some(0)),
            "{rows:?}"
        );
    }

    #[test]
    fn what_needs_somebody_is_named() {
        let worker = topology::workers().next().unwrap();
        let backlog = Backlog {
            worker: worker.to_owned(),
            parked: 1,
            parked_for: Some(Duration::from_secs(5)),
            unpublished: 2,
            unpublished_for: Some(OVERDUE + Duration::from_secs(1)),
        };
        let rows = rows(Some(all(3, 0)), Some(&[backlog]));
        assert_eq!(rows[0].attention, ["no consumer", "dead letters", "events not published"]);
        assert_eq!((rows[0].parked, rows[0].unpublished_seconds), (Some(1), Some(61)));
        assert_eq!(rows[1].attention, ["no consumer", "dead letters"]);
        let mut queues = all(0, 1);
        let (commissions, _) = queues.get_mut(&topology::queue(worker)).unwrap();
        (commissions.has_leader, commissions.handing_on) = (false, 2);
        let rows = self::rows(Some(queues), Some(&[]));
        assert_eq!(rows[0].attention, ["no leader", "dead letters under way"]);
        assert!(rows[1].attention.is_empty(), "{rows:?}");
    }

    #[test]
    fn either_side_is_shown_without_the_other() {
        let without_ledger = rows(Some(all(0, 1)), None);
        assert_eq!((without_ledger[0].ready, without_ledger[0].parked), (Some(0), None));
        let without_broker = rows(None, Some(&[]));
        assert_eq!((without_broker[0].ready, without_broker[0].parked), (None, Some(0)));
    }
}
