//! The plots, as SVG: bars and curves on a white ground, in colours that those who confuse some can tell
//! apart (Okabe and Ito's, viridis for what is ordered).
//!
//! Bound: nothing here knows how wide a letter is (that would take a font library), so every label has room
//! set aside for it by its count of letters.

mod axis;
mod bars;
mod curves;

use std::io;

use plotters::chart::{ChartBuilder, ChartContext};
use plotters::coord::Shift;
use plotters::prelude::{
    Cartesian2d, Color, DrawingArea, DrawingAreaErrorKind, EmptyElement, IntoDrawingArea, IntoFont,
    PathElement, RGBColor, Rectangle, SVGBackend, Text, TextStyle, WHITE,
};
use plotters::style::text_anchor::{HPos, Pos, VPos};

use self::axis::Axis;
use super::goals::goals;
use super::summary;
use crate::figures::Figures;

const SIZE: (u32, u32) = (900, 500);

/// Pixels for the title, and for a legend below it.
const TITLE: i32 = 44;
const LEGEND: i32 = 26;

const INK: RGBColor = RGBColor(0x33, 0x33, 0x33);
const GRID: RGBColor = RGBColor(0xdd, 0xdd, 0xdd);
const GREY: RGBColor = RGBColor(0x99, 0x99, 0x99);
const BLUE: RGBColor = RGBColor(0x56, 0xb4, 0xe9);
const ORANGE: RGBColor = RGBColor(0xe6, 0x9f, 0x00);
const GREEN: RGBColor = RGBColor(0x00, 0x9e, 0x73);
const VERMILION: RGBColor = RGBColor(0xd5, 0x5e, 0x00);

type Svg<'a> = SVGBackend<'a>;
type Area<'a> = DrawingArea<Svg<'a>, Shift>;
type Chart<'c, 'a> = ChartContext<'c, Svg<'a>, Cartesian2d<Axis, Axis>>;
type Drawn = Result<(), DrawingAreaErrorKind<io::Error>>;

/// File names with their plots; `None` where nothing was measured that it could show.
pub(super) fn all(figures: &Figures) -> io::Result<Vec<(&'static str, Option<String>)>> {
    let mut cases = summary::cases(figures);
    // A case that carried nothing out has no place on a logarithmic axis, and no CPU time for each command.
    cases.retain(|case| case.least > 0.0 && case.most.is_finite());
    let goals = goals(figures);
    let some = |measured: bool, draw: &dyn Fn() -> io::Result<String>| measured.then(draw).transpose();
    let loads = figures.latencies.iter().any(curves::shows);
    Ok(vec![
        ("rates.svg", some(!cases.is_empty(), &|| bars::rates(&cases, false))?),
        ("rates-log.svg", some(!cases.is_empty(), &|| bars::rates(&cases, true))?),
        ("cpu.svg", some(!cases.is_empty(), &|| bars::cpu(&cases))?),
        ("latency.svg", some(loads, &|| curves::latency(figures))?),
        ("goals.svg", some(goals.iter().any(|goal| goal.reached.is_some()), &|| bars::goals(&goals))?),
    ])
}

/// One plot with its title; the rest is drawn below that.
fn draw(title: &str, rest: impl FnOnce(&Area<'_>) -> Drawn) -> io::Result<String> {
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        root.fill(&WHITE).map_err(io::Error::other)?;
        let (top, below) = root.split_vertically(TITLE);
        top.draw_text(title, &text(22), (20, 14)).map_err(io::Error::other)?;
        rest(&below).map_err(io::Error::other)?;
        root.present().map_err(io::Error::other)?;
    }
    Ok(svg)
}

/// Colours with their names, one beside the other; what is left below it.
fn legend<'a>(
    area: &Area<'a>,
    names: impl IntoIterator<Item = (RGBColor, String)>,
) -> Result<Area<'a>, DrawingAreaErrorKind<io::Error>> {
    let (top, below) = area.split_vertically(LEGEND);
    let mut left = 20;
    for (colour, name) in names {
        top.draw(&Rectangle::new([(left, 3), (left + 14, 15)], colour.filled()))?;
        top.draw_text(&name, &text(16), (left + 20, 3))?;
        left += 46 + wide(&name);
    }
    Ok(below)
}

/// Pixels that are kept free beside a plot, for labels.
#[derive(Clone, Copy)]
struct Room {
    left: i32,
    right: i32,
}

/// What the labels of a vertical axis take.
fn room<'a>(labels: impl IntoIterator<Item = &'a str>) -> i32 {
    labels.into_iter().map(wide).max().unwrap_or(0) + 16
}

/// Axes with marks and titles.
fn chart<'c, 'a>(
    area: &'c Area<'a>,
    x: &Axis,
    y: &Axis,
    room: Room,
) -> Result<Chart<'c, 'a>, DrawingAreaErrorKind<io::Error>> {
    let title = if y.title.is_empty() { 0 } else { 24 };
    let mut chart = ChartBuilder::on(area)
        .margin(10)
        .margin_right(room.right)
        .x_label_area_size(46)
        .y_label_area_size(room.left + title)
        .build_cartesian_2d(x.clone(), y.clone())?;
    let mut mesh = chart.configure_mesh();
    mesh.bold_line_style(GRID)
        .axis_style(GREY)
        .set_all_tick_mark_size(5)
        .label_style(text(16))
        .axis_desc_style(text(16))
        .x_desc(&x.title);
    if y.title.is_empty() {
        mesh.disable_y_mesh();
    } else {
        mesh.y_desc(&y.title);
    }
    mesh.draw()?;
    Ok(chart)
}

/// Text to the right of a point.
fn beside(chart: &Chart<'_, '_>, at: (f64, f64), words: String) -> Drawn {
    let style = text(16).pos(Pos::new(HPos::Left, VPos::Center));
    chart.plotting_area().draw(&(EmptyElement::at(at) + Text::new(words, (8, 0), style)))
}

/// Text that ends above a point.
fn above(chart: &Chart<'_, '_>, at: (f64, f64), words: String) -> Drawn {
    let style = text(16).pos(Pos::new(HPos::Right, VPos::Bottom));
    chart.plotting_area().draw(&(EmptyElement::at(at) + Text::new(words, (-4, -2), style)))
}

fn line(chart: &Chart<'_, '_>, points: Vec<(f64, f64)>, colour: RGBColor, width: u32) -> Drawn {
    chart.plotting_area().draw(&PathElement::new(points, colour.stroke_width(width)))
}

/// The size is the backend's, which draws it smaller: 16 are 13 pixels.
fn text(size: u32) -> TextStyle<'static> {
    ("sans-serif", size).into_font().color(&INK)
}

/// Pixels, generously, that a text of size 16 takes.
fn wide(text: &str) -> i32 {
    text.chars().map(|_| 8).sum()
}
