//! The tasks of a link: the writer sends what is queued, the reader hands packets to their waiters.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};

use super::address::Socket;
use super::answer::Answer;
use super::greeting::Greeting;
use super::link::{End, EndsWith, Link, State, To};
use super::options::ClientOptions;
use crate::net::proto::{Head, Kind, Packet, Part, Progress, Response, decode};

/// The time to shut the socket down. A server that reads nothing is cut off after it.
const SHUTDOWN: Duration = Duration::from_secs(1);

impl Link {
    /// Starts the writer and the reader. `rest` is the bytes that came behind the greeting.
    pub(super) fn start(
        socket: Box<dyn Socket>,
        greeting: Greeting,
        rest: Vec<u8>,
        limits: &ClientOptions,
    ) -> Arc<Link> {
        let link = Link::new(greeting, limits);
        let (read, write) = tokio::io::split(socket);
        tokio::spawn(Arc::clone(&link).write_all(write));
        let reader = tokio::spawn(Link::read_all(EndsWith(Arc::clone(&link)), read, rest));
        let _ = link.reader.set(reader.abort_handle());
        link
    }

    async fn write_all(self: Arc<Link>, mut socket: WriteHalf<Box<dyn Socket>>) {
        let mut taken = Vec::new();
        loop {
            {
                let mut state = self.state.lock();
                if state.ended.is_some() {
                    break;
                }
                std::mem::swap(&mut taken, &mut state.out);
                state.taken = state.queued;
            }
            if taken.is_empty() {
                self.wake_writer.notified().await;
                // Requests of other tasks that are ready now get into the same write.
                tokio::task::yield_now().await;
                continue;
            }
            self.room.notify_waiters();
            let written = async {
                socket.write_all(&taken).await?;
                socket.flush().await
            };
            let written = tokio::select! {
                biased;
                () = self.over() => break,
                written = written => written,
            };
            if let Err(error) = written {
                self.end(End::Cut(error.to_string()));
            }
            taken.clear();
            if taken.capacity() > 1 << 20 {
                taken = Vec::new();
            }
        }
        drop(taken);
        let _ = tokio::time::timeout(SHUTDOWN, socket.shutdown()).await;
    }

    /// Waits for the end.
    async fn over(&self) {
        let stop = self.stop.notified();
        tokio::pin!(stop);
        stop.as_mut().enable();
        if self.state.lock().ended.is_none() {
            stop.await;
        }
    }

    /// Reads until the end. If the runtime ends, this task is dropped, and `ends` tells every waiter.
    async fn read_all(ends: EndsWith, mut socket: ReadHalf<Box<dyn Socket>>, rest: Vec<u8>) {
        let link = &ends.0;
        let mut buffer = rest;
        let why = loop {
            let needed = match link.deliver(&mut buffer) {
                Ok(needed) => needed,
                Err(why) => break why,
            };
            buffer.reserve(needed.max(16 << 10));
            match socket.read_buf(&mut buffer).await {
                Ok(0) => break End::Cut("the server has hung up".into()),
                Ok(bytes) => {
                    link.bytes_in.fetch_add(bytes as u64, Ordering::Relaxed);
                    link.heard.store(true, Ordering::Relaxed);
                }
                Err(error) => break End::Cut(error.to_string()),
            }
        };
        link.end(why);
    }

    /// Hands whole packets to their waiters. Returns how many bytes of the next one are missing.
    fn deliver(&self, buffer: &mut Vec<u8>) -> Result<usize, End> {
        let mut used = 0;
        let mut state = self.state.lock();
        let needed = loop {
            let progress = decode(&buffer[used..], self.max_body);
            match progress.map_err(|broken| End::Broken(broken.to_string()))? {
                Progress::NeedMore(needed) => break needed,
                Progress::Packet(packet) => {
                    used += packet.len_in_buffer();
                    self.dispatch(&mut state, &packet)?;
                }
            }
        };
        buffer.drain(..used);
        Ok(needed)
    }

    fn dispatch(&self, state: &mut State, packet: &Packet<'_>) -> Result<(), End> {
        let broken = |what: &str| End::Broken(what.to_owned());
        let Head { id, part, kind, .. } = packet.head;
        if id == 0 {
            return match Response::decode(packet) {
                Ok(Response::Goodbye(goodbye)) => {
                    self.drain(state, goodbye.drain_ms);
                    Ok(())
                }
                Ok(Response::Error(failure)) => Err(End::Cut(failure.to_string())),
                _ => Err(broken("an answer to no request")),
            };
        }
        let Some(waiter) = state.waiters.get_mut(&id) else {
            return Err(broken(&format!("an answer to request {id}, which is not in flight")));
        };
        if let To::Many(_, credit) = &mut waiter.to
            && kind != Kind::Error.number()
        {
            let less = credit.checked_sub(1);
            *credit = less.ok_or_else(|| broken("more packets than there was credit for"))?;
        }
        let answer = || Answer::new(packet, &self.greeting);
        if part == Part::More {
            match &waiter.to {
                To::Many(sender, _) => drop(sender.send(Ok(answer()))),
                To::One(_) => {
                    return Err(broken("an answer in parts to a request that has one"));
                }
                To::Nobody => {}
            }
            return Ok(());
        }
        let waiter = state.waiters.remove(&id).expect("looked at above");
        match waiter.to {
            To::One(sender) => drop(sender.send(Ok(answer()))),
            To::Many(sender, _) => drop(sender.send(Ok(answer()))),
            To::Nobody => {}
        }
        self.notice_idle(state);
        Ok(())
    }
}
