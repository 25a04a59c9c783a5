//! Settings: those of every program that this file and environment set, and what the other sections look at.

use std::path::Path;

use ledger::store::Settings as Database;
use ledger::vault::Vault;
use worker::broker::Address;
use worker::management::Management;

use super::finding::Finding;
use crate::ledger_access::STATEMENT_TIMEOUT;
use crate::settings::Settings;

pub(super) const ABOUT: &str = "settings";

/// Why the management API is not asked, which need not be anybody's fault.
pub(super) const NOT_SET: &str = "broker.management_url is not set";

/// Where to look; or why that is not known, in a few words.
pub(super) struct Sources {
    pub(super) database: Result<Database, &'static str>,
    pub(super) broker: Result<Address, &'static str>,
    pub(super) management: Result<Management, &'static str>,
    /// `None` also where no keys are set: only some programs have them.
    pub(super) vault: Option<Vault>,
}

pub(super) fn look(config: Option<&Path>) -> (Vec<Finding>, Sources) {
    let mut settings = Settings::read(config);
    let everything = settings.everything(STATEMENT_TIMEOUT);
    let problems = settings.finish().err().map(|error| error.0).unwrap_or_default();
    let wrong = |name: &str| problems.iter().any(|problem| problem.starts_with(&format!("{name}:")));
    let broker = if wrong("broker.url") { Err("broker.url is not usable") } else { Ok(everything.broker) };
    let management = match (everything.management, &broker) {
        _ if wrong("broker.management_url") => Err("broker.management_url is not usable"),
        (None, _) => Err(NOT_SET),
        (Some(_), Err(why)) => Err(*why),
        (Some(url), Ok(broker)) => {
            Management::new(&url, broker).map_err(|_| "broker.management_url is not usable")
        }
    };
    let database = everything.database.ok_or("database.url is not usable");
    (judge(&problems), Sources { database, broker, management, vault: everything.vault })
}

fn judge(problems: &[String]) -> Vec<Finding> {
    let bad = |problem: &String| {
        Finding::bad(ABOUT, problem, "correct it in the environment or in the file of --config")
    };
    Finding::all_or(problems.iter().map(bad).collect(), ABOUT, "all that are set can be used")
}

#[cfg(test)]
mod tests {
    use super::super::finding::State;
    use super::*;

    #[test]
    fn each_problem_is_a_finding_with_advice() {
        assert_eq!(judge(&[]).len(), 1);
        let found = judge(&[
            "database.url: is missing".to_owned(),
            "worker.lane: there is no such setting".to_owned(),
        ]);
        assert_eq!(found.len(), 2);
        assert!(found.iter().all(|finding| finding.state == State::Bad && finding.advice.is_some()));
    }
}
