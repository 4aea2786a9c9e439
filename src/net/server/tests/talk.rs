//! A client of a session without a socket.

use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use tokio::time::Instant;

use super::peer::put;
use crate::net::proto::{MAX_BODY, Mode, Request, Response};
use crate::net::server::fuzz;
use crate::net::server::mailbox::Mailbox;
use crate::net::server::session::Session;
use crate::net::server::shared::Shared;

/// A session, and a client's input that it has yet to consume.
pub(super) struct Talk {
    pub(super) shared: Arc<Shared>,
    pub(super) session: Session,
    pub(super) input: Vec<u8>,
    next_id: u64,
}

impl Talk {
    pub(super) fn greeted() -> Talk {
        Talk::over(fuzz::new_shared())
    }

    pub(super) fn over(shared: Arc<Shared>) -> Talk {
        let session = Session::new(Arc::clone(&shared), Arc::new(Mailbox::default()));
        let mut talk = Talk { shared, session, input: fuzz::greeting(), next_id: 2 };
        talk.take(1);
        assert_eq!(talk.heard().len(), 1);
        // Opens the keyspace, and brings its pages into memory.
        talk.ask(&put("known", "", Mode::Async));
        talk.take(1);
        talk
    }

    /// Adds a request to the input. Returns its id.
    pub(super) fn ask(&mut self, request: &Request<'_>) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        request.encode(id, 0, MAX_BODY, &mut self.input).unwrap();
        id
    }

    pub(super) fn take(&mut self, mut packets: usize) {
        let fed = self.session.feed(&self.input, Instant::now(), &mut packets);
        self.input.drain(..fed.used);
    }

    /// Whether any get has overtaken something.
    pub(super) fn look_ahead(&mut self) -> bool {
        self.overtake(usize::MAX) > 0
    }

    /// How many gets have overtaken something, at most `most`.
    pub(super) fn overtake(&mut self, most: usize) -> usize {
        let mut left = most;
        self.session.look_ahead(&self.input, &mut left);
        most - left
    }

    /// The answers since the last call: ids, and the values of gets.
    pub(super) fn heard(&mut self) -> Vec<(u64, Option<Vec<u8>>)> {
        let bytes = self.session.output().pending().to_vec();
        self.session.output().consume(bytes.len());
        let answers = fuzz::packets(&bytes).map(|packet| {
            let value = match Response::decode(&packet).unwrap() {
                Response::Value(value) => value.map(<[u8]>::to_vec),
                Response::Error(failure) => panic!("{failure}"),
                _ => None,
            };
            (packet.head.id, value)
        });
        answers.collect()
    }

    pub(super) fn ids(&mut self) -> Vec<u64> {
        self.heard().into_iter().map(|(id, _)| id).collect()
    }

    /// Runs the session until the condition holds.
    pub(super) fn until(&mut self, mut is_so: impl FnMut(&mut Talk) -> bool) {
        let patience = Instant::now() + Duration::from_secs(10);
        while !is_so(self) {
            assert!(Instant::now() < patience, "the condition never holds");
            std::thread::yield_now();
            let mut cx = Context::from_waker(Waker::noop());
            self.session.catch_up(&mut cx, Instant::now(), &mut 1);
        }
    }
}
