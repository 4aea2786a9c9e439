//! `serve`: a store for other processes.

use super::args::ServeArgs;
use super::failure::{CommandResult, Status};
use crate::net::server::{Failure as Refused, Settings, Sources, serve as run};

pub(super) fn serve(args: &ServeArgs) -> CommandResult {
    #[cfg(feature = "mutants")]
    crate::engine::mutants::break_by_environment().map_err(super::failure::Failure::Usage)?;
    let environment = Settings::of_environment(std::env::vars())?;
    let mut flags = flags(args)?;
    for assignment in &args.set {
        flags.add(Settings::of_assignment(assignment)?);
    }
    run(&args.dir, Sources { file: args.config.clone(), environment, flags })?;
    Ok(Status::Done)
}

/// The settings that have flags.
fn flags(args: &ServeArgs) -> Result<Settings, Refused> {
    let listen = (!args.listen.is_empty()).then(|| args.listen.join(","));
    let mut settings = Settings::default();
    let flags = [
        ("listen", &listen),
        ("unix", &args.unix),
        ("metrics", &args.metrics),
        ("tokens", &args.tokens),
        ("tls_cert", &args.tls_cert),
        ("tls_key", &args.tls_key),
        ("tls_client_ca", &args.tls_client_ca),
        ("log", &args.log),
        ("log_format", &args.log_format),
        ("cache_mib", &args.cache_mib),
        ("max_output_mib", &args.max_output_mib),
    ];
    for (name, text) in flags {
        if let Some(text) = text {
            settings.add_flag(name, text)?;
        }
    }
    Ok(settings)
}
