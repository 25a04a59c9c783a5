//! Which letters: by name, or by what they say of themselves.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::builder::{PossibleValuesParser, TypedValueParser};
use contract::{MerchantId, schema};
use worker::dead::{Access, LONGEST, Letter, MOST_LETTERS, Origin, Walk};
use worker::management::Management;
use worker::topology;

use crate::lines::{self, Line};
use crate::output::{self, Output};
use crate::settings::{BROKER_TIMEOUT, Settings};
use crate::{Status, moment};

/// As many characters of a letter's name are shown in tables; names can be given so, and shorter.
pub(super) const SHORT: usize = 12;

/// Fewer characters of a name are a typing error.
const SHORTEST: usize = 4;

// The letters that fit all of what is given. One whose age, type or shop nobody knows fits none that asks for it. No
// documentation, which would stand in the help of every command.
#[derive(Debug, Clone, Default, clap::Args)]
pub(super) struct Filter {
    /// Only this worker's, or what no queue took; can be given several times
    #[arg(long = "worker", value_name = "NAME", value_parser = queue())]
    places: Vec<String>,
    /// Only with this reason; can be given several times
    #[arg(long = "reason", value_name = "REASON", value_parser = PossibleValuesParser::new(Letter::reasons()))]
    reasons: Vec<String>,
    /// Only commands of this type, such as commission.credit; can be given several times
    #[arg(long = "type", value_name = "TYPE", value_parser = name)]
    names: Vec<String>,
    /// Only commands of this shop
    #[arg(long, value_name = "ID")]
    merchant: Option<MerchantId>,
    /// Only what has been dead for longer than this, such as 2h or 7d
    #[arg(long, value_name = "DURATION", value_parser = moment::duration)]
    older_than: Option<Duration>,
    /// Only what has been dead for less than this
    #[arg(long, value_name = "DURATION", value_parser = moment::duration)]
    newer_than: Option<Duration>,
}

// What is to be dealt with: nothing without a word for it.
#[derive(Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("which").required(true).multiple(true)
    .args(["ids", "reasons", "names", "merchant", "older_than", "newer_than", "all"])))]
pub(super) struct Chosen {
    /// The letters' names, as listed, or how they begin
    #[arg(value_name = "LETTER", value_parser = letter)]
    ids: Vec<String>,
    #[command(flatten)]
    filter: Filter,
    /// All letters, or all of this worker
    #[arg(long, conflicts_with = "ids")]
    all: bool,
}

/// For clap, which offers them: a queue of dead letters, by its worker.
fn queue() -> impl TypedValueParser<Value = String> {
    let queue = |wanted: String| {
        let mut places = places();
        places.find(|(name, _)| *name == wanted).map_or(wanted, |(_, queue)| queue)
    };
    PossibleValuesParser::new(places().map(|(name, _)| name)).map(queue)
}

/// The queues, and what they are called for short.
fn places() -> impl Iterator<Item = (&'static str, String)> {
    let unroutable = (Letter::UNROUTABLE, topology::UNROUTABLE.to_owned());
    topology::workers().map(|worker| (worker, topology::dead_queue(worker))).chain([unroutable])
}

/// For clap: a type with or without its version.
#[expect(clippy::unnecessary_wraps, reason = "clap's form")]
fn name(text: &str) -> Result<String, String> {
    Ok(lines::without_version(text).to_owned())
}

/// For clap: the name of a letter, or how it begins.
pub(super) fn letter(text: &str) -> Result<String, String> {
    let name = text.to_ascii_lowercase();
    if (SHORTEST..=32).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Ok(name);
    }
    Err(format!("expected {SHORTEST} to 32 hexadecimal digits, as `saldo dead list` shows them"))
}

/// What a letter says of its command: as far as it can be read, and checked by nobody.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Subject {
    /// The type without its version.
    pub(super) name: Option<String>,
    pub(super) merchant: Option<String>,
    pub(super) source: Option<String>,
    pub(super) id: Option<String>,
}

impl Subject {
    pub(super) fn of(letter: &Letter) -> Self {
        if letter.dead.key_id.is_none() && letter.is_whole() {
            return Self::read(&letter.dead.body);
        }
        // A body that cannot be read had a routing key that the worker has noted.
        match letter.routing_key.as_deref().and_then(|key| key.split_once('.')) {
            Some((merchant, name)) if letter.origin == Origin::Worker => {
                Self { name: Some(name.to_owned()), merchant: Some(merchant.to_owned()), ..Self::default() }
            }
            _ => Self::default(),
        }
    }

    pub(super) fn read(body: &[u8]) -> Self {
        let Line { name, merchant, source, id, .. } = Line::new(1, body);
        Self { name, merchant, source, id }
    }
}

impl Filter {
    pub(super) fn fits(&self, letter: &Letter, subject: &Subject) -> bool {
        let among = |wanted: &[String], found: Option<&String>| {
            wanted.is_empty() || found.is_some_and(|found| wanted.contains(found))
        };
        among(&self.reasons, letter.dead.reason.as_ref())
            && among(&self.names, subject.name.as_ref())
            && self
                .merchant
                .as_ref()
                .is_none_or(|wanted| subject.merchant.as_deref() == Some(wanted.as_str()))
            && self.older_than.is_none_or(|limit| age(letter).is_some_and(|age| age > limit))
            && self.newer_than.is_none_or(|limit| age(letter).is_some_and(|age| age < limit))
    }

