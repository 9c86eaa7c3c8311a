//! The output of a command: its answer, its failure, and its exit code.

use super::flags::sentence;
use std::error::Error;
use std::fmt;
use std::io::{ErrorKind, Write, stderr, stdout};

/// A command's failure: one sentence for the user.
#[derive(Debug)]
pub(crate) struct Failure(pub(super) String);

impl Failure {
    pub(super) fn new(sentence: impl fmt::Display) -> Self {
        Self(sentence.to_string())
    }
}

impl<E: Error + 'static> From<E> for Failure {
    fn from(error: E) -> Self {
        Self(sentence(&error))
    }
}

/// Returns which file to give in place of one that can't be read.
pub(super) fn readable(error: &std::io::Error) -> &'static str {
    match error.kind() {
        ErrorKind::NotFound => "that exists",
        _ => "that this user may read",
    }
}

/// Exit code of a negative answer.
pub(super) const NO: u8 = 1;
/// Exit code for unusable arguments or input.
pub(super) const UNUSABLE: u8 = 2;

/// Prints an answer on standard output. Returns `false` if its reader is gone.
///
/// A reader that closes the pipe (`opp2p devnet | head`) has read enough, which is not a failure.
pub(super) fn answer(text: impl fmt::Display) -> Result<bool, Failure> {
    match writeln!(stdout(), "{text}") {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(Failure::new(format!(
            "can't write to standard output: {error}; check where it goes"
        ))),
    }
}

/// Prints a message with the program's name on standard error.
pub(super) fn remark(text: impl fmt::Display) {
    // There is no place to report a failure here.
    let _ = writeln!(stderr(), "opp2p: {text}");
}

/// Creates the runtime for a node's tasks.
pub(super) fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.map_err(|error| Failure::new(format!("the system refused threads or sockets: {error}")))
}
