//! `peers`: the engines that were built in, with their modes and what each of them loses.

use std::io::{self, Write};

fn main() -> io::Result<()> {
    let mut out = io::stdout().lock();
    for engine in syncline_peers::engines() {
        writeln!(out, "{} {}", engine.name(), engine.version())?;
        for mode in engine.modes() {
            writeln!(
                out,
                "  {}: lost on a kill: {}; on a power loss: {}",
                mode.name, mode.lost_on_kill, mode.lost_on_power_loss
            )?;
        }
    }
    Ok(())
}
