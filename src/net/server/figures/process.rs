//! Metrics of the process, under the names that Prometheus' libraries use. Linux only: on other systems
//! they are absent.

use super::writer::MetricsWriter;
use crate::net::server::shared::Shared;

#[cfg(not(target_os = "linux"))]
pub(super) fn fill(_: &mut MetricsWriter<'_>, _: &Shared) {}

#[cfg(target_os = "linux")]
pub(super) fn fill(writer: &mut MetricsWriter<'_>, _: &Shared) {
    use super::writer::{bytes, plain, seconds};
    use rustix::param::{clock_ticks_per_second, page_size};
    use rustix::process::{Resource, getrlimit};
    if let Ok(entries) = std::fs::read_dir("/proc/self/fd") {
        // Without the descriptor of this directory itself.
        let open = entries.count().saturating_sub(1) as u64;
        writer.gauge(plain("process_open_fds", "Descriptors that are open."), open);
    }
    if let Some(limit) = getrlimit(Resource::Nofile).current {
        writer.gauge(plain("process_max_fds", "Descriptors that may be open."), limit);
    }
    let Some(stat) = std::fs::read_to_string("/proc/self/stat").ok() else { return };
    let Some(figures) = ProcStat::of(&stat) else { return };
    let ticks = clock_ticks_per_second() as f64;
    writer.counter(
        seconds("process_cpu", "Processor time of the process, in user and in system mode."),
        figures.cpu_ticks as f64 / ticks,
    );
    writer.gauge(
        bytes(
            "process_resident_memory",
            "Resident memory of the process, with the cache and the mapped log.",
        ),
        figures.resident_pages * page_size() as u64,
    );
    writer.gauge(
        bytes("process_virtual_memory", "Virtual memory of the process."),
        figures.virtual_bytes,
    );
    writer.gauge(plain("process_threads", "Threads of the process."), figures.threads);
    if let Some(booted) = booted() {
        writer.gauge(
            seconds("process_start_time", "Start time of the process, since 1970."),
            booted + figures.start_ticks as f64 / ticks,
        );
    }
}

/// The boot time, in seconds since 1970.
#[cfg(target_os = "linux")]
fn booted() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/stat").ok()?;
    stat.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}

/// The fields of `/proc/self/stat` that are used.
#[cfg(target_os = "linux")]
#[derive(Debug, PartialEq, Eq)]
struct ProcStat {
    cpu_ticks: u64,
    threads: u64,
    start_ticks: u64,
    virtual_bytes: u64,
    resident_pages: u64,
}

#[cfg(target_os = "linux")]
impl ProcStat {
    fn of(stat: &str) -> Option<ProcStat> {
        // The second field is the program's name in brackets, which may contain anything.
        let (_, rest) = stat.rsplit_once(')')?;
        let fields: Vec<&str> = rest.split_whitespace().collect();
        // By its number in proc(5), where the first one after the name has number 3.
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        Some(ProcStat {
            cpu_ticks: field(14)? + field(15)?,
            threads: field(20)?,
            start_ticks: field(22)?,
            virtual_bytes: field(23)?,
            resident_pages: field(24)?,
        })
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_behind_any_name() {
        let stat = "7 (a) (b) c) S 1 7 7 0 -1 4194560 1 2 3 4 50 60 7 8 20 0 9 0 1234 4096 33 5 6";
        let figures = ProcStat {
            cpu_ticks: 110,
            threads: 9,
            start_ticks: 1234,
            virtual_bytes: 4096,
            resident_pages: 33,
        };
        assert_eq!(ProcStat::of(stat), Some(figures));
        assert_eq!(ProcStat::of("7 (a) S 1 2"), None);
        assert_eq!(ProcStat::of(""), None);
    }
}
