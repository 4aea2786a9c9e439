//! Our standing: each of our rows against the best of the others.

use maud::{Markup, html};

use super::super::record::{Ratio, Record, Row};
use super::comparison::{Usual, survives};
use super::lanes::{Axis, Lane, LaneOwner, Shape, draw};
use crate::tools::present::figures::{times, times_tick};
use crate::tools::present::html;

/// The section, if there are others.
pub(super) fn section(record: &Record) -> Markup {
    let usual = Usual::of(record);
    let lanes: Vec<Lane> = record.results.iter().filter_map(|row| lane(row, usual)).collect();
    if lanes.is_empty() {
        return Markup::default();
    }
    let behind = lanes.iter().filter(|lane| lane.owner == LaneOwner::Peer).count();
    let axis = Axis { line: Some(1.0), ..Axis::decades(&lanes, times_tick, "as good") };
    let chart = html! {
        p { "Ahead in " (lanes.len() - behind) " of " (lanes.len()) "." }
        figure.card.standing { (draw(&lanes, &axis)) }
    };
    html::section(
        "Against the best of the others",
        "Each of our figures against the best one of the other stores in the same round, at the same \
         work, with the same guarantee. Right of the line we lead, left of it we do not. \
         Every comparison that was measured is here. Whiskers span the rounds; the scale is \
         logarithmic.",
        &chart,
    )
}

/// The lane of a row: more is better for every figure.
fn lane(row: &Row, usual: Usual) -> Option<Lane> {
    let ratio = row.ratio_to_best_peer.filter(|ratio| *ratio > 0.0)?;
    let spread = row.ratio_to_best_peer_spread.map(|spread| (spread.min, spread.max));
    let what = match row.peer_ratio_is {
        Ratio::Throughput => "throughput",
        Ratio::MedianLatency => "median",
        Ratio::DeviceBytes => "device bytes",
        Ratio::DiskBytes => "disk space",
    };
    let mut note = format!("{what}, against {}", row.best_peer.as_deref().unwrap_or("the best"));
    if row.guarantee.is_some() {
        note.push_str(&format!("; {}", survives(row.guarantee)));
    }
    Some(Lane {
        // The sign and the strong colour are for rows in which we lead.
        owner: if ratio >= 1.0 { LaneOwner::Ours } else { LaneOwner::Peer },
        name: usual.load(row),
        note,
        figure: times(ratio),
        shape: Shape::Dot {
            value: ratio,
            from: Some(1.0),
            spread: spread.filter(|(min, max)| min.is_finite() && max.is_finite() && *min > 0.0),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const USUAL: Usual = Usual { value_bytes: 0 };

    #[test]
    fn ahead_is_above_one() {
        let row = |ratio| Row { ratio_to_best_peer: Some(ratio), ..Row::default() };
        let figure = |ratio| lane(&row(ratio), USUAL).map(|lane| (lane.owner, lane.figure));
        assert_eq!(figure(0.5), Some((LaneOwner::Peer, "0.500\u{d7}".into())));
        assert_eq!(figure(2.0), Some((LaneOwner::Ours, "2.00\u{d7}".into())));
        assert!(lane(&Row::default(), USUAL).is_none());
    }
}
