//! What has to be decided although no message asks for it: parked commands, and hold periods that end.
//!
//! Scans only read; what they find goes through [`Store::carry_out`] like every command, which takes each row
//! under its lock. So two scans at once, or a scan and a lane, cost work and never a second effect.

use std::sync::Arc;

use contract::commission::{CommissionCommand, CommissionMature};
use contract::{Commands, MerchantId, Received, Reference, Source};

use super::Store;
use super::load::key_hash;
use super::waiting::ParkedRow;
use crate::decide::{Item, ItemOrigin};
use crate::{Failure, Rules};

/// The source of what the passing of time does to a commission; its id is the commission's key.
const MATURITY: &str = "/saldo/commissions/maturity";

/// Parked commands that a scan found.
#[derive(Debug)]
pub struct ParkedDue<C> {
    /// Those that can be decided.
    pub items: Vec<Arc<Item<C>>>,
    /// How many besides cannot be read.
    pub unreadable: usize,
}

impl Store {
    /// Parked commands of a worker that can be decided now: what they wait for has arrived, or their
    /// patience is over. Oldest first, without the first `skip`, at most `limit`. Those that
    /// cannot be read are counted: they stay until somebody configures the key that they are encrypted with.
    ///
    /// # Errors
    /// The database's.
    pub async fn parked_due<R: Rules>(
        &mut self,
        rules: &R,
        skip: i64,
        limit: i64,
    ) -> Result<ParkedDue<R::Command>, Failure> {
        let rows = sqlx::query!(
            "SELECT key, body, key_id, user_id, parked_at, deadline FROM waiting w
             WHERE worker = $1
               AND (deadline <= clock_timestamp()
                    OR EXISTS (SELECT FROM inbox i WHERE i.key = w.awaited_command AND i.outcome IS NOT NULL)
                    OR (awaited_customer IS NULL AND EXISTS (SELECT FROM merchant m WHERE m.id = w.awaited_merchant))
                    OR EXISTS (SELECT FROM customer c
                               WHERE c.merchant = w.awaited_merchant AND c.id = w.awaited_customer))
             ORDER BY parked_at, key LIMIT $2 OFFSET $3",
            R::WORKER,
            limit,
            skip,
        )
        .fetch_all(&mut self.connection)
        .await?;
        let mut found = ParkedDue { items: Vec::with_capacity(rows.len()), unreadable: 0 };
        for row in rows {
            let parked = ParkedRow {
                key: key_hash(&row.key)?,
                body: row.body,
                key_id: row.key_id,
                user: row.user_id,
                since: row.parked_at,
                deadline: row.deadline,
            };
            match parked.item(rules) {
                Some(item) => found.items.push(item),
                None => found.unreadable += 1,
            }
        }
        Ok(found)
    }

    /// Commissions whose hold period is over, oldest first, without the first `skip`, at most `limit`.
    ///
    /// # Errors
    /// The database's.
    pub async fn commissions_due(
        &mut self,
        skip: i64,
        limit: i64,
    ) -> Result<Vec<Arc<Item<CommissionCommand>>>, Failure> {
        let rows = sqlx::query!(
            r#"SELECT i.merchant, i.source, i.id, encode(c.key, 'hex') AS "key!", c.available_at AS "available_at!"
               FROM commission c JOIN inbox i ON i.key = c.key
               WHERE c.state = 'pending' AND c.available_at <= clock_timestamp()
               ORDER BY c.available_at, c.key LIMIT $1 OFFSET $2"#,
            limit,
            skip,
        )
        .fetch_all(&mut self.connection)
        .await?;
        let mut items = Vec::with_capacity(rows.len());
        for row in rows {
            // All of them were parsed before they were stored.
            let parsed = (|| -> Result<_, String> {
                let merchant: MerchantId = row.merchant.parse()?;
                let commission = Reference { source: row.source.parse()?, id: row.id.parse()? };
                let source: Source = MATURITY.parse()?;
                Ok((source, row.key.parse()?, CommissionMature { merchant, commission }))
            })();
            let Ok((source, id, mature)) = parsed else { continue };
            let command = CommissionCommand::Mature(mature);
            let received = Received::new(source, id, row.available_at.into(), None, command);
            debug_assert!(!CommissionCommand::TYPES.contains(&received.command.message_type()));
            items.push(Arc::new(Item { received, body: Arc::from([]), origin: ItemOrigin::Due }));
        }
        Ok(items)
    }
}
