//! The page as a whole, from `tests/golden/bench/record.json`: an invented record in the shape of a real
//! one.

use super::super::record::{Figure, Moment, Row, SYNCLINE};
use super::*;
use crate::tools::present::html;

const SAMPLE: &str = include_str!("../../../../tests/golden/bench/record.json");

fn sample() -> Record {
    Record::from_json(SAMPLE).expect("the sample is a record")
}

/// Only the rows of one workload.
fn only(workload: &str) -> Record {
    let mut record = sample();
    record.results.retain(|row| row.workload == workload);
    record
}

/// What later versions measure as well: courses, sizes, disk space, windows of others, notes.
fn rich() -> Record {
    let mut record = sample();
    let commits = |row: &&Row| row.workload == "commit" && row.threads == 1 && !row.is_floor();
    let commits: Vec<Row> = record.results.iter().filter(commits).cloned().collect();
    let figure = |name: &str, value| Figure { name: name.into(), value, unit: String::new() };
    for row in commits {
        let moment =
            |second| Moment { at_s: f64::from(second), ops_per_s: row.ops_per_s, max_us: 9.0 };
        let course = (1..=300).map(moment).collect();
        let as_one_of = |workload: &str, variant: &str| Row {
            workload: workload.into(),
            variant: variant.into(),
            ..row.clone()
        };
        record.results.push(Row { course, ..as_one_of("steady", "put") });
        for keys in [1_000_000, 4_000_000] {
            record.results.push(Row { keys, ..as_one_of("growth", "put") });
        }
        let figures = vec![figure("disk_bytes_per_live_byte", 1.5)];
        record.results.push(Row { figures, guarantee: None, ..as_one_of("space", "loaded") });
        if row.engine != SYNCLINE {
            let lost = ["lost_commits_p50", "lost_commits_p99", "lost_ms_p99", "lost_ms_max"];
            let figures = lost.map(|name| figure(name, 700.0)).to_vec();
            record.results.push(Row { figures, ..as_one_of("window", "") });
        }
        let note = "a note that a reader needs".into();
        record.results.push(Row { note, disturbed: 2, ..as_one_of("read", "cold") });
    }
    for row in &mut record.results {
        row.cpu_us_per_op = Some(12.5);
        row.dirtied_bytes_per_user_byte = row.device_bytes_per_user_byte.map(|bytes| bytes * 2.0);
    }
    record
}

/// A record whose texts are all `<script>`, with figures that are no numbers.
fn hostile() -> Record {
    const BAD: &str = "<script>alert('1')</script>\"&";
    let mut record = sample();
    record.machine.device = BAD.into();
    record.machine.file_system = "tmpfs".into();
    record.run.warnings = vec![BAD.into()];
    record.run.command = BAD.into();
    record.run.version = BAD.into();
    for engine in &mut record.engines {
        engine.version = BAD.into();
        for mode in &mut engine.modes {
            mode.lost_on_power_loss = BAD.into();
        }
    }
    for (index, row) in record.results.iter_mut().enumerate() {
        row.distribution = BAD.into();
        row.mode.push_str(BAD);
        row.figures.push(Figure { name: BAD.into(), value: 1.0, unit: BAD.into() });
        match index % 4 {
            0 => row.ops_per_s = f64::INFINITY,
            1 => row.p50_us = 0.0,
            2 => row.p50_us = -1.0,
            _ => row.ops_per_s_spread.max = 0.0,
        }
    }
    record
}

#[test]
fn pages_are_well_formed_and_need_nothing_else() {
    let empty = Record::default();
    for (name, record) in [
        ("bench", sample()),
        ("bench-rich", rich()),
        ("bench-hostile", hostile()),
        ("bench-empty", empty),
    ] {
        let page = render(&record);
        html::keep(name, &page);
        html::check(name, &page);
    }
}

#[test]
fn every_section_is_there() {
    let page = render(&sample());
    for text in [
        "SAMPLE DATA",
        "What does a commit cost?",
        "against the best of the others?",
        "Which store for which need?",
        "What is each store, and what does it promise?",
        "the last commits, up to <code>flush_interval</code>",
        "How rare are long commits?",
        "Do more threads do more?",
        "How many commits share a flush?",
        "YCSB F",
        "How many bytes does the device write for a byte of data?",
        "How fast does a store open again?",
        "What would a power loss take?",
        "What does a flush of the bare device cost?",
        "All figures",
        "no coordinated omission",
        "rw,relatime",
        "2026-01-01",
    ] {
        assert!(page.contains(text), "{text}");
    }
}

#[test]
fn later_workloads_have_sections() {
    let page = render(&rich());
    for text in [
        "Does the rate hold, for a minute",
        "Does the rate of durable commits hold?",
        "Does the rate hold as the store grows?",
        "How much disk does a byte of data take?",
        "How far back does a power loss reach?",
        "files are in no cache of the machine",
        "a note that a reader needs",
        "2 rounds",
        "processor per op",
        "own B/B",
        "may take the whole store",
    ] {
        assert!(page.contains(text), "{text}");
    }
}

/// CHARTS-5: each figure of throughput is in a table, and each row has its line there.
#[test]
fn no_figure_is_left_out() {
    let record = sample();
    let page = render(&record);
    let lines = page.matches("<tr><th scope=\"row\">").count();
    let modes: usize = record.engines.iter().map(|engine| engine.modes.len()).sum();
    assert_eq!(lines, record.results.len() + modes);
}

/// CHARTS-2: a workload without rows has no section.
#[test]
fn charts_without_figures_are_left_out() {
    const SECTIONS: [(&str, &str); 6] = [
        ("What does a commit cost?", "commit"),
        ("How do mixed loads fare? YCSB A to F", "mixed"),
        ("How fast does a store open again?", "recover"),
        ("What would a power loss take?", "window"),
        ("What does a flush of the bare device cost?", "flush"),
        ("How many rows a second does a scan see?", "scan"),
    ];
    for (_, workload) in SECTIONS {
        let page = render(&only(workload));
        html::check(workload, &page);
        for (title, of) in SECTIONS {
            let heading = format!("<h2>{title}</h2>");
            assert_eq!(page.contains(&heading), of == workload, "{title} of {workload}");
        }
    }
}

#[test]
fn texts_of_the_record_are_never_markup() {
    let page = render(&hostile());
    assert!(!page.contains("<script") && page.contains("&lt;script&gt;"));
    assert!(page.contains("tmpfs is a file system in memory"));
}

/// Rows of ours alone make a page as well.
#[test]
fn a_page_needs_no_peers() {
    let mut record = sample();
    record.results.retain(|row| row.engine == SYNCLINE);
    record.results.iter_mut().for_each(|row| row.ratio_to_best_peer = None);
    record.engines.retain(|engine| engine.name == SYNCLINE);
    let page = render(&record);
    html::check("alone", &page);
    html::keep("bench-alone", &page);
    assert!(!page.contains("against the best") && page.contains("Do more threads do more?"));
}
