//! A rate limit for log lines that clients could cause at will.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// A token bucket: admits `burst` lines at once, then one per `every`. Counts suppressed lines.
#[derive(Debug)]
pub(crate) struct LogLimiter {
    burst: u32,
    every: Duration,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Lines that may still come at once.
    left: u32,
    /// When `left` was last refilled.
    refilled: Instant,
    suppressed: u64,
}

impl LogLimiter {
    pub(crate) fn new(burst: u32, every: Duration) -> LogLimiter {
        let state = State { left: burst, refilled: Instant::now(), suppressed: 0 };
        LogLimiter { burst, every, state: Mutex::new(state) }
    }

    /// The number of lines suppressed since the last admitted one; `None` if this line is suppressed
    /// too.
    pub(crate) fn admit(&self) -> Option<u64> {
        let mut state = self.state.lock();
        let passed = state.refilled.elapsed().as_nanos() / self.every.as_nanos().max(1);
        if passed > 0 {
            let more = u32::try_from(passed).unwrap_or(u32::MAX);
            state.left = state.left.saturating_add(more).min(self.burst);
            state.refilled += self.every.saturating_mul(more);
        }
        if state.left == 0 {
            state.suppressed += 1;
            return None;
        }
        state.left -= 1;
        Some(std::mem::take(&mut state.suppressed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_burst_of_lines_is_admitted_and_then_one_per_period() {
        let limiter = LogLimiter::new(3, Duration::from_secs(1));
        let admit = |times: usize| (0..times).map(|_| limiter.admit()).collect::<Vec<_>>();
        assert_eq!(admit(5), [Some(0), Some(0), Some(0), None, None]);
        tokio::time::sleep(Duration::from_millis(1100)).await;
        assert_eq!(admit(2), [Some(2), None]);
        tokio::time::sleep(Duration::from_secs(3600)).await;
        assert_eq!(admit(4), [Some(1), Some(0), Some(0), None]);
    }
}
