//! Rows and values on standard output.
//!
//! | format | a row |
//! |---|---|
//! | raw | key, TAB, value, newline, all bytes as they are |
//! | hex | the same in lower-case hexadecimal |
//! | json | `{"key":"..","value":".."}`; `"key_hex"` or `"value_hex"` for bytes that are not UTF-8 |
//!
//! Only hex and JSON keep TABs and newlines unambiguous. `import --format jsonl` reads the JSON back
//! byte for byte.

use std::io::{self, BufWriter, StdoutLock, Write};

use super::args::{Format, GetArgs};
use super::failure::{CommandResult, Failure, Status};
use super::hex::encode_hex;

/// Prints rows.
pub(super) struct RowWriter<'a> {
    format: Format,
    out: BufWriter<StdoutLock<'a>>,
    /// One row, reused.
    row: Vec<u8>,
}

impl RowWriter<'_> {
    pub(super) fn to_stdout(format: Format) -> RowWriter<'static> {
        let out = BufWriter::with_capacity(64 << 10, io::stdout().lock());
        RowWriter { format, out, row: Vec::new() }
    }

    pub(super) fn row(&mut self, key: &[u8], value: &[u8]) -> io::Result<()> {
        self.row.clear();
        match self.format {
            Format::Raw => {
                self.row.extend_from_slice(key);
                self.row.push(b'\t');
                self.row.extend_from_slice(value);
            }
            Format::Hex => {
                encode_hex(key, &mut self.row);
                self.row.push(b'\t');
                encode_hex(value, &mut self.row);
            }
            Format::Json => json_row(key, value, &mut self.row),
        }
        self.row.push(b'\n');
        self.out.write_all(&self.row)
    }

    pub(super) fn finish(mut self) -> io::Result<()> {
        self.out.flush()?;
        // Standard output has another buffer.
        self.out.get_mut().flush()
    }
}

/// Appends one row as a JSON object.
pub(super) fn json_row(key: &[u8], value: &[u8], out: &mut Vec<u8>) {
    out.push(b'{');
    json_field("key", key, out);
    out.push(b',');
    json_field("value", value, out);
    out.push(b'}');
}

fn json_field(name: &str, bytes: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    out.extend_from_slice(name.as_bytes());
    match std::str::from_utf8(bytes) {
        Ok(text) => {
            out.extend_from_slice(b"\":");
            serde_json::to_writer(out, text).expect("a string is JSON, and memory takes it");
        }
        Err(_) => {
            out.extend_from_slice(b"_hex\":\"");
            encode_hex(bytes, out);
            out.push(b'"');
        }
    }
}

/// Prints the value of a key.
pub(super) fn print_value(args: &GetArgs, value: &[u8]) -> CommandResult {
    let mut text = Vec::new();
    let bytes: &[u8] = if args.at.encoding.hex {
        encode_hex(value, &mut text);
        &text
    } else {
        value
    };
    let end: &[u8] = if args.raw { b"" } else { b"\n" };
    let mut out = io::stdout().lock();
    out.write_all(bytes)
        .and_then(|()| out.write_all(end))
        .and_then(|()| out.flush())
        .map_err(Failure::output)?;
    Ok(Status::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_are_not_utf8_are_marked_in_json() {
        let mut out = Vec::new();
        json_row(b"a\t\"b\"", b"\xff\x00", &mut out);
        assert_eq!(out, br#"{"key":"a\t\"b\"","value_hex":"ff00"}"#);
    }
}
