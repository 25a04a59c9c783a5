use std::time::Duration;

use super::{Recovery, Truth, detection};
use crate::crew::record::{Answer, Watched};
use crate::schedule::{Done, Fault, Peer, Worker};

const COMMISSIONS: Worker = "commissions";
const SECOND: i64 = 1_000_000;

/// Such a moment is not the beginning of time.
const BEGINNING: i64 = 1_700_000_000 * SECOND;

#[derive(Debug, Clone, Copy)]
enum Says {
    Ready,
    Not,
    Nothing,
}
use Says::{Not, Nothing, Ready};

/// A moment, in tenths of a second.
fn at(tenths: i64) -> i64 {
    BEGINNING + tenths * SECOND / 10
}

/// A worker that is asked ten times a second until an end and says each of these from a moment on, in tenths of a second.
fn said(worker: Worker, end: i64, turns: &[(i64, Says)]) -> Watched {
    let mut watched = Watched::new(worker);
    for tenth in 0..=end {
        let says = turns.iter().rev().find(|(from, _)| *from <= tenth).unwrap().1;
        let answer = match says {
            Ready => Answer::Ready,
            Not => Answer::NotReady("the broker is away".to_owned()),
            Nothing => Answer::Missing,
        };
        watched.note(at(tenth), 1, answer);
    }
    watched
}

fn done(fault: Fault, began: i64, ended: i64) -> Done {
    let (began, ended) = (at(began), at(ended));
    Done { fault, began, in_effect: [began, ended], ended }
}

/// How many stretches were quiet is asked in a test of its own.
fn judge(faults: &[Done], watched: &[Watched]) -> Truth {
    Truth { quiet: 0, ..super::judge(faults, watched) }
}

/// Of commissions, told in tenths of a second.
fn truth(faults: &[Done], end: i64, turns: &[(i64, Says)]) -> Truth {
    judge(faults, &[said(COMMISSIONS, end, turns)])
}

fn recovery(kind: &'static str, count: usize, median: u64, longest: u64) -> Recovery {
    let tenths = |tenths: u64| Duration::from_millis(tenths * 100);
    Recovery { kind, count, median: tenths(median), longest: tenths(longest) }
}

#[track_caller]
fn assert_one(texts: &[String], words: &[&str]) {
    let [text] = texts else { panic!("{texts:?}") };
    for word in words {
        assert!(text.contains(word), "{word} is missing: {text}");
    }
}

#[test]
fn who_notices_and_recovers_in_time_is_beyond_reproach() {
    let stopped = done(Fault::BrokerStops, 100, 300);
    let truth = truth(&[stopped], 900, &[(0, Ready), (120, Not), (345, Ready)]);
    assert_eq!(truth, Truth { recoveries: vec![recovery("broker stopped", 1, 45, 45)], ..Truth::default() });
}

#[test]
fn who_is_ready_without_a_broker_lies() {
    let stopped = done(Fault::BrokerStops, 100, 300);
    let late = truth(&[stopped], 900, &[(0, Ready), (175, Not), (345, Ready)]);
    assert_one(&late.lies, &["commissions", "BrokerStops", "ready 7.4 s", "takes 3.0 s"]);
    let between = truth(&[stopped], 900, &[(0, Ready), (120, Not), (200, Ready), (201, Not), (345, Ready)]);
    assert_one(&between.lies, &["commissions", "BrokerStops"]);
    let never = truth(&[stopped], 900, &[(0, Ready)]);
    assert_one(&never.lies, &["commissions", "BrokerStops"]);
}

#[test]
fn a_fault_proves_nothing_before_it_is_in_effect_and_once_it_is_being_undone() {
    let slow = Done { in_effect: [at(200), at(250)], ..done(Fault::BrokerStops, 100, 300) };
    let truth = truth(&[slow], 900, &[(0, Ready), (225, Not), (252, Ready)]);
    assert_eq!(truth.lies, [""; 0]);
    let short = done(Fault::BrokerStops, 100, 128);
    assert_eq!(judge(&[short], &[said(COMMISSIONS, 900, &[(0, Ready)])]).lies, [""; 0]);
}

#[test]
fn whom_it_does_not_concern_may_be_ready() {
    let faults = [
        done(Fault::Cut("directory", Peer::Broker), 100, 300),
        done(Fault::MailStops, 100, 300),
        done(Fault::Purge("withdrawals"), 100, 300),
    ];
    let truth = judge(&faults, &[said(COMMISSIONS, 900, &[(0, Ready)])]);
    assert_eq!(truth, Truth::default());
    let told = |worker| judge(&faults, &[said(worker, 900, &[(0, Ready)])]).lies;
    assert_one(&told("directory"), &["directory", "Cut", "Broker"]);
    assert_one(&told("notifier"), &["notifier", "MailStops"]);
}

