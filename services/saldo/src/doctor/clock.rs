//! Clocks: a put that is minutes ahead is malformed, hold periods and patience run by the database's, and who compares logs
//! wants one time. Each clock is asked once, and is taken to be somewhere between question and answer.

use std::time::{Duration, SystemTime};

use ledger::inspect;
use sqlx::PgConnection;
use worker::management::{CLOCK_STEP, Management};

use super::broker::unanswered;
use super::database;
use super::finding::Finding;

pub(super) const ABOUT: &str = "clock";

/// Clocks that are kept by NTP are within milliseconds; nothing here depends on less than seconds.
const TOLERANCE: Duration = Duration::from_secs(5);

pub(super) async fn look(
    ledger: Result<&mut PgConnection, &mut &'static str>,
    management: Result<&Management, &&'static str>,
) -> Vec<Finding> {
    let database = match ledger {
        Ok(connection) => ask_database(connection).await,
        Err(because) => Finding::unseen(ABOUT, because),
    };
    let broker = match management {
        Ok(management) => ask_broker(management).await,
        Err(because) => Finding::unseen(ABOUT, because),
    };
    vec![database, broker]
}

async fn ask_database(connection: &mut PgConnection) -> Finding {
    let before = SystemTime::now();
    match inspect::clock(connection).await {
        Ok(theirs) => {
            let theirs = Clock { earliest: theirs.into(), step: Duration::ZERO };
            judge("the database", theirs, before, SystemTime::now())
        }
        Err(error) => database::unanswered(ABOUT, &error),
    }
}

async fn ask_broker(management: &Management) -> Finding {
    match management.clock().await {
        Ok(Some((theirs, before))) => {
            let theirs = Clock { earliest: theirs.into(), step: CLOCK_STEP };
            judge("the broker", theirs, before, SystemTime::now())
        }
        Ok(None) => Finding::unknown(ABOUT, "the broker does not tell its time", "look at its machine"),
        Err(error) => unanswered(ABOUT, &error),
    }
}

/// What a clock said: this moment, or up to a step later.
#[derive(Debug, Clone, Copy)]
struct Clock {
    earliest: SystemTime,
    step: Duration,
}

/// How far it is ahead of ours, or behind, at least; zero where it need not be either.
fn judge(whose: &str, theirs: Clock, before: SystemTime, after: SystemTime) -> Finding {
    let ahead = theirs.earliest.duration_since(after).unwrap_or_default();
    let behind = before.duration_since(theirs.earliest + theirs.step).unwrap_or_default();
    let (by, how) = if ahead > behind { (ahead, "ahead of") } else { (behind, "behind") };
    let rounded =
        humantime::format_duration(Duration::from_millis(u64::try_from(by.as_millis()).unwrap_or(u64::MAX)));
    if by > TOLERANCE {
        return Finding::bad(
            ABOUT,
            format!("{whose} is {rounded} {how} this machine"),
            "let all of them take their time from NTP: timedatectl says which does not",
        );
    }
    if by.is_zero() {
        return Finding::good(ABOUT, format!("{whose} agrees with this machine"));
    }
    Finding::good(ABOUT, format!("{whose} is {rounded} {how} this machine"))
}

#[cfg(test)]
mod tests {
    use super::super::finding::State;
    use super::*;

    fn at(millis: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_millis(1_000_000 + millis)
    }

    fn judged(theirs: u64, step: Duration, before: u64, after: u64) -> (State, String) {
        let found = judge("it", Clock { earliest: at(theirs), step }, at(before), at(after));
        (found.state, found.what)
    }

    #[test]
    fn what_lies_between_question_and_answer_agrees() {
        for (theirs, step) in
            [(100, Duration::ZERO), (150, Duration::ZERO), (200, Duration::ZERO), (0, CLOCK_STEP)]
        {
            assert_eq!(judged(theirs, step, 100, 200).1, "it agrees with this machine");
        }
    }

    #[test]
    fn more_than_the_tolerance_is_bad_in_either_direction() {
        assert_eq!(judged(5_200, Duration::ZERO, 100, 200).0, State::Good);
        assert_eq!(
            judged(5_201, Duration::ZERO, 100, 200),
            (State::Bad, "it is 5s 1ms ahead of this machine".to_owned())
        );
        assert_eq!(
            judged(0, Duration::ZERO, 60_000, 60_100),
            (State::Bad, "it is 1m behind this machine".to_owned())
        );
        // Two seconds of it are not known.
        assert_eq!(
            judged(0, CLOCK_STEP, 7_000, 7_100),
            (State::Good, "it is 5s behind this machine".to_owned())
        );
        assert_eq!(judged(0, CLOCK_STEP, 7_001, 7_100).0, State::Bad);
    }

    #[test]
    fn what_the_header_leaves_open_is_no_difference() {
        // Asked at the end of a second, by a header of the second before.
        for (told, asked) in [(0, 999), (0, 1_000), (0, 1_999), (1_000, 2_999), (1_000, 1_000)] {
            assert_eq!(
                judged(told, CLOCK_STEP, asked, asked + 1).1,
                "it agrees with this machine",
                "{asked}"
            );
        }
    }
}
