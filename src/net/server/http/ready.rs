//! Whether a write would be taken now.
//!
//! A disk that was full, or a device that stood still, tells nobody when it is well again: only a
//! write finds out. So whoever asks has a thread do what a write does before it is appended: wait
//! where back-pressure makes it wait, and look for log, blocks and frames. Nothing is written to the
//! store by that but what the next write would need. The write that is tried is a small one; or, once
//! one was refused for want of space, one as large as that, up to 1 MiB, until there is room for it.
//! So `disk_full` may be said while smaller writes are still taken, and is never left unsaid while
//! larger ones are refused.
//!
//! - READY-1 At most one thread does it at a time, however many ask and however long it takes.
//! - READY-2 What it found is told for [`FRESH`]. While it has found nothing, what it found last is told;
//!   once that has lasted for `stall_ms`, writers wait for as long, and that is told.
//! - READY-3 A write that is refused for want of space ends the time for which room is told.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

use crate::Error;
use crate::net::server::shared::Shared;

/// What was found is told again for so long.
const FRESH: Duration = Duration::from_millis(500);
/// Whoever asks waits for so long. Shorter than the time that probes are commonly given, one second.
const PATIENCE: Duration = Duration::from_millis(400);

/// Why writes are not taken.
#[derive(Clone, Debug)]
pub(crate) enum Unready {
    /// The server is about to end.
    Draining,
    /// Nothing becomes durable any more.
    Poisoned(Error),
    /// There is no space for a write.
    DiskFull(Error),
    /// A write would have waited for so long already.
    Stalled(Duration),
    /// A write would fail for another reason.
    Failing(Error),
}

impl Unready {
    fn from_error(error: Error) -> Unready {
        match error {
            Error::Closed => Unready::Draining,
            Error::Poisoned { .. } => Unready::Poisoned(error),
            Error::DiskFull { .. } => Unready::DiskFull(error),
            _ => Unready::Failing(error),
        }
    }

    /// One word for programs. Never changed; new ones may be added.
    pub(super) fn code(&self) -> &'static str {
        match self {
            Unready::Draining => "draining",
            Unready::Poisoned(_) => "poisoned",
            Unready::DiskFull(_) => "disk_full",
            Unready::Stalled(_) => "stalled",
            Unready::Failing(_) => "failing",
        }
    }
}

impl fmt::Display for Unready {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unready::Draining => f.write_str("the server is about to end"),
            Unready::Stalled(time) => write!(f, "writes have waited for {} s", time.as_secs()),
            Unready::Poisoned(error) | Unready::DiskFull(error) | Unready::Failing(error) => {
                error.fmt(f)
            }
        }
    }
}

/// What is known of it.
#[derive(Debug, Default)]
pub(crate) struct Readiness {
    is_draining: AtomicBool,
    trial: Mutex<Trial>,
    ended: Notify,
}

#[derive(Debug, Default)]
struct Trial {
    /// When the one began that runs.
    begun: Option<Instant>,
    /// What the last one found, and when.
    found: Option<(Instant, Result<(), Unready>)>,
}

impl Readiness {
    /// From now on nobody is to come in.
    pub(crate) fn drain(&self) {
        self.is_draining.store(true, Ordering::SeqCst);
    }

    /// Whether a write would be taken now.
    pub(crate) async fn judge(shared: &Arc<Shared>) -> Result<(), Unready> {
        let this = &shared.readiness;
        if this.is_draining.load(Ordering::SeqCst) {
            return Err(Unready::Draining);
        }
        let store = shared.service.store();
        if let Some(error) = store.poisoned() {
            return Err(Unready::Poisoned(error));
        }
        let stall = shared.limits.stall;
        if let Some(time) = store.flushing_for().filter(|time| *time >= stall) {
            return Err(Unready::Stalled(time));
        }
        let ended = this.ended.notified();
        tokio::pin!(ended);
        ended.as_mut().enable();
        if let Some(found) = this.fresh_or_begin(shared) {
            return found;
        }
        let _ = timeout(PATIENCE, ended).await;
        let trial = this.trial.lock();
        match (trial.begun.map(|begun| begun.elapsed()), &trial.found) {
            (Some(time), _) if time >= stall => Err(Unready::Stalled(time)),
            (_, Some((_, found))) => found.clone(),
            (_, None) => Ok(()),
        }
    }

    /// What was found a moment ago; otherwise sees to it that a trial runs (READY-1).
    fn fresh_or_begin(&self, shared: &Arc<Shared>) -> Option<Result<(), Unready>> {
        let mut trial = self.trial.lock();
        if trial.begun.is_some() {
            return None;
        }
        let is_refuted = matches!(trial.found, Some((_, Ok(())))) && shared.service.is_short();
        if let Some((at, found)) = &trial.found
            && at.elapsed() < FRESH
            && !is_refuted
        {
            return Some(found.clone());
        }
        trial.begun = Some(Instant::now());
        let shared = Arc::clone(shared);
        tokio::task::spawn_blocking(move || {
            let found = shared.service.try_room().map_err(Unready::from_error);
            let this = &shared.readiness;
            *this.trial.lock() = Trial { begun: None, found: Some((Instant::now(), found)) };
            this.ended.notify_waiters();
        });
        None
    }
}
