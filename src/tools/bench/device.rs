//! Bytes written to the device, as the operating system counts them: the same measure for every engine.
//! There are two figures:
//!
//! | | counts | error |
//! |---|---|---|
//! | own | `/proc/self/io`, `write_bytes` less `cancelled_write_bytes`: each page of a file when it becomes dirty, and what bypasses the page cache | a page may be a large one, of up to megabytes, and counts whole even if only a part is written; no journal and no metadata, which a file that grows writes at each flush |
//! | device | sectors that the block device has written, `/sys/dev/block/*/stat` | includes other processes; nothing where several devices are beneath the file system |
//!
//! Both are kept: the device's count is the one that is compared, as every engine pays for its journal,
//! and the table prints the other beside it where they differ. Before the second reading the files of
//! the store are flushed, so that no write is still pending, whatever the engine does when it is
//! closed. Files are removed only later. Data that an engine removes or truncates before write-back was
//! never written.
//!
//! A page that changes twice between two flushes is written once, and one changed byte costs its page:
//! both are measured. Writes inside the device are not. Linux only; absent where there is no device,
//! as with a file system in memory.

use std::fs;
use std::io;
use std::path::Path;

/// The size of a sector in these statistics, on every device.
const SECTOR_BYTES: u64 = 512;

/// A reading of the counters.
#[derive(Clone, Copy, Debug)]
pub(super) struct DeviceBytes<'a> {
    dir: &'a Path,
    own: Option<u64>,
    device: Option<u64>,
}

impl DeviceBytes<'_> {
    /// The bytes written so far by this process and to the device beneath `dir`, which exists.
    pub(super) fn now(dir: &Path) -> DeviceBytes<'_> {
        DeviceBytes { dir, own: own(), device: device(dir) }
    }

    /// The bytes written since to `files`, a closed store or one file.
    pub(super) fn since(self, files: &Path) -> Written {
        // At worst a failure shows in the figures: the stores themselves have flushed before.
        let _ = sync(files);
        let now = DeviceBytes::now(self.dir);
        let dirtied = difference(self.own, now.own);
        // A device that has written nothing does not count: several are beneath the file system.
        let device = difference(self.device, now.device).filter(|bytes| *bytes > 0);
        Written { device: device.or(dirtied), dirtied }
    }
}

/// Bytes that were written, by both counters; absent if unknown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Written {
    /// By the device, or by this process where the device does not say.
    pub(super) device: Option<u64>,
    /// By this process.
    pub(super) dirtied: Option<u64>,
}

fn difference(before: Option<u64>, now: Option<u64>) -> Option<u64> {
    Some(now?.saturating_sub(before?))
}

fn own() -> Option<u64> {
    parse_own(&fs::read_to_string("/proc/self/io").ok()?)
}

fn parse_own(text: &str) -> Option<u64> {
    let field = |name: &str| {
        let mut values = text.lines().filter_map(|line| line.strip_prefix(name));
        values.next()?.strip_prefix(':')?.trim().parse::<u64>().ok()
    };
    Some(field("write_bytes")?.saturating_sub(field("cancelled_write_bytes")?))
}

/// The seventh field is the number of sectors written.
fn parse_device(text: &str) -> Option<u64> {
    let sectors: u64 = text.split_whitespace().nth(6)?.parse().ok()?;
    Some(sectors * SECTOR_BYTES)
}

#[cfg(target_os = "linux")]
fn device(dir: &Path) -> Option<u64> {
    use std::os::unix::fs::MetadataExt;
    let number = fs::metadata(dir).ok()?.dev();
    let (major, minor) = (rustix::fs::major(number), rustix::fs::minor(number));
    parse_device(&fs::read_to_string(format!("/sys/dev/block/{major}:{minor}/stat")).ok()?)
}

#[cfg(not(target_os = "linux"))]
fn device(_: &Path) -> Option<u64> {
    None
}

fn sync(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return fs::read_dir(path)?.try_for_each(|entry| sync(&entry?.path()));
    }
    fs::File::open(path)?.sync_data()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cancelled_bytes_are_not_written() {
        let text = "rchar: 9\nread_bytes: 0\nwrite_bytes: 8192\ncancelled_write_bytes: 4096\n";
        assert_eq!(parse_own(text), Some(4096));
        assert_eq!(parse_own("rchar: 9\n"), None);
    }

    #[test]
    fn the_device_counts_sectors() {
        assert_eq!(parse_device("  1  2  3  4  5  6  7  8  9\n"), Some(7 * 512));
        assert_eq!(parse_device("1 2 3"), None);
    }
}
