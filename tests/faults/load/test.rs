//! A load is what it says.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use tests::message::routing_key;
use tests::story::WEIGHTS;

use super::*;

const NOW: i64 = 1_800_000_000_000_000;

fn unheard(_: &Key) -> Option<Value> {
    None
}

fn lines(seed: u64, count: usize, known: &dyn Fn(&Key) -> Option<Value>) -> Vec<Line> {
    let mut load = Load::new(seed, "clerk".to_owned());
    (0..count).map(|_| load.next(Moment { now: NOW, known })).collect()
}

fn messages(lines: &[Line]) -> Vec<String> {
    let message = |line: &Line| {
        let Line { kind, key, worker, routing_key, user, body, .. } = line;
        format!("{kind:?} {key:?} {worker:?} {routing_key} {user:?} {}", String::from_utf8_lossy(body))
    };
    lines.iter().map(message).collect()
}

#[test]
fn a_seed_writes_the_same_again_and_another_something_else() {
    let all = |seed| messages(&lines(seed, 5000, &unheard));
    let first = all(7);
    assert!(first == all(7));
    assert!(first != all(8));
}

#[test]
fn the_shares_are_as_said_and_everything_occurs() {
    let lines = lines(1, 20_000, &unheard);
    let share = |is: fn(Kind) -> bool| lines.iter().filter(|line| is(line.kind)).count();
    let near =
        |count: usize, wanted: usize| assert!(count.abs_diff(wanted) < wanted / 5, "{count}, {wanted}");
    near(share(|kind| kind == Kind::Copy), 2000);
    near(share(|kind| kind == Kind::Conflict), 400);
    near(share(|kind| matches!(kind, Kind::Malformed(_))), 600);
    let stray = share(|kind| kind == Kind::Unroutable);
    assert!((20..120).contains(&stray), "{stray}");

    let count = |of: fn(&Line) -> Option<String>| {
        lines.iter().filter_map(of).fold(BTreeMap::<_, usize>::new(), |mut counts, name| {
            *counts.entry(name).or_default() += 1;
            counts
        })
    };
    let kinds = count(|line| match line.kind {
        Kind::Malformed(why) => Some(why.to_owned()),
        _ => None,
    });
    assert_eq!(kinds.len(), malformed::ALL.len());
    let names = count(|line| {
        (line.kind == Kind::New).then(|| line.routing_key.split_once('.').unwrap().1.to_owned())
    });
    assert_eq!(names.len(), WEIGHTS.len());
    let rare: Vec<_> = names.iter().chain(&kinds).filter(|(_, count)| **count < 5).collect();
    assert!(rare.is_empty(), "{rare:?}");
    let merchants: BTreeSet<_> = lines.iter().filter_map(|line| Some(&line.key.as_ref()?.0)).collect();
    assert!(merchants.len() > 40, "{merchants:?}");
}

/// What the worker's reader, and what is asked of a delivery besides, have against a line.
fn problem(line: &Line) -> Option<String> {
    if let Err(malformed) = content(line.worker.unwrap(), &line.body) {
        return Some(malformed.to_string());
    }
    let message: Value = serde_json::from_slice(&line.body).unwrap();
    let time = OffsetDateTime::parse(message["time"].as_str().unwrap(), &Rfc3339).unwrap();
    let problems = [
        ("content type", line.content_type() != contract::CONTENT_TYPE),
        ("routing key", routing_key(&message) != line.routing_key),
        // Those that need one are those that have an actor.
        ("user", message["data"].get("actor").is_some() && line.user.is_none()),
        (
            "time",
            message["type"].as_str().unwrap().contains(".put.") && time.unix_timestamp() > NOW / 1_000_000,
        ),
    ];
    problems.into_iter().find(|(_, is)| *is).map(|(problem, _)| problem.to_owned())
}

#[test]
fn what_is_malformed_is_refused_and_everything_else_is_understood() {
    for line in lines(2, 20_000, &unheard).iter().filter(|line| line.kind != Kind::Unroutable) {
        let (problem, shown) = (problem(line), &messages(std::slice::from_ref(line))[0]);
        match line.kind {
            Kind::Malformed(_) => assert!(problem.is_some(), "{shown}"),
            _ => assert_eq!(problem, None, "{shown}"),
        }
        assert_eq!(line.key.is_none(), matches!(line.kind, Kind::Malformed(_)), "{shown}");
    }
}

