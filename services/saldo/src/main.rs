//! `saldo`: the operator's command line.

use std::process::ExitCode;

fn main() -> ExitCode {
    saldo::main()
}
