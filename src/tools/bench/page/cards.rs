//! Cards of workloads: one per load and guarantee, with the engines side by side.
//!
//! - CARDS-1 Within a card all commits survive the same, and all lanes have one scale.
//! - CARDS-2 A whisker spans the rounds, from the least to the greatest.
//! - CARDS-3 A mode that risks the whole store has a mark, which each card explains. What the modes lose
//!   stands once beneath the cards, not in each lane.
//! - CARDS-4 A figure has its unit, and says which counter it is of where there are two.

use maud::{Markup, html};

use super::super::engine::Guarantee;
use super::super::record::{DISK_BYTES, Record, Row};
use super::compared::{per_byte, written};
use super::comparison::{Comparison, Usual, owner, survives};
use super::lanes::{Axis, Lane, LaneOwner, Shape, draw};
use super::modes::{RISK_MEANS, loss, marked, risks_store};
use crate::tools::present::figures::{digits, many, many_tick, plain, time, time_tick};
use crate::tools::present::prose::Prose;
use crate::tools::present::text::counted;

/// The number of cards that are not folded.
const OPEN: usize = 6;

/// The figure that is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Measure {
    /// Operations per second, or rows where an operation has many.
    Throughput,
    /// The median of the latency.
    Median,
    /// All percentiles.
    Percentiles,
    /// Device bytes per user byte.
    DeviceBytes,
    /// Commits per flush.
    CommitsPerFlush,
    /// Disk bytes per byte of rows that are there.
    DiskBytes,
}

impl Measure {
    fn shape(self, row: &Row) -> Option<Shape> {
        let rows = rows_per_op(row);
        let bar = |value: f64, spread| Some(Shape::Bar { value, spread });
        match self {
            Measure::Throughput => {
                let spread = row.ops_per_s_spread;
                let spread = (spread.max > 0.0).then_some((spread.min * rows, spread.max * rows));
                bar(row.ops_per_s * rows, spread)
            }
            Measure::Median => bar(row.p50_us, None),
            Measure::Percentiles => {
                let all = [row.p50_us, row.p90_us, row.p99_us, row.p999_us, row.max_us];
                let known: Vec<f64> = all.into_iter().filter(|us| *us > 0.0).collect();
                (!known.is_empty()).then_some(Shape::Bands(known))
            }
            Measure::DeviceBytes => bar(bytes_per_byte(row)?, None),
            Measure::CommitsPerFlush => bar(row.commits_per_flush?, None),
            Measure::DiskBytes => bar(row.figure(DISK_BYTES)?, None),
        }
    }

    fn figure(self, row: &Row) -> String {
        match self {
            Measure::Throughput => format!("{}/s", many(row.ops_per_s * rows_per_op(row))),
            Measure::Median => time(row.p50_us),
            Measure::Percentiles if row.p999_us > 0.0 => {
                format!("{} \u{2026} {}", time(row.p50_us), time(row.p999_us))
            }
            Measure::Percentiles => time(row.p50_us),
            Measure::DeviceBytes => both_counters(row),
            Measure::CommitsPerFlush => row.commits_per_flush.map_or(String::new(), many),
            Measure::DiskBytes => row.figure(DISK_BYTES).map_or(String::new(), per_byte),
        }
    }

    fn axis(self, lanes: &[Lane], row: &Row) -> Axis {
        match self {
            Measure::Throughput if rows_per_op(row) > 1.0 => Axis::bars(lanes, many_tick, "rows/s"),
            Measure::Throughput => Axis::bars(lanes, many_tick, unit_of(&row.workload)),
            Measure::Median => Axis::bars(lanes, time_tick, "median"),
            Measure::Percentiles => Axis::decades(lanes, time_tick, "median \u{2026} p99.9"),
            Measure::DeviceBytes => Axis::bars(lanes, plain, "device"),
            Measure::CommitsPerFlush => Axis::bars(lanes, many_tick, "commits"),
            Measure::DiskBytes => Axis::bars(lanes, plain, "disk"),
        }
    }
}

/// What the device counted, or the process's own account if that is all there is.
pub(super) fn bytes_per_byte(row: &Row) -> Option<f64> {
    row.device_bytes_per_user_byte.or(row.dirtied_bytes_per_user_byte)
}

fn both_counters(row: &Row) -> String {
    match written(row) {
        (Some(device), Some(own)) => format!("{} (own {})", per_byte(device), digits(own)),
        (Some(device), None) => per_byte(device),
        (None, Some(own)) => format!("own {}", per_byte(own)),
        (None, None) => String::new(),
    }
}

fn unit_of(workload: &str) -> &'static str {
    match workload {
        "commit" => "commits/s",
        "read" => "gets/s",
        "scan" => "scans/s",
        _ => "per second",
    }
}

/// The rows per operation, where every engine has the same.
fn rows_per_op(row: &Row) -> f64 {
    let is_many = matches!(&*row.workload, "scan" | "load") || row.batch > 1;
    if is_many { row.rows_per_op.max(1.0) } else { 1.0 }
}

