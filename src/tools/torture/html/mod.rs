//! The summary as one page that needs nothing else: no script, no font, no picture from anywhere.
//!
//! ```text
//!   mod        head, verdict, figures, failures, method
//!   picture    the crash states of one run, drawn
//!   heat       tables shaded by how much was done: fault x commit mode, call sites
//!   lists      tables of facts: depths, clauses, kills, exhibits, mutants
//! ```
//!
//! What all pages share is in [`crate::tools::present`] (HTML-1 to HTML-3). Besides:
//!
//! - SUMMARY-1 What was never reached looks different from what was reached seldom.
//!
//! To look at it, `SYNCLINE_PAGES=dir cargo test --features cli torture::html` writes the pages
//! of the tests into a directory.

mod heat;
mod lists;
mod picture;

use super::digest::{self, Verdict, kind_name, mutants};
use super::failure::Failure;
use super::summary::Summary;
use crate::tools::present::escape::{Prose, Text};
use crate::tools::present::html::{begin, close, end, open, put, terms};
use crate::tools::present::text::{count, rate, time};

const STYLE: &str = include_str!("style.css");

/// The page.
pub fn page(summary: &Summary) -> String {
    let mut out = String::new();
    head(summary, &mut out);
    verdict(summary, &mut out);
    tiles(summary, &mut out);
    if !summary.failures.is_empty() {
        failures(&summary.failures, &mut out);
    }
    if let Some(sim) = &summary.sim {
        heat::faults(&sim.faults, &mut out);
        if let Some(picture) = &sim.picture {
            picture::section(picture, &mut out);
        }
        out.push_str("<div class=\"pair\">\n");
        lists::depths(sim, &mut out);
        lists::clauses(sim, &mut out);
        out.push_str("</div>\n");
        heat::sites(sim, &mut out);
    }
    if let Some(kill) = &summary.kill {
        lists::kills(kill, &mut out);
    }
    if let Some(server) = &summary.server {
        lists::servers(server, &mut out);
    }
    if let Some(gate) = &summary.mutants {
        lists::mutants(gate, &mut out);
    }
    if let Some(museum) = &summary.museum {
        lists::exhibits(museum, &mut out);
    }
    method(summary, &mut out);
    end(&mut out);
    out
}

fn head(summary: &Summary, out: &mut String) {
    let word = Verdict::of(summary).word;
    begin(&format!("{word}: Syncline crash-recovery suite"), STYLE, out);
    put(
        out,
        format_args!(
            "<header>\n<h1>Syncline crash-recovery suite</h1>\n\
             <p class=\"soft\">Version {}, tier <code>{}</code>, seed <code>{}</code>, {} workers, \
             {}</p>\n</header>\n",
            Text(summary.version),
            summary.tier.name(),
            summary.seed,
            summary.workers,
            time(summary.seconds),
        ),
    );
}

fn verdict(summary: &Summary, out: &mut String) {
    const TICK: &str = "M12 21l6 6 11-13";
    const CROSS: &str = "M13 13l14 14M27 13l-14 14";
    let verdict = Verdict::of(summary);
    let is_good = verdict.worst.is_none() && summary.judged() > 0;
    let (class, colour, sign) =
        if is_good { ("held", "--blue", TICK) } else { ("broken", "--alert", CROSS) };
    put(
        out,
        format_args!(
            "<div class=\"verdict {class}\"><svg viewBox=\"0 0 40 40\" aria-hidden=\"true\">\
             <circle cx=\"20\" cy=\"20\" r=\"19\" style=\"fill:var({colour})\"/>\
             <path d=\"{sign}\" style=\"fill:none;stroke:var(--card);stroke-width:4\"/></svg>\
             <div><strong>{}</strong>{}</div></div>\n",
            Text(verdict.word),
            Text(&verdict.detail),
        ),
    );
    for why in &summary.skipped {
        put(out, format_args!("<p class=\"soft\">Not done: {}</p>\n", Prose(why)));
    }
}

