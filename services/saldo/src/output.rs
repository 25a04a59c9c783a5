//! Where the command line writes: the only module that touches standard output and error.

use std::error::Error;
use std::fmt::Display;
use std::io::{self, BufWriter, ErrorKind, IsTerminal, Stdout, Write};

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use sqlx::error::DatabaseError;

/// Standard output for results, buffered; standard error for messages.
pub(crate) struct Output {
    results: BufWriter<Stdout>,
}

impl Output {
    pub(crate) fn new() -> Self {
        Self { results: BufWriter::new(io::stdout()) }
    }

    /// A line of the result.
    pub(crate) fn line(&mut self, line: impl Display) -> io::Result<()> {
        writeln!(self.results, "{line}")
    }

    /// A part of the result that is whole lines already.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.results.write_all(bytes)
    }

    /// A line of the result, as JSON.
    pub(crate) fn json(&mut self, value: &impl Serialize) -> io::Result<()> {
        serde_json::to_writer(&mut self.results, value)?;
        writeln!(self.results)
    }

    /// A message to the person; what was said before comes first. Nobody may be listening, which is no failure.
    pub(crate) fn message(&mut self, message: impl Display) {
        let _ = self.results.flush();
        let _ = writeln!(io::stderr(), "saldo: {message}");
    }

    /// A new page: of a terminal, which is cleared; where there is none, an empty line divides.
    pub(crate) fn clear(&mut self) -> io::Result<()> {
        let home = if self.is_terminal() { "\x1b[H\x1b[2J" } else { "\n" };
        self.results.write_all(home.as_bytes())
    }

    pub(crate) fn flush(&mut self) -> io::Result<()> {
        self.results.flush()
    }

    /// A progress bar on standard error, where a person sees it.
    pub(crate) fn progress(length: u64) -> ProgressBar {
        let bar = ProgressBar::new(length);
        if let Ok(style) =
            ProgressStyle::with_template("{bar:40} {human_pos} of {human_len}, {per_sec}, {eta} left")
        {
            bar.set_style(style);
        }
        bar
    }

    /// Whether a person reads the results who has nothing against colours (<https://no-color.org>).
    pub(crate) fn has_colours(&self) -> bool {
        self.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
    }

    /// How many characters fit a line of the terminal that a person reads the results in.
    pub(crate) fn width(&self) -> Option<u16> {
        self.is_terminal().then(|| comfy_table::Table::new().width()).flatten()
    }

    /// Whether a person reads the results.
    pub(crate) fn is_terminal(&self) -> bool {
        self.results.get_ref().is_terminal()
    }
}

/// Whether the reader of standard output has gone (`saldo … | head`).
pub(crate) fn is_closed_pipe(error: &(dyn Error + 'static)) -> bool {
    let is = |error: &io::Error| error.kind() == ErrorKind::BrokenPipe;
    error.downcast_ref::<io::Error>().is_some_and(is)
}

/// An error and what caused it. Parts that a part before them already says are left out.
pub(crate) fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let part = error.to_string();
        if !text.contains(&part) {
            text.push_str(": ");
            text.push_str(&part);
        }
        // What Postgres says is shown with a line number, of Postgres' own source.
        if let Some(error) = error.downcast_ref::<Box<dyn DatabaseError>>() {
            text = text.replace(&part, error.message());
        }
        cause = error.source();
    }
    text
}

/// `1 queue`, `2 queues`: a number of things, whose name takes an s.
pub(crate) fn counted(number: usize, thing: &str) -> String {
    format!("{number} {thing}{}", if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use std::fmt;

    use sqlx::error::ErrorKind;

    use super::*;

    /// Shown as sqlx shows what Postgres says.
    #[derive(Debug)]
    struct Said;

    impl fmt::Display for Said {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "{} at line 948", self.message())
        }
    }

    impl Error for Said {}

    impl DatabaseError for Said {
        fn message(&self) -> &'static str {
            "the role \"shop\" does not exist"
        }

        fn as_error(&self) -> &(dyn Error + Send + Sync + 'static) {
            self
        }

        fn as_error_mut(&mut self) -> &mut (dyn Error + Send + Sync + 'static) {
            self
        }

        fn into_error(self: Box<Self>) -> Box<dyn Error + Send + Sync + 'static> {
            self
        }

        fn kind(&self) -> ErrorKind {
            ErrorKind::Other
        }
    }

    #[derive(Debug, thiserror::Error)]
    enum Wrapped {
        #[error("it is refused")]
        Refused(#[source] sqlx::Error),
        #[error(transparent)]
        Itself(sqlx::Error),
    }

    #[test]
    fn what_postgres_says_is_told_without_a_line_of_its_source() {
        let said = || sqlx::Error::Database(Box::new(Said));
        let told = "error returned from database: the role \"shop\" does not exist";
        assert_eq!(chain(&said()), told);
        assert_eq!(chain(&Wrapped::Refused(said())), format!("it is refused: {told}"));
        assert_eq!(chain(&Wrapped::Itself(said())), told);
    }
}
