//! CSV that a spreadsheet shows and does not run.

use std::borrow::Cow;
use std::io;

use crate::output::Output;

/// Writes rows; the first ones may be a header.
pub(crate) fn rows<const N: usize>(
    rows: impl IntoIterator<Item = [String; N]>,
    output: &mut Output,
) -> io::Result<()> {
    let mut writer = csv::WriterBuilder::new().has_headers(false).from_writer(Vec::new());
    for row in rows {
        writer.write_record(&row)?;
    }
    output.bytes(&writer.into_inner().map_err(csv::IntoInnerError::into_error)?)
}

/// A text from outside as a cell. Spreadsheets take what begins with one of these for a formula, and a formula
/// can send the sheet away (OWASP, "CSV injection"); an apostrophe makes it a text.
pub(crate) fn text(cell: &str) -> Cow<'_, str> {
    if cell.starts_with(['=', '+', '-', '@', '\t', '\r', '\n', '＝', '＋', '－', '＠']) {
        format!("'{cell}").into()
    } else {
        cell.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_becomes_a_formula() {
        for formula in ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\n=1", "＝1"] {
            assert_eq!(text(formula), format!("'{formula}"));
        }
        for harmless in ["", "a=b", "Für November", "9001", "'="] {
            assert_eq!(text(harmless), harmless);
        }
    }
}
