//! How long a thread has waited for a processor: on a busy machine that must not look as if the
//! store were slow, or hung.

use std::fs;
use std::time::Duration;

/// Of the thread that asks, since it began. Nothing where the system does not say.
pub(super) fn waited_here() -> Duration {
    waited("/proc/thread-self/schedstat")
}

/// Of the first thread of this process.
#[cfg(feature = "mutants")]
pub(super) fn waited_by_main() -> Duration {
    waited("/proc/self/schedstat")
}

/// The second number there.
fn waited(file: &str) -> Duration {
    let text = fs::read_to_string(file).unwrap_or_default();
    let nanoseconds = text.split(' ').nth(1).and_then(|field| field.parse().ok());
    Duration::from_nanos(nanoseconds.unwrap_or_default())
}
