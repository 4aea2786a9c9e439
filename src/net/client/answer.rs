//! An answer, which the task that asked decodes.

use super::error::{Error, Result};
use super::greeting::Greeting;
use crate::engine::base::lsn::{LifeMark, StoreId};
use crate::net::proto::{Head, Kind, Packet, Part, Response};

/// An answer, with its own copy of the bytes.
pub(super) struct Answer {
    head: Head,
    body: Vec<u8>,
    /// The store that answered, and the mark of its incarnation. The connection may be gone by now.
    pub(super) store: StoreId,
    pub(super) mark: LifeMark,
    /// Whether an earlier try of the same call may have been done.
    pub(super) is_retried: bool,
}

impl Answer {
    pub(super) fn new(packet: &Packet<'_>, greeting: &Greeting) -> Answer {
        let &Greeting { store, mark, .. } = greeting;
        Answer { head: packet.head, body: packet.body.to_vec(), store, mark, is_retried: false }
    }

    /// Whether no other answer follows.
    pub(super) fn is_last(&self) -> bool {
        self.head.part == Part::Last
    }

    /// The answer, unless it is an error.
    pub(super) fn checked(self) -> Result<Answer> {
        if self.head.kind != Kind::Error.number() {
            return Ok(self);
        }
        match self.response()? {
            Response::Error(failure) => Err(failure.into()),
            _ => unreachable!("the kind says so"),
        }
    }

    pub(super) fn response(&self) -> Result<Response<'_>> {
        let packet = Packet { head: self.head, body: &self.body };
        Response::decode(&packet).map_err(|refused| Error::protocol(format!("{refused:?}")))
    }

    /// The error for an answer that does not fit the request.
    pub(super) fn unexpected<T>(&self) -> Result<T> {
        Err(Error::protocol(format!("kind {} is no answer to this request", self.head.kind)))
    }
}
