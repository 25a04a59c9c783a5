//! Which line each event, dead letter and ledger row belongs to.
//!
//! Events and ledger rows name a command by its key. Dead letters carry the message id it was published with; those
//! of another run with the same commands hold its exact bytes, unless they are encrypted. Several lines can share a
//! key. With the same content they are one command and share its outcome. With different contents only one of
//! them is carried out and the others are dead-lettered; as an event does not say which content it is about, an
//! outcome seen live is certain only once all other contents are known to be dead, or the ledger has told.

use std::collections::{HashMap, HashSet};

use contract::{CommandKey, LengthPrefixed};
use ledger::read::Outcome;
use worker::watch::{Sighting, Told};

use crate::fate::Fate;
use crate::lines::Line;
use crate::run::Run;

type BodyHash = [u8; 32];

/// What is known of each line.
#[derive(Debug)]
pub(crate) struct Tracker {
    /// Whose messages they are.
    run: Option<Run>,
    lines: Vec<Tracked>,
    by_key: HashMap<CommandKey, Vec<usize>>,
    by_body: HashMap<BodyHash, Vec<usize>>,
}

#[derive(Debug)]
struct Tracked {
    /// Its number in the file; ascending.
    number: usize,
    key: Option<CommandKey>,
    /// Equal for lines of the same content.
    content: BodyHash,
    /// Whether it can be compared with what the ledger has of it.
    is_comparable: bool,
    fate: Option<Fate>,
    certainty: Certainty,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Certainty {
    /// Nothing is known, or only what became of the key.
    Open,
    /// The ledger has the key with other content: only a dead letter can still tell of this line.
    Rival,
    /// It waits; an event may still tell how it was decided.
    Waiting,
    /// Known for good.
    Known,
}

fn body_hash(body: &[u8]) -> BodyHash {
    LengthPrefixed::new().part(body).finish()
}

impl Tracker {
    /// Nothing is known yet of these lines, which this run has published.
    pub(crate) fn new(lines: &[Line], run: Option<Run>) -> Self {
        let mut tracker = Self {
            run,
            lines: Vec::with_capacity(lines.len()),
            by_key: HashMap::new(),
            by_body: HashMap::new(),
        };
        for (place, line) in lines.iter().enumerate() {
            let body = body_hash(&line.body);
            // What a worker cannot read has no key: nothing but a dead letter tells of it.
            let (key, content) = line.command().map_or((None, None), |(key, content)| (Some(key), content));
            tracker.by_body.entry(body).or_default().push(place);
            if let Some(key) = &key {
                tracker.by_key.entry(key.clone()).or_default().push(place);
            }
            let is_comparable = content.is_some();
            let content = content.map_or(body, |content| content.0);
            let number = line.number;
            tracker.lines.push(Tracked {
                number,
                key,
                content,
                is_comparable,
                fate: None,
                certainty: Certainty::Open,
            });
        }
        tracker
    }

    /// The line was not sent.
    pub(crate) fn not_sent(&mut self, place: usize, fate: Fate) {
        if let Some(line) = self.lines.get_mut(place) {
            line.learn(fate, Certainty::Known);
        }
    }

    /// Takes in what was seen; says whether anything is known better than before.
    pub(crate) fn see(&mut self, sighting: Sighting) -> bool {
        match sighting {
            Sighting::Event(told) => self.event(told),
            Sighting::DeadLetter(letter) => {
                let places = self.places(letter.message_id.as_deref(), &letter.body);
                self.learn(places, &Fate::of_dead_letter(letter))
            }
            Sighting::Unroutable { body, message_id } => {
                self.learn(self.places(message_id.as_deref(), &body), &Fate::unroutable())
            }
        }
    }

    fn event(&mut self, told: Told) -> bool {
        let (Ok(merchant), Ok(source), Ok(id)) =
            (told.merchant.parse(), told.source.parse(), told.id.parse())
        else {
            return false;
        };
        let key = CommandKey { merchant, source, id };
        let Some(places) = self.by_key.get(&key) else { return false };
        let Some(fate) = Fate::of_event(told) else { return false };
        let mut news = false;
        for place in places {
            let line = &mut self.lines[*place];
            news |= match line.certainty {
                Certainty::Open if line.fate.is_none() || !line.is_comparable => {
                    line.learn(fate.clone(), Certainty::Open)
                }
                // What was parked is what was decided now.
                Certainty::Waiting => line.learn(fate.clone(), Certainty::Known),
                Certainty::Open | Certainty::Rival | Certainty::Known => false,
            };
        }
        self.settle(&key);
        news
    }

