//! Shows a run on standard error while it goes on: a line that is kept up to date on a terminal, a
//! new line every ten seconds elsewhere. A failure is shown at once, so that a reader can stop a soak.

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write as _};
use std::sync::atomic::Ordering;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::digest::kind_name;
use super::failure::Failure;
use super::progress::Progress;
use crate::tools::present::text::{WIDTH, counted, rate, time, wrap};

/// How often the terminal is updated and new failures are shown.
const TICK: Duration = Duration::from_millis(200);

/// How often a line is printed where there is no terminal.
const LINE_INTERVAL: Duration = Duration::from_secs(10);

/// Does the work and shows its progress meanwhile. `limit` is the longest time that it may take.
pub fn watch<T>(progress: &Progress, limit: Option<Duration>, work: impl FnOnce() -> T) -> T {
    let (done, is_done) = channel::<()>();
    thread::scope(|scope| {
        scope.spawn(move || {
            let mut watcher = Watcher::start(progress, limit);
            while is_done.recv_timeout(TICK) == Err(RecvTimeoutError::Timeout) {
                watcher.tick();
            }
            watcher.finish();
        });
        // Dropped when the work is done, even if by a panic.
        let _done = done;
        work()
    })
}

/// A failure with its story, for a terminal.
pub fn story(failure: &Failure) -> String {
    let mut text = headline(failure);
    for line in &failure.story {
        // A line that fits keeps its columns.
        if line.chars().count() <= WIDTH - 6 {
            let _ = writeln!(text, "      {line}");
        } else {
            for part in wrap(line, WIDTH - 6) {
                let _ = writeln!(text, "      {part}");
            }
        }
    }
    let _ = writeln!(text, "    again: {}", failure.replay);
    text
}

fn headline(failure: &Failure) -> String {
    let clause = failure.clause.map(|clause| format!(", {clause}: {}", clause.demand()));
    let mut text = String::new();
    for (index, line) in wrap(&failure.title, WIDTH - 4).iter().enumerate() {
        let _ = writeln!(text, "{}{line}", if index == 0 { "  ! " } else { "    " });
    }
    let _ = writeln!(text, "    {}{}", kind_name(failure.kind), clause.as_deref().unwrap_or(""));
    text
}

struct Watcher<'a> {
    progress: &'a Progress,
    limit: Option<Duration>,
    started: Instant,
    last_line: Instant,
    /// Failures that were shown.
    told: usize,
    /// Hidden if there is no terminal.
    bar: ProgressBar,
}

impl<'a> Watcher<'a> {
    fn start(progress: &'a Progress, limit: Option<Duration>) -> Watcher<'a> {
        let bar = if io::stderr().is_terminal() {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(5));
            let style = ProgressStyle::with_template("{spinner} {wide_msg}\n  {prefix}");
            bar.with_style(style.expect("a valid template"))
        } else {
            ProgressBar::hidden()
        };
        let started = Instant::now();
        Watcher { progress, limit, started, last_line: started, told: 0, bar }
    }

    fn tick(&mut self) {
        self.tell_failures();
        if !self.bar.is_hidden() {
            self.bar.set_message(self.doing());
            self.bar.set_prefix(self.counts());
            self.bar.tick();
        } else if self.last_line.elapsed() >= LINE_INTERVAL {
            self.last_line = Instant::now();
            say(&format!("{}: {}\n", self.doing(), self.counts()));
        }
    }

    fn finish(&mut self) {
        self.tell_failures();
        self.bar.finish_and_clear();
    }

    fn tell_failures(&mut self) {
        for failure in self.progress.found_since(self.told) {
            self.told += 1;
            let text = format!("{}    again: {}\n", headline(&failure), failure.replay);
            self.bar.suspend(|| say(&text));
        }
    }

    /// "sim: power loss, 12 s, 48 s left".
    fn doing(&self) -> String {
        let elapsed = self.started.elapsed();
        let left = match self.limit {
            Some(limit) => format!("{} left", time(limit.saturating_sub(elapsed).as_secs_f64())),
            None if self.progress.is_stopped() => "stopping".to_owned(),
            None => "until stopped".to_owned(),
        };
        format!("{}, {}, {left}", self.progress.doing(), time(elapsed.as_secs_f64()))
    }

    fn counts(&self) -> String {
        let of = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
        let states = of(&self.progress.states);
        let mut parts = vec![
            counted(states, "state"),
            format!("{}/s", rate(states, self.started.elapsed().as_secs_f64())),
            counted(of(&self.progress.faults), "fault"),
        ];
        let others = [
            (of(&self.progress.kills), "kill"),
            (of(&self.progress.jobs), "job"),
            (of(&self.progress.exhibits), "exhibit"),
        ];
        parts.extend(others.iter().filter(|other| other.0 > 0).map(|(n, noun)| counted(*n, noun)));
        let mutants = of(&self.progress.mutants_caught);
        if mutants > 0 {
            parts.push(format!("{} caught", counted(mutants, "mutant")));
        }
        let failures = of(&self.progress.failures);
        parts.push(if failures == 0 { "no failure".into() } else { counted(failures, "FAILURE") });
        parts.join(", ")
    }
}

/// Nothing can be done when standard error is closed.
fn say(text: &str) {
    let _ = io::stderr().write_all(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    #[test]
    fn watch_returns_the_result_of_the_work() {
        let progress = Progress::default();
        progress.now("sim: power loss");
        assert_eq!(watch(&progress, None, || 7), 7);
        Progress::add(&progress.states, 1234);
        Progress::add(&progress.mutants_caught, 1);
        let watcher = Watcher::start(&progress, Some(Duration::from_secs(3600)));
        assert!(watcher.doing().starts_with("sim: power loss, 0.0 s, 59 min 5"));
        let counts = watcher.counts();
        assert!(counts.starts_with("1,234 states, "), "{counts}");
        assert!(counts.ends_with("1 mutant caught, no failure"), "{counts}");
    }

    #[test]
    fn a_story_fits_and_ends_with_the_command() {
        for failure in sample::bad().failures {
            let text = story(&failure);
            assert!(text.lines().all(|line| line.chars().count() <= WIDTH), "{text}");
            assert!(text.contains(&format!("again: {}", failure.replay)), "{text}");
        }
    }
}
