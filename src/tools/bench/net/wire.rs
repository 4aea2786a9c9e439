//! One connection of the load: it sends and receives packets, and nothing else.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::super::error::BenchError;
use crate::net::client::{Dial, Socket};
use crate::net::proto::{Kind, MAX_BODY, Packet, Progress, Request, Response, decode};

/// Room for one read, in bytes.
const ROOM: usize = 64 << 10;

/// One connection. It has no buffer before its first read.
pub(super) struct Wire {
    socket: Box<dyn Socket>,
    input: Vec<u8>,
    output: Vec<u8>,
    pub(super) bytes_out: u64,
    pub(super) bytes_in: u64,
}

impl Wire {
    pub(super) async fn connect(dial: &Dial) -> Result<Wire, BenchError> {
        let (socket, input) = dial.socket().await?;
        Ok(Wire { socket, input, output: Vec::new(), bytes_out: 0, bytes_in: 0 })
    }

    /// Many connections, a few of them connecting at a time.
    pub(super) async fn connect_many(dial: &Dial, count: usize) -> Result<Vec<Wire>, BenchError> {
        const AT_A_TIME: usize = 64;
        let mut wires = Vec::with_capacity(count);
        while wires.len() < count {
            let some = AT_A_TIME.min(count - wires.len());
            let connecting = (0..some).map(|_| Wire::connect(dial));
            wires.extend(futures_util::future::try_join_all(connecting).await?);
        }
        Ok(wires)
    }

    /// Puts a request into the output.
    pub(super) fn add(&mut self, id: u64, request: &Request<'_>) {
        request.encode(id, 0, MAX_BODY, &mut self.output).expect("short requests");
    }

    /// Sends the output.
    pub(super) async fn flush(&mut self) -> io::Result<()> {
        self.bytes_out += self.output.len() as u64;
        self.socket.write_all(&self.output).await?;
        self.output.clear();
        self.socket.flush().await
    }

    /// Frees the memory of the empty output, before a long time without writes.
    pub(super) fn rest(&mut self) {
        assert!(self.output.is_empty(), "the output is sent before a rest");
        self.output = Vec::new();
    }

    /// Sends the one request in the output, and shows its answer to `look`.
    pub(super) async fn ask<T>(
        &mut self,
        request: &Request<'_>,
        mut look: impl FnMut(&Response<'_>) -> T,
    ) -> io::Result<T> {
        self.add(1, request);
        self.flush().await?;
        let mut answer = None;
        while answer.is_none() {
            self.read().await?;
            self.each(|packet| {
                answer = Some(look(&read(packet)?));
                Ok(())
            })?;
        }
        Ok(answer.expect("looked at above"))
    }

    /// Reads the bytes that have arrived. Cancelling it loses nothing.
    pub(super) async fn read(&mut self) -> io::Result<()> {
        if self.input.capacity() - self.input.len() < ROOM / 4 {
            self.input.reserve(ROOM);
        }
        match self.socket.read_buf(&mut self.input).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            bytes => {
                self.bytes_in += bytes as u64;
                Ok(())
            }
        }
    }

    /// Calls `answered` with the ids of all buffered answers. An error answer ends the load.
    pub(super) fn take(&mut self, mut answered: impl FnMut(u64)) -> io::Result<()> {
        self.each(|packet| {
            answered(packet.head.id);
            Ok(())
        })
    }

    /// Shows all buffered packets to `look`. An error answer ends the load.
    pub(super) fn each(
        &mut self,
        mut look: impl FnMut(&Packet<'_>) -> io::Result<()>,
    ) -> io::Result<()> {
        self.any(|packet| match packet.head.kind == Kind::Error.number() {
            true => Err(io::Error::other(format!("{:?}", Response::decode(packet)))),
            false => look(packet),
        })
    }

    /// Shows all buffered packets to `look`, error answers too.
    pub(super) fn any(
        &mut self,
        mut look: impl FnMut(&Packet<'_>) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut used = 0;
        while let Progress::Packet(packet) =
            decode(&self.input[used..], MAX_BODY).map_err(io::Error::other)?
        {
            used += packet.len_in_buffer();
            look(&packet)?;
        }
        self.input.drain(..used);
        Ok(())
    }
}

/// The response in a packet.
pub(super) fn read<'a>(packet: &Packet<'a>) -> io::Result<Response<'a>> {
    Response::decode(packet).map_err(|error| io::Error::other(format!("{error:?}")))
}
