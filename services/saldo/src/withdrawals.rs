//! `saldo withdrawals`

use std::io;
use std::num::NonZeroU32;
use std::path::Path;

use clap::Subcommand;
use contract::payout::{BankAccount, Bic, OtherMethod, Paypal};
use contract::{Actor, CustomerId, MerchantId, PayoutMethod, WithdrawalId, WithdrawalState};
use ledger::read::{self, Transition, Withdrawal};
use ledger::treasury;
use serde::Serialize;

use crate::output::Output;
use crate::settings::Settings;
use crate::{Done, Status, ledger_access, number, report};

const PAGE: u32 = 500;

/// Show requests for payout
///
/// Without a subcommand, a shop's withdrawals, as `list` does.
#[derive(Debug, clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    after_help = "Examples:
  saldo withdrawals demo --open
  saldo withdrawals demo --customer c-17 --json
  saldo withdrawals show 6f1d3c… --reveal --actor anna@demo.example"
)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    list: Option<List>,
}

#[derive(Debug, Subcommand)]
enum Command {
    List(List),
    Show(Show),
}

/// Show a shop's withdrawals, newest first; those that are open, the longest waiting first
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  saldo withdrawals list demo --state approved")]
struct List {
    /// The shop
    merchant: MerchantId,
    /// Only this customer's
    #[arg(long, value_name = "ID")]
    customer: Option<CustomerId>,
    /// Only those requested or approved: what is to be done
    #[arg(long, conflicts_with = "state")]
    open: bool,
    /// Only those in this state: requested, approved, paid, rejected or cancelled
    #[arg(long, value_name = "STATE")]
    state: Option<WithdrawalState>,
    /// Only the first N
    #[arg(long, value_name = "N", value_parser = number::count)]
    limit: Option<NonZeroU32>,
    /// Print one JSON object a line
    #[arg(long)]
    json: bool,
}

/// Show one withdrawal with everything that happened to it
///
/// With --reveal also where the money goes, in clear and on standard output only. This needs the settings
/// `treasury.database_url`, a login of the role `saldo_treasurer`, and `payout.keys`; that NAME has seen it is written
/// down for good before anything is shown.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  saldo withdrawals show 6f1d3c… --reveal --actor anna@demo.example")]
struct Show {
    /// The withdrawal, as listed and in its events
    id: WithdrawalId,
    /// Show the payout details
    #[arg(long, requires = "actor")]
    reveal: bool,
    /// Who looks at them
    #[arg(long, value_name = "NAME", requires = "reveal")]
    actor: Option<Actor>,
    /// Print a JSON object
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(arguments: Arguments, config: Option<&Path>, output: &mut Output) -> Done {
    match (arguments.command, arguments.list) {
        (Some(Command::Show(show)), _) => self::show(show, config, output).await,
        (Some(Command::List(list)), _) | (None, Some(list)) => self::list(list, config, output).await,
        (None, None) => Err("which shop?".into()),
    }
}

async fn list(list: List, config: Option<&Path>, output: &mut Output) -> Done {
    let List { merchant, customer, open, state, limit, json } = list;
    let mut connection = ledger_access::open(config).await?;
    let connection = &mut connection;
    let (mut left, mut from, mut any) = (number::or_all(limit), None, false);
    while left > 0 {
        let size = left.min(PAGE);
        let (customer, after, limit) = (customer.as_ref(), from.as_ref(), i64::from(size));
        let page = if open {
            read::open_withdrawals(connection, &merchant, customer, after, limit).await?
        } else {
            read::withdrawals(connection, &merchant, customer, state, after, limit).await?
        };
        any |= !page.withdrawals.is_empty();
        if json {
            page.withdrawals.iter().try_for_each(|withdrawal| output.json(withdrawal))?;
        } else if !page.withdrawals.is_empty() {
            table(&page.withdrawals, output)?;
        }
        left -= size;
        from = page.next;
        if from.is_none() {
            break;
        }
    }
    if !any {
        output.message(format_args!("{merchant} has no such withdrawals"));
    }
    Ok(Status::Good)
}

fn table(withdrawals: &[Withdrawal], output: &mut Output) -> io::Result<()> {
    let rows = withdrawals.iter().map(|withdrawal| {
        [
            withdrawal.requested_at.to_string(),
            withdrawal.id.to_string(),
            withdrawal.customer.to_string(),
            withdrawal.amount.to_string(),
            withdrawal.currency.to_string(),
            withdrawal.state.as_str().to_owned(),
            withdrawal.payout.masked.clone(),
            withdrawal.changed_at.to_string(),
        ]
    });
    let header = ["requested", "withdrawal", "customer", "amount", "currency", "state", "to", "since"];
    report::table(header, &[3], rows, output)
}

/// A withdrawal as JSON.
#[derive(Serialize)]
struct Shown<'a> {
    merchant: &'a MerchantId,
    #[serde(flatten)]
    withdrawal: &'a Withdrawal,
    #[serde(skip_serializing_if = "Option::is_none")]
    payout_details: Option<&'a PayoutMethod>,
}

