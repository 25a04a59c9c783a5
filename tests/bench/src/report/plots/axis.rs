//! What lies along an axis: a range, and marks with labels. A logarithmic axis is an axis of logarithms whose
//! labels say what they are the logarithms of; the points must be given as logarithms too.
#![expect(clippy::float_arithmetic, reason = "positions on a plot")]

use std::iter::successors;
use std::ops::Range;

use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter};
use plotters::coord::types::RangedCoordf64;

use crate::report::table::number;

/// So many marks at most between zero and the end.
const MARKS: f64 = 7.0;

#[derive(Clone)]
pub(super) struct Axis {
    /// With its unit; empty if the labels speak for themselves.
    pub(super) title: String,
    from: f64,
    to: f64,
    marks: Vec<(f64, String)>,
}

impl Axis {
    /// From zero.
    pub(super) fn linear(title: &str, to: f64) -> Self {
        let to = if to > 0.0 { to } else { 1.0 };
        let rough = to / MARKS;
        let decade = 10_f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0].map(|times| times * decade).into_iter().find(|step| *step >= rough);
        let step = step.unwrap_or(10.0 * decade);
        let marks = successors(Some(0.0), |count| Some(count + 1.0))
            .map(|count| count * step)
            .take_while(|at| *at <= to)
            .map(|at| (at, plain(at)))
            .collect();
        Self { title: title.to_owned(), from: 0.0, to, marks }
    }

    /// With some air at both ends. What is not positive has no place on it.
    pub(super) fn logarithmic(title: &str, least: f64, most: f64) -> Self {
        let (least, most) = (least.max(f64::MIN_POSITIVE) / 1.2, most * 1.2);
        let decade = 10_f64.powf(least.log10().floor());
        let marks = successors(Some(decade), |decade| Some(decade * 10.0))
            .take_while(|decade| *decade <= most)
            .flat_map(|decade| [1.0, 2.0, 5.0].map(|times| times * decade))
            .filter(|at| (least..=most).contains(at))
            .map(|at| (at.log10(), plain(at)))
            .collect();
        Self { title: title.to_owned(), from: least.log10(), to: most.log10(), marks }
    }

    /// Quantiles, as far as `to`: each further nine takes the same length.
    pub(super) fn nines(title: &str, to: f64) -> Self {
        let marks = [0.0, 0.5, 0.9, 0.99, 0.999, 0.9999, 0.99999, 0.999_999];
        let label = |quantile: f64| format!("{}%", trim(&format!("{:.4}", quantile * 100.0)));
        let marks = marks.map(|quantile| (nines(quantile), label(quantile)));
        let to = nines(to);
        Self {
            title: title.to_owned(),
            from: 0.0,
            to,
            marks: marks.into_iter().filter(|(at, _)| *at <= to + 1e-9).collect(),
        }
    }

    /// One line for each name, from the top: [`rows`] says where.
    pub(super) fn names(names: impl IntoIterator<Item = String>) -> Self {
        let marks: Vec<_> = rows().zip(names).collect();
        let last = marks.last().map_or(0.0, |(at, _)| *at);
        Self { title: String::new(), from: last - 0.5, to: 0.5, marks }
    }

    pub(super) fn labels(&self) -> impl Iterator<Item = &str> {
        self.marks.iter().map(|(_, label)| label.as_str())
    }
}

impl Ranged for Axis {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, limit: (i32, i32)) -> i32 {
        RangedCoordf64::from(self.range()).map(value, limit)
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        let light = hint.weight().allow_light_points();
        self.marks.iter().filter(|_| !light).map(|(at, _)| *at).collect()
    }

    fn range(&self) -> Range<f64> {
        self.from..self.to
    }
}

impl ValueFormatter<f64> for Axis {
    fn format(at: &f64) -> String {
        at.to_string()
    }

    /// Empty where there is no mark.
    fn format_ext(&self, at: &f64) -> String {
        let mark = self.marks.iter().find(|(mark, _)| (mark - at).abs() < 1e-9);
        mark.map(|(_, label)| label.clone()).unwrap_or_default()
    }
}

/// Where the lines of [`Axis::names`] are.
pub(super) fn rows() -> impl Iterator<Item = f64> {
    successors(Some(0.0), |row| Some(row - 1.0))
}

/// Where a quantile below 1 is on its axis.
pub(super) fn nines(quantile: f64) -> f64 {
    -(1.0 - quantile).log10()
}

fn plain(mark: f64) -> String {
    // What is on a logarithmic axis may be smaller than what a table shows.
    if mark > 0.0 && mark < 0.01 { trim(&format!("{mark:.6}")) } else { trim(&number(mark)) }
}

/// Without zeros that say nothing.
fn trim(number: &str) -> String {
    if number.contains('.') {
        number.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        number.to_owned()
    }
}
