//! Tables shaded by their counts. Counts span decades, so the shade follows the logarithm.

use std::collections::BTreeSet;

use maud::{Markup, html};

use super::super::digest;
use super::super::summary::{FaultRow, SimSummary};
use crate::tools::present::html::section;
use crate::tools::present::text::count;

/// The darkest shade: text must stay readable on it.
const DARKEST: f64 = 0.5;

/// Fault by commit mode.
pub(super) fn faults(rows: &[FaultRow]) -> Markup {
    let about = "States judged, and in how many of them a commit of either mode was at stake: an \
                 acknowledged `Sync` one, and an acknowledged `Async` one that was not yet durable. \
                 The darker, the more, on a logarithmic scale.";
    let most = rows.iter().map(|row| row.states.max(row.sync).max(row.unsynced)).max().unwrap_or(0);
    let content = html! {
        div.scroll { table {
            thead { tr {
                th.n { "#" } th { "fault" } th.n { "states" }
                th.n { code { "Sync" } " at stake" } th.n { code { "Async" } " at stake" }
            } }
            tbody {
                @for row in rows {
                    tr {
                        td.n { (row.fault) } th scope="row" { (row.name) }
                        @for states in [row.states, row.sync, row.unsynced] {
                            (cell(states, most, &count(states)))
                        }
                    }
                }
            }
        } }
    };
    section("Faults by commit mode", about, &content)
}

/// Fault, operation and file by phase.
pub(super) fn sites(sim: &SimSummary) -> Markup {
    let about = "Each call of the store to its disk, failed on purpose in each phase: how often it \
                 failed once + how often it went on failing. An empty field is a call that the \
                 store does not make.";
    let groups = digest::sites(sim);
    let phases: BTreeSet<&str> =
        groups.iter().flat_map(|group| group.phases.keys()).copied().collect();
    let counts = groups.iter().flat_map(|group| group.phases.values());
    let most = counts.map(|(once, forever)| once + forever).max().unwrap_or(0);
    let content = html! {
        div.scroll { table.dense {
            thead { tr {
                th { "fault" } th { "operation" } th { "file" }
                @for phase in &phases { th.n { (phase) } }
            } }
            tbody {
                @for group in &groups {
                    tr {
                        th.name scope="row" { (group.fault) }
                        td.name { (group.operation) }
                        td.name { (group.file) }
                        @for phase in &phases {
                            @if let Some((once, forever)) = group.phases.get(phase) {
                                @let text = format!("{} + {}", count(*once), count(*forever));
                                (cell(once + forever, most, &text))
                            } @else {
                                td.none {}
                            }
                        }
                    }
                }
            }
        } }
    };
    section("Call sites", &format!("{}. {about}", digest::sites_counted(sim)), &content)
}

fn cell(number: u64, most: u64, text: &str) -> Markup {
    let shade = shade(number, most);
    html! {
        @if number == 0 { td.n.never { "NEVER" } }
        @else { td.n.heat style=(format_args!("--h:{shade:.2}")) { (text) } }
    }
}

/// From nearly nothing for one to [`DARKEST`] for the most.
fn shade(number: u64, most: u64) -> f64 {
    let part = ((number + 1) as f64).ln() / ((most.max(number) + 1) as f64).ln();
    DARKEST * part * part
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_is_darker() {
        assert!(shade(1, 1_000_000) < 0.01);
        assert!(shade(1000, 1_000_000) < shade(10_000, 1_000_000));
        assert_eq!(shade(77, 77), DARKEST);
    }

    #[test]
    fn a_count_of_zero_has_no_shade() {
        let out = cell(0, 0, "0").into_string();
        assert!(out.contains("NEVER") && !out.contains("heat"), "{out}");
    }
}
