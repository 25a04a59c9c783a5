//! End-to-end tests: real Postgres, real RabbitMQ, real worker processes. Each test has a world of its own.
#![expect(clippy::unwrap_used, reason = "tests fail loudly")]

mod adjustments;
mod completions;
mod conflicts;
mod dead;
mod directory;
mod doctor;
mod exactly_once;
mod export;
mod hostile;
mod isolation;
mod kills;
mod mail_session;
mod mails;
mod metrics;
mod model;
mod monitoring;
mod outages;
mod parking;
mod path;
mod privacy;
mod pushback;
mod queues;
mod reading;
mod repeats;
mod republish;
mod rights;
mod shop;
mod shutdown;
mod story;
mod tls;
mod topology;
mod traces;
mod verify;
mod waiting;
mod withdrawals;
