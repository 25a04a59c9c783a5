//! What became of the commands of a batch, counted: for whoever watches a worker.

use contract::ReasonCode;

/// What became of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// It was carried out; this is what its first event tells, such as `commission.held`.
    Told(String),
    /// It was understood and not carried out.
    Refused(ReasonCode),
    /// It waits for something. It is counted once more when it is decided.
    Parked,
    /// It had been decided, or parked, before.
    Repeated,
}

/// How many commands of a type met a fate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counted {
    /// The command's type, such as `commission.credit.v1`.
    pub command: &'static str,
    /// What became of it.
    pub fate: Fate,
    /// How many.
    pub count: u64,
}

/// All of a batch. A handful of lines, because a batch's commands are alike: looking through them costs less than hashing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally(Vec<Counted>);

impl Tally {
    /// Counts commands that were carried out.
    pub(crate) fn told(&mut self, command: &'static str, event: &str) {
        let is = |fate: &Fate| matches!(fate, Fate::Told(name) if name == event);
        self.count(command, is, || Fate::Told(event.to_owned()));
    }

    /// Counts a command with this fate.
    pub(crate) fn add(&mut self, command: &'static str, fate: &Fate) {
        self.count(command, |other| other == fate, || fate.clone());
    }

    /// The lines, in no order.
    pub fn lines(&self) -> &[Counted] {
        &self.0
    }

    fn count(&mut self, command: &'static str, is: impl Fn(&Fate) -> bool, fate: impl FnOnce() -> Fate) {
        match self.0.iter_mut().find(|line| line.command == command && is(&line.fate)) {
            Some(line) => line.count += 1,
            None => self.0.push(Counted { command, fate: fate(), count: 1 }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alike_fates_share_a_line() {
        let mut tally = Tally::default();
        tally.told("commission.credit.v1", "commission.credited");
        tally.told("commission.credit.v1", "commission.held");
        tally.told("commission.credit.v1", "commission.credited");
        tally.add("commission.reverse.v1", &Fate::Refused(ReasonCode::AlreadyReversed));
        let counts: Vec<_> = tally.lines().iter().map(|line| (line.command, line.count)).collect();
        assert_eq!(
            counts,
            [("commission.credit.v1", 2), ("commission.credit.v1", 1), ("commission.reverse.v1", 1)]
        );
    }
}
