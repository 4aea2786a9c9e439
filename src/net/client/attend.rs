//! Care of a link: pings while it is open, and an orderly end.
//!
//! ```text
//!   open ----- goodbye -----> draining ---- nothing in flight, or time is up ----> over
//!    |  attend                     see_off                                          ^
//!    '--------- cut, or no answer to a ping ------------------------------------------'
//! ```

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::link::{End, EndsWith, Link};

/// The least time for the answer to a ping, however short the interval of pings.
const PING_TIMEOUT: Duration = Duration::from_secs(1);
/// How much longer than announced a server may drain.
const DRAIN_GRACE: Duration = Duration::from_secs(1);

impl Link {
    /// Waits until the link takes no more requests. Sends a ping when nothing has come for
    /// `keep_alive`, and ends the link if no answer comes.
    pub(super) async fn attend(self: &Arc<Link>, keep_alive: Option<Duration>) {
        self.guard(keep_alive, Link::is_open).await;
    }

    /// Waits until a draining link has answered its requests in flight, at most for the time that the
    /// server gave, and ends it.
    pub(super) async fn see_off(ends: EndsWith, keep_alive: Option<Duration>) {
        let link = &ends.0;
        let drain_ms = link.state.lock().draining_ms.unwrap_or(0);
        let limit = Duration::from_millis(drain_ms.into()).saturating_add(DRAIN_GRACE);
        let _ = tokio::time::timeout(limit, link.guard(keep_alive, Link::has_work)).await;
        link.end(End::Cut("the connection is over after its last answer, or its time".into()));
    }

    /// Waits until `goes_on` is no longer true of the link, and sends pings meanwhile.
    async fn guard(
        self: &Arc<Link>,
        keep_alive: Option<Duration>,
        goes_on: impl Fn(&Link) -> bool,
    ) {
        loop {
            let turned = self.turned.notified();
            tokio::pin!(turned);
            turned.as_mut().enable();
            if !goes_on(self) {
                return;
            }
            tokio::select! {
                () = turned => {}
                () = self.ping_when_silent(keep_alive) => {}
            }
        }
    }

    /// Ends the link when the server answers no ping.
    async fn ping_when_silent(self: &Arc<Link>, keep_alive: Option<Duration>) {
        let Some(silence) = keep_alive else { return std::future::pending().await };
        loop {
            tokio::time::sleep(silence).await;
            if self.heard.swap(false, Ordering::Relaxed) {
                continue;
            }
            let answered = tokio::time::timeout(silence.max(PING_TIMEOUT), self.ping()).await;
            if answered.is_err() && !self.heard.load(Ordering::Relaxed) {
                return self.end(End::Cut("the server answers no ping".into()));
            }
        }
    }
}
