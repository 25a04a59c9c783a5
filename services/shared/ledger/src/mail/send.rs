//! From a mail that is due to what became of the attempt to send it.

use std::time::Duration;

use contract::notification::{self, Audience, FailureReason, NotificationFailed};
use contract::{
    CommandKey, ContentHash, Email, Event, EventData, LengthPrefixed, MailKind, MerchantId, Origin,
    PayoutKind, Preferences, Timestamp, WithdrawalId, WithdrawalState,
};
use rust_decimal::Decimal;
use serde::Deserialize;
use sqlx::{Connection, PgTransaction};
use time::OffsetDateTime;

use super::{MailContent, MailItem, MailShop};
use crate::store::load::{key_hash, parsed, unexpected};
use crate::store::write;
use crate::{Failure, Store};

/// What stands in the inbox as the type of what fails a mail: nobody can send it.
const FAIL: &str = "notification.fail.v1";

/// A mail that is this process's to send until the lease is over.
#[derive(Debug, Clone)]
pub struct LeasedMail {
    /// Its number.
    pub id: i64,
    /// Whose.
    pub merchant: MerchantId,
    /// What it is for.
    pub kind: MailKind,
    /// To this address.
    pub recipient: Email,
    /// How often it was leased, this time included.
    pub attempts: i32,
    /// How often an operator had it sent again.
    pub resent: i32,
    /// When it came about.
    pub created_at: Timestamp,
    /// Whether it was tried when it had already been tried for as long as it may be: after a long outage, once more.
    pub expired: bool,
}

/// What a mail is written from, and the first event that it tells of.
#[derive(Debug)]
pub struct Written {
    /// All that it tells.
    pub content: MailContent,
    /// The id of the first event.
    pub event: String,
    /// Its trace context, carried on.
    pub traceparent: Option<String>,
}

/// What came of an attempt, in the mail server's words or, where it said nothing, in ours; no addresses.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answer {
    /// The last status, such as 451.
    pub status: Option<u16>,
    /// One line of at most 400 characters.
    pub text: String,
}

impl Answer {
    fn status(&self) -> Option<i16> {
        self.status.and_then(|status| i16::try_from(status).ok())
    }
}

impl Store {
    /// Whose mail has been due for the longest, besides these merchants'. Mails that were tried before count only with
    /// `retries`.
    ///
    /// # Errors
    /// The database's.
    pub async fn next_mail_of(
        &mut self,
        busy: &[MerchantId],
        retries: bool,
    ) -> Result<Option<MerchantId>, Failure> {
        let busy: Vec<_> = busy.iter().map(ToString::to_string).collect();
        let merchant = sqlx::query_scalar!(
            "SELECT merchant FROM mail
             WHERE state = 'due' AND next_attempt_at <= statement_timestamp()
               AND merchant <> ALL($1) AND ($2 OR attempts = 0)
             ORDER BY next_attempt_at, id LIMIT 1 FOR UPDATE SKIP LOCKED",
            &busy,
            retries,
        )
        .fetch_optional(self.connection())
        .await?;
        merchant.as_deref().map(parsed).transpose()
    }

    /// Leases a merchant's mail that has been due for the longest, its staff's before its affiliates': nobody who asks and
    /// cancels again and again keeps a shop from hearing of others. `None` if others have taken what there was.
    ///
    /// # Errors
    /// The database's; the lease may then have been taken, and runs out.
    pub async fn lease_mail(
        &mut self,
        merchant: &MerchantId,
        retries: bool,
        lease: Duration,
    ) -> Result<Option<LeasedMail>, Failure> {
        let row = sqlx::query!(
            r#"UPDATE mail m
               SET attempts = m.attempts + 1, attempted_at = statement_timestamp(),
                   next_attempt_at = statement_timestamp() + $3::float8 * interval '1 second'
               FROM (SELECT id, attempted_at FROM mail
                     WHERE state = 'due' AND next_attempt_at <= statement_timestamp()
                       AND merchant = $1 AND ($2 OR attempts = 0)
                     ORDER BY kind LIKE 'admin-%' DESC, next_attempt_at, id LIMIT 1 FOR UPDATE SKIP LOCKED) AS next
               WHERE m.id = next.id
               RETURNING m.id, m.kind, m.recipient, m.attempts, m.resent, m.created_at,
                         coalesce(next.attempted_at >= m.give_up_at, false) AS "expired!""#,
            merchant.as_str(),
            retries,
            lease.as_secs_f64(),
        )
        .fetch_optional(self.connection())
        .await?;
        let Some(row) = row else { return Ok(None) };
        Ok(Some(LeasedMail {
            id: row.id,
            merchant: merchant.clone(),
            kind: parsed(&row.kind)?,
            recipient: parsed(&row.recipient)?,
            attempts: row.attempts,
            resent: row.resent,
            created_at: row.created_at.into(),
            expired: row.expired,
        }))
    }

