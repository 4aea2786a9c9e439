//! Records that a client forges in a value, where a recycled segment could replay them.

use super::Piece;
use super::script::SMALL;
use super::visit::{Broken, Visit};
use crate::engine::base::lsn::{Life, LifeMark, Secret};
use crate::engine::commit::{CLASS_COMMIT, KeyspaceId, Op, Payload};
use crate::engine::disk::{Keep, SimDisk};
use crate::engine::log::format::{
    ALIGN, Geometry, Kind, RECORD_HEADER, RecordHeader, SEGMENT_HEADER, Salt, record_bytes,
};
use crate::engine::mutants::Mutant;
use crate::engine::store::Token;
use crate::tools::torture::Clause;
use crate::tools::torture::sim::Violation;
use crate::{CommitMode, Error, Keyspace, Lsn, Store};

pub(super) const ROOM: &[Piece] = &[Piece {
    name: "a value that looks like a log",
    whose: "ours, found from outside",
    showed: "the salt of records followed from the contents of every receipt. A client wrote a value \
             of well-formed records; its segment was recycled, the process was killed, and recovery \
             replayed a put into a keyspace that the client may not touch",
    done: "a client that knows everything public writes such values, for each later use of the \
           segment and each salt that it can guess; checkpoints until the segment is in use \
           again; a kill after each of many short commits",
    judged: &[Clause::Prefix, Clause::Answers],
    mutants: &[Mutant::SaltPredictable],
    show: a_value_that_looks_like_a_log,
}];

/// Bytes of a forged record, and so the distance between two.
const PITCH: u64 = 56;
/// A segment's file is used again for one of this many segments after it.
const DISTANCES: u64 = 5;

fn a_value_that_looks_like_a_log(visit: &mut Visit) -> Result<(), Broken> {
    for guess in [Guess::PublicNames, Guess::Mark, Guess::Nothing] {
        for claim in [Lsn::ZERO, Lsn::MAX] {
            visit.notes.clear();
            visit.note(format!("the client guesses {guess:?}; records claim sync line {claim}"));
            attack(visit, guess, claim).map_err(|error| match error {
                AttackError::Broken(broken) => broken,
                AttackError::Refused(error) => {
                    Violation::safety(format!("refused: {error}")).into()
                }
            })?;
        }
    }
    Ok(())
}

/// The client's guess at the salt.
#[derive(Clone, Copy, Debug)]
enum Guess {
    /// The store's id and the incarnation, as in format version 1.
    PublicNames,
    /// The mark, twice.
    Mark,
    /// Zeros.
    Nothing,
}

enum AttackError {
    Broken(Broken),
    Refused(Error),
}

impl From<Error> for AttackError {
    fn from(error: Error) -> AttackError {
        AttackError::Refused(error)
    }
}

fn attack(visit: &mut Visit, guess: Guess, claim: Lsn) -> Result<(), AttackError> {
    let disk = SimDisk::new();
    let store = SMALL.open(&disk)?;
    let theirs = store.keyspace("theirs")?; // the first, and so number 1
    let ours = store.keyspace("ours")?;
    theirs.put("balance", "1")?;
    let receipt = ours.put("k", "v")?;
    let salt = guessed(&receipt.token().parse()?, guess);
    let mut commits = 0u32;
    for _ in 0..10 {
        let next = Geometry::new(SMALL.segment_bytes).record_after(store.watermarks().appended);
        ours.put_with("k", forged(next, salt, claim), CommitMode::Async)?;
        store.checkpoint()?;
        for _ in 0..DISTANCES * PITCH / ALIGN {
            // 64 bytes in the log: another offset from the forged records each time.
            commits += 1;
            ours.put_with("a", format!("{commits:020}"), CommitMode::Async)?;
            visit.states += 1;
            let left = disk.fork(Keep::Everything);
            look(&left, commits).map_err(|violation| AttackError::Broken(violation.into()))?;
        }
    }
    disk.crash_after(0);
    Ok(())
}

/// The salt as guessed from a token.
fn guessed(token: &Token, guess: Guess) -> Salt {
    let Token { store, incarnation, mark, .. } = *token;
    let public = Life::of_version_1(store, incarnation);
    let twice = [mark.0.to_le_bytes(), mark.0.to_le_bytes()].concat();
    let secret = Secret(twice.try_into().expect("16 bytes"));
    Salt::of(&match guess {
        Guess::PublicNames => public,
        Guess::Mark => Life { mark, secret, ..public },
        Guess::Nothing => Life { mark: LifeMark(1), secret: Secret([0; 16]), ..public },
    })
}

/// A value of consecutive records, which are valid if the value's bytes stay at their offset and the
/// segment becomes a later one. The record of the value itself begins at `at`.
fn forged(at: Lsn, salt: Salt, claim: Lsn) -> Vec<u8> {
    let geometry = Geometry::new(SMALL.segment_bytes);
    let offset = geometry.offset_of(at).max(SEGMENT_HEADER);
    let room = geometry.segment_bytes() - offset;
    // Before the value: the header, the tag, the keyspace, two lengths, and a key of one byte.
    let before = RECORD_HEADER as u64 + 1 + 1 + 1 + 2 + 1;
    let mut payload = Payload::default();
    let (keyspace, key) = (KeyspaceId(1), &b"balance"[..]);
    payload.push(Op::Put { keyspace, key, value: b"9999999999" });
    assert_eq!(record_bytes(payload.bytes.len() as u64), PITCH);
    let mut value = Vec::new();
    let bytes = (room.saturating_sub(before + ALIGN)).min(12_000);
    for place in 0.. {
        let start = (offset + before).next_multiple_of(ALIGN) + place * PITCH;
        value.resize((start - offset - before) as usize, 0);
        if value.len() as u64 + PITCH > bytes {
            return value;
        }
        let later = geometry.segment_of(at) + 1 + place % DISTANCES;
        let lsn = Lsn::new(geometry.segment_start(later).get() + start);
        let header = RecordHeader {
            payload_crc: crc32fast::hash(&payload.bytes),
            len: payload.bytes.len() as u32,
            kind: Kind::Full,
            class: CLASS_COMMIT,
            lsn,
            sync_line: lsn.min(claim),
        };
        value.extend(header.encode(salt));
        value.extend(&payload.bytes);
    }
    unreachable!("the value ends");
}

/// Checks that a kill leaves exactly the commits.
fn look(left: &SimDisk, commits: u32) -> Result<(), Violation> {
    let store = SMALL.open(left).map_err(|error| {
        Violation::of(Clause::Answers, format!("after a kill the store does not open: {error}"))
    })?;
    let seen = seen(&store).map_err(|error| {
        Violation::of(Clause::Answers, format!("the store cannot be read: {error}"))
    })?;
    let should = (b"1".to_vec(), format!("{commits:020}").into_bytes());
    if seen != should {
        let what = format!("a client's bytes were replayed: {seen:?} instead of {should:?}");
        return Err(Violation::of(Clause::Prefix, what));
    }
    Ok(())
}

fn seen(store: &Store) -> Result<(Vec<u8>, Vec<u8>), Error> {
    let (theirs, ours) = (store.keyspace("theirs")?, store.keyspace("ours")?);
    let value = |keyspace: &Keyspace, key: &str| {
        keyspace.get(key).map(|value| value.map_or(Vec::new(), |value| value.to_vec()))
    };
    Ok((value(&theirs, "balance")?, value(&ours, "a")?))
}
