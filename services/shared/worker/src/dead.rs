//! A look at a queue of dead letters, and taking out of it what was dealt with.
//!
//! A [`Walk`] takes every letter of a queue and holds it, unacknowledged, so that nobody else is given it meanwhile and
//! what is taken out is exactly what was seen. [`Walk::close`] returns the rest in its order. A crash, or a walk that is
//! only dropped, ends its connections, and the broker returns what they held, perhaps in another order: nothing is lost, and
//! at worst something that was taken out is there again.
//!
//! **Letters that no client can receive.** The broker adds a header of its own to what it hands out again. Where a
//! publisher's headers fill a frame already, that one is too long, and the connection of whoever receives it is lost; so
//! it is where a short text is no UTF-8. When a walk is lost, it begins anew with the management API: this lists the queue
//! in its order, and what killed a connection is read from there. Whatever looks as if it would is received by a
//! connection of its own first. The broker returns what was handed out behind all that was returned before, so that the
//! others come next; what nobody can receive lies behind them until the walk is closed, and before them afterwards.
//!
//! **Bounds.** [`MOST_LETTERS`] and 32 MiB for each queue, and 20 letters that no client can receive. Beyond that a walk
//! [is partial](Walk::is_partial), and the next one sees others once those seen are dealt with. Letters are held for
//! [`LONGEST`] at most: [`Walk::is_over`].

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::broker::{Address, BrokerError};
use crate::management::{Management, ManagementError};
use crate::submit::refusal;

mod around;
mod holder;
mod letter;

use holder::{Got, Holder};
use letter::Seen;
pub use letter::{Letter, LetterId, Origin};

/// Letters that are held at once.
pub const MOST_LETTERS: usize = 5_000;

/// What their bodies and headers may come to, in bytes, before no further one is taken.
const MOST_BYTES: u64 = 32 * 1024 * 1024;

/// The broker closes the channel of whoever holds a message for 30 minutes.
pub const LONGEST: Duration = Duration::from_mins(20);

/// How often it is looked whether a connection is still there, and whether letters are back.
const GLANCE: Duration = Duration::from_millis(20);

/// How long letters may take to be back in their queue.
const RETURN: Duration = Duration::from_secs(10);

const ACCESS_REFUSED: u16 = 403;

