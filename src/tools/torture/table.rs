//! Renders the summary as text for a terminal.
//!
//! Sections follow the questions of a reader who doubts it: was each fault met, was each clause
//! checked, was each call site reached, would a bug be noticed? Then come the failures, and last
//! the verdict, which stays on the screen.

use std::fmt::Write;

use super::digest::{self, Verdict};
use super::failure::Clause;
use super::summary::{
    FaultRow, GateSummary, KillSummary, MuseumSummary, RotRow, ServerSummary, SimSummary, Summary,
};
use super::watch::story;
use crate::tools::present::text::{Align, Grid, WIDTH, count, counted, rate, time, wrap};
use Align::{Left, Right};

/// Failures that are shown in full; each further one takes a line.
const STORIES: usize = 10;
/// Most pairs that no commit had; each takes a line.
const UNMET: usize = 12;

/// The table, within 100 columns.
pub fn table(summary: &Summary) -> String {
    let mut out = String::new();
    line(
        &mut out,
        format_args!(
            "syncline {} torture: tier {}, seed {}, {}, {}",
            summary.version,
            summary.tier.name(),
            summary.seed,
            counted(summary.workers as u64, "worker"),
            time(summary.seconds),
        ),
    );
    if let Some(sim) = &summary.sim {
        simulated(sim, &mut out);
    }
    if let Some(kill) = &summary.kill {
        killed(kill, &mut out);
    }
    if let Some(server) = &summary.server {
        served(server, &mut out);
    }
    if let Some(museum) = &summary.museum {
        exhibited(museum, &mut out);
    }
    if let Some(gate) = &summary.mutants {
        mutated(gate, &mut out);
    }
    if !summary.skipped.is_empty() {
        heading("not done", "", &mut out);
        summary.skipped.iter().for_each(|why| note(why, &mut out));
    }
    failed(summary, &mut out);
    verdict(summary, &mut out);
    out
}

fn simulated(sim: &SimSummary, out: &mut String) {
    let speed = format!(
        "{} in {}: {}/s, {}/s per worker",
        counted(sim.states, "state"),
        time(sim.seconds),
        rate(sim.states, sim.seconds),
        rate(sim.states, sim.worker_seconds),
    );
    heading("simulated disk", &speed, out);
    let mut grid = Grid::new(&[("", Left), ("", Right)]);
    let mut fact = |what: &str, number: u64| grid.row([what.to_owned(), count(number)]);
    fact("workloads run", sim.runs);
    if sim.small_seconds > 0.0 {
        let each_second = sim.small_states as f64 / sim.small_seconds;
        fact("crash states per second of one worker, files up to 512 KiB", each_second as u64);
    }
    fact("crash points", sim.crash_points);
    for (depth, states) in sim.states_by_depth.iter().enumerate() {
        match depth {
            0 => fact("states after one crash", *states),
            _ => fact(&format!("states after {} crashes, each in recovery", depth + 1), *states),
        }
    }
    fact("windows of unsynced changes exhausted", sim.windows_exhausted);
    fact("the widest of them, in changes", u64::from(sim.widest_exhausted));
    fact("windows sampled", sim.windows_sampled);
    fact(&format!("bits flipped, each alone, of {}", count(sim.bits)), sim.bits_flipped);
    fact("bits flipped together, in pages that are never read", sim.bits_unread);
    fact("runs repeated with the same trace", sim.traces_compared);
    if sim.runs > 0 {
        let pairs = format!("pairs of properties that a commit had, of {}", count(sim.shapes));
        fact(&pairs, sim.shapes_met);
    }
    grid.print(out);
    for pair in sim.shapes_unmet.iter().take(UNMET) {
        note(&format!("No commit had {pair}."), out);
    }
    damage(sim, out);

    heading(
        "fault by commit mode",
        "states judged, and in how many of them an acknowledged `Sync` commit, and an \
                 acknowledged `Async` one that was not durable, was at stake",
        out,
    );
    let columns = [
        ("#", Right),
        ("fault", Left),
        ("states", Right),
        ("`Sync` at stake", Right),
        ("`Async` at stake", Right),
    ];
    let mut grid = Grid::new(&columns);
    for FaultRow { fault, name, states, sync, unsynced } in &sim.faults {
        let mark = |number: u64| if number == 0 { "NEVER".to_owned() } else { count(number) };
        grid.row([fault.to_string(), name.clone(), mark(*states), mark(*sync), mark(*unsynced)]);
    }
    grid.print(out);

    heading("clauses of the oracle", "how often each was checked", out);
    let mut grid = Grid::new(&[("", Left), ("", Left), ("", Right)]);
    for clause in Clause::ALL {
        let checked = sim.clauses.get(&clause).copied().unwrap_or(0);
        let checked = if checked == 0 { "NEVER".to_owned() } else { count(checked) };
        grid.row([clause.to_string(), clause.demand().to_owned(), checked]);
    }
    grid.print(out);
    call_sites(sim, out);
}

