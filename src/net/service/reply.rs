//! The answer to one request, as bytes.

use crate::net::proto::{Code, Failure, Kind, MAX_HELLO, Part, Response, TooLarge};

/// The place in the output for the answer to a request.
#[derive(Debug)]
pub(crate) struct Reply<'o> {
    pub(crate) id: u64,
    /// The longest body that the client takes.
    pub(crate) max_body: u32,
    pub(crate) out: &'o mut Vec<u8>,
}

impl Reply<'_> {
    /// Writes the only or last answer. If it is longer than the client takes, writes an error.
    pub(crate) fn send(&mut self, response: &Response<'_>) {
        self.send_part(response, Part::Last);
    }

    /// Writes an answer that others follow.
    pub(crate) fn push(&mut self, response: &Response<'_>) {
        self.send_part(response, Part::More);
    }

    pub(crate) fn fail(&mut self, failure: impl Into<Failure<'static>>) {
        self.send(&Response::Error(failure.into()));
    }

    pub(crate) fn too_large(&mut self, kind: Kind, TooLarge { len, max }: TooLarge) {
        let message =
            format!("{} of {len} bytes, where the client takes at most {max}", kind.name());
        let failure = Failure::new(Code::TooLarge, message)
            .with("len", len.to_string())
            .with("max", max.to_string());
        Response::Error(failure)
            .encode(self.id, self.max_body.max(MAX_HELLO), self.out)
            .expect("the error is short");
    }

    fn send_part(&mut self, response: &Response<'_>, part: Part) {
        if let Err(refused) = response.encode_part(self.id, part, self.max_body, self.out) {
            self.too_large(response.kind(), refused);
        }
    }
}

impl From<crate::Error> for Failure<'static> {
    fn from(error: crate::Error) -> Failure<'static> {
        Failure::from(&error)
    }
}
