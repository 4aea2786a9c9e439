//! Little-endian integers in byte slices, and checksums.
//!
//! These functions panic outside the slice: readers of untrusted bytes check lengths first.

pub(crate) fn get_u16(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(bytes[at..at + 2].try_into().expect("two bytes"))
}

pub(crate) fn get_u32(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

pub(crate) fn get_u64(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

pub(crate) fn put_u16(bytes: &mut [u8], at: usize, value: u16) {
    bytes[at..at + 2].copy_from_slice(&value.to_le_bytes());
}

pub(crate) fn put_u32(bytes: &mut [u8], at: usize, value: u32) {
    bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
}

pub(crate) fn put_u64(bytes: &mut [u8], at: usize, value: u64) {
    bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
}

/// CRC-32 (IEEE) over the concatenation of `parts`.
pub(crate) fn crc32(parts: &[&[u8]]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    for part in parts {
        hasher.update(part);
    }
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_at_their_offset_lowest_byte_first() {
        let mut bytes = [0xee; 20];
        put_u16(&mut bytes, 1, 0x0102);
        put_u32(&mut bytes, 4, 0x0304_0506);
        put_u64(&mut bytes, 9, 0x0708_090a_0b0c_0d0e);
        let expected = [
            0xee, 2, 1, 0xee, 6, 5, 4, 3, 0xee, 0x0e, 0x0d, 0x0c, 0x0b, 0x0a, 9, 8, 7, 0xee, 0xee,
            0xee,
        ];
        assert_eq!(bytes, expected);
        assert_eq!(get_u16(&bytes, 1), 0x0102);
        assert_eq!(get_u32(&bytes, 4), 0x0304_0506);
        assert_eq!(get_u64(&bytes, 9), 0x0708_090a_0b0c_0d0e);
    }

    #[test]
    fn numbers_at_the_end_of_the_slice_are_read_and_written() {
        let mut bytes = [0; 8];
        put_u64(&mut bytes, 0, u64::MAX - 1);
        put_u16(&mut bytes, 6, 0x1234);
        assert_eq!(get_u64(&bytes, 0), 0x1234_ffff_ffff_fffe);
        put_u32(&mut bytes, 4, 7);
        assert_eq!((get_u32(&bytes, 4), get_u16(&bytes, 6)), (7, 0));
    }

    #[test]
    fn a_checksum_covers_the_parts_as_if_concatenated() {
        // The standard check value of CRC-32.
        assert_eq!(crc32(&[b"123456789"]), 0xcbf4_3926);
        assert_eq!(crc32(&[b"1234", b"", b"56789"]), 0xcbf4_3926);
        assert_eq!(crc32(&[]), 0);
    }
}
