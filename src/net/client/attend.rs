//! What a link needs while it lives: a sign of life now and then, and a good end.
//!
//! ```text
//!   open ----- goodbye -----> draining ---- nothing in flight, or time is up ----> over
//!    |  attend                     see_off                                          ^
//!    '--------- cut, or no sign of life --------------------------------------------'
//! ```

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::link::{End, EndsWith, Link};

/// A sign of life is waited for at least so long, however often one is asked for.
const SIGN: Duration = Duration::from_secs(1);
/// How much longer than it said a server may drain.
const DRAIN_GRACE: Duration = Duration::from_secs(1);

impl Link {
    /// Waits until the connection takes no more requests. Asks for a sign of life when nothing has
    /// been heard for `keep_alive`, and ends the connection if none comes.
    pub(super) async fn attend(self: &Arc<Link>, keep_alive: Option<Duration>) {
        self.guard(keep_alive, Link::is_open).await;
    }

    /// Waits until a connection that takes no more requests has answered those in flight, for as
    /// long as the server said at most, and ends it.
    pub(super) async fn see_off(ends: EndsWith, keep_alive: Option<Duration>) {
        let link = &ends.0;
        let drain_ms = link.state.lock().draining_ms.unwrap_or(0);
        let limit = Duration::from_millis(drain_ms.into()).saturating_add(DRAIN_GRACE);
        let _ = tokio::time::timeout(limit, link.guard(keep_alive, Link::has_work)).await;
        link.end(End::Cut("the connection is over after its last answer, or its time".into()));
    }

    /// Waits until `goes_on` is no longer true of it, and watches over it meanwhile.
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
                () = self.watch_over(keep_alive) => {}
            }
        }
    }

    /// Ends the connection when the server gives no sign of life.
    async fn watch_over(self: &Arc<Link>, keep_alive: Option<Duration>) {
        let Some(silence) = keep_alive else { return std::future::pending().await };
        loop {
            tokio::time::sleep(silence).await;
            if self.heard.swap(false, Ordering::Relaxed) {
                continue;
            }
            let answered = tokio::time::timeout(silence.max(SIGN), self.ping()).await;
            if answered.is_err() && !self.heard.load(Ordering::Relaxed) {
                return self.end(End::Cut("the server gives no sign of life".into()));
            }
        }
    }
}