    /// What to say where no letter fits. A type that nobody knows may be a newer worker's, or a typing error.
    pub(super) fn nothing_fits(&self) -> String {
        let known: BTreeSet<_> =
            schema::all().iter().map(|message| lines::without_version(message.message_type)).collect();
        let unknown: Vec<_> = self.names.iter().filter(|name| !known.contains(name.as_str())).collect();
        let none = "there are no such letters";
        match unknown[..] {
            [] => none.to_owned(),
            [name, ..] => format!(
                "{none}; this release knows no type {name}, but {}",
                known.into_iter().collect::<Vec<_>>().join(", ")
            ),
        }
    }

    fn asks_for_age(&self) -> bool {
        self.older_than.is_some() || self.newer_than.is_some()
    }

    fn queues(&self) -> Vec<String> {
        let all = || places().map(|(_, queue)| queue).collect();
        if self.places.is_empty() { all() } else { self.places.clone() }
    }
}

/// For how long it has been dead; nothing if that is in the future, of another clock.
fn age(letter: &Letter) -> Option<Duration> {
    let since = Duration::from_micros(u64::try_from(letter.dead_at?.as_micros()).ok()?);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
    Some(now.saturating_sub(since))
}

/// How the queues are reached, as the settings say.
pub(super) fn access(settings: &mut Settings) -> Access {
    let (broker, management) = (settings.broker(), settings.optional_management());
    // What is wrong with a URL, `finish` says.
    let management = management.and_then(|url| Management::new(&url, &broker).ok());
    Access { broker, management, within: BROKER_TIMEOUT }
}

/// Letters that are held, and which of them were asked for.
pub(super) struct Look {
    pub(super) walks: Vec<Walk>,
    /// The walk, and the letter's place in it.
    pub(super) chosen: Vec<(usize, usize)>,
    /// Bad where a queue could not be read or a name stands for none or several.
    pub(super) status: Status,
}

impl Look {
    /// All letters that a filter fits.
    pub(super) async fn at(access: &Access, filter: &Filter, output: &mut Output) -> Self {
        let mut look = Self { walks: Vec::new(), chosen: Vec::new(), status: Status::Good };
        for queue in filter.queues() {
            match Walk::open(access, &queue).await {
                Ok(walk) => look.walks.push(walk),
                Err(error) => look.bad(format_args!("{queue}: {}", output::chain(&error)), output),
            }
        }
        for walk in look.walks.iter().filter(|walk| walk.is_partial()) {
            output.message(format_args!(
                "{} holds more letters than are looked at in one go (at most {MOST_LETTERS})",
                walk.queue()
            ));
        }
        if filter.asks_for_age() {
            let letters = look.walks.iter().flat_map(Walk::letters);
            let ageless = letters.filter(|letter| age(letter).is_none()).count();
            if ageless > 0 {
                output.message(format_args!(
                    "of {ageless} letters nobody says since when they are dead (strays, among others): they are left out"
                ));
            }
        }
        for (number, walk) in look.walks.iter().enumerate() {
            let fitting = walk.letters().iter().enumerate();
            let fitting = fitting.filter(|(_, letter)| filter.fits(letter, &Subject::of(letter)));
            look.chosen.extend(fitting.map(|(place, _)| (number, place)));
        }
        look
    }

    /// The letters that were chosen, by name or by a filter.
    pub(super) async fn chosen(access: &Access, chosen: &Chosen, output: &mut Output) -> Self {
        let mut look = Self::at(access, &chosen.filter, output).await;
        if !chosen.ids.is_empty() {
            look.name(&chosen.ids, output);
        } else if look.walks.iter().any(Walk::is_partial) {
            // It has been said of which queue; what lies further behind stays.
            look.status = Status::Bad;
        }
        if look.chosen.is_empty() && look.status == Status::Good {
            output.message(chosen.filter.nothing_fits());
        }
        look
    }

    /// Keeps those that are named so.
    pub(super) fn name(&mut self, ids: &[String], output: &mut Output) {
        let mut kept = Vec::new();
        for id in ids {
            let named: Vec<_> =
                self.chosen.iter().filter(|place| self.id(**place).starts_with(id)).copied().collect();
            match named[..] {
                [one] if kept.contains(&one) => {}
                [one] => kept.push(one),
                [] => self.bad(format_args!("there is no letter {id}"), output),
                _ => self.bad(
                    format_args!("{} letters begin with {id}; give more of the name", named.len()),
                    output,
                ),
            }
        }
        self.chosen = kept;
    }

    pub(super) fn bad(&mut self, problem: impl std::fmt::Display, output: &mut Output) {
        output.message(problem);
        self.status = Status::Bad;
    }

    pub(super) fn letter(&self, (walk, place): (usize, usize)) -> &Letter {
        &self.walks[walk].letters()[place]
    }

    fn id(&self, place: (usize, usize)) -> String {
        self.letter(place).id.to_string()
    }

    /// Whether letters have been held for as long as they may be; says so.
    pub(super) fn is_over(&mut self, output: &mut Output) -> bool {
        let over = self.walks.iter().any(Walk::is_over);
        if over {
            let limit = humantime::format_duration(LONGEST);
            self.bad(format_args!("letters are not held for longer than {limit}: run this again"), output);
        }
        over
    }

    /// Returns what is held.
    pub(super) async fn close(mut self, output: &mut Output) -> Status {
        for walk in std::mem::take(&mut self.walks) {
            let queue = walk.queue().to_owned();
            if let Err(error) = walk.close().await {
                let error = output::chain(&error);
                self.bad(
                    format_args!("{queue}: its letters may come back in another order: {error}"),
                    output,
                );
            }
        }
        self.status
    }
}
