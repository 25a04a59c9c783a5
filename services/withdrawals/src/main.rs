//! The withdrawals worker.

use std::process::ExitCode;

use withdrawals::Withdrawals;

fn main() -> ExitCode {
    worker::main(|settings, _| Some(Withdrawals { patience: settings.patience }))
}
