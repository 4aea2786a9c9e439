//! `completions` and `man`: the command line for shells and for the manual.

use std::io::{self, Write};

use clap::CommandFactory;

use super::args::Cli;
use super::failure::{CommandResult, Failure, Status};

pub(super) fn completions(shell: clap_complete::Shell) -> CommandResult {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "syncline", &mut text);
    print(&text)
}

/// The page of one command, or of all commands.
pub(super) fn man(command: Option<&str>) -> CommandResult {
    let mut all = Cli::command();
    all.build();
    let about = match command {
        None => all,
        Some(name) => {
            let found = all.get_subcommands().find(|known| known.get_name() == name);
            let found = found.ok_or_else(|| {
                Failure::Usage(format!("no command {name:?}: see `syncline help`"))
            })?;
            found.clone()
        }
    };
    let mut text = Vec::new();
    clap_mangen::Man::new(about).render(&mut text).map_err(Failure::io("make the page"))?;
    print(&text)
}

fn print(text: &[u8]) -> CommandResult {
    let mut out = io::stdout().lock();
    out.write_all(text).and_then(|()| out.flush()).map_err(Failure::output)?;
    Ok(Status::Done)
}
