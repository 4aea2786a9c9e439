//! The result as a table for a terminal, made from the record alone.
//!
//! Rows that measure the same thing stand together, the floor first, under a line that says what
//! it is and what a commit survives. No line is longer than [`WIDTH`] columns.

use std::fmt::Write;

use super::engine::Guarantee;
use super::record::{EngineInfo, Ratio, Record, Row};

/// As wide as a terminal may be asked to be.
const WIDTH: usize = 150;

/// The columns and their widths; a negative one is flush left.
const COLUMNS: [(&str, i8); 14] = [
    ("  engine", -11),
    ("mode", -16),
    ("thr", 3),
    ("ops/s", 10),
    ("rows/s", 10),
    ("spread %", 10),
    ("p50 us", 9),
    ("p99 us", 9),
    ("p99.9 us", 9),
    ("max us", 9),
    ("c/fl", 6),
    ("B/B", 6),
    ("floor", 8),
    ("best peer", 17),
];

const LEGEND: &str = "\
ops/s: the median of the rounds; spread: the slowest and the fastest of them against it.
c/fl: commits for each flush. B/B: bytes to the device for each byte of keys and values.
floor: by the floor of the group, the rate (x), the median latency (t: 1 is as fast as the bare \
hardware)
       or the bytes to the device (b).";

const LEGEND_OF_PEERS: &str =
    " best peer: how many times as good we are as the best one with the same \
promise.
";

/// The whole table.
pub fn table(record: &Record) -> String {
    let mut text = String::new();
    let columns = match record.results.iter().any(|row| row.best_peer.is_some()) {
        true => COLUMNS.len(),
        false => COLUMNS.len() - 1, // nobody to be compared with
    };
    head(record, columns, &mut text);
    let mut group = None;
    for row in &record.results {
        if group != Some(Group::of(row)) {
            group = Some(Group::of(row));
            text += &format!("\n{}\n", Group::of(row).title());
        }
        text += &line(&cells(row)[..columns]);
        if !row.figures.is_empty() {
            text += &figures(row);
        }
    }
    promises(&record.engines, &mut text);
    text
}

fn head(record: &Record, columns: usize, text: &mut String) {
    let (machine, run) = (&record.machine, &record.run);
    *text += &wrapped(&machine.summary(), "");
    let about = format!(
        "{} rounds in turns, {} s each; {} keys of 24 bytes, {} MiB of cache for each engine.",
        run.rounds,
        run.seconds,
        run.keys,
        run.cache_bytes >> 20
    );
    *text += &wrapped(&about, "");
    for warning in &run.warnings {
        *text += &wrapped(&format!("WARNING: {warning}"), "");
    }
    *text += LEGEND;
    *text += match columns == COLUMNS.len() {
        true => LEGEND_OF_PEERS,
        false => "\n",
    };
    *text += "\n";
    *text += &line(&COLUMNS.map(|(heading, _)| heading.to_owned())[..columns]);
}

/// What rows that stand together have in common.
#[derive(Clone, Debug, PartialEq)]
struct Group<'a> {
    workload: &'a str,
    variant: &'a str,
    value_bytes: usize,
    batch: usize,
    distribution: &'a str,
    rate: Option<f64>,
    guarantee: Option<Guarantee>,
}

impl Group<'_> {
    fn of(row: &Row) -> Group<'_> {
        Group {
            workload: &row.workload,
            variant: &row.variant,
            value_bytes: row.value_bytes,
            batch: row.batch,
            distribution: &row.distribution,
            rate: row.rate,
            guarantee: row.guarantee,
        }
    }

    fn title(&self) -> String {
        let mut title = format!("{} / {}", self.workload, self.variant);
        if self.value_bytes > 0 {
            title += &format!(", {}", size(self.value_bytes));
        }
        if self.batch > 1 {
            title += &format!(", {} rows a commit", self.batch);
        }
        if !self.distribution.is_empty() {
            title += &format!(", {}", self.distribution);
        }
        if let Some(rate) = self.rate {
            title += &format!(", {rate} ops/s are due");
        }
        match self.guarantee {
            Some(guarantee) => title + " -- " + survives(guarantee),
            None => title,
        }
    }
}

fn size(bytes: usize) -> String {
    match bytes {
        _ if bytes >= 1 << 20 && bytes.is_multiple_of(1 << 20) => format!("{} MiB", bytes >> 20),
        _ if bytes >= 1 << 10 && bytes.is_multiple_of(1 << 10) => format!("{} KiB", bytes >> 10),
        _ => format!("{bytes} B"),
    }
}

fn survives(guarantee: Guarantee) -> &'static str {
    match guarantee {
        Guarantee::PowerLoss => "survives a power loss",
        Guarantee::ProcessEnd => "survives a kill of the process",
        Guarantee::Nothing => "survives nothing",
    }
}