fn damage(sim: &SimSummary, out: &mut String) {
    if sim.rot.is_empty() {
        return;
    }
    heading(
        "damage",
        "the outcomes; unnoticed: the store lacks commits of the last flush, which nothing had proved \
                 to be durable, and does not report it",
        out,
    );
    let columns = [
        ("damage", Left),
        ("right", Right),
        ("told", Right),
        ("refused", Right),
        ("unnoticed", Right),
    ];
    let mut grid = Grid::new(&columns);
    for RotRow { what, right, told, refused, unnoticed } in &sim.rot {
        let [right, told, refused, unnoticed] =
            [right, told, refused, unnoticed].map(|n| count(*n));
        grid.row([what.clone(), right, told, refused, unnoticed]);
    }
    grid.print(out);
}

fn call_sites(sim: &SimSummary, out: &mut String) {
    heading("call sites", &digest::sites_counted(sim), out);
    if sim.sites.is_empty() {
        return;
    }
    note("In each phase: how often the call failed once + how often it went on failing.", out);
    let columns = [
        ("", Left),
        ("fault", Left),
        ("operation", Left),
        ("file", Left),
        ("phases in which it was activated", Left),
    ];
    let mut grid = Grid::new(&columns);
    for group in digest::sites(sim) {
        let phase = |(phase, (once, forever)): (&&str, &(u64, u64))| match once + forever {
            0 => format!("{phase} NEVER"),
            _ => format!("{phase} {}+{}", count(*once), count(*forever)),
        };
        let is_missed = group.phases.values().any(|(once, forever)| once + forever == 0);
        let phases: Vec<String> = group.phases.iter().map(phase).collect();
        grid.row([
            if is_missed { "!" } else { "" }.to_owned(),
            group.fault.to_owned(),
            group.operation.to_owned(),
            group.file.to_owned(),
            phases.join(", "),
        ]);
    }
    grid.print(out);
}

fn killed(kill: &KillSummary, out: &mut String) {
    let speed = format!("{} in {}", counted(kill.cycles, "kill"), time(kill.seconds));
    heading("killed processes", &speed, out);
    let mut grid = Grid::new(&[("", Left), ("", Right)]);
    let mut fact = |what: &str, number: u64| grid.row([what.to_owned(), count(number)]);
    fact("`Sync` commits acknowledged to a witness", kill.sync_commits);
    fact("`Async` commits acknowledged to a witness", kill.async_commits);
    fact("recoveries killed", kill.recoveries_killed);
    fact("the longest run of them", kill.deepest);
    kill.places.iter().for_each(|(place, kills)| fact(&format!("killed at {place}"), *kills));
    kill.injected.iter().for_each(|(fault, times)| fact(&format!("injected {fault}"), *times));
    grid.print(out);
    if !kill.directory.is_empty() {
        note(&format!("In {}.", kill.directory), out);
    }
    kill.notes.iter().for_each(|text| note(text, out));
}

fn served(server: &ServerSummary, out: &mut String) {
    let speed = format!("{} in {}", counted(server.kills, "kill"), time(server.seconds));
    heading("killed servers, judged by their clients", &speed, out);
    let mut grid = Grid::new(&[("", Left), ("", Right)]);
    let mut fact = |what: &str, number: u64| grid.row([what.to_owned(), count(number)]);
    server.writes.iter().for_each(|(how, number)| fact(&format!("answered: {how}"), *number));
    digest::served(server).iter().for_each(|(what, number)| fact(what, *number));
    grid.print(out);
    if !server.directory.is_empty() {
        note(&format!("In {}.", server.directory), out);
    }
    server.notes.iter().for_each(|text| note(text, out));
}

fn exhibited(museum: &MuseumSummary, out: &mut String) {
    let passed = museum.exhibits.iter().filter(|exhibit| exhibit.passed).count() as u64;
    let all = counted(museum.exhibits.len() as u64, "exhibit");
    let about = format!("{all}, {} passed, in {}", count(passed), time(museum.seconds));
    heading("museum", &about, out);
    let mut grid = Grid::new(&[("", Left), ("exhibit", Left), ("story", Left), ("states", Right)]);
    for exhibit in &museum.exhibits {
        grid.row([
            if exhibit.passed { "" } else { "!" }.to_owned(),
            exhibit.name.clone(),
            exhibit.story.clone(),
            count(exhibit.states),
        ]);
    }
    grid.print(out);
}

