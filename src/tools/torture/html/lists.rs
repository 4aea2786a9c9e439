//! Tables of facts.

use std::collections::BTreeMap;

use maud::{Markup, html};

use super::super::digest;
use super::super::failure::Clause;
use super::super::summary::{GateSummary, KillSummary, MuseumSummary, ServerSummary, SimSummary};
use crate::tools::present::html::section;
use crate::tools::present::prose::Prose;
use crate::tools::present::text::{count, counted, time};

/// States by the number of crashes, each during recovery from the one before.
pub(super) fn depths(sim: &SimSummary) -> Markup {
    let about = "A crash may come during the recovery from an earlier one. The bars are to scale.";
    let most = sim.states_by_depth.iter().copied().max().unwrap_or(0);
    let rest = [
        ("workloads run".to_owned(), sim.runs),
        ("windows sampled".to_owned(), sim.windows_sampled),
        (format!("bits flipped, each alone, of {}", count(sim.bits)), sim.bits_flipped),
        ("bits flipped together, in pages that are never read".to_owned(), sim.bits_unread),
        ("runs repeated with the same trace".to_owned(), sim.traces_compared),
    ];
    let content = html! {
        table {
            thead { tr { th.n { "crashes" } th.n { "states" } th {} } }
            tbody {
                @for (depth, states) in sim.states_by_depth.iter().enumerate() {
                    tr { td.n { (depth + 1) } (bar(*states, most)) }
                }
            }
        }
        (facts(rest))
    };
    section("Crashes within recoveries", about, &content)
}

/// How often each clause was checked.
pub(super) fn clauses(sim: &SimSummary) -> Markup {
    let content = html! {
        table { tbody {
            @for clause in Clause::ALL {
                tr {
                    th scope="row" { (clause.to_string()) }
                    td { (clause.demand()) }
                    @match sim.clauses.get(&clause).copied().unwrap_or(0) {
                        0 => { td.n.never { "NEVER" } }
                        checked => { td.n { (count(checked)) } }
                    }
                }
            }
        } }
    };
    section("Clauses of the oracle", "How often each was checked.", &content)
}

/// The results of the kill tier.
pub(super) fn kills(kill: &KillSummary) -> Markup {
    let rest = [
        ("`Sync` commits acknowledged to a witness", kill.sync_commits),
        ("`Async` commits acknowledged to a witness", kill.async_commits),
        ("recoveries killed", kill.recoveries_killed),
        ("the longest run of them", kill.deepest),
    ];
    let content = html! {
        div.pair {
            div { (bars("killed at", "kills", &kill.places)) }
            div {
                @if !kill.injected.is_empty() { (bars("injected", "times", &kill.injected)) }
                (facts(rest.map(|(what, number)| (what.to_owned(), number))))
            }
        }
    };
    let about = killed(kill.cycles, kill.seconds, &kill.directory, &kill.notes);
    section("Killed processes", &about, &content)
}

/// The results of the tier of served stores.
pub(super) fn servers(server: &ServerSummary) -> Markup {
    let content = html! {
        div.pair {
            div { (bars("answered", "writes", &server.writes)) }
            div { (facts(digest::served(server))) }
        }
    };
    let about = killed(server.kills, server.seconds, &server.directory, &server.notes);
    section("Killed servers, judged by their clients", &about, &content)
}

/// The number of kills, their time and directory, and the notes.
fn killed(kills: u64, seconds: f64, directory: &str, notes: &[String]) -> String {
    let place = if directory.is_empty() { String::new() } else { format!(", in {directory}") };
    let notes = notes.iter().map(|note| format!(" {}.", note.trim_end_matches('.')));
    let kills = counted(kills, "kill");
    format!("{kills} in {}{place}.{}", time(seconds), notes.collect::<String>())
}

/// The result of each mutant.
pub(super) fn mutants(gate: &GateSummary) -> Markup {
    let about = "Mistakes switched on deliberately. States and time until each was caught: the worst \
                 over the seeds.";
    let content = html! {
        div.scroll { table {
            thead { tr {
                th { "class" } th { "mutant" } th { "the mistake" } th { "caught by" }
                th.n { "seeds" } th.n { "states" } th.n { "time" }
            } }
            tbody {
                @for row in digest::mutants(gate) {
                    tr {
                        td { (row.class) }
                        th.name scope="row" { (row.name) }
                        td.wide { (Prose(&row.about)) }
                        @if row.survived == 0 { td { (row.caught_by) } }
                        @else { td.mark { "SURVIVED " (row.survived) " of " (row.seeds) } }
                        td.n { (row.seeds) }
                        td.n { (count(row.states)) }
                        td.n { (format_args!("{:.2} s", row.seconds)) }
                    }
                }
            }
        } }
    };
    section("Mutants", about, &content)
}

/// The result of each exhibit.
pub(super) fn exhibits(museum: &MuseumSummary) -> Markup {
    let content = html! {
        div.scroll { table {
            thead { tr { th { "exhibit" } th { "story" } th { "outcome" } th.n { "states" } } }
            tbody {
                @for exhibit in &museum.exhibits {
                    tr {
                        th scope="row" { (exhibit.name) }
                        td.wide { (Prose(&exhibit.story)) }
                        @if exhibit.passed { td { "held" } } @else { td.mark { "BROKEN" } }
                        td.n { (count(exhibit.states)) }
                    }
                }
            }
        } }
    };
    section("Museum", "Known bugs, ours and others', as scenarios that must pass.", &content)
}

fn bars(what: &str, unit: &str, counts: &BTreeMap<String, u64>) -> Markup {
    let most = counts.values().copied().max().unwrap_or(0);
    html! {
        table {
            thead { tr { th { (what) } th.n { (unit) } th {} } }
            tbody {
                @for (name, number) in counts {
                    tr { th scope="row" { (name) } (bar(*number, most)) }
                }
            }
        }
    }
}

/// Two cells: a number, and a bar as long as its part of `most`.
fn bar(number: u64, most: u64) -> Markup {
    let width = 100.0 * number as f64 / most.max(1) as f64;
    html! {
        td.n { (count(number)) }
        td.bar { span style=(format_args!("width:{width:.1}%")) {} }
    }
}

fn facts(facts: impl IntoIterator<Item = (String, u64)>) -> Markup {
    html! {
        table.facts { tbody {
            @for (what, number) in facts {
                tr { th scope="row" { (Prose(&what)) } td.n { (count(number)) } }
            }
        } }
    }
}
