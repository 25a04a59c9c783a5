//! `saldo mails`: what the notifier mailed, what became of it, and what its mails look like.

use std::io;
use std::num::NonZeroU32;
use std::path::Path;

use clap::Subcommand;
use contract::{Locale, MailKind, MerchantId, WithdrawalId};
use ledger::mail::{Resent, resend};
use ledger::read::{self, Mail, MailState, MailsWanted};
use notifier::letter::{Letters, Style, sample};
use sqlx::PgConnection;

use crate::output::Output;
use crate::settings::Settings;
use crate::{Done, Status, ledger_access, number, report};

const PAGE: u32 = 500;

/// Show what was mailed to shops' staff and to affiliates
///
/// Without a subcommand, all mails, newest first, as `list` does.
#[derive(Debug, clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Examples:
  saldo mails --failed
  saldo mails --merchant demo --limit 20 --json
  saldo mails resend 17 18
  saldo mails resend --failed --merchant demo
  saldo mails preview admin-requested --locale it --html > mail.html"
)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    list: List,
}

#[derive(Debug, Subcommand)]
enum Command {
    List(List),
    Resend(Resend),
    Preview(Preview),
}

/// Show mails, newest first, with what the mail server said last
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  saldo mails list --failed")]
struct List {
    /// Only this shop's
    #[arg(long, value_name = "ID")]
    merchant: Option<MerchantId>,
    /// Only those that are given up
    #[arg(long, conflicts_with = "due")]
    failed: bool,
    /// Only those that are still to be sent
    #[arg(long)]
    due: bool,
    /// Only the first N
    #[arg(long, value_name = "N", value_parser = number::count)]
    limit: Option<NonZeroU32>,
    /// Print one JSON object a line
    #[arg(long)]
    json: bool,
}

/// Have mails sent again that were sent or given up
///
/// They are due at once, for as long as at first, and get a new Message-ID. An affiliate's mail goes to the address that
/// is known now. Exit status 1 if there is no such mail, or it is still being tried.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  saldo mails resend 17 18
  saldo mails resend --failed --merchant demo")]
struct Resend {
    /// The mails' numbers, as listed
    #[arg(required_unless_present = "failed", value_name = "ID", value_parser = number::id)]
    ids: Vec<i64>,
    /// All that are given up
    #[arg(long, conflicts_with = "ids")]
    failed: bool,
    /// Of this shop only
    #[arg(long, value_name = "ID", requires = "failed")]
    merchant: Option<MerchantId>,
}

/// Show what a mail looks like, with invented data
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  saldo mails preview admin-requested --locale it --html > mail.html")]
struct Preview {
    /// admin-requested, admin-digest, or customer-requested, -approved, -paid, -rejected, -cancelled
    #[arg(value_name = "TYPE")]
    kind: MailKind,
    /// The reader's language, such as it or pt-BR
    #[arg(long, value_name = "LOCALE")]
    locale: Option<Locale>,
    /// Print the HTML part instead of subject and text
    #[arg(long)]
    html: bool,
}

pub(crate) async fn run(arguments: Arguments, config: Option<&Path>, output: &mut Output) -> Done {
    match arguments.command {
        Some(Command::Resend(resend)) => self::again(resend, config, output).await,
        Some(Command::Preview(preview)) => self::preview(preview, config, output),
        Some(Command::List(list)) => self::list(list, config, output).await,
        None => self::list(arguments.list, config, output).await,
    }
}

async fn list(list: List, config: Option<&Path>, output: &mut Output) -> Done {
    let List { merchant, failed, due, limit, json } = list;
    let state = match (failed, due) {
        (true, _) => Some(MailState::Failed),
        (_, true) => Some(MailState::Due),
        _ => None,
    };
    let mut wanted = MailsWanted { merchant, state, before: None };
    let mut connection = ledger_access::open(config).await?;
    let (mut left, mut any) = (number::or_all(limit), false);
    while left > 0 {
        let size = left.min(PAGE);
        let page = read::mails(&mut connection, &wanted, i64::from(size)).await?;
        any |= !page.mails.is_empty();
        if json {
            page.mails.iter().try_for_each(|mail| output.json(mail))?;
        } else if !page.mails.is_empty() {
            table(&page.mails, output)?;
        }
        left -= size;
        wanted.before = page.next;
        if wanted.before.is_none() {
            break;
        }
    }
    if !any {
        output.message("there are no such mails");
    }
    Ok(Status::Good)
}

fn table(mails: &[Mail], output: &mut Output) -> io::Result<()> {
    let rows = mails.iter().map(|mail| {
        let tells = match mail.withdrawals.as_slice() {
            [one] => WithdrawalId::to_string(one),
            several => format!("{} withdrawals", several.len()),
        };
        [
            mail.id.to_string(),
            mail.created_at.to_string(),
            mail.merchant.to_string(),
            mail.kind.to_string(),
            mail.recipient.clone(),
            tells,
            mail.state.clone(),
            mail.attempts.to_string(),
            report::optional(mail.next_attempt_at.as_ref()),
            report::optional(mail.answer.as_ref()),
        ]
    });
    let header =
        ["mail", "made", "shop", "type", "to", "of", "state", "attempts", "next attempt", "last answer"];
    report::table(header, &[0, 7], rows, output)
}

async fn again(wanted: Resend, config: Option<&Path>, output: &mut Output) -> Done {
    let Resend { mut ids, failed, merchant } = wanted;
    let mut connection = ledger_access::open(config).await?;
    if failed {
        ids = all_failed(&mut connection, merchant).await?;
        if ids.is_empty() {
            output.message("there are no such mails");
        }
    }
    let mut status = Status::Good;
    for id in ids {
        let problem = match resend(&mut connection, id).await? {
            Resent::Due => {
                output.line(format_args!("mail {id} is due again"))?;
                continue;
            }
            Resent::StillDue => "is still being tried",
            Resent::Unknown => "does not exist",
        };
        output.message(format_args!("mail {id} {problem}"));
        status = Status::Bad;
    }
    Ok(status)
}

/// The numbers of those that are given up, the oldest first.
async fn all_failed(
    connection: &mut PgConnection,
    merchant: Option<MerchantId>,
) -> Result<Vec<i64>, sqlx::Error> {
    let mut wanted = MailsWanted { merchant, state: Some(MailState::Failed), before: None };
    let mut ids = Vec::new();
    loop {
        let page = read::mails(connection, &wanted, i64::from(PAGE)).await?;
        ids.extend(page.mails.iter().map(|mail| mail.id));
        wanted.before = page.next;
        if wanted.before.is_none() {
            ids.reverse();
            return Ok(ids);
        }
    }
}

fn preview(preview: Preview, config: Option<&Path>, output: &mut Output) -> Done {
    let Preview { kind, locale, html } = preview;
    let mut settings = Settings::read(config);
    let style: Style = settings.mail_style();
    settings.finish()?;
    let letter = Letters::new(style)?.write(&sample(kind, locale)?)?;
    if html {
        output.line(letter.html)?;
    } else {
        output.line(format_args!("Subject: {}\n\n{}", letter.subject, letter.text))?;
    }
    Ok(Status::Good)
}
