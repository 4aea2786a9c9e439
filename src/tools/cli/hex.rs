//! Bytes as hexadecimal text.

/// Appends `bytes` in lower-case hexadecimal.
pub(super) fn encode_hex(bytes: &[u8], out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for byte in bytes {
        out.push(DIGITS[usize::from(byte >> 4)]);
        out.push(DIGITS[usize::from(byte & 15)]);
    }
}

/// The bytes of hexadecimal text, or what is wrong with it.
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
}
