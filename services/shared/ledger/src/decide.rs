//! Decides a whole batch in memory: who is new, who is a repeat, who waits for whom.
//!
//! Pure. Commands are decided in the order of the batch; one that has to wait is decided right after what it
//! waits for, if that comes later in the same batch. The key of every command is checked against the inbox
//! and against the batch itself, so that a key is decided once, whatever its copies say.
//!
//! A batch can be decided part by part ([`Deciding`]): what is decided does not change any more, and its entries can be
//! written while the next part is decided.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use contract::{
    Commands, ContentHash, Event, KeyHash, Malformed, MalformedReason, Received, Refusal, Timestamp,
};

use crate::tally::{Fate, Tally};
use crate::{Awaited, Books, Decision, Rules};

/// A command of a batch.
#[derive(Debug, Clone)]
pub struct Item<C> {
    /// The command.
    pub received: Received<C>,
    /// The message as it was received, kept if the command has to wait.
    pub body: Arc<[u8]>,
    /// Where it comes from.
    pub origin: ItemOrigin,
}

/// Where a command comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ItemOrigin {
    /// A message.
    Delivered,
    /// It was parked; after the deadline it is refused if it would still have to wait.
    Parked {
        /// Since when.
        since: Timestamp,
        /// When its patience ends.
        deadline: Timestamp,
    },
    /// Caused by time.
    Due,
}

/// What the inbox had under a key, perhaps before the locks were taken. What it had not, or without an outcome, may have
/// changed since, or was not asked for: then the new row is refused, or what was parked has been taken by another scan.
#[derive(Debug, Clone)]
pub struct Stored {
    /// The content it was used with.
    pub content: ContentHash,
    /// Whether merchant, source and id are the same texts, not only their hash.
    pub same_key: bool,
    /// The events, one a line; `None` while the command is parked.
    pub outcome: Option<String>,
}

/// What became of an item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Decided now, or by a copy earlier in the batch.
    Decided,
    /// Decided before: its events are published again.
    Repeated,
    /// Has to wait; nothing to publish.
    Parked,
    /// Caused by time, and not or no longer due; nothing to publish.
    NotDue,
    /// Never to be applied.
    Dead(Malformed),
}

/// A row for the inbox.
#[derive(Debug, Clone)]
pub struct Record<C> {
    /// The command.
    pub item: Arc<Item<C>>,
    /// Whether the inbox has a row for it already, from when it was parked.
    pub was_parked: bool,
    /// The account as the command left it: number and version.
    pub account: Option<(i64, i64)>,
    /// The number of the entry it posted.
    pub entry: Option<i64>,
    /// What it caused, one event a line; `None`: parked.
    pub outcome: Option<Arc<str>>,
    /// What it waits for, if it is parked.
    pub awaits: Option<Awaited>,
}

/// Everything that follows from a batch, ready to be written.
#[derive(Debug)]
pub struct Plan<C> {
    /// One for each item, in their order.
    pub verdicts: Vec<Verdict>,
    /// Inbox rows in the order of decision.
    pub records: Vec<Record<C>>,
    /// What to publish once it is committed.
    pub events: Vec<Event>,
    /// Whether a merchant or customer became known: what is parked for it can be decided.
    pub arrivals: bool,
    /// What became of the commands, those included that had been parked.
    pub tally: Tally,
    /// The books after the batch.
    pub books: Books,
}

/// A batch that is being decided.
#[derive(Debug)]
pub struct Deciding<'s, R: Rules> {
    rules: &'s R,
    books: Books,
    stored: &'s HashMap<KeyHash, Stored>,
    records: Vec<Record<R::Command>>,
    events: Vec<Event>,
    waiting: HashMap<Awaited, Vec<Arc<Item<R::Command>>>>,
    arrivals: bool,
    tally: Tally,
    not_due: HashSet<KeyHash>,
    seen: HashMap<KeyHash, ContentHash>,
    verdicts: Vec<(KeyHash, Verdict)>,
}

