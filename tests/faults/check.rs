//! What must hold after a run of what was sent, what was heard, and what the inbox has of both.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use contract::ContentHash;
use futures_util::TryStreamExt as _;
use serde_json::Value;
use sqlx::PgConnection;

use crate::inbox::{Commanded, Row, rows};
use crate::journal::{Kind, Line, message_id};
use crate::listen::DeadLetter;
use crate::problems::Problems;

/// The reason of a dead letter whose key was used before with other content.
const CONFLICT: &str = "idempotency-conflict";

/// What the run came to.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    /// For people.
    pub(crate) problems: Vec<String>,
    /// Different commands that were recorded.
    pub(crate) commands: usize,
    /// Copies of a command that were published and had no effect of their own.
    pub(crate) duplicates: usize,
    /// Commands under a key that was used with other content.
    pub(crate) conflicts: usize,
    /// Malformed messages.
    pub(crate) malformed: usize,
    /// Messages that no queue takes.
    pub(crate) unroutable: usize,
    /// Different events.
    pub(crate) events: usize,
    /// Commands that only a dead letter of the broker's tells of.
    pub(crate) given_up: usize,
    /// Dead letters of the broker's besides, of commands that were recorded.
    pub(crate) given_up_copies: usize,
}

/// What was heard.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ears<'h> {
    /// The bytes of each event, by id.
    pub(crate) events: &'h BTreeMap<String, Arc<str>>,
    pub(crate) dead: &'h [DeadLetter],
    /// Message ids.
    pub(crate) unroutable: &'h [String],
}

/// Checks all of it.
///
/// # Errors
/// The database's.
pub(crate) async fn check(
    database: &mut PgConnection,
    commanded: &Commanded<'_>,
    lines: &[Line],
    ears: Ears<'_>,
) -> sqlx::Result<Findings> {
    let mut check = Check::new(commanded, lines, ears);
    {
        let mut rows = rows(database);
        while let Some(row) = rows.try_next().await? {
            check.row(&row);
        }
    }
    let unmarked: i64 = sqlx::query_scalar("SELECT count(*) FROM batch WHERE published_at IS NULL")
        .fetch_one(&mut *database)
        .await?;
    let mut findings = check.end();
    if unmarked > 0 {
        findings.problems.push(format!("{unmarked} batches are not marked as published"));
    }
    Ok(findings)
}

struct Check<'c> {
    commanded: &'c Commanded<'c>,
    lines: &'c [Line],
    ears: Ears<'c>,
    /// The lines whose content the inbox has.
    won: HashSet<usize>,
    /// The events that were heard and are stored.
    told: HashSet<String>,
    problems: Problems,
    findings: Findings,
}

impl<'c> Check<'c> {
    fn new(commanded: &'c Commanded<'c>, lines: &'c [Line], ears: Ears<'c>) -> Self {
        Self {
            commanded,
            lines,
            ears,
            won: HashSet::new(),
            told: HashSet::new(),
            problems: Problems::default(),
            findings: Findings::default(),
        }
    }

    fn problem(&mut self, what: &'static str, which: impl Into<String>) {
        self.problems.add(what, which);
    }

    /// A row of the inbox.
    fn row(&mut self, row: &Row) {
        let name = format!("{} {} {}", row.merchant, row.source, row.id);
        if !row.is_notifiers() && !row.is_maturity() {
            self.findings.commands += 1;
            let winners = self.commanded.winners(row);
            if winners.is_empty() {
                self.problem("recorded with a content that nobody sent", name.clone());
            }
            self.won.extend(winners);
        }
        if row.outcome.as_deref().is_none_or(str::is_empty) {
            self.problem("without an outcome", name.clone());
        }
        for event in row.events() {
            self.findings.events += 1;
            let id = serde_json::from_str::<Value>(event).ok();
            let id = id.as_ref().and_then(|event| event["id"].as_str()).unwrap_or_default().to_owned();
            match self.ears.events.get(&id) {
                None => self.problem("events that were never heard", format!("{id} of {name}")),
                Some(heard) if **heard != *event => {
                    self.problem("events that were heard with other bytes", format!("{id} of {name}"));
                }
                Some(_) => {}
            }
            if !self.told.insert(id.clone()) {
                self.problem("ids that several events have", id);
            }
        }
    }

    fn end(mut self) -> Findings {
        let strange: Vec<_> =
            self.ears.events.keys().filter(|id| !self.told.contains(*id)).cloned().collect();
        for id in strange {
            self.problem("events that were heard and are not stored", id);
        }
        self.lines();
        self.copies();
        self.findings.problems = self.problems.told();
        self.findings
    }

