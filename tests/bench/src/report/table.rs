//! Tables, as text for the terminal and as Markdown for the file: the same cells in both.
#![expect(clippy::float_arithmetic, reason = "seconds are shown as milliseconds, shares as per cent")]

use comfy_table::presets::ASCII_MARKDOWN;
use comfy_table::{CellAlignment, LineStyle, Table, TableStyle};

use super::goals::{Goal, goals};
use super::summary::{self, Quantiles};
use crate::figures::Figures;

/// A line below the header and nothing else, as in the other programs' tables.
const PLAIN: TableStyle = TableStyle::new().header_separator(LineStyle::none().fill('─').junction('─'));

/// What was not measured.
const NOTHING: &str = "–";

/// Characters of a statement: enough to tell which one it is.
const STATEMENT: usize = 60;

/// One table. All columns but the first are flushed right, or none.
pub(super) struct Sheet {
    title: &'static str,
    note: String,
    header: Vec<&'static str>,
    rows: Vec<Vec<String>>,
    numbers: bool,
}

/// All tables that have something to show, in the order in which they are read.
pub(super) fn sheets(figures: &Figures) -> Vec<Sheet> {
    let sheets = [
        machine(figures),
        cases(figures),
        latencies(figures),
        sizes(figures),
        statements(figures),
        judgement(&goals(figures)),
    ];
    sheets.into_iter().filter(|sheet| !sheet.rows.is_empty()).collect()
}

pub(super) fn text(sheets: &[Sheet]) -> String {
    let one = |sheet: &Sheet| {
        let note = if sheet.note.is_empty() { String::new() } else { format!("{}\n", sheet.note) };
        format!("{}\n{note}\n{}\n", sheet.title.to_uppercase(), sheet.table(PLAIN).trim_fmt())
    };
    sheets.iter().map(one).collect::<Vec<_>>().join("\n")
}

/// With the plots of these file names at the end.
pub(super) fn markdown(sheets: &[Sheet], plots: &[&str]) -> String {
    let tables = sheets.iter().map(|sheet| {
        let note = if sheet.note.is_empty() { String::new() } else { format!("{}\n\n", sheet.note) };
        format!("## {}\n\n{note}{}\n", sheet.title, sheet.escaped().table(ASCII_MARKDOWN))
    });
    let plots = plots.iter().map(|file| format!("![{file}]({file})\n"));
    let heading = std::iter::once("# Results of the benchmark\n".to_owned());
    heading.chain(tables).chain(plots).collect::<Vec<_>>().join("\n")
}

