//! One watcher of the watermarks for all connections that want to hear of changes.
//!
//! A commit moves the watermarks without a notification, which would slow every commit. Instead one
//! task polls them every few milliseconds, and only while a connection watches. It notifies each
//! watching connection once; a connection that wants the next change registers again. So a slow
//! connection gets one notice, however often the watermarks moved.

use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::mailbox::Mailbox;
use crate::net::service::Service;

/// Time between two polls.
const PERIOD: Duration = Duration::from_millis(5);

/// Polls the watermarks, and the connections to notify.
pub(crate) struct WatermarkWatcher {
    service: Arc<Service>,
    watchers: Mutex<Vec<Weak<Mailbox>>>,
    registered: Notify,
}

impl WatermarkWatcher {
    pub(super) fn new(service: Arc<Service>) -> WatermarkWatcher {
        WatermarkWatcher { service, watchers: Mutex::default(), registered: Notify::new() }
    }

    /// Registers a connection for the next change.
    pub(crate) fn watch(&self, mailbox: Weak<Mailbox>) {
        let mut watchers = self.watchers.lock();
        if watchers.last().is_some_and(|last| last.ptr_eq(&mailbox)) {
            return;
        }
        watchers.push(mailbox);
        self.registered.notify_one();
    }

    /// Polls until the task is dropped.
    pub(crate) async fn run(self: Arc<Self>) {
        let mut seen = self.service.marks();
        loop {
            if self.watchers.lock().is_empty() {
                self.registered.notified().await;
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
