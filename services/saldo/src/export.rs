//! `saldo export`

use std::fmt::Write as _;
use std::path::Path;
use std::pin::pin;

use contract::{Currency, MerchantId, Timestamp};
use futures_util::{StreamExt as _, TryStreamExt as _};
use ledger::read::{Journal, JournalEntry, Opening};

use crate::output::Output;
use crate::{Done, Status, ledger_access, moment, sheet};

/// Rows that are made into CSV at once.
const CHUNK: usize = 500;

/// Write a shop's journal to standard output
///
/// As of one moment, oldest first. A period goes by the time of posting; a day begins at midnight in UTC:
/// --since 2026-11-01 --until 2026-12-01 is November.
///
/// csv: UTF-8, a row for each of an entry's two lines. Balances are owed to customers, so crediting a customer credits
/// `customer:ID` and debits the other side. A text from outside that a spreadsheet would take for a formula has an
/// apostrophe put before it; amounts are Saldo's own and have none.
///
/// hledger: a journal for hledger (hledger.org) and its relatives, strict and with every balance asserted; a period
/// begins with what customers had. Customers are `liabilities:customers:ID`, in which everything but letters, digits
/// and `-_.@` is written as in URLs (%20 is a space). In descriptions, characters that mean something to hledger are
/// replaced; csv has the exact texts.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  saldo export demo --format csv --since 2026-11-01 --until 2026-12-01 > november.csv
  saldo export demo --format hledger > demo.journal && hledger -f demo.journal check --strict
  hledger -f demo.journal balance liabilities --invert    # what is owed to whom")]
pub(crate) struct Arguments {
    /// The shop
    merchant: MerchantId,
    /// How it is written
    #[arg(long, value_enum)]
    format: Format,
    /// Without what was posted before this day or time
    #[arg(long, value_name = "TIME", value_parser = moment::parse)]
    since: Option<Timestamp>,
    /// Without what was posted at this day or time, or after it
    #[arg(long, value_name = "TIME", value_parser = moment::parse)]
    until: Option<Timestamp>,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Format {
    Csv,
    Hledger,
}

pub(crate) async fn run(arguments: Arguments, config: Option<&Path>, output: &mut Output) -> Done {
    let Arguments { merchant, format, since, until } = arguments;
    let mut connection = ledger_access::open_for_long(config).await?;
    let Some(mut journal) = Journal::open(&mut connection, &merchant, since, until).await? else {
        output.message(format_args!("there is no merchant {merchant}"));
        return Ok(Status::Bad);
    };
    match format {
        Format::Csv => csv(&merchant, &mut journal, output).await?,
        Format::Hledger => {
            let period = [("since", since), ("until", until)];
            let period = period.map(|(word, time)| time.map(|time| format!(", {word} {time}")));
            let period = period.into_iter().flatten().collect::<String>();
            output.line(format_args!("; Journal of {merchant} as of {}{period}", journal.moment()))?;
            hledger(&mut journal, since, output).await?;
        }
    }
    Ok(Status::Good)
}

type Written = Result<(), Box<dyn std::error::Error + Send + Sync>>;

async fn csv(merchant: &MerchantId, journal: &mut Journal<'_>, output: &mut Output) -> Written {
    let header = [
        "merchant",
        "customer",
        "currency",
        "entry",
        "kind",
        "account",
        "debit",
        "credit",
        "balance_after",
        "occurred_at",
        "recorded_at",
        "order",
        "reference",
        "note",
        "actor",
        "user",
        "reverses",
        "command_source",
        "command_id",
    ];
    sheet::rows([header.map(str::to_owned)], output)?;
    let mut entries = pin!(journal.entries().try_chunks(CHUNK));
    while let Some(chunk) = entries.next().await {
        let chunk = chunk.map_err(|error| error.1)?;
        sheet::rows(chunk.iter().flat_map(|entry| lines(merchant, entry)), output)?;
    }
    Ok(())
}

/// The customer's line and the other side's.
fn lines(merchant: &MerchantId, entry: &JournalEntry) -> [[String; 19]; 2] {
    let outside = |text: &str| sheet::text(text).into_owned();
    let text = |text: &Option<String>| text.as_deref().map(outside).unwrap_or_default();
    let (source, id) = entry.command.as_ref().map_or(("", ""), |of| (of.source.as_str(), of.id.as_str()));
    let line = |account: String, credited: bool, balance_after: String| {
        let amount = entry.amount.to_string();
        let (debit, credit) = if credited { (String::new(), amount) } else { (amount, String::new()) };
        [
            outside(merchant.as_str()),
            outside(entry.customer.as_str()),
            entry.currency.to_string(),
            entry.id.to_string(),
            entry.kind.clone(),
            account,
            debit,
            credit,
            balance_after,
            entry.occurred_at.to_string(),
            entry.recorded_at.to_string(),
            text(&entry.order),
            text(&entry.reference),
            text(&entry.note),
            text(&entry.actor),
            text(&entry.user),
            entry.reverses.map(|id| id.to_string()).unwrap_or_default(),
            outside(source),
            outside(id),
        ]
    };
    [
        line(format!("customer:{}", entry.customer), entry.is_credit, entry.balance_after.to_string()),
        line(entry.counterpart.clone(), !entry.is_credit, String::new()),
    ]
}

/// What a period begins with is not from anywhere in it.
const OPENING: &str = "equity:opening-balances";

async fn hledger(journal: &mut Journal<'_>, since: Option<Timestamp>, output: &mut Output) -> Written {
    output.line("; Customers' balances are owed to them: a credit is negative here.")?;
    output.line("decimal-mark .\n")?;
    for currency in journal.currencies().await? {
        output.line(commodity(currency))?;
    }
    for counterpart in ["commissions", "adjustments", "payouts"] {
        output.line(format_args!("account {}", other_side(counterpart)))?;
    }
    output.line(format_args!("account {OPENING}"))?;
    {
        let mut customers = pin!(journal.customers());
        while let Some(customer) = customers.try_next().await? {
            output.line(format_args!("account {}", liability(customer.as_str())))?;
        }
    }
    if let Some(since) = since {
        let mut openings = pin!(journal.openings());
        while let Some(opening) = openings.try_next().await? {
            output.line(format_args!("\n{}", opening_transaction(since, &opening)))?;
        }
    }
    let mut entries = pin!(journal.entries());
    while let Some(entry) = entries.try_next().await? {
        output.line(format_args!("\n{}", transaction(&entry)))?;
    }
    Ok(())
}

/// How its amounts look: with a decimal mark, and as many decimals as there are.
fn commodity(currency: Currency) -> String {
    let decimals = usize::try_from(currency.exponent()).unwrap_or(0);
    format!("commodity 1000.{:0<decimals$} {currency}", "")
}

fn other_side(counterpart: &str) -> String {
    match counterpart {
        "commissions" | "adjustments" => format!("expenses:{counterpart}"),
        "payouts" => "assets:payouts".to_owned(),
        other => format!("equity:{}", escaped(other)),
    }
}

fn liability(customer: &str) -> String {
    format!("liabilities:customers:{}", escaped(customer))
}

/// Account names end at two spaces, colons divide them, and some first characters mean something: a customer's id is
/// one part of a name, and another customer's another one.
fn escaped(id: &str) -> String {
    let mut name = String::with_capacity(id.len());
    for c in id.chars() {
        if c.is_ascii_alphanumeric() || "-_.@".contains(c) || (!c.is_ascii() && c.is_alphanumeric()) {
            name.push(c);
        } else {
            for byte in c.encode_utf8(&mut [0; 4]).bytes() {
                let _ = write!(name, "%{byte:02X}");
            }
        }
    }
    name
}

/// A description ends with the line or where a comment begins; a bar divides payee and note.
fn described(text: &str) -> String {
    let mut description = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            ';' => description.push(','),
            '|' => description.push('/'),
            c if c.is_whitespace() || c.is_control() => {
                if !description.ends_with(' ') {
                    description.push(' ');
                }
            }
            c => description.push(c),
        }
    }
    description
}