impl Sheet {
    fn table(&self, style: TableStyle) -> Table {
        let mut table = Table::new();
        table.load_style(style).set_header(&self.header);
        for row in &self.rows {
            table.add_row(row);
        }
        if self.numbers {
            for column in table.column_iter_mut().skip(1) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        table
    }

    /// With cells that cannot end one in Markdown.
    fn escaped(&self) -> Self {
        let escape = |row: &Vec<String>| row.iter().map(|cell| cell.replace('|', "\\|")).collect();
        Self {
            note: self.note.clone(),
            header: self.header.clone(),
            rows: self.rows.iter().map(escape).collect(),
            ..*self
        }
    }
}

fn machine(figures: &Figures) -> Sheet {
    Sheet {
        title: "Machine",
        note: String::new(),
        header: vec!["what", "which"],
        rows: figures.machine.iter().map(|(what, which)| vec![what.clone(), which.clone()]).collect(),
        numbers: false,
    }
}

fn cases(figures: &Figures) -> Sheet {
    let row = |row: summary::CaseRow| {
        vec![
            row.case.name(),
            row.rounds.to_string(),
            number(row.rate),
            format!("{}..{}", number(row.least), number(row.most)),
            optional(row.of_limit),
            number(row.cpu.worker),
            number(row.cpu.postgres),
            number(row.cpu.broker),
            number(row.cpu.publisher),
            number(row.wal),
            optional(row.memory),
        ]
    };
    Sheet {
        title: "Cases",
        note: "Medians over the rounds; \"of limit\" is within one round. CPU and write-ahead log (WAL) are per\n\
               command, memory is the most of any worker process in any round."
            .to_owned(),
        header: vec![
            "case", "rounds", "commands/s", "min..max", "of limit", "worker µs", "Postgres µs", "broker µs",
            "publisher µs", "WAL bytes", "peak MiB",
        ],
        rows: summary::cases(figures).into_iter().map(row).collect(),
        numbers: true,
    }
}

fn latencies(figures: &Figures) -> Sheet {
    let row = |row: summary::LatencyRow| {
        let milliseconds = |seconds: f64| number(seconds * 1e3);
        let Quantiles { p50, p99, p999, max } = row.seconds;
        let samples = group(&row.samples.to_string());
        let mut cells = vec![load(row.load), number(row.rate), samples, number(row.busy)];
        cells.extend([p50, p99, p999, max].map(milliseconds));
        let Quantiles { p50, p99, p999, max } = row.round_trips;
        cells.extend([p50, p99, p999, max].map(optional));
        cells
    };
    let note = summary::round_trip(figures).map_or_else(
        || "Medians over the rounds. The round trip was not measured.".to_owned(),
        |trip| {
            format!(
                "Medians over the rounds; × are multiples of the round trip in the same round: {} ms (commit {},\n\
                 confirm {}).\n\
                 Cores: all that were busy, the publisher's and the subscriber's included.",
                number(trip.both * 1e3),
                number(trip.commit * 1e3),
                number(trip.confirm * 1e3),
            )
        },
    );
    Sheet {
        title: "Latency, from a publish to its outcome event",
        note,
        header: vec![
            "load",
            "commands/s",
            "samples",
            "cores busy",
            "p50 ms",
            "p99 ms",
            "p99.9 ms",
            "max ms",
            "p50 ×",
            "p99 ×",
            "p99.9 ×",
            "max ×",
        ],
        rows: summary::latencies(figures).into_iter().map(row).collect(),
        numbers: true,
    }
}

fn sizes(figures: &Figures) -> Sheet {
    let row = |row: summary::SizeRow| {
        let bytes = |each: f64| number(each * 1e6);
        vec![
            row.table.to_owned(),
            group(&row.rows.to_string()),
            bytes(row.heap),
            bytes(row.indexes),
            bytes(row.both),
        ]
    };
    Sheet {
        title: "Size on disk",
        note: "Bytes for each million rows. An entry has one inbox row.".to_owned(),
        header: vec!["table", "rows", "without indexes", "indexes", "both"],
        rows: summary::sizes(figures).into_iter().map(row).collect(),
        numbers: true,
    }
}

fn statements(figures: &Figures) -> Sheet {
    let row = |row: summary::StatementRow| {
        vec![shorten(&row.text), number(row.calls), number(row.micros), number(row.wal)]
    };
    Sheet {
        title: "Statements of a drain",
        note: "Medians over the rounds, by execution time; time and WAL are per command.".to_owned(),
        header: vec!["statement", "calls", "µs", "WAL bytes"],
        rows: summary::statements(figures).into_iter().map(row).collect(),
        numbers: true,
    }
}

fn judgement(goals: &[Goal]) -> Sheet {
    let row = |goal: &Goal| {
        vec![
            goal.what.clone(),
            goal.reached.map_or(NOTHING.to_owned(), precise),
            needed(goal),
            verdict(goal).to_owned(),
        ]
    };
    Sheet {
        title: "Goals",
        note: "Medians of ratios within one round; memory is the most of any worker process.".to_owned(),
        header: vec!["what", "reached", "needed", "result"],
        rows: goals.iter().map(row).collect(),
        numbers: true,
    }
}

pub(super) fn needed(goal: &Goal) -> String {
    format!("{} {}", if goal.at_least { '≥' } else { '<' }, goal.needed)
}

pub(super) fn verdict(goal: &Goal) -> &'static str {
    match goal.met() {
        Some(true) => "met",
        Some(false) => "NOT met",
        None => "not measured",
    }
}

/// A share of what the live case carries out.
pub(super) fn load(share: f64) -> String {
    format!("{:.0}%", share * 100.0)
}

/// Three digits, or all of those before the point, with separators.
pub(super) fn number(number: f64) -> String {
    match number.abs() {
        size if !size.is_finite() => NOTHING.to_owned(),
        size if size < f64::EPSILON => "0".to_owned(),
        // So that what rounds up has no digit too many.
        size if size < 0.9995 => format!("{number:.3}"),
        size if size < 9.995 => format!("{number:.2}"),
        size if size < 99.95 => format!("{number:.1}"),
        _ => group(&format!("{number:.0}")),
    }
}

/// One digit more below 10: what just misses its goal must not look like it.
pub(super) fn precise(reached: f64) -> String {
    if reached < 9.995 { format!("{reached:.3}") } else { number(reached) }
}

fn optional(value: Option<f64>) -> String {
    value.map_or(NOTHING.to_owned(), number)
}

/// Separators between thousands.
fn group(digits: &str) -> String {
    let mut grouped = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// On one line, and cut where it is too long.
fn shorten(statement: &str) -> String {
    let line = statement.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(STATEMENT) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}
