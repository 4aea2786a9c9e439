//! The page as a whole, from `tests/golden/bench/record.json`: an invented record in the shape of a real
//! one.

use super::super::record::{Figure, SYNCLINE};
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
    for (name, record) in
        [("bench", sample()), ("bench-hostile", hostile()), ("bench-empty", empty)]
    {
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
        "What a commit costs",
        "Against the best of the others",
        "What each store promises",
        "the last commits, up to <code>flush_interval</code>",
        "Percentiles of commits",
        "Throughput against threads",
        "Commits per flush",
        "YCSB F",
        "Device bytes per user byte",
        "Opening again",
        "What an Async commit risks",
        "The bare device",
        "All figures",
        "no coordinated omission",
        "rw,relatime",
        "2026-01-01",
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
        ("What a commit costs", "commit"),
        ("YCSB A to F", "mixed"),
        ("Opening again", "recover"),
        ("What an Async commit risks", "window"),
        ("The bare device", "flush"),
        ("Scans", "scan"),
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
    assert!(!page.contains("Against the best") && page.contains("Throughput against threads"));
}
