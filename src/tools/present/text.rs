//! Numbers and tables as text, within [`WIDTH`] columns.

pub(crate) use comfy_table::CellAlignment as Align;
use comfy_table::{Cell, ContentArrangement, Table, presets};

/// The longest line, except where a word of a command is longer.
pub(crate) const WIDTH: usize = 100;

/// Rows under headings, [`WIDTH`] columns wide at most: long text is wrapped.
#[derive(Debug)]
pub(crate) struct Grid {
    aligns: Vec<Align>,
    table: Table,
}

impl Grid {
    pub(crate) fn new(columns: &[(&'static str, Align)]) -> Grid {
        let mut table = Table::new();
        table.load_style(presets::NOTHING).set_width(WIDTH as u16);
        table.set_content_arrangement(ContentArrangement::Dynamic);
        let mut grid = Grid { aligns: columns.iter().map(|(_, align)| *align).collect(), table };
        if columns.iter().any(|(heading, _)| !heading.is_empty()) {
            let headings = grid.cells(columns.iter().map(|(heading, _)| *heading));
            grid.table.set_header(headings);
        }
        grid
    }

    pub(crate) fn row<const N: usize>(&mut self, cells: [String; N]) {
        assert_eq!(N, self.aligns.len(), "a cell for each column");
        let cells = self.cells(cells.iter().map(String::as_str));
        self.table.add_row(cells);
    }

    fn cells<'a>(&self, texts: impl Iterator<Item = &'a str>) -> Vec<Cell> {
        let cell = |(text, align): (&str, &Align)| Cell::new(text).set_alignment(*align);
        texts.zip(&self.aligns).map(cell).collect()
    }

    /// Appends it to `out`, each line indented by two.
    pub(crate) fn print(&self, out: &mut String) {
        for line in self.table.lines() {
            // The table begins with one space already.
            *out += &format!(" {}\n", line.trim_end());
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

/// A length of time, as in "2 min 05 s".
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

/// A rate per second.
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
    fn times_are_short() {
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
