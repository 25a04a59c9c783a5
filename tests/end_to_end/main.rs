//! End-to-end tests: real Postgres, real RabbitMQ, real worker processes. Each test has a world of its own.
#![expect(clippy::unwrap_used, reason = "tests fail loudly")]

mod path;
