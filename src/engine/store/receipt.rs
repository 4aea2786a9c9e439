//! [`Receipt`], which each commit returns, and its token.

use std::fmt::{self, Write};
use std::future::Future;
use std::pin::Pin;
use std::str::FromStr;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use crate::engine::base::codec::crc32;
use crate::engine::base::error::{Error, Result};
use crate::engine::base::lsn::{Incarnation, Life, LifeMark, Lsn, StoreId};
use crate::engine::log::Log;
use crate::engine::mutants::mutant;

/// The most bytes of a token: store, incarnation, mark, LSN and check, with a character between.
const TOKEN_BYTES: usize = 32 + 1 + 16 + 1 + 16 + 1 + 16 + 1 + 8;

/// The result of a commit: says whether the commit survives a power loss by now, and waits for that.
///
/// A receipt is a position in the log, compared with the sync line; the store keeps nothing for it.
/// [`Receipt::wait`] blocks; `.await` does not, and needs no async runtime. Both request a flush at
/// once. So awaiting the receipt of an asynchronous commit is a synchronous commit that blocks no thread.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// use syncline::{CommitMode, Status, Store};
///
/// let store = Store::open(dir.path())?;
/// let users = store.keyspace("users")?;
/// let receipt = users.put_with("ada", "1815", CommitMode::Async)?;
/// let token = receipt.token(); // any later process can ask about it
/// receipt.wait()?;
/// assert_eq!(store.status(&token)?, Status::Durable);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Wakers
///
/// The store's flusher calls the waker of an awaited receipt, with no lock held. In a store
/// [without threads](crate::Options::without_threads) the calls that wait do. A waker may call the store
/// and may panic. It should not block: it would delay other wakers, and the flush after
/// [`Options::flush_interval`](crate::Options::flush_interval), but no `Sync` commit.
#[derive(Clone)]
pub struct Receipt {
    pub(crate) token: Token,
    pub(super) log: Option<Arc<Log>>,
}

/// The fate of a commit, as [`Store::status`](crate::Store::status) returns it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Status {
    /// The commit is readable and survives a kill of the process. A power loss could still undo it.
    Pending,
    /// The commit survives a power loss.
    Durable,
    /// A crash undid the commit: it is absent, for ever.
    Lost,
}

impl Receipt {
    pub(crate) fn new(lsn: Lsn, log: &Arc<Log>) -> Self {
        Receipt { token: Token::new(&log.life(), lsn), log: Some(Arc::clone(log)) }
    }

    /// A receipt for a position that was durable before this incarnation wrote anything.
    pub(crate) fn settled(life: &Life, lsn: Lsn) -> Self {
        Receipt { token: Token::new(life, lsn), log: None }
    }

    /// The commit's position in the log.
    pub fn lsn(&self) -> Lsn {
        self.token.lsn
    }

    /// The incarnation of the store that made the commit.
    pub fn incarnation(&self) -> Incarnation {
        self.token.incarnation
    }

    /// Whether the commit survives a power loss. Makes no system call.
    pub fn is_durable(&self) -> bool {
        self.log.as_ref().is_none_or(|log| {
            self.token.lsn <= mutant!(ReceiptDurableEarly: log.durable() => log.appended())
        })
    }

    /// Waits until the commit survives a power loss. Requests a flush at once.
    ///
    /// # Errors
    /// [`Error::Poisoned`] if a flush failed: only the recovery at the next open decides whether the
    /// commit is durable or lost. Ask [`Store::status`](crate::Store::status) then.
    pub fn wait(&self) -> Result<()> {
        match &self.log {
            Some(log) => log.wait_durable(self.token.lsn, None).map(|_| ()).map_err(self.named()),
            None => Ok(()),
        }
    }

    /// As [`Receipt::wait`], for at most `timeout`; false if the time was over first. Unlike `wait` it
    /// leaves the flush to the store's thread, which a waker that blocks can delay.
    ///
    /// # Errors
    /// As [`Receipt::wait`].
    pub fn wait_timeout(&self, timeout: Duration) -> Result<bool> {
        match &self.log {
            Some(log) => log.wait_durable(self.token.lsn, Some(timeout)).map_err(self.named()),
            None => Ok(true),
        }
    }

