//! Breaks everything around the workers for as long as one likes, and says whether anything was lost.
#![expect(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "a program for developers")]

mod journal;
mod link;
mod listen;
mod load;
mod publish;
mod schedule;

fn main() {}
