//! The contract, held against its documents: schemas, examples, `AsyncAPI` and the reader say the same.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod agreement;
mod asyncapi;
mod events;
mod examples;
mod golden;
mod invalid;
mod people;
mod reader;
mod schemas;
mod secrecy;
mod support;
mod values;
