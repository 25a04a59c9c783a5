//! What the notifier tells: which mails there are, and the event that one could not be delivered.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::event::event_data;
use crate::json::object;
use crate::preferences::{Localized, is_default};
use crate::template::template_value;
use crate::value::word_value;
use crate::{MerchantId, WithdrawalId, WithdrawalState};

/// The name of the worker.
pub const WORKER: &str = "notifier";

/// The routing keys of the events that it listens to.
pub const ROUTING: [&str; 5] = [
    "*.withdrawal.requested",
    "*.withdrawal.approved",
    "*.withdrawal.paid",
    "*.withdrawal.rejected",
    "*.withdrawal.cancelled",
];

/// The source of what causes a [`NotificationFailed`]. That is no command: the id tells the mail, and which time it was
/// given up, because an event's own id is made of its cause's.
pub const CAUSE: &str = "/saldo/notifier/mails";

word_value!(
    /// What a mail is for.
    MailKind {
        /// To a shop's staff: an affiliate has asked for a payout.
        AdminRequested = "admin-requested",
        /// To a shop's staff: several have.
        AdminDigest = "admin-digest",
        /// To the affiliate: the request has arrived.
        CustomerRequested = "customer-requested",
        /// To the affiliate: the shop has agreed.
        CustomerApproved = "customer-approved",
        /// To the affiliate: the shop has paid.
        CustomerPaid = "customer-paid",
        /// To the affiliate: the shop has not agreed.
        CustomerRejected = "customer-rejected",
        /// To the affiliate: the request is taken back.
        CustomerCancelled = "customer-cancelled",
    }
);

impl MailKind {
    /// Whom it is for.
    pub fn audience(self) -> Audience {
        match self {
            Self::AdminRequested | Self::AdminDigest => Audience::Admin,
            Self::CustomerRequested
            | Self::CustomerApproved
            | Self::CustomerPaid
            | Self::CustomerRejected
            | Self::CustomerCancelled => Audience::Customer,
        }
    }

    /// The mail that tells an affiliate of a state.
    pub fn for_customer(state: WithdrawalState) -> Self {
        match state {
            WithdrawalState::Requested => Self::CustomerRequested,
            WithdrawalState::Approved => Self::CustomerApproved,
            WithdrawalState::Paid => Self::CustomerPaid,
            WithdrawalState::Rejected => Self::CustomerRejected,
            WithdrawalState::Cancelled => Self::CustomerCancelled,
        }
    }
}

word_value!(
    /// Whom a mail is for.
    Audience {
        /// A shop's staff.
        Admin = "admin",
        /// The affiliate whose withdrawal it is.
        Customer = "customer",
    }
);

/// What a shop says in its mails instead of the built-in words; what is absent stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(inline)]
pub struct MailPreferences {
    /// To staff, when an affiliate has requested a withdrawal.
    #[serde(deserialize_with = "object", skip_serializing_if = "is_default")]
    pub admin_requested: MailTexts<MailSubject, MailIntroduction>,
    /// To staff, when so many were requested that one mail tells of several.
    #[serde(deserialize_with = "object", skip_serializing_if = "is_default")]
    pub admin_digest: MailTexts<DigestSubject, DigestIntroduction>,
    /// To the affiliate who has requested a withdrawal.
    #[serde(deserialize_with = "object", skip_serializing_if = "is_default")]
    pub customer_requested: MailTexts<MailSubject, MailIntroduction>,
    /// To the affiliate whose withdrawal was approved.
    #[serde(deserialize_with = "object", skip_serializing_if = "is_default")]
    pub customer_approved: MailTexts<MailSubject, MailIntroduction>,
    /// To the affiliate whose withdrawal was paid.
    #[serde(deserialize_with = "object", skip_serializing_if = "is_default")]
    pub customer_paid: MailTexts<MailSubject, MailIntroduction>,
    /// To the affiliate whose withdrawal was rejected.
    #[serde(deserialize_with = "object", skip_serializing_if = "is_default")]
    pub customer_rejected: MailTexts<MailSubject, MailIntroduction>,
    /// To the affiliate whose withdrawal was cancelled.
    #[serde(deserialize_with = "object", skip_serializing_if = "is_default")]
    pub customer_cancelled: MailTexts<MailSubject, MailIntroduction>,
}

/// A mail's own subject and first paragraph, by language.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(inline)]
pub struct MailTexts<S, I> {
    /// By language, the subject.
    #[serde(skip_serializing_if = "is_empty")]
    pub subject: Localized<S>,
    /// By language, the first paragraph.
    #[serde(skip_serializing_if = "is_empty")]
    pub introduction: Localized<I>,
}

impl<S, I> Default for MailTexts<S, I> {
    fn default() -> Self {
        Self { subject: Localized::default(), introduction: Localized::default() }
    }
}

fn is_empty<T>(texts: &Localized<T>) -> bool {
    texts.0.is_empty()
}

template_value!(
    /// A subject of a shop's own.
    MailSubject, line of 150, with "shop", "customer", "amount"
);

template_value!(
    /// A first paragraph of a shop's own.
    MailIntroduction, lines of 1000, with "shop", "customer", "amount"
);

template_value!(
    /// A subject of a shop's own where a mail tells of several requests.
    DigestSubject, line of 150, with "shop", "count"
);

template_value!(
    /// A first paragraph of a shop's own where a mail tells of several requests.
    DigestIntroduction, lines of 1000, with "shop", "count"
);

event_data! {
    NotificationFailed = "notification.failed",
}

word_value!(
    /// Why a mail is given up.
    FailureReason {
        /// The mail server refused the recipient or the mail for good.
        Refused = "refused",
        /// For as long as it is tried, it could not be handed over.
        Expired = "expired",
    }
);

/// Data of `notification.failed.v1`: a mail could not be delivered and is not tried again.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct NotificationFailed {
    /// Whose mail.
    pub merchant: MerchantId,
    /// Saldo's number of the mail, as `saldo mails` shows it.
    pub mail: i64,
    /// What it was for.
    pub kind: MailKind,
    /// Whom it was for.
    pub audience: Audience,
    /// The address, masked: events are kept for ever.
    pub recipient: String,
    /// What it told of.
    pub withdrawals: Vec<WithdrawalId>,
    /// Why it is given up.
    pub reason: FailureReason,
    /// The mail server's last status, such as `550`; absent where it gave none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "u16", range(min = 200, max = 599))]
    pub status: Option<u16>,
    /// How often it was tried.
    pub attempts: i32,
}
