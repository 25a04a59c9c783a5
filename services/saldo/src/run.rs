//! One run of `saldo publish`: which message of it is which line.

/// A run. Each of its messages has an AMQP message id of its own, which no other run's has and which dead letters
/// keep: it tells whose they are even where their body is encrypted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Run(String);

impl Run {
    pub(crate) fn new() -> Self {
        Self(format!("{:016x}", rand::random::<u64>()))
    }

    /// The id of the message in this line of the file.
    pub(crate) fn message_id(&self, line: usize) -> String {
        format!("{}-{line}", self.0)
    }

    /// The line whose message has this id; `None` if it is of another run.
    pub(crate) fn line_of(&self, message_id: &str) -> Option<usize> {
        message_id.strip_prefix(self.0.as_str())?.strip_prefix('-')?.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_id_names_its_run_and_its_line() {
        let (run, other) = (Run::new(), Run::new());
        assert_eq!(run.line_of(&run.message_id(17)), Some(17));
        assert_ne!(run, other);
        for foreign in [other.message_id(17), "17".to_owned(), "-17".to_owned(), run.0.clone()] {
            assert_eq!(run.line_of(&foreign), None, "{foreign}");
        }
    }
}