/// The cards of all groups, the first of them open.
pub(super) fn cards(groups: &[Comparison<'_>], measure: Measure, record: &Record) -> Markup {
    let mut groups: Vec<_> = groups
        .iter()
        .filter(|group| group.rows.iter().any(|row| measure.shape(row).is_some()))
        .collect();
    // Cards with a lane of ours come first.
    groups.sort_by_key(|group| group.rows.iter().all(|row| owner(row) != LaneOwner::Ours));
    let cards = folded(&groups, OPEN, |group| {
        let (floors, stores): (Vec<_>, Vec<_>) =
            group.rows.iter().copied().partition(|row| row.is_floor());
        let rows = floors.into_iter().chain(stores);
        let lanes: Vec<Lane> = rows.filter_map(|row| lane(row, measure, record)).collect();
        let chart = html! {
            (draw(&lanes, &measure.axis(&lanes, group.rows[0])))
            (footnotes(&group.rows, record))
        };
        card(&group.title(Usual::of(record)), group.guarantee, &chart)
    });
    let rows: Vec<&Row> = groups.iter().flat_map(|group| group.rows.iter().copied()).collect();
    html! { (cards) (losses(&rows, record)) }
}

/// The notes of `rows`, and the meaning of the mark.
pub(super) fn footnotes(rows: &[&Row], record: &Record) -> Markup {
    let mut notes: Vec<(String, &str)> = Vec::new();
    for row in rows.iter().filter(|row| !row.note.is_empty()) {
        let note = (format!("{} {}", row.engine, row.mode), &*row.note);
        if !notes.contains(&note) {
            notes.push(note);
        }
    }
    html! {
        @for (name, note) in &notes { p.note { b { (name) } ": " (Prose(note)) } }
        @if rows.iter().any(|row| risks_store(row, record)) { p.note { (RISK_MEANS) } }
    }
}

/// A card for each of `items`, all but the first `open` folded.
pub(super) fn folded<T>(items: &[T], open: usize, card: impl Fn(&T) -> Markup) -> Markup {
    let (open, more) = items.split_at(items.len().min(open));
    let cards = |items: &[T]| beside(items.iter().map(&card));
    html! {
        (cards(open))
        @if !more.is_empty() {
            details {
                summary { (more.len()) " more" }
                (cards(more))
            }
        }
    }
}

/// Cards side by side where there is room.
pub(super) fn beside(
    cards: impl IntoIterator<Item = Markup, IntoIter: ExactSizeIterator>,
) -> Markup {
    let cards = cards.into_iter();
    html! { div.cards.one[cards.len() == 1] { @for card in cards { (card) } } }
}

/// A card.
pub(super) fn card(title: &str, guarantee: Option<Guarantee>, chart: &Markup) -> Markup {
    let class = |guarantee| match guarantee {
        Guarantee::PowerLoss => "pill power",
        Guarantee::ProcessEnd => "pill kill",
        Guarantee::Nothing => "pill nothing",
    };
    html! {
        figure.card {
            figcaption {
                (title)
                @if let Some(guarantee) = guarantee {
                    " " span class=(class(guarantee)) { (survives(Some(guarantee))) }
                }
            }
            (chart)
        }
    }
}

fn lane(row: &Row, measure: Measure, record: &Record) -> Option<Lane> {
    Some(Lane {
        owner: owner(row),
        name: row.engine.clone(),
        note: marked(row, record),
        figure: measure.figure(row),
        shape: measure.shape(row)?,
    })
}

/// The losses of the modes of `rows`, each once, folded (CARDS-3).
fn losses(rows: &[&Row], record: &Record) -> Markup {
    let mut all: Vec<(String, String)> = Vec::new();
    for row in rows {
        let name = format!("{} {}", row.engine, row.mode);
        if let Some(loss) =
            loss(row, record).filter(|_| all.iter().all(|(known, _)| *known != name))
        {
            all.push((name, loss));
        }
    }
    html! {
        @if !all.is_empty() {
            details.losses {
                summary { "What these modes lose" }
                ul { @for (name, loss) in &all { li { b { (name) } ": " (Prose(loss)) } } }
            }
        }
    }
}

/// One card with a lane for each of `rows`, which differ in their threads.
pub(super) fn medley(rows: &[&Row], measure: Measure, record: &Record) -> Markup {
    let lane = |row: &&Row| {
        Some(Lane {
            owner: owner(row),
            name: row.engine.clone(),
            note: format!("{}, {}", marked(row, record), counted(row.threads as u64, "thread")),
            figure: measure.figure(row),
            shape: measure.shape(row)?,
        })
    };
    let lanes: Vec<Lane> = rows.iter().filter_map(lane).collect();
    let Some(first) = rows.first().filter(|_| !lanes.is_empty()) else {
        return Markup::default();
    };
    let title = Usual::of(record).load_without_threads(first);
    card(&title, first.guarantee, &draw(&lanes, &measure.axis(&lanes, first)))
}
