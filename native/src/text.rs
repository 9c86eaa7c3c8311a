//! Values as short text, the same in the log, the summary and on the screen.

use alloy_primitives::{B256, hex};
use std::time::Duration;

/// The first `digits` (rounded down to an even number) digits of a hash.
pub(crate) fn short_hash(hash: &B256, digits: usize) -> String {
    hex::encode(hash.iter().take(digits / 2).copied().collect::<Vec<u8>>())
}

/// `783 B`, `31.2 kB`, `1.04 MB`.
pub(crate) fn size(bytes: u64) -> String {
    match bytes {
        0..1_000 => format!("{bytes} B"),
        1_000..1_000_000 => format!("{:.1} kB", bytes as f64 / 1e3),
        _ => format!("{:.2} MB", bytes as f64 / 1e6),
    }
}

/// Milliseconds without their unit, in at most four characters up to 10 s: `0.42`, `12.1`, `421`.
pub(crate) fn millis(duration: Duration) -> String {
    let millis = duration.as_secs_f64() * 1e3;
    match millis {
        ..9.995 => format!("{millis:.2}"),
        ..99.95 => format!("{millis:.1}"),
        _ => format!("{millis:.0}"),
    }
}

/// `0:07`, `12:34`, `1:02:03`.
pub(crate) fn clock(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if hours > 0 { format!("{hours}:{minutes:02}:{seconds:02}") } else { format!("{minutes}:{seconds:02}") }
}

/// `1 block`, `2 blocks`.
pub(crate) fn count(number: u64, one: &str) -> String {
    format!("{number} {one}{}", if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_short() {
        assert_eq!(short_hash(&B256::repeat_byte(0xab), 6), "ababab");
        assert_eq!(short_hash(&B256::ZERO, 100).len(), 64);
        assert_eq!([0, 783, 31_240, 1_040_000].map(size), ["0 B", "783 B", "31.2 kB", "1.04 MB"]);
        let micros = [0, 420, 9_994, 9_996, 99_960, 1_234_567].map(Duration::from_micros);
        assert_eq!(micros.map(millis), ["0.00", "0.42", "9.99", "10.0", "100", "1235"]);
        assert_eq!([7, 754, 3723].map(Duration::from_secs).map(clock), ["0:07", "12:34", "1:02:03"]);
        assert_eq!([0, 1, 2].map(|number| count(number, "gap")), ["0 gaps", "1 gap", "2 gaps"]);
    }
}