    /// What a mail tells, as the ledger has it now; `None` if that is nothing this version understands.
    ///
    /// # Errors
    /// The database's.
    pub async fn mail_content(&mut self, mail: &LeasedMail) -> Result<Option<Written>, Failure> {
        let shop = sqlx::query_as!(
            ShopRow,
            "SELECT name, preferences FROM merchant WHERE id = $1",
            mail.merchant.as_str()
        )
        .fetch_one(self.connection())
        .await?;
        let rows = sqlx::query_as!(
            ItemRow,
            r#"SELECT d.state, t.recorded_at, w.requested_at, a.customer,
                      c.name AS "name?", c.locale AS "locale?", i.outcome AS "outcome!"
               FROM delivery d
               JOIN withdrawal_transition t ON (t.withdrawal, t.state) = (d.withdrawal, d.state)
               JOIN withdrawal w ON w.key = d.withdrawal
               JOIN account a ON a.id = w.account_id
               JOIN inbox i ON i.key = t.command
               LEFT JOIN customer c ON (c.merchant, c.id) = (a.merchant, a.customer)
               WHERE d.mail_id = $1
               ORDER BY t.recorded_at, d.withdrawal"#,
            mail.id,
        )
        .fetch_all(self.connection())
        .await?;
        Ok(written(mail, shop, rows))
    }

    /// The mail server has taken it, whoever tries it meanwhile. `false` if it is settled already.
    ///
    /// # Errors
    /// The database's; the mail is then sent once more when its lease is over.
    pub async fn mail_sent(&mut self, mail: &LeasedMail, answer: &Answer) -> Result<bool, Failure> {
        let settled = sqlx::query!(
            "UPDATE mail SET state = 'sent', ended_at = statement_timestamp(), status = $3, answer = $4
             WHERE id = $1 AND resent = $2 AND state = 'due'",
            mail.id,
            mail.resent,
            answer.status(),
            &answer.text,
        )
        .execute(self.connection())
        .await?;
        Ok(settled.rows_affected() == 1)
    }

    /// It is tried again after this. `false` if the attempt is no longer this process's to settle.
    ///
    /// # Errors
    /// The database's; the mail is then tried again when its lease is over.
    pub async fn mail_postponed(
        &mut self,
        mail: &LeasedMail,
        answer: &Answer,
        pause: Duration,
    ) -> Result<bool, Failure> {
        let settled = sqlx::query!(
            "UPDATE mail SET next_attempt_at = statement_timestamp() + $5::float8 * interval '1 second',
                             status = $3, answer = $4
             WHERE id = $1 AND attempts = $2 AND state = 'due'",
            mail.id,
            mail.attempts,
            answer.status(),
            &answer.text,
            pause.as_secs_f64(),
        )
        .execute(self.connection())
        .await?;
        Ok(settled.rows_affected() == 1)
    }

    /// It is given up: with it, `notification.failed` is committed like the outcome of a command, for the sweep to publish.
    /// Without an answer, the one from the attempt before stays. `false` if the attempt is no longer this process's to
    /// settle.
    ///
    /// # Errors
    /// The database's; the mail is then tried again when its lease is over.
    pub async fn mail_failed(
        &mut self,
        mail: &LeasedMail,
        reason: FailureReason,
        answer: Option<&Answer>,
    ) -> Result<bool, Failure> {
        let mut transaction = self.connection().begin().await?;
        let settled = sqlx::query!(
            "UPDATE mail SET state = 'failed', ended_at = statement_timestamp(),
                             status = CASE WHEN $3 THEN $4 ELSE status END, answer = CASE WHEN $3 THEN $5 ELSE answer END
             WHERE id = $1 AND attempts = $2 AND state = 'due' RETURNING status, ended_at",
            mail.id,
            mail.attempts,
            answer.is_some(),
            answer.and_then(Answer::status),
            answer.map(|answer| answer.text.as_str()),
        )
        .fetch_optional(&mut *transaction)
        .await?;
        let Some(row) = settled else { return Ok(false) };
        let withdrawals = sqlx::query_scalar!(
            "SELECT DISTINCT withdrawal FROM delivery WHERE mail_id = $1 ORDER BY 1",
            mail.id
        )
        .fetch_all(&mut *transaction)
        .await?;
        let withdrawals = withdrawals.iter().map(|key| key_hash(key).map(WithdrawalId));
        let failed = NotificationFailed {
            merchant: mail.merchant.clone(),
            mail: mail.id,
            kind: mail.kind,
            audience: mail.kind.audience(),
            recipient: mail.recipient.masked(),
            withdrawals: withdrawals.collect::<Result<_, _>>()?,
            reason,
            status: row.status.and_then(|status| u16::try_from(status).ok()),
            attempts: mail.attempts,
        };
        let at = row.ended_at.ok_or_else(unexpected)?;
        let traceparent = first_traceparent(&mut transaction, mail.id).await?;
        outcome(&mut transaction, mail, &failed, traceparent.as_deref(), at.into()).await?;
        transaction.commit().await?;
        Ok(true)
    }
}

