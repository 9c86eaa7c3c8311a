//! Lines of standard input, for a program that must be able to end while none comes.
//!
//! # Bounds
//! Whoever runs the program fills it. One line is being read and one waits, each of at most
//! [`MAX_LINE`] bytes; a longer one comes in pieces. Reading stops while nobody takes the line that
//! waits, so nothing is dropped.

use super::Failure;
use std::io::{BufRead, Read, stdin};
use tokio::sync::mpsc;

/// Longest line: the largest message in hexadecimal, and a little.
const MAX_LINE: u64 = (10 << 20) * 2 + 1024;

/// The lines, as they come.
#[derive(Debug)]
pub(super) struct Lines(mpsc::Receiver<Vec<u8>>);

impl Lines {
    /// Starts to read, on a thread of its own: a read can't be called off, and neither a block that
    /// is half read when something else happens nor the end of the process may depend on it.
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

    /// The next line, with its end; `None` after the last. Nothing is lost if the wait is given up.
    pub(super) async fn next(&mut self) -> Option<Vec<u8>> {
        self.0.recv().await
    }
}

/// Hands on line by line until there are no more, or nobody wants them.
fn read(input: &mut impl BufRead, mut hand_on: impl FnMut(Vec<u8>) -> bool) {
    loop {
        let mut line = Vec::new();
        // What can't be read has ended, and the node goes on without.
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
    fn lines_come_whole_and_the_last_one_needs_no_end() {
        assert_eq!(lines(b""), Vec::<Vec<u8>>::new());
        assert_eq!(lines(b"a\n\nbc"), [&b"a\n"[..], b"\n", b"bc"]);
    }

    #[test]
    fn a_line_beyond_the_bound_comes_in_pieces() {
        let long = vec![b'0'; MAX_LINE as usize + 5];
        let lengths: Vec<usize> = lines(&long).iter().map(Vec::len).collect();
        assert_eq!(lengths, [MAX_LINE as usize, 5]);
    }

    #[test]
    fn reading_ends_when_nobody_wants_more() {
        let mut left = &b"a\nb\n"[..];
        read(&mut left, |_| false);
        assert_eq!(left, b"b\n");
    }
}
