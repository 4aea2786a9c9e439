//! Lines of the log that somebody else could bring about at will: a few, then one now and then.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// Lets a few through at once, and then one in a time. Counts those that it does not.
#[derive(Debug)]
pub(crate) struct Seldom {
    burst: u32,
    every: Duration,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// How many may still come at once.
    left: u32,
    /// Since when there is one more for each time that passes.
    since: Instant,
    kept_back: u64,
}

impl Seldom {
    pub(crate) fn new(burst: u32, every: Duration) -> Seldom {
        let state = State { left: burst, since: Instant::now(), kept_back: 0 };
        Seldom { burst, every, state: Mutex::new(state) }
    }

    /// How many were kept back since the last one that was let through; `None` if this one is
    /// kept back as well.
    pub(crate) fn pass(&self) -> Option<u64> {
        let mut state = self.state.lock();
        let passed = state.since.elapsed().as_nanos() / self.every.as_nanos().max(1);
        if passed > 0 {
            let more = u32::try_from(passed).unwrap_or(u32::MAX);
            state.left = state.left.saturating_add(more).min(self.burst);
            state.since += self.every.saturating_mul(more);
        }
        if state.left == 0 {
            state.kept_back += 1;
            return None;
        }
        state.left -= 1;
        Some(std::mem::take(&mut state.kept_back))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_few_are_let_through_and_then_one_in_a_time() {
        let seldom = Seldom::new(3, Duration::from_secs(1));
        let pass = |times: usize| (0..times).map(|_| seldom.pass()).collect::<Vec<_>>();
        assert_eq!(pass(5), [Some(0), Some(0), Some(0), None, None]);
        tokio::time::sleep(Duration::from_millis(1100)).await;
        assert_eq!(pass(2), [Some(2), None]);
        tokio::time::sleep(Duration::from_secs(3600)).await;
        assert_eq!(pass(4), [Some(1), Some(0), Some(0), None]);
    }
}
