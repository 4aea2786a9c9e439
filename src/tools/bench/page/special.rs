//! Figures other than throughput: commits per flush, device bytes, disk space, recovery, the bare device.

use std::collections::BTreeSet;

use maud::{Markup, html};

use super::super::engine::Guarantee;
use super::super::record::{Record, Row};
use super::cards::{Measure, beside, bytes_per_byte, card, cards, medley};
use super::comparison::{Comparison, is_like_except_threads, owner};
use super::lanes::{Axis, Lane, Shape, draw};
use super::plot::{LOOKS, Plane, Point, Series, Signs, evenly};
use super::scale::Scale;
use crate::tools::present::figures::{bytes, time, time_tick};
use crate::tools::present::html::section;

/// Commits per flush.
pub(super) fn group_commit(record: &Record) -> Markup {
    let mut rows: Vec<&Row> = of(record, "commit")
        .filter(|row| row.batch <= 1 && row.commits_per_flush.is_some())
        .collect();
    let Some(first) = rows.first().copied() else { return Markup::default() };
    rows.retain(|row| is_like_except_threads(row, first));
    rows.sort_by_key(|row| row.threads);
    let card = |guarantee| {
        let is_of = |row: &&Row| row.guarantee == Some(guarantee);
        let own: Vec<&Row> = rows.iter().copied().filter(is_of).collect();
        medley(&own, Measure::CommitsPerFlush, record)
    };
    let cards = html! {
        div.cards {
            @for guarantee in [Guarantee::PowerLoss, Guarantee::ProcessEnd, Guarantee::Nothing] {
                (card(guarantee))
            }
        }
    };
    section(
        "How many commits share a flush?",
        "A flush takes as long for a hundred commits as for one. Stores that let commits of many \
         threads share one are the faster for it. Only for engines that count their flushes.",
        &cards,
    )
}

/// Bytes that the device must write.
pub(super) fn device(record: &Record) -> Markup {
    let known: Vec<&Row> =
        record.results.iter().filter(|row| bytes_per_byte(row).is_some()).collect();
    // The workload made for it, then one thread of the others: threads change little.
    let (mut rows, others): (Vec<_>, Vec<_>) =
        known.into_iter().partition(|row| row.workload == "hot");
    rows.extend(others.into_iter().filter(|row| row.threads <= 1));
    if rows.is_empty() {
        return Markup::default();
    }
    section(
        "How many bytes does the device write for a byte of data?",
        "Bytes per byte of keys and values (B/B): log, data file, and everything that a merge or a \
         checkpoint writes again. Less is better, for speed and for the life of the disk. The figure is \
         what the device counted: sectors, with the journal and the metadata of the file system, and \
         what other processes wrote meanwhile. `own` is the process's own account, where it differs \
         by more than a tenth: pages made dirty less those removed before write-back. It has no journal, \
         and a large page counts whole.",
        &cards(&Comparison::all(&rows), Measure::DeviceBytes, record),
    )
}

/// The space that a store takes.
pub(super) fn space(record: &Record) -> Markup {
    let rows: Vec<&Row> = of(record, "space").collect();
    if rows.is_empty() {
        return Markup::default();
    }
    section(
        "How much disk does a byte of data take?",
        "Disk space after loading, after overwriting and after deleting, per byte of keys and values \
         that are still there (B/B). Less is better. What is beyond 1 is the index, the log, free \
         pages, and rows that are gone but not yet cleared away.",
        &cards(&Comparison::all(&rows), Measure::DiskBytes, record),
    )
}

/// The time to open a store.
pub(super) fn recover(record: &Record) -> Markup {
    let rows: Vec<&Row> = of(record, "recover").collect();
    if rows.is_empty() {
        return Markup::default();
    }
    section(
        "How fast does a store open again?",
        "The time from the call until the store can be read and written, after it was closed and \
         after its process was killed. Less is better.",
        &cards(&Comparison::all(&rows), Measure::Median, record),
    )
}

/// The bare device.
pub(super) fn flush(record: &Record) -> Markup {
    let rows: Vec<&Row> = of(record, "flush").filter(|row| row.p50_us > 0.0).collect();
    if rows.is_empty() {
        return Markup::default();
    }
    let variants: BTreeSet<&str> = rows.iter().map(|row| &*row.variant).collect();
    let scale = Scale::decades(rows.iter().map(|row| row.p50_us));
    let matrices = variants.iter().map(|variant| {
        let own = rows.iter().copied().filter(|row| row.variant == *variant);
        matrix(variant, &own.collect::<Vec<_>>(), scale)
    });
    section(
        "What does a flush of the bare device cost?",
        "The time to write and flush without a store, in several ways: the median, by the size of the \
         write, on a logarithmic scale. Durable commits are made of this.",
        &beside(matrices),
    )
}

fn matrix(variant: &str, rows: &[&Row], scale: Scale) -> Markup {
    let sizes: BTreeSet<usize> = rows.iter().map(|row| row.value_bytes).collect();
    let chart = if sizes.len() < 2 { one_size(rows, scale) } else { by_size(rows, &sizes, scale) };
    card(if variant.is_empty() { "A file" } else { variant }, None, &chart)
}

fn by_size(rows: &[&Row], sizes: &BTreeSet<usize>, scale: Scale) -> Markup {
    let mut modes: Vec<&str> = Vec::new();
    for row in rows {
        if !modes.contains(&&*row.mode) {
            modes.push(&row.mode);
        }
    }
    let place = |size: usize| {
        evenly(sizes.iter().position(|known| *known == size).unwrap_or(0), sizes.len())
    };
    let series: Vec<Series> = modes
        .into_iter()
        .enumerate()
        .map(|(index, mode)| {
            let mut own: Vec<&&Row> = rows.iter().filter(|row| row.mode == mode).collect();
            own.sort_by_key(|row| row.value_bytes);
            let told = |row: &Row| {
                format!("{mode}, {}: {}", bytes(row.value_bytes as u64), time(row.p50_us))
            };
            let point = |row: &&&Row| Point {
                x: place(row.value_bytes),
                y: row.p50_us,
                spread: None,
                told: told(row),
            };
            Series {
                name: mode.to_owned(),
                look: index % LOOKS,
                points: own.iter().map(point).collect(),
                signs: Signs::Every,
            }
        })
        .collect();
    Plane {
        about: "Median latency of a write with its flush, for each size",
        x_ticks: sizes.iter().map(|size| (place(*size), bytes(*size as u64))).collect(),
        x_unit: "size of the write",
        y: scale,
        y_tick: time_tick,
        y_unit: "median, logarithmic",
    }
    .draw(&series)
}

fn one_size(rows: &[&Row], scale: Scale) -> Markup {
    let lane = |row: &&Row| Lane {
        owner: owner(row),
        name: row.mode.clone(),
        note: String::new(),
        figure: time(row.p50_us),
        shape: Shape::Dot { value: row.p50_us, from: None, spread: None },
    };
    let lanes: Vec<Lane> = rows.iter().map(lane).collect();
    draw(&lanes, &Axis { scale, tick: time_tick, unit: "median", line: None })
}

fn of<'a>(record: &'a Record, workload: &'a str) -> impl Iterator<Item = &'a Row> {
    record.results.iter().filter(move |row| row.workload == workload)
}
