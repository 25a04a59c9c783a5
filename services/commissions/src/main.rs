//! The commissions worker.

use std::process::ExitCode;

use commissions::Commissions;

fn main() -> ExitCode {
    worker::main(|settings, _| {
        Some(Commissions { patience: settings.patience, reversal_patience: settings.reversal_patience })
    })
}