    /// The line that was published with this message id; if it is not of this run, the lines with these bytes.
    fn places(&self, message_id: Option<&str>, body: &[u8]) -> Vec<usize> {
        let number = self.run.as_ref().zip(message_id).and_then(|(run, id)| run.line_of(id));
        match number.map(|number| self.lines.binary_search_by_key(&number, |line| line.number)) {
            Some(Ok(place)) => vec![place],
            Some(Err(_)) | None => self.by_body.get(&body_hash(body)).cloned().unwrap_or_default(),
        }
    }

    /// What is known of these lines for good.
    fn learn(&mut self, places: Vec<usize>, fate: &Fate) -> bool {
        let mut news = false;
        for place in places {
            let line = &mut self.lines[place];
            if line.fate.as_ref() != Some(fate) {
                news |= line.learn(fate.clone(), Certainty::Known);
            }
            if let Some(key) = self.lines[place].key.clone() {
                self.settle(&key);
            }
        }
        news
    }

    /// Takes in what the ledger knows; says whether anything is known better than before.
    pub(crate) fn answer(&mut self, answers: &HashMap<CommandKey, Outcome>) -> bool {
        let mut news = false;
        for (key, outcome) in answers {
            for place in self.by_key.get(key).into_iter().flatten() {
                news |= self.lines[*place].answer(outcome);
            }
        }
        news
    }

    /// Makes certain what follows for lines of one key once no two contents are left.
    fn settle(&mut self, key: &CommandKey) {
        let places = self.by_key.get(key).map(Vec::as_slice).unwrap_or_default();
        let undead = places.iter().map(|place| &self.lines[*place]).filter(|line| !line.is_dead());
        if undead.map(|line| line.content).collect::<HashSet<_>>().len() > 1 {
            return;
        }
        for place in places {
            let line = &mut self.lines[*place];
            if line.certainty == Certainty::Open && line.fate.is_some() {
                line.certainty = Certainty::Known;
            }
        }
    }

    /// How many lines something may still be heard of.
    pub(crate) fn open(&self) -> usize {
        self.lines.iter().filter(|line| line.is_open()).count()
    }

    /// The keys that the ledger may know more of.
    pub(crate) fn questions(&self) -> Vec<CommandKey> {
        let open = self.lines.iter().filter(|line| line.certainty == Certainty::Open);
        let keys: HashSet<&CommandKey> = open.filter_map(|line| line.key.as_ref()).collect();
        keys.into_iter().cloned().collect()
    }

    /// What is known of each line, in their order.
    pub(crate) fn fates(self) -> impl Iterator<Item = Option<Fate>> {
        self.lines.into_iter().map(|line| line.fate)
    }
}

impl Tracked {
    fn learn(&mut self, fate: Fate, certainty: Certainty) -> bool {
        self.fate = Some(fate);
        self.certainty = certainty;
        true
    }

    fn is_open(&self) -> bool {
        matches!(self.certainty, Certainty::Open | Certainty::Rival)
    }

    fn is_dead(&self) -> bool {
        self.fate.as_ref().is_some_and(|fate| fate.outcome == Fate::DEAD_LETTERED)
    }

