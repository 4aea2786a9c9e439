//! The cache's counters, striped: threads that count at once use different cache lines.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

const STRIPES: usize = 16;

#[derive(Debug, Default)]
#[repr(align(128))]
struct Stripe {
    hits: AtomicU64,
    misses: AtomicU64,
    evictions: AtomicU64,
    pages_written: AtomicU64,
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    stripes: [Stripe; STRIPES],
}

/// Sums of the counters, and the state of the frames.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct CacheStats {
    pub(crate) hits: u64,
    pub(crate) misses: u64,
    pub(crate) evictions: u64,
    pub(crate) pages_written: u64,
    pub(crate) frames: u64,
    pub(crate) dirty_pages: u64,
    pub(crate) old_versions: u64,
}

impl Counters {
    pub(crate) fn hit(&self, pages: u64) {
        // No atomic add: a stripe is nearly always one thread's own, and a lost count does no harm.
        let hits = &self.stripe().hits;
        hits.store(hits.load(Ordering::Relaxed) + pages, Ordering::Relaxed);
    }

    pub(crate) fn miss(&self) {
        self.stripe().misses.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn evicted(&self) {
        self.stripe().evictions.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn wrote(&self, pages: u64) {
        self.stripe().pages_written.fetch_add(pages, Ordering::Relaxed);
    }

    pub(crate) fn sum(&self) -> CacheStats {
        let mut sum = CacheStats::default();
        for stripe in &self.stripes {
            sum.hits += stripe.hits.load(Ordering::Relaxed);
            sum.misses += stripe.misses.load(Ordering::Relaxed);
            sum.evictions += stripe.evictions.load(Ordering::Relaxed);
            sum.pages_written += stripe.pages_written.load(Ordering::Relaxed);
        }
        sum
    }

    fn stripe(&self) -> &Stripe {
        thread_local!(static MINE: Cell<usize> = const { Cell::new(usize::MAX) });
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        // Fails while the thread ends.
        let mine = MINE.try_with(|mine| {
            if mine.get() == usize::MAX {
                mine.set(NEXT.fetch_add(1, Ordering::Relaxed) % STRIPES);
            }
            mine.get()
        });
        let mine = mine.unwrap_or(0);
        &self.stripes[mine]
    }
}