#[test]
fn a_copy_has_a_content_that_was_there_and_a_conflict_none_that_the_first_had() {
    let mut contents: HashMap<Key, Vec<ContentHash>> = HashMap::new();
    let (mut other_words, mut bodies, mut elsewhere) = (0, BTreeSet::new(), 0);
    let mut workers: HashMap<Key, &str> = HashMap::new();
    for line in lines(3, 20_000, &unheard) {
        let Some(key) = line.key.clone() else { continue };
        let content = content(line.worker.unwrap(), &line.body).unwrap();
        let known = contents.entry(key.clone()).or_default();
        match line.kind {
            Kind::New => assert!(known.is_empty(), "{key:?} is not new"),
            Kind::Copy => {
                assert!(known.contains(&content), "{key:?}: {}", String::from_utf8_lossy(&line.body));
                other_words += usize::from(!bodies.contains(&line.body));
            }
            _ => {
                assert!(known[0] != content, "{key:?}");
                elsewhere += usize::from(workers.get(&key) != line.worker.as_ref());
            }
        }
        known.push(content);
        workers.entry(key).or_insert(line.worker.unwrap());
        bodies.insert(line.body);
    }
    assert!((800..1200).contains(&other_words), "{other_words}");
    assert!(elsewhere > 50, "keys that are in two workers' queues: {elsewhere}");
}

#[test]
fn saldos_ids_are_named_by_whoever_has_heard_of_them_and_by_nobody_else() {
    let named = |lines: &[Line], field: &str| {
        let new = lines.iter().filter(|line| line.kind == Kind::New);
        let data = new.map(|line| serde_json::from_slice::<Value>(&line.body).unwrap()["data"].take());
        data.filter(|data| data[field].is_string()).map(|data| data[field].clone()).collect::<Vec<_>>()
    };
    let nobody = lines(4, 5000, &unheard);
    assert!(named(&nobody, "withdrawal").is_empty() && named(&nobody, "entry").is_empty());
    assert!(!nobody.iter().any(|line| line.body.windows(2).any(|part| part == b"\"$")));

    let everybody = lines(4, 5000, &|_| {
        Some(
            json!({ "data": { "withdrawal": "0123456789abcdef0123456789abcdef", "entry": { "id": "7-2" } } }),
        )
    });
    assert!(named(&everybody, "withdrawal").len() > 20);
    let entries: BTreeSet<_> = named(&everybody, "entry").iter().map(ToString::to_string).collect();
    assert_eq!(entries, BTreeSet::from(["\"7-1\"".to_owned(), "\"7-2\"".to_owned()]));
}

#[test]
fn staff_of_every_shop_is_told_and_nobody_else() {
    let all = lines(5, 20_000, &unheard);
    let puts = all.iter().filter(|line| line.key.is_some() && line.routing_key.ends_with("preferences.put"));
    for line in puts {
        let data = serde_json::from_slice::<Value>(&line.body).unwrap()["data"].take();
        let staff = format!("staff@{}.example", line.key.as_ref().unwrap().0);
        assert_eq!(data["notify"], json!([staff]));
        assert!(data.get("mails").is_none() && data.get("notify_customer").is_none(), "{data}");
    }
}

#[test]
fn commissions_are_held_until_soon_until_long_ago_and_until_another_century() {
    let all = lines(6, 5000, &unheard);
    let times = all.iter().filter(|line| line.key.is_some()).filter_map(|line| {
        let message: Value = serde_json::from_slice(&line.body).unwrap();
        message["data"]["available_at"].as_str().map(str::to_owned)
    });
    let times: Vec<_> = times.collect();
    let between = |from: i64, to: i64| {
        let (from, to) = (text(NOW + from * 1_000_000), text(NOW + to * 1_000_000));
        times.iter().filter(|time| (&from..=&to).contains(time)).count()
    };
    assert!(between(10, 40) > 50);
    assert_eq!(between(10, 40), between(-1_000_000, 1_000_000));
    assert!(
        times.iter().any(|time| time.starts_with("2020"))
            && times.iter().any(|time| time.starts_with("2090"))
    );
}
