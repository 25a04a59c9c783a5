//! How results look: tables for people, JSON lines for programs.

mod table;

use std::fmt::Display;
use std::io;

use serde::Serialize;

use crate::fate::Fate;
use crate::lines::Line;
use crate::output::Output;

/// One line's report. The order of the fields is the order of the JSON.
#[derive(Debug, Serialize)]
struct Row<'a> {
    line: usize,
    merchant: Option<&'a str>,
    source: Option<&'a str>,
    id: Option<&'a str>,
    #[serde(flatten)]
    fate: &'a Fate,
}

/// Writes what became of each line.
pub(crate) fn outcomes(lines: &[Line], fates: &[Fate], json: bool, output: &mut Output) -> io::Result<()> {
    let rows = lines.iter().zip(fates).map(|(line, fate)| Row {
        line: line.number,
        merchant: line.merchant.as_deref(),
        source: line.source.as_deref(),
        id: line.id.as_deref(),
        fate,
    });
    if json {
        return rows.into_iter().try_for_each(|row| output.json(&row));
    }
    let text = |text: Option<&str>| text.unwrap_or("").to_owned();
    let rows = rows.map(|row| {
        let why = match (&row.fate.reason, &row.fate.detail) {
            (Some(reason), Some(detail)) => format!("{reason}: {detail}"),
            (reason, detail) => text(reason.as_deref().or(detail.as_deref())),
        };
        let (line, outcome) = (row.line.to_string(), row.fate.outcome.clone());
        [line, text(row.merchant), text(row.source), text(row.id), outcome, why]
    });
    table(["line", "merchant", "source", "id", "outcome", "why"], &[0], rows, output)
}

/// Writes a table; the columns in `right` are flushed right. It fits the terminal, or is as wide as it needs where there
/// is none.
pub(crate) fn table<const N: usize>(
    header: [&str; N],
    right: &[usize],
    rows: impl Iterator<Item = [String; N]>,
    output: &mut Output,
) -> io::Result<()> {
    let rows: Vec<_> = rows.map(|row| row.map(|cell| visible(&cell))).collect();
    output.line(table::text(header, right, &rows, output.width()))
}

/// What there may be, or an empty cell.
pub(crate) fn optional(value: Option<impl Display>) -> String {
    value.map(|value| value.to_string()).unwrap_or_default()
}

/// What turns around the text that follows it.
const DIRECTION: [char; 9] = [
    '\u{202a}', '\u{202b}', '\u{202c}', '\u{202d}', '\u{202e}', '\u{2066}', '\u{2067}', '\u{2068}',
    '\u{2069}',
];

/// Without what could command a terminal.
pub(crate) fn visible(text: &str) -> String {
    let shown = |c: char| match c {
        '\n' | '\t' => ' ',
        c if c.is_control() || DIRECTION.contains(&c) => char::REPLACEMENT_CHARACTER,
        c => c,
    };
    text.chars().map(shown).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_line_has_its_fields_in_order() {
        let line = Line::new(3, br#"{"source":"/s","data":{"merchant":"demo"}}"#);
        let fate = Fate { outcome: "credited".to_owned(), reason: None, detail: None };
        let row = Row {
            line: line.number,
            merchant: line.merchant.as_deref(),
            source: None,
            id: None,
            fate: &fate,
        };
        assert_eq!(
            serde_json::to_string(&row).unwrap(),
            r#"{"line":3,"merchant":"demo","source":null,"id":null,"outcome":"credited","reason":null,"detail":null}"#
        );
    }

    #[test]
    fn cells_cannot_command_the_terminal() {
        assert_eq!(visible("a\u{1b}[2Jb\nc\u{202e}d"), "a\u{fffd}[2Jb c\u{fffd}d");
    }
}
