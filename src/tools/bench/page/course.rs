//! `steady`: the rate over a minute or more.
//!
//! A course may have hundreds of moments, a chart has room for [`POINTS`]: each of these is the mean of
//! its part. A short stall vanishes in a mean, so the table beside it has the slowest moment and the
//! longest operation.

use maud::{Markup, html};

use super::super::engine::Guarantee;
use super::super::record::{Moment, Record, Row, SYNCLINE};
use super::cards::{card, footnotes};
use super::comparison::{Usual, grouped, is_like, look};
use super::modes::marked;
use super::plot::{Plane, Point, Series, Signs};
use super::scale::Scale;
use crate::tools::present::figures::{many, many_tick, plain, time};
use crate::tools::present::html;

/// The most points of a line.
const POINTS: usize = 120;

/// The section, if anything was measured for so long.
pub(super) fn section(record: &Record) -> Markup {
    let rows = record.results.iter().filter(|row| row.course.len() > 1);
    let groups = grouped(rows, |a, b| a.guarantee == b.guarantee && is_like(a, b));
    if groups.is_empty() {
        return Markup::default();
    }
    let charts = html! {
        @for rows in &groups {
            div.cards.one { (chart(rows, record)) }
        }
    };
    html::section(
        "Does the rate hold, for a minute and through checkpoints and compactions?",
        "Each engine commits for at least a minute, as fast as it can. The scale is logarithmic, so that a \
         drop by half looks the same for all. The lines are of the last round.",
        &charts,
    )
}

fn chart(rows: &[&Row], record: &Record) -> Markup {
    let mut rows = rows.to_vec();
    rows.sort_by_key(|row| row.engine != SYNCLINE);
    let seconds = rows.iter().filter_map(|row| row.course.last()).map(|last| last.at_s);
    let seconds = seconds.filter(|at| at.is_finite()).fold(1.0, f64::max);
    let series: Vec<Series> = rows
        .iter()
        .map(|row| Series {
            name: format!("{} {}", row.engine, marked(row, record)),
            look: look(&row.engine, record),
            points: thinned(&row.course).iter().map(|moment| point(row, moment, seconds)).collect(),
            signs: Signs::AtTicks,
        })
        .collect();
    let scale = Scale::from_zero([seconds], 4);
    let ticks = scale.ticks(4).into_iter().filter_map(|tick| tick.value);
    let plane = Plane {
        about: "Operations per second over time",
        x_ticks: ticks
            .filter(|at| *at <= seconds)
            .map(|at| (at / seconds, format!("{} s", plain(at))))
            .collect(),
        x_unit: "time since the measurement began",
        y: Scale::decades(series.iter().flat_map(|s| s.points.iter().map(|point| point.y))),
        y_tick: many_tick,
        y_unit: "operations per second, logarithmic",
    };
    let body = html! { (plane.draw(&series)) (table(&rows, record)) (footnotes(&rows, record)) };
    let title = match rows[0].guarantee {
        Some(Guarantee::PowerLoss) => "Does the rate of durable commits hold?".to_owned(),
        Some(_) => "Does the rate of commits that wait for no flush hold?".to_owned(),
        None => format!("Does the rate hold? {}", Usual::of(record).load(rows[0])),
    };
    card(&title, rows[0].guarantee, &body)
}

fn point(row: &Row, moment: &Moment, seconds: f64) -> Point {
    let told = format!("{}, {} s: {}/s", row.engine, plain(moment.at_s), many(moment.ops_per_s));
    Point { x: (moment.at_s / seconds).clamp(0.0, 1.0), y: moment.ops_per_s, spread: None, told }
}

/// The course in at most [`POINTS`] moments, each the mean of a part.
fn thinned(course: &[Moment]) -> Vec<Moment> {
    let part = course.len().div_ceil(POINTS).max(1);
    let mean = |part: &[Moment]| Moment {
        at_s: part.last().map_or(0.0, |moment| moment.at_s),
        ops_per_s: part.iter().map(|moment| moment.ops_per_s).sum::<f64>() / part.len() as f64,
        max_us: part.iter().map(|moment| moment.max_us).fold(0.0, f64::max),
    };
    course.chunks(part).map(mean).collect()
}

/// The slowest moment of a row against its rate over all.
pub(in crate::tools::bench) fn slowest(row: &Row) -> Option<f64> {
    let least = row.course.iter().map(|moment| moment.ops_per_s).min_by(f64::total_cmp)?;
    (row.ops_per_s > 0.0).then(|| least / row.ops_per_s)
}

fn table(rows: &[&Row], record: &Record) -> Markup {
    html! {
        div.scroll {
            table {
                thead {
                    tr {
                        th { "store" }
                        th.n { "ops/s" }
                        th.n { "slowest moment" }
                        th.n { "p50" }
                        th.n { "p99.9" }
                        th.n { "longest" }
                    }
                }
                tbody {
                    @for row in rows {
                        tr {
                            td { b { (row.engine) } " " (marked(row, record)) }
                            td.n { (many(row.ops_per_s)) "/s" }
                            td.n { (slowest(row).map_or(String::new(), percent)) }
                            td.n { (time(row.p50_us)) }
                            td.n { (time(row.p999_us)) }
                            td.n { (time(row.max_us)) }
                        }
                    }
                }
            }
        }
    }
}

/// "43 %".
pub(in crate::tools::bench) fn percent(part: f64) -> String {
    format!("{:.0} %", part * 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn course(count: usize) -> Vec<Moment> {
        let moment =
            |index| Moment { at_s: index as f64 + 1.0, ops_per_s: 10.0, max_us: index as f64 };
        (0..count).map(moment).collect()
    }

    #[test]
    fn a_long_course_is_thinned_to_what_a_chart_can_show() {
        assert_eq!(thinned(&course(100)), course(100));
        let thin = thinned(&course(600));
        assert_eq!(thin.len(), POINTS);
        assert_eq!(thin[0], Moment { at_s: 5.0, ops_per_s: 10.0, max_us: 4.0 });
        assert_eq!(thin.last().map(|last| last.at_s), Some(600.0));
        assert!(thinned(&course(601)).len() <= POINTS && thinned(&[]).is_empty());
    }

    #[test]
    fn the_slowest_moment_is_told() {
        let mut row = Row { ops_per_s: 10.0, course: course(5), ..Row::default() };
        row.course[2].ops_per_s = 1.0;
        assert_eq!(slowest(&row).map(percent), Some("10 %".into()));
        assert_eq!(slowest(&Row::default()), None);
    }
}
