//! Our standing: each of our rows against the best of the others.
//!
//! - STANDING-1 Ahead is better in every round, behind is worse in every round, and the rest is level: the
//!   spread of the ratio contains 1.

use maud::{Markup, html};

use super::super::engine::Guarantee;
use super::super::record::{Ratio, Record, Row, Standing};
use super::compared::{Compared, Tally, ratio, word};
use super::comparison::Usual;
use super::lanes::{Axis, Lane, LaneOwner, Shape, draw};
use crate::tools::present::figures::times_tick;
use crate::tools::present::html;

/// The sections of the chart, by the guarantee.
const PARTS: [(Option<Guarantee>, &str); 4] = [
    (Some(Guarantee::PowerLoss), "Work with commits that survive a power loss"),
    (Some(Guarantee::ProcessEnd), "Work with commits that survive a kill, not a power loss"),
    (Some(Guarantee::Nothing), "Work with commits that survive nothing"),
    (None, "Work without commits"),
];

/// The section, if there are others.
pub(super) fn section(record: &Record) -> Markup {
    let usual = Usual::of(record);
    let lanes = |of: &Row| lane(of, usual);
    if !record.results.iter().any(|row| lanes(row).is_some()) {
        return Markup::default();
    }
    let axis =
        |lanes: &[Lane]| Axis { line: Some(1.0), ..Axis::decades(lanes, times_tick, "as good") };
    let part = |guarantee: Option<Guarantee>| {
        let rows = record.results.iter().filter(move |row| row.guarantee == guarantee);
        let rows: Vec<&Row> = rows.filter(|row| row.standing().is_some()).collect();
        let lanes: Vec<Lane> = rows.iter().filter_map(|row| lanes(row)).collect();
        (Tally::of(rows), lanes)
    };
    let chart = html! {
        p { strong { (Tally::of(&record.results).text()) "." } }
        @for (guarantee, title) in PARTS {
            @let (tally, lanes) = part(guarantee);
            @if !lanes.is_empty() {
                figure.card.standing {
                    figcaption { (title) " " span.soft { (tally.text()) } }
                    (draw(&lanes, &axis(&lanes)))
                }
            }
        }
    };
    html::section(
        "How does Syncline stand against the best of the others?",
        "Each of our figures against the best one of the other stores in the same round, at the same \
         work, with the same guarantee: how many times as good it is, and the spread of that over the \
         rounds. Operations per second are compared unless a line says otherwise. Ahead means better in \
         every round, behind worse in every round, level neither. The best of several is harder to beat \
         than any one of them. Every comparison that was measured is here; the scale is logarithmic.",
        &chart,
    )
}

/// The lane of a row: more is better for every figure.
fn lane(row: &Row, usual: Usual) -> Option<Lane> {
    let standing = row.standing()?;
    let median = row.ratio_to_best_peer.filter(|ratio| *ratio > 0.0)?;
    let spread = row.ratio_to_best_peer_spread;
    let peer = row.best_peer.as_deref().unwrap_or("the best");
    let note = match row.peer_ratio_is {
        Ratio::Throughput => format!("{} {peer}", phrase(standing)),
        other => format!("{} {peer}, by {}", phrase(standing), Compared::by(other).name),
    };
    let ends = spread.map(|spread| (spread.min, spread.max));
    Some(Lane {
        owner: match standing {
            Standing::Ahead => LaneOwner::Ours,
            Standing::Level => LaneOwner::Level,
            Standing::Behind => LaneOwner::Peer,
        },
        name: usual.load(row),
        note,
        figure: ratio(median, spread, "\u{d7}", "\u{2013}"),
        shape: Shape::Dot {
            value: median,
            from: Some(1.0),
            spread: ends.filter(|(min, max)| min.is_finite() && max.is_finite() && *min > 0.0),
        },
    })
}

fn phrase(standing: Standing) -> String {
    let with = match standing {
        Standing::Ahead => "of",
        Standing::Level => "with",
        Standing::Behind => "",
    };
    format!("{} {with}", word(standing)).trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tools::bench::record::Spread;

    const USUAL: Usual = Usual { value_bytes: 0, keys: 0 };

    #[test]
    fn a_spread_that_contains_one_is_level() {
        let row = |min, median, max| Row {
            ratio_to_best_peer: Some(median),
            ratio_to_best_peer_spread: Some(Spread { min, median, max }),
            best_peer: Some("elm".into()),
            ..Row::default()
        };
        let of = |row: &Row| lane(row, USUAL).map(|lane| (lane.owner, lane.figure, lane.note));
        let figure = |text: &str| text.replace('x', "\u{d7}").replace("..", "\u{2013}");
        let expected = (LaneOwner::Peer, figure("0.50x (0.40..0.60)"), "behind elm".to_owned());
        assert_eq!(of(&row(0.4, 0.5, 0.6)), Some(expected));
        let expected =
            (LaneOwner::Level, figure("1.20x (0.90..1.30)"), "level with elm".to_owned());
        assert_eq!(of(&row(0.9, 1.2, 1.3)), Some(expected));
        assert_eq!(of(&row(1.9, 2.0, 2.1)).map(|(owner, ..)| owner), Some(LaneOwner::Ours));
        assert!(lane(&Row::default(), USUAL).is_none());
    }
}
