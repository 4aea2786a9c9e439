//! The kinds of packets: requests below 128, answers and pushes from 128 on.

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $number:literal,)*) => {
        /// The kind of a packet, which says what its body is.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        #[non_exhaustive]
        pub enum Kind {
            $($(#[$doc])* $name = $number,)*
        }

        impl Kind {
            /// Every kind, in order.
            pub const ALL: &[Kind] = &[$(Kind::$name,)*];

            /// The kind of this number.
            pub fn from_number(number: u8) -> Option<Kind> {
                match number {
                    $($number => Some(Kind::$name),)*
                    _ => None,
                }
            }

            /// The kind's name, as in `PROTOCOL.md`.
            pub fn name(self) -> &'static str {
                match self {
                    $(Kind::$name => stringify!($name),)*
                }
            }
        }
    };
}

kinds! {
    /// The first packet of a connection.
    Hello = 1,
    /// Checks that the server answers.
    Ping = 2,
    /// Cancels a request.
    Cancel = 3,
    /// Lets a stream or a watch send more.
    Credit = 4,
    /// Reads one key.
    Get = 16,
    /// Writes one key.
    Put = 17,
    /// Deletes one key.
    Delete = 18,
    /// Several puts and deletes in one commit.
    Batch = 19,
    /// Reads keys in order.
    Range = 20,
    /// Lists the keyspaces.
    Keyspaces = 32,
    /// Makes a keyspace.
    CreateKeyspace = 33,
    /// Drops a keyspace.
    DropKeyspace = 34,
    /// Asks for the store's figures.
    Stats = 40,
    /// Asks for the watermarks.
    Watermarks = 41,
    /// Makes everything durable.
    Flush = 42,
    /// Makes a checkpoint.
    Checkpoint = 43,
    /// Checks the whole store.
    Verify = 44,
    /// Asks for a job's state.
    JobStatus = 48,
    /// Waits for a job's end: a long poll.
    JobWait = 49,
    /// Watches jobs for their ends.
    JobWatch = 50,
    /// Watches the watermarks.
    WatchWatermarks = 51,
    /// Asks a long operation to stop.
    JobCancel = 53,
    /// Answers `Hello`.
    Welcome = 128,
    /// A request that failed, or a connection that ends.
    Error = 129,
    /// Answers `Ping`.
    Pong = 130,
    /// Done, with nothing to return.
    Done = 131,
    /// Answers `Get`.
    Value = 144,
    /// Answers a write.
    Written = 145,
    /// Answers `Range`, whole or in part.
    Entries = 146,
    /// Answers `Keyspaces`.
    Names = 147,
    /// Answers `Stats`.
    Figures = 148,
    /// Answers `Watermarks`, `Flush`, and `Checkpoint`.
    Marks = 149,
    /// A job and its state.
    Job = 150,
    /// Push: a watched job changed.
    JobEvent = 151,
    /// Push: the watermarks moved.
    MarksEvent = 152,
    /// Answers `Verify`.
    Verified = 153,
    /// Push: the connection is about to end.
    Goodbye = 160,
}

impl Kind {
    /// The kind's number.
    pub fn number(self) -> u8 {
        self as u8
    }

    /// Whether a client sends it.
    pub fn is_request(self) -> bool {
        self.number() < 128
    }
}
