//! Values as short text, formatted alike in the log, the summary and on the screen.

use alloy_primitives::{B256, hex};
#[cfg(any(test, feature = "devnet"))]
use std::time::Duration;

/// Returns the first `digits` hex digits of a hash; `digits` is rounded down to an even number.
pub(crate) fn short_hash(hash: &B256, digits: usize) -> String {
    hex::encode(hash.iter().take(digits / 2).copied().collect::<Vec<u8>>())
}

/// Formats a number of bytes: `783 B`, `31.2 kB`, `1.04 MB`.
pub(crate) fn size(bytes: u64) -> String {
    match bytes {
        0..1_000 => format!("{bytes} B"),
        1_000..1_000_000 => format!("{:.1} kB", bytes as f64 / 1e3),
        _ => format!("{:.2} MB", bytes as f64 / 1e6),
    }
}

/// Formats milliseconds without the unit, in at most four characters up to 10 s: `0.42`, `12.1`,
/// `421`.
#[cfg(any(test, feature = "devnet"))]
pub(crate) fn millis(duration: Duration) -> String {
    let millis = duration.as_secs_f64() * 1e3;
    match millis {
        ..9.995 => format!("{millis:.2}"),
        ..99.95 => format!("{millis:.1}"),
        _ => format!("{millis:.0}"),
    }
}

/// Formats Unix seconds: `2024-01-11 17:00:01 UTC`.
pub(crate) fn utc(unix: u64) -> String {
    // Days since March 1 of the year 0, so that a leap day is the last day of its year. 400 years
    // have 146,097 days.
    let (days, seconds) = (unix / 86_400 + 719_468, unix % 86_400);
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    // Months since March: every five of them have 153 days.
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = era * 400 + year + u64::from(month <= 2);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC")
}

/// Formats a duration: `0:07`, `12:34`, `1:02:03`.
#[cfg(any(test, all(feature = "devnet", feature = "tui")))]
pub(crate) fn clock(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if hours > 0 {
        format!("{hours}:{minutes:02}:{seconds:02}")
    } else {
        format!("{minutes}:{seconds:02}")
    }
}

/// Formats a number with its noun: `1 block`, `2 blocks`.
pub(crate) fn count(number: u64, one: &str) -> String {
    format!("{number} {one}{}", if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_written_as_a_date() {
        for (unix, expected) in [
            (0, "1970-01-01 00:00:00 UTC"),
            (951_782_400, "2000-02-29 00:00:00 UTC"),
            (1_583_020_799, "2020-02-29 23:59:59 UTC"),
            (1_704_992_401, "2024-01-11 17:00:01 UTC"),
            (1_735_689_599, "2024-12-31 23:59:59 UTC"),
            (1_793_901_600, "2026-11-05 18:00:00 UTC"),
            (4_107_542_400, "2100-03-01 00:00:00 UTC"),
        ] {
            assert_eq!(utc(unix), expected);
        }
    }

    #[test]
    fn values_are_short() {
        assert_eq!(short_hash(&B256::repeat_byte(0xab), 6), "ababab");
        assert_eq!(short_hash(&B256::ZERO, 100).len(), 64);
        assert_eq!([0, 783, 31_240, 1_040_000].map(size), ["0 B", "783 B", "31.2 kB", "1.04 MB"]);
        let micros = [0, 420, 9_994, 9_996, 99_960, 1_234_567].map(Duration::from_micros);
        assert_eq!(micros.map(millis), ["0.00", "0.42", "9.99", "10.0", "100", "1235"]);
        assert_eq!(
            [7, 754, 3723].map(Duration::from_secs).map(clock),
            ["0:07", "12:34", "1:02:03"]
        );
        assert_eq!([0, 1, 2].map(|number| count(number, "gap")), ["0 gaps", "1 gap", "2 gaps"]);
    }
}
