//! `saldo dead show`

use std::path::Path;

use contract::Actor;
use ledger::deed::DeedKind;
use ledger::vault::Vault;
use serde::Serialize;
use serde_json::Value;
use worker::dead::Letter;
use zeroize::Zeroizing;

use super::Error;
use super::act::{self, Particulars};
use super::body::{self, Body};
use super::find::{self, Filter, Look, Subject};
use super::indent;
use super::list::Row;
use crate::ledger_access::{self, STATEMENT_TIMEOUT};
use crate::output::Output;
use crate::settings::Settings;
use crate::{Done, Status, report};

/// A header's text is shown up to here; the publisher chose how long it is.
const HEADER: usize = 500;

/// Show everything about one letter
///
/// A body that is encrypted, or that may hold payout details in clear, is shown with --reveal only: on standard output, and
/// after it was written down for good that NAME has seen it. What is encrypted needs the setting payout.keys. Headers are the
/// publisher's own unless a worker made the letter. What the ledger knows of the command, `saldo dead discard --dry-run`
/// tells.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  saldo dead show 3f2a91c0d4e7
  saldo dead show 3f2a91c0d4e7 --reveal --actor anna@demo.example")]
pub(crate) struct Arguments {
    /// The letter's name, as listed, or how it begins
    #[arg(value_name = "LETTER", value_parser = find::letter)]
    letter: String,
    /// Show a body that may hold payout details
    #[arg(long, requires = "actor")]
    reveal: bool,
    /// Who looks at it
    #[arg(long, value_name = "NAME", requires = "reveal")]
    actor: Option<Actor>,
    /// Print a JSON object
    #[arg(long)]
    json: bool,
}

/// A letter as JSON.
#[derive(Serialize)]
struct Shown<'l> {
    #[serde(flatten)]
    row: Row<'l>,
    headers: &'l std::collections::BTreeMap<String, Value>,
    /// The body as it was published, where it is text and may be shown.
    body: Option<&'l str>,
    /// Why there is none.
    why_no_body: Option<String>,
}

pub(crate) async fn run(arguments: Arguments, config: Option<&Path>, output: &mut Output) -> Done {
    let Arguments { letter, reveal, actor, json } = arguments;
    let mut settings = Settings::read(config);
    let access = find::access(&mut settings);
    let revealed =
        if reveal { Some((settings.database(STATEMENT_TIMEOUT), settings.optional_vault())) } else { None };
    settings.finish()?;
    let mut look = Look::at(&access, &Filter::default(), output).await;
    look.name(&[letter], output);
    let shown = match look.chosen.first() {
        None => Ok(Status::Bad),
        Some(place) => {
            let letter = look.letter(*place);
            match revealed.zip(actor.as_ref()) {
                Some(((database, vault), actor)) => match ledger_access::connect(database).await {
                    Ok(mut ledger) => {
                        reveal_to(actor, letter, vault.as_ref(), &mut ledger, json, output).await
                    }
                    Err(error) => Err(error.into()),
                },
                None => print(letter, &withheld(letter), json, output).map(|()| Status::Good),
            }
        }
    };
    let status = look.close(output).await;
    Ok(if shown? == Status::Good { status } else { Status::Bad })
}

/// The body, or why it is not shown without further ado.
fn withheld(letter: &Letter) -> Result<Body<'_>, String> {
    match &letter.dead.key_id {
        Some(key_id) => Err(format!("it is encrypted with the key {key_id}; --reveal shows it")),
        None if letter.may_hold_secrets() => {
            Err("it may hold payout details in clear; --reveal shows it".to_owned())
        }
        None => body::open(letter, None),
    }
}

/// Writes down that somebody sees the body, then shows it.
async fn reveal_to(
    actor: &Actor,
    letter: &Letter,
    vault: Option<&Vault>,
    ledger: &mut sqlx::PgConnection,
    json: bool,
    output: &mut Output,
) -> Done {
    let body = body::open(letter, vault);
    if let Ok(body) = &body {
        let subject = Subject::read(body);
        act::record(ledger, DeedKind::Reveal, actor, letter, &subject, Particulars::default()).await?;
    }
    print(letter, &body, json, output)?;
    Ok(if body.is_ok() { Status::Good } else { Status::Bad })
}

fn print(
    letter: &Letter,
    body: &Result<Body<'_>, String>,
    json: bool,
    output: &mut Output,
) -> Result<(), Error> {
    let row = Row::of(letter);
    let text = match body {
        Ok(body) => std::str::from_utf8(body).map_err(|_| format!("its {} bytes are no text", body.len())),
        Err(why) => Err(why.clone()),
    };
    if json {
        let (body, why_no_body) = (text.as_ref().ok().copied(), text.err());
        output.json(&Shown { row, headers: &letter.headers, body, why_no_body })?;
        return Ok(());
    }
    let Value::Object(fields) = serde_json::to_value(&row)? else { return Ok(()) };
    // Whether a body is withheld is read as whether it is kept from view: what is said of the body says that.
    let is_shown = |name: &str, value: &Value| !value.is_null() && (name != "withheld" || *value == true);
    for (name, value) in fields.iter().filter(|(name, value)| is_shown(name, value)) {
        field(&name.replace('_', " "), value, output)?;
    }
    for (name, value) in &letter.headers {
        field(&format!("header {name}"), value, output)?;
    }
    match text {
        Err(why) => output.line(report::visible(&format!("body: {why}")))?,
        Ok(text) => {
            output.line("")?;
            indent::lines(text, |line| output.line(Zeroizing::new(report::visible(line)).as_str()))?;
        }
    }
    Ok(())
}

fn field(name: &str, value: &Value, output: &mut Output) -> std::io::Result<()> {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let shown: String = text.chars().take(HEADER).collect();
    let rest = if shown.len() < text.len() { "…" } else { "" };
    output.line(report::visible(&format!("{name}: {shown}{rest}")))
}
