//! What was mailed, and what became of it.

use contract::{MailKind, MerchantId, Timestamp, WithdrawalId};
use serde::Serialize;
use sqlx::PgConnection;

use super::{Result, key, parsed};

/// How far a mail has got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MailState {
    /// It is to be sent, or sent again.
    Due,
    /// The mail server has taken it.
    Sent,
    /// It is given up.
    Failed,
}

impl MailState {
    /// The word for it, in the database and for people.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Due => "due",
            Self::Sent => "sent",
            Self::Failed => "failed",
        }
    }
}

/// A mail as an operator sees it.
#[derive(Debug, Clone, Serialize)]
pub struct Mail {
    /// Its number.
    pub id: i64,
    /// Whose.
    pub merchant: MerchantId,
    /// What it is for.
    pub kind: MailKind,
    /// To this address.
    pub recipient: String,
    /// `due`, `sent` or `failed`.
    pub state: String,
    /// How often it was tried, or is being tried.
    pub attempts: i32,
    /// How often an operator had it sent again.
    pub resent: i32,
    /// When it came about.
    pub created_at: Timestamp,
    /// When it was last tried.
    pub attempted_at: Option<Timestamp>,
    /// When it is tried again at the earliest; `None` when it is not.
    pub next_attempt_at: Option<Timestamp>,
    /// When it was sent, or given up.
    pub ended_at: Option<Timestamp>,
    /// The mail server's last status.
    pub status: Option<i16>,
    /// The mail server's last words, or what happened in their place.
    pub answer: Option<String>,
    /// What it tells of.
    pub withdrawals: Vec<WithdrawalId>,
}

/// Which mails.
#[derive(Debug, Clone, Default)]
pub struct MailsWanted {
    /// Of this merchant only.
    pub merchant: Option<MerchantId>,
    /// In this state only.
    pub state: Option<MailState>,
    /// Made before the one with this number.
    pub before: Option<i64>,
}

/// Some mails, the newest first.
#[derive(Debug, Clone)]
pub struct MailsPage {
    /// The mails.
    pub mails: Vec<Mail>,
    /// From where to go on; `None` if nothing is left.
    pub next: Option<i64>,
}

/// Mails, the newest first, at most `limit`.
///
/// # Errors
/// The database's.
pub async fn mails(connection: &mut PgConnection, wanted: &MailsWanted, limit: i64) -> Result<MailsPage> {
    // By mail_merchant, mail_failed or the primary key, backwards.
    let rows = sqlx::query!(
        r#"SELECT id, merchant, kind, recipient, state, attempts, resent, created_at, attempted_at, next_attempt_at,
                  ended_at, status, answer,
                  ARRAY(SELECT DISTINCT d.withdrawal FROM delivery d WHERE d.mail_id = m.id ORDER BY 1) AS "withdrawals!"
           FROM mail m
           WHERE ($1::text IS NULL OR merchant = $1) AND ($2::text IS NULL OR state = $2)
             AND ($3::bigint IS NULL OR id < $3)
           ORDER BY id DESC LIMIT $4"#,
        wanted.merchant.as_ref().map(MerchantId::as_str),
        wanted.state.map(MailState::as_str),
        wanted.before,
        limit.saturating_add(1),
    )
    .fetch_all(connection)
    .await?;
    let more = rows.len() > usize::try_from(limit).unwrap_or(usize::MAX);
    let rows = rows.into_iter().take(usize::try_from(limit).unwrap_or(usize::MAX));
    let mails = rows.map(|row| {
        let due = row.state == MailState::Due.as_str();
        Ok(Mail {
            id: row.id,
            merchant: parsed("mail.merchant", &row.merchant)?,
            kind: parsed("mail.kind", &row.kind)?,
            recipient: row.recipient,
            state: row.state,
            attempts: row.attempts,
            resent: row.resent,
            created_at: row.created_at.into(),
            attempted_at: row.attempted_at.map(Into::into),
            next_attempt_at: due.then(|| row.next_attempt_at.into()),
            ended_at: row.ended_at.map(Into::into),
            status: row.status,
            answer: row.answer,
            withdrawals: row
                .withdrawals
                .iter()
                .map(|bytes| Ok(WithdrawalId(key("delivery.withdrawal", bytes)?)))
                .collect::<Result<_>>()?,
        })
    });
    let mails: Vec<Mail> = mails.collect::<Result<_>>()?;
    let next = more.then(|| mails.last().map(|mail| mail.id)).flatten();
    Ok(MailsPage { mails, next })
}
