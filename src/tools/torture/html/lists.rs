//! Tables of facts.

use std::collections::BTreeMap;

use super::super::digest;
use super::super::failure::Clause;
use super::super::summary::{GateSummary, KillSummary, MuseumSummary, ServerSummary, SimSummary};
use crate::tools::present::escape::{Prose, Text};
use crate::tools::present::html::{close, open, put};
use crate::tools::present::text::{count, counted, time};

/// States by how many crashes lay one within the other's recovery.
pub(super) fn depths(sim: &SimSummary, out: &mut String) {
    let about = "A crash may come while an earlier one is being recovered from. The bars are to \
                 scale.";
    open("Crashes within recoveries", about, out);
    let most = sim.states_by_depth.iter().copied().max().unwrap_or(0).max(1);
    out.push_str(
        "<table><thead><tr><th class=\"n\">crashes</th><th class=\"n\">states</th><th></th></tr>\
         </thead>\n<tbody>\n",
    );
    for (depth, states) in sim.states_by_depth.iter().enumerate() {
        let (crashes, width) = (depth + 1, 100.0 * *states as f64 / most as f64);
        put(
            out,
            format_args!(
                "<tr><td class=\"n\">{crashes}</td><td class=\"n\">{}</td><td class=\"bar\">\
                 <span style=\"width:{width:.1}%\"></span></td></tr>\n",
                count(*states)
            ),
        );
    }
    out.push_str("</tbody></table>\n");
    let rest = [
        ("workloads run".to_owned(), sim.runs),
        ("windows sampled".to_owned(), sim.windows_sampled),
        (format!("bits flipped, each alone, of {}", count(sim.bits)), sim.bits_flipped),
        ("bits flipped together, in pages that are never read".to_owned(), sim.bits_unread),
        ("runs repeated with the same trace".to_owned(), sim.traces_compared),
    ];
    facts(rest, out);
    close(out);
}

/// How often each clause was checked.
pub(super) fn clauses(sim: &SimSummary, out: &mut String) {
    open("Clauses of the oracle", "How often each was checked.", out);
    out.push_str("<table><tbody>\n");
    for clause in Clause::ALL {
        let checked = match sim.clauses.get(&clause).copied().unwrap_or(0) {
            0 => "<td class=\"n never\">NEVER</td>".to_owned(),
            checked => format!("<td class=\"n\">{}</td>", count(checked)),
        };
        let (name, demand) = (clause.to_string(), Text(clause.demand()));
        put(
            out,
            format_args!("<tr><th scope=\"row\">{name}</th><td>{demand}</td>{checked}</tr>\n"),
        );
    }
    out.push_str("</tbody></table>\n");
    close(out);
}

/// What the kill tier did.
pub(super) fn kills(kill: &KillSummary, out: &mut String) {
    let mut about = format!("{} in {}", counted(kill.cycles, "kill"), time(kill.seconds));
    if !kill.directory.is_empty() {
        about.push_str(&format!(", in {}", kill.directory));
    }
    kill.notes.iter().for_each(|note| about.push_str(&format!(". {}", note.trim_end_matches('.'))));
    open("Killed processes", &(about + "."), out);
    out.push_str("<div class=\"pair\">\n<div>\n");
    bars("killed at", "kills", &kill.places, out);
    out.push_str("</div>\n<div>\n");
    if !kill.injected.is_empty() {
        bars("injected", "times", &kill.injected, out);
    }
    let rest = [
        ("`Sync` commits acknowledged to a witness", kill.sync_commits),
        ("`Async` commits acknowledged to a witness", kill.async_commits),
        ("recoveries killed", kill.recoveries_killed),
        ("the most of them one after the other", kill.deepest),
    ];
    facts(rest.map(|(what, number)| (what.to_owned(), number)), out);
    out.push_str("</div>\n</div>\n");
    close(out);
}

