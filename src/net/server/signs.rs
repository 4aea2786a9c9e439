//! What the device does, for the log: that a flush has failed, and that flushes are slow.

use std::sync::Arc;
use std::time::Duration;

use super::seldom::Seldom;
use super::shared::Shared;

/// How often the store is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Slow flushes are told of as often as this at most.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// Says once what to do when the log is poisoned.
pub(super) async fn tell_of_poison(shared: Arc<Shared>) {
    while !shared.service.store().is_poisoned() {
        tokio::time::sleep(LOOK_EVERY).await;
    }
    let Some(error) = shared.service.store().poisoned() else { return };
    tracing::error!(
        "{error}. Reads go on; every write is refused. Look after the device, then start the \
         server anew: recovery keeps all that was ever reported durable, and judges the jobs of \
         earlier writes truly"
    );
}

/// Says, now and then, that flushes of the log take as long as `slow`, or one has not ended yet.
pub(super) async fn tell_of_slow_flushes(shared: Arc<Shared>, slow: Duration) {
    let seldom = Seldom::new(1, TELL_EVERY);
    let store = shared.service.store();
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let running = store.flushing_for().unwrap_or_default();
        let longest = store.take_longest_flush();
        if running.max(longest) < slow || seldom.pass().is_none() {
            continue;
        }
        let (ms, is_over) = (running.max(longest).as_millis(), longest >= running);
        let how = if is_over { "took so long" } else { "has been at the device for so long" };
        tracing::warn!(ms, "slow flush: a flush of the log {how}; every write in mode Sync waits");
    }
}
