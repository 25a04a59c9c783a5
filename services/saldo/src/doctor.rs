//! `saldo doctor`: is everything as it should be, and if not, what is to be done.
//!
//! It asks and never tries: no statement that should be refused is sent, nothing is declared, published or written. What
//! cannot be reached is one line, which stands for all that would have been looked at there; the rest is looked at all the
//! same. Each section asks (bounded by the timeouts of [`ledger_access`](crate::ledger_access), [`BROKER_TIMEOUT`] and the
//! management API's own) and has pure functions that judge the answers; lines come as they are known.

mod broker;
mod clock;
mod configuration;
mod database;
mod finding;
mod roles;
mod users;

use std::path::Path;

use self::finding::{Finding, State};
use crate::output::Output;
use crate::{Done, Status, report};

/// Check settings, database, broker, and who may do what in them
///
/// One line for each thing that was looked at: ✓ is well, ✗ is not, with what to do about it, ? could not be looked at.
/// Reads only, and goes on after failures. Looks at: all settings; the database's connection, version, durability,
/// migrations, roles, privileges and triggers; the broker's connection, version, alarms, topology, consumers, and every
/// user who could do more than it should; clocks. With a user in `broker.management_url` that has not the tag
/// administrator, some of it cannot be looked at. Exit status 1 if anything is not well.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  saldo doctor
  saldo doctor --json | jq 'select(.state == \"bad\")'")]
pub(crate) struct Arguments {
    /// Print one JSON object a line
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(arguments: &Arguments, config: Option<&Path>, output: &mut Output) -> Done {
    let mut told = Told { json: arguments.json, colours: output.has_colours(), bad: 0, unknown: 0, all: 0 };
    let (findings, sources) = configuration::look(config);
    told.tell(&findings, output)?;
    let (findings, mut ledger) = database::look(sources.database, sources.vault.as_ref()).await;
    told.tell(&findings, output)?;
    told.tell(&broker::connect(sources.broker.as_ref()).await, output)?;
    let management = sources.management;
    told.tell(&broker::look(management.as_ref()).await, output)?;
    told.tell(&users::look(management.as_ref()).await, output)?;
    told.tell(&clock::look(ledger.as_mut(), management.as_ref()).await, output)?;
    Ok(told.end(output))
}

/// What has been told so far.
struct Told {
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
        let Self { bad, unknown, all, .. } = self;
        match (bad, unknown) {
            (0, 0) => Status::Good,
            (0, _) => {
                output
                    .message(format_args!("{unknown} of {all} could not be looked at, the others are well"));
                Status::Good
            }
            _ => {
                output.message(format_args!("{bad} of {all} are not well, {unknown} could not be looked at"));
                Status::Bad
            }
        }
    }
}
