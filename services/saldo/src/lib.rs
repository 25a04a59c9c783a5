//! `saldo`: the operator's command line. One module for each command; results go to standard output, everything
//! else to standard error.

mod balance;
mod completions;
mod customers;
mod dead;
mod doctor;
mod events;
mod export;
mod fate;
mod keys;
mod ledger_access;
mod lines;
mod mails;
mod migrate;
mod moment;
mod number;
mod operations;
mod outcomes;
mod output;
mod pace;
mod publish;
mod queues;
mod report;
mod run;
mod send;
mod settings;
mod sheet;
mod topology;
mod totals;
mod tracker;
mod verify;
mod withdrawals;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::output::Output;

/// What every command returns: whether all went well, or why it could not be done.
type Done = Result<Status, Box<dyn std::error::Error + Send + Sync>>;

/// How a command that could be carried out ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Status {
    /// All is well.
    Good,
    /// Something was refused, differs or failed; it has been said what.
    Bad,
}

const SETTINGS: &str = "\
Settings, each read only by the commands that need it:
  SALDO__DATABASE__URL            postgres://user:password@host:5432/saldo
  SALDO__BROKER__URL              amqps://user:password@host/%2f, or on this machine amqp://…
  SALDO__BROKER__MANAGEMENT_URL   https://user:password@host:15671, or on this machine http://…
  SALDO__BROKER__WATCH_URL        as whom `publish --watch` listens; default: SALDO__BROKER__URL
  SALDO__BROKER__CA_FILE          certificates (PEM) that are trusted besides the public ones
  SALDO__BROKER__CERT_FILE        a certificate (PEM) of one's own, for a broker that asks for one; with
  SALDO__BROKER__KEY_FILE         its key
  SALDO__DATABASE__CA_FILE        as SALDO__BROKER__CA_FILE, for both databases
  SALDO__BROKER__TLS              optional: other machines may be talked to in clear
  SALDO__DATABASE__TLS            the same, for both databases
  SALDO__TREASURY__DATABASE_URL   as SALDO__DATABASE__URL, a login that may read and seal payout details
  SALDO__PAYOUT__KEYS             what those are encrypted with: ID:KEY[,ID:KEY…], the current one first

They can also stand in a TOML file (database.url and so on); the environment wins.

Exit status: 0 all is well; 1 something was refused, differs or failed; 2 wrong usage.";

/// Operates Saldo: the ledger of customers' balances.
#[derive(Debug, Parser)]
#[command(version, about, after_help = SETTINGS, propagate_version = true)]
struct Arguments {
    /// TOML file with settings
    #[arg(long, global = true, env = "SALDO_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Create or update the database's schema
    ///
    /// Makes the roles and the schema where they are missing, and runs the migrations that have not run. database.url must be
    /// a login that may create roles, or one that may become `saldo_owner`. Can be run again at any time.
    #[command(
        after_help = "Example:\n  SALDO__DATABASE__URL=postgres://admin:…@db.example/saldo saldo migrate"
    )]
    Migrate,
    /// The broker's exchanges, queues, bindings, policies and users
    #[command(subcommand)]
    Topology(topology::Command),
    Doctor(doctor::Arguments),
    Queues(queues::Arguments),
    Publish(publish::Arguments),
    Outcomes(outcomes::Arguments),
    /// What workers told the world
    #[command(subcommand)]
    Events(events::Command),
    /// Letters that no worker could decide: look at them, publish them again, throw them away
    #[command(subcommand)]
    Dead(dead::Command),
    Customers(customers::Arguments),
    Balance(balance::Arguments),
    Operations(operations::Arguments),
    Withdrawals(withdrawals::Arguments),
    Mails(mails::Arguments),
    Totals(totals::Arguments),
    /// The keys that payout details are encrypted with
    #[command(subcommand)]
    Keys(keys::Command),
    Verify(verify::Arguments),
    Export(export::Arguments),
    Completions(completions::Arguments),
}

/// Runs the command that the arguments ask for.
#[tokio::main]
pub async fn main() -> ExitCode {
    let Arguments { config, command } = Arguments::parse();
    let (config, mut output) = (config.as_deref(), Output::new());
    let done = match command {
        Command::Migrate => migrate::run(config, &mut output).await,
        Command::Topology(command) => topology::run(command, config, &mut output).await,
        Command::Doctor(arguments) => doctor::run(arguments, config, &mut output).await,
        Command::Queues(arguments) => queues::run(arguments, config, &mut output).await,
        Command::Publish(arguments) => publish::run(arguments, config, &mut output).await,
        Command::Outcomes(arguments) => outcomes::run(arguments, config, &mut output).await,
        Command::Events(command) => events::run(command, config, &mut output).await,
        Command::Dead(command) => dead::run(command, config, &mut output).await,
        Command::Customers(arguments) => customers::run(arguments, config, &mut output).await,
        Command::Balance(arguments) => balance::run(arguments, config, &mut output).await,
        Command::Operations(arguments) => operations::run(arguments, config, &mut output).await,
        Command::Withdrawals(arguments) => withdrawals::run(arguments, config, &mut output).await,
        Command::Mails(arguments) => mails::run(arguments, config, &mut output).await,
        Command::Totals(arguments) => totals::run(arguments, config, &mut output).await,
        Command::Keys(command) => keys::run(command, config, &mut output).await,
        Command::Export(arguments) => export::run(arguments, config, &mut output).await,
        Command::Verify(arguments) => verify::run(arguments, config, &mut output).await,
        Command::Completions(arguments) => completions::run(&arguments, &mut output),
    };
    let done = done.and_then(|status| Ok(output.flush().map(|()| status)?));
    match done {
        Ok(Status::Good) => ExitCode::SUCCESS,
        Ok(Status::Bad) => ExitCode::FAILURE,
        // Whoever read the output has seen enough.
        Err(error) if output::is_closed_pipe(&*error) => ExitCode::SUCCESS,
        Err(error) => {
            output.message(output::chain(&*error));
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod help;
