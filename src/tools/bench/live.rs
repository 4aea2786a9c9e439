//! The progress of a run on a terminal, redrawn five times per second.
//!
//! ```text
//!   =================>-------------------------  17/50  2m
//!   round 2 of 5: commit put async, 2 threads
//!   1.23 M/s   p99 4.10 us
//!   log  ==========================d................v|  123 MiB, 1.90 MiB not yet durable
//! ```
//!
//! The strip shows the end of the log: `|` appended, `v` visible, `d` durable. It spans the widest gap
//! of the measurement so far.
//!
//! - PROGRESS-1 No measuring thread waits for the display: its own thread reads counters that are written
//!   in any case, and takes no lock of a measuring loop. It works some microseconds of each fifth of a
//!   second and sleeps for the rest.
//! - PROGRESS-2 Without a terminal no thread is started: each finished measurement writes a line.

use std::collections::VecDeque;
use std::io::{self, IsTerminal};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::gauge::{Gauge, quantile_us};
use crate::Watermarks;
use crate::tools::present::figures::{bytes, many, time};

/// Time between two redraws.
const TICK: Duration = Duration::from_millis(200);

/// The throughput is that of the last five ticks: a second.
const TICKS_IN_RATE: usize = 5;

/// The length of the strip, in characters.
const STRIP: usize = 46;

/// No line is longer, so that none is broken on a usual terminal.
const WIDTH: usize = 79;

/// Does the work and shows its progress meanwhile.
pub(super) fn watch<T>(gauge: &Gauge, work: impl FnOnce() -> T) -> T {
    if !io::stderr().is_terminal() {
        gauge.tell();
        return work();
    }
    gauge.watch();
    let (done, is_done) = channel::<()>();
    thread::scope(|scope| {
        scope.spawn(move || {
            let bar = ProgressBar::with_draw_target(Some(1), ProgressDrawTarget::stderr_with_hz(5));
            let style = ProgressStyle::with_template("{bar:60} {pos}/{len} {eta}\n{msg}");
            let bar = bar.with_style(style.expect("a valid template").progress_chars("=>-"));
            let mut view = View::default();
            while is_done.recv_timeout(TICK) == Err(RecvTimeoutError::Timeout) {
                let (done, total) = gauge.done_and_total();
                bar.set_length(total.max(1));
                bar.set_position(done);
                bar.set_message(view.lines(&Look::at(gauge)));
            }
            bar.finish_and_clear();
        });
        // Dropped when the work is done, even if by a panic.
        let _done = done;
        work()
    })
}

/// The gauge at one moment.
#[derive(Clone, Debug)]
struct Look {
    at: Instant,
    label: String,
    ops: u64,
    p99_us: Option<f64>,
    watermarks: Option<(u64, u64, u64)>,
}

impl Look {
    fn at(gauge: &Gauge) -> Look {
        let of =
            |marks: Watermarks| (marks.appended.get(), marks.visible.get(), marks.durable.get());
        Look {
            at: Instant::now(),
            label: gauge.label(),
            ops: gauge.ops(),
            p99_us: quantile_us(&gauge.latencies(), 0.99),
            watermarks: gauge.watermarks().map(of),
        }
    }
}

/// State from one redraw to the next.
#[derive(Debug, Default)]
struct View {
    label: String,
    /// The latest readings: when, and operations so far.
    seen: VecDeque<(Instant, u64)>,
    widest: u64,
}

