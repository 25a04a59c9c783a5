//! What is published, in its order, written from a seed as it is asked for.
//!
//! Several stories are told at once, interleaved, each with two merchants that no other story has; now and then there is
//! a crowd, so that lanes and workers meet at the same six accounts. Among it is what life brings besides: copies, other
//! contents under keys that were used, what is malformed, what nobody takes.
//!
//! A seed says everything but what nobody can know before: when a message is published, and what its publisher has heard
//! by then. Saldo's ids are known from events only.

mod malformed;
mod reword;

use std::collections::VecDeque;

use contract::adjustment::AdjustmentCommand;
use contract::commission::CommissionCommand;
use contract::directory::DirectoryCommand;
use contract::withdrawal::WithdrawalCommand;
use contract::{Commands, ContentHash, Malformed, Received};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::{Value, json};
use tests::model::Key;
use tests::story::{self, MERCHANTS, Sent, Writer};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::journal::{Kind, Line};

/// Stories that are told at once.
const STORIES: usize = 8;
/// Every so many stories, one is a crowd.
const CROWDS: usize = 20;
/// A crowd's commands, and how much more often than other stories it has its turn.
const CROWD: usize = 2000;
const CROWD_TURNS: usize = 8;

/// Of a thousand messages.
const COPIES: u32 = 100;
const CONFLICTS: u32 = 20;
const MALFORMED: u32 = 30;
const UNROUTABLE: u32 = 3;

/// Messages that may be repeated: those just published, and some of all those before.
const RECENT: usize = 300;
const OLD: usize = 20_000;

/// Routing keys that no queue is bound with, after a merchant.
const NOWHERE: [&str; 4] = [".bonus.credit", ".commissions.credit", ".payout.put", ""];

/// All that is published.
#[derive(Debug)]
pub(crate) struct Load {
    rng: StdRng,
    /// Whom the broker vouches for.
    user: String,
    stories: Vec<Story>,
    begun: usize,
    /// What is malformed or unroutable has ids of its own.
    odd: usize,
    recent: VecDeque<Line>,
    old: Vec<Line>,
}

/// What the world is like when a message is published.
#[derive(Clone, Copy)]
pub(crate) struct Moment<'a> {
    /// In microseconds since 1970.
    pub(crate) now: i64,
    /// The first event of a command, if it was heard.
    pub(crate) known: &'a dyn Fn(&Key) -> Option<Value>,
}

#[derive(Debug)]
struct Story {
    writer: Writer,
    merchants: [String; 2],
    left: VecDeque<Sent>,
    turns: usize,
}

impl Story {
    fn new(number: usize, seed: u64) -> Self {
        let mut writer = Writer::new(seed);
        let is_crowd = number % CROWDS == STORIES / 2;
        let mut commands = Vec::new();
        for merchant in MERCHANTS {
            // Some shops are never introduced.
            if !writer.chance(10) {
                commands.extend(writer.setting_out(merchant));
            }
        }
        let count = if is_crowd { CROWD } else { writer.rng.random_range(40..=400) };
        commands.extend(writer.commands(count));
        writer.delay(&mut commands);
        let turns = if is_crowd { CROWD_TURNS } else { 1 };
        Self { writer, merchants: merchants(&format!("s{number}")), left: commands.into(), turns }
    }
}

/// The merchants of a story.
fn merchants(story: &str) -> [String; 2] {
    [format!("{story}-a"), format!("{story}-b")]
}

/// What a worker's reader says that a message's content is.
///
/// # Errors
/// Nothing: it is malformed.
pub(crate) fn content(worker: &str, body: &[u8]) -> Result<ContentHash, Malformed> {
    fn read<C: Commands>(body: &[u8]) -> Result<ContentHash, Malformed> {
        Received::<C>::read(body).map(|received| received.content)
    }
    match worker {
        "commissions" => read::<CommissionCommand>(body),
        "adjustments" => read::<AdjustmentCommand>(body),
        "withdrawals" => read::<WithdrawalCommand>(body),
        _ => read::<DirectoryCommand>(body),
    }
}

