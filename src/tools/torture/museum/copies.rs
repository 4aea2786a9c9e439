//! Copies of a store that diverge, and the tokens of each.

use super::Piece;
use super::script::SMALL;
use super::visit::{Broken, Visit};
use crate::engine::disk::{Keep, SimDisk};
use crate::engine::mutants::Mutant;
use crate::tools::torture::Clause;
use crate::tools::torture::sim::Violation;
use crate::{CommitMode, Error, Result, Status, Store};

pub(super) const ROOM: &[Piece] = &[
    Piece {
        name: "durable, says the wrong copy",
        whose: "ours, found from outside",
        showed: "a copy of a closed store was put back after a commit. It gave out the same \
                 incarnation and the same LSNs again, and reported the lost commit as durable",
        done: "copies of a closed and of a killed store; commits in each, of all lengths; both \
               judge every token, now, after a kill, and after more lives",
        judged: &[Clause::Receipts],
        mutants: &[Mutant::LifeMarkUnchecked],
        show: durable_says_the_wrong_copy,
    },
    Piece {
        name: "a token that is not whole",
        whose: "ours, found from outside",
        showed: "a token that had lost its last characters named an earlier position, and was \
                 reported as durable",
        done: "a token cut at each place, and with each character changed",
        judged: &[Clause::Receipts],
        mutants: &[Mutant::TokenCheckIgnored],
        show: a_token_that_is_not_whole,
    },
];

fn failed(error: Error) -> Broken {
    Violation::safety(format!("refused for no reason: {error}")).into()
}

/// Commits and returns the tokens.
fn commit(store: &Store, rows: u8, bytes: usize) -> Result<Vec<String>> {
    let rows_of = store.keyspace("rows")?;
    let put = |n: u8| Ok(rows_of.put_with([n], vec![n; bytes], CommitMode::Async)?.token());
    let tokens = (0..rows).map(put).collect::<Result<Vec<_>>>()?;
    store.flush()?;
    Ok(tokens)
}

fn durable_says_the_wrong_copy(visit: &mut Visit) -> Result<(), Broken> {
    for is_closed in [true, false] {
        for (theirs, ours) in [(100, 100), (10, 900), (900, 10)] {
            visit.notes.clear();
            visit.note(format!("closed: {is_closed}; then rows of {theirs} and of {ours} bytes"));
            let (common, copies) = copies(is_closed, [theirs, ours]).map_err(failed)?;
            for _ in 0..3 {
                visit.states += 2;
                for (copy, (disk, _)) in copies.iter().enumerate() {
                    let store = SMALL.open(disk).map_err(failed)?;
                    told(&store, &common, Verdict::Durable)?;
                    told(&store, &copies[copy].1, Verdict::Durable)?;
                    told(&store, &copies[1 - copy].1, Verdict::Unknown)?;
                    // Commits of another life do not change the answers.
                    commit(&store, 3, 50).map_err(failed)?;
                    told(&store, &copies[1 - copy].1, Verdict::Unknown)?;
                    store.into_store().close().map_err(failed)?;
                }
            }
        }
    }
    Ok(())
}

/// A disk, and the tokens of the commits that only it has.
type Copy = (SimDisk, Vec<String>);

/// The common tokens of a store, and two copies of it, each with its own commits.
fn copies(is_closed: bool, bytes: [usize; 2]) -> Result<(Vec<String>, [Copy; 2])> {
    let disk = SimDisk::new();
    let store = SMALL.open(&disk)?;
    let common = commit(&store, 5, 200)?;
    let disks = match is_closed {
        true => {
            store.into_store().close()?;
            [disk.fork(Keep::Everything), disk.fork(Keep::Everything)]
        }
        false => {
            let disks = [disk.fork(Keep::Everything), disk.fork(Keep::Everything)];
            drop(store);
            disks
        }
    };
    let mut copies = Vec::new();
    for (seed, (disk, bytes)) in disks.into_iter().zip(bytes).enumerate() {
        disk.set_seed(seed as u64);
        let store = SMALL.open(&disk)?;
        let tokens = commit(&store, 9, bytes)?;
        let left = disk.fork(Keep::Everything);
        drop(store);
        copies.push((left, tokens));
    }
    Ok((common, copies.try_into().expect("two")))
}

#[derive(Clone, Copy, Debug)]
enum Verdict {
    Durable,
    Unknown,
}

fn told(store: &Store, tokens: &[String], should: Verdict) -> std::result::Result<(), Violation> {
    for token in tokens {
        let told = store.status(token);
        let is_right = match should {
            Verdict::Durable => matches!(told, Ok(Status::Durable)),
            Verdict::Unknown => matches!(told, Err(Error::UnknownLife { .. })),
        };
        if !is_right {
            let what = format!("{token} is reported as {told:?}, and should be {should:?}");
            return Err(Violation::of(Clause::Receipts, what));
        }
    }
    Ok(())
}

fn a_token_that_is_not_whole(visit: &mut Visit) -> Result<(), Broken> {
    let disk = SimDisk::new();
    let store = SMALL.open(&disk).map_err(failed)?;
    let tokens = commit(&store, 200, 30).map_err(failed)?;
    let token = tokens.last().expect("some");
    visit.note(format!("the token of a durable commit is {token}"));
    let cut = (0..token.len()).map(|len| token[..len].to_owned());
    let changed = (0..token.len()).flat_map(|at| {
        let other = move |digit| format!("{}{digit}{}", &token[..at], &token[at + 1..]);
        "0123456789abcdef".chars().map(other)
    });
    for text in cut.chain(changed).filter(|text| text != token) {
        visit.states += 1;
        match store.status(&text) {
            Err(Error::InvalidToken { .. }) => {}
            told => {
                let what = format!("{text} is reported as {told:?}, and should be refused");
                return Err(Violation::of(Clause::Receipts, what).into());
            }
        }
    }
    Ok(())
}