/// The trace context of the first event that a mail tells of.
async fn first_traceparent(
    transaction: &mut PgTransaction<'_>,
    mail: i64,
) -> Result<Option<String>, Failure> {
    let row = sqlx::query!(
        r#"SELECT d.state, i.outcome AS "outcome!"
           FROM delivery d
           JOIN withdrawal_transition t ON (t.withdrawal, t.state) = (d.withdrawal, d.state)
           JOIN inbox i ON i.key = t.command
           WHERE d.mail_id = $1
           ORDER BY t.recorded_at, d.withdrawal LIMIT 1"#,
        mail,
    )
    .fetch_optional(&mut **transaction)
    .await?;
    let told = row.and_then(|row| Told::of(&row.outcome, row.state.parse().ok()?));
    Ok(told.and_then(|told| told.traceparent))
}

/// Commits the event as an outcome: of a key that only this attempt has.
async fn outcome(
    transaction: &mut PgTransaction<'_>,
    mail: &LeasedMail,
    failed: &NotificationFailed,
    traceparent: Option<&str>,
    time: Timestamp,
) -> Result<(), Failure> {
    let id = format!("{}-{}", mail.id, mail.attempts);
    let cause = CommandKey {
        merchant: mail.merchant.clone(),
        source: parsed(notification::CAUSE)?,
        id: parsed(&id)?,
    };
    let origin = Origin { worker: notification::WORKER, cause: &cause, traceparent, time };
    let event = Event::compose(origin, failed).map_err(|_| unexpected())?;
    let content = ContentHash(LengthPrefixed::new().part(NotificationFailed::TYPE).part(&id).finish());
    write::own_outcome(transaction, notification::WORKER, &cause, FAIL, content, &event).await
}

struct ShopRow {
    name: String,
    preferences: serde_json::Value,
}

struct ItemRow {
    state: String,
    recorded_at: OffsetDateTime,
    requested_at: OffsetDateTime,
    customer: String,
    name: Option<String>,
    locale: Option<String>,
    outcome: String,
}

fn written(mail: &LeasedMail, shop: ShopRow, rows: Vec<ItemRow>) -> Option<Written> {
    let preferences: Preferences = serde_json::from_value(shop.preferences).ok()?;
    let (mut locale, mut first) = (None, None);
    let mut items = Vec::with_capacity(rows.len());
    for row in rows {
        if mail.kind.audience() == Audience::Customer {
            locale = row.locale.as_ref().and_then(|locale| locale.parse().ok());
        }
        let told = Told::of(&row.outcome, row.state.parse().ok()?)?;
        first.get_or_insert((told.id, told.traceparent));
        items.push(told.data.item(row.state.parse().ok()?, row)?);
    }
    let shop = MailShop {
        id: mail.merchant.clone(),
        name: shop.name,
        default_locale: preferences.default_locale,
        texts: preferences.mails,
    };
    let content = MailContent { kind: mail.kind, shop, locale, items };
    let (event, traceparent) = first?;
    Some(Written { content, event, traceparent })
}

/// What is read of an event of a withdrawal. Fields that later versions add are nobody's business here.
#[derive(Deserialize)]
struct Told {
    id: String,
    #[serde(rename = "type")]
    message_type: String,
    traceparent: Option<String>,
    data: Data,
}

/// Its type, to find it among the others of its command.
#[derive(Deserialize)]
struct Typed {
    #[serde(rename = "type")]
    message_type: String,
}

#[derive(Deserialize)]
struct Data {
    withdrawal: WithdrawalId,
    amount: String,
    currency: contract::Currency,
    payout: Payout,
    minimum: Option<String>,
    note: Option<String>,
    reason: Option<String>,
    payment_reference: Option<String>,
    account: Account,
}

#[derive(Deserialize)]
struct Payout {
    kind: PayoutKind,
    masked: String,
}

#[derive(Deserialize)]
struct Account {
    balance: String,
    held: String,
}

impl Told {
    /// The event of this state among a command's.
    fn of(outcome: &str, state: WithdrawalState) -> Option<Self> {
        let wanted = format!("withdrawal.{state}.v1");
        let line = outcome.lines().find(|line| {
            serde_json::from_str::<Typed>(line).is_ok_and(|typed| typed.message_type == wanted)
        })?;
        serde_json::from_str::<Self>(line).ok().filter(|told| told.message_type == wanted)
    }
}

impl Data {
    fn item(self, state: WithdrawalState, row: ItemRow) -> Option<MailItem> {
        let figure = |text: &str| text.parse::<Decimal>().ok();
        let minimum = match &self.minimum {
            Some(minimum) => Some(figure(minimum)?),
            None => None,
        };
        Some(MailItem {
            withdrawal: self.withdrawal,
            state,
            at: row.recorded_at,
            requested_at: row.requested_at,
            customer: row.customer.parse().ok()?,
            customer_name: row.name,
            amount: figure(&self.amount)?,
            currency: self.currency,
            payout_kind: self.payout.kind,
            payout: self.payout.masked,
            minimum,
            balance: figure(&self.account.balance)?,
            held: figure(&self.account.held)?,
            note: self.note,
            reason: self.reason,
            payment_reference: self.payment_reference,
        })
    }
}
