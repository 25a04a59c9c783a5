//! `saldo doctor`: is everything as it should be, and if not, what is to be done.
//!
//! It asks and never tries: no statement that should be refused is sent, nothing is declared, published or written. What
//! cannot be reached has a line that says why and what to do, and each section that would have been looked at there has one
//! that says that it was not: nobody is to take silence for health. The rest is looked at all the same. Each section asks
//! (bounded by the timeouts of [`ledger_access`](crate::ledger_access), [`BROKER_TIMEOUT`](crate::settings::BROKER_TIMEOUT) and
//! the management API's own) and has pure functions that judge the answers; lines come as they are known.

mod advice;
mod broker;
mod clock;
mod configuration;
mod database;
mod finding;
mod memberships;
mod roles;
mod users;

use std::path::Path;

use worker::broker::Address;

use self::finding::{Finding, State};
use crate::output::Output;
use crate::{Done, Status, report};

/// The sections, in the order in which they are told.
const SECTIONS: [&str; 14] = [
    configuration::ABOUT,
    database::ABOUT,
    database::MIGRATIONS,
    roles::ABOUT,
    roles::PRIVILEGES,
    roles::TRIGGERS,
    database::KEYS,
    broker::ABOUT,
    broker::ALARMS,
    broker::TOPOLOGY,
    broker::QUEUES,
    broker::CONSUMERS,
    users::ABOUT,
    clock::ABOUT,
];

/// Check settings, database, broker, and who may do what in them
///
/// One line for each thing that was looked at: ✓ is well, ✗ is not, with what to do about it, ? could not be looked at.
/// Reads only, and goes on after failures. Looks at: all settings; the database's connection, version, durability,
/// migrations, roles, who is a member of them, privileges and triggers; the broker's connection, version, alarms, topology,
/// consumers, and every user who could do more than it should; clocks. Without `broker.management_url`, or with a user in it
/// that has not the tag administrator, some of it cannot be looked at. Exit status 1 if anything is not well or could not be
/// looked at: what nobody has seen may be anything. What is not to be seen from here is left out with `--skip`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  saldo doctor
  saldo doctor --skip keys --skip users
  saldo doctor --json | jq 'select(.state != \"good\")'")]
pub(crate) struct Arguments {
    /// Say nothing about this, and let it not count; can be given several times
    #[arg(long, value_name = "SECTION", value_parser = SECTIONS)]
    skip: Vec<String>,
    /// Print one JSON object a line
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(arguments: Arguments, config: Option<&Path>, output: &mut Output) -> Done {
    let Arguments { skip, json } = arguments;
    let mut told = Told { skip, json, colours: output.has_colours(), bad: 0, unknown: 0, all: 0 };
    let (findings, sources) = configuration::look(config);
    told.tell(&findings, output)?;
    let (findings, mut ledger) = database::look(sources.database, sources.vault.as_ref()).await;
    told.tell(&findings, output)?;
    told.tell(&broker::connect(sources.broker.as_ref()).await, output)?;
    let (findings, management) = broker::look(sources.management).await;
    told.tell(&findings, output)?;
    let user = sources.broker.as_ref().ok().map(Address::user);
    told.tell(&users::look(management.as_ref(), user).await, output)?;
    told.tell(&clock::look(ledger.as_mut(), management.as_ref()).await, output)?;
    Ok(told.end(output))
}

/// What has been told so far.
struct Told {
    skip: Vec<String>,
    json: bool,
    colours: bool,
    bad: usize,
    unknown: usize,
    all: usize,
}

impl Told {
    /// The broadest `about`.
    const WIDTH: usize = 10;

    fn tell(&mut self, findings: &[Finding], output: &mut Output) -> std::io::Result<()> {
        for finding in findings {
            if self.skip.iter().any(|section| section == finding.about) {
                continue;
            }
            self.all += 1;
            self.bad += usize::from(finding.state == State::Bad);
            self.unknown += usize::from(finding.state == State::Unknown);
            if self.json {
                output.json(finding)?;
                continue;
            }
            let mark = finding.state.mark();
            let mark = if self.colours {
                format!("\x1b[{}m{mark}\x1b[0m", finding.state.colour())
            } else {
                mark.to_owned()
            };
            output.line(format_args!(
                "{mark} {:width$}  {}",
                finding.about,
                report::visible(&finding.what),
                width = Self::WIDTH
            ))?;
            if let Some(advice) = &finding.advice {
                output.line(format_args!(
                    "{:width$}→ {}",
                    "",
                    report::visible(advice),
                    width = Self::WIDTH + 4
                ))?;
            }
        }
        output.flush()
    }

    fn end(&self, output: &mut Output) -> Status {
        let summary = summary(self.bad, self.unknown, self.all);
        if let Some(summary) = &summary {
            output.message(summary);
        }
        if summary.is_none() { Status::Good } else { Status::Bad }
    }
}

/// What was not well, or not looked at, of how many; `None`: nothing.
fn summary(bad: usize, unknown: usize, all: usize) -> Option<String> {
    let are = |number| if number == 1 { "is" } else { "are" };
    match (bad, unknown) {
        (0, 0) => None,
        (0, _) => Some(format!("{unknown} of {all} could not be looked at, what was is well")),
        (_, 0) => Some(format!("{bad} of {all} {} not well", are(bad))),
        _ => Some(format!("{bad} of {all} {} not well, {unknown} could not be looked at", are(bad))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_counts_and_what_was_not_seen_is_not_well() {
        assert_eq!(summary(0, 0, 20), None);
        assert_eq!(summary(1, 0, 21).unwrap(), "1 of 21 is not well");
        assert_eq!(summary(2, 1, 21).unwrap(), "2 of 21 are not well, 1 could not be looked at");
        assert_eq!(summary(0, 1, 21).unwrap(), "1 of 21 could not be looked at, what was is well");
    }
}
