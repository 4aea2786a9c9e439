//! Log lines about the device: a failed flush, and slow flushes.

use std::sync::Arc;
use std::time::Duration;

use super::log_limiter::LogLimiter;
use super::shared::Shared;

/// Time between two looks at the store.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Shortest time between two reports of slow flushes.
const REPORT_EVERY: Duration = Duration::from_secs(10);

/// Reports a poisoned log once, with what to do.
pub(super) async fn report_poison(shared: Arc<Shared>) {
    while !shared.service.store().is_poisoned() {
        tokio::time::sleep(LOOK_EVERY).await;
    }
    let Some(error) = shared.service.store().poisoned() else { return };
    tracing::error!(
        "{error}. Reads go on; every write is refused. Check the device, then restart the \
         server: recovery keeps everything that was reported durable, and knows the outcome of \
         every earlier job"
    );
}

/// Reports flushes of the log that take as long as `slow`, also one that has not ended yet.
pub(super) async fn report_slow_flushes(shared: Arc<Shared>, slow: Duration) {
    let limiter = LogLimiter::new(1, REPORT_EVERY);
    let store = shared.service.store();
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let running = store.flushing_for().unwrap_or_default();
        let longest = store.take_longest_flush();
        if running.max(longest) < slow || limiter.admit().is_none() {
            continue;
        }
        let (ms, is_over) = (running.max(longest).as_millis(), longest >= running);
        let how = if is_over { "took this long" } else { "has been running for this long" };
        tracing::warn!(ms, "slow flush: a flush of the log {how}; every write in mode Sync waits");
    }
}
