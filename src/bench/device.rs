//! How much the process has had written to the device.
//!
//! The same for every engine, because it is asked of the operating system and not of the engine:
//! `/proc/self/io`, `write_bytes` less `cancelled_write_bytes`. That counts
//!
//! - whole pages of files, each time that a clean one becomes dirty, through `write` or through a
//!   mapping: what the kernel will write back sooner or later, with the part of a page that was
//!   not changed, but once for many changes between two flushes;
//! - bytes that bypass the page cache (`O_DIRECT`);
//! - less what was dirty and never got written because the file was truncated or removed.
//!
//! It does not count the file system's own journal and metadata, nor what happens inside the
//! device. It is there on Linux only, and a file system in memory has none.

use std::fs;

/// A reading of the counter.
#[derive(Clone, Copy, Debug)]
pub(super) struct DeviceBytes(Option<u64>);

impl DeviceBytes {
    pub(super) fn now() -> DeviceBytes {
        DeviceBytes(fs::read_to_string("/proc/self/io").ok().and_then(|text| parse(&text)))
    }

    /// What was written since, if that can be known.
    pub(super) fn since(self) -> Option<f64> {
        let written = DeviceBytes::now().0?.saturating_sub(self.0?);
        (written > 0).then_some(written as f64)
    }
}

fn parse(text: &str) -> Option<u64> {
    let field = |name: &str| {
        let mut values = text.lines().filter_map(|line| line.strip_prefix(name));
        values.next()?.strip_prefix(':')?.trim().parse::<u64>().ok()
    };
    Some(field("write_bytes")?.saturating_sub(field("cancelled_write_bytes")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cancelled_bytes_are_not_written() {
        let text = "rchar: 9\nread_bytes: 0\nwrite_bytes: 8192\ncancelled_write_bytes: 4096\n";
        assert_eq!(parse(text), Some(4096));
        assert_eq!(parse("rchar: 9\n"), None);
    }
}
