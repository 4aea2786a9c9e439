//! How long to wait before the next try.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use super::options::ClientOptions;

/// Doubles from the least to the longest time, each drawn between a half and the whole of it: a
/// thousand clients that lost the same server do not come back as one.
#[derive(Debug)]
pub(super) struct Backoff {
    next: Duration,
    max: Duration,
}

impl Backoff {
    pub(super) fn new(options: &ClientOptions) -> Backoff {
        Backoff { next: options.backoff_min, max: options.backoff_max }
    }

    /// The time to wait now.
    pub(super) fn next(&mut self) -> Duration {
        let whole = self.next;
        self.next = whole.saturating_mul(2).min(self.max);
        // The hasher's random keys differ for each call: chance enough for this.
        let chance = RandomState::new().hash_one(0) >> 32;
        let half = whole / 2;
        half.saturating_add(half.mul_f64(chance as f64 / f64::from(u32::MAX)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_double_up_to_a_limit_and_are_drawn() {
        let ms = Duration::from_millis;
        let options = ClientOptions::default().backoff(ms(8), ms(50));
        let mut backoff = Backoff::new(&options);
        for whole in [8, 16, 32, 50, 50] {
            let time = backoff.next();
            assert!(ms(whole) / 2 <= time && time <= ms(whole), "{time:?} of {whole} ms");
        }
        let times: Vec<_> = (0..20).map(|_| backoff.next()).collect();
        assert!(times.iter().any(|time| *time != times[0]));
    }

    #[test]
    fn times_of_any_length_are_taken() {
        let options = ClientOptions::default().backoff(Duration::MAX, Duration::MAX);
        let mut backoff = Backoff::new(&options);
        (0..3).for_each(|_| assert!(backoff.next() >= Duration::MAX / 2));
    }
}