    fn answer(&mut self, outcome: &Outcome) -> bool {
        if self.certainty != Certainty::Open {
            return false;
        }
        match outcome {
            Outcome::Unknown => false,
            Outcome::Decided { content, .. } | Outcome::Parked { content, .. }
                if self.is_comparable && content.0 != self.content =>
            {
                let detail = "The key was used before, with other content; this content is never applied.";
                let conflict = contract::MalformedReason::IdempotencyConflict.code();
                self.learn(Fate::undecided(Some(conflict), detail), Certainty::Rival)
            }
            // It may be what became of other content: an event, or a dead letter, is still to come.
            Outcome::Decided { events, .. } if !self.is_comparable => {
                self.fate.is_none()
                    && Fate::of_events(events).is_some_and(|fate| self.learn(fate, Certainty::Open))
            }
            Outcome::Decided { events, .. } => match Fate::of_events(events) {
                Some(fate) => self.learn(fate, Certainty::Known),
                None => false,
            },
            Outcome::Parked { awaiting, deadline, .. } => {
                self.learn(Fate::parked(awaiting, *deadline), Certainty::Waiting)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use contract::Event;
    use worker::watch::DeadLetter;

    use super::*;

    fn credit(id: &str, amount: &str) -> String {
        format!(
            r#"{{"specversion":"1.0","id":"{id}","source":"/s","type":"commission.credit.v1",
                "time":"2026-11-22T10:00:00Z",
                "data":{{"merchant":"demo","customer":"c","amount":"{amount}","currency":"EUR"}}}}"#
        )
        .replace('\n', " ")
    }

    fn tracker(bodies: &[String]) -> (Vec<Line>, Tracker) {
        let lines: Vec<Line> =
            (1..).zip(bodies).map(|(number, body)| Line::new(number, body.as_bytes())).collect();
        let tracker = Tracker::new(&lines, None);
        (lines, tracker)
    }

    fn dead_of(message_id: String, body: &[u8]) -> Sighting {
        Sighting::DeadLetter(DeadLetter {
            body: body.to_vec(),
            key_id: None,
            message_id: Some(message_id),
            reason: Some("invalid-data".to_owned()),
            detail: None,
        })
    }

    fn event(id: &str, name: &str) -> Sighting {
        let (merchant, source) = ("demo".to_owned(), "/s".to_owned());
        let (id, name) = (id.to_owned(), name.to_owned());
        Sighting::Event(Told { merchant, source, id, name, reason: None, message: None })
    }

    fn dead(body: &str, reason: &str) -> Sighting {
        let (body, reason) = (body.as_bytes().to_vec(), Some(reason.to_owned()));
        Sighting::DeadLetter(DeadLetter { body, key_id: None, reason, message_id: None, detail: None })
    }

    fn outcomes(tracker: Tracker) -> Vec<String> {
        tracker.fates().map(|fate| fate.map_or_else(String::new, |fate| fate.outcome)).collect()
    }

    #[test]
    fn a_duplicate_has_the_same_outcome() {
        let (_, mut tracker) = tracker(&[credit("1", "12.50"), credit("1", "12.5"), credit("2", "1")]);
        assert!(tracker.see(event("1", "commission.credited")));
        assert_eq!(tracker.open(), 1);
        assert_eq!(outcomes(tracker), ["credited", "credited", ""]);
    }

    #[test]
    fn a_conflict_is_attributed_by_its_bytes_whatever_arrives_first() {
        let bodies = [credit("1", "1"), credit("1", "2")];
        for dead_first in [true, false] {
            let (_, mut tracker) = tracker(&bodies);
            let sightings = [dead(&bodies[1], "idempotency-conflict"), event("1", "commission.credited")];
            let (first, second) = if dead_first { (0, 1) } else { (1, 0) };
            tracker.see(sightings[first].clone());
            assert!(tracker.open() > 0, "an event alone does not say which content it is about");
            tracker.see(sightings[second].clone());
            assert_eq!(tracker.open(), 0);
            assert_eq!(outcomes(tracker), ["credited", "dead-lettered"]);
        }
    }

    #[test]
    fn a_malformed_line_has_no_part_in_an_event_of_its_key() {
        let bodies = [credit("1", "1"), credit("1", "-1")];
        let (_, mut tracker) = tracker(&bodies);
        tracker.see(event("1", "commission.credited"));
        assert_eq!(tracker.open(), 1);
        tracker.see(dead(&bodies[1], "invalid-data"));
        assert_eq!(outcomes(tracker), ["credited", "dead-lettered"]);
    }

    #[test]
    fn a_dead_letter_whose_body_is_encrypted_is_known_by_its_message_id() {
        let (lines, _) = tracker(&[credit("1", "1"), credit("1", "1"), credit("2", "1")]);
        let run = Run::new();
        let mut tracker = Tracker::new(&lines, Some(run.clone()));
        assert!(tracker.see(dead_of(run.message_id(2), b"encrypted")));
        assert_eq!(tracker.open(), 2, "an equal line has a letter of its own");
        assert!(!tracker.see(dead_of(run.message_id(9), b"encrypted")));
        assert!(!tracker.see(dead_of(Run::new().message_id(1), b"encrypted")));
        assert_eq!(outcomes(tracker), ["", "dead-lettered", ""]);
    }

    #[test]
    fn an_unroutable_command_is_known_by_its_message_id() {
        let (lines, _) = tracker(&[credit("1", "1"), credit("2", "1")]);
        let run = Run::new();
        let mut tracker = Tracker::new(&lines, Some(run.clone()));
        let (body, message_id) = (b"whatever".to_vec(), Some(run.message_id(2)));
        assert!(tracker.see(Sighting::Unroutable { body, message_id }));
        assert_eq!(outcomes(tracker), ["", "undecided"]);
    }

    #[test]
    fn anothers_dead_letter_of_the_same_bytes_tells_as_much() {
        let (lines, _) = tracker(&[credit("1", "-1"), credit("2", "1")]);
        let mut tracker = Tracker::new(&lines, Some(Run::new()));
        assert!(tracker.see(dead_of(Run::new().message_id(2), &lines[0].body)));
        assert_eq!(outcomes(tracker), ["dead-lettered", ""]);
    }

    #[test]
    fn of_several_events_the_first_one_tells() {
        let (lines, mut tracker) = tracker(&[credit("1", "1")]);
        let (key, content) = lines[0].command().unwrap();
        assert!(tracker.see(event("1", "withdrawal.requested")));
        assert_eq!(tracker.open(), 0);
        assert!(!tracker.see(event("1", "withdrawal.approved")));
        assert_eq!(outcomes(tracker), ["requested"]);
        let stored = |name: &str| {
            let body = format!(
                r#"{{"id":"{name}","type":"{name}.v1","causationsource":"/s","causationid":"1",
                "data":{{"merchant":"demo"}}}}"#
            );
            Event::from_stored(&key.merchant, &body).unwrap()
        };
        let events = vec![stored("withdrawal.requested"), stored("withdrawal.approved")];
        let mut tracker = Tracker::new(&lines, None);
        let decided = Outcome::Decided { content: content.unwrap(), events };
        assert!(tracker.answer(&HashMap::from([(key.clone(), decided)])));
        assert_eq!(outcomes(tracker), ["requested"], "the ledger says the same");
    }

