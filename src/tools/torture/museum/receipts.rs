//! Receipts: the reported status of a commit, before and after a crash.

use super::Piece;
use super::script::{SMALL, Script};
use super::stage::Stage;
use super::visit::{Broken, LIGHT, Visit, WELL};
use crate::engine::disk::{Fault, FaultError, Op, Persistence};
use crate::engine::mutants::Mutant;
use crate::tools::torture::Clause;
use crate::tools::torture::sim::{Depth, Violation};
use crate::{Error, Status};

pub(super) const ROOM: &[Piece] = &[
    Piece {
        name: "acknowledged and rolled back",
        whose: "MongoDB, shown by Jepsen from 2013 on",
        showed: "acknowledged writes were rolled back after a failure, and their writers had no way \
                 to learn it",
        done: "receipts of asynchronous commits; power losses that take some of them; the status \
               of each token after that and after every later crash",
        judged: &[Clause::Receipts, Clause::Bounds, Clause::Again],
        mutants: &[
            Mutant::FormerEndTooHigh,
            Mutant::FormerEndUnnoted,
            Mutant::EmptyRecoveryUnrecorded,
        ],
        show: acknowledged_and_rolled_back,
    },
    Piece {
        name: "judged by the wrong life",
        whose: "ours, while receipts were designed",
        showed: "a token of one incarnation was compared with the end of another: a durable commit \
                 was reported lost, or a lost one durable",
        done: "several lives of different lengths, and the tokens of all of them",
        judged: &[Clause::Receipts],
        mutants: &[Mutant::TokenJudgedByWrongEnd],
        show: judged_by_the_wrong_life,
    },
    Piece {
        name: "pending is neither",
        whose: "a mistake of stores that know only yes and no",
        showed: "a commit that was not durable yet was reported as durable or lost",
        done: "asynchronous commits, and their receipts before and after a flush",
        judged: &[Clause::Receipts],
        mutants: &[Mutant::PendingToldLost, Mutant::PendingToldDurable],
        show: pending_is_neither,
    },
    Piece {
        name: "pending for ever",
        whose: "ours, from the story of fsync",
        showed: "after a failed flush the receipts of the commits that it covered went on saying \
                 pending",
        done: "an asynchronous commit, a flush that fails, and its receipt before and after a \
               crash",
        judged: &[Clause::Receipts],
        mutants: &[Mutant::PoisonUntold],
        show: pending_for_ever,
    },
];

fn acknowledged_and_rolled_back(visit: &mut Visit) -> Result<(), Broken> {
    let script = Script::new().each(0..3, 700).flush().each(3..6, 700).power_loss();
    let script = script.each(6..9, 700).power_loss().sync(9, 10).kill();
    visit.explore(&SMALL, script, Depth { nested_one_in: 12, ..LIGHT })?;
    // Lives that leave nothing to replay.
    let script = Script::new().sync(0, 10).checkpoint().each(1..3, 700).power_loss().power_loss();
    let script = script.read().each(3..5, 700).power_loss().power_loss().sync(9, 10).kill();
    visit.explore(&SMALL, script, LIGHT)
}

fn judged_by_the_wrong_life(visit: &mut Visit) -> Result<(), Broken> {
    let mut script = Script::new();
    for life in 1..5u16 {
        script = script.each(0..life * 3, 100).flush().each(20..24, 100);
        script = if life % 2 == 0 { script.reopen() } else { script.power_loss() };
    }
    visit.explore(&SMALL, script.sync(30, 10).read(), WELL)
}

fn pending_is_neither(visit: &mut Visit) -> Result<(), Broken> {
    let script = Script::new().each(0..3, 100).read().flush().read().each(3..5, 100).read();
    visit.explore(&SMALL, script.checkpoint().read(), WELL)
}

fn pending_for_ever(visit: &mut Visit) -> Result<(), Broken> {
    let mut stage = Stage::open(visit, &SMALL)?;
    let script = Script::new().sync(0, 10).quick(1, 900);
    stage.all(&script)?;
    let commits = stage.history().commits();
    let token = commits.last().and_then(|commit| commit.token.clone()).expect("a receipt");
    let (error, persistence) = (FaultError::Io, Persistence::Once);
    stage.visit.note("the next flush of the log fails");
    stage.disk().fail(Fault { op: Op::MapSync, after: 0, error, persistence });
    stage.as_far(&Script::after(&script).flush())?;
    let told = stage.store().status(&token);
    stage.visit.note(format!("the receipt of the commit before says: {told:?}"));
    if !matches!(told, Err(Error::Poisoned { .. })) {
        let what = format!("its flush failed, and its receipt says {told:?} instead of poisoned");
        return Err(Violation::of(Clause::Receipts, what).into());
    }
    stage.all(&Script::after(&script).power_loss())?;
    let told = stage.store().status(&token);
    if !matches!(told, Ok(Status::Lost | Status::Durable)) {
        let what = format!("after recovery its receipt says {told:?} instead of lost or durable");
        return Err(Violation::of(Clause::Receipts, what).into());
    }
    Ok(())
}