impl Line {
    /// The property `content_type`.
    pub(crate) fn content_type(&self) -> &'static str {
        match self.kind {
            Kind::Malformed(malformed::CONTENT_TYPE) => "application/json",
            _ => contract::CONTENT_TYPE,
        }
    }

    /// What makes it the same command again; `None`: it cannot be read.
    pub(crate) fn content(&self) -> Option<ContentHash> {
        content(self.worker?, &self.body).ok()
    }

    fn new(kind: Kind, routing_key: String, body: Vec<u8>) -> Self {
        let (key, worker, user) = (None, None, None);
        Self {
            kind,
            key,
            worker,
            routing_key,
            user,
            body: body.into(),
            sent_at: None,
            confirmed_at: None,
            attempts: 0,
        }
    }
}

impl Load {
    /// From this seed; `user` publishes what needs one.
    pub(crate) fn new(seed: u64, user: String) -> Self {
        let rng = StdRng::seed_from_u64(seed);
        let (recent, old) = (VecDeque::new(), Vec::new());
        let mut load = Self { rng, user, stories: Vec::new(), begun: 0, odd: 0, recent, old };
        for _ in 0..STORIES {
            let story = load.story();
            load.stories.push(story);
        }
        load
    }

    /// The next message.
    pub(crate) fn next(&mut self, moment: Moment<'_>) -> Line {
        const CONFLICT: u32 = COPIES + CONFLICTS;
        const SPOILT: u32 = CONFLICT + MALFORMED;
        const STRAY: u32 = SPOILT + UNROUTABLE;
        let line = match self.rng.random_range(0..1000) {
            0..COPIES => self.copy(),
            COPIES..CONFLICT => self.conflict(moment),
            CONFLICT..SPOILT => Some(self.malformed(moment)),
            SPOILT..STRAY => Some(self.unroutable()),
            _ => None,
        };
        let line = line.unwrap_or_else(|| self.told(moment));
        if matches!(line.kind, Kind::New | Kind::Conflict) {
            self.remember(line.clone());
        }
        line
    }

    fn story(&mut self) -> Story {
        self.begun += 1;
        Story::new(self.begun, self.rng.random())
    }

    /// A story goes on, or the next begins.
    fn told(&mut self, moment: Moment<'_>) -> Line {
        let turns: usize = self.stories.iter().map(|story| story.turns).sum();
        let mut turn = self.rng.random_range(0..turns);
        let place = self.stories.iter().position(|story| {
            let its = turn < story.turns;
            turn = turn.saturating_sub(story.turns);
            its
        });
        let place = place.unwrap_or_default();
        if self.stories[place].left.is_empty() {
            self.stories[place] = self.story();
        }
        let story = &mut self.stories[place];
        let (sent, merchants) = (story.left.pop_front().unwrap(), story.merchants.clone());
        self.command(Kind::New, sent.message, &merchants, moment)
    }

    /// A command as it is published now.
    fn command(
        &mut self,
        kind: Kind,
        mut message: Value,
        merchants: &[String; 2],
        moment: Moment<'_>,
    ) -> Line {
        let name = story::name(&message);
        let data = &mut message["data"];
        if name == "commission.credit" && self.rng.random_ratio(1, 6) {
            let soon = moment.now + self.rng.random_range(10..=40) * 1_000_000;
            data["available_at"] = json!(text(soon));
        }
        story::resolve(data, merchants, &|key, after| id(key, after, moment));
        let merchant = data["merchant"].as_str().unwrap().to_owned();
        if name == "preferences.put" {
            // Who is told must not depend on which of them came first.
            data["notify"] = json!([format!("staff@{merchant}.example")]);
        }
        let user = data.get("actor").map(|_| self.user.clone());
        let field = |field: &str| message[field].as_str().unwrap().to_owned();
        let key = Some((merchant.clone(), field("source"), field("id")));
        let worker = Some(story::worker(&message));
        let line = Line::new(kind, format!("{merchant}.{name}"), message.to_string().into());
        Line { key, worker, user, ..line }
    }

    /// Something again; half of it in other words.
    fn copy(&mut self) -> Option<Line> {
        let mut line = self.remembered()?;
        line.kind = Kind::Copy;
        if self.rng.random() {
            line.body = reword::reword(&line.body, &mut self.rng).into();
        }
        Some(line)
    }

