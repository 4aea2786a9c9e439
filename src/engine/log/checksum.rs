//! The checksum of a record's header, which is computed under the commit lock.
//!
//! It is the usual CRC-32. The library for payloads is made for long inputs and takes the 28 bytes
//! of a header one by one. Eight tables take eight bytes in one step (slicing by 8), which saves
//! more than the rest of an append costs.

use crate::engine::base::codec::get_u32;

/// Bytes of a header that its checksum covers.
pub(super) const COVERED: usize = 28;

/// The polynomial of CRC-32, bits reversed.
const POLYNOMIAL: u32 = 0xedb8_8320;

/// `TABLES[n][byte]`: the contribution of `byte` to the checksum when `n` more bytes follow it.
static TABLES: [[u32; 256]; 8] = tables();

const fn tables() -> [[u32; 256]; 8] {
    let mut tables = [[0; 256]; 8];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ POLYNOMIAL } else { crc >> 1 };
            bit += 1;
        }
        tables[0][byte] = crc;
        byte += 1;
    }
    let mut follow = 1;
    while follow < 8 {
        let mut byte = 0;
        while byte < 256 {
            let before = tables[follow - 1][byte];
            tables[follow][byte] = before >> 8 ^ tables[0][(before & 0xff) as usize];
            byte += 1;
        }
        follow += 1;
    }
    tables
}

/// CRC-32 of bytes whose CRC-32 is `before`, followed by `covered`.
#[inline]
pub(super) fn extend(before: u32, covered: &[u8; COVERED]) -> u32 {
    let mut crc = !before;
    for at in [0, 8, 16] {
        crc = four(crc ^ get_u32(covered, at), 4) ^ four(get_u32(covered, at + 4), 0);
    }
    !four(crc ^ get_u32(covered, 24), 0)
}

/// The contribution of four bytes to the checksum when `follow` more bytes follow them.
#[inline]
fn four(bytes: u32, follow: usize) -> u32 {
    TABLES[follow + 3][(bytes & 0xff) as usize]
        ^ TABLES[follow + 2][(bytes >> 8 & 0xff) as usize]
        ^ TABLES[follow + 1][(bytes >> 16 & 0xff) as usize]
        ^ TABLES[follow][(bytes >> 24) as usize]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::base::codec::crc32;

    #[test]
    fn table_checksum_agrees_with_the_library() {
        let mut bytes = [0; COVERED];
        for round in 0..1000u32 {
            bytes.iter_mut().zip(0..).for_each(|(byte, at)| {
                *byte = (round.wrapping_mul(0x9e37_79b9).wrapping_mul(at | 1) >> 21) as u8;
            });
            let salt = round.to_le_bytes();
            assert_eq!(extend(crc32(&[&salt]), &bytes), crc32(&[&salt, &bytes]));
        }
    }
}
