//! How values are written on the command line.

use std::time::Duration;

/// The reference's rule for ports (`p2p/cli/load_config.go`).
pub(super) fn port(text: &str) -> Result<u16, String> {
    match text.parse() {
        Ok(port @ 1..=1023) => {
            Err(format!("port {port} is reserved for system; use 1024 to 65535, or 0 for any that is free"))
        }
        Ok(port) => Ok(port),
        Err(_) => Err("a port is a number from 1024 to 65535, or 0 for any that is free".into()),
    }
}

/// A duration as the reference's language writes it (`1h30m`, `1.5s`, `300ms`), or a number of seconds.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || String::from("use a number of seconds, or a duration such as 1m30s");
    if let Ok(seconds) = text.parse() {
        return Ok(Duration::from_secs(seconds));
    }
    let (mut rest, mut total) = (text, Duration::ZERO);
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(wrong)?;
        let (count, after) = rest.split_at(digits);
        let unit_ends = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, after) = after.split_at(unit_ends);
        let unit = match unit {
            "h" => 3_600_000_000_000,
            "m" => 60_000_000_000,
            "s" => 1_000_000_000,
            "ms" => 1_000_000,
            "us" | "\u{b5}s" | "\u{3bc}s" => 1000,
            "ns" => 1,
            _ => return Err(wrong()),
        };
        let part = nanoseconds(count, unit).ok_or_else(wrong)?;
        total = total.checked_add(Duration::from_nanos(part)).ok_or_else(wrong)?;
        rest = after;
    }
    if text.is_empty() { Err(wrong()) } else { Ok(total) }
}

/// So many units of so many nanoseconds; `None` if `count` is no number, or too large a one.
fn nanoseconds(count: &str, unit: u64) -> Option<u64> {
    let (whole, fraction) = count.split_once('.').unwrap_or((count, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let mut nanoseconds = whole.checked_mul(unit)?;
    let mut place = unit;
    for digit in fraction.chars() {
        place /= 10;
        nanoseconds = nanoseconds.checked_add(u64::from(digit.to_digit(10)?) * place)?;
    }
    Some(nanoseconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_taken_as_the_reference_writes_them_or_as_seconds() {
        for (text, milliseconds) in [
            ("60", 60_000),
            ("60s", 60_000),
            ("1m30s", 90_000),
            ("2h", 7_200_000),
            ("1h0m1s", 3_601_000),
            ("0s", 0),
            ("1.5s", 1500),
            ("1.5h", 5_400_000),
            (".5s", 500),
            ("300ms", 300),
            ("1s1m", 61_000),
            ("1m5s20ms", 65_020),
            ("2000us", 2),
            ("3000000ns", 3),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_millis(milliseconds)), "{text}");
        }
        for text in
            ["", "s", "-1s", "1.s.", "m5s", "18446744073709551615h", "1m 30s", "1d", "1.2.3s", ".", ".s"]
        {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn only_ports_that_the_system_does_not_reserve_are_taken() {
        for (text, expected) in [("0", 0), ("1024", 1024), ("9222", 9222), ("65535", 65535)] {
            assert_eq!(port(text), Ok(expected));
        }
        for text in ["1", "1023", "65536", "-1", "", "http"] {
            assert!(port(text).is_err(), "{text}");
        }
    }
}
