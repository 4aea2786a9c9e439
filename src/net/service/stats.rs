//! The store's figures, by name.

use crate::Stats;
use crate::net::proto::{Figures, Marks, Text};

/// The figures of the store. Names never change; new ones may be added.
pub(crate) fn figures(marks: Marks, stats: &Stats) -> Figures<'static> {
    let figures = named(stats).map(|(name, value)| (Text::from(name), value));
    Figures { marks, figures: figures.collect() }
}

fn named(stats: &Stats) -> impl Iterator<Item = (&'static str, u64)> {
    [
        ("sync_commits", stats.sync_commits),
        ("async_commits", stats.async_commits),
        ("operations", stats.operations),
        ("flushes", stats.flushes),
        ("cache_hits", stats.cache_hits),
        ("cache_misses", stats.cache_misses),
        ("cache_frames", stats.cache_frames),
        ("dirty_pages", stats.dirty_pages),
        ("old_versions", stats.old_versions),
        ("evictions", stats.evictions),
        ("log_bytes_written", stats.log_bytes_written),
        ("data_bytes_written", stats.data_bytes_written),
        ("data_file_bytes", stats.data_file_bytes),
        ("user_bytes_written", stats.user_bytes_written),
        ("checkpoints", stats.checkpoints),
        ("keyspaces", stats.keyspaces),
    ]
    .into_iter()
}