/// Decides the items against the books: [`Deciding`], all at once.
#[expect(clippy::implicit_hasher, reason = "one kind of map is enough for one caller")]
pub fn decide<R: Rules>(
    rules: &R,
    books: Books,
    items: &[Arc<Item<R::Command>>],
    stored: &HashMap<KeyHash, Stored>,
    waiters: Vec<(Awaited, Arc<Item<R::Command>>)>,
) -> Plan<R::Command> {
    let mut deciding = Deciding::new(rules, books, stored, waiters);
    deciding.decide(items);
    deciding.end()
}

fn conflict() -> Malformed {
    Malformed::new(
        MalformedReason::IdempotencyConflict,
        "merchant, source and id were used before with other content; a new command needs a new id",
    )
}

impl<'s, R: Rules> Deciding<'s, R> {
    /// Nothing is decided yet. `stored` is what the inbox has for the items' keys, `waiters` what was parked for them.
    pub fn new(
        rules: &'s R,
        books: Books,
        stored: &'s HashMap<KeyHash, Stored>,
        waiters: Vec<(Awaited, Arc<Item<R::Command>>)>,
    ) -> Self {
        let mut waiting: HashMap<Awaited, Vec<_>> = HashMap::new();
        for (awaited, item) in waiters {
            waiting.entry(awaited).or_default().push(item);
        }
        Self {
            rules,
            books,
            stored,
            records: Vec::new(),
            events: Vec::new(),
            waiting,
            arrivals: false,
            tally: Tally::default(),
            not_due: HashSet::new(),
            seen: HashMap::new(),
            verdicts: Vec::new(),
        }
    }

    /// Decides the next items of the batch.
    pub fn decide(&mut self, items: &[Arc<Item<R::Command>>]) {
        for item in items {
            let verdict = self.verdict(item);
            self.verdicts.push((item.received.hash, verdict));
        }
    }

    /// The books after what is decided so far.
    pub fn books(&self) -> &Books {
        &self.books
    }

    /// What follows from all of it. What waits in vain until here is to be parked.
    pub fn end(mut self) -> Plan<R::Command> {
        let parked = self.park_the_rest();
        let verdicts = self.verdicts.into_iter().map(|(key, verdict)| match verdict {
            Verdict::Decided if parked.contains(&key) => Verdict::Parked,
            Verdict::Decided if self.not_due.contains(&key) => Verdict::NotDue,
            verdict => verdict,
        });
        let verdicts = verdicts.collect();
        Plan {
            verdicts,
            records: self.records,
            events: self.events,
            arrivals: self.arrivals,
            tally: self.tally,
            books: self.books,
        }
    }

    fn verdict(&mut self, item: &Arc<Item<R::Command>>) -> Verdict {
        let key = item.received.hash;
        let content = item.received.content;
        let delivered = matches!(item.origin, ItemOrigin::Delivered);
        match (self.stored.get(&key), self.seen.get(&key)) {
            // What was parked is this very command, also if another version of this program hashes it otherwise.
            (Some(stored), _)
                if !matches!(item.origin, ItemOrigin::Parked { .. })
                    && (!stored.same_key || !self.rules.is_same(&item.received, stored.content)) =>
            {
                Verdict::Dead(conflict())
            }
            (_, Some(first)) if *first != content => Verdict::Dead(conflict()),
            (Some(Stored { outcome: Some(outcome), .. }), _) => {
                // Nobody asked for what time caused, so nobody waits for it again: another scan was faster, and
                // its batch tells it.
                if item.origin != ItemOrigin::Due {
                    self.republish(&item.received, outcome);
                }
                self.count_repeat(item);
                Verdict::Repeated
            }
            (Some(Stored { outcome: None, .. }), _) if delivered => {
                self.count_repeat(item);
                Verdict::Parked
            }
            (_, Some(_)) => {
                self.count_repeat(item);
                Verdict::Decided
            }
            (_, None) => {
                self.seen.insert(key, content);
                self.decide_one(Arc::clone(item));
                Verdict::Decided
            }
        }
    }

