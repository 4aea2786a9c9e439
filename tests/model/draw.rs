//! What is drawn beside plain numbers.

use crate::random::SplitMix64;

impl SplitMix64 {
    /// A number from `from` up to and without `to`, small ones as likely as large ones.
    pub(crate) fn spread(&mut self, from: u64, to: u64) -> u64 {
        let bits = u64::from((to / from.max(1)).max(2).ilog2()) + 1;
        let top = from.max(1) << self.below(bits);
        (from + self.below(top)).min(to - 1)
    }

    /// True once in `n` times.
    pub(crate) fn once_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    /// One of `items`, which are not empty.
    pub(crate) fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len() as u64) as usize]
    }
}
