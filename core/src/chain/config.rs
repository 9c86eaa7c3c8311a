//! The configuration of a chain, and the checks that reject contradictory ones.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use alloy_primitives::{Address, B256};

use super::fork::{Fork, ForkSchedule};
use super::schedule::BlockSchedule;

/// The first block of a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Genesis {
    /// Block number. It is not zero if the chain moved to the OP Stack later in its life (OP
    /// Mainnet, Celo).
    pub number: u64,
    /// Hash of the block.
    pub hash: B256,
    /// Timestamp of the block, in seconds since the Unix epoch.
    pub time: u64,
}

/// The part of a chain's configuration that the p2p layer needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChainConfig {
    /// Name of the chain, for display only.
    pub name: Cow<'static, str>,
    /// Id of the chain. It is part of the topics, protocol names and signatures.
    pub chain_id: u64,
    /// Id of the chain's L1; zero for a development chain without an L1.
    pub l1_chain_id: u64,
    /// The first block of the chain under the OP Stack.
    pub genesis: Genesis,
    /// Seconds between two blocks, as given in the `rollup.json`. A fork can change the interval:
    /// [`schedule`](Self::schedule) returns the time of each block.
    pub block_time: u64,
    /// Activation times of the forks.
    pub forks: ForkSchedule,
    /// Address that must have signed the gossiped blocks, if known in advance. The signer may
    /// rotate: the node starts with this address, and a later value from the chain's SystemConfig
    /// contract takes precedence.
    pub unsafe_block_signer: Option<Address>,
    /// The SystemConfig contract (its proxy) on L1, from which the signer can be read.
    pub system_config: Option<Address>,
    /// Activation times of forks that this software does not know, by field name (`interop_time`).
    /// No rule depends on them; they allow a warning that the software may be too old.
    pub unknown_forks: BTreeMap<String, u64>,
}

/// Error: the configuration is rejected. Fields are named as in a `rollup.json`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The text is far longer than any `rollup.json`. It was not parsed.
    #[error(
        "the chain configuration has {length} bytes and a rollup.json has a few thousand: give the \
         rollup.json, not the genesis file"
    )]
    TooLong {
        /// Length of the text in bytes.
        length: usize,
    },
    /// The text is not JSON.
    #[error("{within} is not valid JSON: {reason}")]
    Json {
        /// The field to which the line and column refer, or `rollup.json` for the whole text.
        within: &'static str,
        /// The parser's message, with the line and column.
        reason: String,
    },
    /// A required field is absent or null.
    #[error("`{field}` is missing; it should be {expected}")]
    Missing {
        /// Name of the field.
        field: &'static str,
        /// Description of the expected value.
        expected: &'static str,
    },
    /// A field occurs twice, so its value would depend on the parser.
    #[error("`{field}` is given twice; remove one of the two")]
    Duplicate {
        /// Name of the field, shortened if it is long.
        field: String,
    },
    /// A field has a value of the wrong type.
    #[error("`{field}` should be {expected}, but is {found}")]
    WrongType {
        /// Name of the field.
        field: &'static str,
        /// Description of the expected value.
        expected: &'static str,
        /// Description of the value, with an excerpt.
        found: String,
    },
    /// A whole number is out of range.
    #[error(
        "`{field}` is {found}, which is out of range; it should be from 0 to {max}",
        max = u64::MAX)]
    OutOfRange {
        /// Name of the field.
        field: &'static str,
        /// The number, shortened if it is long.
        found: String,
    },
    /// A text is not the hexadecimal form of a hash or an address.
    #[error("`{field}` should be {expected}, but is `{found}`")]
    BadHex {
        /// Name of the field.
        field: &'static str,
        /// Description of the expected value.
        expected: &'static str,
        /// The text, shortened if it is long.
        found: String,
    },
    /// A value is zero where zero has no meaning.
    #[error("`{field}` is zero; it should be {expected}")]
    Zero {
        /// Name of the field.
        field: &'static str,
        /// Description of the expected value.
        expected: &'static str,
    },
    /// The chain has the same id as its L1.
    #[error("`l2_chain_id` and `l1_chain_id` are both {0}; a chain and its L1 have different ids")]
    SameChainId(u64),
    /// The chain has the same genesis block as its L1.
    #[error(
        "`genesis.l2.hash` and `genesis.l1.hash` are both {0}; give the hash of the chain's own \
         genesis block"
    )]
    SameGenesisHash(B256),
    /// A fork activates before a fork that it builds on.
    #[error(
        "`{}` is {later_time}, before `{}` at {earlier_time}; a fork activates no earlier than \
         those before it",
        later.field(),
        earlier.field()
    )]
    ForkOrder {
        /// The fork that activates too early.
        later: Fork,
        /// Its activation time.
        later_time: u64,
        /// The fork that it builds on.
        earlier: Fork,
        /// The activation time of `earlier`.
        earlier_time: u64,
    },
    /// A fork is set, but a fork that it builds on is not.
    #[error(
        "`{}` is set but `{}` is not; a fork needs all those before it", later.field(),
        missing.field())]
    ForkGap {
        /// The fork that is set.
        later: Fork,
        /// The fork that is not.
        missing: Fork,
    },
}

