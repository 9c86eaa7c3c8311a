//! Where others see us: behind a router a node does not know its own address, but those that it asks do.
//!
//! # Bounds
//! One statement for each [`neighbourhood`](super::neighbourhood) that was asked, so that whoever has many keys but
//! one network says one thing; [`MAX_STATEMENTS`] of them, the oldest go first. Only the answers to questions of ours
//! may be put in.

use super::neighbourhood;
use crate::peers::Subnet;
use crate::sorted::SortedMap;
use crate::time::Instant;
use core::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// How many must agree, as in the reference (geth's `iptrack`).
pub const MIN_STATEMENTS: usize = 10;
/// How long a statement counts, as in the reference.
pub const STATEMENT_TTL: Duration = Duration::from_secs(5 * 60);
/// Statements that are kept.
const MAX_STATEMENTS: usize = 256;

/// What was stated, once for each network that was asked.
#[derive(Clone, Debug, Default)]
pub struct Prediction {
    statements: SortedMap<Subnet, (SocketAddr, Instant)>,
}

impl Prediction {
    /// Nobody has said anything.
    pub const fn new() -> Self {
        Self { statements: SortedMap::new() }
    }

    /// Somebody at `from`, who was asked, sees us there.
    pub fn stated(&mut self, now: Instant, from: IpAddr, seen: SocketAddr) {
        self.statements.retain(|_, (_, at)| now.since(*at) < STATEMENT_TTL);
        let Some(from) = neighbourhood(from) else { return };
        if self.statements.len() >= MAX_STATEMENTS && !self.statements.contains_key(&from) {
            let oldest = self.statements.iter().min_by_key(|(_, (_, at))| *at).map(|(from, _)| *from);
            if let Some(oldest) = oldest {
                self.statements.remove(&oldest);
            }
        }
        self.statements.insert(from, (SocketAddr::new(seen.ip().to_canonical(), seen.port()), now));
    }

    /// Where most of them see us; `None` if less than [`MIN_STATEMENTS`] agree, or as many on something else.
    pub fn endpoint(&self, now: Instant) -> Option<SocketAddr> {
        let mut counts: SortedMap<SocketAddr, usize> = SortedMap::new();
        for (seen, at) in self.statements.values() {
            if now.since(*at) < STATEMENT_TTL {
                *counts.get_or_insert_with(*seen, || 0) += 1;
            }
        }
        let most = counts.values().copied().max().filter(|most| *most >= MIN_STATEMENTS)?;
        let mut winners = counts.iter().filter(|(_, count)| **count == most).map(|(seen, _)| *seen);
        winners.next().filter(|_| winners.next().is_none())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant::from_start(Duration::from_secs(seconds))
    }

    fn seen(last: u8) -> SocketAddr {
        SocketAddr::from(([1, 2, 3, last], 9222))
    }

    fn from(network: usize) -> IpAddr {
        let [high, low] = u16::try_from(network).expect("few networks").to_be_bytes();
        IpAddr::from([50 + high, low, 7, 7])
    }

    #[test]
    fn ten_networks_that_agree_within_five_minutes_are_believed() {
        let mut prediction = Prediction::new();
        for network in 0..MIN_STATEMENTS - 1 {
            prediction.stated(at(0), from(network), seen(4));
        }
        assert_eq!(prediction.endpoint(at(1)), None);
        prediction.stated(at(1), from(100), seen(5));
        assert_eq!(prediction.endpoint(at(1)), None, "they must agree");
        prediction.stated(at(1), from(101), seen(4));
        assert_eq!(prediction.endpoint(at(1)), Some(seen(4)));
        assert_eq!(prediction.endpoint(at(300)), None, "the first ones are old");
    }

    #[test]
    fn many_keys_in_one_network_say_one_thing() {
        let mut prediction = Prediction::new();
        for host in 0..100 {
            prediction.stated(at(0), IpAddr::from([9, 9, 9, host]), seen(4));
        }
        assert_eq!(prediction.endpoint(at(0)), None);
    }

    #[test]
    fn a_draw_is_no_answer_and_the_last_word_of_a_network_counts() {
        let mut prediction = Prediction::new();
        for network in 0..2 * MIN_STATEMENTS {
            prediction.stated(at(0), from(network), seen(4 + (network % 2) as u8));
        }
        assert_eq!(prediction.endpoint(at(0)), None);
        prediction.stated(at(0), from(1), seen(4));
        assert_eq!(prediction.endpoint(at(0)), Some(seen(4)));
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let mut prediction = Prediction::new();
        for network in 0..3 * MAX_STATEMENTS {
            prediction.stated(at(1), from(network), seen(4));
            assert!(prediction.statements.len() <= MAX_STATEMENTS);
        }
        assert_eq!(prediction.endpoint(at(1)), Some(seen(4)));
    }
}
