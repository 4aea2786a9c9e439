//! What the store says of itself, and what the system says of its files.

use std::path::Path;

use super::sheet::{Sheet, bytes, plain, seconds};
use crate::Stats;
use crate::net::server::shared::Shared;

pub(super) fn fill(sheet: &mut Sheet<'_>, shared: &Shared) {
    let store = shared.service.store();
    let stats = store.stats();
    state(sheet, &stats, store.is_poisoned());
    commits(sheet, &stats);
    log(sheet, &stats, store.flushing_for());
    pages(sheet, &stats);
    recovery(sheet, &stats);
    files(sheet, &stats, Path::new(&store.directory()));
}

fn state(sheet: &mut Sheet<'_>, stats: &Stats, is_poisoned: bool) {
    let marks = stats.watermarks;
    sheet.gauge(
        plain(
            "poisoned",
            "1 after a failed flush: reads go on, every write is refused until the server is \
             started anew.",
        ),
        u64::from(is_poisoned),
    );
    sheet.gauge(
        plain(
            "incarnation",
            "The number of this life of the store: one more after each start that wrote.",
        ),
        u64::from(marks.incarnation.get()),
    );
    sheet.gauge(plain("keyspaces", "Keyspaces, the server's own included."), stats.keyspaces);
    sheet.gauges(
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

fn commits(sheet: &mut Sheet<'_>, stats: &Stats) {
    sheet.counters(
        plain(
            "commits",
            "Commits, by whether their caller waits for the device before it is answered.",
        ),
        [("sync", stats.sync_commits), ("async", stats.async_commits)]
            .map(|(mode, count)| (vec![("mode", mode)], count)),
    );
    sheet.counter(plain("operations", "Puts and deletes in all commits."), stats.operations);
    sheet.counter(
        bytes("user_written", "Bytes of keys and values that were committed."),
        stats.user_bytes_written,
    );
    sheet.histogram(
        seconds(
            "stall_duration",
            "Time that a writer was made to wait: for the device because too much is unsynced, for \
             space in the log, for a checkpoint, by back-pressure.",
        ),
        &stats.stalls,
    );
}

fn log(sheet: &mut Sheet<'_>, stats: &Stats, flushing_for: Option<std::time::Duration>) {
    sheet.counter(
        bytes("log_written", "Bytes that were appended to the log, headers included."),
        stats.log_bytes_written,
    );
    sheet.histogram(
        seconds("flush_duration", "Time that a flush of the log took at the device."),
        &stats.flush_durations,
    );
    sheet.gauge(
        seconds(
            "flush_running",
            "How long the flush that is at the device has been there; 0 if none is.",
        ),
        flushing_for.unwrap_or_default().as_secs_f64(),
    );
    sheet.histogram(
        seconds("checkpoint_duration", "Time that a checkpoint took, while commits went on."),
        &stats.checkpoint_durations,
    );
}

fn pages(sheet: &mut Sheet<'_>, stats: &Stats) {
    sheet.counter(
        plain("cache_hits", "Pages that were looked for and in memory."),
        stats.cache_hits,
    );
    sheet.counter(
        plain("cache_misses", "Pages that had to be read from the data file."),
        stats.cache_misses,
    );
    sheet.counter(plain("cache_evictions", "Pages that left memory for others."), stats.evictions);
    sheet.gauge(plain("cache_frames", "Pages that fit in memory."), stats.cache_frames);
    sheet.gauge(
        plain("cache_dirty_pages", "Pages that were changed in memory and not written yet."),
        stats.dirty_pages,
    );
    sheet.gauge(
        plain("old_versions", "Versions of pages that are kept for snapshots and streams."),
        stats.old_versions,
    );
    sheet.counter(
        bytes("data_written", "Bytes that were written to the data file."),
        stats.data_bytes_written,
    );
}

fn recovery(sheet: &mut Sheet<'_>, stats: &Stats) {
    let recovery = &stats.recovery;
    sheet.gauge(
        seconds("recovery_duration", "Time that opening the store took."),
        recovery.duration.as_secs_f64(),
    );
    sheet.gauge(
        plain(
            "recovery_clean",
            "1 if the store had been closed before it was opened, 0 if it had to be recovered.",
        ),
        u64::from(recovery.was_clean),
    );
    sheet.gauge(
        plain("recovery_replayed_commits", "Commits that opening the store replayed."),
        recovery.records_replayed,
    );
    sheet.gauge(
        bytes("recovery_replayed", "Bytes of log that opening the store replayed."),
        recovery.bytes_replayed,
    );
    sheet.gauge(
        bytes(
            "recovery_cut",
            "Bytes at the end of the log that had never been flushed and were cut off.",
        ),
        recovery.bytes_cut,
    );
}

/// Of a store that is no directory only the first is known.
fn files(sheet: &mut Sheet<'_>, stats: &Stats, directory: &Path) {
    sheet.gauge(bytes("data_file", "The length of the data file."), stats.data_file_bytes);
    if let Some(free) = stats.data_free_bytes {
        sheet
            .gauge(bytes("data_free", "Bytes of the data file that are free for new pages."), free);
    }
    if let Some(log) = log_file_bytes(directory) {
        sheet.gauge(bytes("log_files", "What the files of the log take on the disk."), log);
    }
    #[cfg(unix)]
    if let Ok(disk) = rustix::fs::statvfs(directory) {
        sheet.gauge(
            bytes("disk_available", "Bytes of the file system that the store may still take."),
            disk.f_bavail.saturating_mul(disk.f_frsize),
        );
        sheet.gauge(
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
            // One that has just been renamed or removed is counted at the next scrape.
            bytes += entry.metadata().map_or(0, |file| on_disk(&file));
        }
    }
    Some(bytes)
}

#[cfg(unix)]
fn on_disk(file: &std::fs::Metadata) -> u64 {
    use std::os::unix::fs::MetadataExt;
    const BLOCK: u64 = 512; // whatever the file system's own is
    file.blocks() * BLOCK
}

#[cfg(not(unix))]
fn on_disk(file: &std::fs::Metadata) -> u64 {
    file.len()
}
