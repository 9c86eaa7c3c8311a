//! The rules by which a block executes.

use serde::{Deserialize, Serialize};

use crate::chain::{ChainConfig, Fork, ForkSchedule};

/// Chains whose nodes have rules of their own, by their ids: Celo, Celo Sepolia (a precompile
/// that moves the native token) and Silent Data (private state).
const OTHER_CHAINS: [u64; 3] = [42_220, 11_142_220, 380_929];

/// The newest fork of the OP Stack that changes execution and is active in a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Rules {
    /// Before Canyon: those of Ethereum's Merge.
    Bedrock,
    /// Those of Ethereum's Shanghai.
    Canyon,
    /// Those of Ethereum's Cancun.
    Ecotone,
    /// Adds the precompile for secp256r1.
    Fjord,
    /// Limits the input of the pairing precompile.
    Granite,
    /// Those of Ethereum's Prague.
    Isthmus,
    /// Lowers the limits of the precompiles' inputs.
    Jovian,
    /// Those of Ethereum's Osaka.
    Karst,
}

/// The rules of a chain over time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleSchedule {
    chain_id: u64,
    forks: ForkSchedule,
    /// Names and activation times of forks that this software does not know.
    unknown: Vec<(String, u64)>,
}

impl RuleSchedule {
    /// Returns the rules of a chain.
    pub fn of(chain: &ChainConfig) -> Self {
        let unknown = chain.unknown_forks.iter().map(|(name, time)| (name.clone(), *time));
        Self { chain_id: chain.chain_id, forks: chain.forks, unknown: unknown.collect() }
    }

    /// Returns the rules in a block with this timestamp, in seconds since the Unix epoch.
    ///
    /// # Errors
    /// The name of what is not known here: a fork, or a chain with its own rules.
    pub fn at(&self, timestamp: u64) -> Result<Rules, String> {
        if OTHER_CHAINS.contains(&self.chain_id) {
            return Err(format!("chain {}", self.chain_id));
        }
        if let Some((name, _)) = self.unknown.iter().find(|(_, time)| *time <= timestamp) {
            return Err(format!("the fork of {name}"));
        }
        let is_active = |fork| self.forks.is_active(fork, timestamp);
        // Base's native tokens are precompiles with state. Lagoon's rules are not final.
        let unknown = [Fork::Denim, Fork::Cobalt, Fork::Beryl, Fork::Azul, Fork::Lagoon];
        if let Some(fork) = unknown.into_iter().find(|fork| is_active(*fork)) {
            return Err(format!("the fork {fork}"));
        }
        let known = [
            (Fork::Karst, Rules::Karst),
            (Fork::Jovian, Rules::Jovian),
            (Fork::Isthmus, Rules::Isthmus),
            (Fork::Granite, Rules::Granite),
            (Fork::Fjord, Rules::Fjord),
            (Fork::Ecotone, Rules::Ecotone),
            (Fork::Canyon, Rules::Canyon),
        ];
        let newest = known.into_iter().find(|(fork, _)| is_active(*fork));
        Ok(newest.map_or(Rules::Bedrock, |(_, rules)| rules))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(chain_id: u64, forks: ForkSchedule, timestamp: u64) -> Result<Rules, String> {
        RuleSchedule { chain_id, forks, unknown: vec![("zenith_time".into(), 900)] }.at(timestamp)
    }

    #[test]
    fn the_newest_active_fork_gives_the_rules() {
        for (fork, rules) in [
            (Fork::Canyon, Rules::Canyon),
            (Fork::Delta, Rules::Canyon),
            (Fork::Ecotone, Rules::Ecotone),
            (Fork::Fjord, Rules::Fjord),
            (Fork::Holocene, Rules::Granite),
            (Fork::Isthmus, Rules::Isthmus),
            (Fork::Jovian, Rules::Jovian),
            (Fork::Karst, Rules::Karst),
        ] {
            assert_eq!(at(10, ForkSchedule::up_to(fork), 7), Ok(rules));
        }
        assert_eq!(at(10, ForkSchedule::default(), 7), Ok(Rules::Bedrock));
        let later = ForkSchedule::up_to(Fork::Fjord).with(Fork::Granite, Some(100));
        assert_eq!(at(10, later, 99), Ok(Rules::Fjord));
        assert_eq!(at(10, later, 100), Ok(Rules::Granite));
    }

    #[test]
    fn rules_that_are_not_known_are_refused_by_name() {
        for fork in [Fork::Lagoon, Fork::Azul, Fork::Beryl, Fork::Cobalt, Fork::Denim] {
            let expected = Err(format!("the fork {fork}"));
            assert_eq!(at(8453, ForkSchedule::up_to(fork), 7), expected);
        }
        assert_eq!(at(42_220, ForkSchedule::default(), 7), Err("chain 42220".into()));
        let forks = ForkSchedule::up_to(Fork::Jovian);
        assert_eq!(at(10, forks, 899), Ok(Rules::Jovian));
        assert_eq!(at(10, forks, 900), Err("the fork of zenith_time".into()));
    }
}
