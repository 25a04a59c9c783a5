//! `saldo dead`: what no worker could decide, looked at and dealt with.
//!
//! Letters are held while a command runs, so that what it does is done to what it saw, and the others are returned in
//! their order ([`worker::dead`]). Replaying and discarding follow the same steps for each letter:
//!
//! | step | a crash after it leaves |
//! |---|---|
//! | ask the inbox, and say why not, where it cannot be done | everything as it was |
//! | record the deed, committed ([`ledger::deed`]) | a deed that was recorded and not done |
//! | publish: the command, or its stored events once more | the letter, although its command was published: whoever replays it again changes nothing, because the inbox knows the command |
//! | take the letter out | nothing to do |
//!
//! So everything can be repeated, and nothing is done that was not recorded.

mod act;
mod body;
mod deeds;
mod discard;
mod find;
mod indent;
mod list;
mod replay;
mod show;
mod standing;

use std::path::Path;

use clap::Subcommand;

use crate::Done;
use crate::output::Output;

type Error = Box<dyn std::error::Error + Send + Sync>;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    List(list::Arguments),
    Show(show::Arguments),
    Replay(replay::Arguments),
    Discard(discard::Arguments),
    Deeds(deeds::Arguments),
}

pub(crate) async fn run(command: Command, config: Option<&Path>, output: &mut Output) -> Done {
    match command {
        Command::List(arguments) => list::run(arguments, config, output).await,
        Command::Show(arguments) => show::run(arguments, config, output).await,
        Command::Replay(arguments) => replay::run(arguments, config, output).await,
        Command::Discard(arguments) => discard::run(arguments, config, output).await,
        Command::Deeds(arguments) => deeds::run(arguments, config, output).await,
    }
}
