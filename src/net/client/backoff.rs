//! The back-off: pauses between tries.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};

use super::options::ClientOptions;

/// Pauses without end. Each doubles, from the least to the longest, and is drawn between its half and
/// its whole: a thousand clients that lost the same server do not come back at one moment.
pub(super) fn pauses(options: &ClientOptions) -> impl Iterator<Item = Duration> + use<> {
    // The crate's jitter adds up to the whole of a pause. So it gets the halves.
    ExponentialBuilder::new()
        .with_min_delay(options.backoff_min / 2)
        .with_max_delay(options.backoff_max / 2)
        .with_jitter()
        .without_max_times()
        .build()
}

/// Waits for the next of them.
pub(super) async fn pause(pauses: &mut impl Iterator<Item = Duration>) {
    tokio::time::sleep(pauses.next().expect("pauses without end")).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_limit_with_jitter() {
        let ms = Duration::from_millis;
        let options = ClientOptions::default().backoff(ms(8), ms(50));
        let mut pauses = pauses(&options);
        for whole in [8, 16, 32, 50, 50] {
            let pause = pauses.next().unwrap();
            assert!(ms(whole) / 2 <= pause && pause <= ms(whole), "{pause:?} of {whole} ms");
        }
        let rest: Vec<_> = pauses.take(20).collect();
        assert!(rest.iter().any(|pause| *pause != rest[0]));
    }

    #[test]
    fn pauses_may_have_any_length() {
        for min in [Duration::ZERO, Duration::from_nanos(1), Duration::MAX] {
            let options = ClientOptions::default().backoff(min, Duration::MAX);
            assert!(pauses(&options).take(200).all(|pause| pause >= min / 2));
        }
    }
}