impl ConfigError {
    /// Returns the invalid field, as named in a `rollup.json` (`genesis.l2.hash`), or `None` if the
    /// error does not concern a field.
    pub fn field(&self) -> Option<&str> {
        match self {
            Self::TooLong { .. } | Self::Json { .. } => None,
            Self::Duplicate { field } => Some(field),
            Self::Missing { field, .. }
            | Self::WrongType { field, .. }
            | Self::OutOfRange { field, .. }
            | Self::BadHex { field, .. }
            | Self::Zero { field, .. } => Some(field),
            Self::SameChainId(_) => Some("l2_chain_id"),
            Self::SameGenesisHash(_) => Some("genesis.l2.hash"),
            Self::ForkOrder { later, .. } => Some(later.field()),
            Self::ForkGap { missing, .. } => Some(missing.field()),
        }
    }
}

impl ChainConfig {
    /// Returns the configuration of a private chain without an L1. Its genesis is at height 0, and
    /// `fork` and all earlier forks are active from the start.
    ///
    /// `genesis_time` is in seconds since the Unix epoch, `block_time` in seconds.
    pub fn development(
        chain_id: u64,
        genesis_hash: B256,
        genesis_time: u64,
        block_time: u64,
        fork: Fork,
        signer: Address,
    ) -> Self {
        Self {
            name: Cow::Borrowed("development"),
            chain_id,
            l1_chain_id: 0,
            genesis: Genesis { number: 0, hash: genesis_hash, time: genesis_time },
            block_time,
            forks: ForkSchedule::up_to(fork),
            unsafe_block_signer: Some(signer),
            system_config: None,
            unknown_forks: BTreeMap::new(),
        }
    }

    /// Checks that the configuration is valid and consistent.
    ///
    /// The rules are those of the reference node for a `rollup.json` (`op-node/rollup/types.go`,
    /// `Check`), for the fields kept here, with three differences. An L1 id is required only if
    /// there is a contract on that L1. A signer, if given, must not be the zero address. A chain
    /// may begin at time zero and with the zero hash, because gossip works with both.
    ///
    /// # Errors
    /// The first violated rule.
    pub fn check(&self) -> Result<(), ConfigError> {
        let not_zero = |field, expected, is_zero: bool| {
            if is_zero { Err(ConfigError::Zero { field, expected }) } else { Ok(()) }
        };
        not_zero("l2_chain_id", "the chain's id", self.chain_id == 0)?;
        not_zero(
            "l1_chain_id",
            "the id of the L1 that holds the SystemConfig contract",
            self.l1_chain_id == 0 && self.system_config.is_some(),
        )?;
        if self.chain_id == self.l1_chain_id {
            return Err(ConfigError::SameChainId(self.chain_id));
        }
        not_zero("block_time", "at least one second", self.block_time == 0)?;
        self.check_forks()?;
        not_zero(
            "unsafe_block_signer",
            "an address, or absent where it is not known",
            self.unsafe_block_signer.is_some_and(|signer| signer.is_zero()),
        )?;
        not_zero(
            "l1_system_config_address",
            "an address, or absent where it is not known",
            self.system_config.is_some_and(|contract| contract.is_zero()),
        )
    }

