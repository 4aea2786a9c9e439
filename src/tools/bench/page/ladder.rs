//! The ladder: the cost of a commit above the floor, and the cost of surviving a power loss.
//!
//! ```text
//!   a bare write           o                              0.70 us    survives a kill
//!   Async                  |===o                          1.40 us    survives a kill
//!   a bare write, flushed              o                  85 us      survives a power loss
//!   Sync                               |=o                88 us      survives a power loss
//!                          1 us   10 us   100 us
//! ```
//!
//! A band on our rungs begins at the floor beneath: it spans the cost that the store adds.

use maud::{Markup, html};

use super::super::engine::Guarantee;
use super::super::record::{Record, Row, SYNCLINE};
use super::comparison::survives;
use super::lanes::{Axis, Lane, LaneOwner, Shape, draw};
use crate::tools::present::figures::{time, time_tick};
use crate::tools::present::html;
use crate::tools::present::prose::Prose;

/// A floor and our mode above it.
struct Step<'a> {
    floor: &'a Row,
    ours: &'a Row,
}

/// The section, if the record has a floor of commits and ours above it.
pub(super) fn section(record: &Record) -> Markup {
    let kill = step(record, Guarantee::ProcessEnd);
    let power = step(record, Guarantee::PowerLoss);
    if kill.is_none() && power.is_none() {
        return Markup::default();
    }
    let words = words(&kill, &power);
    let lanes: Vec<Lane> =
        [("A bare write", "Async", kill), ("A bare write, flushed", "Sync", power)]
            .into_iter()
            .filter_map(|(floor, ours, step)| step.map(|step| lanes(floor, ours, &step)))
            .flatten()
            .collect();
    let chart = html! {
        p.lead { (Prose(&words)) }
        figure.card.ladder { (draw(&lanes, &Axis::decades(&lanes, time_tick, "a commit"))) }
    };
    html::section(
        "What does a commit cost?",
        "One thread commits one small row at a time, and waits until it is told. The median of how \
         long that takes, on a logarithmic scale: each mark is ten times as far as the one before. \
         The band is the difference to the bare system calls beside it: the fastest of several ways to \
         write the same bytes, with or without a flush, in this run.",
        &chart,
    )
}

/// The rung of one guarantee: one put in one thread, closed loop, above the fastest floor of it.
fn step(record: &Record, guarantee: Guarantee) -> Option<Step<'_>> {
    let is_plain = |row: &&Row| {
        row.workload == "commit"
            && row.variant != "delete"
            && row.guarantee == Some(guarantee)
            && row.threads == 1
            && row.batch <= 1
            && row.rate.is_none()
            && row.p50_us > 0.0
    };
    let plain = || record.results.iter().filter(is_plain);
    let ours: Vec<&Row> = plain().filter(|row| row.engine == SYNCLINE).collect();
    // The floor writes values of our size, if there is one of that size.
    let of_size = |ours: &&Row, floor: &Row| floor.value_bytes == ours.value_bytes;
    let floors = || plain().filter(|row| row.is_floor());
    let same = ours.iter().copied().find(|ours| floors().any(|floor| of_size(ours, floor)));
    let ours = same.or(ours.first().copied())?;
    let floors = floors().filter(|floor| same.is_none() || of_size(&ours, floor));
    let floor = floors.min_by(|a, b| a.p50_us.total_cmp(&b.p50_us))?;
    Some(Step { floor, ours })
}

fn words(kill: &Option<Step<'_>>, power: &Option<Step<'_>>) -> String {
    let mut text = String::new();
    if let Some(step) = kill {
        text.push_str(&format!(
            "An **Async** commit takes {} where a bare write takes {}, and survives a kill of the \
             process. ",
            time(step.ours.p50_us),
            time(step.floor.p50_us),
        ));
    }
    if let Some(step) = power {
        text.push_str(&format!(
            "A **Sync** commit takes {} where a bare write with its flush takes {}, and survives a \
             power loss. ",
            time(step.ours.p50_us),
            time(step.floor.p50_us),
        ));
    }
    // Names of modes are code.
    text.replace("**", "`")
}

fn lanes(floor_name: &str, ours_name: &str, step: &Step<'_>) -> [Lane; 2] {
    let floor = Lane {
        owner: LaneOwner::Floor,
        name: floor_name.into(),
        note: step.floor.mode.clone(),
        figure: time(step.floor.p50_us),
        shape: Shape::Dot { value: step.floor.p50_us, from: None, spread: None },
    };
    let ours = Lane {
        owner: LaneOwner::Ours,
        name: format!("{ours_name} commit"),
        note: survives(step.ours.guarantee).into(),
        figure: time(step.ours.p50_us),
        shape: Shape::Dot { value: step.ours.p50_us, from: Some(step.floor.p50_us), spread: None },
    };
    [floor, ours]
}
