//! `saldo merchant`

use std::path::Path;

use clap::Subcommand;
use contract::MerchantId;
use ledger::Merchant;
use ledger::read::{MerchantPut, put_merchant};
use serde_json::{Map, Value};

use crate::output::Output;
use crate::{Done, Status, ledger_access, lines};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Register a shop, or change its preferences
    ///
    /// The file holds one JSON object: `merchant` (1 to 63 lower-case letters, digits and hyphens), `name`, and
    /// optionally `hold_days` (days until a commission is credited; 0, the default, credits at once). Putting the
    /// same file again changes nothing.
    #[command(
        after_help = "Example:\n  echo '{\"merchant\":\"demo\",\"name\":\"Demo shop\",\"hold_days\":14}' | saldo merchant put -"
    )]
    Put {
        /// A JSON file; - reads standard input
        file: String,
    },
}

pub(crate) async fn run(command: Command, config: Option<&Path>, output: &mut Output) -> Done {
    let Command::Put { file } = command;
    let merchant = match parse(&lines::contents(&file)?) {
        Ok(merchant) => merchant,
        Err(problems) => {
            let problems = problems.join("\n  - ");
            let file = if file == "-" { "standard input" } else { &file };
            output.message(format_args!("{file} holds no merchant:\n  - {problems}"));
            return Ok(Status::Bad);
        }
    };
    let mut connection = ledger_access::open(config).await?;
    let what = match put_merchant(&mut connection, &merchant).await? {
        MerchantPut::Registered => "registered",
        MerchantPut::Changed => "changed",
        MerchantPut::Unchanged => "unchanged",
    };
    output.line(format_args!("{} {what}", merchant.id))?;
    Ok(Status::Good)
}

/// The merchant, or everything that is wrong with the text.
fn parse(text: &[u8]) -> Result<Merchant, Vec<String>> {
    let Value::Object(fields) = serde_json::from_slice(text).map_err(|error| vec![error.to_string()])? else {
        return Err(vec!["expected a JSON object".to_owned()]);
    };
    let mut problems = Vec::new();
    let id = field(&fields, "merchant", None, &mut problems, |value| {
        value.as_str().ok_or("expected a string")?.parse::<MerchantId>()
    });
    let name = field(&fields, "name", None, &mut problems, |value| {
        value.as_str().map(str::to_owned).ok_or_else(|| "expected a string".to_owned())
    });
    let hold_days = field(&fields, "hold_days", Some(0), &mut problems, |value| {
        let days = value.as_u64().and_then(|days| u16::try_from(days).ok());
        days.ok_or_else(|| format!("expected a whole number from 0 to {}", Merchant::MAX_HOLD_DAYS))
    });
    // Stands in for what is already among the problems.
    let stand_in = "-";
    let merchant = Merchant {
        id: id.map_or_else(|| stand_in.parse(), Ok).map_err(|problem| vec![problem])?,
        name: name.unwrap_or_else(|| stand_in.to_owned()),
        hold_days: hold_days.unwrap_or(0),
    };
    let known = ["merchant", "name", "hold_days"];
    let unknown = fields.keys().filter(|key| !known.contains(&key.as_str()));
    problems
        .extend(unknown.map(|key| format!("{key}: there is no such field; expected {}", known.join(", "))));
    problems.extend(merchant.problems());
    if problems.is_empty() { Ok(merchant) } else { Err(problems) }
}

fn field<T>(
    fields: &Map<String, Value>,
    name: &str,
    default: Option<T>,
    problems: &mut Vec<String>,
    read: impl FnOnce(&Value) -> Result<T, String>,
) -> Option<T> {
    let Some(value) = fields.get(name) else {
        if default.is_none() {
            problems.push(format!("{name}: is missing"));
        }
        return default;
    };
    read(value).map_err(|problem| problems.push(format!("{name}: {problem}"))).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_merchant_needs_no_hold_period() {
        let merchant = parse(br#"{ "merchant": "demo", "name": "Demo shop" }"#).unwrap();
        assert_eq!(
            (merchant.id.as_str(), merchant.name.as_str(), merchant.hold_days),
            ("demo", "Demo shop", 0)
        );
    }

    #[test]
    fn all_problems_are_named() {
        let text = br#"{ "merchant": "De mo", "name": "", "hold_days": -1, "hold_day": 3 }"#;
        let problems = parse(text).unwrap_err();
        let fields: Vec<&str> = problems.iter().filter_map(|problem| problem.split(':').next()).collect();
        assert_eq!(fields, ["merchant", "hold_days", "hold_day", "name"], "{problems:?}");
        assert_eq!(parse(b"{}").unwrap_err(), ["merchant: is missing", "name: is missing"]);
        assert_eq!(parse(b"[]").unwrap_err(), ["expected a JSON object"]);
    }
}