async fn show(show: Show, config: Option<&Path>, output: &mut Output) -> Done {
    let Show { id, reveal: _, actor, json } = show;
    let mut settings = Settings::read(config);
    // The treasurer may read all that is shown here: one login is enough.
    let vault = actor.as_ref().and_then(|_| settings.vault());
    let database = if actor.is_some() {
        settings.treasury(ledger_access::STATEMENT_TIMEOUT)
    } else {
        settings.database(ledger_access::STATEMENT_TIMEOUT)
    };
    settings.finish()?;
    let mut connection = ledger_access::connect(database).await?;
    let connection = &mut connection;
    let found = match read::withdrawal_owner(connection, id).await? {
        Some(merchant) => {
            read::withdrawal(connection, &merchant, id).await?.map(|withdrawal| (merchant, withdrawal))
        }
        None => None,
    };
    let Some((merchant, withdrawal)) = found else {
        output.message(format_args!("there is no withdrawal {id}"));
        return Ok(Status::Bad);
    };
    let revealed = match (&actor, &vault) {
        (Some(actor), Some(vault)) => treasury::reveal(connection, vault, id, actor).await?,
        _ => None,
    };
    let details = revealed.as_ref().map(|revealed| &revealed.method);
    if json {
        output.json(&Shown { merchant: &merchant, withdrawal: &withdrawal, payout_details: details })?;
    } else {
        facts(&merchant, &withdrawal, details, output)?;
        output.line("")?;
        transitions(&withdrawal.transitions, output)?;
    }
    Ok(Status::Good)
}

fn facts(
    merchant: &MerchantId,
    withdrawal: &Withdrawal,
    details: Option<&PayoutMethod>,
    output: &mut Output,
) -> io::Result<()> {
    let Withdrawal { id, customer, amount, currency, payout, .. } = withdrawal;
    let request = withdrawal.request.as_ref();
    let mut facts = vec![
        ("withdrawal", id.to_string()),
        ("merchant", merchant.to_string()),
        ("customer", customer.to_string()),
        ("amount", format!("{amount} {currency}")),
        ("state", withdrawal.state.as_str().to_owned()),
        ("to", format!("{} {} (version {})", payout.kind, payout.masked, payout.version)),
        ("requested", withdrawal.requested_at.to_string()),
        (
            "by command",
            request.map(|request| format!("{} {}", request.source, request.id)).unwrap_or_default(),
        ),
        ("entry", report::optional(withdrawal.entry.as_ref())),
    ];
    match details {
        Some(PayoutMethod::BankAccount(BankAccount { iban, bic, holder })) => facts.extend([
            ("IBAN", iban.as_str().to_owned()),
            ("BIC", report::optional(bic.as_ref().map(Bic::as_str))),
            ("holder", holder.as_str().to_owned()),
        ]),
        Some(PayoutMethod::Paypal(Paypal { email })) => facts.push(("PayPal", email.as_str().to_owned())),
        Some(PayoutMethod::Other(OtherMethod { text })) => facts.push(("pay", text.as_str().to_owned())),
        None => {}
    }
    for (name, fact) in facts.into_iter().filter(|(_, fact)| !fact.is_empty()) {
        output.line(format_args!("{name:<12}{}", report::visible(&fact)))?;
    }
    Ok(())
}

fn transitions(transitions: &[Transition], output: &mut Output) -> io::Result<()> {
    let rows = transitions.iter().map(|transition| {
        [
            transition.recorded_at.to_string(),
            transition.state.as_str().to_owned(),
            report::optional(transition.actor.as_ref()),
            report::optional(transition.user.as_ref()),
            report::optional(transition.payment_reference.as_ref()),
            report::optional(transition.reason.as_ref()),
        ]
    });
    report::table(["recorded", "state", "actor", "user", "payment reference", "reason"], &[], rows, output)
}
