//! Renders the summary as one self-contained page: it loads no script, font or picture.
//!
//! ```text
//!   mod        head, verdict, figures, failures, method
//!   picture    the crash states of one run, drawn
//!   heat       tables shaded by counts: fault x commit mode, call sites
//!   lists      tables of facts: depths, clauses, kills, exhibits, mutants
//! ```
//!
//! [`crate::tools::present`] has the parts that all pages share (HTML-1 to HTML-3). Besides:
//!
//! - SUMMARY-1 A count of zero looks different from a small count.
//!
//! `SYNCLINE_PAGES=dir cargo test --features cli torture::html` writes the pages of the tests into a
//! directory.

mod heat;
mod lists;
mod picture;

use maud::{Markup, html};

use super::digest::{self, Verdict, kind_name, mutants};
use super::failure::Failure;
use super::summary::Summary;
use crate::tools::present::html::{self as frame, definitions, section};
use crate::tools::present::prose::Prose;
use crate::tools::present::text::{count, rate, time};

const STYLE: &str = include_str!("style.css");

/// The page.
pub fn page(summary: &Summary) -> String {
    let title = format!("{}: Syncline crash-recovery suite", Verdict::of(summary).word);
    let content = html! {
        (head(summary))
        (verdict(summary))
        (tiles(summary))
        @if !summary.failures.is_empty() { (failures(&summary.failures)) }
        @if let Some(sim) = &summary.sim {
            (heat::faults(&sim.faults))
            @if let Some(picture) = &sim.picture { (picture::draw(picture)) }
            div.pair { (lists::depths(sim)) (lists::clauses(sim)) }
            (heat::sites(sim))
        }
        @if let Some(kill) = &summary.kill { (lists::kills(kill)) }
        @if let Some(server) = &summary.server { (lists::servers(server)) }
        @if let Some(gate) = &summary.mutants { (lists::mutants(gate)) }
        @if let Some(museum) = &summary.museum { (lists::exhibits(museum)) }
        (method(summary))
    };
    frame::page(&title, STYLE, &content)
}

fn head(summary: &Summary) -> Markup {
    html! {
        header {
            h1 { "Syncline crash-recovery suite" }
            p.soft {
                "Version " (summary.version) ", tier " code { (summary.tier.name()) } ", seed "
                code { (summary.seed) } ", " (summary.workers) " workers, " (time(summary.seconds))
            }
        }
    }
}

fn verdict(summary: &Summary) -> Markup {
    const TICK: &str = "M12 21l6 6 11-13";
    const CROSS: &str = "M13 13l14 14M27 13l-14 14";
    let verdict = Verdict::of(summary);
    let is_good = verdict.worst.is_none() && summary.judged() > 0;
    let (class, colour, sign) =
        if is_good { ("held", "--blue", TICK) } else { ("broken", "--alert", CROSS) };
    html! {
        div.verdict.(class) {
            svg viewBox="0 0 40 40" aria-hidden="true" {
                circle cx="20" cy="20" r="19" style={ "fill:var(" (colour) ")" } {}
                path d=(sign) style="fill:none;stroke:var(--card);stroke-width:4" {}
            }
            div { strong { (verdict.word) } (verdict.detail) }
        }
        @for why in &summary.skipped { p.soft { "Not done: " (Prose(why)) } }
    }
}

fn tiles(summary: &Summary) -> Markup {
    let mut tiles = vec![("failures", count(summary.failures.len() as u64))];
    if let Some(sim) = &summary.sim {
        tiles.extend([
            ("states judged", count(sim.states)),
            ("states per second", rate(sim.states, sim.seconds)),
            ("crash points", count(sim.crash_points)),
            ("windows exhausted", count(sim.windows_exhausted)),
            ("widest, in changes", count(sim.widest_exhausted.into())),
        ]);
    }
    if let Some(kill) = &summary.kill {
        tiles.push(("processes killed", count(kill.cycles)));
    }
    if let Some(server) = &summary.server {
        tiles.push(("servers killed", count(server.kills)));
    }
    if let Some(gate) = &summary.mutants {
        let rows = mutants(gate);
        let caught = rows.iter().filter(|row| row.survived == 0).count();
        tiles.push(("mutants caught", format!("{caught} of {}", rows.len())));
    }
    if let Some(museum) = &summary.museum {
        tiles.push(("exhibits", count(museum.exhibits.len() as u64)));
    }
    html! {
        dl.tiles { @for (what, figure) in tiles { div { dt { (what) } dd { (figure) } } } }
    }
}

