//! `saldo outcomes`: what the ledger knows of a file's commands.

use std::path::Path;

use contract::MalformedReason;
use ledger::read;
use sqlx::PgConnection;

use crate::fate::Fate;
use crate::lines::{self, Line};
use crate::output::Output;
use crate::tracker::Tracker;
use crate::{Done, Status, ledger_access, report};

/// The contract's types are far shorter.
const LONGEST_TYPE: usize = 100;

/// Keys in one question.
const CHUNK: usize = 1000;

/// Show what became of a file's commands, from the ledger
///
/// For each non-empty line, what the ledger knows of the command under its key. A command that is still in a queue,
/// or in a queue of dead letters, is undecided. Publishes nothing. Exit status 1 if a line is undecided.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  saldo outcomes commissions.jsonl --json | jq 'select(.outcome == \"refused\")'"
)]
pub(crate) struct Arguments {
    /// JSON messages, one a line; - reads standard input
    file: String,
    /// Print one JSON object a line
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(arguments: Arguments, config: Option<&Path>, output: &mut Output) -> Done {
    let mut connection = ledger_access::open(config).await?;
    let lines = lines::parse(&lines::contents(&arguments.file)?);
    let mut tracker = Tracker::new(&lines, None);
    ask(&mut connection, &mut tracker).await?;
    let fates = lines.iter().zip(tracker.fates());
    let fates: Vec<Fate> = fates.map(|(line, fate)| fate.unwrap_or_else(|| unknown(line))).collect();
    report::outcomes(&lines, &fates, arguments.json, output)?;
    Ok(if fates.iter().any(Fate::is_undecided) { Status::Bad } else { Status::Good })
}

/// Asks the ledger for what is open; says whether it knew anything new.
pub(crate) async fn ask(connection: &mut PgConnection, tracker: &mut Tracker) -> Result<bool, sqlx::Error> {
    let mut news = false;
    for keys in tracker.questions().chunks(CHUNK) {
        let answers = read::outcomes(connection, keys).await?;
        news |= tracker.answer(&answers);
    }
    Ok(news)
}

/// A command of which the ledger has nothing: not arrived, or never to be decided.
fn unknown(line: &Line) -> Fate {
    let Err(malformed) = lines::understand(&line.body) else {
        return Fate::undecided(None, "The ledger has no such command.");
    };
    let message_type = line.message_type.as_deref().unwrap_or_default();
    let detail = match malformed.reason {
        MalformedReason::UnknownType => format!(
            "The ledger has no such command, and no worker of this release knows the type {}.",
            message_type.chars().take(LONGEST_TYPE).collect::<String>()
        ),
        _ => malformed.detail,
    };
    Fate::undecided(Some(malformed.reason.code()), detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(message_type: &str, data: &str) -> Fate {
        let body = format!(
            r#"{{"specversion":"1.0","id":"1","source":"/s","type":"{message_type}",
            "time":"2026-11-22T10:00:00Z","data":{data}}}"#
        );
        unknown(&Line::new(1, body.as_bytes()))
    }

    #[test]
    fn a_type_that_nobody_knows_is_named_with_its_version() {
        let credit = r#"{"merchant":"demo","customer":"c","amount":"1","currency":"EUR"}"#;
        assert_eq!(of("commission.credit.v1", credit).reason, None);
        for data in [credit, "{}"] {
            for wrong in ["commission.credit.v2", "commission.credit", "comission.credit.v1"] {
                let Fate { reason, detail, .. } = of(wrong, data);
                assert_eq!(reason.as_deref(), Some("unknown-type"));
                assert!(detail.as_ref().unwrap().contains(&format!("knows the type {wrong}.")), "{detail:?}");
            }
        }
        assert_eq!(of("commission.credit.v1", "{}").reason.as_deref(), Some("invalid-data"));
    }
}
