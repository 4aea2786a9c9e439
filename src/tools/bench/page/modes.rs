//! What the mode of a row loses.

use super::super::engine::Guarantee;
use super::super::record::{ModeInfo, Record, Row};

/// The mark beside a mode that risks the whole store.
pub(in crate::tools::bench) const RISK: &str = "\u{2020}";

/// The text beneath a table or a chart with that mark.
pub(in crate::tools::bench) const RISK_MEANS: &str =
    "\u{2020} A power loss may take the whole store, not only the last commits.";

/// The mode of a row, if the record describes it.
fn mode_of<'a>(row: &Row, record: &'a Record) -> Option<&'a ModeInfo> {
    let engine = record.engines.iter().find(|engine| engine.name == row.engine)?;
    engine.modes.iter().find(|mode| mode.name == row.mode)
}

/// Whether a power loss may leave nothing that can be opened: so the description of the mode says.
pub(in crate::tools::bench) fn risks_store(row: &Row, record: &Record) -> bool {
    let Some(mode) = mode_of(row, record) else { return false };
    let lost = &mode.lost_on_power_loss;
    mode.guarantee != Guarantee::PowerLoss && (lost.contains("corrupt") || lost.contains("whole"))
}

/// The name of a row's mode, with a mark if it risks the store.
pub(in crate::tools::bench) fn marked(row: &Row, record: &Record) -> String {
    if risks_store(row, record) { format!("{} {RISK}", row.mode) } else { row.mode.clone() }
}

/// The losses of a row's mode, unless there are none.
pub(in crate::tools::bench) fn loss(row: &Row, record: &Record) -> Option<String> {
    let mode = mode_of(row, record)?;
    let (kill, power) = (&mode.lost_on_kill, &mode.lost_on_power_loss);
    match row.guarantee? {
        Guarantee::PowerLoss => None,
        Guarantee::ProcessEnd => Some(format!("power loss: {power}")),
        Guarantee::Nothing if kill == power => Some(format!("kill or power loss: {kill}")),
        Guarantee::Nothing => Some(format!("kill: {kill}; power loss: {power}")),
    }
}
