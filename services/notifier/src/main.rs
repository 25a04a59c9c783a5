//! The notifier.

fn main() {}
