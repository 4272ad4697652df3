//! What people see: aligned tables, and colours where there is a terminal.

use std::{
    fmt::Write as _,
    io::{self, IsTerminal, Write as _},
};

use serde::Serialize;

use crate::failure::Failure;

/// Prints a value as JSON: on one line, so that streams of values are lines.
pub(crate) fn json(value: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string(value).map_err(Failure::environment)?;
    line(&text)
}

/// Prints a line. A reader that has gone (`| head`) is no error of ours: the program ends quietly.
pub(crate) fn line(text: &str) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    match writeln!(stdout, "{text}").and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => std::process::exit(0),
        other => Ok(other?),
    }
}

/// Text in a colour, on a terminal.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Colour {
    /// Fine.
    Green,
    /// Refused or broken.
    Red,
    /// Not yet.
    Yellow,
    /// A heading.
    Bold,
    /// Less important.
    Dim,
}

/// Paints, if stdout is a terminal and nobody asked for none (`NO_COLOR`).
pub(crate) fn paint(text: &str, colour: Colour) -> String {
    let wanted = io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    if wanted { painted(text, colour) } else { text.to_owned() }
}

fn painted(text: &str, colour: Colour) -> String {
    let code = match colour {
        Colour::Green => 32,
        Colour::Red => 31,
        Colour::Yellow => 33,
        Colour::Bold => 1,
        Colour::Dim => 2,
    };
    format!("\x1b[{code}m{text}\x1b[0m")
}

/// Rows under a heading, in columns as wide as need be.
#[derive(Debug)]
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these headings.
    pub(crate) fn new<const N: usize>(headings: [&str; N]) -> Self {
        Self { rows: vec![headings.map(str::to_owned).into()] }
    }

    /// Adds a row.
    pub(crate) fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.rows.push(cells.into());
    }

    /// The text, a line a row, without a newline at the end. Just the headings if there is no row.
    pub(crate) fn text(&self) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let cells = |column| self.rows.iter().filter_map(move |row: &Vec<String>| row.get(column));
        let widths: Vec<usize> =
            (0..columns).map(|column| cells(column).map(|cell| width(cell)).max().unwrap_or(0)).collect();
        let mut text = String::new();
        for (index, row) in self.rows.iter().enumerate() {
            let mut line = String::new();
            for (cell, column) in row.iter().zip(&widths) {
                let gap = column + 2 - width(cell);
                let _ = write!(line, "{cell}{:gap$}", "");
            }
            let line = line.trim_end();
            text.push_str(&if index == 0 { paint(line, Colour::Bold) } else { line.to_owned() });
            text.push('\n');
        }
        text.trim_end_matches('\n').to_owned()
    }
}

/// Characters that show: those of colours do not.
fn width(cell: &str) -> usize {
    let mut count = 0;
    let mut in_code = false;
    for character in cell.chars() {
        match (in_code, character) {
            (false, '\x1b') => in_code = true,
            (false, _) => count += 1,
            (true, 'm') => in_code = false,
            (true, _) => {}
        }
    }
    count
}

/// Bytes as people read them.
pub(crate) fn bytes(count: u64) -> String {
    const UNITS: [&str; 4] = ["B", "kB", "MB", "GB"];
    let mut value = count as f64;
    let mut unit = 0;
    while value >= 1000.0 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    if unit == 0 { format!("{count} B") } else { format!("{value:.1} {}", UNITS[unit]) }
}

/// Microseconds as people read them.
pub(crate) fn duration(microseconds: u64) -> String {
    match microseconds {
        0..1_000 => format!("{microseconds} µs"),
        1_000..1_000_000 => format!("{:.1} ms", microseconds as f64 / 1e3),
        _ => format!("{:.1} s", microseconds as f64 / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_whatever_is_painted() {
        let mut table = Table::new(["NAME", "READY"]);
        table.row([painted("shop/frontend", Colour::Green), "1/1".into()]);
        table.row(["a".into(), "2/2".into()]);
        let lines: Vec<String> =
            table.text().lines().map(|line| line.replace("\x1b[32m", "").replace("\x1b[0m", "")).collect();
        assert_eq!(lines, ["NAME           READY", "shop/frontend  1/1", "a              2/2"]);
    }

    #[test]
    fn numbers_are_short() {
        assert_eq!([bytes(999), bytes(1000), bytes(12_345_678)], ["999 B", "1.0 kB", "12.3 MB"]);
        assert_eq!([duration(7), duration(1500), duration(2_000_000)], ["7 µs", "1.5 ms", "2.0 s"]);
    }
}