/// What was done to served stores.
pub(super) fn servers(server: &ServerSummary, out: &mut String) {
    let mut about = format!("{} in {}", counted(server.kills, "kill"), time(server.seconds));
    if !server.directory.is_empty() {
        about.push_str(&format!(", in {}", server.directory));
    }
    server
        .notes
        .iter()
        .for_each(|note| about.push_str(&format!(". {}", note.trim_end_matches('.'))));
    open("Killed servers, judged by their clients", &(about + "."), out);
    out.push_str("<div class=\"pair\">\n<div>\n");
    bars("answered", "writes", &server.writes, out);
    out.push_str("</div>\n<div>\n");
    facts(digest::served(server), out);
    out.push_str("</div>\n</div>\n");
    close(out);
}

/// What became of each mutant.
pub(super) fn mutants(gate: &GateSummary, out: &mut String) {
    let about = "Mistakes switched on on purpose. States and time until it was caught: the worst \
                 over the seeds.";
    open("Mutants", about, out);
    out.push_str(
        "<div class=\"scroll\"><table><thead><tr><th>class</th><th>mutant</th><th>the mistake</th>\
         <th>caught by</th><th class=\"n\">seeds</th><th class=\"n\">states</th>\
         <th class=\"n\">time</th></tr></thead>\n<tbody>\n",
    );
    for row in digest::mutants(gate) {
        let by = match row.survived {
            0 => format!("<td>{}</td>", Text(&row.caught_by)),
            survived => format!("<td class=\"mark\">SURVIVED {survived} of {}</td>", row.seeds),
        };
        put(
            out,
            format_args!(
                "<tr><td>{}</td><th scope=\"row\" class=\"name\">{}</th><td class=\"wide\">{}</td>{by}<td class=\"n\">{}</td>\
                 <td class=\"n\">{}</td><td class=\"n\">{:.2} s</td></tr>\n",
                Text(&row.class),
                Text(&row.name),
                Prose(&row.about),
                row.seeds,
                count(row.states),
                row.seconds,
            ),
        );
    }
    out.push_str("</tbody></table></div>\n");
    close(out);
}

/// What the museum showed.
pub(super) fn exhibits(museum: &MuseumSummary, out: &mut String) {
    open("Museum", "Known bugs, ours and others', as scenarios that must pass.", out);
    out.push_str(
        "<div class=\"scroll\"><table><thead><tr><th>exhibit</th><th>story</th><th>outcome</th>\
         <th class=\"n\">states</th></tr></thead>\n<tbody>\n",
    );
    for exhibit in &museum.exhibits {
        let passed =
            if exhibit.passed { "<td>held</td>" } else { "<td class=\"mark\">BROKEN</td>" };
        put(
            out,
            format_args!(
                "<tr><th scope=\"row\">{}</th><td class=\"wide\">{}</td>{passed}<td class=\"n\">{}</td></tr>\n",
                Text(&exhibit.name),
                Prose(&exhibit.story),
                count(exhibit.states),
            ),
        );
    }
    out.push_str("</tbody></table></div>\n");
    close(out);
}

fn bars(what: &str, unit: &str, counts: &BTreeMap<String, u64>, out: &mut String) {
    put(
        out,
        format_args!(
            "<table><thead><tr><th>{what}</th><th class=\"n\">{unit}</th><th></th></tr></thead>\n\
             <tbody>\n"
        ),
    );
    let most = counts.values().copied().max().unwrap_or(0).max(1);
    for (name, number) in counts {
        let width = 100.0 * *number as f64 / most as f64;
        put(
            out,
            format_args!(
                "<tr><th scope=\"row\">{}</th><td class=\"n\">{}</td><td class=\"bar\">\
                 <span style=\"width:{width:.1}%\"></span></td></tr>\n",
                Text(name),
                count(*number),
            ),
        );
    }
    out.push_str("</tbody></table>\n");
}

fn facts(facts: impl IntoIterator<Item = (String, u64)>, out: &mut String) {
    out.push_str("<table class=\"facts\"><tbody>\n");
    for (what, number) in facts {
        let (what, number) = (Prose(&what), count(number));
        put(
            out,
            format_args!("<tr><th scope=\"row\">{what}</th><td class=\"n\">{number}</td></tr>\n"),
        );
    }
    out.push_str("</tbody></table>\n");
}
