//! Numbers and tables as text, within [`WIDTH`] columns.

/// No line is longer, unless a word of a command is.
pub(crate) const WIDTH: usize = 100;

/// Where a column's text stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Align {
    Left,
    Right,
}

/// Rows under headings. Columns are as wide as they must be; if that is too wide, the widest
/// column of text is wrapped.
#[derive(Debug)]
pub(crate) struct Grid {
    columns: Vec<(&'static str, Align)>,
    rows: Vec<Vec<String>>,
}

impl Grid {
    pub(crate) fn new(columns: &[(&'static str, Align)]) -> Grid {
        Grid { columns: columns.to_vec(), rows: Vec::new() }
    }

    pub(crate) fn row<const N: usize>(&mut self, cells: [String; N]) {
        assert_eq!(N, self.columns.len(), "a cell for each column");
        self.rows.push(cells.to_vec());
    }

    /// Appends it to `out`, each line indented by two.
    pub(crate) fn print(&self, out: &mut String) {
        let widths = self.widths();
        if self.columns.iter().any(|(heading, _)| !heading.is_empty()) {
            let headings: Vec<String> =
                self.columns.iter().map(|(heading, _)| (*heading).to_owned()).collect();
            self.print_row(&headings, &widths, out);
        }
        for row in &self.rows {
            self.print_row(row, &widths, out);
        }
    }

    fn widths(&self) -> Vec<usize> {
        let width_of = |column: usize| {
            let cells = self.rows.iter().map(|row| width(&row[column]));
            cells.chain([width(self.columns[column].0)]).max().unwrap_or(0)
        };
        let mut widths: Vec<usize> = (0..self.columns.len()).map(width_of).collect();
        let gaps = 2 * widths.len();
        while widths.iter().sum::<usize>() + gaps > WIDTH {
            let is_text = |column: &usize| self.columns[*column].1 == Align::Left;
            let Some(widest) =
                (0..widths.len()).filter(is_text).max_by_key(|column| widths[*column])
            else {
                break;
            };
            if widths[widest] <= 12 {
                break;
            }
            widths[widest] -= 1;
        }
        widths
    }

    fn print_row(&self, cells: &[String], widths: &[usize], out: &mut String) {
        let wrapped: Vec<Vec<String>> =
            cells.iter().zip(widths).map(|(cell, width)| wrap(cell, *width)).collect();
        let lines = wrapped.iter().map(Vec::len).max().unwrap_or(0);
        for line in 0..lines {
            let mut text = String::new();
            for (column, cell) in wrapped.iter().enumerate() {
                let part = cell.get(line).map_or("", String::as_str);
                let columns = widths[column];
                text.push_str("  ");
                text.push_str(&match self.columns[column].1 {
                    Align::Left => format!("{part:<columns$}"),
                    Align::Right => format!("{part:>columns$}"),
                });
            }
            out.push_str(text.trim_end());
            out.push('\n');
        }
    }
}

/// Columns that `text` takes on the screen.
fn width(text: &str) -> usize {
    text.chars().count()
}

/// `text` in lines of at most `columns`, broken between words, or within one that is longer.
pub(crate) fn wrap(text: &str, columns: usize) -> Vec<String> {
    let columns = columns.max(1);
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let mut word: Vec<char> = word.chars().collect();
        let last = lines.last_mut().expect("at least one line");
        let room = columns.saturating_sub(width(last) + usize::from(!last.is_empty()));
        if word.len() <= room {
            if !last.is_empty() {
                last.push(' ');
            }
            last.extend(word);
            continue;
        }
        if last.is_empty() {
            lines.pop();
        }
        while word.len() > columns {
            let rest = word.split_off(columns);
            lines.push(word.into_iter().collect());
            word = rest;
        }
        lines.push(word.into_iter().collect());
    }
    lines
}

/// 1,234,567
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A number and its noun: "1 kill", "2 kills".
pub(crate) fn counted(number: u64, noun: &str) -> String {
    format!("{} {noun}{}", count(number), if number == 1 { "" } else { "s" })
}

/// A length of time as somebody would say it.
pub(crate) fn time(seconds: f64) -> String {
    let whole = seconds as u64;
    if seconds < 9.95 {
        format!("{seconds:.1} s")
    } else if whole < 120 {
        format!("{seconds:.0} s")
    } else if whole < 2 * 3600 {
        format!("{} min {:02} s", whole / 60, whole % 60)
    } else {
        format!("{} h {:02} min", whole / 3600, whole / 60 % 60)
    }
}

/// How many in a second.
pub(crate) fn rate(number: u64, seconds: f64) -> String {
    if seconds <= 0.0 { "-".to_owned() } else { count((number as f64 / seconds) as u64) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_separators() {
        let of = |number| count(number);
        assert_eq!([of(0), of(999), of(1000), of(1_234_567)], ["0", "999", "1,000", "1,234,567"]);
        assert_eq!(count(u64::MAX), "18,446,744,073,709,551,615");
        assert_eq!(counted(1, "kill") + &counted(2, "kill"), "1 kill2 kills");
    }

    #[test]
    fn times_are_said_shortly() {
        assert_eq!(time(0.04), "0.0 s");
        assert_eq!(time(9.96), "10 s");
        assert_eq!(time(119.4), "119 s");
        assert_eq!(time(125.0), "2 min 05 s");
        assert_eq!(time(7384.0), "2 h 03 min");
        assert_eq!((rate(10, 0.0), rate(3000, 2.0)), ("-".into(), "1,500".into()));
    }

    #[test]
    fn lines_break_between_words() {
        assert_eq!(wrap("one two three", 7), ["one two", "three"]);
        assert_eq!(wrap("", 7), [""]);
        assert_eq!(wrap("a abcdefghij", 4), ["a", "abcd", "efgh", "ij"]);
        assert_eq!(wrap("abcdefgh i", 4), ["abcd", "efgh", "i"]);
    }

    #[test]
    fn a_grid_fits() {
        let mut grid = Grid::new(&[("n", Align::Right), ("text", Align::Left)]);
        grid.row(["1,000".into(), "word ".repeat(40)]);
        grid.row(["1".into(), "short".into()]);
        let mut out = String::new();
        grid.print(&mut out);
        assert!(out.lines().all(|line| width(line) <= WIDTH), "{out}");
        assert!(out.starts_with("      n  text\n  1,000  word word"), "{out}");
        assert!(out.ends_with("\n      1  short\n"), "{out}");
    }
}
