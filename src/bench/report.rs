//! Medians over rounds, ratios to the floor, the table and the JSON file.
//!
//! Every ratio is taken within a round and is the median of those (B1):
//!
//! | ratio | is | better |
//! |---|---|---|
//! | throughput | operations per second / those of the floor | higher |
//! | p50 latency | median latency / that of the floor | lower |
//! | to 1 thread | operations per second / those of the first row of its kind | higher |

use std::io::{self, Write};

use serde::Serialize;

use super::Settings;
use super::machine::Machine;
use super::measure::Sample;

/// Who does the work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Engine {
    Syncline,
    Floor,
}

/// What `ratio_to_floor` compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) enum Ratio {
    #[serde(rename = "throughput")]
    Throughput,
    #[serde(rename = "p50 latency")]
    MedianLatency,
}

/// One row of the table.
#[derive(Clone, Debug)]
pub(super) struct Case {
    pub(super) workload: &'static str,
    pub(super) engine: Engine,
    pub(super) mode: &'static str,
    pub(super) threads: usize,
    pub(super) ratio: Ratio,
    /// The index of the case that is its floor.
    pub(super) floor: usize,
    /// The index of the case that does the same in one thread, undisturbed.
    pub(super) single: usize,
}

impl Case {
    /// For the progress bar.
    pub(super) fn label(&self) -> String {
        format!("{} {} x{}", self.workload, self.mode, self.threads)
    }
}

/// All samples of cases that were measured in turns.
#[derive(Debug)]
pub(super) struct Results {
    pub(super) cases: Vec<Case>,
    /// By case, then by round.
    pub(super) samples: Vec<Vec<Sample>>,
}

/// A median and its spread over the rounds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
struct Spread {
    min: f64,
    median: f64,
    max: f64,
}

impl Spread {
    fn of(values: impl IntoIterator<Item = f64>) -> Option<Spread> {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let (min, max) = (*values.first()?, *values.last()?);
        let middle = values.len() / 2;
        let median = if values.len().is_multiple_of(2) {
            (values[middle - 1] + values[middle]) / 2.0
        } else {
            values[middle]
        };
        Some(Spread { min, median, max })
    }
}

/// One element of `results` in the JSON file.
#[derive(Debug, Serialize)]
struct Row {
    workload: &'static str,
    engine: Engine,
    mode: &'static str,
    threads: usize,
    ops_per_s: f64,
    p50_us: f64,
    p99_us: f64,
    p999_us: f64,
    max_us: f64,
    commits_per_flush: Option<f64>,
    device_bytes_per_user_byte: Option<f64>,
    ratio_to_floor: f64,
    ratio_is: Ratio,
    ratio_to_1_thread: f64,
    rounds: usize,
    seconds: f64,
    keys: u64,
    ops_per_s_spread: Spread,
    ratio_to_floor_spread: Spread,
}

impl Row {
    fn of(results: &Results, index: usize, settings: &Settings) -> Row {
        let case = &results.cases[index];
        let samples = &results.samples[index];
        let spread = |of: fn(&Sample) -> f64| {
            Spread::of(samples.iter().map(of)).expect("at least one round")
        };
        let optional = |of: fn(&Sample) -> Option<f64>| {
            Spread::of(samples.iter().filter_map(of)).map(|spread| spread.median)
        };
        let ratio_to = |other: usize, of: fn(&Sample) -> f64| {
            let pairs = samples.iter().zip(&results.samples[other]);
            Spread::of(pairs.map(|(sample, other)| of(sample) / of(other)))
                .expect("at least one round")
        };
        let to_floor = match case.ratio {
            Ratio::Throughput => ratio_to(case.floor, |sample| sample.ops_per_s),
            Ratio::MedianLatency => ratio_to(case.floor, |sample| sample.p50_us),
        };
        let ops_per_s = spread(|sample| sample.ops_per_s);
        Row {
            workload: case.workload,
            engine: case.engine,
            mode: case.mode,
            threads: case.threads,
            ops_per_s: ops_per_s.median,
            p50_us: spread(|sample| sample.p50_us).median,
            p99_us: spread(|sample| sample.p99_us).median,
            p999_us: spread(|sample| sample.p999_us).median,
            max_us: spread(|sample| sample.max_us).median,
            commits_per_flush: optional(|sample| sample.commits_per_flush),
            device_bytes_per_user_byte: optional(|sample| sample.device_bytes_per_user_byte),
            ratio_to_floor: to_floor.median,
            ratio_is: case.ratio,
            ratio_to_1_thread: ratio_to(case.single, |sample| sample.ops_per_s).median,
            rounds: samples.len(),
            seconds: settings.measure_time.as_secs_f64(),
            keys: settings.keys,
            ops_per_s_spread: ops_per_s,
            ratio_to_floor_spread: to_floor,
        }
    }
}

