//! The notifier.

use std::process::ExitCode;

use notifier::Notifier;

fn main() -> ExitCode {
    worker::listen(|_, read| Notifier::read(read))
}
