//! `serve`: the store, for other processes.

use super::args::ServeArgs;
use super::failure::{Failure, Outcome, Status};
use crate::server::{Config, Settings, serve as run};

pub(super) fn serve(args: &ServeArgs) -> Outcome {
    crate::mutants::break_by_environment().map_err(Failure::Usage)?;
    let mut sources = Vec::new();
    if let Some(file) = &args.config {
        sources.push(Config::read_file(file)?);
    }
    sources.push(Config::read_environment(std::env::vars()));
    sources.push(flags(args));
    for assignment in &args.set {
        sources.push(Config::read_assignment(assignment)?);
    }
    run(&args.dir, &Config::from_settings(sources)?)?;
    Ok(Status::Done)
}

/// What has a flag of its own.
fn flags(args: &ServeArgs) -> Settings {
    let mut settings = Settings::new();
    if !args.listen.is_empty() {
        settings.insert("listen".into(), args.listen.clone().into());
    }
    let texts = [
        ("unix", &args.unix),
        ("metrics", &args.metrics),
        ("tokens", &args.tokens),
        ("tls_cert", &args.tls_cert),
        ("tls_key", &args.tls_key),
        ("log", &args.log),
        ("log_format", &args.log_format),
    ];
    for (name, text) in texts {
        if let Some(text) = text {
            settings.insert(name.into(), text.clone().into());
        }
    }
    for (name, mib) in [("cache_mib", args.cache_mib), ("max_output_mib", args.max_output_mib)] {
        if let Some(mib) = mib {
            settings.insert(name.into(), mib.into());
        }
    }
    settings
}