#[test]
fn what_is_quiet_for_long_enough_to_say_is_counted() {
    let stopped = done(Fault::BrokerStops, 400, 500);
    let quiet = |end| super::judge(&[stopped], &[said(COMMISSIONS, end, &[(0, Ready)])]).quiet;
    assert_eq!((quiet(399), quiet(799), quiet(801)), (1, 1, 2));
}

#[test]
fn each_has_its_time_to_notice() {
    let of = |fault| detection(fault, COMMISSIONS).map(|time| time.as_secs());
    let (broker, ledger) = (Peer::Broker, Peer::Ledger);
    assert_eq!(of(Fault::Cut(COMMISSIONS, broker)), Some(3));
    assert_eq!(of(Fault::Ghost(COMMISSIONS, ledger)), Some(5));
    assert_eq!(of(Fault::LedgerKilled), Some(5));
    assert_eq!(of(Fault::Silent(COMMISSIONS, broker)), Some(25));
    assert_eq!(of(Fault::Deserted(COMMISSIONS, ledger)), Some(16));
    assert_eq!(of(Fault::BrokerAlarm), Some(20));
    assert_eq!(detection(Fault::BrokerAlarm, "notifier"), None);
    assert_eq!(detection(Fault::MailStops, "notifier"), Some(Duration::from_secs(5)));
    for silent in
        [Fault::Silent("directory", broker), Fault::MailStops, Fault::LedgerFull, Fault::Kill(COMMISSIONS)]
    {
        assert_eq!(of(silent), None, "{silent:?}");
    }
}

#[test]
fn who_is_frozen_or_hangs_notices_later() {
    let stopped = done(Fault::BrokerStops, 100, 400);
    let turns = [(0, Ready), (110, Nothing), (200, Ready), (220, Not), (420, Ready)];
    let frozen = done(Fault::Freeze(COMMISSIONS), 110, 200);
    assert_eq!(truth(&[stopped, frozen], 900, &turns).lies, [""; 0]);
    assert_one(&truth(&[stopped], 900, &turns).lies, &["BrokerStops"]);
    // Before it was frozen it had time enough.
    let late = done(Fault::Freeze(COMMISSIONS), 150, 200);
    let turns = [(0, Ready), (150, Nothing), (200, Not), (420, Ready)];
    assert_one(&truth(&[stopped, late], 900, &turns).lies, &["BrokerStops"]);
    // On a connection that was silent until just now.
    let silent = done(Fault::Silent(COMMISSIONS, Peer::Broker), 50, 90);
    let turns = [(0, Ready), (250, Not), (420, Ready)];
    assert_eq!(truth(&[silent, stopped], 900, &turns).lies, [""; 0]);
    let other = done(Fault::Silent(COMMISSIONS, Peer::Ledger), 50, 90);
    assert_one(&truth(&[other, stopped], 900, &turns).lies, &["BrokerStops"]);
}

#[test]
fn a_new_process_has_its_time_to_notice() {
    let mut watched = said("notifier", 900, &[(0, Not), (150, Ready), (190, Not), (420, Ready)]);
    let stopped = done(Fault::MailStops, 50, 400);
    assert_one(&judge(&[stopped], &[watched.clone()]).lies, &["MailStops"]);
    watched.down.push((at(145), at(146)));
    assert_eq!(judge(&[stopped], &[watched]).lies, [""; 0]);
}

#[test]
fn who_is_not_ready_half_a_minute_later_is_slow() {
    let killed = done(Fault::LedgerKilled, 100, 200);
    let late = truth(&[killed], 900, &[(0, Ready), (110, Not), (515, Ready)]);
    assert_one(&late.slow, &["commissions", "only after 31.5 s", "LedgerKilled", "the broker is away"]);
    assert_eq!(late.recoveries, []);
    let never = truth(&[killed], 900, &[(0, Ready), (110, Not)]);
    assert_one(&never.slow, &["commissions", "not within 70.0 s", "LedgerKilled"]);
}

#[test]
fn a_recovery_that_the_next_fault_cuts_short_is_not_counted() {
    let first = done(Fault::LedgerKilled, 100, 200);
    let second = done(Fault::Terminate(COMMISSIONS), 400, 420);
    let truth = truth(&[second, first], 900, &[(0, Ready), (110, Not), (450, Ready)]);
    assert_eq!(
        truth,
        Truth {
            recoveries: vec![recovery("worker terminated and restarted", 1, 30, 30)],
            ..Truth::default()
        }
    );
}