fn tiles(summary: &Summary, out: &mut String) {
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
    out.push_str("<dl class=\"tiles\">\n");
    for (what, figure) in tiles {
        put(out, format_args!("<div><dt>{what}</dt><dd>{figure}</dd></div>\n"));
    }
    out.push_str("</dl>\n");
}

fn failures(failures: &[Failure], out: &mut String) {
    open("Failures", "The gravest first; each with the command that shows it again.", out);
    for failure in failures {
        let clause = failure.clause.map(|clause| format!(", {clause}: {}", clause.demand()));
        put(
            out,
            format_args!(
                "<article class=\"failure\"><h3>{}</h3>\n<div><span class=\"mark\">{}</span>{}\
                 </div>\n",
                Prose(&failure.title),
                kind_name(failure.kind),
                Text(clause.as_deref().unwrap_or("")),
            ),
        );
        if !failure.story.is_empty() {
            out.push_str("<ul>\n");
            for line in &failure.story {
                put(out, format_args!("<li>{}</li>\n", Prose(line)));
            }
            out.push_str("</ul>\n");
        }
        put(out, format_args!("<pre><code>{}</code></pre></article>\n", Text(&failure.replay)));
    }
    close(out);
}

/// What a reader must know in order to doubt the figures in the right places.
const METHOD: &[(&str, &str)] = &[
    (
        "What a state is",
        "A workload runs on a simulated disk that keeps apart what is durable and what is only \
         cached. At a crash point, before any one disk operation, a power loss may keep any \
         subset of the unsynced 512-byte sectors, file lengths, names and removals. Each subset \
         is a disk; it is opened, recovered and judged. That is one state.",
    ),
    (
        "What exhausted means",
        "Of a window with few unsynced changes every subset is tried; of a wider one all single \
         changes, pairs and their complements, and more by chance.",
    ),
    (
        "What is demanded",
        "A recovered store holds the first k commits, each whole, for one k: not less than was \
         ever reported durable, not more than was submitted. It says so itself, verifies clean, \
         opens again unchanged, goes on taking writes; what it has served is never undone, and \
         each receipt tells the truth. Both bounds are checked in every state.",
    ),
    (
        "What is at stake",
        "A state counts under `Sync` if a `Sync` commit had been acknowledged before, so that it \
         could have been lost; under `Async` if an acknowledged commit was not yet durable, so \
         that it might be lost, but only whole and with all that came after it. A state may \
         count twice.",
    ),
    (
        "Killed processes",
        "Real processes write to real files and are killed; another process witnesses what was \
         acknowledged. This finds what a simulated disk cannot: a mistake about the operating \
         system. It does not simulate power loss.",
    ),
    (
        "Killed servers",
        "A real server with many clients, which write in all modes, many at a time, until it is \
         killed. The next one is asked for every key, about every job that was told, and to do \
         the writes with an idempotency key again, those that were never answered and others.",
    ),
    (
        "Mutants",
        "The store with one plausible mistake switched on. A suite that does not notice it would \
         not notice the same mistake made by accident.",
    ),
];

fn method(summary: &Summary, out: &mut String) {
    open("Method", "What these figures say, and what they do not.", out);
    out.push_str("<dl class=\"method\">\n");
    terms(METHOD, out);
    put(
        out,
        format_args!(
            "<dt>Again</dt><dd>What is simulated follows from the seed:\n<pre><code>{}</code></pre>\
             </dd>\n</dl>\n",
            Text(&digest::again(summary)),
        ),
    );
    close(out);
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::super::summary::{
        GateSummary, KillSummary, MuseumSummary, Picture, ServerSummary, SimSummary,
    };
    use super::*;
    use crate::tools::present::html;

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
            html::keep(name, &page);
            html::check(name, &page);
        }
    }

    #[test]
    fn everything_is_told() {
        let bad = page(&sample::bad());
        for text in [
            "PROMISE BROKEN",
            "&lt;script&gt;alert(1)&lt;/script&gt;",
            "syncline-failures/bounds-123456789.json",
            "power loss",
            "Submitted commits",
            "fdatasync, entry",
            "jobs told after a kill: interrupted",
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
