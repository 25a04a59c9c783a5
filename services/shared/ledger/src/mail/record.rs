//! From notices to mails that are due.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use contract::{Preferences, WithdrawalId};
use sqlx::{Connection, PgTransaction};

use super::Notice;
use super::plan::{DigestRule, Lately, Mailbox, NewMail, Noticed, Place, Planned, plan, staff};
use crate::store::load::{bytes, key_hash, parsed, unexpected};
use crate::{Failure, Store};

/// How mails come about.
#[derive(Debug, Clone, Copy)]
pub struct MailRules {
    /// When requests are collected.
    pub digest: DigestRule,
    /// How long a mail is tried.
    pub give_up_after: Duration,
}

impl Store {
    /// Records notices with all the mails they need. `false` for one that tells of nothing the ledger knows: its merchant
    /// has no such withdrawal, or that was never in this state.
    ///
    /// # Errors
    /// See [`Failure`]; nothing is recorded then.
    pub async fn record_notices(
        &mut self,
        notices: &[&Notice],
        rules: MailRules,
    ) -> Result<Vec<bool>, Failure> {
        let mut transaction = self.connection().begin().await?;
        lock(&mut transaction, notices).await?;
        let (known, news) = unnoticed(&mut transaction, notices).await?;
        if !news.is_empty() {
            let lately = lately(&mut transaction, staff(&news), rules.digest).await?;
            let (planned, new) = plan(&news, &lately, rules.digest);
            write(&mut transaction, &news, &planned, &new, rules).await?;
        }
        transaction.commit().await?;
        Ok(known)
    }

    /// States that withdrawals entered longer than `age` and less than `window` ago and that nobody has noticed, oldest
    /// first, without the first `skip`, at most `limit`.
    ///
    /// # Errors
    /// The database's.
    pub async fn overlooked_notices(
        &mut self,
        age: Duration,
        window: Duration,
        skip: i64,
        limit: i64,
    ) -> Result<Vec<Notice>, Failure> {
        // By withdrawal_transition_recorded.
        let rows = sqlx::query!(
            "SELECT a.merchant, t.withdrawal, t.state
             FROM withdrawal_transition t
             JOIN withdrawal w ON w.key = t.withdrawal
             JOIN account a ON a.id = w.account_id
             WHERE t.recorded_at > statement_timestamp() - $2::float8 * interval '1 second'
               AND t.recorded_at <= statement_timestamp() - $1::float8 * interval '1 second'
               AND NOT EXISTS (SELECT FROM notice n WHERE (n.withdrawal, n.state) = (t.withdrawal, t.state))
             ORDER BY t.recorded_at, t.withdrawal, t.number LIMIT $4 OFFSET $3",
            age.as_secs_f64(),
            window.as_secs_f64(),
            skip,
            limit,
        )
        .fetch_all(self.connection())
        .await?;
        let notices = rows.into_iter().map(|row| {
            Ok(Notice {
                merchant: parsed(&row.merchant)?,
                withdrawal: WithdrawalId(key_hash(&row.withdrawal)?),
                state: parsed(&row.state)?,
            })
        });
        notices.collect()
    }
}

/// One transaction after the other for each merchant, in the merchants' order.
async fn lock(transaction: &mut PgTransaction<'_>, notices: &[&Notice]) -> Result<(), Failure> {
    let mut merchants: Vec<_> = notices.iter().map(|notice| notice.merchant.to_string()).collect();
    merchants.sort_unstable();
    merchants.dedup();
    sqlx::query!(
        "SELECT count(pg_advisory_xact_lock(hashtextextended('saldo.mail.' || merchant, 0)))
         FROM (SELECT unnest($1::text[]) AS merchant ORDER BY 1) AS merchants",
        &merchants,
    )
    .fetch_one(&mut **transaction)
    .await?;
    Ok(())
}

