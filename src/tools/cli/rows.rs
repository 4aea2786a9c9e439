//! The rows of a file to import, one line each.
//!
//! ```text
//!   tsv     key TAB value              the value may hold TABs; no byte is changed
//!   jsonl   {"key": "..", "value": ".."}   or "key_hex", "value_hex"
//! ```
//!
//! Blank lines are skipped, and so is a byte order mark of UTF-8 before the first line. A line is held in
//! memory, hence limited to [`MAX_LINE_BYTES`]. The file may have any length.

use std::borrow::Cow;
use std::io::{self, BufRead, Read};

use serde::Deserialize;

use super::args::ImportFormat;
use super::hex::decode_hex;

/// The longest line: the longest value that a store takes by default, in hexadecimal, and 1 MiB.
const MAX_LINE_BYTES: u64 = (2 << 30) + (1 << 20);

/// The byte order mark of UTF-8.
const BOM: &[u8] = b"\xef\xbb\xbf";

/// A key and its value.
pub(super) type Row<'a> = (Cow<'a, [u8]>, Cow<'a, [u8]>);

/// Why there is no next row.
#[derive(Debug)]
pub(super) enum RowError {
    /// The line is malformed.
    Malformed(String),
    /// The file could not be read.
    Read(io::Error),
}

/// Reads rows.
pub(super) struct Rows<R> {
    input: R,
    format: ImportFormat,
    line: Vec<u8>,
    lines_read: u64,
    bytes_read: u64,
}

impl<R: BufRead> Rows<R> {
    pub(super) fn new(input: R, format: ImportFormat) -> Self {
        Rows { input, format, line: Vec::new(), lines_read: 0, bytes_read: 0 }
    }

    /// The number of the line that was read last, from 1.
    pub(super) fn line_number(&self) -> u64 {
        self.lines_read
    }

    /// Bytes of the input that were read.
    pub(super) fn bytes_read(&self) -> u64 {
        self.bytes_read
    }

    /// The next row. `None` at the end of the input.
    pub(super) fn next_row(&mut self) -> Result<Option<Row<'_>>, RowError> {
        loop {
            if !self.next_line()? {
                return Ok(None);
            }
            if !is_blank(&self.line, self.format) {
                break;
            }
        }
        let row = match self.format {
            ImportFormat::Tsv => tsv_row(&self.line),
            ImportFormat::Jsonl => json_row(&self.line),
        };
        row.map(Some).map_err(RowError::Malformed)
    }

    /// Reads a line without its newline. Returns false at the end of the input.
    fn next_line(&mut self) -> Result<bool, RowError> {
        self.line.clear();
        let mut limited = self.input.by_ref().take(MAX_LINE_BYTES);
        let bytes = limited.read_until(b'\n', &mut self.line).map_err(RowError::Read)? as u64;
        if bytes == 0 {
            return Ok(false);
        }
        self.lines_read += 1;
        self.bytes_read += bytes;
        if self.line.last() == Some(&b'\n') {
            self.line.pop();
        } else if bytes == MAX_LINE_BYTES {
            let problem = format!("the line is longer than {MAX_LINE_BYTES} bytes");
            return Err(RowError::Malformed(problem));
        }
        if self.lines_read == 1 && self.line.starts_with(BOM) {
            self.line.drain(..BOM.len());
        }
        Ok(true)
    }
}

/// Whether the line is blank. A single TAB is not: it is the empty key with the empty value.
fn is_blank(line: &[u8], format: ImportFormat) -> bool {
    match format {
        ImportFormat::Tsv => matches!(line, b"" | b"\r"),
        ImportFormat::Jsonl => line.trim_ascii().is_empty(),
    }
}

fn tsv_row(line: &[u8]) -> Result<Row<'_>, String> {
    match line.iter().position(|byte| *byte == b'\t') {
        Some(tab) => Ok((Cow::Borrowed(&line[..tab]), Cow::Borrowed(&line[tab + 1..]))),
        None => Err("no TAB between key and value".into()),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct JsonRow<'a> {
    #[serde(borrow)]
    key: Option<Cow<'a, str>>,
    #[serde(borrow)]
    key_hex: Option<Cow<'a, str>>,
    #[serde(borrow)]
    value: Option<Cow<'a, str>>,
    #[serde(borrow)]
    value_hex: Option<Cow<'a, str>>,
}

fn json_row(line: &[u8]) -> Result<Row<'_>, String> {
    let row: JsonRow<'_> = serde_json::from_slice(line).map_err(|error| error.to_string())?;
    Ok((json_bytes("key", row.key, row.key_hex)?, json_bytes("value", row.value, row.value_hex)?))
}

