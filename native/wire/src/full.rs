//! Notice of a full gateway to a browser, in place of the handshake.
//!
//! A browser's script learns nothing about a WebSocket that is refused. A full gateway therefore
//! accepts the WebSocket, and answers the browser's proposal of a security protocol with a line
//! that is not a valid answer: [`FULL`]. Other implementations see a failed negotiation. The line
//! costs the gateway no cryptography.

/// The line, as multistream-select frames it: its length, and a name that ends with a newline.
pub const FULL: &[u8] = b"\x0e/opp2p/full/1\n";

/// Recognises [`FULL`] at the start of a gateway's data.
#[derive(Clone, Copy, Debug, Default)]
pub struct FullDetector {
    /// Number of bytes that matched.
    matched: usize,
    is_decided: bool,
}

impl FullDetector {
    /// Takes the next bytes that were read. Returns `true` if they complete the line.
    pub fn read(&mut self, bytes: &[u8]) -> bool {
        if self.is_decided {
            return false;
        }
        let rest = &FULL[self.matched..];
        let length = bytes.len().min(rest.len());
        let (matches, is_last) = (bytes[..length] == rest[..length], length == rest.len());
        self.is_decided = !matches || is_last;
        self.matched += length;
        matches && is_last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_is_recognised_in_chunks_of_any_size() {
        assert_eq!(usize::from(FULL[0]), FULL.len() - 1);
        for size in 1..=FULL.len() + 1 {
            let mut detector = FullDetector::default();
            let found: Vec<bool> = FULL.chunks(size).map(|part| detector.read(part)).collect();
            assert!(found.last() == Some(&true) && found.iter().filter(|hit| **hit).count() == 1);
            assert!(!detector.read(FULL), "only at the begin");
        }
        let mut detector = FullDetector::default();
        assert!(!detector.read(b""));
        assert!(detector.read(&[FULL, b"and more"].concat()));
    }

    #[test]
    fn an_answer_is_not_taken_for_the_line() {
        for size in [1, 3, 20] {
            let mut detector = FullDetector::default();
            let answer = b"\x13/multistream/1.0.0\n";
            assert!(answer.chunks(size).all(|part| !detector.read(part)));
            assert!(FULL.chunks(size).all(|part| !detector.read(part)));
        }
        let mut detector = FullDetector::default();
        assert!(!detector.read(&FULL[..5]) && !detector.read(&FULL[..5]) && !detector.read(FULL));
    }
}
