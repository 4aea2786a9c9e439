//! What the system says of the process, under the names that Prometheus' libraries use. Linux only:
//! elsewhere these figures are absent.

use super::sheet::Sheet;
use crate::net::server::shared::Shared;

#[cfg(not(target_os = "linux"))]
pub(super) fn fill(_: &mut Sheet<'_>, _: &Shared) {}

#[cfg(target_os = "linux")]
pub(super) fn fill(sheet: &mut Sheet<'_>, _: &Shared) {
    use super::sheet::{bytes, plain, seconds};
    use rustix::param::{clock_ticks_per_second, page_size};
    use rustix::process::{Resource, getrlimit};
    if let Ok(entries) = std::fs::read_dir("/proc/self/fd") {
        // The one that the list is read through is not counted.
        let open = entries.count().saturating_sub(1) as u64;
        sheet.gauge(plain("process_open_fds", "Descriptors that are open."), open);
    }
    if let Some(limit) = getrlimit(Resource::Nofile).current {
        sheet.gauge(plain("process_max_fds", "Descriptors that may be open."), limit);
    }
    let Some(stat) = std::fs::read_to_string("/proc/self/stat").ok() else { return };
    let Some(figures) = Figures::of(&stat) else { return };
    let ticks = clock_ticks_per_second() as f64;
    sheet.counter(
        seconds(
            "process_cpu",
            "Processor time that the process has used, its own and the system's for it.",
        ),
        figures.cpu_ticks as f64 / ticks,
    );
    sheet.gauge(
        bytes(
            "process_resident_memory",
            "Memory that the process has, the cache and the mapped log included.",
        ),
        figures.resident_pages * page_size() as u64,
    );
    sheet.gauge(
        bytes("process_virtual_memory", "Addresses that the process has."),
        figures.virtual_bytes,
    );
    sheet.gauge(plain("process_threads", "Threads of the process."), figures.threads);
    if let Some(booted) = booted() {
        sheet.gauge(
            seconds("process_start_time", "When the process began, since 1970."),
            booted + figures.start_ticks as f64 / ticks,
        );
    }
}

/// When the machine began, in seconds since 1970.
#[cfg(target_os = "linux")]
fn booted() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/stat").ok()?;
    stat.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}

/// What is taken from `/proc/self/stat`.
#[cfg(target_os = "linux")]
#[derive(Debug, PartialEq, Eq)]
struct Figures {
    cpu_ticks: u64,
    threads: u64,
    start_ticks: u64,
    virtual_bytes: u64,
    resident_pages: u64,
}

#[cfg(target_os = "linux")]
impl Figures {
    fn of(stat: &str) -> Option<Figures> {
        // The second field is the program's name in brackets, which may contain anything.
        let (_, rest) = stat.rsplit_once(')')?;
        let fields: Vec<&str> = rest.split_whitespace().collect();
        // By its number in proc(5), of which the first after the name is 3.
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        Some(Figures {
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
        let figures = Figures {
            cpu_ticks: 110,
            threads: 9,
            start_ticks: 1234,
            virtual_bytes: 4096,
            resident_pages: 33,
        };
        assert_eq!(Figures::of(stat), Some(figures));
        assert_eq!(Figures::of("7 (a) S 1 2"), None);
        assert_eq!(Figures::of(""), None);
    }
}
