//! What is counted of mails, besides what every worker counts: see [`worker::metrics`].

use std::time::Duration;

use ledger::read::MailBacklog;
use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use worker::metrics::Reading;

const MAILS: &str = "saldo_mails_total";
const MAIL: &str = "saldo_mail_seconds";
const DUE: &str = "saldo_mails_due";
const OLDEST: &str = "saldo_mails_oldest_due_seconds";
const FAILED: &str = "saldo_mails_failed";
const AWAY: &str = "saldo_mail_server_away";

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Result {
    /// The mail server has taken the mail.
    Sent,
    /// It is tried again.
    Postponed,
    /// It is given up.
    Failed,
}

impl Result {
    const ALL: [Self; 3] = [Self::Sent, Self::Postponed, Self::Failed];

    const fn name(self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::Postponed => "postponed",
            Self::Failed => "failed",
        }
    }
}

/// What is counted begins at zero.
pub(crate) fn begin() {
    describe_counter!(MAILS, "Attempts to send a mail, by result");
    describe_histogram!(MAIL, "One conversation with the mail server");
    describe_gauge!(DUE, "Mails to be sent, or sent again");
    describe_gauge!(OLDEST, "How long ago the first mail that is due came about");
    describe_gauge!(FAILED, "Mails that were given up");
    describe_gauge!(AWAY, "Whether nothing is sent because the mail server is away");
    for result in Result::ALL {
        counter!(MAILS, "result" => result.name()).absolute(0);
    }
    server_away(false);
}

/// An attempt is settled.
pub(crate) fn settled(result: Result) {
    counter!(MAILS, "result" => result.name()).increment(1);
}

/// A conversation with the mail server is over.
pub(crate) fn talked(took: Duration) {
    histogram!(MAIL).record(took);
}

/// Whether the mail server is away.
pub(crate) fn server_away(away: bool) {
    gauge!(AWAY).set(if away { 1.0 } else { 0.0 });
}

/// What the ledger has of mails.
pub(crate) fn readings(backlog: MailBacklog) -> Vec<Reading> {
    let MailBacklog { due, failed } = backlog;
    vec![Reading::count(DUE, due.count), Reading::age(OLDEST, due.longest), Reading::count(FAILED, failed)]
}
