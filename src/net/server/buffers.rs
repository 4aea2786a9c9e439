//! Memory for what comes in and goes out. A connection that has nothing to say holds none.
//!
//! Each thread of the runtime keeps a few buffers for whichever connection it serves next.

use std::cell::RefCell;

use crate::net::proto::HEADER;

/// Bytes that are read at once.
pub(crate) const CHUNK: usize = 64 << 10;
/// Buffers that a thread keeps.
const KEPT: usize = 16;

thread_local! {
    static INPUTS: RefCell<Vec<Box<[u8]>>> = const { RefCell::new(Vec::new()) };
    static OUTPUTS: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// Bytes that were read and not yet understood. Empty, it has no memory.
#[derive(Debug, Default)]
pub(crate) struct Input {
    bytes: Box<[u8]>,
    start: usize,
    end: usize,
}

impl Input {
    /// What has been read.
    pub(crate) fn filled(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Room for more, of which no more than `most` bytes in all are of use. As much again as there is,
    /// if that is not more, so that a long packet is moved a few times only; memory grows as its
    /// bytes come, not as its header claims.
    pub(crate) fn room(&mut self, most: usize) -> &mut [u8] {
        if self.bytes.is_empty() {
            self.bytes = INPUTS.take_one().unwrap_or_else(|| vec![0; CHUNK].into_boxed_slice());
        } else if self.start > 0 && self.end == self.bytes.len() {
            self.bytes.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        if self.end == self.bytes.len() {
            let mut larger = std::mem::take(&mut self.bytes).into_vec();
            let len = (2 * larger.len()).clamp(CHUNK, most.max(CHUNK)).max(larger.len() + 1);
            larger.reserve_exact(len - larger.len());
            larger.resize(len, 0);
            self.bytes = larger.into_boxed_slice();
        }
        &mut self.bytes[self.end..]
    }

    /// Notes that `bytes` have been read into the room.
    pub(crate) fn fill(&mut self, bytes: usize) {
        assert!(bytes <= self.bytes.len() - self.end, "read more than there was room for");
        self.end += bytes;
    }

    /// Notes that `bytes` have been understood.
    pub(crate) fn consume(&mut self, bytes: usize) {
        assert!(bytes <= self.end - self.start, "understood more than was read");
        self.start += bytes;
        if self.is_empty() {
            self.rest();
        }
    }

    /// Nothing more comes for now: gives back what it does not need. What is there of a short packet
    /// moves to memory of its own size.
    pub(crate) fn settle(&mut self) {
        let len = self.end - self.start;
        if len == 0 {
            self.rest();
        } else if self.bytes.len() == CHUNK && len <= CHUNK / 8 {
            let few: Box<[u8]> = self.filled().into();
            let chunk = std::mem::replace(&mut self.bytes, few);
            (self.start, self.end) = (0, len);
            INPUTS.keep_one(chunk);
        }
    }

    /// The memory that it holds.
    pub(crate) fn held(&self) -> usize {
        self.bytes.len()
    }

    /// The length of the packet that has begun, header included, as far as that is known.
    pub(crate) fn begun(&self) -> usize {
        match self.filled() {
            &[a, b, c, d, ..] => (u32::from_le_bytes([a, b, c, d]) as usize).saturating_add(HEADER),
            few => few.len(),
        }
    }

    /// Gives the memory back if there is nothing in it.
    pub(crate) fn rest(&mut self) {
        if self.is_empty() && !self.bytes.is_empty() {
            let bytes = std::mem::take(&mut self.bytes);
            (self.start, self.end) = (0, 0);
            if bytes.len() == CHUNK {
                INPUTS.keep_one(bytes);
            }
        }
    }
}

impl Drop for Input {
    fn drop(&mut self) {
        (self.start, self.end) = (0, 0);
        self.rest();
    }
}

/// Bytes that are to be written. Empty, it has no memory.
#[derive(Debug, Default)]
pub(crate) struct Output {
    bytes: Vec<u8>,
    written: usize,
}

impl Output {
    /// Where packets are appended.
    pub(crate) fn buffer(&mut self) -> &mut Vec<u8> {
        if self.bytes.capacity() == 0 {
            self.bytes = OUTPUTS.take_one().unwrap_or_default();
        }
        &mut self.bytes
    }

    /// Appends a packet that was made elsewhere. A long one is not copied if nothing is before it.
    pub(crate) fn append(&mut self, packet: Vec<u8>) {
        if self.is_empty() && packet.len() > CHUNK {
            self.rest();
            self.bytes = packet;
        } else {
            if packet.len() > CHUNK {
                // Twice as much as there is would be too much of it.
                self.buffer().reserve_exact(packet.len());
            }
            self.buffer().extend_from_slice(&packet);
        }
    }

    /// The memory that it holds.
    pub(crate) fn held(&self) -> usize {
        self.bytes.capacity()
    }

    /// What is still to be written.
    pub(crate) fn pending(&self) -> &[u8] {
        &self.bytes[self.written..]
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.written == self.bytes.len()
    }

    /// Notes that `bytes` have been written.
    pub(crate) fn consume(&mut self, bytes: usize) {
        assert!(bytes <= self.pending().len(), "wrote more than there was");
        self.written += bytes;
        if self.is_empty() {
            self.rest();
        } else if self.written >= self.pending().len() {
            // What is written makes room; no byte is moved for which another was not written.
            self.bytes.drain(..std::mem::take(&mut self.written));
        }
    }

    /// Throws away what is still to be written.
    pub(crate) fn discard(&mut self) {
        self.rest();
    }

    fn rest(&mut self) {
        let mut bytes = std::mem::take(&mut self.bytes);
        self.written = 0;
        bytes.clear();
        if (1..=4 * CHUNK).contains(&bytes.capacity()) {
            OUTPUTS.keep_one(bytes);
        }
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        self.rest();
    }
}

/// What both kinds of buffers are kept in.
trait Shelf<T> {
    fn take_one(&'static self) -> Option<T>;
    fn keep_one(&'static self, buffer: T);
}

impl<T> Shelf<T> for std::thread::LocalKey<RefCell<Vec<T>>> {
    fn take_one(&'static self) -> Option<T> {
        self.try_with(|kept| kept.borrow_mut().pop()).ok().flatten()
    }

    fn keep_one(&'static self, buffer: T) {
        // A thread that ends keeps nothing.
        let _ = self.try_with(|kept| {
            let mut kept = kept.borrow_mut();
            if kept.len() < KEPT {
                kept.push(buffer);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn input_grows_as_bytes_come_and_goes_when_they_are_understood() {
        let mut input = Input::default();
        let mut sent = Vec::new();
        for round in 0..5_u8 {
            let room = input.room(usize::MAX);
            room.fill(round);
            let len = room.len();
            input.fill(len);
            sent.extend(std::iter::repeat_n(round, len));
            assert_eq!(input.filled(), sent);
            input.consume(10);
            sent.drain(..10);
        }
        assert!(input.bytes.len() >= sent.len());
        input.consume(sent.len());
        assert!(input.is_empty() && input.bytes.is_empty(), "nothing is held");
    }

    #[test]
    fn the_beginning_of_a_short_packet_takes_what_it_is_long() {
        let mut input = Input::default();
        input.room(usize::MAX)[..9].copy_from_slice(b"\0\x01\0\0begun");
        input.fill(9);
        assert_eq!((input.held(), input.begun()), (CHUNK, 256 + HEADER));
        input.settle();
        assert_eq!((input.held(), input.filled()), (9, &b"\0\x01\0\0begun"[..]));
        assert_eq!(input.room(100_000).len(), CHUNK - 9);
        input.fill(CHUNK - 9);
        assert_eq!(input.room(100_000).len(), 100_000 - CHUNK, "no more than is of use");
    }

    #[test]
    fn output_is_written_in_parts() {
        let mut output = Output::default();
        assert!(output.is_empty());
        output.buffer().extend(b"abc");
        output.consume(1);
        output.buffer().extend(b"de");
        assert_eq!(output.pending(), b"bcde");
        output.append(b"fg".to_vec());
        output.consume(6);
        assert!(output.is_empty() && output.held() == 0, "nothing is held");
        let long = vec![7; CHUNK + 1];
        let place = long.as_ptr();
        output.append(long);
        assert_eq!((output.pending().len(), output.pending().as_ptr()), (CHUNK + 1, place));
        output.consume(CHUNK);
        output.append(vec![8; 2 * CHUNK]);
        assert_eq!((output.pending().len(), output.pending()[1]), (2 * CHUNK + 1, 8));
        assert!(output.held() <= 2 * CHUNK + 1, "what was written makes room");
    }

    #[test]
    fn output_that_is_never_empty_does_not_grow() {
        let mut output = Output::default();
        output.buffer().extend([7; 100]);
        for round in 0..10_000_u32 {
            output.buffer().extend([round as u8; 64]);
            output.consume(64);
            assert_eq!(output.pending().len(), 100);
        }
        assert_eq!(output.pending()[99], (9_999_u32 % 256) as u8);
        assert!(output.bytes.len() <= 2 * 100 + 64, "{} bytes", output.bytes.len());
    }
}