    /// Adds the position of this commit to an error that poisoned the log.
    fn named(&self) -> impl FnOnce(Error) -> Error + use<> {
        let lsn = self.token.lsn;
        move |error| error.after_append(lsn)
    }

    /// The receipt as text, for [`Store::status`](crate::Store::status) in this or any later process.
    ///
    /// It has the form `store-incarnation.mark-lsn-check`, all hexadecimal. The mark is a random name of
    /// the incarnation, which no other copy of the store shares. The check detects a character that was
    /// changed or lost.
    pub fn token(&self) -> String {
        // Allocated once: it is written in pieces, and a server writes many tokens.
        let mut text = String::with_capacity(TOKEN_BYTES);
        write!(text, "{}", self.token).expect("writing to a string never fails");
        text
    }
}

impl Future for Receipt {
    type Output = Result<()>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        match &self.log {
            Some(log) => log.poll_durable(self.token.lsn, cx).map_err(self.named()),
            None => Poll::Ready(Ok(())),
        }
    }
}

impl fmt::Debug for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receipt")
            .field("lsn", &self.lsn())
            .field("incarnation", &self.incarnation())
            .field("durable", &self.is_durable())
            .finish()
    }
}

/// A receipt without its store.
///
/// As text:
///
/// ```text
///   0a5c7e0b3f1d4e9c8b7a695847362514-3.9f3c2b7a10d4e856-c000148-5c0e91aa
///   store, 32 digits                 |  mark, 16 digits |       CRC-32 of what is before the last -
///                          incarnation                  LSN
/// ```
///
/// An incarnation that began under format version 1 has no mark. Its tokens end with the LSN and have no
/// check, so a lost end goes unnoticed: `0a5c7e0b3f1d4e9c8b7a695847362514-3-c000148`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) store: StoreId,
    pub(crate) incarnation: Incarnation,
    pub(crate) mark: LifeMark,
    pub(crate) lsn: Lsn,
}

impl Token {
    pub(crate) fn new(life: &Life, lsn: Lsn) -> Token {
        let &Life { store, incarnation, mark, .. } = life;
        Token { store, incarnation, mark, lsn }
    }

    /// Writes the token with `infix` before the LSN.
    pub(crate) fn write(&self, f: &mut fmt::Formatter<'_>, infix: &str) -> fmt::Result {
        let Token { store, incarnation, mark, lsn } = self;
        let (life, lsn) = (incarnation.get(), lsn.get());
        if mark.is_none() {
            return write!(f, "{store}-{life:x}-{infix}{lsn:x}");
        }
        // Allocates nothing: a server writes a token with each answer.
        let mut writer = ChecksumWriter { text: f, check: crc32fast::Hasher::new() };
        write!(writer, "{store}-{life:x}.{:016x}-{infix}{lsn:x}", mark.0)?;
        let check = writer.check.finalize();
        write!(f, "-{check:08x}")
    }

    /// Reads a token that has `infix` before the LSN.
    ///
    /// # Errors
    /// [`Error::InvalidToken`] with the reason.
    pub(crate) fn read(text: &str, infix: &str) -> Result<Self> {
        let invalid = |reason: &str| Error::InvalidToken {
            token: text.chars().take(100).collect(),
            reason: reason.into(),
        };
        let (start, rest) =
            text.split_once('-').ok_or_else(|| invalid("not three parts divided by -"))?;
        let (life, rest) =
            rest.split_once('-').ok_or_else(|| invalid("not three parts divided by -"))?;
        let rest = rest.strip_prefix(infix).ok_or_else(|| invalid("not what it should name"))?;
        let (life, mark, lsn) = match life.split_once('.') {
            None => (life, None, rest),
            Some((life, mark)) => {
                let (lsn, check) = rest.split_once('-').ok_or_else(|| invalid("it is cut off"))?;
                let before = &text[..text.len() - check.len() - 1];
                if mutant!(TokenCheckIgnored: check != format!("{:08x}", check_of(before)) => false)
                {
                    return Err(invalid("a character was changed or lost: its check is wrong"));
                }
                (life, Some(mark), lsn)
            }
        };
        let is_hex = |part: &str| {
            !part.is_empty()
                && part.bytes().all(|b| b.is_ascii_hexdigit() && !b.is_ascii_uppercase())
        };
        if start.len() != 32 || ![start, life, lsn].into_iter().all(is_hex) {
            return Err(invalid("not hexadecimal numbers, or not a store's id"));
        }
        let mark = match mark {
            None => LifeMark::NONE,
            Some(mark) if mark.len() == 16 && is_hex(mark) => {
                LifeMark(u64::from_str_radix(mark, 16).expect("sixteen digits"))
            }
            Some(_) => return Err(invalid("not a mark of 16 digits")),
        };
        let mut id = [0; 16];
        for (at, byte) in id.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&start[2 * at..2 * at + 2], 16).expect("two digits");
        }
        let life = u32::from_str_radix(life, 16).map_err(|_| invalid("the incarnation"))?;
        let lsn = u64::from_str_radix(lsn, 16).map_err(|_| invalid("the LSN"))?;
        let (store, incarnation) = (StoreId(id), Incarnation::new(life));
        Ok(Token { store, incarnation, mark, lsn: Lsn::new(lsn) })
    }
}

