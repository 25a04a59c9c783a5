//! What is to be mailed, and what became of it. Nothing here knows a mail server.
//!
//! | step | transaction | a crash after it leaves |
//! |---|---|---|
//! | [record](crate::Store::record_notices) | a notice for each state that a withdrawal entered, the mails it needs, a delivery for each address | mails that are due |
//! | [lease](crate::Store::lease_mail) | attempts + 1, due again when the lease is over | a mail that is due again later |
//! | send | none: no connection waits for a mail server | the same; if the server had taken it, it takes it twice |
//! | settle ([sent](crate::Store::mail_sent), [postponed](crate::Store::mail_postponed), [failed](crate::Store::mail_failed)) | the row's state; with a failure also its event, as an outcome in the inbox | nothing to do; the sweep publishes the event |
//!
//! **Once.** A withdrawal enters a state once, so (withdrawal, state) is what a notice is known by: told twice of it, by
//! the event and by the sweep or by two processes, the second finds it. Notices of a merchant are recorded one
//! transaction after the other (an advisory lock), so that digests are counted exactly.
//!
//! **Fenced.** Each lease grows `attempts`; whoever postpones a mail or gives it up names the number it was given. An
//! attempt that outlived its lease can only say that the mail server has taken the mail, which is true whoever says it.

mod content;
mod plan;
mod record;
mod resend;
mod send;

use contract::{MerchantId, WithdrawalId, WithdrawalState};

pub use content::{MailContent, MailItem, MailShop};
pub use plan::DigestRule;
pub use record::MailRules;
pub use resend::{Resent, resend};
pub use send::{Answer, LeasedMail, Written};

/// A state that a withdrawal entered, of which people may have to be told.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Notice {
    /// Whose.
    pub merchant: MerchantId,
    /// Which withdrawal.
    pub withdrawal: WithdrawalId,
    /// The state.
    pub state: WithdrawalState,
}
