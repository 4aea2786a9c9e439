//! The time that a thread has waited for a processor. On a busy machine this wait must not look like
//! a slow or hung store.

use std::fs;
use std::time::Duration;

/// The wait of the calling thread since it began; zero where the system does not tell.
pub(super) fn waited_here() -> Duration {
    waited("/proc/thread-self/schedstat")
}

/// The wait of the first thread of this process.
#[cfg(feature = "mutants")]
pub(super) fn waited_by_main() -> Duration {
    waited("/proc/self/schedstat")
}

/// The second number in `file`, in nanoseconds.
fn waited(file: &str) -> Duration {
    let text = fs::read_to_string(file).unwrap_or_default();
    let nanoseconds = text.split(' ').nth(1).and_then(|field| field.parse().ok());
    Duration::from_nanos(nanoseconds.unwrap_or_default())
}