/// The check at the end of a token whose other text is `text`.
fn check_of(text: &str) -> u32 {
    crc32(&[text.as_bytes()])
}

/// Passes text on, and computes its checksum.
struct ChecksumWriter<'a, 'b> {
    text: &'a mut fmt::Formatter<'b>,
    check: crc32fast::Hasher,
}

impl fmt::Write for ChecksumWriter<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.check.update(text.as_bytes());
        self.text.write_str(text)
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, "")
    }
}

impl FromStr for Token {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Token::read(text, "")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::disk::SimDisk;
    use crate::{CommitMode, Options, Store};

    fn token() -> Token {
        Token {
            store: StoreId([0, 0x12, 0x23, 3, 4, 5, 6, 7, 8, 9, 0xa, 0xb, 0xc, 0xd, 0xe, 0xff]),
            incarnation: Incarnation::new(7),
            mark: LifeMark(0xab_cdef),
            lsn: Lsn::new(0x1234),
        }
    }

    fn refused(text: &str) -> String {
        match text.parse::<Token>() {
            Err(Error::InvalidToken { token, reason }) => {
                assert_eq!(token, text.chars().take(100).collect::<String>());
                reason
            }
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn tokens_come_back_and_other_text_does_not() {
        let text = token().to_string();
        assert_eq!(text, "001223030405060708090a0b0c0d0eff-7.0000000000abcdef-1234-f9ef1373");
        assert_eq!(text.parse::<Token>().unwrap(), token());
        let most = Token {
            incarnation: Incarnation::new(u32::MAX),
            mark: LifeMark(u64::MAX),
            lsn: Lsn::new(u64::MAX),
            ..token()
        };
        assert_eq!(most.to_string().parse::<Token>().unwrap(), most);
        for bad in ["", "-", "--", "ab-7-1234", &text[1..], &format!("{text}-"), "é", "+1-+1-+1"] {
            refused(bad);
        }
    }

    #[test]
    fn a_token_that_lost_its_end_is_refused() {
        let text = token().to_string();
        for len in 0..text.len() {
            refused(&text[..len]);
        }
    }

    #[test]
    fn a_token_with_a_changed_or_lost_character_is_refused() {
        let text = token().to_string();
        for at in 0..text.len() {
            for other in "0123456789abcdef-.x".chars() {
                let changed = format!("{}{other}{}", &text[..at], &text[at + 1..]);
                if changed != text {
                    refused(&changed);
                }
            }
            refused(&format!("{}{}", &text[..at], &text[at + 1..]));
        }
    }

    /// The checks of these tokens are right.
    #[test]
    fn every_part_of_a_token_is_validated() {
        let id = "001223030405060708090a0b0c0d0eff";
        let of = |text: String| refused(&format!("{text}-{:08x}", check_of(&text)));
        let digits = "not hexadecimal numbers, or not a store's id";
        for text in [
            format!("{id}-.0000000000abcdef-1"),
            format!("{id}-7.0000000000abcdef-"),
            format!("{id}-7.0000000000abcdef-A"),
            format!("{}-7.0000000000abcdef-1", &id[1..]),
        ] {
            assert_eq!(of(text.clone()), digits, "{text}");
        }
        for mark in ["", "abcdef", "00000000000abcdef", "0000000000ABCDEF", "0000000000abcde."] {
            let mark = format!("{id}-7.{mark}-1");
            assert_eq!(of(mark.clone()), "not a mark of 16 digits", "{mark}");
        }
        assert_eq!(of(format!("{id}-100000000.0000000000abcdef-1")), "the incarnation");
        assert_eq!(of(format!("{id}-1.0000000000abcdef-10000000000000000")), "the LSN");
        assert_eq!(of(format!("{id}-1.0000000000abcdef")), "it is cut off");
        assert_eq!(refused(&format!("{id}-1.0000000000abcdef-1")), "it is cut off");
    }

    #[test]
    fn tokens_of_version_1_are_read() {
        let id = "001223030405060708090a0b0c0d0eff";
        let old = Token { mark: LifeMark::NONE, ..token() };
        assert_eq!(old.to_string(), format!("{id}-7-1234"));
        assert_eq!(old.to_string().parse::<Token>().unwrap(), old);
        let digits = "not hexadecimal numbers, or not a store's id";
        for text in [
            format!("{id}--1"),
            format!("{id}-1-"),
            format!("-{id}-1"),
            format!("{id}-A-1"),
            format!("{id}-1-A"),
            format!("{}-1-1", id.replace('a', "A")),
            format!("{id}-g-1"),
            format!("{id}-+1-1"),
            format!("{id}-1- 1"),
            format!("{}-1-1", &id[1..]),
            format!("{id}0-1-1"),
            format!("{}\u{e9}-1-1", &id[2..]),
            format!("{id}-1-1-1"),
        ] {
            assert_eq!(refused(&text), digits);
        }
        assert_eq!(refused(&format!("{id}-100000000-1")), "the incarnation");
        assert_eq!(refused(&format!("{id}-1-10000000000000000")), "the LSN");
        assert_eq!(refused(&format!("{id}-1")), "not three parts divided by -");
    }

    /// The receipt of an unflushed asynchronous commit, in a store without threads.
    fn pending() -> (Store, Receipt) {
        let options = Options::new().without_threads().store_id([7; 16]);
        let store = options.open_on(Arc::new(SimDisk::new())).unwrap();
        let rows = store.keyspace("rows").unwrap();
        let receipt = rows.put_with("key", "value", CommitMode::Async).unwrap();
        assert!(!receipt.is_durable());
        assert_eq!(store.status(&receipt.token()).unwrap(), Status::Pending);
        (store, receipt)
    }

    fn settle(how: impl FnOnce(&mut Receipt)) {
        let (store, mut receipt) = pending();
        how(&mut receipt);
        assert!(receipt.is_durable());
        assert_eq!(store.status(&receipt.token()).unwrap(), Status::Durable);
        assert_eq!(store.watermarks().durable, receipt.lsn());
        assert_eq!(store.watermarks().incarnation, receipt.incarnation());
    }

    #[test]
    fn a_receipt_is_durable_after_any_way_to_wait() {
        settle(|receipt| receipt.wait().unwrap());
        settle(|receipt| assert!(receipt.wait_timeout(Duration::from_secs(20)).unwrap()));
        settle(|receipt| {
            let mut context = Context::from_waker(std::task::Waker::noop());
            assert!(Pin::new(receipt).poll(&mut context).is_ready());
        });
    }

    #[test]
    fn a_settled_receipt_needs_no_log() {
        let (number, lsn) = (Incarnation::new(3), Lsn::new(77));
        let life = Life::of_version_1(StoreId([1; 16]), number);
        let mut receipt = Receipt::settled(&life, lsn);
        assert!(receipt.is_durable());
        assert_eq!((receipt.incarnation(), receipt.lsn()), (number, lsn));
        receipt.wait().unwrap();
        assert!(receipt.wait_timeout(Duration::ZERO).unwrap());
        let mut context = Context::from_waker(std::task::Waker::noop());
        assert!(matches!(Pin::new(&mut receipt).poll(&mut context), Poll::Ready(Ok(()))));
        assert_eq!(receipt.token(), format!("{}-3-4d", "01".repeat(16)));
    }
}
