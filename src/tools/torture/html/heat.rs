//! Tables shaded by how much was done. Counts span decades, so the shade follows the logarithm.

use std::collections::BTreeSet;

use super::super::digest;
use super::super::summary::{FaultRow, SimSummary};
use crate::tools::present::escape::Text;
use crate::tools::present::html::{close, open, put};
use crate::tools::present::text::count;

/// The darkest shade: text must stay readable on it.
const DARKEST: f64 = 0.5;

/// Fault by commit mode.
pub(super) fn faults(rows: &[FaultRow], out: &mut String) {
    let about = "States judged, and in how many of them a commit of either mode was at stake: an \
                 acknowledged `Sync` one, and an acknowledged `Async` one that was not yet durable. \
                 The darker, the more, on a logarithmic scale.";
    open("Faults by commit mode", about, out);
    out.push_str(
        "<div class=\"scroll\"><table><thead><tr><th class=\"n\">#</th><th>fault</th>\
         <th class=\"n\">states</th><th class=\"n\"><code>Sync</code> at stake</th>\
         <th class=\"n\"><code>Async</code> at stake</th></tr></thead>\n<tbody>\n",
    );
    let most = rows.iter().map(|row| row.states.max(row.sync).max(row.unsynced)).max();
    for row in rows {
        let name = Text(&row.name);
        put(
            out,
            format_args!("<tr><td class=\"n\">{}</td><th scope=\"row\">{name}</th>", row.fault),
        );
        for states in [row.states, row.sync, row.unsynced] {
            cell(states, most.unwrap_or(0), &count(states), out);
        }
        out.push_str("</tr>\n");
    }
    out.push_str("</tbody></table></div>\n");
    close(out);
}

/// Fault, operation and file by phase.
pub(super) fn sites(sim: &SimSummary, out: &mut String) {
    let about = "Each call of the store to its disk, failed on purpose in each phase: how often \
                 once + how often it went on failing. An empty field is a call that the store \
                 does not make.";
    open("Call sites", &format!("{}. {about}", digest::sites_counted(sim)), out);
    let groups = digest::sites(sim);
    let phases: BTreeSet<&str> =
        groups.iter().flat_map(|group| group.phases.keys()).copied().collect();
    out.push_str(
        "<div class=\"scroll\"><table class=\"dense\"><thead><tr><th>fault</th><th>operation</th><th>file</th>",
    );
    for phase in &phases {
        put(out, format_args!("<th class=\"n\">{}</th>", Text(phase)));
    }
    out.push_str("</tr></thead>\n<tbody>\n");
    let counts = groups.iter().flat_map(|group| group.phases.values());
    let most = counts.map(|(once, forever)| once + forever).max().unwrap_or(0);
    for group in &groups {
        put(
            out,
            format_args!(
                "<tr><th scope=\"row\" class=\"name\">{}</th><td class=\"name\">{}</td>\
                 <td class=\"name\">{}</td>",
                Text(group.fault),
                Text(group.operation),
                Text(group.file),
            ),
        );
        for phase in &phases {
            match group.phases.get(phase) {
                Some((once, forever)) => {
                    let text = format!("{} + {}", count(*once), count(*forever));
                    cell(once + forever, most, &text, out);
                }
                None => out.push_str("<td class=\"none\"></td>"),
            }
        }
        out.push_str("</tr>\n");
    }
    out.push_str("</tbody></table></div>\n");
    close(out);
}

fn cell(number: u64, most: u64, text: &str, out: &mut String) {
    if number == 0 {
        out.push_str("<td class=\"n never\">NEVER</td>");
        return;
    }
    let shade = shade(number, most);
    put(out, format_args!("<td class=\"n heat\" style=\"--h:{shade:.2}\">{text}</td>"));
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
    fn never_is_no_shade() {
        let mut out = String::new();
        cell(0, 0, "0", &mut out);
        assert!(out.contains("NEVER") && !out.contains("heat"), "{out}");
    }
}