/// Why letters cannot be seen, or not taken out.
#[derive(Debug, thiserror::Error)]
pub enum WalkError {
    /// There is no such queue.
    #[error("the broker has no queue {0}; run `saldo topology apply`")]
    Missing(String),
    /// The user may not, in the broker's words.
    #[error("the broker does not let this user read the queue ({0})")]
    Forbidden(String),
    /// A letter that nobody can receive, and no way to see it.
    #[error(
        "{queue}: letter {place} cannot be read over AMQP, or the broker went away twice; set broker.management_url, \
         by which such letters are listed and discarded"
    )]
    Unreadable {
        /// Where.
        queue: String,
        /// From 1.
        place: usize,
    },
    /// The queue is not what it was a moment ago.
    #[error("{0}: somebody else takes letters out of it at the same time; try again")]
    Disturbed(String),
    /// It cannot be listed as a whole.
    #[error(
        "{0}: holds more than {MOST_LETTERS} letters, one of which no client can receive; take some out by other means"
    )]
    TooMany(String),
    /// It may be one or the other, and only the beginnings are known.
    #[error(
        "{0}: another letter that no client can receive is as long and begins alike; take them out by other means"
    )]
    Ambiguous(String),
    /// It could be taken by mistake, and the management API would not take it back.
    #[error(
        "{0}: another letter that no client can receive is too long to be put back if it is taken by mistake"
    )]
    TooLong(String),
    /// Another letter was taken than the one that was meant; it is in its queue again.
    #[error("{0}: another letter had come first, and was put back at the end of the queue; try again")]
    TookAnother(String),
    /// Another letter was taken than the one that was meant, and is gone.
    #[error("{queue}: another letter had come first, and could not be put back: it is lost")]
    Lost {
        /// Where it was.
        queue: String,
        /// Why.
        source: ManagementError,
    },
    /// Its channel is gone, or it is none that is held.
    #[error("{0}: the letter is no longer held")]
    NotHeld(String),
    /// The management API.
    #[error(transparent)]
    Management(#[from] ManagementError),
    /// The broker, or the way to it.
    #[error(transparent)]
    Broker(#[from] BrokerError),
}

impl From<lapin::Error> for WalkError {
    fn from(error: lapin::Error) -> Self {
        match refusal(&error, ACCESS_REFUSED) {
            Some(words) => Self::Forbidden(words),
            None => Self::Broker(error.into()),
        }
    }
}

/// How queues are reached.
#[derive(Debug, Clone)]
pub struct Access {
    /// `broker.url`
    pub broker: Address,
    /// For letters that no client can receive, where it is known.
    pub management: Option<Management>,
    /// How long the broker may take for an answer.
    pub within: Duration,
}

/// Where a letter is.
#[derive(Debug, Clone, Copy)]
enum Held {
    /// At this holder, under this tag.
    By(usize, u64),
    /// In its queue, behind those that are held: nobody can receive it.
    Queued,
    /// It was taken out.
    Gone,
}

/// The letters of a queue, held.
#[derive(Debug)]
pub struct Walk {
    access: Access,
    queue: String,
    kept: Kept,
    /// The first holds most; each other one holds a letter that might have cost it its life.
    holders: Vec<Holder>,
    began: Instant,
}

/// What was seen so far.
#[derive(Debug, Default)]
struct Kept {
    letters: Vec<Letter>,
    /// Of each letter, where it is, and what its content is.
    held: Vec<(Held, [u8; 16])>,
    /// How many have this name.
    twins: HashMap<[u8; 16], u32>,
    bytes: u64,
    partial: bool,
}

impl Kept {
    fn add(&mut self, queue: &str, seen: Seen, held: Held) {
        let content = seen.content(queue);
        let name = seen.name(content);
        let twins = self.twins.entry(name).or_default();
        self.bytes += seen.bytes();
        self.letters.push(seen.letter(queue, name, *twins));
        self.held.push((held, content));
        *twins += 1;
    }

    /// The places of letters that nobody can receive.
    fn queued(&self) -> impl Iterator<Item = usize> {
        (0..).zip(&self.held).filter(|(_, (held, _))| matches!(held, Held::Queued)).map(|(place, _)| place)
    }

    /// Whether another letter that nobody can receive might be this one, of which only the beginning is here.
    fn is_ambiguous(&self, place: usize) -> bool {
        let content = self.held[place].1;
        !self.letters[place].is_whole()
            && self.queued().any(|other| other != place && self.held[other].1 == content)
    }

    fn is_full(&self) -> bool {
        self.letters.len() >= MOST_LETTERS || self.bytes >= MOST_BYTES
    }
}

impl Walk {
    /// Takes the letters of a queue.
    ///
    /// # Errors
    /// The queue does not exist or cannot be read.
    pub async fn open(access: &Access, queue: &str) -> Result<Self, WalkError> {
        let mut walk = Self {
            access: access.clone(),
            queue: queue.to_owned(),
            kept: Kept::default(),
            holders: Vec::new(),
            began: Instant::now(),
        };
        let mut place = 0;
        // A lost connection alone says nothing of the letters; going around them finds out.
        let attempts = if access.management.is_some() { 1 } else { 2 };
        for _ in 0..attempts {
            let all = walk.begin().await?;
            if walk.receive().await? {
                return Ok(walk);
            }
            place = walk.kept.letters.len() + 1;
            walk.let_go().await;
            walk.wait_for(all).await?;
        }
        match access.management.clone() {
            Some(management) => walk.go_around(&management).await.map(|()| walk),
            None => Err(WalkError::Unreadable { queue: queue.to_owned(), place }),
        }
    }

    /// The letters, in the order of their queue.
    pub fn letters(&self) -> &[Letter] {
        &self.kept.letters
    }

    /// The queue's name.
    pub fn queue(&self) -> &str {
        &self.queue
    }

    /// Whether there are more letters than these.
    pub fn is_partial(&self) -> bool {
        self.kept.partial
    }

    /// Whether it is time to return what is held.
    pub fn is_over(&self) -> bool {
        self.began.elapsed() > LONGEST
    }

    /// Takes a letter out of its queue for good, by its place among [`Self::letters`].
    ///
    /// # Errors
    /// It is still there, or, where the connection failed, may be.
    pub async fn take_out(&mut self, place: usize) -> Result<(), WalkError> {
        match self.kept.held.get(place) {
            Some((Held::By(holder, tag), _)) => self.holders[*holder].ack(&self.queue, *tag).await?,
            Some((Held::Queued, _)) => self.take_queued(place).await?,
            Some((Held::Gone, _)) | None => return Err(WalkError::NotHeld(self.queue.clone())),
        }
        self.kept.held[place].0 = Held::Gone;
        Ok(())
    }

    /// Returns what is still held, in its order, and waits until it is back.
    ///
    /// # Errors
    /// A connection failed: then the broker returns it, perhaps in another order.
    pub async fn close(mut self) -> Result<(), WalkError> {
        // One by one: each was handed out by itself, and all at once would come back in another order.
        for (held, _) in &self.kept.held {
            if let Held::By(holder, tag) = held {
                self.holders[*holder].give_back(*tag).await?;
            }
        }
        for holder in &self.holders {
            holder.ready(&self.queue).await?;
        }
        let left = self.kept.held.iter().filter(|(held, _)| !matches!(held, Held::Gone)).count();
        // Whoever takes letters already has been given what was ours.
        let _ = self.wait_for(left).await;
        self.let_go().await;
        Ok(())
    }

    /// Opens the connection that holds most letters; how many there are.
    async fn begin(&mut self) -> Result<usize, WalkError> {
        let holder = Holder::open(&self.access).await?;
        let ready = holder.ready(&self.queue).await?;
        self.holders.push(holder);
        Ok(ready)
    }

    /// Takes all there are, up to the bounds. `false`: the connection was lost.
    async fn receive(&mut self) -> Result<bool, WalkError> {
        while !self.kept.is_full() {
            match self.holders[0].get(&self.queue).await? {
                Got::Letter(tag, seen) => self.kept.add(&self.queue, *seen, Held::By(0, tag)),
                Got::Nothing => return Ok(true),
                Got::Lost => return Ok(false),
            }
        }
        self.kept.partial = self.holders[0].ready(&self.queue).await? > 0;
        Ok(true)
    }

    /// Ends all connections: the broker returns what they held.
    async fn let_go(&mut self) {
        self.kept = Kept::default();
        for holder in self.holders.drain(..) {
            holder.end().await;
        }
    }

    /// Waits until so many letters are in the queue and with nobody: returning them takes the broker a moment.
    async fn wait_for(&self, letters: usize) -> Result<(), WalkError> {
        let began = Instant::now();
        let looker = Holder::open(&self.access).await?;
        let ready = loop {
            let ready = looker.ready(&self.queue).await?;
            if ready >= letters || began.elapsed() > RETURN {
                break ready;
            }
            sleep(GLANCE).await;
        };
        looker.end().await;
        if ready >= letters { Ok(()) } else { Err(WalkError::Disturbed(self.queue.clone())) }
    }
}