impl View {
    /// The lines below the bar.
    fn lines(&mut self, look: &Look) -> String {
        let is_new =
            look.label != self.label || self.seen.back().is_some_and(|(_, ops)| *ops > look.ops);
        if is_new {
            *self = View { label: look.label.clone(), ..View::default() };
        }
        self.seen.push_back((look.at, look.ops));
        if self.seen.len() > TICKS_IN_RATE + 1 {
            self.seen.pop_front();
        }
        let mut lines = vec![look.label.clone()];
        let rate = self.rate().map(|rate| format!("{} /s", many(rate)));
        let p99 = look.p99_us.map(|us| format!("p99 {}", time(us)));
        lines.push([rate, p99].into_iter().flatten().collect::<Vec<_>>().join("   "));
        if let Some((appended, visible, durable)) = look.watermarks {
            let behind = appended.saturating_sub(durable.min(visible));
            self.widest = self.widest.max(behind);
            lines.push(format!(
                "log  {}  {}, {} not yet durable",
                strip((appended, visible, durable), self.widest),
                bytes(appended),
                bytes(appended.saturating_sub(durable)),
            ));
        }
        let cut = |line: String| line.chars().take(WIDTH).collect::<String>();
        lines.into_iter().map(cut).collect::<Vec<_>>().join("\n")
    }

    /// Operations per second over the last second.
    fn rate(&self) -> Option<f64> {
        let ((first, before), (last, after)) = (self.seen.front()?, self.seen.back()?);
        let seconds = last.duration_since(*first).as_secs_f64();
        (seconds > 0.0).then(|| after.saturating_sub(*before) as f64 / seconds)
    }
}

/// The end of the log, `span` bytes long.
fn strip((appended, visible, durable): (u64, u64, u64), span: u64) -> String {
    let last = STRIP - 1;
    let place = |mark: u64| {
        let behind = appended.saturating_sub(mark) as f64 / span.max(1) as f64;
        last - ((behind * last as f64).ceil() as usize).min(last)
    };
    let (visible, durable) = (place(visible), place(durable));
    let sign = |column: usize| match column {
        _ if column == last => '|',
        _ if column == durable => 'd',
        _ if column == visible => 'v',
        _ if column < durable => '=',
        _ => '.',
    };
    (0..STRIP).map(sign).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(at: Instant, ops: u64, watermarks: Option<(u64, u64, u64)>) -> Look {
        Look { at, label: "round 1 of 5: commit".into(), ops, p99_us: Some(4.1), watermarks }
    }

    #[test]
    fn throughput_is_that_of_the_last_second() {
        let start = Instant::now();
        let mut view = View::default();
        let mut text = String::new();
        for tick in 0..20u64 {
            // A thousand a second, then two.
            let ops = tick * 200 + tick.saturating_sub(10) * 200;
            text = view.lines(&look(start + TICK * tick as u32, ops, None));
        }
        assert!(text.contains("2.00 k /s   p99 4.10"), "{text}");
    }

    #[test]
    fn a_new_measurement_starts_over() {
        let start = Instant::now();
        let mut view = View::default();
        view.lines(&look(start, 1_000_000, Some((9000, 9000, 0))));
        let text = view.lines(&look(start + TICK, 10, Some((100, 100, 100))));
        assert!(!text.contains("/s"), "{text}");
        assert_eq!(view.widest, 0);
    }

    #[test]
    fn the_strip_shows_the_three_watermarks() {
        assert_eq!(strip((5, 5, 5), 0), format!("{}|", "=".repeat(STRIP - 1)));
        let text = strip((1000, 990, 500), 1000);
        assert_eq!(text.find('d'), Some(STRIP - 1 - 23));
        assert_eq!(text.find('v'), Some(STRIP - 2));
        assert!(text.ends_with("v|") && text.starts_with("=="), "{text}");
        assert!(strip((1000, 1000, 0), 500).starts_with("d."));
    }

    #[test]
    fn no_line_is_broken() {
        let mut view = View::default();
        let mut look = look(Instant::now(), 5, Some((u64::MAX, 0, 0)));
        look.label = "a long label ".repeat(20);
        assert!(view.lines(&look).lines().all(|line| line.chars().count() <= WIDTH));
    }

    #[test]
    fn the_work_is_done() {
        assert_eq!(watch(&Gauge::default(), || 7), 7);
    }
}
