//! What was verified, as metrics for the textfile collector of Prometheus' node exporter: nobody asks a program that runs
//! once a day for its metrics.

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::time::Duration;

use ledger::read::{Check, Verification};

use super::new_file::NewFile;

/// The kind of the faults that are not told one by one.
const MORE: &str = "more";

/// Writes and keeps the file. Every kind of fault is there, those that were not found with 0.
pub(super) fn write(mut file: NewFile, verification: &Verification, took: Duration) -> io::Result<()> {
    file.write_all(text(verification, took)?.as_bytes())?;
    file.keep()
}

fn text(verification: &Verification, took: Duration) -> io::Result<String> {
    let Verification { moment, accounts, faults, more, .. } = verification;
    let name =
        |check: Check| Ok::<_, io::Error>(serde_json::to_value(check)?.as_str().unwrap_or(MORE).to_owned());
    let mut kinds = BTreeMap::from([(MORE.to_owned(), *more)]);
    for check in Check::ALL {
        kinds.insert(name(check)?, 0);
    }
    for fault in faults {
        *kinds.entry(name(fault.check)?).or_default() += 1;
    }
    let mut text = "# HELP saldo_verify_faults What does not hold in the ledger, by what was looked at\n\
                    # TYPE saldo_verify_faults gauge\n"
        .to_owned();
    text.extend(
        kinds.iter().map(|(kind, count)| format!("saldo_verify_faults{{kind=\"{kind}\"}} {count}\n")),
    );
    let figures = [
        ("accounts", "Accounts that were read", accounts.to_string()),
        ("timestamp_seconds", "As of when the ledger was read", moment.get().unix_timestamp().to_string()),
        ("duration_seconds", "How long it took", took.as_secs_f64().to_string()),
    ];
    text.extend(figures.map(|(name, help, value)| {
        let name = format!("saldo_verify_{name}");
        format!("# HELP {name} {help}\n# TYPE {name} gauge\n{name} {value}\n")
    }));
    Ok(text)
}
