//! The memory of this process, as the kernel counts it.

use std::fs;

use serde::{Deserialize, Serialize};

use crate::tools::bench::measure::Sample;

/// In bytes. Pages of files that the process has mapped are resident, too; others of the system's cache
/// are not in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Memory {
    /// The most that was resident at a time.
    peak: u64,
    /// Of the memory that is resident now, what belongs to no file.
    anonymous: u64,
}

impl Memory {
    /// Linux only.
    pub(super) fn now() -> Option<Memory> {
        Memory::parse(&fs::read_to_string("/proc/self/status").ok()?)
    }

    fn parse(text: &str) -> Option<Memory> {
        let kib = |name: &str| {
            let mut values = text.lines().filter_map(|line| line.strip_prefix(name));
            values.next()?.trim().strip_suffix(" kB")?.parse::<u64>().ok()
        };
        Some(Memory { peak: kib("VmHWM:")? << 10, anonymous: kib("RssAnon:")? << 10 })
    }

    pub(super) fn tell(self, sample: &mut Sample) {
        sample.add_figure("peak_memory", self.peak as f64, "bytes");
        sample.add_figure("anonymous_memory", self.anonymous as f64, "bytes");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_of_a_process_is_read() {
        let text = "Name:\tx\nVmHWM:\t    2048 kB\nRssAnon:\t    1024 kB\n";
        assert_eq!(Memory::parse(text), Some(Memory { peak: 2 << 20, anonymous: 1 << 20 }));
        assert_eq!(Memory::parse("Name:\tx\n"), None);
    }
}
