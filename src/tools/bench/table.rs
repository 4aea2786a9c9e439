//! The result as a table for a terminal, from the record alone.
//!
//! Rows that measure the same thing stand together, the floor first, under a title that names it and
//! the guarantee of a commit. No line is longer than [`WIDTH`] columns.

use std::fmt::Write;

use comfy_table::{CellAlignment, Table, presets};

use super::engine::Guarantee;
use super::page::compared::{Compared, Tally, of_floor, ratio, word, written};
use super::page::head::quiet;
use super::page::modes::risks_store;
use super::record::{EngineInfo, Figure, Ratio, Record, Row, SYNCLINE};
use crate::tools::present::figures::{many, time};
use crate::tools::present::text::{counted, wrap};

/// The widest terminal that the table asks for.
const WIDTH: usize = 150;

const COLUMNS: [&str; 15] = [
    "  engine",
    "mode",
    "thr",
    "ops/s",
    "rows/s",
    "spread %",
    "p50",
    "p99",
    "p99.9",
    "longest",
    "cpu/op",
    "c/fl",
    "B/B",
    "own",
    "of the floor",
];

/// How many columns are words, and flush left; the others are figures.
const WORDS: usize = 2;

const LEGEND: &str = "\
ops/s: the median of the rounds; spread: the slowest and the fastest of them against it. cpu/op: \
processor time of the whole process for each operation, background threads included. c/fl: commits \
per flush. B/B: bytes per byte of keys and values that the device counted: sectors, with the journal, the \
metadata and the writes of other processes. own: the same by the process's account, where it differs by \
more than a tenth: pages made dirty less those removed before write-back; no journal, and a large page \
counts whole. of the floor: how many times as good as the fastest of several bare ways measured in the \
run, and the spread over the rounds: more is better, whatever is compared (the title of the group says what).";

const LEGEND_OF_PEERS: &str = "\
Beneath our rows: ahead, level or behind, and how many times as good as the best store of each round with \
the same promise. Ahead is better in every round, behind is worse in every round.";

/// The whole table.
pub fn table(record: &Record) -> String {
    let mut text = String::new();
    head(record, &mut text);
    let mut lines = lines(&record.results).into_iter();
    text.extend(lines.next());
    let mut group = None;
    for (row, line) in record.results.iter().zip(lines) {
        if group != Some(GroupKey::of(row)) {
            group = Some(GroupKey::of(row));
            text += &format!("\n{}\n", GroupKey::of(row).title());
        }
        text += &line;
        text += &beneath(row, record);
    }
    promises(&record.engines, &mut text);
    text
}

/// The headings, and one line per row, aligned.
fn lines(rows: &[Row]) -> Vec<String> {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(COLUMNS);
    table.add_rows(rows.iter().map(cells));
    for (index, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, 1));
        let is_word = index < WORDS;
        column.set_cell_alignment(if is_word { CellAlignment::Left } else { CellAlignment::Right });
    }
    table.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

