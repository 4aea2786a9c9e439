//! Which store for which need, as a table (see [`super::needs`]).

use maud::{Markup, html};

use super::super::record::Record;
use super::needs::{Answer, Place, RULE, answers};
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

/// On a narrow screen the cells stand one above the other, each with its heading.
fn line(answer: &Answer) -> Markup {
    let behind = |place: &Place| format!("{} behind", times(place.behind_best));
    html! {
        tr {
            td { b { (answer.need) } div.soft { (answer.decided_by) } }
            td data-heading="best: " {
                @for place in &answer.best {
                    div { b { (place.engine) } " " (place.mode) " " (place.figure) }
                }
            }
            td data-heading="next: " {
                @if let Some(next) = &answer.next { (next.text()) ", " (behind(next)) }
            }
            td data-heading="Syncline: " {
                @if let Some(ours) = &answer.ours { (ours.figure) ", " (behind(ours)) }
            }
        }
    }
}
