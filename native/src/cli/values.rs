//! Parsers for values on the command line.

use opp2p_core::sync::Reach;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::time::Duration;

/// Parses a port by the reference's rule (`p2p/cli/load_config.go`).
pub(super) fn port(text: &str) -> Result<u16, String> {
    match text.parse() {
        Ok(port @ 1..=1023) => Err(format!(
            "port {port} is reserved for system; use 1024 to 65535, or 0 for any that is free"
        )),
        Ok(port) => Ok(port),
        Err(_) => Err("a port is a number from 1024 to 65535, or 0 for any that is free".into()),
    }
}

/// Parses any TCP port, even one that the system reserves.
pub(super) fn any_port(text: &str) -> Result<u16, String> {
    text.parse().map_err(|_| "a port is a number up to 65535, or 0 for any that is free".into())
}

/// Parses an IP address. An IPv4 address that is written as IPv6 (`::ffff:127.0.0.1`) becomes IPv4,
/// as in the reference.
pub(super) fn unmapped(text: &str) -> Result<IpAddr, String> {
    let address: IpAddr =
        text.parse().map_err(|_| "use an IP address, such as 127.0.0.1 or ::1")?;
    Ok(address.to_canonical())
}

/// Parses a whole number.
pub(super) fn whole_number(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| "use a whole number, such as 48".into())
}

/// Parses a whole number that is not zero.
pub(super) fn at_least_1(text: &str) -> Result<u64, String> {
    match whole_number(text)? {
        0 => Err("use 1 or more".into()),
        number => Ok(number),
    }
}

/// Parses a boolean in every form that op-node's language accepts.
pub(super) fn boolean(text: &str) -> Result<bool, String> {
    match text {
        "true" | "1" | "t" | "T" | "TRUE" | "True" => Ok(true),
        "false" | "0" | "f" | "F" | "FALSE" | "False" => Ok(false),
        _ => Err("use true or false".into()),
    }
}

/// Parses an IP address to listen on, or a host name that this machine can resolve.
pub(super) fn address(text: &str) -> Result<IpAddr, String> {
    if let Ok(address) = unmapped(text) {
        return Ok(address);
    }
    let is_name = text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_'));
    // The reference takes names too. Anything else may be a typo, and resolving it takes long.
    let found: Vec<SocketAddr> = if is_name {
        (text, 0).to_socket_addrs().into_iter().flatten().collect()
    } else {
        Vec::new()
    };
    let first = found.iter().find(|address| address.is_ipv4()).or(found.first());
    first.map(SocketAddr::ip).ok_or_else(|| {
        "use an IP address, such as 127.0.0.1, or a name that this machine knows".into()
    })
}

/// Parses a duration in the reference's format (`1h30m`, `1.5s`, `300ms`), or a number of seconds.
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
        let part = product(count, unit).ok_or_else(wrong)?;
        total = total.checked_add(Duration::from_nanos(part)).ok_or_else(wrong)?;
        rest = after;
    }
    if text.is_empty() { Err(wrong()) } else { Ok(total) }
}

/// Parses how far history goes back: to a block's number, or by an age such as `12h` or `2d`.
pub(super) fn reach(text: &str) -> Result<Reach, String> {
    if let Ok(number) = text.parse() {
        return Ok(Reach::Number(number));
    }
    let age = match text.strip_suffix('d') {
        Some(days) => product(days, 86_400_000_000_000).map(Duration::from_nanos),
        None => duration(text).ok(),
    };
    age.filter(|age| !age.is_zero()).map(Reach::Age).ok_or_else(|| {
        "use the number of a block, such as 120000000, or an age such as 12h, 30m or 2d".into()
    })
}

/// Returns `count` units, where a unit is a power of ten or a multiple of one; `None` if `count` is
/// not a number, or the product overflows.
fn product(count: &str, unit: u64) -> Option<u64> {
    let (whole, fraction) = count.split_once('.').unwrap_or((count, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let mut total = whole.checked_mul(unit)?;
    let mut place = unit;
    for digit in fraction.chars() {
        place /= 10;
        total = total.checked_add(u64::from(digit.to_digit(10)?) * place)?;
    }
    Some(total)
}

/// An amount of disk space in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Gigabytes(pub(super) u64);

/// Parses a number of gigabytes of 10^9 bytes, with optional fractions.
pub(super) fn gigabytes(text: &str) -> Result<Gigabytes, String> {
    let wrong = || String::from("use a number of gigabytes, such as 20 or 0.5");
    let bytes = product(text, 1_000_000_000).ok_or_else(wrong)?;
    Ok(Gigabytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_in_the_reference_or_as_seconds() {
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
        for text in [
            "",
            "s",
            "-1s",
            "1.s.",
            "m5s",
            "18446744073709551615h",
            "1m 30s",
            "1d",
            "1.2.3s",
            ".",
            ".s",
        ] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn history_reaches_back_to_a_number_or_by_an_age() {
        let age = |seconds| Ok(Reach::Age(Duration::from_secs(seconds)));
        for (text, expected) in [
            ("0", Ok(Reach::Number(0))),
            ("120000000", Ok(Reach::Number(120_000_000))),
            ("12h", age(43_200)),
            ("30m", age(1800)),
            ("1h30m", age(5400)),
            ("90s", age(90)),
            ("2d", age(172_800)),
            ("1.5d", age(129_600)),
        ] {
            assert_eq!(reach(text), expected, "{text}");
        }
        for text in [
            "",
            "12x",
            "-5",
            "-12h",
            "d",
            "-1d",
            "0h",
            "0d",
            "2d12h",
            "h",
            "latest",
            "18446744073709551616",
            "999999999d",
        ] {
            let why = reach(text).expect_err(text);
            assert!(why.contains("12h") && why.contains("number of a block"), "{text}: {why}");
        }
    }

    #[test]
    fn gigabytes_may_have_fractions() {
        for (text, bytes) in [("20", 20_000_000_000), ("0.5", 500_000_000), (".25", 250_000_000)] {
            assert_eq!(gigabytes(text), Ok(Gigabytes(bytes)), "{text}");
        }
        for text in ["", "20GB", "-1", "1e3", ".", "18446744074"] {
            assert!(gigabytes(text).is_err(), "{text}");
        }
    }

    #[test]
    fn booleans_are_read_as_go_reads_them() {
        for text in ["true", "1", "t", "T", "TRUE", "True"] {
            assert_eq!(boolean(text), Ok(true), "{text}");
        }
        for text in ["false", "0", "f", "F", "FALSE", "False"] {
            assert_eq!(boolean(text), Ok(false), "{text}");
        }
        for text in ["", "yes", "tRUE", " true"] {
            assert!(boolean(text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_ipv4_mapped_address_is_ipv4() {
        let loopback = || Ok(IpAddr::from([127, 0, 0, 1]));
        assert_eq!(
            (unmapped("::ffff:127.0.0.1"), address("::ffff:7f00:1")),
            (loopback(), loopback())
        );
        assert_eq!(unmapped("::1").map(|ip| ip.is_ipv6()), Ok(true));
        assert!(unmapped("localhost").is_err() && unmapped("").is_err());
    }

    #[test]
    fn privileged_ports_are_refused() {
        for (text, expected) in [("0", 0), ("1024", 1024), ("9222", 9222), ("65535", 65535)] {
            assert_eq!(port(text), Ok(expected));
        }
        for text in ["1", "1023", "65536", "-1", "", "http"] {
            assert!(port(text).is_err(), "{text}");
        }
    }
}
