//! When a call must be over.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::error::{Error, Result};

/// Longer than any process lives: 30 years.
const LONGEST: Duration = Duration::from_secs(30 * 365 * 24 * 3600);
/// How much longer than its deadline an answer is waited for, as a part of it, and the bounds of that.
const GRACE_PART: u32 = 8;
const GRACE_MIN: Duration = Duration::from_millis(50);
const GRACE_MAX: Duration = Duration::from_secs(1);

/// The deadline of a call, if it has one.
///
/// Server and client both watch it, and the client waits a little longer: only the server can say
/// whether a write that was given up is in the log.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deadline(Option<Limit>);

#[derive(Clone, Copy, Debug)]
struct Limit {
    after: Duration,
    until: Instant,
}

impl Deadline {
    /// None.
    pub(super) const NONE: Deadline = Deadline(None);

    /// The time that begins now.
    pub(super) fn within(timeout: Option<Duration>) -> Deadline {
        Deadline(timeout.map(|after| Limit { after, until: moment(after) }))
    }

    /// What is left of it, as it is told to the server: at least a millisecond, or 0 for no limit.
    pub(super) fn on_wire(&self) -> u32 {
        let Some(limit) = self.0 else { return 0 };
        let left = limit.until.saturating_duration_since(Instant::now());
        u32::try_from(left.as_millis()).unwrap_or(u32::MAX).max(1)
    }

    /// Whether it will be over when `pause` is.
    pub(super) fn is_over_after(&self, pause: Duration) -> bool {
        self.0.is_some_and(|limit| limit.until <= moment(pause))
    }

    /// The moment when it is over, and at the latest when `patience` is.
    pub(super) fn at_most(&self, patience: Duration) -> Instant {
        let patience = moment(patience);
        self.0.map_or(patience, |limit| limit.until.min(patience))
    }

    /// How long an answer is waited for that was asked for now, if there is a limit, and what to say
    /// when it is over.
    pub(super) fn patience(timeout: Option<Duration>) -> Option<(Duration, Error)> {
        timeout.map(|after| (with_grace(after), Error::TimedOut { after }))
    }

    /// Waits for something that comes before a request is sent.
    ///
    /// # Errors
    /// Its own, or [`Error::NotSent`] when the time is up.
    pub(super) async fn before_sending<T>(
        &self,
        work: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let Some(Limit { after, until }) = self.0 else { return work.await };
        let late = |_| Error::NotSent { reason: format!("there was no room for it in {after:?}") };
        timeout_at(until, work).await.map_err(late)?
    }

    /// Waits for an answer, a little longer than the server was told.
    ///
    /// # Errors
    /// [`Error::TimedOut`] when that time is up.
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

/// The moment when `time` is over. A time too long to be added to the clock is a very long one.
pub(super) fn moment(time: Duration) -> Instant {
    Instant::now() + time.min(LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn answer_is_waited_for_a_little_longer_than_the_server_is_told() {
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
