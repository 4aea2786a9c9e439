//! `completions` and `man`: what shells and manuals want to know of the command line.

use std::io::{self, Write};

use clap::CommandFactory;

use super::args::Cli;
use super::failure::{Failure, Outcome, Status};

pub(super) fn completions(shell: clap_complete::Shell) -> Outcome {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "syncline", &mut text);
    print(&text)
}

/// The page about one command, or about all of them.
pub(super) fn man(command: Option<&str>) -> Outcome {
    let mut all = Cli::command();
    all.build();
    let about = match command {
        None => all,
        Some(name) => {
            let found = all.get_subcommands().find(|known| known.get_name() == name);
            let found = found.ok_or_else(|| Failure::Usage(format!("no command {name:?}")))?;
            found.clone()
        }
    };
    let mut text = Vec::new();
    clap_mangen::Man::new(about).render(&mut text).map_err(Failure::io("make the page"))?;
    print(&text)
}

fn print(text: &[u8]) -> Outcome {
    let mut out = io::stdout().lock();
    out.write_all(text).and_then(|()| out.flush()).map_err(Failure::output)?;
    Ok(Status::Done)
}
