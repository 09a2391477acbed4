//! Results on standard output: tables for people, JSON for programs.

use std::borrow::Cow;
use std::io::Write;

use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;

use crate::error::{Error, Result};

/// Writes bytes to standard output at once.
pub fn write(bytes: &[u8]) -> Result<()> {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(bytes).and_then(|()| stdout.flush()).map_err(Error::output)
}

/// Prints one line of text.
pub fn line(text: &str) -> Result<()> {
    raw_line(&visible(text))
}

fn raw_line(text: &str) -> Result<()> {
    write(format!("{text}\n").as_bytes())
}

/// Text without control characters, which a terminal would obey: whoever names a client, a group or a host would write
/// to the screens of others. JSON has escapes of its own.
pub fn visible(text: &str) -> Cow<'_, str> {
    escaped(text, char::is_control)
}

/// As [`visible`], of a message that may have several lines.
pub fn visible_lines(text: &str) -> Cow<'_, str> {
    escaped(text, |character| character.is_control() && character != '\n')
}

/// As `\n`, `\x7f` or, beyond ASCII, `\u{9b}`.
fn escaped(text: &str, is_hidden: fn(char) -> bool) -> Cow<'_, str> {
    if !text.contains(is_hidden) {
        return Cow::Borrowed(text);
    }
    let mut visible = String::with_capacity(text.len() + 8);
    for character in text.chars() {
        match character {
            _ if !is_hidden(character) => visible.push(character),
            '\n' | '\r' | '\t' => visible.extend(character.escape_default()),
            _ if character.is_ascii() => visible.push_str(&format!("\\x{:02x}", u32::from(character))),
            _ => visible.extend(character.escape_unicode()),
        }
    }
    Cow::Owned(visible)
}

/// Prints a value as indented JSON.
pub fn json(value: &impl Serialize) -> Result<()> {
    let text = serde_json::to_string_pretty(value).map_err(|error| Error::Output(error.into()))?;
    raw_line(&text)
}

/// Prints rows under headers.
pub fn table(headers: &[&str], rows: &[Vec<String>]) -> Result<()> {
    raw_line(&render(headers, rows))
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
        table.add_row(row.iter().map(|cell| visible(cell)));
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
    fn control_characters_are_shown_and_not_obeyed() {
        for (raw, shown) in [
            ("a\x1b[2Jb", "a\\x1b[2Jb"),
            ("a\r\n\tb", "a\\r\\n\\tb"),
            ("\0\x7f", "\\x00\\x7f"),
            ("\u{9b}31m", "\\u{9b}31m"),
            ("grün \\n", "grün \\n"),
        ] {
            assert_eq!(visible(raw), shown);
            assert_eq!(render(&["ID"], &[vec![raw.to_owned()]]), format!("ID\n{shown}"));
        }
        assert_eq!(visible_lines("a\n b\x07"), "a\n b\\x07");
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
