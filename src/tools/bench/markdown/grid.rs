//! A table of Markdown.

use std::fmt::Write;

/// Rows under headings. A column without any text is left out.
#[derive(Debug)]
pub(super) struct Grid {
    headings: Vec<(String, bool)>,
    rows: Vec<Vec<String>>,
}

impl Grid {
    /// Headings, each with whether its cells are figures, which are flush right.
    pub(super) fn new(headings: &[(&str, bool)]) -> Grid {
        let headings = headings.iter().map(|(name, figures)| ((*name).to_owned(), *figures));
        Grid { headings: headings.collect(), rows: Vec::new() }
    }

    pub(super) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        let cells: Vec<String> = cells.into_iter().map(|cell| plain(&cell)).collect();
        assert_eq!(cells.len(), self.headings.len(), "a cell for each column");
        self.rows.push(cells);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    pub(super) fn text(&self) -> String {
        let is_told = |column: &usize| self.rows.iter().any(|row| !row[*column].is_empty());
        let columns: Vec<usize> = (0..self.headings.len()).filter(is_told).collect();
        let line = |cell: &dyn Fn(usize) -> String| {
            let cells: Vec<String> = columns.iter().map(|column| cell(*column)).collect();
            format!("| {} |\n", cells.join(" | "))
        };
        let mut text = line(&|column| self.headings[column].0.clone());
        let rule = |column: &usize| if self.headings[*column].1 { "--:" } else { "---" };
        let _ = writeln!(text, "|{}|", columns.iter().map(rule).collect::<Vec<_>>().join("|"));
        for row in &self.rows {
            text += &line(&|column| row[column].clone());
        }
        text
    }
}

/// Text of the record, in which nothing is markup except code between backticks (MARKDOWN-3).
pub(super) fn plain(text: &str) -> String {
    let mut out = String::new();
    let parts: Vec<&str> = text.split('`').collect();
    let is_closed = !parts.len().is_multiple_of(2);
    for (index, part) in parts.iter().enumerate() {
        let is_code = is_closed && index % 2 == 1;
        if index > 0 {
            out += if is_closed { "`" } else { "'" };
        }
        for letter in part.chars() {
            match letter {
                '\n' | '\r' => out.push(' '),
                '|' => out += "\\|",
                '<' if !is_code => out += "&lt;",
                '*' | '_' | '[' | ']' if !is_code => out.extend(['\\', letter]),
                _ => out.push(letter),
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_has_a_rule_and_no_empty_column() {
        let mut grid = Grid::new(&[("a", false), ("empty", true), ("n", true)]);
        grid.row(["x".into(), String::new(), "1".into()]);
        grid.row(["a|b".into(), String::new(), String::new()]);
        assert_eq!(grid.text(), "| a | n |\n|---|--:|\n| x | 1 |\n| a\\|b |  |\n");
    }

    #[test]
    fn texts_of_the_record_are_no_markup() {
        assert_eq!(plain("<b> `flush_interval` a_b"), "&lt;b> `flush_interval` a\\_b");
        assert_eq!(plain("a ` b\nc"), "a ' b c");
    }
}
