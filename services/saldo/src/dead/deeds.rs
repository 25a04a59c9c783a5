//! `saldo dead deeds`

use std::num::NonZeroU32;
use std::path::Path;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use contract::Actor;
use ledger::deed::DeedKind;
use ledger::read::{self, DeedsWanted, RecordedDeed};

use super::find::{self, SHORT};
use crate::output::Output;
use crate::{Done, Status, ledger_access, number, report};

const PAGE: u32 = 500;

/// Show who did what with dead letters, newest first
///
/// A deed is written down before it is done, by the database's clock and with the database's role, and nobody can change it
/// afterwards. A letter that is still in its queue was not replayed or discarded after all.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  saldo dead deeds --limit 20
  saldo dead deeds --kind discard --actor anna --json")]
pub(crate) struct Arguments {
    /// Only what this person did
    #[arg(long, value_name = "NAME")]
    actor: Option<Actor>,
    /// Only this was done
    #[arg(long, value_name = "KIND", value_parser = kind())]
    kind: Option<DeedKind>,
    /// Only what was done to this letter: its name, or how it begins
    #[arg(long, value_name = "LETTER", value_parser = find::letter)]
    letter: Option<String>,
    /// Only the first N
    #[arg(long, value_name = "N", value_parser = number::count)]
    limit: Option<NonZeroU32>,
    /// Print one JSON object a line
    #[arg(long)]
    json: bool,
}

/// For clap, which offers them.
fn kind() -> impl TypedValueParser<Value = DeedKind> {
    PossibleValuesParser::new(DeedKind::ALL.map(DeedKind::as_str)).try_map(|kind| kind.parse())
}

pub(crate) async fn run(arguments: Arguments, config: Option<&Path>, output: &mut Output) -> Done {
    let Arguments { actor, kind, letter, limit, json } = arguments;
    let mut connection = ledger_access::open(config).await?;
    let mut wanted = DeedsWanted { actor, kind, letter, before: None };
    let (mut left, mut any) = (number::or_all(limit), false);
    while left > 0 {
        let size = left.min(PAGE);
        let deeds = read::deeds(&mut connection, &wanted, i64::from(size)).await?;
        any |= !deeds.is_empty();
        if json {
            deeds.iter().try_for_each(|deed| output.json(deed))?;
        } else if !deeds.is_empty() {
            table(&deeds, output)?;
        }
        left -= size;
        wanted.before = deeds.last().map(|deed| deed.id);
        if deeds.len() < size as usize {
            break;
        }
    }
    if !any {
        output.message("there are no such deeds");
    }
    Ok(Status::Good)
}

fn table(deeds: &[RecordedDeed], output: &mut Output) -> std::io::Result<()> {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let rows = deeds.iter().map(|deed| {
        [
            deed.id.to_string(),
            deed.recorded_at.to_string(),
            deed.actor.clone(),
            deed.kind.clone(),
            deed.letter[..SHORT].to_owned(),
            deed.queue.clone(),
            text(&deed.reason),
            text(&deed.name),
            text(&deed.merchant),
            text(&deed.command_id),
            text(&deed.note),
        ]
    });
    let header = ["deed", "recorded", "by", "did", "letter", "queue", "reason", "type", "shop", "id", "note"];
    report::table(header, &[0], rows, output)
}
