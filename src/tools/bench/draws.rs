//! Random draws of rows, and the random order of cases.
//!
//! | draw | rows |
//! |---|---|
//! | uniform | each as likely as any other |
//! | zipfian | row of rank `i` with a probability proportional to `1 / (i + 1)^0.99` |
//! | latest | the same, ranks counted back from the newest row |
//!
//! Zipfian draws follow Gray and others, "Quickly generating billion-record synthetic databases"
//! (1994), as YCSB does, with its constant 0.99. A draw costs one power, about 45 ns. The exact draws
//! of the crate `rand_distr` take eight times as long, which would slow the measured loop.
//! YCSB scrambles the ranks by a hash, so that popular rows do not lie side by side; here the keys
//! do that, which are at random places of the key order (`rows`). Insertions do not change the
//! popularity of the first rows: YCSB recomputes it with each one, to the same effect.

use super::rows::split_mix_64;

/// A random generator for one thread.
#[derive(Clone, Debug)]
pub(super) struct Chance {
    state: u64,
}

impl Chance {
    /// Each `thread`, or purpose, has its own sequence.
    pub(super) fn new(seed: u64, thread: usize) -> Chance {
        Chance { state: split_mix_64(seed) ^ ((thread as u64) << 40) }
    }

    pub(super) fn word(&mut self) -> u64 {
        self.state = self.state.wrapping_add(1);
        split_mix_64(self.state)
    }

    /// Below `limit`.
    pub(super) fn below(&mut self, limit: u64) -> u64 {
        // The high half of the product: a draw without a division.
        ((u128::from(self.word()) * u128::from(limit)) >> 64) as u64
    }

    /// From 0 to 1, without 1.
    pub(super) fn unit(&mut self) -> f64 {
        (self.word() >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// The order of a round (BENCH-1): the same in each run, by the shuffle of Fisher and Yates.
pub(super) fn shuffled(cases: usize, round: u32, seed: u64) -> Vec<usize> {
    let mut chance = Chance::new(seed, round as usize);
    let mut order: Vec<usize> = (0..cases).collect();
    for last in (1..cases).rev() {
        order.swap(last, chance.below(last as u64 + 1) as usize);
    }
    order
}

/// YCSB's constant.
const THETA: f64 = 0.99;

/// A zipfian distribution over a number of ranks. Making it takes one pass over them.
#[derive(Clone, Debug)]
pub(super) struct Zipfian {
    ranks: u64,
    zeta: f64,
    alpha: f64,
    eta: f64,
    /// The probability of the second rank, relative to the first.
    half: f64,
}

impl Zipfian {
    pub(super) fn new(ranks: u64) -> Zipfian {
        assert!(ranks > 0, "something can be drawn");
        let zeta_of = |ranks: u64| (1..=ranks).map(|rank| (rank as f64).powf(-THETA)).sum::<f64>();
        let zeta = zeta_of(ranks);
        let eta = (1.0 - (2.0 / ranks as f64).powf(1.0 - THETA)) / (1.0 - zeta_of(2) / zeta);
        Zipfian { ranks, zeta, alpha: 1.0 / (1.0 - THETA), eta, half: 0.5f64.powf(THETA) }
    }

    /// A rank; 0 is the most likely one.
    pub(super) fn rank(&self, chance: &mut Chance) -> u64 {
        let unit = chance.unit();
        let scaled = unit * self.zeta;
        if scaled < 1.0 {
            return 0;
        }
        if scaled < 1.0 + self.half {
            return 1.min(self.ranks - 1);
        }
        let rank = self.ranks as f64 * (self.eta * unit - self.eta + 1.0).powf(self.alpha);
        (rank as u64).min(self.ranks - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uniform_draws_reach_every_row_about_as_often() {
        let mut chance = Chance::new(1, 0);
        let mut seen = [0u32; 10];
        for _ in 0..10_000 {
            seen[chance.below(10) as usize] += 1;
        }
        assert!(seen.iter().all(|count| (850..1150).contains(count)), "{seen:?}");
        let (mut one, mut other) = (Chance::new(1, 0), Chance::new(1, 1));
        assert!((0..100).all(|_| one.word() != other.word()));
    }

    #[test]
    fn zipfian_draws_have_the_known_probabilities() {
        const DRAWS: u32 = 400_000;
        let zipfian = Zipfian::new(1000);
        let mut chance = Chance::new(7, 0);
        let mut seen = vec![0u32; 1000];
        for _ in 0..DRAWS {
            seen[zipfian.rank(&mut chance) as usize] += 1;
        }
        let share = |ranks: &[u32]| f64::from(ranks.iter().sum::<u32>()) / f64::from(DRAWS);
        let zeta: f64 = (1..=1000).map(|rank| f64::from(rank).powf(-THETA)).sum();
        // The first two ranks are exact, the others an approximation: checked in sum.
        assert!((share(&seen[..1]) - 1.0 / zeta).abs() < 0.005, "{:?}", &seen[..4]);
        assert!((share(&seen[1..2]) - 0.5f64.powf(THETA) / zeta).abs() < 0.005, "{:?}", &seen[..4]);
        let head: f64 = (1..=100).map(|rank| f64::from(rank).powf(-THETA)).sum();
        let found = share(&seen[..100]);
        assert!((found - head / zeta).abs() < 0.02, "{found} against {}", head / zeta);
        assert!(seen[999] > 0 || seen[998] > 0 || seen[997] > 0, "the tail is reached");
    }

    #[test]
    fn zipfian_draws_stay_within_few_ranks() {
        for ranks in 1..5 {
            let zipfian = Zipfian::new(ranks);
            let mut chance = Chance::new(3, 0);
            assert!((0..1000).all(|_| zipfian.rank(&mut chance) < ranks), "{ranks} ranks");
        }
    }
}
