//! Deadlines of calls.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::error::{Error, Result};

/// Longer than any process lives: 30 years.
const LONGEST: Duration = Duration::from_secs(30 * 365 * 24 * 3600);
/// The grace after a deadline: one eighth of the time, and its bounds.
const GRACE_PART: u32 = 8;
const GRACE_MIN: Duration = Duration::from_millis(50);
const GRACE_MAX: Duration = Duration::from_secs(1);

/// The deadline of a call, if it has one.
///
/// Server and client both enforce it. The client waits a little longer, since only the server can say
/// whether a write that was given up is in the log.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deadline(Option<Limit>);

#[derive(Clone, Copy, Debug)]
struct Limit {
    after: Duration,
    until: Instant,
}

impl Deadline {
    /// No deadline.
    pub(super) const NONE: Deadline = Deadline(None);

    /// A deadline `timeout` from now.
    pub(super) fn within(timeout: Option<Duration>) -> Deadline {
        Deadline(timeout.map(|after| Limit { after, until: moment(after) }))
    }

    /// The remaining milliseconds, for the server: at least 1, or 0 for no deadline.
    pub(super) fn on_wire(&self) -> u32 {
        let Some(limit) = self.0 else { return 0 };
        let left = limit.until.saturating_duration_since(Instant::now());
        u32::try_from(left.as_millis()).unwrap_or(u32::MAX).max(1)
    }

    /// Whether it will have passed after `pause`.
    pub(super) fn is_over_after(&self, pause: Duration) -> bool {
        self.0.is_some_and(|limit| limit.until <= moment(pause))
    }

    /// The deadline, or the moment after `patience` if that comes first.
    pub(super) fn at_most(&self, patience: Duration) -> Instant {
        let patience = moment(patience);
        self.0.map_or(patience, |limit| limit.until.min(patience))
    }

    /// How long to wait for an answer that is asked for now, and the error after that time.
    pub(super) fn patience(timeout: Option<Duration>) -> Option<(Duration, Error)> {
        timeout.map(|after| (with_grace(after), Error::TimedOut { after }))
    }

    /// Waits for `work` that precedes the sending of a request.
    ///
    /// # Errors
    /// That of `work`, or [`Error::NotSent`] at the deadline.
    pub(super) async fn before_sending<T>(
        &self,
        work: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let Some(Limit { after, until }) = self.0 else { return work.await };
        let late = |_| Error::NotSent { reason: format!("there was no room for it in {after:?}") };
        timeout_at(until, work).await.map_err(late)?
    }

    /// Waits for an answer, with the grace.
    ///
    /// # Errors
    /// [`Error::TimedOut`] after it.
    pub(super) async fn for_answer<T>(&self, work: impl Future<Output = T>) -> Result<T> {
        let Some(Limit { after, until }) = self.0 else { return Ok(work.await) };
        let grace = with_grace(after).saturating_sub(after);
        timeout_at(until + grace, work).await.map_err(|_| Error::TimedOut { after })
    }
}

fn with_grace(time: Duration) -> Duration {
    let time = time.min(LONGEST);
    time + (time / GRACE_PART).clamp(GRACE_MIN, GRACE_MAX)
}

/// The moment after `time`, which may be too long for the clock: 30 years are enough.
pub(super) fn moment(time: Duration) -> Instant {
    Instant::now() + time.min(LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn client_waits_longer_for_an_answer_than_the_server_knows() {
        let ms = Duration::from_millis;
        for (timeout, grace) in [(100, 50), (8_000, 1_000), (1_600, 200), (30_000, 1_000)] {
            let (begun, deadline) = (Instant::now(), Deadline::within(Some(ms(timeout))));
            assert_eq!(deadline.on_wire(), timeout as u32);
            let late = deadline.for_answer(std::future::pending::<()>()).await.unwrap_err();
            assert!(matches!(late, Error::TimedOut { after } if after == ms(timeout)), "{late}");
            assert_eq!(begun.elapsed(), ms(timeout + grace));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn any_time_may_be_a_deadline() {
        for timeout in [Duration::ZERO, Duration::MAX] {
            let deadline = Deadline::within(Some(timeout));
            assert!(deadline.on_wire() > 0);
            assert_eq!(deadline.for_answer(async { 1 }).await.unwrap(), 1);
        }
        assert_eq!(Deadline::NONE.on_wire(), 0);
        assert!(!Deadline::NONE.is_over_after(Duration::MAX));
    }
}