fn json_bytes<'a>(
    name: &str,
    text: Option<Cow<'a, str>>,
    hex: Option<Cow<'a, str>>,
) -> Result<Cow<'a, [u8]>, String> {
    match (text, hex) {
        (Some(Cow::Borrowed(text)), None) => Ok(Cow::Borrowed(text.as_bytes())),
        (Some(Cow::Owned(text)), None) => Ok(Cow::Owned(text.into_bytes())),
        (None, Some(hex)) => decode_hex(hex.as_bytes())
            .map(Cow::Owned)
            .map_err(|problem| format!("\"{name}_hex\": {problem}")),
        (None, None) => Err(format!("neither \"{name}\" nor \"{name}_hex\"")),
        (Some(_), Some(_)) => Err(format!("both \"{name}\" and \"{name}_hex\"")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tools::cli::output;

    type OwnedRow = (Vec<u8>, Vec<u8>);

    fn read(format: ImportFormat, input: &[u8]) -> Vec<Result<OwnedRow, String>> {
        let mut rows = Rows::new(input, format);
        let mut all = Vec::new();
        loop {
            match rows.next_row() {
                Ok(Some((key, value))) => all.push(Ok((key.into_owned(), value.into_owned()))),
                Ok(None) => break,
                Err(RowError::Malformed(problem)) => all.push(Err(problem)),
                Err(RowError::Read(error)) => panic!("{error}"),
            }
        }
        assert_eq!(rows.bytes_read(), input.len() as u64);
        all
    }

    #[test]
    fn tsv_splits_at_the_first_tab_and_changes_nothing() {
        let rows = read(ImportFormat::Tsv, b"a\t1\t2\r\n\t\n\xff\t\nno tab\nlast\tline");
        assert_eq!(rows[0], Ok((b"a".to_vec(), b"1\t2\r".to_vec())));
        assert_eq!(rows[1], Ok((vec![], vec![])));
        assert_eq!(rows[2], Ok((vec![255], vec![])));
        assert!(rows[3].as_ref().unwrap_err().contains("no TAB"));
        assert_eq!(rows[4], Ok((b"last".to_vec(), b"line".to_vec())));
        assert_eq!(rows.len(), 5);
    }

    #[test]
    fn blank_lines_and_a_byte_order_mark_are_skipped_and_counted() {
        let tsv = b"\xef\xbb\xbfa\t1\n\n\r\nb\t2\n\n";
        let row = |key: &[u8], value: &[u8]| Ok((key.to_vec(), value.to_vec()));
        assert_eq!(read(ImportFormat::Tsv, tsv), [row(b"a", b"1"), row(b"b", b"2")]);
        let json = b"\xef\xbb\xbf\n{\"key\":\"a\",\"value\":\"1\"}\r\n  \t\n";
        assert_eq!(read(ImportFormat::Jsonl, json), [row(b"a", b"1")]);
        let mut rows = Rows::new(&tsv[..], ImportFormat::Tsv);
        let mut lines = Vec::new();
        while rows.next_row().unwrap().is_some() {
            lines.push(rows.line_number());
        }
        assert_eq!(lines, [1, 4]);
        // Elsewhere the mark is data.
        let rows = read(ImportFormat::Tsv, b"a\t1\n\xef\xbb\xbfb\t2\n");
        assert_eq!(rows[1], row(b"\xef\xbb\xbfb", b"2"));
    }

    #[test]
    fn rows_printed_as_json_are_read_back() {
        let mut text = Vec::new();
        let mut expected = Vec::new();
        for first in 0..=255u8 {
            let (key, value) = (vec![first, b'\n', b'\t'], vec![b'"', 255 - first]);
            output::json_row(&key, &value, &mut text);
            text.push(b'\n');
            expected.push(Ok((key, value)));
        }
        assert_eq!(read(ImportFormat::Jsonl, &text), expected);
    }

    #[test]
    fn json_without_a_row_is_refused() {
        for (line, problem) in [
            ("{}", "neither \"key\" nor"),
            (r#"{"key":"a"}"#, "neither \"value\" nor"),
            (r#"{"key":"a","key_hex":"00","value":""}"#, "both \"key\" and"),
            (r#"{"key_hex":"0","value":""}"#, "whole bytes"),
            (r#"{"key":"a","value":"b","other":1}"#, "unknown field"),
            (r#"{"key":"a","value":"b"} x"#, "trailing"),
            (r#"{"key":"a","value":1}"#, "invalid type"),
        ] {
            let found = &read(ImportFormat::Jsonl, format!("{line}\n").as_bytes())[0];
            assert!(found.as_ref().unwrap_err().contains(problem), "{line}: {found:?}");
        }
    }
}
