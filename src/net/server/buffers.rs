//! Buffers for the input and output of a connection. An idle connection holds none (SERVER-2).
//!
//! Each thread of the runtime caches a few buffers for the connections that it serves next.

use std::cell::RefCell;

use crate::net::proto::HEADER;

/// Bytes of one read.
pub(crate) const CHUNK: usize = 64 << 10;
/// Buffers in a thread's cache, of each of the two kinds.
const KEPT: usize = 16;

thread_local! {
    static INPUTS: RefCell<Vec<Box<[u8]>>> = const { RefCell::new(Vec::new()) };
    static OUTPUTS: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// Bytes that were read and not yet consumed. An empty one has no memory.
#[derive(Debug, Default)]
pub(crate) struct Input {
    bytes: Box<[u8]>,
    start: usize,
    end: usize,
}

impl Input {
    pub(crate) fn filled(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Room for more bytes; the caller needs at most `most` bytes in all. A full buffer doubles, up to
    /// `most`, so that a long packet is moved only a few times. So memory grows with the bytes that
    /// have arrived, not with the length that a header claims.
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

    /// Notes that `bytes` at the front are no longer needed.
    pub(crate) fn consume(&mut self, bytes: usize) {
        assert!(bytes <= self.end - self.start, "consumed more than was read");
        self.start += bytes;
        if self.is_empty() {
            self.rest();
        }
    }

    /// Gives back unused memory, when no more input is there for now. The beginning of a short packet
    /// moves to memory of exactly its size.
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

    /// Bytes of memory.
    pub(crate) fn held(&self) -> usize {
        self.bytes.len()
    }

    /// The length of the first packet with its header; the bytes read, if the length is not known yet.
    pub(crate) fn begun(&self) -> usize {
        match self.filled() {
            &[a, b, c, d, ..] => (u32::from_le_bytes([a, b, c, d]) as usize).saturating_add(HEADER),
            few => few.len(),
        }
    }

    /// Gives the memory back if the buffer is empty.
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

/// Bytes that have yet to be written. An empty one has no memory.
#[derive(Debug, Default)]
pub(crate) struct Output {
    bytes: Vec<u8>,
    written: usize,
}

impl Output {
    /// The buffer to append packets to.
    pub(crate) fn buffer(&mut self) -> &mut Vec<u8> {
        if self.bytes.capacity() == 0 {
            self.bytes = OUTPUTS.take_one().unwrap_or_default();
        }
        &mut self.bytes
    }

    /// Appends an encoded packet. A long one is not copied if the output is empty.
    pub(crate) fn append(&mut self, packet: Vec<u8>) {
        if self.is_empty() && packet.len() > CHUNK {
            self.rest();
            self.bytes = packet;
        } else {
            if packet.len() > CHUNK {
                // Growth by doubling would waste too much here.
                self.buffer().reserve_exact(packet.len());
            }
            self.buffer().extend_from_slice(&packet);
        }
    }

    /// Bytes of memory.
    pub(crate) fn held(&self) -> usize {
        self.bytes.capacity()
    }

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
            // Amortised: each byte that is moved is paid for by one that was written.
            self.bytes.drain(..std::mem::take(&mut self.written));
        }
    }

    /// Throws away the pending bytes.
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

/// A thread's cache of buffers.
trait BufferPool<T> {
    fn take_one(&'static self) -> Option<T>;
    fn keep_one(&'static self, buffer: T);
}

impl<T> BufferPool<T> for std::thread::LocalKey<RefCell<Vec<T>>> {
    fn take_one(&'static self) -> Option<T> {
        self.try_with(|kept| kept.borrow_mut().pop()).ok().flatten()
    }

    fn keep_one(&'static self, buffer: T) {
        // Fails while the thread ends; then the buffer is freed.
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
    fn input_grows_as_bytes_come_and_is_freed_when_they_are_consumed() {
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
    fn the_beginning_of_a_short_packet_takes_memory_of_its_own_length() {
        let mut input = Input::default();
        input.room(usize::MAX)[..9].copy_from_slice(b"\0\x01\0\0begun");
        input.fill(9);
        assert_eq!((input.held(), input.begun()), (CHUNK, 256 + HEADER));
        input.settle();
        assert_eq!((input.held(), input.filled()), (9, &b"\0\x01\0\0begun"[..]));
        assert_eq!(input.room(100_000).len(), CHUNK - 9);
        input.fill(CHUNK - 9);
        assert_eq!(input.room(100_000).len(), 100_000 - CHUNK, "no more than the packet needs");
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
        assert!(output.held() <= 2 * CHUNK + 1, "written bytes make room");
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