fn rows(results: &[Results], settings: &Settings) -> Vec<Row> {
    let of_suite = |suite| move |index| Row::of(suite, index, settings);
    results.iter().flat_map(|suite| (0..suite.cases.len()).map(of_suite(suite))).collect()
}

/// The JSON file.
pub(super) fn json(machine: &Machine, results: &[Results], settings: &Settings) -> String {
    #[derive(Serialize)]
    struct File<'a> {
        machine: &'a Machine,
        results: Vec<Row>,
    }
    let file = File { machine, results: rows(results, settings) };
    let mut text = serde_json::to_string_pretty(&file).expect("plain numbers and strings");
    text.push('\n');
    text
}

/// Prints the table, with what its columns are.
pub(super) fn print_table(
    machine: &Machine,
    results: &[Results],
    settings: &Settings,
) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{}", machine.summary())?;
    writeln!(
        out,
        "{} rounds in turns, {} s each; medians over rounds. Keys: {}, of 24 random bytes; values \
         of 150 bytes.",
        settings.rounds,
        settings.measure_time.as_secs_f64(),
        settings.keys,
    )?;
    writeln!(
        out,
        "to floor: async, reads and scans: throughput / floor throughput (higher is better);\n\
         \u{20}         sync: p50 latency / p50 of pwrite+fdatasync (lower is better).\n\
         to 1 thr: throughput / throughput of one thread alone. B/B: bytes written for a byte of \
         keys and values.\n"
    )?;
    writeln!(
        out,
        "{}",
        HEADINGS.map(|(heading, width)| cell(heading, width)).join(" ").trim_end()
    )?;
    for row in rows(results, settings) {
        let cells = row_cells(&row);
        let padded: Vec<String> =
            cells.iter().zip(HEADINGS).map(|(text, (_, width))| cell(text, width)).collect();
        writeln!(out, "{}", padded.join(" ").trim_end())?;
    }
    if settings.families.contains(&super::Family::Scan) {
        writeln!(out, "\nOne operation of scan is one pass over all rows.")?;
    }
    out.flush()
}

/// The columns and their widths; a negative one is flush left.
const HEADINGS: [(&str, i8); 13] = [
    ("workload", -18),
    ("mode", -16),
    ("threads", 7),
    ("ops/s", 11),
    ("min..max", 21),
    ("p50 us", 9),
    ("p99 us", 9),
    ("p99.9 us", 9),
    ("max us", 10),
    ("c/flush", 8),
    ("B/B", 6),
    ("to floor", 18),
    ("to 1 thr", 8),
];

fn cell(text: &str, width: i8) -> String {
    let columns = usize::from(width.unsigned_abs());
    if width < 0 { format!("{text:<columns$}") } else { format!("{text:>columns$}") }
}

fn row_cells(row: &Row) -> [String; 13] {
    let optional = |value: Option<f64>, digits: usize| {
        value.map_or_else(|| "-".to_owned(), |value| format!("{value:.digits$}"))
    };
    let (ops, ratio) = (row.ops_per_s_spread, row.ratio_to_floor_spread);
    let digits = if ops.median < 1000.0 { 1 } else { 0 };
    let is_floor = row.engine == Engine::Floor;
    [
        row.workload.to_owned(),
        if is_floor { format!("{} *", row.mode) } else { row.mode.to_owned() },
        row.threads.to_string(),
        format!("{:.digits$}", ops.median),
        format!("{:.digits$}..{:.digits$}", ops.min, ops.max),
        format!("{:.2}", row.p50_us),
        format!("{:.2}", row.p99_us),
        format!("{:.2}", row.p999_us),
        format!("{:.1}", row.max_us),
        optional(row.commits_per_flush, 1),
        optional(row.device_bytes_per_user_byte, 2),
        if is_floor {
            "floor".to_owned()
        } else {
            format!("{:.2} ({:.2}..{:.2})", ratio.median, ratio.min, ratio.max)
        },
        format!("{:.2}", row.ratio_to_1_thread),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_is_the_median_and_the_ends() {
        let odd = Spread::of([3.0, 1.0, 2.0]);
        assert_eq!(odd, Some(Spread { min: 1.0, median: 2.0, max: 3.0 }));
        let even = Spread::of([4.0, 1.0, 2.0, 3.0]);
        assert_eq!(even, Some(Spread { min: 1.0, median: 2.5, max: 4.0 }));
        assert_eq!(Spread::of([]), None);
    }
}