    /// Every line has its trace, and no dead letter is of anything else.
    fn lines(&mut self) {
        let dead = self.ears.dead;
        let mut letters: HashMap<&str, Vec<&DeadLetter>> = HashMap::new();
        for letter in dead {
            match &letter.message_id {
                Some(id) => letters.entry(id).or_default().push(letter),
                None => self.problem("dead letters without a message id", format!("{letter:?}")),
            }
        }
        let unroutable: HashSet<&str> = self.ears.unroutable.iter().map(String::as_str).collect();
        let mut own = HashSet::new();
        for (number, line) in self.lines.iter().enumerate() {
            let id = message_id(number);
            let of_line = letters.remove(&id[..]).unwrap_or_default();
            self.line(number, line, &of_line, unroutable.contains(&id[..]));
            own.insert(id);
        }
        for id in letters.keys().chain(&unroutable).filter(|id| !own.contains(**id)) {
            self.problem("dead or unroutable messages that nobody sent", *id);
        }
    }

    fn line(&mut self, number: usize, line: &Line, letters: &[&DeadLetter], is_unroutable: bool) {
        let name = || format!("{} {:?} {:?}", message_id(number), line.kind, line.key);
        if line.confirmed_at.is_none() {
            self.problem("not confirmed", name());
            return;
        }
        if is_unroutable != (line.kind == Kind::Unroutable) {
            self.problem(
                "in the queue of what is unroutable, or not there, and it should be the other way",
                name(),
            );
        }
        if letters.iter().any(|letter| Some(letter.worker) != line.worker) {
            self.problem("in another worker's dead queue", name());
        }
        let has_reason = |wanted: &str| letters.iter().any(|letter| letter.reason.as_deref() == Some(wanted));
        let by_broker = letters.iter().any(|letter| letter.reason.is_none());
        match line.kind {
            Kind::Unroutable => {
                self.findings.unroutable += 1;
                if !letters.is_empty() {
                    self.problem("unroutable, and a dead letter", name());
                }
            }
            Kind::Malformed(why) => {
                self.findings.malformed += 1;
                let is_read =
                    |letter: &&DeadLetter| letter.reason.as_deref().is_some_and(|why| why != CONFLICT);
                if !letters.iter().any(is_read) {
                    self.problem(
                        "malformed, and no dead letter that says so",
                        format!("{} ({why}) {letters:?}", name()),
                    );
                }
            }
            Kind::New | Kind::Copy | Kind::Conflict if self.won.contains(&number) => {
                self.findings.given_up_copies += usize::from(by_broker);
                if letters.iter().any(|letter| letter.reason.is_some()) {
                    self.problem("recorded, and a dead letter", format!("{} {letters:?}", name()));
                }
            }
            Kind::New | Kind::Copy | Kind::Conflict => {
                let other =
                    |letter: &&DeadLetter| letter.reason.as_deref().is_some_and(|why| why != CONFLICT);
                if letters.iter().any(other) {
                    self.problem("a dead letter for no good reason", format!("{} {letters:?}", name()));
                } else if has_reason(CONFLICT) {
                    self.findings.conflicts += 1;
                    self.has_rival(number, line);
                } else if by_broker {
                    self.findings.given_up += 1;
                } else {
                    self.problem("lost: neither recorded nor a dead letter", name());
                }
            }
        }
    }

    /// A conflict is one with a line that won.
    fn has_rival(&mut self, number: usize, line: &Line) {
        let rivals = line.key.as_ref().map_or(&[][..], |key| self.commanded.of_key(key));
        if !rivals.iter().any(|rival| self.won.contains(rival)) {
            self.problem("a conflict with nothing", format!("{} {:?}", message_id(number), line.key));
        }
    }

    /// Confirmed lines beyond the first of each key and content. What a publisher sent again besides is not counted: it may
    /// never have arrived.
    fn copies(&mut self) {
        let confirmed = |number: &&usize| self.lines[**number].confirmed_at.is_some();
        let mut duplicates = 0;
        for (_, numbers) in self.commanded.keys() {
            let numbers: Vec<_> = numbers.iter().filter(confirmed).collect();
            let contents: BTreeSet<Option<[u8; 32]>> = numbers
                .iter()
                .map(|number| self.commanded.content(**number).map(|ContentHash(hash)| hash))
                .collect();
            duplicates += numbers.len() - contents.len();
        }
        self.findings.duplicates = duplicates;
    }
}

/// `saldo verify`, as an operator runs it.
pub(crate) async fn verify(world: &tests::World) -> Result<(), String> {
    let ran = world.saldo(&["verify"]).await;
    if ran.status == 0 {
        Ok(())
    } else {
        Err(format!("saldo verify: {} {}{}", ran.status, ran.output, ran.messages))
    }
}

#[cfg(test)]
mod claims;
