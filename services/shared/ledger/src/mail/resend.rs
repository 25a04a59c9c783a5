//! Having a mail sent again.

use sqlx::PgConnection;

/// What became of the wish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resent {
    /// It is due now.
    Due,
    /// It is still being tried.
    StillDue,
    /// There is no such mail.
    Unknown,
}

/// Makes a mail that was sent or has failed due again, for as long as it was at first. An affiliate's goes to the
/// address that is known now.
///
/// # Errors
/// The database's.
pub async fn resend(connection: &mut PgConnection, id: i64) -> Result<Resent, sqlx::Error> {
    let changed = sqlx::query!(
        "UPDATE mail m
         SET state = 'due', ended_at = NULL, resent = resent + 1, next_attempt_at = statement_timestamp(),
             give_up_at = statement_timestamp() + patience,
             recipient = coalesce(
                 (SELECT c.email FROM delivery d
                  JOIN withdrawal w ON w.key = d.withdrawal
                  JOIN account a ON a.id = w.account_id
                  JOIN customer c ON (c.merchant, c.id) = (a.merchant, a.customer)
                  WHERE d.mail_id = m.id AND d.audience = 'customer'), recipient)
         WHERE id = $1 AND state <> 'due'",
        id,
    )
    .execute(&mut *connection)
    .await?;
    if changed.rows_affected() == 1 {
        return Ok(Resent::Due);
    }
    let known = sqlx::query_scalar!("SELECT EXISTS (SELECT FROM mail WHERE id = $1) AS \"known!\"", id)
        .fetch_one(connection)
        .await?;
    Ok(if known { Resent::StillDue } else { Resent::Unknown })
}
