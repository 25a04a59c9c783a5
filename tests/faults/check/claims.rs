use serde_json::json;
use tests::worker_process::PAYOUT_KEYS;

use super::*;
use crate::made_up::{NOON, SECOND, command, line, row};

const TIME: &str = "2026-01-01T10:00:00Z";

/// A run in which everything happened that may.
struct Run {
    lines: Vec<Line>,
    rows: Vec<Row>,
    events: BTreeMap<String, Arc<str>>,
    dead: Vec<DeadLetter>,
    unroutable: Vec<String>,
}

fn credit(kind: Kind, id: &str, amount: &str) -> Line {
    let data = json!({ "customer": "anna", "amount": amount, "currency": "EUR" });
    line(kind, &command("commission.credit", id, TIME, data))
}

fn letter(number: usize, reason: Option<&str>) -> DeadLetter {
    let reason = reason.map(str::to_owned);
    DeadLetter { message_id: Some(message_id(number)), worker: "commissions", reason }
}

fn run() -> Run {
    let malformed = Line { key: None, ..credit(Kind::Malformed("no amount"), "m", "1") };
    let astray = Line { worker: None, ..credit(Kind::Unroutable, "u", "1") };
    let mut lines = vec![
        credit(Kind::New, "a", "10"),
        credit(Kind::Copy, "a", "10.00"),
        credit(Kind::Conflict, "a", "11"),
        malformed,
        astray,
        credit(Kind::New, "b", "10"),
        credit(Kind::New, "c", "10"),
    ];
    lines[5].attempts = 3;
    let told = |id: &str| [("commission.credited", json!({ "id": id }))];
    let rows = vec![row(&lines[0], SECOND, &told("a")), row(&lines[5], SECOND, &told("b"))];
    let events = rows.iter().flat_map(Row::events).map(|event| {
        let id = serde_json::from_str::<Value>(event).unwrap()["id"].as_str().unwrap().to_owned();
        (id, Arc::from(event))
    });
    Run {
        events: events.collect(),
        dead: vec![
            letter(2, Some(CONFLICT)),
            letter(3, Some("invalid-data")),
            letter(6, None),
            letter(1, None),
        ],
        unroutable: vec![message_id(4)],
        lines,
        rows,
    }
}

impl Run {
    fn findings(&self) -> Findings {
        let commanded = Commanded::of(&self.lines, PAYOUT_KEYS);
        let ears = Ears { events: &self.events, dead: &self.dead, unroutable: &self.unroutable };
        let mut check = Check::new(&commanded, &self.lines, ears);
        for row in &self.rows {
            check.row(row);
        }
        check.end()
    }
}

#[test]
fn a_run_in_which_everything_has_its_trace_is_fine_and_counted() {
    let findings = run().findings();
    assert_eq!(findings.problems, Vec::<String>::new());
    let Findings {
        commands,
        duplicates,
        conflicts,
        malformed,
        unroutable,
        events,
        given_up,
        given_up_copies,
        ..
    } = findings;
    assert_eq!((commands, duplicates, conflicts, malformed, unroutable), (2, 1, 1, 1, 1));
    assert_eq!((events, given_up, given_up_copies), (2, 1, 1));
}

#[test]
fn whatever_is_missing_or_too_much_is_told() {
    type Spoil = fn(&mut Run);
    let spoilt: [(&str, Spoil); 18] = [
        ("not confirmed", |run| run.lines[0].confirmed_at = None),
        ("lost", |run| drop(run.rows.pop())),
        ("lost", |run| run.dead.retain(|letter| letter.message_id != Some(message_id(6)))),
        ("lost", |run| drop(run.dead.remove(0))),
        ("no dead letter", |run| drop(run.dead.remove(1))),
        ("another worker's", |run| run.dead[1].worker = "directory"),
        ("the other way", |run| run.unroutable.clear()),
        ("the other way", |run| run.unroutable.push(message_id(0))),
        ("recorded, and a dead letter", |run| run.dead.push(letter(0, Some("invalid-data")))),
        ("for no good reason", |run| run.dead[0].reason = Some("failed".to_owned())),
        ("a conflict with nothing", |run| run.dead[2].reason = Some(CONFLICT.to_owned())),
        ("that nobody sent", |run| run.dead.push(letter(99, None))),
        ("without a message id", |run| run.dead[0].message_id = None),
        ("with a content that nobody sent", |run| run.rows[0].content[0] ^= 1),
        ("without an outcome", |run| run.rows[0].outcome = None),
        ("never heard", |run| drop(run.events.pop_first())),
        ("with other bytes", |run| *run.events.first_entry().unwrap().get_mut() = Arc::from("{}")),
        ("not stored", |run| drop(run.events.insert("more".to_owned(), Arc::from("{}")))),
    ];
    for (wanted, spoil) in spoilt {
        let mut run = run();
        spoil(&mut run);
        let problems = run.findings().problems;
        assert!(problems.iter().any(|problem| problem.contains(wanted)), "{wanted}: {problems:?}");
    }
}

#[test]
fn what_saldo_does_by_itself_nobody_has_to_ask_for() {
    let mut run = run();
    let mut own = run.rows[0].clone();
    (own.source, own.committed_at) = (crate::inbox::MATURITY.to_owned(), NOON);
    let event = own.outcome.as_ref().unwrap().replace("commission.credited-a", "commission.matured-a");
    own.outcome = Some(event.clone());
    run.events.insert("commission.matured-a".to_owned(), Arc::from(event));
    run.rows.push(own.clone());
    assert_eq!(run.findings().problems, Vec::<String>::new());
    run.rows[2].source = "/saldo/other".to_owned();
    assert!(!run.findings().problems.is_empty());
}
