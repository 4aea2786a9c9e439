//! The lengths that the file of a segment may have.
//!
//! ```text
//!   S/8   S/4       S/2               S        S, and its halves down to two pages
//!    |-----|---------|-----------------|
//!         ^ exists, durable
//!      ^ used so far: less than half of it is left, so that the next step is made
//! ```
//!
//! The first segment of a log begins at a small step and grows with use; the others are whole
//! from the beginning. A step is used once it exists and is durable (L8), so a record that ends
//! above a step proves that the file has had the next one. That tells a file that was cut from one
//! that never was longer; a crash while a file grows leaves any length between two steps, and no
//! record above the lower one.

use super::format::SEGMENT_HEADER;

/// The shortest file: a header and as much again for records.
const LEAST: u64 = 2 * SEGMENT_HEADER;

/// The steps of a segment of `segment_bytes`, the longest first.
fn steps(segment_bytes: u64) -> impl Iterator<Item = u64> {
    (0..64)
        .map(move |halved| (segment_bytes >> halved).next_multiple_of(SEGMENT_HEADER))
        .take_while(|&step| step >= LEAST)
}

/// The longest step that is not longer than `bytes`; 0 if there is none.
pub(super) fn step_within(segment_bytes: u64, bytes: u64) -> u64 {
    steps(segment_bytes).find(|&step| step <= bytes).unwrap_or(0)
}

/// The shortest step of at least `bytes`, or the longest one.
pub(super) fn step_of_at_least(segment_bytes: u64, bytes: u64) -> u64 {
    steps(segment_bytes).take_while(|&step| step >= bytes).last().unwrap_or(segment_bytes)
}

#[cfg(test)]
#[cfg(not(syncline_shuttle))]
mod tests {
    use super::*;

    #[test]
    fn steps_are_whole_pages_and_end_with_the_segment() {
        assert_eq!(steps(64 << 10).collect::<Vec<_>>(), [65536, 32768, 16384, 8192]);
        assert_eq!(steps(5 * 4096).collect::<Vec<_>>(), [20480, 12288, 8192]);
        for (bytes, within, at_least) in [
            (0, 0, 8192),
            (8191, 0, 8192),
            (8192, 8192, 8192),
            (8193, 8192, 16384),
            (65535, 32768, 65536),
            (65536, 65536, 65536),
            (65537, 65536, 65536),
        ] {
            assert_eq!(step_within(64 << 10, bytes), within, "{bytes}");
            assert_eq!(step_of_at_least(64 << 10, bytes), at_least, "{bytes}");
        }
        assert_eq!(step_within(64 << 20, 300_000), 256 << 10);
    }
}