fn failures(failures: &[Failure]) -> Markup {
    let content = html! {
        @for failure in failures {
            article.failure {
                h3 { (Prose(&failure.title)) }
                div {
                    span.mark { (kind_name(failure.kind)) }
                    @if let Some(clause) = failure.clause {
                        ", " (clause.to_string()) ": " (clause.demand())
                    }
                }
                @if !failure.story.is_empty() {
                    ul { @for line in &failure.story { li { (Prose(line)) } } }
                }
                pre { code { (failure.replay) } }
            }
        }
    };
    section("Failures", "The gravest first, each with the command that repeats it.", &content)
}

/// The meaning and the limits of the figures.
const METHOD: &[(&str, &str)] = &[
    (
        "What a state is",
        "A workload runs on a simulated disk that separates durable data from cached data. At a \
         crash point, before any one disk operation, a power loss may keep any subset of the \
         unsynced 512-byte sectors, file lengths, names and removals. Each subset is a disk; the \
         suite opens, recovers and judges it. That is one state.",
    ),
    (
        "What exhausted means",
        "In a window with few unsynced changes every subset is tried; in a wider one all single \
         changes, pairs and their complements, and others by chance.",
    ),
    (
        "What the oracle demands",
        "A recovered store holds the first k commits, each whole, for one k: at least all that \
         were ever reported durable, at most all that were submitted. It reports k itself, \
         verifies clean, opens again unchanged and takes writes. It never undoes what it has \
         served, and each receipt tells the truth. Both bounds are checked in every state.",
    ),
    (
        "What is at stake",
        "A state counts under `Sync` if a `Sync` commit had been acknowledged before: losing it \
         would be a failure. It counts under `Async` if an acknowledged commit was not yet \
         durable: it may be lost, but only whole and with all later ones. A state may count twice.",
    ),
    (
        "Killed processes",
        "Real processes write to real files and are killed; another process witnesses the \
         acknowledgements. Unlike a simulated disk, this finds mistakes about the operating \
         system. It does not simulate power loss.",
    ),
    (
        "Killed servers",
        "Many clients write to a real server, in all modes, many at a time, until it is killed. \
         They ask the next server for every key and about jobs, and send writes with an \
         idempotency key again: the unanswered ones and others.",
    ),
    (
        "Mutants",
        "A mutant is the store with one plausible mistake switched on. A suite that misses it \
         would miss the same mistake made by accident.",
    ),
];

fn method(summary: &Summary) -> Markup {
    let content = html! {
        dl.method {
            (definitions(METHOD))
            dt { "Again" }
            dd {
                "The simulation follows from the seed:"
                pre { code { (digest::again(summary)) } }
            }
        }
    };
    section("Method", "The meaning of these figures, and their limits.", &content)
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::super::summary::{
        GateSummary, KillSummary, MuseumSummary, Picture, ServerSummary, SimSummary,
    };
    use super::*;
    use crate::tools::present::html::{check, keep};

    fn all() -> [(&'static str, Summary); 3] {
        let empty = Summary {
            sim: Some(SimSummary { picture: Some(Picture::default()), ..Default::default() }),
            kill: Some(KillSummary::default()),
            server: Some(ServerSummary::default()),
            museum: Some(MuseumSummary::default()),
            mutants: Some(GateSummary::default()),
            ..sample::good()
        };
        [("good", sample::good()), ("bad", sample::bad()), ("empty", empty)]
    }

    #[test]
    fn pages_are_well_formed_and_need_nothing_else() {
        for (name, summary) in all() {
            let page = page(&summary);
            keep(name, &page);
            check(name, &page);
        }
    }

    #[test]
    fn the_page_shows_everything() {
        let bad = page(&sample::bad());
        for text in [
            "PROMISE BROKEN",
            "&lt;script&gt;alert(1)&lt;/script&gt;",
            "syncline-failures/bounds-123456789.json",
            "power loss",
            "Submitted commits",
            "fdatasync, entry",
            "jobs reported after a kill: interrupted",
            "SURVIVED 1 of 2",
            "header before extension",
            "NEVER",
            "Method",
            "--seed 123456789",
        ] {
            assert!(bad.contains(text), "{text}");
        }
        let good = page(&sample::good());
        assert!(good.contains("ALL HELD") && !good.contains("NEVER"));
        let diamonds = "drawn as diamonds";
        assert!(!good.contains(diamonds) && bad.contains(diamonds));
    }
}
