//! Plain tables for people.

use std::fmt;

/// A table whose columns are as wide as they need to be; the last one is not padded.
#[derive(Debug)]
pub(super) struct Table {
    rows: Vec<Vec<String>>,
    right: Vec<bool>,
}

impl Table {
    /// A table with these headings; those that begin with `>` are set to the right, without the sign.
    pub(super) fn new(headings: &[&str]) -> Self {
        let right = headings.iter().map(|heading| heading.starts_with('>')).collect();
        let headings =
            headings.iter().map(|heading| heading.trim_start_matches('>').to_uppercase()).collect();
        Self { rows: vec![headings], right }
    }

    pub(super) fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.rows.push(cells.into_iter().map(|cell| bittorrent::display_safe(&cell).to_string()).collect());
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rows.len() <= 1
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = self.right.len();
        let width = |column: usize| {
            self.rows.iter().filter_map(|row| row.get(column)).map(|cell| width_of(cell)).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        for row in &self.rows {
            for (column, cell) in row.iter().enumerate() {
                let room = widths.get(column).copied().unwrap_or(0).saturating_sub(width_of(cell));
                let is_right = self.right.get(column).copied().unwrap_or(false);
                let is_last = column + 1 == columns;
                if is_right {
                    write!(f, "{:room$}{cell}", "")?;
                } else if is_last {
                    f.write_str(cell)?;
                } else {
                    write!(f, "{cell}{:room$}", "")?;
                }
                if !is_last {
                    f.write_str("  ")?;
                }
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

/// Columns that a text takes on a terminal.
fn width_of(text: &str) -> usize {
    unicode_width::UnicodeWidthStr::width(text)
}

/// Bytes with a binary unit, three significant digits: `1.46 GiB`.
pub(super) fn bytes(count: u128) -> String {
    const UNITS: [&str; 9] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB"];
    let mut value = count as f64;
    let mut unit = 0;
    while value >= 1000.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    let decimals = if unit == 0 || value >= 100.0 {
        0
    } else if value >= 10.0 {
        1
    } else {
        2
    };
    format!("{value:.decimals$} {}", UNITS.get(unit).copied().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_whatever_the_script() {
        let mut table = Table::new(&["name", ">size", "end"]);
        table.row(["東京".into(), "1".into(), "x".into()]);
        table.row(["abcdef".into(), "22".into(), "y".into()]);
        assert_eq!(table.to_string(), "NAME    SIZE  END\n東京       1  x\nabcdef    22  y\n");
    }

    #[test]
    fn sizes_have_three_digits() {
        for (count, text) in [
            (0, "0 B"),
            (999, "999 B"),
            (1536, "1.50 KiB"),
            (1_572_864_000, "1.46 GiB"),
            (1 << 50, "1.00 PiB"),
        ] {
            assert_eq!(bytes(count), text);
        }
    }

    #[test]
    fn control_characters_never_reach_the_terminal() {
        let mut table = Table::new(&["name"]);
        table.row(["\u{1b}[31mred\nline".into()]);
        assert!(!table.to_string().contains('\u{1b}'));
        assert_eq!(table.to_string().lines().count(), 2);
    }
}
