//! The lengths that the file of a segment may have: whole pages, two at least.
//!
//! ```text
//!   8 KiB, 12, 16, 20, ...                                    S
//!    |--|--|--|--|--|--|--|--|--|--|--|--|--|--|-- .. --------|
//!         ^ exists, durable
//!      ^ used so far: less than half of it is left, so that it doubles
//! ```
//!
//! The first segment of a log begins small and doubles with use; later ones are whole from the beginning.
//! On a full disk any of them begins small and grows by what the disk has, or by the hole that the log
//! has punched ([`super::punch`]). A step is used once it exists and is durable (LOG-8), so a record that
//! ends above a step proves that the file has had the next one. That tells a file that was cut from one
//! that never was longer: a crash while a file grows leaves any length between two steps, and no record
//! above the lower one.

use super::format::SEGMENT_HEADER;

/// The shortest file: a header page and a page of records.
pub(crate) const LEAST: u64 = 2 * SEGMENT_HEADER;
/// The shortest file that a log begins with: in a shorter one, long records could leave no page to punch out.
pub(crate) const LEAST_SEGMENT: u64 = 4 * SEGMENT_HEADER;

/// The longest step that is not longer than `bytes`; 0 if there is none.
pub(super) fn step_within(segment_bytes: u64, bytes: u64) -> u64 {
    match bytes {
        _ if bytes >= segment_bytes => segment_bytes,
        ..LEAST => 0,
        _ => bytes - bytes % SEGMENT_HEADER,
    }
}

/// The shortest step of at least `bytes`, or the longest one.
pub(super) fn step_of_at_least(segment_bytes: u64, bytes: u64) -> u64 {
    bytes.max(LEAST).next_multiple_of(SEGMENT_HEADER).min(segment_bytes)
}

#[cfg(test)]
#[cfg(not(syncline_shuttle))]
mod tests {
    use super::*;

    #[test]
    fn steps_are_whole_pages_and_end_with_the_segment() {
        for (segment_bytes, bytes, within, at_least) in [
            (64 << 10, 0, 0, 8192),
            (64 << 10, 8191, 0, 8192),
            (64 << 10, 8192, 8192, 8192),
            (64 << 10, 8193, 8192, 12288),
            (64 << 10, 65535, 61440, 65536),
            (64 << 10, 65536, 65536, 65536),
            (64 << 10, 65537, 65536, 65536),
            (5 * 4096, 12289, 12288, 16384),
            (5 * 4096, 16385, 16384, 20480),
            (64 << 20, 9000, 8192, 12288),
            (64 << 20, 300_000, 292 << 10, 296 << 10),
            (64 << 20, 40_000, 36 << 10, 40 << 10),
        ] {
            assert_eq!(step_within(segment_bytes, bytes), within, "{bytes}");
            assert_eq!(step_of_at_least(segment_bytes, bytes), at_least, "{bytes}");
        }
    }

    #[test]
    fn every_length_lies_between_two_steps() {
        for segment_bytes in [16, 17, 20, 64, 100, 256, 1024].map(|pages| pages * SEGMENT_HEADER) {
            for bytes in (LEAST..=segment_bytes).step_by(512) {
                let (within, at_least) =
                    (step_within(segment_bytes, bytes), step_of_at_least(segment_bytes, bytes));
                assert!((LEAST..=bytes).contains(&within), "{bytes} of {segment_bytes}");
                assert!((bytes..=segment_bytes).contains(&at_least), "{bytes} of {segment_bytes}");
                assert_eq!(step_within(segment_bytes, at_least), at_least);
                assert_eq!(step_of_at_least(segment_bytes, within), within);
                assert_eq!(at_least % SEGMENT_HEADER, 0);
            }
        }
    }
}
