//! What a worker said of itself during a run. Times are microseconds since 1970.

use crate::schedule::Worker;

/// An answer to `/readyz`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    /// It is ready.
    Ready,
    /// It is not, because of these troubles.
    NotReady(String),
    /// There was none within a second.
    Missing,
}

/// The same answer again and again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Spell {
    /// When that was asked first. What counts is when a question was asked, not when it was answered.
    pub(crate) from: i64,
    /// When it was asked last.
    pub(crate) to: i64,
    /// Of the how many-th process.
    pub(crate) generation: u32,
    /// The answer.
    pub(crate) answer: Answer,
}

/// One worker's processes during a run. An hour in which nothing changes is one spell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Watched {
    /// Whose.
    pub(crate) worker: Worker,
    /// What it said, in order.
    pub(crate) spells: Vec<Spell>,
    /// From when until when there was no process, or one that had been told to end. How long a new one takes until it
    /// answers is not part of it.
    pub(crate) down: Vec<(i64, i64)>,
}

impl Watched {
    pub(crate) fn new(worker: Worker) -> Self {
        Self { worker, spells: Vec::new(), down: Vec::new() }
    }

    /// Notes one more answer.
    pub(crate) fn note(&mut self, asked: i64, generation: u32, answer: Answer) {
        match self.spells.last_mut() {
            Some(last) if (last.generation, &last.answer) == (generation, &answer) => last.to = asked,
            _ => self.spells.push(Spell { from: asked, to: asked, generation, answer }),
        }
    }
}
