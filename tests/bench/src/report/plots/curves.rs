//! Latencies by quantile, one colour for each load. Every round is drawn, thin; thick is the one in the middle,
//! by its p99.
#![expect(clippy::float_arithmetic, reason = "positions on a plot")]

use std::io;

use plotters::coord::ranged1d::Ranged;
use plotters::prelude::RGBColor;

use super::axis::{Axis, nines};
use super::{Chart, Drawn, GREY, Room, above, chart, draw, legend, line, room};
use crate::figures::{Figures, Latency};
use crate::report::summary::{by_load, round_trip};
use crate::report::table::load;

/// From little load to much: viridis without its lightest end, which white would swallow.
const LOADS: [RGBColor; 6] = [
    RGBColor(0x44, 0x01, 0x54),
    RGBColor(0x41, 0x44, 0x87),
    RGBColor(0x2a, 0x78, 0x8e),
    RGBColor(0x22, 0xa8, 0x84),
    RGBColor(0x7a, 0xd1, 0x51),
    RGBColor(0xc9, 0xbb, 0x10),
];

/// Pixels on the right.
const MARGIN: i32 = 30;

/// Whether there is a curve to draw.
pub(super) fn shows(latency: &Latency) -> bool {
    points(latency).len() > 1
}

pub(super) fn latency(figures: &Figures) -> io::Result<String> {
    let loads = by_load(figures);
    let curves = || figures.latencies.iter().flat_map(points);
    let far = curves().map(|(quantile, _)| quantile).fold(0.9, f64::max);
    let trip = round_trip(figures).map(|trip| trip.both * 1e3);
    let waits = || curves().map(|(_, milliseconds)| milliseconds).chain(trip);
    let (least, most) = (waits().fold(f64::INFINITY, f64::min), waits().fold(0.0, f64::max));
    let x = Axis::nines("share of commands", far);
    let y = Axis::logarithmic("ms from publish to event", least, most);
    draw("Latency by load (share of the rate with publisher and worker side by side)", |area| {
        let names = loads.iter().zip(colours(loads.len())).map(|((share, _), colour)| (colour, load(*share)));
        let area = legend(area, names)?;
        let chart = chart(&area, &x, &y, Room { left: room(y.labels()), right: MARGIN })?;
        if let Some(trip) = trip {
            let trip = trip.log10();
            line(&chart, vec![(0.0, trip), (x.range().end, trip)], GREY, 2)?;
            above(&chart, (x.range().end, trip), "round trip: one commit, one confirm".to_owned())?;
        }
        for ((_, rounds), colour) in loads.iter().zip(colours(loads.len())) {
            let mut rounds: Vec<_> = rounds.iter().filter(|round| shows(round)).collect();
            rounds.sort_by(|one, other| one.p99.total_cmp(&other.p99));
            let middle = rounds.len().saturating_sub(1) / 2;
            for (place, round) in rounds.into_iter().enumerate() {
                curve(&chart, round, colour, if place == middle { 3 } else { 1 })?;
            }
        }
        Ok(())
    })
}

fn curve(chart: &Chart<'_, '_>, latency: &Latency, colour: RGBColor, width: u32) -> Drawn {
    let points = points(latency).into_iter();
    line(chart, points.map(|(quantile, wait)| (nines(quantile), wait.log10())).collect(), colour, width)
}

/// Quantiles with milliseconds, without the maximum, which no share of commands stands for.
fn points(latency: &Latency) -> Vec<(f64, f64)> {
    let curve = latency.curve.iter().map(|(quantile, seconds)| (*quantile, seconds * 1e3));
    curve.filter(|(quantile, wait)| (0.0..1.0).contains(quantile) && *wait > 0.0).collect()
}

/// As far apart as they can be.
fn colours(count: usize) -> impl Iterator<Item = RGBColor> {
    let last = LOADS.len() - 1;
    let gaps = count.saturating_sub(1).max(1);
    (0..count).filter_map(move |place| LOADS.get(place * last / gaps).copied())
}
