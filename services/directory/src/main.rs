//! The directory worker.

use std::process::ExitCode;

use directory::Directory;

fn main() -> ExitCode {
    worker::main(|settings, read| Some(Directory { patience: settings.patience, vault: read.vault()? }))
}