    #[test]
    fn what_happened_later_does_not_hide_how_it_was_decided() {
        let (_, mut tracker) = tracker(&[credit("1", "1")]);
        assert!(!tracker.see(event("1", "commission.matured")));
        assert!(tracker.see(event("1", "commission.held")));
        assert!(!tracker.see(event("1", "commission.credited")));
        assert_eq!(outcomes(tracker), ["held"]);
    }

    #[test]
    fn the_ledger_tells_which_of_two_contents_was_carried_out() {
        let (lines, mut tracker) = tracker(&[credit("1", "1"), credit("1", "2")]);
        tracker.see(event("1", "commission.credited"));
        let (key, content) = lines[1].command().unwrap();
        assert_eq!(tracker.questions(), std::slice::from_ref(&key));
        let body = r#"{"id":"e","type":"commission.credited.v1","causationsource":"/s","causationid":"1",
            "data":{"merchant":"demo"}}"#;
        let event = Event::from_stored(&key.merchant, body).unwrap();
        let decided = Outcome::Decided { content: content.unwrap(), events: vec![event] };
        assert!(tracker.answer(&HashMap::from([(key, decided)])));
        assert_eq!(tracker.open(), 1, "the other one's dead letter is still to come");
        assert_eq!(outcomes(tracker), ["undecided", "credited"]);
    }

    #[test]
    fn a_parked_command_can_be_decided_while_one_watches() {
        let (lines, mut tracker) = tracker(&[credit("1", "1")]);
        let (key, content) = lines[0].command().unwrap();
        let now = "2026-11-22T10:00:00Z".parse().unwrap();
        let awaiting = ledger::Awaited::Merchant("demo".parse().unwrap());
        let parked = Outcome::Parked { content: content.unwrap(), awaiting, since: now, deadline: now };
        assert!(tracker.answer(&HashMap::from([(key, parked)])));
        assert_eq!(tracker.open(), 0);
        assert!(tracker.see(event("1", "commission.credited")));
        assert_eq!(outcomes(tracker), ["credited"]);
    }

    #[test]
    fn an_unknown_key_is_no_news() {
        let (lines, mut tracker) = tracker(&[credit("1", "1")]);
        let (key, _) = lines[0].command().unwrap();
        assert!(!tracker.answer(&HashMap::from([(key, Outcome::Unknown)])));
        assert!(!tracker.see(event("9", "commission.credited")));
        assert!(!tracker.see(dead("{}", "not-json")));
    }
}
