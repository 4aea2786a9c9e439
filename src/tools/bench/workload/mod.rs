//! The workloads, one file per family.

mod commit;
mod flush;
mod growth;
mod hot;
mod large;
mod load;
mod mixed;
mod read;
mod recover;
mod scan;
mod space;
mod steady;
mod window;

use super::case::CaseSuite;
use super::settings::Family;
use super::stage::Stage;

/// The cases of a family.
pub(super) fn suite<'a>(family: Family, stage: &'a Stage<'a>) -> Box<dyn CaseSuite + 'a> {
    match family {
        Family::Flush => Box::new(flush::FlushSuite::new(stage)),
        Family::Commit => Box::new(commit::CommitSuite::new(stage)),
        Family::Window => Box::new(window::WindowSuite::new(stage)),
        Family::Read => Box::new(read::ReadSuite::new(stage)),
        Family::Scan => Box::new(scan::ScanSuite::new(stage)),
        Family::Mixed => Box::new(mixed::MixedSuite::new(stage)),
        Family::Load => Box::new(load::LoadSuite::new(stage)),
        Family::Hot => Box::new(hot::HotSuite::new(stage)),
        Family::Large => Box::new(large::LargeSuite::new(stage)),
        Family::Recover => Box::new(recover::RecoverSuite::new(stage)),
        Family::Space => Box::new(space::SpaceSuite::new(stage)),
        Family::Growth => Box::new(growth::GrowthSuite::new(stage)),
        Family::Steady => Box::new(steady::SteadySuite::new(stage)),
    }
}
