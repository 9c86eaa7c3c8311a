//! Prediction of our external endpoint: a node behind a router does not know its own address, but
//! the nodes that it queries do.
//!
//! # Bounds
//! One statement per queried [`neighbourhood`](super::neighbourhood), so that a party with many
//! keys in one network has a single vote. At most [`MAX_STATEMENTS`]; the oldest are dropped first.
//! Only answers to our own queries may be added.

use super::neighbourhood;
use crate::peers::Subnet;
use crate::sorted::SortedMap;
use crate::time::Instant;
use core::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// Number of statements that must agree, as in the reference (geth's `iptrack`).
pub const MIN_STATEMENTS: usize = 10;
/// Lifetime of a statement, as in the reference.
pub const STATEMENT_TTL: Duration = Duration::from_secs(5 * 60);
/// Maximum number of statements kept.
const MAX_STATEMENTS: usize = 256;

/// Statements of other nodes about our endpoint, one per queried network.
#[derive(Clone, Debug, Default)]
pub struct Prediction {
    statements: SortedMap<Subnet, (SocketAddr, Instant)>,
}

impl Prediction {
    /// Creates a prediction without any statements.
    pub const fn new() -> Self {
        Self { statements: SortedMap::new() }
    }

    /// Records that a node at `from`, which we queried, sees us at `seen`.
    pub fn stated(&mut self, now: Instant, from: IpAddr, seen: SocketAddr) {
        self.statements.retain(|_, (_, at)| now.since(*at) < STATEMENT_TTL);
        let Some(from) = neighbourhood(from) else { return };
        if self.statements.len() >= MAX_STATEMENTS && !self.statements.contains_key(&from) {
            let oldest =
                self.statements.iter().min_by_key(|(_, (_, at))| *at).map(|(from, _)| *from);
            if let Some(oldest) = oldest {
                self.statements.remove(&oldest);
            }
        }
        self.statements.insert(from, (SocketAddr::new(seen.ip().to_canonical(), seen.port()), now));
    }

    /// Returns the endpoint on which most statements agree. Returns `None` if fewer than
    /// [`MIN_STATEMENTS`] agree, or if as many agree on another endpoint.
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
    fn many_keys_in_one_network_have_one_vote() {
        let mut prediction = Prediction::new();
        for host in 0..100 {
            prediction.stated(at(0), IpAddr::from([9, 9, 9, host]), seen(4));
        }
        assert_eq!(prediction.endpoint(at(0)), None);
    }

    #[test]
    fn a_tie_gives_no_answer_and_the_latest_statement_of_a_network_counts() {
        let mut prediction = Prediction::new();
        for network in 0..2 * MIN_STATEMENTS {
            prediction.stated(at(0), from(network), seen(4 + (network % 2) as u8));
        }
        assert_eq!(prediction.endpoint(at(0)), None);
        prediction.stated(at(0), from(1), seen(4));
        assert_eq!(prediction.endpoint(at(0)), Some(seen(4)));
    }

    #[test]
    fn the_number_of_statements_is_bounded() {
        let mut prediction = Prediction::new();
        for network in 0..3 * MAX_STATEMENTS {
            prediction.stated(at(1), from(network), seen(4));
            assert!(prediction.statements.len() <= MAX_STATEMENTS);
        }
        assert_eq!(prediction.endpoint(at(1)), Some(seen(4)));
    }
}
