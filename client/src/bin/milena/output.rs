//! Results on standard output: tables for people, JSON for programs.

use std::io::Write;

use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;

use crate::error::{Error, Result};

/// Writes bytes to standard output at once.
pub fn write(bytes: &[u8]) -> Result<()> {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(bytes).and_then(|()| stdout.flush()).map_err(Error::output)
}

pub fn line(text: &str) -> Result<()> {
    write(format!("{text}\n").as_bytes())
}

/// Prints a value as indented JSON.
pub fn json(value: &impl Serialize) -> Result<()> {
    let text = serde_json::to_string_pretty(value).map_err(|error| Error::Output(error.into()))?;
    line(&text)
}

/// Prints rows under headers.
pub fn table(headers: &[&str], rows: &[Vec<String>]) -> Result<()> {
    line(&render(headers, rows))
}

/// Columns two blanks apart; columns of numbers stand to the right.
pub fn render(headers: &[&str], rows: &[Vec<String>]) -> String {
    built(headers, rows).trim_fmt()
}

/// Cells are never broken, whatever width the terminal reports (some report 0): they are names, ids and numbers, which
/// are read and copied whole.
fn built(headers: &[&str], rows: &[Vec<String>]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(headers.iter().copied());
    for row in rows {
        table.add_row(row);
    }
    for (index, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, 2));
        let is_number = |cell: &str| cell.parse::<i64>().is_ok();
        let mut cells = rows.iter().filter_map(|row| row.get(index)).filter(|cell| *cell != "-").peekable();
        if cells.peek().is_some() && cells.all(|cell| is_number(cell)) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

/// A value that may be missing, as a table shows it.
pub fn or_dash(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

/// Numbers with commas, as replicas are shown.
pub fn joined(numbers: &[i32]) -> String {
    numbers.iter().map(i32::to_string).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stand_right_and_text_left() {
        let rows = [("orders", "3"), ("a", "120")].map(|(a, b)| vec![a.to_owned(), b.to_owned()]);
        let expected = "TOPIC   PARTITIONS\norders           3\na              120";
        assert_eq!(render(&["TOPIC", "PARTITIONS"], &rows), expected);
    }

    #[test]
    fn no_cell_is_broken_on_a_narrow_terminal() {
        let rows = [vec!["orders".to_owned(), "hTvkXqIUTYuaAuWg3M2Dxw".to_owned()]];
        for width in [0, 1, 10] {
            let text = built(&["TOPIC", "ID"], &rows).set_width(width).trim_fmt();
            assert_eq!(text, "TOPIC   ID\norders  hTvkXqIUTYuaAuWg3M2Dxw", "{width}");
        }
    }
}
