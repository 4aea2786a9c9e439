//! Metrics of the store and of its files.

use std::path::Path;

use super::writer::{MetricsWriter, bytes, plain, seconds};
use crate::Stats;
use crate::net::server::shared::Shared;

pub(super) fn fill(writer: &mut MetricsWriter<'_>, shared: &Shared) {
    let store = shared.service.store();
    let stats = store.stats();
    state(writer, &stats, store.is_poisoned());
    commits(writer, &stats);
    log(writer, &stats, store.flushing_for());
    pages(writer, &stats);
    recovery(writer, &stats);
    files(writer, &stats, Path::new(&store.directory()));
}

fn state(writer: &mut MetricsWriter<'_>, stats: &Stats, is_poisoned: bool) {
    let marks = stats.watermarks;
    writer.gauge(
        plain(
            "poisoned",
            "1 after a failed flush: reads go on, every write is refused until the server is \
             restarted.",
        ),
        u64::from(is_poisoned),
    );
    writer.gauge(
        plain("incarnation", "The incarnation of the store: one more after each start that wrote."),
        u64::from(marks.incarnation.get()),
    );
    writer.gauge(plain("keyspaces", "Keyspaces, the server's own included."), stats.keyspaces);
    writer.gauges(
        bytes(
            "position",
            "Positions in the log: commits up to there are in the log (appended), can be read \
             (visible), survive a power loss (durable), need no replay (checkpoint).",
        ),
        [
            ("appended", marks.appended),
            ("visible", marks.visible),
            ("durable", marks.durable),
            ("checkpoint", marks.checkpoint),
        ]
        .map(|(mark, lsn)| (vec![("mark", mark)], lsn.get())),
    );
}

fn commits(writer: &mut MetricsWriter<'_>, stats: &Stats) {
    writer.counters(
        plain("commits", "Commits, by whether their answer waits for the device."),
        [("sync", stats.sync_commits), ("async", stats.async_commits)]
            .map(|(mode, count)| (vec![("mode", mode)], count)),
    );
    writer.counter(plain("operations", "Puts and deletes in all commits."), stats.operations);
    writer.counter(
        bytes("user_written", "Bytes of keys and values that were committed."),
        stats.user_bytes_written,
    );
    writer.histogram(
        seconds(
            "stall_duration",
            "Time that a writer had to wait: for the device because too much is unsynced, for \
             space in the log, for a checkpoint, by back-pressure.",
        ),
        &stats.stalls,
    );
}

fn log(writer: &mut MetricsWriter<'_>, stats: &Stats, flushing_for: Option<std::time::Duration>) {
    writer.counter(
        bytes("log_written", "Bytes that were appended to the log, with headers."),
        stats.log_bytes_written,
    );
    writer.histogram(
        seconds("flush_duration", "Time that a flush of the log took at the device."),
        &stats.flush_durations,
    );
    writer.gauge(
        seconds(
            "flush_running",
            "Time since the running flush was sent to the device; 0 if none is running.",
        ),
        flushing_for.unwrap_or_default().as_secs_f64(),
    );
    writer.histogram(
        seconds("checkpoint_duration", "Time that a checkpoint took, while commits went on."),
        &stats.checkpoint_durations,
    );
}

fn pages(writer: &mut MetricsWriter<'_>, stats: &Stats) {
    writer.counter(
        plain("cache_hits", "Page lookups that found the page in memory."),
        stats.cache_hits,
    );
    writer.counter(
        plain("cache_misses", "Page lookups that read the page from the data file."),
        stats.cache_misses,
    );
    writer
        .counter(plain("cache_evictions", "Pages that were evicted from memory."), stats.evictions);
    writer.gauge(plain("cache_frames", "Pages that fit in memory."), stats.cache_frames);
    writer.gauge(
        plain(
            "cache_dirty_pages",
            "Pages that were changed in memory and are not written back yet.",
        ),
        stats.dirty_pages,
    );
    writer.gauge(
        plain("old_versions", "Versions of pages that are kept for snapshots and streams."),
        stats.old_versions,
    );
    writer.counter(
        bytes("data_written", "Bytes that were written to the data file."),
        stats.data_bytes_written,
    );
}

fn recovery(writer: &mut MetricsWriter<'_>, stats: &Stats) {
    let recovery = &stats.recovery;
    writer.gauge(
        seconds("recovery_duration", "Time that opening the store took."),
        recovery.duration.as_secs_f64(),
    );
    writer.gauge(
        plain(
            "recovery_clean",
            "1 if the store was closed before it was opened, 0 if it had to be recovered.",
        ),
        u64::from(recovery.was_clean),
    );
    writer.gauge(
        plain("recovery_replayed_commits", "Commits that recovery replayed."),
        recovery.records_replayed,
    );
    writer.gauge(
        bytes("recovery_replayed", "Bytes of log that recovery replayed."),
        recovery.bytes_replayed,
    );
    writer.gauge(
        bytes("recovery_cut", "Unflushed bytes at the end of the log that recovery cut off."),
        recovery.bytes_cut,
    );
}

/// For a store that is not in a directory only the first two are known.
fn files(writer: &mut MetricsWriter<'_>, stats: &Stats, directory: &Path) {
    writer.gauge(bytes("data_file", "The length of the data file."), stats.data_file_bytes);
    if let Some(free) = stats.data_free_bytes {
        writer.gauge(bytes("data_free", "Free bytes of the data file for new pages."), free);
    }
    if let Some(log) = log_file_bytes(directory) {
        writer.gauge(bytes("log_files", "Space of the log files on the disk."), log);
    }
    #[cfg(unix)]
    if let Ok(disk) = rustix::fs::statvfs(directory) {
        writer.gauge(
            bytes("disk_available", "Free bytes of the file system for the store."),
            disk.f_bavail.saturating_mul(disk.f_frsize),
        );
        writer.gauge(
            bytes("disk_size", "The size of the file system that the store is on."),
            disk.f_blocks.saturating_mul(disk.f_frsize),
        );
    }
}

fn log_file_bytes(directory: &Path) -> Option<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(directory).ok()? {
        let Ok(entry) = entry else { continue };
        if entry.file_name().to_string_lossy().starts_with("log-") {
            // A file that has just been renamed or removed is counted at the next scrape.
            bytes += entry.metadata().map_or(0, |file| on_disk(&file));
        }
    }
    Some(bytes)
}

#[cfg(unix)]
fn on_disk(file: &std::fs::Metadata) -> u64 {
    use std::os::unix::fs::MetadataExt;
    const BLOCK: u64 = 512; // of stat(2), for every file system
    file.blocks() * BLOCK
}

#[cfg(not(unix))]
fn on_disk(file: &std::fs::Metadata) -> u64 {
    file.len()
}
