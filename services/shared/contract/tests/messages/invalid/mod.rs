//! The messages with one thing wrong under `schemas/messages/examples`, and what is said of them.

mod adjustments;
mod commissions;
mod customers;
mod payout_methods;
mod preferences;
mod withdrawals;

/// A message with one thing wrong: its type, its name, where the schema finds it, and what the reader says of it.
pub(crate) type Invalid = (&'static str, &'static str, &'static str, &'static str);

/// Instead of a place: the rule is one that JSON Schema cannot say. These are all there are.
pub(crate) const NOT_IN_SCHEMA: &str = "(the schema cannot say it)";

/// All of them.
pub(crate) fn commands() -> impl Iterator<Item = &'static Invalid> {
    [
        commissions::INVALID,
        adjustments::INVALID,
        withdrawals::INVALID,
        customers::INVALID,
        payout_methods::INVALID,
        preferences::INVALID,
    ]
    .into_iter()
    .flatten()
}
