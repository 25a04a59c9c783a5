//! Tables: rows that can be copied, and cut with other tools; in a terminal they fit it.
//!
//! What one copies, such as an id, an amount or a time, stays whole: lines break between words only, unless one is longer
//! than [`LONGEST_WORD`]. A terminal too narrow for that gets the columns closer together, and if that does not do, each row
//! as lines of its own, a name and a value each.

use comfy_table::{CellAlignment, ColumnConstraint, ContentArrangement, LineStyle, Table, TableStyle, Width};

/// A line below the header and nothing else.
const STYLE: TableStyle = TableStyle::new().header_separator(LineStyle::none().fill('─').junction('─'));

/// A withdrawal's id is the longest one that is copied; what is longer is somebody's very long name.
const LONGEST_WORD: u16 = 32;

/// The space on both sides of a cell: as it looks well, and as it has to be.
const PADDINGS: [u16; 2] = [1, 0];

/// As text; the columns in `right` are flushed right. `width` is the terminal's, where there is one.
pub(super) fn text<const N: usize>(
    header: [&str; N],
    right: &[usize],
    rows: &[[String; N]],
    width: Option<u16>,
) -> String {
    let needed: [u16; N] = std::array::from_fn(|column| {
        let cells = rows.iter().map(|row| row[column].as_str());
        cells.chain([header[column]]).map(longest_word).max().unwrap_or_default()
    });
    let Some(width) = width else { return table(header, right, rows, None) };
    // A column is divided from the next by one character.
    let narrowest = |padding| needed.iter().map(|word| word + 2 * padding + 1).sum::<u16>() - 1;
    match PADDINGS.into_iter().find(|padding| narrowest(*padding) <= width) {
        Some(padding) => table(header, right, rows, Some(&Fit { width, padding, needed })),
        None => records(header, rows),
    }
}

/// How a table fits a terminal.
struct Fit<const N: usize> {
    width: u16,
    padding: u16,
    /// How wide each column must be, without the padding.
    needed: [u16; N],
}

/// How wide a column must be for this cell.
fn longest_word(cell: &str) -> u16 {
    let longest = cell.split(' ').map(|word| word.chars().count()).max().unwrap_or_default();
    u16::try_from(longest).unwrap_or(LONGEST_WORD).min(LONGEST_WORD)
}

fn table<const N: usize>(
    header: [&str; N],
    right: &[usize],
    rows: &[[String; N]],
    fit: Option<&Fit<N>>,
) -> String {
    let mut table = Table::new();
    table.load_style(STYLE).set_header(header).add_rows(rows);
    table.set_content_arrangement(ContentArrangement::Disabled);
    if let Some(&Fit { width, padding, needed }) = fit {
        table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
        for (column, word) in table.column_iter_mut().zip(needed) {
            column.set_padding((padding, padding));
            column.set_constraint(ColumnConstraint::LowerBoundary(Width::Fixed(word + 2 * padding)));
        }
    }
    for column in right {
        if let Some(column) = table.column_mut(*column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.trim_fmt()
}

/// Each row as lines of its own; what is empty is left out.
fn records<const N: usize>(header: [&str; N], rows: &[[String; N]]) -> String {
    let widest = header.iter().map(|name| name.chars().count()).max().unwrap_or_default();
    let record = |row: &[String; N]| {
        let cells = header.iter().zip(row).filter(|(_, cell)| !cell.is_empty());
        cells.map(|(name, cell)| format!(" {name:widest$}  {cell}")).collect::<Vec<_>>().join("\n")
    };
    rows.iter().map(record).collect::<Vec<_>>().join("\n\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: [&str; 4] = ["id", "available", "state", "what the matter is"];

    fn rows() -> Vec<[String; 4]> {
        let row = |cells: [&str; 4]| cells.map(str::to_owned);
        vec![
            row([
                "9f2c7a1be0d34c55",
                "1234567.50",
                "requested",
                "the mail server is away and has been for days",
            ]),
            row(["0a2c7a1be0d34c55", "12.50", "paid", ""]),
        ]
    }

    fn shown(width: Option<u16>) -> String {
        text(HEADER, &[1], &rows(), width)
    }

    #[test]
    fn a_table_is_as_wide_as_it_needs_where_there_is_no_terminal() {
        let shown = shown(None);
        assert_eq!(shown.lines().count(), 4, "{shown}");
        assert!(shown.contains(" 1234567.50   requested"), "{shown}");
        assert!(shown.contains("      12.50   paid"), "{shown}");
    }

    #[test]
    fn at_any_width_every_word_is_whole_and_no_line_of_a_table_is_longer() {
        for width in 10..160 {
            let shown = shown(Some(width));
            for word in rows().iter().flatten().flat_map(|cell| cell.split(' ')) {
                assert!(shown.contains(word), "{width}: {word}\n{shown}");
            }
            let is_table = shown.contains('─');
            let longest = shown.lines().map(|line| line.chars().count()).max().unwrap();
            assert!(!is_table || longest <= usize::from(width), "{width}: {longest}\n{shown}");
            assert_eq!(is_table, width >= 44, "{width}\n{shown}");
        }
    }

    #[test]
    fn a_narrow_terminal_gets_records_without_what_is_empty() {
        let shown = shown(Some(30));
        let last: Vec<_> = shown.lines().skip(5).collect();
        assert_eq!(
            last,
            [
                " id                  0a2c7a1be0d34c55",
                " available           12.50",
                " state               paid"
            ]
        );
    }

    #[test]
    fn a_name_without_end_may_break() {
        let long = "x".repeat(500);
        let shown = text(["id", "bytes"], &[1], &[[long, "12".to_owned()]], Some(80));
        assert!(shown.lines().all(|line| line.chars().count() <= 80), "{shown}");
    }
}
