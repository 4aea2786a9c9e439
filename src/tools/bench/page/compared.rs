//! Figures that are compared: which one, in which unit, and which direction is the better one.
//!
//! Page, table and Markdown ask here, so that a figure has one name, one unit and one direction
//! everywhere.
//!
//! - COMPARED-1 A ratio says how many times as good the first is as the second: more is better, whatever
//!   is compared.
//! - COMPARED-2 A ratio stands beside its spread over the rounds, where the record has one.

use super::super::record::{DISK_BYTES, Ratio, Row, Spread, Standing};
use crate::tools::present::figures::{digits, many, time};

/// Two figures of one row that differ by less than this are told as one.
const ALIKE: f64 = 0.1;

/// A figure that rows are compared by.
#[derive(Clone, Copy, Debug)]
pub(in crate::tools::bench) struct Compared {
    /// What it is, in words.
    pub(in crate::tools::bench) name: &'static str,
    pub(in crate::tools::bench) more_is_better: bool,
    /// The figure of a row, unless it was not measured.
    figure: fn(&Row) -> Option<f64>,
    /// Its spread over the rounds, where the record has one.
    spread: fn(&Row) -> Option<Spread>,
    /// The figure with its unit.
    pub(in crate::tools::bench) shown: fn(f64) -> String,
}

impl Compared {
    /// What a ratio of the record compares.
    pub(in crate::tools::bench) fn by(ratio: Ratio) -> Compared {
        match ratio {
            Ratio::Throughput => Compared {
                name: "operations per second",
                more_is_better: true,
                figure: |row| Some(row.ops_per_s),
                spread: |row| Some(row.ops_per_s_spread),
                shown: |per_s| format!("{}/s", many(per_s)),
            },
            Ratio::MedianLatency => Compared {
                name: "median latency",
                more_is_better: false,
                figure: |row| Some(row.p50_us),
                spread: spread_of_latency,
                shown: time,
            },
            Ratio::DeviceBytes => Compared::less(
                "bytes to the device",
                |row| row.device_bytes_per_user_byte,
                per_byte,
            ),
            Ratio::DiskBytes => Compared::disk_bytes(),
        }
    }

    /// Disk space for each byte of rows that are there.
    pub(in crate::tools::bench) fn disk_bytes() -> Compared {
        Compared::less("disk bytes", |row| row.figure(DISK_BYTES), per_byte)
    }

    /// A figure of which less is better, and which has no spread of its own.
    pub(in crate::tools::bench) fn less(
        name: &'static str,
        figure: fn(&Row) -> Option<f64>,
        shown: fn(f64) -> String,
    ) -> Compared {
        Compared { name, more_is_better: false, figure, spread: |_| None, shown }
    }

    /// The figure of a row: finite and above zero, or it was not measured.
    pub(in crate::tools::bench) fn figure(&self, row: &Row) -> Option<f64> {
        (self.figure)(row).filter(|figure| figure.is_finite() && *figure > 0.0)
    }

    /// The figure of a row with its unit; empty if it was not measured.
    pub(in crate::tools::bench) fn text(&self, row: &Row) -> String {
        self.figure(row).map_or(String::new(), self.shown)
    }

    /// The spread of the figure, if the record has one. One round has none.
    pub(in crate::tools::bench) fn spread(&self, row: &Row) -> Option<Spread> {
        let spread = (self.spread)(row).filter(|_| row.rounds > 1)?;
        (spread.min > 0.0 && spread.max.is_finite()).then_some(spread)
    }

    /// How many times as good `ours` is as `theirs` (COMPARED-1).
    pub(in crate::tools::bench) fn times_as_good(&self, ours: f64, theirs: f64) -> f64 {
        if self.more_is_better { ours / theirs } else { theirs / ours }
    }
}

/// Bytes for each byte of keys and values.
pub(in crate::tools::bench) fn per_byte(value: f64) -> String {
    format!("{} B/B", digits(value))
}

/// In a closed loop, the time of an operation is inverse to their rate: the rounds of the rate show how
/// far the latency went up and down.
fn spread_of_latency(row: &Row) -> Option<Spread> {
    let rate = row.ops_per_s_spread;
    let at = |rate_then: f64| row.p50_us * rate.median / rate_then;
    row.rate.is_none().then(|| Spread { min: at(rate.max), median: row.p50_us, max: at(rate.min) })
}

/// The ratio to the floor in words: a floor is told only where another one was faster.
pub(in crate::tools::bench) fn of_floor(row: &Row, sign: &str, to: &str) -> String {
    let is_fastest = row.floor.as_ref().is_none_or(|floor| *floor == row.mode);
    match row.of_floor() {
        Some(_) if row.is_floor() && is_fastest && row.workload != "flush" => "floor".into(),
        Some(times) => ratio(times, spread_of_floor(row), sign, to),
        None => String::new(),
    }
}

/// The spread of [`Row::of_floor`].
fn spread_of_floor(row: &Row) -> Option<Spread> {
    let spread = row.ratio_to_floor_spread?;
    if Compared::by(row.ratio_is).more_is_better {
        return Some(spread);
    }
    Some(Spread { min: 1.0 / spread.max, median: 1.0 / spread.median, max: 1.0 / spread.min })
}

