//! `scan`: keys and values in order.

use std::ops::Bound;

use super::args::{Format, ScanArgs};
use super::failure::{CommandResult, Failure, Status};
use super::messages::no_keyspace;
use super::output::RowWriter;
use super::remote::{self, Bounds};
use super::store::{Access, with_store};
use crate::{Keyspace, Range};

pub(super) fn scan(args: &ScanArgs) -> CommandResult {
    let selection = Selection::parse(args)?;
    let default = if args.encoding.hex { Format::Hex } else { Format::Raw };
    let format = args.format.unwrap_or(default);
    if let Some(remote) = args.place.remote.is_asked() {
        return remote::scan(&remote, args, selection.into_bounds(), format);
    }
    with_store(&args.place.dir, Access::Read, |store| {
        let Some(keyspace) = store.open_keyspace(&args.place.keyspace)? else {
            return no_keyspace(&args.place.keyspace);
        };
        let range = selection.of(&keyspace)?;
        let limit = args.limit.unwrap_or(u64::MAX);
        let mut out = RowWriter::to_stdout(format);
        if args.reverse {
            print_backward(range, limit, &mut out)?;
        } else {
            print_forward(range, limit, &mut out)?;
        }
        out.finish().map_err(Failure::output)?;
        Ok(Status::Done)
    })
}

/// The keys that are asked for.
enum Selection {
    All,
    Prefix(Vec<u8>),
    Bounds(Bound<Vec<u8>>, Bound<Vec<u8>>),
    /// From a key to one at or before it, which a range of the store may refuse.
    Empty,
}

impl Selection {
    fn parse(args: &ScanArgs) -> Result<Selection, Failure> {
        let decode = |argument: &Option<_>| {
            argument.as_deref().map(|argument| args.encoding.decode(argument)).transpose()
        };
        if let Some(prefix) = decode(&args.prefix)? {
            return Ok(Selection::Prefix(prefix));
        }
        Ok(match (decode(&args.from)?, decode(&args.to)?) {
            (None, None) => Selection::All,
            (Some(from), Some(to)) if from >= to => Selection::Empty,
            (from, to) => Selection::Bounds(
                from.map_or(Bound::Unbounded, Bound::Included),
                to.map_or(Bound::Unbounded, Bound::Excluded),
            ),
        })
    }

    /// The bounds. `None` if no key can be in them.
    fn into_bounds(self) -> Option<Bounds> {
        Some(match self {
            Selection::All => (Bound::Unbounded, Bound::Unbounded),
            Selection::Prefix(prefix) => {
                let from = Bound::Included(prefix.clone());
                let Some(last) = prefix.iter().rposition(|byte| *byte != 0xff) else {
                    return Some((from, Bound::Unbounded));
                };
                let mut end = prefix[..=last].to_vec();
                end[last] += 1;
                (from, Bound::Excluded(end))
            }
            Selection::Bounds(from, to) => (from, to),
            Selection::Empty => return None,
        })
    }

    fn of(self, keyspace: &Keyspace) -> Result<Option<Range>, Failure> {
        Ok(Some(match self {
            Selection::All => keyspace.iter()?,
            Selection::Prefix(prefix) => keyspace.prefix(&prefix)?,
            Selection::Bounds(from, to) => keyspace.range((from, to))?,
            Selection::Empty => return Ok(None),
        }))
    }
}

fn print_forward(range: Option<Range>, limit: u64, out: &mut RowWriter<'_>) -> Result<(), Failure> {
    let Some(mut range) = range else { return Ok(()) };
    let mut left = limit;
    while left > 0 {
        let Some((key, value)) = range.next_ref()? else { break };
        out.row(key, value).map_err(Failure::output)?;
        left -= 1;
    }
    Ok(())
}

fn print_backward(
    range: Option<Range>,
    limit: u64,
    out: &mut RowWriter<'_>,
) -> Result<(), Failure> {
    let Some(mut range) = range else { return Ok(()) };
    let mut left = limit;
    while left > 0 {
        let Some(entry) = range.next_back().transpose()? else { break };
        out.row(entry.key(), entry.value()).map_err(Failure::output)?;
        left -= 1;
    }
    Ok(())
}
