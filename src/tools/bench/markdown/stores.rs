//! What each store is, how it is set up, and what its modes lose.

use std::fmt::Write;

use super::grid::{Grid, plain};
use crate::tools::bench::page::comparison::survives;
use crate::tools::bench::record::Record;

const ABOUT: &str = "\
Each is set up as its documentation says is fastest for its guarantee, with the same size of cache. Figures of \
different guarantees are not compared: a store that loses more has done less.";

pub(super) fn section(record: &Record) -> String {
    if record.engines.is_empty() {
        return String::new();
    }
    let mut text = format!("{ABOUT}\n");
    for engine in &record.engines {
        let _ = write!(
            text,
            "\n**{} {}.** {}\n",
            engine.name,
            plain(&engine.version),
            plain(&engine.about)
        );
    }
    let mut grid = Grid::new(&[
        ("store", false),
        ("mode", false),
        ("survives", false),
        ("lost on a kill", false),
        ("lost on a power loss", false),
    ]);
    for (engine, mode) in
        record.engines.iter().flat_map(|engine| engine.modes.iter().map(move |mode| (engine, mode)))
    {
        grid.row([
            engine.name.clone(),
            mode.name.clone(),
            survives(Some(mode.guarantee)).trim_start_matches("survives ").to_owned(),
            mode.lost_on_kill.clone(),
            mode.lost_on_power_loss.clone(),
        ]);
    }
    if !grid.is_empty() {
        let _ = write!(text, "\n{}", grid.text());
    }
    text
}
