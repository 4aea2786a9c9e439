//! The error of every benchmark.

use std::fmt;
use std::io;

use crate::Error;

/// The reason why there are no figures.
#[derive(Debug)]
pub enum BenchError {
    /// An argument is wrong.
    Call(String),
    /// The store failed.
    Store(Error),
    /// The operating system refused, outside the store.
    Io {
        /// The action that failed.
        action: String,
        /// The error of the operating system.
        source: io::Error,
    },
    /// Standard output could not be written.
    Output(io::Error),
    /// The process that measured an engine has ended without an answer.
    Child {
        /// The name of the engine.
        engine: &'static str,
        /// How it ended.
        message: String,
    },
    /// An engine failed, or gave a wrong result.
    Engine {
        /// Its name.
        engine: &'static str,
        /// Its message.
        message: String,
    },
}

impl BenchError {
    pub(super) fn io(action: impl Into<String>) -> impl FnOnce(io::Error) -> BenchError {
        let action = action.into();
        move |source| BenchError::Io { action, source }
    }
}

impl fmt::Display for BenchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BenchError::Call(problem) => f.write_str(problem),
            BenchError::Store(error) => error.fmt(f),
            BenchError::Io { action, source } => write!(f, "cannot {action}: {source}"),
            BenchError::Output(source) => write!(f, "cannot write to standard output: {source}"),
            BenchError::Child { engine, message } | BenchError::Engine { engine, message } => {
                write!(f, "{engine}: {message}")
            }
        }
    }
}

impl From<Error> for BenchError {
    fn from(error: Error) -> BenchError {
        BenchError::Store(error)
    }
}