#[test]
fn what_overlaps_is_recovered_from_together_and_what_was_over_before_is_not_counted() {
    let cut = done(Fault::Cut(COMMISSIONS, Peer::Ledger), 100, 200);
    let slow = done(Fault::Slow(COMMISSIONS, Peer::Broker), 150, 300);
    let frozen = done(Fault::Freeze(COMMISSIONS), 280, 295);
    let truth = truth(&[cut, slow, frozen], 900, &[(0, Ready), (110, Not), (320, Ready)]);
    let recoveries =
        vec![recovery("network slow", 1, 20, 20), recovery("worker stopped for a while", 1, 20, 20)];
    assert_eq!(truth, Truth { recoveries, ..Truth::default() });
}

#[test]
fn it_counts_when_it_stays_ready() {
    let cut = done(Fault::BrokerCloses, 100, 101);
    // It has not noticed yet when it is over, and tries twice.
    let turns = [(0, Ready), (104, Not), (120, Ready), (130, Not), (150, Ready)];
    assert_eq!(truth(&[cut], 900, &turns).recoveries, [recovery("broker's connections closed", 1, 49, 49)]);
}

#[test]
fn who_is_well_and_has_a_relapse_is_reported() {
    let cut = done(Fault::BrokerCloses, 100, 101);
    let truth = truth(&[cut], 900, &[(0, Ready), (104, Not), (120, Ready), (600, Not), (615, Ready)]);
    assert_one(&truth.slow, &["commissions", "not ready for 1.5 s", "49.9 s after BrokerCloses"]);
    assert_eq!(truth.recoveries, [recovery("broker's connections closed", 1, 19, 19)]);
    let at_first = judge(&[], &[said(COMMISSIONS, 900, &[(0, Ready), (400, Not), (440, Ready)])]);
    assert_one(&at_first.slow, &["40.0 s after its start"]);
}

#[test]
fn what_is_asked_just_before_a_fault_and_a_machine_out_of_breath_are_no_relapse() {
    let frozen = done(Fault::Freeze(COMMISSIONS), 600, 650);
    let turns = [(0, Ready), (400, Nothing), (410, Ready), (595, Nothing), (655, Ready)];
    let truth = truth(&[frozen], 900, &turns);
    assert_eq!(
        truth,
        Truth { recoveries: vec![recovery("worker stopped for a while", 1, 5, 5)], ..Truth::default() }
    );
}

#[test]
fn a_process_that_is_down_is_not_slow() {
    let mut watched = said(COMMISSIONS, 1500, &[(0, Ready), (500, Nothing), (710, Not), (900, Ready)]);
    assert_one(&judge(&[], &[watched.clone()]).slow, &["not ready for 40.0 s", "did not answer"]);
    watched.down.push((at(500), at(700)));
    assert_eq!(judge(&[], &[watched]), Truth::default());
}

#[test]
fn who_waits_for_what_another_has_locked_is_excused() {
    let frozen = done(Fault::Freeze("directory"), 500, 700);
    let turns = [(0, Ready), (600, Not), (720, Ready)];
    assert_eq!(truth(&[frozen], 1200, &turns), Truth::default());
    let terminated = done(Fault::Terminate("directory"), 500, 700);
    assert_one(&truth(&[terminated], 1200, &turns).slow, &["commissions", "not ready for 12.0 s"]);
}

#[test]
fn recoveries_are_counted_over_all_workers_by_kind() {
    let faults = [
        done(Fault::BrokerKilled, 100, 200),
        done(Fault::Kill(COMMISSIONS), 600, 600),
        done(Fault::BrokerKilled, 1000, 1100),
    ];
    let watched = [
        said(
            COMMISSIONS,
            1500,
            &[(0, Ready), (110, Not), (210, Ready), (601, Not), (607, Ready), (1010, Not), (1130, Ready)],
        ),
        said("notifier", 1500, &[(0, Ready), (110, Not), (220, Ready), (1010, Not), (1180, Ready)]),
    ];
    let recoveries = vec![recovery("broker killed", 4, 20, 80), recovery("worker killed", 1, 7, 7)];
    assert_eq!(judge(&faults, &watched), Truth { recoveries, ..Truth::default() });
}

#[test]
fn nobody_watched_and_nothing_said_are_no_trouble() {
    assert_eq!(judge(&[done(Fault::BrokerKilled, 1, 900)], &[]), Truth::default());
    assert_eq!(judge(&[done(Fault::BrokerKilled, 1, 900)], &[Watched::new(COMMISSIONS)]), Truth::default());
}