fn head(record: &Record, text: &mut String) {
    let (machine, run) = (&record.machine, &record.run);
    *text += &wrapped(&machine.summary(), "");
    let mut about = format!(
        "{} rounds in turns, {} s each; {} keys of 24 bytes, {} MiB of cache per engine",
        run.rounds,
        run.seconds,
        run.keys,
        run.cache_bytes >> 20
    );
    for (what, fact) in quiet(run).iter().filter(|(_, fact)| !fact.is_empty()) {
        let _ = write!(about, "; {what} {fact}");
    }
    *text += &wrapped(&format!("{about}."), "");
    for warning in &run.warnings {
        *text += &wrapped(&format!("WARNING: {warning}"), "");
    }
    *text += &wrapped(LEGEND, "");
    let tally = Tally::of(&record.results);
    if tally != Tally::default() {
        *text += &wrapped(LEGEND_OF_PEERS, "");
        *text += &wrapped(&format!("{}.", tally.text()), "");
    }
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
    keys: u64,
    guarantee: Option<Guarantee>,
    /// What the ratios to the floor compare, if there are any.
    to_floor: Option<Ratio>,
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
            keys: row.keys,
            guarantee: row.guarantee,
            to_floor: row.ratio_to_floor.map(|_| row.ratio_is),
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
        if self.workload == "growth" {
            title += &format!(", {} keys", self.keys);
        }
        if let Some(guarantee) = self.guarantee {
            title += &format!(" -- {}", survives(guarantee));
        }
        match self.to_floor {
            Some(ratio) => format!("{title} (to the floor: {})", Compared::by(ratio).name),
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
    let (device, own) = written(row);
    [
        format!("  {}", row.engine),
        row.mode.clone(),
        row.threads.to_string(),
        rate(row.ops_per_s),
        if row.rows_per_op == 1.0 { String::new() } else { rate(row.ops_per_s * row.rows_per_op) },
        match row.rounds {
            2.. if spread.median > 0.0 => {
                format!("{:+.0}..{:+.0}", percent(spread.min), percent(spread.max))
            }
            _ => String::new(),
        },
        us(row.p50_us),
        us(row.p99_us),
        us(row.p999_us),
        us(row.max_us),
        row.cpu_us_per_op.map_or_else(String::new, us),
        optional(row.commits_per_flush),
        optional(device),
        optional(own),
        of_floor(row, "x", ".."),
    ]
}

fn rate(per_s: f64) -> String {
    if per_s > 0.0 { many(per_s) } else { String::new() }
}

/// A latency with its unit, in letters that every terminal has.
fn us(us: f64) -> String {
    if us > 0.0 { time(us).replace('\u{b5}', "u") } else { String::new() }
}

/// A small number.
fn short(value: f64) -> String {
    format!("{value:.*}", if value < 100.0 { 2 } else { 0 })
}

/// What stands beneath a row: its standing, its floor, its note, and figures that only its workload has.
fn beneath(row: &Row, record: &Record) -> String {
    let mut parts = Vec::new();
    if let (Some(standing), Some(median)) = (row.standing(), row.ratio_to_best_peer) {
        let peer = row.best_peer.as_deref().unwrap_or_default();
        let ratio = ratio(median, row.ratio_to_best_peer_spread, &format!("x {peer}"), "..");
        parts.push(format!(
            "{}, {ratio}, by {}",
            word(standing),
            Compared::by(row.peer_ratio_is).name
        ));
    }
    let ours = row.engine == SYNCLINE;
    if let Some(floor) = row.floor.as_ref().filter(|_| ours && row.ratio_to_floor.is_some()) {
        parts.push(format!("floor {floor}"));
    }
    if row.disturbed > 0 {
        parts.push(format!("{} measured again", counted(row.disturbed as u64, "round")));
    }
    if risks_store(row, record) {
        parts.push("a power loss may take the whole store".to_owned());
    }
    if !row.note.is_empty() {
        parts.push(format!("note: {}", row.note));
    }
    parts.extend(row.figures.iter().map(figure));
    if parts.is_empty() { String::new() } else { wrapped(&parts.join("; "), "      ") }
}

/// A figure that only this workload has.
fn figure(figure: &Figure) -> String {
    // A unit that is in the name is not repeated.
    let said = figure.unit.is_empty() || figure.name.contains(&figure.unit);
    let unit = if said { String::new() } else { format!(" {}", figure.unit) };
    format!("{} {}{unit}", figure.name.replace('_', " "), short(figure.value))
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
    use crate::tools::bench::record::Spread;

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
            dirtied_bytes_per_user_byte: Some(20_000.0),
            cpu_us_per_op: Some(12_345_678.0),
            ratio_to_floor: Some(10_000.0),
            ratio_to_floor_spread: Some(Spread { min: 1000.0, median: 10_000.0, max: 99_000.0 }),
            floor: Some("O_DIRECT|O_DSYNC".into()),
            disturbed: 2,
            note: "word ".repeat(40),
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
        record.run.took_s = 3600.0;
        record.run.steal_percent = Some(12.3);
        let text = table(&record);
        let longest = text.lines().map(|line| line.chars().count()).max();
        assert!(longest <= Some(WIDTH), "{longest:?}:\n{text}");
        let title = "\ncommit / put, 16 KiB, 1000 rows a commit, random order -- survives a power";
        assert_eq!(text.matches(title).count(), 1, "{text}");
        assert!(text.contains("ahead, 1234x canopydb, by operations per second"), "{text}");
        assert!(text.contains("10000x (1000..99000)") && text.contains("-50..+100"), "{text}");
        assert!(text.contains("2 rounds measured again; note: word"), "{text}");
        assert!(text.contains("steal) 12.3 %"), "{text}");
    }
}
