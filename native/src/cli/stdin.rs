//! Lines of standard input, read so that the program can end while no line arrives.
//!
//! # Bounds
//! The user supplies the input. One line is being read and one waits, each of at most [`MAX_LINE`]
//! bytes; a longer one is split. Reading stops until the waiting line is taken, so nothing is
//! dropped.

use super::Failure;
use std::io::{BufRead, Read, stdin};
use tokio::sync::mpsc;

/// Maximum size of a line in bytes: the largest message in hexadecimal, with room to spare.
const MAX_LINE: u64 = (10 << 20) * 2 + 1024;

/// The lines in order.
#[derive(Debug)]
pub(super) struct Lines(mpsc::Receiver<Vec<u8>>);

impl Lines {
    /// Starts to read on a separate thread: a blocking read can't be cancelled, and neither a
    /// half-read block nor the end of the process may depend on it.
    pub(super) fn start() -> Result<Self, Failure> {
        let (sender, receiver) = mpsc::channel(1);
        let started = std::thread::Builder::new().name("stdin".into()).spawn(move || {
            read(&mut stdin().lock(), |line| sender.blocking_send(line).is_ok());
        });
        started.map_err(|error| {
            Failure::new(format!("the system refused a thread for standard input: {error}"))
        })?;
        Ok(Self(receiver))
    }

    /// Returns the next line, with its line break; `None` after the last. No line is lost if the
    /// future is dropped.
    pub(super) async fn next(&mut self) -> Option<Vec<u8>> {
        self.0.recv().await
    }
}

/// Hands on lines until the input ends or `hand_on` returns `false`.
fn read(input: &mut impl BufRead, mut hand_on: impl FnMut(Vec<u8>) -> bool) {
    loop {
        let mut line = Vec::new();
        // A read error ends the input, and the node keeps running without it.
        let read = (&mut *input).take(MAX_LINE).read_until(b'\n', &mut line);
        if read.is_err() || line.is_empty() || !hand_on(line) {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(mut text: &[u8]) -> Vec<Vec<u8>> {
        let mut lines = Vec::new();
        read(&mut text, |line| {
            lines.push(line);
            true
        });
        lines
    }

    #[test]
    fn lines_are_read_whole_and_the_last_needs_no_newline() {
        assert_eq!(lines(b""), Vec::<Vec<u8>>::new());
        assert_eq!(lines(b"a\n\nbc"), [&b"a\n"[..], b"\n", b"bc"]);
    }

    #[test]
    fn a_line_beyond_the_bound_is_read_in_pieces() {
        let long = vec![b'0'; MAX_LINE as usize + 5];
        let lengths: Vec<usize> = lines(&long).iter().map(Vec::len).collect();
        assert_eq!(lengths, [MAX_LINE as usize, 5]);
    }

    #[test]
    fn reading_stops_when_the_consumer_stops() {
        let mut left = &b"a\nb\n"[..];
        read(&mut left, |_| false);
        assert_eq!(left, b"b\n");
    }
}