fn mutated(gate: &GateSummary, out: &mut String) {
    let rows = digest::mutants(gate);
    let caught = rows.iter().filter(|row| row.survived == 0).count() as u64;
    let all = counted(rows.len() as u64, "mutant");
    let mut about = format!("{} of {all} caught, in {}", count(caught), time(gate.seconds));
    if gate.untried > 0 {
        about += &format!(", no time for {}", counted(gate.untried, "hunt"));
    }
    heading("mutants", &format!("{about}; states and time: the worst over the seeds"), out);
    let columns = [
        ("", Left),
        ("class", Left),
        ("mutant", Left),
        ("caught by", Left),
        ("seeds", Right),
        ("states", Right),
        ("time", Right),
    ];
    let mut grid = Grid::new(&columns);
    for row in rows {
        let by = match row.survived {
            0 => row.caught_by,
            survived => format!("SURVIVED {} of {}", count(survived), counted(row.seeds, "seed")),
        };
        grid.row([
            if row.survived == 0 { "" } else { "!" }.to_owned(),
            row.class,
            row.name,
            by,
            count(row.seeds),
            count(row.states),
            format!("{:.2} s", row.seconds),
        ]);
    }
    grid.print(out);
}

fn failed(summary: &Summary, out: &mut String) {
    if summary.failures.is_empty() {
        return;
    }
    heading("failures", &count(summary.failures.len() as u64), out);
    for failure in summary.failures.iter().take(STORIES) {
        out.push_str(&story(failure));
    }
    for failure in summary.failures.iter().skip(STORIES) {
        let _ = writeln!(out, "  ! {}\n    again: {}", failure.title, failure.replay);
    }
}

fn verdict(summary: &Summary, out: &mut String) {
    let verdict = Verdict::of(summary);
    let text = format!("{}: {}", verdict.word, verdict.detail);
    let again = digest::again(summary);
    line(out, format_args!("\nSeed {}. Again: {again}", summary.seed));
    wrap(&text, WIDTH).iter().for_each(|part| line(out, format_args!("{part}")));
}

/// A blank line, then the section's name in capitals.
fn heading(name: &str, about: &str, out: &mut String) {
    let name = name.to_uppercase();
    let text = if about.is_empty() { name } else { format!("{name}: {about}") };
    out.push('\n');
    wrap(&text, WIDTH).iter().for_each(|part| line(out, format_args!("{part}")));
}

fn note(text: &str, out: &mut String) {
    wrap(text, WIDTH - 2).iter().for_each(|part| line(out, format_args!("  {part}")));
}

fn line(out: &mut String, text: std::fmt::Arguments<'_>) {
    let _ = writeln!(out, "{text}");
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    #[test]
    fn the_table_fits_in_the_terminal() {
        for summary in [sample::good(), sample::bad()] {
            let text = table(&summary);
            for line in text.lines() {
                let is_command = line.trim_start().starts_with("again: ");
                assert!(line.chars().count() <= WIDTH || is_command, "{line}");
                assert_eq!(line, line.trim_end());
            }
        }
    }

    /// Change it with `SYNCLINE_BLESS=1`, and look at what changed.
    #[test]
    fn the_table_is_the_golden_one() {
        sample::golden("table.txt", &table(&sample::bad()));
    }

    /// Change it with `SYNCLINE_BLESS=1`. Programs that read these files rely on the names.
    #[test]
    fn the_json_has_its_shape() {
        let text = serde_json::to_string_pretty(&sample::bad()).expect("plain data");
        sample::golden("summary.json", &(text + "\n"));
    }

    #[test]
    fn sites_that_were_never_reached_are_marked() {
        let text = table(&sample::bad());
        assert!(text.contains("2 NEVER ACTIVATED"), "{text}");
        let marked: Vec<&str> = text.lines().filter(|line| line.starts_with("  !")).collect();
        // Two sites, a survivor, an exhibit, three failures.
        assert_eq!(marked.len(), 7, "{marked:#?}");
        let good = table(&sample::good());
        assert!(!good.contains("NEVER") && !good.contains('!'), "{good}");
    }

    #[test]
    fn the_verdict_is_the_last_line() {
        let last = |summary| table(&summary).lines().last().map(str::to_owned);
        let good = last(sample::good()).expect("a line");
        assert!(
            good.starts_with(
                "ALL HELD: 1,284,310 states, 412 kills, 94 kills of a server, 3 exhibits"
            ),
            "{good}"
        );
        assert!(good.ends_with("4 of 4 mutants caught"), "{good}");
    }

    #[test]
    fn an_empty_summary_has_a_table() {
        let nothing = Summary { sim: Some(SimSummary::default()), ..sample::good() };
        let nothing = Summary { kill: Some(KillSummary::default()), ..nothing };
        let nothing = Summary { server: Some(ServerSummary::default()), ..nothing };
        let nothing = Summary { mutants: Some(GateSummary::default()), ..nothing };
        let nothing = Summary { museum: Some(MuseumSummary::default()), ..nothing };
        assert!(table(&nothing).contains("NOTHING JUDGED"));
    }
}
