//! Cards of workloads: one per load and guarantee, with the engines side by side.
//!
//! - CARDS-1 Within a card all commits survive the same, and all lanes have one scale.
//! - CARDS-2 A whisker spans the rounds, from the least to the greatest.
//! - CARDS-3 The losses of a mode stand beside its figures, unless there are none.

use maud::{Markup, html};

use super::super::engine::Guarantee;
use super::super::record::{Record, Row};
use super::comparison::{Comparison, Usual, owner, survives};
use super::lanes::{Axis, Lane, LaneOwner, Shape, draw};
use crate::tools::present::figures::{digits, many, many_tick, plain, time, time_tick};

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
            Measure::DeviceBytes => bar(row.device_bytes_per_user_byte?, None),
            Measure::CommitsPerFlush => bar(row.commits_per_flush?, None),
        }
    }

    fn figure(self, row: &Row) -> String {
        match self {
            Measure::Throughput => format!("{} /s", many(row.ops_per_s * rows_per_op(row))),
            Measure::Median | Measure::Percentiles => time(row.p50_us),
            Measure::DeviceBytes => row.device_bytes_per_user_byte.map_or(String::new(), digits),
            Measure::CommitsPerFlush => row.commits_per_flush.map_or(String::new(), many),
        }
    }

    fn axis(self, lanes: &[Lane], row: &Row) -> Axis {
        match self {
            Measure::Throughput if rows_per_op(row) > 1.0 => Axis::bars(lanes, many_tick, "rows/s"),
            Measure::Throughput => Axis::bars(lanes, many_tick, unit_of(&row.workload)),
            Measure::Median => Axis::bars(lanes, time_tick, "median"),
            Measure::Percentiles => Axis::decades(lanes, time_tick, "median"),
            Measure::DeviceBytes => Axis::bars(lanes, plain, "B/B"),
            Measure::CommitsPerFlush => Axis::bars(lanes, many_tick, "commits"),
        }
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
    folded(&groups, OPEN, |group| {
        let lanes: Vec<Lane> =
            group.rows.iter().filter_map(|row| lane(row, measure, record)).collect();
        let chart = draw(&lanes, &measure.axis(&lanes, group.rows[0]));
        card(&group.title(Usual::of(record)), group.guarantee, &chart)
    })
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
    let note = match measure {
        // Only once, not at each number of threads.
        Measure::Throughput if row.threads <= 1 => match loss(row, record) {
            Some(loss) => format!("{}; {loss}", row.mode),
            None => row.mode.clone(),
        },
        Measure::Percentiles => format!("{}; p99.9 {}", row.mode, time(row.p999_us)),
        _ => row.mode.clone(),
    };
    Some(Lane {
        owner: owner(row),
        name: row.engine.clone(),
        note,
        figure: measure.figure(row),
        shape: measure.shape(row)?,
    })
}

/// The losses of a row's mode, unless there are none (CARDS-3).
pub(super) fn loss(row: &Row, record: &Record) -> Option<String> {
    let engine = record.engines.iter().find(|engine| engine.name == row.engine)?;
    let mode = engine.modes.iter().find(|mode| mode.name == row.mode)?;
    let (kill, power) = (&mode.lost_on_kill, &mode.lost_on_power_loss);
    match row.guarantee? {
        Guarantee::PowerLoss => None,
        Guarantee::ProcessEnd => Some(format!("power loss: {power}")),
        Guarantee::Nothing if kill == power => Some(format!("kill or power loss: {kill}")),
        Guarantee::Nothing => Some(format!("kill: {kill}; power loss: {power}")),
    }
}

/// One card with a lane for each of `rows`, which differ in what they do.
pub(super) fn medley(rows: &[&Row], measure: Measure, usual: Usual) -> Markup {
    let lanes: Vec<Lane> = rows
        .iter()
        .filter_map(|row| {
            Some(Lane {
                owner: owner(row),
                name: format!("{} {}", row.engine, row.mode),
                note: usual.load(row),
                figure: measure.figure(row),
                shape: measure.shape(row)?,
            })
        })
        .collect();
    let Some(first) = rows.first().filter(|_| !lanes.is_empty()) else {
        return Markup::default();
    };
    card(&first.workload, first.guarantee, &draw(&lanes, &measure.axis(&lanes, first)))
}
