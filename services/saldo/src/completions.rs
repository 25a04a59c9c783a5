//! `saldo completions`

use clap::CommandFactory as _;
use clap_complete::Shell;

use crate::output::Output;
use crate::{Done, Status};

/// Print what a shell needs to complete the names of commands and options
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  source <(saldo completions bash)
  saldo completions zsh > ~/.zfunc/_saldo
  saldo completions fish > ~/.config/fish/completions/saldo.fish")]
pub(crate) struct Arguments {
    /// The shell
    shell: Shell,
}

pub(crate) fn run(arguments: &Arguments, output: &mut Output) -> Done {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut crate::Arguments::command(), "saldo", &mut script);
    output.bytes(&script)?;
    Ok(Status::Good)
}
