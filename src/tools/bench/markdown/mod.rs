//! A result as Markdown, from the record alone: all of `BENCHMARKS.md`.
//!
//! ```text
//!   mod        the order of the sections, the head
//!   standing   ours against the best of the others    choice    which store for which need
//!   long       what a power loss would take, and the rate over a minute
//!   stores     what each store is and promises        figures   every row
//!   grid       a table of Markdown
//! ```
//!
//! - MARKDOWN-1 No line is written by hand, and no sentence says anything that another run could refute.
//! - MARKDOWN-2 Every row of the record is in a table, with its spreads.
//! - MARKDOWN-3 Texts of the record are never markup, except code between backticks.

mod choice;
mod figures;
mod grid;
mod long;
mod standing;
mod stores;

use std::fmt::Write;

use self::grid::{Grid, plain};
use super::page::head::{caveat, quiet, run_facts};
use super::page::method::METHOD;
use super::record::Record;

/// The whole text.
pub fn render(record: &Record) -> String {
    let mut text = String::new();
    head(record, &mut text);
    for (title, section) in [
        ("How Syncline stands", standing::section(record)),
        ("Which store for which need", choice::section(record)),
        ("What a power loss would take", long::window(record)),
        ("The rate over a minute and more", long::steady(record)),
        ("The stores", stores::section(record)),
        ("How the figures were made", method()),
        ("All figures", figures::section(record)),
    ] {
        if !section.is_empty() {
            let _ = write!(text, "\n## {title}\n\n{}\n", section.trim_end());
        }
    }
    text
}

fn head(record: &Record, text: &mut String) {
    let (machine, run) = (&record.machine, &record.run);
    *text += "# Benchmarks\n\n\
        The cost of each commit mode of Syncline, beside other stores in the same run. `--markdown` of the \
        benchmark has written all of this text. Every row that was measured is here, also where another \
        store leads. Compare ratios, not single figures of different runs: machines and disks differ and \
        drift.\n\n";
    let mut facts = Grid::new(&[("", false), ("", false)]);
    facts.row([String::from("machine"), machine.summary()]);
    facts.row([String::from("what a flush is worth"), caveat(machine).to_owned()]);
    let versions =
        record.engines.iter().map(|engine| format!("{} {}", engine.name, engine.version));
    let versions: Vec<String> = versions.collect();
    if !versions.is_empty() {
        facts.row([String::from("stores"), versions.join("; ")]);
    }
    for (what, fact) in run_facts(record).into_iter().chain(quiet(run)) {
        if !fact.is_empty() {
            facts.row([what.to_owned(), fact]);
        }
    }
    *text += &facts.text();
    if !run.command.is_empty() {
        let _ = write!(text, "\n```sh\n{}\n```\n", run.command.replace('`', "'"));
    }
    for warning in &run.warnings {
        let _ = write!(text, "\n**Warning:** {}\n", plain(warning));
    }
}

fn method() -> String {
    let mut text = String::new();
    for (what, how) in METHOD {
        let _ = writeln!(text, "- **{what}.** {how}");
    }
    text
}

#[cfg(test)]
mod tests;