fn opening_transaction(since: Timestamp, opening: &Opening) -> String {
    let Opening { customer, currency, balance } = opening;
    let balance = balance.to_string();
    let (owed, other) = (inverted(&balance), balance);
    let customer = liability(customer.as_str());
    format!(
        "{} opening balance\n    {customer}  {owed} {currency} = {owed} {currency}\n    {OPENING}  {other} {currency}",
        since.get().date()
    )
}

fn transaction(entry: &JournalEntry) -> String {
    let mut description = entry.kind.clone();
    for (word, text) in [(", order ", &entry.order), (", reference ", &entry.reference), (": ", &entry.note)]
    {
        if let Some(text) = text {
            description.push_str(word);
            description.push_str(&described(text));
        }
    }
    let (amount, currency) = (entry.amount.to_string(), entry.currency);
    let (customer, other) =
        if entry.is_credit { (inverted(&amount), amount) } else { (amount.clone(), inverted(&amount)) };
    format!(
        "{} ({}) {description}\n    {}  {customer} {currency} = {} {currency}\n    {}  {other} {currency}",
        entry.posted_at.get().date(),
        entry.id,
        liability(entry.customer.as_str()),
        inverted(&entry.balance_after.to_string()),
        other_side(&entry.counterpart),
    )
}

/// With the other sign; zero has none.
fn inverted(amount: &str) -> String {
    match amount.strip_prefix('-') {
        Some(amount) => amount.to_owned(),
        None if amount.contains(|digit: char| ('1'..='9').contains(&digit)) => format!("-{amount}"),
        None => amount.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_customers_share_an_account_name() {
        let ids = [
            "a b", "a  b", "a:b", "a%20b", "a%b", " a", "(a)", "[a]", "*a", "ä", "a;b", "a\u{a0}b", "a@b.de",
        ];
        let names: std::collections::BTreeSet<String> = ids.iter().map(|id| escaped(id)).collect();
        assert_eq!(names.len(), ids.len());
        assert_eq!(escaped("a  b:c;d%ä"), "a%20%20b%3Ac%3Bd%25ä");
        assert_eq!(escaped("c-17_x@example.org"), "c-17_x@example.org");
    }

    #[test]
    fn a_description_is_one_line_without_comment() {
        assert_eq!(described("a\n  b\t; c | d"), "a b , c / d");
    }

    #[test]
    fn amounts_change_their_sign() {
        for (amount, other) in [("12.50", "-12.50"), ("-12.50", "12.50"), ("0.00", "0.00"), ("0", "0")] {
            assert_eq!(inverted(amount), other);
        }
    }

    #[test]
    fn a_currency_shows_its_decimals() {
        for (currency, directive) in [
            ("JPY", "commodity 1000. JPY"),
            ("EUR", "commodity 1000.00 EUR"),
            ("KWD", "commodity 1000.000 KWD"),
        ] {
            assert_eq!(commodity(currency.parse().unwrap()), directive);
        }
    }
}
