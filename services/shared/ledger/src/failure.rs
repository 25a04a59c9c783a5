//! What a database error means for the batch that met it.

use sqlx::error::DatabaseError;

use crate::tls;

/// Why a batch was not committed. Never says anything of the values that were sent.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Nothing the commands can help: the same batch is tried again, for as long as it takes.
    #[error("the database could not carry out the batch ({state})")]
    Infrastructure {
        /// The SQLSTATE, or what kind of error it was where there is none.
        state: String,
        /// Whether the connection is of no more use.
        lost: bool,
    },
    /// One of the commands makes the database refuse: the batch is split until the culprit stands alone.
    #[error("the database refused the batch ({state}, constraint {constraint})")]
    Culprit {
        /// The SQLSTATE.
        state: String,
        /// The constraint, where one was named.
        constraint: String,
    },
    /// One of the keys is recorded, or another lane decided what one of the commands names, and the batch did not know: it is
    /// decided again.
    #[error("one of the commands, or what it names, was decided before")]
    Raced,
}

/// Constraints whose violation means a repeat, or that another lane was faster.
const RACES: [&str; 8] = [
    "inbox_pkey",
    "waiting_pkey",
    "commission_pkey",
    "withdrawal_pkey",
    "merchant_pkey",
    "customer_pkey",
    "payout_method_pkey",
    "notice_pkey",
];

impl From<sqlx::Error> for Failure {
    /// By SQLSTATE and constraint name, never by text. Class 22 (data exception) and 23 (integrity
    /// constraint violation) are a command's fault; everything else is the world's.
    fn from(error: sqlx::Error) -> Self {
        let Some(database) = error.as_database_error() else {
            let state = match (tls::trouble(&error), &error) {
                (Some(trouble), _) => format!("TLS failed: {trouble}"),
                // Such as that the server does not offer it.
                (None, sqlx::Error::Tls(why)) => format!("TLS failed: {why}"),
                (None, _) => kind(&error).to_owned(),
            };
            return Self::Infrastructure { state, lost: true };
        };
        let state = database.code().unwrap_or_default().into_owned();
        let constraint = constraint(database);
        match state.get(..2) {
            Some("23") if state == "23505" && RACES.contains(&constraint.as_str()) => Self::Raced,
            Some("22" | "23") => Self::Culprit { state, constraint },
            // 08: connection; 57P: the server is going away.
            class => Self::Infrastructure { lost: class == Some("08") || state.starts_with("57P"), state },
        }
    }
}

fn constraint(error: &dyn DatabaseError) -> String {
    error.constraint().unwrap_or("none").to_owned()
}

/// A name for errors that did not come from Postgres; their own texts can hold addresses.
fn kind(error: &sqlx::Error) -> &'static str {
    match error {
        sqlx::Error::Io(_) => "connection lost",
        sqlx::Error::Tls(_) => "TLS failed",
        sqlx::Error::Protocol(_) => "protocol error",
        sqlx::Error::Configuration(_) => "connection settings",
        sqlx::Error::PoolTimedOut => "no connection in time",
        sqlx::Error::WorkerCrashed | sqlx::Error::PoolClosed => "connection closed",
        sqlx::Error::RowNotFound
        | sqlx::Error::ColumnNotFound(_)
        | sqlx::Error::ColumnIndexOutOfBounds { .. }
        | sqlx::Error::ColumnDecode { .. }
        | sqlx::Error::Decode(_)
        | sqlx::Error::TypeNotFound { .. } => "unexpected answer",
        _ => "other error",
    }
}
