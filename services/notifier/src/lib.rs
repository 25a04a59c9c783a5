//! The notifier: tells a shop's staff and its affiliates by e-mail what became of withdrawals.

pub mod letter;