/// Which notices the ledger knows of, and what is needed for those that are new.
async fn unnoticed(
    transaction: &mut PgTransaction<'_>,
    notices: &[&Notice],
) -> Result<(Vec<bool>, Vec<Noticed>), Failure> {
    let merchants: Vec<_> = notices.iter().map(|notice| notice.merchant.to_string()).collect();
    let withdrawals: Vec<_> = notices.iter().map(|notice| bytes(&notice.withdrawal.0)).collect();
    let states: Vec<_> = notices.iter().map(|notice| notice.state.to_string()).collect();
    let rows = sqlx::query!(
        r#"SELECT asked.place AS "place!", m.preferences AS "preferences!", c.email AS "email?",
                  EXISTS (SELECT FROM notice n WHERE (n.withdrawal, n.state) = (asked.withdrawal, asked.state)) AS "noticed!"
           FROM unnest($1::text[], $2::bytea[], $3::text[]) WITH ORDINALITY
                AS asked (merchant, withdrawal, state, place)
           JOIN withdrawal w ON w.key = asked.withdrawal
           JOIN account a ON a.id = w.account_id AND a.merchant = asked.merchant
           JOIN merchant m ON m.id = a.merchant
           LEFT JOIN customer c ON (c.merchant, c.id) = (a.merchant, a.customer)
           WHERE EXISTS (SELECT FROM withdrawal_transition t
                         WHERE (t.withdrawal, t.state) = (asked.withdrawal, asked.state))
           ORDER BY asked.place"#,
        &merchants,
        &withdrawals,
        &states,
    )
    .fetch_all(&mut **transaction)
    .await?;
    let mut known = vec![false; notices.len()];
    let (mut news, mut seen) = (Vec::new(), HashSet::new());
    for row in rows {
        let place = usize::try_from(row.place).ok().and_then(|place| place.checked_sub(1));
        let (Some(place), Some(notice)) = (place, place.and_then(|place| notices.get(place))) else {
            return Err(unexpected());
        };
        known[place] = true;
        if row.noticed || !seen.insert((notice.withdrawal, notice.state)) {
            continue;
        }
        let preferences: Preferences = serde_json::from_value(row.preferences).map_err(|_| unexpected())?;
        let customer = row.email.as_deref().map(parsed).transpose()?;
        news.push(Noticed { notice: (*notice).clone(), preferences, customer });
    }
    Ok((known, news))
}

/// What these addresses got lately, with the digests that collect for them locked.
async fn lately(
    transaction: &mut PgTransaction<'_>,
    mailboxes: HashSet<Mailbox>,
    rule: DigestRule,
) -> Result<HashMap<Mailbox, Lately>, Failure> {
    let mailboxes: Vec<Mailbox> = mailboxes.into_iter().collect();
    let merchants: Vec<_> = mailboxes.iter().map(|(merchant, _)| merchant.to_string()).collect();
    let recipients: Vec<_> = mailboxes.iter().map(|(_, email)| email.as_str().to_owned()).collect();
    // A digest collects for one window, so what came within the last one is in a mail made within the last two.
    let counts = sqlx::query_scalar!(
        r#"SELECT (SELECT count(*) FROM mail m JOIN delivery d ON d.mail_id = m.id
                   WHERE m.merchant = asked.merchant AND m.recipient = asked.recipient
                     AND m.kind IN ('admin-requested', 'admin-digest')
                     AND m.created_at > statement_timestamp() - 2 * $3::float8 * interval '1 second'
                     AND d.created_at > statement_timestamp() - $3::float8 * interval '1 second') AS "count!"
           FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS asked (merchant, recipient, place)
           ORDER BY asked.place"#,
        &merchants,
        &recipients,
        rule.window.as_secs_f64(),
    )
    .fetch_all(&mut **transaction)
    .await?;
    let open = sqlx::query!(
        r#"SELECT m.id, m.merchant, m.recipient,
                  (SELECT count(*) FROM delivery d WHERE d.mail_id = m.id) AS "holds!"
           FROM mail m
           WHERE (m.merchant, m.recipient) IN (SELECT * FROM unnest($1::text[], $2::text[]))
             AND m.kind = 'admin-digest' AND m.state = 'due' AND m.attempts = 0
             AND m.next_attempt_at > statement_timestamp()
           ORDER BY m.id FOR UPDATE OF m"#,
        &merchants,
        &recipients,
    )
    .fetch_all(&mut **transaction)
    .await?;
    let requests = counts.into_iter().map(|requests| Lately { requests, open: None });
    let mut lately: HashMap<Mailbox, Lately> = mailboxes.into_iter().zip(requests).collect();
    for row in open {
        let mailbox = (parsed(&row.merchant)?, parsed(&row.recipient)?);
        // The newest: an older one is full.
        lately.entry(mailbox).or_default().open = Some((row.id, row.holds));
    }
    Ok(lately)
}

