//! The result as a table for a terminal, from the record alone.
//!
//! Rows that measure the same thing stand together, the floor first, under a title that names it and
//! the guarantee of a commit. No line is longer than [`WIDTH`] columns.

use std::fmt::Write;

use comfy_table::{CellAlignment, Table, presets};

use super::engine::Guarantee;
use super::record::{EngineInfo, Ratio, Record, Row};
use crate::tools::present::text::wrap;

/// The widest terminal that the table asks for.
const WIDTH: usize = 150;

const COLUMNS: [&str; 14] = [
    "  engine",
    "mode",
    "thr",
    "ops/s",
    "rows/s",
    "spread %",
    "p50 us",
    "p99 us",
    "p99.9 us",
    "max us",
    "c/fl",
    "B/B",
    "floor",
    "best peer",
];

/// How many columns are words, and flush left; the others are figures.
const WORDS: usize = 2;

const LEGEND: &str = "\
ops/s: the median of the rounds; spread: the slowest and the fastest of them against it.
c/fl: commits per flush. B/B: bytes to the device per byte of keys and values.
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
        false => COLUMNS.len() - 1, // no peer to compare with
    };
    head(record, columns, &mut text);
    let mut lines = lines(&record.results, columns).into_iter();
    text.extend(lines.next());
    let mut group = None;
    for (row, line) in record.results.iter().zip(lines) {
        if group != Some(GroupKey::of(row)) {
            group = Some(GroupKey::of(row));
            text += &format!("\n{}\n", GroupKey::of(row).title());
        }
        text += &line;
        if !row.figures.is_empty() {
            text += &figures(row);
        }
    }
    promises(&record.engines, &mut text);
    text
}

/// The headings, and one line per row, aligned.
fn lines(rows: &[Row], columns: usize) -> Vec<String> {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(&COLUMNS[..columns]);
    table.add_rows(rows.iter().map(|row| cells(row).into_iter().take(columns)));
    for (index, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, 1));
        let is_word = index < WORDS;
        column.set_cell_alignment(if is_word { CellAlignment::Left } else { CellAlignment::Right });
    }
    table.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

fn head(record: &Record, columns: usize, text: &mut String) {
    let (machine, run) = (&record.machine, &record.run);
    *text += &wrapped(&machine.summary(), "");
    let about = format!(
        "{} rounds in turns, {} s each; {} keys of 24 bytes, {} MiB of cache per engine.",
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
}

/// The properties that the rows of a group share.
#[derive(Clone, Debug, PartialEq)]
struct GroupKey<'a> {
    workload: &'a str,
    variant: &'a str,
    value_bytes: usize,
    batch: usize,
    distribution: &'a str,
    rate: Option<f64>,
    guarantee: Option<Guarantee>,
}

impl GroupKey<'_> {
    fn of(row: &Row) -> GroupKey<'_> {
        GroupKey {
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
        Ratio::DeviceBytes | Ratio::DiskBytes => "b",
    }
}

fn rate(per_s: f64) -> String {
    format!("{per_s:.*}", if per_s < 1000.0 { 1 } else { 0 })
}

/// A latency, with two decimals below 1000.
fn us(us: f64) -> String {
    format!("{us:.*}", if us < 1000.0 { 2 } else { 0 })
}

/// A small number.
fn short(value: f64) -> String {
    format!("{value:.*}", if value < 100.0 { 2 } else { 0 })
}

/// The figures that only this workload has, below its row.
fn figures(row: &Row) -> String {
    let figure = |figure: &super::record::Figure| {
        // A unit that is in the name is not repeated.
        let said = figure.unit.is_empty() || figure.name.contains(&figure.unit);
        let unit = if said { String::new() } else { format!(" {}", figure.unit) };
        format!("{} {}{unit}", figure.name.replace('_', " "), short(figure.value))
    };
    let all: Vec<String> = row.figures.iter().map(figure).collect();
    wrapped(&all.join("; "), "      ")
}

/// The guarantees of each mode of each engine.
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
    let lines = wrap(words, WIDTH - indent.len());
    lines.iter().map(|line| format!("{indent}{line}\n")).collect()
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