fn cells(row: &Row) -> [String; COLUMNS.len()] {
    let optional = |value: Option<f64>| value.map_or_else(String::new, short);
    let spread = row.ops_per_s_spread;
    let percent = |end: f64| (end / spread.median - 1.0) * 100.0;
    [
        format!("  {}", row.engine),
        row.mode.clone(),
        row.threads.to_string(),
        rate(row.ops_per_s),
        if row.rows_per_op == 1.0 { String::new() } else { rate(row.ops_per_s * row.rows_per_op) },
        match row.rounds {
            2.. => format!("{:+.0}..{:+.0}", percent(spread.min), percent(spread.max)),
            _ => String::new(),
        },
        us(row.p50_us),
        us(row.p99_us),
        us(row.p999_us),
        us(row.max_us),
        optional(row.commits_per_flush),
        optional(row.device_bytes_per_user_byte),
        match row.ratio_to_floor {
            Some(_) if row.is_floor() && row.workload != "flush" => "floor".to_owned(),
            Some(ratio) => format!("{}{}", short(ratio), compared(row.ratio_is)),
            None => String::new(),
        },
        match (row.ratio_to_best_peer, &row.best_peer) {
            (Some(ratio), Some(peer)) => format!("{}x {peer}", short(ratio)),
            _ => String::new(),
        },
    ]
}

fn compared(ratio: Ratio) -> &'static str {
    match ratio {
        Ratio::Throughput => "x",
        Ratio::MedianLatency => "t",
        Ratio::DeviceBytes => "b",
    }
}

fn rate(per_s: f64) -> String {
    format!("{per_s:.*}", if per_s < 1000.0 { 1 } else { 0 })
}

/// A latency: two digits after the point while they mean anything.
fn us(us: f64) -> String {
    format!("{us:.*}", if us < 1000.0 { 2 } else { 0 })
}

/// A small number.
fn short(value: f64) -> String {
    format!("{value:.*}", if value < 100.0 { 2 } else { 0 })
}

fn line(cells: &[String]) -> String {
    let cell = |(text, (_, width)): (&String, (&str, i8))| {
        let columns = usize::from(width.unsigned_abs());
        if width < 0 { format!("{text:<columns$}") } else { format!("{text:>columns$}") }
    };
    let cells: Vec<String> = cells.iter().zip(COLUMNS).map(cell).collect();
    format!("{}\n", cells.join(" ").trim_end())
}

/// What only this workload has, beneath its row.
fn figures(row: &Row) -> String {
    let figure = |figure: &super::record::Figure| {
        // A unit in the name need not be said twice.
        let said = figure.unit.is_empty() || figure.name.contains(&figure.unit);
        let unit = if said { String::new() } else { format!(" {}", figure.unit) };
        format!("{} {}{unit}", figure.name.replace('_', " "), short(figure.value))
    };
    let all: Vec<String> = row.figures.iter().map(figure).collect();
    wrapped(&all.join("; "), "      ")
}

/// What each mode of each engine promises.
fn promises(engines: &[EngineInfo], text: &mut String) {
    for engine in engines {
        let _ = writeln!(text, "\n{} {}", engine.name, engine.version);
        for mode in &engine.modes {
            let (kill, power) = (&mode.lost_on_kill, &mode.lost_on_power_loss);
            let promise = format!(
                "{}: {}. Lost on a kill: {kill}. Lost on a power loss: {power}.",
                mode.name,
                survives(mode.guarantee)
            );
            *text += &wrapped(&promise, "  ");
        }
    }
}

/// Lines of words, each after `indent`.
fn wrapped(words: &str, indent: &str) -> String {
    let mut text = String::new();
    let mut line = String::from(indent);
    for word in words.split_whitespace() {
        let is_new = line.len() == indent.len();
        if !is_new && line.len() + 1 + word.len() > WIDTH {
            text += &line;
            text += "\n";
            line = String::from(indent);
        } else if !is_new {
            line += " ";
        }
        line += word;
    }
    text + &line + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tools::bench::record::{Figure, Spread};

    fn row(engine: &str, threads: usize) -> Row {
        Row {
            workload: "commit".into(),
            variant: "put".into(),
            engine: engine.into(),
            mode: "O_DIRECT|O_DSYNC".into(),
            guarantee: Some(Guarantee::PowerLoss),
            threads,
            value_bytes: 16 << 10,
            batch: 1000,
            distribution: "random order".into(),
            ops_per_s: 123_456_789.0,
            rows_per_op: 1000.0,
            p50_us: 12_345_678.0,
            p99_us: 12_345_678.0,
            p999_us: 12_345_678.0,
            max_us: 12_345_678.0,
            commits_per_flush: Some(10_000.0),
            device_bytes_per_user_byte: Some(10_000.0),
            ratio_to_floor: Some(10_000.0),
            ratio_to_best_peer: Some(1234.5),
            best_peer: Some("canopydb".into()),
            rounds: 3,
            ops_per_s_spread: Spread { min: 1.0, median: 2.0, max: 4.0 },
            figures: vec![Figure { name: "f".repeat(30), value: 1.0, unit: "ms".into() }; 9],
            ..Row::default()
        }
    }

    #[test]
    fn no_line_is_too_long_and_groups_have_one_title() {
        let results = vec![row("floor", 1), row("syncline", 1), row("canopydb", 64)];
        let mut record = Record { results, ..Record::default() };
        record.machine.cpu = "word ".repeat(60);
        record.run.warnings = vec!["word ".repeat(60)];
        let text = table(&record);
        let longest = text.lines().map(|line| line.chars().count()).max();
        assert!(longest <= Some(WIDTH), "{longest:?}:\n{text}");
        let title = "\ncommit / put, 16 KiB, 1000 rows a commit, random order -- survives a power";
        assert_eq!(text.matches(title).count(), 1, "{text}");
        assert!(text.contains("canopydb") && text.contains("-50..+100"), "{text}");
    }
}
