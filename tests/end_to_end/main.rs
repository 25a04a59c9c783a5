//! End-to-end tests: real Postgres, real RabbitMQ, real worker processes. Each test has a world of its own.
#![expect(clippy::unwrap_used, reason = "tests fail loudly")]

mod conflicts;
mod directory;
mod exactly_once;
mod hostile;
mod isolation;
mod kills;
mod outages;
mod parking;
mod path;
mod privacy;
mod pushback;
mod rights;
mod shutdown;
mod story;
mod waiting;
