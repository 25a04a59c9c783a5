//! What the figures come to: the tables on the terminal, and a folder with the same tables, the plots and
//! everything that was measured.
//!
//! Promise: nothing is compared across rounds. A ratio is taken within one round, where both sides saw the same
//! machine in the same minutes; then the median of these ratios counts. What was not measured is shown as not
//! measured, never as zero, and a plot without figures is not there. Nothing is measured here, and a result
//! that misses its goal is no error.
//!
//! Bound: pure but for [`write`], which replaces the files it names and leaves everything else in the folder
//! alone.

pub(crate) mod goals;
mod plots;
mod summary;
mod table;
#[cfg(test)]
mod tests;

use std::io;
use std::path::Path;

use serde::Serialize;

use crate::figures::{Case, Figures};

pub(crate) use goals::goals;

/// The text for the terminal.
pub(crate) fn print(figures: &Figures) -> String {
    table::text(&table::sheets(figures))
}

/// Writes `results.json` (everything measured, and what it comes to), `results.md` (the tables of [`print`])
/// and the plots into `folder`, which is made if it is not there.
///
/// # Errors
///
/// A file cannot be written.
pub(crate) fn write(figures: &Figures, folder: &Path) -> io::Result<()> {
    std::fs::create_dir_all(folder)?;
    let mut shown = Vec::new();
    for (name, plot) in plots::all(figures)? {
        let path = folder.join(name);
        if let Some(plot) = plot {
            std::fs::write(path, plot)?;
            shown.push(name);
        } else {
            // One of an earlier run would pass for this one's.
            remove(&path)?;
        }
    }
    std::fs::write(folder.join("results.md"), table::markdown(&table::sheets(figures), &shown))?;
    let mut json = serde_json::to_string_pretty(&Results::of(figures))?;
    json.push('\n');
    std::fs::write(folder.join("results.json"), json)
}

/// How many times as many commands a second a worker drains as the naive consumer with 16 at a time does.
pub(crate) fn drain_to_naive(figures: &Figures) -> Option<f64> {
    summary::ratio(figures, Case::Drain, Case::NaiveSixteen)
}

/// What `results.json` holds.
#[derive(Serialize)]
struct Results<'a> {
    goals: Vec<goals::Judged>,
    cases: Vec<summary::CaseRow>,
    latencies: Vec<summary::LatencyRow>,
    round_trip: Option<summary::Waits>,
    sizes: Vec<summary::SizeRow>,
    statements: Vec<summary::StatementRow>,
    /// As they were measured.
    figures: &'a Figures,
}

impl<'a> Results<'a> {
    fn of(figures: &'a Figures) -> Self {
        Self {
            goals: goals(figures).into_iter().map(goals::Judged::from).collect(),
            cases: summary::cases(figures),
            latencies: summary::latencies(figures),
            round_trip: summary::round_trip(figures),
            sizes: summary::sizes(figures),
            statements: summary::statements(figures),
            figures,
        }
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}