async fn write(
    transaction: &mut PgTransaction<'_>,
    noticed: &[Noticed],
    planned: &[Planned],
    new: &[NewMail],
    rules: MailRules,
) -> Result<(), Failure> {
    let key = |index: usize| bytes(&noticed[index].notice.withdrawal.0);
    let state = |index: usize| noticed[index].notice.state.to_string();
    sqlx::query!(
        "INSERT INTO notice (withdrawal, state) SELECT * FROM unnest($1::bytea[], $2::text[]) ORDER BY 1, 2",
        &(0..noticed.len()).map(key).collect::<Vec<_>>(),
        &(0..noticed.len()).map(state).collect::<Vec<_>>(),
    )
    .execute(&mut **transaction)
    .await?;
    let mut ids = sqlx::query_scalar!(
        "INSERT INTO mail (merchant, kind, recipient, next_attempt_at, patience, give_up_at)
         SELECT merchant, kind, recipient, due, $5::float8 * interval '1 second', due + $5::float8 * interval '1 second'
         FROM (SELECT *, statement_timestamp() + CASE kind WHEN 'admin-digest' THEN $4::float8 ELSE 0 END
                         * interval '1 second' AS due
               FROM unnest($1::text[], $2::text[], $3::text[]) WITH ORDINALITY
                    AS new (merchant, kind, recipient, place)) AS new
         ORDER BY place RETURNING id",
        &new.iter().map(|mail| mail.merchant.to_string()).collect::<Vec<_>>(),
        &new.iter().map(|mail| mail.kind.to_string()).collect::<Vec<_>>(),
        &new.iter().map(|mail| mail.recipient.as_str().to_owned()).collect::<Vec<_>>(),
        rules.digest.window.as_secs_f64(),
        rules.give_up_after.as_secs_f64(),
    )
    .fetch_all(&mut **transaction)
    .await?;
    // Numbers are given in the order of insertion.
    ids.sort_unstable();
    let mail = |planned: &Planned| match planned.mail {
        Place::Open(id) => Some(id),
        Place::New(index) => ids.get(index).copied(),
    };
    let mails: Option<Vec<i64>> = planned.iter().map(mail).collect();
    sqlx::query!(
        "INSERT INTO delivery (withdrawal, state, audience, recipient, mail_id)
         SELECT * FROM unnest($1::bytea[], $2::text[], $3::text[], $4::text[], $5::bigint[])",
        &planned.iter().map(|planned| key(planned.notice)).collect::<Vec<_>>(),
        &planned.iter().map(|planned| state(planned.notice)).collect::<Vec<_>>(),
        &planned.iter().map(|planned| planned.audience.to_string()).collect::<Vec<_>>(),
        &planned.iter().map(|planned| planned.recipient.as_str().to_owned()).collect::<Vec<_>>(),
        &mails.ok_or_else(unexpected)?,
    )
    .execute(&mut **transaction)
    .await?;
    Ok(())
}