    /// A key again, with another content.
    fn conflict(&mut self, moment: Moment<'_>) -> Option<Line> {
        let first = self.remembered().filter(|line| line.kind == Kind::New)?;
        let body: Value = serde_json::from_slice(&first.body).unwrap();
        let (merchant, source, id) = first.key?;
        let (story, side) = merchant.rsplit_once('-')?;
        let (merchants, stand_in) = (merchants(story), MERCHANTS[usize::from(side == "b")]);
        let place = self.rng.random_range(0..STORIES);
        let mut message =
            self.stories[place].writer.other(story::name(&body), stand_in, [&source, &id]).message;
        // So that two with the same content are the same altogether.
        message["time"] = body["time"].clone();
        let line = self.command(Kind::Conflict, message.clone(), &merchants, moment);
        let content = |worker: Option<&str>, body: &[u8]| content(worker?, body).ok();
        if content(line.worker, &line.body) != content(first.worker, &first.body) {
            return Some(line);
        }
        // An amount that no story has.
        message["type"] = json!("commission.credit.v1");
        message["data"] =
            json!({ "merchant": stand_in, "customer": "anna", "amount": "777.77", "currency": "EUR" });
        Some(self.command(Kind::Conflict, message, &merchants, moment))
    }

    /// A command that is spoilt.
    fn malformed(&mut self, moment: Moment<'_>) -> Line {
        let spoiling = malformed::ALL.choose(&mut self.rng).unwrap();
        let name = *spoiling.of.choose(&mut self.rng).unwrap();
        let (place, merchant) = (self.rng.random_range(0..STORIES), self.rng.random_range(0..2));
        self.odd += 1;
        let key = ["/shop", &format!("odd-{}", self.odd)];
        let story = &mut self.stories[place];
        let (sent, merchants) = (story.writer.aside(name, MERCHANTS[merchant], key), story.merchants.clone());
        spoiling.spoil(self.command(Kind::New, sent.message, &merchants, moment))
    }

    fn unroutable(&mut self) -> Line {
        let place = self.rng.random_range(0..STORIES);
        let merchant = self.stories[place].merchants[0].clone();
        let routing_key = format!("{merchant}{}", NOWHERE.choose(&mut self.rng).unwrap());
        self.odd += 1;
        let body = json!({ "specversion": "1.0", "source": "/shop", "id": format!("odd-{}", self.odd) });
        Line::new(Kind::Unroutable, routing_key, body.to_string().into())
    }

    fn remember(&mut self, line: Line) {
        self.recent.push_back(line);
        if self.recent.len() > RECENT {
            let line = self.recent.pop_front().unwrap();
            if self.old.len() < OLD {
                self.old.push(line);
            } else {
                self.old[self.rng.random_range(0..OLD)] = line;
            }
        }
    }

    /// Something that was published; half of the time it was just now.
    fn remembered(&mut self) -> Option<Line> {
        if self.rng.random() && !self.old.is_empty() {
            return self.old.choose(&mut self.rng).cloned();
        }
        let place = self.rng.random_range(0..self.recent.len().max(1));
        self.recent.get(place).cloned()
    }
}

/// How a command is named by whoever has heard its first event: by Saldo's id of the withdrawal, or of the entry, or of
/// an entry that must have been before it; and else by its source and id.
fn id((merchant, source, id): &Key, entry: Option<usize>, moment: Moment<'_>) -> Value {
    let reference = json!({ "source": source, "id": id });
    let Some(event) = (moment.known)(&(merchant.clone(), source.clone(), id.clone())) else {
        return reference;
    };
    let Some(before) = entry else {
        let withdrawal = &event["data"]["withdrawal"];
        return if withdrawal.is_string() { withdrawal.clone() } else { reference };
    };
    let posted = event["data"]["entry"]["id"].as_str().and_then(|id| id.split_once('-'));
    let Some((account, number)) = posted else { return reference };
    let number = number.parse::<usize>().map_or(1, |number| number.saturating_sub(before).max(1));
    json!(format!("{account}-{number}"))
}

/// A time in microseconds as messages write it.
fn text(micros: i64) -> String {
    let time = OffsetDateTime::from_unix_timestamp_nanos(i128::from(micros) * 1000).unwrap();
    time.format(&Rfc3339).unwrap()
}

#[cfg(test)]
mod test;
