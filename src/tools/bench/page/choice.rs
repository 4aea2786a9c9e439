//! Which store for which need, as a table (see [`super::needs`]).

use maud::{Markup, html};

use super::super::record::Record;
use super::needs::{Answer, RULE, answers};
use crate::tools::present::figures::times;
use crate::tools::present::html;

/// The section, if there is anything to choose from.
pub(super) fn section(record: &Record) -> Markup {
    let answers = answers(record);
    if answers.is_empty() {
        return Markup::default();
    }
    let table = html! {
        div.scroll {
            table.choice {
                thead {
                    tr {
                        th { "need" }
                        th { "best, and level with it" }
                        th { "the next one" }
                        th { "Syncline, if it is neither" }
                    }
                }
                tbody { @for answer in &answers { (line(answer)) } }
            }
        }
    };
    html::section("Which store for which need?", RULE, &table)
}

fn line(answer: &Answer) -> Markup {
    html! {
        tr {
            td { b { (answer.need) } br; span.soft { (answer.decided_by) } }
            td.wide {
                @for place in &answer.best { div { b { (place.engine) } " " (place.mode) " " (place.figure) } }
            }
            td.wide { @if let Some(next) = &answer.next { (next.text()) ", " (times(next.behind_best)) " behind" } }
            td.wide { @if let Some(ours) = &answer.ours { (ours.figure) ", " (times(ours.behind_best)) " behind" } }
        }
    }
}