    /// What a scan finds twice is nobody's repeat.
    fn count_repeat(&mut self, item: &Item<R::Command>) {
        if item.origin == ItemOrigin::Delivered {
            self.tally.add(item.received.command.message_type(), &Fate::Repeated);
        }
    }

    /// Decides an item, and then everything that waited for it.
    fn decide_one(&mut self, item: Arc<Item<R::Command>>) {
        let mut ready = vec![item];
        while let Some(item) = ready.pop() {
            let key = item.received.hash;
            let entries = self.books.changes().entries.len();
            match self.rules.decide(&item.received, &mut self.books) {
                Decision::Done { account, events } => {
                    let entry = self.books.changes().entries.get(entries).map(|entry| entry.id.number);
                    if let Some(event) = events.first() {
                        self.tally.told(item.received.command.message_type(), &event.name);
                    }
                    self.record(item, account, entry, events);
                }
                Decision::Refused(refusal) => self.refuse(item, &refusal),
                Decision::NotYet { awaited, otherwise } => match item.origin {
                    ItemOrigin::Parked { deadline, .. } if deadline <= self.books.now() => {
                        self.refuse(item, &otherwise);
                    }
                    _ => {
                        self.waiting.entry(awaited).or_default().push(item);
                        continue;
                    }
                },
                Decision::Nothing => {
                    self.not_due.insert(key);
                    continue;
                }
            }
            // The first to wait is the first to be decided.
            let arrived = self.books.arrived();
            self.arrivals |= !arrived.is_empty();
            for awaited in [Awaited::Command(key)].into_iter().chain(arrived) {
                let woken = self.waiting.remove(&awaited).unwrap_or_default();
                ready.extend(woken.into_iter().rev());
            }
        }
    }

    fn refuse(&mut self, item: Arc<Item<R::Command>>, refusal: &Refusal) {
        self.tally.add(item.received.command.message_type(), &Fate::Refused(refusal.code));
        let refused = self.rules.refused(&item.received, refusal, &self.books);
        self.record(item, refused.account, None, vec![refused.event]);
    }

    fn record(
        &mut self,
        item: Arc<Item<R::Command>>,
        account: Option<i64>,
        entry: Option<i64>,
        events: Vec<Event>,
    ) {
        self.books.note_decided(item.received.hash, item.received.command.message_type());
        let version = |id| self.books.account_by_id(id).map(|account| (id, account.version));
        let outcome = match events.as_slice() {
            [event] => Arc::clone(&event.body),
            events => events.iter().map(|event| &*event.body).collect::<Vec<_>>().join("\n").into(),
        };
        self.records.push(Record {
            was_parked: matches!(item.origin, ItemOrigin::Parked { .. }),
            account: account.and_then(version),
            entry,
            outcome: Some(outcome),
            awaits: None,
            item,
        });
        self.events.extend(events);
    }

    fn republish(&mut self, received: &Received<R::Command>, outcome: &str) {
        let merchant = received.command.merchant();
        self.events.extend(outcome.lines().filter_map(|line| Event::from_stored(merchant, line)));
    }

    /// Records what still waits; returns their keys.
    fn park_the_rest(&mut self) -> HashSet<KeyHash> {
        let mut keys = HashSet::new();
        for (awaited, items) in std::mem::take(&mut self.waiting) {
            for item in items {
                keys.insert(item.received.hash);
                let was_parked = matches!(item.origin, ItemOrigin::Parked { .. });
                if !was_parked {
                    self.tally.add(item.received.command.message_type(), &Fate::Parked);
                }
                self.records.push(Record {
                    was_parked,
                    account: None,
                    entry: None,
                    outcome: None,
                    awaits: Some(awaited.clone()),
                    item,
                });
            }
        }
        keys
    }
}
