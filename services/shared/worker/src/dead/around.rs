//! A walk through a queue with letters that no client can receive.
//!
//! The management API lists the queue in its order and returns all of it, so that from then on whatever is handed out and
//! comes back lies behind the rest. What is suspected has a connection of its own: if that is lost, the letter is behind
//! the others, and the walk goes on with the next. What kills a connection without being suspected is suspected from then
//! on, and the walk begins anew.

use std::collections::HashSet;

use serde_json::Value;

use super::holder::{Got, Holder};
use super::letter::{BEGINNING, Seen};
use super::{Held, MOST_LETTERS, Walk, WalkError};
use crate::management::{Management, Peeked};

/// Letters that no client can receive, for each queue: each costs some connections.
pub(super) const MOST: usize = 20;

/// Properties that are longer in JSON may be too long for a frame: 131,072 bytes of the tersest values come to 29,000. What
/// is suspected wrongly costs a connection.
const LONG: usize = 16 * 1024;

impl Walk {
    /// Takes the letters that can be received, and reads the others from the management API.
    pub(super) async fn go_around(&mut self, management: &Management) -> Result<(), WalkError> {
        let mut suspects = HashSet::new();
        // Every beginning but the last has found another one.
        for _ in 0..=MOST {
            let all = self.begin().await?;
            if all > MOST_LETTERS {
                // What is not listed would come before what is.
                return Err(WalkError::TooMany(self.queue.clone()));
            }
            let listed = management.peek(&self.queue, MOST_LETTERS, BEGINNING).await?;
            self.wait_for(all).await?;
            let Some(suspect) = self.receive_around(&listed, all, &suspects).await? else { return Ok(()) };
            suspects.insert(suspect);
            self.let_go().await;
            self.wait_for(all).await?;
        }
        Err(WalkError::Disturbed(self.queue.clone()))
    }

    /// The content of a letter that killed the connection of the others, if one did.
    async fn receive_around(
        &mut self,
        listed: &[Peeked],
        all: usize,
        suspects: &HashSet<[u8; 16]>,
    ) -> Result<Option<[u8; 16]>, WalkError> {
        let (mut unreadable, mut received) = (0, 0);
        for peeked in listed {
            if self.kept.is_full() || unreadable >= MOST {
                self.kept.partial = true;
                break;
            }
            let content = Seen::from(peeked).content(&self.queue);
            if !suspects.contains(&content) && !is_suspicious(peeked) {
                match self.holders[0].get(&self.queue).await? {
                    Got::Letter(tag, seen) => self.kept.add(&self.queue, *seen, Held::By(0, tag)),
                    Got::Nothing => break,
                    Got::Lost => return Ok(Some(content)),
                }
                received += 1;
                continue;
            }
            let aside = Holder::open(&self.access).await?;
            match aside.get(&self.queue).await? {
                Got::Letter(tag, seen) => {
                    self.kept.add(&self.queue, *seen, Held::By(self.holders.len(), tag));
                    self.holders.push(aside);
                    received += 1;
                }
                Got::Nothing => break,
                Got::Lost => {
                    self.wait_for(all.saturating_sub(received)).await?;
                    self.kept.add(&self.queue, Seen::from(peeked), Held::Queued);
                    unreadable += 1;
                }
            }
        }
        Ok(None)
    }

    /// Takes a letter out that nobody can receive, by its place. The letters before it are first brought behind it; a letter
    /// that is another one all the same, because somebody interfered, is put back. Nothing is taken unless that is possible.
    pub(super) async fn take_queued(&self, place: usize) -> Result<(), WalkError> {
        let disturbed = || WalkError::Disturbed(self.queue.clone());
        let Some(management) = &self.access.management else { return Err(disturbed()) };
        if self.kept.is_ambiguous(place) {
            return Err(WalkError::Ambiguous(self.queue.clone()));
        }
        let content = self.kept.held[place].1;
        let is_meant = |peeked: &Peeked| Seen::from(peeked).content(&self.queue) == content;
        let all = self.holders[0].ready(&self.queue).await?;
        let first = management.peek(&self.queue, self.kept.queued().count(), BEGINNING).await?;
        let before = first.iter().position(is_meant).ok_or_else(disturbed)?;
        self.wait_for(all).await?;
        if before > 0 {
            management.peek(&self.queue, before, 1).await?;
            self.wait_for(all).await?;
        }
        if first.iter().any(|peeked| !is_meant(peeked) && peeked.payload_bytes > Peeked::LONGEST) {
            return Err(WalkError::TooLong(self.queue.clone()));
        }
        management.check_put_back(&first).await?;
        let taken = management.take_first(&self.queue).await?.ok_or_else(disturbed)?;
        if is_meant(&taken) {
            return Ok(());
        }
        match management.put_back(&self.queue, &taken).await {
            Ok(()) => Err(WalkError::TookAnother(self.queue.clone())),
            Err(source) => Err(WalkError::Lost { queue: self.queue.clone(), source }),
        }
    }
}

/// Whether its properties may be too long for a frame, or hold a text that was no UTF-8, which the API replaces.
fn is_suspicious(peeked: &Peeked) -> bool {
    let replaced = |text: &str| text.contains(char::REPLACEMENT_CHARACTER);
    let properties: String = Value::to_string(&peeked.properties);
    properties.len() > LONG || [&properties, &peeked.routing_key].into_iter().any(|text| replaced(text))
}
