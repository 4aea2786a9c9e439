//! Readiness: whether a write would be accepted now.
//!
//! A disk that was full, or a device that was stalled, does not report its recovery: only a write finds
//! out. So a probe starts a trial, in which a thread does what a write does before it is appended. It
//! waits for back-pressure, and reserves log, blocks and frames, as the next write would.
//!
//! A trial is for a small write. Once a write was refused for want of space, it is for one of that size,
//! up to 1 MiB, until that fits. So `disk_full` may be reported while smaller writes are still accepted,
//! but is always reported while larger ones are refused.
//!
//! - READY-1 At most one trial runs at a time, however many probes come and however long it takes.
//! - READY-2 A result is reported for [`FRESH`]. While a trial runs, the last result is reported; once it
//!   has run for `stall_ms`, writers wait as long, and a stall is reported.
//! - READY-3 A write that is refused for want of space ends the validity of a positive result.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

use crate::Error;
use crate::net::server::shared::Shared;

/// Validity of a result.
const FRESH: Duration = Duration::from_millis(500);
/// How long a probe waits for a trial: less than the usual timeout of probes, one second.
const PATIENCE: Duration = Duration::from_millis(400);

/// Why writes are not accepted.
#[derive(Clone, Debug)]
pub(crate) enum Unready {
    /// The server is stopping.
    Draining,
    /// A flush of the log has failed.
    Poisoned(Error),
    /// There is no space for a write.
    DiskFull(Error),
    /// Writes have waited for this time already.
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

    /// A stable code for programs. Codes may be added, and never change.
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
            Unready::Draining => f.write_str("the server is stopping"),
            Unready::Stalled(time) => write!(f, "writes have waited for {} s", time.as_secs()),
            Unready::Poisoned(error) | Unready::DiskFull(error) | Unready::Failing(error) => {
                error.fmt(f)
            }
        }
    }
}

/// The state of trials and drain.
#[derive(Debug, Default)]
pub(crate) struct Readiness {
    is_draining: AtomicBool,
    trial: Mutex<Trial>,
    ended: Notify,
}

#[derive(Debug, Default)]
struct Trial {
    /// When the running trial began.
    begun: Option<Instant>,
    /// The last result, with its time.
    found: Option<(Instant, Result<(), Unready>)>,
}

impl Readiness {
    /// Makes the server unready, for the drain.
    pub(crate) fn drain(&self) {
        self.is_draining.store(true, Ordering::SeqCst);
    }

    /// Whether a write would be accepted now.
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

    /// The last result if it is valid; otherwise begins a trial, unless one runs (READY-1).
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