/// A ratio and its spread: "1.82x (1.60..2.01)"; `sign` is that of times, `to` stands between the ends.
pub(in crate::tools::bench) fn ratio(
    median: f64,
    spread: Option<Spread>,
    sign: &str,
    to: &str,
) -> String {
    match spread.filter(|spread| spread.min.is_finite() && spread.max.is_finite()) {
        Some(spread) if spread.min != spread.max => {
            format!("{}{sign} ({}{to}{})", two(median), two(spread.min), two(spread.max))
        }
        _ => format!("{}{sign}", two(median)),
    }
}

/// Two decimals of a small number, none of a large one; at least two digits of a very small one.
fn two(value: f64) -> String {
    match value {
        // What is not 1 must not look so: it would contradict its standing.
        _ if value != 1.0 && (value - 1.0).abs() < 0.005 => format!("{value:.4}"),
        _ if value >= 99.5 => format!("{value:.0}"),
        _ if value >= 9.95 => format!("{value:.1}"),
        _ if value >= 0.0995 => format!("{value:.2}"),
        _ if value >= 0.00995 => format!("{value:.3}"),
        _ if value >= 0.0001 => format!("{value:.4}"),
        _ => format!("{value:.0e}"),
    }
}

/// A standing in one word.
pub(in crate::tools::bench) fn word(standing: Standing) -> &'static str {
    match standing {
        Standing::Ahead => "ahead",
        Standing::Level => "level",
        Standing::Behind => "behind",
    }
}

/// How often our rows stand so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::tools::bench) struct Tally {
    ahead: usize,
    level: usize,
    behind: usize,
}

impl Tally {
    pub(in crate::tools::bench) fn of<'a>(rows: impl IntoIterator<Item = &'a Row>) -> Tally {
        let mut tally = Tally::default();
        for standing in rows.into_iter().filter_map(Row::standing) {
            *match standing {
                Standing::Ahead => &mut tally.ahead,
                Standing::Level => &mut tally.level,
                Standing::Behind => &mut tally.behind,
            } += 1;
        }
        tally
    }

    /// "Ahead in 30, level in 2, behind in 18 of 50".
    pub(in crate::tools::bench) fn text(&self) -> String {
        let Tally { ahead, level, behind } = *self;
        let all = ahead + level + behind;
        format!("Ahead in {ahead}, level in {level}, behind in {behind} of {all}")
    }
}

/// The bytes per user byte that the device counted, and those of the process's own account if they
/// differ by more than a tenth, or if the device counted nothing.
pub(in crate::tools::bench) fn written(row: &Row) -> (Option<f64>, Option<f64>) {
    let (device, own) = (row.device_bytes_per_user_byte, row.dirtied_bytes_per_user_byte);
    let differs = |own: &f64| device.is_none_or(|device| (own - device).abs() > device * ALIKE);
    (device, own.filter(differs))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_is_better_whatever_is_compared() {
        let times = |ratio, ours, theirs| Compared::by(ratio).times_as_good(ours, theirs);
        assert_eq!(times(Ratio::Throughput, 30.0, 10.0), 3.0);
        assert_eq!(times(Ratio::MedianLatency, 10.0, 30.0), 3.0);
        assert_eq!(times(Ratio::DeviceBytes, 30.0, 10.0), 1.0 / 3.0);
        let spread = Some(Spread { min: 2.0, median: 4.0, max: 5.0 });
        let mut row = Row { ratio_to_floor_spread: spread, ..Row::default() };
        assert_eq!(spread_of_floor(&row), spread);
        row.ratio_is = Ratio::MedianLatency;
        let inverse = Spread { min: 0.2, median: 0.25, max: 0.5 };
        assert_eq!(spread_of_floor(&row), Some(inverse));
    }

    #[test]
    fn ratios_have_spreads() {
        let spread = Spread { min: 1.604, median: 1.82, max: 2.013 };
        assert_eq!(ratio(1.82, Some(spread), "x", ".."), "1.82x (1.60..2.01)");
        assert_eq!(ratio(123.4, None, "x", ".."), "123x");
        assert_eq!(ratio(0.00088, None, "x", ".."), "0.0009x");
        assert_eq!(ratio(0.9968, None, "x", ".."), "0.9968x");
        let alone = Spread { min: 2.0, median: 2.0, max: 2.0 };
        assert_eq!(ratio(2.0, Some(alone), "x", ".."), "2.00x");
    }

    #[test]
    fn both_counters_are_told_where_they_differ() {
        let row = |device, own| Row {
            device_bytes_per_user_byte: device,
            dirtied_bytes_per_user_byte: own,
            ..Row::default()
        };
        assert_eq!(written(&row(Some(2.0), Some(2.1))), (Some(2.0), None));
        assert_eq!(written(&row(Some(2.0), Some(2.3))), (Some(2.0), Some(2.3)));
        assert_eq!(written(&row(None, Some(2.3))), (None, Some(2.3)));
    }

    #[test]
    fn standings_are_counted() {
        let row = |min, median, max| Row {
            ratio_to_best_peer: Some(median),
            ratio_to_best_peer_spread: Some(Spread { min, median, max }),
            ..Row::default()
        };
        let rows = [row(1.1, 1.2, 1.3), row(0.9, 1.2, 1.3), row(0.1, 0.2, 0.3), Row::default()];
        assert_eq!(Tally::of(&rows).text(), "Ahead in 1, level in 1, behind in 1 of 3");
    }
}
