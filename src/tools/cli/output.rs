//! Rows on standard output, and bytes as text.
//!
//! | format | a row |
//! |---|---|
//! | raw | key, TAB, value, newline, all bytes as they are |
//! | hex | the same in lower-case hexadecimal |
//! | json | `{"key":"..","value":".."}`; what is not UTF-8 is `"key_hex"` or `"value_hex"` |
//!
//! Only hex and JSON tell apart what contains TABs or newlines. JSON is what
//! `import --format jsonl` reads, byte for byte.

use std::io::{self, BufWriter, StdoutLock, Write};

use super::args::Format;

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
        // Standard output has a buffer of its own.
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

/// Appends `bytes` in lower-case hexadecimal.
pub(super) fn encode_hex(bytes: &[u8], out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for byte in bytes {
        out.push(DIGITS[usize::from(byte >> 4)]);
        out.push(DIGITS[usize::from(byte & 15)]);
    }
}

/// The bytes that `text` stands for, or what is wrong with it.
pub(super) fn decode_hex(text: &[u8]) -> Result<Vec<u8>, String> {
    if !text.len().is_multiple_of(2) {
        return Err(format!("{} digits are not whole bytes", text.len()));
    }
    let digit = |byte: u8| {
        let digit = char::from(byte).to_digit(16);
        digit.ok_or_else(|| format!("{:?} is no digit", char::from(byte)))
    };
    text.chunks_exact(2).map(|pair| Ok((digit(pair[0])? * 16 + digit(pair[1])?) as u8)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_is_read_back() {
        let bytes: Vec<u8> = (0..=255).collect();
        let mut text = Vec::new();
        encode_hex(&bytes, &mut text);
        assert_eq!(&text[..8], b"00010203");
        assert_eq!(decode_hex(&text).unwrap(), bytes);
        assert_eq!(decode_hex(b"FFaB").unwrap(), [255, 171]);
        assert!(decode_hex(b"").unwrap().is_empty());
        assert!(decode_hex(b"abc").unwrap_err().contains("whole bytes"));
        assert!(decode_hex(b"ag").unwrap_err().contains("'g'"));
    }

    #[test]
    fn json_marks_what_is_not_utf8() {
        let mut out = Vec::new();
        json_row(b"a\t\"b\"", b"\xff\x00", &mut out);
        assert_eq!(out, br#"{"key":"a\t\"b\"","value_hex":"ff00"}"#);
    }
}
