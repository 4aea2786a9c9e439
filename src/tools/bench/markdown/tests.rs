//! The text as a whole, from `tests/golden/bench/record.json`.

use super::*;
use crate::tools::bench::record::{Moment, SYNCLINE};

fn sample() -> Record {
    let text = include_str!("../../../../tests/golden/bench/record.json");
    Record::from_json(text).expect("the sample is a record")
}

#[test]
fn every_row_is_in_a_table() {
    let record = sample();
    let text = render(&record);
    let (_, all) = text.split_once("\n## All figures\n").expect("the last section");
    let lines = all.lines().filter(|line| line.starts_with("| ")).count();
    let workloads = all.lines().filter(|line| line.starts_with("### ")).count();
    assert_eq!(lines, record.results.len() + workloads, "a heading for each workload");
}

#[test]
fn every_section_is_there() {
    let mut record = sample();
    let ours = record.results.iter_mut().find(|row| row.engine == SYNCLINE).expect("a row of ours");
    ours.course = vec![Moment { at_s: 1.0, ops_per_s: 5.0, max_us: 2.0 }; 3];
    ours.note = "a note".into();
    record.engines[0].about = "A store of ours.".into();
    (record.run.took_s, record.run.steal_percent) = (7300.0, Some(1.25));
    let text = render(&record);
    for words in [
        "# Benchmarks",
        "| the run took | 2 h 01 min |",
        "| taken by the host (steal) | 1.2 % |",
        "syncline bench --workload",
        "**Warning:** SAMPLE DATA",
        "## How Syncline stands",
        "Ahead in ",
        "## Which store for which need",
        "## What a power loss would take",
        "async, interval 10 ms",
        "## The rate over a minute and more",
        "A store of ours.",
        "possibly the whole store",
        "## How the figures were made",
        "### commit",
        "Notes:\n\n1. a note",
        "as good as the floor",
    ] {
        assert!(text.contains(words), "{words}:\n{text}");
    }
}

/// Lines of a table have as many cells as its heading.
#[test]
fn tables_are_closed() {
    let mut record = sample();
    for row in &mut record.results {
        row.mode.push_str(" | <script>");
    }
    let text = render(&record);
    assert!(!text.contains("<script>"));
    let cells = |line: &str| line.replace("\\|", "").matches('|').count();
    let mut wanted = 0;
    for line in text.lines() {
        match line.starts_with('|') {
            true if wanted == 0 => wanted = cells(line),
            true => assert_eq!(cells(line), wanted, "{line}"),
            false => wanted = 0,
        }
    }
}

#[test]
fn an_empty_record_has_a_head_alone() {
    let text = render(&Record::default());
    assert!(text.starts_with("# Benchmarks\n") && !text.contains("## All figures"), "{text}");
}
