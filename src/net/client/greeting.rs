//! The handshake: `Hello`, and the answer to it.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, timeout_at};

use super::address::{Address, Socket};
use super::deadline::moment;
use super::error::{Error, Result};
use super::options::ClientOptions;
use super::tls::Tls;
use crate::engine::base::lsn::{Incarnation, LifeMark, StoreId};
use crate::net::proto::{
    Hello, MAGIC, MARK_OPTION, MAX_BODY, MAX_HELLO, Progress, Request, Response, VERSION, Welcome,
    decode,
};

/// What the server tells about itself.
#[derive(Clone, Debug)]
pub(super) struct Greeting {
    pub(super) store: StoreId,
    pub(super) incarnation: Incarnation,
    /// `NONE` if the server is older than marks.
    pub(super) mark: LifeMark,
    pub(super) server: String,
    pub(super) max_body: u32,
    pub(super) max_in_flight: u32,
    pub(super) max_subscriptions: u32,
    pub(super) idle_timeout_ms: u32,
}

/// Connects and shakes hands. Returns the socket, the greeting, and the bytes that came behind it. The
/// targets of the address share the time that the options give.
pub(super) async fn open(
    address: &Address,
    tls: Option<&Tls>,
    options: &ClientOptions,
) -> Result<(Box<dyn Socket>, Greeting, Vec<u8>)> {
    let failed = |error| Error::connect(address, error);
    let late = || failed(io::ErrorKind::TimedOut.into());
    let until = moment(options.connect_timeout);
    let targets = timeout_at(until, address.targets()).await.map_err(|_| late())?;
    let targets = targets.map_err(failed)?;
    let mut outcome = Err(failed(io::ErrorKind::AddrNotAvailable.into()));
    for (at, target) in targets.iter().enumerate() {
        let left = until.saturating_duration_since(Instant::now());
        let share = left / (targets.len() - at) as u32;
        let connecting = async {
            let mut socket = target.open(tls).await.map_err(failed)?;
            let (greeting, rest) = greet(&mut socket, options, failed).await?;
            Ok((socket, greeting, rest))
        };
        outcome = timeout_at(moment(share), connecting).await.unwrap_or_else(|_| Err(late()));
        if !matches!(outcome, Err(Error::Connect { .. } | Error::Tls { .. })) {
            break;
        }
    }
    outcome
}

async fn greet(
    socket: &mut Box<dyn Socket>,
    options: &ClientOptions,
    failed: impl Fn(io::Error) -> Error,
) -> Result<(Greeting, Vec<u8>)> {
    let token = options.token.reveal();
    let hello = Hello {
        magic: MAGIC,
        min_version: VERSION,
        max_version: VERSION,
        client: concat!("syncline ", env!("CARGO_PKG_VERSION")),
        token: token.as_deref(),
        max_body: options.max_body,
        options: Vec::new(),
    };
    let mut bytes = Vec::new();
    let hello = Request::Hello(hello);
    hello
        .encode(1, 0, MAX_HELLO, &mut bytes)
        .map_err(|_| Error::Option("the token is too long for `Hello` (4096 bytes)".into()))?;
    socket.write_all(&bytes).await.map_err(&failed)?;
    socket.flush().await.map_err(&failed)?;
    bytes.clear();
    loop {
        // The answer to `Hello` may be longer than `Hello` itself may be.
        let progress = decode(&bytes, MAX_BODY.min(1 << 20));
        match progress.map_err(|broken| Error::protocol(broken.to_string()))? {
            Progress::NeedMore(needed) => bytes.reserve(needed.max(512)),
            Progress::Packet(packet) => {
                let answer = Response::decode(&packet);
                let answer = answer.map_err(|what| Error::protocol(format!("{what:?}")))?;
                let greeting = read(answer)?;
                let used = packet.len_in_buffer();
                return Ok((greeting, bytes.split_off(used)));
            }
        }
        if socket.read_buf(&mut bytes).await.map_err(&failed)? == 0 {
            return Err(failed(io::ErrorKind::UnexpectedEof.into()));
        }
    }
}

fn read(answer: Response<'_>) -> Result<Greeting> {
    match answer {
        Response::Welcome(welcome) if welcome.version == VERSION => Ok(Greeting {
            store: StoreId(welcome.store),
            incarnation: Incarnation::new(welcome.incarnation),
            mark: mark_of(&welcome)?,
            server: welcome.server.to_string(),
            max_body: welcome.max_body,
            max_in_flight: welcome.max_in_flight,
            max_subscriptions: welcome.max_subscriptions,
            idle_timeout_ms: welcome.idle_timeout_ms,
        }),
        Response::Welcome(welcome) => Err(Error::protocol(format!(
            "the server chose version {}, which was not offered",
            welcome.version
        ))),
        Response::Error(failure) => Err(failure.into()),
        _ => Err(Error::protocol("the first packet is no answer to Hello")),
    }
}

fn mark_of(welcome: &Welcome<'_>) -> Result<LifeMark> {
    let Some((_, mark)) = welcome.options.iter().find(|(name, _)| **name == *MARK_OPTION) else {
        return Ok(LifeMark::NONE);
    };
    let read = u64::from_str_radix(mark, 16).map(LifeMark);
    read.map_err(|_| {
        Error::protocol(format!("{mark:?} is no mark: 16 hexadecimal digits were expected"))
    })
}
