//! The adjustments worker.

use std::process::ExitCode;

use adjustments::Adjustments;

fn main() -> ExitCode {
    worker::main(|settings, _| {
        let (patience, reversal_patience) = (settings.patience, settings.reversal_patience);
        Some(Adjustments { patience, reversal_patience })
    })
}