    fn check_forks(&self) -> Result<(), ConfigError> {
        let steps = Fork::ALL.into_iter().filter_map(|later| Some((later.builds_on()?, later)));
        for (earlier, later) in steps {
            match (self.forks.activation(earlier), self.forks.activation(later)) {
                (None, Some(_)) => return Err(ConfigError::ForkGap { later, missing: earlier }),
                (Some(earlier_time), Some(later_time)) if later_time < earlier_time => {
                    return Err(ConfigError::ForkOrder {
                        later,
                        later_time,
                        earlier,
                        earlier_time,
                    });
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Returns the block times of the chain.
    pub fn schedule(&self) -> BlockSchedule {
        BlockSchedule::new(&self.genesis, self.block_time, &self.forks)
    }

    /// Returns the header timestamp of the block at this height, in seconds since the Unix epoch.
    ///
    /// Returns `None` below genesis, or if the timestamp overflows.
    pub fn timestamp_of(&self, number: u64) -> Option<u64> {
        self.schedule().timestamp_of(number)
    }

    /// Returns the height of the newest block that is due at `unix` (since the Unix epoch).
    ///
    /// A sequencer that runs ahead of the clock has higher blocks. Returns `None` before genesis,
    /// if the height overflows, or if the block time is zero.
    pub fn highest_number_at(&self, unix: Duration) -> Option<u64> {
        self.schedule().highest_number_at(unix)
    }

    /// Returns the interval between two blocks at the wall-clock time `unix` (since the Unix
    /// epoch).
    pub fn interval_at(&self, unix: Duration) -> Duration {
        self.schedule().interval_at(unix)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn development() -> ChainConfig {
        let (hash, signer) = (B256::repeat_byte(1), Address::repeat_byte(2));
        ChainConfig::development(901, hash, 9000, 2, Fork::Ecotone, signer)
    }

    fn refusal(change: impl FnOnce(&mut ChainConfig)) -> ConfigError {
        let mut config = development();
        assert_eq!(config.check(), Ok(()));
        change(&mut config);
        config.check().unwrap_err()
    }

    #[test]
    fn a_development_chain_needs_no_l1() {
        let config = development();
        assert_eq!(config.check(), Ok(()));
        assert_eq!(config.l1_chain_id, 0);
        assert!(
            config.forks.is_active(Fork::Ecotone, 0)
                && !config.forks.is_active(Fork::Fjord, u64::MAX)
        );
    }

    #[test]
    fn meaningless_zeros_are_refused_by_field() {
        let zero = |change: fn(&mut ChainConfig)| match refusal(change) {
            ConfigError::Zero { field, .. } => field,
            other => panic!("{other}"),
        };
        assert_eq!(zero(|c| c.chain_id = 0), "l2_chain_id");
        assert_eq!(zero(|c| c.system_config = Some(Address::repeat_byte(3))), "l1_chain_id");
        assert_eq!(zero(|c| c.block_time = 0), "block_time");
        assert_eq!(zero(|c| c.unsafe_block_signer = Some(Address::ZERO)), "unsafe_block_signer");
        let no_contract = refusal(|c| (c.l1_chain_id, c.system_config) = (1, Some(Address::ZERO)));
        assert_eq!(no_contract.field(), Some("l1_system_config_address"));
        assert_eq!(
            refusal(|c| c.block_time = 0).to_string(),
            "`block_time` is zero; it should be at least one second"
        );
    }

    #[test]
    fn a_chain_with_the_id_of_its_l1_is_refused() {
        let error = refusal(|c| c.l1_chain_id = c.chain_id);
        assert_eq!(error, ConfigError::SameChainId(901));
        assert_eq!(error.field(), Some("l2_chain_id"));
    }

    #[test]
    fn a_fork_before_an_earlier_one_is_refused() {
        let error = refusal(|c| {
            c.forks = ForkSchedule::up_to(Fork::Delta)
                .with(Fork::Ecotone, Some(10))
                .with(Fork::Fjord, Some(20))
                .with(Fork::Granite, Some(19));
        });
        assert_eq!(
            error.to_string(),
            "`granite_time` is 19, before `fjord_time` at 20; a fork activates no earlier than \
             those before it"
        );
        assert_eq!(error.field(), Some("granite_time"));
    }

    #[test]
    fn a_fork_without_an_earlier_one_is_refused() {
        let error = refusal(|c| c.forks = c.forks.with(Fork::Granite, Some(20)));
        assert_eq!(error, ConfigError::ForkGap { later: Fork::Granite, missing: Fork::Fjord });
        assert_eq!(
            error.to_string(),
            "`granite_time` is set but `fjord_time` is not; a fork needs all those before it"
        );
        assert_eq!(error.field(), Some("fjord_time"));
    }

    #[test]
    fn forks_may_coincide_be_unplanned_or_predate_genesis() {
        let mut config = development();
        config.forks = ForkSchedule::default();
        assert_eq!(config.check(), Ok(()));
        config.forks = ForkSchedule::up_to(Fork::Canyon)
            .with(Fork::Delta, Some(5))
            .with(Fork::Ecotone, Some(5));
        assert_eq!(config.check(), Ok(()));
    }

    #[test]
    fn timestamps_count_from_genesis() {
        let mut config = development();
        config.genesis.number = 100;
        assert_eq!(config.timestamp_of(99), None);
        assert_eq!(config.timestamp_of(100), Some(9000));
        assert_eq!(config.timestamp_of(101), Some(9002));
        let last = 100 + (u64::MAX - 9000) / 2;
        assert_eq!(config.timestamp_of(last), Some(u64::MAX - 1));
        assert_eq!(config.timestamp_of(last + 1), None);
        assert_eq!(config.timestamp_of(u64::MAX), None);
    }

    #[test]
    fn the_highest_number_is_rounded_down_and_absent_before_genesis() {
        let mut config = development();
        config.genesis.number = 100;
        assert_eq!(config.highest_number_at(Duration::from_secs(0)), None);
        assert_eq!(config.highest_number_at(Duration::from_secs(8999)), None);
        assert_eq!(config.highest_number_at(Duration::from_secs(9000)), Some(100));
        assert_eq!(config.highest_number_at(Duration::from_secs(9001)), Some(100));
        assert_eq!(config.highest_number_at(Duration::from_secs(9002)), Some(101));
        assert_eq!(
            config.highest_number_at(Duration::from_secs(u64::MAX)),
            Some(100 + (u64::MAX - 9000) / 2)
        );
        config.genesis.number = u64::MAX;
        assert_eq!(config.highest_number_at(Duration::from_secs(9001)), Some(u64::MAX));
        assert_eq!(config.highest_number_at(Duration::from_secs(9002)), None);
        config.block_time = 0;
        assert_eq!(config.highest_number_at(Duration::from_secs(9000)), None);
    }

    proptest! {
        #[test]
        fn number_and_timestamp_are_inverse(
            first in 0..u64::MAX / 2, blocks in 0..1_u64 << 40, genesis_time in 0..u64::MAX / 2,
            block_time in 1..1_u64 << 20, late: u64,
        ) {
            let mut config = development();
            config.genesis = Genesis { number: first, time: genesis_time, ..config.genesis };
            config.block_time = block_time;
            let timestamp = config.timestamp_of(first + blocks);
            prop_assert_eq!(timestamp, Some(genesis_time + blocks * block_time));
            let before_next = genesis_time + blocks * block_time + late % block_time;
            prop_assert_eq!(
                config.highest_number_at(Duration::from_secs(before_next)), Some(first + blocks)
            );
        }

        #[test]
        fn any_configuration_computes_without_overflow(
            number: u64, time: u64, first: u64, genesis_time: u64, block_time: u64,
        ) {
            let mut config = development();
            config.genesis = Genesis { number: first, time: genesis_time, ..config.genesis };
            config.block_time = block_time;
            prop_assert!(
                config.timestamp_of(number).is_none_or(|timestamp| timestamp >= genesis_time)
            );
            if let Some(highest) = config.highest_number_at(Duration::from_secs(time)) {
                prop_assert!(
                    config.timestamp_of(highest).is_some_and(|timestamp| timestamp <= time)
                );
            }
        }
    }
}
