//! Bars from the left, one line for each case or goal.
#![expect(clippy::float_arithmetic, reason = "positions on a plot")]

use std::io;

use plotters::coord::ranged1d::Ranged;
use plotters::prelude::{Circle, Color, RGBColor, Rectangle};

use super::axis::{Axis, rows};
use super::{
    Area, BLUE, Drawn, GREEN, GREY, INK, ORANGE, Room, VERMILION, beside, chart, draw, legend, line, room,
};
use crate::figures::{Case, Cpu};
use crate::report::goals::Goal;
use crate::report::summary::CaseRow;
use crate::report::table::{needed, number, precise, verdict};

/// Half of a bar's height, and of the stroke at a whisker's end; the distance of two bars is 1.
const BAR: f64 = 0.34;
const END: f64 = 0.16;

/// Pixels on the right for a number, and for a goal's verdict.
const NUMBER: i32 = 80;
const VERDICT: i32 = 250;

/// Pixels that a line takes, if there is room and if there is little, and those of axis and margins.
const LINE: i32 = 33;
const NARROW: i32 = 19;
const AROUND: i32 = 66;

/// Medians with the least and most of the rounds. On a logarithmic axis they are dots: a bar's length would
/// mean nothing.
pub(super) fn rates(cases: &[CaseRow], logarithmic: bool) -> io::Result<String> {
    let title = if logarithmic { "Commands a second, logarithmic" } else { "Commands a second" };
    let unit = "commands/s, median and range of the rounds";
    let least = cases.iter().map(|case| case.least).fold(f64::INFINITY, f64::min);
    let most = cases.iter().map(|case| case.most).fold(0.0, f64::max);
    let x = if logarithmic { Axis::logarithmic(unit, least, most) } else { Axis::linear(unit, most) };
    let place = |rate: f64| if logarithmic { rate.log10() } else { rate };
    draw(title, |area| {
        let area = legend(area, [(GREY, "bound"), (ORANGE, "naive"), (BLUE, "worker")].map(owned))?;
        let y = Axis::names(cases.iter().map(|case| case.case.name()));
        let room = Room { left: room(y.labels()), right: NUMBER };
        let area = fitted(&area, cases.len());
        let chart = chart(&area, &x, &y, room)?;
        for (row, case) in rows().zip(cases) {
            let colour = colour(case.case);
            let (least, rate, most) = (place(case.least), place(case.rate), place(case.most));
            if !logarithmic {
                let bar = [(0.0, row + BAR), (rate, row - BAR)];
                chart.plotting_area().draw(&Rectangle::new(bar, colour.filled()))?;
            }
            line(&chart, vec![(least, row), (most, row)], INK, 1)?;
            for end in [least, most] {
                line(&chart, vec![(end, row + END), (end, row - END)], INK, 1)?;
            }
            if logarithmic {
                chart.plotting_area().draw(&Circle::new((rate, row), 5, colour.filled()))?;
            }
            beside(&chart, (most, row), number(case.rate))?;
        }
        Ok(())
    })
}

fn colour(case: Case) -> RGBColor {
    match case {
        Case::Limit | Case::Sql => GREY,
        Case::NaiveOne | Case::NaiveSixteen => ORANGE,
        _ => BLUE,
    }
}

/// Who used how much. The naive consumers have a part and a scale of their own: they use many times as much.
pub(super) fn cpu(cases: &[CaseRow]) -> io::Result<String> {
    let (naive, others): (Vec<_>, Vec<_>) =
        cases.iter().partition(|case| matches!(case.case, Case::NaiveOne | Case::NaiveSixteen));
    draw("CPU time of each command", |area| {
        let whose = [(BLUE, "worker"), (ORANGE, "Postgres"), (GREEN, "broker"), (GREY, "publisher")];
        let area = legend(area, whose.map(owned))?;
        let unit = "µs per command";
        let names: Vec<_> = cases.iter().map(|case| case.case.name()).collect();
        let room = Room { left: room(names.iter().map(String::as_str)), right: NUMBER };
        if naive.is_empty() || others.is_empty() {
            return stacks(&fitted(&area, cases.len()), cases.iter(), unit, room);
        }
        let least = AROUND + NARROW * lines(naive.len());
        let (upper, lower) =
            area.split_vertically((height(&area) - least).min(AROUND + LINE * lines(others.len())));
        stacks(&upper, others.into_iter(), unit, room)?;
        let lower = fitted(&lower, naive.len());
        stacks(&lower, naive.into_iter(), "µs per command, another scale", room)
    })
}

fn stacks<'a>(
    area: &Area<'_>,
    cases: impl Iterator<Item = &'a CaseRow> + Clone,
    unit: &str,
    room: Room,
) -> Drawn {
    let total = |case: &CaseRow| case.cpu.total();
    let most = cases.clone().map(total).fold(0.0, f64::max);
    let x = Axis::linear(unit, most);
    let chart = chart(area, &x, &Axis::names(cases.clone().map(|case| case.case.name())), room)?;
    for (row, case) in rows().zip(cases) {
        let mut from = 0.0;
        let Cpu { worker, postgres, broker, publisher } = case.cpu;
        let parts = [(worker, BLUE), (postgres, ORANGE), (broker, GREEN), (publisher, GREY)];
        for (micros, colour) in parts {
            let bar = [(from, row + BAR), (from + micros, row - BAR)];
            chart.plotting_area().draw(&Rectangle::new(bar, colour.filled()))?;
            from += micros;
        }
        beside(&chart, (from, row), number(from))?;
    }
    Ok(())
}

/// How far each goal is reached, in the same direction for all.
pub(super) fn goals(goals: &[Goal]) -> io::Result<String> {
    let most = goals.iter().filter_map(Goal::share).fold(1.0, f64::max);
    let x = Axis::linear("reached / needed (needed / reached where less is better)", most);
    let y = Axis::names(goals.iter().map(|goal| goal.what.clone()));
    draw("Goals, as shares of what is needed", |area| {
        let area = legend(area, [(BLUE, "met"), (VERMILION, "not met")].map(owned))?;
        let room = Room { left: room(y.labels()), right: VERDICT };
        let area = fitted(&area, goals.len());
        let chart = chart(&area, &x, &y, room)?;
        for (row, goal) in rows().zip(goals) {
            let share = goal.share().unwrap_or(0.0);
            let colour = if goal.met() == Some(true) { BLUE } else { VERMILION };
            let bar = [(0.0, row + BAR), (share, row - BAR)];
            chart.plotting_area().draw(&Rectangle::new(bar, colour.filled()))?;
            let words = match goal.reached {
                Some(reached) => format!("{} (needed {}): {}", precise(reached), needed(goal), verdict(goal)),
                None => verdict(goal).to_owned(),
            };
            // Beyond the line at 1, which would run through it.
            beside(&chart, (share.max(1.0), row), words)?;
        }
        line(&chart, vec![(1.0, y.range().start), (1.0, y.range().end)], INK, 1)
    })
}

/// No higher than so many lines need.
fn fitted<'a>(area: &Area<'a>, count: usize) -> Area<'a> {
    let (upper, _) = area.clone().split_vertically(height(area).min(AROUND + LINE * lines(count)));
    upper
}

fn height(area: &Area<'_>) -> i32 {
    let (_, height) = area.dim_in_pixel();
    i32::try_from(height).unwrap_or(i32::MAX)
}

/// A count of them, of which no plot has many.
fn lines(count: usize) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

fn owned((colour, name): (RGBColor, &str)) -> (RGBColor, String) {
    (colour, name.to_owned())
}
