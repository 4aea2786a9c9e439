//! One watcher of the watermarks for all connections that want to be told.
//!
//! Commits move the watermarks without telling anybody, which would cost each of them. So one task
//! looks every few milliseconds, only while somebody watches, and tells those who watch once:
//! whoever wants to hear again says so again. A watcher that is slow is told once, however often
//! they moved.

use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::mailbox::Mailbox;
use crate::net::service::Service;

/// How often the watermarks are looked at.
const PERIOD: Duration = Duration::from_millis(5);

/// Who watches.
pub(crate) struct Tide {
    service: Arc<Service>,
    watchers: Mutex<Vec<Weak<Mailbox>>>,
    somebody: Notify,
}

impl Tide {
    pub(super) fn new(service: Arc<Service>) -> Tide {
        Tide { service, watchers: Mutex::default(), somebody: Notify::new() }
    }

    /// Tells this connection of the next move.
    pub(crate) fn watch(&self, mailbox: Weak<Mailbox>) {
        let mut watchers = self.watchers.lock();
        if watchers.last().is_some_and(|last| last.ptr_eq(&mailbox)) {
            return;
        }
        watchers.push(mailbox);
        self.somebody.notify_one();
    }

    /// Looks at the watermarks for ever.
    pub(crate) async fn run(self: Arc<Self>) {
        let mut seen = self.service.marks();
        loop {
            if self.watchers.lock().is_empty() {
                self.somebody.notified().await;
            }
            tokio::time::sleep(PERIOD).await;
            let now = self.service.marks();
            if now == seen {
                continue;
            }
            seen = now;
            let mut watchers = std::mem::take(&mut *self.watchers.lock());
            watchers.sort_unstable_by_key(|mailbox| mailbox.as_ptr() as usize);
            watchers.dedup_by(|a, b| a.ptr_eq(b));
            for mailbox in watchers.iter().filter_map(Weak::upgrade) {
                mailbox.watermarks_moved();
            }
        }
    }
}
